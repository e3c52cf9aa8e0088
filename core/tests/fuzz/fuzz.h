/* What the fuzz targets share: cuts that follow from the input alone, so that a find repeats. */
#ifndef WEIR_TESTS_FUZZ_H
#define WEIR_TESTS_FUZZ_H

#include <stdint.h>

#include "base/check.h"
#include "base/span.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* FNV-1a: the seed of an input's cuts. */
static inline uint32_t fuzz_seed(const uint8_t *bytes, size_t size)
{
    uint32_t seed = 2166136261U;
    for (size_t i = 0; i < size; i++)
        seed = (seed ^ bytes[i]) * 16777619U;
    return seed;
}

static inline uint32_t fuzz_random(uint32_t *seed)
{
    *seed = *seed * 1664525U + 1013904223U;
    return *seed >> 8;
}

/* How many of `left` bytes come in one piece: mostly a few, now and then many. At least 1. */
static inline size_t fuzz_piece(uint32_t *seed, size_t left)
{
    uint32_t random = fuzz_random(seed);
    size_t size = 1 + (random % 8 == 0 ? random / 8 % 4096 : random / 8 % 7);
    return size < left ? size : left;
}

#endif
