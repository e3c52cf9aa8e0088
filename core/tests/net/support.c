#include "support.h"

#include <stdio.h>
#include <stdlib.h>

bool guard_expired;
unsigned echo_open;
char echo_sni[256];

void on_guard(struct deadline *deadline)
{
    (void)deadline;
    guard_expired = true;
}

int open_local(int backlog, struct address *out_address)
{
    char err[200];
    struct sockaddr_storage storage;
    socklen_t size = sizeof storage;
    cr_assert_eq(address_parse(SPAN("127.0.0.1:0"), out_address), WEIR_OK);
    int fd = listen_open(out_address, false, backlog, err, sizeof err);
    cr_assert(fd >= 0, "%s", err);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&storage, &size), 0);
    address_from_sockaddr(out_address, (struct sockaddr *)&storage, size);
    return fd;
}

/* What did not fit waits here, with reading paused meanwhile. */
struct echo {
    char held[8192];
    size_t size, at;
};

static void echo_close(struct conn *conn)
{
    free(conn_user(conn));
    conn_close(conn);
    echo_open--;
}

static void echo_flush(struct conn *conn)
{
    struct echo *echo = conn_user(conn);
    struct iovec part = {echo->held + echo->at, echo->size - echo->at};
    ssize_t sent = conn_writev(conn, &part, 1);
    if (sent == CONN_ERROR) {
        echo_close(conn);
        return;
    }
    if (sent > 0)
        echo->at += (size_t)sent;
    if (echo->at < echo->size) {
        conn_pause_reading(conn);
        return;
    }
    echo->at = echo->size = 0;
    conn_resume_reading(conn);
}

static void echo_readable(struct conn *conn)
{
    struct echo *echo = conn_user(conn);
    struct span sni = conn_sni(conn);
    memcpy(echo_sni, sni.data, sni.size);
    echo_sni[sni.size] = '\0';
    ssize_t got = conn_read(conn, echo->held, sizeof echo->held);
    if (got == CONN_AGAIN)
        return;
    if (got <= 0) {
        echo_close(conn);
        return;
    }
    echo->size = (size_t)got;
    echo->at = 0;
    echo_flush(conn);
}

void echo_accepted(struct listener *listener, struct conn *conn)
{
    static const struct conn_events events = {echo_readable, echo_flush};
    struct echo *echo = calloc(1, sizeof *echo);
    (void)listener;
    cr_assert_not_null(echo);
    echo_open++;
    conn_set_events(conn, &events, echo);
}

char pattern(size_t at)
{
    return (char)('a' + at % 23 + (at / 4096) % 3);
}

static void exchange_write(struct conn *conn)
{
    struct exchange *exchange = conn_user(conn);
    char first[5000], second[30000];
    while (exchange->sent < exchange->size) {
        size_t left = exchange->size - exchange->sent;
        size_t a = left < sizeof first ? left : sizeof first;
        size_t b = left - a < sizeof second ? left - a : sizeof second;
        for (size_t i = 0; i < a; i++)
            first[i] = pattern(exchange->sent + i);
        for (size_t i = 0; i < b; i++)
            second[i] = pattern(exchange->sent + a + i);
        struct iovec parts[] = {{first, a}, {second, b}};
        ssize_t sent = conn_writev(conn, parts, b == 0 ? 1 : 2);
        if (sent < 0) {
            cr_assert_eq(sent, CONN_AGAIN);
            return;
        }
        exchange->sent += (size_t)sent;
        if ((size_t)sent < a + b)
            return;
    }
}

static void exchange_read(struct conn *conn)
{
    struct exchange *exchange = conn_user(conn);
    char buf[10000];
    ssize_t got = conn_read(conn, buf, sizeof buf);
    if (got == CONN_AGAIN)
        return;
    if (got <= 0) {
        exchange->ended = true;
        exchange->conn = NULL;
        conn_close(conn);
        return;
    }
    for (size_t i = 0; i < (size_t)got; i++)
        exchange->wrong += buf[i] != pattern(exchange->received + i);
    exchange->received += (size_t)got;
}

void exchange_dialed(struct conn *conn, enum weir_err err, void *user)
{
    static const struct conn_events events = {exchange_read, exchange_write};
    struct exchange *exchange = user;
    exchange->dialed = true;
    exchange->err = err;
    exchange->conn = conn;
    const char *failure = conn == NULL ? dial_tls_failure() : NULL;
    (void)snprintf(exchange->failure, sizeof exchange->failure, "%s",
                   failure == NULL ? "" : failure);
    if (conn == NULL)
        return;
    conn_set_events(conn, &events, exchange);
    exchange_write(conn);
}
