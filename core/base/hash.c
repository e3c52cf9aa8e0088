/* SipHash-1-3: one round a word, three at the end. Short keys are what we hash, so the per-call
 * cost matters more than throughput. */
#include "base/hash.h"

#include "base/random.h"

struct sip {
    uint64_t v0, v1, v2, v3;
};

static inline uint64_t rotate(uint64_t x, int by)
{
    return (x << by) | (x >> (64 - by));
}

static inline void sip_round(struct sip *s)
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

static inline void absorb(struct sip *s, uint64_t word)
{
    s->v3 ^= word;
    sip_round(s);
    s->v0 ^= word;
}

uint64_t hash_span(const struct hash_key *key, struct span s)
{
    struct sip state = {
        key->k0 ^ 0x736f6d6570736575U,
        key->k1 ^ 0x646f72616e646f6dU,
        key->k0 ^ 0x6c7967656e657261U,
        key->k1 ^ 0x7465646279746573U,
    };
    size_t whole = s.size & ~(size_t)7;
    for (size_t at = 0; at < whole; at += 8) {
        uint64_t word;
        memcpy(&word, s.data + at, sizeof(word));
        absorb(&state, word);
    }
    uint64_t last = (uint64_t)s.size << 56;
    for (size_t i = 0; i < (s.size & 7); i++)
        last |= (uint64_t)(unsigned char)s.data[whole + i] << (8 * i);
    absorb(&state, last);
    state.v2 ^= 0xff;
    sip_round(&state);
    sip_round(&state);
    sip_round(&state);
    return state.v0 ^ state.v1 ^ state.v2 ^ state.v3;
}

struct hash_key hash_key_random(void)
{
    struct hash_key key;
    random_secret(&key, sizeof(key));
    return key;
}
