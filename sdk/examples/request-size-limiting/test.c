#include <criterion/criterion.h>
#include <string.h>
#include <weir_testkit.h>

#define CONFIGURATION(config)                                           \
    "_format_version: '3.0'\n"                                          \
    "services: [{name: s, host: t, routes: [{name: r, paths: [/]}]}]\n" \
    "plugins: [{name: request-size-limiting, config: " config "}]\n"
#define TEN_BYTES CONFIGURATION("{allowed_payload_size: 10, size_unit: bytes}")

static kit_request *post(struct kit *kit, const char *body)
{
    kit_request *r = kit_request_new(kit, "POST", "/orders");
    if (body != NULL)
        kit_request_body(r, body);
    return r;
}

Test(size_limiting, a_length_decides_before_the_body_comes)
{
    struct kit *kit = kit_open(TEN_BYTES);
    cr_assert_not_null(kit, "%s", kit_error());
    kit_request *r = post(kit, "0123456789");
    cr_expect_eq(kit_run(r), 200);
    cr_expect_str_eq(kit_upstream_body(r), "0123456789");
    r = post(kit, "0123456789a");
    cr_expect_eq(kit_run(r), 413);
    cr_expect_not(kit_was_proxied(r));
    cr_expect(strstr(kit_response_body(r), "\"message\":\"Request size limit exceeded\"") != NULL);
    r = post(kit, "0123456789a");
    kit_request_header(r, "Expect", "100-Continue");
    cr_expect_eq(kit_run(r), 417);
    kit_close(kit);
}

Test(size_limiting, a_body_without_length_is_counted)
{
    struct kit *kit = kit_open(TEN_BYTES);
    cr_assert_not_null(kit, "%s", kit_error());
    for (size_t piece = 1; piece <= 11; piece++) {
        kit_request *fits = post(kit, "0123456789"), *over = post(kit, "0123456789a");
        kit_no_length(fits, WEIR_SIDE_REQUEST);
        kit_no_length(over, WEIR_SIDE_REQUEST);
        kit_split(fits, piece);
        kit_split(over, piece);
        cr_expect_eq(kit_run(fits), 200, "pieces of %zu", piece);
        cr_expect_str_eq(kit_upstream_body(fits), "0123456789");
        cr_expect_eq(kit_run(over), 413, "pieces of %zu", piece);
    }
    kit_close(kit);
}

Test(size_limiting, a_length_may_be_required)
{
    struct kit *kit = kit_open(
        CONFIGURATION("{allowed_payload_size: 1, size_unit: bytes, require_content_length: true}"));
    cr_assert_not_null(kit, "%s", kit_error());
    kit_request *r = post(kit, NULL);
    cr_expect_eq(kit_run(r), 411);
    cr_expect(strstr(kit_response_body(r), "A valid Content-Length header is required") != NULL);
    r = post(kit, "x");
    cr_expect_eq(kit_run(r), 200);
    kit_close(kit);
}

Test(size_limiting, units)
{
    struct kit *kit = kit_open(CONFIGURATION("{allowed_payload_size: 1, size_unit: kilobytes}"));
    char body[1026];
    memset(body, 'x', sizeof(body));
    body[1024] = '\0';
    kit_request *r = post(kit, body);
    cr_expect_eq(kit_run(r), 200);
    body[1024] = 'x';
    body[1025] = '\0';
    r = post(kit, body);
    cr_expect_eq(kit_run(r), 413);
    kit_close(kit);
}

Test(size_limiting, what_is_refused)
{
    cr_expect_null(kit_open(CONFIGURATION("{allowed_payload_size: -1}")));
    cr_expect(strstr(kit_error(), "allowed_payload_size") != NULL, "%s", kit_error());
    cr_expect_null(kit_open(CONFIGURATION("{size_unit: stones}")));
    cr_expect(strstr(kit_error(), "size_unit") != NULL, "%s", kit_error());
}
