/* Answers that weir makes itself, and the end of every exchange. */
#include "gateway/exchange.h"
#include "gateway/overload.h"
#include "gateway/reply.h"
#include "plugin_host/timing.h"

enum step step_fail(struct exchange *x, enum weir_err err, bool engine)
{
    int status = weir_err_status(err);
    x->request.reply = (struct reply){
        .status = (uint16_t)(status == 0 ? 500 : status),
        .negotiated = true,
        .engine = engine,
        .body = span_text(weir_err_text(status == 0 ? WEIR_ERR_INTERNAL : err)),
    };
    return STEP_REPLY;
}

/* ---- make reply */

static struct span type_without_accept(const struct exchange *x)
{
    if (!x->request.reply.engine)
        return SPAN("application/json");
    struct span type = http_headers_get(&x->request.head.headers, HTTP_HEADER_CONTENT_TYPE);
    type = span_trim(span_first(type, span_find(type, ';')));
    static const struct span answerable[] = {SPAN("application/json"), SPAN("application/xml")};
    for (size_t i = 0; i < COUNT_OF(answerable); i++)
        if (span_equal_nocase(type, answerable[i]))
            return type;
    return x->generation->forward->error_default_type;
}

static enum weir_err render(struct exchange *x)
{
    struct weir_request *request = &x->request;
    struct reply *reply = &request->reply;
    if (!reply->negotiated)
        return WEIR_OK;
    struct reply_text text =
        reply_render(request->arena, http_headers_get(&request->head.headers, HTTP_HEADER_ACCEPT),
                     type_without_accept(x), reply->body, span_of(request->id, sizeof(request->id)),
                     request->correlate_errors ? request->correlation : SPAN_NONE);
    if (!span_is_set(text.body))
        return WEIR_ERR_NO_MEMORY;
    reply->content_type = text.content_type;
    reply->body = text.body;
    reply->negotiated = false;
    return WEIR_OK;
}

/* Its fields described what nobody will see. */
static void drop_response(struct weir_request *request)
{
    if (request->from_target && !request->reply.by_policy)
        http_headers_clear(&request->response.headers);
    request->from_target = false;
}

static void start_response(struct exchange *x)
{
    struct weir_request *request = &x->request;
    struct http_response_head *response = &request->response;
    drop_response(request);
    response->status = request->reply.status;
    response->reason = SPAN_NONE;
    if (span_is_set(request->reply.content_type) &&
        http_headers_set(&response->headers, HTTP_HEADER_CONTENT_TYPE, SPAN("Content-Type"),
                         request->reply.content_type) != WEIR_OK)
        request_log(request, LOG_WARN, "no room for the type of our own answer");
    if (!request->has_response) {
        request->has_response = true;
        if (request_response_started(request) != WEIR_OK)
            request_log(request, LOG_WARN,
                        "a policy's response fields were left out: there are too many");
    }
}

static bool is_done_with_body(struct exchange *x)
{
    return x->from_memory || x->head_size == 0 || relay_discard(&x->up);
}

enum step step_make_reply(struct exchange *x)
{
    struct weir_request *request = &x->request;
    /* The target's answer was replaced after its hooks had run: they do not run again. */
    x->reply_hooked = x->reply_hooked || request->has_response;
    exchange_drop_target(x);
    request_stop_waiting(request);
    timing_target(request, false);
    x->collecting = x->has_resumed = x->answer_begun = false;
    if (request->set == NULL && request_enter_global(request) != WEIR_OK)
        return STEP_CUT;
    if (render(x) != WEIR_OK)
        return STEP_CUT;
    start_response(x);
    if (!is_done_with_body(x) || x->gateway->draining)
        x->close_client = true;
    return STEP_NEXT;
}

enum step step_reply_headers(struct exchange *x)
{
    if (x->reply_hooked && !x->has_resumed)
        return STEP_NEXT;
    x->reply_hooked = true;
    return step_phase(x, PHASE_RESPONSE_HEADERS);
}

/* ---- send reply */

/* A head that was refused or did not come to its end says it by its first bytes. */
static bool is_for_head(const struct exchange *x)
{
    return x->request.head.method_id == HTTP_METHOD_HEAD ||
           (x->head_size == 0 && span_starts_with(span_of(x->in, x->in_size), SPAN("HEAD ")));
}

static bool has_no_body(const struct exchange *x)
{
    unsigned status = x->request.response.status;
    return is_for_head(x) || status == 204 || status == 304 || x->request.reply.body.size == 0;
}

static enum step begin_reply(struct exchange *x)
{
    struct relay *down = &x->down;
    struct span body = x->request.reply.body;
    x->response_framing = (struct http_framing){
        .kind = has_no_body(x) ? HTTP_BODY_NONE : HTTP_BODY_LENGTH, .length = body.size};
    union {
        const char *from;
        char *to;
    } bytes = {.from = body.data}; /* nothing is read into it */
    down->buffer = bytes.to;
    down->base = down->at = 0;
    down->size = down->capacity = has_no_body(x) ? 0 : (uint32_t)body.size;
    return answer_begin(x, false);
}

enum step step_send_reply(struct exchange *x)
{
    if (!x->answer_begun && begin_reply(x) != STEP_NEXT)
        return STEP_CUT;
    return answer_pump(x, NULL);
}

/* ---- what both kinds of answer share */

static bool add_head(struct exchange *x)
{
    struct relay *down = &x->down;
    bool old_client = x->request.head.minor_version == 0; /* it knows no chunks */
    x->until_close = down->chunked && old_client;
    down->chunked = down->chunked && !old_client;
    x->close_client = x->close_client || x->until_close;
    struct span head = forward_response_head(x);
    if (!span_is_set(head) || !outgoing_add(&down->out, head))
        return false;
    x->answer_started = true;
    return true;
}

/* A policy wants the body whole and may still change the head, or fail: it goes when the body does.
 */
static bool late_head(struct relay *relay, size_t size, bool whole)
{
    struct exchange *x = CONTAINER_OF(relay, struct exchange, down);
    if (whole) {
        relay->chunked = false;
        x->response_framing.kind = HTTP_BODY_LENGTH;
        x->response_framing.length = size;
    }
    return add_head(x);
}

enum step answer_begin(struct exchange *x, bool unmeasured)
{
    struct relay *down = &x->down;
    relay_begin(down, &x->response_framing, 0);
    down->chunked = unmeasured;
    x->answer_begun = true;
    if (!x->body_hooked) /* else this reply takes the place of one whose hooks have run */
        hook_body(x, TO_CLIENT);
    x->body_hooked = x->body_hooked || down->hook != NULL;
    down->trailers = forward_trailers(x, TO_CLIENT);
    down->trailer_head = &x->request.response.headers;
    if (down->hook != NULL && request_body_need(&x->request, TO_CLIENT) == WEIR_BODY_BUFFER) {
        down->late_head = late_head;
        return STEP_NEXT;
    }
    return add_head(x) ? STEP_NEXT : STEP_CUT;
}

/* Nothing was sent yet: the client is told what went wrong. */
static enum step answer_failed(struct exchange *x, enum relay_result result)
{
    bool left = x->down.sent > 0 || x->down.blocked; /* TLS may hold a part of what is blocked */
    if ((x->answer_started && left) || result == RELAY_SINK_GONE)
        return STEP_CUT;
    x->answer_started = false; /* the head is made, and was to leave with what has failed */
    if (result == RELAY_OVERLOADED) {
        drop_response(&x->request);
        overload_refuse(x, OVERLOAD_MEMORY);
        return step_fail(x, WEIR_ERR_OVERLOADED, true);
    }
    bool by_policy = result == RELAY_HOOK_FAILED || result == RELAY_ANSWERED;
    return step_fail(x, by_policy ? WEIR_ERR_POLICY_FAILED : WEIR_ERR_TARGET_BAD, !by_policy);
}

enum step answer_pump(struct exchange *x, struct conn *from)
{
    struct relay *down = &x->down;
    if (x->has_resumed) { /* a body hook had parked: what it let out goes on */
        x->has_resumed = false;
        if (x->resumed == PHASE_FAILED)
            return answer_failed(x, RELAY_HOOK_FAILED);
        relay_resume(down, request_body_output(&x->request, TO_CLIENT),
                     request_body_ended(&x->request, TO_CLIENT));
    }
    enum relay_result result = relay_pump(down, from, x->client->conn);
    if (result == RELAY_DONE)
        return STEP_NEXT;
    return result == RELAY_WAIT || result == RELAY_PARKED ? STEP_WAIT : answer_failed(x, result);
}

/* ---- finish */

static void give_back_target(struct exchange *x)
{
    bool clean = x->target_keep && x->down.finished && !x->up_active && x->up.finished &&
                 x->down.at == x->down.size;
    if (x->target == NULL || !clean || x->down.paused)
        return; /* released with the exchange, which closes it */
    pool_give(x->pick.pool, TAKE(x->target), x->target_requests + 1);
}

static bool is_last(const struct exchange *x)
{
    int64_t most = x->generation->settings.keepalive_requests;
    return x->close_client || (most > 0 && x->client->requests >= (uint64_t)most);
}

enum step step_finish(struct exchange *x)
{
    struct weir_request *request = &x->request;
    struct client *client = x->client;
    request->finished_us = clock_mono_us();
    give_back_target(x);
    if (!phase_is_empty(request, PHASE_LOG))
        (void)phase_run(request, PHASE_LOG);
    if (x->up.paused) {
        x->up.paused = false;
        conn_resume_reading(client->conn);
    }
    if (is_last(x)) {
        client_linger(client);
        return STEP_OVER;
    }
    uint32_t at = x->from_memory ? x->body_end : x->up.at;
    if (x->in_size > at) {
        exchange_again(x, at);
        return STEP_AGAIN;
    }
    exchange_release(x);
    client_idle(client);
    return STEP_OVER;
}
