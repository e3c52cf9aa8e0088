#include "http/parse.h"

#include "http/names.h"
#include "http/scan.h"

bool parse_is_due(const char *data, size_t size, size_t already_seen,
                  const struct http_limits *limits)
{
    if (already_seen == 0 || size >= limits->head_bytes)
        return true;
    for (size_t from = already_seen; from < size;) {
        const char *line_end = memchr(data + from, '\n', size - from);
        if (line_end == NULL)
            return false;
        size_t at = (size_t)(line_end - data);
        if (at == 0 || data[at - 1] != '\r') /* a bare LF: refused, why wait */
            return true;
        if (at >= 2 && data[at - 2] == '\n')
            return true;
        from = at + 1;
    }
    return false;
}

enum http_result parse_shape(const struct parse *p, const char *pattern)
{
    const char *at = p->at;
    for (; *pattern != '\0'; pattern++, at++) {
        if (at == p->end)
            return HTTP_INCOMPLETE;
        if (*pattern == 'd' ? *at < '0' || *at > '9' : *at != *pattern)
            return HTTP_REFUSED;
    }
    return HTTP_COMPLETE;
}

static enum http_result refuse_name(struct parse *p, const char *name, const char *name_end)
{
    const char *reason = "a byte that no field name has";
    if (name_end == name) {
        if (*name_end == ' ' || *name_end == '\t')
            reason = "a field line is folded or begins with a space";
        else if (*name_end == ':')
            reason = "a field without a name";
        else if (*name_end == '\n')
            reason = "a bare LF";
    } else if (*name_end == ' ' || *name_end == '\t') {
        reason = "a space before the colon of a field";
    } else if (*name_end == '\r' || *name_end == '\n') {
        reason = "a field line without a colon";
    }
    return parse_refuse(p, WEIR_ERR_BAD_REQUEST, reason);
}

static enum http_result refuse_value(struct parse *p, char byte)
{
    const char *reason = byte == '\r'   ? "a bare CR in a field value"
                         : byte == '\n' ? "a bare LF"
                         : byte == '\0' ? "a NUL in a field value"
                                        : "a control byte in a field value";
    return parse_refuse(p, WEIR_ERR_BAD_REQUEST, reason);
}

static inline bool is_blank(char byte)
{
    return byte == ' ' || byte == '\t';
}

static inline bool is_line_end(const char *at)
{
    return memcmp(at, "\r\n", 2) == 0;
}

/* The value's first byte at or after `at`; mostly there is one space before it. */
static inline const char *skip_blanks(const char *at, const char *end)
{
    if (LIKELY(at < end && *at == ' '))
        at++;
    if (UNLIKELY(at < end && (unsigned char)*at <= ' '))
        while (at < end && is_blank(*at))
            at++;
    return at;
}

static enum http_result stop_in_name(struct parse *p, const char *name, const char *name_end)
{
    return name_end == p->end ? HTTP_INCOMPLETE : refuse_name(p, name, name_end);
}

static enum http_result stop_in_value(struct parse *p, const char *at)
{
    bool is_cut = at == p->end || (*at == '\r' && at + 1 == p->end);
    return is_cut ? HTTP_INCOMPLETE : refuse_value(p, *at);
}

static enum http_result end_fields(struct parse *p, const char *at)
{
    if (p->end - at < 2)
        return HTTP_INCOMPLETE;
    if (!is_line_end(at))
        return parse_refuse(p, WEIR_ERR_BAD_REQUEST, "a bare CR");
    p->at = at + 2;
    return HTTP_COMPLETE;
}

/* The hottest loop of the room: everything it needs lies in locals, because the compiler must
 * expect each stored span to change what p and h hold. */
enum http_result parse_fields(struct parse *p, struct http_headers *h)
{
    const char *at = p->at, *const end = p->end, *const last = scan_last(at, end);
    struct http_header *item = h->items, *const items_end = item + p->most_fields;
    uint16_t *const first = h->first, count = 0;
    for (; at < end && *at != '\r'; item++) {
        const char *name_end = scan_token_to(at, last, end);
        if (UNLIKELY(name_end == end || *name_end != ':' || name_end == at))
            return stop_in_name(p, at, name_end);
        const char *value = skip_blanks(name_end + 1, end);
        const char *value_end = scan_value_to(value, last, end);
        if (UNLIKELY(end - value_end < 2 || !is_line_end(value_end)))
            return stop_in_value(p, value_end);
        if (UNLIKELY(item == items_end))
            return parse_refuse(p, WEIR_ERR_HEAD_TOO_LARGE, "too many fields");

        item->name = span_of(at, (size_t)(name_end - at));
        at = value_end + 2;
        if (UNLIKELY((unsigned char)value_end[-1] <= ' '))
            while (value_end > value && is_blank(value_end[-1]))
                value_end--;
        item->value = span_of(value, (size_t)(value_end - value));
        unsigned id = name_id_of_token(item->name);
        item->id = (uint16_t)id;
        count++;
        item->flags = known_names[id].flags;
        if (LIKELY(first[id] == 0))
            first[id] = count; /* of UNKNOWN too: wiped below, cheaper than asking here */
        else if (id == HTTP_HEADER_HOST)
            p->two_hosts = true;
    }
    first[HTTP_HEADER_UNKNOWN] = 0;
    h->count = count;
    return end_fields(p, at);
}
