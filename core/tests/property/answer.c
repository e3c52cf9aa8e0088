#include "answer.h"

#include <ctype.h>

struct reader {
    struct span text;
    size_t at;
    struct answer *answer;
    bool sized, chunked;
    size_t length;
};

static enum verdict refuse(struct reader *r, const char *reason)
{
    r->answer->reason = reason;
    return REFUSED;
}

static enum verdict read_line(struct reader *r, struct span *out_line)
{
    size_t end = r->at;
    for (; end < r->text.size && r->text.data[end] != '\r'; end++) {
        char c = r->text.data[end];
        if (((unsigned char)c < 0x20 && c != '\t') || c == 0x7f)
            return refuse(r, "a control byte in the head of an answer");
    }
    if (r->text.size - end < 2)
        return CUT;
    if (r->text.data[end + 1] != '\n')
        return refuse(r, "a bare CR in an answer");
    *out_line = span_of(r->text.data + r->at, end - r->at);
    r->at = end + 2;
    return WHOLE;
}

static enum verdict read_status(struct reader *r)
{
    struct span line;
    enum verdict verdict = read_line(r, &line);
    if (verdict != WHOLE)
        return verdict;
    if (line.size < 13 || !span_starts_with(line, SPAN("HTTP/1.1 ")) || line.data[12] != ' ')
        return refuse(r, "no status line");
    for (int i = 9; i < 12; i++) {
        if (!isdigit((unsigned char)line.data[i]))
            return refuse(r, "no status");
        r->answer->status = r->answer->status * 10 + (unsigned)(line.data[i] - '0');
    }
    return WHOLE;
}

static enum verdict note_field(struct reader *r, struct span name, struct span value)
{
    if (span_equal_nocase(name, SPAN("x-id")))
        r->answer->id = value;
    if (span_equal_nocase(name, SPAN("transfer-encoding"))) {
        if (r->chunked || r->sized || !span_equal(value, SPAN("chunked")))
            return refuse(r, "an answer with a coding or two lengths");
        r->chunked = true;
    }
    if (!span_equal_nocase(name, SPAN("content-length")))
        return WHOLE;
    if (r->chunked || r->sized || value.size == 0 || value.size > 9)
        return refuse(r, "an answer with two lengths or a bad one");
    r->sized = true;
    for (size_t i = 0; i < value.size; i++) {
        if (!isdigit((unsigned char)value.data[i]))
            return refuse(r, "an answer with a bad length");
        r->length = r->length * 10 + (size_t)(value.data[i] - '0');
    }
    return WHOLE;
}

static enum verdict read_fields(struct reader *r)
{
    for (;;) {
        struct span line;
        enum verdict verdict = read_line(r, &line);
        if (verdict != WHOLE || line.size == 0)
            return verdict;
        size_t colon = span_find(line, ':');
        if (colon == line.size || !is_token(span_first(line, colon)))
            return refuse(r, "a field of an answer");
        verdict = note_field(r, span_first(line, colon), span_trim(span_from(line, colon + 1)));
        if (verdict != WHOLE)
            return verdict;
    }
}

static enum verdict take(struct reader *r, size_t size)
{
    if (size > r->text.size - r->at)
        return CUT;
    if (r->answer->body.size + size > sizeof(r->answer->bytes))
        return refuse(r, "an answer that is too long");
    memcpy(r->answer->bytes + r->answer->body.size, r->text.data + r->at, size);
    r->answer->body.size += size;
    r->at += size;
    return WHOLE;
}

static enum verdict read_chunks(struct reader *r)
{
    for (;;) {
        struct span line;
        size_t size = 0;
        enum verdict verdict = read_line(r, &line);
        if (verdict != WHOLE)
            return verdict;
        if (line.size == 0 || line.size > 6)
            return refuse(r, "a chunk size of an answer");
        for (size_t i = 0; i < line.size; i++) {
            char c = line.data[i];
            if (!isdigit((unsigned char)c) && (c < 'a' || c > 'f'))
                return refuse(r, "a chunk size of an answer");
            size = size * 16 + (size_t)(c <= '9' ? c - '0' : c - 'a' + 10);
        }
        if (size == 0)
            return read_fields(r);
        verdict = take(r, size);
        if (verdict == WHOLE)
            verdict = read_line(r, &line);
        if (verdict != WHOLE)
            return verdict;
        if (line.size > 0)
            return refuse(r, "a chunk of an answer");
    }
}

static enum verdict read_all(struct reader *r, bool to_head, bool ended)
{
    struct answer *a = r->answer;
    enum verdict verdict = read_status(r);
    if (verdict == WHOLE)
        verdict = read_fields(r);
    if (verdict != WHOLE || to_head || a->status < 200 || a->status == 204 || a->status == 304)
        return verdict;
    if (r->chunked)
        return read_chunks(r);
    if (r->sized)
        return take(r, r->length);
    a->until_close = true;
    verdict = take(r, r->text.size - r->at);
    return verdict == WHOLE && !ended ? CUT : verdict;
}

void answer_read(struct span text, bool to_head, bool ended, struct answer *out)
{
    struct reader r = {.text = text, .answer = out};
    out->reason = "";
    out->status = 0;
    out->id = SPAN_NONE;
    out->body = span_of(out->bytes, 0);
    out->until_close = false;
    out->verdict = read_all(&r, to_head, ended);
    out->size = r.at;
}
