/* Of the version matrix: a dictionary, a metric, a parked request woken by a fetch, and structs
 * that begin with their size. LATER uses a tail that today's host does not know. */
#include <string.h>

#include <weir/weir.h>

typedef struct {
    weir_str url, file, host;
    int64_t port;
    weir_dict *hits;
    weir_metric *seen;
    weir_file *lines;
    weir_header_id said;
} waits;

typedef struct {
    weir_token token;
    weir_fetch *fetch;
    uint32_t status;
} per_request;

static const weir_field fields[] = {
    WEIR_STRING(waits, url, .flags = WEIR_REQUIRED),
    WEIR_STRING(waits, file, .flags = WEIR_REQUIRED),
    WEIR_STRING(waits, host, .def = "127.0.0.1"),
    WEIR_INTEGER(waits, port, .flags = WEIR_REQUIRED),
};

static int configure(void *self, weir_error *error)
{
    static const char *const labels[] = {"who", NULL};
    static const double buckets[] = {1, 10};
    waits *policy = self;
    policy->said = weir_header_intern(WEIR_LIT("X-Said"));
    policy->hits = weir_dict_open(error, self, WEIR_LIT("hits"), 1, 100, 16);
    policy->seen = weir_metric_open(error, self, WEIR_METRIC_HISTOGRAM, WEIR_LIT(METRIC),
                                    WEIR_LIT("requests of the matrix"), labels, buckets, 2);
    return policy->hits == NULL || policy->seen == NULL ? -1 : 0;
}

static void on_answer(void *self, void *user, const weir_fetch_answer *answer)
{
    per_request *mine = user;
    (void)self;
    mine->fetch = NULL;
    mine->status = answer->status;
    (void)weir_wake(mine->token);
}

static weir_verdict on_wake(weir_request *request, void *self, void *context, uint32_t why)
{
    const waits *policy = self;
    const per_request *mine = context;
    weir_take pair[2] = {{.key = WEIR_LIT("one"), .limit = 100},
                         {.key = WEIR_LIT("two"), .limit = 100}};
    int64_t sum = 0;
    if (why != WEIR_WOKEN || weir_dict_take(policy->hits, pair, 2) != WEIR_SUCCESS ||
        weir_dict_add(policy->hits, WEIR_LIT("two"), 10, 0, &sum) != WEIR_SUCCESS ||
        weir_dict_swap(policy->hits, WEIR_LIT("two"), sum, 1) != WEIR_SUCCESS)
        return WEIR_FAIL;
    int64_t said = mine->status * 10000 + pair[0].value * 1000 + pair[1].value * 100 + sum;
    return weir_header_set_number(request, WEIR_SIDE_RESPONSE, policy->said, said) ? WEIR_FAIL
                                                                                   : WEIR_NEXT;
}

static weir_verdict on_access(weir_request *request, void *self, void *context)
{
    waits *policy = self;
    per_request *mine = context;
    const weir_fetch_request ask = {
        .size = (uint32_t)sizeof(weir_fetch_request),
        .method = WEIR_LIT("GET"),
        .url = policy->url,
        .deadline_ms = 20000,
        .body_limit = 1000,
#ifdef LATER
        .proxy = WEIR_LIT("nowhere"),
#endif
    };
    mine->token = weir_park(request, 20000, on_wake);
    mine->fetch = mine->token == 0 ? NULL : weir_fetch_start(self, &ask, on_answer, mine);
    return mine->fetch == NULL ? WEIR_FAIL : WEIR_WAIT;
}

static void on_opened(void *self, void *user)
{
    (void)self;
    *(bool *)user = true;
}

static weir_verdict on_response_headers(weir_request *request, void *self, void *context)
{
    waits *policy = self;
    (void)request, (void)context;
    const weir_stream_events events = {.size = (uint32_t)sizeof(events), .opened = on_opened};
    const weir_peer peer = {.size = (uint32_t)sizeof(peer),
                            .host = policy->host,
                            .port = (uint16_t)policy->port,
                            .deadline_ms = 1000};
    bool *opened = weir_policy_alloc(self, sizeof(*opened));
    weir_stream *stream = opened == NULL ? NULL : weir_stream_open(self, &peer, &events, opened);
    weir_stream_close(stream);
    return stream == NULL ? WEIR_FAIL : WEIR_NEXT;
}

static void on_log(weir_request *request, void *self, void *context)
{
    waits *policy = self;
    per_request *mine = context;
    const weir_str who = weir_request_text(request, WEIR_TEXT_METHOD);
    const weir_file_options options = {.size = (uint32_t)sizeof(options), .queue_bytes = 1000};
    weir_fetch_cancel(mine->fetch);
    weir_metric_add(policy->seen, &who, 5);
    if (policy->lines == NULL)
        policy->lines = weir_file_open(self, policy->file, &options);
    if (policy->lines == NULL || weir_file_append(policy->lines, WEIR_LIT("seen")) != WEIR_SUCCESS)
        weir_log(request, WEIR_LOG_ERROR, "no line");
}

WEIR_PLUGIN(PLUGIN_NAME, "1.0.0", WEIR_CAP_SHARED_MEMORY | WEIR_CAP_NETWORK | WEIR_CAP_FILES,
            .priority = 300, WEIR_SELF(waits), WEIR_CONTEXT(per_request), WEIR_FIELDS(fields),
            .configure = configure, .access = on_access, .response_headers = on_response_headers,
            .log = on_log);
