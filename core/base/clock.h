/* The time, read once per loop turn and cached: everything that happens in one turn happens at the
 * same moment. The test kit moves it by hand. */
#ifndef WEIR_BASE_CLOCK_H
#define WEIR_BASE_CLOCK_H

#include <stdint.h>

struct clock_now {
    uint64_t mono_us; /* monotonic, for intervals and deadlines */
    uint64_t wall_us; /* UTC since 1970 */
};

extern struct clock_now clock_cached; /* read it through the functions below */

/* Read the system clocks (vDSO). The loop calls this once per turn. */
void clock_update(void);
/* From now on the time is what clock_advance_us() makes it: tests only. */
void clock_freeze(uint64_t mono_us, uint64_t wall_us);
void clock_advance_us(uint64_t us);

static inline uint64_t clock_mono_us(void)
{
    return clock_cached.mono_us;
}
static inline uint64_t clock_mono_ms(void)
{
    return clock_cached.mono_us / 1000;
}
static inline uint64_t clock_wall_us(void)
{
    return clock_cached.wall_us;
}
static inline uint64_t clock_wall_ms(void)
{
    return clock_cached.wall_us / 1000;
}
/* Not cached: for measuring inside one turn. */
uint64_t clock_precise_us(void);
uint64_t clock_precise_ns(void);

#endif
