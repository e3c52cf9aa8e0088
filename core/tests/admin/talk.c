#include "talk.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

enum { PATIENCE_US = 20000000 };

int talk_listen(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    cr_assert(fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
              listen(fd, 64) == 0);
    return fd;
}

int talk_connect(int listening)
{
    struct sockaddr_in address;
    socklen_t size = sizeof(address);
    cr_assert(getsockname(listening, (struct sockaddr *)&address, &size) == 0);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert(fd >= 0 && connect(fd, (struct sockaddr *)&address, size) == 0);
    int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    cr_assert(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
    return fd;
}

/* False at the end of the stream. */
static bool take(int fd, struct buf *got)
{
    char bytes[65536];
    ssize_t size = recv(fd, bytes, sizeof(bytes), 0);
    if (size > 0)
        buf_append(got, bytes, (size_t)size);
    return size > 0 || (size < 0 && errno == EAGAIN);
}

char *talk(struct loop *loop, int listening, struct span bytes, size_t piece)
{
    int fd = talk_connect(listening);
    struct buf got = BUF_INIT;
    uint64_t start = clock_precise_us();
    bool open = true;
    while (open && clock_precise_us() - start < PATIENCE_US) {
        if (bytes.size > 0) {
            ssize_t sent =
                send(fd, bytes.data, bytes.size < piece ? bytes.size : piece, MSG_NOSIGNAL);
            if (sent > 0)
                bytes = span_from(bytes, (size_t)sent);
        }
        loop_poll(loop);
        open = take(fd, &got);
    }
    (void)close(fd);
    loop_poll(loop); /* what was put off by the end */
    buf_byte(&got, '\0');
    cr_assert(!got.failed);
    if (open)
        buf_free(&got);
    return got.data;
}
