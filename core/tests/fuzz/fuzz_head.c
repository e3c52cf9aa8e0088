/* Any bytes as a request, as a response and as a chunked body. Beyond "no crash": a head that is
 * complete is complete however it was cut, its spans lie inside it, framing never contradicts the
 * fields, and what the chunked decoder passes on does not depend on the cut. The first byte chooses
 * the cut. */
#include <stdlib.h>

#include "http/chunked.h"
#include "http/framing.h"
#include "http/uri.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

#define FIELDS 100

static void check_inside(struct span outer, struct span inner)
{
    if (inner.size > 0)
        CHECK_THAT(inner.data >= outer.data && inner.data + inner.size <= outer.data + outer.size);
}

static void check_fields(struct span head, const struct http_headers *h)
{
    for (size_t i = 0; i < h->count; i++) {
        const struct http_header *item = &h->items[i];
        check_inside(head, item->name);
        check_inside(head, item->value);
        CHECK_THAT(http_name_is_valid(item->name) && http_value_is_valid(item->value));
        CHECK_THAT(http_header_id_of(item->name) == item->id);
        if (item->id != HTTP_HEADER_UNKNOWN)
            CHECK_THAT(h->first[item->id] != 0 && h->first[item->id] <= i + 1);
    }
}

static void check_path(struct span path)
{
    struct arena *arena = arena_create(NULL);
    struct span once, twice;
    if (arena != NULL && http_path_normalize(arena, path, &once) == WEIR_OK) {
        struct span sent = http_path_escape(arena, once);
        if (span_is_set(sent))
            CHECK_THAT(http_path_normalize(arena, sent, &twice) == WEIR_OK &&
                       span_equal(once, twice));
    }
    arena_destroy(arena);
}

static void check_request_framing(const struct http_request_head *head)
{
    struct http_framing framing;
    const char *reason = NULL;
    const struct http_headers *h = &head->headers;
    if (http_frame_request(head, &framing, &reason) != WEIR_OK) {
        CHECK_THAT(reason != NULL);
        return;
    }
    bool coded = h->first[HTTP_HEADER_TRANSFER_ENCODING] != 0;
    CHECK_THAT(coded == (framing.kind == HTTP_BODY_CHUNKED));
    CHECK_THAT(!coded || h->first[HTTP_HEADER_CONTENT_LENGTH] == 0);
    CHECK_THAT(framing.kind != HTTP_BODY_UNTIL_CLOSE);
}

static void try_request(struct span text, size_t cut)
{
    static struct http_header items[FIELDS];
    struct http_request_head head;
    size_t whole_size = 0, cut_size = 0;
    enum weir_err error;
    const char *reason;
    http_headers_init(&head.headers, items, FIELDS);
    enum http_result first = http_parse_request(text.data, cut, 0, &HTTP_LIMITS_DEFAULT, &head,
                                                &cut_size, &error, &reason);
    enum http_result whole = http_parse_request(text.data, text.size, 0, &HTTP_LIMITS_DEFAULT,
                                                &head, &whole_size, &error, &reason);
    if (first == HTTP_INCOMPLETE)
        first = http_parse_request(text.data, text.size, cut, &HTTP_LIMITS_DEFAULT, &head,
                                   &cut_size, &error, &reason);
    CHECK_THAT((whole == HTTP_COMPLETE) == (first == HTTP_COMPLETE));
    if (whole != HTTP_COMPLETE)
        return;
    CHECK_THAT(whole_size == cut_size && whole_size <= text.size);
    struct span bytes = span_first(text, whole_size);
    check_inside(bytes, head.target);
    check_inside(bytes, head.query);
    check_fields(bytes, &head.headers);
    check_path(head.path);
    check_request_framing(&head);
    http_headers_mark_hop(&head.headers);
}

static void try_response(struct span text, size_t cut)
{
    static struct http_header items[FIELDS];
    struct http_response_head head;
    struct http_framing framing;
    size_t size = 0;
    enum weir_err error;
    const char *reason;
    http_headers_init(&head.headers, items, FIELDS);
    enum http_result result =
        http_parse_response(text.data, cut, 0, &HTTP_LIMITS_DEFAULT, &head, &size, &error, &reason);
    if (result == HTTP_INCOMPLETE)
        result = http_parse_response(text.data, text.size, cut, &HTTP_LIMITS_DEFAULT, &head, &size,
                                     &error, &reason);
    if (result != HTTP_COMPLETE)
        return;
    check_fields(span_first(text, size), &head.headers);
    if (http_frame_response(&head, cut % 2 != 0, false, &framing, &reason) == WEIR_OK)
        CHECK_THAT(framing.kind != HTTP_BODY_LENGTH || framing.length > 0);
}

static enum http_result decode(struct http_chunked *c, struct span input, char *out, size_t *size)
{
    enum http_result result;
    struct span piece;
    while ((result = http_chunked_next(c, &input, &piece)) == HTTP_INCOMPLETE) {
        memcpy(out + *size, piece.data, piece.size);
        *size += piece.size;
        if (input.size == 0)
            break;
    }
    return result;
}

static void try_chunked(struct span text, size_t cut)
{
    char *whole = malloc(text.size + 1), *parts = malloc(text.size + 1);
    if (whole != NULL && parts != NULL) {
        struct http_chunked c;
        size_t whole_size = 0, parts_size = 0;
        http_chunked_init(&c);
        enum http_result want = decode(&c, text, whole, &whole_size);
        http_chunked_init(&c);
        enum http_result have = decode(&c, span_first(text, cut), parts, &parts_size);
        if (have == HTTP_INCOMPLETE)
            have = decode(&c, span_from(text, cut), parts, &parts_size);
        CHECK_THAT(want == have);
        CHECK_THAT(span_equal(span_of(whole, whole_size), span_of(parts, parts_size)));
    }
    free(whole);
    free(parts);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (size == 0)
        return 0;
    struct span text = span_of((const char *)bytes + 1, size - 1);
    size_t cut = text.size == 0 ? 0 : bytes[0] % text.size;
    try_request(text, cut);
    try_response(text, cut);
    try_chunked(text, cut);
    return 0;
}
