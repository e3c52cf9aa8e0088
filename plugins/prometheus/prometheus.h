/* One policy: what it was configured to count, and the families it counts in. Configuration:
 * prometheus.c; counting: count.c. */
#ifndef PROMETHEUS_H
#define PROMETHEUS_H

#include <weir/weir.h>

typedef struct {
    weir_list gateway_ms, target_ms, total_ms; /* of double */
    weir_list total_s, target_s;
} bucket_lists;

typedef struct {
    bool per_consumer, status_code_metrics, latency_metrics, bandwidth_metrics;
    bool upstream_health_metrics, ai_metrics, wasm_metrics;
    weir_str names;
    int64_t series_limit; /* of each family */
    bucket_lists buckets;

    /* Ours; NULL: switched off. */
    weir_metric *requests, *bandwidth, *gateway_ms, *target_ms, *total_ms;
    weir_metric *http_requests, *active, *limit_hits, *total_s, *target_s;
} prometheus;

typedef struct {
    bool is_active; /* counted in http_active_connections */
} per_request;

weir_verdict count_begin(weir_request *request, void *self, void *context);
void count_end(weir_request *request, void *self, void *context);

#endif
