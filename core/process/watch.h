/* How a new build does beside the old one, for a while after its swap: on a canary's workers, then
 * on all. One that does worse goes back by itself. [master] */
#ifndef WEIR_PROCESS_WATCH_H
#define WEIR_PROCESS_WATCH_H

#include "net/deadline.h"
#include "process/ledger.h"
#include "process/orders.h"

struct buf;
struct manifest_build;

struct watch_counts { /* of one build, on all workers */
    uint64_t exchanges, server_errors, fails;
    uint64_t latency_us; /* of exchanges, sum */
    uint64_t hooks_us;   /* in its own code, sum, estimated */
};

struct swap_watch { /* zero it before first use */
    bool active, canary;
    struct order order; /* that it follows; its event when somebody waits, else 0 */
    struct build_hash before, after;
    char before_text[128], after_text[128];
    struct watch_counts before_start, after_start;
    uint64_t until_ms;
    struct deadline tick;
};

void watch_init(struct master *master);
/* The build of the order's plugin has changed, on the canary or everywhere. */
void watch_begin(struct master *master, const struct order *order, bool canary);
/* Nothing more is watched; who waits for its end is told by somebody else. */
void watch_end(struct master *master);
/* One at a time is watched: the next begins. */
void watch_supersede(struct master *master);
static inline bool watch_is_active(const struct swap_watch *watch)
{
    return watch->active;
}
static inline bool watch_is_for(const struct swap_watch *watch, const char *plugin)
{
    return watch->active && strcmp(watch->order.plugin, plugin) == 0;
}
/* A worker was ended by this build: true when it is the watched one, which goes back then. */
bool watch_note_death(struct master *master, const char *plugin, const struct build_hash *build,
                      const char *how);

/* Is the new one worse than the old one beyond chance? Then `why` says how. Rates of errors are
 * compared once the new build has had 5 bad ones, times from 200 exchanges on. */
bool watch_is_worse(const struct watch_counts *before, const struct watch_counts *after, char *why,
                    size_t why_size);

#endif
