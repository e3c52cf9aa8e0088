/* The example of the SDK, built from its one file and the SDK's headers, tested as its author would
 * test it. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "built.h"

#define QUOTA(limit) \
    "[{name: tenant-quota, config: {limit: " limit ", window: 10s, header: X-Customer}}]"

static struct kit *open_quota(const char *plugins)
{
    return open_built(yaml_with(plugins));
}

static kit_request *ask(struct kit *kit, const char *tenant)
{
    kit_request *r = kit_request_new(kit, "GET", "/");
    if (tenant != NULL)
        kit_request_header(r, "X-Customer", tenant);
    (void)kit_run(r);
    return r;
}

static int status_for(struct kit *kit, const char *tenant)
{
    return kit_status(ask(kit, tenant));
}

Test(tenant_quota, each_tenant_has_a_quota_of_its_own)
{
    static const struct {
        const char *reason, *tenant, *left;
        int status;
    } requests[] = {
        {"first of two", "ann", "1", 200}, {"second of two", "ann", "0", 200},
        {"one too many", "ann", "0", 429}, {"another tenant", "bob", "1", 200},
        {"who is it?", NULL, "0", 400},    {"still too many", "ann", "0", 429},
    };
    struct kit *kit = open_quota(QUOTA("2"));
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        kit_request *r = ask(kit, requests[i].tenant);
        cr_expect_eq(kit_status(r), requests[i].status, "%s: %d", requests[i].reason,
                     kit_status(r));
        cr_expect_eq(kit_was_proxied(r), requests[i].status == 200, "%s", requests[i].reason);
        const char *left = kit_response_header(r, "X-Quota-Left");
        cr_expect(left != NULL && strcmp(left, requests[i].left) == 0, "%s: %s", requests[i].reason,
                  left);
    }
    kit_close(kit);
}

Test(tenant_quota, a_refusal_has_the_gateways_error_body)
{
    struct kit *kit = open_quota(QUOTA("1"));
    kit_request *r = kit_request_new(kit, "GET", "/");
    kit_request_id(r, "0123456789abcdef0123456789abcdef");
    cr_expect_eq(kit_run(r), 400);
    cr_expect_str_eq(kit_response_body(r),
                     "{\n  \"message\":\"which tenant?\",\n"
                     "  \"request_id\":\"0123456789abcdef0123456789abcdef\"\n}");
    cr_expect_str_eq(kit_response_header(r, "content-type"), "application/json; charset=utf-8");
    kit_close(kit);
}

Test(tenant_quota, the_window_passes)
{
    struct kit *kit = open_quota(QUOTA("1"));
    cr_expect_eq(status_for(kit, "ann"), 200);
    kit_advance_ms(kit, 9999);
    cr_expect_eq(status_for(kit, "ann"), 429, "the last millisecond of the window");
    kit_advance_ms(kit, 1);
    cr_expect_eq(status_for(kit, "ann"), 200);
    kit_close(kit);
}

Test(tenant_quota, workers_count_together)
{
    struct kit *kit = open_quota(QUOTA("3"));
    struct kit *other = kit_second_worker(kit);
    cr_expect_eq(status_for(kit, "ann"), 200);
    cr_expect_eq(status_for(other, "ann"), 200);
    cr_expect_eq(status_for(kit, "ann"), 200);
    cr_expect_eq(status_for(other, "ann"), 429);
    cr_expect_eq(status_for(kit, "ann"), 429);
    kit_close(other);
    kit_close(kit);
}

Test(tenant_quota, counters_outlive_a_reload)
{
    struct kit *kit = open_quota(QUOTA("2"));
    cr_expect_eq(status_for(kit, "ann"), 200);
    cr_expect(kit_reload(kit, yaml_with(QUOTA("3"))), "%s", kit_error());
    cr_expect_str_eq(kit_response_header(ask(kit, "ann"), "X-Quota-Left"), "1");
    kit_close(kit);
}

Test(tenant_quota, wrong_configurations_say_where)
{
    static const struct {
        const char *reason, *plugins, *error;
    } wrong[] = {
        {"a bound", QUOTA("0"), "kong.yml:3:48: plugins[0].config.limit: "},
        {"a required field", "[{name: tenant-quota, config: {}}]",
         "plugins[0].config.limit: required field missing"},
        {"a typo", "[{name: tenant-quota, config: {limit: 1, windw: 5s}}]", "window"},
        {"a plugin that is not there", "[{name: tenant-quotas}]", "tenant-quota"},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct kit *kit = try_built(yaml_with(wrong[i].plugins));
        cr_expect_null(kit, "%s", wrong[i].reason);
        cr_expect_not_null(strstr(kit_error(), wrong[i].error), "%s: %s", wrong[i].reason,
                           kit_error());
        kit_close(kit);
    }
}

Test(tenant_quota, a_refused_reload_leaves_the_old_one_serving)
{
    struct kit *kit = open_quota(QUOTA("1"));
    cr_expect(!kit_reload(kit, yaml_with(QUOTA("-1"))));
    cr_expect_str_neq(kit_error(), "");
    cr_expect_eq(status_for(kit, "ann"), 200);
    cr_expect(kit_reload(kit, yaml_with(QUOTA("2"))), "%s", kit_error());
    cr_expect_str_eq(kit_error(), "");
    kit_close(kit);
}
