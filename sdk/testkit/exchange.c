/* The life of one request in the test kit: the gateway's order of phases and its rules, over bodies
 * that are already there and a target that says what the test told it to say. */
#include "base/clock.h"
#include "base/text.h"
#include "http/message.h"
#include "kit_internal.h"

enum outcome {
    STEP_DONE,  /* on to the next stage */
    STEP_AGAIN, /* this stage goes on */
    STEP_WAIT,  /* a policy waits */
    STEP_PAUSE, /* what comes next has not come yet */
    STEP_GONE,  /* a body broke off: the client is gone, or the target */
    STEP_REPLY, /* request->reply is the answer: on to the response phases */
};

static struct kit_request *of_request(struct weir_request *request)
{
    return (struct kit_request *)(void *)request;
}

static bool needs_body(const kit_request *r, enum direction direction)
{
    return request_body_need(&r->request, direction) != WEIR_BODY_NONE;
}

/* ---- replies that do not come from the target */

static void reply_with(kit_request *r, enum weir_err err, int status, bool engine)
{
    r->request.reply = (struct reply){
        .status = (uint16_t)status,
        .negotiated = true,
        .engine = engine,
        .body = span_text(weir_err_text(err)),
    };
}

/* A policy failed and fails closed; a reason that is set already (a body above its limit) stands.
 */
static void reply_failed(kit_request *r)
{
    if (r->request.reply.status < 400)
        reply_with(r, WEIR_ERR_POLICY_FAILED, weir_err_status(WEIR_ERR_POLICY_FAILED), true);
}

/* Clients match on this form, message unescaped (see Kong's error templates). */
static struct span reply_body(kit_request *r)
{
    const struct reply *reply = &r->request.reply;
    if (!reply->negotiated)
        return span_is_set(reply->body) ? reply->body : SPAN("");
    struct span text =
        arena_printf(r->arena, "{\n  \"message\":\"%.*s\",\n  \"request_id\":\"%.*s\"\n}",
                     SPAN_ARG(reply->body), (int)sizeof(r->request.id), r->request.id);
    if (r->request.correlate_errors && span_is_set(text))
        text = arena_printf(r->arena, "%.*s,\n  \"correlation_id\":\"%.*s\"\n}",
                            SPAN_ARG(span_first(text, text.size - 2)),
                            SPAN_ARG(r->request.correlation));
    return *(struct span *)kit_need(span_is_set(text) ? &text : NULL);
}

static void set_response_header(kit_request *r, enum http_header_id id, struct span name,
                                struct span value)
{
    if (http_headers_set(&r->request.response.headers, id, name, value) != WEIR_OK)
        kit_die("no room for %.*s in the response", SPAN_ARG(name));
}

static void set_content_length(kit_request *r, struct http_headers *headers, size_t size)
{
    (void)http_headers_remove(headers, HTTP_HEADER_TRANSFER_ENCODING, SPAN_NONE);
    char digits[TEXT_U64_MAX];
    struct span value = arena_copy(r->arena, span_of(digits, text_from_u64(digits, size)));
    if (!span_is_set(value) || http_headers_set(headers, HTTP_HEADER_CONTENT_LENGTH,
                                                SPAN("Content-Length"), value) != WEIR_OK)
        kit_die("no room for Content-Length");
}

/* Body and what describes it; the status when `status` says so. */
static void take_reply(kit_request *r)
{
    const struct reply *reply = &r->request.reply;
    struct span body = reply_body(r);
    r->walks[TO_CLIENT].bytes = body;
    set_content_length(r, &r->request.response.headers, body.size);
    if (reply->negotiated)
        set_response_header(r, HTTP_HEADER_CONTENT_TYPE, SPAN("Content-Type"),
                            SPAN("application/json; charset=utf-8"));
    else if (span_is_set(reply->content_type))
        set_response_header(r, HTTP_HEADER_CONTENT_TYPE, SPAN("Content-Type"), reply->content_type);
}

static void start_response(kit_request *r)
{
    r->request.has_response = true;
    if (request_response_started(&r->request) != WEIR_OK)
        kit_die("no room for the headers of the response");
}

static void respond_reply(kit_request *r)
{
    http_headers_clear(&r->request.response.headers);
    r->request.response.status = r->request.reply.status;
    r->request.response.minor_version = 1;
    r->request.from_target = false;
    take_reply(r);
    start_response(r);
}

/* ---- stages towards the target */

static enum outcome after_phase(kit_request *r, enum phase_result result)
{
    switch (result) {
    case PHASE_NEXT:
        return STEP_DONE;
    case PHASE_WAIT:
        return STEP_WAIT;
    case PHASE_DONE:
        return STEP_REPLY;
    case PHASE_FAILED:
        reply_failed(r);
        return STEP_REPLY;
    }
    kit_die("the host answers with a result that does not exist: %d", (int)result);
}

static enum outcome run_rewrite(kit_request *r)
{
    return after_phase(r, phase_run(&r->request, PHASE_REWRITE));
}

static enum outcome run_route(kit_request *r)
{
    if (r->route == NULL) {
        reply_with(r, WEIR_ERR_NO_ROUTE, weir_err_status(WEIR_ERR_NO_ROUTE), false);
        return STEP_REPLY;
    }
    r->request.route = r->route;
    r->request.service = r->route->service;
    if (request_enter_route(&r->request) != WEIR_OK)
        kit_die("no memory");
    return STEP_DONE;
}

static enum outcome run_access(kit_request *r)
{
    return after_phase(r, phase_run(&r->request, PHASE_ACCESS));
}

static enum outcome give_pieces(kit_request *r, enum direction direction)
{
    struct body_walk *walk = &r->walks[direction];
    struct body_plan *plan = &r->plans[direction];
    while (!walk->ended) {
        struct span piece;
        bool last;
        if (!kit_body_piece(plan, walk->bytes, walk->at, &piece, &last))
            return STEP_GONE;
        walk->at += piece.size;
        walk->ended = last;
        enum weir_err err = WEIR_OK;
        enum phase_result result =
            phase_body(&r->request, direction, piece, last, &walk->out, &err);
        if (result == PHASE_FAILED && err == WEIR_ERR_BODY_TOO_LARGE && direction == TO_TARGET)
            reply_with(r, err, weir_err_status(err), true);
        enum outcome outcome = after_phase(r, result);
        if (outcome != STEP_DONE)
            return outcome;
        if (!last && plan->pause_ms > 0) {
            kit_body_pause(r, plan->pause_ms);
            return STEP_PAUSE;
        }
    }
    return STEP_DONE;
}

/* A body that no hook looks at breaks off all the same. */
static enum outcome relay_request_body(kit_request *r)
{
    const struct body_plan *plan = &r->plans[TO_TARGET];
    const struct whole_body *whole = &r->request.bodies[TO_TARGET];
    if (plan->breaks && !whole->complete) {
        r->upstream_body = span_first(r->body, plan->breaks_at);
        return STEP_GONE;
    }
    r->upstream_body = whole->replaced ? whole->bytes : r->body;
    if (whole->replaced)
        set_content_length(r, &r->request.head.headers, whole->bytes.size);
    return STEP_DONE;
}

static enum outcome run_request_body(kit_request *r)
{
    struct body_walk *walk = &r->walks[TO_TARGET];
    const struct whole_body *whole = &r->request.bodies[TO_TARGET];
    if (!walk->begun) {
        walk->begun = true;
        walk->bytes = whole->replaced ? whole->bytes : r->body;
    }
    enum outcome outcome = give_pieces(r, TO_TARGET);
    r->upstream_body = buf_view(&walk->out);
    bool known = !r->plans[TO_TARGET].no_length ||
                 request_body_need(&r->request, TO_TARGET) == WEIR_BODY_BUFFER;
    if (outcome == STEP_DONE && known)
        set_content_length(r, &r->request.head.headers, walk->out.size);
    return outcome;
}

static bool has_request_hooks(const kit_request *r)
{
    return r->has_body && needs_body(r, TO_TARGET);
}

static enum outcome run_whole_body(kit_request *r)
{
    if (!has_request_hooks(r) || request_body_need(&r->request, TO_TARGET) != WEIR_BODY_BUFFER)
        return STEP_DONE;
    return run_request_body(r);
}

static enum outcome run_upstream(kit_request *r)
{
    if (r->request.service == NULL && !span_is_set(r->request.target_host)) {
        reply_with(r, WEIR_ERR_NO_SERVICE, weir_err_status(WEIR_ERR_NO_SERVICE), false);
        return STEP_REPLY;
    }
    return after_phase(r, phase_run(&r->request, PHASE_UPSTREAM));
}

static enum outcome run_send(kit_request *r)
{
    if (!r->proxied)
        r->request.picked_us = clock_mono_us();
    r->proxied = true;
    if (r->walks[TO_TARGET].ended)
        return STEP_DONE;
    return has_request_hooks(r) ? run_request_body(r) : relay_request_body(r);
}

/* ---- the target */

static void record_attempt(kit_request *r)
{
    struct weir_request *request = &r->request;
    struct span path = span_is_set(request->path_override) ? request->path_override : request->path;
    request->upstream_path =
        span_is_set(request->query)
            ? arena_printf(r->arena, "%.*s?%.*s", SPAN_ARG(path), SPAN_ARG(request->query))
            : path;
    request->attempts[0] = (struct attempt_record){
        .ip = SPAN("192.0.2.1"),
        .port = request->target_port != 0 ? request->target_port : 80,
        .status = r->target_failure != 0 ? 0 : r->target_status,
        .started_ms = clock_wall_ms(),
        .error = r->target_failure != 0 ? WEIR_ERR_TARGET_BAD : WEIR_OK,
    };
    request->attempt_count = 1;
}

static enum weir_err failure_of(int status)
{
    return status == 504   ? WEIR_ERR_TARGET_TIMEOUT
           : status == 503 ? WEIR_ERR_TARGET_BUSY
                           : WEIR_ERR_TARGET_BAD;
}

static enum outcome run_target(kit_request *r)
{
    if (r->hold_target)
        return STEP_PAUSE;
    record_attempt(r);
    if (r->target_ms > 0)
        kit_advance_ms(r->kit, r->target_ms);
    if (r->target_failure != 0) {
        reply_with(r, failure_of(r->target_failure), r->target_failure, true);
        return STEP_REPLY;
    }
    struct http_response_head *response = &r->request.response;
    r->request.answered_us = clock_mono_us();
    response->status = r->target_status;
    response->minor_version = 1;
    for (uint16_t i = 0; i < r->target_headers.count; i++) {
        const struct http_header *item = &r->target_headers.items[i];
        if (http_headers_add(&response->headers, HTTP_HEADER_UNKNOWN, item->name, item->value) !=
            WEIR_OK)
            kit_die("no room for the target's headers");
    }
    r->walks[TO_CLIENT].bytes = r->target_body;
    r->request.from_target = true;
    start_response(r);
    return STEP_DONE;
}

/* ---- stages towards the client */

/* The response is replaced, and its header hooks have run. */
static enum outcome replaced(kit_request *r, enum phase_result result)
{
    if (result == PHASE_WAIT)
        return STEP_WAIT;
    if (result == PHASE_FAILED) {
        reply_failed(r);
        r->request.response.status = r->request.reply.status;
    }
    if (result != PHASE_NEXT) {
        r->request.from_target = false;
        take_reply(r);
    }
    return STEP_DONE;
}

static enum outcome run_response_headers(kit_request *r)
{
    return replaced(r, phase_run(&r->request, PHASE_RESPONSE_HEADERS));
}

static bool has_response_body(const kit_request *r)
{
    uint16_t status = r->request.response.status;
    return r->request.head.method_id != HTTP_METHOD_HEAD && status != 204 && status != 304;
}

/* What follows when the hooks have seen the whole body. */
static void finish_response_body(kit_request *r)
{
    struct http_headers *headers = &r->request.response.headers;
    struct body_walk *walk = &r->walks[TO_CLIENT];
    uint32_t need = request_body_need(&r->request, TO_CLIENT);
    buf_append(&r->sent, walk->out.data, walk->out.size);
    if (need == WEIR_BODY_STREAM) /* nobody knew how long it would become: chunked */
        (void)http_headers_remove(headers, HTTP_HEADER_CONTENT_LENGTH, SPAN_NONE);
    else if (need == WEIR_BODY_BUFFER)
        set_content_length(r, headers, walk->out.size);
}

static enum outcome fail_response_body(kit_request *r)
{
    uint32_t need = request_body_need(&r->request, TO_CLIENT);
    if (need == WEIR_BODY_BUFFER) { /* the head has not been sent yet */
        reply_with(r, WEIR_ERR_TARGET_BAD, weir_err_status(WEIR_ERR_TARGET_BAD), true);
        http_headers_clear(&r->request.response.headers);
        r->request.response.status = r->request.reply.status;
        take_reply(r);
        buf_span(&r->sent, r->walks[TO_CLIENT].bytes);
    } else { /* the client sees a body that is cut off */
        buf_append(&r->sent, r->walks[TO_CLIENT].out.data, r->walks[TO_CLIENT].out.size);
        r->aborted = true;
    }
    return STEP_DONE;
}

static enum outcome relay_response_body(kit_request *r)
{
    const struct body_plan *plan = &r->plans[TO_CLIENT];
    struct span bytes = r->walks[TO_CLIENT].bytes;
    r->aborted = plan->breaks;
    buf_span(&r->sent, plan->breaks ? span_first(bytes, plan->breaks_at) : bytes);
    return STEP_DONE;
}

static enum outcome run_response_body(kit_request *r)
{
    if (!has_response_body(r))
        return STEP_DONE;
    if (!r->request.from_target) /* ours are there, whatever becomes of the target's */
        r->plans[TO_CLIENT].breaks = false;
    if (!needs_body(r, TO_CLIENT))
        return relay_response_body(r);
    enum outcome outcome = give_pieces(r, TO_CLIENT);
    if (outcome == STEP_WAIT || outcome == STEP_PAUSE)
        return outcome;
    if (outcome == STEP_REPLY || outcome == STEP_GONE)
        return fail_response_body(r);
    finish_response_body(r);
    return STEP_DONE;
}

static void run_log_hooks(kit_request *r)
{
    r->request.finished_us = clock_mono_us();
    (void)phase_run(&r->request, PHASE_LOG);
}

static enum outcome run_log(kit_request *r)
{
    r->answered = true;
    run_log_hooks(r);
    return STEP_DONE;
}

/* ---- the driver */

static enum outcome wake_body(kit_request *r, enum direction direction, enum phase_result result)
{
    struct span output = request_body_output(&r->request, direction);
    buf_span(&r->walks[direction].out, output);
    enum outcome outcome = after_phase(r, result);
    return outcome == STEP_DONE ? STEP_AGAIN : outcome;
}

static enum outcome wake_request_body(kit_request *r, enum phase_result result)
{
    return wake_body(r, TO_TARGET, result);
}

static enum outcome wake_response_body(kit_request *r, enum phase_result result)
{
    enum outcome outcome = wake_body(r, TO_CLIENT, result);
    return outcome == STEP_REPLY ? fail_response_body(r) : outcome;
}

static const struct step {
    enum outcome (*run)(kit_request *r);
    enum outcome (*wake)(kit_request *r, enum phase_result result);
    enum stage next;
} steps[STAGE_COUNT] = {
    [STAGE_NEW] = {NULL, NULL, STAGE_REWRITE},
    [STAGE_REWRITE] = {run_rewrite, after_phase, STAGE_ROUTE},
    [STAGE_ROUTE] = {run_route, NULL, STAGE_ACCESS},
    [STAGE_ACCESS] = {run_access, after_phase, STAGE_WHOLE_BODY},
    [STAGE_WHOLE_BODY] = {run_whole_body, wake_request_body, STAGE_UPSTREAM},
    [STAGE_UPSTREAM] = {run_upstream, after_phase, STAGE_SEND},
    [STAGE_SEND] = {run_send, wake_request_body, STAGE_TARGET},
    [STAGE_TARGET] = {run_target, NULL, STAGE_RESPONSE_HEADERS},
    [STAGE_RESPONSE_HEADERS] = {run_response_headers, replaced, STAGE_RESPONSE_BODY},
    [STAGE_RESPONSE_BODY] = {run_response_body, wake_response_body, STAGE_LOG},
    [STAGE_LOG] = {run_log, NULL, STAGE_OVER},
    [STAGE_OVER] = {NULL, NULL, STAGE_OVER},
};

/* Twice is fine. */
static void end_request(kit_request *r)
{
    if (r->request.set == NULL)
        return;
    r->body_wanted = false;
    kit_services.timer_stop(r->kit, TAKE(r->piece_timer));
    kit_services.timer_stop(r->kit, TAKE(r->body_timer));
    kit_memory_shut(r);
}

/* Returns whether the exchange goes on. */
static bool step_on(kit_request *r, enum outcome outcome)
{
    switch (outcome) {
    case STEP_DONE:
        r->stage = steps[r->stage].next;
        break;
    case STEP_AGAIN:
        break;
    case STEP_WAIT:
        r->waiting = true;
        break;
    case STEP_PAUSE:
        r->paused = true;
        break;
    case STEP_GONE:
        exchange_end(r);
        break;
    case STEP_REPLY:
        respond_reply(r);
        r->stage = STAGE_RESPONSE_HEADERS;
        break;
    }
    return !r->waiting && !r->paused && r->stage != STAGE_OVER;
}

static void drive(kit_request *r)
{
    while (step_on(r, steps[r->stage].run(r)))
        ;
    if (r->stage == STAGE_OVER)
        end_request(r);
}

void exchange_go_on(kit_request *r)
{
    r->paused = false;
    drive(r);
}

void exchange_begin(kit_request *r)
{
    r->request.started_us = clock_mono_us();
    r->request.started_wall_ms = clock_wall_ms();
    if (request_enter_global(&r->request) != WEIR_OK)
        kit_die("no memory");
    r->stage = STAGE_REWRITE;
    drive(r);
}

void exchange_end(kit_request *r)
{
    if (r->stage != STAGE_OVER && r->stage != STAGE_NEW) {
        r->waiting = r->paused = false;
        r->aborted = true;
        run_log_hooks(r);
        end_request(r);
    }
    r->stage = STAGE_OVER;
}

/* ---- what the host asks of the owner of an exchange */

static void on_resume(struct weir_request *request, enum direction direction,
                      enum phase_result result)
{
    (void)direction; /* there is one stage at a time */
    kit_request *r = of_request(request);
    CHECK(r, KIT_REQUEST);
    if (!r->waiting || steps[r->stage].wake == NULL)
        kit_die("the host resumes a request that does not wait");
    r->waiting = false;
    if (step_on(r, steps[r->stage].wake(r, result)))
        drive(r);
    else if (r->stage == STAGE_OVER)
        end_request(r);
}

static enum weir_err on_read_body(struct weir_request *request)
{
    kit_request *r = of_request(request);
    CHECK(r, KIT_REQUEST);
    kit_body_wanted(r);
    return WEIR_OK;
}

void exchange_deliver_body(kit_request *r)
{
    r->body_wanted = false;
    if (r->plans[TO_TARGET].breaks) {
        exchange_end(r);
        return;
    }
    bool fits = r->body.size <= r->body_limit;
    struct span body = span_is_set(r->body) ? r->body : SPAN("");
    request_body_ready(&r->request, fits ? WEIR_OK : WEIR_ERR_LIMIT, fits ? body : SPAN_NONE);
}

static uint64_t on_bytes(const struct weir_request *request, enum direction direction)
{
    const kit_request *r = (const kit_request *)(const void *)request;
    return direction == TO_TARGET ? r->body.size : r->sent.size;
}

const struct request_ops kit_request_ops = {
    .resume = on_resume,
    .read_body = on_read_body,
    .bytes = on_bytes,
};
