/* What the files of this room share: the worker's pools, rings and TLS clients.
 *
 * A ring is the turn over the addresses of one upstream, or of one host name. It belongs to the
 * worker and is counted, found by a key that says everything it was made from: two configurations
 * with the same upstream share its ring, so a reload goes on with the turn, the addresses and the
 * pools. Files: pool.c, ring.c, ring_names.c, tls_store.c; balancers.c and pick.c stand on them. */
#ifndef WEIR_UPSTREAM_INTERNAL_H
#define WEIR_UPSTREAM_INTERNAL_H

#include "base/list.h"
#include "base/map.h"
#include "config/entities.h"
#include "net/deadline.h"
#include "net/resolve.h"
#include "upstream/pick.h"

enum {
    IDLE_TOTAL_MAX = 16384, /* idle connections of a worker */
    SERVER_NAME_MAX = 255,
    NAME_ADDRESSES_MAX = 64, /* used of one name's answer */
};

struct upstreams {
    struct loop *loop;         /* borrowed */
    struct resolver *resolver; /* borrowed */
    struct pool_limits limits;
    size_t idle;        /* connections now */
    struct map *pools;  /* by pool->key */
    struct list all;    /* of the pools, forgotten ones too */
    struct map *rings;  /* by ring->key */
    struct list tls;    /* struct tls_entry */
    struct list spares; /* struct idle without a connection */
    uint32_t scatter;   /* see ring_scatter() */
};

/* --- pools: pool.c */
#define POOL_MAGIC 0x9001face

struct idle {
    struct list link; /* pool->idle, newest first; or upstreams->spares */
    struct conn *conn;
    struct target_pool *pool;
    uint64_t since_ms;
    uint32_t requests;
};

struct target_pool {
    unsigned magic;
    uint32_t refs;
    uint32_t idle_count;
    bool forgotten; /* its TLS client is gone: out of the map, dials and keeps nothing */
    struct tls_client *tls;
    struct upstreams *upstreams;
    struct list idle;
    struct list all;          /* upstreams->all */
    struct deadline deadline; /* one for all: set for the oldest, or a stale one that looks again */
    struct address address;
    const char *server_name; /* in the key, terminated; NULL: none */
    size_t key_size;
    char key[];
};

static inline bool pool_is_for(const struct target_pool *pool, const struct tls_client *tls)
{
    return pool != NULL && pool->tls == tls && !pool->forgotten;
}
/* The pools of a TLS client that is about to be destroyed close and stay empty. */
void pools_forget(struct upstreams *upstreams, const struct tls_client *tls);

/* --- TLS clients shared by all services with equal settings: tls_store.c */
enum { TLS_KEY = 1 + 64 }; /* verify or not, digest of the authorities in hex */
struct tls_entry {
    struct list link; /* upstreams->tls */
    uint32_t refs;
    struct tls_client *client;
    char key[TLS_KEY];
};
/* Of a service with a TLS protocol, counted. CONFIG: `why` says what is wrong. */
WEIR_MUST_USE enum weir_err tls_acquire(struct upstreams *upstreams, const struct service *service,
                                        struct tls_entry **out_entry, char *why, size_t why_size);
void tls_release(struct upstreams *upstreams, struct tls_entry *entry); /* NULL is fine */

/* --- rings: ring.c, ring_names.c */
struct ring_host { /* what a ring is made from: a target, or the one host of a service */
    struct span host;
    uint16_t port;
    uint32_t weight;
};
struct ring_plan {
    struct span id;          /* of the upstream; empty: a plain host */
    struct span server_name; /* for TLS instead of the member's host; empty: none */
    const struct ring_host *members;
    size_t count;
};

struct peer {
    struct address address;
    struct target_pool *pool; /* counted; of the last TLS client asked for, NULL: not yet */
    int64_t current;          /* of the smooth round robin */
    uint32_t weight;
    uint32_t member; /* index */
};

struct ring_member {
    struct ring_host plan; /* host in the ring's key */
    struct ring *ring;
    struct lookup *lookup; /* ours while a question is open */
    uint64_t recheck_ms;   /* ask again then */
    enum weir_err error;   /* of the last answer */
};

struct ring {
    struct upstreams *upstreams;
    uint32_t refs;
    uint32_t lookups; /* open questions */
    struct peer *peers;
    size_t peer_count;
    int64_t total;       /* weights of the peers */
    uint64_t refresh_ms; /* ring_refresh() from then on */
    struct list waiting; /* pick->waiting */
    bool scattered;      /* the first turn begins anywhere */
    struct span server_name;
    struct ring_member *members;
    size_t member_count;
    size_t key_size;
    char key[];
};

/* Found or made, counted; NULL without memory, or (`create` false) when there is none. */
WEIR_MUST_USE struct ring *ring_acquire(struct upstreams *upstreams, const struct ring_plan *plan,
                                        bool create);
/* Nobody may wait for it when the last reference goes. NULL is fine. */
void ring_release(struct ring *ring);
/* A ring that lives as long as a few exchanges would begin with the same peer each time. */
void ring_scatter(struct ring *ring);
/* The next peer in turn that `tried` does not name, and notes it there; when all were tried it
 * starts over. The ring has peers. */
struct peer *ring_choose(struct ring *ring, uint64_t *tried);
/* The peer's pool, made when it is not the one of this TLS client. NULL without memory. */
WEIR_MUST_USE struct target_pool *ring_pool(struct ring *ring, struct peer *peer,
                                            struct tls_client *tls);
/* The peers of one member are these now (turn and pool of those that stay are kept). False without
 * memory: nothing changed. */
bool ring_set_addresses(struct ring *ring, uint32_t member, const struct address *addresses,
                        size_t count);
/* Ask for every name whose answer is due; sets refresh_ms. */
void ring_refresh(struct ring *ring);
/* Why there is no peer and none is to be expected. */
WEIR_MUST_USE enum weir_err ring_error(const struct ring *ring);

/* --- picks: pick.c. The ring has peers now, or all questions are answered. */
void pick_resume(struct list *waiting);

/* --- balancers: balancers.c */
struct way { /* of one service */
    const struct upstream *upstream;
    struct ring *ring; /* the upstream's, else ours; NULL: not used yet */
    struct tls_entry *tls;
};
struct balancers {
    struct upstreams *upstreams;
    struct way *ways; /* by service->index */
    size_t way_count;
    struct ring **rings; /* by upstream->index, counted; NULL: no service goes there */
    size_t ring_count;
};
/* The ring of one name or literal. NULL as ring_acquire(). */
WEIR_MUST_USE struct ring *host_ring(struct upstreams *upstreams, struct span host, uint16_t port,
                                     bool create);

#endif
