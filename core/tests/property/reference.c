#include "reference.h"

#include <arpa/inet.h>
#include <ctype.h>

#define LINE_MAX_CHUNK 256U /* a size with its extensions and line end */
#define TARGET_MAX 8192U
#define METHOD_LIMIT 64U

/* ---- words */

static bool is_token_byte(char c)
{
    return isalnum((unsigned char)c) || (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

bool is_token(struct span text)
{
    for (size_t i = 0; i < text.size; i++)
        if ((unsigned char)text.data[i] >= 0x80 || !is_token_byte(text.data[i]))
            return false;
    return text.size > 0;
}

static bool is_control(char c)
{
    return ((unsigned char)c < 0x20 && c != '\t') || c == 0x7f;
}

bool is_one_of(struct span text, const char *const *list)
{
    for (; *list != NULL; list++)
        if (span_equal_nocase(text, span_text(*list)))
            return true;
    return false;
}

bool list_item(struct span *rest, struct span *out_item)
{
    while (rest->size > 0) {
        size_t end = 0;
        for (bool quoted = false; end < rest->size; end++) {
            char c = rest->data[end];
            if (c == '"')
                quoted = !quoted;
            else if (c == '\\' && quoted && end + 1 < rest->size)
                end++;
            else if (c == ',' && !quoted)
                break;
        }
        struct span item = span_trim(span_first(*rest, end));
        *rest = span_from(*rest, end + 1);
        *out_item = item;
        if (item.size > 0)
            return true;
    }
    return false;
}

bool list_has(struct span list, const char *item)
{
    struct span have;
    while (list_item(&list, &have))
        if (span_equal_nocase(have, span_text(item)))
            return true;
    return false;
}

struct span message_field(const struct message *m, const char *name)
{
    for (size_t i = 0; i < m->count; i++)
        if (span_equal_nocase(m->fields[i].name, span_text(name)))
            return m->fields[i].value;
    return SPAN_NONE;
}

static size_t count_fields(const struct message *m, const char *name)
{
    size_t count = 0;
    for (size_t i = 0; i < m->count; i++)
        count += span_equal_nocase(m->fields[i].name, span_text(name));
    return count;
}

/* ---- lines */

struct reader {
    struct span text;
    size_t at;
    enum rules rules;
    struct message *m;
};

static enum verdict refuse(struct reader *r, const char *reason)
{
    r->m->reason = reason;
    return REFUSED;
}

/* A line without its CR LF. No control byte is in it, no CR or LF stands alone (RFC 9112 2.2). */
static enum verdict read_line(struct reader *r, struct span *out_line)
{
    size_t end = r->at;
    while (end < r->text.size && !is_control(r->text.data[end]))
        end++;
    if (end == r->text.size)
        return CUT;
    if (r->text.data[end] != '\r')
        return refuse(r, "a control byte or a bare LF");
    if (end + 1 == r->text.size)
        return CUT;
    if (r->text.data[end + 1] != '\n')
        return refuse(r, "a bare CR");
    *out_line = span_of(r->text.data + r->at, end - r->at);
    r->at = end + 2;
    return WHOLE;
}

/* ---- the target (RFC 9112 3.2) */

static bool is_port(struct span port)
{
    unsigned value = 0;
    for (size_t i = 0; i < port.size; i++) {
        if (i == 5 || !isdigit((unsigned char)port.data[i]))
            return false;
        value = value * 10 + (unsigned)(port.data[i] - '0');
    }
    return value <= 65535;
}

static bool is_host_name(struct span host)
{
    for (size_t i = 0; i < host.size; i++) {
        char c = host.data[i];
        if (c == '%') {
            if (i + 2 >= host.size || !isxdigit((unsigned char)host.data[i + 1]) ||
                !isxdigit((unsigned char)host.data[i + 2]) ||
                (host.data[i + 1] == '0' && host.data[i + 2] == '0'))
                return false;
            i += 2;
        } else if ((unsigned char)c >= 0x80 || c == '\0' ||
                   (!isalnum((unsigned char)c) && strchr("-._~!$&'()*+;=", c) == NULL)) {
            return false;
        }
    }
    return host.size > 0;
}

static bool is_address(struct span text)
{
    char copy[INET6_ADDRSTRLEN];
    unsigned char ip[16];
    if (text.size >= sizeof(copy) || memchr(text.data, '\0', text.size) != NULL)
        return false;
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    return inet_pton(AF_INET6, copy, ip) == 1;
}

/* host [":" port], no user. */
static bool split_authority(struct span text, struct span *out_host, struct span *out_port)
{
    bool literal = text.size > 0 && text.data[0] == '[';
    size_t bracket = literal ? span_find(text, ']') : 0;
    if (literal && (bracket == text.size || !is_address(span_of(text.data + 1, bracket - 1))))
        return false;
    struct span behind = literal ? span_from(text, bracket + 1) : text;
    size_t colon = span_find(behind, ':');
    *out_host = span_first(text, literal ? bracket + 1 : colon);
    *out_port = span_from(behind, colon + 1);
    if (literal && colon != 0 && behind.size > 0)
        return false;
    return (literal || is_host_name(*out_host)) && is_port(*out_port);
}

static enum verdict split_absolute(struct reader *r)
{
    struct message *m = r->m;
    struct span host, port, rest = m->target;
    if (span_starts_with_nocase(rest, SPAN("http://")))
        rest = span_from(rest, 7);
    else if (span_starts_with_nocase(rest, SPAN("https://")))
        rest = span_from(rest, 8);
    else
        return refuse(r, "no form of a target");
    size_t end = 0;
    while (end < rest.size && rest.data[end] != '/' && rest.data[end] != '?')
        end++;
    m->authority = span_first(rest, end);
    if (!split_authority(m->authority, &host, &port))
        return refuse(r, "the target's authority");
    rest = span_from(rest, end);
    size_t mark = span_find(rest, '?');
    m->path = span_first(rest, mark);
    m->query = mark < rest.size ? span_from(rest, mark + 1) : SPAN_NONE;
    if (m->path.size == 0) /* RFC 9112 3.2.1, 3.2.4 */
        m->path =
            span_equal(m->method, SPAN("OPTIONS")) && mark == rest.size ? SPAN("*") : SPAN("/");
    return WHOLE;
}

static enum verdict split_target(struct reader *r)
{
    struct message *m = r->m;
    struct span host, port;
    if (span_equal(m->method, SPAN("CONNECT"))) {
        m->authority = m->target;
        bool good = split_authority(m->target, &host, &port) && port.size > 0;
        return good ? WHOLE : refuse(r, "CONNECT without host and port");
    }
    if (span_equal(m->target, SPAN("*"))) {
        m->path = m->target;
        return span_equal(m->method, SPAN("OPTIONS")) ? WHOLE : refuse(r, "* is for OPTIONS");
    }
    if (m->target.data[0] != '/')
        return split_absolute(r);
    size_t mark = span_find(m->target, '?');
    m->path = span_first(m->target, mark);
    m->query = mark < m->target.size ? span_from(m->target, mark + 1) : SPAN_NONE;
    return WHOLE;
}

static enum verdict read_request_line(struct reader *r)
{
    struct message *m = r->m;
    struct span line;
    enum verdict verdict = read_line(r, &line);
    if (verdict != WHOLE)
        return verdict;
    size_t first = span_find(line, ' ');
    struct span rest = span_from(line, first + 1);
    size_t second = span_find(rest, ' ');
    struct span version = span_from(rest, second + 1);
    m->method = span_first(line, first);
    m->target = span_first(rest, second);
    if (!is_token(m->method) || m->method.size > METHOD_LIMIT)
        return refuse(r, "the method");
    if (m->target.size == 0 || m->target.size > TARGET_MAX ||
        span_find(m->target, '#') < m->target.size || span_find(m->target, '\t') < m->target.size)
        return refuse(r, "the target");
    if (!span_equal(version, SPAN("HTTP/1.1")) && !span_equal(version, SPAN("HTTP/1.0")))
        return refuse(r, "the version");
    m->minor = version.data[7] == '1' ? 1 : 0;
    return split_target(r);
}

/* ---- the fields (RFC 9112 5, RFC 9110 5) */

static enum verdict read_field(struct reader *r, struct span line)
{
    struct message *m = r->m;
    size_t colon = span_find(line, ':');
    struct field field = {span_first(line, colon), span_trim(span_from(line, colon + 1))};
    if (colon == line.size || !is_token(field.name))
        return refuse(r, "a field line");
    bool canonical = field.value.size + 1 == line.size - colon - 1 && line.data[colon + 1] == ' ';
    if (r->rules == RULES_TARGET && !canonical)
        return refuse(r, "a field line that weir does not write so");
    if (m->count == (r->rules == RULES_CLIENT ? FIELDS_MAX : FIELDS_ROOM))
        return refuse(r, "too many fields");
    m->fields[m->count++] = field;
    return WHOLE;
}

static enum verdict read_fields(struct reader *r)
{
    for (;;) {
        struct span line;
        enum verdict verdict = read_line(r, &line);
        if (verdict != WHOLE || line.size == 0)
            return verdict;
        verdict = read_field(r, line);
        if (verdict != WHOLE)
            return verdict;
    }
}

static enum verdict check_host(struct reader *r)
{
    struct span host, port, value = message_field(r->m, "host");
    size_t count = count_fields(r->m, "host");
    if (count > 1 || (count == 0 && r->m->minor > 0))
        return refuse(r, "not one Host");
    return count == 0 || split_authority(value, &host, &port) ? WHOLE : refuse(r, "a bad Host");
}

/* ---- the length (RFC 9112 6) */

static bool read_number(struct span digits, uint64_t *out)
{
    uint64_t value = 0;
    for (size_t i = 0; i < digits.size; i++) {
        unsigned digit = (unsigned)(unsigned char)digits.data[i] - '0';
        if (digit > 9 || value > (UINT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *out = value;
    return digits.size > 0;
}

static enum verdict find_length(struct reader *r)
{
    struct message *m = r->m;
    size_t sizes = count_fields(m, "content-length");
    size_t codings = count_fields(m, "transfer-encoding");
    if (sizes > 1 || codings > 1 || (sizes > 0 && codings > 0))
        return refuse(r, "more than one length"); /* 6.3 (3), 6.3 (5) */
    if (codings > 0) {
        bool chunked = span_equal_nocase(message_field(m, "transfer-encoding"), SPAN("chunked"));
        m->kind = BODY_CHUNKED;
        return chunked && m->minor > 0 ? WHOLE : refuse(r, "a coding"); /* 6.1 */
    }
    if (sizes == 0)
        return WHOLE;
    struct span text = message_field(m, "content-length");
    if (!read_number(text, &m->length) || m->length > INT64_MAX)
        return refuse(r, "a bad Content-Length"); /* 6.3 (5) */
    if (r->rules == RULES_TARGET && text.size > 1 && text.data[0] == '0')
        return refuse(r, "zeros before a Content-Length");
    m->sized = true;
    m->kind = m->length > 0 ? BODY_LENGTH : BODY_NONE;
    return WHOLE;
}

static void find_persistence(struct message *m) /* RFC 9112 9.3 */
{
    bool close = false, keep = m->minor > 0;
    for (size_t i = 0; i < m->count; i++) {
        if (!span_equal_nocase(m->fields[i].name, SPAN("connection")))
            continue;
        close = close || list_has(m->fields[i].value, "close");
        keep = keep || list_has(m->fields[i].value, "keep-alive");
    }
    m->keep_alive = keep && !close;
}

/* ---- the body (RFC 9112 7.1) */

static void take(struct reader *r, size_t size)
{
    struct message *m = r->m;
    memcpy(m->bytes + m->payload.size, r->text.data + r->at, size);
    m->payload.size += size;
    r->at += size;
}

static enum verdict read_chunk_size(struct reader *r, uint64_t *out_size)
{
    struct span line;
    uint64_t size = 0;
    size_t at = 0;
    enum verdict verdict = read_line(r, &line);
    if (verdict != WHOLE)
        return verdict;
    for (; at < line.size && isxdigit((unsigned char)line.data[at]); at++) {
        char c = (char)tolower((unsigned char)line.data[at]);
        if (size > (UINT64_C(1) << 62) / 16)
            return refuse(r, "a chunk too large");
        size = size * 16 + (uint64_t)(isdigit((unsigned char)c) ? c - '0' : c - 'a' + 10);
    }
    if (at == 0 || line.size + 2 > LINE_MAX_CHUNK || size > UINT64_C(1) << 62)
        return refuse(r, "a bad chunk size");
    bool plain = at == line.size && (line.data[0] != '0' || at == 1);
    if (r->rules == RULES_TARGET && !plain)
        return refuse(r, "a chunk size that weir does not write so");
    struct span rest = span_trim(span_from(line, at)); /* BWS is allowed before an extension only */
    if (at < line.size && (rest.size == 0 || rest.data[0] != ';'))
        return refuse(r, "something behind a chunk size");
    *out_size = size;
    return WHOLE;
}

static enum verdict read_trailer(struct reader *r)
{
    for (size_t count = 0;; count++) {
        struct span line;
        enum verdict verdict = read_line(r, &line);
        if (verdict != WHOLE || line.size == 0)
            return verdict;
        if (count == FIELDS_MAX)
            return refuse(r, "too many trailer fields");
        size_t colon = span_find(line, ':');
        if (colon == line.size || !is_token(span_first(line, colon)))
            return refuse(r, "a trailer field");
        static const char *const never[] = {"content-length",
                                            "transfer-encoding",
                                            "host",
                                            "connection",
                                            "cookie",
                                            "authorization",
                                            "te",
                                            "trailer",
                                            "expect",
                                            "upgrade",
                                            "x-forwarded-for"};
        bool sent = span_is_set(message_field(r->m, "trailer"));
        for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++)
            sent = sent && !span_equal_nocase(span_first(line, colon), span_text(never[i]));
        if (r->rules == RULES_TARGET && !sent)
            return refuse(r, "a trailer field that weir would not send");
    }
}

static enum verdict read_chunks(struct reader *r)
{
    for (;;) {
        uint64_t size = 0;
        enum verdict verdict = read_chunk_size(r, &size);
        if (verdict != WHOLE)
            return verdict;
        if (size == 0)
            return read_trailer(r);
        if (size > r->text.size - r->at) {
            take(r, r->text.size - r->at);
            return CUT;
        }
        take(r, (size_t)size);
        struct span end = span_first(span_from(r->text, r->at), 2);
        if (!span_equal(end, span_first(SPAN("\r\n"), end.size)))
            return refuse(r, "no line end behind a chunk");
        if (end.size < 2)
            return CUT;
        r->at += 2;
    }
}

static enum verdict read_body(struct reader *r)
{
    if (r->m->kind == BODY_CHUNKED)
        return read_chunks(r);
    uint64_t left = r->text.size - r->at;
    bool whole = r->m->length <= left;
    take(r, whole ? (size_t)r->m->length : (size_t)left);
    return whole ? WHOLE : CUT;
}

/* ---- all of it */

static enum verdict read_head(struct reader *r)
{
    static enum verdict (*const steps[])(struct reader *) = {read_request_line, read_fields,
                                                             check_host, find_length};
    if (r->rules == RULES_CLIENT && span_starts_with(r->text, SPAN("\r\n")))
        r->at = 2; /* RFC 9112 2.2 */
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        enum verdict verdict = steps[i](r);
        if (verdict != WHOLE)
            return verdict;
    }
    return WHOLE;
}

void message_read(struct span text, enum rules rules, struct message *out)
{
    struct reader r = {.text = text, .rules = rules, .m = out};
    out->reason = "";
    out->authority = out->path = out->query = SPAN_NONE;
    out->count = 0;
    out->kind = BODY_NONE;
    out->sized = false;
    out->length = 0;
    out->payload = span_of(out->bytes, 0);
    out->body = CUT;
    out->head = read_head(&r);
    out->body_at = out->end = r.at;
    if (out->head != WHOLE)
        return;
    find_persistence(out);
    out->body = read_body(&r);
    out->end = r.at;
}
