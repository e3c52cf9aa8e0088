#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <weir_testkit.h>

#define CONFIGURATION(config)                                           \
    "_format_version: '3.0'\n"                                          \
    "services: [{name: s, host: t, routes: [{name: r, paths: [/]}]}]\n" \
    "plugins: [{name: stream-filter, config: " config "}]\n"

static struct kit *kit;

static void set_up(void)
{
    kit = kit_open(CONFIGURATION("{}"));
    cr_assert_not_null(kit, "%s", kit_error());
}

static void tear_down(void)
{
    kit_close(kit);
}

TestSuite(stream_filter, .init = set_up, .fini = tear_down);

static const struct {
    const char *reason, *sent, *want;
} rows[] = {
    {"a card", "pay 4111111111111111 now", "pay ************1111 now"},
    {"with spaces", "4111 1111 1111 1111", "**** **** **** 1111"},
    {"with dashes", "4111-1111-1111-1111.", "****-****-****-1111."},
    {"two of them", "4111111111111111,5500005555555559", "************1111,************5559"},
    {"13 digits", "4222222222222", "*********2222"},
    {"19 digits", "6304000000000000000 ", "***************0000 "},
    {"a wrong check digit", "4111111111111112", "4111111111111112"},
    {"12 digits are too few", "411111111111", "411111111111"},
    {"20 digits are too many", "41111111111111111111", "41111111111111111111"},
    {"a card inside a longer run is none", "99999999994111111111111111",
     "99999999994111111111111111"},
    {"but behind its end", "999999999999999999999,4111111111111111",
     "999999999999999999999,************1111"},
    {"two spaces part", "41111111  11111111", "41111111  11111111"},
    {"a space behind it", "4111111111111111 x", "************1111 x"},
    {"at the end with a space", "4111111111111111 ", "************1111 "},
    {"spaces alone", "  - -- ", "  - -- "},
    {"JSON", "{\"card\":\"4111111111111111\",\"n\":1}", "{\"card\":\"************1111\",\"n\":1}"},
    {"nothing", "", ""},
};

Test(stream_filter, numbers_are_masked_however_the_body_is_cut)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        for (size_t piece = 0; piece <= strlen(rows[i].sent); piece++) {
            kit_request *r = kit_request_new(kit, "GET", "/");
            kit_target_response(r, 200, rows[i].sent);
            kit_split(r, piece);
            cr_expect_eq(kit_run(r), 200);
            cr_expect_str_eq(kit_response_body(r), rows[i].want, "%s, pieces of %zu: %s",
                             rows[i].reason, piece, kit_response_body(r));
            kit_request_free(r);
        }
}

Test(stream_filter, a_large_body_flows)
{
    enum { SIZE = 3 << 20 };
    char *sent = malloc(SIZE + 1);
    cr_assert_not_null(sent);
    for (size_t i = 0; i < SIZE; i++)
        sent[i] = "some text 4111111111111111, "[i % 28];
    sent[SIZE] = '\0';
    kit_request *r = kit_request_new(kit, "GET", "/");
    kit_target_response(r, 200, sent);
    kit_split(r, 16000);
    cr_expect_eq(kit_run(r), 200);
    cr_expect_eq(kit_response_body_size(r), SIZE);
    cr_expect_null(strstr(kit_response_body(r), "4111"));
    cr_expect_null(kit_response_header(r, "Content-Length"), "chunked: see stream-filter.c");
    free(sent);
}

Test(stream_filter, what_is_not_looked_into_keeps_its_length)
{
    kit_request *r = kit_request_new(kit, "GET", "/");
    kit_target_response(r, 200, "4111111111111111");
    kit_target_header(r, "Content-Type", "image/png");
    kit_target_header(r, "ETag", "\"1\"");
    cr_expect_eq(kit_run(r), 200);
    cr_expect_str_eq(kit_response_body(r), "4111111111111111");
    cr_expect_str_eq(kit_response_header(r, "Content-Length"), "16");
    cr_expect_str_eq(kit_response_header(r, "ETag"), "\"1\"");
}

Test(stream_filter, the_target_is_asked_for_plain_bodies)
{
    kit_request *r = kit_request_new(kit, "GET", "/");
    kit_request_header(r, "Accept-Encoding", "gzip");
    kit_target_response(r, 200, "4111111111111111");
    kit_target_header(r, "ETag", "\"1\"");
    cr_expect_eq(kit_run(r), 200);
    cr_expect_null(kit_upstream_header(r, "Accept-Encoding"));
    cr_expect_null(kit_response_header(r, "ETag"), "it names other bytes");
    r = kit_request_new(kit, "GET", "/");
    kit_target_response(r, 200, "pretend this is gzip");
    kit_target_header(r, "Content-Encoding", "gzip");
    cr_expect_eq(kit_run(r), 200);
    cr_expect(strstr(kit_log_lines(kit), "it is compressed") != NULL, "%s", kit_log_lines(kit));
}

Test(stream_filter, a_mask_is_one_character)
{
    cr_expect_null(kit_open(CONFIGURATION("{mask: '**'}")));
    cr_expect(strstr(kit_error(), "config.mask") != NULL, "%s", kit_error());
}
