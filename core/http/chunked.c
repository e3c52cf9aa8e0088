#include "http/chunked.h"

#include "base/text.h"
#include "http/scan.h"

enum state {
    SIZE_FIRST, /* at least one digit */
    SIZE,
    SIZE_BLANK, /* blanks behind the size: only an extension may follow */
    EXTENSION,
    SIZE_LF,
    PAYLOAD,
    PAYLOAD_CR,
    PAYLOAD_LF,
    FIELD, /* a trailer field, or the end */
    FIELD_NAME,
    FIELD_VALUE,
    FIELD_LF,
    END_LF,
    DONE,
    FAILED
};

void http_chunked_init(struct http_chunked *chunked)
{
    *chunked = (struct http_chunked){.state = SIZE_FIRST};
}

/* The states of these steps are passed on as the next state. */
static enum state fail(struct http_chunked *c, const char *reason)
{
    c->reason = reason;
    return FAILED;
}

static enum state want(struct http_chunked *c, bool holds, enum state next, const char *reason)
{
    return holds ? next : fail(c, reason);
}

static enum state read_digit(struct http_chunked *c, char byte)
{
    int digit = text_hex_digit(byte);
    if (digit >= 0) {
        if (c->left > HTTP_CHUNK_SIZE_MAX / 16)
            return fail(c, "the chunk size is too large");
        c->left = c->left * 16 + (unsigned)digit;
        return want(c, c->left <= HTTP_CHUNK_SIZE_MAX, SIZE, "the chunk size is too large");
    }
    if (c->state == SIZE_FIRST)
        return fail(c, "a chunk without a size");
    switch (byte) {
    case '\r':
        return SIZE_LF;
    case ';':
        return EXTENSION;
    case ' ':
    case '\t':
        return SIZE_BLANK;
    default:
        return fail(c, "the chunk size is no hexadecimal number");
    }
}

/* Extensions and trailer fields are dropped, but who sends megabytes of them means no good. */
static bool is_over_bound(struct http_chunked *c)
{
    bool in_line = c->state <= SIZE_LF, in_fields = c->state >= FIELD && c->state <= FIELD_LF;
    if (in_line && ++c->line > HTTP_CHUNK_LINE_MAX)
        return true;
    return (in_fields || c->state == SIZE_BLANK || c->state == EXTENSION) &&
           ++c->overhead > HTTP_CHUNK_OVERHEAD_MAX;
}

static enum state step(struct http_chunked *c, char byte)
{
    bool is_cr = byte == '\r', is_lf = byte == '\n';
    if (is_over_bound(c))
        return fail(c, "too many chunk extensions or trailer fields");
    switch ((enum state)c->state) {
    case SIZE_FIRST:
    case SIZE:
        return read_digit(c, byte);
    case SIZE_BLANK:
        if (byte == ' ' || byte == '\t')
            return SIZE_BLANK;
        return want(c, byte == ';', EXTENSION, "a space behind the chunk size");
    case EXTENSION:
        if (is_cr)
            return SIZE_LF;
        return want(c, !scan_ends_value(byte), EXTENSION, "a control byte in a chunk extension");
    case SIZE_LF:
        c->line = 0;
        return want(c, is_lf, c->left == 0 ? FIELD : PAYLOAD, "a bare CR behind the chunk size");
    case PAYLOAD_CR:
        return want(c, is_cr, PAYLOAD_LF, "a chunk longer than its size");
    case PAYLOAD_LF:
        return want(c, is_lf, SIZE_FIRST, "a bare CR behind a chunk");
    case FIELD:
        if (is_cr)
            return END_LF;
        if (++c->fields > HTTP_TRAILER_FIELDS_MAX)
            return fail(c, "too many trailer fields");
        return want(c, scan_is_token(byte), FIELD_NAME, "a trailer field without a name");
    case FIELD_NAME:
        if (byte == ':')
            return FIELD_VALUE;
        return want(c, scan_is_token(byte), FIELD_NAME, "a byte that no field name has");
    case FIELD_VALUE:
        if (is_cr)
            return FIELD_LF;
        return want(c, !scan_ends_value(byte), FIELD_VALUE, "a control byte in a trailer field");
    case FIELD_LF:
        return want(c, is_lf, FIELD, "a bare CR in a trailer field");
    case END_LF:
        return want(c, is_lf, DONE, "a bare CR at the end of the body");
    case PAYLOAD:
    case DONE:
    case FAILED:
        break;
    }
    return (enum state)c->state;
}

static void take_payload(struct http_chunked *c, struct span *input, struct span *out_data)
{
    size_t size = input->size < c->left ? input->size : (size_t)c->left;
    *out_data = span_first(*input, size);
    *input = span_from(*input, size);
    c->left -= size;
    if (c->left == 0)
        c->state = PAYLOAD_CR;
}

enum http_result http_chunked_next(struct http_chunked *chunked, struct span *input,
                                   struct span *out_data)
{
    const char *fields = chunked->state >= FIELD && chunked->state < DONE ? input->data : NULL;
    *out_data = span_first(*input, 0);
    chunked->trailer = SPAN_NONE;
    while (input->size > 0 && chunked->state < DONE) {
        if (chunked->state == PAYLOAD) {
            take_payload(chunked, input, out_data);
            return HTTP_INCOMPLETE;
        }
        chunked->state = (uint8_t)step(chunked, *input->data);
        *input = span_of(input->data + 1, input->size - 1);
        if (chunked->state == FIELD && fields == NULL)
            fields = input->data;
    }
    if (fields != NULL)
        chunked->trailer = span_of(fields, (size_t)(input->data - fields));
    return chunked->state == DONE     ? HTTP_COMPLETE
           : chunked->state == FAILED ? HTTP_REFUSED
                                      : HTTP_INCOMPLETE;
}

bool http_trailer_next(struct span *rest, struct span *out_name, struct span *out_value)
{
    size_t end = span_find(*rest, '\r'), colon = span_find(span_first(*rest, end), ':');
    if (end == 0 || end == rest->size || colon == end)
        return false;
    *out_name = span_first(*rest, colon);
    *out_value = span_trim(span_of(rest->data + colon + 1, end - colon - 1));
    *rest = span_from(*rest, end + 2);
    return true;
}

bool http_trailer_may_pass(struct span name)
{
    enum http_header_id id = http_header_id_of(name);
    return id == HTTP_HEADER_UNKNOWN || id == HTTP_HEADER_ETAG;
}

size_t http_chunk_head(char out[HTTP_CHUNK_HEAD_MAX], size_t size)
{
    CHECK_THAT(size > 0);
    size_t digits = (size_t)(67 - __builtin_clzll(size)) / 4;
    for (size_t i = digits; i > 0; i--, size >>= 4)
        out[i - 1] = "0123456789abcdef"[size & 15];
    out[digits] = '\r';
    out[digits + 1] = '\n';
    return digits + 2;
}
