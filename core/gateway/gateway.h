/* The traffic of one worker: listeners, exchanges, the current generation. [worker] */
#ifndef WEIR_GATEWAY_GATEWAY_H
#define WEIR_GATEWAY_GATEWAY_H

#include "gateway/generation.h"
#include "net/loop.h"
#include "net/tls.h"

struct gateway;

struct gateway_options { /* all borrowed */
    struct loop *loop;
    struct plugin_host *host;
    struct upstreams *upstreams;
    struct worker_slot *slot; /* counters go here */
};

/* NULL without memory. Serves 404s until a generation is published. */
WEIR_MUST_USE struct gateway *gateway_create(const struct gateway_options *options);
/* Cuts what is still running. NULL is fine. */
void gateway_destroy(struct gateway *gateway);
AUTO_DEFINE(struct gateway, gateway_destroy)

/* Accept on a listening socket (the descriptor stays the caller's). `port` is what policies and
 * X-Forwarded-Port see: the listener's after port_maps. `tls` NULL: plain. */
WEIR_MUST_USE enum weir_err gateway_listen(struct gateway *gateway, int fd, struct tls_server *tls,
                                           uint16_t port);
/* The same behind a balancer: each connection begins with a PROXY header or is closed. */
WEIR_MUST_USE enum weir_err gateway_listen_proxied(struct gateway *gateway, int fd,
                                                   struct tls_server *tls, uint16_t port);
/* The next exchanges run on `generation` (its pin is taken over); the old one is unpinned. */
void gateway_publish(struct gateway *gateway, struct generation *generation);
struct generation *gateway_current(const struct gateway *gateway); /* NULL: none yet */

/* Take what waits in the accept queues, then stop accepting; close idle client connections, answer
 * the rest with Connection: close. A connection that has not asked anything yet, or whose next
 * request has come already, is not idle: it has a second to be heard. `idle` is called (once, from
 * the loop) when no exchange and no client is left. */
void gateway_drain(struct gateway *gateway, void (*idle)(void *user), void *user);
/* Exchanges in flight. */
size_t gateway_active(const struct gateway *gateway);
/* A line for each of them, `most` at most and those of the oldest connections first, then "and N
 * more": client, method, path without query, route, age, bytes, request id. No control byte of a
 * client gets into it. */
void gateway_describe_active(const struct gateway *gateway, size_t most, struct buf *out);

#endif
