/* Response heads, and where messages end: every row names the section that decides it. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "http/framing.h"

static const struct http_limits limits = {512, 64, 8};
static struct http_header items[16];

static enum http_result parse(struct span text, size_t seen, struct http_response_head *head,
                              size_t *size)
{
    enum weir_err error = WEIR_OK;
    const char *reason = NULL;
    http_headers_init(&head->headers, items, 16);
    enum http_result result =
        http_parse_response(text.data, text.size, seen, &limits, head, size, &error, &reason);
    if (result == HTTP_REFUSED)
        cr_expect(error == WEIR_ERR_TARGET_BAD && reason != NULL);
    return result;
}

static const struct row {
    const char *section, *title;
    struct span text;
    enum http_result want;
} rows[] = {
    /* clang-format off */
    {"9112 4", "the smallest response", SPAN("HTTP/1.1 200 OK\r\n\r\n"), HTTP_COMPLETE},
    {"9112 4", "an empty reason", SPAN("HTTP/1.1 200 \r\n\r\n"), HTTP_COMPLETE},
    {"9112 4", "no space before an empty reason: harmless", SPAN("HTTP/1.1 200\r\n\r\n"), HTTP_COMPLETE},
    {"9112 2.3", "HTTP/1.0", SPAN("HTTP/1.0 404 Not Found\r\n\r\n"), HTTP_COMPLETE},
    {"9112 2.3", "HTTP/2.0", SPAN("HTTP/2.0 200 OK\r\n\r\n"), HTTP_REFUSED},
    {"9112 2.3", "HTTP/1.2", SPAN("HTTP/1.2 200 OK\r\n\r\n"), HTTP_REFUSED},
    {"1945 6", "HTTP/0.9: a body without a head", SPAN("<html>"), HTTP_REFUSED},
    {"9112 4", "two digits", SPAN("HTTP/1.1 20 OK\r\n\r\n"), HTTP_REFUSED},
    {"9112 4", "four digits", SPAN("HTTP/1.1 2000 OK\r\n\r\n"), HTTP_REFUSED},
    {"9110 15", "a status below 100", SPAN("HTTP/1.1 099 No\r\n\r\n"), HTTP_REFUSED},
    {"9112 4", "two spaces", SPAN("HTTP/1.1  200 OK\r\n\r\n"), HTTP_REFUSED},
    {"9112 4", "bytes over 127 in the reason", SPAN("HTTP/1.1 200 \xc3\xa9\r\n\r\n"), HTTP_COMPLETE},
    {"9112 4", "NUL in the reason", SPAN("HTTP/1.1 200 \0\r\n\r\n"), HTTP_REFUSED},
    {"9112 2.2", "a bare LF", SPAN("HTTP/1.1 200 OK\n\r\n"), HTTP_REFUSED},
    {"9112 2.2", "an empty line before it", SPAN("\r\nHTTP/1.1 200 OK\r\n\r\n"), HTTP_REFUSED},
    {"9112 5.1", "a space before the colon", SPAN("HTTP/1.1 200 OK\r\nX : a\r\n\r\n"), HTTP_REFUSED},
    {"9112 5.2", "a folded line", SPAN("HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n"), HTTP_REFUSED},
    {"9110 5.4", "too many fields", SPAN("HTTP/1.1 200 OK\r\na:\r\na:\r\na:\r\na:\r\na:\r\na:\r\na:\r\na:\r\na:\r\n\r\n"), HTTP_REFUSED},
    {"9112 4", "not over yet", SPAN("HTTP/1.1 200 OK\r\nX: a\r\n"), HTTP_INCOMPLETE},
    /* clang-format on */
};

Test(response, each_row_is_read_as_its_section_says)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct http_response_head head;
        size_t size = 0;
        cr_expect_eq(parse(rows[i].text, 0, &head, &size), rows[i].want, "RFC %s, %s",
                     rows[i].section, rows[i].title);
    }
}

/* Else they would stand in the answer that says so. */
Test(response, what_is_not_whole_leaves_no_fields)
{
    static const char *const heads[] = {"HTTP/1.1 200 OK\r\nServer: x\r\nETag: y\r\n",
                                        "HTTP/1.1 200 OK\r\nServer: x\r\nA : y\r\n\r\n"};
    for (size_t i = 0; i < 2; i++) {
        struct http_response_head head;
        size_t head_size;
        cr_expect_neq(parse(span_text(heads[i]), 0, &head, &head_size), HTTP_COMPLETE);
        cr_expect_eq(head.headers.count, 0);
        cr_expect_null(http_headers_first(&head.headers, HTTP_HEADER_SERVER), "%zu", i);
    }
}

Test(response, a_head_may_be_cut_anywhere)
{
    struct span text = SPAN("HTTP/1.1 207 Multi-Status\r\nServer: a\r\nSet-Cookie: b\r\n\r\n");
    for (size_t cut = 0; cut < text.size; cut++) {
        struct http_response_head head;
        size_t size = 0;
        cr_expect_eq(parse(span_first(text, cut), 0, &head, &size), HTTP_INCOMPLETE);
        cr_expect_eq(parse(text, cut, &head, &size), HTTP_COMPLETE, "cut at %zu", cut);
        cr_expect(size == text.size && head.status == 207 && head.headers.count == 2);
        cr_expect(span_equal(head.reason, SPAN("Multi-Status")));
    }
}

#define BAD WEIR_ERR_BAD_REQUEST
#define NONE HTTP_BODY_NONE
#define LENGTH HTTP_BODY_LENGTH
#define CHUNKED HTTP_BODY_CHUNKED
#define CLOSE HTTP_BODY_UNTIL_CLOSE
#define STAYS true
#define GOES false

static const struct request_row {
    const char *section, *title;
    unsigned minor;
    const char *fields;
    enum weir_err error;
    enum http_body_kind kind;
    uint64_t length;
    bool keep_alive;
} requests[] = {
    /* clang-format off */
    {"9112 6.3", "no length, no body", 1, "", WEIR_OK, NONE, 0, STAYS},
    {"9112 6.3", "a length", 1, "Content-Length: 5\r\n", WEIR_OK, LENGTH, 5, STAYS},
    {"9112 6.3", "a length of nothing", 1, "Content-Length: 0\r\n", WEIR_OK, NONE, 0, STAYS},
    {"9110 8.6", "leading zeros are digits", 1, "Content-Length: 005\r\n", WEIR_OK, LENGTH, 5, STAYS},
    {"9112 6.3", "chunked", 1, "Transfer-Encoding: chunked\r\n", WEIR_OK, CHUNKED, 0, STAYS},
    {"9112 7", "codings are named in any case", 1, "Transfer-Encoding: CHUNKED\r\n", WEIR_OK, CHUNKED, 0, STAYS},
    {"9112 6.3", "both: how smuggling starts", 1, "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", BAD, NONE, 0, GOES},
    {"9112 6.3", "both, the other way round", 1, "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", BAD, NONE, 0, GOES},
    {"9112 6.3", "both, one of them odd", 1, "Transfer-Encoding: xchunked\r\nContent-Length: 5\r\n", BAD, NONE, 0, GOES},
    {"9112 6.1", "a coding in HTTP/1.0", 0, "Transfer-Encoding: chunked\r\n", BAD, NONE, 0, GOES},
    {"9112 6.1", "an unknown coding", 1, "Transfer-Encoding: br\r\n", WEIR_ERR_CODING_REFUSED, NONE, 0, GOES},
    {"9112 6.1", "a second coding", 1, "Transfer-Encoding: gzip, chunked\r\n", WEIR_ERR_CODING_REFUSED, NONE, 0, GOES},
    {"9112 6.3", "chunked is not last", 1, "Transfer-Encoding: chunked, gzip\r\n", WEIR_ERR_CODING_REFUSED, NONE, 0, GOES},
    {"9112 6.1", "chunked twice", 1, "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", WEIR_ERR_CODING_REFUSED, NONE, 0, GOES},
    {"9112 6.1", "identity is gone", 1, "Transfer-Encoding: identity\r\n", WEIR_ERR_CODING_REFUSED, NONE, 0, GOES},
    {"9112 6.1", "an empty coding", 1, "Transfer-Encoding:\r\n", WEIR_ERR_CODING_REFUSED, NONE, 0, GOES},
    {"9112 6.1", "a quoted coding", 1, "Transfer-Encoding: \"chunked\"\r\n", WEIR_ERR_CODING_REFUSED, NONE, 0, GOES},
    {"9112 6.1", "a coding with a parameter", 1, "Transfer-Encoding: chunked;q=1\r\n", WEIR_ERR_CODING_REFUSED, NONE, 0, GOES},
    {"9110 8.6", "two equal lengths", 1, "Content-Length: 5\r\nContent-Length: 5\r\n", BAD, NONE, 0, GOES},
    {"9110 8.6", "two equal lengths in a list", 1, "Content-Length: 5, 5\r\n", BAD, NONE, 0, GOES},
    {"9110 8.6", "two lengths", 1, "Content-Length: 5\r\nContent-Length: 6\r\n", BAD, NONE, 0, GOES},
    {"9110 8.6", "two lengths in a list", 1, "Content-Length: 5, 6\r\n", BAD, NONE, 0, GOES},
    {"9110 8.6", "zero and another", 1, "Content-Length: 0\r\nContent-Length: 6\r\n", BAD, NONE, 0, GOES},
    {"9110 8.6", "a hole in the list", 1, "Content-Length: 5,\r\n", BAD, NONE, 0, GOES},
    {"9110 8.6", "a sign", 1, "Content-Length: +5\r\n", BAD, NONE, 0, GOES},
    {"9110 8.6", "a minus", 1, "Content-Length: -5\r\n", BAD, NONE, 0, GOES},
    {"9110 8.6", "hexadecimal", 1, "Content-Length: 0x5\r\n", BAD, NONE, 0, GOES},
    {"9110 8.6", "a space inside", 1, "Content-Length: 5 5\r\n", BAD, NONE, 0, GOES},
    {"9110 8.6", "nothing", 1, "Content-Length:\r\n", BAD, NONE, 0, GOES},
    {"9110 8.6", "past 64 bits", 1, "Content-Length: 18446744073709551617\r\n", BAD, NONE, 0, GOES},
    {"9110 8.6", "past 63 bits", 1, "Content-Length: 9223372036854775808\r\n", BAD, NONE, 0, GOES},
    {"9110 8.6", "the largest", 1, "Content-Length: 9223372036854775807\r\n", WEIR_OK, LENGTH, INT64_MAX, STAYS},
    {"9112 9.3", "close", 1, "Connection: close\r\n", WEIR_OK, NONE, 0, GOES},
    {"9112 9.3", "close in a list, any case", 1, "Connection: te, CLOSE\r\n", WEIR_OK, NONE, 0, GOES},
    {"9112 9.3", "close in a second field", 1, "Connection: te\r\nConnection: close\r\n", WEIR_OK, NONE, 0, GOES},
    {"9112 9.3", "only a word that contains it", 1, "Connection: closed\r\n", WEIR_OK, NONE, 0, STAYS},
    {"9112 9.3", "HTTP/1.0 goes", 0, "", WEIR_OK, NONE, 0, GOES},
    {"9112 9.3", "HTTP/1.0 stays when it asks", 0, "Connection: Keep-Alive\r\n", WEIR_OK, NONE, 0, STAYS},
    {"9112 9.3", "close wins", 0, "Connection: keep-alive, close\r\n", WEIR_OK, NONE, 0, GOES},
    /* clang-format on */
};

Test(framing, each_request_ends_where_its_section_says)
{
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        const struct request_row *row = &requests[i];
        char text[256];
        int size = snprintf(text, sizeof(text), "POST / HTTP/1.%u\r\nHost: a\r\n%s\r\n", row->minor,
                            row->fields);
        struct http_request_head head;
        http_headers_init(&head.headers, items, 16);
        size_t head_size;
        enum weir_err error;
        const char *reason = NULL;
        cr_assert_eq(
            http_parse_request(text, (size_t)size, 0, &limits, &head, &head_size, &error, &reason),
            HTTP_COMPLETE, "%s", row->title);
        struct http_framing framing = {NONE, 0, GOES};
        enum weir_err have = http_frame_request(&head, &framing, &reason);
        cr_expect_eq(have, row->error, "RFC %s, %s", row->section, row->title);
        cr_expect(have == WEIR_OK || reason != NULL);
        cr_expect(framing.kind == row->kind && framing.length == row->length &&
                      framing.keep_alive == row->keep_alive,
                  "RFC %s, %s", row->section, row->title);
    }
}

#define TO_HEAD 1
#define TO_CONNECT 2

static const struct response_row {
    const char *section, *title;
    const char *head;
    int asked;
    bool refused;
    enum http_body_kind kind;
    uint64_t length;
    bool keep_alive;
} responses[] = {
    /* clang-format off */
    {"9112 6.3", "a length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", 0, false, LENGTH, 5, STAYS},
    {"9112 6.3", "chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", 0, false, CHUNKED, 0, STAYS},
    {"9112 6.3", "neither: until close", "HTTP/1.1 200 OK\r\n", 0, false, CLOSE, 0, GOES},
    {"9112 6.3", "until close, whatever Connection says", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n", 0, false, CLOSE, 0, GOES},
    {"9112 6.3", "HEAD has no body", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", TO_HEAD, false, NONE, 5, STAYS},
    {"9112 6.3", "HEAD of a chunked page", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", TO_HEAD, false, NONE, 0, STAYS},
    {"9112 6.3", "100", "HTTP/1.1 100 Continue\r\n", 0, false, NONE, 0, STAYS},
    {"9112 6.3", "204", "HTTP/1.1 204 No Content\r\n", 0, false, NONE, 0, STAYS},
    {"9112 6.3", "204 that announces a body", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n", 0, false, NONE, 5, GOES},
    {"9112 6.1", "204 that is chunked", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n", 0, false, NONE, 0, GOES},
    {"9112 6.3", "304 tells the length of the page", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n", 0, false, NONE, 5, STAYS},
    {"9112 6.3", "a tunnel", "HTTP/1.1 200 OK\r\n", TO_CONNECT, false, NONE, 0, GOES},
    {"9112 6.3", "a refused tunnel has a body", "HTTP/1.1 407 No\r\nContent-Length: 5\r\n", TO_CONNECT, false, LENGTH, 5, STAYS},
    {"9112 6.3", "both", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n", 0, true, NONE, 0, GOES},
    {"9112 6.1", "a coding in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n", 0, true, NONE, 0, GOES},
    {"9112 6.3", "a coding that is not chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n", 0, true, NONE, 0, GOES},
    {"9112 6.3", "nor to HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n", TO_HEAD, true, NONE, 0, GOES},
    {"9112 6.3", "nor of 304", "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: gzip\r\n", 0, true, NONE, 0, GOES},
    {"9110 8.6", "two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n", 0, true, NONE, 0, GOES},
    {"9112 6.3", "no number", "HTTP/1.1 200 OK\r\nContent-Length: five\r\n", 0, true, NONE, 0, GOES},
    {"9112 9.3", "close", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n", 0, false, LENGTH, 5, GOES},
    /* clang-format on */
};

Test(framing, each_response_ends_where_its_section_says)
{
    for (size_t i = 0; i < sizeof(responses) / sizeof(responses[0]); i++) {
        const struct response_row *row = &responses[i];
        char text[256];
        int size = snprintf(text, sizeof(text), "%s\r\n", row->head);
        struct http_response_head head;
        size_t head_size;
        cr_assert_eq(parse(span_of(text, (size_t)size), 0, &head, &head_size), HTTP_COMPLETE, "%s",
                     row->title);
        struct http_framing framing = {NONE, 0, GOES};
        const char *reason = NULL;
        enum weir_err have = http_frame_response(&head, row->asked == TO_HEAD,
                                                 row->asked == TO_CONNECT, &framing, &reason);
        cr_expect_eq(have, row->refused ? WEIR_ERR_TARGET_BAD : WEIR_OK, "RFC %s, %s", row->section,
                     row->title);
        cr_expect(framing.kind == row->kind && framing.length == row->length &&
                      framing.keep_alive == row->keep_alive,
                  "RFC %s, %s", row->section, row->title);
    }
}

Test(framing, lists_skip_holes_and_respect_quotes)
{
    struct span rest = SPAN(" a ,, \"b,c\\\",\" ,d"), item;
    static const char *want[] = {"a", "\"b,c\\\",\"", "d"};
    for (size_t i = 0; i < 3; i++) {
        cr_assert(http_list_next(&rest, &item));
        cr_expect(span_equal(item, span_text(want[i])), "%.*s", SPAN_ARG(item));
    }
    cr_expect(!http_list_next(&rest, &item));
}
