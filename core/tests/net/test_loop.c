/* Turns, put-off work, signals, wakes and deadlines. */
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "net/internal.h"
#include "support.h"

TestSuite(net_loop, .timeout = 30);

struct counted_task {
    struct loop_task task;
    struct loop *loop;
    int runs, again;
};

static void run_counted(struct loop_task *task)
{
    struct counted_task *counted = (struct counted_task *)task;
    counted->runs++;
    if (counted->again-- > 0)
        loop_after_turn(counted->loop, task);
}

Test(net_loop, put_off_work_runs_once_and_never_waits)
{
    AUTO(loop_destroy) struct loop *loop = loop_create();
    cr_assert_not_null(loop);
    struct counted_task task = {.task.run = run_counted, .loop = loop, .again = 3};
    loop_after_turn(loop, &task.task);
    loop_after_turn(loop, &task.task);
    /* Nothing else is there to wake the loop: a wait would hang here. */
    while (task.runs < 4)
        loop_run_once(loop);
    loop_poll(loop);
    cr_assert_eq(task.runs, 4, "each round once");

    loop_after_turn(loop, &task.task);
    loop_task_cancel(&task.task);
    loop_poll(loop);
    cr_assert_eq(task.runs, 4, "cancelled work does not run");
}

static void on_usr1(struct loop *loop, int signum, void *user)
{
    *(int *)user = signum;
    loop_stop(loop);
}

Test(net_loop, a_signal_runs_in_the_loop)
{
    AUTO(loop_destroy) struct loop *loop = loop_create();
    int seen = 0;
    cr_assert_eq(loop_signal(loop, SIGUSR1, on_usr1, &seen), WEIR_OK);
    cr_assert_eq(kill(getpid(), SIGUSR1), 0);
    loop_run(loop);
    cr_assert_eq(seen, SIGUSR1);
    cr_assert_eq(loop_signal(loop, SIGUSR1, NULL, NULL), WEIR_OK);
}

static void on_sent(struct loop_async *async)
{
    ++*(int *)async->user;
}

static void *send_later(void *async)
{
    (void)usleep(20000);
    loop_async_send(async);
    return NULL;
}

static void *wake_later(void *loop)
{
    (void)usleep(20000);
    loop_wake(loop);
    return NULL;
}

Test(net_loop, another_thread_wakes_it)
{
    AUTO(loop_destroy) struct loop *loop = loop_create();
    struct loop_async async = {0};
    pthread_t thread;
    int sent = 0;
    async.user = &sent;
    loop_async_init(loop, &async, on_sent);
    cr_assert_eq(pthread_create(&thread, NULL, send_later, &async), 0);
    TURN_UNTIL(loop, sent == 1);
    (void)pthread_join(thread, NULL);
    loop_async_stop(&async);

    cr_assert_eq(pthread_create(&thread, NULL, wake_later, loop), 0);
    loop_run_once(loop); /* returns, or the test times out */
    (void)pthread_join(thread, NULL);
}

static void on_pipe(struct watch *watch, int events)
{
    cr_assert_eq(events, WATCH_READ);
    ++*(int *)watch->user;
    watch_stop(watch);
}

Test(net_loop, a_watch_stops_inside_its_callback)
{
    AUTO(loop_destroy) struct loop *loop = loop_create();
    struct watch watch = {0};
    int calls = 0, ends[2];
    cr_assert_eq(pipe(ends), 0);
    cr_assert_eq(write(ends[1], "x", 1), 1);
    watch.user = &calls;
    watch_start(loop, &watch, ends[0], WATCH_READ, on_pipe);
    TURN_UNTIL(loop, calls == 1);
    loop_poll(loop);
    cr_assert_eq(calls, 1, "the byte is still there, the watch is not");
    (void)close(ends[0]);
    (void)close(ends[1]);
}

struct timed {
    struct deadline deadline;
    uint32_t ms;
    uint64_t fired_us;
};

static void on_timed(struct deadline *deadline)
{
    struct timed *timed = (struct timed *)deadline;
    cr_assert_eq(timed->fired_us, 0, "once");
    timed->fired_us = clock_precise_us();
}

Test(net_loop, deadlines_fire_in_order_and_never_early)
{
    AUTO(loop_destroy) struct loop *loop = loop_create();
    struct timed timed[] = {
        {.ms = 300}, {.ms = 0}, {.ms = 2100}, {.ms = 1}, {.ms = 40}, {.ms = 41}, {.ms = 2500},
    };
    clock_update();
    uint64_t start = clock_mono_us();
    for (size_t i = 0; i < COUNT_OF(timed); i++) {
        deadline_init(&timed[i].deadline, on_timed);
        deadline_set(loop, &timed[i].deadline, timed[i].ms);
    }
    TURN_UNTIL(loop, timed[6].fired_us != 0);
    for (size_t i = 0; i < COUNT_OF(timed); i++) {
        uint64_t took = timed[i].fired_us - start;
        cr_assert_neq(timed[i].fired_us, 0, "%u ms never fired", timed[i].ms);
        cr_assert_geq(took, timed[i].ms * 1000ULL, "%u ms", timed[i].ms);
        /* 10 ms in a quiet process; a loaded machine gets more. */
        cr_assert_leq(took, timed[i].ms * 1000ULL + 250000, "%u ms took %lu us", timed[i].ms, took);
        cr_assert_not(deadline_is_set(&timed[i].deadline));
    }
}

Test(net_loop, a_deadline_moves_both_ways_and_clears)
{
    AUTO(loop_destroy) struct loop *loop = loop_create();
    struct timed later = {.ms = 400}, sooner = {.ms = 30}, never = {.ms = 20};
    clock_update();
    uint64_t start = clock_mono_us();
    deadline_init(&later.deadline, on_timed);
    deadline_init(&sooner.deadline, on_timed);
    deadline_init(&never.deadline, on_timed);
    deadline_set(loop, &later.deadline, 10);
    deadline_set(loop, &later.deadline, later.ms);
    deadline_set(loop, &sooner.deadline, 3600 * 1000);
    deadline_set(loop, &sooner.deadline, sooner.ms);
    deadline_set(loop, &never.deadline, never.ms);
    deadline_clear(&never.deadline);
    deadline_clear(&never.deadline);
    TURN_UNTIL(loop, later.fired_us != 0);
    cr_assert_geq(later.fired_us - start, 400000);
    cr_assert_geq(sooner.fired_us - start, 30000);
    cr_assert_lt(sooner.fired_us, later.fired_us);
    cr_assert_eq(never.fired_us, 0);
}

static const struct distance {
    const char *why;
    uint32_t ms;
    unsigned wakes; /* the most the loop may wake up for it */
} distances[] = {
    {"at once", 0, 1},
    {"near ring", 1500, 1},
    {"the last near tick", 255 * 8, 2},
    {"the first far tick", 256 * 8, 2},
    {"far ring", 100 * 1000, 2},
    {"the edge of the far ring", 64 * 256 * 8, 3},
    {"farthest ring", 3600 * 1000, 3},
    {"the edge of the farthest ring", 64 * 16384 * 8, 4},
    {"beyond all rings", 24 * 3600 * 1000, 15},
    {"the longest there is", UINT32_MAX, 530},
};

/* Moves the clock to where the loop's timer would fire, without waiting for it. */
Test(net_loop, far_deadlines_come_down_the_rings)
{
    for (size_t i = 0; i < COUNT_OF(distances); i++) {
        const struct distance *row = &distances[i];
        for (uint64_t begin = 1000000007; begin < 1000000007 + 5000000; begin += 617003) {
            clock_freeze(begin, begin);
            AUTO(loop_destroy) struct loop *loop = loop_create();
            struct timed timed = {.ms = row->ms};
            unsigned wakes = 0;
            deadline_init(&timed.deadline, on_timed);
            deadline_set(loop, &timed.deadline, timed.ms);
            while (timed.fired_us == 0) {
                uint64_t due_us = loop->wheel.armed * 8000;
                cr_assert_neq(loop->wheel.armed, UINT64_MAX, "%s: lost", row->why);
                if (due_us > clock_mono_us())
                    clock_advance_us(due_us - clock_mono_us());
                wakes++;
                wheel_turn(loop);
            }
            uint64_t took = clock_mono_us() - begin;
            cr_assert_geq(took, row->ms * 1000ULL, "%s: early", row->why);
            cr_assert_leq(took, row->ms * 1000ULL + 10000, "%s: %lu us", row->why, took);
            cr_assert_leq(wakes, row->wakes, "%s: %u", row->why, wakes);
            cr_assert_eq(loop->wheel.armed, UINT64_MAX, "an idle loop sleeps");
        }
    }
}

/* Against the plain list of when each is due: set, moved and cleared at random. */
Test(net_loop, many_deadlines_keep_their_times)
{
    enum { MANY = 300, STEPS = 20000 };
    static struct timed timed[MANY];
    static uint64_t due_ms[MANY];
    uint64_t seed = 88172645463325252ULL;
    clock_freeze(5000000, 5000000);
    AUTO(loop_destroy) struct loop *loop = loop_create();
    for (size_t i = 0; i < MANY; i++)
        deadline_init(&timed[i].deadline, on_timed);
    for (int step = 0; step < STEPS; step++) {
        seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
        size_t i = seed % MANY;
        uint32_t ms = (uint32_t)(seed >> 20) % (seed % 3 == 0 ? 200000 : 3000);
        if (seed % 7 == 0) {
            deadline_clear(&timed[i].deadline);
            due_ms[i] = 0;
        } else {
            timed[i].fired_us = 0;
            deadline_set(loop, &timed[i].deadline, ms);
            due_ms[i] = clock_mono_ms() + ms;
        }
        clock_advance_us(seed % 5000);
        if (loop->wheel.armed * 8 <= clock_mono_ms())
            wheel_turn(loop);
        for (size_t k = 0; k < MANY; k++) {
            bool fired = due_ms[k] != 0 && !deadline_is_set(&timed[k].deadline);
            cr_assert(!fired || clock_mono_ms() >= due_ms[k], "early");
            cr_assert(fired || due_ms[k] == 0 || clock_mono_ms() <= due_ms[k] + 15, "late");
            if (fired)
                due_ms[k] = 0;
        }
    }
    for (size_t i = 0; i < MANY; i++)
        deadline_clear(&timed[i].deadline);
}
