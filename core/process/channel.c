#include "process/channel.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/auto.h"

#define HEAD_MAGIC 0x77656972u

struct head {
    uint32_t magic, type;
    uint64_t number;
    uint32_t text_size, has_fd;
};

union control { /* aligned as cmsghdr wants it */
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
};

enum weir_err channel_pair(int out_ends[2])
{
    int type = SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC;
    return socketpair(AF_UNIX, type, 0, out_ends) == 0 ? WEIR_OK : WEIR_ERR_SYSTEM;
}

static void attach(struct msghdr *packet, union control *control, int fd)
{
    *control = (union control){0};
    packet->msg_control = control;
    packet->msg_controllen = sizeof(*control);
    struct cmsghdr *part = CMSG_FIRSTHDR(packet);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(sizeof(fd));
    memcpy(CMSG_DATA(part), &fd, sizeof(fd));
}

static enum weir_err socket_error(void)
{
    switch (errno) {
    case EAGAIN:
    case ENOBUFS:
        return WEIR_ERR_AGAIN;
    case EPIPE:
    case ECONNRESET:
    case ENOTCONN:
        return WEIR_ERR_CLOSED;
    default:
        return WEIR_ERR_SYSTEM;
    }
}

enum weir_err channel_send(int end, const struct message *message)
{
    struct span text = span_first(message->text, CHANNEL_TEXT_MAX);
    struct head head = {HEAD_MAGIC, message->type, message->number, (uint32_t)text.size,
                        message->fd >= 0};
    char body[CHANNEL_TEXT_MAX];
    if (text.size > 0)
        memcpy(body, text.data, text.size);
    struct iovec parts[] = {{&head, sizeof(head)}, {body, text.size}};
    struct msghdr packet = {.msg_iov = parts, .msg_iovlen = COUNT_OF(parts)};
    union control control;
    if (message->fd >= 0)
        attach(&packet, &control, message->fd);
    ssize_t sent;
    do
        sent = sendmsg(end, &packet, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? socket_error() : WEIR_OK;
}

static int attached(struct msghdr *packet)
{
    int fd = -1;
    struct cmsghdr *part = CMSG_FIRSTHDR(packet);
    if (part != NULL && part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_RIGHTS &&
        part->cmsg_len == CMSG_LEN(sizeof(fd)))
        memcpy(&fd, CMSG_DATA(part), sizeof(fd));
    return fd;
}

static bool unpack(struct channel_buffer *buffer, size_t size, int fd, struct message *out_message)
{
    struct head head;
    if (size < sizeof(head))
        return false;
    memcpy(&head, buffer->bytes, sizeof(head));
    if (head.magic != HEAD_MAGIC || head.type >= MESSAGE_TYPES ||
        head.text_size != size - sizeof(head) || head.text_size > CHANNEL_TEXT_MAX ||
        (head.has_fd != 0) != (fd >= 0))
        return false;
    *out_message = (struct message){(enum message_type)head.type, head.number,
                                    span_of(buffer->bytes + sizeof(head), head.text_size), fd};
    return true;
}

enum weir_err channel_receive(int end, struct channel_buffer *buffer, struct message *out_message)
{
    union control control = {0};
    struct iovec part = {buffer->bytes, sizeof(buffer->bytes)};
    struct msghdr packet = {.msg_iov = &part,
                            .msg_iovlen = 1,
                            .msg_control = &control,
                            /* Not its whole size: the rest has room for a second descriptor,
                             * which nobody would close. */
                            .msg_controllen = CMSG_LEN(sizeof(int))};
    ssize_t size;
    do
        size = recvmsg(end, &packet, MSG_CMSG_CLOEXEC);
    while (size < 0 && errno == EINTR);
    if (size < 0)
        return socket_error();
    int fd = attached(&packet);
    if (size > 0 && (packet.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0 &&
        unpack(buffer, (size_t)size, fd, out_message))
        return WEIR_OK;
    if (fd >= 0)
        (void)close(fd);
    return size == 0 ? WEIR_ERR_CLOSED : WEIR_ERR_INVALID;
}

const char *message_name(enum message_type type)
{
    static const char *const names[MESSAGE_TYPES] = {
        "PREPARE",   "COMMIT", "ABORT",      "DRAIN",     "REOPEN_LOG",
        "QUIT",      "RECORD", "RECORD_END", "PREPARED",  "REFUSED",
        "COMMITTED", "READY",  "DRAINED",    "RECORDING", "RECORDED"};
    return type < MESSAGE_TYPES ? names[type] : "?";
}
