/* TLS as a filter of a connection. OpenSSL does the socket I/O itself; this file turns what it
 * wants into the flags of the connection, and keeps the handshake from the reader: until it is done
 * nothing is readable and writes give CONN_AGAIN. */
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

#include "net/internal.h"
#include "net/tls_internal.h"

enum { HANDSHAKE_MS = 10000, RECORD_SIZE = 16384 };
enum tls_state { TLS_HANDSHAKE, TLS_OPEN, TLS_FAILED };

struct tls_session {
    struct conn_filter filter; /* first: conn->filter points at it */
    SSL *ssl;
    struct conn *conn; /* owns us */
    void (*opened)(struct conn *conn, bool good);
    struct deadline handshake;
    struct loop_task pending; /* OpenSSL holds bytes the socket will not tell about */
    enum tls_state state;
    unsigned long error;   /* OpenSSL's, of a handshake that failed */
    bool writer_waits;     /* the user got CONN_AGAIN or a short write */
    bool read_needs_write; /* a key update must be answered before we can read on */
    bool write_needs_read;
};

static const struct conn_filter_ops tls_ops;

static struct tls_session *session_of(const struct conn *conn)
{
    return (struct tls_session *)(void *)conn->filter;
}

static void set_want_write(struct conn *conn, bool wanted)
{
    conn->want_write = wanted;
    conn_arm(conn);
}

static void fail(struct tls_session *session, int error)
{
    struct conn *conn = session->conn;
    void (*opened)(struct conn *, bool) = session->opened;
    deadline_clear(&session->handshake);
    session->state = TLS_FAILED;
    session->opened = NULL;
    conn->error = error;
    conn->must_read = false;
    set_want_write(conn, false);
    if (opened != NULL)
        opened(conn, false);
    else
        conn_dispatch(conn, EV_READ); /* the reader gets CONN_ERROR */
}

static void open_up(struct tls_session *session)
{
    struct conn *conn = session->conn;
    void (*opened)(struct conn *, bool) = session->opened;
    deadline_clear(&session->handshake);
    session->state = TLS_OPEN;
    session->opened = NULL;
    conn->must_read = false;
    set_want_write(conn, session->writer_waits);
    /* The first request may have come with the end of the handshake. */
    loop_after_turn(conn->loop, &session->pending);
    if (opened != NULL)
        opened(conn, true);
}

static void shake_hands(struct tls_session *session)
{
    ERR_clear_error();
    int result = SSL_do_handshake(session->ssl);
    if (result == 1) {
        open_up(session);
        return;
    }
    int saved = errno;
    switch (SSL_get_error(session->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        set_want_write(session->conn, false);
        break;
    case SSL_ERROR_WANT_WRITE:
        set_want_write(session->conn, true);
        break;
    case SSL_ERROR_SYSCALL:
        fail(session, saved);
        break;
    default:
        session->error = ERR_peek_error();
        fail(session, 0);
        break;
    }
}

void tls_failure(const struct conn *conn, char *out, size_t size)
{
    const struct tls_session *session = session_of(conn);
    long verified = SSL_get_verify_result(session->ssl);
    const char *reason = ERR_reason_error_string(session->error);
    out[0] = '\0';
    if (session->error == 0)
        return;
    if (ERR_GET_REASON(session->error) == SSL_R_CERTIFICATE_VERIFY_FAILED && verified != X509_V_OK)
        (void)snprintf(out, size, "the certificate is refused: %s",
                       X509_verify_cert_error_string(verified));
    else if (ERR_GET_REASON(session->error) == SSL_R_WRONG_VERSION_NUMBER)
        (void)snprintf(out, size, "the TLS handshake failed: what answers does not speak TLS");
    else
        (void)snprintf(out, size, "the TLS handshake failed: %s",
                       reason == NULL ? "no reason known" : reason);
}

static void on_handshake_late(struct deadline *deadline)
{
    fail(LIST_ENTRY(deadline, struct tls_session, handshake), ETIMEDOUT);
}

static void on_pending(struct loop_task *task)
{
    struct tls_session *session = LIST_ENTRY(task, struct tls_session, pending);
    conn_dispatch(session->conn, EV_READ);
}

static void tls_ready(struct conn *conn, int revents)
{
    struct tls_session *session = session_of(conn);
    if (session->state == TLS_HANDSHAKE) {
        shake_hands(session);
        return;
    }
    if ((revents & EV_WRITE) != 0 && session->read_needs_write) {
        session->read_needs_write = false;
        revents |= EV_READ;
    }
    if ((revents & EV_READ) != 0 && session->write_needs_read) {
        session->write_needs_read = false;
        conn->want_write = true;
        revents |= EV_WRITE;
    }
    if ((revents & EV_WRITE) != 0 && !session->writer_waits) {
        set_want_write(conn, false); /* it ran for the reader */
        revents &= ~EV_WRITE;
    }
    if ((revents & EV_WRITE) != 0)
        session->writer_waits = false;
    conn_dispatch(conn, revents);
}

/* What a failed SSL_read or SSL_write means. */
static ssize_t failure(struct tls_session *session, int result)
{
    int saved = errno;
    switch (SSL_get_error(session->ssl, result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return CONN_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    case SSL_ERROR_SYSCALL:
        session->conn->error = saved;
        break;
    default:
        /* A cut without the end that TLS has is to those above what a reset is. */
        session->conn->error =
            ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING ? ECONNRESET : 0;
        break;
    }
    session->state = TLS_FAILED;
    return CONN_ERROR;
}

static ssize_t tls_read(struct conn *conn, void *buf, size_t size)
{
    struct tls_session *session = session_of(conn);
    if (session->state != TLS_OPEN)
        return session->state == TLS_FAILED ? CONN_ERROR : CONN_AGAIN;
    ERR_clear_error();
    int got = SSL_read(session->ssl, buf, size > INT32_MAX ? INT32_MAX : (int)size);
    if (got > 0) {
        if (SSL_pending(session->ssl) > 0)
            loop_after_turn(conn->loop, &session->pending);
        return got;
    }
    ssize_t result = failure(session, got);
    if (result == CONN_AGAIN && SSL_want_write(session->ssl)) {
        session->read_needs_write = true;
        set_want_write(conn, true);
    }
    return result;
}

/* The parts as one record: a head and its body in two records cost the client a second decryption.
 */
static const void *join(const struct iovec *parts, int count, char *record, size_t *out_size,
                        size_t *out_total)
{
    size_t size = 0, total = 0;
    for (int i = 0; i < count; i++)
        total += parts[i].iov_len;
    *out_total = total;
    if (count == 1 || parts[0].iov_len >= RECORD_SIZE) {
        *out_size = parts[0].iov_len < RECORD_SIZE ? parts[0].iov_len : RECORD_SIZE;
        return parts[0].iov_base;
    }
    for (int i = 0; i < count && size < RECORD_SIZE; i++) {
        size_t piece = parts[i].iov_len;
        if (piece > RECORD_SIZE - size)
            piece = RECORD_SIZE - size;
        if (piece > 0)
            memcpy(record + size, parts[i].iov_base, piece);
        size += piece;
    }
    *out_size = size;
    return record;
}

static void wait_to_write(struct conn *conn, struct tls_session *session)
{
    session->writer_waits = true;
    set_want_write(conn, true);
}

static ssize_t tls_writev(struct conn *conn, const struct iovec *parts, int count)
{
    struct tls_session *session = session_of(conn);
    char record[RECORD_SIZE];
    size_t size = 0, total = 0;
    if (session->state == TLS_FAILED)
        return CONN_ERROR;
    if (session->state == TLS_HANDSHAKE) {
        session->writer_waits = true; /* open_up() starts the watcher */
        return CONN_AGAIN;
    }
    while (count > 0 && parts->iov_len == 0)
        parts++, count--;
    if (count == 0)
        return 0;
    const void *data = join(parts, count, record, &size, &total);
    ERR_clear_error();
    int sent = SSL_write(session->ssl, data, (int)size);
    if (sent > 0) {
        if ((size_t)sent < total)
            wait_to_write(conn, session);
        return sent;
    }
    ssize_t result = failure(session, sent);
    if (result == CONN_AGAIN && SSL_want_read(session->ssl)) {
        session->writer_waits = session->write_needs_read = true;
    } else if (result == CONN_AGAIN) {
        wait_to_write(conn, session);
    }
    return result == 0 ? CONN_ERROR : result;
}

static void say_goodbye(struct tls_session *session)
{
    if (session->state != TLS_OPEN || (SSL_get_shutdown(session->ssl) & SSL_SENT_SHUTDOWN) != 0)
        return;
    ERR_clear_error();
    (void)SSL_shutdown(
        session->ssl); /* when it does not fit the other side sees a cut, as it should */
    ERR_clear_error();
}

static void tls_shutdown_write(struct conn *conn)
{
    say_goodbye(session_of(conn));
}

static void tls_resumed(struct conn *conn)
{
    struct tls_session *session = session_of(conn);
    if (session->state == TLS_FAILED ||
        (session->state == TLS_OPEN && SSL_pending(session->ssl) > 0))
        loop_after_turn(conn->loop, &session->pending);
}

static struct span tls_sni(const struct conn *conn)
{
    const char *name = SSL_get_servername(session_of(conn)->ssl, TLSEXT_NAMETYPE_host_name);
    return name == NULL ? SPAN("") : span_text(name);
}

static void tls_facts(const struct conn *conn, struct span *out_version, struct span *out_cipher)
{
    const SSL *ssl = session_of(conn)->ssl;
    *out_version = span_text(SSL_get_version(ssl));
    *out_cipher = span_text(SSL_get_cipher_name(ssl));
}

void tls_session_destroy(struct tls_session *session)
{
    if (session == NULL)
        return;
    deadline_clear(&session->handshake);
    loop_task_cancel(&session->pending);
    SSL_free(session->ssl);
    free(session);
}

static void tls_destroy(struct conn *conn)
{
    say_goodbye(session_of(conn));
    tls_session_destroy(session_of(conn));
}

static const struct conn_filter_ops tls_ops = {
    .tls = true,
    .ready = tls_ready,
    .read = tls_read,
    .writev = tls_writev,
    .shutdown_write = tls_shutdown_write,
    .resumed = tls_resumed,
    .sni = tls_sni,
    .facts = tls_facts,
    .destroy = tls_destroy,
};

static struct tls_session *create_session(SSL_CTX *context)
{
    struct tls_session *session = calloc(1, sizeof *session);
    if (session == NULL)
        return NULL;
    session->filter.ops = &tls_ops;
    session->pending.run = on_pending;
    deadline_init(&session->handshake, on_handshake_late);
    session->ssl = SSL_new(context);
    if (session->ssl == NULL) {
        free(session);
        return NULL;
    }
    return session;
}

static bool attach(struct conn *conn, struct tls_session *session)
{
    if (SSL_set_fd(session->ssl, conn->io.fd) != 1)
        return false;
    session->conn = conn;
    conn->filter = &session->filter;
    conn->must_read = true;
    deadline_set(conn->loop, &session->handshake, HANDSHAKE_MS);
    return true;
}

bool tls_accept(struct conn *conn, struct tls_server *server)
{
    struct tls_session *session = create_session(server->context);
    if (session == NULL)
        return false;
    SSL_set_accept_state(session->ssl);
    if (attach(conn, session))
        return true;
    tls_session_destroy(session);
    return false;
}

static bool expect_name(SSL *ssl, const char *name, bool verify)
{
    unsigned char ip[16];
    bool is_ip = inet_pton(AF_INET, name, ip) == 1 || inet_pton(AF_INET6, name, ip) == 1;
    void *unqualified; /* the parameter of SSL_ctrl serves many calls, this one only reads */
    memcpy(&unqualified, &name, sizeof unqualified);
    if (!is_ip &&
        SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, unqualified) != 1)
        return false;
    if (!verify)
        return true;
    if (is_ip)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1;
    return SSL_set1_host(ssl, name) == 1;
}

struct tls_session *tls_session_create(struct tls_client *client, const char *name)
{
    struct tls_session *session = create_session(client->context);
    if (session == NULL)
        return NULL;
    SSL_set_connect_state(session->ssl);
    if (name == NULL || name[0] == '\0' || expect_name(session->ssl, name, client->verify))
        return session;
    tls_session_destroy(session);
    return NULL;
}

bool tls_connect(struct conn *conn, struct tls_session *session,
                 void (*opened)(struct conn *conn, bool good))
{
    if (!attach(conn, session))
        return false;
    session->opened = opened;
    set_want_write(conn, true); /* the first turn writes the hello */
    return true;
}
