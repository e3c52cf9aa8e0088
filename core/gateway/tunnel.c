/* Upgrade: what the target is offered, whether its 101 is an answer to that, and the tunnel that
 * follows (RFC 9110 7.8, RFC 9112 9.9). CONNECT is answered by the same tunnel: the target is asked
 * as the next proxy (RFC 9110 9.3.6), the gateway itself dials nobody that a client names. A tunnel
 * is two relays whose bodies end with their connections: nothing is parsed, nothing more is read
 * from one side than the other has taken. It is part of its exchange, so it pins the generation it
 * began with, is awaited by a drain, and has its log phase at its end. Body hooks never see it. */
#include "gateway/exchange.h"

enum { TUNNEL_BUFFER = 16 * 1024 }; /* of each direction */

/* ---- the offer */

/* What comes after these would be requests that no policy has seen. */
static bool is_http_again(struct span protocol)
{
    struct span name = span_first(protocol, span_find(protocol, '/'));
    static const struct span names[] = {SPAN("h2c"),  SPAN("h2"),    SPAN("h3"),
                                        SPAN("HTTP"), SPAN("SHTTP"), SPAN("TLS")};
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (span_equal_nocase(name, names[i]))
            return true;
    return false;
}

/* token["/"token] */
static bool is_protocol(struct span text)
{
    size_t slash = span_find(text, '/');
    return http_name_is_valid(span_first(text, slash)) &&
           (slash == text.size || http_name_is_valid(span_from(text, slash + 1)));
}

static bool is_offered(const struct exchange *x)
{
    const struct http_request_head *head = &x->request.head;
    enum protocol service = x->request.service->protocol;
    return head->minor_version > 0 && head->method_id != HTTP_METHOD_CONNECT &&
           (service == PROTOCOL_HTTP || service == PROTOCOL_HTTPS) &&
           http_headers_connection_has(&head->headers, SPAN("upgrade"));
}

static size_t size_of_all(const struct http_headers *headers)
{
    size_t size = 0;
    for (unsigned i = 0; i < headers->count; i++)
        if (headers->items[i].id == HTTP_HEADER_UPGRADE)
            size += headers->items[i].value.size + 2;
    return size;
}

enum weir_err tunnel_offer(struct exchange *x)
{
    const struct http_headers *headers = &x->request.head.headers;
    if (!is_offered(x))
        return WEIR_OK;
    char *list = arena_bytes(x->request.arena, size_of_all(headers));
    size_t size = 0;
    if (list == NULL)
        return WEIR_ERR_NO_MEMORY;
    for (unsigned i = 0; i < headers->count; i++) {
        struct span rest = headers->items[i].value, item;
        if (headers->items[i].id != HTTP_HEADER_UPGRADE)
            continue;
        while (http_list_next(&rest, &item)) {
            if (!is_protocol(item) || is_http_again(item))
                continue;
            if (size > 0) {
                list[size++] = ',';
                list[size++] = ' ';
            }
            memcpy(list + size, item.data, item.size);
            size += item.size;
        }
    }
    if (size > 0)
        x->upgrade = span_of(list, size);
    return WEIR_OK;
}

/* ---- the answer */

/* Of protocols that the target would be offered too; of others we should not speak. */
void tunnel_tell_upgrade(struct exchange *x)
{
    struct http_headers *headers = &x->request.response.headers;
    struct span rest = http_headers_get(headers, HTTP_HEADER_UPGRADE), item;
    if (http_headers_count(headers, HTTP_HEADER_UPGRADE, SPAN_NONE) != 1 ||
        x->request.head.minor_version == 0)
        return;
    while (http_list_next(&rest, &item))
        if (!is_protocol(item) || is_http_again(item))
            return;
    if (http_headers_add(headers, HTTP_HEADER_CONNECTION, SPAN("Connection"), SPAN("Upgrade")) !=
        WEIR_OK)
        return; /* no room: without both it says nothing */
    headers->items[headers->count - 1].flags = HTTP_HEADER_KEPT;
    headers->items[headers->first[HTTP_HEADER_UPGRADE] - 1].flags = HTTP_HEADER_KEPT;
}

/* It names a protocol, and none that was not offered. */
static bool is_of_offer(struct span answer, struct span offer)
{
    struct span item;
    bool any = false;
    while (http_list_next(&answer, &item)) {
        if (!http_connection_has(offer, item))
            return false;
        any = true;
    }
    return any;
}

bool tunnel_is_answer(const struct exchange *x)
{
    unsigned status = x->request.response.status;
    return status == 101 || (x->request.head.method_id == HTTP_METHOD_CONNECT && status / 100 == 2);
}

/* What is wrong with a 101; NULL: nothing. */
static const char *fault_of_switch(const struct exchange *x)
{
    const struct http_response_head *response = &x->request.response;
    const struct http_headers *headers = &response->headers;
    if (!span_is_set(x->upgrade))
        return "101 without having been asked";
    if (response->minor_version == 0)
        return "101 in HTTP/1.0";
    if (!http_headers_connection_has(headers, SPAN("upgrade")))
        return "101 whose Connection does not say upgrade";
    if (http_headers_count(headers, HTTP_HEADER_UPGRADE, SPAN_NONE) != 1 ||
        !is_of_offer(http_headers_get(headers, HTTP_HEADER_UPGRADE), x->upgrade))
        return "101 to another protocol than was offered";
    return NULL;
}

bool tunnel_agree(struct exchange *x, const char **reason)
{
    struct http_headers *headers = &x->request.response.headers;
    bool is_switch = x->request.response.status == 101;
    const char *fault = is_switch ? fault_of_switch(x) : NULL;
    if (fault == NULL && (!x->up.finished || x->up_active))
        fault = "a tunnel before the request was there";
    if (fault != NULL) {
        *reason = fault;
        return false;
    }
    x->tunnel.agreed = true;
    x->upgrade = is_switch ? http_headers_get(headers, HTTP_HEADER_UPGRADE) : SPAN_NONE;
    (void)http_headers_remove(headers, HTTP_HEADER_CONTENT_LENGTH, SPAN_NONE); /* it has no body */
    return true;
}

/* ---- the tunnel */

static struct relay *relay_of(struct exchange *x, enum direction direction)
{
    return direction == TO_TARGET ? &x->up : &x->down;
}
static struct conn *source_of(struct exchange *x, enum direction direction)
{
    return direction == TO_TARGET ? x->client->conn : x->target;
}
static struct conn *sink_of(struct exchange *x, enum direction direction)
{
    return direction == TO_TARGET ? x->target : x->client->conn;
}

static uint32_t capacity_of(uint32_t base)
{
    return base + TUNNEL_BUFFER < IO_BUFFER ? base + TUNNEL_BUFFER : IO_BUFFER;
}

/* What the client has sent behind its request is the tunnel's. */
static void begin_up(struct exchange *x)
{
    static const struct http_framing endless = {.kind = HTTP_BODY_UNTIL_CLOSE};
    struct relay *up = &x->up;
    uint64_t taken = up->source.taken; /* a body is counted too */
    up->at = x->from_memory ? x->body_end : up->at;
    up->buffer = x->in;
    up->base = x->head_size;
    up->size = x->in_size;
    up->capacity = capacity_of(up->base);
    relay_begin(up, &endless, 0);
    up->source.taken = taken;
    up->keeps = false;
    x->from_memory = false;
}

/* And what the target has sent behind its answer. */
static enum step begin_down(struct exchange *x)
{
    struct relay *down = &x->down;
    x->response_framing = (struct http_framing){.kind = HTTP_BODY_UNTIL_CLOSE};
    x->body_hooked = true; /* it has none, so none will be asked */
    down->buffer = x->out;
    down->base = down->at = x->out_head;
    down->size = x->out_size;
    down->capacity = capacity_of(down->base);
    return answer_begin(x, false);
}

/* Bytes from `direction`'s source. */
static void come(struct exchange *x, enum direction direction)
{
    struct relay *relay = relay_of(x, direction);
    if (relay->blocked || x->tunnel.over[direction]) {
        relay->paused = true;
        conn_pause_reading(source_of(x, direction));
        return;
    }
    x->tunnel.ready[direction] = true;
    exchange_go(x);
}
static void may_go_on(struct exchange *x, enum direction direction)
{
    x->tunnel.ready[direction] = true;
    exchange_go(x);
}

static void client_readable(struct conn *conn)
{
    const struct client *client = conn_user(conn);
    come(client->exchange, TO_TARGET);
}
static void client_writable(struct conn *conn)
{
    const struct client *client = conn_user(conn);
    may_go_on(client->exchange, TO_CLIENT);
}
static void target_readable(struct conn *conn)
{
    come(conn_user(conn), TO_CLIENT);
}
static void target_writable(struct conn *conn)
{
    may_go_on(conn_user(conn), TO_TARGET);
}
static const struct conn_events of_client = {.readable = client_readable,
                                             .writable = client_writable};
static const struct conn_events of_target = {.readable = target_readable,
                                             .writable = target_writable};

/* A policy has made another answer of it: there is no tunnel, and no body. */
static enum step refused(struct exchange *x)
{
    x->request.reply =
        (struct reply){.status = x->request.response.status, .by_policy = true, .body = SPAN("")};
    return STEP_REPLY;
}

static enum step begin(struct exchange *x)
{
    struct tunnel *tunnel = &x->tunnel;
    uint64_t now_us = clock_mono_us();
    if (!tunnel_is_answer(x))
        return refused(x);
    *tunnel = (struct tunnel){
        .agreed = true, .open = true, .ready = {true, true}, .moved_us = {now_us, now_us}};
    x->gateway->slot->tunnels++;
    x->close_client = true; /* no request can follow */
    begin_up(x);
    if (begin_down(x) != STEP_NEXT)
        return STEP_CUT;
    conn_set_events(x->client->conn, &of_client, x->client);
    conn_set_events(x->target, &of_target, x);
    return STEP_NEXT;
}

/* Nothing more comes from this side: the other one is told, and may go on sending. */
static void end_direction(struct exchange *x, enum direction direction)
{
    x->tunnel.over[direction] = true;
    relay_of(x, direction)->paused = true;
    conn_pause_reading(source_of(x, direction));
    conn_shutdown_write(sink_of(x, direction));
}

static void note_progress(struct exchange *x, enum direction direction)
{
    const struct relay *relay = relay_of(x, direction);
    uint64_t moved = relay->source.taken + relay->sent;
    if (moved == x->tunnel.moved[direction])
        return;
    x->tunnel.moved[direction] = moved;
    x->tunnel.moved_us[direction] = clock_mono_us();
}

/* False: the tunnel is broken. */
static bool pump(struct exchange *x, enum direction direction)
{
    struct relay *relay = relay_of(x, direction);
    struct conn *source = source_of(x, direction);
    x->tunnel.ready[direction] = false;
    enum relay_result result = relay_pump(relay, source, sink_of(x, direction));
    note_progress(x, direction);
    if (result == RELAY_WAIT) {
        if (relay->paused && !relay->blocked) {
            relay->paused = false;
            conn_resume_reading(source);
        }
        return true;
    }
    /* A target that takes no more may have said something before: that is read still. */
    if (result != RELAY_DONE && (result != RELAY_SINK_GONE || direction == TO_CLIENT))
        return false;
    end_direction(x, direction);
    return true;
}

enum step step_tunnel(struct exchange *x)
{
    struct tunnel *tunnel = &x->tunnel;
    enum step step = tunnel->open ? STEP_NEXT : begin(x);
    if (step != STEP_NEXT)
        return step;
    for (enum direction d = TO_TARGET; d < DIRECTIONS; d++)
        if (tunnel->ready[d] && !tunnel->over[d] && !pump(x, d))
            return STEP_CUT;
    return tunnel->over[TO_TARGET] && tunnel->over[TO_CLIENT] ? STEP_NEXT : STEP_WAIT;
}

/* ---- how long it may wait */

static uint64_t left_ms(uint64_t since_us, int64_t limit_ms)
{
    uint64_t passed = (clock_mono_us() - since_us) / 1000;
    uint64_t limit = limit_ms < 1 ? 1 : (uint64_t)limit_ms;
    return passed < limit ? limit - passed : 1;
}

/* read_timeout without a byte in either direction; and who does not take what is there has the time
 * that it has in every exchange, whatever the other direction does. */
uint32_t tunnel_ms(const struct exchange *x)
{
    const struct service *service = x->request.service;
    const uint64_t *moved_us = x->tunnel.moved_us;
    uint64_t last =
        moved_us[TO_TARGET] > moved_us[TO_CLIENT] ? moved_us[TO_TARGET] : moved_us[TO_CLIENT];
    uint64_t ms = left_ms(last, service->read_timeout_ms);
    if (x->up.blocked) {
        uint64_t blocked = left_ms(moved_us[TO_TARGET], service->write_timeout_ms);
        ms = blocked < ms ? blocked : ms;
    }
    if (x->down.blocked) {
        uint64_t blocked =
            left_ms(moved_us[TO_CLIENT], x->generation->settings.client_body_timeout_ms);
        ms = blocked < ms ? blocked : ms;
    }
    return ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ms;
}
