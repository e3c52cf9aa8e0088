/* SipHash-1-3: one round a word, three at the end. Short keys are what we hash, so the per-call
 * cost matters more than throughput. */
#include "base/hash.h"

#include "base/random.h"

struct sip {
    uint64_t v0, v1, v2, v3;
};

#define IN_LINE __attribute__((always_inline)) static inline

IN_LINE uint64_t rotate(uint64_t x, int by)
{
    return (x << by) | (x >> (64 - by));
}

IN_LINE void sip_round(struct sip *s)
{
    s->v0 += s->v1;
    s->v1 = rotate(s->v1, 13) ^ s->v0;
    s->v0 = rotate(s->v0, 32);
    s->v2 += s->v3;
    s->v3 = rotate(s->v3, 16) ^ s->v2;
    s->v0 += s->v3;
    s->v3 = rotate(s->v3, 21) ^ s->v0;
    s->v2 += s->v1;
    s->v1 = rotate(s->v1, 17) ^ s->v2;
    s->v2 = rotate(s->v2, 32);
}

IN_LINE void absorb(struct sip *s, uint64_t word)
{
    s->v3 ^= word;
    sip_round(s);
    s->v0 ^= word;
}

IN_LINE uint64_t load64(const char *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof(word));
    return word;
}

IN_LINE uint64_t load32(const char *at)
{
    uint32_t word;
    memcpy(&word, at, sizeof(word));
    return word;
}

/* The size & 7 bytes behind the last whole word, the first one lowest. Loads overlap what comes
 * before instead of going byte by byte; they never leave the text. */
IN_LINE uint64_t tail_of(struct span s)
{
    size_t tail = s.size & 7;
    if (tail == 0)
        return 0;
    if (LIKELY(s.size >= 8))
        return load64(s.data + s.size - 8) >> (64 - 8 * tail);
    if (tail >= 4)
        return load32(s.data) | load32(s.data + tail - 4) << (8 * (tail - 4));
    return (uint64_t)(unsigned char)s.data[0] |
           (uint64_t)(unsigned char)s.data[tail / 2] << (8 * (tail / 2)) |
           (uint64_t)(unsigned char)s.data[tail - 1] << (8 * (tail - 1));
}

/* All of the text. `wide` tells the two widths of a result apart from the start. */
IN_LINE struct sip take_in(const struct hash_key *key, struct span s, uint64_t wide)
{
    struct sip state = {
        key->k0 ^ 0x736f6d6570736575U,
        key->k1 ^ 0x646f72616e646f6dU ^ wide,
        key->k0 ^ 0x6c7967656e657261U,
        key->k1 ^ 0x7465646279746573U,
    };
    const char *at = s.data;
    for (size_t words = s.size / 8; words > 0; words--, at += 8)
        absorb(&state, load64(at));
    absorb(&state, (uint64_t)s.size << 56 | tail_of(s));
    return state;
}

IN_LINE uint64_t finish(struct sip *state)
{
    sip_round(state);
    sip_round(state);
    sip_round(state);
    return state->v0 ^ state->v1 ^ state->v2 ^ state->v3;
}

uint64_t hash_span(const struct hash_key *key, struct span s)
{
    struct sip state = take_in(key, s, 0);
    state.v2 ^= 0xff;
    return finish(&state);
}

struct hash_pair hash_span_wide(const struct hash_key *key, struct span s)
{
    struct hash_pair pair;
    struct sip state = take_in(key, s, 0xee);
    state.v2 ^= 0xee;
    pair.first = finish(&state);
    state.v1 ^= 0xdd;
    pair.second = finish(&state);
    return pair;
}

struct hash_key hash_key_random(void)
{
    struct hash_key key;
    random_secret(&key, sizeof(key));
    return key;
}
