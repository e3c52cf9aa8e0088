/* Connections over loopback: echo, back-pressure, closing, refusals, and running out of
 * descriptors. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support.h"

TestSuite(net_conn, .timeout = 30);

static const struct address_case {
    const char *why, *text;
    enum weir_err err;
    const char *ip, *printed;
} addresses[] = {
    {"IPv4", "127.0.0.1:80", WEIR_OK, "127.0.0.1", "127.0.0.1:80"},
    {"IPv6 needs brackets before a port", "[::1]:8443", WEIR_OK, "::1", "[::1]:8443"},
    {"IPv6 is printed in its short form", "[0:0::0:1]:1", WEIR_OK, "::1", "[::1]:1"},
    {"mapped IPv4 is IPv4: one client, one text", "[::ffff:10.0.0.1]:1", WEIR_OK, "10.0.0.1",
     "10.0.0.1:1"},
    {"a unix path", "unix:/tmp/a.sock", WEIR_OK, "/tmp/a.sock", "unix:/tmp/a.sock"},
    {"the highest port", "1.2.3.4:65535", WEIR_OK, "1.2.3.4", "1.2.3.4:65535"},
    {"no such port", "1.2.3.4:65536", WEIR_ERR_INVALID, NULL, NULL},
    {"a port is a number", "1.2.3.4:http", WEIR_ERR_INVALID, NULL, NULL},
    {"a port is there", "1.2.3.4:", WEIR_ERR_INVALID, NULL, NULL},
    {"no port at all", "1.2.3.4", WEIR_ERR_INVALID, NULL, NULL},
    {"ambiguous", "::1:80", WEIR_ERR_INVALID, NULL, NULL},
    {"IPv4 has no brackets", "[1.2.3.4]:80", WEIR_ERR_INVALID, NULL, NULL},
    {"names are the resolver's", "localhost:80", WEIR_ERR_INVALID, NULL, NULL},
    {"octal would be another host", "010.0.0.1:80", WEIR_ERR_INVALID, NULL, NULL},
    {"an empty host", ":80", WEIR_ERR_INVALID, NULL, NULL},
    {"an empty path", "unix:", WEIR_ERR_INVALID, NULL, NULL},
    {"nothing", "", WEIR_ERR_INVALID, NULL, NULL},
};

Test(net_conn, addresses)
{
    for (size_t i = 0; i < COUNT_OF(addresses); i++) {
        const struct address_case *row = &addresses[i];
        struct address address = {0}, back;
        struct sockaddr_storage storage;
        char text[ADDRESS_TEXT];
        cr_assert_eq(address_parse(span_text(row->text), &address), row->err, "%s", row->why);
        if (row->err != WEIR_OK)
            continue;
        cr_assert_str_eq(address_ip_text(&address).data, row->ip, "%s", row->why);
        cr_assert_str_eq(address_text(&address, text).data, row->printed, "%s", row->why);
        socklen_t size = address_to_sockaddr(&address, &storage);
        address_from_sockaddr(&back, (struct sockaddr *)&storage, size);
        cr_assert(address_equal(&address, &back), "%s: there and back", row->why);
    }
}

static void echo_over(const char *where, size_t size)
{
    AUTO(loop_destroy) struct loop *loop = loop_create();
    struct address address;
    char err[200] = "";
    cr_assert_eq(address_parse(span_text(where), &address), WEIR_OK);
    int fd = listen_open(&address, false, 16, err, sizeof err);
    cr_assert(fd >= 0, "%s", err);
    struct listener *listener = listener_start(loop, fd, NULL, echo_accepted, NULL);
    cr_assert_not_null(listener);
    address = *listener_address(listener);
    struct exchange exchange = {.size = size};
    cr_assert_not_null(dial_start(loop, &address, NULL, NULL, 5000, exchange_dialed, &exchange));
    TURN_UNTIL(loop, exchange.received == size || exchange.ended || exchange.err != WEIR_OK);
    cr_assert_eq(exchange.received, size);
    cr_assert_eq(exchange.wrong, 0);
    cr_assert(address_equal(conn_peer(exchange.conn), &address));
    cr_assert_not(conn_is_tls(exchange.conn));
    conn_shutdown_write(exchange.conn);
    TURN_UNTIL(loop, exchange.ended && echo_open == 0);
    cr_assert_eq(listener_stats(listener).accepted, 1);
    listener_stop(listener);
    (void)close(fd);
}

Test(net_conn, echo_small)
{
    echo_over("127.0.0.1:0", 10);
}

Test(net_conn, echo_more_than_the_socket_holds)
{
    echo_over("127.0.0.1:0", 5000000);
}

Test(net_conn, echo_over_a_unix_path_left_by_a_dead_process)
{
    char where[64], err[200];
    struct address address;
    (void)snprintf(where, sizeof where, "unix:/tmp/weir-test-%d.sock", (int)getpid());
    cr_assert_eq(address_parse(span_text(where), &address), WEIR_OK);
    int fd = listen_open(&address, false, 16, err, sizeof err);
    cr_assert(fd >= 0, "%s", err);
    cr_assert_eq(listen_open(&address, false, 16, err, sizeof err), -1, "somebody listens there");
    cr_assert_not_null(strstr(err, where), "%s", err);
    (void)close(fd); /* the file stays, as after a crash */
    echo_over(where, 300000);
    (void)unlink(where + 5);
}

Test(net_conn, a_file_is_never_unlinked)
{
    char where[64], err[200];
    struct address address;
    struct stat status;
    (void)snprintf(where, sizeof where, "unix:/tmp/weir-test-%d.file", (int)getpid());
    int file = open(where + 5, O_CREAT | O_WRONLY, 0600);
    cr_assert(file >= 0);
    (void)close(file);
    cr_assert_eq(address_parse(span_text(where), &address), WEIR_OK);
    cr_assert_eq(listen_open(&address, false, 16, err, sizeof err), -1);
    cr_assert_eq(stat(where + 5, &status), 0);
    (void)unlink(where + 5);
}

/* --- pausing */
static unsigned reads;
static bool closed_inside;

static void count_read(struct conn *conn)
{
    char buf[16];
    reads++;
    cr_assert_gt(conn_read(conn, buf, sizeof buf), 0);
}

static void close_inside(struct conn *conn)
{
    char byte;
    conn_close(conn);
    conn_close(conn);
    cr_assert_eq(conn_read(conn, &byte, 1), CONN_ERROR, "closed, but still memory");
    closed_inside = true;
}

static struct conn *pair(struct loop *loop, int *out_other)
{
    int ends[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    struct conn *conn = conn_create(loop, ends[0], NULL);
    cr_assert_not_null(conn);
    *out_other = ends[1];
    return conn;
}

Test(net_conn, pause_and_resume)
{
    static const struct conn_events events = {.readable = count_read};
    AUTO(loop_destroy) struct loop *loop = loop_create();
    int other;
    struct conn *conn = pair(loop, &other);
    conn_set_events(conn, &events, NULL);
    conn_pause_reading(conn);
    cr_assert_eq(write(other, "x", 1), 1);
    for (int i = 0; i < 5; i++)
        loop_poll(loop);
    cr_assert_eq(reads, 0, "paused");
    conn_resume_reading(conn);
    TURN_UNTIL(loop, reads == 1);
    conn_close(conn);
    (void)close(other);
}

Test(net_conn, a_reset_that_a_write_has_heard_of_is_no_end)
{
    AUTO(loop_destroy) struct loop *loop = loop_create();
    struct linger at_once = {.l_onoff = 1};
    struct sockaddr_in where = {0};
    socklen_t size = sizeof where;
    struct address address;
    char byte;
    int listener = open_local(1, &address), peer = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(getsockname(listener, (struct sockaddr *)&where, &size), 0);
    cr_assert_eq(connect(peer, (struct sockaddr *)&where, size), 0);
    struct conn *conn = conn_create(loop, accept4(listener, NULL, NULL, SOCK_NONBLOCK), NULL);
    cr_assert_not_null(conn);
    cr_assert_eq(setsockopt(peer, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
    (void)close(peer);
    cr_assert_eq(conn_write(conn, SPAN("x")), CONN_ERROR);
    cr_assert_eq(conn_read(conn, &byte, 1), CONN_ERROR, "it would seem to have ended well");
    conn_close(conn);
    (void)close(listener);
}

Test(net_conn, bytes_wait_for_events_to_be_set)
{
    static const struct conn_events events = {.readable = count_read};
    AUTO(loop_destroy) struct loop *loop = loop_create();
    int other;
    struct conn *conn = pair(loop, &other);
    cr_assert_eq(write(other, "x", 1), 1);
    loop_run_once(loop);
    loop_poll(loop);
    cr_assert_not(conn_is_reading(conn), "nobody to read: no spinning");
    conn_set_events(conn, &events, NULL);
    TURN_UNTIL(loop, reads == 1);
    conn_close(conn);
    (void)close(other);
}

Test(net_conn, closing_inside_its_own_callback)
{
    static const struct conn_events events = {close_inside, close_inside};
    AUTO(loop_destroy) struct loop *loop = loop_create();
    char block[65536] = {0};
    struct iovec part = {block, sizeof block};
    int other;
    struct conn *conn = pair(loop, &other);
    conn_set_events(conn, &events, NULL);
    while (conn_writev(conn, &part, 1) > 0) {
    }
    /* Now both callbacks are due in one turn; the second must not come. */
    cr_assert_eq(write(other, "x", 1), 1);
    while (read(other, block, sizeof block) > 0) {
    }
    TURN_UNTIL(loop, closed_inside);
    loop_poll(loop);
    struct conn *next = pair(loop, &other);
    cr_assert_eq(next, conn, "the memory is used again");
    conn_close(next);
}

/* --- dialing */
Test(net_conn, dial_refused)
{
    AUTO(loop_destroy) struct loop *loop = loop_create();
    struct address address;
    struct exchange exchange = {0};
    int fd = open_local(1, &address);
    (void)close(fd); /* a port nobody listens on */
    struct dial *dial = dial_start(loop, &address, NULL, NULL, 5000, exchange_dialed, &exchange);
    cr_assert_not_null(dial);
    cr_assert_not(exchange.dialed, "never before dial_start returns");
    TURN_UNTIL(loop, exchange.dialed);
    cr_assert_eq(exchange.err, WEIR_ERR_REFUSED);

    exchange = (struct exchange){0};
    cr_assert_eq(address_parse(SPAN("unix:/nonexistent/weir.sock"), &address), WEIR_OK);
    cr_assert_not_null(dial_start(loop, &address, NULL, NULL, 5000, exchange_dialed, &exchange));
    cr_assert_not(exchange.dialed, "never before dial_start returns");
    TURN_UNTIL(loop, exchange.dialed);
    cr_assert_eq(exchange.err, WEIR_ERR_REFUSED);
}

Test(net_conn, dial_timeout_and_cancel)
{
    AUTO(loop_destroy) struct loop *loop = loop_create();
    struct address address;
    struct exchange filler[4] = {{0}}, late = {0}, cancelled = {0};
    int fd = open_local(0, &address); /* never accepts: the queue is soon full */
    for (size_t i = 0; i < COUNT_OF(filler); i++)
        cr_assert_not_null(
            dial_start(loop, &address, NULL, NULL, 300, exchange_dialed, &filler[i]));
    TURN_UNTIL(loop, filler[0].dialed);
    uint64_t start = clock_mono_ms();
    cr_assert_not_null(dial_start(loop, &address, NULL, NULL, 200, exchange_dialed, &late));
    struct dial *dial = dial_start(loop, &address, NULL, NULL, 50, exchange_dialed, &cancelled);
    dial_cancel(dial);
    TURN_UNTIL(loop, late.dialed && filler[3].dialed);
    cr_assert_eq(late.err, WEIR_ERR_TIMEOUT);
    cr_assert_geq(clock_mono_ms() - start, 200);
    cr_assert_not(cancelled.dialed);
    for (size_t i = 0; i < COUNT_OF(filler); i++)
        conn_close(filler[i].conn);
    (void)close(fd);
}

Test(net_conn, out_of_descriptors_pauses_the_listener)
{
    AUTO(loop_destroy) struct loop *loop = loop_create();
    struct address address;
    struct exchange exchange = {.size = 10};
    struct rlimit limit;
    int fd = open_local(16, &address);
    struct listener *listener = listener_start(loop, fd, NULL, echo_accepted, NULL);
    cr_assert_not_null(listener);
    cr_assert_not_null(dial_start(loop, &address, NULL, NULL, 5000, exchange_dialed, &exchange));
    int probe = dup(fd);
    (void)close(probe);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    rlim_t before = limit.rlim_cur;
    limit.rlim_cur = (rlim_t)probe;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    TURN_UNTIL(loop, listener_stats(listener).paused == 2);
    cr_assert_eq(listener_stats(listener).accepted, 0);
    limit.rlim_cur = before;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    TURN_UNTIL(loop, exchange.received == 10);
    cr_assert_leq(listener_stats(listener).paused, 3, "a pause is 100 ms, not a spin");
    conn_close(exchange.conn);
    TURN_UNTIL(loop, echo_open == 0);
    listener_stop(listener);
    (void)close(fd);
}
