/* Other programs (cmake, ctest), started with an argument list and no shell, and files of text. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "tool.h"

/* Between fork and exec: only what is allowed after a fork. */
__attribute__((noreturn)) static void become(const char *const argv[], const char *folder, int log,
                                             int failed)
{
    bool ready = (folder == NULL || chdir(folder) == 0) &&
                 (log < 0 || (dup2(log, STDOUT_FILENO) >= 0 && dup2(log, STDERR_FILENO) >= 0));
    if (ready) {
        char *const *words;
        memcpy(&words, &argv, sizeof(words)); /* exec's declaration lacks a const */
        (void)execvp(argv[0], words);
    }
    int reason = errno;
    (void)!write(failed, &reason, sizeof(reason));
    _exit(127);
}

static int wait_for(pid_t child)
{
    int status;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Starts it; `failed` is read to its end, which comes with a good exec. */
static int run_with(const char *const argv[], const char *folder, int log, const int failed[2])
{
    (void)fflush(NULL);
    pid_t child = fork();
    if (child == 0)
        become(argv, folder, log, failed[1]);
    int reason = errno;
    (void)close(failed[1]);
    errno = reason;
    if (child < 0)
        return -1;
    ssize_t told;
    do
        told = read(failed[0], &reason, sizeof(reason));
    while (told < 0 && errno == EINTR);
    int code = wait_for(child);
    if (told != sizeof(reason))
        return code;
    errno = reason;
    return -1;
}

int tool_run(const char *const argv[], const char *folder, const char *log)
{
    int failed[2], file = -1;
    if (log != NULL && (file = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)) < 0)
        return -1;
    if (pipe2(failed, O_CLOEXEC) != 0) {
        int reason = errno;
        if (file >= 0)
            (void)close(file);
        errno = reason;
        return -1;
    }
    int code = run_with(argv, folder, file, failed);
    int reason = errno;
    (void)close(failed[0]);
    if (file >= 0)
        (void)close(file);
    errno = reason;
    return code;
}

bool tool_exists(const char *program)
{
    const char *path = getenv("PATH");
    char file[PATH_MAX];
    while (path != NULL && *path != '\0') {
        const char *end = strchrnul(path, ':');
        int size = snprintf(file, sizeof(file), "%.*s/%s", (int)(end - path), path, program);
        if (size > 0 && (size_t)size < sizeof(file) && access(file, X_OK) == 0)
            return true;
        path = *end == '\0' ? end : end + 1;
    }
    return false;
}

bool tool_beside(const char *rest, char *out, size_t size)
{
    char self[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
    self[length < 0 ? 0 : length] = '\0';
    for (int up = 0; up < 3; up++) { /* weir-plugin, weir, lib */
        char *slash = strrchr(self, '/');
        if (slash == NULL) {
            (void)fprintf(stderr, "weir plugin: cannot find where it is installed\n");
            return false;
        }
        *slash = '\0';
    }
    int needed = snprintf(out, size, "%s%s", self, rest);
    if (needed >= 0 && (size_t)needed < size)
        return true;
    (void)fprintf(stderr, "weir plugin: the path of its installation is too long\n");
    return false;
}

char *tool_read_file(const char *path, size_t limit, size_t *out_size)
{
    struct buf file = BUF_INIT;
    enum weir_err err = buf_read_file(&file, path, limit);
    int reason = err == WEIR_ERR_SYSTEM ? errno : err == WEIR_ERR_LIMIT ? EFBIG : ENOMEM;
    size_t size = file.size;
    buf_byte(&file, '\0');
    if (err != WEIR_OK || file.failed) {
        buf_free(&file);
        errno = reason;
        return NULL;
    }
    if (out_size != NULL)
        *out_size = size;
    return file.data;
}
