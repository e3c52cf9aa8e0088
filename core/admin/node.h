/* What the node says of itself, summed over its workers: shared by the documents (views.c) and the
 * metrics (scrape.c). Private to this room. */
#ifndef WEIR_ADMIN_NODE_H
#define WEIR_ADMIN_NODE_H

#include "base/buf.h"
#include "base/text.h"
#include "gateway/generation.h"
#include "plugin_host/shared.h"

struct node_totals {
    uint64_t accepted, requests, active, connections, reading, writing, waiting;
    uint64_t memory_refusals, slow_clients, displaced, accept_pauses;
    uint64_t limit_refusals, protocol_errors, target_failures, retries, retries_refused;
    uint64_t pool_reused, pool_dialed, tunnels, header_refusals;
    uint32_t running; /* workers */
};
/* The workers write while this reads: each number is whole, the sum is of about now. */
struct node_totals node_totals(struct shared *shared);

/* The same for every worker and after every restart: made from the host's name. */
void node_id(char out[UUID_TEXT]);

/* --- processes: node_processes.c */

struct node_process {
    uint64_t resident, virtual_bytes; /* bytes */
    uint64_t cpu_ticks;               /* of sysconf(_SC_CLK_TCK) in a second */
    uint64_t files, files_max;        /* descriptors */
};
/* From /proc; false when the process is gone. */
bool node_process(int32_t pid, struct node_process *out_process);

/* --- metrics: node_metrics.c. Families about the node itself, Prometheus text format 0.0.4. */

struct node_scrape { /* what one scrape collects and where it stands */
    struct shared *shared;
    struct generation *generation; /* borrowed; NULL: none yet */
    char id[UUID_TEXT + 1];
    struct node_totals totals;
    struct shared_usage usage;

    uint32_t gathered; /* workers, then one more: the master */
    struct node_process *workers;
    struct node_process sum;

    size_t upstream, target; /* node_targets.c: which comes next */
    uint32_t build;          /* node_builds.c */
};
/* One process at a time: reading /proc takes its while. False: all are known. */
bool node_gather(struct node_scrape *scrape);

/* Families in the order of their names. */
struct node_family {
    const char *name, *type, *help;
    bool (*wanted)(const struct node_scrape *scrape); /* NULL: always */
    /* Samples, without HELP and TYPE. True: there are more, call again. */
    bool (*render)(struct node_scrape *scrape, const struct node_family *family, struct buf *out);
    size_t offset; /* for those that are one number: of it in its struct */
};
const struct node_family *node_families(size_t *out_count);

/* --- health of targets: node_targets.c */

/* A policy of the configuration asked for it. */
bool node_targets_wanted(const struct node_scrape *scrape);
bool node_targets_render(struct node_scrape *scrape, const struct node_family *family,
                         struct buf *out);

/* --- builds that do not run any more: node_quarantine.c */

struct node_quarantine {
    uint32_t count, known; /* of more than these are known the rest is counted only */
    struct {
        char plugin[64], version[32], hash[16], why[160];
    } builds[8];
};
/* A copy of what the master says, whole and terminated. */
struct node_quarantine node_quarantine(struct shared *shared);
bool node_quarantine_wanted(const struct node_scrape *scrape);
bool node_quarantine_render(struct node_scrape *scrape, const struct node_family *family,
                            struct buf *out);

/* --- builds of plugins: node_builds.c */

bool node_builds_wanted(const struct node_scrape *scrape); /* there are any */
bool node_builds_number(struct node_scrape *scrape, const struct node_family *family,
                        struct buf *out); /* at family->offset in struct build_totals */
bool node_builds_info(struct node_scrape *scrape, const struct node_family *family,
                      struct buf *out);
bool node_builds_calls(struct node_scrape *scrape, const struct node_family *family,
                       struct buf *out);
bool node_builds_seconds(struct node_scrape *scrape, const struct node_family *family,
                         struct buf *out);
bool node_builds_latency(struct node_scrape *scrape, const struct node_family *family,
                         struct buf *out);

/* An enabled policy of that plugin has `flag: true` in its configuration; NULL: has any. */
bool node_has_policy(const struct node_scrape *scrape, struct span plugin, const char *flag);

#endif
