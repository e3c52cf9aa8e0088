/* xoshiro256** for ids, getrandom(2) for secrets. */
#include "base/random.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/random.h>

#include "base/check.h"

/* Of each thread its own. */
static _Thread_local uint64_t state[4];
static _Thread_local bool seeded;

void random_secret(void *out, size_t size)
{
    char *at = out;
    while (size > 0) {
        ssize_t got = getrandom(at, size, 0);
        if (got < 0 && errno == EINTR)
            continue;
        CHECK_THAT(got > 0); /* a gateway without randomness must not go on */
        at += got;
        size -= (size_t)got;
    }
}

void random_reseed(void)
{
    do
        random_secret(state, sizeof(state));
    while ((state[0] | state[1] | state[2] | state[3]) == 0);
    seeded = true;
}

void random_seed(uint64_t seed)
{
    for (size_t i = 0; i < sizeof(state) / sizeof(state[0]); i++) { /* SplitMix64 */
        uint64_t z = seed += 0x9e3779b97f4a7c15u;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        state[i] = z ^ (z >> 31);
    }
    seeded = true;
}

static uint64_t rotate(uint64_t x, int by)
{
    return (x << by) | (x >> (64 - by));
}

uint64_t random_u64(void)
{
    if (__builtin_expect(!seeded, 0))
        random_reseed();
    uint64_t result = rotate(state[1] * 5, 7) * 9;
    uint64_t shifted = state[1] << 17;
    state[2] ^= state[0];
    state[3] ^= state[1];
    state[1] ^= state[2];
    state[0] ^= state[3];
    state[2] ^= shifted;
    state[3] = rotate(state[3], 45);
    return result;
}
