/* What a test says of a request before it runs, and what it asks of it afterwards. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/text.h"
#include "http/uri.h"
#include "kit_internal.h"
#include "plugin_host/log_document.h"
#include "plugin_host/template.h"

enum { KIT_PORT = 8000, KIT_TLS_PORT = 8443 };

const char *kit_text(kit_request *r, struct span s)
{
    if (!span_is_set(s))
        return NULL;
    struct span copy = arena_copy(r->arena, s);
    if (!span_is_set(copy))
        kit_die("no memory");
    return copy.data;
}

static struct span keep(kit_request *r, const void *data, size_t size)
{
    struct span copy = arena_copy(r->arena, span_of(size == 0 ? "" : data, size));
    if (!span_is_set(copy))
        kit_die("no memory");
    return copy;
}

static struct span keep_text(kit_request *r, const char *text)
{
    return text == NULL ? SPAN_NONE : keep(r, text, strlen(text));
}

/* Building is over once it runs. */
static void check_new(const kit_request *r)
{
    CHECK(r, KIT_REQUEST);
    if (r->stage != STAGE_NEW)
        kit_die("a request is described before kit_run(), not after");
}

/* ---- the request */

static void add_header(kit_request *r, struct http_headers *headers, const char *name,
                       const char *value)
{
    if (http_headers_add(headers, HTTP_HEADER_UNKNOWN, keep_text(r, name), keep_text(r, value)) !=
        WEIR_OK)
        kit_die("no such header: '%s: %s'", name, value);
}

static void set_header(kit_request *r, struct http_headers *headers, enum http_header_id id,
                       const char *name, const char *value)
{
    if (http_headers_set(headers, id, keep_text(r, name), keep_text(r, value)) != WEIR_OK)
        kit_die("no such header: '%s: %s'", name, value);
}

static void set_length(kit_request *r, struct http_headers *headers, size_t size)
{
    if (r->plans[headers == &r->target_headers ? TO_CLIENT : TO_TARGET].no_length)
        return;
    char digits[TEXT_U64_MAX + 1];
    digits[text_from_u64(digits, size)] = '\0';
    set_header(r, headers, HTTP_HEADER_CONTENT_LENGTH, "Content-Length", digits);
}

static void set_target(kit_request *r, const char *method, const char *target)
{
    struct http_request_head *head = &r->request.head;
    head->method = keep_text(r, method);
    head->method_id = (uint8_t)http_method_of(head->method);
    head->minor_version = 1;
    head->target = keep_text(r, target);
    size_t mark = span_find(head->target, '?');
    head->path = span_first(head->target, mark);
    if (mark < head->target.size)
        head->query = span_from(head->target, mark + 1);
    r->request.query = head->query;
    if (http_path_normalize(r->arena, head->path, &r->request.path) != WEIR_OK)
        kit_die("a path the gateway would refuse: %s", target);
}

static void set_id(kit_request *r)
{
    static uint64_t count;
    char id[33];
    (void)snprintf(id, sizeof(id), "%016llx%016llx", 0x5eed5eed5eed5eedULL,
                   (unsigned long long)++count);
    memcpy(r->request.id, id, sizeof(r->request.id));
}

kit_request *kit_request_new(struct kit *kit, const char *method, const char *target)
{
    CHECK(kit, KIT);
    static uint64_t count;
    kit_request *r = kit_need(calloc(1, sizeof(*r)));
    r->magic = KIT_REQUEST_MAGIC;
    r->number = ++count;
    r->kit = kit;
    list_init(&r->pieces);
    r->generation = kit->generation;
    r->generation->pins++;
    r->arena = kit_need(arena_create(NULL));
    list_push_back(&kit->requests, &r->link);

    struct weir_request *request = &r->request;
    request_begin(request, kit->host, &kit_request_ops, r->arena, r->generation->policies);
    http_headers_init(&request->head.headers, r->request_items, KIT_HEADERS);
    http_headers_init(&request->response.headers, r->response_items, KIT_HEADERS);
    http_headers_init(&r->target_headers, r->target_items, KIT_HEADERS);
    set_target(r, method, target);
    set_id(r);
    request->client_ip = request->peer_ip = SPAN("127.0.0.1");
    request->scheme = SPAN("http");
    request->port = KIT_PORT;
    add_header(r, &request->head.headers, "Host", "gw.test");
    if (r->generation->config->route_count > 0)
        r->route = r->generation->config->routes[0];
    r->body_limit = BODY_WHOLE_MAX;
    kit_target_header(r, "Content-Type", "text/plain");
    kit_target_response(r, 200, "hello");
    return r;
}

void kit_request_free(kit_request *r)
{
    if (r == NULL)
        return;
    CHECK(r, KIT_REQUEST);
    exchange_end(r);
    kit_memory_open(r);
    kit_generation_unpin(r->kit, r->generation);
    list_remove(&r->link);
    for (int i = 0; i < DIRECTIONS; i++)
        buf_free(&r->walks[i].out);
    buf_free(&r->sent);
    buf_free(&r->trace);
    arena_destroy(r->arena);
    r->magic = 0;
    free(r);
}

void kit_request_header(kit_request *r, const char *name, const char *value)
{
    check_new(r);
    struct http_headers *headers = &r->request.head.headers;
    if (http_header_id_of(span_text(name)) == HTTP_HEADER_HOST)
        set_header(r, headers, HTTP_HEADER_HOST, name, value);
    else
        add_header(r, headers, name, value);
}

void kit_request_body_bytes(kit_request *r, const void *data, size_t size)
{
    check_new(r);
    r->body = keep(r, data, size);
    r->has_body = true;
    set_length(r, &r->request.head.headers, size);
}

void kit_request_body(kit_request *r, const char *text)
{
    kit_request_body_bytes(r, text, strlen(text));
}

void kit_request_route(kit_request *r, const char *name_or_id)
{
    check_new(r);
    const struct route *route =
        name_or_id == NULL ? NULL : config_route(r->generation->config, span_text(name_or_id));
    if (name_or_id != NULL && route == NULL)
        kit_die("the configuration has no route '%s'", name_or_id);
    r->route = route;
}

void kit_request_capture(kit_request *r, const char *name, const char *value)
{
    check_new(r);
    struct weir_request *request = &r->request;
    if (request->capture_count == 0) /* the whole match has no name */
        r->captures[request->capture_count++] = request->path;
    if (request->capture_count > KIT_CAPTURES)
        kit_die("more than %d captures", KIT_CAPTURES);
    r->capture_names[request->capture_count] = keep_text(r, name);
    r->captures[request->capture_count++] = keep_text(r, value);
    request->capture_names = r->capture_names;
    request->captures = r->captures;
}

void kit_request_client_ip(kit_request *r, const char *ip)
{
    check_new(r);
    r->request.client_ip = keep_text(r, ip);
}

void kit_request_peer_ip(kit_request *r, const char *ip)
{
    check_new(r);
    r->request.peer_ip = keep_text(r, ip);
}

void kit_request_tls(kit_request *r)
{
    check_new(r);
    r->request.tls = true;
    r->request.scheme = SPAN("https");
    r->request.port = KIT_TLS_PORT;
}

void kit_request_id(kit_request *r, const char *hex32)
{
    check_new(r);
    if (strlen(hex32) != sizeof(r->request.id))
        kit_die("an id has 32 hex digits: '%s'", hex32);
    memcpy(r->request.id, hex32, sizeof(r->request.id));
}

void kit_request_shared(kit_request *r, const char *name, const char *value)
{
    check_new(r);
    if (shared_value_set(&r->request, span_text(name), keep_text(r, value)) != WEIR_OK)
        kit_die("no such shared value: '%s'", name);
}

void kit_hold_body(kit_request *r)
{
    check_new(r);
    r->hold_body = true;
}

void kit_body_limit(kit_request *r, size_t size)
{
    check_new(r);
    r->body_limit = size;
}

/* ---- the target */

void kit_target_response_bytes(kit_request *r, int status, const void *data, size_t size)
{
    check_new(r);
    if (status < 200 || status > 999)
        kit_die("no status of a response: %d", status);
    r->target_status = (uint16_t)status;
    r->target_body = keep(r, data, size);
    set_length(r, &r->target_headers, size);
}

void kit_target_response(kit_request *r, int status, const char *body)
{
    kit_target_response_bytes(r, status, body, strlen(body));
}

void kit_target_header(kit_request *r, const char *name, const char *value)
{
    check_new(r);
    enum http_header_id id = http_header_id_of(span_text(name));
    if (id != HTTP_HEADER_CONTENT_TYPE)
        add_header(r, &r->target_headers, name, value);
    else if (*value != '\0')
        set_header(r, &r->target_headers, id, name, value);
    else
        (void)http_headers_remove(&r->target_headers, id, SPAN_NONE);
}

void kit_target_fails(kit_request *r, int status)
{
    check_new(r);
    if (status < 502 || status > 504)
        kit_die("the gateway answers for a target with 502, 503 or 504, not with %d", status);
    r->target_failure = status;
}

void kit_target_takes(kit_request *r, int64_t ms)
{
    check_new(r);
    r->target_ms = ms;
}

void kit_target_hold(kit_request *r)
{
    check_new(r);
    r->hold_target = true;
}

/* ---- running */

int kit_run(kit_request *r)
{
    check_new(r);
    exchange_begin(r);
    kit_settle(r->kit);
    return kit_status(r);
}

bool kit_is_waiting(const kit_request *r)
{
    CHECK(r, KIT_REQUEST);
    return r->waiting;
}

int kit_finish(kit_request *r)
{
    CHECK(r, KIT_REQUEST);
    kit_turn(r->kit);
    return kit_status(r);
}

void kit_body_arrives(kit_request *r)
{
    CHECK(r, KIT_REQUEST);
    r->hold_body = false;
    kit_settle(r->kit);
}

void kit_target_answers(kit_request *r)
{
    CHECK(r, KIT_REQUEST);
    r->hold_target = false;
    if (r->stage == STAGE_TARGET && r->paused)
        exchange_go_on(r);
    kit_settle(r->kit);
}

bool kit_is_over(const kit_request *r)
{
    CHECK(r, KIT_REQUEST);
    return r->stage == STAGE_OVER;
}

bool kit_was_cut_off(const kit_request *r)
{
    CHECK(r, KIT_REQUEST);
    return r->aborted;
}

void kit_abort(kit_request *r)
{
    CHECK(r, KIT_REQUEST);
    exchange_end(r);
}

/* ---- the answer */

int kit_status(const kit_request *r)
{
    CHECK(r, KIT_REQUEST);
    return r->answered ? r->request.response.status : 0;
}

static const char *header_text(kit_request *r, const struct http_headers *headers, const char *name,
                               size_t nth)
{
    const struct http_header *item = http_headers_find(headers, span_text(name), nth);
    if (item == NULL)
        return NULL;
    return kit_text(r, item->value.size == 0 ? SPAN("") : item->value);
}

static size_t header_count(const struct http_headers *headers, const char *name)
{
    size_t count = 0;
    while (http_headers_find(headers, span_text(name), count) != NULL)
        count++;
    return count;
}

const char *kit_response_header_nth(kit_request *r, const char *name, size_t nth)
{
    CHECK(r, KIT_REQUEST);
    return r->answered ? header_text(r, &r->request.response.headers, name, nth) : NULL;
}

const char *kit_response_header(kit_request *r, const char *name)
{
    return kit_response_header_nth(r, name, 0);
}

size_t kit_response_header_count(kit_request *r, const char *name)
{
    CHECK(r, KIT_REQUEST);
    return r->answered ? header_count(&r->request.response.headers, name) : 0;
}

const char *kit_response_body(kit_request *r)
{
    CHECK(r, KIT_REQUEST);
    if (!r->answered)
        return NULL;
    return kit_text(r, r->sent.size == 0 ? SPAN("") : buf_view(&r->sent));
}

size_t kit_response_body_size(const kit_request *r)
{
    CHECK(r, KIT_REQUEST);
    return r->answered ? r->sent.size : 0;
}

/* ---- what the target was sent */

bool kit_was_proxied(const kit_request *r)
{
    CHECK(r, KIT_REQUEST);
    return r->proxied;
}

static struct span first_set(struct span a, struct span b)
{
    return span_is_set(a) ? a : b;
}

const char *kit_upstream_method(kit_request *r)
{
    CHECK(r, KIT_REQUEST);
    return kit_text(r, first_set(r->request.method_override, r->request.head.method));
}

const char *kit_upstream_path(kit_request *r)
{
    CHECK(r, KIT_REQUEST);
    return kit_text(r, first_set(r->request.path_override, r->request.path));
}

const char *kit_upstream_query(kit_request *r)
{
    CHECK(r, KIT_REQUEST);
    return kit_text(r, r->request.query);
}

const char *kit_upstream_header_nth(kit_request *r, const char *name, size_t nth)
{
    CHECK(r, KIT_REQUEST);
    return header_text(r, &r->request.head.headers, name, nth);
}

const char *kit_upstream_header(kit_request *r, const char *name)
{
    return kit_upstream_header_nth(r, name, 0);
}

size_t kit_upstream_header_count(kit_request *r, const char *name)
{
    CHECK(r, KIT_REQUEST);
    return header_count(&r->request.head.headers, name);
}

const char *kit_upstream_body(kit_request *r)
{
    CHECK(r, KIT_REQUEST);
    return r->has_body && r->upstream_body.size == 0 ? "" : kit_text(r, r->upstream_body);
}

size_t kit_upstream_body_size(const kit_request *r)
{
    CHECK(r, KIT_REQUEST);
    return r->upstream_body.size;
}

const char *kit_upstream_host(kit_request *r)
{
    CHECK(r, KIT_REQUEST);
    return kit_text(r, r->request.host_override);
}

const char *kit_upstream_target(kit_request *r)
{
    CHECK(r, KIT_REQUEST);
    if (!span_is_set(r->request.target_host))
        return NULL;
    struct span text = arena_printf(r->arena, "%.*s:%u", SPAN_ARG(r->request.target_host),
                                    (unsigned)r->request.target_port);
    return kit_need((void *)(uintptr_t)text.data);
}

/* ---- facts */

const char *kit_consumer(kit_request *r)
{
    CHECK(r, KIT_REQUEST);
    const struct consumer *consumer = r->request.consumer;
    if (consumer == NULL)
        return NULL;
    return kit_text(r, first_set(consumer->username, first_set(consumer->custom_id, consumer->id)));
}

bool kit_is_authenticated(const kit_request *r)
{
    CHECK(r, KIT_REQUEST);
    return r->request.authenticated;
}

const char *kit_credential(kit_request *r)
{
    CHECK(r, KIT_REQUEST);
    return r->request.credential == NULL ? NULL : kit_text(r, r->request.credential->id);
}

const char *kit_shared(kit_request *r, const char *name)
{
    CHECK(r, KIT_REQUEST);
    return kit_text(r, shared_value_get(&r->request, span_text(name)));
}

const char *kit_log_document(kit_request *r)
{
    CHECK(r, KIT_REQUEST);
    return kit_text(r, log_document(&r->request));
}

const char *kit_id(kit_request *r)
{
    CHECK(r, KIT_REQUEST);
    return kit_text(r, span_of(r->request.id, sizeof(r->request.id)));
}
