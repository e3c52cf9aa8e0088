#include "http/framing.h"

#include "base/text.h"

/* What is known of a message before its length is. */
enum fact {
    REQUEST = 1 << 0,
    RESPONSE = 1 << 1,
    OLD = 1 << 2,           /* HTTP/1.0 */
    CODED = 1 << 3,         /* has Transfer-Encoding */
    CHUNKED = 1 << 4,       /* exactly one, exactly "chunked" */
    SIZED = 1 << 5,         /* has Content-Length */
    SIZE_BAD = 1 << 6,      /* not a number, or too large a one */
    SIZED_TWICE = 1 << 7,   /* more than one of them */
    TO_HEAD = 1 << 8,       /* answers HEAD */
    TO_CONNECT = 1 << 9,    /* a 2xx that answers CONNECT */
    NO_CONTENT = 1 << 10,   /* 1xx, 204 */
    NOT_MODIFIED = 1 << 11, /* 304 */
};

/* Read from the top: the first row whose facts all hold and whose `unless` facts do not, decides.
 */
static const struct rule {
    unsigned when, unless;
    enum weir_err error;
    enum http_body_kind kind;
    const char *section, *reason;
} rules[] = {
    /* clang-format off */
    {CODED | SIZED,    0,       WEIR_ERR_BAD_REQUEST,    HTTP_BODY_NONE,    "RFC 9112 6.3 (3)",
     "Content-Length beside Transfer-Encoding"},
    {CODED | OLD,      0,       WEIR_ERR_BAD_REQUEST,    HTTP_BODY_NONE,    "RFC 9112 6.1",
     "Transfer-Encoding in HTTP/1.0"},
    {SIZED | SIZE_BAD, 0,       WEIR_ERR_BAD_REQUEST,    HTTP_BODY_NONE,    "RFC 9112 6.3 (5)",
     "Content-Length is not a number"},
    {SIZED_TWICE,      0,       WEIR_ERR_BAD_REQUEST,    HTTP_BODY_NONE,    "RFC 9110 8.6",
     "two Content-Length fields"},

    {REQUEST | CODED,  CHUNKED, WEIR_ERR_CODING_REFUSED, HTTP_BODY_NONE,    "RFC 9112 6.1",
     "Transfer-Encoding is not chunked"},
    {REQUEST | CODED,  0,       WEIR_OK,                 HTTP_BODY_CHUNKED, "RFC 9112 6.3 (4)", ""},
    {REQUEST | SIZED,  0,       WEIR_OK,                 HTTP_BODY_LENGTH,  "RFC 9112 6.3 (6)", ""},
    {REQUEST,          0,       WEIR_OK,                 HTTP_BODY_NONE,    "RFC 9112 6.3 (7)", ""},

    {RESPONSE | CODED, CHUNKED, WEIR_ERR_BAD_REQUEST,    HTTP_BODY_NONE,    "RFC 9112 6.1",
     "Transfer-Encoding is not chunked"},
    {TO_HEAD,          0,       WEIR_OK,                 HTTP_BODY_NONE,    "RFC 9112 6.3 (1)", ""},
    {NO_CONTENT,       0,       WEIR_OK,                 HTTP_BODY_NONE,    "RFC 9112 6.3 (1)", ""},
    {NOT_MODIFIED,     0,       WEIR_OK,                 HTTP_BODY_NONE,    "RFC 9112 6.3 (1)", ""},
    {TO_CONNECT,       0,       WEIR_OK,                 HTTP_BODY_NONE,    "RFC 9112 6.3 (2)", ""},
    {RESPONSE | CODED, 0,       WEIR_OK,               HTTP_BODY_CHUNKED,   "RFC 9112 6.3 (4)", ""},
    {RESPONSE | SIZED, 0,       WEIR_OK,               HTTP_BODY_LENGTH,    "RFC 9112 6.3 (6)", ""},
    {RESPONSE,         0,       WEIR_OK,             HTTP_BODY_UNTIL_CLOSE, "RFC 9112 6.3 (8)", ""},
    /* clang-format on */
};

static bool read_size(struct span text, uint64_t *out_length)
{
    return text_to_u64(text, out_length) && *out_length <= INT64_MAX;
}

/* One field with one number. RFC 9110 8.6 allows to take "5, 5" or two equal fields for one 5 and
 * does not ask for it; other parsers refuse both, and where readers differ smuggling starts. */
static unsigned size_facts(const struct http_headers *h, uint64_t *out_length)
{
    unsigned facts = SIZED;
    const struct http_header *field = http_headers_first(h, HTTP_HEADER_CONTENT_LENGTH);
    if (field == NULL || !read_size(field->value, out_length))
        facts |= SIZE_BAD;
    if (http_headers_count(h, HTTP_HEADER_CONTENT_LENGTH, SPAN_NONE) > 1)
        facts |= SIZED_TWICE;
    return facts;
}

static unsigned length_facts(const struct http_headers *h, uint64_t *out_length)
{
    unsigned facts = 0;
    const struct http_header *coding = http_headers_first(h, HTTP_HEADER_TRANSFER_ENCODING);
    if (coding != NULL) {
        facts |= CODED;
        if (span_equal_nocase(coding->value, SPAN("chunked")) &&
            http_headers_count(h, HTTP_HEADER_TRANSFER_ENCODING, SPAN_NONE) == 1)
            facts |= CHUNKED;
    }
    if (h->first[HTTP_HEADER_CONTENT_LENGTH] != 0)
        facts |= size_facts(h, out_length);
    return facts;
}

static enum weir_err decide(unsigned facts, struct http_framing *framing, const char **reason)
{
    const struct rule *rule = rules;
    while ((facts & rule->when) != rule->when || (facts & rule->unless) != 0)
        rule++; /* REQUEST or RESPONSE always holds: the last rows catch everything */
    if (rule->error != WEIR_OK) {
        *reason = rule->reason;
        return rule->error;
    }
    framing->kind =
        rule->kind == HTTP_BODY_LENGTH && framing->length == 0 ? HTTP_BODY_NONE : rule->kind;
    return WEIR_OK;
}

bool http_list_next(struct span *rest, struct span *out_item)
{
    if (rest->size > 0 && span_find(*rest, ',') == rest->size) { /* the last, mostly the only one */
        *out_item = span_trim(*rest);
        *rest = span_from(*rest, rest->size);
        return out_item->size > 0;
    }
    while (rest->size > 0) {
        size_t end = 0;
        bool quoted = false;
        for (; end < rest->size && (quoted || rest->data[end] != ','); end++) {
            if (rest->data[end] == '"')
                quoted = !quoted;
            else if (quoted && rest->data[end] == '\\' && end + 1 < rest->size)
                end++;
        }
        struct span item = span_trim(span_first(*rest, end));
        *rest = span_from(*rest, end + 1);
        if (item.size > 0) {
            *out_item = item;
            return true;
        }
    }
    return false;
}

bool http_connection_has(struct span value, struct span token)
{
    struct span rest = value, item;
    while (http_list_next(&rest, &item))
        if (span_equal_nocase(item, token))
            return true;
    return false;
}

bool http_headers_list_has(const struct http_headers *h, enum http_header_id id, struct span token)
{
    size_t first = h->first[id];
    if (first == 0)
        return false;
    for (size_t i = first - 1; i < h->count; i++)
        if (h->items[i].id == id && http_connection_has(h->items[i].value, token))
            return true;
    return false;
}

bool http_headers_connection_has(const struct http_headers *h, struct span token)
{
    return http_headers_list_has(h, HTTP_HEADER_CONNECTION, token);
}

/* RFC 9112 9.3: close wins; HTTP/1.1 stays unless told, HTTP/1.0 goes unless told. */
static bool stays_open(const struct http_headers *h, unsigned minor_version)
{
    if (h->first[HTTP_HEADER_CONNECTION] == 0)
        return minor_version >= 1;
    return !http_headers_connection_has(h, SPAN("close")) &&
           (minor_version >= 1 || http_headers_connection_has(h, SPAN("keep-alive")));
}

enum weir_err http_frame_request(const struct http_request_head *head, struct http_framing *out,
                                 const char **reason)
{
    struct http_framing framing = {.keep_alive = stays_open(&head->headers, head->minor_version)};
    unsigned facts = REQUEST | (head->minor_version == 0 ? (unsigned)OLD : 0U);
    facts |= length_facts(&head->headers, &framing.length);
    TRY(decide(facts, &framing, reason));
    *out = framing;
    return WEIR_OK;
}

static unsigned status_facts(const struct http_response_head *head, bool head_request,
                             bool connect_request)
{
    unsigned facts = RESPONSE | (head->minor_version == 0 ? (unsigned)OLD : 0U);
    if (head_request)
        facts |= TO_HEAD;
    if (connect_request && head->status / 100 == 2)
        facts |= TO_CONNECT;
    if (head->status < 200 || head->status == 204)
        facts |= NO_CONTENT;
    if (head->status == 304)
        facts |= NOT_MODIFIED;
    return facts;
}

enum weir_err http_frame_response(const struct http_response_head *head, bool head_request,
                                  bool connect_request, struct http_framing *out,
                                  const char **reason)
{
    struct http_framing framing = {.keep_alive = stays_open(&head->headers, head->minor_version)};
    unsigned facts = status_facts(head, head_request, connect_request);
    facts |= length_facts(&head->headers, &framing.length);
    if (decide(facts, &framing, reason) != WEIR_OK)
        return WEIR_ERR_TARGET_BAD;
    /* A 204 that announces a body may well send one: what follows would be taken for an answer. */
    if ((facts & NO_CONTENT) != 0 && ((facts & CODED) != 0 || framing.length > 0))
        framing.keep_alive = false;
    if (framing.kind == HTTP_BODY_UNTIL_CLOSE || (facts & TO_CONNECT) != 0)
        framing.keep_alive = false;
    *out = framing;
    return WEIR_OK;
}
