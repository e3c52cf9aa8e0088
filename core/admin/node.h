/* What the node says of itself, summed over its workers: shared by the documents (views.c) and the
 * metrics (node_metrics.c). Private to this room. */
#ifndef WEIR_ADMIN_NODE_H
#define WEIR_ADMIN_NODE_H

#include "base/buf.h"
#include "base/text.h"
#include "plugin_host/shared.h"

struct node_totals {
    uint64_t accepted, requests, active, connections, reading, writing, waiting;
    uint64_t limit_refusals, protocol_errors, target_failures, retries;
    uint64_t pool_reused, pool_dialed;
    uint32_t running; /* workers */
};
/* The workers write while this reads: each number is whole, the sum is of about now. */
struct node_totals node_totals(struct shared *shared);

/* Resident memory of a process in bytes, 0 when it is gone. */
uint64_t node_resident(int32_t pid);

/* The same for every worker and after every restart: made from the host's name. */
void node_id(char out[UUID_TEXT]);

/* Families about the node itself, Prometheus text format 0.0.4. */
void node_metrics_render(struct shared *shared, struct buf *out);

#endif
