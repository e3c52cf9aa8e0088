/* Facts of an exchange, what policies ask for in place of them, and answers. Header fields:
 * calls_fields.c; the query: calls_query.c. */
#include <ctype.h>

#include "base/text.h"
#include "http/uri.h"
#include "plugin_host/calls.h"
#include "plugin_host/phases.h"
#include "plugin_host/table.h"

#define PHASES_ANSWERING \
    (PHASES_BEFORE_TARGET | PHASE_BIT(PHASE_REQUEST_BODY) | PHASE_BIT(PHASE_RESPONSE_HEADERS))

/* ---- facts */

/* Without port, lower case: as sent when it is so already. */
static struct span host_text(struct weir_request *request)
{
    struct span host;
    if (!http_authority_split(http_request_host(&request->head), &host, NULL))
        return SPAN_NONE;
    size_t plain = 0;
    while (plain < host.size && !isupper((unsigned char)host.data[plain]))
        plain++;
    if (plain == host.size)
        return host;
    char *lower = arena_bytes(request->arena, host.size);
    if (lower == NULL)
        return SPAN_NONE;
    for (size_t i = 0; i < host.size; i++)
        lower[i] = (char)tolower((unsigned char)host.data[i]);
    return span_of(lower, host.size);
}

static struct span target_ip(const struct weir_request *request)
{
    return request->attempt_count == 0 ? SPAN_NONE
                                       : request->attempts[request->attempt_count - 1].ip;
}

static struct span text_of(struct weir_request *request, uint32_t what)
{
    const struct route *route = request->route;
    const struct service *service = request->service;
    switch (what) {
    case WEIR_TEXT_METHOD:
        return request->head.method;
    case WEIR_TEXT_SCHEME:
        return request->scheme;
    case WEIR_TEXT_HOST:
        return host_text(request);
    case WEIR_TEXT_PATH:
        return request->path;
    case WEIR_TEXT_RAW_TARGET:
        return request->head.target;
    case WEIR_TEXT_QUERY:
        return request->query;
    case WEIR_TEXT_CLIENT_IP:
        return request->client_ip;
    case WEIR_TEXT_PEER_IP:
        return request->peer_ip;
    case WEIR_TEXT_REQUEST_ID:
        return request->id[0] == '\0' ? SPAN_NONE : span_of(request->id, sizeof(request->id));
    case WEIR_TEXT_ROUTE_ID:
        return route == NULL ? SPAN_NONE : route->id;
    case WEIR_TEXT_ROUTE_NAME:
        return route == NULL ? SPAN_NONE : route->name;
    case WEIR_TEXT_SERVICE_ID:
        return service == NULL ? SPAN_NONE : service->id;
    case WEIR_TEXT_SERVICE_NAME:
        return service == NULL ? SPAN_NONE : service->name;
    case WEIR_TEXT_CREDENTIAL_ID:
        return request->credential == NULL ? SPAN_NONE : request->credential->id;
    case WEIR_TEXT_TARGET_IP:
        return target_ip(request);
    case WEIR_TEXT_UPSTREAM_PATH:
        return request->upstream_path;
    case WEIR_TEXT_SERVICE_HOST:
        return service == NULL ? SPAN_NONE : service->host;
    case WEIR_TEXT_SERVER_IP:
        return request->ops->server_ip == NULL ? SPAN_NONE : request->ops->server_ip(request);
    case WEIR_TEXT_CORRELATION_ID:
        return request->correlation;
    case WEIR_TEXT_TLS_VERSION:
        return request->tls_version;
    case WEIR_TEXT_TLS_CIPHER:
        return request->tls_cipher;
    default: /* of a later minor */
        return SPAN_NONE;
    }
}

weir_str call_request_text(weir_request *request, uint32_t what)
{
    return str_of(text_of(request, what));
}

static int64_t status_number(const struct weir_request *request)
{
    if (request->has_response)
        return request->response.status;
    return request->reply.status != 0 ? request->reply.status : WEIR_UNSET;
}

static int64_t source_number(const struct weir_request *request)
{
    if (request->has_response && request->from_target)
        return WEIR_SOURCE_SERVICE;
    if (!request->has_response && request->reply.status == 0)
        return WEIR_UNSET;
    return request->reply.by_policy ? WEIR_SOURCE_PLUGIN : WEIR_SOURCE_GATEWAY;
}

static int64_t bytes_number(const struct weir_request *request, enum direction direction)
{
    return request->ops->bytes == NULL ? WEIR_UNSET
                                       : (int64_t)request->ops->bytes(request, direction);
}

int64_t call_request_number(weir_request *request, uint32_t what)
{
    switch (what) {
    case WEIR_NUMBER_PORT:
        return request->port;
    case WEIR_NUMBER_HTTP_VERSION: /* HTTP/2 heads say 20 */
        return request->head.minor_version >= 20 ? request->head.minor_version
                                                 : 10 + request->head.minor_version;
    case WEIR_NUMBER_STARTED_MS:
        return (int64_t)request->started_wall_ms;
    case WEIR_NUMBER_STATUS:
        return status_number(request);
    case WEIR_NUMBER_SOURCE:
        return source_number(request);
    case WEIR_NUMBER_BYTES_IN:
        return bytes_number(request, TO_TARGET);
    case WEIR_NUMBER_BYTES_OUT:
        return bytes_number(request, TO_CLIENT);
    case WEIR_NUMBER_GATEWAY_MS:
        return (int64_t)request_gateway_ms(request);
    case WEIR_NUMBER_TARGET_MS:
        return request_target_ms(request);
    case WEIR_NUMBER_TOTAL_MS:
        return (int64_t)request_total_ms(request);
    case WEIR_NUMBER_AUTHENTICATED:
        return request->authenticated;
    case WEIR_NUMBER_CONNECTION:
        return request->connection_number == 0 ? WEIR_UNSET : (int64_t)request->connection_number;
    case WEIR_NUMBER_CONNECTION_REQUESTS:
        return request->connection_number == 0 ? WEIR_UNSET : request->connection_requests;
    default:
        return WEIR_UNSET;
    }
}

weir_str call_capture(weir_request *request, weir_str name)
{
    struct span wanted = span_of_str(name);
    uint64_t number;
    if (wanted.size == 0)
        return (weir_str){NULL, 0};
    for (uint8_t i = 0; request->capture_names != NULL && i < request->capture_count; i++)
        if (span_is_set(request->capture_names[i]) && span_equal(request->capture_names[i], wanted))
            return str_of(request->captures[i]);
    if (text_to_u64(wanted, &number) && number < request->capture_count)
        return str_of(request->captures[number]);
    return (weir_str){NULL, 0};
}

/* Bytes from 0x20 to 0x7e alone, eight at a time: what is added sets the top bit of 0x7f, what is
 * subtracted that of all below 0x20. A borrow comes only out of a byte that is found itself. */
static bool is_printable(struct span s)
{
    const uint64_t each = 0x0101010101010101ULL, top = each << 7;
    uint64_t word;
    for (; s.size >= sizeof(word); s = span_from(s, sizeof(word))) {
        memcpy(&word, s.data, sizeof(word));
        if (((word | (word + each) | (word - each * 0x20)) & top) != 0)
            return false;
    }
    for (size_t i = 0; i < s.size; i++)
        if (s.data[i] < 0x20 || s.data[i] > 0x7e)
            return false;
    return true;
}

weir_status call_correlate(weir_request *request, weir_str id, uint32_t flags)
{
    enum { CORRELATION_MAX = 256 };
    if (id.size == 0 || id.size > CORRELATION_MAX)
        return WEIR_INVALID;
    if (!is_printable(span_of_str(id)))
        return WEIR_INVALID;
    struct span copy = arena_copy(request->arena, span_of_str(id));
    if (!span_is_set(copy))
        return WEIR_NO_MEMORY;
    request->correlation = copy;
    request->correlate_errors = (flags & WEIR_CORRELATE_ERRORS) != 0;
    return WEIR_SUCCESS;
}

/* ---- what the target is sent */

static weir_status keep_text(struct weir_request *request, weir_str text, struct span *out)
{
    struct span copy = arena_copy(request->arena, span_of_str(text));
    if (!span_is_set(copy))
        return WEIR_NO_MEMORY;
    *out = copy;
    return WEIR_SUCCESS;
}

weir_status call_method_set(weir_request *request, weir_str method)
{
    if (!request_in_phases(request, PHASES_BEFORE_TARGET))
        return WEIR_PHASE;
    if (!http_name_is_valid(span_of_str(method))) /* a token, like a field's name */
        return WEIR_INVALID;
    /* A tunnel is what the client asked for, or it is none. */
    if (request->head.method_id == HTTP_METHOD_CONNECT ||
        http_method_of(span_of_str(method)) == HTTP_METHOD_CONNECT)
        return WEIR_INVALID;
    return keep_text(request, method, &request->method_override);
}

static bool is_path(struct span path)
{
    if (!span_starts_with(path, SPAN("/")))
        return false;
    for (size_t i = 0; i < path.size; i++) {
        unsigned char byte = (unsigned char)path.data[i];
        if (byte <= ' ' || byte == 0x7f || byte == '?' || byte == '#')
            return false;
    }
    return true;
}

weir_status call_path_set(weir_request *request, weir_str path)
{
    if (!request_in_phases(request, PHASE_BIT(PHASE_ACCESS) | PHASE_BIT(PHASE_UPSTREAM)))
        return WEIR_PHASE;
    if (!is_path(span_of_str(path)))
        return WEIR_INVALID;
    return keep_text(request, path, &request->path_override);
}

weir_status call_host_set(weir_request *request, weir_str host)
{
    if (!request_in_phases(request, PHASES_BEFORE_TARGET))
        return WEIR_PHASE;
    if (!http_authority_split(span_of_str(host), NULL, NULL))
        return WEIR_INVALID;
    return keep_text(request, host, &request->host_override);
}

/* A name, or an address with or without brackets. */
static bool is_target_host(struct span host)
{
    if (host.size == 0 || host.size > 255)
        return false;
    for (size_t i = 0; i < host.size; i++)
        if (!isalnum((unsigned char)host.data[i]) &&
            memchr("-._:[]", host.data[i], sizeof("-._:[]") - 1) == NULL)
            return false;
    return true;
}

weir_status call_target_set(weir_request *request, weir_str host, uint16_t port)
{
    if (!request_in_phases(request, PHASE_BIT(PHASE_ACCESS) | PHASE_BIT(PHASE_UPSTREAM)))
        return WEIR_PHASE;
    if (!is_target_host(span_of_str(host)) || port == 0)
        return WEIR_INVALID;
    weir_status status = keep_text(request, host, &request->target_host);
    if (status == WEIR_SUCCESS)
        request->target_port = port;
    return status;
}

/* ---- the response */

static bool is_final_status(uint32_t status)
{
    return status >= 200 && status <= 999;
}

weir_status call_status_set(weir_request *request, uint32_t status)
{
    if (!request->has_response || !request_in_phases(request, PHASE_BIT(PHASE_RESPONSE_HEADERS)))
        return WEIR_PHASE;
    if (!is_final_status(status))
        return WEIR_INVALID;
    request->response.status = (uint16_t)status;
    request->response.reason = SPAN_NONE;
    return WEIR_SUCCESS;
}

/* The answer holds when the hook returns DONE, and not before. */
static weir_status offer(struct weir_request *request, uint32_t status, weir_str content_type,
                         weir_str body, bool negotiated)
{
    struct walk *walk = request_running(request);
    if (!request_in_phases(request, PHASES_ANSWERING) ||
        request->has_response != (walk->phase == PHASE_RESPONSE_HEADERS))
        return WEIR_PHASE;
    if (!is_final_status(status) || !http_value_is_valid(span_of_str(content_type)))
        return WEIR_INVALID;
    struct reply reply = {.status = (uint16_t)status, .negotiated = negotiated};
    if (content_type.size > 0 &&
        keep_text(request, content_type, &reply.content_type) != WEIR_SUCCESS)
        return WEIR_NO_MEMORY;
    if (body.size > 0 && keep_text(request, body, &reply.body) != WEIR_SUCCESS)
        return WEIR_NO_MEMORY;
    request->offered = reply;
    walk->answered = true;
    response_offer(request);
    return WEIR_SUCCESS;
}

weir_status call_respond(weir_request *request, uint32_t status, weir_str content_type,
                         weir_str body)
{
    return offer(request, status, content_type, body, false);
}

weir_status call_respond_error(weir_request *request, uint32_t status, weir_str message)
{
    return offer(request, status, (weir_str){NULL, 0}, message, true);
}
