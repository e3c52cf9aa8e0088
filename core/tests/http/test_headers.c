/* The field list, the name table, the scans against their plain twins, the head writer. */
#include <criterion/criterion.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "http/headers.h"
#include "http/scan.h"
#include "http/write.h"

static const char *const names[] = {
#define X(id, name, flags) name,
    HTTP_HEADER_TABLE(X)
#undef X
};

Test(names, every_known_name_is_found_in_any_case)
{
    for (unsigned id = 1; id < HTTP_HEADER_COUNT; id++) {
        struct span name = span_text(names[id - 1]);
        char upper[64];
        for (size_t i = 0; i < name.size; i++)
            upper[i] = (char)toupper((unsigned char)name.data[i]);
        cr_expect_eq(http_header_id_of(name), id, "%s", names[id - 1]);
        cr_expect_eq(http_header_id_of(span_of(upper, name.size)), id, "%s", names[id - 1]);
        cr_expect(span_equal(http_header_name((enum http_header_id)id), name));
    }
}

Test(names, a_name_that_differs_in_one_bit_is_another)
{
    for (unsigned id = 1; id < HTTP_HEADER_COUNT; id++) {
        struct span name = span_text(names[id - 1]);
        for (size_t bit = 0; bit < 8 * name.size; bit++) {
            char other[64];
            memcpy(other, name.data, name.size);
            other[bit / 8] = (char)(other[bit / 8] ^ (1 << bit % 8));
            enum http_header_id want = HTTP_HEADER_UNKNOWN;
            for (unsigned k = 1; k < HTTP_HEADER_COUNT; k++)
                if (span_equal_nocase(span_of(other, name.size), span_text(names[k - 1])))
                    want = (enum http_header_id)k;
            cr_expect_eq(http_header_id_of(span_of(other, name.size)), want, "%s bit %zu",
                         names[id - 1], bit);
        }
        cr_expect_eq(http_header_id_of(span_first(name, name.size - 1)) == id, false);
    }
    cr_expect_eq(http_header_id_of(SPAN("")), HTTP_HEADER_UNKNOWN);
    cr_expect_eq(http_header_id_of(SPAN_NONE), HTTP_HEADER_UNKNOWN);
}

static struct http_header items[5];
static struct http_headers list;

static void expect_list(const char *want)
{
    char have[256] = "";
    for (size_t i = 0; i < list.count; i++)
        snprintf(have + strlen(have), sizeof(have) - strlen(have), "%.*s=%.*s ",
                 SPAN_ARG(list.items[i].name), SPAN_ARG(list.items[i].value));
    cr_expect_str_eq(have, want);
    for (unsigned id = 1; id < HTTP_HEADER_COUNT; id++) {
        size_t first = 0;
        while (first < list.count && list.items[first].id != id)
            first++;
        cr_expect_eq(list.first[id], first == list.count ? 0 : first + 1, "first of %s",
                     names[id - 1]);
    }
}

static void fill(void)
{
    http_headers_init(&list, items, 5);
    cr_assert_eq(http_headers_add(&list, HTTP_HEADER_UNKNOWN, SPAN("X-A"), SPAN("1")), WEIR_OK);
    cr_assert_eq(http_headers_add(&list, HTTP_HEADER_COOKIE, SPAN_NONE, SPAN("2")), WEIR_OK);
    cr_assert_eq(http_headers_add(&list, HTTP_HEADER_UNKNOWN, SPAN("Vary"), SPAN("3")), WEIR_OK);
    cr_assert_eq(http_headers_add(&list, HTTP_HEADER_UNKNOWN, SPAN("COOKIE"), SPAN("4")), WEIR_OK);
    cr_assert_eq(http_headers_add(&list, HTTP_HEADER_UNKNOWN, SPAN("x-a"), SPAN("")), WEIR_OK);
    expect_list("X-A=1 cookie=2 Vary=3 COOKIE=4 x-a= ");
}

Test(headers, adding_stops_at_the_capacity)
{
    fill();
    cr_expect_eq(http_headers_add(&list, HTTP_HEADER_VIA, SPAN_NONE, SPAN("x")), WEIR_ERR_LIMIT);
    cr_expect_eq(http_headers_set(&list, HTTP_HEADER_VIA, SPAN_NONE, SPAN("x")), WEIR_ERR_LIMIT);
    cr_expect(!span_is_set(http_headers_get(&list, HTTP_HEADER_VIA)));
    cr_expect_eq(http_headers_count(&list, HTTP_HEADER_COOKIE, SPAN_NONE), 2);
    cr_expect_eq(http_headers_count(&list, HTTP_HEADER_UNKNOWN, SPAN("X-a")), 2);
    cr_expect_eq(http_headers_count(&list, HTTP_HEADER_UNKNOWN, SPAN("x-b")), 0);
}

Test(headers, removing_keeps_order_and_index)
{
    fill();
    cr_expect_eq(http_headers_remove(&list, HTTP_HEADER_COOKIE, SPAN_NONE), 2);
    expect_list("X-A=1 Vary=3 x-a= ");
    cr_expect_eq(http_headers_remove(&list, HTTP_HEADER_UNKNOWN, SPAN("X-A")), 2);
    expect_list("Vary=3 ");
    cr_expect_eq(http_headers_remove(&list, HTTP_HEADER_UNKNOWN, SPAN("X-A")), 0);
    http_headers_remove_at(&list, 0);
    expect_list("");
}

Test(headers, removing_one_leaves_its_namesakes)
{
    fill();
    http_headers_remove_at(&list, 1);
    expect_list("X-A=1 Vary=3 COOKIE=4 x-a= ");
}

Test(headers, setting_keeps_the_first_place)
{
    fill();
    cr_expect_eq(http_headers_set(&list, HTTP_HEADER_COOKIE, SPAN_NONE, SPAN("5")), WEIR_OK);
    expect_list("X-A=1 cookie=5 Vary=3 x-a= ");
    cr_expect_eq(http_headers_set(&list, HTTP_HEADER_UNKNOWN, SPAN("x-A"), SPAN("6")), WEIR_OK);
    expect_list("x-A=6 cookie=5 Vary=3 ");
    cr_expect_eq(http_headers_set(&list, HTTP_HEADER_VIA, SPAN("Via"), SPAN("7")), WEIR_OK);
    expect_list("x-A=6 cookie=5 Vary=3 Via=7 ");
}

Test(headers, nothing_invalid_gets_in)
{
    http_headers_init(&list, items, 5);
    static const struct {
        struct span name, value;
    } rows[] = {
        {SPAN(""), SPAN("a")},       {SPAN("a b"), SPAN("a")},  {SPAN("a:"), SPAN("a")},
        {SPAN("a"), SPAN("a\r\nb")}, {SPAN("a"), SPAN("a\nb")}, {SPAN("a"), SPAN("a\0b")},
        {SPAN("a"), SPAN("\x7f")},   {SPAN("a\xc3"), SPAN("")},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cr_expect_eq(http_headers_add(&list, HTTP_HEADER_UNKNOWN, rows[i].name, rows[i].value),
                     WEIR_ERR_INVALID, "row %zu", i);
        cr_expect_eq(http_headers_set(&list, HTTP_HEADER_UNKNOWN, rows[i].name, rows[i].value),
                     WEIR_ERR_INVALID, "row %zu", i);
    }
    cr_expect_eq(list.count, 0);
}

Test(headers, connection_names_what_is_dropped_but_not_what_we_rely_on)
{
    http_headers_init(&list, items, 5);
    static const struct {
        struct span name, value;
        bool dropped;
    } rows[] = {
        {SPAN("Connection"), SPAN("x-mine, X-Forwarded-For, host"), true},
        {SPAN("X-Mine"), SPAN("1"), true},
        {SPAN("X-Forwarded-For"), SPAN("1.2.3.4"), false},
        {SPAN("Host"), SPAN("a"), false},
        {SPAN("TE"), SPAN("trailers"), true},
    };
    for (size_t i = 0; i < 5; i++)
        cr_assert_eq(http_headers_add(&list, HTTP_HEADER_UNKNOWN, rows[i].name, rows[i].value),
                     WEIR_OK);
    http_headers_mark_hop(&list);
    for (size_t i = 0; i < 5; i++)
        cr_expect_eq((list.items[i].flags & HTTP_HEADER_HOP) != 0, rows[i].dropped, "%.*s",
                     SPAN_ARG(rows[i].name));
}

/* Else a sender could make us drop what a policy puts in the place of its field. */
Test(headers, what_is_set_anew_is_not_dropped_for_what_stood_there)
{
    http_headers_init(&list, items, 5);
    cr_assert_eq(
        http_headers_add(&list, HTTP_HEADER_UNKNOWN, SPAN("Connection"), SPAN("x-mine, te")),
        WEIR_OK);
    cr_assert_eq(http_headers_add(&list, HTTP_HEADER_UNKNOWN, SPAN("X-Mine"), SPAN("1")), WEIR_OK);
    cr_assert_eq(http_headers_add(&list, HTTP_HEADER_TE, SPAN_NONE, SPAN("gzip")), WEIR_OK);
    http_headers_mark_hop(&list);
    cr_assert_eq(http_headers_set(&list, HTTP_HEADER_UNKNOWN, SPAN("X-Mine"), SPAN("2")), WEIR_OK);
    cr_assert_eq(http_headers_set(&list, HTTP_HEADER_TE, SPAN_NONE, SPAN("trailers")), WEIR_OK);
    cr_expect_eq(list.items[1].flags & HTTP_HEADER_HOP, 0);
    cr_expect_neq(list.items[2].flags & HTTP_HEADER_HOP, 0, "a name that belongs to a connection");
}

/* Random bytes, mostly of those that each scan passes over, in blocks of their own. */
Test(scan, every_scan_agrees_with_its_plain_twin)
{
    typedef const char *scan_fn(const char *, const char *);
    static const struct {
        const char *name, *usual;
        scan_fn *fast, *plain;
    } scans[] = {
        {"token", "abcXYZ019-_.!~", scan_token, scan_token_scalar},
        {"value", "ab \t\x80\xff~:", scan_value, scan_value_scalar},
        {"host", "abcXYZ019-.", scan_host, scan_host_scalar},
        {"plain", "abcXYZ019-", scan_plain, scan_plain_scalar},
        {"path", "/ab\xc3\xff~!%", scan_path, scan_path_scalar},
        {"query", "/?a\xc3\xff~!%", scan_query, scan_query_scalar},
        {"odd path", "/abc.d\xc3\xff~", scan_odd_path, scan_odd_path_scalar},
    };
    srand(1);
    for (size_t i = 0; i < sizeof(scans) / sizeof(scans[0]); i++)
        for (unsigned round = 0; round < 40000; round++) {
            size_t size = (size_t)rand() % 70;
            char *bytes = malloc(size + 1);
            for (size_t k = 0; k < size; k++)
                bytes[k] = rand() % 40 == 0
                               ? (char)(rand() & 255)
                               : scans[i].usual[(size_t)rand() % strlen(scans[i].usual)];
            bytes = realloc(bytes, size + (size == 0));
            ptrdiff_t fast = scans[i].fast(bytes, bytes + size) - bytes;
            ptrdiff_t plain = scans[i].plain(bytes, bytes + size) - bytes;
            if (scans[i].plain == scan_value_scalar && size >= 16)
                cr_assert_eq(
                    scan_value_to(bytes + 16, scan_last(bytes + 16, bytes + size), bytes + size),
                    scan_value_scalar(bytes + 16, bytes + size));
            if (scans[i].plain == scan_token_scalar)
                cr_assert_eq(scan_token_to(bytes, scan_last(bytes, bytes + size), bytes + size),
                             scan_token_scalar(bytes, bytes + size));
            free(bytes);
            cr_assert_eq(fast, plain, "%s, round %u: %td, not %td", scans[i].name, round, fast,
                         plain);
        }
}

Test(scan, every_single_byte_at_every_place)
{
    for (unsigned byte = 0; byte < 256; byte++)
        for (size_t at = 0; at < 40; at++) {
            char bytes[40];
            const char *end = bytes + sizeof(bytes);
            memset(bytes, 'a', sizeof(bytes));
            bytes[at] = (char)byte;
            cr_expect_eq(scan_token(bytes, end), scan_token_scalar(bytes, end));
            cr_expect_eq(scan_value(bytes, end), scan_value_scalar(bytes, end));
            for (size_t size = at + 1; size < 16; size++) { /* shorter than a step */
                cr_expect_eq(scan_value(bytes, bytes + size),
                             scan_value_scalar(bytes, bytes + size));
                cr_expect_eq(scan_token(bytes, bytes + size),
                             scan_token_scalar(bytes, bytes + size));
            }
            cr_expect_eq(scan_path(bytes, end), scan_path_scalar(bytes, end));
            cr_expect_eq(scan_query(bytes, end), scan_query_scalar(bytes, end));
            cr_expect_eq(scan_odd_path(bytes, end), scan_odd_path_scalar(bytes, end));
        }
}

static size_t write_head(char *buffer, size_t size, bool *overflow)
{
    struct http_writer w = http_writer_of(buffer, size);
    http_write_status_line(&w, 204);
    http_write_header(&w, SPAN("Server"), SPAN("weir"));
    http_write_header_u64(&w, SPAN("Content-Length"), UINT64_MAX);
    http_write_header(&w, SPAN("X-Empty"), SPAN_NONE);
    http_write_end(&w);
    *overflow = w.overflow;
    return (size_t)(w.at - buffer);
}

Test(write, a_head_fits_or_overflows_at_every_size)
{
    static const char want[] = "HTTP/1.1 204 No Content\r\nServer: weir\r\n"
                               "Content-Length: 18446744073709551615\r\nX-Empty: \r\n\r\n";
    for (size_t size = 1; size <= sizeof(want) + 4; size++) {
        char *buffer = malloc(size);
        bool overflow;
        size_t written = write_head(buffer, size, &overflow);
        cr_expect(written <= size);
        cr_expect_eq(overflow, size < sizeof(want) - 1, "size %zu", size);
        if (!overflow)
            cr_expect(span_equal(span_of(buffer, written), span_text(want)));
        free(buffer);
    }
}

Test(write, status_lines)
{
    char buffer[128];
    struct http_writer w = http_writer_of(buffer, sizeof(buffer));
    http_write_status_line(&w, 299);
    http_write_status_reason(&w, 200, SPAN("Fine"));
    http_write_status_reason(&w, 999, SPAN("a\r\nX: y"));
    struct span want = SPAN("HTTP/1.1 299 \r\nHTTP/1.1 200 Fine\r\nHTTP/1.1 999 \r\n");
    cr_expect(span_equal(http_written(&w, buffer), want), "%.*s", (int)(w.at - buffer), buffer);
    cr_expect(span_equal(http_reason(404), SPAN("Not Found")));
    cr_expect(span_equal(http_reason(299), SPAN("")));
    cr_expect(span_equal(http_reason(0), SPAN("")));
}

Test(write, dates_agree_with_libc)
{
    static const uint64_t moments[] = {0,          784111777,  951782400,  951868800,   1709164800,
                                       1709251199, 4102444799, 4107542400, 253402300799};
    for (uint64_t i = 0; i < 3000; i++) {
        uint64_t moment = i < 9 ? moments[i] : i * 86400 * 29 + i * 7919;
        time_t seconds = (time_t)moment;
        struct tm parts;
        char have[HTTP_DATE_SIZE], want[64];
        http_date(have, moment);
        strftime(want, sizeof(want), "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&seconds, &parts));
        cr_expect(span_equal(span_of(have, sizeof(have)), span_text(want)), "%.29s, not %s", have,
                  want);
    }
}
