/* Connections to targets that are kept for the next request: one pool per address and TLS setting,
 * last in first out, each watched by its armed read watcher: one that ends or speaks unasked is
 * closed at once. Pools belong to the worker and outlive configurations. [worker] */
#ifndef WEIR_UPSTREAM_POOL_H
#define WEIR_UPSTREAM_POOL_H

#include "base/auto.h"
#include "net/address.h"
#include "net/conn.h"
#include "net/dial.h"
#include "net/tls.h"

struct health_table;
struct loop;
struct resolver;
struct target_pool;
struct upstreams;

struct pool_limits {
    uint32_t idle_max;     /* kept for each pool; 0: none */
    uint32_t requests_max; /* over one connection; 0: no bound */
    uint32_t idle_ms;      /* 0: no bound */
};
#define POOL_LIMITS_DEFAULT ((struct pool_limits){512, 10000, 60000})

/* All pools and the resolver of a worker. `resolver` is borrowed. */
WEIR_MUST_USE struct upstreams *upstreams_create(struct loop *loop, struct resolver *resolver);
/* Closes what is idle. Nothing may be borrowed any more. NULL is fine. */
void upstreams_destroy(struct upstreams *upstreams);
AUTO_DEFINE(struct upstreams, upstreams_destroy)
void upstreams_set_limits(struct upstreams *upstreams, struct pool_limits limits);
/* Where the health of targets is kept, shared with other workers (cells.h); borrowed. Before the
 * first balancers. Without it the worker keeps its own. */
void upstreams_set_health(struct upstreams *upstreams, struct health_table *table);
/* All that idle are closed: their descriptors are needed. */
void upstreams_close_idle(struct upstreams *upstreams);
/* Idle connections now, for metrics. */
size_t upstreams_idle(const struct upstreams *upstreams);

/* The pool of an address (found or made), counted: pool_release() it. `tls` NULL: plain; else it is
 * borrowed, and the balancers that own it close its pools before they destroy it. `server_name` is
 * copied. NULL without memory or with a name over 255 bytes. */
WEIR_MUST_USE struct target_pool *pool_acquire(struct upstreams *upstreams,
                                               const struct address *address,
                                               struct tls_client *tls, struct span server_name);
void pool_release(struct target_pool *pool); /* NULL is fine */

/* An idle connection, without events set, and how many requests it has carried; NULL: dial. One on
 * which something has happened in this turn of the loop, and that has spoken or ended, is closed:
 * what it said would be read as an answer. */
struct conn *pool_take(struct target_pool *pool, uint32_t *out_requests);
/* The same, but one that has neither ended nor spoken as far as a read tells: for what should not
 * meet a stale one. */
struct conn *pool_take_open(struct target_pool *pool, uint32_t *out_requests);
/* Whether the target is known not to answer Expect: 100-continue: it was noted less than a minute
 * ago (RFC 9110 10.1.1: "from past interaction"). */
bool pool_lacks_continue(const struct target_pool *pool);
void pool_note_no_continue(struct target_pool *pool);
/* net/dial.h with this pool's address and TLS. NULL as there, and when the TLS client is gone. */
WEIR_MUST_USE struct dial *pool_dial(struct target_pool *pool, uint32_t timeout_ms,
                                     void (*done)(struct conn *conn, enum weir_err err, void *user),
                                     void *user);
/* The connection is between two messages: keep it, or close it when a limit says so. `requests` it
 * has carried by now. */
void pool_give(struct target_pool *pool, struct conn *conn, uint32_t requests);

#endif
