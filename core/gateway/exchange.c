/* The life of an exchange, readable top to bottom. */
#include <stdlib.h>

#include "gateway/overload.h"
#include "plugin_host/recorder.h"

/* ---- how long each state may wait; 0: somebody else has the deadline */

static uint32_t bounded_ms(int64_t ms)
{
    return ms < 1 ? 1 : ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ms;
}
/* What is left of a time that runs from the first byte on. */
static uint32_t left_ms(const struct exchange *x, int64_t limit_ms)
{
    return bounded_ms(limit_ms - (int64_t)((clock_mono_us() - x->begun_us) / 1000));
}
static uint32_t head_ms(const struct exchange *x)
{
    return left_ms(x, x->generation->settings.client_header_timeout_ms);
}
/* Until the client is late: to send more of its body, to take more of the answer. */
static uint32_t body_ms(const struct exchange *x)
{
    int64_t credit_ms = x->generation->settings.client_body_timeout_ms;
    return bounded_ms((int64_t)pace_left_ms(&x->sending, credit_ms));
}
static uint32_t take_ms(const struct exchange *x)
{
    int64_t credit_ms = x->generation->settings.client_body_timeout_ms;
    return bounded_ms((int64_t)pace_left_ms(&x->taking, credit_ms));
}
/* A hook on a body waits, and everybody for it. */
static bool is_policy_awaited(const struct exchange *x)
{
    return (x->up_active && x->up.parked) || (x->state == STATE_RELAY && x->down.parked);
}
static uint32_t until_ms(uint64_t due_ms)
{
    uint64_t now_ms = clock_mono_ms();
    return bounded_ms(due_ms > now_ms ? (int64_t)(due_ms - now_ms) : 1);
}
static uint32_t retry_ms(const struct exchange *x)
{
    return until_ms(x->retry_due_ms);
}
/* Towards the target: its own deadlines, the client's while its body is what we wait for. */
static uint32_t target_ms(const struct exchange *x)
{
    const struct service *service = x->request.service;
    if (is_policy_awaited(x))
        return 0; /* it has a deadline of its own */
    if (UNLIKELY(x->continue_awaited) && !x->up.blocked)
        return until_ms(x->continue_due_ms);
    if (x->up_active && !x->up.blocked && !x->from_memory)
        return body_ms(x);
    return bounded_ms(x->up_active ? service->write_timeout_ms : service->read_timeout_ms);
}
static uint32_t relay_ms(const struct exchange *x)
{
    return x->down.blocked ? take_ms(x) : target_ms(x);
}
static uint32_t reply_ms(const struct exchange *x)
{
    return x->down.parked ? 0 : take_ms(x);
}
static uint32_t access_ms(const struct exchange *x)
{
    return x->collecting ? body_ms(x) : 0;
}

/* ---- what a passed deadline means */

static enum step body_late(struct exchange *x)
{
    x->gateway->slot->slow_clients++;
    x->close_client = true;
    return step_fail(x, WEIR_ERR_REQUEST_TIMEOUT, true);
}
static enum step head_late(struct exchange *x)
{
    if (x->in_size == 0)
        return STEP_CUT;
    exchange_introduce(x);
    x->up.buffer = x->in;
    x->up.at = x->up.size = x->in_size; /* what comes now is thrown away, and the end is seen */
    return body_late(x);
}
static enum step target_late(struct exchange *x)
{
    if (UNLIKELY(x->continue_awaited) && !x->up.blocked)
        return continue_late(x);
    if (x->up_active && !x->up.blocked && !x->from_memory)
        return body_late(x);
    return step_target_failed(x, WEIR_ERR_TARGET_TIMEOUT);
}
static enum step cut(struct exchange *x)
{
    if (x->down.blocked)
        x->gateway->slot->slow_clients++;
    return STEP_CUT;
}
/* A policy that wants the body whole holds back the head: the client can still be told. */
static enum step relay_late(struct exchange *x)
{
    if (x->answer_started)
        return cut(x);
    if (x->up_active && !x->up.blocked && !x->from_memory)
        return body_late(x);
    return step_fail(x, WEIR_ERR_TARGET_TIMEOUT, true);
}

/* Each state: what it does, where it goes, how long it waits and what happens then. A client that
 * goes away ends every state the same way (exchange_abort); a target that goes away is seen by the
 * step that reads or writes it, and by `target_gone` of steps_target.c in all others. */
static const struct row {
    const char *name;
    enum step (*run)(struct exchange *x);
    enum state next;
    uint32_t (*wait_ms)(const struct exchange *x);
    enum step (*late)(struct exchange *x);
} rows[STATE_COUNT] = {
    /* clang-format off */
    [STATE_READ_HEAD]        = {"read head",        step_read_head,        STATE_CHECK,            head_ms,   head_late},
    [STATE_CHECK]            = {"check",            step_check,            STATE_REWRITE,          NULL,      NULL},
    [STATE_REWRITE]          = {"rewrite",          step_rewrite,          STATE_ROUTE,            access_ms, body_late},
    [STATE_ROUTE]            = {"route",            step_route,            STATE_ACCESS,           NULL,      NULL},
    [STATE_ACCESS]           = {"access",           step_access,           STATE_PREPARE,          access_ms, body_late},
    [STATE_PREPARE]          = {"prepare",          step_prepare,          STATE_UPSTREAM,         body_ms,   body_late},
    [STATE_RETRY]            = {"retry",            step_retry,            STATE_UPSTREAM,         retry_ms,  step_retry},
    [STATE_UPSTREAM]         = {"upstream",         step_upstream,         STATE_PICK,             NULL,      NULL},
    [STATE_PICK]             = {"pick",             step_pick,             STATE_CONNECT,          NULL,      NULL},
    [STATE_CONNECT]          = {"connect",          step_connect,          STATE_SEND,             NULL,      NULL},
    [STATE_SEND]             = {"send",             step_send,             STATE_READ_RESPONSE,    NULL,      NULL},
    [STATE_READ_RESPONSE]    = {"read response",    step_read_response,    STATE_RESPONSE_HEADERS, target_ms, target_late},
    [STATE_RESPONSE_HEADERS] = {"response headers", step_response_headers, STATE_RELAY,            NULL,      NULL},
    [STATE_RELAY]            = {"relay",            step_relay,            STATE_FINISH,           relay_ms,  relay_late},
    [STATE_TUNNEL]           = {"tunnel",           step_tunnel,           STATE_FINISH,           tunnel_ms, cut},
    [STATE_MAKE_REPLY]       = {"make reply",       step_make_reply,       STATE_REPLY_HEADERS,    NULL,      NULL},
    [STATE_REPLY_HEADERS]    = {"reply headers",    step_reply_headers,    STATE_SEND_REPLY,       NULL,      NULL},
    [STATE_SEND_REPLY]       = {"send reply",       step_send_reply,       STATE_FINISH,           reply_ms,  cut},
    [STATE_FINISH]           = {"finish",           step_finish,           STATE_FINISH,           NULL,      NULL},
    /* clang-format on */
};

/* Its body, and nothing else, is what keeps the exchange from going on. */
static bool is_body_awaited(const struct exchange *x)
{
    if (x->collecting)
        return true;
    return x->up_active && !x->up.blocked && !x->up.parked && !x->from_memory &&
           !x->continue_awaited;
}
static bool is_reader_awaited(const struct exchange *x)
{
    return x->down.blocked && (x->state == STATE_RELAY || x->state == STATE_SEND_REPLY);
}
static void note_paces(struct exchange *x)
{
    const struct settings *settings = &x->generation->settings;
    bool body = is_body_awaited(x), reader = is_reader_awaited(x);
    if (UNLIKELY(!pace_is_idle(&x->sending, body)))
        pace_note(&x->sending, clock_mono_us(), x->up.source.taken, body,
                  (uint64_t)settings->client_min_rate);
    if (UNLIKELY(!pace_is_idle(&x->taking, reader)))
        pace_note(&x->taking, clock_mono_us(), x->down.sent, reader,
                  (uint64_t)settings->client_min_read_rate);
}

/* request_timeout: of all states but those that have no end of their own. */
static bool is_bounded(const struct exchange *x)
{
    return x->generation->settings.request_timeout_ms > 0 && x->state != STATE_TUNNEL;
}
/* In milliseconds, as deadlines are: in microseconds it could be a part of one too early. */
static bool is_over_time(const struct exchange *x)
{
    uint64_t limit_ms = (uint64_t)x->generation->settings.request_timeout_ms;
    return is_bounded(x) && clock_mono_ms() - x->begun_us / 1000 >= limit_ms;
}
/* Nothing was said: whoever was waited for is to blame. */
static enum step all_late(struct exchange *x)
{
    request_log(&x->request, LOG_INFO, "request_timeout has passed in state '%s'",
                rows[x->state].name);
    if (x->answer_started || x->state >= STATE_MAKE_REPLY)
        return cut(x);
    if (x->state == STATE_READ_HEAD)
        return head_late(x);
    if (is_body_awaited(x))
        return body_late(x);
    pick_end(&x->pick);
    return step_fail(x, WEIR_ERR_TARGET_TIMEOUT, true);
}

static void wait_for_event(struct exchange *x)
{
    const struct row *row = &rows[x->state];
    note_paces(x);
    (void)overload_recount(x);
    uint32_t ms = row->wait_ms == NULL ? 0 : row->wait_ms(x);
    if (UNLIKELY(is_bounded(x))) {
        uint32_t all_ms = left_ms(x, x->generation->settings.request_timeout_ms);
        ms = ms == 0 || all_ms < ms ? all_ms : ms;
    }
    if (ms == 0)
        deadline_clear(&x->deadline);
    else
        deadline_set(x->gateway->loop, &x->deadline, ms);
}

static void go_with(struct exchange *x, enum step step)
{
    for (;; step = rows[x->state].run(x)) {
        switch (step) {
        case STEP_NEXT:
            x->state = rows[x->state].next;
            break;
        case STEP_REPLY:
            x->state = STATE_MAKE_REPLY;
            break;
        case STEP_RETRY:
            x->state = STATE_RETRY;
            break;
        case STEP_TUNNEL:
            x->state = STATE_TUNNEL;
            break;
        case STEP_AGAIN:
            x->state = STATE_READ_HEAD;
            break;
        case STEP_WAIT:
            wait_for_event(x);
            return;
        case STEP_CUT:
            exchange_abort(x);
            return;
        case STEP_OVER:
            return;
        }
    }
}

void exchange_go(struct exchange *x)
{
    go_with(x, rows[x->state].run(x));
}

void exchange_pump(struct exchange *x)
{
    go_with(x, pump_request_body(x));
}

static void deadline_passed(struct deadline *deadline)
{
    struct exchange *x = CONTAINER_OF(deadline, struct exchange, deadline);
    request_log(&x->request, LOG_DEBUG, "deadline passed in state '%s'", rows[x->state].name);
    bool all = rows[x->state].late == NULL || UNLIKELY(is_over_time(x));
    go_with(x, all ? all_late(x) : rows[x->state].late(x));
}

/* ---- waiting policies */

enum step step_phase(struct exchange *x, enum phase phase)
{
    enum phase_result result = PHASE_NEXT;
    if (x->has_resumed) {
        x->has_resumed = false;
        result = x->resumed;
    } else if (!phase_is_empty(&x->request, phase)) {
        result = phase_run(&x->request, phase);
    }
    switch (result) {
    case PHASE_NEXT:
        return STEP_NEXT;
    case PHASE_DONE:
        return STEP_REPLY;
    case PHASE_WAIT:
        return STEP_WAIT;
    case PHASE_FAILED:
        break;
    }
    /* A body that could not be had whole has its own answer already. */
    return phase == PHASE_ACCESS && x->request.reply.status != 0
               ? STEP_REPLY
               : step_fail(x, WEIR_ERR_POLICY_FAILED, false);
}

static bool is_before_target(enum state state)
{
    return state == STATE_REWRITE || state == STATE_ACCESS || state == STATE_UPSTREAM;
}

static void resume(struct weir_request *request, enum direction direction, enum phase_result result)
{
    struct exchange *x = (struct exchange *)(void *)request;
    x->resumed = result;
    x->has_resumed = true;
    if (direction == TO_TARGET && x->up_active)
        exchange_pump(x);
    else if (direction == TO_CLIENT || is_before_target(x->state))
        exchange_go(x);
    else
        x->has_resumed = false; /* the target went away meanwhile: nobody needs the body */
}

static uint64_t count_bytes(const struct weir_request *request, enum direction direction)
{
    const struct exchange *x = (const struct exchange *)(const void *)request;
    return direction == TO_TARGET ? x->head_size + x->up.source.taken : x->down.sent;
}

static enum weir_err read_body(struct weir_request *request)
{
    struct exchange *x = (struct exchange *)(void *)request;
    if (x->collecting)
        return WEIR_ERR_INVALID;
    x->collecting = true;
    return WEIR_OK;
}

static struct span server_ip(struct weir_request *request)
{
    const struct exchange *x = (const struct exchange *)(const void *)request;
    struct address local;
    if (conn_local(x->client->conn, &local) != WEIR_OK)
        return SPAN_NONE;
    return arena_copy(request->arena, address_ip_text(&local));
}

const struct request_ops exchange_ops = {
    .resume = resume, .read_body = read_body, .server_ip = server_ip, .bytes = count_bytes};

/* ---- life */

static struct exchange *make(struct gateway *gateway)
{
    if (!overload_take(gateway, EXCHANGE_BYTES)) {
        overload_refused(gateway, OVERLOAD_MEMORY);
        return NULL;
    }
    struct exchange *x = calloc(1, sizeof(*x));
    if (x == NULL) {
        overload_give(gateway, EXCHANGE_BYTES);
        return NULL;
    }
    x->in = malloc(IO_BUFFER);
    x->out = malloc(IO_BUFFER);
    x->request.arena = arena_create(gateway->arenas);
    if (x->in == NULL || x->out == NULL || x->request.arena == NULL) {
        arena_destroy(x->request.arena);
        free(x->in);
        free(x->out);
        free(x);
        overload_give(gateway, EXCHANGE_BYTES);
        return NULL;
    }
    x->gateway = gateway;
    x->collected.limit = WHOLE_BODY_MAX;
    deadline_init(&x->deadline, deadline_passed);
    return x;
}

static void clear(struct exchange *x)
{
    x->state = STATE_READ_HEAD;
    x->seen = x->head_size = 0;
    x->head_drained = x->up_active = x->continue_expected = x->close_client = false;
    x->client_ended = x->from_memory = x->collecting = false;
    x->target_requests = x->attempts = 0;
    x->async_done = x->free_retry = x->target_keep = x->continue_awaited = false;
    x->retry_due_ms = 0;
    x->out_size = x->out_seen = x->out_head = 0;
    x->out_drained = x->answer_begun = x->answer_started = x->has_resumed = false;
    x->body_hooked = false;
    x->until_close = x->reply_hooked = false;
    x->up.sent = x->up.source.taken = x->down.sent = 0;
    x->up.finished = false;
    x->up.blocked = x->up.paused = x->down.blocked = x->down.paused = false;
    x->affinity_cookie = x->upgrade = SPAN_NONE;
    x->tunnel.agreed = x->tunnel.open = false;
    x->up.keeps = true;
    x->match.matched_path = SPAN_NONE;
    x->match.capture_count = 0;
    memset(&x->pick, 0, sizeof(x->pick));
}

/* ---- weir record */

static void record_body(struct exchange *x, enum recorded_body which, const struct relay *relay,
                        struct span piece)
{
    if (x->request.recording != NULL && piece.size > 0 && !x->tunnel.open)
        recorder_body(&x->request, which, relay->source.taken - piece.size, piece);
}

static void record_up(struct relay *relay, struct span piece, bool hooked)
{
    if (!hooked)
        record_body(CONTAINER_OF(relay, struct exchange, up), RECORDED_UP, relay, piece);
}

static void record_down(struct relay *relay, struct span piece, bool hooked)
{
    record_body(CONTAINER_OF(relay, struct exchange, down),
                hooked ? RECORDED_HOOKED : RECORDED_DOWN, relay, piece);
}

/* ---- */

static void begin(struct exchange *x)
{
    clear(x);
    x->begun_us = clock_mono_us();
    x->sending = x->taking = (struct pace){0};
    x->generation = x->gateway->current;
    generation_pin(x->generation);
    request_begin(&x->request, x->gateway->host, &exchange_ops, x->request.arena,
                  x->generation->policies);
    if (UNLIKELY(x->request.recording != NULL)) {
        x->up.watch = record_up;
        x->down.watch = record_down;
    }
    http_headers_init(&x->request.head.headers, x->request_fields, HEADER_CAPACITY);
    http_headers_init(&x->request.response.headers, x->response_fields, HEADER_CAPACITY);
}

static void end(struct exchange *x)
{
    exchange_drop_target(x);
    pick_end(&x->pick);
    request_end(&x->request);
    if (UNLIKELY(x->up.watch != NULL))
        x->up.watch = x->down.watch = NULL;
    arena_reset(x->request.arena);
    generation_unpin(TAKE(x->generation));
    buf_free(&x->collected);
    x->collected.limit = WHOLE_BODY_MAX;
    if (UNLIKELY(x->up.changed.capacity + x->down.changed.capacity > CHANGED_KEPT)) {
        buf_free(&x->up.changed);
        buf_free(&x->down.changed);
    }
    if (UNLIKELY(x->counted != 0))
        (void)overload_recount(x);
}

struct exchange *exchange_take(struct client *client)
{
    struct gateway *gateway = client->gateway;
    struct exchange *x;
    if (list_is_empty(&gateway->spares)) {
        x = make(gateway);
        if (x == NULL)
            return NULL;
    } else {
        x = LIST_ENTRY(gateway->spares.next, struct exchange, link);
        list_remove(&x->link);
        gateway->spare_count--;
        if (gateway->spare_count < gateway->spares_unused)
            gateway->spares_unused = gateway->spare_count;
    }
    x->client = client;
    x->in_size = 0;
    begin(x);
    client->exchange = x;
    gateway->active++;
    gateway->slot->active = gateway->active;
    return x;
}

void exchange_again(struct exchange *x, uint32_t at)
{
    end(x);
    x->in_size -= at;
    memmove(x->in, x->in + at, x->in_size);
    begin(x);
}

void exchange_drop_target(struct exchange *x)
{
    dial_cancel(TAKE(x->dial));
    conn_close(TAKE(x->target));
    x->up_active = x->continue_awaited = false;
}

void exchange_free(struct exchange *x)
{
    buf_free(&x->collected);
    buf_free(&x->up.changed);
    buf_free(&x->down.changed);
    arena_destroy(x->request.arena);
    free(x->in);
    free(x->out);
    overload_give(x->gateway, EXCHANGE_BYTES + x->counted);
    free(x);
}

void exchange_release(struct exchange *x)
{
    struct gateway *gateway = x->gateway;
    deadline_clear(&x->deadline);
    end(x);
    x->client->exchange = NULL;
    x->client = NULL;
    gateway->active--;
    gateway->slot->active = gateway->active;
    if (UNLIKELY(x->tunnel.open))
        gateway->slot->tunnels--;
    if (gateway->spare_count >= SPARE_EXCHANGES) {
        exchange_free(x);
        return;
    }
    list_push_front(&gateway->spares, &x->link);
    gateway->spare_count++;
    if (UNLIKELY(gateway->spare_count > SPARES_NEEDED && !deadline_is_set(&gateway->trim)))
        deadline_set(gateway->loop, &gateway->trim, TRIM_MS);
}

void exchange_abort(struct exchange *x)
{
    struct client *client = x->client;
    struct weir_request *request = &x->request;
    bool is_known = request->started_us != 0; /* a late half of a head is answered, and logged */
    exchange_drop_target(x);
    if (is_known) {
        if (!request->has_response) {
            request->response.status = 499; /* Kong's logs: the client closed the request */
            request->has_response = true;
        }
        request->finished_us = clock_mono_us();
        if (!phase_is_empty(request, PHASE_LOG))
            (void)phase_run(request, PHASE_LOG);
    }
    exchange_release(x);
    client_close(client);
}
