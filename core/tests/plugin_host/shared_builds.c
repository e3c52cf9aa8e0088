/* The table of builds: who has a slot and who gets one, what readers see, what is left of a worker
 * that died, and what a verdict, a wait and an exchange add to it. */
#include <criterion/criterion.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "plugin_host/builds.h"
#include "plugin_host/builds_internal.h"
#include "plugin_host/host_internal.h"
#include "plugin_host/phases.h"
#include "plugin_host/shared_internal.h"
#include "run_support.h"

static struct shared *region;

static void set_up(void)
{
    region = shared_create(16 << 20, 3);
    cr_assert_not_null(region);
}

static void tear_down(void)
{
    shared_destroy(region);
}

TestSuite(shared_builds, .init = set_up, .fini = tear_down, .timeout = 60);

static struct build_name name_of(const char *plugin, unsigned number)
{
    struct build_name name = {.version = "1.0.0"};
    (void)snprintf(name.plugin, sizeof(name.plugin), "%s", plugin);
    (void)snprintf(name.hash, sizeof(name.hash), "%064x", number);
    return name;
}

static struct build_totals *take(uint32_t worker, const char *plugin, unsigned number,
                                 uint32_t *out_slot)
{
    struct build_name name = name_of(plugin, number);
    return builds_take(region, worker, &name, out_slot);
}

static bool knows(const char *plugin, unsigned number)
{
    uint32_t slot;
    struct build_name name = name_of(plugin, number);
    return builds_find(region, plugin, name.hash, &slot);
}

Test(shared_builds, workers_share_a_slot_and_have_rows_of_their_own)
{
    uint32_t first = 9, second = 9, other = 9;
    struct build_totals *one = take(0, "quota", 1, &first);
    struct build_totals *two = take(1, "quota", 1, &second);
    cr_assert(one != NULL && two != NULL);
    cr_expect_eq(first, second, "one build, one slot");
    cr_expect_neq((uintptr_t)one, (uintptr_t)two);
    cr_expect_eq((uintptr_t)one % SHARED_LINE, 0U);
    cr_expect_eq((uintptr_t)two % SHARED_LINE, 0U);
    cr_assert_not_null(take(0, "quota", 2, &other));
    cr_expect_neq(other, first, "another hash is another build");
    cr_assert_not_null(take(0, "cors", 1, &other));
    cr_expect_neq(other, first, "so is another plugin");

    one->exchanges = 3;
    two->exchanges = 4;
    two->phases[PHASE_ACCESS].verdicts[BUILD_DONE] = 5;
    two->in_flight = 1;
    struct build_totals all, single;
    cr_assert(builds_read(region, first, -1, &all));
    cr_expect_eq(all.exchanges, 7U);
    cr_expect_eq(build_calls(&all), 5U);
    cr_expect_eq(build_verdicts(&all, BUILD_DONE), 5U);
    cr_expect_eq(build_verdicts(&all, BUILD_FAIL), 0U);
    cr_expect_eq(all.in_flight, 1U);
    cr_assert(builds_read(region, first, 0, &single));
    cr_expect_eq(single.exchanges, 3U);
    cr_expect(!builds_read(region, first, 3, &single), "there is no such worker");
    cr_expect(!builds_read(region, builds_count(region), -1, &single), "nor such a slot");
    cr_expect_eq(single.exchanges, 0U);

    struct build_name name = name_of("quota", 1);
    cr_expect(builds_read_of(region, "quota", name.hash, -1, &all));
    cr_expect_eq(all.exchanges, 7U);
    cr_expect(!builds_read_of(region, "quot", name.hash, -1, &all));
    cr_expect_eq(all.exchanges, 0U);
}

Test(shared_builds, what_was_counted_outlives_the_image)
{
    uint32_t slot, again;
    struct build_totals *row = take(0, "quota", 1, &slot);
    row->exchanges = 8;
    row->in_flight = row->suspended = row->policies = row->loaded = row->pinned = 2;
    builds_give(region, 0, slot);
    struct build_totals totals;
    cr_assert(builds_read(region, slot, -1, &totals), "it is still shown");
    cr_expect_eq(totals.exchanges, 8U);
    cr_expect_eq(totals.in_flight + totals.suspended + totals.policies + totals.loaded +
                     totals.pinned,
                 0U, "but it has nothing now");
    cr_assert_eq((uintptr_t)take(0, "quota", 1, &again), (uintptr_t)row, "it goes on there");
    cr_expect_eq(row->exchanges, 8U);
}

/* A lifetime of builds: each slot that nobody holds is found again, those that are held stay. */
Test(shared_builds, thousands_of_builds_one_after_the_other)
{
    uint32_t held, slot;
    struct build_totals *kept = take(2, "steady", 0, &held);
    cr_assert_not_null(kept);
    kept->exchanges = 77;
    for (unsigned i = 1; i <= 3000; i++) {
        struct build_totals *row = take(i % 2, "swapped", i, &slot);
        cr_assert_not_null(row, "build %u has no slot", i);
        cr_expect_eq(row->exchanges, 0U, "build %u counts from nothing", i);
        row->exchanges = i;
        builds_give(region, i % 2, slot);
    }
    cr_expect_leq(builds_count(region), (uint32_t)BUILDS_KEPT + 2);
    cr_expect(knows("steady", 0));
    cr_expect_eq(kept->exchanges, 77U);
    cr_expect(knows("swapped", 3000));
    cr_expect(knows("swapped", 3001 - BUILDS_KEPT + 1), "the last ones are kept");
    cr_expect(!knows("swapped", 1), "the first ones are not");
}

Test(shared_builds, a_full_table_refuses_and_one_that_is_let_go_makes_room)
{
    uint32_t slots[BUILD_SLOTS], slot = 9999;
    for (unsigned i = 0; i < BUILD_SLOTS; i++)
        cr_assert_not_null(take(0, "p", i, &slots[i]));
    cr_expect_null(take(1, "p", BUILD_SLOTS, &slot));
    cr_expect_eq(slot, 9999U, "unchanged");
    cr_assert_not_null(take(1, "p", 5, &slot), "a known build needs no room");
    builds_give(region, 0, slots[5]);
    cr_expect_null(take(1, "p", BUILD_SLOTS, &slot), "worker 1 still has it");
    builds_give(region, 1, slots[5]);
    cr_assert_not_null(take(1, "p", BUILD_SLOTS, &slot));
    cr_expect_eq(slot, slots[5]);
    cr_expect(!knows("p", 5));
}

Test(shared_builds, a_region_without_room_refuses)
{
    uint32_t slot;
    AUTO(shared_destroy) struct shared *small = shared_create(0, 1);
    cr_assert_not_null(small);
    while (shared_left(small) >= 1024)
        cr_assert_neq(shared_alloc(small, 512, 8), 0U);
    while (shared_left(small) >= 64)
        cr_assert_neq(shared_alloc(small, 32, 8), 0U);
    struct build_name name = name_of("p", 1);
    cr_expect_null(builds_take(small, 0, &name, &slot));
    cr_expect_eq(builds_count(small), 0U);
}

/* kill -9 while images are loaded and requests wait. */
Test(shared_builds, a_dead_workers_counts_stay_and_nothing_of_it_is_in_flight)
{
    uint32_t slot;
    int ready[2];
    cr_assert_eq(pipe(ready), 0);
    cr_assert_not_null(take(0, "quota", 1, &slot));
    pid_t child = fork();
    if (child == 0) {
        struct build_totals *row = take(1, "quota", 1, &slot);
        row->exchanges = 5;
        row->in_flight = row->suspended = row->loaded = 1;
        (void)!write(ready[1], "x", 1);
        for (;;)
            (void)pause();
    }
    char byte;
    cr_assert_eq(read(ready[0], &byte, 1), 1);
    cr_assert_eq(kill(child, SIGKILL), 0);
    cr_assert_eq(waitpid(child, NULL, 0), child);

    struct build_totals totals;
    AUTO(plugin_host_destroy) struct plugin_host *host = plugin_host_create(NULL, region, 1);
    cr_assert_not_null(host);
    cr_assert(builds_read(region, slot, -1, &totals));
    cr_expect_eq(totals.exchanges, 5U);
    cr_expect_eq(totals.in_flight + totals.suspended + totals.loaded, 0U);
    builds_give(region, 0, slot);
    for (unsigned i = 0; i <= BUILDS_KEPT; i++) {
        cr_assert_not_null(take(0, "next", i, &slot));
        builds_give(region, 0, slot);
    }
    cr_expect(!knows("quota", 1), "the dead worker does not hold its slot");
}

static void die_with_the_lock(bool changing)
{
    pid_t child = fork();
    if (child == 0) {
        (void)!shared_lock(&region->builds.lock);
        if (changing)
            region->builds.slots[0].sequence++;
        _exit(0);
    }
    cr_assert_eq(waitpid(child, NULL, 0), child);
}

Test(shared_builds, the_lock_outlives_its_holder)
{
    uint32_t slot, other;
    struct build_totals totals;
    cr_assert_not_null(take(0, "quota", 1, &slot));
    builds_give(region, 0, slot);
    die_with_the_lock(false);
    cr_assert_not_null(take(0, "quota", 1, &slot));
    builds_give(region, 0, slot);
    cr_expect(builds_read(region, slot, -1, &totals));

    die_with_the_lock(true);
    cr_expect(!builds_read(region, slot, -1, &totals), "nobody knows what it is meanwhile");
    cr_assert_not_null(take(0, "cors", 2, &other));
    cr_expect(!knows("quota", 1), "half changed: it is nobody's");
    cr_expect(knows("cors", 2));
    cr_expect_eq(shared_usage(region).recoveries, 2U);
}

/* ---- what the numbers mean */

Test(shared_builds, differences_and_quantiles)
{
    struct build_totals start = {.exchanges = 10, .latency_us = 1000, .in_flight = 9};
    struct build_totals now = {.exchanges = 25, .latency_us = 4000, .in_flight = 2};
    now.latency[0] = 90;
    now.latency[10] = 9;
    now.latency[BUILD_LATENCIES - 1] = 1;
    start.latency[0] = 100;
    struct build_totals since = build_since(&now, &start);
    cr_expect_eq(since.exchanges, 15U);
    cr_expect_eq(since.latency_us, 3000U);
    cr_expect_eq(since.in_flight, 2U, "as it is now");
    cr_expect_eq(since.latency[0], 0U, "never below nothing: its slot was another's");
    cr_expect_eq(build_latency_us(&now, 500), 0U);
    cr_expect_eq(build_latency_us(&now, 900), 0U);
    cr_expect_eq(build_latency_us(&now, 990), 1024U);
    cr_expect_eq(build_latency_us(&now, 1000), 1ULL << (BUILD_LATENCIES - 1));
    cr_expect_eq(build_latency_us(&(struct build_totals){0}, 990), 0U);
}

static void end_after(struct rig *rig, uint64_t us, uint16_t status)
{
    rig_begin(rig);
    rig->request.set = NULL;
    cr_assert_eq(request_enter_set(&rig->request, &rig->set), WEIR_OK);
    rig->request.started_us = 1000;
    rig->request.finished_us = 1000 + us;
    rig->request.has_response = true;
    rig->request.response.status = status;
}

Test(shared_builds, an_exchange_counts_once_for_each_build_of_its_chains)
{
    struct rig rig;
    struct actor a = {.name = "a"}, b = {.name = "b"};
    rig_open(&rig);
    rig_add(&rig, &a);
    rig_add(&rig, &b);
    struct build_totals *const rows[] = {&a.row, &b.row};
    rig.set.rows = rows;
    rig.set.row_count = 2;
    const struct {
        uint64_t us, bucket;
        uint16_t status;
    } ends[] = {{0, 0, 200}, {1, 1, 499}, {1023, 10, 500}, {1024, 11, 503}, {1ULL << 40, 23, 404}};
    for (size_t i = 0; i < COUNT_OF(ends); i++) {
        uint64_t before = a.row.latency[ends[i].bucket];
        end_after(&rig, ends[i].us, ends[i].status);
        cr_expect_eq(a.row.in_flight, 1U);
        request_end(&rig.request);
        cr_expect_eq(a.row.in_flight, 0U);
        cr_expect_eq(a.row.latency[ends[i].bucket], before + 1, "%lu us",
                     (unsigned long)ends[i].us);
    }
    cr_expect_eq(a.row.exchanges, COUNT_OF(ends));
    cr_expect_eq(b.row.exchanges, COUNT_OF(ends));
    cr_expect_eq(a.row.server_errors, 2U);
    cr_expect_eq(a.row.latency_us, 0U + 1 + 1023 + 1024 + (1ULL << 40));

    end_after(&rig, 1, 200);
    rig.request.finished_us = 0; /* nothing came but the end of the connection */
    request_end(&rig.request);
    cr_expect_eq(a.row.exchanges, COUNT_OF(ends));
    cr_expect_eq(a.row.in_flight, 0U);
    rig_close(&rig);
}

static weir_verdict takes_memory(weir_request *request, struct actor *actor)
{
    (void)actor;
    cr_expect_not_null(call_request_alloc(request, 100));
    cr_expect_not_null(call_request_alloc(request, 28));
    return WEIR_NEXT;
}

Test(shared_builds, memory_is_counted_for_who_takes_it)
{
    struct rig rig;
    struct actor a = {.name = "a"}, b = {.name = "b", .act = takes_memory};
    rig_open(&rig);
    rig_add(&rig, &a);
    rig_add(&rig, &b);
    rig_begin(&rig);
    cr_expect_eq(phase_run(&rig.request, PHASE_ACCESS), PHASE_NEXT);
    cr_expect_eq(a.row.arena_bytes, 0U);
    cr_expect_eq(b.row.arena_bytes, 128U);
    rig_close(&rig);
}

/* ---- time: the rig's clock stands still unless a hook moves it */

static weir_verdict takes_time(weir_request *request, struct actor *actor)
{
    (void)request, (void)actor;
    clock_advance_us(30);
    return WEIR_NEXT;
}

Test(shared_builds, one_request_in_so_many_is_timed_and_stands_for_all)
{
    struct rig rig;
    struct actor a = {.name = "a", .act = takes_time}, b = {.name = "b"};
    clock_freeze(1000000, 0);
    rig_open(&rig);
    rig_add(&rig, &a);
    rig_add(&rig, &b);
    for (int i = 0; i < 10 * BUILD_SAMPLE; i++) {
        rig_begin(&rig);
        cr_expect_eq(phase_run(&rig.request, PHASE_ACCESS), PHASE_NEXT);
        request_end(&rig.request);
        rig.trace[0] = '\0';
    }
    const struct build_phase *phase = &a.row.phases[PHASE_ACCESS];
    cr_expect_eq(phase->verdicts[BUILD_NEXT], 10U * BUILD_SAMPLE);
    cr_expect_eq(phase->samples, 10U);
    cr_expect_eq(phase->sampled_ns, 10U * 30000);
    cr_expect_eq(phase->time_ns, 10U * BUILD_SAMPLE * 30000);
    cr_expect_eq(build_time_ns(&b.row), 0U);
    rig_close(&rig);
}

static double part_of(struct span text, const char *name)
{
    char wanted[64];
    (void)snprintf(wanted, sizeof(wanted), "%s;dur=", name);
    struct span item;
    while (span_split(&text, ',', &item)) {
        item = span_trim(item);
        if (span_starts_with(item, span_text(wanted)))
            return strtod(item.data + strlen(wanted), NULL); /* ends before "," or a NUL */
    }
    return -1;
}

Test(shared_builds, a_record_says_where_all_the_time_went)
{
    struct rig rig;
    struct actor a = {.name = "a", .act = takes_time}, b = {.name = "b"};
    clock_freeze(1000000, 0);
    rig_open(&rig);
    rig_add(&rig, &a);
    rig_add(&rig, &b);
    rig_begin(&rig);
    timing_begin(&rig.request);
    clock_advance_us(100);
    cr_expect_eq(phase_run(&rig.request, PHASE_ACCESS), PHASE_NEXT);
    clock_advance_us(10);
    timing_target(&rig.request, true);
    clock_advance_us(5000);
    timing_target(&rig.request, false);
    clock_advance_us(20);
    cr_expect_eq(phase_run(&rig.request, PHASE_RESPONSE_HEADERS), PHASE_NEXT);
    AUTO_BUF text = BUF_INIT;
    buf_span(&text, timing_text(&rig.request));
    buf_byte(&text, '\0');
    expect_text("all of it", span_text(text.data),
                "gateway;dur=0.1900, upstream;dur=5.0000, core;dur=0.1300, a;dur=0.0600, "
                "b;dur=0.0000");
    expect_text("kept", timing_told(&rig.request), text.data);
    cr_expect_eq(a.row.phases[PHASE_ACCESS].samples, 1U, "each call is timed");
    cr_expect_eq(a.row.phases[PHASE_ACCESS].time_ns, 30000U, "and stands for itself");
    rig_close(&rig);
}

static weir_verdict wakes(weir_request *request, void *self, void *context, uint32_t why)
{
    (void)request, (void)self, (void)context, (void)why;
    clock_advance_us(7);
    return WEIR_NEXT;
}

static weir_verdict waits(weir_request *request, struct actor *actor)
{
    struct park *park = parks_take(host_parks(actor->rig->host), request, TO_TARGET, 1000, wakes);
    cr_assert_not_null(park);
    actor->token = park_token(park);
    return WEIR_WAIT;
}

Test(shared_builds, who_waits_is_suspended_and_its_wait_is_its_own_time)
{
    struct rig rig;
    struct actor a = {.name = "a", .act = waits};
    struct build_phase *phase = &a.row.phases[PHASE_ACCESS];
    clock_freeze(1000000, 0);
    rig_open(&rig);
    rig_add(&rig, &a);
    rig_begin(&rig);
    timing_begin(&rig.request);
    cr_assert_eq(phase_run(&rig.request, PHASE_ACCESS), PHASE_WAIT);
    cr_expect_eq(a.row.suspended, 1U);
    cr_expect_eq(phase->verdicts[BUILD_WAIT], 1U);
    clock_advance_us(2000);
    cr_expect_eq(parks_wake(host_parks(rig.host), a.token), WEIR_SUCCESS);
    cr_expect_eq(a.row.suspended, 1U, "until it is called");
    rig_settle(&rig);
    cr_expect_eq(rig.resumed, PHASE_NEXT);
    cr_expect_eq(a.row.suspended, 0U);
    cr_expect_eq(phase->verdicts[BUILD_NEXT], 1U, "what on_wake said");
    clock_advance_us(3);
    struct span text = timing_text(&rig.request);
    cr_expect_float_eq(part_of(text, "a"), 2.007, 1e-9);
    cr_expect_float_eq(part_of(text, "core"), 0.003, 1e-9);
    cr_expect_float_eq(part_of(text, "gateway"), 2.010, 1e-9);
    cr_expect_eq(phase->sampled_ns, 7000U, "time in hooks is without the wait");

    rig_begin(&rig);
    cr_assert_eq(phase_run(&rig.request, PHASE_ACCESS), PHASE_WAIT);
    cr_expect_eq(a.row.suspended, 1U);
    request_stop_waiting(&rig.request);
    cr_expect_eq(a.row.suspended, 0U, "given up");
    cr_assert_eq(phase_run(&rig.request, PHASE_ACCESS), PHASE_WAIT);
    cr_assert_eq(phase_run(&rig.request, PHASE_UPSTREAM), PHASE_WAIT);
    cr_expect_eq(a.row.suspended, 1U, "another phase of the direction: the first wait is given up");
    rig_close(&rig);
    cr_expect_eq(a.row.suspended, 0U);
}
