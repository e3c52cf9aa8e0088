/* The virtual clock of the test kit, and what the host asks of a loop: timers, watched descriptors,
 * turns. Time passes only in kit_advance_ms(), from one due timer to the next. */
#include <poll.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/random.h"
#include "kit_internal.h"

/* 2026-01-01 00:00:00 UTC; the monotonic clock starts somewhere else, so that nobody takes one for
 * the other. */
#define KIT_WALL_US UINT64_C(1767225600000000)
#define KIT_MONO_US UINT64_C(5000000000)

void kit_clock_begin(void)
{
    clock_freeze(KIT_MONO_US, KIT_WALL_US);
}

void kit_set_time(struct kit *kit, int64_t wall_ms)
{
    CHECK(kit, KIT);
    if (wall_ms < 0)
        kit_die("kit_set_time: before 1970");
    clock_freeze(clock_mono_us(), (uint64_t)wall_ms * 1000);
}

int64_t kit_time(const struct kit *kit)
{
    CHECK(kit, KIT);
    return (int64_t)clock_wall_ms();
}

void kit_seed(struct kit *kit, uint64_t seed)
{
    CHECK(kit, KIT);
    random_seed(seed);
}

/* ---- services */

uint64_t kit_owner(const struct kit *kit)
{
    return kit->running == NULL ? 0 : kit->running->number;
}

void *kit_timer_start(void *user, uint32_t delay_ms, uint32_t repeat_ms, void (*fire)(void *arg),
                      void *arg)
{
    struct kit *kit = user;
    struct kit_timer *timer = calloc(1, sizeof(*timer));
    if (timer == NULL)
        return NULL;
    timer->due_us = clock_mono_us() + (uint64_t)delay_ms * 1000;
    timer->repeat_ms = repeat_ms;
    timer->fire = fire;
    timer->arg = arg;
    list_push_back(&kit->timers, &timer->link);
    return timer;
}

static void *on_timer_start(void *user, uint32_t delay_ms, uint32_t repeat_ms,
                            void (*fire)(void *arg), void *arg)
{
    struct kit_timer *timer = kit_timer_start(user, delay_ms, repeat_ms, fire, arg);
    if (timer != NULL)
        timer->owner = kit_owner(user);
    return timer;
}

static void on_timer_stop(void *user, void *handle)
{
    (void)user;
    struct kit_timer *timer = handle;
    if (timer == NULL)
        return;
    list_remove(&timer->link);
    free(timer);
}

void *kit_watch_add(void *user, int fd, uint32_t events, void (*ready)(void *arg, uint32_t events),
                    void *arg)
{
    struct kit *kit = user;
    struct kit_watch *watch = calloc(1, sizeof(*watch));
    if (watch == NULL)
        return NULL;
    *watch = (struct kit_watch){.fd = fd, .events = events, .ready = ready, .arg = arg};
    list_push_back(&kit->watches, &watch->link);
    return watch;
}

static void *on_io_add(void *user, int fd, uint32_t events,
                       void (*ready)(void *arg, uint32_t events), void *arg)
{
    struct kit_watch *watch = kit_watch_add(user, fd, events, ready, arg);
    if (watch != NULL)
        watch->owner = kit_owner(user);
    return watch;
}

static void on_io_set(void *user, void *handle, uint32_t events)
{
    (void)user;
    ((struct kit_watch *)handle)->events = events;
}

static void on_io_remove(void *user, void *handle)
{
    (void)user;
    struct kit_watch *watch = handle;
    if (watch == NULL)
        return;
    list_remove(&watch->link);
    free(watch);
}

static void on_turn_soon(void *user)
{
    struct kit *kit = user;
    atomic_store(&kit->turn_wanted, true);
}

const struct host_services kit_services = {
    .timer_start = on_timer_start,
    .timer_stop = on_timer_stop,
    .io_add = on_io_add,
    .io_set = on_io_set,
    .io_remove = on_io_remove,
    .turn_soon = on_turn_soon,
    .stream_open = kit_stream_open,
    .stream_write = kit_stream_write,
    .stream_close = kit_stream_close,
    .fetch_start = kit_fetch_start,
    .fetch_cancel = kit_fetch_cancel,
    .file_open = kit_file_open,
    .file_append = kit_file_append,
    .file_number = kit_file_number,
    .file_close = kit_file_close,
    .files_end = kit_files_end,
};

void kit_handles_end(struct kit *kit)
{
    LIST_FOREACH (node, &kit->timers)
        on_timer_stop(kit, LIST_ENTRY(node, struct kit_timer, link));
    LIST_FOREACH (watch, &kit->watches)
        on_io_remove(kit, LIST_ENTRY(watch, struct kit_watch, link));
}

/* ---- turns */

static void deliver_bodies(struct kit *kit)
{
    LIST_FOREACH (node, &kit->requests) {
        kit_request *r = LIST_ENTRY(node, kit_request, link);
        if (r->body_wanted && !r->hold_body)
            exchange_deliver_body(r);
    }
}

static bool body_is_due(const struct kit *kit)
{
    LIST_FOREACH (node, &kit->requests) {
        const kit_request *r = LIST_ENTRY(node, const kit_request, link);
        if (r->body_wanted && !r->hold_body)
            return true;
    }
    return false;
}

void kit_settle(struct kit *kit)
{
    int steps = 0;
    do {
        if (++steps > KIT_STEPS_MAX)
            kit_die("policies wake each other without end");
        atomic_store(&kit->turn_wanted, false);
        deliver_bodies(kit);
        kit_fetch_deliver(kit);
        kit_stream_deliver(kit);
        plugin_host_turn(kit->host);
    } while (atomic_load(&kit->turn_wanted) || body_is_due(kit) || kit_fetch_is_due(kit) ||
             kit_stream_is_due(kit));
    kit_files_turn(kit);
}

static struct pollfd poll_of(const struct kit_watch *watch)
{
    return (struct pollfd){
        .fd = watch->events == 0 ? -1 : watch->fd, /* poll() ignores negative ones */
        .events = (short)(((watch->events & WEIR_IO_READ) != 0 ? POLLIN : 0) |
                          ((watch->events & WEIR_IO_WRITE) != 0 ? POLLOUT : 0)),
    };
}

static bool watch_is_ready(const struct kit_watch *watch, uint32_t *out_events)
{
    struct pollfd poll_fd = poll_of(watch);
    if (poll(&poll_fd, 1, 0) <= 0)
        return false;
    if ((poll_fd.revents & (POLLERR | POLLHUP | POLLNVAL)) != 0)
        *out_events = watch->events;
    else
        *out_events = ((poll_fd.revents & POLLIN) != 0 ? WEIR_IO_READ : 0) |
                      ((poll_fd.revents & POLLOUT) != 0 ? WEIR_IO_WRITE : 0);
    return true;
}

/* The first ready one that was not served in this round; it may add and remove others. */
static bool serve_one(struct kit *kit, uint32_t round)
{
    uint32_t events = 0;
    LIST_FOREACH (node, &kit->watches) {
        struct kit_watch *watch = LIST_ENTRY(node, struct kit_watch, link);
        if (watch->round == round || !watch_is_ready(watch, &events))
            continue;
        watch->round = round;
        watch->ready(watch->arg, events);
        kit_settle(kit);
        return true;
    }
    return false;
}

static void watches_turn(struct kit *kit)
{
    /* Bounded: one that always stays ready must not keep us here. */
    for (int i = 0; i < KIT_ROUNDS_MAX; i++) {
        kit->round++;
        if (!serve_one(kit, kit->round))
            return;
        while (serve_one(kit, kit->round))
            ;
    }
}

void kit_turn(struct kit *kit)
{
    CHECK(kit, KIT);
    kit_settle(kit);
    watches_turn(kit);
    kit_settle(kit);
}

bool kit_wait_ready(struct kit *kit, int real_ms)
{
    CHECK(kit, KIT);
    struct pollfd polls[KIT_POLLS_MAX];
    nfds_t count = 0;
    kit_settle(kit);
    LIST_FOREACH (node, &kit->watches)
        if (count < KIT_POLLS_MAX)
            polls[count++] = poll_of(LIST_ENTRY(node, struct kit_watch, link));
    bool ready = poll(polls, count, real_ms) > 0;
    kit_turn(kit);
    return ready;
}

size_t kit_timer_count(const struct kit *kit)
{
    CHECK(kit, KIT);
    size_t count = 0;
    LIST_FOREACH (node, &kit->timers)
        count++;
    return count;
}

/* The timer of any worker that is due first, up to `until_us`; of equals the one started first. */
static struct kit_timer *next_due(const struct kit *first, uint64_t until_us, struct kit **out_kit)
{
    struct kit_timer *found = NULL;
    for (uint32_t i = 0; i < KIT_WORKERS; i++) {
        struct kit *worker = first->workers[i];
        if (worker == NULL)
            continue;
        LIST_FOREACH (node, &worker->timers) {
            struct kit_timer *timer = LIST_ENTRY(node, struct kit_timer, link);
            if (timer->due_us > until_us || (found != NULL && timer->due_us >= found->due_us))
                continue;
            found = timer;
            *out_kit = worker;
        }
    }
    return found;
}

static void move_clock_to(uint64_t mono_us)
{
    if (mono_us > clock_mono_us())
        clock_advance_us(mono_us - clock_mono_us());
}

static void fire(struct kit *kit, struct kit_timer *timer)
{
    /* A timer that ran once is gone before its function can start another one. */
    void (*run)(void *arg) = timer->fire;
    void *arg = timer->arg;
    if (timer->repeat_ms == 0) {
        on_timer_stop(kit, timer);
    } else {
        timer->due_us += (uint64_t)timer->repeat_ms * 1000;
        list_remove(&timer->link);
        list_push_back(&kit->timers, &timer->link);
    }
    run(arg);
    kit_settle(kit);
}

void kit_advance_ms(struct kit *kit, int64_t ms)
{
    CHECK(kit, KIT);
    if (ms < 0)
        kit_die("kit_advance_ms: time does not go back");
    uint64_t until_us = clock_mono_us() + (uint64_t)ms * 1000;
    struct kit_timer *timer;
    struct kit *owner = NULL;
    int steps = 0;
    kit_turn(kit);
    while ((timer = next_due(kit->first, until_us, &owner)) != NULL) {
        if (++steps > KIT_STEPS_MAX)
            kit_die("timers fire without end");
        move_clock_to(timer->due_us);
        fire(owner, timer);
    }
    move_clock_to(until_us);
    for (uint32_t i = 0; i < KIT_WORKERS; i++)
        if (kit->first->workers[i] != NULL)
            kit_turn(kit->first->workers[i]);
}
