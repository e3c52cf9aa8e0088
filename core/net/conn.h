/* A non-blocking byte stream, plain or TLS: the reader cannot tell. Objects are recycled per loop,
 * so a warm worker accepts without malloc. The read watcher is armed for the connection's life: an
 * exchange costs no epoll_ctl. A write watcher exists only between a write that did not fit and the
 * next `writable`. */
#ifndef WEIR_NET_CONN_H
#define WEIR_NET_CONN_H

#include <stdbool.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/auto.h"
#include "base/span.h"
#include "net/address.h"

struct conn;
struct loop;

enum {
    CONN_AGAIN = -1, /* nothing now: readable or writable will tell */
    CONN_ERROR = -2, /* broken: conn_close() it */
};

/* Static, shared by many connections. A callback may close its own connection. */
struct conn_events {
    /* Bytes, the end or an error are there to be read. Called again until they are. */
    void (*readable)(struct conn *conn);
    /* A write that gave CONN_AGAIN or took only a part may go on. Called once. May be NULL. */
    void (*writable)(struct conn *conn);
};

/* Takes over a connected, non-blocking socket; the read watcher starts. `peer` may be NULL (asked
 * from the kernel). NULL without memory: the descriptor stays the caller's. */
WEIR_MUST_USE struct conn *conn_create(struct loop *loop, int fd, const struct address *peer);
/* Ends it at once: unsent bytes in the kernel still go out, no callback follows. The struct lives
 * on to the end of the turn. NULL is fine, closing twice in one turn too. */
void conn_close(struct conn *conn);
AUTO_DEFINE(struct conn, conn_close)

/* Whom to call. Without events a readable connection pauses itself until somebody sets them. */
void conn_set_events(struct conn *conn, const struct conn_events *events, void *user);
void *conn_user(const struct conn *conn);

/* One recv(2). > 0 bytes read, 0 the end, else CONN_AGAIN or CONN_ERROR. */
ssize_t conn_read(struct conn *conn, void *buf, size_t size);
/* One sendmsg(2). Bytes taken (may be fewer than given), CONN_AGAIN, CONN_ERROR. After CONN_AGAIN
 * or a short write `writable` follows, and the next call must go on with the same bytes (TLS relies
 * on it). */
ssize_t conn_writev(struct conn *conn, const struct iovec *parts, int count);
/* The same for one piece. */
ssize_t conn_write(struct conn *conn, struct span bytes);
/* No more writes: the other side reads the end. */
void conn_shutdown_write(struct conn *conn);

/* Back-pressure only: each costs an epoll_ctl. */
void conn_pause_reading(struct conn *conn);
void conn_resume_reading(struct conn *conn);
bool conn_is_reading(const struct conn *conn);

/* The loop has seen something happen on it and has not told yet: it is in the same turn as what is
 * told now. */
bool conn_has_event(const struct conn *conn);

int conn_fd(const struct conn *conn);
struct loop *conn_loop(const struct conn *conn);
const struct address *conn_peer(const struct conn *conn); /* lives as long as the connection */
/* Whom a PROXY header speaks for, when the listener expects one (net/listen.h): NULL when the
 * header has not come, or says that the addresses of the socket hold. Lives as conn_peer() does. */
const struct address *conn_announced(const struct conn *conn);
/* Why a header that the listener expects is not there: a sentence, static. NULL when it has come or
 * none is expected. After a refusal conn_read() gives CONN_ERROR. */
const char *conn_header_missing(const struct conn *conn);
/* Asks the kernel, so keep the answer. SYSTEM when it does not know. */
WEIR_MUST_USE enum weir_err conn_local(const struct conn *conn, struct address *out_address);
bool conn_is_tls(const struct conn *conn);
/* The name a TLS client asked for, empty when it named none; known from the first `readable` on. */
struct span conn_sni(const struct conn *conn);
/* What was agreed, as OpenSSL calls it ("TLSv1.3", "TLS_AES_256_GCM_SHA384"); unset on a plain
 * connection. Static storage. */
void conn_tls_facts(const struct conn *conn, struct span *out_version, struct span *out_cipher);
/* errno of the last CONN_ERROR, 0 when it was TLS. */
int conn_errno(const struct conn *conn);

#endif
