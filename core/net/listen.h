/* Listening sockets. Opening is apart from accepting: the master opens (and may hold privileges),
 * the worker accepts. */
#ifndef WEIR_NET_LISTEN_H
#define WEIR_NET_LISTEN_H

#include "base/auto.h"
#include "net/address.h"

struct conn;
struct listener;
struct loop;
struct tls_server;

/* A bound, listening, non-blocking socket, or -1 with a sentence in `err`. A unix path nobody
 * listens on any more is unlinked first. `reuseport` lets every worker have its own queue (not for
 * unix). */
WEIR_MUST_USE int listen_open(const struct address *address, bool reuseport, int backlog, char *err,
                              size_t err_size);

/* Whether nobody listens on an IP address yet; else why not, in `err`. listen_open() with
 * `reuseport` cannot tell: it joins whoever is there. */
WEIR_MUST_USE bool listen_is_free(const struct address *address, char *err, size_t err_size);

/* Accepts at most 16 connections a turn. `accepted` owns the connection: it sets the events or
 * closes it. With `tls` (borrowed until listener_stop) readable comes after the handshake. The
 * descriptor stays the caller's. NULL without memory. */
WEIR_MUST_USE struct listener *
listener_start(struct loop *loop, int fd, struct tls_server *tls,
               void (*accepted)(struct listener *listener, struct conn *conn), void *user);
/* From now on a connection is to begin with a PROXY header (net/proxy_protocol.h), before TLS.
 * Readable comes behind it, or when there is none: conn_header_missing() says why. How long it may
 * take is up to the reader. */
void listener_expect_header(struct listener *listener);
/* Takes everything that waits in the queue now (at most 4096 connections). Without it those would
 * be reset when the socket is closed. */
void listener_accept_now(struct listener *listener);
/* Stops accepting and frees; fine inside `accepted`. NULL is fine. */
void listener_stop(struct listener *listener);
void *listener_user(const struct listener *listener);
/* What it listens on, with the real port when 0 was asked for. */
const struct address *listener_address(const struct listener *listener);

struct listener_stats {
    uint64_t accepted;
    uint64_t failed; /* gone before we took them, or no memory */
    uint64_t paused; /* times we were out of descriptors and waited 100 ms, or until one was free */
};
struct listener_stats listener_stats(const struct listener *listener);

#endif
