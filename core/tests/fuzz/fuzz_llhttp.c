/* The head parser, the framing and the chunked decoder beside llhttp, the parser of Node.js (strict
 * mode, the C source that Debian's node-llhttp brings). Both read the same bytes: a request, or a
 * response when the first byte is odd. What llhttp refuses and we accept is a bug but for the rows
 * of `wider`; what we refuse and llhttp accepts needs a row in `stricter`. What both accept must be
 * the same message: method, target, version, status, every field, the length, the body, the end. */
#include <llhttp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "http/chunked.h"
#include "http/framing.h"

#define FIELDS 100
#define TEXT_MAX 8192

/* Refused by us for this reason, accepted by llhttp. */
static const struct {
    const char *reason, *why;
} stricter[] = {
    /* clang-format off */
    {"a request line without a version (HTTP/0.9)", "RFC 9112 2.3: HTTP/1 begins at 1.0"},
    {"a version other than 1.0 and 1.1", "RFC 9110 2.5: we do not conform to it; llhttp takes 0.9 and 2.0"},
    {"the request line does not end with a space and a version", "RFC 9112 3: one space, and CRLF 2.2; llhttp takes a bare LF, more spaces and ICE"},
    {"two spaces in the request line", "RFC 9112 3: one SP"},
    {"a byte that no method has", "RFC 9112 2.2: one empty line before a request; llhttp skips any number, of bare LF too"},
    {"a bare CR", "RFC 9112 2.2; llhttp skips it before a message and within one"},
    {"a bare LF", "RFC 9112 2.2 allows to take it for CRLF; others do not, and that is how heads are split"},
    {"a fragment in the target", "RFC 9112 3.2: no form of a target has one"},
    {"the target is neither a path nor an http URI", "RFC 9110 4.2: we are no gateway for other schemes"},
    {"the target's authority is none", "RFC 9110 4.2.3, 4.2.4: no empty host, no user"},
    {"only OPTIONS has the target *", "RFC 9112 3.2.4"},
    {"CONNECT wants host:port", "RFC 9110 9.3.6"},
    {"no Host field", "RFC 9112 3.2; a parser leaves that to its user"},
    {"two Host fields", "RFC 9112 3.2"},
    {"the Host field is no authority", "RFC 9112 3.2"},
    {"a field line is folded or begins with a space", "RFC 9112 5.2: obs-fold is refused"},
    {"a field without a name", "RFC 9110 5.1"},
    {"too many fields", "our limit"},
    {"the target is too long", "our limit"},
    {"the method is too long", "our limit"},
    {"Transfer-Encoding is not chunked", "RFC 9112 6.1: we decode no other coding; of responses llhttp reads until close"},
    {"Content-Length beside Transfer-Encoding", "RFC 9112 6.3 (3); llhttp passes over an empty coding"},
    {"Content-Length is not a number", "RFC 9110 8.6 (anticipate overflow): over 63 bits is none to us, to llhttp over 64"},
    {"Transfer-Encoding in HTTP/1.0", "RFC 9112 6.1: such a message is faulty"},
    {"not a status line", "RFC 9112 4; llhttp takes other versions and a short status"},
    {"a status below 100", "RFC 9110 15"},
    {"a status of more than three digits", "RFC 9112 4"},
    {"a control byte in the status line", "RFC 9112 4; llhttp ends it at a bare CR or LF"},
    {"too many chunk extensions or trailer fields", "our limit"},
    {"too many trailer fields", "our limit"},
    {"the chunk size is too large", "our limit"},
    {"a trailer field without a name", "RFC 9112 7.1.2, 5.2: folded, or begins with a colon"},
    {"a bare CR at the end of the body", "RFC 9112 2.2"},
    /* clang-format on */
};

static bool is_any(unsigned char byte)
{
    (void)byte;
    return true;
}

static bool is_high(unsigned char byte)
{
    return byte >= 0x80;
}

static bool is_blank(unsigned char byte)
{
    return byte == ' ' || byte == '\t';
}

/* Refused by llhttp with this error at this byte, accepted by us. */
static const struct {
    llhttp_errno_t error;
    bool in_body;
    const char *text; /* llhttp's begins so; NULL: any */
    bool (*at)(unsigned char byte);
    const char *why;
} wider[] = {
    {HPE_INVALID_METHOD, false, NULL, is_any,
     "RFC 9110 9.1, 16.1: methods are added by others; llhttp knows a fixed list"},
    {HPE_INVALID_URL, false, NULL, is_high,
     "RFC 9112 3.2 (SHOULD refuse): UTF-8 that clients do send and Kong takes, no delimiter to "
     "anybody; escaped in the path that is sent on, in a query it goes on as it came"},
    {HPE_INVALID_CONTENT_LENGTH, false, "Invalid character in Content-Length", is_blank,
     "RFC 9112 5, 9110 5.6.3: OWS behind a value is a tab too; we write the number, not the field"},
    {HPE_INVALID_CHUNK_SIZE, true, "Invalid character in chunk size", is_blank,
     "RFC 9112 7.1.1, 9110 5.6.3: BWS before an extension MUST be understood"},
    {HPE_STRICT, true, "Invalid character in chunk extensions", is_any,
     "RFC 9112 7.1.1: BWS there MUST be understood. And we are wider than its grammar: extensions "
     "MUST be ignored when not known, so they are dropped unread. What could hide in one is the "
     "end of its line: no control byte but HT passes, and 256 bytes are the most"},
    {HPE_INVALID_TRANSFER_ENCODING, true, NULL, is_any,
     "RFC 9110 6.5.1, 9112 7.1.2: a trailer field that frames is not merged into the head, and we "
     "drop it (http_trailer_may_pass); llhttp reads it as if it stood there"},
    {HPE_INVALID_CONTENT_LENGTH, true, NULL, is_any, "the same"},
    {HPE_UNEXPECTED_CONTENT_LENGTH, true, NULL, is_any, "the same"},
};

/* ---- what llhttp makes of it */

struct piece {
    size_t at, size;
};

struct seen {
    char text[TEXT_MAX];
    size_t size;
    struct piece method, target, names[FIELDS + 1], values[FIELDS + 1], body;
    size_t count;
    bool head, message, too_many;
    uint16_t flags;
    uint64_t length;
    uint8_t major, minor;
    uint16_t status;
};

static struct seen seen;

static void append(struct piece *piece, const char *data, size_t size)
{
    if (piece->size == 0)
        piece->at = seen.size;
    CHECK_THAT(piece->at + piece->size == seen.size && size <= sizeof(seen.text) - seen.size);
    memcpy(seen.text + seen.size, data, size);
    seen.size += size;
    piece->size += size;
}

static struct span text_of(struct piece piece)
{
    return span_of(seen.text + piece.at, piece.size);
}

static int on_method(llhttp_t *parser, const char *data, size_t size)
{
    (void)parser;
    append(&seen.method, data, size);
    return 0;
}

static int on_url(llhttp_t *parser, const char *data, size_t size)
{
    (void)parser;
    append(&seen.target, data, size);
    return 0;
}

static int on_field(llhttp_t *parser, const char *data, size_t size)
{
    (void)parser;
    if (!seen.head)
        append(&seen.names[seen.count], data, size);
    return 0;
}

static int on_value(llhttp_t *parser, const char *data, size_t size)
{
    (void)parser;
    if (!seen.head)
        append(&seen.values[seen.count], data, size);
    return 0;
}

static int on_value_complete(llhttp_t *parser)
{
    (void)parser;
    if (seen.head)
        return 0;
    if (seen.count < FIELDS)
        seen.count++;
    else
        seen.names[FIELDS].size = seen.values[FIELDS].size = 0, seen.too_many = true;
    return 0;
}

static int on_head(llhttp_t *parser)
{
    seen.head = true;
    seen.flags = parser->flags;
    seen.length = parser->content_length;
    seen.major = parser->http_major;
    seen.minor = parser->http_minor;
    seen.status = parser->status_code;
    return 0;
}

static int on_body(llhttp_t *parser, const char *data, size_t size)
{
    (void)parser;
    append(&seen.body, data, size);
    return 0;
}

static int on_message(llhttp_t *parser)
{
    (void)parser;
    seen.message = true;
    return HPE_PAUSED;
}

static llhttp_t parser;

static llhttp_errno_t read_by_llhttp(struct span text, bool response)
{
    static llhttp_settings_t settings;
    llhttp_settings_init(&settings);
    settings.on_method = on_method;
    settings.on_url = on_url;
    settings.on_header_field = on_field;
    settings.on_header_value = on_value;
    settings.on_header_value_complete = on_value_complete;
    settings.on_headers_complete = on_head;
    settings.on_body = on_body;
    settings.on_message_complete = on_message;
    memset(&seen, 0, sizeof(seen));
    llhttp_init(&parser, response ? HTTP_RESPONSE : HTTP_REQUEST, &settings);
    return llhttp_execute(&parser, text.data, text.size);
}

static bool is_refusal(llhttp_errno_t error)
{
    return error != HPE_OK && error != HPE_PAUSED && error != HPE_PAUSED_UPGRADE;
}

/* ---- what we make of it */

struct ours {
    enum http_result head, body; /* body: of a chunked one */
    const char *reason;
    struct http_framing framing;
    size_t head_size, body_size, end;
    char bytes[TEXT_MAX];
};

static void read_chunks(struct span text, struct ours *ours)
{
    struct http_chunked c;
    struct span input = span_from(text, ours->head_size), piece;
    http_chunked_init(&c);
    while ((ours->body = http_chunked_next(&c, &input, &piece)) == HTTP_INCOMPLETE) {
        memcpy(ours->bytes + ours->body_size, piece.data, piece.size);
        ours->body_size += piece.size;
        if (input.size == 0)
            break;
    }
    ours->end = text.size - input.size;
    if (ours->body == HTTP_REFUSED)
        ours->reason = c.reason;
}

/* ---- the comparison */

static void complain(const char *what, const char *ours, llhttp_errno_t error)
{
    fprintf(stderr, "%s: we '%s', llhttp %s '%s'\n", what, ours == NULL ? "" : ours,
            llhttp_errno_name(error), parser.reason == NULL ? "" : parser.reason);
    abort();
}

static void expect_in_stricter(const struct ours *ours, llhttp_errno_t error)
{
    for (size_t i = 0; i < sizeof(stricter) / sizeof(stricter[0]); i++)
        if (strcmp(stricter[i].reason, ours->reason) == 0)
            return;
    complain("refused without a listed reason", ours->reason, error);
}

static bool has_unknown_method(struct span text)
{
    size_t blank = span_starts_with(text, SPAN("\r\n")) ? 2 : 0;
    text = span_from(text, blank);
    return http_method_of(span_first(text, span_find(text, ' '))) == HTTP_METHOD_UNKNOWN;
}

static void expect_in_wider(struct span text, bool in_body, llhttp_errno_t error)
{
    const char *at = llhttp_get_error_pos(&parser), *why = llhttp_get_error_reason(&parser);
    unsigned char byte = at != NULL && at < text.data + text.size ? (unsigned char)*at : 0;
    for (size_t i = 0; i < sizeof(wider) / sizeof(wider[0]); i++)
        if (wider[i].error == error && wider[i].in_body == in_body && wider[i].at(byte) &&
            (error != HPE_INVALID_METHOD || has_unknown_method(text)) &&
            (wider[i].text == NULL ||
             (why != NULL && strncmp(wider[i].text, why, strlen(wider[i].text)) == 0)))
            return;
    complain("accepted what llhttp refuses", NULL, error);
}

static void compare_fields(const struct http_headers *h)
{
    CHECK_THAT(!seen.too_many && seen.count == h->count);
    for (size_t i = 0; i < h->count; i++) {
        CHECK_THAT(span_equal(text_of(seen.names[i]), h->items[i].name));
        CHECK_THAT(span_equal(span_trim(text_of(seen.values[i])), h->items[i].value));
    }
}

/* A tab behind "chunked" is space (RFC 9110 5.6.3) and goes; llhttp takes it for part of the name
 * and so sees another coding. We send the field on as we understood it, never as it came. */
static bool has_tabbed_coding(const struct http_headers *h)
{
    struct span value = http_headers_get(h, HTTP_HEADER_TRANSFER_ENCODING);
    if (!span_is_set(value))
        return false;
    const char *at = value.data + value.size;
    while (*at == ' ')
        at++;
    return *at == '\t';
}

static void compare_length(const struct ours *ours, bool is_bodiless)
{
    bool chunked = (seen.flags & F_CHUNKED) != 0, sized = (seen.flags & F_CONTENT_LENGTH) != 0;
    switch (ours->framing.kind) {
    case HTTP_BODY_NONE: /* a status says so; else both read a length of 0 */
        CHECK_THAT(is_bodiless || (!chunked && (!sized || seen.length == 0)));
        break;
    case HTTP_BODY_LENGTH:
        CHECK_THAT(sized && !chunked && seen.length == ours->framing.length);
        break;
    case HTTP_BODY_CHUNKED:
        CHECK_THAT(chunked && !sized);
        break;
    case HTTP_BODY_UNTIL_CLOSE:
        CHECK_THAT(!chunked && !sized);
    }
}

/* Behind a ';' that follows the value of an extension llhttp 8.1 goes on with digits of the size,
 * where RFC 9112 7.1.1 has the next extension: nothing it says of such a body counts. */
static bool has_extensions_in_a_row(const struct ours *ours, struct span text)
{
    bool value = false;
    for (size_t i = ours->head_size; i < text.size; i++) {
        char c = text.data[i];
        if (value && c == ';')
            return true;
        value = c != '\n' && (value || c == '=');
    }
    return false;
}

static void compare_chunks(const struct ours *ours, struct span text, llhttp_errno_t error)
{
    if (has_extensions_in_a_row(ours, text))
        return;
    if (ours->body == HTTP_REFUSED) {
        if (seen.message)
            expect_in_stricter(ours, error);
        return;
    }
    if (is_refusal(error)) {
        if (ours->body == HTTP_COMPLETE)
            expect_in_wider(text, true, error);
        return;
    }
    CHECK_THAT(seen.message == (ours->body == HTTP_COMPLETE));
    CHECK_THAT(span_equal(text_of(seen.body), span_of(ours->bytes, ours->body_size)));
    if (ours->body == HTTP_COMPLETE)
        CHECK_THAT(llhttp_get_error_pos(&parser) >= text.data + ours->end - 1 &&
                   llhttp_get_error_pos(&parser) <= text.data + ours->end);
}

/* True: both accepted the head. */
static bool compare_verdicts(const struct ours *ours, struct span text, llhttp_errno_t error)
{
    if (ours->head == HTTP_REFUSED) {
        if (seen.head && !is_refusal(error))
            expect_in_stricter(ours, error);
        return false;
    }
    if (ours->head == HTTP_INCOMPLETE) {
        CHECK_THAT(!seen.head);
        return false;
    }
    if (!seen.head) {
        if (!is_refusal(error))
            complain("accepted what llhttp has not read to its end", NULL, error);
        expect_in_wider(text, false, error);
        return false;
    }
    return true;
}

static void try_request(struct span text)
{
    static struct http_header items[FIELDS];
    static struct ours ours;
    struct http_request_head head;
    enum weir_err weir_error;
    ours.body_size = 0;
    http_headers_init(&head.headers, items, FIELDS);
    ours.head = http_parse_request(text.data, text.size, 0, &HTTP_LIMITS_DEFAULT, &head,
                                   &ours.head_size, &weir_error, &ours.reason);
    if (ours.head == HTTP_COMPLETE &&
        http_frame_request(&head, &ours.framing, &ours.reason) != WEIR_OK)
        ours.head = HTTP_REFUSED;
    llhttp_errno_t error = read_by_llhttp(text, false);
    if (!compare_verdicts(&ours, text, error))
        return;
    CHECK_THAT(span_equal(text_of(seen.method), head.method));
    CHECK_THAT(span_equal(text_of(seen.target), head.target));
    CHECK_THAT(seen.major == 1 && seen.minor == head.minor_version);
    compare_fields(&head.headers);
    if (head.method_id == HTTP_METHOD_CONNECT || has_tabbed_coding(&head.headers))
        return; /* llhttp reads no body of a CONNECT */
    compare_length(&ours, false);
    if (ours.framing.kind == HTTP_BODY_NONE) {
        CHECK_THAT(seen.message && seen.body.size == 0);
    } else if (ours.framing.kind == HTTP_BODY_CHUNKED) {
        read_chunks(text, &ours);
        compare_chunks(&ours, text, error);
    }
}

static void try_response(struct span text)
{
    static struct http_header items[FIELDS];
    static struct ours ours;
    struct http_response_head head;
    enum weir_err weir_error;
    ours.body_size = 0;
    http_headers_init(&head.headers, items, FIELDS);
    ours.head = http_parse_response(text.data, text.size, 0, &HTTP_LIMITS_DEFAULT, &head,
                                    &ours.head_size, &weir_error, &ours.reason);
    if (ours.head == HTTP_COMPLETE &&
        http_frame_response(&head, false, false, &ours.framing, &ours.reason) != WEIR_OK)
        ours.head = HTTP_REFUSED;
    llhttp_errno_t error = read_by_llhttp(text, true);
    if (!compare_verdicts(&ours, text, error))
        return;
    CHECK_THAT(seen.status == head.status);
    CHECK_THAT(seen.major == 1 && seen.minor == head.minor_version);
    compare_fields(&head.headers);
    if (has_tabbed_coding(&head.headers))
        return;
    compare_length(&ours, head.status < 200 || head.status == 204 || head.status == 304);
    if (ours.framing.kind == HTTP_BODY_CHUNKED) {
        read_chunks(text, &ours);
        compare_chunks(&ours, text, error);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (size < 2 || size > TEXT_MAX)
        return 0;
    struct span text = span_of((const char *)bytes + 1, size - 1);
    if ((bytes[0] & 1) != 0)
        try_response(text);
    else if (memmem(text.data, text.size, "PRI ", 4) == NULL)
        try_request(text); /* PRI: llhttp waits for HTTP/2, to us it is one more method */
    return 0;
}
