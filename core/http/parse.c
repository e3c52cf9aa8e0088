#include "http/parse.h"

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

static enum http_result refuse_name(struct parse *p, const char *name_end)
{
    const char *reason = "a byte that no field name has";
    if (name_end == p->at) {
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

/* One field line at p->at, which is known to hold a byte. */
static inline enum http_result parse_field(struct parse *p, struct http_headers *h)
{
    const char *end = p->end, *name = p->at, *name_end = scan_token(name, end);
    if (UNLIKELY(name_end == end))
        return HTTP_INCOMPLETE;
    if (UNLIKELY(*name_end != ':' || name_end == name))
        return refuse_name(p, name_end);
    const char *value = name_end + 1;
    while (value < end && is_blank(*value))
        value++;
    const char *value_end = scan_value(value, end);
    if (UNLIKELY(end - value_end < 2))
        return value_end < end && *value_end != '\r' ? refuse_value(p, *value_end)
                                                     : HTTP_INCOMPLETE;
    if (UNLIKELY(value_end[0] != '\r' || value_end[1] != '\n'))
        return refuse_value(p, *value_end);
    p->at = value_end + 2;
    while (value_end > value && is_blank(value_end[-1]))
        value_end--;

    if (UNLIKELY(h->count >= p->most_fields))
        return parse_refuse(p, WEIR_ERR_HEAD_TOO_LARGE, "too many fields");
    struct http_header *item = &h->items[h->count++];
    item->name = span_of(name, (size_t)(name_end - name));
    item->value = span_of(value, (size_t)(value_end - value));
    enum http_header_id id = http_header_id_of(item->name);
    item->id = (uint16_t)id;
    item->flags = http_header_flags(id);
    if (h->first[id] == 0)
        h->first[id] = h->count;
    else if (id == HTTP_HEADER_HOST)
        p->two_hosts = true;
    return HTTP_COMPLETE;
}

enum http_result parse_fields(struct parse *p, struct http_headers *h)
{
    for (;;) {
        if (p->at == p->end)
            return HTTP_INCOMPLETE;
        if (*p->at == '\r')
            break;
        enum http_result result = parse_field(p, h);
        if (UNLIKELY(result != HTTP_COMPLETE))
            return result;
    }
    h->first[HTTP_HEADER_UNKNOWN] = 0;
    if (p->end - p->at < 2)
        return HTTP_INCOMPLETE;
    if (p->at[1] != '\n')
        return parse_refuse(p, WEIR_ERR_BAD_REQUEST, "a bare CR");
    p->at += 2;
    return HTTP_COMPLETE;
}
