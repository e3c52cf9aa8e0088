/* Metric families in shared memory. Each worker adds to cells of its own with plain stores; a
 * scrape sums them and stalls nobody. A replacement worker goes on with the cells of the dead one.
 * [worker] */
#ifndef WEIR_PLUGIN_HOST_METRICS_H
#define WEIR_PLUGIN_HOST_METRICS_H

#include <weir/weir.h>

#include "base/buf.h"
#include "plugin_host/shared.h"

enum { METRIC_LABELS_MAX = 8, METRIC_BUCKETS_MAX = 32, METRIC_SERIES_BUDGET = 10000 };

/* weir_metric is the ABI's opaque handle; it belongs to this process. */

/* Open or make a family; the same name with other labels or kind is refused. With other buckets it
 * is a new layout, which begins at 0 and takes the place of the old one once something is counted
 * in it: until then, as long as a new configuration may still be given up, a scrape shows the old
 * one. A handle of the old one stays good, but nobody sees any more what it adds. */
WEIR_MUST_USE weir_metric *metric_open(struct shared *shared, uint32_t worker, uint32_t kind,
                                       struct span name, struct span help,
                                       const char *const *labels, const double *buckets,
                                       size_t bucket_count, char *why, size_t why_size);
/* Use it for another configuration, as if it was opened anew. False: it must be, for its buckets
 * are not those of the layout that is shown or waits to be. */
WEIR_MUST_USE bool metric_reopen(weir_metric *metric);
/* Another handle, which adds no series to a family that has as many. NULL without memory. */
WEIR_MUST_USE weir_metric *metric_limited(const weir_metric *metric, uint32_t series);
/* One name, other buckets. */
bool metric_clashes(const weir_metric *metric, const weir_metric *other);
void metric_close(weir_metric *metric);
void metric_add(weir_metric *metric, const weir_str *label_values, double amount);
void metric_set(weir_metric *metric, const weir_str *label_values, double value);

/* All families in the Prometheus text format 0.0.4, sorted by name, without a final blank line. */
void metrics_render(struct shared *shared, struct buf *out);

/* The same in pieces, so that a worker can serve in between. What comes meanwhile may be missed. */
struct metrics_cursor;
WEIR_MUST_USE struct metrics_cursor *metrics_cursor_create(struct shared *shared);
void metrics_cursor_destroy(struct metrics_cursor *cursor); /* NULL is fine */
/* Name of the family that comes next, or that is under way; unset at the end. */
struct span metrics_cursor_family(const struct metrics_cursor *cursor);
/* At most `series` more of that family, its HELP and TYPE before the first. True: it is complete,
 * the next one follows. */
bool metrics_cursor_render(struct metrics_cursor *cursor, size_t series, struct buf *out);
/* Leave out that family, or the rest of it. */
void metrics_cursor_skip(struct metrics_cursor *cursor);

#endif
