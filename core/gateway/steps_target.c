/* From the choice of a target to the end of its answer. */
#include "gateway/affinity.h"
#include "gateway/overload.h"
#include "gateway/retry.h"
#include "plugin_host/timing.h"

enum { RESPONSE_HEAD_MAX = IO_BUFFER - 4096, INTERIM_MAX = 16 };

/* ---- which target, which connection */

/* Before another attempt: it may have to wait. */
enum step step_retry(struct exchange *x)
{
    if (x->retry_due_ms > clock_mono_ms() && !x->gateway->draining)
        return STEP_WAIT;
    x->retry_due_ms = 0;
    return STEP_NEXT;
}

enum step step_upstream(struct exchange *x)
{
    return step_phase(x, PHASE_UPSTREAM);
}

static void pick_done(struct pick *pick, enum weir_err err)
{
    struct exchange *x = pick->user;
    x->async_error = err;
    x->async_done = true;
    exchange_go(x);
}

static enum weir_err pick_now(struct exchange *x)
{
    if (x->async_done) {
        x->async_done = false;
        return x->async_error;
    }
    struct pick *pick = &x->pick;
    pick->balancers = x->generation->balancers;
    pick->service = x->request.service;
    pick->host = x->request.target_host;
    pick->port = x->request.target_port;
    pick->done = pick_done;
    pick->hash = affinity_hash;
    pick->user = x;
    return pick_next(pick);
}

enum step step_pick(struct exchange *x)
{
    enum weir_err err = pick_now(x);
    if (err == WEIR_ERR_AGAIN)
        return STEP_WAIT;
    if (err != WEIR_OK) {
        x->gateway->slot->target_failures++;
        if (err == WEIR_ERR_NO_TARGET && x->attempts > 0) /* its last one has failed just now */
            err = WEIR_ERR_TARGET_BUSY;
        return step_fail(x, err, err == WEIR_ERR_TARGET_BUSY);
    }
    x->request.picked_us = clock_mono_us();
    timing_target(&x->request, true);
    return STEP_NEXT;
}

static void dial_done(struct conn *conn, enum weir_err err, void *user)
{
    struct exchange *x = user;
    x->dial = NULL;
    x->target = conn;
    x->async_error = err;
    x->async_done = true;
    exchange_go(x);
}

/* Of the attempt that runs. */
static struct attempt_record *record_of(struct exchange *x)
{
    unsigned count = x->request.attempt_count;
    return &x->request.attempts[count == 0 ? 0 : count - 1];
}

static void record_attempt(struct exchange *x)
{
    struct weir_request *request = &x->request;
    if (request->attempt_count < ATTEMPT_RECORDS)
        request->attempt_count++;
    *record_of(x) = (struct attempt_record){
        .ip = address_ip_text(&x->pick.address),
        .port = x->pick.address.port,
        .started_ms = clock_wall_ms(),
    };
}

static enum step connected(struct exchange *x)
{
    conn_set_events(x->target, &target_events, x);
    return STEP_NEXT;
}

/* A kept connection. After a stale one not another: the next try shall tell something. */
static struct conn *take_kept(struct exchange *x)
{
    struct target_pool *pool = x->pick.pool;
    if (x->free_retry)
        return NULL;
    /* What cannot be sure to go a second time is worth a look whether the target has left. */
    if (x->framing.kind != HTTP_BODY_NONE || !retry_is_idempotent(x))
        return pool_take_open(pool, &x->target_requests);
    return pool_take(pool, &x->target_requests);
}

static enum step dial_target(struct exchange *x)
{
    x->gateway->slot->pool_dialed++;
    x->target_requests = 0;
    x->dial =
        pool_dial(x->pick.pool, (uint32_t)x->request.service->connect_timeout_ms, dial_done, x);
    return x->dial == NULL ? step_fail(x, WEIR_ERR_NO_MEMORY, true) : STEP_WAIT;
}

/* The target is not to blame. Connections that idle make room, once there are none it is told. */
static enum step out_of_descriptors(struct exchange *x)
{
    if (upstreams_idle(x->gateway->upstreams) > 0) {
        upstreams_close_idle(x->gateway->upstreams);
        return dial_target(x);
    }
    overload_refuse(x, OVERLOAD_DESCRIPTORS);
    return step_fail(x, WEIR_ERR_OVERLOADED, true);
}

enum step step_connect(struct exchange *x)
{
    if (x->async_done) {
        x->async_done = false;
        if (x->target != NULL)
            return connected(x);
        if (UNLIKELY(x->async_error == WEIR_ERR_LIMIT))
            return out_of_descriptors(x);
        return step_target_failed(x, x->async_error == WEIR_ERR_TIMEOUT ? WEIR_ERR_TARGET_TIMEOUT
                                                                        : WEIR_ERR_TARGET_BAD);
    }
    if (x->attempts++ == 0)
        retry_count_request(x);
    record_attempt(x);
    x->target = take_kept(x);
    if (x->target != NULL) {
        x->gateway->slot->pool_reused++;
        return connected(x);
    }
    return dial_target(x);
}

/* ---- the request goes out */

static enum relay_result through_hooks(struct exchange *x, enum direction direction,
                                       struct relay *relay, struct span piece, bool last)
{
    enum weir_err err = WEIR_OK;
    enum phase_result result =
        phase_body(&x->request, direction, piece, last, &relay->changed, &err);
    switch (result) {
    case PHASE_WAIT:
        return RELAY_PARKED;
    case PHASE_FAILED:
        return err == WEIR_ERR_BODY_TOO_LARGE ? RELAY_LIMIT : RELAY_HOOK_FAILED;
    case PHASE_DONE:
        return RELAY_ANSWERED;
    case PHASE_NEXT:
        break;
    }
    if (request_body_need(&x->request, direction) == WEIR_BODY_BUFFER && !overload_recount(x))
        return RELAY_OVERLOADED;
    return RELAY_DONE;
}
static enum relay_result hook_up(struct relay *relay, struct span piece, bool last)
{
    return through_hooks(CONTAINER_OF(relay, struct exchange, up), TO_TARGET, relay, piece, last);
}
static enum relay_result hook_down(struct relay *relay, struct span piece, bool last)
{
    return through_hooks(CONTAINER_OF(relay, struct exchange, down), TO_CLIENT, relay, piece, last);
}

void hook_body(struct exchange *x, enum direction direction)
{
    uint32_t need = request_body_need(&x->request, direction);
    struct relay *relay = direction == TO_TARGET ? &x->up : &x->down;
    if (need == WEIR_BODY_NONE || (relay->source.ended && relay->source.kind == HTTP_BODY_NONE))
        return;
    relay->hook = direction == TO_TARGET ? hook_up : hook_down;
    relay->changed.limit = WHOLE_BODY_MAX;
    relay->refilled = true; /* hooks see a body once: no second try */
    if (need != WEIR_BODY_TEE)
        relay->chunked = true;
}

/* The body from its start: from the client's buffer, or the copy a policy asked for. */
static void begin_body(struct exchange *x)
{
    struct relay *up = &x->up;
    if (x->from_memory) {
        struct span bytes = x->request.bodies[TO_TARGET].bytes;
        struct http_framing whole = {.kind = bytes.size > 0 ? HTTP_BODY_LENGTH : HTTP_BODY_NONE,
                                     .length = bytes.size};
        union {
            const char *from;
            char *to;
        } body = {.from = bytes.data}; /* nothing is read into it: relay_pump() has no source */
        up->buffer = body.to;
        up->base = up->at = 0;
        up->size = up->capacity = (uint32_t)bytes.size;
        relay_begin(up, &whole, 0);
    } else {
        up->base = up->at = x->head_size;
        up->size = x->in_size;
        relay_begin(up, &x->framing, up->source.limit);
        up->chunked = x->framing.kind == HTTP_BODY_CHUNKED;
    }
    hook_body(x, TO_TARGET);
    up->trailers = forward_trailers(x, TO_TARGET);
    up->trailer_head = &x->request.head.headers;
}

/* Who waits to be told to send its body (RFC 9110 10.1.1) is told by the target, unless that is
 * known not to; then, and when the body comes anyhow, there is nothing to ask. */
static void begin_expectation(struct exchange *x)
{
    int64_t wait_ms = x->generation->settings.expect_timeout_ms;
    x->continue_awaited = false;
    if (LIKELY(!x->continue_expected))
        return;
    bool is_here = x->from_memory || x->up.at < x->up.size;
    if (is_here || wait_ms <= 0 || pool_lacks_continue(x->pick.pool)) {
        if (!is_here)
            say_continue(x);
        x->continue_expected = false;
        return;
    }
    x->continue_awaited = true;
    x->continue_due_ms = clock_mono_ms() + (uint64_t)wait_ms;
}

enum step continue_late(struct exchange *x)
{
    x->continue_awaited = false;
    pool_note_no_continue(x->pick.pool);
    say_continue(x);
    return pump_request_body(x);
}

enum step step_send(struct exchange *x)
{
    begin_body(x);
    begin_expectation(x);
    struct span head = forward_request_head(x);
    if (!span_is_set(head) || !outgoing_add(&x->up.out, head))
        return step_fail(x, WEIR_ERR_NO_MEMORY, true);
    x->up_active = true;
    enum step step = pump_request_body(x);
    if (step != STEP_WAIT)
        return step;
    if (!x->up_active && x->up.sent == 0) /* a kept connection that had ended */
        return step_target_failed(x, WEIR_ERR_TARGET_BAD);
    x->out_drained = true; /* no answer can be there yet: wait for the event */
    return STEP_NEXT;
}

/* The client's body is broken or too much: say so while nothing else was said. */
static enum step body_refused(struct exchange *x, enum weir_err err)
{
    exchange_drop_target(x);
    x->close_client = true;
    return x->answer_started ? STEP_CUT : step_fail(x, err, true);
}

/* A policy answered or failed over the body: what it holds is not the target's any more. */
static enum step body_stopped(struct exchange *x, bool answered)
{
    exchange_drop_target(x);
    if (x->answer_started)
        return STEP_CUT;
    return answered ? STEP_REPLY : step_fail(x, WEIR_ERR_POLICY_FAILED, false);
}

enum step pump_request_body(struct exchange *x)
{
    struct relay *up = &x->up;
    struct conn *client = x->client->conn;
    if (x->has_resumed) { /* a hook had parked: what it let out goes on */
        x->has_resumed = false;
        if (x->resumed == PHASE_FAILED || x->resumed == PHASE_DONE)
            return body_stopped(x, x->resumed == PHASE_DONE);
        relay_resume(up, request_body_output(&x->request, TO_TARGET),
                     request_body_ended(&x->request, TO_TARGET));
    }
    up->drained = up->drained || UNLIKELY(x->continue_awaited); /* the head alone */
    enum relay_result result = relay_pump(up, x->from_memory ? NULL : client, x->target);
    if (!x->from_memory)
        x->in_size = up->size;
    if (up->paused && !up->blocked && result != RELAY_PARKED) {
        up->paused = false;
        conn_resume_reading(client);
    }
    switch (result) {
    case RELAY_DONE:
    case RELAY_SINK_GONE: /* the target may have answered before it closed: read that */
        x->up_active = false;
        return STEP_WAIT;
    case RELAY_WAIT:
    case RELAY_PARKED:
        return STEP_WAIT;
    case RELAY_SOURCE_GONE:
        return STEP_CUT;
    case RELAY_BAD:
        return body_refused(x, WEIR_ERR_BAD_REQUEST);
    case RELAY_LIMIT:
        return body_refused(x, WEIR_ERR_BODY_TOO_LARGE);
    case RELAY_OVERLOADED:
        overload_refuse(x, OVERLOAD_MEMORY);
        return body_refused(x, WEIR_ERR_OVERLOADED);
    case RELAY_HOOK_FAILED:
    case RELAY_ANSWERED:
        break;
    }
    return body_stopped(x, result == RELAY_ANSWERED);
}

/* ---- the answer comes in */

/* Kong counts the last attempt of a request by its status alone, so that without retries nobody
 * would ever hear of a refused connection; here every attempt counts as what it was. */
static void report_failure(struct exchange *x, enum retry_on cause, bool late)
{
    if (!retry_is_stale(x, cause) && !x->answer_started)
        pick_report(&x->pick, late ? PICK_LATE : PICK_UNREACHABLE, 0);
}

enum step step_target_failed(struct exchange *x, enum weir_err err)
{
    bool late = err == WEIR_ERR_TARGET_TIMEOUT;
    enum retry_on cause = x->state == STATE_CONNECT ? RETRY_ON_CONNECT_FAILURE
                          : late                    ? RETRY_ON_TIMEOUT
                                                    : RETRY_ON_RESET;
    record_of(x)->error = err;
    x->gateway->slot->target_failures++;
    report_failure(x, cause, late);
    bool again = retry_after_failure(x, cause);
    exchange_drop_target(x);
    x->out_size = x->out_seen = 0;
    if (x->answer_started)
        return STEP_CUT;
    if (!again)
        return step_fail(x, err, true);
    x->gateway->slot->retries++;
    return STEP_RETRY;
}

/* ---- an answer that nobody shall see */

/* Its connection goes on when all of it is here already, which costs no wait. */
static void drop_answer(struct exchange *x)
{
    const struct http_framing *framing = &x->response_framing;
    uint64_t behind = x->out_size - x->out_head;
    bool whole = framing->kind == HTTP_BODY_NONE     ? behind == 0
                 : framing->kind == HTTP_BODY_LENGTH ? behind == framing->length
                                                     : false;
    if (whole && x->target_keep && x->up.finished && !x->up_active)
        pool_give(x->pick.pool, TAKE(x->target), x->target_requests + 1);
    exchange_drop_target(x);
    http_headers_clear(&x->request.response.headers);
    x->out_size = x->out_seen = 0;
}

static enum step answer_again(struct exchange *x)
{
    drop_answer(x);
    x->request.answered_us = 0;
    x->gateway->slot->retries++;
    return STEP_RETRY;
}

/* It is no HTTP: one of the target's making all the same, so the request was done. */
static enum step answer_is_bad(struct exchange *x)
{
    pick_report(&x->pick, PICK_ANSWERED, 0);
    x->target_keep = false;
    if (retry_after_failure(x, RETRY_ON_BAD_RESPONSE))
        return answer_again(x);
    exchange_drop_target(x);
    return step_fail(x, WEIR_ERR_TARGET_BAD, true);
}

/* Where the answer ends; one that a tunnel follows has no end of its own. */
static enum weir_err frame_answer(struct exchange *x, bool to_head, const char **reason)
{
    const struct http_response_head *response = &x->request.response;
    bool to_connect = x->request.head.method_id == HTTP_METHOD_CONNECT;
    x->response_framing = (struct http_framing){.kind = HTTP_BODY_NONE};
    if (response->status != 101)
        TRY(http_frame_response(response, to_head, to_connect, &x->response_framing, reason));
    return !tunnel_is_answer(x) || tunnel_agree(x, reason) ? WEIR_OK : WEIR_ERR_TARGET_BAD;
}

static enum step frame_response(struct exchange *x)
{
    const char *reason = "";
    struct weir_request *request = &x->request;
    bool head_asked = retry_sent_method(x) == HTTP_METHOD_HEAD;
    bool head_wanted = request->head.method_id == HTTP_METHOD_HEAD;
    enum weir_err err = frame_answer(x, head_asked || head_wanted, &reason);
    if (err != WEIR_OK) {
        request_log(&x->request, LOG_INFO, "answer refused: %s", reason);
        return answer_is_bad(x);
    }
    http_headers_mark_hop(&request->response.headers);
    if (UNLIKELY(request->response.status == 426))
        tunnel_tell_upgrade(x);
    /* A policy made a GET of a HEAD: a body comes that nobody wants. Or the other way round: what
     * has no body has no length of one. */
    x->target_keep = x->response_framing.keep_alive && (head_asked || !head_wanted);
    if (UNLIKELY(head_asked && !head_wanted)) {
        x->response_framing.length = 0;
        x->close_client = true;
    }
    record_of(x)->status = request->response.status;
    request->answered_us = clock_mono_us();
    timing_target(request, false);
    pick_report(&x->pick, PICK_ANSWERED, request->response.status);
    if (UNLIKELY(request->response.minor_version == 0))
        pool_note_no_continue(x->pick.pool);
    if (UNLIKELY(x->continue_awaited)) /* it does not want the body */
        x->continue_awaited = x->up_active = false;
    if (UNLIKELY(retry_after_status(x, request->response.status)))
        return answer_again(x);
    return STEP_NEXT;
}

/* An interim answer goes on at once (RFC 9110 15.2), but to HTTP/1.0, and 100 only to who expects
 * it still (10.1.1): others have been told here, or have not asked. False: the client got a part of
 * it alone. */
static bool pass_interim(struct exchange *x)
{
    struct http_response_head *response = &x->request.response;
    struct client *client = x->client;
    bool is_awaited = x->continue_expected && x->up.source.taken == 0;
    bool is_passed = (response->status != 100 || is_awaited) && x->request.head.minor_version > 0;
    if (UNLIKELY(response->status == 100))
        x->continue_expected = x->continue_awaited = x->up.drained = false;
    struct span head = is_passed ? forward_interim_head(x) : SPAN_NONE;
    http_headers_clear(&response->headers); /* they are not those of what comes next */
    if (!span_is_set(head))
        return true;
    ssize_t sent = conn_write(client->conn, head);
    /* A client that does not read can do without; TLS may hold a part of it. */
    return sent == (ssize_t)head.size || (sent < 0 && !client->tls);
}

/* OK: a final head is there; AGAIN: more bytes are needed; CLOSED: the client is lost; else it is
 * refused. */
static enum weir_err parse_response(struct exchange *x)
{
    struct http_limits limits = {RESPONSE_HEAD_MAX, 0, 100};
    for (int interim = 0; interim < INTERIM_MAX; interim++) {
        size_t head_size = 0;
        enum weir_err err = WEIR_ERR_TARGET_BAD;
        const char *reason = "";
        enum http_result result =
            http_parse_response(x->out, x->out_size, x->out_seen, &limits, &x->request.response,
                                &head_size, &err, &reason);
        if (result == HTTP_INCOMPLETE) {
            x->out_seen = x->out_size;
            return WEIR_ERR_AGAIN;
        }
        if (result == HTTP_REFUSED) {
            request_log(&x->request, LOG_INFO, "answer refused: %s", reason);
            return err;
        }
        x->out_head = (uint32_t)head_size;
        if (x->request.response.status >= 200 || x->request.response.status == 101)
            return WEIR_OK;
        struct http_framing none; /* but a length or coding that is none makes it a bad one too */
        if (http_frame_response(&x->request.response, false, false, &none, &reason) != WEIR_OK) {
            request_log(&x->request, LOG_INFO, "interim answer refused: %s", reason);
            return WEIR_ERR_TARGET_BAD;
        }
        if (!pass_interim(x))
            return WEIR_ERR_CLOSED;
        x->free_retry = true;       /* its target was not gone: a try after this one counts */
        x->out_size -= x->out_head; /* 100, 102, 103: what counts comes behind it */
        memmove(x->out, x->out + x->out_head, x->out_size);
        x->out_seen = 0;
        if (x->out_size == 0)
            return WEIR_ERR_AGAIN;
    }
    return WEIR_ERR_TARGET_BAD;
}

enum step step_read_response(struct exchange *x)
{
    for (;;) {
        if (x->out_size > x->out_seen) {
            enum weir_err err = parse_response(x);
            if (err == WEIR_OK)
                return frame_response(x);
            if (err == WEIR_ERR_CLOSED)
                return STEP_CUT;
            if (err != WEIR_ERR_AGAIN) {
                x->gateway->slot->target_failures++;
                return answer_is_bad(x);
            }
        }
        if (x->out_drained) {
            x->out_drained = false;
            return STEP_WAIT;
        }
        size_t room = IO_BUFFER - x->out_size;
        ssize_t got = conn_read(x->target, x->out + x->out_size, room);
        if (got == CONN_AGAIN)
            return STEP_WAIT;
        if (got <= 0)
            return step_target_failed(x, WEIR_ERR_TARGET_BAD);
        x->out_size += (uint32_t)got;
        x->out_drained = (size_t)got < room;
    }
}

enum step step_response_headers(struct exchange *x)
{
    struct weir_request *request = &x->request;
    if (!request->has_response) {
        request->has_response = request->from_target = true;
        if (request_response_started(request) != WEIR_OK)
            request_log(request, LOG_WARN,
                        "a policy's response fields were left out: there are too many");
    }
    enum step step = step_phase(x, PHASE_RESPONSE_HEADERS);
    return UNLIKELY(x->tunnel.agreed) && step == STEP_NEXT ? STEP_TUNNEL : step;
}

/* ---- and goes on to the client */

static enum step begin_relay(struct exchange *x)
{
    struct relay *down = &x->down;
    bool unmeasured = x->response_framing.kind == HTTP_BODY_CHUNKED ||
                      x->response_framing.kind == HTTP_BODY_UNTIL_CLOSE;
    down->buffer = x->out;
    down->base = down->at = x->out_head;
    down->size = x->out_size;
    down->capacity = IO_BUFFER;
    if (!x->up.finished || x->up_active || x->gateway->draining) /* RFC 9112 9.6 */
        x->close_client = true;
    enum step step = answer_begin(x, unmeasured);
    down->drained = x->out_size < IO_BUFFER;
    return step;
}

enum step step_relay(struct exchange *x)
{
    if (!x->answer_begun && begin_relay(x) != STEP_NEXT)
        return STEP_CUT;
    enum step step = answer_pump(x, x->target);
    struct relay *down = &x->down;
    if (down->paused && !down->blocked && !down->parked && step == STEP_WAIT) {
        down->paused = false;
        conn_resume_reading(x->target);
    }
    return step;
}

/* ---- events of its connection */

static void target_readable(struct conn *conn)
{
    struct exchange *x = conn_user(conn);
    bool wanted = x->state == STATE_READ_RESPONSE || (x->state == STATE_RELAY && !x->down.blocked &&
                                                      !x->request.walks[TO_CLIENT].waiting);
    if (wanted) {
        exchange_go(x);
    } else {
        x->down.paused = true;
        conn_pause_reading(conn);
    }
}

static void target_writable(struct conn *conn)
{
    struct exchange *x = conn_user(conn);
    if (x->up_active)
        exchange_pump(x);
}

const struct conn_events target_events = {.readable = target_readable, .writable = target_writable};
