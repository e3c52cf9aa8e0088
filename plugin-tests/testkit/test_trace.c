/* What a test sees of hooks: traces and verdicts, what a request leaves behind, and whoever touches
 * memory of a request that is over. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "built.h"

static struct kit *open_steps(const char *config)
{
    char plugins[256];
    (void)snprintf(plugins, sizeof(plugins), "[{name: steps, config: %s}]", config);
    return open_built(yaml_with(plugins));
}

Test(testkit_trace, hooks_are_told_in_their_order)
{
    struct kit *kit = open_steps("{}");
    kit_request *r = kit_request_new(kit, "POST", "/");
    kit_request_body(r, "one two");
    kit_split_list(r, WEIR_SIDE_REQUEST, (const size_t[]){3}, 1);
    cr_expect_str_eq(kit_trace(r), "");
    cr_expect_eq(kit_run(r), 200);
    cr_expect_str_eq(kit_trace(r), "rewrite steps NEXT\n"
                                   "access steps NEXT\n"
                                   "upstream steps NEXT\n"
                                   "request_body steps 3 NEXT\n"
                                   "request_body steps 4 NEXT\n"
                                   "request_body steps 0 last NEXT\n"
                                   "response_headers steps NEXT\n"
                                   "response_body steps 5 last NEXT\n"
                                   "log steps\n");
    cr_expect_str_eq(kit_verdict(r, "request_body", "steps"), "NEXT");
    cr_expect_str_eq(kit_verdict(r, "log", "steps"), "");
    cr_expect_null(kit_verdict(r, "log", "step"));
    cr_expect_null(kit_verdict(r, "response", "steps"));
    kit_close(kit);
}

Test(testkit_trace, who_waits_is_told_twice)
{
    struct kit *kit = open_steps("{wait: access}");
    kit_request *r = kit_request_new(kit, "GET", "/");
    cr_expect_eq(kit_run(r), 0);
    cr_expect_str_eq(kit_trace(r), "rewrite steps NEXT\naccess steps WAIT\n");
    cr_expect_str_eq(kit_verdict(r, "access", "steps"), "WAIT");
    cr_expect_null(kit_verdict(r, "log", "steps"));
    kit_advance_ms(kit, 1000);
    cr_expect_eq(kit_status(r), 200);
    cr_expect_not_null(strstr(kit_trace(r), "access steps WAIT\naccess steps deadline NEXT\n"),
                       "%s", kit_trace(r));
    cr_expect_str_eq(kit_verdict(r, "access", "steps"), "NEXT");

    struct kit *probe = NULL;
    kit_close(kit);
    probe = open_built(yaml_with("[{name: probe, instance_name: mine, config: {act: early}}]"));
    r = kit_request_new(probe, "GET", "/");
    cr_expect_eq(kit_run(r), 200);
    cr_expect_not_null(strstr(kit_trace(r), "access probe/mine woken NEXT\n"), "%s", kit_trace(r));
    cr_expect_str_eq(kit_verdict(r, "access", "probe/mine"), "NEXT");
    kit_close(probe);
}

Test(testkit_trace, verdicts_are_what_the_host_makes_of_them)
{
    static const struct {
        const char *reason, *config, *line, *verdict;
    } rows[] = {
        {"WAIT without a park", "{act: wait for nothing}", "access steps FAIL (WAIT for nothing)\n",
         "FAIL"},
        {"DONE without an answer", "{act: no answer}",
         "access steps FAIL (DONE without an answer)\n", "FAIL"},
        {"a number that is no verdict", "{act: no verdict}", "access steps FAIL (no verdict)\n",
         "FAIL"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct kit *kit = open_steps(rows[i].config);
        kit_request *r = kit_request_new(kit, "GET", "/");
        cr_expect_eq(kit_run(r), 500, "%s", rows[i].reason);
        cr_expect_not_null(strstr(kit_trace(r), rows[i].line), "%s: %s", rows[i].reason,
                           kit_trace(r));
        cr_expect_str_eq(kit_verdict(r, "access", "steps"), rows[i].verdict);
        kit_close(kit);
    }
    struct kit *kit = open_built(yaml_with("[{name: probe, config: {act: answer}}]"));
    kit_request *r = kit_request_new(kit, "GET", "/");
    cr_expect_eq(kit_run(r), 299);
    cr_expect_str_eq(kit_verdict(r, "response_headers", "probe"), "DONE");
    kit_close(kit);
}

Test(testkit_trace, what_a_request_leaves_behind)
{
    struct kit *kit = open_steps("{act: leave, wait: response_headers}");
    kit_fetch_hold(kit);
    kit_request *r = kit_request_new(kit, "GET", "/");
    cr_expect_eq(kit_run(r), 0);
    cr_expect_str_eq(kit_request_leftovers(r), "parks 1, timers 2, fetches 1",
                     "the deadline of the wait is a timer, too: %s", kit_request_leftovers(r));
    kit_request *other = kit_request_new(kit, "GET", "/");
    kit_advance_ms(kit, 1000);
    cr_expect_eq(kit_status(r), 200);
    cr_expect_str_eq(kit_request_leftovers(r), "timers 1, fetches 1");
    cr_expect_str_eq(kit_request_leftovers(other), "", "what others started is theirs");
    kit_advance_ms(kit, 60000);
    cr_expect_str_eq(kit_request_leftovers(r), "fetches 1");
    kit_fetch_release(kit);
    cr_expect_str_eq(kit_request_leftovers(r), "");
    kit_close(kit);
}

/* Criterion knows nothing of the child: it must not fail a test, and ends for sure. */
static int child_of_survives(const char *plugins)
{
    (void)alarm(30);
    (void)freopen("/dev/null", "w", stderr);
    struct kit *kit = try_built(yaml_with(plugins));
    for (int i = 0; kit != NULL && i < 2; i++)
        (void)kit_run(kit_request_new(kit, "GET", "/"));
    kit_close(kit);
    return kit == NULL;
}

static bool survives(const char *act)
{
    char plugins[128];
    int status = 0;
    (void)snprintf(plugins, sizeof(plugins), "[{name: steps, config: {act: %s}}]", act);
    kit_close(open_built(yaml_with(plugins))); /* so that it fails here, if it does */
    pid_t child = fork();
    if (child == 0)
        _exit(child_of_survives(plugins));
    cr_assert(child > 0 && waitpid(child, &status, 0) == child);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

Test(testkit_memory, is_not_touched_after_the_request)
{
    cr_expect(survives("nothing"));
#ifdef __SANITIZE_ADDRESS__
    cr_expect_not(survives("keep memory"), "of weir_request_alloc()");
    cr_expect_not(survives("keep context"));
#endif
}

/* ---- allocations that fail */

struct outcomes {
    size_t runs, opened, status[6];
    char failed[64][32];
};

static void one_request(void *user, size_t nth)
{
    struct outcomes *outcomes = user;
    char plugins[128];
    (void)snprintf(plugins, sizeof(plugins), "[{name: steps, config: {wait: access}}]");
    outcomes->runs++;
    struct kit *kit = try_built(yaml_with(plugins));
    if (kit != NULL) {
        outcomes->opened++;
        kit_request *r = kit_request_new(kit, "GET", "/");
        (void)kit_run(r);
        kit_advance_ms(kit, 1000);
        cr_expect_eq(kit_request_leftovers(r)[0], '\0');
        outcomes->status[kit_status(r) / 100]++;
        if (kit_failed_allocation() != NULL)
            cr_expect_neq(kit_verdict(r, "log", "steps"), NULL, "the %zuth is %s", nth,
                          kit_failed_allocation());
    }
    if (nth < 64 && kit_failed_allocation() != NULL)
        (void)snprintf(outcomes->failed[nth], sizeof(outcomes->failed[nth]), "%s",
                       kit_failed_allocation());
    kit_close(kit);
}

Test(testkit_memory, each_allocation_fails_once)
{
    static const char *const calls[] = {
        "",          "weir_header_intern", "weir_dict_open",  "weir_metric_open",
        "weir_park", "weir_header_set",    "weir_shared_set", "weir_body_emit"};
    struct outcomes outcomes = {0};
    size_t count = kit_each_allocation(one_request, &outcomes, 100);
    cr_expect_eq(count, 7, "%zu", count);
    cr_expect_eq(outcomes.runs, 8, "and once without a failure");
    cr_expect_eq(outcomes.opened, 5, "three are of configure()");
    for (size_t i = 1; i < sizeof(calls) / sizeof(calls[0]); i++)
        cr_expect_str_eq(outcomes.failed[i], calls[i]);
    cr_expect_eq(outcomes.status[5], 3);
    cr_expect_eq(outcomes.status[2], 2, "the last one, and the body that is cut off");

    outcomes = (struct outcomes){0};
    cr_expect_eq(kit_each_allocation(one_request, &outcomes, 3), 3, "no more than asked for");
}

Test(testkit_memory, one_fails_or_all_do)
{
    struct kit *kit = open_steps("{}");
    kit_fail_allocation(1);
    kit_request *r = kit_request_new(kit, "GET", "/");
    cr_expect_eq(kit_run(r), 500);
    cr_expect_str_eq(kit_failed_allocation(), "weir_header_set");
    r = kit_request_new(kit, "GET", "/");
    cr_expect_eq(kit_run(r), 200);
    cr_expect_gt(kit_allocations(), 2);

    kit_fail_allocations_from(1);
    cr_expect_null(kit_failed_allocation());
    for (int i = 0; i < 2; i++) {
        r = kit_request_new(kit, "GET", "/");
        cr_expect_eq(kit_run(r), 500);
    }
    kit_fail_allocation(0);
    r = kit_request_new(kit, "GET", "/");
    cr_expect_eq(kit_run(r), 200);
    kit_close(kit);
}
