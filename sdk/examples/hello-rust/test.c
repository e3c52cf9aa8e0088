#include <criterion/criterion.h>
#include <string.h>
#include <weir_testkit.h>

#define CONFIGURATION(config)                                           \
    "_format_version: '3.0'\n"                                          \
    "services: [{name: s, host: t, routes: [{name: r, paths: [/]}]}]\n" \
    "plugins: [{name: hello-rust, config: " config "}]\n"

Test(hello_rust, who_names_himself_is_greeted)
{
    struct kit *kit = kit_open(CONFIGURATION("{greeting: Good morning}"));
    cr_assert_not_null(kit, "%s", kit_error());
    kit_request *r = kit_request_new(kit, "GET", "/");
    kit_request_header(r, "X-Name", "ann");
    cr_expect_eq(kit_run(r), 200);
    cr_expect_str_eq(kit_response_header(r, "X-Greeting"), "Good morning ann");
    kit_close(kit);
}

Test(hello_rust, who_does_not_is_refused)
{
    struct kit *kit = kit_open(CONFIGURATION("{header: X-Who}"));
    cr_assert_not_null(kit, "%s", kit_error());
    kit_request *r = kit_request_new(kit, "GET", "/");
    kit_request_header(r, "X-Name", "ann");
    cr_expect_eq(kit_run(r), 400);
    cr_expect_not(kit_was_proxied(r));
    cr_expect_null(kit_response_header(r, "X-Greeting"));
    cr_expect(strstr(kit_response_body(r), "\"message\":\"Who are you?\"") != NULL);
    kit_close(kit);
}

Test(hello_rust, a_name_that_does_not_fit_is_not_greeted)
{
    char name[256];
    struct kit *kit = kit_open(CONFIGURATION("{}"));
    cr_assert_not_null(kit, "%s", kit_error());
    memset(name, 'a', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    kit_request *r = kit_request_new(kit, "GET", "/");
    kit_request_header(r, "X-Name", name);
    cr_expect_eq(kit_run(r), 200);
    cr_expect_null(kit_response_header(r, "X-Greeting"));
    kit_close(kit);
}

Test(hello_rust, its_field_table_is_checked_by_the_host)
{
    cr_expect_null(kit_open(CONFIGURATION("{header: 'no header'}")));
    cr_expect(strstr(kit_error(), "config.header") != NULL, "%s", kit_error());
    cr_expect_null(kit_open(CONFIGURATION("{greting: Hi}")));
    cr_expect(strstr(kit_error(), "greeting") != NULL, "did you mean: %s", kit_error());
}
