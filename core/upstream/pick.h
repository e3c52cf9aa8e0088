/* From a service to one target: an upstream's weighted targets by its algorithm, those that are
 * healthy, else the addresses of the service's own host name. Knows nothing of requests; the
 * gateway asks once per attempt, goes on with what it gets and says how it went. Next: pool.h,
 * health.h. [worker] */
#ifndef WEIR_UPSTREAM_PICK_H
#define WEIR_UPSTREAM_PICK_H

#include "base/arena.h"
#include "base/list.h"
#include "base/slice.h"
#include "config/entities.h"
#include "net/address.h"
#include "net/resolve.h"
#include "upstream/pool.h"

struct balancers;
struct peer_record;
struct pick;
struct ring;

/* The balancers of one configuration: which services go to an upstream, TLS settings of https
 * services. The turn of each upstream is kept by `upstreams` under the upstream's id, so a reload
 * goes on where the last configuration stopped. Borrows `config`, lies in `arena`; `why` says which
 * service's TLS material is bad (WEIR_ERR_CONFIG). */
WEIR_MUST_USE enum weir_err balancers_build(struct arena *arena, struct upstreams *upstreams,
                                            const struct config *config,
                                            struct balancers **out_balancers, char *why,
                                            size_t why_size);
void balancers_destroy(struct balancers *balancers); /* TLS objects; the rest dies with the arena */
/* The same in slices, AGAIN: the slice is over. After an error of balancers_more() what was made is
 * still there to be ended. NULL is fine. */
WEIR_MUST_USE enum weir_err balancers_begin(struct arena *arena, struct upstreams *upstreams,
                                            const struct config *config,
                                            struct balancers **out_balancers);
WEIR_MUST_USE enum weir_err balancers_more(struct balancers *balancers, const struct config *config,
                                           const struct slice *slice, char *why, size_t why_size);
WEIR_MUST_USE enum weir_err balancers_end(struct balancers *balancers, const struct slice *slice);

/* What the worker's resolver knows of a host now, without asking: see resolver_cached(). */
const struct resolution *balancers_known(const struct balancers *balancers, struct span host);

/* One attempt; embedded in the exchange, zeroed before its first use. */
struct pick {
    /* In. */
    struct balancers *balancers;
    const struct service *service;
    struct span host; /* set: this name or address instead of the service's (a policy said so) */
    uint16_t port;    /* with `host` */
    void (*done)(struct pick *pick, enum weir_err err); /* after AGAIN; from the loop */
    /* Called once at most, when the upstream hashes: what makes requests alike, as a number. NULL:
     * all are. */
    uint64_t (*hash)(struct pick *pick, const struct upstream *upstream);
    void *user;

    /* Out, when OK: lives until pick_end(). */
    struct address address;
    struct span host_name; /* of the target as the file names it: Host, SNI */
    uint16_t target_port;
    const struct target *target; /* NULL: not of an upstream */
    const struct upstream *upstream;
    struct target_pool *pool; /* connections to it */

    /* Between attempts: kept by pick.c. */
    struct ring *ring;   /* counted; of `host`, else NULL */
    struct list waiting; /* for the ring's names */
    uint32_t attempts;
    uint64_t tried;             /* which of the candidates were given already, modulo 64 */
    struct peer_record *record; /* counted; of the target, NULL: nobody wants to know how it went */
    uint64_t begun_us;          /* with `record` */
    uint64_t hashed;            /* once `has_hash` */
    bool has_hash;
};

/* How the attempt went. Targets that are checked or measured hear of it. */
enum pick_outcome { PICK_ANSWERED, PICK_UNREACHABLE, PICK_LATE };

/* OK: filled in. AGAIN: a name is looked up, `done` follows (never before this returns). NO_TARGET:
 * the upstream has no usable one, or too few healthy ones. NO_NAME: the name does not exist.
 * TARGET_BUSY: another failure of the resolver. NO_MEMORY. Call it again for the next attempt: it
 * avoids what it gave before while there is a choice. */
WEIR_MUST_USE enum weir_err pick_next(struct pick *pick);
/* The exchange is over, or needs no target any more: `done` will not be called. Fine when it never
 * began. */
void pick_end(struct pick *pick);

void pick_report_now(struct pick *pick, enum pick_outcome outcome, unsigned status);
/* Once for each attempt that came to something (a kept connection that had ended did not). ANSWERED
 * with the status of the target's answer, 0: it was none of HTTP. */
static inline void pick_report(struct pick *pick, enum pick_outcome outcome, unsigned status)
{
    if (UNLIKELY(pick->record != NULL))
        pick_report_now(pick, outcome, status);
}

#endif
