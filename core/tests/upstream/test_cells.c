/* The states of an address, the table they lie in, and what becomes of it when many want a place.
 */
#include <stdlib.h>

#include "support.h"

TestSuite(upstream_cells, .timeout = 60);

/* Events: s success, t TCP failure, h HTTP failure, l timeout. States after each: H healthy,
 * h mostly healthy, U unhealthy, u mostly unhealthy. */
static const struct state_case {
    const char *why;
    unsigned limits[CELL_EVENTS];
    const char *events, *states;
} state_cases[] = {
    {"the third failure turns it", {2, 3, 3, 3}, "ttt", "hhU"},
    {"a limit of one turns it at once", {1, 1, 1, 1}, "ts", "UH"},
    {"successes have to come in number", {3, 1, 0, 0}, "tsss", "UuuH"},
    {"a failure between them begins anew", {2, 2, 0, 0}, "ttstss", "hUuuuH"},
    {"a success between failures forgives them", {1, 3, 0, 0}, "ttsttt", "hhHhhU"},
    {"successes that do not count forgive nothing", {0, 3, 0, 0}, "tsstst", "hhhhhU"},
    {"each kind has its own counter", {1, 2, 2, 2}, "thlt", "hhhU"},
    {"a kind without limit is not heard", {1, 0, 1, 0}, "tltlh", "HHHHU"},
    {"healthy hears no success, unhealthy no failure", {1, 1, 1, 1}, "sstths", "HHUUUH"},
    {"a failure does not bring one that recovers down at once", {3, 2, 0, 0}, "ttsts", "hUuuu"},
    {"a success that needs more makes mostly healthy no healthier", {2, 3, 0, 0}, "tsts", "hhhh"},
    {"two in a row do", {2, 3, 0, 0}, "tss", "hhH"},
};

static enum cell_event event_of(char letter)
{
    static const char letters[CELL_EVENTS + 1] = "sthl";
    return (enum cell_event)(strchr(letters, letter) - letters);
}

Test(upstream_cells, states)
{
    static const char names[] = "HhUu";
    struct health_table *table = calloc(1, sizeof *table);
    for (size_t row = 0; row < COUNT_OF(state_cases); row++) {
        const struct state_case *c = &state_cases[row];
        struct health_cell *cell = cell_take(table, row + 1, 1);
        cr_assert_not_null(cell);
        for (size_t i = 0; c->events[i] != '\0'; i++) {
            enum cell_event event = event_of(c->events[i]);
            bool up = cell_is_up(cell);
            uint64_t changes = table->changes;
            struct cell_change change = cell_report(table, cell, event, c->limits[event]);
            cr_assert_eq(names[cell_state(cell)], c->states[i], "%s: event %zu gives %c", c->why, i,
                         names[cell_state(cell)]);
            cr_assert_eq(change.up, cell_is_up(cell));
            cr_assert_eq(change.turned, up != cell_is_up(cell), "%s: event %zu", c->why, i);
            cr_assert_eq(table->changes - changes, (uint64_t)change.turned);
        }
    }
    free(table);
}

Test(upstream_cells, forced)
{
    struct health_table *table = calloc(1, sizeof *table);
    struct health_cell *cell = cell_take(table, 7, 1);
    cr_assert(cell_force(table, cell, false).turned);
    cr_assert(!cell_is_up(cell));
    cr_assert(!cell_force(table, cell, false).turned);
    (void)cell_report(table, cell, CELL_SUCCESS, 2);
    cr_assert(cell_force(table, cell, true).turned);
    (void)cell_report(table, cell, CELL_TCP_FAILURE, 2);
    cr_assert(!cell_force(table, cell, true).turned, "mostly healthy gets traffic too");
    (void)cell_report(table, cell, CELL_TCP_FAILURE, 2);
    cr_assert(cell_is_up(cell), "what was counted before is forgotten");
    free(table);
}

Test(upstream_cells, counters_do_not_overflow)
{
    struct health_table *table = calloc(1, sizeof *table);
    struct health_cell *cell = cell_take(table, 7, 1);
    for (int i = 0; i < 1000; i++)
        (void)cell_report(table, cell, CELL_TIMEOUT, 255);
    cr_assert_eq(cell_state(cell), CELL_UNHEALTHY);
    for (int i = 0; i < 1000; i++)
        (void)cell_report(table, cell, CELL_SUCCESS, 255);
    cr_assert_eq(cell_state(cell), CELL_HEALTHY);
    free(table);
}

Test(upstream_cells, places)
{
    enum { MANY = 5000, HOUR = 3600 * 1000 };
    struct health_table *table = calloc(1, sizeof *table);
    struct health_cell *first[MANY];
    size_t given = 0;
    for (uint64_t i = 0; i < MANY; i++) {
        first[i] = cell_take(table, i * 0x9e3779b97f4a7c15ULL, 1000);
        cr_assert_not_null(first[i], "place %zu", (size_t)i);
        (void)cell_force(table, first[i], false);
    }
    for (uint64_t i = 0; i < MANY; i++) {
        cr_assert_eq(cell_take(table, i * 0x9e3779b97f4a7c15ULL, 1000), first[i], "found again");
        cr_assert(!cell_is_up(first[i]));
    }
    /* One stretch is full: nobody else gets in, until some are left for long. */
    for (uint64_t i = 0; i < 200; i++)
        given += cell_take(table, 17 + i * HEALTH_CELLS, 1000) != NULL;
    cr_assert(given > 3 && given < 128, "%zu", given);
    cr_assert_null(cell_take(table, 17 + 1000 * HEALTH_CELLS, 1000 + HEALTH_KEPT_MS));
    uint64_t kept = 17 + 3 * HEALTH_CELLS;
    struct health_cell *held = cell_take(table, kept, 1000);
    cr_assert_not_null(held);
    (void)cell_force(table, held, false);
    cr_assert(cell_hold(held, kept, HOUR));
    struct health_cell *late = cell_take(table, 17 + 1000 * HEALTH_CELLS, HOUR);
    cr_assert_not_null(late, "those that nobody holds make room");
    cr_assert(cell_is_up(late), "and take nothing of their state along");
    given = 0;
    for (uint64_t i = 2000; i < 2400; i++)
        given += cell_take(table, 17 + i * HEALTH_CELLS, HOUR) != NULL;
    cr_assert_eq(given, 126, "the stretch, but for the two that are held");
    cr_assert_eq(cell_take(table, kept, HOUR), held, "one that is held stays");
    cr_assert(!cell_is_up(held));
    cr_assert(!cell_hold(late, 12345, HOUR), "another's");
    cr_assert_not_null(cell_take(table, 0, HOUR), "a key of 0 is a key");
    free(table);
}

Test(upstream_cells, one_of_many_takes_the_turn)
{
    struct health_table *table = calloc(1, sizeof *table);
    struct health_cell *cell = cell_take(table, 7, 1);
    unsigned turns = 0;
    for (uint64_t now = 0; now < 1000; now += 10) {
        for (int worker = 0; worker < 4; worker++) {
            uint64_t due = cell->due_ms;
            if (due <= now)
                turns += cell_claim(cell, due, now + 100);
        }
    }
    cr_assert_eq(turns, 10);
    cr_assert(!cell_claim(cell, 5, 10), "the time was another one");
    free(table);
}
