/* Cells are found by open addressing over a bounded stretch. Two workers may want the same new cell
 * at once: both look again after they have made one, and the first of the stretch is the one. */
#include "upstream/cells.h"

#include <stddef.h>

#include "base/clock.h"

enum { STRETCH = 128, COUNTER_BITS = 8, COUNTER_MAX = 255, HOLD_EVERY_MS = 1000 };

static struct health_cell *cell_at(struct health_table *table, uint64_t key, size_t step)
{
    return &table->cells[(key + step) % HEALTH_CELLS];
}

static struct health_cell *find(struct health_table *table, uint64_t key)
{
    for (size_t i = 0; i < STRETCH; i++) {
        struct health_cell *cell = cell_at(table, key, i);
        uint64_t found = __atomic_load_n(&cell->key, __ATOMIC_ACQUIRE);
        if (found == key)
            return cell;
        if (found == 0)
            return NULL;
    }
    return NULL;
}

static bool is_left(const struct health_cell *cell, uint64_t now_ms)
{
    uint64_t held_ms = __atomic_load_n(&cell->held_ms, __ATOMIC_RELAXED);
    return now_ms > held_ms && now_ms - held_ms > HEALTH_KEPT_MS;
}

/* What it says is wiped after it has changed hands: for a moment it speaks of the old owner, whose
 * state was nobody's business for minutes. */
static bool make(struct health_cell *cell, uint64_t old_key, uint64_t key, uint64_t now_ms)
{
    __atomic_store_n(&cell->held_ms, now_ms, __ATOMIC_RELAXED);
    if (!__atomic_compare_exchange_n(&cell->key, &old_key, key, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_RELAXED))
        return false;
    __atomic_store_n(&cell->word, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&cell->due_ms, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&cell->changed_wall_ms, 0, __ATOMIC_RELAXED);
    return true;
}

struct health_cell *cell_take(struct health_table *table, uint64_t key, uint64_t now_ms)
{
    key = key == 0 ? 1 : key;
    struct health_cell *cell = find(table, key);
    for (size_t i = 0; i < STRETCH && cell == NULL; i++) {
        struct health_cell *place = cell_at(table, key, i);
        uint64_t old = __atomic_load_n(&place->key, __ATOMIC_ACQUIRE);
        if (old == 0 || is_left(place, now_ms))
            (void)make(place, old, key, now_ms);
        /* Made by us, or by another worker in this very moment. */
        if (__atomic_load_n(&place->key, __ATOMIC_ACQUIRE) == key)
            cell = find(table, key);
    }
    if (cell != NULL)
        __atomic_store_n(&cell->held_ms, now_ms, __ATOMIC_RELAXED);
    return cell;
}

bool cell_hold(struct health_cell *cell, uint64_t key, uint64_t now_ms)
{
    key = key == 0 ? 1 : key;
    if (__atomic_load_n(&cell->key, __ATOMIC_ACQUIRE) != key)
        return false;
    /* Not each time: the line is read by all workers. */
    if (now_ms - __atomic_load_n(&cell->held_ms, __ATOMIC_RELAXED) > HOLD_EVERY_MS)
        __atomic_store_n(&cell->held_ms, now_ms, __ATOMIC_RELAXED);
    return true;
}

static unsigned counter_shift(enum cell_event event)
{
    return COUNTER_BITS * (1U + (unsigned)event);
}

static unsigned counter(uint64_t word, enum cell_event event)
{
    return (unsigned)(word >> counter_shift(event)) & COUNTER_MAX;
}

static uint64_t with_counter(uint64_t word, enum cell_event event, unsigned count)
{
    uint64_t mask = (uint64_t)COUNTER_MAX << counter_shift(event);
    return (word & ~mask) | (uint64_t)count << counter_shift(event);
}

static bool word_is_up(uint64_t word)
{
    return (word & 3) <= CELL_MOSTLY_HEALTHY;
}

static uint64_t with_state(uint64_t word, enum cell_state state)
{
    return (word & ~(uint64_t)3) | (uint64_t)state;
}

static uint64_t after_success(uint64_t word, unsigned limit)
{
    unsigned count = counter(word, CELL_SUCCESS);
    count = count == COUNTER_MAX ? count : count + 1;
    word = with_counter(word & 3, CELL_SUCCESS, count); /* failures must follow each other */
    if (count >= limit)
        return with_state(word, CELL_HEALTHY);
    return (word & 3) == CELL_UNHEALTHY ? with_state(word, CELL_MOSTLY_UNHEALTHY) : word;
}

static uint64_t after_failure(uint64_t word, enum cell_event event, unsigned limit)
{
    unsigned count = counter(word, event);
    count = count == COUNTER_MAX ? count : count + 1;
    word = with_counter(with_counter(word, event, count), CELL_SUCCESS, 0);
    if (count >= limit)
        return with_state(word, CELL_UNHEALTHY);
    return (word & 3) == CELL_HEALTHY ? with_state(word, CELL_MOSTLY_HEALTHY) : word;
}

static struct cell_change changed(struct health_table *table, struct health_cell *cell,
                                  uint64_t before, uint64_t after)
{
    struct cell_change change = {.turned = word_is_up(before) != word_is_up(after),
                                 .up = word_is_up(after)};
    if (change.turned) {
        __atomic_store_n(&cell->changed_wall_ms, clock_wall_ms(), __ATOMIC_RELAXED);
        (void)__atomic_add_fetch(&table->changes, 1, __ATOMIC_RELEASE);
    }
    return change;
}

struct cell_change cell_report(struct health_table *table, struct health_cell *cell,
                               enum cell_event event, unsigned limit)
{
    enum cell_state deaf = event == CELL_SUCCESS ? CELL_HEALTHY : CELL_UNHEALTHY;
    uint64_t before = __atomic_load_n(&cell->word, __ATOMIC_RELAXED), after;
    do {
        if (limit == 0 || (before & 3) == (uint64_t)deaf)
            return (struct cell_change){.up = word_is_up(before)};
        after = event == CELL_SUCCESS ? after_success(before, limit)
                                      : after_failure(before, event, limit);
    } while (!__atomic_compare_exchange_n(&cell->word, &before, after, false, __ATOMIC_ACQ_REL,
                                          __ATOMIC_RELAXED));
    struct cell_change change = changed(table, cell, before, after);
    change.count = counter(after, event);
    return change;
}

struct cell_change cell_force(struct health_table *table, struct health_cell *cell, bool up)
{
    uint64_t after = up ? CELL_HEALTHY : CELL_UNHEALTHY;
    uint64_t before = __atomic_exchange_n(&cell->word, after, __ATOMIC_ACQ_REL);
    return changed(table, cell, before, after);
}

bool cell_claim(struct health_cell *cell, uint64_t due_ms, uint64_t next_ms)
{
    return __atomic_compare_exchange_n(&cell->due_ms, &due_ms, next_ms, false, __ATOMIC_ACQ_REL,
                                       __ATOMIC_RELAXED);
}
