/* The chunked decoder: every row whole, in single bytes, and cut in two at every place. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "http/chunked.h"

static const struct row {
    const char *section, *title;
    struct span text;
    enum http_result want;
    const char *body;
} rows[] = {
    /* clang-format off */
    {"9112 7.1", "one chunk", SPAN("5\r\nhello\r\n0\r\n\r\n"), HTTP_COMPLETE, "hello"},
    {"9112 7.1", "no chunk", SPAN("0\r\n\r\n"), HTTP_COMPLETE, ""},
    {"9112 7.1", "two chunks, hex in any case", SPAN("A\r\n0123456789\r\nb\r\nabcdefghijk\r\n0\r\n\r\n"), HTTP_COMPLETE, "0123456789abcdefghijk"},
    {"9112 7.1", "leading zeros", SPAN("0005\r\nhello\r\n000\r\n\r\n"), HTTP_COMPLETE, "hello"},
    {"9112 7.1", "payload that looks like a chunk", SPAN("5\r\n0\r\n\r\n\r\n0\r\n\r\n"), HTTP_COMPLETE, "0\r\n\r\n"},
    {"9112 7.1", "not over yet", SPAN("5\r\nhello\r\n0\r\n"), HTTP_INCOMPLETE, "hello"},
    {"9112 7.1", "no size", SPAN("\r\nhello"), HTTP_REFUSED, ""},
    {"9112 7.1", "only an extension", SPAN(";a\r\nhello"), HTTP_REFUSED, ""},
    {"9112 7.1", "a prefix", SPAN("0x5\r\nhello\r\n"), HTTP_REFUSED, ""},
    {"9112 7.1", "a sign", SPAN("+5\r\nhello\r\n"), HTTP_REFUSED, ""},
    {"9112 7.1", "a minus", SPAN("-1\r\n"), HTTP_REFUSED, ""},
    {"9112 7.1", "a space before the size", SPAN(" 5\r\nhello\r\n"), HTTP_REFUSED, ""},
    {"9112 7.1", "no digit", SPAN("5g\r\nhello\r\n"), HTTP_REFUSED, ""},
    {"9112 7.1", "a size past 64 bits", SPAN("10000000000000005\r\nhello\r\n"), HTTP_REFUSED, ""},
    {"9112 7.1", "a size past 2^62", SPAN("4000000000000001\r\n"), HTTP_REFUSED, ""},
    {"9112 7.1", "2^62", SPAN("4000000000000000\r\nx"), HTTP_INCOMPLETE, "x"},
    {"9112 7.1", "a bare LF behind the size", SPAN("5\nhello\r\n0\r\n\r\n"), HTTP_REFUSED, ""},
    {"9112 7.1", "a bare CR behind the size", SPAN("5\rhello\r\n"), HTTP_REFUSED, ""},
    {"9112 7.1", "longer than its size", SPAN("4\r\nhello\r\n"), HTTP_REFUSED, "hell"},
    {"9112 7.1", "a bare LF behind the payload", SPAN("5\r\nhello\n0\r\n\r\n"), HTTP_REFUSED, "hello"},
    {"9112 7.1", "a bare CR behind the payload", SPAN("5\r\nhello\r0\r\n\r\n"), HTTP_REFUSED, "hello"},
    {"9112 7.1", "a bare LF at the end", SPAN("0\r\n\n"), HTTP_REFUSED, ""},
    {"9112 7.1", "a bare CR at the end", SPAN("0\r\n\rX"), HTTP_REFUSED, ""},
    {"9112 7.1.1", "an extension", SPAN("5;a=b\r\nhello\r\n0;c\r\n\r\n"), HTTP_COMPLETE, "hello"},
    {"9112 7.1.1", "spaces before an extension", SPAN("5 \t;a\r\nhello\r\n0\r\n\r\n"), HTTP_COMPLETE, "hello"},
    {"9112 7.1.1", "a quoted extension", SPAN("5;a=\"b;c\"\r\nhello\r\n0\r\n\r\n"), HTTP_COMPLETE, "hello"},
    {"9112 7.1", "spaces and no extension", SPAN("5 \r\nhello\r\n"), HTTP_REFUSED, ""},
    {"9112 7.1.1", "an LF hidden in an extension", SPAN("5;a\nb\r\nhello\r\n"), HTTP_REFUSED, ""},
    {"9112 7.1.1", "a CR hidden in an extension", SPAN("5;a\rb\r\nhello\r\n"), HTTP_REFUSED, ""},
    {"9112 7.1.1", "NUL in an extension", SPAN("5;\0\r\nhello\r\n"), HTTP_REFUSED, ""},
    {"9112 7.1.2", "trailer fields", SPAN("1\r\nx\r\n0\r\nA: b\r\nC:\r\n\r\n"), HTTP_COMPLETE, "x"},
    {"9112 7.1.2", "a folded trailer field", SPAN("0\r\nA: b\r\n c\r\n\r\n"), HTTP_REFUSED, ""},
    {"9112 7.1.2", "a trailer field without a colon", SPAN("0\r\nA\r\n\r\n"), HTTP_REFUSED, ""},
    {"9112 7.1.2", "a space before its colon", SPAN("0\r\nA : b\r\n\r\n"), HTTP_REFUSED, ""},
    {"9112 7.1.2", "a bare LF behind it", SPAN("0\r\nA: b\n\r\n"), HTTP_REFUSED, ""},
    {"9112 7.1.2", "a bare CR behind it", SPAN("0\r\nA: b\rC: d\r\n\r\n"), HTTP_REFUSED, ""},
    {"9112 7.1.2", "NUL in it", SPAN("0\r\nA: \0\r\n\r\n"), HTTP_REFUSED, ""},
    /* clang-format on */
};

/* Feed pieces that end at the cuts; returns the last result, the payload in `body`. */
static enum http_result feed(struct http_chunked *c, struct span input, char *body, size_t *size)
{
    enum http_result result;
    struct span piece;
    while ((result = http_chunked_next(c, &input, &piece)) == HTTP_INCOMPLETE) {
        memcpy(body + *size, piece.data, piece.size);
        *size += piece.size;
        if (input.size == 0)
            break;
    }
    if (result == HTTP_COMPLETE)
        cr_expect_eq(input.size, 0);
    return result;
}

static void expect_row(const struct row *row, enum http_result have, const char *body, size_t size)
{
    cr_expect_eq(have, row->want, "RFC %s, %s", row->section, row->title);
    cr_expect(span_equal(span_of(body, size), span_text(row->body)), "%s: '%.*s'", row->title,
              (int)size, body);
}

Test(chunked, each_row_cut_in_two_anywhere)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        for (size_t cut = 0; cut <= rows[i].text.size; cut++) {
            struct http_chunked c;
            char body[64];
            size_t size = 0;
            http_chunked_init(&c);
            enum http_result have = feed(&c, span_first(rows[i].text, cut), body, &size);
            if (have == HTTP_INCOMPLETE)
                have = feed(&c, span_from(rows[i].text, cut), body, &size);
            expect_row(&rows[i], have, body, size);
        }
}

Test(chunked, each_row_in_single_bytes)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct http_chunked c;
        char body[64];
        size_t size = 0;
        http_chunked_init(&c);
        enum http_result have = HTTP_INCOMPLETE;
        for (size_t at = 0; at < rows[i].text.size && have == HTTP_INCOMPLETE; at++)
            have = feed(&c, span_of(rows[i].text.data + at, 1), body, &size);
        expect_row(&rows[i], have, body, size);
    }
}

Test(chunked, what_follows_the_body_stays)
{
    struct http_chunked c;
    struct span input = SPAN("0\r\n\r\nGET /"), piece;
    http_chunked_init(&c);
    cr_expect_eq(http_chunked_next(&c, &input, &piece), HTTP_COMPLETE);
    cr_expect(span_equal(input, SPAN("GET /")));
    cr_expect_eq(http_chunked_next(&c, &input, &piece), HTTP_COMPLETE);
    cr_expect(span_equal(input, SPAN("GET /")), "and is not touched later");
}

/* The trailer section as it is kept by who wants it, cut in two anywhere. */
Test(chunked, trailer_fields_can_be_kept)
{
    struct span text = SPAN("1\r\nx\r\n0;e\r\nA:1\r\nb: \t2 3 \r\nC:\r\n\r\nGET");
    static const char *want[][2] = {{"A", "1"}, {"b", "2 3"}, {"C", ""}};
    for (size_t cut = 0; cut <= text.size; cut++) {
        struct http_chunked c;
        struct span piece, inputs[] = {span_first(text, cut), span_from(text, cut)};
        char kept[64];
        size_t size = 0;
        enum http_result result = HTTP_INCOMPLETE;
        http_chunked_init(&c);
        for (size_t i = 0; i < 2; i++)
            while (inputs[i].size > 0 && result == HTTP_INCOMPLETE) {
                result = http_chunked_next(&c, &inputs[i], &piece);
                if (c.trailer.size > 0)
                    memcpy(kept + size, c.trailer.data, c.trailer.size);
                size += c.trailer.size;
            }
        cr_assert_eq(result, HTTP_COMPLETE);
        struct span rest = span_of(kept, size), name, value;
        for (size_t i = 0; i < 3; i++) {
            cr_assert(http_trailer_next(&rest, &name, &value), "field %zu, cut at %zu", i, cut);
            cr_expect(span_equal(name, span_text(want[i][0])) &&
                      span_equal(value, span_text(want[i][1])));
        }
        cr_expect(!http_trailer_next(&rest, &name, &value));
    }
}

Test(chunked, trailer_fields_that_mean_something_do_not_pass)
{
    static const char *const names[] = {
        "Content-Length", "TRANSFER-ENCODING", "host", "Cookie",        "Set-Cookie",
        "Authorization",  "X-Forwarded-For",   "Via",  "Cache-Control", "Content-Type",
        "X-Consumer-Id"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        cr_expect(!http_trailer_may_pass(span_text(names[i])), "%s", names[i]);
    cr_expect(http_trailer_may_pass(SPAN("Content-Digest")));
    cr_expect(http_trailer_may_pass(SPAN("grpc-status")));
    cr_expect(http_trailer_may_pass(SPAN("ETag")));
}

static enum http_result feed_text(struct http_chunked *c, const char *text)
{
    char body[64];
    size_t size = 0;
    return feed(c, span_text(text), body, &size);
}

Test(chunked, extensions_and_trailers_are_bounded)
{
    struct http_chunked c;
    char text[300];
    snprintf(text, sizeof(text), "1;%0*d", 260, 0);
    http_chunked_init(&c);
    cr_expect_eq(feed_text(&c, text), HTTP_REFUSED, "one long line");

    http_chunked_init(&c);
    snprintf(text, sizeof(text), "1;%0*d\r\nx\r\n", 200, 0);
    unsigned fed = 0;
    while (feed_text(&c, text) == HTTP_INCOMPLETE)
        fed++;
    cr_expect(fed > 60 && fed < 100, "many short ones: %u", fed);

    http_chunked_init(&c);
    cr_expect_eq(feed_text(&c, "0\r\n"), HTTP_INCOMPLETE);
    for (fed = 0; feed_text(&c, "Name: value\r\n") == HTTP_INCOMPLETE;)
        fed++;
    cr_expect_eq(fed, HTTP_TRAILER_FIELDS_MAX, "short trailer fields: %u", fed);

    http_chunked_init(&c);
    cr_expect_eq(feed_text(&c, "0\r\n"), HTTP_INCOMPLETE);
    snprintf(text, sizeof(text), "N: %0*d\r\n", 250, 0);
    for (fed = 0; feed_text(&c, text) == HTTP_INCOMPLETE;)
        fed++;
    cr_expect(fed > 60 && fed < 70, "long trailer fields: %u", fed);
}

Test(chunked, plain_chunks_are_not_counted)
{
    struct http_chunked c;
    http_chunked_init(&c);
    for (unsigned i = 0; i < 100000; i++)
        cr_assert_eq(feed_text(&c, "1\r\nx\r\n"), HTTP_INCOMPLETE);
    cr_expect_eq(feed_text(&c, "0\r\n\r\n"), HTTP_COMPLETE);
}

Test(chunked, heads_are_written_as_printf_would)
{
    static const size_t sizes[] = {1, 9, 10, 15, 16, 255, 256, 65535, 1 << 20, SIZE_MAX};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        char have[HTTP_CHUNK_HEAD_MAX], want[32];
        int size = snprintf(want, sizeof(want), "%zx\r\n", sizes[i]);
        cr_expect_eq(http_chunk_head(have, sizes[i]), (size_t)size);
        cr_expect_eq(memcmp(have, want, (size_t)size), 0);
    }
}
