/* Bodies in upper case, piece by piece, and how many pieces there were. */
#include <weir/weir.h>

typedef struct {
    bool wait; /* once, before the second piece of a response */
} shout;
typedef struct {
    int64_t pieces;
    bool waited;
} per_request;

static const weir_field fields[] = {WEIR_BOOLEAN(shout, wait, .def = "false")};

static weir_verdict emit(weir_request *request, uint32_t side, weir_str chunk)
{
    for (size_t i = 0; i < chunk.size; i++) {
        char c = chunk.data[i];
        if (c >= 'a' && c <= 'z')
            c = (char)(c - 32);
        if (weir_body_emit(request, side, (weir_str){&c, 1}))
            return WEIR_FAIL;
    }
    return WEIR_NEXT;
}

static weir_verdict on_request_body(weir_request *request, void *self, void *context,
                                    weir_str chunk, bool last)
{
    (void)self;
    (void)context;
    (void)last;
    return emit(request, WEIR_SIDE_REQUEST, chunk);
}

static weir_verdict on_wake(weir_request *request, void *self, void *context, uint32_t why)
{
    (void)self;
    (void)context;
    (void)why;
    return emit(request, WEIR_SIDE_RESPONSE, WEIR_LIT("|"));
}

static weir_verdict on_response_body(weir_request *request, void *self, void *context,
                                     weir_str chunk, bool last)
{
    const shout *policy = self;
    per_request *mine = context;
    mine->pieces++;
    if (last)
        weir_log(request, WEIR_LOG_INFO, "pieces: %lld", (long long)mine->pieces);
    if (emit(request, WEIR_SIDE_RESPONSE, chunk) != WEIR_NEXT)
        return WEIR_FAIL;
    if (!policy->wait || mine->waited)
        return WEIR_NEXT;
    mine->waited = true;
    return weir_park(request, 50, on_wake) == 0 ? WEIR_FAIL : WEIR_WAIT;
}

WEIR_PLUGIN("shout", "1.0.0", WEIR_CAP_BODY, .priority = 400, WEIR_SELF(shout),
            WEIR_CONTEXT(per_request), WEIR_FIELDS(fields), .request_body_need = WEIR_BODY_STREAM,
            .response_body_need = WEIR_BODY_STREAM, .request_body = on_request_body,
            .response_body = on_response_body);
