/* What the files of this room share: the worker's pools, rings and TLS clients.
 *
 * A ring is the turn over the addresses of one upstream, or of one host name. It belongs to the
 * worker and is counted, found by a key that says everything it was made from: two configurations
 * with the same upstream share its ring, so a reload goes on with the turn, the addresses and the
 * pools. Files: pool.c, ring.c, ring_names.c, tls_store.c; choose.c for what is no plain turn,
 * checks.h for health; balancers.c and pick.c stand on them. */
#ifndef WEIR_UPSTREAM_INTERNAL_H
#define WEIR_UPSTREAM_INTERNAL_H

#include "base/list.h"
#include "base/map.h"
#include "config/entities.h"
#include "net/deadline.h"
#include "net/resolve.h"
#include "upstream/cells.h"
#include "upstream/health.h"
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
    size_t idle;                 /* connections now */
    struct map *pools;           /* by pool->key */
    struct list all;             /* of the pools, forgotten ones too */
    struct map *rings;           /* by ring->key */
    struct list tls;             /* struct tls_entry */
    struct list spares;          /* struct idle without a connection */
    uint32_t scatter;            /* see ring_scatter() */
    struct health_table *health; /* borrowed, or `own`; NULL: not needed yet */
    struct health_table *own;    /* ours: nobody gave one */
    struct list checks;          /* struct checks, the newest first */
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
    uint64_t no_continue_until_ms; /* pool_lacks_continue() */
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
/* Of probes: with the system's authorities, or believing anything. */
WEIR_MUST_USE enum weir_err tls_acquire_for_probes(struct upstreams *upstreams, bool verify,
                                                   struct tls_entry **out_entry, char *why,
                                                   size_t why_size);
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
    const struct upstream *upstream; /* algorithm and checks; NULL: a plain turn */
};

/* What is known of an address beyond its turn. Counted: an attempt holds it while addresses come
 * and go. Only rings that are no plain turn have records. */
struct peer_record {
    uint32_t refs;
    uint32_t active;          /* attempts of this worker that hold it */
    uint64_t seed;            /* of ip and port: for hashing */
    double latency_us;        /* moving average, as of scored_us */
    uint64_t scored_us;       /* 0: no answer came yet */
    uint64_t cell_key;        /* of upstream, address and host */
    struct health_cell *cell; /* NULL: no checks, or no room: it counts as healthy */
    struct address address;
    struct span host; /* of the target, in the ring's key */
};

struct peer {
    struct address address;
    struct target_pool *pool; /* counted; of the last TLS client asked for, NULL: not yet */
    int64_t current;          /* of the smooth round robin */
    uint32_t weight;
    uint32_t member;            /* index */
    bool down;                  /* as of ring->seen_changes */
    struct peer_record *record; /* counted; NULL in a plain turn */
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
    bool special;        /* no plain turn: choose.c decides */
    bool below;          /* too little is healthy: nobody gets anything */
    enum balance_algorithm algorithm;
    struct checks *checks; /* NULL: none */
    uint64_t seen_changes; /* of the table of cells: peer->down and `below` are as of then */
    uint32_t *slots;       /* of consistent hashing: index of the peer + 1, 0: not asked for yet */
    uint32_t slot_count;
    uint32_t turn; /* where the look for the least begins */
    struct span id;
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
/* The next peer in turn that is not down and that `tried` does not name, and notes it there; when
 * all were tried it starts over. The ring has peers that are up. */
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

/* Of a new peer in a ring that needs records. NULL without memory. */
WEIR_MUST_USE struct peer_record *record_create(const struct ring *ring,
                                                const struct ring_member *member,
                                                const struct address *address);
void record_release(struct peer_record *record); /* NULL is fine */

/* --- what is no plain turn: choose.c */

/* As ring_choose(), by the ring's algorithm and the health of its peers. NULL: nobody may be asked.
 */
struct peer *ring_choose_special(struct ring *ring, struct pick *pick);
/* Its peers are others, or in other places. */
void ring_forget_choices(struct ring *ring);
/* peer->down and ring->below, if they are old. A ring with checks. */
void ring_see_health(struct ring *ring);
/* How long an answer (or a failure) took, for the latency algorithm. */
void record_observe(struct peer_record *record, uint64_t us);

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
    size_t made, ended; /* how far: upstreams, then services; ways */
};
/* The ring of one name or literal. NULL as ring_acquire(). */
WEIR_MUST_USE struct ring *host_ring(struct upstreams *upstreams, struct span host, uint16_t port,
                                     bool create);

#endif
