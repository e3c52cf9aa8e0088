/* Counts what passes: requests, latencies and bytes for each service and route, in Kong's families,
 * labels and buckets, so that dashboards made for Kong work; or under the names that HTTP services
 * commonly use; or both. The gateway shows them at /metrics. */
#include "prometheus.h"

#include <math.h>
#include <string.h>

static const weir_field bucket_fields[] = {
    WEIR_LIST(bucket_lists, gateway_ms, WEIR_TYPE_NUMBER, .key = "kong_latency_ms",
              .def = "[1, 2, 5, 7, 10, 15, 20, 30, 50, 75, 100, 200, 500, 750, 1000, 3000, 6000]",
              .help = "of kong_kong_latency_ms"),
    WEIR_LIST(bucket_lists, target_ms, WEIR_TYPE_NUMBER, .key = "upstream_latency_ms",
              .def = "[25, 50, 80, 100, 250, 400, 700, 1000, 2000, 5000, 10000, 30000, 60000]",
              .help = "of kong_upstream_latency_ms"),
    WEIR_LIST(bucket_lists, total_ms, WEIR_TYPE_NUMBER, .key = "request_latency_ms",
              .def = "[25, 50, 80, 100, 250, 400, 700, 1000, 2000, 5000, 10000, 30000, 60000]",
              .help = "of kong_request_latency_ms"),
    WEIR_LIST(bucket_lists, total_s, WEIR_TYPE_NUMBER, .key = "http_request_duration_seconds",
              .def = "[0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]",
              .help = "of http_request_duration_seconds"),
    WEIR_LIST(bucket_lists, target_s, WEIR_TYPE_NUMBER, .key = "upstream_request_duration_seconds",
              .def = "[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5]",
              .help = "of upstream_request_duration_seconds"),
};

static const char *const name_sets[] = {"kong", "seed", "both", NULL};

static const weir_field fields[] = {
    WEIR_BOOLEAN(prometheus, per_consumer, .def = "false",
                 .help = "fill in the consumer label with the username"),
    WEIR_BOOLEAN(prometheus, status_code_metrics, .def = "false",
                 .help = "requests by status: kong_http_requests_total"),
    WEIR_BOOLEAN(prometheus, latency_metrics, .def = "false",
                 .help = "the latency histograms of gateway, upstream and request"),
    WEIR_BOOLEAN(prometheus, bandwidth_metrics, .def = "false",
                 .help = "bytes in and out: kong_bandwidth_bytes"),
    WEIR_BOOLEAN(prometheus, upstream_health_metrics, .def = "false",
                 .help = "the state of each target: kong_upstream_target_health"),
    WEIR_BOOLEAN(prometheus, ai_metrics, .def = "false",
                 .help = "accepted; there are no AI policies to measure"),
    WEIR_BOOLEAN(prometheus, wasm_metrics, .def = "false",
                 .help = "accepted; there are no Wasm filters to measure"),
    WEIR_ENUM(prometheus, names, .def = "kong", .choices = name_sets,
              .help = "kong: kong_http_requests_total and its like; seed: http_requests_total and "
                      "its like; both"),
    WEIR_INTEGER(prometheus, series_limit, .def = "10000", .min = 1, .max = 1000000,
                 .help = "series that this policy may bring a family up to; what comes then is "
                         "counted in one called overflow"),
    WEIR_RECORD(prometheus, buckets, bucket_lists, bucket_fields,
                .help = "upper bounds of the histograms' buckets, rising; +Inf comes by itself"),
};

/* ---- configuration */

static const char *const request_labels[] = {"service",   "route",    "code", "source",
                                             "workspace", "consumer", NULL};
static const char *const byte_labels[] = {"service",   "route",    "direction",
                                          "workspace", "consumer", NULL};
static const char *const latency_labels[] = {"service", "route", "workspace", NULL};
static const char *const http_labels[] = {"method", "route", "status_code", "service", NULL};
static const char *const active_labels[] = {"service", NULL};
static const char *const hit_labels[] = {"client_id", "route", NULL};
static const char *const target_labels[] = {"service", "status_code", NULL};

enum { BUCKETS_MAX = 32, FAMILIES = 10 };

struct wanted {
    bool on;
    weir_metric **to;
    uint32_t kind;
    weir_str name, help;
    const char *const *labels;
    const weir_list *buckets;
    const char *path; /* of them */
};

static bool buckets_are_good(const struct wanted *wanted, weir_error *error)
{
    const double *items = wanted->buckets->items;
    size_t count = wanted->buckets->count;
    bool rising = count > 0;
    for (size_t i = 0; i < count; i++)
        rising = rising && isfinite(items[i]) && (i == 0 || items[i] > items[i - 1]);
    if (!rising)
        weir_error_at(error, wanted->path, "buckets must be finite numbers that rise");
    else if (count > BUCKETS_MAX)
        weir_error_at(error, wanted->path, "at most 32 buckets, got %zu", count);
    return rising && count <= BUCKETS_MAX;
}

static bool open_family(prometheus *policy, const struct wanted *wanted, weir_error *error)
{
    bool has_buckets = wanted->buckets != NULL;
    if (has_buckets && !buckets_are_good(wanted, error))
        return false;
    if (!wanted->on)
        return true;
    weir_metric *metric = weir_metric_open(
        error, policy, wanted->kind, wanted->name, wanted->help, wanted->labels,
        has_buckets ? wanted->buckets->items : NULL, has_buckets ? wanted->buckets->count : 0);
    if (metric != NULL)
        *wanted->to = weir_metric_limit(error, policy, metric, (uint32_t)policy->series_limit);
    return *wanted->to != NULL;
}

static int configure(void *self, weir_error *error)
{
    prometheus *policy = self;
    const bucket_lists *buckets = &policy->buckets;
    char set = policy->names.data[0]; /* of kong, seed, both */
    bool kong = set != 's', seed = set != 'k';
    bool statuses = policy->status_code_metrics, latencies = policy->latency_metrics;
    const uint32_t counter = WEIR_METRIC_COUNTER, histogram = WEIR_METRIC_HISTOGRAM;
    const struct wanted families[FAMILIES] = {
        {kong && statuses, &policy->requests, counter, WEIR_LIT("kong_http_requests_total"),
         WEIR_LIT("Requests by service, route, status and who answered"), request_labels},
        {kong && policy->bandwidth_metrics, &policy->bandwidth, counter,
         WEIR_LIT("kong_bandwidth_bytes"),
         WEIR_LIT("Bytes from clients (ingress) and to them (egress)"), byte_labels},
        {kong && latencies, &policy->gateway_ms, histogram, WEIR_LIT("kong_kong_latency_ms"),
         WEIR_LIT("Milliseconds in the gateway and its policies"), latency_labels,
         &buckets->gateway_ms, "buckets.kong_latency_ms"},
        {kong && latencies, &policy->target_ms, histogram, WEIR_LIT("kong_upstream_latency_ms"),
         WEIR_LIT("Milliseconds until the upstream began to answer"), latency_labels,
         &buckets->target_ms, "buckets.upstream_latency_ms"},
        {kong && latencies, &policy->total_ms, histogram, WEIR_LIT("kong_request_latency_ms"),
         WEIR_LIT("Milliseconds from the first byte of a request to the last of its answer"),
         latency_labels, &buckets->total_ms, "buckets.request_latency_ms"},
        {seed && statuses, &policy->http_requests, counter, WEIR_LIT("http_requests_total"),
         WEIR_LIT("Requests by method, route, status and service"), http_labels},
        {seed && statuses, &policy->active, WEIR_METRIC_GAUGE, WEIR_LIT("http_active_connections"),
         WEIR_LIT("Requests of a service under way"), active_labels},
        {seed && statuses, &policy->limit_hits, counter, WEIR_LIT("rate_limit_hits_total"),
         WEIR_LIT("Requests refused with 429 by client and route"), hit_labels},
        {seed && latencies, &policy->total_s, histogram, WEIR_LIT("http_request_duration_seconds"),
         WEIR_LIT("Seconds from the first byte of a request to the last of its answer"),
         http_labels, &buckets->total_s, "buckets.http_request_duration_seconds"},
        {seed && latencies, &policy->target_s, histogram,
         WEIR_LIT("upstream_request_duration_seconds"),
         WEIR_LIT("Seconds until the upstream began to answer"), target_labels, &buckets->target_s,
         "buckets.upstream_request_duration_seconds"},
    };
    for (size_t i = 0; i < FAMILIES; i++)
        if (!open_family(policy, &families[i], error))
            return -1;
    return 0;
}

WEIR_PLUGIN("prometheus", "1.2.0", 0, .priority = 13, WEIR_SELF(prometheus),
            WEIR_CONTEXT(per_request), WEIR_FIELDS(fields), .configure = configure,
            .access = count_begin, .log = count_end);
