/* A timing wheel of three rings. The near ring has one slot per tick (8 ms) for the next 2 s, the
 * far ring one per 256 ticks for the next two minutes, the farthest one per 16384 ticks for two
 * hours; what lies beyond waits in its last slot. When a far slot comes due its deadlines move to
 * the ring below.
 *
 * A deadline may lie later than the slot it is linked in: moving it later leaves it there, and when
 * the slot is looked at it goes where it belongs. So the hot path, "this connection was active", is
 * a store.
 *
 * The loop's timer is set for the first slot in use. Clearing a deadline leaves the timer alone: at
 * worst it fires once for nothing, and then for the next slot in use or not at all. */
#include "net/deadline.h"

#include "base/clock.h"
#include "net/internal.h"

enum { TICK_MS = 8, NEAR_BITS = 8, FAR_BITS = 14 };
#define NEVER UINT64_MAX

static uint64_t tick_of(const struct deadline *deadline)
{
    return (deadline->at_ms + (TICK_MS - 1)) / TICK_MS;
}

static uint64_t tick_now(void)
{
    return clock_mono_ms() / TICK_MS;
}

/* First used slot of a 64-slot ring after the one of `turn`, as a turn; stale bits are cleared. */
static uint64_t next_turn(const struct list *slots, uint64_t *used, uint64_t turn)
{
    while (*used != 0) {
        unsigned shift = (unsigned)((turn + 1) % WHEEL_FAR);
        uint64_t rotated = shift == 0 ? *used : (*used >> shift) | (*used << (64 - shift));
        uint64_t found = turn + 1 + (uint64_t)__builtin_ctzll(rotated);
        if (!list_is_empty(&slots[found % WHEEL_FAR]))
            return found;
        *used &= ~(1ULL << (found % WHEEL_FAR));
    }
    return NEVER;
}

static uint64_t next_near(struct wheel *wheel)
{
    for (uint64_t at = wheel->tick + 1; at <= wheel->tick + WHEEL_NEAR;) {
        uint64_t slot = at % WHEEL_NEAR;
        uint64_t word = wheel->near_used[slot / 64] >> (slot % 64);
        if (word == 0) {
            at += 64 - slot % 64;
            continue;
        }
        at += (uint64_t)__builtin_ctzll(word);
        slot = at % WHEEL_NEAR;
        if (at > wheel->tick + WHEEL_NEAR)
            break;
        if (!list_is_empty(&wheel->near[slot]))
            return at;
        wheel->near_used[slot / 64] &= ~(1ULL << (slot % 64));
    }
    return NEVER;
}

/* The first tick at which a slot must be looked at. */
static uint64_t next_due(struct wheel *wheel)
{
    uint64_t due = next_near(wheel);
    uint64_t far = next_turn(wheel->far, &wheel->far_used, wheel->tick >> NEAR_BITS);
    uint64_t farthest = next_turn(wheel->farthest, &wheel->farthest_used, wheel->tick >> FAR_BITS);
    if (far != NEVER && far << NEAR_BITS < due)
        due = far << NEAR_BITS;
    if (farthest != NEVER && farthest << FAR_BITS < due)
        due = farthest << FAR_BITS;
    return due;
}

static void arm(struct loop *loop, uint64_t due)
{
    struct wheel *wheel = &loop->wheel;
    if (wheel->armed != NEVER)
        ev_timer_stop(loop->ev, &wheel->timer);
    wheel->armed = due;
    if (due == NEVER)
        return;
    uint64_t due_us = due * TICK_MS * 1000, now_us = clock_mono_us();
    double wait = due_us > now_us ? (double)(due_us - now_us) / 1e6 : 0.;
    ev_timer_set(&wheel->timer, wait, 0.);
    ev_timer_start(loop->ev, &wheel->timer);
}

static void insert(struct wheel *wheel, struct deadline *deadline)
{
    uint64_t tick = tick_of(deadline);
    if (tick <= wheel->tick)
        tick = wheel->tick + 1;
    uint64_t far = tick >> NEAR_BITS, farthest = tick >> FAR_BITS;
    if (tick - wheel->tick < WHEEL_NEAR) {
        uint64_t slot = tick % WHEEL_NEAR;
        list_push_back(&wheel->near[slot], &deadline->link);
        wheel->near_used[slot / 64] |= 1ULL << (slot % 64);
        deadline->slot_ms = tick * TICK_MS;
    } else if (far - (wheel->tick >> NEAR_BITS) < WHEEL_FAR) {
        list_push_back(&wheel->far[far % WHEEL_FAR], &deadline->link);
        wheel->far_used |= 1ULL << (far % WHEEL_FAR);
        deadline->slot_ms = (far << NEAR_BITS) * TICK_MS;
    } else {
        uint64_t last = (wheel->tick >> FAR_BITS) + WHEEL_FAR - 1;
        if (farthest > last)
            farthest = last;
        list_push_back(&wheel->farthest[farthest % WHEEL_FAR], &deadline->link);
        wheel->farthest_used |= 1ULL << (farthest % WHEEL_FAR);
        deadline->slot_ms = (farthest << FAR_BITS) * TICK_MS;
    }
}

/* Empty `slot`: what is due by wheel->tick goes to `due`, the rest where it belongs now. */
static void sort_out(struct wheel *wheel, struct list *slot, struct list *due)
{
    struct list all;
    if (list_is_empty(slot))
        return;
    all = *slot;
    all.next->prev = all.prev->next = &all;
    list_init(slot);
    while (!list_is_empty(&all)) {
        struct deadline *deadline = LIST_ENTRY(all.next, struct deadline, link);
        list_remove(&deadline->link);
        if (tick_of(deadline) <= wheel->tick)
            list_push_back(due, &deadline->link);
        else
            insert(wheel, deadline);
    }
}

static void expire(struct list *due)
{
    while (!list_is_empty(due)) { /* a callback may clear or free its neighbours */
        struct deadline *deadline = LIST_ENTRY(due->next, struct deadline, link);
        list_remove(&deadline->link);
        deadline->at_ms = 0;
        deadline->expired(deadline);
    }
}

void wheel_turn(struct loop *loop)
{
    struct wheel *wheel = &loop->wheel;
    uint64_t now = tick_now(), due = next_due(wheel);
    struct list expired;
    wheel->turning = true;
    for (; due <= now; due = next_due(wheel)) {
        list_init(&expired);
        wheel->tick = due;
        if (due % (1U << FAR_BITS) == 0)
            sort_out(wheel, &wheel->farthest[(due >> FAR_BITS) % WHEEL_FAR], &expired);
        if (due % (1U << NEAR_BITS) == 0)
            sort_out(wheel, &wheel->far[(due >> NEAR_BITS) % WHEEL_FAR], &expired);
        sort_out(wheel, &wheel->near[due % WHEEL_NEAR], &expired);
        expire(&expired);
    }
    if (now > wheel->tick)
        wheel->tick = now;
    wheel->turning = false;
    arm(loop, due);
}

static void on_timer(struct ev_loop *ev, ev_timer *timer, int revents)
{
    struct loop *loop = timer->data;
    (void)ev, (void)revents;
    wheel_turn(loop);
}

void wheel_init(struct loop *loop)
{
    struct wheel *wheel = &loop->wheel;
    for (size_t i = 0; i < WHEEL_NEAR; i++)
        list_init(&wheel->near[i]);
    for (size_t i = 0; i < WHEEL_FAR; i++) {
        list_init(&wheel->far[i]);
        list_init(&wheel->farthest[i]);
    }
    wheel->tick = tick_now();
    wheel->armed = NEVER;
    ev_timer_init(&wheel->timer, on_timer, 0., 0.);
    wheel->timer.data = loop;
}

void wheel_fini(struct loop *loop)
{
    ev_timer_stop(loop->ev, &loop->wheel.timer);
}

void deadline_init(struct deadline *deadline, void (*expired)(struct deadline *deadline))
{
    *deadline = (struct deadline){.expired = expired};
}

void deadline_set(struct loop *loop, struct deadline *deadline, uint32_t ms)
{
    struct wheel *wheel = &loop->wheel;
    uint64_t now = clock_mono_ms();
    deadline->at_ms = now + ms + 1; /* the millisecond that has begun does not count */
    if (list_is_linked(&deadline->link)) {
        if (deadline->slot_ms <= tick_of(deadline) * TICK_MS)
            return;
        list_remove(&deadline->link);
    }
    deadline->loop = loop;
    /* Nothing is due before `armed`: catch up, so that slots are counted from now. */
    uint64_t tick = now / TICK_MS;
    if (!wheel->turning && tick > wheel->tick && tick < wheel->armed)
        wheel->tick = tick;
    insert(wheel, deadline);
    uint64_t slot = deadline->slot_ms / TICK_MS;
    if (!wheel->turning && slot < wheel->armed)
        arm(loop, slot);
}

void deadline_clear(struct deadline *deadline)
{
    list_remove(&deadline->link);
    deadline->at_ms = 0;
}
