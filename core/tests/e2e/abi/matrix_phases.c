/* Of the version matrix: in every hook it makes each call that is bound to phases, with arguments
 * that are refused or change nothing, and says which of them did not answer WEIR_PHASE. */
#include <stdio.h>
#include <string.h>

#include <weir/weir.h>

#ifndef BODY_NEED
#define BODY_NEED WEIR_BODY_STREAM
#endif

typedef struct {
    weir_header_id none;
} phases;

typedef struct {
    bool told[2];
} per_request;

static int configure(void *self, weir_error *error)
{
    (void)error;
    ((phases *)self)->none = weir_header_intern(WEIR_LIT("X-None"));
    return 0;
}

static const struct {
    const char *call;
    int which;
} calls[] = {
    {"weir_query_set", 0},
    {"weir_query_remove", 1},
    {"weir_query_replace", 2},
    {"weir_method_set", 3},
    {"weir_path_set", 4},
    {"weir_host_set", 5},
    {"weir_target_set", 6},
    {"weir_status_set", 7},
    {"weir_respond", 8},
    {"weir_respond_error", 9},
    {"weir_body_read", 10},
    {"weir_body_emit_request", 11},
    {"weir_body_emit_response", 12},
    {"weir_authenticate_anonymous", 13},
    {"weir_header_remove_request", 14},
    {"weir_header_remove_response", 15},
};

static weir_status make(weir_request *request, const phases *policy, int which)
{
    const weir_str none = {NULL, 0}, bad = WEIR_LIT("a b"), nobody = WEIR_LIT("nobody");
    switch (which) {
    case 0:
        return weir_query_set(request, none, none);
    case 1:
        return weir_query_remove(request, nobody);
    case 2:
        return weir_query_replace(request, bad);
    case 3:
        return weir_method_set(request, bad);
    case 4:
        return weir_path_set(request, bad);
    case 5:
        return weir_host_set(request, bad);
    case 6:
        return weir_target_set(request, bad, 0);
    case 7:
        return weir_status_set(request, 1);
    case 8:
        return weir_respond(request, 1, none, none);
    case 9:
        return weir_respond_error(request, 1, none);
    case 10:
        return weir_body_read(request, 1, NULL);
    case 11:
        return weir_body_emit(request, WEIR_SIDE_REQUEST, none);
    case 12:
        return weir_body_emit(request, WEIR_SIDE_RESPONSE, none);
    case 13:
        return weir_authenticate_anonymous(request, nobody);
    case 14:
        return weir_header_remove(request, WEIR_SIDE_REQUEST, policy->none);
    default:
        return weir_header_remove(request, WEIR_SIDE_RESPONSE, policy->none);
    }
}

static weir_verdict tell(weir_request *request, const phases *policy, const char *phase)
{
    char text[1024];
    size_t used = 0;
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
        if (make(request, policy, calls[i].which) != WEIR_PHASE)
            used += (size_t)snprintf(text + used, sizeof(text) - used, " %s", calls[i].call);
    text[used] = '\0';
    weir_log(request, WEIR_LOG_WARN, "in %s:%s.", phase, text);
    return WEIR_NEXT;
}

#define HOOK(phase)                                                                  \
    static weir_verdict on_##phase(weir_request *request, void *self, void *context) \
    {                                                                                \
        (void)context;                                                               \
        return tell(request, self, #phase);                                          \
    }
HOOK(rewrite)
HOOK(access)
HOOK(upstream)
HOOK(response_headers)

#define BODY_HOOK(phase, side)                                                                     \
    static weir_verdict on_##phase(weir_request *request, void *self, void *context,               \
                                   weir_str chunk, bool last)                                      \
    {                                                                                              \
        per_request *mine = context;                                                               \
        (void)last;                                                                                \
        if (BODY_NEED == WEIR_BODY_STREAM && weir_body_emit(request, side, chunk) != WEIR_SUCCESS) \
            return WEIR_FAIL;                                                                      \
        if (mine->told[side])                                                                      \
            return WEIR_NEXT;                                                                      \
        mine->told[side] = true;                                                                   \
        return tell(request, self, #phase);                                                        \
    }
BODY_HOOK(request_body, WEIR_SIDE_REQUEST)
BODY_HOOK(response_body, WEIR_SIDE_RESPONSE)

static void on_log(weir_request *request, void *self, void *context)
{
    (void)context;
    (void)tell(request, self, "log");
}

WEIR_PLUGIN(PLUGIN_NAME, "1.0.0", WEIR_CAP_BODY, .priority = 500, WEIR_SELF(phases),
            WEIR_CONTEXT(per_request), .request_body_need = BODY_NEED,
            .response_body_need = BODY_NEED, .configure = configure, .rewrite = on_rewrite,
            .access = on_access, .request_body = on_request_body, .upstream = on_upstream,
            .response_headers = on_response_headers, .response_body = on_response_body,
            .log = on_log);
