/* Which well-known name is this? A hash table over the rows of HTTP_HEADER_TABLE, built once before
 * main(), so that a new name is one new row. A name is compared as 8-byte words with the case bit
 * set in every byte: no two token bytes that differ become equal to a letter, a digit or '-' by
 * that but the two cases of a letter. Internal to core/http. */
#ifndef WEIR_HTTP_NAMES_H
#define WEIR_HTTP_NAMES_H

#include "http/headers.h"

#define NAME_SLOTS 512U
#define NAME_CASE UINT64_C(0x2020202020202020)

struct known_name {
    uint64_t head, tail; /* the first and the last 8 bytes, which may overlap */
    const char *text;
    uint16_t size, flags; /* 32 bytes in all: a shift finds the row */
};

extern struct known_name known_names[HTTP_HEADER_COUNT];
extern uint8_t known_name_slots[NAME_SLOTS]; /* ids by hash, linear probing, 0: free */

static inline uint64_t name_load8(const char *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof(word));
    return word | NAME_CASE;
}

/* 1 to 7 bytes as one word. */
static inline uint64_t name_load_short(const char *at, size_t size)
{
    if (size >= 4) {
        uint32_t low, high;
        memcpy(&low, at, sizeof(low));
        memcpy(&high, at + size - 4, sizeof(high));
        return (low | (uint64_t)high << 32) | NAME_CASE;
    }
    uint64_t first = (unsigned char)at[0], middle = (unsigned char)at[size / 2],
             last = (unsigned char)at[size - 1];
    return first | middle << 8 | last << 16 | NAME_CASE;
}

static inline unsigned name_slot(uint64_t head, uint64_t tail, size_t size)
{
    uint64_t mix = (head ^ (tail << 23 | tail >> 41)) + size;
    return (unsigned)((mix * UINT64_C(0x9e3779b97f4a7c15)) >> 55);
}

static inline bool name_middle_is(const struct known_name *known, struct span name)
{
    for (size_t at = 8; at + 8 < name.size; at += 8)
        if (name_load8(name.data + at) != name_load8(known->text + at))
            return false;
    return true;
}

/* `name` must be a token (and so not empty). */
static inline unsigned name_id_of_token(struct span name)
{
    uint64_t head, tail;
    if (LIKELY(name.size >= 8)) {
        head = name_load8(name.data);
        tail = name_load8(name.data + name.size - 8);
    } else {
        head = tail = name_load_short(name.data, name.size);
    }
    for (unsigned slot = name_slot(head, tail, name.size);; slot = (slot + 1) % NAME_SLOTS) {
        unsigned id = known_name_slots[slot];
        const struct known_name *known = &known_names[id];
        if (id == HTTP_HEADER_UNKNOWN ||
            (known->tail == tail && known->head == head && known->size == name.size &&
             (name.size <= 16 || name_middle_is(known, name))))
            return id;
    }
}

#endif
