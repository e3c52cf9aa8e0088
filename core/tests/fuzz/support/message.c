#include "message.h"

#include <string.h>

struct reader {
    struct span text;
    size_t at;
    const char *why;
};

static enum reading bad(struct reader *r, const char *why)
{
    r->why = why;
    return READ_BAD;
}

static bool is_token(struct span text)
{
    for (size_t i = 0; i < text.size; i++) {
        unsigned char byte = (unsigned char)text.data[i];
        if (byte <= ' ' || byte >= 0x7f || strchr("\"(),/:;<=>?@[\\]{}", byte) != NULL)
            return false;
    }
    return text.size > 0;
}

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

/* Up to CR LF, without them; no other control byte than HT is in it. */
static enum reading read_line(struct reader *r, struct span *out_line)
{
    size_t begin = r->at, at = begin;
    for (; at < r->text.size && r->text.data[at] != '\r'; at++) {
        unsigned char byte = (unsigned char)r->text.data[at];
        if ((byte < ' ' && byte != '\t') || byte == 0x7f)
            return bad(r, "a control byte in a line");
    }
    if (at + 1 >= r->text.size)
        return READ_PART;
    if (r->text.data[at + 1] != '\n')
        return bad(r, "a bare CR");
    *out_line = span_of(r->text.data + begin, at - begin);
    r->at = at + 2;
    return READ_WHOLE;
}

/* ---- first lines */

static enum reading read_target(struct reader *r, struct span target)
{
    bool in_query = false;
    if (target.size == 0 || target.data[0] != '/')
        return bad(r, "the target is no path");
    for (size_t i = 0; i < target.size; i++) {
        unsigned char byte = (unsigned char)target.data[i];
        in_query = in_query || byte == '?';
        if (byte <= ' ' || byte == 0x7f || byte == '#' || (byte >= 0x80 && !in_query))
            return bad(r, "a byte that no target has");
    }
    return READ_WHOLE;
}

static enum reading read_request_line(struct reader *r, struct message *out)
{
    struct span line;
    enum reading reading = read_line(r, &line);
    if (reading != READ_WHOLE)
        return reading;
    size_t space = span_find(line, ' ');
    out->method = span_first(line, space);
    line = span_from(line, space + 1);
    space = span_find(line, ' ');
    out->target = span_first(line, space);
    if (!is_token(out->method) || !span_equal(span_from(line, space), SPAN(" HTTP/1.1")))
        return bad(r, "no request line");
    return read_target(r, out->target);
}

static enum reading read_status_line(struct reader *r, bool ours, struct message *out)
{
    struct span line;
    enum reading reading = read_line(r, &line);
    if (reading != READ_WHOLE)
        return reading;
    out->old = span_starts_with(line, SPAN("HTTP/1.0 "));
    if (!span_starts_with(line, SPAN("HTTP/1.1 ")) && (ours || !out->old))
        return bad(r, "no version");
    struct span rest = span_from(line, 9);
    if (rest.size < 3 || !is_digit(rest.data[0]) || !is_digit(rest.data[1]) ||
        !is_digit(rest.data[2]) || rest.data[0] == '0')
        return bad(r, "no status");
    out->status =
        (unsigned)((rest.data[0] - '0') * 100 + (rest.data[1] - '0') * 10 + (rest.data[2] - '0'));
    if (rest.size == 3 ? ours : rest.data[3] != ' ')
        return bad(r, "no space behind the status");
    return READ_WHOLE;
}

/* ---- fields */

static enum reading read_field(struct reader *r, struct span line, bool ours,
                               struct message_field *out)
{
    size_t colon = span_find(line, ':');
    out->name = span_first(line, colon);
    if (colon == line.size || !is_token(out->name))
        return bad(r, "a field without a good name");
    struct span value = span_from(line, colon + 1);
    out->value = span_trim(value);
    if (ours && (value.size != out->value.size + 1 || value.data[0] != ' '))
        return bad(r, "a field that weir spells in another way");
    return READ_WHOLE;
}

static enum reading read_fields(struct reader *r, bool ours, struct message *out)
{
    for (;;) {
        struct span line;
        enum reading reading = read_line(r, &line);
        if (reading != READ_WHOLE || line.size == 0)
            return reading;
        if (out->count == MESSAGE_FIELDS)
            return bad(r, "too many fields");
        reading = read_field(r, line, ours, &out->fields[out->count]);
        if (reading != READ_WHOLE)
            return reading;
        out->count++;
    }
}

struct span message_get(const struct message *message, const char *name)
{
    for (size_t i = 0; i < message->count; i++)
        if (span_equal_nocase(message->fields[i].name, span_text(name)))
            return message->fields[i].value;
    return SPAN_NONE;
}

size_t message_count(const struct message *message, const char *name)
{
    size_t count = 0;
    for (size_t i = 0; i < message->count; i++)
        count += span_equal_nocase(message->fields[i].name, span_text(name));
    return count;
}

/* ---- the length (RFC 9112 6.3) */

static enum reading read_length(struct reader *r, struct span text, uint64_t *out)
{
    *out = 0;
    for (size_t i = 0; i < text.size; i++) {
        if (!is_digit(text.data[i]) || *out > (UINT64_MAX - 9) / 10)
            return bad(r, "Content-Length is no number");
        *out = *out * 10 + (unsigned)(text.data[i] - '0');
    }
    return text.size > 0 ? READ_WHOLE : bad(r, "an empty Content-Length");
}

static bool has_no_body(struct message_how how, const struct message *message)
{
    return how.response && (how.to_head || message->status < 200 || message->status == 204 ||
                            message->status == 304);
}

static enum reading find_length(struct reader *r, struct message_how how, struct message *out)
{
    size_t sizes = message_count(out, "content-length");
    size_t codings = message_count(out, "transfer-encoding");
    bool empty = how.response && (out->status < 200 || out->status == 204);
    if (sizes > 1 || codings > 1 || (sizes > 0 && codings > 0))
        return bad(r, "more than one length");
    if (how.ours && empty && sizes + codings > 0)
        return bad(r, "a length where no body can be");
    if (sizes > 0 && read_length(r, message_get(out, "content-length"), &out->length) != READ_WHOLE)
        return READ_BAD;
    if (has_no_body(how, out))
        return READ_WHOLE;
    if (codings > 0) {
        out->framing = BODY_CHUNKED;
        if (!span_equal_nocase(message_get(out, "transfer-encoding"), SPAN("chunked")))
            return bad(r, "another coding than chunked");
    } else if (sizes > 0) {
        out->framing = BODY_SIZED;
    } else if (how.response) {
        out->framing = BODY_UNTIL_CLOSE;
    }
    return READ_WHOLE;
}

/* ---- the body */

static enum reading take(struct reader *r, uint64_t size, struct message *out)
{
    size_t left = r->text.size - r->at, here = size < left ? (size_t)size : left;
    buf_append(&out->body, r->text.data + r->at, here);
    CHECK_THAT(!out->body.failed);
    r->at += here;
    return here == size ? READ_WHOLE : READ_PART;
}

static int hex_of(char byte, bool ours)
{
    const char *digits = ours ? "0123456789abcdef" : "0123456789abcdefABCDEF";
    const char *at = byte == '\0' ? NULL : strchr(digits, byte);
    int value = at == NULL ? -1 : (int)(at - digits);
    return value > 15 ? value - 6 : value;
}

static enum reading read_chunk_line(struct reader *r, bool ours, uint64_t *out_size)
{
    struct span line;
    size_t digits = 0;
    enum reading reading = read_line(r, &line);
    if (reading != READ_WHOLE)
        return reading;
    *out_size = 0;
    for (; digits < line.size && hex_of(line.data[digits], ours) >= 0; digits++) {
        if (*out_size >> 58 != 0)
            return bad(r, "a chunk that is too large");
        *out_size = *out_size * 16 + (unsigned)hex_of(line.data[digits], ours);
    }
    if (digits == 0 || (ours && (digits < line.size || (digits > 1 && line.data[0] == '0'))))
        return bad(r, "no chunk size");
    struct span rest = span_trim(span_from(line, digits));
    if (digits < line.size && (rest.size == 0 || rest.data[0] != ';'))
        return bad(r, "no extension behind a chunk size");
    return READ_WHOLE;
}

static enum reading read_trailers(struct reader *r, bool ours)
{
    for (;;) {
        struct message_field field;
        struct span line;
        enum reading reading = read_line(r, &line);
        if (reading != READ_WHOLE || line.size == 0)
            return reading;
        reading = read_field(r, line, ours, &field);
        if (reading != READ_WHOLE)
            return reading;
    }
}

static enum reading read_chunks(struct reader *r, bool ours, struct message *out)
{
    for (;;) {
        uint64_t size;
        struct span end;
        enum reading reading = read_chunk_line(r, ours, &size);
        if (reading != READ_WHOLE)
            return reading;
        if (size == 0)
            return read_trailers(r, ours);
        reading = take(r, size, out);
        if (reading == READ_WHOLE)
            reading = read_line(r, &end);
        if (reading != READ_WHOLE)
            return reading;
        if (end.size > 0)
            return bad(r, "a chunk longer than its size");
    }
}

static enum reading read_body(struct reader *r, struct message_how how, struct message *out)
{
    switch (out->framing) {
    case BODY_NONE:
        return READ_WHOLE;
    case BODY_SIZED:
        return take(r, out->length, out);
    case BODY_CHUNKED:
        return read_chunks(r, how.ours, out);
    case BODY_UNTIL_CLOSE:
        break;
    }
    (void)take(r, r->text.size - r->at, out);
    return how.ended ? READ_WHOLE : READ_PART;
}

enum reading message_read(struct span text, struct message_how how, struct message *out)
{
    struct reader r = {.text = text};
    struct buf body = out->body;
    body.size = 0;
    *out = (struct message){.body = body};
    enum reading reading =
        how.response ? read_status_line(&r, how.ours, out) : read_request_line(&r, out);
    if (reading == READ_WHOLE)
        reading = read_fields(&r, how.ours, out);
    if (reading == READ_WHOLE)
        reading = find_length(&r, how, out);
    if (reading == READ_WHOLE) {
        out->head = r.at;
        reading = read_body(&r, how, out);
    }
    out->size = r.at;
    out->why = r.why;
    return reading;
}
