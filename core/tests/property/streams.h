/* What clients of smuggle.c send: requests from a grammar, and what mutations make of them. */
#ifndef WEIR_TEST_STREAMS_H
#define WEIR_TEST_STREAMS_H

#include "base/span.h"

struct dice {
    uint64_t state;
};
/* The same for the same three numbers. */
struct dice dice_of(uint64_t seed, uint64_t number, uint64_t what);
uint64_t dice_next(struct dice *dice);
/* 0 … below - 1. */
size_t dice_roll(struct dice *dice, size_t below);
/* One time of `times`. */
bool dice_one_in(struct dice *dice, unsigned times);

/* The stream of that number, the same for the same seed. `out` has room for `room` bytes. */
size_t stream_make(uint64_t seed, uint32_t number, char *out, size_t room);

/* One change at a random place, of the kinds that break framing; `text` may grow to `room`. */
void mutate(struct dice *dice, char *text, size_t *size, size_t room);

#endif
