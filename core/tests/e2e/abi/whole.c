/* Takes the response body whole, turns it to capitals and tells its size in a header; leaves those
 * of requests with "X-Skip" alone. Replaces the query by what "X-Query" says, and knows the request
 * by the id in "X-Caller". */
#include <weir/weir.h>

typedef struct {
    bool in_errors;
    weir_header_id skip, query, caller, size, connection, server;
} whole;

static const weir_field fields[] = {
    WEIR_BOOLEAN(whole, in_errors, .def = "true", .help = "show the caller's id in error bodies"),
};

static int configure(void *self, weir_error *error)
{
    whole *policy = self;
    (void)error;
    policy->skip = weir_header_intern(WEIR_LIT("X-Skip"));
    policy->query = weir_header_intern(WEIR_LIT("X-Query"));
    policy->caller = weir_header_intern(WEIR_LIT("X-Caller"));
    policy->size = weir_header_intern(WEIR_LIT("X-Size"));
    policy->connection = weir_header_intern(WEIR_LIT("X-Connection"));
    policy->server = weir_header_intern(WEIR_LIT("X-Server-Ip"));
    return 0;
}

static weir_verdict on_access(weir_request *request, void *self, void *context)
{
    const whole *policy = self;
    (void)context;
    weir_str query = weir_header_get(request, WEIR_SIDE_REQUEST, policy->query, 0);
    weir_str caller = weir_header_get(request, WEIR_SIDE_REQUEST, policy->caller, 0);
    if (caller.data != NULL) {
        uint32_t flags = policy->in_errors ? WEIR_CORRELATE_ERRORS : 0;
        if (weir_correlate(request, caller, flags) != WEIR_SUCCESS)
            return WEIR_FAIL;
        weir_log(request, WEIR_LOG_WARN, "somebody calls");
    }
    if (query.data != NULL &&
        weir_query_replace(request, query.size == 1 ? (weir_str){NULL, 0} : query) != WEIR_SUCCESS)
        return WEIR_FAIL;
    return WEIR_NEXT;
}

static weir_verdict on_response_headers(weir_request *request, void *self, void *context)
{
    const whole *policy = self;
    (void)context;
    weir_str server = weir_request_text(request, WEIR_TEXT_SERVER_IP);
    weir_status failed = weir_header_set(request, WEIR_SIDE_RESPONSE, policy->server, server);
    failed |=
        weir_header_set_number(request, WEIR_SIDE_RESPONSE, policy->connection,
                               weir_request_number(request, WEIR_NUMBER_CONNECTION) * 1000 +
                                   weir_request_number(request, WEIR_NUMBER_CONNECTION_REQUESTS));
    if (weir_header_get(request, WEIR_SIDE_REQUEST, policy->skip, 0).data != NULL)
        failed |= weir_body_skip(request, WEIR_SIDE_RESPONSE);
    return failed != WEIR_SUCCESS ? WEIR_FAIL : WEIR_NEXT;
}

static weir_verdict on_response_body(weir_request *request, void *self, void *context,
                                     weir_str chunk, bool last)
{
    const whole *policy = self;
    (void)context;
    char *text = weir_request_alloc(request, chunk.size + 1);
    if (text == NULL || !last)
        return WEIR_FAIL;
    for (size_t i = 0; i < chunk.size; i++) {
        char c = chunk.data[i];
        text[i] = c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
    }
    if (weir_header_set_number(request, WEIR_SIDE_RESPONSE, policy->size, (int64_t)chunk.size) !=
            WEIR_SUCCESS ||
        weir_body_replace(request, WEIR_SIDE_RESPONSE, (weir_str){text, chunk.size}) !=
            WEIR_SUCCESS)
        return WEIR_FAIL;
    return chunk.size == 4 && chunk.data[0] == 'f' ? WEIR_FAIL : WEIR_NEXT; /* "fail" */
}

WEIR_PLUGIN(PLUGIN_NAME, "1.0.0", WEIR_CAP_BODY, .priority = 500, WEIR_SELF(whole),
            WEIR_FIELDS(fields), .response_body_need = WEIR_BODY_BUFFER, .configure = configure,
            .access = on_access, .response_headers = on_response_headers,
            .response_body = on_response_body);
