/* The order in which routes are tried. Each route becomes one entry per length of its plain paths
 * and one for all its regexes; entries are numbered by precedence, and that number (the rank) is
 * all the index deals in: of the entries that fit a request the lowest rank wins. */
#ifndef WEIR_ROUTE_ORDER_H
#define WEIR_ROUTE_ORDER_H

#include "route/condition.h"

struct entry {
    const struct route *route;
    const struct conditions *conditions; /* NULL: none */
    const struct regex *const *regexes;  /* NULL: a plain path, or none at all */
    uint64_t priority;                   /* higher first; equal ones tie */
    uint32_t regex_count;
    uint32_t path_size; /* of the plain paths this entry is for; 0: the route has no paths */
};

static inline bool path_is_regex(struct span path)
{
    return path.size > 0 && path.data[0] == '~';
}

/* What the precedence is made of, for one entry of `route`. */
uint64_t entry_priority(const struct route *route, bool regex, uint32_t path_size,
                        enum router_flavor flavor);
void entries_sort(struct entry *entries, size_t count, enum router_flavor flavor);

#endif
