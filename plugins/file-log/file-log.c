/* One line of JSON for each request, appended to a file. A line is one system call on a descriptor
 * that only appends, so the lines of several workers do not mix. What cannot be written is lost and
 * counted: a log never delays a request. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <weir/weir.h>

#include "constant.h"

#define CHECK_EVERY_US 1000000 /* was the file renamed away? can it be opened now? */

typedef struct {
    weir_str path;
    bool reopen;
    weir_list custom_fields_by_lua;

    char *file;       /* path, terminated */
    weir_str *values; /* JSON, one for each custom field */
    weir_metric *lost_lines;
    int fd;       /* -1: not open */
    dev_t device; /* of fd */
    ino_t inode;
    bool checked;       /* checked_us holds */
    int64_t checked_us; /* when fd was last compared with the path, or opening it failed */
    int failure;        /* errno that was logged last; 0: all is well */
    uint64_t lost;      /* lines since then */
    bool cut;           /* the last line misses its end */
    bool field_refused; /* one was logged */
} file_log;

static const weir_field fields[] = {
    WEIR_STRING(file_log, path, .flags = WEIR_REQUIRED,
                .help = "file the lines are appended to, made when it does not exist"),
    WEIR_BOOLEAN(file_log, reopen, .def = "false",
                 .help = "open the file for each line instead of keeping it open"),
    WEIR_MAP(file_log, custom_fields_by_lua,
             .help = "members to set in the line (dotted keys); only Lua that returns a constant"),
};

static const char *const labels[] = {"path", NULL};

static bool path_is_valid(weir_str path)
{
    if (path.size == 0 || path.data[0] == ' ' || path.data[path.size - 1] == ' ')
        return false;
    for (size_t i = 0; i < path.size; i++)
        if ((unsigned char)path.data[i] < 0x20 || strchr("*&%`", path.data[i]) != NULL)
            return false;
    return true;
}

static int read_custom_fields(file_log *policy, weir_error *error)
{
    const weir_pair *pairs = policy->custom_fields_by_lua.items;
    size_t count = policy->custom_fields_by_lua.count;
    if (count == 0)
        return 0;
    policy->values = weir_policy_alloc(policy, count * sizeof(*policy->values));
    if (policy->values == NULL) {
        weir_error_at(error, "custom_fields_by_lua", "out of memory");
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        weir_status status = constant_to_json(policy, pairs[i].value, &policy->values[i]);
        if (status == WEIR_SUCCESS)
            continue;
        weir_error_at(error, "custom_fields_by_lua",
                      status == WEIR_NO_MEMORY
                          ? "%.*s: out of memory"
                          : "%.*s: there is no Lua here, only a constant can be returned: "
                            "return \"text\", a number, true, false or nil",
                      (int)pairs[i].key.size, pairs[i].key.data);
        return -1;
    }
    return 0;
}

static int configure(void *self, weir_error *error)
{
    file_log *policy = self;
    policy->fd = -1;
    if (!path_is_valid(policy->path)) {
        weir_error_at(error, "path", "not a valid filename");
        return -1;
    }
    policy->file = weir_policy_alloc(self, policy->path.size + 1);
    if (policy->file == NULL) {
        weir_error_at(error, "path", "out of memory");
        return -1;
    }
    memcpy(policy->file, policy->path.data, policy->path.size);
    policy->file[policy->path.size] = '\0';
    policy->lost_lines = weir_metric_open(
        error, self, WEIR_METRIC_COUNTER, WEIR_LIT("weir_file_log_lost_lines_total"),
        WEIR_LIT("Lines of file-log that could not be written whole"), labels, NULL, 0);
    if (policy->lost_lines == NULL)
        return -1;
    return read_custom_fields(policy, error);
}

/* ---- the file */

static void close_file(file_log *policy)
{
    if (policy->fd >= 0)
        (void)close(policy->fd);
    policy->fd = -1;
}

/* A standard stream that cannot be opened by name (a socket, or other user's) is still ours. */
static int standard_stream(const char *file)
{
    if (strcmp(file, "/dev/stdout") == 0)
        return STDOUT_FILENO;
    return strcmp(file, "/dev/stderr") == 0 ? STDERR_FILENO : -1;
}

/* 0, or errno. */
static int open_file(file_log *policy)
{
    struct stat facts;
    /* O_NONBLOCK: a pipe that nobody reads must not stop the worker. */
    int fd =
        open(policy->file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0644);
    int failure = fd < 0 ? errno : 0;
    if (fd < 0 && standard_stream(policy->file) >= 0)
        fd = fcntl(standard_stream(policy->file), F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        return failure;
    if (fstat(fd, &facts) != 0) {
        failure = errno;
        (void)close(fd);
        return failure;
    }
    policy->fd = fd;
    policy->device = facts.st_dev;
    policy->inode = facts.st_ino;
    policy->cut = false;
    return 0;
}

/* Log rotation renames the file and expects a new one under the old name. */
static bool was_renamed_away(const file_log *policy)
{
    struct stat facts;
    if (standard_stream(policy->file) >= 0)
        return false;
    return stat(policy->file, &facts) != 0 || facts.st_dev != policy->device ||
           facts.st_ino != policy->inode;
}

/* The descriptor for the next line is open. 0, or errno. */
static int prepare_file(file_log *policy)
{
    int64_t now_us = weir_mono_us();
    bool is_due = !policy->checked || now_us - policy->checked_us >= CHECK_EVERY_US;
    if (policy->reopen) {
        close_file(policy);
        return open_file(policy);
    }
    if (!is_due)
        return policy->fd >= 0 ? 0 : policy->failure;
    policy->checked = true;
    policy->checked_us = now_us;
    if (policy->fd >= 0 && was_renamed_away(policy))
        close_file(policy);
    return policy->fd >= 0 ? 0 : open_file(policy);
}

/* Behind the first `size` bytes of the parts. */
static struct iovec *skip_bytes(struct iovec *parts, int *count, size_t size)
{
    while (*count > 0 && size >= parts->iov_len) {
        size -= parts->iov_len;
        parts++;
        (*count)--;
    }
    if (*count > 0 && size > 0) {
        parts->iov_base = (char *)parts->iov_base + size;
        parts->iov_len -= size;
    }
    return parts;
}

/* One call, but when the disk or the pipe takes only a part. 0, or errno. */
static int write_line(file_log *policy, weir_str line)
{
    static char newline[] = "\n";
    struct iovec all[3] = {0}, *parts = all;
    int count = 0;
    bool begun = false;
    if (policy->cut)
        all[count++] = (struct iovec){newline, 1};
    /* writev() does not write there: its struct serves readv() too. */
    memcpy(&all[count].iov_base, &line.data, sizeof(line.data));
    all[count++].iov_len = line.size;
    all[count++] = (struct iovec){newline, 1};
    while (count > 0) {
        ssize_t written = writev(policy->fd, parts, count);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0) {
            policy->cut = policy->cut || begun;
            return written < 0 ? errno : EIO;
        }
        begun = true;
        parts = skip_bytes(parts, &count, (size_t)written);
    }
    policy->cut = false;
    return 0;
}

/* A line in weir's own log when it begins, changes and ends, not for each request. */
static void report(file_log *policy, weir_request *request, int failure)
{
    char text[128];
    if (failure != 0) {
        policy->lost++;
        weir_metric_add(policy->lost_lines, &policy->path, 1);
    }
    if (failure == policy->failure)
        return;
    policy->failure = failure;
    if (failure != 0) {
        weir_log(request, WEIR_LOG_ERROR, "%s: cannot write: %s; lines are lost", policy->file,
                 strerror_r(failure, text, sizeof(text)));
        return;
    }
    weir_log(request, WEIR_LOG_NOTICE, "%s: written again, %llu lines were lost", policy->file,
             (unsigned long long)policy->lost);
    policy->lost = 0;
}

static void set_custom_fields(file_log *policy, weir_request *request)
{
    const weir_pair *pairs = policy->custom_fields_by_lua.items;
    for (size_t i = 0; i < policy->custom_fields_by_lua.count; i++) {
        if (weir_log_set(request, pairs[i].key, policy->values[i]) == WEIR_SUCCESS ||
            policy->field_refused)
            continue;
        policy->field_refused = true;
        weir_log(request, WEIR_LOG_WARN, "custom field '%.*s' cannot be set",
                 (int)pairs[i].key.size, pairs[i].key.data);
    }
}

static void on_log(weir_request *request, void *self, void *context)
{
    file_log *policy = self;
    (void)context;
    set_custom_fields(policy, request);
    weir_str line = weir_log_document(request);
    int failure = line.data == NULL ? ENOMEM : prepare_file(policy);
    if (failure == 0)
        failure = write_line(policy, line);
    if (policy->reopen)
        close_file(policy);
    report(policy, request, failure);
}

static void stop(void *self)
{
    close_file(self);
}

WEIR_PLUGIN("file-log", "1.0.0", 0, .priority = 9, WEIR_SELF(file_log), WEIR_FIELDS(fields),
            .configure = configure, .stop = stop, .log = on_log);
