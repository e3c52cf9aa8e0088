/* Keyed hashing: clients choose header names, keys and tokens, so every table they reach is keyed
 * with a secret of the process (SipHash-1-3). */
#ifndef WEIR_BASE_HASH_H
#define WEIR_BASE_HASH_H

#include <stdint.h>

#include "base/span.h"

struct hash_key {
    uint64_t k0, k1;
};

uint64_t hash_span(const struct hash_key *key, struct span s);

/* The 128-bit variant: two independent hashes for little more than the price of one, where a
 * fingerprint stands for the text itself. `first` is no hash_span() of the same key. */
struct hash_pair {
    uint64_t first, second;
};
struct hash_pair hash_span_wide(const struct hash_key *key, struct span s);
/* Fresh random key. */
struct hash_key hash_key_random(void);

#endif
