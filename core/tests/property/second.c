#include "second.h"

#include <llhttp.h>

/* Refused by llhttp, taken by weir, and why that is right. The bytes concerned never reach the
 * upstream (its side is read without this table) but for those marked so. */
static const struct {
    llhttp_errno_t error;
    bool in_body;
    const char *text; /* a part of llhttp's; NULL: any */
    const char *why;
} rows[] = {
    {HPE_USER, false, NULL,
     "RFC 9110 9.1: a method that llhttp does not know (read again with one that it does)"},
    {HPE_USER, true, NULL,
     "RFC 3986 2.1: a byte beyond ASCII in the target (read again with an ASCII one)"},
    {HPE_INVALID_CONTENT_LENGTH, false, "Invalid character in Content-Length",
     "RFC 9110 5.6.3: a tab behind a value is space too"},
    {HPE_INVALID_TRANSFER_ENCODING, false, NULL,
     "RFC 9110 5.6.3: a tab behind \"chunked\" is space too"},
    {HPE_INVALID_CHUNK_SIZE, true, "Invalid character in chunk size",
     "RFC 9112 7.1.1: blanks before a chunk extension"},
    {HPE_STRICT, true, "chunk extensions",
     "RFC 9112 7.1.1: an extension nobody knows is dropped unread; only a line end ends it"},
    {HPE_INVALID_TRANSFER_ENCODING, true, NULL,
     "RFC 9110 6.5.1: Transfer-Encoding as a trailer field says nothing of framing"},
    {HPE_INVALID_CONTENT_LENGTH, true, NULL, "RFC 9110 6.5.1: Content-Length as a trailer field"},
    {HPE_UNEXPECTED_CONTENT_LENGTH, true, NULL, "RFC 9110 6.5.1: the same beside chunked"},
};
enum { ROWS = sizeof(rows) / sizeof(rows[0]), ROW_METHOD = 0, ROW_TARGET = 1 };

const char *second_row(unsigned row)
{
    return row < ROWS ? rows[row].why : NULL;
}

/* What llhttp sees, as one text: each part ends with a NUL, which none of them contains. */
struct reading {
    char text[2 * STREAM_MAX];
    size_t size, value_at;
    bool head, whole;
};
static struct reading seen, wanted;

static void add(struct reading *r, const char *data, size_t size)
{
    CHECK_THAT(size <= sizeof(r->text) - r->size);
    if (size > 0)
        memcpy(r->text + r->size, data, size);
    r->size += size;
}

static int on_part(llhttp_t *parser, const char *data, size_t size)
{
    (void)parser;
    if (!seen.head)
        add(&seen, data, size);
    return 0;
}

static int on_part_end(llhttp_t *parser)
{
    (void)parser;
    if (!seen.head) {
        add(&seen, "", 1);
        seen.value_at = seen.size;
    }
    return 0;
}

static int on_value_end(llhttp_t *parser)
{
    struct span value = span_trim(span_of(seen.text + seen.value_at, seen.size - seen.value_at));
    if (!seen.head) {
        memmove(seen.text + seen.value_at, value.data, value.size);
        seen.size = seen.value_at + value.size;
    }
    return on_part_end(parser);
}

static int on_head_end(llhttp_t *parser)
{
    (void)parser;
    seen.head = true;
    return 0;
}

static int on_body(llhttp_t *parser, const char *data, size_t size)
{
    (void)parser;
    add(&seen, data, size);
    return 0;
}

static int on_message_end(llhttp_t *parser)
{
    (void)parser;
    seen.whole = true;
    return HPE_PAUSED;
}

static llhttp_errno_t read_with(llhttp_t *parser, struct span text)
{
    static llhttp_settings_t settings;
    if (settings.on_body == NULL) {
        llhttp_settings_init(&settings);
        settings.on_method = settings.on_url = on_part;
        settings.on_header_field = settings.on_header_value = on_part;
        settings.on_method_complete = settings.on_url_complete = on_part_end;
        settings.on_header_field_complete = on_part_end;
        settings.on_header_value_complete = on_value_end;
        settings.on_headers_complete = on_head_end;
        settings.on_body = on_body;
        settings.on_message_complete = on_message_end;
    }
    seen.size = seen.value_at = 0;
    seen.head = seen.whole = false;
    llhttp_init(parser, HTTP_REQUEST, &settings);
    return llhttp_execute(parser, text.data, text.size);
}

static void add_part(struct reading *r, struct span part)
{
    add(r, part.data, part.size);
    add(r, "", 1);
}

static void want(const struct message *m, struct span method, struct span target)
{
    wanted.size = 0;
    add_part(&wanted, method);
    add_part(&wanted, target);
    for (size_t i = 0; i < m->count; i++) {
        add_part(&wanted, m->fields[i].name);
        add_part(&wanted, m->fields[i].value);
    }
    add(&wanted, m->payload.data, m->payload.size);
}

/* A copy with a method that llhttp knows and a target without bytes beyond ASCII. */
static struct span translate(struct span text, const struct message *m, struct span *out_method,
                             struct span *out_target, unsigned *out_row)
{
    static const char *const known[] = {"GET",    "HEAD",    "POST",  "PUT", "PATCH",
                                        "DELETE", "OPTIONS", "TRACE", NULL};
    static char copy[2 * STREAM_MAX];
    struct span method = m->method, target = m->target;
    bool has = false;
    for (const char *const *k = known; *k != NULL; k++)
        has = has || span_equal(method, span_text(*k));
    *out_row = ROWS;
    if (!has) {
        *out_row = ROW_METHOD;
        method = SPAN("POST");
    }
    memcpy(copy, method.data, method.size);
    size_t from = (size_t)(m->method.data + m->method.size - text.data);
    memcpy(copy + method.size, text.data + from, text.size - from);
    *out_method = span_of(copy, method.size);
    char *at = copy + method.size + 1;
    for (size_t i = 0; i < target.size; i++)
        if ((unsigned char)at[i] >= 0x80) {
            at[i] = 'x';
            *out_row = ROW_TARGET;
        }
    *out_target = span_of(at, target.size);
    return span_of(copy, method.size + text.size - from);
}

static bool is_refusal(llhttp_errno_t error)
{
    return error != HPE_OK && error != HPE_PAUSED && error != HPE_PAUSED_UPGRADE;
}

static enum opinion look_up(const llhttp_t *parser, llhttp_errno_t error, unsigned *out_row,
                            const char **out_why)
{
    const char *text = llhttp_get_error_reason(parser);
    *out_why = text == NULL ? llhttp_errno_name(error) : text;
    for (unsigned i = ROW_TARGET + 1; i < ROWS; i++)
        if (rows[i].error == error && rows[i].in_body == seen.head &&
            (rows[i].text == NULL || strstr(*out_why, rows[i].text) != NULL)) {
            *out_row = i;
            return OPINION_WIDER;
        }
    return OPINION_OTHER;
}

enum opinion second_opinion(struct span text, const struct message *m, unsigned *out_row,
                            const char **out_why)
{
    static llhttp_t parser;
    struct span method, target;
    unsigned row = ROWS;
    struct span copy = translate(text, m, &method, &target, &row);
    llhttp_errno_t error = read_with(&parser, copy);
    if (is_refusal(error))
        return look_up(&parser, error, out_row, out_why);
    *out_why = "llhttp sees no end";
    if (!seen.whole)
        return OPINION_OTHER;
    /* It stops at the last byte, or behind it. */
    const char *end = llhttp_get_error_pos(&parser);
    *out_why = "llhttp sees an earlier end";
    if (end != NULL && end + 1 < copy.data + copy.size)
        return OPINION_OTHER;
    want(m, method, target);
    *out_why = "llhttp reads another message";
    if (seen.size != wanted.size || memcmp(seen.text, wanted.text, seen.size) != 0)
        return OPINION_OTHER;
    *out_row = row;
    return row == ROWS ? OPINION_SAME : OPINION_WIDER;
}

bool second_accepts(struct span text)
{
    static llhttp_t parser;
    llhttp_errno_t error = read_with(&parser, text);
    return seen.whole && !is_refusal(error);
}
