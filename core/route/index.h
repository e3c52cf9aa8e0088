/* Inside of a router; only router.c, index.c and warnings.c see it.
 *
 *   host ──> buckets   one for routes without hosts, one per distinct host entry: an exact name
 * through a map, wildcards through radix trees over the name, forwards and backwards path ──> ranks
 * each bucket is a radix tree over path prefixes (of a regex: what it surely begins with); a node
 * lists the entries to try there, best first
 *
 * A request visits the few buckets of its host, in each the nodes along its path, and at each node
 * the entries better than the best one found so far. */
#ifndef WEIR_ROUTE_INDEX_H
#define WEIR_ROUTE_INDEX_H

#include "base/map.h"
#include "route/order.h"
#include "route/tree.h"

#define BUCKET_ANY_HOST 0
#define HOST_SIZE_MAX 255 /* longer ones are no names (RFC 1035): no host entry matches them */

struct router {
    unsigned magic;
    enum router_flavor flavor;
    struct arena *arena; /* ours: everything but what PCRE2 and the map hold */
    struct regex_set *regexes;
    const struct entry *entries; /* by rank */
    size_t entry_count;
    struct forest paths;    /* tree number = bucket, value = rank */
    struct map *hosts;      /* "a.test", "*.test", "a.*" -> uint32_t (arena): bucket */
    struct forest suffixes; /* one tree, ".test" backwards -> bucket */
    struct forest prefixes; /* one tree, "a." -> bucket */
    uint32_t bucket_count;
    bool has_wildcards;
};

/* Fill in everything but `regexes`, from the sorted entries. */
WEIR_MUST_USE enum weir_err index_build(struct router *router);

/* Routes that tie or cannot be reached, at most `most` of them. */
WEIR_MUST_USE enum weir_err index_warn(const struct router *router, struct problems *problems,
                                       unsigned most);

#endif
