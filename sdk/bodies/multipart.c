#include <string.h>
#include <strings.h>

#include <weir/multipart.h>

#include "equal.h"

enum { PARTS_MAX = 1000, BOUNDARY_MAX = 70 /* RFC 2046 5.1.1 */ };

static weir_str span(const char *from, const char *to)
{
    return (weir_str){from, (size_t)(to - from)};
}

static const char *find(weir_str in, const char *from, weir_str what)
{
    const char *end = in.data + in.size;
    return from > end ? NULL : memmem(from, (size_t)(end - from), what.data, what.size);
}

/* ---- parameters of a header value: `; name=token` or `; name="text"` */

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

/* The value of a quoted or plain parameter from `at` on; *out_next is behind it. */
static weir_str parameter_value(const char *at, const char *end, const char **out_next)
{
    const char *from = at;
    if (at < end && *at == '"') {
        from = ++at;
        while (at < end && *at != '"')
            at += *at == '\\' && at + 1 < end ? 2 : 1;
        *out_next = at < end ? at + 1 : end;
        return span(from, at < end ? at : end);
    }
    while (at < end && *at != ';' && !is_space(*at))
        at++;
    *out_next = at;
    return span(from, at);
}

/* data NULL: there is no such parameter. */
static weir_str parameter(weir_str value, const char *wanted)
{
    const char *at = value.data, *end = value.data + value.size;
    size_t wanted_size = strlen(wanted);
    while (at < end && *at != ';')
        at++;
    while (at < end) {
        while (at < end && (*at == ';' || is_space(*at)))
            at++;
        const char *from = at;
        while (at < end && *at != '=' && *at != ';')
            at++;
        weir_str name = span(from, at);
        if (at == end || *at == ';')
            continue;
        weir_str text = parameter_value(at + 1, end, &at);
        if (name.size == wanted_size && strncasecmp(name.data, wanted, name.size) == 0)
            return text;
    }
    return (weir_str){NULL, 0};
}

/* Browsers write '"' as %22 and CR, LF as %0D, %0A (WHATWG); others escape with a backslash. */
static weir_str decode_name(weir_multipart *multipart, weir_str raw)
{
    static const struct {
        char text[4];
        char is;
    } codes[] = {{"%22", '"'}, {"%0D", '\r'}, {"%0A", '\n'}};
    if (raw.size == 0 ||
        (memchr(raw.data, '%', raw.size) == NULL && memchr(raw.data, '\\', raw.size) == NULL))
        return raw;
    char *text = multipart->alloc(multipart->user, raw.size);
    size_t size = 0;
    if (text == NULL)
        return (weir_str){NULL, 0};
    for (size_t at = 0; at < raw.size; at++) {
        char c = raw.data[at];
        if (c == '\\' && at + 1 < raw.size)
            c = raw.data[++at];
        for (size_t i = 0; c == '%' && i < sizeof(codes) / sizeof(codes[0]); i++)
            if (raw.size - at >= 3 && strncasecmp(raw.data + at, codes[i].text, 3) == 0) {
                c = codes[i].is;
                at += 2;
            }
        text[size++] = c;
    }
    return (weir_str){text, size};
}

/* ---- parts */

static weir_multipart_part *add_part(weir_multipart *multipart)
{
    if (multipart->count == multipart->room) {
        size_t room = multipart->room == 0 ? 8 : multipart->room * 2;
        weir_multipart_part *parts = multipart->alloc(multipart->user, room * sizeof(*parts));
        if (parts == NULL)
            return NULL;
        if (multipart->count > 0)
            memcpy(parts, multipart->parts, multipart->count * sizeof(*parts));
        multipart->parts = parts;
        multipart->room = room;
    }
    weir_multipart_part *part = &multipart->parts[multipart->count++];
    memset(part, 0, sizeof(*part));
    return part;
}

/* The value of Content-Disposition among the header fields; data NULL: there is none. */
static weir_str disposition(weir_str head)
{
    static const char name[] = "content-disposition:";
    const char *at = head.data, *end = head.data + head.size;
    while (at < end) {
        const char *line_end = find(head, at, WEIR_LIT("\r\n"));
        if (line_end == NULL)
            line_end = end;
        if ((size_t)(line_end - at) >= sizeof(name) - 1 &&
            strncasecmp(at, name, sizeof(name) - 1) == 0)
            return span(at + sizeof(name) - 1, line_end);
        at = line_end == end ? end : line_end + 2;
    }
    return (weir_str){NULL, 0};
}

static weir_status parse_part(weir_multipart *multipart, weir_str raw)
{
    if (multipart->count == PARTS_MAX)
        return WEIR_FULL;
    weir_multipart_part *part = add_part(multipart);
    if (part == NULL)
        return WEIR_NO_MEMORY;
    part->raw = raw;
    weir_str head = {raw.data, 0};
    if (raw.size >= 2 && memcmp(raw.data, "\r\n", 2) == 0) { /* no header fields at all */
        part->content = span(raw.data + 2, raw.data + raw.size);
        return WEIR_SUCCESS;
    }
    const char *end = find(raw, raw.data, WEIR_LIT("\r\n\r\n"));
    if (end == NULL)
        return WEIR_INVALID;
    head = span(raw.data, end);
    part->content = span(end + 4, raw.data + raw.size);
    weir_str value = disposition(head);
    if (value.data == NULL)
        return WEIR_SUCCESS;
    weir_str name = parameter(value, "name");
    part->is_file =
        parameter(value, "filename").data != NULL || parameter(value, "filename*").data != NULL;
    if (name.data == NULL)
        return WEIR_SUCCESS;
    part->name = decode_name(multipart, name);
    return part->name.data == NULL ? WEIR_NO_MEMORY : WEIR_SUCCESS;
}

/* "--boundary" at the begin of a line; NULL: no more. */
static const char *next_delimiter(const weir_multipart *multipart, const char *from,
                                  weir_str delimiter)
{
    weir_str body = multipart->body;
    for (const char *at = from; (at = find(body, at, delimiter)) != NULL; at++)
        if (at == body.data || (at - body.data >= 2 && memcmp(at - 2, "\r\n", 2) == 0))
            return at;
    return NULL;
}

static weir_status parse_parts(weir_multipart *multipart, weir_str delimiter)
{
    const char *end = multipart->body.data + multipart->body.size;
    const char *at = next_delimiter(multipart, multipart->body.data, delimiter);
    while (at != NULL) {
        at += delimiter.size;
        if (end - at >= 2 && memcmp(at, "--", 2) == 0)
            return WEIR_SUCCESS;
        while (at < end && is_space(*at))
            at++;
        if (end - at < 2 || memcmp(at, "\r\n", 2) != 0)
            return WEIR_INVALID;
        at += 2;
        const char *next = next_delimiter(multipart, at, delimiter);
        if (next == NULL || next - 2 < at)
            return WEIR_INVALID;
        weir_status status = parse_part(multipart, span(at, next - 2));
        if (status != WEIR_SUCCESS)
            return status;
        at = next;
    }
    return WEIR_INVALID;
}

weir_status weir_multipart_parse(weir_multipart *multipart, weir_str body, weir_str content_type,
                                 weir_alloc *alloc, void *user)
{
    *multipart = (weir_multipart){.alloc = alloc, .user = user, .body = body};
    char delimiter[BOUNDARY_MAX + 2] = "--";
    if (content_type.data == NULL || body.data == NULL)
        return WEIR_INVALID;
    multipart->boundary = parameter(content_type, "boundary");
    if (multipart->boundary.size == 0 || multipart->boundary.size > BOUNDARY_MAX)
        return WEIR_INVALID;
    memcpy(delimiter + 2, multipart->boundary.data, multipart->boundary.size);
    return parse_parts(multipart, (weir_str){delimiter, multipart->boundary.size + 2});
}

weir_multipart_part *weir_multipart_find(weir_multipart *multipart, weir_str name, size_t nth)
{
    for (size_t i = 0; i < multipart->count; i++) {
        weir_multipart_part *part = &multipart->parts[i];
        if (!part->removed && part->name.data != NULL && text_equal(part->name, name) && nth-- == 0)
            return part;
    }
    return NULL;
}

/* ---- edits */

weir_status weir_multipart_remove(weir_multipart *multipart, weir_str name)
{
    weir_status status = WEIR_NOT_FOUND;
    for (weir_multipart_part *part; (part = weir_multipart_find(multipart, name, 0)) != NULL;) {
        part->removed = multipart->edited = true;
        status = WEIR_SUCCESS;
    }
    return status;
}

static bool is_name(weir_str name)
{
    for (size_t i = 0; i < name.size; i++)
        if (name.data[i] == '\r' || name.data[i] == '\n' || name.data[i] == '\0')
            return false;
    return true;
}

/* In quotes: '"' as %22, as browsers do; a backslash must not escape what follows it. Returns the
 * end, at most three bytes for each of the name. */
static char *put_name(char *out, weir_str name)
{
    for (size_t i = 0; i < name.size; i++) {
        if (name.data[i] == '"') {
            memcpy(out, "%22", 3);
            out += 3;
        } else {
            if (name.data[i] == '\\')
                *out++ = '\\';
            *out++ = name.data[i];
        }
    }
    return out;
}

static char *put(char *out, weir_str text)
{
    if (text.size > 0)
        memcpy(out, text.data, text.size);
    return out + text.size;
}

/* The part's bytes with another name between the quotes (or in place of the token). */
static weir_status rename_part(weir_multipart *multipart, weir_multipart_part *part, weir_str name)
{
    weir_str head = span(part->raw.data, part->content.data);
    weir_str old = parameter(disposition(head), "name");
    bool is_quoted = old.data > part->raw.data && old.data[-1] == '"';
    const char *end = part->raw.data + part->raw.size;
    char *text = multipart->alloc(multipart->user, part->raw.size + 3 * name.size + 2);
    if (text == NULL)
        return WEIR_NO_MEMORY;
    char *out = put(text, span(part->raw.data, old.data));
    out = put(out, is_quoted ? WEIR_LIT("") : WEIR_LIT("\""));
    out = put_name(out, name);
    out = put(out, is_quoted ? WEIR_LIT("") : WEIR_LIT("\""));
    out = put(out, span(old.data + old.size, end));
    size_t content = part->content.size;
    part->raw = span(text, out);
    part->content = (weir_str){out - content, content};
    part->name = name;
    multipart->edited = true;
    return WEIR_SUCCESS;
}

weir_status weir_multipart_rename(weir_multipart *multipart, weir_str name, weir_str new_name)
{
    if (weir_multipart_find(multipart, name, 0) == NULL)
        return WEIR_NOT_FOUND;
    if (!is_name(new_name))
        return WEIR_INVALID;
    if (text_equal(name, new_name))
        return WEIR_SUCCESS;
    (void)weir_multipart_remove(multipart, new_name);
    weir_status status = WEIR_SUCCESS;
    for (weir_multipart_part *part;
         status == WEIR_SUCCESS && (part = weir_multipart_find(multipart, name, 0)) != NULL;)
        status = rename_part(multipart, part, new_name);
    return status;
}

/* Could a reader take the value for the end of the part? */
static bool holds_boundary(const weir_multipart *multipart, weir_str value)
{
    return find(value, value.data, multipart->boundary) != NULL;
}

static weir_status make_part(weir_multipart *multipart, weir_str name, weir_str value,
                             weir_multipart_part *out)
{
    static const weir_str start = {"Content-Disposition: form-data; name=\"", 38},
                          middle = {"\"\r\n\r\n", 5};
    if (!is_name(name) || (value.size > 0 && holds_boundary(multipart, value)))
        return WEIR_INVALID;
    char *text =
        multipart->alloc(multipart->user, start.size + 3 * name.size + middle.size + value.size);
    if (text == NULL)
        return WEIR_NO_MEMORY;
    char *at = put(put_name(put(text, start), name), middle);
    char *end = put(at, value);
    *out = (weir_multipart_part){.name = name, .raw = span(text, end), .content = span(at, end)};
    multipart->edited = true;
    return WEIR_SUCCESS;
}

weir_status weir_multipart_set(weir_multipart *multipart, weir_str name, weir_str value)
{
    weir_multipart_part made;
    weir_multipart_part *first = weir_multipart_find(multipart, name, 0);
    if (first == NULL)
        return weir_multipart_append(multipart, name, value);
    weir_status status = make_part(multipart, name, value, &made);
    if (status != WEIR_SUCCESS)
        return status;
    for (weir_multipart_part *more; (more = weir_multipart_find(multipart, name, 1)) != NULL;)
        more->removed = true;
    *first = made;
    return WEIR_SUCCESS;
}

weir_status weir_multipart_append(weir_multipart *multipart, weir_str name, weir_str value)
{
    weir_multipart_part made;
    if (multipart->count == PARTS_MAX)
        return WEIR_FULL;
    weir_status status = make_part(multipart, name, value, &made);
    if (status != WEIR_SUCCESS)
        return status;
    weir_multipart_part *part = add_part(multipart);
    if (part == NULL)
        return WEIR_NO_MEMORY;
    *part = made;
    return WEIR_SUCCESS;
}

/* ---- print */

weir_status weir_multipart_print(const weir_multipart *multipart, weir_str *out_text)
{
    *out_text = multipart->body;
    if (!multipart->edited)
        return WEIR_SUCCESS;
    size_t size = multipart->boundary.size + 6;
    for (size_t i = 0; i < multipart->count; i++)
        if (!multipart->parts[i].removed)
            size += multipart->boundary.size + multipart->parts[i].raw.size + 6;
    char *text = multipart->alloc(multipart->user, size), *out = text;
    if (text == NULL)
        return WEIR_NO_MEMORY;
    for (size_t i = 0; i < multipart->count; i++) {
        const weir_multipart_part *part = &multipart->parts[i];
        if (part->removed)
            continue;
        out = put(put(out, WEIR_LIT("--")), multipart->boundary);
        out = put(put(put(out, WEIR_LIT("\r\n")), part->raw), WEIR_LIT("\r\n"));
    }
    out = put(put(out, WEIR_LIT("--")), multipart->boundary);
    out = put(out, WEIR_LIT("--\r\n"));
    *out_text = span(text, out);
    return WEIR_SUCCESS;
}
