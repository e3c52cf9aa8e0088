/* Which well-known name is this? A hash table over the rows of HTTP_HEADER_TABLE, built once before
 * main(), so that a new name is one new row. A name is compared as a few 8-byte words: bits may
 * differ only where the known name has a letter, and there only in the case bit. */
#include "http/headers.h"

#define WORDS 5 /* the longest name has 38 bytes */
#define SLOTS 512U

struct known_name {
    uint64_t word[WORDS]; /* 8 bytes each; the last one ends with the name, so it may overlap */
    uint64_t other_case[WORDS];
    struct span name;
    uint16_t flags;
};

static struct known_name known_names[HTTP_HEADER_COUNT] = {
#define X(id, text, bits) [HTTP_HEADER_##id] = {.name = {text, sizeof(text) - 1}, .flags = bits},
    HTTP_HEADER_TABLE(X)
#undef X
};
static uint8_t slots[SLOTS]; /* ids by hash, linear probing, 0: free */

#define X(id, text, bits) _Static_assert(sizeof(text) - 1 <= 8 * WORDS, "raise WORDS: " text);
HTTP_HEADER_TABLE(X)
#undef X
_Static_assert(HTTP_HEADER_COUNT < 256 && HTTP_HEADER_COUNT * 3 < SLOTS, "slots hold few bytes");

static inline uint64_t load8(const char *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof(word));
    return word;
}

/* 1 to 7 bytes as one word. */
static inline uint64_t load_short(const char *at, size_t size)
{
    if (size >= 4) {
        uint32_t low, high;
        memcpy(&low, at, sizeof(low));
        memcpy(&high, at + size - 4, sizeof(high));
        return low | (uint64_t)high << 32;
    }
    return (uint64_t)(unsigned char)at[0] | (uint64_t)(unsigned char)at[size / 2] << 8 |
           (uint64_t)(unsigned char)at[size - 1] << 16;
}

#define CASE_BITS UINT64_C(0x2020202020202020)

static inline unsigned slot_of(uint64_t head, uint64_t tail, size_t size)
{
    uint64_t mix = (head | CASE_BITS) * UINT64_C(0x9e3779b97f4a7c15) +
                   (tail | CASE_BITS) * UINT64_C(0xc2b2ae3d27d4eb4f) + size;
    return (unsigned)((mix * UINT64_C(0xff51afd7ed558ccd)) >> 55) & (SLOTS - 1);
}

static inline bool differs(uint64_t word, const struct known_name *known, size_t at)
{
    return ((word ^ known->word[at]) & ~known->other_case[at]) != 0;
}

static bool is_name(const struct known_name *known, struct span name, uint64_t tail)
{
    if (known->name.size != name.size)
        return false;
    size_t last = name.size <= 8 ? 0 : (name.size - 1) / 8;
    if (differs(tail, known, last))
        return false;
    for (size_t i = 0; i < last; i++)
        if (differs(load8(name.data + 8 * i), known, i))
            return false;
    return true;
}

enum http_header_id http_header_id_of(struct span name)
{
    if (UNLIKELY(name.size == 0))
        return HTTP_HEADER_UNKNOWN;
    uint64_t head, tail;
    if (name.size >= 8) {
        head = load8(name.data);
        tail = load8(name.data + name.size - 8);
    } else {
        head = tail = load_short(name.data, name.size);
    }
    for (unsigned slot = slot_of(head, tail, name.size);; slot = (slot + 1) & (SLOTS - 1)) {
        unsigned id = slots[slot];
        if (id == HTTP_HEADER_UNKNOWN || is_name(&known_names[id], name, tail))
            return (enum http_header_id)id;
    }
}

struct span http_header_name(enum http_header_id id)
{
    return id == HTTP_HEADER_UNKNOWN || id >= HTTP_HEADER_COUNT ? SPAN("") : known_names[id].name;
}

uint16_t http_header_flags(enum http_header_id id)
{
    return known_names[id].flags;
}

static uint64_t case_bits_of(uint64_t word)
{
    uint64_t bits = 0;
    for (unsigned shift = 0; shift < 64; shift += 8) {
        unsigned byte = (unsigned)(word >> shift) & 0xff;
        if (byte >= 'a' && byte <= 'z')
            bits |= UINT64_C(0x20) << shift;
    }
    return bits;
}

__attribute__((constructor)) static void build_slots(void)
{
    for (unsigned id = 1; id < HTTP_HEADER_COUNT; id++) {
        struct known_name *known = &known_names[id];
        size_t size = known->name.size, last = size <= 8 ? 0 : (size - 1) / 8;
        for (size_t i = 0; i < last; i++)
            known->word[i] = load8(known->name.data + 8 * i);
        known->word[last] =
            size >= 8 ? load8(known->name.data + size - 8) : load_short(known->name.data, size);
        for (size_t i = 0; i <= last; i++)
            known->other_case[i] = case_bits_of(known->word[i]);
        unsigned slot = slot_of(known->word[0], known->word[last], size);
        while (slots[slot] != 0)
            slot = (slot + 1) & (SLOTS - 1);
        slots[slot] = (uint8_t)id;
    }
}
