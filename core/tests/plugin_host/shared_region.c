/* The region itself: worker slots, facts, the allocator's bound, and locks whose holder died. */
#include <criterion/criterion.h>
#include <sys/wait.h>
#include <unistd.h>

#include "plugin_host/dict.h"
#include "plugin_host/metrics.h"
#include "plugin_host/shared.h"
#include "plugin_host/shared_internal.h"

TestSuite(shared_region, .timeout = 60);

Test(shared_region, slots_lie_on_lines_of_their_own_and_are_seen_by_all)
{
    AUTO(shared_destroy) struct shared *shared = shared_create(0, 3);
    cr_assert_not_null(shared);
    cr_expect_eq(shared_workers(shared), 3);
    pid_t child = fork();
    if (child == 0) {
        shared_worker(shared, 2)->requests = 7;
        shared_facts(shared)->reloads = 9;
        _exit(0);
    }
    cr_assert_eq(waitpid(child, NULL, 0), child);
    cr_expect_eq(shared_worker(shared, 2)->requests, 7);
    cr_expect_eq(shared_worker(shared, 1)->requests, 0, "each worker has a slot of its own");
    cr_expect_eq(shared_facts(shared)->reloads, 9);
    for (uint32_t i = 0; i < 3; i++)
        cr_expect_eq((uintptr_t)shared_worker(shared, i) % SHARED_LINE, 0);
}

Test(shared_region, usage_says_size_and_what_is_in_it)
{
    AUTO(shared_destroy) struct shared *shared = shared_create((3 << 20) + 1, 1);
    cr_assert_not_null(shared);
    struct shared_usage before = shared_usage(shared);
    cr_expect_eq(before.size % (size_t)sysconf(_SC_PAGESIZE), 0);
    cr_expect_gt(before.size, 3 << 20, "rounded up, not down");
    cr_expect_eq(before.dictionaries, 0);
    cr_expect_eq(before.series, 0);

    char why[256] = "";
    weir_dict *dict = dict_open(shared, SPAN("p"), SPAN("d"), 1, 100, 8, why, sizeof(why));
    weir_metric *metric = metric_open(shared, 0, WEIR_METRIC_COUNTER, SPAN("c_total"), SPAN("help"),
                                      NULL, NULL, 0, why, sizeof(why));
    cr_assert_not_null(dict, "%s", why);
    cr_assert_not_null(metric, "%s", why);
    struct shared_usage after = shared_usage(shared);
    cr_expect_eq(after.dictionaries, 1);
    cr_expect_eq(after.series, 1, "a family without labels has its series from the start");
    cr_expect_gt(after.used, before.used);
    cr_expect_leq(after.used, after.size);
    dict_close(dict);
    metric_close(metric);
}

Test(shared_region, the_allocator_stops_at_the_end)
{
    AUTO(shared_destroy) struct shared *shared = shared_create(0, 1);
    cr_assert_not_null(shared);
    uint64_t left = shared_left(shared);
    cr_expect_eq(shared_alloc(shared, left + 1, 1), 0);
    cr_expect_eq(shared_alloc(shared, UINT64_MAX, 64), 0, "a sum that wraps is no room");
    cr_expect_neq(shared_alloc(shared, left, 1), 0);
    cr_expect_eq(shared_alloc(shared, 1, 1), 0);
    cr_expect_eq(shared_usage(shared).used, shared_usage(shared).size);
}

Test(shared_region, the_block_is_the_same_for_all)
{
    AUTO(shared_destroy) struct shared *shared = shared_create(0, 1);
    cr_assert_not_null(shared);
    pid_t child = fork();
    if (child == 0) {
        char *block = shared_block(shared, 1000);
        block[999] = 'x';
        _exit(0);
    }
    cr_assert_eq(waitpid(child, NULL, 0), child);
    const char *block = shared_block(shared, 1000);
    cr_assert_not_null(block);
    cr_expect_eq(block[999], 'x', "whoever asks first makes it");
    cr_expect_eq(block[998], 0);
    AUTO(shared_destroy) struct shared *full = shared_create(0, 1);
    cr_assert_not_null(full);
    cr_expect_null(shared_block(full, shared_left(full) + 1), "no room");
}

Test(shared_region, a_lock_of_a_dead_process_is_taken_over_and_counted)
{
    AUTO(shared_destroy) struct shared *shared = shared_create(0, 1);
    cr_assert_not_null(shared);
    pid_t child = fork();
    if (child == 0) {
        shared_lock_simple(shared, &shared->alloc_lock);
        _exit(0);
    }
    cr_assert_eq(waitpid(child, NULL, 0), child);
    cr_expect_eq(shared_usage(shared).recoveries, 0);
    cr_expect_neq(shared_alloc(shared, 8, 8), 0);
    cr_expect_eq(shared_usage(shared).recoveries, 1);
    cr_expect_neq(shared_alloc(shared, 8, 8), 0);
    cr_expect_eq(shared_usage(shared).recoveries, 1, "once is enough");
}
