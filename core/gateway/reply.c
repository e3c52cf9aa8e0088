#include "gateway/reply.h"

#include "base/buf.h"
#include "base/text.h"
#include "http/framing.h"

enum reply_kind { REPLY_JSON, REPLY_PLAIN, REPLY_XML, REPLY_HTML };

static const struct {
    struct span type; /* as it stands in Accept */
    enum reply_kind kind;
} kinds[] = {
    {SPAN("application/json"), REPLY_JSON}, {SPAN("text/plain"), REPLY_PLAIN},
    {SPAN("application/xml"), REPLY_XML},   {SPAN("text/html"), REPLY_HTML},
    {SPAN("application/*"), REPLY_JSON},    {SPAN("text/*"), REPLY_PLAIN},
};

static const struct {
    struct span content_type;
    const char *format; /* message, id */
} bodies[] = {
    [REPLY_JSON] = {SPAN("application/json; charset=utf-8"),
                    "{\n  \"message\":\"%.*s\",\n  \"request_id\":\"%.*s\"\n}"},
    [REPLY_PLAIN] = {SPAN("text/plain; charset=utf-8"), "%.*s\nrequest_id: %.*s\n"},
    [REPLY_XML] = {SPAN("application/xml; charset=utf-8"),
                   "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<error>\n"
                   "  <message>%.*s</message>\n  <requestid>%.*s</requestid>\n</error>\n"},
    [REPLY_HTML] = {SPAN("text/html; charset=utf-8"),
                    "<!doctype html>\n<html>\n  <head>\n    <meta charset=\"utf-8\">\n"
                    "    <title>Error</title>\n  </head>\n  <body>\n    <h1>Error</h1>\n"
                    "    <p>%.*s.</p>\n    <p>request_id: %.*s</p>\n  </body>\n</html>\n"},
};

static enum reply_kind kind_of(struct span type)
{
    for (size_t i = 0; i < COUNT_OF(kinds); i++)
        if (span_equal_nocase(kinds[i].type, type))
            return kinds[i].kind;
    return REPLY_JSON;
}

/* Thousandths; 1000 when not given or unreadable. */
static unsigned quality(struct span parameters)
{
    struct span part;
    while (span_split(&parameters, ';', &part)) {
        part = span_trim(part);
        double value;
        if (span_starts_with_nocase(part, SPAN("q=")) && text_to_double(span_from(part, 2), &value))
            return value <= 0 ? 0 : value >= 1 ? 1000 : (unsigned)(value * 1000);
    }
    return 1000;
}

/* The type with the highest quality, the first of equals (RFC 9110 12.5.1, Kong's reading). */
static enum reply_kind negotiate(struct span accept)
{
    struct span item, best = SPAN_NONE;
    unsigned best_quality = 0;
    while (http_list_next(&accept, &item)) {
        struct span type = span_first(item, span_find(item, ';'));
        unsigned q = type.size < item.size ? quality(span_from(item, type.size + 1)) : 1000;
        if (q > best_quality) {
            best_quality = q;
            best = span_trim(type);
        }
    }
    return kind_of(best);
}

/* The message stands in a JSON string, or in markup. */
static struct span escape(struct arena *arena, struct span message, enum reply_kind kind)
{
    AUTO_BUF out = BUF_INIT;
    if (kind == REPLY_PLAIN)
        return message;
    if (kind == REPLY_JSON) {
        buf_json(&out, message);
        struct span quoted = buf_view(&out);
        return out.failed ? SPAN_NONE
                          : arena_copy(arena, span_of(quoted.data + 1, quoted.size - 2));
    }
    for (size_t i = 0; i < message.size; i++) {
        char c = message.data[i];
        if (c == '<' || c == '>' || c == '&' || c == '"')
            buf_printf(&out, "&#%u;", (unsigned)(unsigned char)c);
        else
            buf_byte(&out, c);
    }
    return out.failed ? SPAN_NONE : arena_copy(arena, buf_view(&out));
}

/* The caller's own id as one more member of the JSON form. */
static struct span with_correlation(struct arena *arena, struct span body, struct span correlation)
{
    struct span text = escape(arena, correlation, REPLY_JSON);
    struct span open = span_first(body, body.size - 2); /* without its "\n}" */
    return !span_is_set(text) ? SPAN_NONE
                              : arena_printf(arena, "%.*s,\n  \"correlation_id\":\"%.*s\"\n}",
                                             SPAN_ARG(open), SPAN_ARG(text));
}

struct reply_text reply_render(struct arena *arena, struct span accept, struct span otherwise,
                               struct span message, struct span id, struct span correlation)
{
    enum reply_kind kind = span_is_set(accept) ? negotiate(accept) : kind_of(otherwise);
    struct span text = message.size == 0 ? message : escape(arena, message, kind);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* the formats are the table above */
    struct span body = arena_printf(arena, bodies[kind].format, SPAN_ARG(text), SPAN_ARG(id));
#pragma GCC diagnostic pop
    if (kind == REPLY_JSON && span_is_set(body) && span_is_set(correlation))
        body = with_correlation(arena, body, correlation);
    return (struct reply_text){bodies[kind].content_type, body};
}
