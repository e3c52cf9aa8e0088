/* What a request adds to, when it begins and when it is over. */
#include <string.h>

#include "prometheus.h"

enum { TOO_MANY_REQUESTS = 429, CLIENT_LEFT = 499 };

typedef struct {
    weir_str service, route, workspace, consumer, code;
    bool is_proxied;
} names;

static weir_str text_or(weir_request *request, uint32_t what, uint32_t instead)
{
    weir_str text = weir_request_text(request, what);
    if (text.data == NULL)
        text = weir_request_text(request, instead);
    return text.data == NULL ? WEIR_LIT("") : text;
}

static weir_str service_of(weir_request *request)
{
    return text_or(request, WEIR_TEXT_SERVICE_NAME, WEIR_TEXT_SERVICE_HOST);
}

static weir_str username(weir_request *request)
{
    const weir_consumer *consumer = weir_request_consumer(request);
    weir_str name = {NULL, 0};
    if (consumer != NULL)
        name = weir_consumer_text(consumer, WEIR_CONSUMER_USERNAME);
    return name.data == NULL ? WEIR_LIT("") : name;
}

/* Clients choose methods freely; series they shall not. */
static weir_str method_of(weir_request *request)
{
    static const char *const known[] = {"GET",    "HEAD",    "PUT",   "PATCH",  "POST",
                                        "DELETE", "OPTIONS", "TRACE", "CONNECT"};
    weir_str method = weir_request_text(request, WEIR_TEXT_METHOD);
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (method.size == strlen(known[i]) && memcmp(method.data, known[i], method.size) == 0)
            return method;
    return WEIR_LIT("OTHER");
}

/* ---- Kong's families */

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

static void count_kong(const prometheus *policy, weir_request *request, const names *of)
{
    if (policy->requests != NULL) {
        const weir_str values[] = {
            of->service,   of->route,
            of->code,      of->is_proxied ? WEIR_LIT("service") : WEIR_LIT("kong"),
            of->workspace, of->consumer,
        };
        weir_metric_add(policy->requests, values, 1);
    }
    if (policy->bandwidth != NULL) {
        count_bytes(policy->bandwidth, weir_request_number(request, WEIR_NUMBER_BYTES_IN),
                    WEIR_LIT("ingress"), of);
        count_bytes(policy->bandwidth, weir_request_number(request, WEIR_NUMBER_BYTES_OUT),
                    WEIR_LIT("egress"), of);
    }
    if (policy->total_ms != NULL) {
        observe(policy->gateway_ms, weir_request_number(request, WEIR_NUMBER_GATEWAY_MS), of);
        observe(policy->target_ms, weir_request_number(request, WEIR_NUMBER_TARGET_MS), of);
        observe(policy->total_ms, weir_request_number(request, WEIR_NUMBER_TOTAL_MS), of);
    }
}

/* ---- the others */

static void count_limit_hit(const prometheus *policy, weir_request *request, const names *of)
{
    weir_str client = username(request);
    if (client.size == 0)
        client = weir_request_text(request, WEIR_TEXT_CLIENT_IP);
    const weir_str values[] = {client, of->route};
    weir_metric_add(policy->limit_hits, values, 1);
}

static void count_seed(const prometheus *policy, weir_request *request, const names *of)
{
    const weir_str values[] = {method_of(request), of->route, of->code, of->service};
    if (policy->http_requests != NULL) {
        weir_metric_add(policy->http_requests, values, 1);
        if (weir_request_number(request, WEIR_NUMBER_STATUS) == TOO_MANY_REQUESTS &&
            weir_request_number(request, WEIR_NUMBER_SOURCE) == WEIR_SOURCE_PLUGIN)
            count_limit_hit(policy, request, of);
    }
    if (policy->total_s == NULL)
        return;
    weir_metric_add(policy->total_s, values,
                    (double)weir_request_number(request, WEIR_NUMBER_TOTAL_MS) / 1000);
    int64_t target_ms = weir_request_number(request, WEIR_NUMBER_TARGET_MS);
    const weir_str target_values[] = {of->service, of->code};
    if (target_ms >= 0)
        weir_metric_add(policy->target_s, target_values, (double)target_ms / 1000);
}

/* ---- hooks */

weir_verdict count_begin(weir_request *request, void *self, void *context)
{
    const prometheus *policy = self;
    per_request *mine = context;
    if (policy->active == NULL)
        return WEIR_NEXT;
    const weir_str values[] = {service_of(request)};
    weir_metric_add(policy->active, values, 1);
    mine->is_active = true;
    return WEIR_NEXT;
}

void count_end(weir_request *request, void *self, void *context)
{
    const prometheus *policy = self;
    const per_request *mine = context;
    char digits[3];
    int64_t status = weir_request_number(request, WEIR_NUMBER_STATUS);
    if (status < 100 || status > 999) /* the client left before there was an answer */
        status = CLIENT_LEFT;
    for (size_t i = 3; i-- > 0; status /= 10)
        digits[i] = (char)('0' + status % 10);
    if (weir_request_text(request, WEIR_TEXT_ROUTE_ID).data == NULL)
        return; /* nothing to tell it by, and anybody could make series of it */
    const names of = {
        .service = service_of(request),
        .route = text_or(request, WEIR_TEXT_ROUTE_NAME, WEIR_TEXT_ROUTE_ID),
        .workspace = WEIR_LIT("default"),
        .consumer = policy->per_consumer ? username(request) : WEIR_LIT(""),
        .code = {digits, 3},
        .is_proxied = weir_request_number(request, WEIR_NUMBER_SOURCE) == WEIR_SOURCE_SERVICE,
    };
    if (mine->is_active)
        weir_metric_add(policy->active, &of.service, -1);
    if (policy->requests != NULL || policy->bandwidth != NULL || policy->total_ms != NULL)
        count_kong(policy, request, &of);
    if (policy->http_requests != NULL || policy->total_s != NULL)
        count_seed(policy, request, &of);
}
