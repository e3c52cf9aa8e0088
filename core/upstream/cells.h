/* Whether addresses are healthy: a bounded table of cells in memory that all workers share, so that
 * what one worker learns all of them know, and a worker that dies takes nothing with it. Each cell
 * is changed by single atomic instructions and holds no pointer. Kong's four states and four
 * counters (kong-format 5.5). The memory is the process's: see upstreams_set_health().
 * [any process that maps it] */
#ifndef WEIR_UPSTREAM_CELLS_H
#define WEIR_UPSTREAM_CELLS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum { HEALTH_CELLS = 8192, HEALTH_KEPT_MS = 300 * 1000 };

enum cell_state { CELL_HEALTHY, CELL_MOSTLY_HEALTHY, CELL_UNHEALTHY, CELL_MOSTLY_UNHEALTHY };
/* The counters, and what a report is about. */
enum cell_event { CELL_SUCCESS, CELL_TCP_FAILURE, CELL_HTTP_FAILURE, CELL_TIMEOUT, CELL_EVENTS };

struct health_cell {
    uint64_t key;    /* of upstream and address; 0: free, else never 0 again */
    uint64_t word;   /* state, then one byte for each counter */
    uint64_t due_ms; /* the next probe, on the monotonic clock; 0: not planned yet */
    uint64_t held_ms;
    uint64_t changed_wall_ms; /* 0: as it began */
};
struct health_table { /* all zero: empty */
    uint64_t changes; /* of the states that decide about traffic, ever */
    struct health_cell cells[HEALTH_CELLS];
};

/* The cell of `key`, found or made; held from now on. One that nobody held for HEALTH_KEPT_MS may
 * be made somebody else's. NULL: the table is full. */
WEIR_MUST_USE struct health_cell *cell_take(struct health_table *table, uint64_t key,
                                            uint64_t now_ms);
/* Say again that it is in use; false: it is somebody else's by now. */
WEIR_MUST_USE bool cell_hold(struct health_cell *cell, uint64_t key, uint64_t now_ms);

static inline enum cell_state cell_state(const struct health_cell *cell)
{
    return (enum cell_state)(__atomic_load_n(&cell->word, __ATOMIC_RELAXED) & 3);
}
static inline bool cell_is_up(const struct health_cell *cell)
{
    return cell_state(cell) <= CELL_MOSTLY_HEALTHY;
}

struct cell_change {
    bool turned;    /* it was up and is down now, or the other way round */
    bool up;        /* now */
    unsigned count; /* of that event, when it was counted */
};
/* One more `event`; `limit` is where it turns the state, 0: it does not count. */
struct cell_change cell_report(struct health_table *table, struct health_cell *cell,
                               enum cell_event event, unsigned limit);
/* Whatever was counted is forgotten. */
struct cell_change cell_force(struct health_table *table, struct health_cell *cell, bool up);

/* A probe is due for one of all workers: true for the one that moved the time on. */
WEIR_MUST_USE bool cell_claim(struct health_cell *cell, uint64_t due_ms, uint64_t next_ms);

#endif
