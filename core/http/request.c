/* The request head: request line, target in its four forms (RFC 9112 3), fields, Host. */
#include "http/message.h"
#include "http/parse.h"
#include "http/scan.h"
#include "http/uri.h"

#define METHOD_MAX 64 /* a token that long is no method anybody has */

static const struct span method_names[HTTP_METHOD_COUNT] = {[HTTP_METHOD_UNKNOWN] = {"", 0},
#define X(name) [HTTP_METHOD_##name] = {#name, sizeof(#name) - 1},
                                                            HTTP_METHODS(X)
#undef X
};

struct span http_method_name(enum http_method method)
{
    return method < HTTP_METHOD_COUNT ? method_names[method] : method_names[0];
}

enum http_method http_method_of(struct span method)
{
#define X(name)                                                                                 \
    if (method.size == sizeof(#name) - 1 && memcmp(method.data, #name, sizeof(#name) - 1) == 0) \
        return HTTP_METHOD_##name;
    HTTP_METHODS(X)
#undef X
    return HTTP_METHOD_UNKNOWN;
}

static enum http_result refuse(struct parse *p, const char *reason)
{
    return parse_refuse(p, WEIR_ERR_BAD_REQUEST, reason);
}

static enum http_result parse_method(struct parse *p, struct http_request_head *out)
{
    const char *begin = p->at, *end = scan_token(begin, p->end);
    if (end - begin > METHOD_MAX)
        return refuse(p, "the method is too long");
    if (end == p->end)
        return HTTP_INCOMPLETE;
    if (*end != ' ' || end == begin)
        return refuse(p, *end == 0x16 && end == begin ? "a TLS hello on a plain port"
                                                      : "a byte that no method has");
    out->method = span_of(begin, (size_t)(end - begin));
    out->method_id = (uint8_t)http_method_of(out->method);
    p->at = end + 1;
    return HTTP_COMPLETE;
}

static enum http_result split_absolute(struct parse *p, struct http_request_head *out)
{
    struct span target = out->target;
    size_t scheme = span_starts_with_nocase(target, SPAN("http://"))    ? 4
                    : span_starts_with_nocase(target, SPAN("https://")) ? 5
                                                                        : 0;
    if (scheme == 0)
        return refuse(p, "the target is neither a path nor an http URI");
    out->scheme = span_first(target, scheme);
    struct span rest = span_from(target, scheme + 3);
    size_t end = 0;
    while (end < rest.size && rest.data[end] != '/' && rest.data[end] != '?')
        end++;
    out->authority = span_first(rest, end);
    if (!http_authority_split(out->authority, NULL, NULL))
        return refuse(p, "the target's authority is none");
    rest = span_from(rest, end);
    size_t mark = span_find(rest, '?');
    out->path = span_first(rest, mark);
    out->query = mark < rest.size ? span_from(rest, mark + 1) : SPAN_NONE;
    if (out->path.size == 0) /* RFC 9112 3.2.1; and 3.2.4: that is how a client asks for "*" */
        out->path =
            out->method_id == HTTP_METHOD_OPTIONS && mark == rest.size ? SPAN("*") : SPAN("/");
    return HTTP_COMPLETE;
}

static enum http_result split_connect(struct parse *p, struct http_request_head *out)
{
    struct span port;
    if (!http_authority_split(out->target, NULL, &port) || !span_is_set(port))
        return refuse(p, "CONNECT wants host:port");
    out->authority = out->target;
    out->path = out->query = SPAN_NONE;
    return HTTP_COMPLETE;
}

/* Which of the four forms (RFC 9112 3.2). Asked after the version: the HTTP/2 preface has the
 * target
 * "*" too, and deserves its own answer. */
static enum http_result split_target(struct parse *p, struct http_request_head *out)
{
    if (out->method_id == HTTP_METHOD_CONNECT)
        return split_connect(p, out);
    if (out->target.data[0] == '/')
        return HTTP_COMPLETE;
    if (span_equal(out->target, SPAN("*"))) {
        if (out->method_id != HTTP_METHOD_OPTIONS)
            return refuse(p, "only OPTIONS has the target *");
        out->path = out->target;
        return HTTP_COMPLETE;
    }
    return split_absolute(p, out);
}

static enum http_result refuse_target(struct parse *p, char byte, bool is_empty)
{
    switch (byte) {
    case '#':
        return refuse(p, "a fragment in the target");
    case '\r':
    case '\n':
        return refuse(p, "a request line without a version (HTTP/0.9)");
    case ' ':
        return refuse(p, is_empty ? "two spaces in the request line" : "a space in the target");
    default:
        return refuse(p, "a control byte in the target");
    }
}

static enum http_result parse_target(struct parse *p, const struct http_limits *limits,
                                     struct http_request_head *out)
{
    const char *begin = p->at, *mark = scan_path(begin, p->end), *end = mark;
    if (mark < p->end && *mark == '?')
        end = scan_query(mark + 1, p->end);
    if (UNLIKELY((size_t)(end - begin) > limits->uri_bytes))
        return parse_refuse(p, WEIR_ERR_URI_TOO_LONG, "the target is too long");
    if (UNLIKELY(end == p->end))
        return HTTP_INCOMPLETE;
    if (UNLIKELY(*end != ' ' || end == begin))
        return refuse_target(p, *end, end == begin);
    p->at = end + 1;
    out->target = span_of(begin, (size_t)(end - begin));
    out->path = span_of(begin, (size_t)(mark - begin));
    out->query = mark == end ? SPAN_NONE : span_of(mark + 1, (size_t)(end - mark - 1));
    out->scheme = out->authority = SPAN_NONE;
    return HTTP_COMPLETE;
}

static enum http_result parse_version(struct parse *p, struct http_request_head *out)
{
    if (LIKELY(p->end - p->at >= 10 && memcmp(p->at, "HTTP/1.1", 8) == 0 && p->at[8] == '\r' &&
               p->at[9] == '\n')) {
        out->minor_version = 1;
        p->at += 10;
        return HTTP_COMPLETE;
    }
    enum http_result shape = parse_shape(p, "HTTP/d.d\r\n");
    if (shape == HTTP_INCOMPLETE)
        return shape;
    if (shape == HTTP_REFUSED)
        return refuse(p, "the request line does not end with a space and a version");
    if (memcmp(p->at, "HTTP/1.0", 8) != 0)
        return parse_refuse(p, WEIR_ERR_VERSION_REFUSED, "a version other than 1.0 and 1.1");
    out->minor_version = 0;
    p->at += 10;
    return HTTP_COMPLETE;
}

static enum http_result check_host(struct parse *p, const struct http_request_head *out)
{
    if (UNLIKELY(p->two_hosts))
        return refuse(p, "two Host fields");
    const struct http_header *host = http_headers_first(&out->headers, HTTP_HEADER_HOST);
    if (UNLIKELY(host == NULL))
        return out->minor_version == 0 ? HTTP_COMPLETE : refuse(p, "no Host field");
    if (UNLIKELY(!http_authority_split(host->value, NULL, NULL)))
        return refuse(p, "the Host field is no authority");
    return HTTP_COMPLETE;
}

#define STEP(call)                              \
    do {                                        \
        enum http_result result_ = (call);      \
        if (UNLIKELY(result_ != HTTP_COMPLETE)) \
            return result_;                     \
    } while (0)

static enum http_result parse_all(struct parse *p, const struct http_limits *limits,
                                  struct http_request_head *out)
{
    /* RFC 9112 2.2: old clients sent an empty line after a POST body. */
    if (p->at < p->end && *p->at == '\r') {
        enum http_result shape = parse_shape(p, "\r\n");
        STEP(shape == HTTP_REFUSED ? refuse(p, "a bare CR") : shape);
        p->at += 2;
    }
    STEP(parse_method(p, out));
    STEP(parse_target(p, limits, out));
    STEP(parse_version(p, out));
    STEP(split_target(p, out));
    STEP(parse_fields(p, &out->headers));
    return check_host(p, out);
}

enum http_result http_parse_request(const char *data, size_t size, size_t already_seen,
                                    const struct http_limits *limits, struct http_request_head *out,
                                    size_t *out_head_size, enum weir_err *out_error,
                                    const char **out_reason)
{
    if (!parse_is_due(data, size, already_seen, limits))
        return HTTP_INCOMPLETE;
    http_headers_clear(&out->headers);
    uint16_t most = out->headers.capacity;
    struct parse p = {
        .at = data,
        .end = data + (size < limits->head_bytes ? size : limits->head_bytes),
        .most_fields = limits->header_count < most ? limits->header_count : most,
    };
    enum http_result result = parse_all(&p, limits, out);
    if (LIKELY(result == HTTP_COMPLETE)) {
        *out_head_size = (size_t)(p.at - data);
        return result;
    }
    if (result == HTTP_INCOMPLETE && size >= limits->head_bytes)
        result = parse_refuse(&p, WEIR_ERR_HEAD_TOO_LARGE, "the head is too large");
    if (result == HTTP_REFUSED) {
        *out_error = p.error;
        *out_reason = p.reason;
    }
    return result;
}
