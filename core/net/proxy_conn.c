/* A PROXY header before everything else, as a filter of the connection that ends itself: when the
 * header has come, TLS or nothing takes its place. Bytes are looked at where they lie in the socket
 * and taken from there only when they are known to be of the header, so what comes behind it needs
 * no buffer here. */
#include <errno.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "net/internal.h"
#include "net/proxy_protocol.h"
#include "net/tls_internal.h"

struct proxy_filter {
    struct conn_filter filter; /* first: conn->filter points at it */
    struct tls_server tls;     /* what comes next; the context is counted, NULL: nothing */
    struct buf kept;           /* the beginning of a header that came in pieces */
    const char *refusal;       /* NULL: it may still come */
};

static const struct conn_filter_ops proxy_ops;

static struct proxy_filter *filter_of(const struct conn *conn)
{
    return (struct proxy_filter *)(void *)conn->filter;
}

static void filter_free(struct proxy_filter *filter)
{
    SSL_CTX_free(filter->tls.context);
    buf_free(&filter->kept);
    free(filter);
}

static void fail(struct conn *conn, int error, const char *refusal)
{
    filter_of(conn)->refusal = refusal;
    conn->error = error;
    conn->must_read = false;
    (void)shutdown(conn->io.fd, SHUT_RD); /* stays readable: a reader that paused is told later */
    conn_arm(conn);
    conn_dispatch(conn, EV_READ); /* it gets CONN_ERROR */
}

/* Whether `size` bytes could be taken from the socket: they have been seen there. */
static bool take(struct conn *conn, char *out, size_t size)
{
    while (size > 0) {
        ssize_t got = recv(conn->io.fd, out, size, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        out += got;
        size -= (size_t)got;
    }
    return true;
}

static void keep(struct conn *conn, size_t size)
{
    struct buf *kept = &filter_of(conn)->kept;
    char bytes[PROXY_HEADER_MAX];
    bool taken = take(conn, bytes, size);
    if (taken)
        buf_append(kept, bytes, size);
    if (!taken)
        fail(conn, ECONNRESET, "the connection broke within its PROXY header");
    else if (kept->failed)
        fail(conn, ENOMEM, "no memory for the PROXY header");
}

/* The header is taken: the connection begins. `more` has come behind it. */
static void begin(struct conn *conn, const struct proxy_header *header, bool more)
{
    struct proxy_filter *filter = filter_of(conn);
    if (header->announced && (conn->announced = malloc(sizeof *conn->announced)) == NULL) {
        fail(conn, ENOMEM, "no memory for the address of the PROXY header");
        return;
    }
    if (header->announced)
        *conn->announced = header->source;
    conn->must_read = false;
    if (filter->tls.context == NULL) {
        conn->filter = NULL;
    } else if (!tls_accept(conn, &filter->tls)) {
        fail(conn, ENOMEM, "no memory for TLS");
        return;
    }
    filter_free(filter);
    conn_arm(conn);
    if (more)
        conn_ready(conn, EV_READ);
}

/* `seen` bytes that have not been taken yet, the end of the header among them. */
static void accept_header(struct conn *conn, const struct proxy_header *header, size_t seen)
{
    char bytes[PROXY_HEADER_MAX];
    size_t rest = header->size - filter_of(conn)->kept.size;
    if (take(conn, bytes, rest))
        begin(conn, header, seen > rest);
    else
        fail(conn, ECONNRESET, "the connection broke within its PROXY header");
}

static void look(struct conn *conn)
{
    struct proxy_filter *filter = filter_of(conn);
    char bytes[PROXY_HEADER_MAX];
    struct proxy_header header;
    const char *why = NULL;
    size_t kept = filter->kept.size;
    if (kept > 0)
        memcpy(bytes, filter->kept.data, kept);
    ssize_t got = recv(conn->io.fd, bytes + kept, sizeof bytes - kept, MSG_PEEK);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        fail(conn, got < 0 ? errno : ECONNRESET,
             "the connection ended before its PROXY header did");
        return;
    }
    switch (proxy_header_parse(span_of(bytes, kept + (size_t)got), &header, &why)) {
    case PROXY_MORE: /* left in the socket it would be readable for ever */
        keep(conn, (size_t)got);
        break;
    case PROXY_ACCEPTED:
        accept_header(conn, &header, (size_t)got);
        break;
    case PROXY_REFUSED:
        fail(conn, EPROTO, why);
        break;
    }
}

static void proxy_ready(struct conn *conn, int revents)
{
    if ((revents & EV_READ) == 0)
        return;
    if (filter_of(conn)->refusal != NULL)
        conn_dispatch(conn, EV_READ);
    else
        look(conn);
}

static ssize_t proxy_read(struct conn *conn, void *buf, size_t size)
{
    (void)buf;
    (void)size;
    return filter_of(conn)->refusal != NULL ? CONN_ERROR : CONN_AGAIN;
}

/* The receiver must not start before it has a header (section 2): there is nobody to answer yet. */
static ssize_t proxy_writev(struct conn *conn, const struct iovec *parts, int count)
{
    (void)parts;
    (void)count;
    conn->error = EPROTO;
    return CONN_ERROR;
}

static void proxy_nothing(struct conn *conn)
{
    (void)conn;
}

static void proxy_destroy(struct conn *conn)
{
    filter_free(filter_of(conn));
}

static const struct conn_filter_ops proxy_ops = {
    .ready = proxy_ready,
    .read = proxy_read,
    .writev = proxy_writev,
    .shutdown_write = proxy_nothing,
    .resumed = proxy_nothing,
    .destroy = proxy_destroy,
};

bool proxy_expect(struct conn *conn, const struct tls_server *tls)
{
    struct proxy_filter *filter = calloc(1, sizeof *filter);
    if (filter == NULL)
        return false;
    if (tls != NULL && SSL_CTX_up_ref(tls->context) != 1) {
        free(filter);
        return false;
    }
    filter->filter.ops = &proxy_ops;
    filter->tls.context = tls == NULL ? NULL : tls->context;
    conn->filter = &filter->filter;
    conn->must_read = true;
    return true;
}

const char *conn_header_missing(const struct conn *conn)
{
    if (conn->filter == NULL || conn->filter->ops != &proxy_ops)
        return NULL;
    const char *refusal = filter_of(conn)->refusal;
    return refusal != NULL ? refusal : "the PROXY header did not come in time";
}
