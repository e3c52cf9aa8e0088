/* From the first byte of a request to the decision where it goes. */
#include "base/random.h"
#include "base/text.h"
#include "gateway/overload.h"
#include "http/uri.h"
#include "plugin_host/recorder.h"
#include "plugin_host/timing.h"
#include "route/path.h"

/* ---- read head */

static void make_id(struct weir_request *request)
{
    text_hex64(request->id, random_u64());
    text_hex64(request->id + 16, random_u64());
}

void exchange_introduce(struct exchange *x)
{
    struct weir_request *request = &x->request;
    struct client *client = x->client;
    client->requests++;
    x->gateway->slot->requests++;
    request->started_us = clock_mono_us();
    request->started_wall_ms = clock_wall_ms();
    request->tls = client->tls;
    request->scheme = client->tls ? SPAN("https") : SPAN("http");
    request->port = client->port;
    request->connection_number = client->number;
    request->connection_requests = client->requests;
    if (client->tls)
        conn_tls_facts(client->conn, &request->tls_version, &request->tls_cipher);
    make_id(request);
    if (UNLIKELY(x->generation->settings.server_timing))
        timing_begin(request);
    forward_learn(x);
}

static struct http_limits limits_of(const struct settings *settings)
{
    int64_t bytes = settings->max_head_bytes, count = settings->max_header_count;
    return (struct http_limits){
        .head_bytes = bytes <= 0 || bytes > IO_BUFFER - 4096 ? IO_BUFFER - 4096 : (uint32_t)bytes,
        .uri_bytes = settings->max_uri_bytes <= 0 ? 8192 : (uint32_t)settings->max_uri_bytes,
        .header_count = count <= 0 || count > 100 ? 100 : (uint16_t)count,
    };
}

static enum step refuse(struct exchange *x, enum weir_err err, const char *reason)
{
    request_log(&x->request, LOG_INFO, "request refused: %s", reason);
    x->gateway->slot->protocol_errors++;
    x->close_client = true;
    x->up.buffer = x->in;
    x->up.at = x->up.size = x->in_size; /* nothing behind it can be told apart */
    return step_fail(x, err, true);
}

enum step step_read_head(struct exchange *x)
{
    struct http_limits limits = limits_of(&x->generation->settings);
    for (;;) {
        if (x->in_size > x->seen) {
            enum weir_err err = WEIR_ERR_BAD_REQUEST;
            const char *reason = "";
            size_t head_size = 0;
            enum http_result result = http_parse_request(
                x->in, x->in_size, x->seen, &limits, &x->request.head, &head_size, &err, &reason);
            if (result == HTTP_COMPLETE) {
                x->head_size = (uint32_t)head_size;
                return STEP_NEXT;
            }
            if (result == HTTP_REFUSED) {
                x->head_size = x->in_size;
                exchange_introduce(x);
                return refuse(x, err, reason);
            }
            x->seen = x->in_size;
        }
        if (x->head_drained) {
            x->head_drained = false;
            return STEP_WAIT;
        }
        size_t room = IO_BUFFER - x->in_size;
        ssize_t got = conn_read(x->client->conn, x->in + x->in_size, room);
        if (got == CONN_AGAIN)
            return STEP_WAIT;
        if (got <= 0)
            return STEP_CUT;
        x->in_size += (uint32_t)got;
        x->head_drained = (size_t)got < room;
    }
}

/* ---- check: what can be said of the request before any policy sees it */

/* Asked of this server, or of whoever is the last that may be asked: there is nothing to say. */
static enum step answer_options(struct exchange *x)
{
    x->request.reply = (struct reply){.status = 200, .body = SPAN("")};
    return STEP_REPLY;
}

/* How many proxies the request may still pass (RFC 9110 7.6.2). */
static enum step count_forwards(struct exchange *x)
{
    struct weir_request *request = &x->request;
    struct http_headers *headers = &request->head.headers;
    const struct http_header *field = http_headers_first(headers, HTTP_HEADER_MAX_FORWARDS);
    uint64_t left;
    if (LIKELY(field == NULL))
        return STEP_NEXT;
    if (http_headers_count(headers, HTTP_HEADER_MAX_FORWARDS, SPAN_NONE) > 1 ||
        !text_to_u64(field->value, &left))
        return refuse(x, WEIR_ERR_BAD_REQUEST, "Max-Forwards is not a number");
    if (left == 0)
        return answer_options(x);
    char *digits = arena_bytes(request->arena, TEXT_U64_MAX);
    if (digits == NULL)
        return step_fail(x, WEIR_ERR_NO_MEMORY, false);
    struct span value = span_of(digits, text_from_u64(digits, left - 1));
    enum weir_err err = http_headers_set(headers, HTTP_HEADER_MAX_FORWARDS, field->name, value);
    return err == WEIR_OK ? STEP_NEXT : step_fail(x, err, false);
}

static enum step refuse_method(struct exchange *x)
{
    /* RFC 9110 15.5.6: what this server lets pass; a route may let pass less. */
    static const struct span allowed = SPAN("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    enum weir_err err =
        http_headers_set(&x->request.response.headers, HTTP_HEADER_ALLOW, SPAN("Allow"), allowed);
    return step_fail(x, err == WEIR_OK ? WEIR_ERR_METHOD_REFUSED : err, true);
}

static enum step check_method(struct exchange *x)
{
    const struct http_request_head *head = &x->request.head;
    if (head->method_id == HTTP_METHOD_TRACE)
        return refuse_method(x);
    if (UNLIKELY(head->method_id == HTTP_METHOD_CONNECT)) {
        if (x->framing.kind != HTTP_BODY_NONE)
            return refuse(x, WEIR_ERR_BAD_REQUEST, "a body of CONNECT (RFC 9110 9.3.6)");
        x->close_client = true; /* what follows may be meant for a tunnel that is not there */
        return STEP_NEXT;
    }
    if (LIKELY(head->method_id != HTTP_METHOD_OPTIONS))
        return STEP_NEXT;
    return span_equal(head->path, SPAN("*")) ? answer_options(x) : count_forwards(x);
}

/* Known before the answer begins, so that it can say so. */
static bool is_last_of_client(const struct exchange *x)
{
    const struct settings *settings = &x->generation->settings;
    int64_t most = settings->keepalive_requests;
    return settings->keepalive_timeout_ms <= 0 ||
           (most > 0 && x->client->requests >= (uint64_t)most);
}

/* RFC 9110 10.1.1: not of HTTP/1.0, which does not know it. */
static bool expects_continue(const struct exchange *x)
{
    const struct http_headers *headers = &x->request.head.headers;
    if (LIKELY(http_headers_first(headers, HTTP_HEADER_EXPECT) == NULL))
        return false;
    return x->request.head.minor_version > 0 &&
           http_headers_list_has(headers, HTTP_HEADER_EXPECT, SPAN("100-continue"));
}

static enum step check_body(struct exchange *x)
{
    const char *reason = "";
    int64_t most = x->generation->settings.client_max_body_size;
    enum weir_err err = http_frame_request(&x->request.head, &x->framing, &reason);
    if (err != WEIR_OK)
        return refuse(x, err, reason);
    x->up.buffer = x->in;
    x->up.base = x->up.at = x->head_size;
    x->up.size = x->in_size;
    x->up.capacity = IO_BUFFER;
    relay_begin(&x->up, &x->framing, most > 0 ? (uint64_t)most : 0);
    x->close_client = !x->framing.keep_alive || is_last_of_client(x);
    if (most > 0 && x->framing.kind == HTTP_BODY_LENGTH && x->framing.length > (uint64_t)most) {
        x->close_client = true;
        return step_fail(x, WEIR_ERR_BODY_TOO_LARGE, true);
    }
    http_headers_mark_hop(&x->request.head.headers);
    x->continue_expected = x->framing.kind != HTTP_BODY_NONE && expects_continue(x);
    return STEP_NEXT;
}

static enum step check_path(struct exchange *x)
{
    struct weir_request *request = &x->request;
    if (UNLIKELY(request->head.method_id ==
                 HTTP_METHOD_CONNECT)) /* routes have paths, it has none */
        request->head.path = SPAN("/");
    struct span raw = request->head.path;
    request->query = request->head.query;
    if (http_path_is_normal(raw)) {
        request->path = raw;
        return STEP_NEXT;
    }
    enum weir_err err = http_path_normalize(request->arena, raw, &request->path);
    return err == WEIR_OK ? STEP_NEXT : refuse(x, err, "the path cannot be normalised");
}

enum step step_check(struct exchange *x)
{
    exchange_introduce(x);
    static enum step (*const checks[])(struct exchange * x) = {check_body, check_method,
                                                               check_path};
    for (size_t i = 0; i < COUNT_OF(checks); i++) {
        enum step step = checks[i](x);
        if (step != STEP_NEXT)
            return step;
    }
    if (UNLIKELY(x->request.recording != NULL))
        recorder_request(&x->request);
    return STEP_NEXT;
}

/* ---- rewrite, route */

enum step step_rewrite(struct exchange *x)
{
    if (policies_global(x->request.policies)->phases[PHASE_REWRITE].count == 0)
        return STEP_NEXT;
    if (!x->has_resumed && request_enter_global(&x->request) != WEIR_OK)
        return step_fail(x, WEIR_ERR_NO_MEMORY, false);
    return step_phase(x, PHASE_REWRITE);
}

static bool is_https_only(const struct route *route)
{
    return (route->protocols & PROTOCOL_BIT(PROTOCOL_HTTPS)) != 0 &&
           (route->protocols & PROTOCOL_BIT(PROTOCOL_HTTP)) == 0;
}

/* The page an engine answers redirects with. */
static struct span redirect_page(struct exchange *x, unsigned status)
{
    struct span reason = http_reason(status);
    return arena_printf(x->request.arena,
                        "<html>\r\n<head><title>%u %.*s</title></head>\r\n<body>\r\n<center><h1>%u "
                        "%.*s</h1></center>\r\n</body>\r\n</html>\r\n",
                        status, SPAN_ARG(reason), status, SPAN_ARG(reason));
}

static enum step to_https(struct exchange *x)
{
    struct weir_request *request = &x->request;
    bool is_connect =
        request->head.method_id == HTTP_METHOD_CONNECT; /* it goes to no other place */
    unsigned status = is_connect ? 426 : (unsigned)request->route->https_redirect_status_code;
    struct http_headers *headers = &request->response.headers;
    enum weir_err err;
    if (status == 426) {
        err = http_headers_add(headers, HTTP_HEADER_UPGRADE, SPAN("Upgrade"),
                               SPAN("TLS/1.2, HTTP/1.1"));
        /* Ours, and to be sent: a policy's hop-by-hop field never is. */
        headers->items[headers->count - 1].flags = HTTP_HEADER_KEPT;
        if (err == WEIR_OK)
            err = http_headers_add(headers, HTTP_HEADER_CONNECTION, SPAN("Connection"),
                                   SPAN("Upgrade"));
        headers->items[headers->count - 1].flags = HTTP_HEADER_KEPT;
        return step_fail(x, err == WEIR_OK ? WEIR_ERR_HTTPS_ONLY : err, false);
    }
    struct span where = arena_printf(request->arena, "https://%.*s%.*s", SPAN_ARG(x->facts.host),
                                     SPAN_ARG(request->head.target));
    request->reply = (struct reply){.status = (uint16_t)status,
                                    .content_type = status >= 307 ? SPAN("text/html; charset=UTF-8")
                                                                  : SPAN("text/html"),
                                    .body = redirect_page(x, status)};
    err = http_headers_set(headers, HTTP_HEADER_LOCATION, SPAN("Location"), where);
    return err == WEIR_OK ? STEP_REPLY : step_fail(x, WEIR_ERR_BAD_REQUEST, true);
}

static void keep_captures(struct exchange *x)
{
    struct weir_request *request = &x->request;
    request->capture_count = x->match.capture_count;
    request->captures = x->match.captures;
    request->capture_names = x->match.names == NULL ? NULL : x->match.names->names;
}

/* RFC 9112 3.2: they are one and the same; who reads the other one must not be told otherwise. */
static bool names_two_hosts(const struct http_request_head *head)
{
    const struct http_header *host = http_headers_first(&head->headers, HTTP_HEADER_HOST);
    return host != NULL && !span_equal_nocase(host->value, head->authority);
}

enum step step_route(struct exchange *x)
{
    struct weir_request *request = &x->request;
    bool is_connect = request->head.method_id == HTTP_METHOD_CONNECT;
    struct route_query query = {
        .method = request->head.method,
        .host = is_connect ? request->head.authority
                           : http_headers_get(&request->head.headers, HTTP_HEADER_HOST),
        .port = request->port,
        .path = request->path,
        .headers = &request->head.headers,
        .sni = request->tls ? conn_sni(x->client->conn) : SPAN_NONE,
        .tls = request->tls,
        .method_named = is_connect, /* a tunnel is nothing that a route gets unasked */
    };
    if (!router_match(x->generation->router, &query, &x->match))
        return is_connect ? refuse_method(x) : step_fail(x, WEIR_ERR_NO_ROUTE, false);
    if (UNLIKELY(is_connect) && names_two_hosts(&request->head))
        return refuse(x, WEIR_ERR_BAD_REQUEST, "Host is not the target of CONNECT");
    request->route = x->match.route;
    request->service = x->match.service;
    keep_captures(x);
    if (request_enter_route(request) != WEIR_OK)
        return step_fail(x, WEIR_ERR_NO_MEMORY, false);
    if (is_https_only(request->route) && !span_equal(x->facts.proto, SPAN("https")))
        return to_https(x);
    return STEP_NEXT;
}

/* ---- access */

/* A client that asked to be told may send its body now. */
void say_continue(struct exchange *x)
{
    if (x->continue_expected && x->up.at == x->up.size && x->request.head.minor_version > 0)
        (void)conn_write(x->client->conn, SPAN("HTTP/1.1 100 Continue\r\n\r\n"));
    x->continue_expected = false;
}

static enum step body_is_here(struct exchange *x, enum weir_err err)
{
    x->collecting = false;
    if (err == WEIR_OK) {
        x->from_memory = true;
        x->body_end = x->up.at;
        request_body_ready(&x->request, WEIR_OK, span_of(x->collected.data, x->collected.size));
    } else {
        x->close_client = true;
        err = err == WEIR_ERR_LIMIT ? WEIR_ERR_BODY_TOO_LARGE : err;
        request_body_ready(&x->request, err, SPAN_NONE);
    }
    if (!x->has_resumed)
        return STEP_WAIT;
    return err == WEIR_OK ? step_phase(x, PHASE_ACCESS) : step_fail(x, err, true);
}

/* A policy wants the body whole: read on, then the policy is woken from the loop. */
static enum step collect(struct exchange *x)
{
    say_continue(x);
    if (x->up.paused) { /* the buffer was full while another policy waited */
        x->up.paused = false;
        conn_resume_reading(x->client->conn);
    }
    for (;;) {
        enum weir_err err = relay_collect(&x->up, &x->collected);
        if (err != WEIR_ERR_AGAIN)
            return body_is_here(x, err);
        if (UNLIKELY(!overload_recount(x))) {
            overload_refuse(x, OVERLOAD_MEMORY);
            return body_is_here(x, WEIR_ERR_OVERLOADED);
        }
        x->up.at = x->up.size = x->up.base;
        ssize_t got = conn_read(x->client->conn, x->in + x->up.size, IO_BUFFER - x->up.size);
        if (got == CONN_AGAIN)
            return STEP_WAIT;
        if (got <= 0)
            return STEP_CUT;
        x->up.size += (uint32_t)got;
        x->in_size = x->up.size;
    }
}

enum step step_access(struct exchange *x)
{
    /* Who asked for the body may have given up and gone on: the target still needs the rest of it.
     */
    bool goes_on = !x->has_resumed || x->resumed == PHASE_NEXT;
    if (x->collecting && goes_on)
        return collect(x);
    enum step step = step_phase(x, PHASE_ACCESS);
    return step == STEP_WAIT && x->collecting ? collect(x) : step;
}

/* ---- prepare: what the target will be asked */

static enum weir_err upstream_path(struct exchange *x, struct span *out_path)
{
    struct weir_request *request = &x->request;
    const struct route *route = request->route;
    if (span_is_set(request->path_override)) {
        *out_path = request->path_override;
    } else {
        TRY(route_upstream_path(request->arena, request->service->path, x->match.matched_path,
                                route->strip_path,
                                route->path_handling_v1 ? PATH_HANDLING_V1 : PATH_HANDLING_V0,
                                request->path, out_path));
    }
    *out_path = http_path_escape(request->arena, *out_path);
    return span_is_set(*out_path) ? WEIR_OK : WEIR_ERR_NO_MEMORY;
}

static enum weir_err target_of(struct exchange *x)
{
    struct weir_request *request = &x->request;
    struct span path, query = request->query;
    if (UNLIKELY(request->head.method_id == HTTP_METHOD_CONNECT)) {
        request->upstream_path = request->head.authority; /* RFC 9112 3.2.3 */
        return WEIR_OK;
    }
    TRY(upstream_path(x, &path));
    if (!span_is_set(query)) {
        request->upstream_path = path;
        return WEIR_OK;
    }
    char *whole = arena_bytes(request->arena, path.size + 1 + query.size);
    if (whole == NULL)
        return WEIR_ERR_NO_MEMORY;
    memcpy(whole, path.data, path.size);
    whole[path.size] = '?';
    if (query.size > 0)
        memcpy(whole + path.size + 1, query.data, query.size);
    request->upstream_path = span_of(whole, path.size + 1 + query.size);
    return WEIR_OK;
}

/* A chunked body that is here already goes on with its length, which every target understands. */
static void measure_chunked(struct exchange *x)
{
    struct relay before = x->up;
    enum weir_err err = relay_collect(&x->up, &x->collected);
    if (err == WEIR_OK) {
        x->request.bodies[TO_TARGET].bytes = span_of(x->collected.data, x->collected.size);
        x->from_memory = true;
        x->body_end = x->up.at;
    } else {
        x->up = before;
        x->collected.size = 0;
    }
}

enum step step_prepare(struct exchange *x)
{
    if (x->request.service == NULL)
        return step_fail(x, WEIR_ERR_NO_SERVICE, false);
    if (target_of(x) != WEIR_OK)
        return step_fail(x, WEIR_ERR_NO_MEMORY, false);
    if (http_headers_first(&x->request.head.headers, HTTP_HEADER_UPGRADE) != NULL &&
        tunnel_offer(x) != WEIR_OK)
        return step_fail(x, WEIR_ERR_NO_MEMORY, false);
    if (x->framing.kind == HTTP_BODY_CHUNKED && !x->from_memory && !forward_trailers(x, TO_TARGET))
        measure_chunked(x);
    return STEP_NEXT;
}
