/* The response head. Whatever is wrong with it, the client sees TARGET_BAD. */
#include "http/message.h"
#include "http/parse.h"
#include "http/scan.h"

#define STATUS_SIZE 12 /* "HTTP/1.1 200" */

static enum http_result refuse(struct parse *p, const char *reason)
{
    return parse_refuse(p, WEIR_ERR_TARGET_BAD, reason);
}

static inline bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* "HTTP/1.1 ddd", which nearly all targets send: no need to go by the pattern. */
static inline bool is_usual(const struct parse *p)
{
    return p->end - p->at >= STATUS_SIZE && memcmp(p->at, "HTTP/1.1", 8) == 0 && p->at[8] == ' ' &&
           is_digit(p->at[9]) && is_digit(p->at[10]) && is_digit(p->at[11]);
}

static enum http_result parse_status_line(struct parse *p, struct http_response_head *out)
{
    enum http_result shape = LIKELY(is_usual(p)) ? HTTP_COMPLETE : parse_shape(p, "HTTP/d.d ddd");
    if (shape == HTTP_INCOMPLETE)
        return shape;
    if (shape == HTTP_REFUSED)
        return refuse(p, "not a status line");
    if (memcmp(p->at, "HTTP/1.", 7) != 0 || p->at[7] > '1')
        return refuse(p, "a version other than 1.0 and 1.1");
    const char *digits = p->at + 9, *reason = p->at + STATUS_SIZE;
    out->minor_version = (uint8_t)(p->at[7] - '0');
    out->status = (uint16_t)((digits[0] - '0') * 100 + (digits[1] - '0') * 10 + digits[2] - '0');
    if (out->status < 100)
        return refuse(p, "a status below 100");
    /* RFC 9112 4 wants the space even before an empty reason; without it nothing is ambiguous. */
    const char *end = scan_value(reason, p->end);
    if (end > reason && *reason != ' ')
        return refuse(p, "a status of more than three digits");
    if (p->end - end < 2)
        return end < p->end && *end != '\r' ? refuse(p, "a control byte in the status line")
                                            : HTTP_INCOMPLETE;
    if (end[0] != '\r' || end[1] != '\n')
        return refuse(p, "a control byte in the status line");
    if (reason < end)
        reason++;
    out->reason = span_of(reason, (size_t)(end - reason));
    p->at = end + 2;
    return HTTP_COMPLETE;
}

enum http_result http_parse_response(const char *data, size_t size, size_t already_seen,
                                     const struct http_limits *limits,
                                     struct http_response_head *out, size_t *out_head_size,
                                     enum weir_err *out_error, const char **out_reason)
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
    enum http_result result = parse_status_line(&p, out);
    if (LIKELY(result == HTTP_COMPLETE))
        result = parse_fields(&p, &out->headers);
    if (LIKELY(result == HTTP_COMPLETE)) {
        *out_head_size = (size_t)(p.at - data);
        return result;
    }
    http_headers_clear(&out->headers); /* no half of them may stand in another answer */
    if (result == HTTP_INCOMPLETE && size >= limits->head_bytes)
        result = refuse(&p, "the head is too large");
    if (result == HTTP_REFUSED) {
        *out_error = WEIR_ERR_TARGET_BAD;
        *out_reason = p.reason;
    }
    return result;
}
