#include "outbound/line_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { CHECK_EVERY_US = 1000000 /* was the file renamed away? */ };

void line_file_init(struct line_file *file, const char *path, mode_t mode, bool reopens)
{
    *file = (struct line_file){.path = path, .mode = mode, .reopens = reopens, .fd = -1};
}

void line_file_close(struct line_file *file)
{
    if (file->fd >= 0)
        (void)close(file->fd);
    file->fd = -1;
}

/* A standard stream that cannot be opened by name (a socket, or another user's) is still ours. */
static int standard_stream(const char *path)
{
    if (strcmp(path, "/dev/stdout") == 0)
        return STDOUT_FILENO;
    return strcmp(path, "/dev/stderr") == 0 ? STDERR_FILENO : -1;
}

/* 0, or errno. */
static int open_by_name(struct line_file *file, bool *out_is_other)
{
    struct stat facts;
    /* O_NONBLOCK: a pipe whose reader is behind must not hold up the other files. */
    int fd = open(file->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
                  file->mode);
    int failure = fd < 0 ? errno : 0;
    bool is_shared = fd < 0 && standard_stream(file->path) >= 0;
    if (is_shared)
        fd = fcntl(standard_stream(file->path), F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        return failure;
    if (fstat(fd, &facts) != 0) {
        failure = errno;
        (void)close(fd);
        return failure;
    }
    if (facts.st_dev != file->device || facts.st_ino != file->inode) {
        *out_is_other = true;
        file->cut = false;
    }
    file->fd = fd;
    file->device = facts.st_dev;
    file->inode = facts.st_ino;
    file->is_regular = S_ISREG(facts.st_mode);
    file->is_shared = is_shared && !file->is_regular;
    return 0;
}

/* Log rotation renames the file and expects a new one under the old name. */
static bool was_renamed_away(const struct line_file *file)
{
    struct stat facts;
    if (standard_stream(file->path) >= 0)
        return false;
    return stat(file->path, &facts) != 0 || facts.st_dev != file->device ||
           facts.st_ino != file->inode;
}

int line_file_prepare(struct line_file *file, uint64_t now_us, bool *out_is_other)
{
    *out_is_other = false;
    if (file->reopens) {
        line_file_close(file);
    } else if (file->fd >= 0 && now_us - file->checked_us >= CHECK_EVERY_US) {
        file->checked_us = now_us;
        if (was_renamed_away(file))
            line_file_close(file);
    }
    if (file->fd >= 0)
        return 0;
    file->checked_us = now_us;
    return open_by_name(file, out_is_other);
}

/* A description that blocks and cannot be changed, since others use it too: ask first, and hand it
 * no more than it takes without waiting. -1 and errno as writev(). */
static ssize_t write_shared(const struct line_file *file, struct iovec *parts, size_t count)
{
    struct pollfd ready = {.fd = file->fd, .events = POLLOUT};
    const struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};
    size_t left = PIPE_BUF;
    ssize_t written = sendmsg(file->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (written >= 0 || errno != ENOTSOCK)
        return written;
    if (poll(&ready, 1, 0) != 1 || (ready.revents & POLLOUT) == 0) {
        errno = EAGAIN;
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        parts[i].iov_len = parts[i].iov_len < left ? parts[i].iov_len : left;
        left -= parts[i].iov_len;
    }
    return writev(file->fd, parts, (int)count);
}

static off_t size_of(const struct line_file *file)
{
    struct stat facts;
    return fstat(file->fd, &facts) == 0 ? facts.st_size : -1;
}

/* So much of the piece stands at the end of the file already. */
static size_t to_skip(const struct line_file *file, size_t size)
{
    bool goes_on = file->cut && file->cut_bytes > 0 && file->cut_bytes < size &&
                   size_of(file) == file->cut_size;
    return goes_on ? file->cut_bytes : 0;
}

static void note_cut(struct line_file *file, const char *bytes, size_t taken)
{
    file->cut = file->is_regular && taken > 0 && bytes[taken - 1] != '\n';
    file->cut_bytes = 0;
    if (!file->cut)
        return;
    const char *last = memrchr(bytes, '\n', taken);
    file->cut_bytes = last == NULL ? taken : (size_t)(bytes + taken - last) - 1;
    file->cut_size = size_of(file);
}

size_t line_file_write(struct line_file *file, const char *bytes, size_t size, int *out_failure)
{
    char newline = '\n';
    size_t skip = to_skip(file, size);
    const char *from = bytes + skip;
    struct iovec parts[2] = {{&newline, 1}, {NULL, size - skip}};
    /* writev() does not write there: its struct serves readv() too. */
    memcpy(&parts[1].iov_base, &from, sizeof(from));
    bool ends_first = file->cut && skip == 0;
    struct iovec *first = ends_first ? parts : parts + 1;
    size_t count = ends_first ? 2 : 1;
    ssize_t written;
    do {
        written = file->is_shared ? write_shared(file, first, count)
                                  : writev(file->fd, first, (int)count);
    } while (written < 0 && errno == EINTR);
    *out_failure = written < 0 ? errno : 0;
    if (written <= 0) {
        *out_failure = written == 0 ? EAGAIN : *out_failure;
        return 0;
    }
    size_t taken = skip + (size_t)written - ends_first;
    *out_failure = taken < size ? EAGAIN : 0;
    note_cut(file, bytes, taken);
    return taken;
}
