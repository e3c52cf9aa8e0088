/* Counts what passes: requests, latencies and bytes for each service and route, in Kong's families,
 * labels and buckets, so that dashboards made for Kong work. The gateway shows them at /metrics. */
#include <weir/weir.h>

typedef struct {
    bool per_consumer, status_code_metrics, latency_metrics, bandwidth_metrics;
    bool upstream_health_metrics, ai_metrics, wasm_metrics;

    /* NULL: switched off */
    weir_metric *requests, *bandwidth;
    weir_metric *gateway_ms, *target_ms, *total_ms;
} prometheus;

static const weir_field fields[] = {
    WEIR_BOOLEAN(prometheus, per_consumer, .def = "false",
                 .help = "fill in the consumer label with the username"),
    WEIR_BOOLEAN(prometheus, status_code_metrics, .def = "false",
                 .help = "kong_http_requests_total: requests by status"),
    WEIR_BOOLEAN(prometheus, latency_metrics, .def = "false",
                 .help = "the latency histograms of gateway, upstream and request"),
    WEIR_BOOLEAN(prometheus, bandwidth_metrics, .def = "false",
                 .help = "kong_bandwidth_bytes: bytes in and out"),
    WEIR_BOOLEAN(prometheus, upstream_health_metrics, .def = "false",
                 .help = "accepted; says nothing until there are health checks"),
    WEIR_BOOLEAN(prometheus, ai_metrics, .def = "false",
                 .help = "accepted; there are no AI policies to measure"),
    WEIR_BOOLEAN(prometheus, wasm_metrics, .def = "false",
                 .help = "accepted; there are no Wasm filters to measure"),
};

static const char *const request_labels[] = {"service",   "route",    "code", "source",
                                             "workspace", "consumer", NULL};
static const char *const byte_labels[] = {"service",   "route",    "direction",
                                          "workspace", "consumer", NULL};
static const char *const latency_labels[] = {"service", "route", "workspace", NULL};

static const double gateway_buckets[] = {1,  2,   5,   7,   10,  15,   20,   30,  50,
                                         75, 100, 200, 500, 750, 1000, 3000, 6000};
static const double target_buckets[] = {25,   50,   80,   100,   250,   400,  700,
                                        1000, 2000, 5000, 10000, 30000, 60000};

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static bool open_counters(prometheus *policy, weir_error *error)
{
    if (policy->status_code_metrics) {
        policy->requests = weir_metric_open(
            error, policy, WEIR_METRIC_COUNTER, WEIR_LIT("kong_http_requests_total"),
            WEIR_LIT("Requests by service, route, status and who answered"), request_labels, NULL,
            0);
        if (policy->requests == NULL)
            return false;
    }
    if (policy->bandwidth_metrics) {
        policy->bandwidth = weir_metric_open(
            error, policy, WEIR_METRIC_COUNTER, WEIR_LIT("kong_bandwidth_bytes"),
            WEIR_LIT("Bytes from clients (ingress) and to them (egress)"), byte_labels, NULL, 0);
        if (policy->bandwidth == NULL)
            return false;
    }
    return true;
}

static bool open_latencies(prometheus *policy, weir_error *error)
{
    if (!policy->latency_metrics)
        return true;
    policy->gateway_ms =
        weir_metric_open(error, policy, WEIR_METRIC_HISTOGRAM, WEIR_LIT("kong_kong_latency_ms"),
                         WEIR_LIT("Milliseconds in the gateway and its policies"), latency_labels,
                         gateway_buckets, COUNT_OF(gateway_buckets));
    policy->target_ms =
        weir_metric_open(error, policy, WEIR_METRIC_HISTOGRAM, WEIR_LIT("kong_upstream_latency_ms"),
                         WEIR_LIT("Milliseconds until the upstream began to answer"),
                         latency_labels, target_buckets, COUNT_OF(target_buckets));
    policy->total_ms = weir_metric_open(
        error, policy, WEIR_METRIC_HISTOGRAM, WEIR_LIT("kong_request_latency_ms"),
        WEIR_LIT("Milliseconds from the first byte of a request to the last of its answer"),
        latency_labels, target_buckets, COUNT_OF(target_buckets));
    return policy->gateway_ms != NULL && policy->target_ms != NULL && policy->total_ms != NULL;
}

static int configure(void *self, weir_error *error)
{
    prometheus *policy = self;
    return open_counters(policy, error) && open_latencies(policy, error) ? 0 : -1;
}

/* ---- after each request */

typedef struct {
    weir_str service, route, workspace, consumer;
} names;

static weir_str text_or(weir_request *request, uint32_t what, uint32_t instead)
{
    weir_str text = weir_request_text(request, what);
    if (text.data == NULL)
        text = weir_request_text(request, instead);
    return text.data == NULL ? WEIR_LIT("") : text;
}

static weir_str consumer_name(const prometheus *policy, weir_request *request)
{
    const weir_consumer *consumer = policy->per_consumer ? weir_request_consumer(request) : NULL;
    weir_str name = {NULL, 0};
    if (consumer != NULL)
        name = weir_consumer_text(consumer, WEIR_CONSUMER_USERNAME);
    return name.data == NULL ? WEIR_LIT("") : name;
}

static void count_request(weir_metric *requests, weir_request *request, const names *of)
{
    int64_t status = weir_request_number(request, WEIR_NUMBER_STATUS);
    char digits[3];
    if (status < 100 || status > 999) /* the client left before there was an answer */
        status = 499;
    for (size_t i = 3; i-- > 0; status /= 10)
        digits[i] = (char)('0' + status % 10);
    bool is_proxied = weir_request_number(request, WEIR_NUMBER_SOURCE) == WEIR_SOURCE_SERVICE;
    const weir_str values[] = {
        of->service,   of->route,
        {digits, 3},   is_proxied ? WEIR_LIT("service") : WEIR_LIT("kong"),
        of->workspace, of->consumer,
    };
    weir_metric_add(requests, values, 1);
}

static void count_bytes(weir_metric *bandwidth, int64_t bytes, weir_str direction, const names *of)
{
    const weir_str values[] = {of->service, of->route, direction, of->workspace, of->consumer};
    if (bytes > 0)
        weir_metric_add(bandwidth, values, (double)bytes);
}

static void observe(weir_metric *histogram, int64_t ms, const names *of)
{
    const weir_str values[] = {of->service, of->route, of->workspace};
    if (ms >= 0) /* -1 or unset: that part did not take place */
        weir_metric_add(histogram, values, (double)ms);
}

static void on_log(weir_request *request, void *self, void *context)
{
    const prometheus *policy = self;
    (void)context;
    if (weir_request_text(request, WEIR_TEXT_ROUTE_ID).data == NULL)
        return; /* nothing to tell it by, and anybody could make series of it */
    const names of = {
        .service = text_or(request, WEIR_TEXT_SERVICE_NAME, WEIR_TEXT_SERVICE_ID),
        .route = text_or(request, WEIR_TEXT_ROUTE_NAME, WEIR_TEXT_ROUTE_ID),
        .workspace = WEIR_LIT("default"),
        .consumer = consumer_name(policy, request),
    };
    if (policy->requests != NULL)
        count_request(policy->requests, request, &of);
    if (policy->bandwidth != NULL) {
        count_bytes(policy->bandwidth, weir_request_number(request, WEIR_NUMBER_BYTES_IN),
                    WEIR_LIT("ingress"), &of);
        count_bytes(policy->bandwidth, weir_request_number(request, WEIR_NUMBER_BYTES_OUT),
                    WEIR_LIT("egress"), &of);
    }
    if (policy->latency_metrics) {
        observe(policy->gateway_ms, weir_request_number(request, WEIR_NUMBER_GATEWAY_MS), &of);
        observe(policy->target_ms, weir_request_number(request, WEIR_NUMBER_TARGET_MS), &of);
        observe(policy->total_ms, weir_request_number(request, WEIR_NUMBER_TOTAL_MS), &of);
    }
}

WEIR_PLUGIN("prometheus", "1.0.0", 0, .priority = 13, WEIR_SELF(prometheus), WEIR_FIELDS(fields),
            .configure = configure, .log = on_log);
