/* Request heads: every row names the section that decides it. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "http/message.h"

#define BAD WEIR_ERR_BAD_REQUEST
#define LONG_URI WEIR_ERR_URI_TOO_LONG
#define LARGE WEIR_ERR_HEAD_TOO_LARGE
#define VERSION WEIR_ERR_VERSION_REFUSED
#define PENDING WEIR_ERR_AGAIN /* in this file: the parser waits for more */
#define H "Host: a\r\n"

/* Small enough for rows to reach. */
static const struct http_limits limits = {512, 64, 8};

static const struct row {
    const char *section, *title;
    struct span text;
    enum weir_err want;
} rows[] = {
    /* clang-format off */
    {"9112 3", "the smallest request", SPAN("GET / HTTP/1.1\r\n" H "\r\n"), WEIR_OK},
    {"9112 2.2", "one empty line before it is tolerated", SPAN("\r\nGET / HTTP/1.1\r\n" H "\r\n"), WEIR_OK},
    {"9112 2.2", "two are not", SPAN("\r\n\r\nGET / HTTP/1.1\r\n" H "\r\n"), BAD},
    {"9112 2.2", "a bare LF before it", SPAN("\nGET / HTTP/1.1\r\n" H "\r\n"), BAD},
    {"9112 2.2", "a bare CR before it", SPAN("\rGET / HTTP/1.1\r\n" H "\r\n"), BAD},
    {"9112 2.2", "a space before it", SPAN(" GET / HTTP/1.1\r\n" H "\r\n"), BAD},
    {"9112 2.2", "request line ended by LF", SPAN("GET / HTTP/1.1\n" H "\r\n"), BAD},
    {"9112 2.2", "field line ended by LF", SPAN("GET / HTTP/1.1\r\nHost: a\n\r\n"), BAD},
    {"9112 2.2", "blank line is a bare LF", SPAN("GET / HTTP/1.1\r\n" H "\n"), BAD},
    {"9112 2.2", "bare CR inside a value", SPAN("GET / HTTP/1.1\r\n" H "X: a\rb\r\n\r\n"), BAD},
    {"9112 2.2", "bare CR for the blank line", SPAN("GET / HTTP/1.1\r\n" H "\rX"), BAD},
    {"9112 2.2", "CR CR LF at a line end", SPAN("GET / HTTP/1.1\r\r\n" H "\r\n"), BAD},
    {"9112 2.3", "HTTP/1.0 needs no Host", SPAN("GET / HTTP/1.0\r\n\r\n"), WEIR_OK},
    {"9112 2.3", "HTTP/1.2", SPAN("GET / HTTP/1.2\r\n" H "\r\n"), VERSION},
    {"9112 2.3", "HTTP/2.0 on this wire", SPAN("GET / HTTP/2.0\r\n" H "\r\n"), VERSION},
    {"9112 2.3", "HTTP/0.9 spelled out", SPAN("GET / HTTP/0.9\r\n" H "\r\n"), VERSION},
    {"9112 2.3", "lower-case name", SPAN("GET / http/1.1\r\n" H "\r\n"), BAD},
    {"9112 2.3", "no minor version", SPAN("GET / HTTP/1\r\n" H "\r\n"), BAD},
    {"9112 2.3", "two digits", SPAN("GET / HTTP/1.11\r\n" H "\r\n"), BAD},
    {"9112 2.3", "another protocol", SPAN("GET / HTCPCP/1.0\r\n" H "\r\n"), BAD},
    {"9113 3.4", "the HTTP/2 preface", SPAN("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), VERSION},
    {"8446 4", "a TLS hello", SPAN("\x16\x03\x01\x02\x00\x01"), BAD},
    {"1945 5", "HTTP/0.9", SPAN("GET /\r\n"), BAD},
    {"9112 3", "a version must follow", SPAN("GET / \r\n" H "\r\n"), BAD},
    {"9112 3", "a short word in its place", SPAN("GET / x\r\n\r\n"), BAD},
    {"9112 3", "two spaces before the target", SPAN("GET  / HTTP/1.1\r\n" H "\r\n"), BAD},
    {"9112 3", "two spaces before the version", SPAN("GET /  HTTP/1.1\r\n" H "\r\n"), BAD},
    {"9112 3", "a space behind the version", SPAN("GET / HTTP/1.1 \r\n" H "\r\n"), BAD},
    {"9112 3", "a tab for a space", SPAN("GET\t/ HTTP/1.1\r\n" H "\r\n"), BAD},
    {"9112 3", "a space in the target", SPAN("GET /a b HTTP/1.1\r\n" H "\r\n"), BAD},
    {"9112 3.1", "an unknown method is a token too", SPAN("BREW /pot HTTP/1.1\r\n" H "\r\n"), WEIR_OK},
    {"9112 3.1", "odd token bytes", SPAN("M-SEARCH!# / HTTP/1.1\r\n" H "\r\n"), WEIR_OK},
    {"9112 3.1", "no token", SPAN("G(T / HTTP/1.1\r\n" H "\r\n"), BAD},
    {"9112 3.1", "a NUL in the method", SPAN("GE\0T / HTTP/1.1\r\n" H "\r\n"), BAD},
    {"9112 3.1", "a method beyond reason", SPAN("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA / HTTP/1.1\r\n" H "\r\n"), BAD},
    {"9112 3.2", "a fragment", SPAN("GET /a#b HTTP/1.1\r\n" H "\r\n"), BAD},
    {"9112 3.2", "a fragment in the query", SPAN("GET /a?b#c HTTP/1.1\r\n" H "\r\n"), BAD},
    {"9112 3.2", "DEL", SPAN("GET /a\x7f" "b HTTP/1.1\r\n" H "\r\n"), BAD},
    {"9112 3.2", "NUL", SPAN("GET /a\0b HTTP/1.1\r\n" H "\r\n"), BAD},
    {"9112 3.2", "a tab", SPAN("GET /a\tb HTTP/1.1\r\n" H "\r\n"), BAD},
    {"9112 3.2", "raw UTF-8: what Kong takes", SPAN("GET /\xc3\xa9 HTTP/1.1\r\n" H "\r\n"), WEIR_OK},
    {"9112 3.2", "odd printable bytes: what Kong takes", SPAN("GET /a\\b|\"<>{}^`[] HTTP/1.1\r\n" H "\r\n"), WEIR_OK},
    {"9112 3.2", "no Host in 1.1", SPAN("GET / HTTP/1.1\r\n\r\n"), BAD},
    {"9112 3.2", "two Hosts", SPAN("GET / HTTP/1.1\r\n" H H "\r\n"), BAD},
    {"9112 3.2", "two Hosts in any case", SPAN("GET / HTTP/1.1\r\n" H "hOST: b\r\n\r\n"), BAD},
    {"9112 3.2", "two Hosts in 1.0", SPAN("GET / HTTP/1.0\r\n" H H "\r\n"), BAD},
    {"9112 3.2", "an empty Host", SPAN("GET / HTTP/1.1\r\nHost:\r\n\r\n"), BAD},
    {"9112 3.2", "Host with a path", SPAN("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"), BAD},
    {"9112 3.2", "Host with a user", SPAN("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"), BAD},
    {"9112 3.2", "Host with a space", SPAN("GET / HTTP/1.1\r\nHost: a b\r\n\r\n"), BAD},
    {"9112 3.2", "two Hosts joined", SPAN("GET / HTTP/1.1\r\nHost: a,b\r\n\r\n"), BAD},
    {"9112 3.2", "a bad port", SPAN("GET / HTTP/1.1\r\nHost: a:8x\r\n\r\n"), BAD},
    {"9112 3.2", "a port out of range", SPAN("GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n"), BAD},
    {"3986 3.2.2", "IPv6 with a port", SPAN("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n"), WEIR_OK},
    {"3986 3.2.2", "an IPv6 literal left open", SPAN("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"), BAD},
    {"3986 3.2.2", "no IPv6 address", SPAN("GET / HTTP/1.1\r\nHost: [::g]\r\n\r\n"), BAD},
    {"9112 3.2.2", "absolute form", SPAN("GET http://b:81/p?q HTTP/1.1\r\n" H "\r\n"), WEIR_OK},
    {"9112 3.2.2", "absolute form needs Host as well", SPAN("GET http://b/ HTTP/1.1\r\n\r\n"), BAD},
    {"9110 4.2.4", "absolute form with a user", SPAN("GET http://u:p@b/ HTTP/1.1\r\n" H "\r\n"), BAD},
    {"9110 4.2.1", "absolute form without a host", SPAN("GET http:///p HTTP/1.1\r\n" H "\r\n"), BAD},
    {"9112 3.2.2", "another scheme", SPAN("GET ftp://b/ HTTP/1.1\r\n" H "\r\n"), BAD},
    {"9112 3.2", "a relative path", SPAN("GET a/b HTTP/1.1\r\n" H "\r\n"), BAD},
    {"9112 3.2.3", "CONNECT host:port", SPAN("CONNECT b:443 HTTP/1.1\r\n" H "\r\n"), WEIR_OK},
    {"9112 3.2.3", "CONNECT without a port", SPAN("CONNECT b HTTP/1.1\r\n" H "\r\n"), BAD},
    {"9112 3.2.3", "CONNECT with a path", SPAN("CONNECT /a HTTP/1.1\r\n" H "\r\n"), BAD},
    {"9112 3.2.4", "OPTIONS *", SPAN("OPTIONS * HTTP/1.1\r\n" H "\r\n"), WEIR_OK},
    {"9112 3.2.4", "* for another method", SPAN("GET * HTTP/1.1\r\n" H "\r\n"), BAD},
    {"9112 5.1", "a space before the colon", SPAN("GET / HTTP/1.1\r\n" H "X : a\r\n\r\n"), BAD},
    {"9112 5.1", "a tab before the colon", SPAN("GET / HTTP/1.1\r\n" H "X\t: a\r\n\r\n"), BAD},
    {"9112 5.1", "Host with a space before the colon", SPAN("GET / HTTP/1.1\r\nHost : a\r\n\r\n"), BAD},
    {"9112 5.2", "a folded line", SPAN("GET / HTTP/1.1\r\n" H "X: a\r\n b\r\n\r\n"), BAD},
    {"9112 5.2", "a folded line with a tab", SPAN("GET / HTTP/1.1\r\n" H "X: a\r\n\tb\r\n\r\n"), BAD},
    {"9112 2.2", "a space before the first field", SPAN("GET / HTTP/1.1\r\n " H "\r\n"), BAD},
    {"9112 5", "no colon", SPAN("GET / HTTP/1.1\r\n" H "X\r\n\r\n"), BAD},
    {"9112 5", "no name", SPAN("GET / HTTP/1.1\r\n" H ": a\r\n\r\n"), BAD},
    {"9110 5.1", "a name with a space", SPAN("GET / HTTP/1.1\r\n" H "X Y: a\r\n\r\n"), BAD},
    {"9110 5.1", "a name with NUL", SPAN("GET / HTTP/1.1\r\n" H "X\0: a\r\n\r\n"), BAD},
    {"9110 5.1", "a name with a byte over 127", SPAN("GET / HTTP/1.1\r\n" H "X\xc3: a\r\n\r\n"), BAD},
    {"9110 5.1", "a name with a slash", SPAN("GET / HTTP/1.1\r\n" H "A/B: a\r\n\r\n"), BAD},
    {"9110 5.1", "every other token byte", SPAN("GET / HTTP/1.1\r\n" H "!#$%&'*+-.^_`|~09AZaz: a\r\n\r\n"), WEIR_OK},
    {"9110 5.5", "an empty value", SPAN("GET / HTTP/1.1\r\n" H "X:\r\n\r\n"), WEIR_OK},
    {"9110 5.5", "blanks alone", SPAN("GET / HTTP/1.1\r\n" H "X: \t \r\n\r\n"), WEIR_OK},
    {"9110 5.5", "a tab inside", SPAN("GET / HTTP/1.1\r\n" H "X: a\tb\r\n\r\n"), WEIR_OK},
    {"9110 5.5", "bytes over 127", SPAN("GET / HTTP/1.1\r\n" H "X: \xff\x80\r\n\r\n"), WEIR_OK},
    {"9110 5.5", "NUL in a value", SPAN("GET / HTTP/1.1\r\n" H "X: a\0b\r\n\r\n"), BAD},
    {"9110 5.5", "ESC in a value", SPAN("GET / HTTP/1.1\r\n" H "X: \x1b[2J\r\n\r\n"), BAD},
    {"9110 5.5", "DEL in a value", SPAN("GET / HTTP/1.1\r\n" H "X: \x7f\r\n\r\n"), BAD},
    {"9110 5.4", "more fields than the limit", SPAN("GET / HTTP/1.1\r\n" H "a:1\r\nb:1\r\nc:1\r\nd:1\r\ne:1\r\nf:1\r\ng:1\r\nh:1\r\n\r\n"), LARGE},
    {"9110 5.4", "as many as the limit", SPAN("GET / HTTP/1.1\r\n" H "a:1\r\nb:1\r\nc:1\r\nd:1\r\ne:1\r\nf:1\r\ng:1\r\n\r\n"), WEIR_OK},
    {"9110 4.1", "a target over the limit", SPAN("GET /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa HTTP/1.1\r\n" H "\r\n"), LONG_URI},
    {"9110 4.1", "the query counts", SPAN("GET /a?aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa HTTP/1.1\r\n" H "\r\n"), LONG_URI},
    {"9110 4.1", "over the limit before the line ends", SPAN("GET /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), LONG_URI},
    {"9112 3", "nothing yet", SPAN(""), PENDING},
    {"9112 3", "no blank line yet", SPAN("GET / HTTP/1.1\r\n" H), PENDING},
    {"9112 3", "half a blank line", SPAN("GET / HTTP/1.1\r\n" H "\r"), PENDING},
    /* clang-format on */
};

static struct http_header items[16];

/* The bytes in a block of their own, so that a read past the end is seen. */
static enum weir_err parse(struct span text, size_t seen, struct http_request_head *head,
                           size_t *size)
{
    char *copy = malloc(text.size + (text.size == 0));
    memcpy(copy, text.data, text.size);
    enum weir_err error = WEIR_OK;
    const char *reason = NULL;
    http_headers_init(&head->headers, items, 16);
    enum http_result result =
        http_parse_request(copy, text.size, seen, &limits, head, size, &error, &reason);
    free(copy);
    if (result == HTTP_REFUSED)
        cr_expect(reason != NULL && error != WEIR_OK);
    return result == HTTP_REFUSED ? error : result == HTTP_INCOMPLETE ? PENDING : WEIR_OK;
}

Test(request, each_row_is_read_as_its_section_says)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct http_request_head head;
        size_t size = 0;
        enum weir_err have = parse(rows[i].text, 0, &head, &size);
        cr_expect_eq(have, rows[i].want, "RFC %s, %s: %s", rows[i].section, rows[i].title,
                     weir_err_text(have));
        if (have == WEIR_OK)
            cr_expect_eq(size, rows[i].text.size, "%s", rows[i].title);
    }
}

/* Byte by byte: the same answer, never COMPLETE early, and a refusal may only come sooner. */
Test(request, each_row_may_drip_in)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct http_request_head head;
        size_t size = 0, at = 0;
        enum weir_err have = PENDING;
        for (; at <= rows[i].text.size && have == PENDING; at++)
            have = parse(span_first(rows[i].text, at), at == 0 ? 0 : at - 1, &head, &size);
        if (rows[i].want == WEIR_OK)
            cr_expect(have == WEIR_OK && at == rows[i].text.size + 1, "%s", rows[i].title);
        else
            cr_expect(have == rows[i].want || have == PENDING, "%s", rows[i].title);
    }
}

Test(request, each_complete_row_may_come_in_two_reads)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (size_t cut = 0; rows[i].want != PENDING && cut < rows[i].text.size; cut++) {
            struct http_request_head head;
            size_t size = 0;
            enum weir_err have = parse(span_first(rows[i].text, cut), 0, &head, &size);
            if (have == PENDING && strstr(rows[i].text.data, "\r\n\r\n") != NULL)
                have = parse(rows[i].text, cut, &head, &size);
            cr_expect(have == rows[i].want || have == PENDING, "%s at %zu", rows[i].title, cut);
            if (rows[i].want == WEIR_OK)
                cr_expect_eq(have, WEIR_OK, "%s at %zu", rows[i].title, cut);
        }
    }
}

static void expect_span(struct span have, const char *want)
{
    cr_expect(span_equal(have, span_text(want)), "have '%.*s', want '%s'", SPAN_ARG(have), want);
}

Test(request, the_parts_point_into_the_bytes)
{
    static const char text[] = "POST /a/b?c=d?e HTTP/1.1\r\nHost: example.test:8000\r\n"
                               "X-Odd:  spaced out \t\r\ncontent-LENGTH: 3\r\nCookie: a\r\n"
                               "X-Odd: again\r\nCookie: b\r\n\r\nabcGET";
    struct http_request_head head;
    http_headers_init(&head.headers, items, 16);
    size_t size = 0;
    enum weir_err error;
    const char *reason;
    cr_assert_eq(
        http_parse_request(text, sizeof(text) - 1, 0, &limits, &head, &size, &error, &reason),
        HTTP_COMPLETE);
    expect_span(span_of(text + size, 6), "abcGET");
    expect_span(head.method, "POST");
    cr_expect_eq(head.method_id, HTTP_METHOD_POST);
    cr_expect_eq(head.minor_version, 1);
    expect_span(head.target, "/a/b?c=d?e");
    expect_span(head.path, "/a/b");
    expect_span(head.query, "c=d?e");
    cr_expect(!span_is_set(head.authority) && !span_is_set(head.scheme));
    cr_expect_eq(head.headers.count, 6);
    expect_span(http_request_host(&head), "example.test:8000");
    expect_span(http_headers_get(&head.headers, HTTP_HEADER_CONTENT_LENGTH), "3");
    expect_span(http_headers_get(&head.headers, HTTP_HEADER_COOKIE), "a");
    cr_expect_eq(head.headers.first[HTTP_HEADER_UNKNOWN], 0);
    expect_span(http_headers_find(&head.headers, SPAN("x-odd"), 0)->value, "spaced out");
    expect_span(http_headers_find(&head.headers, SPAN("x-odd"), 1)->value, "again");
    cr_expect_null(http_headers_find(&head.headers, SPAN("x-odd"), 2));
}

Test(request, target_forms_are_taken_apart)
{
    static const struct {
        struct span text;
        const char *scheme, *authority, *path, *query;
    } forms[] = {
        {SPAN("GET /? HTTP/1.1\r\n" H "\r\n"), NULL, NULL, "/", ""},
        {SPAN("GET / HTTP/1.1\r\n" H "\r\n"), NULL, NULL, "/", NULL},
        {SPAN("GET HTTP://b:81/p?q HTTP/1.1\r\n" H "\r\n"), "HTTP", "b:81", "/p", "q"},
        {SPAN("GET https://b HTTP/1.1\r\n" H "\r\n"), "https", "b", "/", NULL},
        {SPAN("GET https://b?x HTTP/1.1\r\n" H "\r\n"), "https", "b", "/", "x"},
        {SPAN("OPTIONS http://b HTTP/1.1\r\n" H "\r\n"), "http", "b", "*", NULL},
        {SPAN("OPTIONS * HTTP/1.1\r\n" H "\r\n"), NULL, NULL, "*", NULL},
        {SPAN("CONNECT b:443 HTTP/1.1\r\n" H "\r\n"), NULL, "b:443", NULL, NULL},
    };
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        struct http_request_head head;
        http_headers_init(&head.headers, items, 16);
        size_t size;
        enum weir_err error;
        const char *reason;
        cr_assert_eq(http_parse_request(forms[i].text.data, forms[i].text.size, 0, &limits, &head,
                                        &size, &error, &reason),
                     HTTP_COMPLETE);
        const char *want[] = {forms[i].scheme, forms[i].authority, forms[i].path, forms[i].query};
        struct span have[] = {head.scheme, head.authority, head.path, head.query};
        for (size_t k = 0; k < 4; k++) {
            cr_expect_eq(span_is_set(have[k]), want[k] != NULL, "form %zu part %zu", i, k);
            expect_span(have[k], want[k]);
        }
    }
}

Test(request, a_head_without_an_end_is_refused_at_the_limit)
{
    char text[600];
    memset(text, 'a', sizeof(text));
    memcpy(text, "GET / HTTP/1.1\r\nX: ", 19);
    struct http_request_head head;
    size_t size;
    cr_expect_eq(parse(span_of(text, 511), 100, &head, &size), PENDING);
    cr_expect_eq(parse(span_of(text, 512), 511, &head, &size), LARGE);
    cr_expect_eq(parse(span_of(text, 600), 0, &head, &size), LARGE);
}

Test(request, methods_are_known_by_their_case)
{
    cr_expect_eq(http_method_of(SPAN("DELETE")), HTTP_METHOD_DELETE);
    cr_expect_eq(http_method_of(SPAN("delete")), HTTP_METHOD_UNKNOWN);
    cr_expect_eq(http_method_of(SPAN("")), HTTP_METHOD_UNKNOWN);
    expect_span(http_method_name(HTTP_METHOD_PATCH), "PATCH");
}
