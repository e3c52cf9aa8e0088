/* The control channel: whole messages or none, and nothing that is not ours. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "process/channel.h"
#include "process/revision.h"

TestSuite(process_channel, .timeout = 30);

static int ends[2];
static struct channel_buffer buffer;

static void open_pair(void)
{
    cr_assert_eq(channel_pair(ends), WEIR_OK);
}

static void close_pair(void)
{
    (void)close(ends[0]);
    (void)close(ends[1]);
}

Test(process_channel, messages_arrive_whole_and_in_order, .init = open_pair, .fini = close_pair)
{
    static char long_text[CHANNEL_TEXT_MAX + 100];
    memset(long_text, 'x', sizeof(long_text));
    const struct {
        const char *why;
        struct message message;
        size_t text_size;
    } rows[] = {
        {"no text", {MESSAGE_COMMIT, 7, SPAN_NONE, -1}, 0},
        {"a text", {MESSAGE_REFUSED, UINT64_MAX, SPAN("f:1:2: no"), -1}, 9},
        {"a text too long is cut, not lost",
         {MESSAGE_REFUSED, 1, {long_text, sizeof(long_text)}, -1},
         CHANNEL_TEXT_MAX},
        {"the last type there is", {MESSAGE_DRAINED, 0, SPAN_NONE, -1}, 0},
    };
    struct message got;
    cr_assert_eq(channel_receive(ends[1], &buffer, &got), WEIR_ERR_AGAIN, "nothing yet");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        cr_assert_eq(channel_send(ends[0], &rows[i].message), WEIR_OK, "%s", rows[i].why);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cr_assert_eq(channel_receive(ends[1], &buffer, &got), WEIR_OK, "%s", rows[i].why);
        cr_expect_eq(got.type, rows[i].message.type, "%s", rows[i].why);
        cr_expect_eq(got.number, rows[i].message.number, "%s", rows[i].why);
        cr_expect_eq(got.text.size, rows[i].text_size, "%s", rows[i].why);
        cr_expect_eq(memcmp(got.text.data,
                            rows[i].message.text.data == NULL ? "" : rows[i].message.text.data,
                            rows[i].text_size),
                     0, "%s", rows[i].why);
        cr_expect_eq(got.fd, -1, "%s", rows[i].why);
    }
    cr_assert_eq(channel_receive(ends[1], &buffer, &got), WEIR_ERR_AGAIN, "and no more");
}

Test(process_channel, a_configuration_travels_as_a_descriptor, .init = open_pair,
     .fini = close_pair)
{
    char path[] = "/tmp/weir-test-XXXXXX";
    int file = mkstemp(path);
    cr_assert_eq(write(file, "services: []\n", 13), 13);
    (void)close(file);
    struct revision *revision = NULL;
    cr_assert_eq(revision_read(path, 5, &revision), WEIR_OK);
    (void)unlink(path);
    struct message message = {MESSAGE_PREPARE, revision->number, SPAN("kong.yml"), revision->fd};
    cr_assert_eq(channel_send(ends[0], &message), WEIR_OK);
    revision_destroy(revision); /* the receiver's descriptor is its own */

    struct message got;
    struct mapped_text mapped;
    cr_assert_eq(channel_receive(ends[1], &buffer, &got), WEIR_OK);
    cr_assert_geq(got.fd, 0);
    cr_assert_neq(fcntl(got.fd, F_GETFD) & FD_CLOEXEC, 0);
    cr_assert_eq(mapped_text_open(got.fd, &mapped), WEIR_OK);
    cr_expect(span_equal(mapped.text, SPAN("services: []\n")));
    cr_expect_lt(write(got.fd, "x", 1), 0, "a worker cannot change what the others compile");
    mapped_text_close(&mapped);
    (void)close(got.fd);
}

Test(process_channel, an_empty_file_is_an_empty_text)
{
    struct revision *revision = NULL;
    struct mapped_text mapped;
    cr_assert_eq(revision_read("/dev/null", 1, &revision), WEIR_OK);
    cr_assert_eq(mapped_text_open(revision->fd, &mapped), WEIR_OK);
    cr_expect_eq(mapped.text.size, 0);
    mapped_text_close(&mapped);
    revision_destroy(revision);
    revision = NULL;
    cr_expect_eq(revision_read("/nonexistent/kong.yml", 1, &revision), WEIR_ERR_SYSTEM);
    cr_expect_null(revision);
}

Test(process_channel, what_is_no_message_is_refused, .init = open_pair, .fini = close_pair)
{
    struct {
        uint32_t magic, type;
        uint64_t number;
        uint32_t text_size, has_fd;
        char text[8];
    } raw;
    const uint32_t magic = 0x77656972u;
    const struct {
        const char *why;
        uint32_t magic, type, text_size, has_fd;
        size_t size;
        enum weir_err want;
    } rows[] = {
        {"this one is good: the rows below differ in one thing", magic, 0, 4, 0, 28, WEIR_OK},
        {"a stranger", 1, 0, 4, 0, 28, WEIR_ERR_INVALID},
        {"a type past the last", magic, MESSAGE_TYPES, 4, 0, 28, WEIR_ERR_INVALID},
        {"a head cut short", magic, 0, 0, 0, 23, WEIR_ERR_INVALID},
        {"less text than it says", magic, 0, 5, 0, 28, WEIR_ERR_INVALID},
        {"more text than it says", magic, 0, 3, 0, 28, WEIR_ERR_INVALID},
        {"a length that wraps around", magic, 0, UINT32_MAX, 0, 28, WEIR_ERR_INVALID},
        {"a descriptor is announced and not there", magic, 0, 4, 1, 28, WEIR_ERR_INVALID},
    };
    struct message got;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        memset(&raw, 0, sizeof(raw));
        raw.magic = rows[i].magic;
        raw.type = rows[i].type;
        raw.text_size = rows[i].text_size;
        raw.has_fd = rows[i].has_fd;
        cr_assert_eq(send(ends[0], &raw, rows[i].size, 0), (ssize_t)rows[i].size);
        cr_expect_eq(channel_receive(ends[1], &buffer, &got), rows[i].want, "%s", rows[i].why);
    }
}

static int count_descriptors(void)
{
    int count = 0;
    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

Test(process_channel, more_descriptors_than_one_are_refused_and_closed, .init = open_pair,
     .fini = close_pair)
{
    struct {
        uint32_t magic, type;
        uint64_t number;
        uint32_t text_size, has_fd;
    } head = {0x77656972u, MESSAGE_DRAINED, 1, 0, 1};
    for (size_t count = 1; count <= 8; count++) {
        int fds[8] = {0};
        union {
            struct cmsghdr header;
            char bytes[CMSG_SPACE(sizeof(fds))];
        } control;
        memset(&control, 0, sizeof(control));
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(&control.header), fds, count * sizeof(int));
        struct iovec part = {&head, sizeof(head)};
        struct msghdr packet = {.msg_iov = &part,
                                .msg_iovlen = 1,
                                .msg_control = &control,
                                .msg_controllen = CMSG_SPACE(count * sizeof(int))};
        int before = count_descriptors();
        struct message got = {.fd = -1};
        cr_assert_eq(sendmsg(ends[0], &packet, 0), (ssize_t)sizeof(head));
        cr_expect_eq(channel_receive(ends[1], &buffer, &got),
                     count == 1 ? WEIR_OK : WEIR_ERR_INVALID, "%zu of them", count);
        if (got.fd >= 0)
            (void)close(got.fd);
        cr_expect_eq(count_descriptors(), before, "%zu of them are left open", count);
    }
}

Test(process_channel, the_other_side_is_gone_or_does_not_read, .init = open_pair)
{
    struct message message = {MESSAGE_COMMIT, 1, SPAN_NONE, -1}, got;
    enum weir_err err = WEIR_OK;
    for (int i = 0; i < 100000 && err == WEIR_OK; i++)
        err = channel_send(ends[0], &message);
    cr_assert_eq(err, WEIR_ERR_AGAIN, "a full channel is told, nobody waits");
    cr_assert_eq(close(ends[0]), 0);
    do
        err = channel_receive(ends[1], &buffer, &got);
    while (err == WEIR_OK);
    cr_expect_eq(err, WEIR_ERR_CLOSED, "what was sent before is still read");
    cr_expect_eq(channel_send(ends[1], &message), WEIR_ERR_CLOSED, "and no SIGPIPE");
    (void)close(ends[1]);
}
