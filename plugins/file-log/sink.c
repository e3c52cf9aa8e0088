#include "sink.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    CHECK_EVERY_US = 1000000, /* was the file renamed away? can it be opened now? */
    FULL_RETRY_MS = 10,       /* a pipe whose reader is behind */
    FAILED_RETRY_MS = 1000,
    WRITE_BYTES = 65536, /* of waiting lines in one call */
    WRITES_AT_ONCE = 4,  /* then it is others' turn */
    QUEUE_FIRST = 4096,
};

/* ---- the file */

static void close_file(sink *to)
{
    if (to->fd >= 0)
        (void)close(to->fd);
    to->fd = -1;
}

/* A standard stream that cannot be opened by name (a socket, or another user's) is still ours. */
static int standard_stream(const char *file)
{
    if (strcmp(file, "/dev/stdout") == 0)
        return STDOUT_FILENO;
    return strcmp(file, "/dev/stderr") == 0 ? STDERR_FILENO : -1;
}

/* 0, or errno. */
static int open_file(sink *to)
{
    struct stat facts;
    /* O_NONBLOCK: a pipe that nobody reads must not stop the worker. */
    int fd =
        open(to->file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0644);
    int failure = fd < 0 ? errno : 0;
    bool is_shared = fd < 0 && standard_stream(to->file) >= 0;
    if (is_shared)
        fd = fcntl(standard_stream(to->file), F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        return failure;
    if (fstat(fd, &facts) != 0) {
        failure = errno;
        (void)close(fd);
        return failure;
    }
    if (facts.st_dev != to->device || facts.st_ino != to->inode) {
        to->sent = 0; /* what the other file has of a line is no use here */
        to->cut = false;
    }
    to->fd = fd;
    to->device = facts.st_dev;
    to->inode = facts.st_ino;
    to->is_regular = S_ISREG(facts.st_mode);
    to->is_shared = is_shared && !to->is_regular;
    return 0;
}

/* Log rotation renames the file and expects a new one under the old name. */
static bool was_renamed_away(const sink *to)
{
    struct stat facts;
    if (standard_stream(to->file) >= 0)
        return false;
    return stat(to->file, &facts) != 0 || facts.st_dev != to->device || facts.st_ino != to->inode;
}

/* The descriptor for the next lines is open. 0, or errno. */
static int prepare_file(sink *to)
{
    if (to->reopen) {
        close_file(to);
        return open_file(to);
    }
    int64_t now_us = weir_mono_us();
    if (to->checked && now_us - to->checked_us < CHECK_EVERY_US)
        return to->fd >= 0 ? 0 : to->failure;
    to->checked = true;
    to->checked_us = now_us;
    if (to->fd >= 0 && was_renamed_away(to))
        close_file(to);
    return to->fd >= 0 ? 0 : open_file(to);
}

/* A description that blocks and cannot be changed, since others use it too: ask first, and hand it
 * no more than it takes without waiting. -1 and errno as writev(). */
static ssize_t write_shared(const sink *to, const struct iovec *parts, int count)
{
    struct pollfd ready = {.fd = to->fd, .events = POLLOUT};
    struct iovec few[3];
    size_t left = PIPE_BUF;
    struct msghdr message = {.msg_iovlen = (size_t)count};
    memcpy(few, parts, (size_t)count * sizeof(few[0]));
    message.msg_iov = few;
    ssize_t written = sendmsg(to->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (written >= 0 || errno != ENOTSOCK)
        return written;
    if (poll(&ready, 1, 0) != 1 || (ready.revents & POLLOUT) == 0) {
        errno = EAGAIN;
        return -1;
    }
    for (int i = 0; i < count; i++) {
        few[i].iov_len = few[i].iov_len < left ? few[i].iov_len : left;
        left -= few[i].iov_len;
    }
    return writev(to->fd, few, count);
}

/* What waits in front of a line, then its parts. How many bytes of the parts were taken;
 * *out_failed is errno when they were not all. */
static size_t write_parts(sink *to, weir_str text, weir_str end, int *out_failed)
{
    static const char newline[] = "\n";
    struct iovec parts[3];
    int count = 0;
    size_t wanted = 0;
    const weir_str texts[] = {{newline, to->cut ? 1 : 0}, text, end};
    for (size_t i = 0; i < 3; i++) {
        if (texts[i].size == 0)
            continue;
        /* writev() does not write there: its struct serves readv() too. */
        memcpy(&parts[count].iov_base, &texts[i].data, sizeof(texts[i].data));
        parts[count++].iov_len = texts[i].size;
        wanted += texts[i].size;
    }
    ssize_t written;
    do {
        written = to->is_shared ? write_shared(to, parts, count) : writev(to->fd, parts, count);
    } while (written < 0 && errno == EINTR);
    *out_failed = written < 0 ? errno : (size_t)written < wanted ? EAGAIN : 0;
    if (written <= 0)
        return 0;
    bool mended = to->cut;
    to->cut = false;
    return (size_t)written - mended;
}

/* ---- the queue */

static size_t line_size(const char *first, size_t waiting)
{
    return (size_t)((const char *)memchr(first, '\n', waiting) - first) + 1;
}

/* The first line, but for one that a pipe has in part already. False: there is no other. */
static bool drop_oldest(sink *to)
{
    char *first = to->bytes + to->from;
    size_t waiting = sink_waiting(to);
    size_t begun = to->sent > 0 ? line_size(first, waiting) : 0;
    if (begun == waiting)
        return false;
    size_t size = line_size(first + begun, waiting - begun);
    memmove(first + size, first, begun);
    to->from += size;
    to->lost++;
    return true;
}

static bool make_room(sink *to, size_t size)
{
    while (size <= to->limit && sink_waiting(to) + size > to->limit)
        if (!to->drop_oldest || !drop_oldest(to))
            return false;
    if (size > to->limit)
        return false;
    if (to->end + size <= to->capacity)
        return true;
    if (to->from > 0 && to->from >= sink_waiting(to)) { /* each byte is moved once at most */
        memmove(to->bytes, to->bytes + to->from, sink_waiting(to));
        to->end -= to->from;
        to->from = 0;
    }
    size_t capacity = to->capacity == 0 ? QUEUE_FIRST : to->capacity;
    while (capacity < to->end + size)
        capacity *= 2;
    char *bytes = capacity == to->capacity ? to->bytes : realloc(to->bytes, capacity);
    if (bytes == NULL)
        return false;
    to->bytes = bytes;
    to->capacity = capacity;
    return true;
}

/* False: lost, and counted. */
static bool keep_line(sink *to, weir_str line)
{
    if (!make_room(to, line.size + 1)) {
        to->lost++;
        return false;
    }
    memcpy(to->bytes + to->end, line.data, line.size);
    to->end += line.size;
    to->bytes[to->end++] = '\n';
    return true;
}

static void give_back_queue(sink *to)
{
    free(to->bytes);
    to->bytes = NULL;
    to->from = to->end = to->capacity = to->sent = 0;
}

/* So many bytes from the first waiting line's beginning are out. */
static void take_out(sink *to, size_t size)
{
    const char *first = to->bytes + to->from;
    const char *last = size == 0 ? NULL : memrchr(first, '\n', size);
    size_t whole = last == NULL ? 0 : (size_t)(last - first) + 1;
    to->from += whole;
    to->sent = size - whole;
    if (to->sent > 0 && to->is_regular) {
        /* Another worker's line may come next, so the rest of ours would belong to nothing. */
        to->cut = true;
        to->sent = 0;
    }
}

/* Whole lines for one call: as many as are small, or one. */
static size_t next_lines(const sink *to)
{
    const char *first = to->bytes + to->from;
    size_t waiting = sink_waiting(to);
    if (waiting <= WRITE_BYTES)
        return waiting;
    const char *last = memrchr(first, '\n', WRITE_BYTES);
    if (last == NULL)
        last = memchr(first + WRITE_BYTES, '\n', waiting - WRITE_BYTES);
    return (size_t)(last - first) + 1;
}

static void flush(sink *to)
{
    for (int i = 0; i < WRITES_AT_ONCE && sink_waiting(to) > 0; i++) {
        to->failure = prepare_file(to);
        if (to->failure != 0)
            return;
        weir_str lines = {to->bytes + to->from + to->sent, next_lines(to) - to->sent};
        size_t written = write_parts(to, lines, (weir_str){NULL, 0}, &to->failure);
        take_out(to, to->sent + written);
        if (written == 0 && to->failure != 0)
            return;
    }
    if (sink_waiting(to) == 0)
        give_back_queue(to);
}

/* ---- when */

static void on_time(void *self, void *user);

static void settle(sink *to, weir_request *request)
{
    if (to->reopen)
        close_file(to);
    if (sink_waiting(to) > 0 && to->timer == NULL) {
        bool is_full = to->failure == 0 || to->failure == EAGAIN;
        to->timer =
            weir_timer_start(to->policy, is_full ? FULL_RETRY_MS : FAILED_RETRY_MS, 0, on_time, to);
    }
    to->report(to->policy, request);
}

static void on_time(void *self, void *user)
{
    sink *to = user;
    (void)self;
    to->timer = NULL;
    flush(to);
    settle(to, NULL);
}

void sink_line(sink *to, weir_request *request, weir_str line)
{
    size_t written = 0;
    bool is_first = sink_waiting(to) == 0;
    if (line.data == NULL) {
        to->lost++;
        to->failure = ENOMEM;
        to->report(to->policy, request);
        return;
    }
    if (is_first) {
        to->failure = prepare_file(to);
        if (to->failure == 0)
            written = write_parts(to, line, WEIR_LIT("\n"), &to->failure);
        if (written == line.size + 1) {
            settle(to, request);
            return;
        }
    }
    if (!keep_line(to, line))
        to->cut = to->cut || written > 0;
    else if (is_first)
        take_out(to, written);
    if (to->timer == NULL && (!is_first || written > 0))
        flush(to);
    settle(to, request);
}

void sink_close(sink *to)
{
    weir_timer_stop(to->timer);
    to->timer = NULL;
    to->checked = false;
    while (sink_waiting(to) > 0) {
        size_t before = sink_waiting(to);
        flush(to);
        if (sink_waiting(to) == before)
            break;
    }
    for (size_t at = to->from; at < to->end; at++)
        to->lost += to->bytes[at] == '\n';
    bool counts = to->from < to->end;
    give_back_queue(to);
    close_file(to);
    if (counts)
        to->report(to->policy, NULL);
}
