/* The members of the log document, as Kong names, types and omits them (tools that read Kong's logs
 * rely on it). How they are written, and policies' changes: log_writer.c. */
#include "plugin_host/log_document.h"

#include <inttypes.h>

#include "base/text.h"
#include "http/uri.h"
#include "plugin_host/log_writer.h"

/* Of the one workspace there is; readers of Kong's logs know this id. */
#define WORKSPACE_ID SPAN("0dc6f45b-8f8d-40d2-a504-473544ee190b")

enum {
    QUERY_ARGS_MAX = 100,       /* later ones are not logged, as in Kong */
    LINE_BYTES_USUAL = 4096,    /* reserved at once: most lines need no second allocation */
    STATUS_CLIENT_CLOSED = 499, /* nothing was answered, since nobody was there to read it */
};

typedef void write_fields(struct log_writer *writer, const void *source);

static void write_object(struct log_writer *writer, struct span name, write_fields *write,
                         const void *source)
{
    struct log_place place;
    if (source == NULL || !log_member_begin(writer, name, &place))
        return;
    log_object_begin(writer);
    write(writer, source);
    log_object_end(writer);
    log_member_end(writer, &place);
}

static void write_id(struct log_writer *writer, const void *id)
{
    log_text(writer, SPAN("id"), *(const struct span *)id);
}

/* Nothing when the list is empty. */
static void write_list(struct log_writer *writer, struct span name, const struct span_list *list)
{
    struct log_place place;
    if (list->count == 0 || !log_member_begin(writer, name, &place))
        return;
    for (size_t i = 0; i < list->count; i++) {
        buf_byte(writer->out, i == 0 ? '[' : ',');
        buf_json(writer->out, list->items[i]);
    }
    buf_byte(writer->out, ']');
    log_member_end(writer, &place);
}

/* ---- entities */

static void write_route_headers(struct log_writer *writer, const void *source)
{
    const struct route *route = source;
    for (size_t i = 0; i < route->header_count; i++)
        write_list(writer, route->headers[i].name, &route->headers[i].values);
}

/* In the file's order; the defaults are not in the file. */
static void write_protocols(struct log_writer *writer, const struct route *route)
{
    struct span names[PROTOCOL_TLS_PASSTHROUGH + 1];
    struct span_list list = {names, 0};
    for (unsigned i = 0; i < COUNT_OF(names); i++)
        if ((route->protocols & PROTOCOL_BIT(i)) != 0)
            names[list.count++] = protocol_name((enum protocol)i);
    write_list(writer, SPAN("protocols"),
               route->protocols_text.count > 0 ? &route->protocols_text : &list);
}

static void write_route(struct log_writer *writer, const void *source)
{
    const struct route *route = source;
    log_text(writer, SPAN("id"), route->id);
    log_text(writer, SPAN("name"), route->name);
    log_text(writer, SPAN("ws_id"), WORKSPACE_ID);
    write_protocols(writer, route);
    if (span_is_set(route->expression)) {
        log_text(writer, SPAN("expression"), route->expression);
        log_number(writer, SPAN("priority"), route->priority);
    } else {
        write_list(writer, SPAN("methods"), &route->methods);
        write_list(writer, SPAN("hosts"), &route->hosts);
        write_list(writer, SPAN("paths"), &route->paths);
        write_list(writer, SPAN("snis"), &route->snis);
        if (route->header_count > 0)
            write_object(writer, SPAN("headers"), write_route_headers, route);
        log_number(writer, SPAN("regex_priority"), route->regex_priority);
        log_text(writer, SPAN("path_handling"), route->path_handling_text);
    }
    log_number(writer, SPAN("https_redirect_status_code"), route->https_redirect_status_code);
    log_boolean(writer, SPAN("strip_path"), route->strip_path);
    log_boolean(writer, SPAN("preserve_host"), route->preserve_host);
    log_boolean(writer, SPAN("request_buffering"), route->request_buffering);
    log_boolean(writer, SPAN("response_buffering"), route->response_buffering);
    write_list(writer, SPAN("tags"), &route->tags);
    if (route->service != NULL)
        write_object(writer, SPAN("service"), write_id, &route->service->id);
    log_number(writer, SPAN("created_at"), route->created_at);
    log_number(writer, SPAN("updated_at"), route->updated_at);
}

static void write_service(struct log_writer *writer, const void *source)
{
    const struct service *service = source;
    log_text(writer, SPAN("id"), service->id);
    log_text(writer, SPAN("name"), service->name);
    log_text(writer, SPAN("ws_id"), WORKSPACE_ID);
    log_text(writer, SPAN("protocol"), protocol_name(service->protocol));
    log_text(writer, SPAN("host"), service->host);
    log_number(writer, SPAN("port"), service->port);
    log_text(writer, SPAN("path"), service->path);
    log_number(writer, SPAN("retries"), service->retries);
    log_number(writer, SPAN("connect_timeout"), service->connect_timeout_ms);
    log_number(writer, SPAN("write_timeout"), service->write_timeout_ms);
    log_number(writer, SPAN("read_timeout"), service->read_timeout_ms);
    if (service->client_certificate != NULL)
        write_object(writer, SPAN("client_certificate"), write_id,
                     &service->client_certificate->id);
    if (service->tls_verify_set)
        log_boolean(writer, SPAN("tls_verify"), service->tls_verify);
    if (service->tls_verify_depth >= 0)
        log_number(writer, SPAN("tls_verify_depth"), service->tls_verify_depth);
    write_list(writer, SPAN("ca_certificates"), &service->ca_certificate_ids);
    log_boolean(writer, SPAN("enabled"), service->enabled);
    write_list(writer, SPAN("tags"), &service->tags);
    log_number(writer, SPAN("created_at"), service->created_at);
    log_number(writer, SPAN("updated_at"), service->updated_at);
}

static void write_consumer(struct log_writer *writer, const void *source)
{
    const struct consumer *consumer = source;
    log_text(writer, SPAN("id"), consumer->id);
    log_text(writer, SPAN("username"), consumer->username);
    log_text(writer, SPAN("custom_id"), consumer->custom_id);
    write_list(writer, SPAN("tags"), &consumer->tags);
    log_number(writer, SPAN("created_at"), consumer->created_at);
    log_number(writer, SPAN("updated_at"), consumer->updated_at);
}

/* ---- headers and arguments */

static bool is_repeat(const struct http_headers *headers, uint16_t at)
{
    const struct http_header *field = &headers->items[at];
    if (field->id != HTTP_HEADER_UNKNOWN && field->id < HTTP_HEADER_COUNT)
        return headers->first[field->id] != at + 1;
    for (uint16_t i = 0; i < at; i++)
        if (span_equal_nocase(headers->items[i].name, field->name))
            return true;
    return false;
}

static struct span lower(struct arena *arena, struct span text)
{
    char *out = arena_bytes(arena, text.size);
    if (out == NULL)
        return SPAN_NONE;
    for (size_t i = 0; i < text.size; i++) {
        out[i] = text.data[i];
        if (out[i] >= 'A' && out[i] <= 'Z')
            out[i] = (char)(out[i] | 0x20);
    }
    return span_of(out, text.size);
}

static struct span field_name(struct arena *arena, const struct http_header *field)
{
    return field->id != HTTP_HEADER_UNKNOWN && field->id < HTTP_HEADER_COUNT
               ? http_header_name((enum http_header_id)field->id)
               : lower(arena, field->name);
}

/* Text, or an array of those that have the name. */
static void write_field_value(struct buf *out, const struct http_headers *headers, uint16_t at)
{
    const struct http_header *first = &headers->items[at];
    size_t count = http_headers_count(headers, (enum http_header_id)first->id, first->name);
    if (count < 2) {
        buf_json(out, first->value);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        const struct http_header *field = http_headers_find(headers, first->name, i);
        buf_byte(out, i == 0 ? '[' : ',');
        buf_json(out, field == NULL ? SPAN("") : field->value);
    }
    buf_byte(out, ']');
}

struct fields {
    struct arena *arena;
    const struct http_headers *headers;
    bool redact; /* credentials that a client sends to everybody it talks to */
};

static void write_headers(struct log_writer *writer, const void *source)
{
    const struct fields *fields = source;
    const struct http_headers *headers = fields->headers;
    for (uint16_t i = 0; i < headers->count; i++) {
        uint16_t id = headers->items[i].id;
        struct log_place place;
        if (is_repeat(headers, i))
            continue;
        struct span name = field_name(fields->arena, &headers->items[i]);
        if (!span_is_set(name)) {
            writer->out->failed = true;
            return;
        }
        if (!log_member_begin(writer, name, &place))
            continue;
        if (fields->redact &&
            (id == HTTP_HEADER_AUTHORIZATION || id == HTTP_HEADER_PROXY_AUTHORIZATION))
            buf_json(writer->out, SPAN("REDACTED"));
        else
            write_field_value(writer->out, headers, i);
        log_member_end(writer, &place);
    }
}

struct argument {
    struct span name, value;
    bool has_value, written;
};

static void write_argument(struct buf *out, const struct argument *argument)
{
    if (argument->has_value)
        buf_json(out, argument->value);
    else
        buf_text(out, "true");
}

static void write_same_arguments(struct buf *out, struct argument *arguments, size_t at,
                                 size_t count)
{
    size_t same = 0;
    for (size_t i = at; i < count; i++)
        if (span_equal(arguments[i].name, arguments[at].name)) {
            arguments[i].written = true;
            same++;
        }
    if (same == 1) {
        write_argument(out, &arguments[at]);
        return;
    }
    buf_byte(out, '[');
    for (size_t i = at; i < count; i++) {
        if (!span_equal(arguments[i].name, arguments[at].name))
            continue;
        if (i != at)
            buf_byte(out, ',');
        write_argument(out, &arguments[i]);
    }
    buf_byte(out, ']');
}

static void write_query(struct log_writer *writer, const void *source)
{
    const struct weir_request *request = source;
    struct argument arguments[QUERY_ARGS_MAX], next;
    struct span rest = request->query;
    size_t count = 0;
    while (count < QUERY_ARGS_MAX &&
           http_query_next(&rest, &next.name, &next.value, &next.has_value)) {
        next.name = text_percent_decode(request->arena, next.name, true);
        next.value = text_percent_decode(request->arena, next.value, true);
        next.written = false;
        if (next.name.size > 0)
            arguments[count++] = next;
    }
    for (size_t i = 0; i < count; i++) {
        struct log_place place;
        if (arguments[i].written)
            continue;
        if (log_member_begin(writer, arguments[i].name, &place)) {
            write_same_arguments(writer->out, arguments, i, count);
            log_member_end(writer, &place);
        } else {
            for (size_t k = i; k < count; k++)
                if (span_equal(arguments[k].name, arguments[i].name))
                    arguments[k].written = true;
        }
    }
}

/* ---- the exchange */

/* The target without scheme and authority. */
static struct span request_uri(const struct weir_request *request)
{
    const struct http_request_head *head = &request->head;
    if (!span_is_set(head->authority) || !span_is_set(head->scheme))
        return span_is_set(head->target) ? head->target : SPAN("");
    struct span path = head->path.size > 0 ? head->path : SPAN("/");
    return span_is_set(head->query)
               ? arena_printf(request->arena, "%.*s?%.*s", SPAN_ARG(path), SPAN_ARG(head->query))
               : path;
}

static struct span request_url(const struct weir_request *request)
{
    struct span host = SPAN_NONE;
    /* Without a host Kong writes the name of its server block. */
    if (!http_authority_split(http_request_host(&request->head), &host, NULL) || host.size == 0)
        host = SPAN("kong");
    host = lower(request->arena, host);
    if (!span_is_set(host))
        return SPAN_NONE;
    return arena_printf(request->arena, "%.*s://%.*s:%u%.*s", SPAN_ARG(request->scheme),
                        SPAN_ARG(host), (unsigned)request->port, SPAN_ARG(request_uri(request)));
}

static void write_tls(struct log_writer *writer, const void *source)
{
    const struct weir_request *request = source;
    log_text(writer, SPAN("version"), request->tls_version);
    log_text(writer, SPAN("cipher"), request->tls_cipher);
    log_text(writer, SPAN("client_verify"), SPAN("NONE"));
}

static int64_t bytes_of(const struct weir_request *request, enum direction direction)
{
    if (request->ops == NULL || request->ops->bytes == NULL)
        return 0;
    uint64_t bytes = request->ops->bytes(request, direction);
    return bytes > INT64_MAX ? INT64_MAX : (int64_t)bytes;
}

static void write_request(struct log_writer *writer, const void *source)
{
    const struct weir_request *request = source;
    struct fields fields = {request->arena, &request->head.headers, true};
    log_text(writer, SPAN("id"), span_of(request->id, sizeof(request->id)));
    log_text(writer, SPAN("method"),
             span_is_set(request->head.method) ? request->head.method : SPAN(""));
    log_text(writer, SPAN("uri"), request_uri(request));
    log_text(writer, SPAN("url"), request_url(request));
    log_number(writer, SPAN("size"), bytes_of(request, TO_TARGET));
    write_object(writer, SPAN("querystring"), write_query, request);
    write_object(writer, SPAN("headers"), write_headers, &fields);
    if (request->tls)
        write_object(writer, SPAN("tls"), write_tls, request);
}

static void write_response(struct log_writer *writer, const void *source)
{
    const struct weir_request *request = source;
    struct fields fields = {request->arena, &request->response.headers, false};
    int64_t status = request->has_response ? request->response.status : request->reply.status;
    log_number(writer, SPAN("status"), status == 0 ? STATUS_CLIENT_CLOSED : status);
    log_number(writer, SPAN("size"), bytes_of(request, TO_CLIENT));
    write_object(writer, SPAN("headers"), write_headers, &fields);
}

static void write_latencies(struct log_writer *writer, const void *source)
{
    const struct weir_request *request = source;
    int64_t total = (int64_t)request_total_ms(request);
    int64_t gateway = (int64_t)request_gateway_ms(request);
    int64_t target = request_target_ms(request);
    int64_t receive = total - gateway - target;
    log_number(writer, SPAN("request"), total);
    log_number(writer, SPAN("kong"), gateway);
    log_number(writer, SPAN("proxy"), target);
    log_number(writer, SPAN("receive"),
               request->from_target && target >= 0 && receive > 0 ? receive : 0);
}

static uint16_t attempt_status(const struct attempt_record *attempt)
{
    return attempt->status != 0 ? attempt->status : (uint16_t)weir_err_status(attempt->error);
}

/* The attempts that had an address: nothing was tried without one. */
static unsigned next_attempt(const struct weir_request *request, unsigned at)
{
    while (at < request->attempt_count && at < ATTEMPT_RECORDS &&
           !span_is_set(request->attempts[at].ip))
        at++;
    return at < request->attempt_count && at < ATTEMPT_RECORDS ? at : ATTEMPT_RECORDS;
}

/* "502, 200"; empty when nothing was tried. */
static void write_upstream_status(struct log_writer *writer, const struct weir_request *request)
{
    char text[ATTEMPT_RECORDS * 7 + 1];
    size_t size = 0;
    for (unsigned i = next_attempt(request, 0); i < ATTEMPT_RECORDS;
         i = next_attempt(request, i + 1)) {
        uint16_t status = attempt_status(&request->attempts[i]);
        if (size > 0) {
            text[size++] = ',';
            text[size++] = ' ';
        }
        if (status == 0) /* the client left before anything came */
            text[size++] = '-';
        for (unsigned unit = 10000, begun = 0; unit > 0 && status > 0; unit /= 10) {
            unsigned digit = status / unit % 10;
            begun |= digit;
            if (begun != 0)
                text[size++] = (char)('0' + digit);
        }
    }
    log_text(writer, SPAN("upstream_status"), span_of(text, size));
}

static void write_tries(struct log_writer *writer, const struct weir_request *request)
{
    struct log_place place;
    bool first = true;
    if (!log_member_begin(writer, SPAN("tries"), &place))
        return;
    buf_byte(writer->out, '[');
    for (unsigned i = next_attempt(request, 0); i < ATTEMPT_RECORDS;
         i = next_attempt(request, i + 1)) {
        const struct attempt_record *attempt = &request->attempts[i];
        buf_text(writer->out, first ? "{\"ip\":" : ",{\"ip\":");
        first = false;
        buf_json(writer->out, attempt->ip);
        buf_printf(writer->out,
                   ",\"port\":%u,\"balancer_start\":%" PRIu64 ",\"balancer_start_ns\":%" PRIu64
                   ",\"balancer_latency\":%" PRIu64 ",\"balancer_latency_ns\":%" PRIu64,
                   (unsigned)attempt->port, attempt->started_ms, attempt->started_ms * 1000000,
                   attempt->pick_us / 1000, attempt->pick_us * 1000);
        if (attempt->error != WEIR_OK)
            buf_printf(writer->out, ",\"state\":\"failed\",\"code\":%u",
                       (unsigned)attempt_status(attempt));
        buf_byte(writer->out, '}');
    }
    buf_byte(writer->out, ']');
    log_member_end(writer, &place);
}

static void write_document(struct log_writer *writer, const struct weir_request *request)
{
    log_object_begin(writer);
    write_object(writer, SPAN("request"), write_request, request);
    write_object(writer, SPAN("response"), write_response, request);
    log_text(writer, SPAN("upstream_uri"),
             span_is_set(request->upstream_path) ? request->upstream_path : SPAN(""));
    write_upstream_status(writer, request);
    if (request->route != NULL)
        write_tries(writer, request);
    write_object(writer, SPAN("latencies"), write_latencies, request);
    if (request->credential != NULL)
        write_object(writer, SPAN("authenticated_entity"), write_id, &request->credential->id);
    write_object(writer, SPAN("route"), write_route, request->route);
    write_object(writer, SPAN("service"), write_service, request->service);
    write_object(writer, SPAN("consumer"), write_consumer, request->consumer);
    log_text(writer, SPAN("client_ip"), request->client_ip);
    log_number(writer, SPAN("started_at"), (int64_t)request->started_wall_ms);
    log_text(writer, SPAN("source"), request->from_target ? SPAN("upstream") : SPAN("kong"));
    log_text(writer, SPAN("workspace"), WORKSPACE_ID);
    log_text(writer, SPAN("workspace_name"), SPAN("default"));
    if (span_is_set(request->correlation))
        log_text(writer, SPAN("correlation_id"), request->correlation);
    log_object_end(writer);
}

struct span log_document(struct weir_request *request)
{
    AUTO_BUF line = {.limit = LOG_LINE_MAX};
    struct log_writer writer = {.out = &line, .edits = request->log_edits};
    if (buf_reserve(&line, LINE_BYTES_USUAL) == NULL)
        return SPAN_NONE;
    write_document(&writer, request);
    return line.failed ? SPAN_NONE : arena_copy(request->arena, buf_view(&line));
}
