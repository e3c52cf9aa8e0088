/* Another build of a plugin while requests are under way. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "built.h"

static struct kit *open_steps(const char *config)
{
    char plugins[256];
    (void)snprintf(plugins, sizeof(plugins), "[{name: steps, config: %s}]", config);
    return open_built(yaml_with(plugins));
}

static kit_request *post(struct kit *kit)
{
    kit_request *r = kit_request_new(kit, "POST", "/");
    kit_request_body(r, "body");
    kit_split(r, 2);
    return r;
}

Test(testkit_swap, requests_that_wait_in_any_phase_end_on_the_build_they_began_with)
{
    static const char *const phases[] = {"rewrite",      "access",           "upstream",
                                         "request_body", "response_headers", "response_body"};
    for (size_t i = 0; i < sizeof(phases) / sizeof(phases[0]); i++) {
        char config[64];
        (void)snprintf(config, sizeof(config), "{wait: %s}", phases[i]);
        struct kit *kit = open_steps(config);
        kit_request *old = post(kit);
        cr_expect_eq(kit_run(old), 0, "%s", phases[i]);
        cr_expect(kit_is_waiting(old), "%s", phases[i]);
        cr_assert(kit_swap(kit, "steps", "steps-two.so"), "%s: %s", phases[i], kit_error());
        cr_expect_eq(kit_generations(kit), 2);
        cr_expect_eq(kit_images(kit), 2);
        kit_request *fresh = post(kit);
        cr_expect_eq(kit_run(fresh), 0);
        kit_advance_ms(kit, 1000);
        cr_expect_eq(kit_status(old), 200, "%s", phases[i]);
        cr_expect_str_eq(kit_response_header(old, "X-Build"), "one");
        cr_expect_str_eq(kit_response_body(old), "hello", "%s", phases[i]);
        cr_expect_str_eq(kit_upstream_body(old), "body", "%s", phases[i]);
        cr_expect_str_eq(kit_response_header(fresh, "X-Build"), "two");
        cr_expect_eq(kit_free_finished(kit), 2);
        cr_expect_eq(kit_generations(kit), 1, "nothing holds the old one");
#ifndef __SANITIZE_ADDRESS__
        cr_expect_eq(kit_images(kit), 1, "and it is unloaded");
#endif
        kit_close(kit);
    }
}

Test(testkit_swap, what_the_old_build_exports_the_new_one_has)
{
    struct kit *kit = open_steps("{}");
    cr_expect_eq(kit_run(post(kit)), 200);
    cr_expect(kit_swap(kit, "steps", "steps-two.so"), "%s", kit_error());
    cr_expect_eq(kit_run(post(kit)), 200);
    cr_expect(was_logged(kit, "build two, request 2"), "%s", kit_log_lines(kit));
    cr_expect(kit_reload(kit, yaml_with("[{name: steps}]")), "%s", kit_error());
    kit_request *r = post(kit);
    cr_expect_eq(kit_run(r), 200);
    cr_expect_str_eq(kit_response_header(r, "X-Build"), "two", "a reload keeps the build");
    cr_expect(was_logged(kit, "build two, request 3"), "and hands over: %s", kit_log_lines(kit));
    struct kit *second = kit_second_worker(kit);
    r = post(second);
    cr_expect_eq(kit_run(r), 200);
    cr_expect_str_eq(kit_response_header(r, "X-Build"), "two");
    kit_close(second);
    cr_expect(kit_swap(kit, "steps", NULL), "%s", kit_error());
    r = post(kit);
    cr_expect_eq(kit_run(r), 200);
    cr_expect_str_eq(kit_response_header(r, "X-Build"), "one", "back to that of the folder");
    kit_close(kit);
}

Test(testkit_swap, one_that_is_refused_changes_nothing)
{
    struct kit *kit = open_steps("{}");
    cr_expect(kit_swap(kit, "steps", "steps-two.so"), "%s", kit_error());
    cr_expect_not(kit_swap(kit, "steps", "/nowhere/steps.so"));
    cr_expect_not_null(strstr(kit_error(), "/nowhere/steps.so"), "%s", kit_error());
    cr_expect_not(kit_swap(kit, "steps", "probe.so"), "another plugin");
    cr_expect_not_null(strstr(kit_error(), "probe"), "%s", kit_error());
    kit_request *r = post(kit);
    cr_expect_eq(kit_run(r), 200);
    cr_expect_str_eq(kit_response_header(r, "X-Build"), "two");
    cr_expect_eq(kit_generations(kit), 1);
    kit_close(kit);
}

Test(testkit_swap, while_a_request_is_at_its_target)
{
    struct kit *kit = open_steps("{}");
    kit_request *r = post(kit);
    kit_target_hold(r);
    cr_expect_eq(kit_run(r), 0);
    cr_expect(kit_was_proxied(r));
    cr_expect_not(kit_is_waiting(r), "no policy does");
    cr_expect(kit_swap(kit, "steps", "steps-two.so"), "%s", kit_error());
    kit_target_answers(r);
    cr_expect_eq(kit_status(r), 200);
    cr_expect(kit_is_over(r));
    cr_expect_str_eq(kit_response_header(r, "X-Build"), "one");
    kit_close(kit);
}
