/* A plugin for the tests of the test kit: passes through every phase, may wait in any of them, and
 * says which build of it was there. Built twice, the second time with another BUILD. */
#include <string.h>

#include <weir/weir.h>

#ifndef BUILD
#define BUILD "one"
#endif

typedef struct {
    weir_str wait; /* the phase in which to wait for a second, once a request */
    weir_str act;
    weir_str url;
    weir_header_id build;
    weir_dict *counts;
    weir_metric *seen;
    int64_t requests; /* handed over */
    void *kept;       /* of a request, which is wrong */
} steps;
typedef struct {
    bool waited;
    char name[32];
} per_request;

static const weir_field fields[] = {
    WEIR_STRING(steps, wait, .def = ""),
    WEIR_STRING(steps, act, .def = ""),
    WEIR_STRING(steps, url, .def = "http://peer.test/"),
};

static bool is(weir_str text, const char *word)
{
    return text.size == strlen(word) && memcmp(text.data, word, text.size) == 0;
}

static int configure(void *self, weir_error *error)
{
    static const char *const labels[] = {"build", NULL};
    steps *mine = self;
    mine->build = weir_header_intern(WEIR_LIT("X-Build"));
    mine->counts = weir_dict_open(error, self, WEIR_LIT("counts"), 1, 64, 8);
    mine->seen = weir_metric_open(error, self, WEIR_METRIC_COUNTER, WEIR_LIT("steps_seen"),
                                  WEIR_LIT("requests"), labels, NULL, 0);
    return mine->build == 0 || mine->counts == NULL || mine->seen == NULL ? -1 : 0;
}

static weir_verdict on_wake(weir_request *request, void *self, void *context, uint32_t why)
{
    (void)request, (void)self, (void)context, (void)why;
    return WEIR_NEXT;
}

static weir_verdict step(weir_request *request, const steps *mine, per_request *its,
                         const char *phase)
{
    if (!is(mine->wait, phase) || its->waited)
        return WEIR_NEXT;
    its->waited = true;
    return weir_park(request, 1000, on_wake) == 0 ? WEIR_FAIL : WEIR_WAIT;
}

static weir_verdict on_rewrite(weir_request *request, void *self, void *context)
{
    return step(request, self, context, "rewrite");
}

static void on_timer(void *self, void *user)
{
    (void)self, (void)user;
}

static void on_fetched(void *self, void *user, const weir_fetch_answer *answer)
{
    (void)self, (void)user, (void)answer;
}

/* Things that no good plugin does. */
static weir_verdict act(weir_request *request, steps *mine, per_request *its)
{
    weir_fetch_request ask = {.size = (uint32_t)sizeof(ask),
                              .method = WEIR_LIT("GET"),
                              .url = mine->url,
                              .deadline_ms = 90000,
                              .body_limit = 100};
    if (is(mine->act, "wait for nothing"))
        return WEIR_WAIT;
    if (is(mine->act, "no answer"))
        return WEIR_DONE;
    if (is(mine->act, "no verdict"))
        return 17;
    if (is(mine->act, "leave"))
        return weir_timer_start(mine, 60000, 0, on_timer, NULL) == NULL ||
                       weir_fetch_start(mine, &ask, on_fetched, NULL) == NULL
                   ? WEIR_FAIL
                   : WEIR_NEXT;
    if (mine->kept != NULL)
        ((volatile char *)mine->kept)[0] = 'x';
    if (is(mine->act, "keep memory"))
        mine->kept = weir_request_alloc(request, 10);
    if (is(mine->act, "keep context"))
        mine->kept = its->name;
    return WEIR_NEXT;
}

static weir_verdict on_access(weir_request *request, void *self, void *context)
{
    steps *mine = self;
    weir_str build = WEIR_LIT(BUILD);
    mine->requests++;
    weir_metric_add(mine->seen, &build, 1);
    if (weir_dict_add(mine->counts, weir_request_text(request, WEIR_TEXT_CLIENT_IP), 1, 60000,
                      NULL) != WEIR_SUCCESS)
        return WEIR_FAIL;
    weir_verdict verdict = act(request, mine, context);
    return verdict != WEIR_NEXT ? verdict : step(request, mine, context, "access");
}

static weir_verdict on_upstream(weir_request *request, void *self, void *context)
{
    return step(request, self, context, "upstream");
}

static weir_verdict on_response_headers(weir_request *request, void *self, void *context)
{
    const steps *mine = self;
    if (weir_header_set(request, WEIR_SIDE_RESPONSE, mine->build, WEIR_LIT(BUILD)) ||
        weir_shared_set(request, WEIR_LIT("build"), WEIR_LIT(BUILD)))
        return WEIR_FAIL;
    return step(request, mine, context, "response_headers");
}

static weir_verdict on_request_body(weir_request *request, void *self, void *context,
                                    weir_str chunk, bool last)
{
    (void)last;
    if (weir_body_emit(request, WEIR_SIDE_REQUEST, chunk))
        return WEIR_FAIL;
    return step(request, self, context, "request_body");
}

static weir_verdict on_response_body(weir_request *request, void *self, void *context,
                                     weir_str chunk, bool last)
{
    (void)last;
    if (weir_body_emit(request, WEIR_SIDE_RESPONSE, chunk))
        return WEIR_FAIL;
    return step(request, self, context, "response_body");
}

static void on_log(weir_request *request, void *self, void *context)
{
    const steps *mine = self;
    (void)context;
    weir_log(request, WEIR_LOG_INFO, "build %s, request %lld", BUILD, (long long)mine->requests);
}

static void export_state(void *self, weir_state *state)
{
    const steps *mine = self;
    (void)weir_state_set(state, WEIR_LIT("requests"),
                         (weir_str){(const char *)&mine->requests, sizeof(mine->requests)});
}

static void import_state(void *self, const weir_state *state)
{
    steps *mine = self;
    weir_str requests = weir_state_get(state, WEIR_LIT("requests"));
    if (requests.size == sizeof(mine->requests))
        memcpy(&mine->requests, requests.data, sizeof(mine->requests));
}

WEIR_PLUGIN("steps", "1.0.0", WEIR_CAP_NETWORK | WEIR_CAP_BODY | WEIR_CAP_SHARED_MEMORY,
            .priority = 600, WEIR_SELF(steps), WEIR_CONTEXT(per_request), WEIR_FIELDS(fields),
            .request_body_need = WEIR_BODY_STREAM, .response_body_need = WEIR_BODY_STREAM,
            .configure = configure, .rewrite = on_rewrite, .access = on_access,
            .request_body = on_request_body, .upstream = on_upstream,
            .response_headers = on_response_headers, .response_body = on_response_body,
            .log = on_log, .export_state = export_state, .import_state = import_state);
