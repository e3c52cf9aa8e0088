/* Of the version matrix: bodies both ways in pieces, the response told apart by a template, a
 * shared value and a log document. */
#include <string.h>

#include <weir/weir.h>

typedef struct {
    const weir_template *text;
    weir_header_id said;
} bodies;

typedef struct {
    int64_t bytes[2];
} per_request;

static int configure(void *self, weir_error *error)
{
    bodies *policy = self;
    policy->said = weir_header_intern(WEIR_LIT("X-Said"));
    policy->text = weir_template_compile(error, self, NULL, WEIR_LIT("$(method) $(shared.mood)"));
    return policy->text == NULL ? -1 : 0;
}

static weir_verdict on_access(weir_request *request, void *self, void *context)
{
    (void)self, (void)context;
    return weir_shared_set(request, WEIR_LIT("mood"), WEIR_LIT("glad")) ? WEIR_FAIL : WEIR_NEXT;
}

/* 'a' becomes 'b' towards the target, and back. */
static weir_verdict pass(weir_request *request, per_request *mine, uint32_t side, weir_str chunk)
{
    char *copy = weir_request_alloc(request, chunk.size + 1);
    if (copy == NULL)
        return WEIR_FAIL;
    for (size_t i = 0; i < chunk.size; i++)
        copy[i] = chunk.data[i] == (side == WEIR_SIDE_REQUEST ? 'a' : 'b')
                      ? (char)(chunk.data[i] ^ 3)
                      : chunk.data[i];
    mine->bytes[side] += (int64_t)chunk.size;
    return weir_body_emit(request, side, (weir_str){copy, chunk.size}) ? WEIR_FAIL : WEIR_NEXT;
}

static weir_verdict on_request_body(weir_request *request, void *self, void *context,
                                    weir_str chunk, bool last)
{
    (void)self, (void)last;
    return pass(request, context, WEIR_SIDE_REQUEST, chunk);
}

static weir_verdict on_response_headers(weir_request *request, void *self, void *context)
{
    const bodies *policy = self;
    (void)context;
    weir_str text;
    if (weir_template_render(request, policy->text, &text) != WEIR_SUCCESS)
        return WEIR_FAIL;
    return weir_header_set(request, WEIR_SIDE_RESPONSE, policy->said, text) ? WEIR_FAIL : WEIR_NEXT;
}

static weir_verdict on_response_body(weir_request *request, void *self, void *context,
                                     weir_str chunk, bool last)
{
    (void)self, (void)last;
    return pass(request, context, WEIR_SIDE_RESPONSE, chunk);
}

static void on_log(weir_request *request, void *self, void *context)
{
    const per_request *mine = context;
    (void)self;
    if (weir_log_set(request, WEIR_LIT("matrix.seen"), WEIR_LIT("true")) != WEIR_SUCCESS)
        return;
    weir_str document = weir_log_document(request);
    bool told = document.size > 0 &&
                memmem(document.data, document.size, "\"matrix\":{\"seen\":true}", 22) != NULL;
    weir_log(request, WEIR_LOG_WARN, "bodies of %d and %d bytes, document %s", (int)mine->bytes[0],
             (int)mine->bytes[1], told ? "whole" : "wrong");
}

WEIR_PLUGIN(PLUGIN_NAME, "1.0.0", WEIR_CAP_BODY, .priority = 400, WEIR_SELF(bodies),
            WEIR_CONTEXT(per_request), .request_body_need = WEIR_BODY_STREAM,
            .response_body_need = WEIR_BODY_STREAM, .configure = configure, .access = on_access,
            .request_body = on_request_body, .response_headers = on_response_headers,
            .response_body = on_response_body, .log = on_log);
