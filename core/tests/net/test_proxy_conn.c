/* A PROXY header on connections of a listener that expects one: plain and before TLS, in pieces,
 * with more behind it, and what happens without it. */
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "support.h"

TestSuite(net_proxy_conn, .timeout = 60);

#define LINE "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n"

/* One accepted connection and what its reader has seen. */
static struct {
    struct conn *conn;
    unsigned readable;
    char got[256];
    size_t size;
    bool ended, failed;
} side;

static void side_readable(struct conn *conn)
{
    char bytes[64];
    ssize_t got = conn_read(conn, bytes, sizeof bytes);
    side.readable++;
    if (got == CONN_AGAIN)
        return;
    if (got == CONN_ERROR)
        side.failed = true;
    else if (got == 0)
        side.ended = true;
    else
        memcpy(side.got + side.size, bytes, (size_t)got);
    side.size += got > 0 ? (size_t)got : 0;
    if (got <= 0)
        conn_pause_reading(conn);
}

static void side_accepted(struct listener *listener, struct conn *conn)
{
    static const struct conn_events events = {.readable = side_readable};
    (void)listener;
    side.conn = conn;
    conn_set_events(conn, &events, NULL);
}

struct door {
    struct loop *loop;
    struct listener *listener;
    struct address address;
    int fd, client;
};

static struct door door_open(struct tls_server *tls)
{
    struct door door = {.loop = loop_create()};
    struct sockaddr_storage storage;
    memset(&side, 0, sizeof side);
    door.fd = open_local(16, &door.address);
    door.listener = listener_start(door.loop, door.fd, tls, side_accepted, NULL);
    cr_assert_not_null(door.listener);
    listener_expect_header(door.listener);
    door.client = socket(AF_INET, SOCK_STREAM, 0);
    socklen_t size = address_to_sockaddr(&door.address, &storage);
    cr_assert_eq(connect(door.client, (struct sockaddr *)&storage, size), 0);
    TURN_UNTIL(door.loop, side.conn != NULL);
    return door;
}

static void door_close(struct door *door)
{
    conn_close(side.conn);
    listener_stop(door->listener);
    (void)close(door->fd);
    (void)close(door->client);
    loop_destroy(door->loop);
}

static void say(const struct door *door, const char *bytes, size_t size)
{
    cr_assert_eq(send(door->client, bytes, size, MSG_NOSIGNAL), (ssize_t)size);
}

static void expect_client(const char *text)
{
    char out[ADDRESS_TEXT];
    cr_assert_null(conn_header_missing(side.conn));
    if (text == NULL) {
        cr_assert_null(conn_announced(side.conn));
        return;
    }
    cr_assert_not_null(conn_announced(side.conn));
    cr_assert_str_eq(address_text(conn_announced(side.conn), out).data, text);
    cr_assert(conn_peer(side.conn)->ip[0] == 127, "the peer stays the balancer");
}

Test(net_proxy_conn, a_header_and_what_follows_in_one_packet)
{
    struct door door = door_open(NULL);
    say(&door, LINE "after", sizeof(LINE "after") - 1);
    TURN_UNTIL(door.loop, side.size == 5);
    cr_assert_eq(memcmp(side.got, "after", 5), 0);
    expect_client("192.0.2.1:56324");
    cr_assert_not(conn_is_tls(side.conn));
    door_close(&door);
}

/* The bytes that have come are taken from the socket, else it would be readable all the time. */
Test(net_proxy_conn, byte_by_byte_without_spinning)
{
    struct door door = door_open(NULL);
    for (size_t i = 0; i < sizeof LINE - 1; i++) {
        int waiting = 1;
        cr_assert_not_null(conn_header_missing(side.conn));
        say(&door, LINE + i, 1);
        while (waiting > 0) {
            loop_run_once(door.loop);
            cr_assert_eq(ioctl(conn_fd(side.conn), FIONREAD, &waiting), 0);
        }
    }
    cr_assert_eq(side.readable, 0, "nothing has come behind the header");
    expect_client("192.0.2.1:56324");
    say(&door, "x", 1);
    TURN_UNTIL(door.loop, side.size == 1);
    door_close(&door);
}

Test(net_proxy_conn, a_header_without_addresses)
{
    struct door door = door_open(NULL);
    say(&door, "PROXY UNKNOWN\r\nx", 16);
    TURN_UNTIL(door.loop, side.size == 1);
    expect_client(NULL);
    door_close(&door);
}

Test(net_proxy_conn, nothing_is_written_before_it)
{
    struct door door = door_open(NULL);
    char byte = 'x';
    struct iovec part = {&byte, 1};
    cr_assert_eq(conn_writev(side.conn, &part, 1), CONN_ERROR);
    cr_assert_not(conn_is_tls(side.conn));
    cr_assert_eq(conn_sni(side.conn).size, 0);
    say(&door, LINE, sizeof LINE - 1);
    TURN_UNTIL(door.loop, conn_header_missing(side.conn) == NULL);
    cr_assert_eq(conn_writev(side.conn, &part, 1), 1);
    cr_assert_eq(recv(door.client, &byte, 1, 0), 1);
    door_close(&door);
}

static void expect_refusal(struct door *door, const char *why)
{
    TURN_UNTIL(door->loop, side.failed);
    cr_assert_not_null(strstr(conn_header_missing(side.conn), why), "%s",
                       conn_header_missing(side.conn));
    cr_assert_null(conn_announced(side.conn));
    cr_assert_eq(side.size, 0, "no byte of it was read");
    door_close(door);
}

Test(net_proxy_conn, other_bytes_are_refused)
{
    struct door door = door_open(NULL);
    say(&door, "GET / HTTP/1.1\r\n\r\n", 18);
    expect_refusal(&door, "no PROXY header");
}

Test(net_proxy_conn, a_connection_that_ends_first_is_refused)
{
    struct door door = door_open(NULL);
    say(&door, "PROXY TCP4", 10);
    cr_assert_eq(shutdown(door.client, SHUT_WR), 0);
    expect_refusal(&door, "ended");
}

/* It has left nothing in the socket, and the reader was not listening: it learns of it all the
 * same. */
Test(net_proxy_conn, a_reader_that_paused_is_told_later)
{
    struct door door = door_open(NULL);
    conn_pause_reading(side.conn);
    say(&door, "P", 1);
    say(&door, "ROXY TCP4 \n", 11);
    while (strstr(conn_header_missing(side.conn), "in time") != NULL)
        loop_run_once(door.loop);
    cr_assert_not(side.failed);
    conn_resume_reading(side.conn);
    expect_refusal(&door, "CR LF");
}

/* OpenSSL itself on the other side, so that the header goes before its first byte. */
Test(net_proxy_conn, before_the_handshake_of_tls)
{
    char err[200] = "";
    struct tls_server *server = tls_server_create(NULL, NULL, err, sizeof err);
    cr_assert_not_null(server, "%s", err);
    struct door door = door_open(server);
    tls_server_destroy(server); /* the connection that waits for its header counts as a user */
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL *ssl = SSL_new(context);
    cr_assert_eq(SSL_set_tlsext_host_name(ssl, "shop.example"), 1);
    for (size_t i = 0; i < sizeof LINE - 1; i++) {
        say(&door, LINE + i, 1);
        loop_poll(door.loop);
    }
    SSL_set_fd(ssl, door.client);
    int flags = 1;
    cr_assert_eq(ioctl(door.client, FIONBIO, &flags), 0);
    TURN_UNTIL(door.loop, (SSL_connect(ssl) == 1 && SSL_write(ssl, "hello", 5) == 5) ||
                              (loop_poll(door.loop), false));
    TURN_UNTIL(door.loop, side.size == 5);
    expect_client("192.0.2.1:56324");
    cr_assert(conn_is_tls(side.conn));
    cr_assert_str_eq(conn_sni(side.conn).data, "shop.example");
    SSL_free(ssl);
    SSL_CTX_free(context);
    door_close(&door);
}
