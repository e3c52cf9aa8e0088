#include "base/clock.h"

#include <stdbool.h>
#include <time.h>

struct clock_now clock_cached;
static bool frozen;

static uint64_t read_us(clockid_t id)
{
    struct timespec now;
    (void)clock_gettime(id, &now);
    return (uint64_t)now.tv_sec * 1000000U + (uint64_t)now.tv_nsec / 1000U;
}

void clock_update(void)
{
    if (frozen)
        return;
    clock_cached.mono_us = read_us(CLOCK_MONOTONIC);
    clock_cached.wall_us = read_us(CLOCK_REALTIME);
}

void clock_freeze(uint64_t mono_us, uint64_t wall_us)
{
    frozen = true;
    clock_cached = (struct clock_now){mono_us, wall_us};
}

void clock_advance_us(uint64_t us)
{
    clock_cached.mono_us += us;
    clock_cached.wall_us += us;
}

uint64_t clock_precise_us(void)
{
    return frozen ? clock_cached.mono_us : read_us(CLOCK_MONOTONIC);
}

uint64_t clock_precise_ns(void)
{
    struct timespec now;
    if (frozen)
        return clock_cached.mono_us * 1000U;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}
