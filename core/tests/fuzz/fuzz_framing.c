/* Where a body ends, and what is in it. The first byte chooses what kind of message this is, then
 * come field lines, a blank line and a chunked body. A second reading of the rules, plain and slow,
 * is compared with ours: the lengths that the fields claim, and the chunked coding over the whole
 * body at once. However the bytes are cut, nothing changes; and a body that is written out again in
 * other chunks is the same body. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "http/chunked.h"
#include "http/framing.h"

#define FIELDS 100
#define TEXT_MAX 16384

/* ---- lengths */

struct claim {
    unsigned sizes, codings;
    bool bad, differ, chunked;
    uint64_t size;
};

static bool digits(struct span text, uint64_t *out_value)
{
    uint64_t value = 0;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' || value > INT64_MAX / 10)
            return false;
        value = value * 10 + (uint64_t)(text.data[i] - '0');
        if (value > INT64_MAX)
            return false;
    }
    *out_value = value;
    return text.size > 0;
}

static struct claim claim_of(const struct http_headers *h)
{
    struct claim claim = {0};
    for (size_t i = 0; i < h->count; i++) {
        if (span_equal_nocase(h->items[i].name, SPAN("transfer-encoding"))) {
            claim.codings++;
            claim.chunked = span_equal_nocase(h->items[i].value, SPAN("chunked"));
        }
        if (!span_equal_nocase(h->items[i].name, SPAN("content-length")))
            continue;
        uint64_t size = 0;
        claim.bad = claim.bad || !digits(h->items[i].value, &size);
        claim.differ = claim.differ || (claim.sizes > 0 && size != claim.size);
        claim.size = size;
        claim.sizes++;
    }
    return claim;
}

/* Neither in requests nor in responses. */
static bool contradicts_itself(const struct claim *claim, unsigned minor_version)
{
    return (claim->codings > 0 && (claim->sizes > 0 || minor_version == 0)) || claim->bad ||
           claim->differ;
}

static void check_request(const struct http_request_head *head)
{
    struct http_framing framing;
    const char *reason = NULL;
    struct claim claim = claim_of(&head->headers);
    bool good = !contradicts_itself(&claim, head->minor_version) && claim.sizes < 2 &&
                (claim.codings == 0 || (claim.codings == 1 && claim.chunked));
    enum weir_err error = http_frame_request(head, &framing, &reason);
    CHECK_THAT((error == WEIR_OK) == good);
    CHECK_THAT(good || (reason != NULL && *reason != '\0'));
    if (!good)
        return;
    enum http_body_kind kind = claim.codings > 0 ? HTTP_BODY_CHUNKED
                               : claim.size > 0  ? HTTP_BODY_LENGTH
                                                 : HTTP_BODY_NONE;
    CHECK_THAT(framing.kind == kind && framing.length == claim.size);
}

static void check_response(const struct http_response_head *head, bool to_head, bool to_connect)
{
    struct http_framing framing;
    const char *reason = NULL;
    struct claim claim = claim_of(&head->headers);
    bool bare = to_head || head->status < 200 || head->status == 204 || head->status == 304 ||
                (to_connect && head->status / 100 == 2);
    bool good = !contradicts_itself(&claim, head->minor_version) && claim.sizes < 2 &&
                (claim.codings == 0 || (claim.codings == 1 && claim.chunked));
    enum weir_err error = http_frame_response(head, to_head, to_connect, &framing, &reason);
    CHECK_THAT((error == WEIR_OK) == good);
    CHECK_THAT(good || (error == WEIR_ERR_TARGET_BAD && reason != NULL && *reason != '\0'));
    if (!good)
        return;
    enum http_body_kind kind = bare || (claim.sizes > 0 && claim.size == 0) ? HTTP_BODY_NONE
                               : claim.codings > 0                          ? HTTP_BODY_CHUNKED
                               : claim.sizes > 0                            ? HTTP_BODY_LENGTH
                                                                            : HTTP_BODY_UNTIL_CLOSE;
    CHECK_THAT(framing.kind == kind && framing.length == claim.size);
    CHECK_THAT(kind != HTTP_BODY_UNTIL_CLOSE || !framing.keep_alive);
}

/* ---- heads, dripping in */

static enum http_result drip(struct span text, bool request, uint32_t seed, void *head,
                             size_t *out_size)
{
    enum http_result result = HTTP_INCOMPLETE;
    enum weir_err error;
    const char *reason;
    for (size_t seen = 0, size = 0; size < text.size && result == HTTP_INCOMPLETE; seen = size) {
        size += fuzz_piece(&seed, text.size - size);
        result = request ? http_parse_request(text.data, size, seen, &HTTP_LIMITS_DEFAULT, head,
                                              out_size, &error, &reason)
                         : http_parse_response(text.data, size, seen, &HTTP_LIMITS_DEFAULT, head,
                                               out_size, &error, &reason);
    }
    return result;
}

static void check_head(struct span text, uint8_t kind, uint32_t seed)
{
    static struct http_header items[FIELDS];
    struct http_request_head request;
    struct http_response_head response;
    bool is_request = (kind & 1) != 0;
    size_t whole_size = 0, size = 0;
    enum weir_err error;
    const char *reason;
    http_headers_init(&request.headers, items, FIELDS);
    http_headers_init(&response.headers, items, FIELDS);
    void *head = is_request ? (void *)&request : (void *)&response;
    enum http_result dripped = drip(text, is_request, seed, head, &size);
    enum http_result whole =
        is_request ? http_parse_request(text.data, text.size, 0, &HTTP_LIMITS_DEFAULT, &request,
                                        &whole_size, &error, &reason)
                   : http_parse_response(text.data, text.size, 0, &HTTP_LIMITS_DEFAULT, &response,
                                         &whole_size, &error, &reason);
    CHECK_THAT((whole == HTTP_COMPLETE) == (dripped == HTTP_COMPLETE));
    if (whole != HTTP_COMPLETE)
        return;
    CHECK_THAT(size == whole_size);
    if (is_request)
        check_request(&request);
    else
        check_response(&response, (kind & 4) != 0, (kind & 8) != 0);
}

/* ---- the chunked coding */

struct body {
    enum http_result result;
    size_t size, end; /* payload; and where the body ended */
    bool may_be_long; /* an odd line is so long that a bound may have been met */
    char bytes[TEXT_MAX];
};

static void decode(struct span text, uint32_t *seed, struct body *out)
{
    struct http_chunked c;
    http_chunked_init(&c);
    out->result = HTTP_INCOMPLETE;
    out->size = out->end = 0;
    while (out->end < text.size && out->result == HTTP_INCOMPLETE) {
        size_t size = seed == NULL ? text.size : fuzz_piece(seed, text.size - out->end);
        struct span input = span_of(text.data + out->end, size), piece;
        while ((out->result = http_chunked_next(&c, &input, &piece)) == HTTP_INCOMPLETE) {
            CHECK_THAT(out->size + piece.size <= sizeof(out->bytes));
            memcpy(out->bytes + out->size, piece.data, piece.size);
            out->size += piece.size;
            if (input.size == 0)
                break;
        }
        out->end = (size_t)(input.data - text.data);
    }
    CHECK_THAT((out->result == HTTP_REFUSED) == (c.reason != NULL));
    struct span more = SPAN("0\r\n\r\n"), piece;
    if (out->result != HTTP_INCOMPLETE) /* an end is an end */
        CHECK_THAT(http_chunked_next(&c, &more, &piece) == out->result && more.size == 5 &&
                   piece.size == 0);
}

/* The same by the grammar of RFC 9112 7.1, over text that is there as a whole. */
struct reader {
    const char *at, *end;
    enum http_result stopped; /* COMPLETE: not yet */
};

static bool next_is(struct reader *r, char byte)
{
    if (r->at == r->end)
        r->stopped = HTTP_INCOMPLETE;
    else if (*r->at != byte)
        r->stopped = HTTP_REFUSED;
    else
        r->at++;
    return r->stopped == HTTP_COMPLETE;
}

static bool next_line_end(struct reader *r)
{
    return next_is(r, '\r') && next_is(r, '\n');
}

static bool is_name_byte(char byte)
{
    return byte > ' ' && byte < 0x7f && strchr("\"(),/:;<=>?@[\\]{}", byte) == NULL;
}

static void skip_text(struct reader *r)
{
    while (r->at < r->end && (*r->at == '\t' || (unsigned char)*r->at >= ' ') && *r->at != 0x7f)
        r->at++;
}

static bool read_chunk_line(struct reader *r, uint64_t *out_size)
{
    const char *begin = r->at;
    uint64_t size = 0;
    for (; r->at < r->end && strchr("0123456789abcdefABCDEF", *r->at) != NULL && *r->at != '\0';
         r->at++) {
        char digit[2] = {*r->at, '\0'};
        if (size > (HTTP_CHUNK_SIZE_MAX >> 4) ||
            (size << 4) + strtoul(digit, NULL, 16) > HTTP_CHUNK_SIZE_MAX) {
            r->stopped = HTTP_REFUSED;
            return false;
        }
        size = (size << 4) + strtoul(digit, NULL, 16);
    }
    if (r->at == begin) {
        r->stopped = r->at == r->end ? HTTP_INCOMPLETE : HTTP_REFUSED;
        return false;
    }
    const char *blanks = r->at;
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\t'))
        r->at++;
    if (r->at > blanks && !next_is(r, ';')) /* blanks announce an extension */
        return false;
    if (r->at > blanks || (r->at < r->end && *r->at == ';'))
        skip_text(r);
    *out_size = size;
    return next_line_end(r);
}

static bool read_trailers(struct reader *r, unsigned *out_count)
{
    for (; r->at < r->end && *r->at != '\r'; ++*out_count) {
        const char *name = r->at;
        while (r->at < r->end && is_name_byte(*r->at))
            r->at++;
        if (r->at == name) {
            r->stopped = HTTP_REFUSED;
            return false;
        }
        if (!next_is(r, ':'))
            return false;
        skip_text(r);
        if (!next_line_end(r))
            return false;
    }
    return next_line_end(r);
}

static void decode_plainly(struct span text, struct body *out)
{
    struct reader r = {text.data, text.data + text.size, HTTP_COMPLETE};
    uint64_t size = 1;
    size_t odd = 0;
    out->size = 0;
    out->may_be_long = false;
    while (size > 0) {
        const char *line = r.at;
        bool whole = read_chunk_line(&r, &size);
        odd += (size_t)(r.at - line);
        out->may_be_long = out->may_be_long || r.at - line + 2 > (ptrdiff_t)HTTP_CHUNK_LINE_MAX;
        if (!whole || size == 0)
            break;
        size_t here = (uint64_t)(r.end - r.at) < size ? (size_t)(r.end - r.at) : (size_t)size;
        memcpy(out->bytes + out->size, r.at, here);
        out->size += here;
        r.at += here;
        if (here < size)
            r.stopped = HTTP_INCOMPLETE;
        if (here < size || !next_line_end(&r))
            break;
    }
    const char *trailers = r.at;
    unsigned fields = 0;
    if (r.stopped == HTTP_COMPLETE)
        (void)read_trailers(&r, &fields);
    out->may_be_long = out->may_be_long || fields >= HTTP_TRAILER_FIELDS_MAX;
    odd += (size_t)(r.at - trailers);
    out->may_be_long = out->may_be_long || odd >= HTTP_CHUNK_OVERHEAD_MAX;
    out->result = r.stopped;
    out->end = (size_t)(r.at - text.data);
}

static void check_rewritten(const struct body *body, uint32_t seed)
{
    static char out[TEXT_MAX * 8];
    static struct body again;
    size_t size = 0;
    for (size_t at = 0, piece; at < body->size; at += piece) {
        piece = fuzz_piece(&seed, body->size - at);
        size += http_chunk_head(out + size, piece);
        memcpy(out + size, body->bytes + at, piece);
        memcpy(out + size + piece, HTTP_CHUNK_TAIL.data, HTTP_CHUNK_TAIL.size);
        size += piece + HTTP_CHUNK_TAIL.size;
    }
    memcpy(out + size, HTTP_CHUNK_LAST.data, HTTP_CHUNK_LAST.size);
    size += HTTP_CHUNK_LAST.size;
    decode(span_of(out, size), &seed, &again);
    CHECK_THAT(again.result == HTTP_COMPLETE && again.end == size);
    CHECK_THAT(again.size == body->size && memcmp(again.bytes, body->bytes, body->size) == 0);
}

static void check_body(struct span text, uint32_t seed)
{
    static struct body whole, pieces, plain;
    uint32_t cuts = seed;
    decode(text, NULL, &whole);
    decode(text, &cuts, &pieces);
    CHECK_THAT(whole.result == pieces.result && whole.size == pieces.size &&
               whole.end == pieces.end);
    CHECK_THAT(memcmp(whole.bytes, pieces.bytes, whole.size) == 0);

    decode_plainly(text, &plain);
    if (plain.may_be_long && whole.result == HTTP_REFUSED)
        return;
    CHECK_THAT(whole.result == plain.result && whole.size == plain.size);
    CHECK_THAT(memcmp(whole.bytes, plain.bytes, whole.size) == 0);
    CHECK_THAT(whole.result != HTTP_COMPLETE || whole.end == plain.end);
    check_rewritten(&whole, seed);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const char *const starts[] = {"HTTP/1.1 200 OK\r\n",        "POST / HTTP/1.1\r\n",
                                         "HTTP/1.0 200 OK\r\n",        "GET / HTTP/1.0\r\n",
                                         "HTTP/1.1 204 \r\n",          "PUT /a?b HTTP/1.1\r\n",
                                         "HTTP/1.1 304 Same\r\n",      "CONNECT a:1 HTTP/1.1\r\n",
                                         "HTTP/1.1 101 Switching\r\n", "HEAD / HTTP/1.1\r\n"};
    static char text[TEXT_MAX + 64];
    if (size == 0 || size > TEXT_MAX)
        return 0;
    uint32_t seed = fuzz_seed(bytes, size);
    const char *start = starts[(bytes[0] & 1) + (bytes[0] >> 4 & 15) % 5 * 2];
    size_t start_size = strlen(start);
    memcpy(text, start, start_size);
    if ((bytes[0] & 1) != 0) {
        memcpy(text + start_size, "Host: a\r\n", 9);
        start_size += 9;
    }
    memcpy(text + start_size, bytes + 1, size - 1);
    struct span all = span_of(text, start_size + size - 1);
    check_head(all, bytes[0], seed);

    const char *blank = memmem(bytes + 1, size - 1, "\r\n\r\n", 4);
    const char *body = blank == NULL ? (const char *)bytes + 1 : blank + 4;
    check_body(span_of(body, (size_t)((const char *)bytes + size - body)), seed);
    return 0;
}
