/* The end of a gateway, gentle or quick:
 *   SIGTERM, SIGQUIT   NONE -> DELAYED (drain_delay) -> DRAINING (drain_timeout) -> QUITTING ->
 * KILLING SIGINT, or a second SIGTERM                      -> QUITTING (2 s) -> KILLING It is over
 * when the last worker is gone. */
#include <inttypes.h>
#include <signal.h>

#include "base/log.h"
#include "process/master.h"

enum { QUIT_MS = 2000 };

static void wait_ms(struct master *master, int64_t ms)
{
    deadline_set(master->loop, &master->stop_patience, ms > INT32_MAX ? INT32_MAX : (uint32_t)ms);
}

/* Each worker names its own in the log. */
static uint64_t in_flight(const struct master *master)
{
    uint64_t active = 0;
    for (uint32_t i = 0; i < master->instance->workers; i++) {
        const struct worker_slot *slot = shared_worker(master->instance->shared, i);
        active += __atomic_load_n(&slot->active, __ATOMIC_RELAXED);
    }
    return active;
}

static void drain(struct master *master)
{
    master->stop = STOP_DRAINING;
    log_notice("draining: no new connections, %" PRIu64 " requests in flight have %" PRId64
               " ms to end",
               in_flight(master), master->instance->settings.drain_timeout_ms);
    transaction_cancel(master);
    crew_tell_all(master, MESSAGE_DRAIN, 0);
    sockets_close_proxy(&master->instance->sockets);
    wait_ms(master, master->instance->settings.drain_timeout_ms);
    stop_on_death(master);
}

static void on_patience(struct deadline *deadline)
{
    struct master *master = LIST_ENTRY(deadline, struct master, stop_patience);
    switch (master->stop) {
    case STOP_DELAYED:
        drain(master);
        break;
    case STOP_DRAINING:
        log_warn("%" PRIu64 " requests are still running after drain_timeout, they are cut",
                 in_flight(master));
        stop_quickly(master);
        break;
    case STOP_QUITTING:
    case STOP_KILLING:
        master->stop = STOP_KILLING;
        crew_signal_all(master, SIGKILL);
        wait_ms(master, QUIT_MS);
        break;
    case STOP_NONE:
        break;
    }
}

void stop_make(struct master *master)
{
    deadline_init(&master->stop_patience, on_patience);
}

static void leave_service(struct master *master)
{
    struct gateway_facts *facts = shared_facts(master->instance->shared);
    facts->draining = 1;
    facts->ready = 0;
    master->instance->ended = true;
}

void stop_gently(struct master *master)
{
    if (master->stop != STOP_NONE) {
        stop_quickly(master);
        return;
    }
    leave_service(master);
    if (master->instance->settings.drain_delay_ms == 0 || master->starting) {
        drain(master);
        return;
    }
    master->stop = STOP_DELAYED;
    log_notice("not ready any more, serving for another %" PRId64 " ms",
               master->instance->settings.drain_delay_ms);
    wait_ms(master, master->instance->settings.drain_delay_ms);
}

void stop_quickly(struct master *master)
{
    if (master->stop >= STOP_QUITTING)
        return;
    leave_service(master);
    master->stop = STOP_QUITTING;
    log_notice("stopping at once");
    transaction_cancel(master);
    crew_tell_all(master, MESSAGE_QUIT, 0);
    wait_ms(master, QUIT_MS);
    stop_on_death(master);
}

void stop_on_death(struct master *master)
{
    if (master->stop >= STOP_DRAINING && crew_alive(master) == 0)
        master->done = true;
}
