/* The heads of HTTP/1 messages, parsed in place: every span points into the caller's bytes. Strict:
 * what two implementations could read in two ways is refused (RFC 9112, and its 11.1, 11.2). How
 * long the body is, is not decided here: http/framing.h. */
#ifndef WEIR_HTTP_MESSAGE_H
#define WEIR_HTTP_MESSAGE_H

#include "http/headers.h"

/* clang-format off */
#define HTTP_METHODS(X)                                                                            \
    X(GET) X(HEAD) X(POST) X(PUT) X(PATCH) X(DELETE) X(OPTIONS) X(TRACE) X(CONNECT)
/* clang-format on */

enum http_method {
    HTTP_METHOD_UNKNOWN, /* some other token */
#define X(name) HTTP_METHOD_##name,
    HTTP_METHODS(X)
#undef X
        HTTP_METHOD_COUNT
};

struct http_request_head {
    struct span method;            /* as sent, case matters */
    uint8_t method_id;             /* enum http_method */
    uint8_t minor_version;         /* HTTP/1.0 or 1.1 */
    struct span target;            /* as sent */
    struct span scheme, authority; /* set with an absolute-form target; CONNECT: authority alone */
    struct span path;              /* raw, before '?'; "*" for OPTIONS *; unset for CONNECT */
    struct span query;             /* raw, after '?'; unset without one, empty after a bare '?' */
    struct http_headers headers;
};

struct http_response_head {
    uint16_t status; /* 100-999 */
    uint8_t minor_version;
    struct span reason; /* may be empty */
    struct http_headers headers;
};

struct http_limits {
    uint32_t head_bytes;   /* request line or status line, fields and the blank line */
    uint32_t uri_bytes;    /* the target */
    uint16_t header_count; /* fields; the capacity of out->headers is a second bound */
};
#define HTTP_LIMITS_DEFAULT ((struct http_limits){32768, 8192, 100})

enum http_result { HTTP_COMPLETE, HTTP_INCOMPLETE, HTTP_REFUSED };

/* `data` holds everything received of this message so far and perhaps more behind it.
 * `already_seen`: the size given to the call before, when that said INCOMPLETE, else 0; a head that
 * drips in byte by byte is then still read in linear time.
 * out->headers must have been given its items (http_headers_init); fields of earlier messages are
 * forgotten, only COMPLETE fills *out whole. *out_head_size (COMPLETE): where the body begins.
 * REFUSED: *out_error says what the client is answered with, *out_reason (static storage) is for
 * the log. The connection must then be closed: what follows cannot be told apart. */
WEIR_MUST_USE enum http_result
http_parse_request(const char *data, size_t size, size_t already_seen,
                   const struct http_limits *limits, struct http_request_head *out,
                   size_t *out_head_size, enum weir_err *out_error, const char **out_reason);
/* The same for what a target sends; always refused with TARGET_BAD. */
WEIR_MUST_USE enum http_result
http_parse_response(const char *data, size_t size, size_t already_seen,
                    const struct http_limits *limits, struct http_response_head *out,
                    size_t *out_head_size, enum weir_err *out_error, const char **out_reason);

/* What the client addressed: an absolute-form target outranks Host (RFC 9112 3.2.2). */
static inline struct span http_request_host(const struct http_request_head *head)
{
    return span_is_set(head->authority) ? head->authority
                                        : http_headers_get(&head->headers, HTTP_HEADER_HOST);
}

/* Case matters: "get" is UNKNOWN. */
enum http_method http_method_of(struct span method);
struct span http_method_name(enum http_method method); /* empty for UNKNOWN */

#endif
