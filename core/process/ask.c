/* The other end of the control socket: `weir reload`, `weir stop`, `weir health`. Blocking, without
 * a loop: it is all its process does. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/address.h"
#include "process/control.h"
#include "process/process.h"

enum { ANSWER_MAX = 4 << 20 };

/* A descriptor that is closed at the end of its scope. */
static void close_at(const int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
}

static enum weir_err wait_for(int fd, short events, uint64_t until_us)
{
    struct pollfd watched = {.fd = fd, .events = events};
    for (;;) {
        uint64_t now_us = clock_precise_us();
        uint64_t left_ms = now_us >= until_us ? 0 : (until_us - now_us + 999) / 1000;
        int ready = poll(&watched, 1, left_ms > INT32_MAX ? INT32_MAX : (int)left_ms);
        if (ready > 0)
            return WEIR_OK;
        if (ready == 0)
            return WEIR_ERR_TIMEOUT;
        if (errno != EINTR)
            return WEIR_ERR_SYSTEM;
    }
}

static enum weir_err ask(int fd, const char *question, uint64_t until_us, struct buf *answer)
{
    char line[CONTROL_LINE_MAX];
    int size = snprintf(line, sizeof(line), "%s\n", question);
    if (size < 0 || (size_t)size >= sizeof(line))
        return WEIR_ERR_INVALID;
    if (send(fd, line, (size_t)size, MSG_NOSIGNAL) != size)
        return WEIR_ERR_CLOSED;
    for (;;) {
        TRY(wait_for(fd, POLLIN, until_us));
        char *room = buf_reserve(answer, 4096);
        if (room == NULL)
            return WEIR_ERR_NO_MEMORY;
        ssize_t got = recv(fd, room, 4096, 0);
        if (got == 0)
            return answer->size == 0 ? WEIR_ERR_CLOSED : WEIR_OK;
        if (got > 0)
            answer->size += (size_t)got;
        else if (errno != EINTR && errno != EAGAIN)
            return WEIR_ERR_CLOSED;
    }
}

enum weir_err process_ask(const char *prefix, const char *question, uint32_t timeout_ms,
                          struct buf *out_answer)
{
    char path[ADDRESS_TEXT];
    struct address address;
    struct sockaddr_storage storage;
    int size = snprintf(path, sizeof(path), "unix:%s/weir.sock", prefix);
    if (size < 0 || (size_t)size >= sizeof(path) ||
        address_parse(span_text(path), &address) != WEIR_OK)
        return WEIR_ERR_INVALID;
    socklen_t length = address_to_sockaddr(&address, &storage);
    __attribute__((cleanup(close_at))) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return WEIR_ERR_SYSTEM;
    if (connect(fd, (const struct sockaddr *)&storage, length) != 0)
        return errno == ENOENT || errno == ECONNREFUSED ? WEIR_ERR_REFUSED : WEIR_ERR_SYSTEM;
    AUTO_BUF answer = {.limit = ANSWER_MAX};
    uint64_t until_us = clock_precise_us() + (uint64_t)timeout_ms * 1000;
    TRY(ask(fd, question, until_us, &answer));
    buf_span(out_answer, buf_view(&answer));
    return out_answer->failed ? WEIR_ERR_NO_MEMORY : WEIR_OK;
}
