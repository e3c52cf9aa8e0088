/* Parked hooks: woken in every way a plugin can get wrong, by every thread, in every phase. */
#include <criterion/criterion.h>
#include <pthread.h>

#include "run_support.h"

TestSuite(run_waits, .timeout = 60);

static const enum phase waiting_phases[] = {PHASE_REWRITE, PHASE_ACCESS, PHASE_UPSTREAM,
                                            PHASE_RESPONSE_HEADERS};

static weir_status wake(struct actor *actor)
{
    return call_wake(actor->rig->table, actor->token);
}

static void begin(struct rig *rig, struct actor *a, struct actor *b, struct actor *c)
{
    rig_open(rig);
    rig_add(rig, a);
    rig_add(rig, b);
    rig_add(rig, c);
    rig_begin(rig);
    rig->request.response.status = 200;
}

/* What comes of the chain when b waits, is woken and then answers. */
static const struct {
    const char *why;
    weir_verdict verdict;
    uint32_t status;
    bool fails_open;
    enum phase_result want;
    const char *ran;
} after_wake[] = {
    {"NEXT: the chain goes on behind it", WEIR_NEXT, 0, false, PHASE_NEXT, "a b b(woken) c"},
    {"DONE", WEIR_DONE, 429, false, PHASE_DONE, "a b b(woken)"},
    {"DONE without an answer", WEIR_DONE, 0, false, PHASE_FAILED, "a b b(woken)"},
    {"FAIL closed", WEIR_FAIL, 0, false, PHASE_FAILED, "a b b(woken)"},
    {"FAIL open", WEIR_FAIL, 0, true, PHASE_NEXT, "a b b(woken) c"},
    {"WAIT without parking again", WEIR_WAIT, 0, false, PHASE_FAILED, "a b b(woken)"},
    {"unknown", 99, 0, false, PHASE_FAILED, "a b b(woken)"},
};

Test(run_waits, the_verdict_after_the_wake_counts)
{
    for (size_t i = 0; i < COUNT_OF(after_wake); i++) {
        struct rig rig;
        struct actor a = {.name = "a"}, c = {.name = "c"};
        struct actor b = {.name = "b",
                          .waits = 1,
                          .verdict = after_wake[i].verdict,
                          .status = after_wake[i].status,
                          .fails_open = after_wake[i].fails_open};
        begin(&rig, &a, &b, &c);
        cr_expect_eq(phase_run(&rig.request, PHASE_ACCESS), PHASE_WAIT, "%s", after_wake[i].why);
        cr_expect_eq(rig_timers(&rig), 1U, "every WAIT has a deadline");
        cr_expect_eq(wake(&b), WEIR_SUCCESS);
        cr_expect_eq(rig.resumes, 0, "never inside wake()");
        expect_text("not yet", span_text(rig.trace), "a b");
        rig_settle(&rig);
        cr_expect_eq(rig.resumes, 1, "%s", after_wake[i].why);
        cr_expect_eq(rig.resumed, after_wake[i].want, "%s", after_wake[i].why);
        expect_text(after_wake[i].why, span_text(rig.trace), after_wake[i].ran);
        cr_expect_eq(rig.request.reply.status, after_wake[i].status, "%s", after_wake[i].why);
        rig_close(&rig);
    }
}

Test(run_waits, in_every_phase_and_every_hook)
{
    for (size_t i = 0; i < COUNT_OF(waiting_phases); i++) {
        struct rig rig;
        struct actor a = {.name = "a", .waits = 1, .context_size = 8};
        struct actor b = {.name = "b", .waits = 2}, c = {.name = "c", .waits = 1};
        struct actor *waiter[] = {&a, &b, &b, &c};
        begin(&rig, &a, &b, &c);
        enum phase phase = waiting_phases[i];
        rig.request.has_response = phase == PHASE_RESPONSE_HEADERS;
        cr_expect_eq(phase_run(&rig.request, phase), PHASE_WAIT);
        for (size_t turn = 0; turn < COUNT_OF(waiter); turn++) {
            cr_expect_eq(rig.resumes, 0);
            cr_expect_eq(wake(waiter[turn]), WEIR_SUCCESS, "%s, turn %zu", phase_name(phase), turn);
            rig_settle(&rig);
        }
        expect_text(phase_name(phase), span_text(rig.trace),
                    "a a(woken) b b(woken) b(woken) c c(woken)");
        cr_expect_eq(rig.resumes, 1);
        cr_expect_eq(rig.resumed, PHASE_NEXT);
        cr_expect_eq(rig.resumed_direction,
                     phase == PHASE_RESPONSE_HEADERS ? TO_CLIENT : TO_TARGET);
        cr_expect_eq(a.context, rig.request.contexts[0], "on_wake gets the same context");
        cr_expect_eq(rig.request.park_count, 0U);
        rig_close(&rig);
    }
}

Test(run_waits, a_wake_before_wait_was_returned_counts)
{
    struct rig rig;
    struct actor a = {.name = "a"}, c = {.name = "c"};
    struct actor b = {.name = "b", .waits = 2, .wakes_early = true};
    begin(&rig, &a, &b, &c);
    cr_expect_eq(phase_run(&rig.request, PHASE_ACCESS), PHASE_WAIT);
    expect_text("not re-entered", span_text(rig.trace), "a b");
    rig_settle(&rig);
    expect_text("both", span_text(rig.trace), "a b b(woken) b(woken) c");
    cr_expect_eq(rig.resumed, PHASE_NEXT);
    rig_close(&rig);
}

Test(run_waits, a_second_wake_is_gone)
{
    struct rig rig;
    struct actor a = {.name = "a"}, b = {.name = "b", .waits = 1}, c = {.name = "c"};
    begin(&rig, &a, &b, &c);
    cr_expect_eq(phase_run(&rig.request, PHASE_ACCESS), PHASE_WAIT);
    cr_expect_eq(wake(&b), WEIR_SUCCESS);
    cr_expect_eq(wake(&b), WEIR_GONE, "woken already");
    rig_settle(&rig);
    cr_expect_eq(wake(&b), WEIR_GONE, "ended");
    rig_settle(&rig);
    cr_expect_eq(b.wakes, 1U);
    rig_close(&rig);
}

Test(run_waits, tokens_nobody_gave)
{
    struct rig rig;
    struct actor a = {.name = "a"}, b = {.name = "b", .waits = 1}, c = {.name = "c"};
    begin(&rig, &a, &b, &c);
    cr_expect_eq(phase_run(&rig.request, PHASE_ACCESS), PHASE_WAIT);
    const weir_token bad[] = {0,
                              UINT64_MAX,
                              b.token + 1,
                              b.token + (1ULL << 32),
                              b.token - (1ULL << 32),
                              b.token & UINT32_MAX,
                              (b.token & ~(uint64_t)UINT32_MAX) | PARKS_MAX,
                              (b.token & ~(uint64_t)UINT32_MAX) | (PARKS_MAX + 1U)};
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        cr_expect_eq(call_wake(rig.table, bad[i]), WEIR_GONE, "%zu", i);
    rig_settle(&rig);
    cr_expect_eq(b.wakes, 0U);
    rig_close(&rig);
}

Test(run_waits, a_stale_token_does_not_wake_who_has_its_place_now)
{
    struct rig rig;
    struct actor a = {.name = "a"}, b = {.name = "b", .waits = 2}, c = {.name = "c"};
    begin(&rig, &a, &b, &c);
    cr_expect_eq(phase_run(&rig.request, PHASE_ACCESS), PHASE_WAIT);
    weir_token first = b.token;
    cr_expect_eq(wake(&b), WEIR_SUCCESS);
    rig_settle(&rig);
    cr_expect_eq((uint32_t)first, (uint32_t)b.token, "the same place");
    cr_expect_eq(call_wake(rig.table, first), WEIR_GONE);
    rig_settle(&rig);
    cr_expect_eq(b.wakes, 1U);
    rig_close(&rig);
}

Test(run_waits, deadlines)
{
    struct rig rig;
    struct actor a = {.name = "a", .waits = 1, .deadline_ms = 50};
    struct actor b = {.name = "b", .waits = 1}, c = {.name = "c"};
    begin(&rig, &a, &b, &c);
    cr_expect_eq(phase_run(&rig.request, PHASE_ACCESS), PHASE_WAIT);
    rig_advance(&rig, 49);
    cr_expect_eq(a.wakes, 0U);
    rig_advance(&rig, 1);
    cr_expect_eq(a.why, WEIR_DEADLINE);
    cr_expect_eq(wake(&a), WEIR_GONE, "too late");
    rig_advance(&rig, PARK_DEADLINE_MS - 1);
    expect_text("0 is not for ever", span_text(rig.trace), "a a(deadline) b");
    rig_advance(&rig, 1);
    expect_text("but a minute", span_text(rig.trace), "a a(deadline) b b(deadline) c");
    cr_expect_eq(rig.resumed, PHASE_NEXT);
    rig_close(&rig);
}

Test(run_waits, a_park_is_dropped_when_the_hook_does_not_wait)
{
    static const weir_verdict verdicts[] = {WEIR_NEXT, WEIR_DONE, WEIR_FAIL, 7};
    for (size_t i = 0; i < COUNT_OF(verdicts); i++)
        for (int early = 0; early < 2; early++) {
            struct rig rig;
            struct actor a = {.name = "a"}, c = {.name = "c"};
            struct actor b = {.name = "b",
                              .forgets = true,
                              .status = verdicts[i] == WEIR_DONE ? 401 : 0,
                              .verdict = verdicts[i],
                              .wakes_early = early != 0};
            begin(&rig, &a, &b, &c);
            cr_expect_neq(phase_run(&rig.request, PHASE_ACCESS), PHASE_WAIT);
            cr_expect_neq(b.token, 0U);
            cr_expect_eq(rig.request.park_count, 0U);
            cr_expect_eq(rig_timers(&rig), 0U);
            cr_expect_eq(wake(&b), WEIR_GONE);
            rig_settle(&rig);
            cr_expect_eq(b.wakes, 0U, "even if it was woken before");
            cr_expect_eq(rig.resumes, 0);
            rig_close(&rig);
        }
}

/* The request ends while it is parked: unwoken, woken but not yet run, past its deadline. */
Test(run_waits, the_request_ends_first)
{
    for (int how = 0; how < 3; how++) {
        struct rig rig;
        struct actor a = {.name = "a"}, b = {.name = "b", .waits = 1}, c = {.name = "c"};
        begin(&rig, &a, &b, &c);
        cr_expect_eq(phase_run(&rig.request, PHASE_ACCESS), PHASE_WAIT);
        if (how == 1)
            cr_expect_eq(wake(&b), WEIR_SUCCESS);
        if (how == 2)
            rig.timers[0].active = false, rig.timers[0].fire(rig.timers[0].arg);
        request_end(&rig.request);
        memset(&rig.request, 0xa5, sizeof(rig.request)); /* as freed memory */
        cr_expect_eq(wake(&b), WEIR_GONE);
        rig_settle(&rig);
        cr_expect_eq(b.wakes, 0U);
        rig_begin(&rig);
        rig_close(&rig);
    }
}

Test(run_waits, the_request_may_end_in_resume)
{
    struct rig rig;
    struct actor a = {.name = "a", .waits = 1}, b = {.name = "b"}, c = {.name = "c"};
    begin(&rig, &a, &b, &c);
    rig.end_on_resume = true;
    cr_expect_eq(phase_run(&rig.request, PHASE_ACCESS), PHASE_WAIT);
    cr_expect_eq(wake(&a), WEIR_SUCCESS);
    rig_settle(&rig);
    cr_expect_eq(rig.resumes, 1);
    cr_expect_eq(wake(&a), WEIR_GONE);
    rig_begin(&rig);
    rig_close(&rig);
}

/* Client and target vanish inside the hook: the gateway notes it and ends the exchange when the
 * phase has returned, whatever the hook said. */
Test(run_waits, ended_right_after_the_hook)
{
    struct rig rig;
    struct actor a = {.name = "a"}, c = {.name = "c"};
    struct actor b = {.name = "b", .waits = 1, .wakes_early = true};
    begin(&rig, &a, &b, &c);
    cr_expect_eq(phase_run(&rig.request, PHASE_ACCESS), PHASE_WAIT);
    request_end(&rig.request);
    rig_settle(&rig);
    expect_text("never woken", span_text(rig.trace), "a b");
    rig_begin(&rig);
    rig_close(&rig);
}

Test(run_waits, log_gives_up_what_waits_for_the_response)
{
    struct rig rig;
    struct actor a = {.name = "a", .waits = 1}, b = {.name = "b"}, c = {.name = "c"};
    begin(&rig, &a, &b, &c);
    rig.request.has_response = true;
    cr_expect_eq(phase_run(&rig.request, PHASE_RESPONSE_HEADERS), PHASE_WAIT);
    cr_expect_eq(phase_run(&rig.request, PHASE_LOG), PHASE_NEXT);
    cr_expect_eq(wake(&a), WEIR_GONE);
    rig_settle(&rig);
    cr_expect_eq(rig.resumes, 0);
    rig_close(&rig);
}

static weir_verdict never_called(weir_request *request, void *self, void *context, uint32_t why)
{
    (void)request, (void)self, (void)context, (void)why;
    cr_expect_fail("nobody waits");
    return WEIR_NEXT;
}

static weir_verdict park_twice(weir_request *request, struct actor *actor)
{
    (void)actor;
    cr_expect_eq(call_park(request, 0, NULL), 0U, "without a callback");
    cr_expect_neq(call_park(request, 0, never_called), 0U);
    cr_expect_eq(call_park(request, 0, never_called), 0U, "one at a time");
    return WEIR_NEXT;
}

Test(run_waits, parking_where_there_is_nothing_to_wait_for)
{
    struct rig rig;
    struct actor a = {.name = "a", .act = park_twice}, b = {.name = "b"}, c = {.name = "c"};
    begin(&rig, &a, &b, &c);
    cr_expect_eq(call_park(&rig.request, 0, never_called), 0U, "outside of a hook");
    cr_expect_eq(phase_run(&rig.request, PHASE_ACCESS), PHASE_NEXT);
    cr_expect_eq(rig.request.park_count, 0U);
    rig_close(&rig);
}

/* ---- from other threads */

enum { THREADS = 4, EXCHANGES = 64, ROUNDS = 40 };

struct crowd {
    struct rig *rig;
    _Atomic weir_token tokens[EXCHANGES];
    atomic_bool over;
    atomic_uint accepted;
};

static void *waker(void *arg)
{
    struct crowd *crowd = arg;
    for (unsigned seed = 1; !atomic_load(&crowd->over); seed = seed * 1103515245U + 12345U) {
        weir_token token = atomic_load(&crowd->tokens[seed >> 16 & (EXCHANGES - 1)]);
        if (call_wake(crowd->rig->table, token) == WEIR_SUCCESS)
            atomic_fetch_add(&crowd->accepted, 1);
    }
    return NULL;
}

/* Exchanges park again and again while four threads wake tokens, most of them stale. */
Test(run_waits, woken_by_other_threads_in_any_order)
{
    static struct rig rig;
    static struct actor actors[EXCHANGES];
    static struct rig others[EXCHANGES];
    static struct crowd crowd;
    rig_open(&rig);
    crowd.rig = &rig;
    for (size_t i = 0; i < EXCHANGES; i++) {
        actors[i] = (struct actor){.name = "x", .waits = ROUNDS};
        struct rig *other = &others[i];
        other->host = rig.host;
        other->arena = rig.arena;
        other->set.members = other->members;
        rig_add(other, &actors[i]);
        actors[i].rig = &rig;
        rig_begin(other);
        /* Deadlines are not what is tested, and the loop here has few timers. */
    }
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, waker, &crowd), 0);
    unsigned running = 0, started = 0, finished = 0, rounds = 0;
    while (finished < EXCHANGES) {
        for (; running < RIG_TIMERS && started < EXCHANGES; started++, running++)
            cr_assert_eq(phase_run(&others[started].request, PHASE_ACCESS), PHASE_WAIT);
        for (size_t i = 0; i < EXCHANGES; i++)
            atomic_store(&crowd.tokens[i], actors[i].token);
        rig.trace[0] = '\0';
        (void)rig_turn(&rig);
        unsigned done = 0;
        for (size_t i = 0; i < EXCHANGES; i++)
            done += others[i].resumes == 1;
        running -= done - finished;
        finished = done;
    }
    atomic_store(&crowd.over, true);
    for (size_t i = 0; i < THREADS; i++)
        (void)pthread_join(threads[i], NULL);
    for (size_t i = 0; i < EXCHANGES; i++) {
        rounds += actors[i].wakes;
        cr_expect_eq(others[i].resumes, 1);
        cr_expect_eq(others[i].resumed, PHASE_NEXT);
        request_end(&others[i].request);
    }
    cr_expect_eq(rounds, (unsigned)(EXCHANGES * ROUNDS));
    cr_expect_eq(atomic_load(&crowd.accepted), rounds, "each accepted wake is one call");
    rig_settle(&rig);
    rig_begin(&rig);
    rig_close(&rig);
}
