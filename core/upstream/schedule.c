/* When targets are probed. Every worker looks, one probes: whoever moves the due time of the shared
 * cell on has taken the turn, so no worker owns a target and a worker that dies is not missed. Two
 * periods, by the state of the address; times are scattered a little so that probes do not march in
 * step. */
#include "base/clock.h"
#include "base/random.h"
#include "upstream/checks.h"

enum { JITTER_PARTS = 16, LOOK_MIN_MS = 10 };

/* Up to a sixteenth. */
static uint64_t jitter(uint64_t ms)
{
    return ms < JITTER_PARTS ? 0 : random_u64() % (ms / JITTER_PARTS);
}

/* When this worker looks at the address again; probes it when its time has come. */
static uint64_t look_at(struct checks *checks, const struct peer *peer, uint64_t now)
{
    struct health_cell *cell = checks_cell(checks, peer->record);
    if (cell == NULL)
        return UINT64_MAX;
    uint64_t interval = checks->interval_ms[cell_is_up(cell)];
    uint64_t due = __atomic_load_n(&cell->due_ms, __ATOMIC_RELAXED);
    uint64_t next = now + interval - jitter(interval);
    if (interval == 0 || checks->retired)
        return UINT64_MAX;
    /* Not planned yet, or by a longer period than the one that counts now. */
    if (due == 0 || due > now + interval)
        return cell_claim(cell, due, next) ? next : now + LOOK_MIN_MS;
    if (due > now)
        return due;
    if (checks->running >= checks->concurrency)
        return UINT64_MAX; /* the end of a probe looks again */
    if (cell_claim(cell, due, next))
        (void)probe_begin(checks, peer->record, checks->ring->members[peer->member].plan.host);
    return next;
}

/* At the latest: a state may be changed by another worker, which may die before it acts on it. */
static uint64_t longest_pause(const struct checks *checks)
{
    uint64_t longest = CHECK_HOLD_MS;
    for (size_t i = 0; i < 2; i++) {
        if (checks->interval_ms[i] != 0 && checks->interval_ms[i] < longest)
            longest = checks->interval_ms[i];
    }
    return longest;
}

void checks_look(struct deadline *tick)
{
    struct checks *checks = LIST_ENTRY(tick, struct checks, tick);
    struct ring *ring = checks->ring;
    uint64_t now = clock_mono_ms(), next = now + longest_pause(checks);
    if (now >= ring->refresh_ms)
        ring_refresh(ring);
    for (size_t i = 0; i < ring->peer_count; i++) {
        uint64_t again = look_at(checks, &ring->peers[i], now);
        next = again < next ? again : next;
    }
    uint64_t pause = next > now + LOOK_MIN_MS ? next - now : LOOK_MIN_MS;
    deadline_set(ring->upstreams->loop, &checks->tick, (uint32_t)pause);
}

void checks_plan(struct checks *checks)
{
    deadline_clear(&checks->tick);
    deadline_set(checks->ring->upstreams->loop, &checks->tick, 1);
}
