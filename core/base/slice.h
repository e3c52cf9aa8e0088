/* How long a piece of work may hold the loop before it lets requests through: who works through a
 * long list looks after each element and goes on in the next slice. */
#ifndef WEIR_BASE_SLICE_H
#define WEIR_BASE_SLICE_H

#include <stdbool.h>

#include "base/clock.h"

struct slice {
    uint64_t until_us; /* clock_precise_us(); 0: there is nobody to let through */
};

static inline struct slice slice_of_us(uint64_t us)
{
    return (struct slice){clock_precise_us() + us};
}
static inline struct slice slice_endless(void)
{
    return (struct slice){0};
}
static inline bool slice_is_over(const struct slice *slice)
{
    return slice->until_us != 0 && clock_precise_us() >= slice->until_us;
}

#endif
