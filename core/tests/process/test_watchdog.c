/* How often a worker must tell that it lives, so that the watchdog never takes a live one. */
#include <criterion/criterion.h>

#include "process/watchdog.h"

TestSuite(process_watchdog, .timeout = 10);

Test(process_watchdog, several_beats_fall_into_its_patience)
{
    const struct {
        const char *why;
        int64_t watchdog_ms;
        uint32_t want_ms;
    } rows[] = {
        {"off: no timer at all", 0, 0},
        {"the default: an idle worker wakes once a second", 10000, 1000},
        {"a long patience costs no later notice", 3600000, 1000},
        {"a short one has four beats", 1000, 250},
        {"a wheel has ticks of 10 ms", 4, 10},
        {"the longest there is", INT64_MAX, 1000},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const struct settings settings = {.watchdog_ms = rows[i].watchdog_ms};
        cr_expect_eq(watchdog_beat_ms(&settings), rows[i].want_ms, "%s", rows[i].why);
    }
}
