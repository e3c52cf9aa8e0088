/* Random bytes. Ids and shuffles come from a fast per-process generator seeded by the kernel
 * (re-seeded in every worker after fork); keys come from the kernel itself. */
#ifndef WEIR_BASE_RANDOM_H
#define WEIR_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/* After fork(), before anything else. */
void random_reseed(void);
/* Not for secrets: unpredictable enough for ids, not for keys. */
uint64_t random_u64(void);
/* For replays and tests: from now on this thread has the numbers that belong to `seed`. */
void random_seed(uint64_t seed);
/* For secrets: from getrandom(2); aborts when the kernel has none. */
void random_secret(void *out, size_t size);

#endif
