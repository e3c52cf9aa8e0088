/* The built .so in the test kit: the gateway's own table of functions, a clock that only the test
 * moves. */
#include <criterion/criterion.h>
#include <string.h>
#include <weir_testkit.h>

#define CONFIGURATION(config)                                           \
    "_format_version: '3.0'\n"                                          \
    "services: [{name: s, host: t, routes: [{name: r, paths: [/]}]}]\n" \
    "plugins: [{name: tenant-quota, config: " config "}]\n"

static kit_request *ask(struct kit *kit, const char *tenant)
{
    kit_request *r = kit_request_new(kit, "GET", "/orders");
    if (tenant != NULL)
        kit_request_header(r, "X-Tenant", tenant);
    (void)kit_run(r);
    return r;
}

Test(tenant_quota, each_tenant_has_its_own_and_the_window_passes)
{
    struct kit *kit = kit_open(CONFIGURATION("{limit: 1, window: 10s}"));
    cr_assert_not_null(kit, "%s", kit_error());
    kit_request *first = ask(kit, "ann");
    cr_expect_eq(kit_status(first), 200);
    cr_expect_str_eq(kit_response_header(first, "X-Quota-Left"), "0");
    kit_request *second = ask(kit, "ann");
    cr_expect_eq(kit_status(second), 429);
    cr_expect_not(kit_was_proxied(second));
    cr_expect_eq(kit_status(ask(kit, "bob")), 200, "another tenant");
    kit_advance_ms(kit, 10000);
    cr_expect_eq(kit_status(ask(kit, "ann")), 200, "the next window");
    kit_close(kit);
}

Test(tenant_quota, a_request_without_tenant_is_refused)
{
    struct kit *kit = kit_open(CONFIGURATION("{limit: 1}"));
    cr_assert_not_null(kit, "%s", kit_error());
    cr_expect_eq(kit_status(ask(kit, NULL)), 400);
    kit_close(kit);
}

Test(tenant_quota, workers_count_together)
{
    struct kit *kit = kit_open(CONFIGURATION("{limit: 1}"));
    cr_assert_not_null(kit, "%s", kit_error());
    struct kit *other = kit_second_worker(kit);
    cr_expect_eq(kit_status(ask(kit, "ann")), 200);
    cr_expect_eq(kit_status(ask(other, "ann")), 429);
    kit_close(other);
    kit_close(kit);
}

Test(tenant_quota, a_limit_of_nothing_is_refused)
{
    cr_assert_null(kit_open(CONFIGURATION("{limit: 0}")));
    cr_expect(strstr(kit_error(), "config.limit: ") != NULL, "%s", kit_error());
}
