#include "process/watchdog.h"

#include <inttypes.h>

#include "base/clock.h"
#include "base/log.h"

enum { BEAT_MS_MAX = 1000, BEAT_MS_MIN = 10 };

uint32_t watchdog_beat_ms(const struct settings *settings)
{
    int64_t beat_ms = settings->watchdog_ms / 4;
    if (settings->watchdog_ms == 0)
        return 0;
    return beat_ms > BEAT_MS_MAX   ? BEAT_MS_MAX
           : beat_ms < BEAT_MS_MIN ? BEAT_MS_MIN
                                   : (uint32_t)beat_ms;
}

static uint32_t step_ms(const struct master *master)
{
    const struct revision *candidate = master->transaction.candidate;
    uint32_t ms = master->committed->step_ms;
    return candidate != NULL && candidate->step_ms > ms ? candidate->step_ms : ms;
}

static void look_at(struct seat *seat, uint64_t passed_ms)
{
    struct instance *instance = seat->master->instance;
    const struct worker_slot *slot = shared_worker(instance->shared, seat->index);
    uint64_t beats = __atomic_load_n(&slot->beats, __ATOMIC_RELAXED);
    uint64_t limit_ms = (uint64_t)instance->settings.watchdog_ms;
    if (seat->state != SEAT_READY || seat->hung || beats != seat->beats) {
        seat->beats = beats;
        seat->still_ms = 0;
        return;
    }
    seat->still_ms += passed_ms;
    /* Compiling a large configuration is one turn; the transaction has patience for it too. */
    if (__atomic_load_n(&slot->busy, __ATOMIC_RELAXED) != 0)
        limit_ms += step_ms(seat->master);
    if (seat->still_ms > limit_ms)
        crew_end_hung(seat, seat->still_ms);
}

static void on_tick(struct deadline *deadline)
{
    struct master *master = LIST_ENTRY(deadline, struct master, watchdog);
    uint32_t beat_ms = watchdog_beat_ms(&master->instance->settings);
    uint64_t now_ms = clock_mono_ms(), passed_ms = now_ms - master->watched_ms;
    /* When the machine or the master itself stood still, the workers are not to blame. */
    if (passed_ms > 2 * (uint64_t)beat_ms)
        passed_ms = beat_ms;
    master->watched_ms = now_ms;
    for (uint32_t i = 0; i < master->instance->workers; i++)
        look_at(&master->seats[i], passed_ms);
    deadline_set(master->loop, &master->watchdog, beat_ms);
}

void watchdog_make(struct master *master)
{
    deadline_init(&master->watchdog, on_tick);
}

void watchdog_start(struct master *master)
{
    uint32_t beat_ms = watchdog_beat_ms(&master->instance->settings);
    master->watched_ms = clock_mono_ms();
    if (beat_ms > 0)
        deadline_set(master->loop, &master->watchdog, beat_ms);
}

void watchdog_stop(struct master *master)
{
    deadline_clear(&master->watchdog);
}
