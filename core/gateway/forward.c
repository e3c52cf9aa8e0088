#include "gateway/forward.h"

#include <stdio.h>

#include "gateway/exchange.h"
#include "http/uri.h"
#include "plugin_host/timing.h"

/* ---- settings */

static bool parse_network(struct span text, struct network *out)
{
    struct span ip = span_first(text, span_find(text, '/'));
    if (address_parse_ip(ip, 0, &out->address) != WEIR_OK)
        return false;
    uint64_t most = out->address.family == ADDRESS_V4 ? 32 : 128, bits = most;
    if (ip.size < text.size && (!text_to_u64(span_from(text, ip.size + 1), &bits) || bits > most))
        return false;
    out->bits = (uint8_t)bits;
    return true;
}

static enum weir_err compile_trusted(struct arena *arena, const struct settings *settings,
                                     struct forward_settings *out, char *why, size_t why_size)
{
    out->trusted = arena_array(arena, struct network, settings->trusted_ips.count + 1);
    if (out->trusted == NULL)
        return WEIR_ERR_NO_MEMORY;
    for (size_t i = 0; i < settings->trusted_ips.count; i++) {
        struct span text = settings->trusted_ips.items[i];
        if (span_equal(text, SPAN("unix:"))) {
            out->trust_unix = true;
        } else if (parse_network(text, &out->trusted[out->trusted_count])) {
            out->trusted_count++;
        } else {
            (void)snprintf(why, why_size, "trusted_ips: '%.*s' is no address or network",
                           SPAN_ARG(text));
            return WEIR_ERR_CONFIG;
        }
    }
    return WEIR_OK;
}

static void switch_on(struct forward_settings *out, struct span name)
{
    const struct {
        struct span name;
        bool *targets[4];
    } rows[] = {
        {SPAN("server_tokens"), {&out->server, &out->via}},
        {SPAN("server"), {&out->server}},
        {SPAN("via"), {&out->via}},
        {SPAN("latency_tokens"),
         {&out->upstream_latency, &out->proxy_latency, &out->response_latency}},
        {SPAN("x-kong-upstream-latency"), {&out->upstream_latency}},
        {SPAN("x-kong-proxy-latency"), {&out->proxy_latency}},
        {SPAN("x-kong-response-latency"), {&out->response_latency}},
        {SPAN("x-kong-upstream-status"), {&out->upstream_status}},
        {SPAN("x-kong-request-id"), {&out->request_id}},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (span_equal_nocase(rows[i].name, name))
            for (size_t j = 0; j < COUNT_OF(rows[i].targets) && rows[i].targets[j] != NULL; j++)
                *rows[i].targets[j] = true;
}

/* The fields of a response that weir writes itself, whatever the target or a policy said. Via
 * depends on the exchange: write_response(). */
static void mark_own(struct forward_settings *out)
{
    out->own_response[HTTP_HEADER_CONTENT_LENGTH] = true;
    out->own_response[HTTP_HEADER_X_KONG_REQUEST_ID] = out->request_id;
    out->own_response[HTTP_HEADER_X_KONG_PROXY_LATENCY] = out->proxy_latency;
    out->own_response[HTTP_HEADER_X_KONG_UPSTREAM_LATENCY] = out->upstream_latency;
    out->own_response[HTTP_HEADER_X_KONG_UPSTREAM_STATUS] = out->upstream_status;
}

enum weir_err forward_compile(struct arena *arena, const struct settings *settings,
                              struct forward_settings **out, char *why, size_t why_size)
{
    struct forward_settings *made = arena_new(arena, struct forward_settings);
    if (made == NULL)
        return WEIR_ERR_NO_MEMORY;
    TRY(compile_trusted(arena, settings, made, why, why_size));
    for (size_t i = 0; i < settings->headers.count; i++)
        switch_on(made, settings->headers.items[i]);
    mark_own(made);
    for (size_t i = 0; i < settings->headers_upstream.count; i++)
        if (span_equal_nocase(settings->headers_upstream.items[i], SPAN("x-kong-request-id")))
            made->request_id_upstream = true;
    made->real_ip_header = settings->real_ip_header;
    made->real_ip_announced = span_equal_nocase(made->real_ip_header, SPAN("proxy_protocol"));
    made->real_ip_recursive = settings->real_ip_recursive;
    made->debug_header = settings->allow_debug_header;
    made->error_default_type = settings->error_default_type;
    *out = made;
    return WEIR_OK;
}

static bool in_network(const struct network *network, const struct address *address)
{
    if (network->address.family != address->family)
        return false;
    size_t bytes = network->bits / 8, rest = network->bits % 8;
    if (memcmp(network->address.ip, address->ip, bytes) != 0)
        return false;
    unsigned mask = 0xff00u >> rest & 0xff;
    return rest == 0 || ((network->address.ip[bytes] ^ address->ip[bytes]) & mask) == 0;
}

bool forward_trusts(const struct forward_settings *settings, const struct address *address)
{
    if (address->family == ADDRESS_UNIX || address->family == ADDRESS_NONE)
        return settings->trust_unix;
    for (size_t i = 0; i < settings->trusted_count; i++)
        if (in_network(&settings->trusted[i], address))
            return true;
    return false;
}

/* ---- whom the request comes from */

static bool separates(char byte)
{
    return byte == ',' || byte == ' ' || byte == '\t';
}

/* The last item of the list, cut off it; absent when there is none. Empty items are none. */
static struct span last_item(struct span *list)
{
    size_t end = list->size;
    while (end > 0 && separates(list->data[end - 1]))
        end--;
    size_t start = end;
    while (start > 0 && !separates(list->data[start - 1]))
        start--;
    list->size = start;
    return start < end ? span_of(list->data + start, end - start) : SPAN_NONE;
}

/* An IP address; some proxies write its port behind it. */
static bool parse_item(struct span item, struct address *out)
{
    return address_parse_ip(item, 0, out) == WEIR_OK ||
           (address_parse(item, out) == WEIR_OK && out->family != ADDRESS_UNIX);
}

/* From the right: the first address that is not trusted; the leftmost when all are. Not recursive:
 * the rightmost. What is no address ends the search: nobody we trust wrote it. */
static bool client_of_list(const struct forward_settings *settings, struct span list,
                           struct address *out)
{
    bool found = false;
    struct span item;
    while (span_is_set(item = last_item(&list))) {
        struct address address;
        if (!parse_item(item, &address))
            break;
        *out = address;
        found = true;
        if (!settings->real_ip_recursive || !forward_trusts(settings, &address))
            break;
    }
    return found;
}

static bool is_field(const struct http_header *field, struct http_name name)
{
    return field->id == name.id &&
           (name.id != HTTP_HEADER_UNKNOWN || span_equal_nocase(field->name, name.text));
}

/* The fields of one name are one list (RFC 9110 5.3): a proxy before us may have written a line of
 * its own behind one that its client made up. Absent: none, or no memory. */
static struct span whole_list(struct arena *arena, const struct http_headers *headers,
                              struct http_name name)
{
    struct span only = SPAN_NONE;
    size_t count = 0, size = 0;
    for (unsigned i = 0; i < headers->count; i++) {
        if (!is_field(&headers->items[i], name))
            continue;
        only = headers->items[i].value;
        size += only.size + 2;
        count++;
    }
    char *bytes = count > 1 ? arena_bytes(arena, size) : NULL;
    if (bytes == NULL)
        return count > 1 ? SPAN_NONE : only;
    struct http_writer w = http_writer_of(bytes, size);
    for (unsigned i = 0; i < headers->count; i++) {
        if (!is_field(&headers->items[i], name))
            continue;
        http_write_span(&w, headers->items[i].value);
        if (--count > 0)
            http_write_span(&w, SPAN(", "));
    }
    return http_written(&w, bytes);
}

static struct span whole_list_of(struct arena *arena, const struct http_headers *headers,
                                 enum http_header_id id)
{
    if (LIKELY(http_headers_first(headers, id) == NULL))
        return SPAN_NONE;
    return whole_list(arena, headers, (struct http_name){.id = id});
}

/* Of the PROXY header. A unix path is nobody's IP; there the balancer's own address stays. */
static struct span announced_ip(const struct exchange *x)
{
    const struct address *from = conn_announced(x->client->conn);
    bool has_ip = from != NULL && (from->family == ADDRESS_V4 || from->family == ADDRESS_V6);
    return has_ip ? address_ip_text(from) : x->request.peer_ip;
}

/* One client, one text: as we write the address and not as the header does. */
static struct span client_ip(struct exchange *x, const struct forward_settings *settings)
{
    if (settings->real_ip_announced)
        return announced_ip(x);
    struct http_name name = {http_header_id_of(settings->real_ip_header), settings->real_ip_header};
    struct span list = whole_list(x->request.arena, &x->request.head.headers, name);
    struct address client;
    if (!span_is_set(list) || !client_of_list(settings, list, &client))
        return x->request.peer_ip;
    struct span copy = arena_copy(x->request.arena, address_ip_text(&client));
    return span_is_set(copy) ? copy : x->request.peer_ip;
}

static struct span lower(struct arena *arena, struct span text)
{
    size_t at = 0;
    while (at < text.size && !(text.data[at] >= 'A' && text.data[at] <= 'Z'))
        at++;
    if (at == text.size)
        return text;
    char *copy = arena_bytes(arena, text.size);
    if (copy == NULL)
        return text;
    for (at = 0; at < text.size; at++)
        copy[at] = (char)(text.data[at] >= 'A' && text.data[at] <= 'Z' ? text.data[at] + 32
                                                                       : text.data[at]);
    return span_of(copy, text.size);
}

static struct span trusted_value(struct exchange *x, enum http_header_id id, struct span otherwise)
{
    struct span value =
        x->facts.trusted ? http_headers_get(&x->request.head.headers, id) : SPAN_NONE;
    return span_is_set(value) ? value : otherwise;
}

void forward_learn(struct exchange *x)
{
    struct weir_request *request = &x->request;
    const struct forward_settings *settings = x->generation->forward;
    const struct address *peer = conn_peer(x->client->conn);
    struct span host, port;
    request->peer_ip = peer->family == ADDRESS_UNIX ? SPAN("unix:") : address_ip_text(peer);
    x->facts.trusted = settings->trusted_count > 0 || settings->trust_unix
                           ? forward_trusts(settings, peer)
                           : false;
    request->client_ip = x->facts.trusted ? client_ip(x, settings) : request->peer_ip;
    if (!http_authority_split(http_request_host(&request->head), &host, &port))
        host = SPAN_NONE;
    if (host.size > 1 && span_ends_with(host, SPAN("."))) /* the root of DNS is not written */
        host.size--;
    host = lower(request->arena, host);
    x->facts.host = trusted_value(x, HTTP_HEADER_X_FORWARDED_HOST, host);
    x->facts.proto = trusted_value(x, HTTP_HEADER_X_FORWARDED_PROTO, request->scheme);
    port = span_of(x->facts.port_text, text_from_u64(x->facts.port_text, request->port));
    x->facts.port = trusted_value(x, HTTP_HEADER_X_FORWARDED_PORT, port);
}

/* ---- the head that the target gets */

static bool is_own(uint16_t id)
{
    static const bool own[HTTP_HEADER_COUNT] = {
        [HTTP_HEADER_VIA] = true,
        [HTTP_HEADER_HOST] = true,
        [HTTP_HEADER_X_FORWARDED_FOR] = true,
        [HTTP_HEADER_X_FORWARDED_PROTO] = true,
        [HTTP_HEADER_X_FORWARDED_HOST] = true,
        [HTTP_HEADER_X_FORWARDED_PORT] = true,
        [HTTP_HEADER_X_FORWARDED_PATH] = true,
        [HTTP_HEADER_X_FORWARDED_PREFIX] = true,
        [HTTP_HEADER_X_REAL_IP] = true,
        [HTTP_HEADER_X_KONG_REQUEST_ID] = true,
        [HTTP_HEADER_CONTENT_LENGTH] = true,
        [HTTP_HEADER_EXPECT] = true,
        [HTTP_HEADER_PROXY] = true,
    };
    return own[id];
}

static void write_via(struct http_writer *w, struct span before, bool minor_0)
{
    http_write_span(w, SPAN("Via: "));
    if (span_is_set(before)) {
        http_write_span(w, before);
        http_write_span(w, SPAN(", "));
    }
    http_write_span(w, minor_0 ? SPAN("1.0 " WEIR_SERVER "\r\n") : SPAN("1.1 " WEIR_SERVER "\r\n"));
}

static uint16_t default_port(const struct service *service)
{
    bool tls = service->protocol == PROTOCOL_HTTPS || service->protocol == PROTOCOL_GRPCS;
    return tls ? 443 : 80;
}

static void write_host(struct http_writer *w, struct exchange *x)
{
    const struct weir_request *request = &x->request;
    struct span client = http_headers_get(&request->head.headers, HTTP_HEADER_HOST);
    http_write_span(w, SPAN("Host: "));
    if (UNLIKELY(request->head.method_id == HTTP_METHOD_CONNECT)) {
        http_write_span(w, request->head.authority);
    } else if (span_is_set(request->host_override)) {
        http_write_span(w, request->host_override);
    } else if (request->route->preserve_host && span_is_set(client)) {
        http_write_span(w, client);
    } else {
        const struct upstream *upstream = x->pick.upstream;
        bool named = upstream != NULL && span_is_set(upstream->host_header);
        struct span host = named ? upstream->host_header : x->pick.host_name;
        bool bare_v6 = !named && span_find(host, ':') < host.size && host.data[0] != '[';
        if (bare_v6)
            http_write_byte(w, '[');
        http_write_span(w, host);
        if (bare_v6)
            http_write_byte(w, ']');
        if (x->pick.target_port != default_port(request->service)) {
            http_write_byte(w, ':');
            http_write_u64(w, x->pick.target_port);
        }
    }
    http_write_span(w, SPAN("\r\n"));
}

static struct span stripped_prefix(const struct exchange *x)
{
    const struct route *route = x->request.route;
    struct span matched = x->match.matched_path;
    if (!route->strip_path || matched.size == 0 || span_equal(matched, SPAN("/")))
        return SPAN_NONE;
    return matched;
}

static void write_forwarded(struct http_writer *w, struct exchange *x)
{
    const struct weir_request *request = &x->request;
    const struct http_headers *headers = &request->head.headers;
    struct span chain = whole_list_of(request->arena, headers, HTTP_HEADER_X_FORWARDED_FOR);
    struct span path = trusted_value(x, HTTP_HEADER_X_FORWARDED_PATH, request->head.path);
    struct span prefix = trusted_value(x, HTTP_HEADER_X_FORWARDED_PREFIX, stripped_prefix(x));
    if (UNLIKELY(span_is_set(x->upgrade))) {
        http_write_span(w, SPAN("Connection: keep-alive, Upgrade\r\n"));
        http_write_header(w, SPAN("Upgrade"), x->upgrade);
        http_write_span(w, SPAN("X-Forwarded-For: "));
    } else {
        http_write_span(w, SPAN("Connection: keep-alive\r\nX-Forwarded-For: "));
    }
    if (span_is_set(chain)) {
        http_write_span(w, chain);
        http_write_span(w, SPAN(", "));
        http_write_span(w, request->peer_ip);
    } else {
        http_write_span(w, request->client_ip);
    }
    http_write_span(w, SPAN("\r\nX-Forwarded-Proto: "));
    http_write_span(w, x->facts.proto);
    http_write_span(w, SPAN("\r\nX-Forwarded-Host: "));
    http_write_span(w, x->facts.host);
    http_write_span(w, SPAN("\r\nX-Forwarded-Port: "));
    http_write_span(w, x->facts.port);
    http_write_span(w, SPAN("\r\nX-Forwarded-Path: "));
    http_write_span(w, path);
    if (span_is_set(prefix)) {
        http_write_span(w, SPAN("\r\nX-Forwarded-Prefix: "));
        http_write_span(w, prefix);
    }
    http_write_span(w, SPAN("\r\nX-Real-IP: "));
    http_write_span(w, request->client_ip);
    http_write_span(w, SPAN("\r\n"));
    if (x->generation->forward->request_id_upstream)
        http_write_header(w, SPAN("X-Kong-Request-Id"), span_of(request->id, sizeof(request->id)));
}

/* RFC 9110 10.1.4; HTTP/1.0 has no place for them. */
static bool wants_trailers(const struct exchange *x)
{
    const struct http_headers *headers = &x->request.head.headers;
    if (LIKELY(http_headers_first(headers, HTTP_HEADER_TE) == NULL))
        return false;
    return x->request.head.minor_version > 0 &&
           http_headers_list_has(headers, HTTP_HEADER_TE, SPAN("trailers"));
}

bool forward_trailers(const struct exchange *x, enum direction direction)
{
    bool is_up = direction == TO_TARGET;
    const struct http_framing *framing = is_up ? &x->framing : &x->response_framing;
    const struct relay *relay = is_up ? &x->up : &x->down;
    const struct http_headers *headers =
        is_up ? &x->request.head.headers : &x->request.response.headers;
    if (LIKELY(framing->kind != HTTP_BODY_CHUNKED) || relay->hook != NULL || headers->thinned)
        return false;
    if (!is_up)
        return wants_trailers(x);
    return !x->from_memory && http_headers_first(headers, HTTP_HEADER_TRAILER) != NULL;
}

/* Trailer goes with the fields that it announces (RFC 9110 6.6.2). */
static bool goes_on(const struct http_header *field, const struct relay *relay)
{
    return (field->flags & HTTP_HEADER_HOP) == 0 ||
           (field->id == HTTP_HEADER_TRAILER && relay->trailers);
}

static void write_request_framing(struct http_writer *w, struct exchange *x)
{
    if (x->up.chunked)
        http_write_span(w, SPAN("Transfer-Encoding: chunked\r\n"));
    else if (x->from_memory)
        http_write_header_u64(w, SPAN("Content-Length"), x->request.bodies[TO_TARGET].bytes.size);
    else if (x->framing.kind == HTTP_BODY_LENGTH ||
             http_headers_first(&x->request.head.headers, HTTP_HEADER_CONTENT_LENGTH) != NULL)
        http_write_header_u64(w, SPAN("Content-Length"), x->framing.length);
    if (UNLIKELY(x->continue_awaited))
        http_write_span(w, SPAN("Expect: 100-continue\r\n"));
}

static void write_request(struct http_writer *w, struct exchange *x)
{
    const struct weir_request *request = &x->request;
    const struct http_headers *headers = &request->head.headers;
    http_write_span(w, span_is_set(request->method_override) ? request->method_override
                                                             : request->head.method);
    http_write_byte(w, ' ');
    http_write_span(w, request->upstream_path);
    http_write_span(w, SPAN(" HTTP/1.1\r\n"));
    if (UNLIKELY(wants_trailers(x)))
        http_write_span(w, SPAN("TE: trailers\r\n"));
    write_via(w, whole_list_of(request->arena, headers, HTTP_HEADER_VIA),
              request->head.minor_version == 0);
    write_host(w, x);
    write_forwarded(w, x);
    write_request_framing(w, x);
    for (unsigned i = 0; i < headers->count; i++) {
        const struct http_header *field = &headers->items[i];
        if (goes_on(field, &x->up) && !is_own(field->id))
            http_write_header(w, field->name, field->value);
    }
    http_write_end(w);
}

/* ---- the head that the client gets */

/* Types to which a charset belongs, as the engine Kong stands on has them. */
static bool wants_charset(struct span type)
{
    static const struct span names[] = {
        SPAN("text/html"),
        SPAN("text/xml"),
        SPAN("text/plain"),
        SPAN("text/vnd.wap.wml"),
        SPAN("application/javascript"),
        SPAN("application/rss+xml"),
    };
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (span_equal_nocase(type, names[i]))
            return true;
    return false;
}

static void write_field(struct http_writer *w, const struct exchange *x,
                        const struct http_header *field)
{
    if (field->id == HTTP_HEADER_CONTENT_TYPE && x->request.from_target &&
        wants_charset(field->value)) {
        http_write_span(w, field->name);
        http_write_span(w, SPAN(": "));
        http_write_span(w, field->value);
        http_write_span(w, SPAN("; charset=UTF-8\r\n"));
    } else {
        http_write_header(w, field->name, field->value);
    }
}

/* A body that is not there has a length all the same, unless the status means that there is none
 * (RFC 9110 8.6) or its target did not say. */
static bool has_length(const struct exchange *x)
{
    const struct weir_request *request = &x->request;
    if (x->until_close || request->response.status == 204)
        return false;
    /* Policies would have changed a body of that length. */
    if (x->response_framing.kind == HTTP_BODY_NONE && request->head.method_id == HTTP_METHOD_HEAD &&
        (request_body_need(request, TO_CLIENT) == WEIR_BODY_STREAM ||
         request_body_need(request, TO_CLIENT) == WEIR_BODY_BUFFER))
        return false;
    if (!request->from_target)
        return request->response.status != 304;
    return x->response_framing.kind == HTTP_BODY_LENGTH || x->response_framing.length > 0 ||
           http_headers_first(&request->response.headers, HTTP_HEADER_CONTENT_LENGTH) != NULL;
}

static void write_response_framing(struct http_writer *w, const struct exchange *x)
{
    const struct relay *down = &x->down;
    if (down->chunked)
        http_write_span(w, SPAN("Transfer-Encoding: chunked\r\n"));
    else if (has_length(x))
        http_write_header_u64(w, SPAN("Content-Length"), x->response_framing.length);
    if (!x->close_client) {
        http_write_span(w, SPAN("Connection: keep-alive\r\n"));
    } else if (x->tunnel.open) { /* that of CONNECT has no name */
        if (span_is_set(x->upgrade)) {
            http_write_span(w, SPAN("Connection: Upgrade\r\n"));
            http_write_header(w, SPAN("Upgrade"), x->upgrade);
        }
    } else {
        http_write_span(w, SPAN("Connection: close\r\n"));
    }
}

static uint64_t span_ms(uint64_t from_us, uint64_t to_us)
{
    return to_us > from_us ? (to_us - from_us) / 1000 : 0;
}

static void write_latencies(struct http_writer *w, const struct exchange *x)
{
    const struct weir_request *request = &x->request;
    const struct forward_settings *settings = x->generation->forward;
    uint64_t now = clock_mono_us();
    if (request->picked_us == 0) { /* no target had a part in it */
        if (settings->response_latency)
            http_write_header_u64(w, SPAN("X-Kong-Response-Latency"),
                                  span_ms(request->started_us, now));
        return;
    }
    if (settings->upstream_status && request->from_target)
        http_write_header_u64(w, SPAN("X-Kong-Upstream-Status"), request->response.status);
    if (settings->upstream_latency)
        http_write_header_u64(
            w, SPAN("X-Kong-Upstream-Latency"),
            span_ms(request->picked_us, request->answered_us != 0 ? request->answered_us : now));
    if (settings->proxy_latency)
        http_write_header_u64(w, SPAN("X-Kong-Proxy-Latency"),
                              span_ms(request->started_us, request->picked_us));
}

static void write_debug(struct http_writer *w, const struct exchange *x)
{
    const struct weir_request *request = &x->request;
    const struct http_header *asked =
        http_headers_find(&request->head.headers, SPAN("kong-debug"), 0);
    if (asked == NULL || !span_equal(asked->value, SPAN("1")) || request->route == NULL)
        return;
    const struct span rows[][2] = {
        {SPAN("Kong-Route-Id"), request->route->id},
        {SPAN("Kong-Route-Name"), request->route->name},
        {SPAN("Kong-Service-Id"), request->service ? request->service->id : SPAN_NONE},
        {SPAN("Kong-Service-Name"), request->service ? request->service->name : SPAN_NONE},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (span_is_set(rows[i][1]))
            http_write_header(w, rows[i][0], rows[i][1]);
}

static void write_response(struct http_writer *w, struct exchange *x)
{
    const struct weir_request *request = &x->request;
    const struct forward_settings *settings = x->generation->forward;
    const struct http_headers *headers = &request->response.headers;
    bool own_via = settings->via && request->from_target;
    if (request->from_target && request->response.reason.size > 0)
        http_write_status_reason(w, request->response.status, request->response.reason);
    else
        http_write_status_line(w, request->response.status);
    if (!request->from_target)
        http_write_header(w, SPAN("Date"), gateway_date(x->gateway));
    for (unsigned i = 0; i < headers->count; i++) {
        const struct http_header *field = &headers->items[i];
        if (goes_on(field, &x->down) && !settings->own_response[field->id] &&
            (field->id != HTTP_HEADER_VIA || !own_via))
            write_field(w, x, field);
    }
    write_response_framing(w, x);
    if (UNLIKELY(settings->debug_header))
        write_debug(w, x);
    if (settings->server && http_headers_first(headers, HTTP_HEADER_SERVER) == NULL)
        http_write_span(w, SPAN("Server: " WEIR_SERVER "\r\n"));
    if (UNLIKELY(span_is_set(x->affinity_cookie)))
        http_write_header(w, SPAN("Set-Cookie"), x->affinity_cookie);
    write_latencies(w, x);
    if (settings->via && request->picked_us != 0)
        write_via(w,
                  request->from_target ? whole_list_of(request->arena, headers, HTTP_HEADER_VIA)
                                       : SPAN_NONE,
                  request->from_target && request->response.minor_version == 0);
    if (settings->request_id)
        http_write_header(w, SPAN("X-Kong-Request-Id"), span_of(request->id, sizeof(request->id)));
    if (UNLIKELY(request->timing != NULL) && span_is_set(timing_told(request)))
        http_write_header(w, SPAN("Server-Timing"), timing_told(request));
    http_write_end(w);
}

/* As the target said it: policies have nothing to do with it, and it has no body to measure. */
static void write_interim(struct http_writer *w, struct exchange *x)
{
    const struct http_response_head *response = &x->request.response;
    http_write_status_reason(w, response->status, response->reason);
    for (unsigned i = 0; i < response->headers.count; i++) {
        const struct http_header *field = &response->headers.items[i];
        if ((field->flags & HTTP_HEADER_HOP) == 0 && field->id != HTTP_HEADER_CONTENT_LENGTH)
            http_write_header(w, field->name, field->value);
    }
    http_write_end(w);
}

/* ---- all of them, into memory that is sure to be enough */

static size_t fields_size(const struct http_headers *headers)
{
    size_t size = 0;
    for (unsigned i = 0; i < headers->count; i++)
        size += headers->items[i].name.size + headers->items[i].value.size + 4;
    return size;
}

static struct span write_head(struct exchange *x, size_t size,
                              void (*write)(struct http_writer *w, struct exchange *x))
{
    char *bytes = arena_bytes(x->request.arena, size);
    if (bytes == NULL)
        return SPAN_NONE;
    struct http_writer w = http_writer_of(bytes, size);
    write(&w, x);
    return w.overflow ? SPAN_NONE : http_written(&w, bytes);
}

struct span forward_request_head(struct exchange *x)
{
    const struct weir_request *request = &x->request;
    size_t size = 1024 + fields_size(&request->head.headers) + request->upstream_path.size +
                  request->head.target.size + 2 * x->facts.host.size + x->match.matched_path.size +
                  request->host_override.size + x->pick.host_name.size + request->head.method.size +
                  request->method_override.size;
    if (x->pick.upstream != NULL)
        size += x->pick.upstream->host_header.size;
    return write_head(x, size, write_request);
}

struct span forward_response_head(struct exchange *x)
{
    size_t size = 1536 + fields_size(&x->request.response.headers) +
                  x->request.response.reason.size + x->affinity_cookie.size +
                  timing_text(&x->request).size;
    return write_head(x, size, write_response);
}

struct span forward_interim_head(struct exchange *x)
{
    struct http_response_head *response = &x->request.response;
    http_headers_mark_hop(&response->headers);
    return write_head(x, 64 + fields_size(&response->headers) + response->reason.size,
                      write_interim);
}
