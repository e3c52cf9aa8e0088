/* Writing a head into a fixed buffer: a few memcpy runs, one overflow check at the end. After an
 * overflow nothing more is written. Names and values must be valid already (http/headers.h): this
 * writer copies. */
#ifndef WEIR_HTTP_WRITE_H
#define WEIR_HTTP_WRITE_H

#include "base/span.h"
#include "base/text.h"

struct http_writer {
    char *at, *end;
    bool overflow;
};

static inline struct http_writer http_writer_of(char *buffer, size_t size)
{
    return (struct http_writer){buffer, buffer + size, false};
}

/* Room for `size` bytes at w->at, which the caller advances; false and `overflow` without. */
static inline bool http_write_room(struct http_writer *w, size_t size)
{
    if (LIKELY((size_t)(w->end - w->at) >= size && !w->overflow))
        return true;
    w->overflow = true;
    return false;
}
static inline void http_write_span(struct http_writer *w, struct span s)
{
    if (http_write_room(w, s.size) && s.size > 0) {
        memcpy(w->at, s.data, s.size);
        w->at += s.size;
    }
}
static inline void http_write_byte(struct http_writer *w, char byte)
{
    if (http_write_room(w, 1))
        *w->at++ = byte;
}
static inline void http_write_u64(struct http_writer *w, uint64_t value)
{
    if (http_write_room(w, TEXT_U64_MAX)) /* a little early on the last bytes: no second pass */
        w->at += text_from_u64(w->at, value);
}
/* "name: value\r\n" */
static inline void http_write_header(struct http_writer *w, struct span name, struct span value)
{
    if (!http_write_room(w, name.size + value.size + 4))
        return;
    char *at = w->at;
    memcpy(at, name.data, name.size);
    at += name.size;
    *at++ = ':';
    *at++ = ' ';
    if (value.size > 0)
        memcpy(at, value.data, value.size);
    at += value.size;
    *at++ = '\r';
    *at++ = '\n';
    w->at = at;
}
static inline void http_write_header_u64(struct http_writer *w, struct span name, uint64_t value)
{
    char digits[TEXT_U64_MAX];
    http_write_header(w, name, span_of(digits, text_from_u64(digits, value)));
}
/* The blank line after the fields. */
static inline void http_write_end(struct http_writer *w)
{
    http_write_span(w, SPAN("\r\n"));
}
/* What has been written since `start`. */
static inline struct span http_written(const struct http_writer *w, const char *start)
{
    return span_of(start, (size_t)(w->at - start));
}

/* "HTTP/1.1 200 OK\r\n", with the registered reason or none. */
void http_write_status_line(struct http_writer *w, unsigned status);
/* The same with another reason, such as the target's; dropped when it holds control bytes. */
void http_write_status_reason(struct http_writer *w, unsigned status, struct span reason);

/* The registered reason phrase, empty for a status nobody registered. */
struct span http_reason(unsigned status);

#define HTTP_DATE_SIZE 29
/* "Sun, 06 Nov 1994 08:49:37 GMT", not terminated (RFC 9110 5.6.7). */
void http_date(char out[HTTP_DATE_SIZE], uint64_t wall_seconds);

#endif
