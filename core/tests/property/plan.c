/* What weir decides about the requests of a stream, and what it may write of those it passes on:
 * the rules of core/http and core/gateway as they are documented (the e2e tables wire_requests.py
 * and wire_responses.py have the reasons). */
#include <stdio.h>

#include "reference.h"

/* ---- decisions */

static bool has_body(const struct message *m)
{
    return m->kind != BODY_NONE;
}

static uint16_t options_status(const struct message *m, bool *out_refused)
{
    struct span value = message_field(m, "max-forwards");
    unsigned count = 0;
    bool zero = value.size > 0, digits = value.size > 0 && value.size < 20;
    for (size_t i = 0; i < m->count; i++)
        count += span_equal_nocase(m->fields[i].name, SPAN("max-forwards"));
    for (size_t i = 0; i < value.size; i++) {
        zero = zero && value.data[i] == '0';
        digits = digits && value.data[i] >= '0' && value.data[i] <= '9';
    }
    *out_refused = !span_equal(m->path, SPAN("*")) && count > 0 && (count > 1 || !digits);
    return span_equal(m->path, SPAN("*")) || (count == 1 && zero) ? 200 : 0; /* 9110 7.6.2 */
}

static bool is_connect(const struct message *m)
{
    return span_equal(m->method, SPAN("CONNECT"));
}

/* PASSED, LOCAL, REFUSED: by the head alone. */
static enum fate fate_of_head(const struct message *m, uint16_t *out_status)
{
    static char path[3 * STREAM_MAX];
    size_t size;
    bool refused = false;
    *out_status = 0;
    if (is_connect(m) && has_body(m)) /* 9110 9.3.6 */
        return FATE_REFUSED;
    if (span_equal(m->method, SPAN("TRACE")) || is_connect(m))
        *out_status = 405;
    else if (span_equal(m->method, SPAN("OPTIONS")))
        *out_status = options_status(m, &refused);
    if (refused)
        return FATE_REFUSED;
    if (*out_status != 0)
        return FATE_LOCAL;
    return path_normal(m->path, path, &size) ? FATE_PASSED : FATE_REFUSED;
}

static bool is_to_head(struct span text)
{
    return span_starts_with(text, SPAN("HEAD ")) || span_starts_with(text, SPAN("\r\nHEAD "));
}

static struct planned plan_one(struct span text, const struct message *m)
{
    struct planned p = {.fate = FATE_REFUSED, .closes = true, .is_head = is_to_head(text)};
    if (m->head != WHOLE) {
        p.fate = m->head == CUT ? FATE_OPEN : FATE_REFUSED;
        return p;
    }
    p.fate = fate_of_head(m, &p.status);
    p.closes = !m->keep_alive || m->body != WHOLE || is_connect(m);
    p.is_old = m->minor == 0;
    p.may_continue = has_body(m) && m->minor > 0 &&
                     span_equal_nocase(message_field(m, "expect"), SPAN("100-continue"));
    p.may_close = p.fate == FATE_LOCAL && has_body(m); /* it may not be there yet */
    if (p.fate == FATE_REFUSED)
        p.closes = true;
    if (p.fate == FATE_PASSED && m->body != WHOLE) {
        p.fate = m->body == CUT ? FATE_OPEN : FATE_REFUSED;
        p.may_begin = true;
    }
    return p;
}

bool plan_make(struct span stream, struct message *m, struct plan *out)
{
    out->count = out->answers = 0;
    for (size_t at = 0; at < stream.size;) {
        if (out->count == PLAN_MAX)
            return false;
        struct span text = span_from(stream, at);
        message_read(text, RULES_CLIENT, m);
        struct planned *p = &out->requests[out->count++];
        *p = plan_one(text, m);
        p->at = (uint32_t)at;
        out->answers += p->fate == FATE_PASSED || p->fate == FATE_LOCAL;
        if (p->closes)
            break;
        at += m->end;
    }
    return true;
}

/* ---- what the upstream may see */

struct comparison {
    const struct message *asked, *sent;
    const struct edge *edge;
    const char *why;
    unsigned seen; /* bits of own_fields */
};

static bool differ(struct comparison *c, const char *why)
{
    c->why = why;
    return false;
}

static struct span joined(const struct message *m, const char *name, const char *last, char *out,
                          size_t size)
{
    size_t at = 0;
    for (size_t i = 0; i < m->count; i++)
        if (span_equal_nocase(m->fields[i].name, span_text(name)))
            at += (size_t)snprintf(out + at, size - at, "%.*s, ", SPAN_ARG(m->fields[i].value));
    at += (size_t)snprintf(out + at, size - at, "%s", last);
    return span_of(out, at);
}

static char room[STREAM_MAX];

static struct span want_via(const struct comparison *c)
{
    const char *own = c->asked->minor == 0 ? "1.0 weir/" WEIR_VERSION : "1.1 weir/" WEIR_VERSION;
    return joined(c->asked, "via", own, room, sizeof(room));
}

static struct span want_host(const struct comparison *c)
{
    int size = snprintf(room, sizeof(room), "127.0.0.1:%u", (unsigned)c->edge->target_port);
    return span_of(room, (size_t)size);
}

/* Protocols that are not HTTP again, in the client's order (RFC 9110 7.8). */
static struct span want_upgrade(const struct comparison *c)
{
    static const char *const again[] = {"h2c", "h2", "h3", "HTTP", "SHTTP", "TLS", NULL};
    const struct message *m = c->asked;
    size_t size = 0;
    bool asked = false;
    for (size_t i = 0; i < m->count; i++)
        asked = asked || (span_equal_nocase(m->fields[i].name, SPAN("connection")) &&
                          list_has(m->fields[i].value, "upgrade"));
    for (size_t i = 0; asked && m->minor > 0 && i < m->count; i++) {
        struct span rest = m->fields[i].value, item;
        if (!span_equal_nocase(m->fields[i].name, SPAN("upgrade")))
            continue;
        while (list_item(&rest, &item)) {
            size_t slash = span_find(item, '/');
            if (!is_token(span_first(item, slash)) || is_one_of(span_first(item, slash), again) ||
                (slash < item.size && !is_token(span_from(item, slash + 1))))
                continue;
            size += (size_t)snprintf(room + size, sizeof(room) - size, "%s%.*s",
                                     size > 0 ? ", " : "", SPAN_ARG(item));
        }
    }
    return size > 0 ? span_of(room, size) : SPAN_NONE;
}

static struct span want_connection(const struct comparison *c)
{
    return span_is_set(want_upgrade(c)) ? SPAN("keep-alive, Upgrade") : SPAN("keep-alive");
}

static struct span want_te(const struct comparison *c)
{
    const struct message *m = c->asked;
    bool wanted = false;
    for (size_t i = 0; i < m->count; i++)
        wanted = wanted || (span_equal_nocase(m->fields[i].name, SPAN("te")) &&
                            list_has(m->fields[i].value, "trailers"));
    return wanted && m->minor > 0 ? SPAN("trailers") : SPAN_NONE;
}

static struct span want_forwarded_for(const struct comparison *c)
{
    return joined(c->asked, "x-forwarded-for", c->edge->client_ip, room, sizeof(room));
}

static struct span want_proto(const struct comparison *c)
{
    (void)c;
    return SPAN("http");
}

static struct span want_forwarded_host(const struct comparison *c)
{
    struct span host = c->asked->authority;
    if (!span_is_set(host))
        host = message_field(c->asked, "host");
    size_t from = host.size > 0 && host.data[0] == '[' ? span_find(host, ']') : 0;
    host = span_first(host, from + span_find(span_from(host, from), ':'));
    if (host.size > 1 && host.data[host.size - 1] == '.')
        host.size--;
    for (size_t i = 0; i < host.size; i++) {
        char byte = host.data[i];
        room[i] = (char)(byte >= 'A' && byte <= 'Z' ? byte + 32 : byte);
    }
    return span_of(room, host.size);
}

static struct span want_forwarded_port(const struct comparison *c)
{
    int size = snprintf(room, sizeof(room), "%u", (unsigned)c->edge->proxy_port);
    return span_of(room, (size_t)size);
}

static struct span want_forwarded_path(const struct comparison *c)
{
    return c->asked->path;
}

static struct span want_real_ip(const struct comparison *c)
{
    return span_text(c->edge->client_ip);
}

static struct span want_length(const struct comparison *c)
{
    const struct message *m = c->asked;
    bool measured = m->kind == BODY_CHUNKED && c->sent->kind != BODY_CHUNKED;
    if (!m->sized && !measured)
        return SPAN_NONE;
    unsigned long long length = m->sized ? m->length : m->payload.size;
    int size = snprintf(room, sizeof(room), "%llu", length);
    return span_of(room, (size_t)size);
}

static struct span want_coding(const struct comparison *c)
{
    bool both = c->asked->kind == BODY_CHUNKED && c->sent->kind == BODY_CHUNKED;
    return both ? SPAN("chunked") : SPAN_NONE;
}

/* It need not be asked of the target (RFC 9110 10.1.1), but only when the client did. */
static struct span want_expect(const struct comparison *c)
{
    const struct message *m = c->asked;
    bool may = false;
    for (size_t i = 0; i < m->count; i++)
        may = may || (span_equal_nocase(m->fields[i].name, SPAN("expect")) &&
                      list_has(m->fields[i].value, "100-continue"));
    may = may && m->minor > 0 && has_body(m) && span_is_set(message_field(c->sent, "expect"));
    return may ? SPAN("100-continue") : SPAN_NONE;
}

/* The fields that weir writes, with what they say of the request; unset: not at all. */
static const struct {
    const char *name;
    struct span (*want)(const struct comparison *c);
} own_fields[] = {
    {"TE", want_te},
    {"Via", want_via},
    {"Host", want_host},
    {"Connection", want_connection},
    {"Upgrade", want_upgrade},
    {"X-Forwarded-For", want_forwarded_for},
    {"X-Forwarded-Proto", want_proto},
    {"X-Forwarded-Host", want_forwarded_host},
    {"X-Forwarded-Port", want_forwarded_port},
    {"X-Forwarded-Path", want_forwarded_path},
    {"X-Real-IP", want_real_ip},
    {"X-Kong-Request-Id", NULL}, /* 32 digits nobody can guess */
    {"Content-Length", want_length},
    {"Transfer-Encoding", want_coding},
    {"Expect", want_expect},
};
enum { OWN_FIELDS = sizeof(own_fields) / sizeof(own_fields[0]) };

static bool is_request_id(struct span value)
{
    for (size_t i = 0; i < value.size; i++)
        if (value.data[i] == '\0' || strchr("0123456789abcdef", value.data[i]) == NULL)
            return false;
    return value.size == 32;
}

/* Of one connection (RFC 9110 7.6.1), or of weir: never the client's. */
static bool is_dropped(const struct message *m, struct span name)
{
    if (span_equal_nocase(name, SPAN("trailer"))) /* it goes with what it announces */
        return m->kind != BODY_CHUNKED;
    static const char *const names[] = {"connection",
                                        "keep-alive",
                                        "te",
                                        "transfer-encoding",
                                        "upgrade",
                                        "proxy-connection",
                                        "http2-settings",
                                        "content-length",
                                        "host",
                                        "expect",
                                        "via",
                                        "proxy",
                                        "x-forwarded-for",
                                        "x-forwarded-proto",
                                        "x-forwarded-host",
                                        "x-forwarded-port",
                                        "x-forwarded-path",
                                        "x-forwarded-prefix",
                                        "x-real-ip",
                                        "x-kong-request-id",
                                        NULL};
    return is_one_of(name, names);
}

/* Connection names it, and it is none of those that the gateway and its policies rely on (of which
 * these are what streams.c can write). */
static bool is_named_away(const struct message *m, struct span name)
{
    static const char *const kept[] = {"trailer",      "authorization", "cookie", "content-type",
                                       "max-forwards", "date",          "age",    "origin",
                                       "apikey",       "cache-control", NULL};
    if (is_one_of(name, kept))
        return false;
    for (size_t i = 0; i < m->count; i++) {
        struct span rest = m->fields[i].value, item;
        if (!span_equal_nocase(m->fields[i].name, SPAN("connection")))
            continue;
        while (list_item(&rest, &item))
            if (span_equal_nocase(item, name) && !span_equal_nocase(item, SPAN("keep-alive")))
                return true;
    }
    return false;
}

/* True: `field` is one of weir's, and as it must be. */
static bool is_own(struct comparison *c, const struct field *field)
{
    for (unsigned i = 0; i < OWN_FIELDS; i++) {
        if (!span_equal(field->name, span_text(own_fields[i].name)))
            continue;
        if ((c->seen & 1U << i) != 0)
            return differ(c, "a field of weir's twice");
        c->seen |= 1U << i;
        if (own_fields[i].want == NULL)
            return is_request_id(field->value) || differ(c, "no request id");
        struct span want = own_fields[i].want(c);
        return (span_is_set(want) && span_equal(want, field->value)) ||
               differ(c, own_fields[i].name);
    }
    return false;
}

static bool are_own_complete(struct comparison *c)
{
    for (unsigned i = 0; i < OWN_FIELDS; i++) {
        bool wanted = own_fields[i].want == NULL || span_is_set(own_fields[i].want(c));
        if (wanted && (c->seen & 1U << i) == 0)
            return differ(c, own_fields[i].name);
    }
    return true;
}

/* Max-Forwards of OPTIONS counts down (RFC 9110 7.6.2). */
static bool is_same_value(const struct comparison *c, const struct field *asked,
                          const struct field *sent)
{
    unsigned long long left = 0;
    char text[24];
    if (!span_equal(c->asked->method, SPAN("OPTIONS")) ||
        !span_equal_nocase(asked->name, SPAN("max-forwards")))
        return span_equal(asked->value, sent->value);
    for (size_t i = 0; i < asked->value.size; i++)
        left = left * 10 + (unsigned)(asked->value.data[i] - '0');
    int size = snprintf(text, sizeof(text), "%llu", left - 1);
    return span_equal(sent->value, span_of(text, (size_t)size));
}

/* The client's end-to-end fields, in order, each as it was, and weir's own; nothing else. */
static bool are_fields_right(struct comparison *c)
{
    const struct message *asked = c->asked, *sent = c->sent;
    size_t next = 0;
    for (size_t i = 0; i < sent->count; i++) {
        const struct field *field = &sent->fields[i];
        if (is_own(c, field))
            continue;
        if (c->why != NULL)
            return false;
        while (next < asked->count && (is_dropped(asked, asked->fields[next].name) ||
                                       is_named_away(asked, asked->fields[next].name)))
            next++;
        if (next == asked->count || !span_equal(asked->fields[next].name, field->name))
            return differ(c, "a field that the client did not send");
        if (!is_same_value(c, &asked->fields[next++], field))
            return differ(c, "a field with another value than the client's");
    }
    for (; next < asked->count; next++)
        if (!is_dropped(asked, asked->fields[next].name) &&
            !is_named_away(asked, asked->fields[next].name))
            return differ(c, "a field of the client's is missing");
    return are_own_complete(c);
}

static bool is_target_right(struct comparison *c)
{
    static char path[3 * STREAM_MAX];
    size_t size = 0;
    const struct message *asked = c->asked, *sent = c->sent;
    if (!span_equal(asked->method, sent->method))
        return differ(c, "the method");
    if (!path_normal(asked->path, path, &size) || !span_equal(sent->path, span_of(path, size)))
        return differ(c, "the path");
    if (span_is_set(asked->query) != span_is_set(sent->query) ||
        !span_equal(asked->query, sent->query))
        return differ(c, "the query");
    return sent->minor == 1 || differ(c, "the version");
}

bool passed_rightly(const struct message *asked, const struct message *sent, bool part,
                    const struct edge *edge, const char **out_why)
{
    struct comparison c = {.asked = asked, .sent = sent, .edge = edge};
    struct span payload = span_first(asked->payload, part ? sent->payload.size : SIZE_MAX);
    bool right = is_target_right(&c) && are_fields_right(&c) &&
                 (span_equal(payload, sent->payload) || differ(&c, "the body"));
    *out_why = c.why;
    return right;
}
