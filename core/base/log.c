#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { LINE_SIZE = 4096 };

static const char *const names[LOG_LEVELS] = {"debug", "info", "notice", "warn", "error", "crit"};
static _Atomic enum log_level threshold = LOG_NOTICE;
static char speaker[32] = "weir";
static char *file_path; /* NULL: stderr */
static int file = STDERR_FILENO;

static int open_file(const char *path)
{
    return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
}

enum weir_err log_open(const char *path)
{
    char *copy = NULL;
    int fd = STDERR_FILENO;
    if (path != NULL) {
        copy = strdup(path);
        if (copy == NULL)
            return WEIR_ERR_NO_MEMORY;
        fd = open_file(path);
        if (fd < 0) {
            free(copy);
            return WEIR_ERR_SYSTEM;
        }
    }
    if (file_path != NULL)
        (void)close(file);
    free(file_path);
    file_path = copy;
    file = fd;
    return WEIR_OK;
}

void log_reopen(void)
{
    if (file_path == NULL)
        return;
    int fd = open_file(file_path);
    if (fd < 0) {
        log_error("cannot open the log file %s again: %s", file_path, strerrordesc_np(errno));
        return;
    }
    /* Another thread may be writing: the number stays, the file behind it changes. */
    (void)dup3(fd, file, O_CLOEXEC);
    (void)close(fd);
}

void log_set_level(enum log_level level)
{
    CHECK_THAT(level < LOG_LEVELS);
    threshold = level;
}

bool log_level_parse(struct span name, enum log_level *out_level)
{
    for (unsigned i = 0; i < LOG_LEVELS; i++) {
        if (span_equal(name, span_text(names[i]))) {
            *out_level = (enum log_level)i;
            return true;
        }
    }
    return false;
}

void log_set_role(const char *role)
{
    (void)snprintf(speaker, sizeof(speaker), "%s", role);
}

bool log_enabled(enum log_level level)
{
    return level >= threshold;
}

static size_t write_start(char *line, enum log_level level)
{
    struct timespec now;
    struct tm utc;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &utc);
    size_t size = strftime(line, LINE_SIZE, "%Y-%m-%dT%H:%M:%S", &utc);
    int more = snprintf(line + size, LINE_SIZE - size, ".%03ldZ %s %s: ", now.tv_nsec / 1000000,
                        names[level], speaker);
    return more < 0 ? size : size + (size_t)more;
}

/* A value with a line feed must not look like a line of its own. */
static void blank_controls(char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            text[i] = '?';
}

void log_line(enum log_level level, const char *format, ...)
{
    if (!log_enabled(level))
        return;
    int saved = errno;
    char line[LINE_SIZE];
    size_t start = write_start(line, level);
    va_list args;
    va_start(args, format);
    int more = vsnprintf(line + start, sizeof(line) - start, format, args);
    va_end(args);
    size_t size = more < 0 ? start : start + (size_t)more;
    if (size > sizeof(line) - 1)
        size = sizeof(line) - 1;
    blank_controls(line + start, size - start);
    line[size] = '\n';
    /* A log that cannot be written has nowhere to complain. */
    ssize_t ignored = write(file, line, size + 1);
    (void)ignored;
    errno = saved;
}
