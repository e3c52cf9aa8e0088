/* What is known of targets and may be set: for the admin API and the metrics. [worker] */
#ifndef WEIR_UPSTREAM_HEALTH_H
#define WEIR_UPSTREAM_HEALTH_H

#include "config/entities.h"
#include "net/address.h"

struct balancers;

enum target_health {
    TARGET_UNCHECKED, /* no checks, weight 0, or nobody asked for its name yet */
    TARGET_HEALTHY,
    TARGET_UNHEALTHY,
    TARGET_DNS_ERROR, /* its name has no address */
};

struct target_address {
    struct address address;
    enum target_health health; /* not DNS_ERROR */
};
/* The first `max` addresses of a target. One that is healthy makes the target healthy. */
enum target_health balancers_health(const struct balancers *balancers, const struct target *target,
                                    struct target_address *out, size_t max, size_t *out_count);

struct balance_facts {
    bool checked, healthy;      /* more than the threshold is up */
    int64_t total, unavailable; /* weights of addresses */
};
struct balance_facts balancers_facts(const struct balancers *balancers,
                                     const struct upstream *upstream);

/* For all workers, until a check says otherwise. `address` NULL: every one of the target. False:
 * the upstream has no checks, or nothing is known under that address. */
bool balancers_set_health(struct balancers *balancers, const struct target *target,
                          const struct address *address, bool healthy);

#endif
