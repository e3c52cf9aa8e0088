/* Linear probing, at most 3/4 full. Removal shifts the run back instead of leaving tombstones, so a
 * table that lives for months stays as fast as a new one. */
#include "base/map.h"

#include <stdlib.h>

struct slot {
    struct span key;
    void *value; /* NULL: free */
    uint64_t hash;
};

struct map {
    struct slot *slots;
    size_t mask, count;
    struct hash_key key;
};

struct map *map_create(size_t expected)
{
    size_t size = 8;
    while (size - size / 4 < expected) {
        if (size > SIZE_MAX / 4 / sizeof(struct slot))
            return NULL;
        size *= 2;
    }
    struct map *map = calloc(1, sizeof(*map));
    if (map == NULL)
        return NULL;
    map->slots = calloc(size, sizeof(struct slot));
    if (map->slots == NULL) {
        free(map);
        return NULL;
    }
    map->mask = size - 1;
    map->key = hash_key_random();
    return map;
}

void map_destroy(struct map *map)
{
    if (map == NULL)
        return;
    free(map->slots);
    free(map);
}

/* The slot of `key`, or the free one where it belongs. */
static struct slot *probe(const struct map *map, struct span key, uint64_t hash)
{
    size_t at = (size_t)hash & map->mask;
    while (map->slots[at].value != NULL &&
           !(map->slots[at].hash == hash && span_equal(map->slots[at].key, key)))
        at = (at + 1) & map->mask;
    return &map->slots[at];
}

void *map_find(const struct map *map, struct span key)
{
    return probe(map, key, hash_span(&map->key, key))->value;
}

static enum weir_err grow(struct map *map)
{
    size_t size = (map->mask + 1) * 2;
    struct slot *slots = calloc(size, sizeof(struct slot));
    if (slots == NULL)
        return WEIR_ERR_NO_MEMORY;
    struct slot *old = map->slots;
    size_t old_size = map->mask + 1;
    map->slots = slots;
    map->mask = size - 1;
    for (size_t i = 0; i < old_size; i++)
        if (old[i].value != NULL)
            *probe(map, old[i].key, old[i].hash) = old[i];
    free(old);
    return WEIR_OK;
}

static enum weir_err put(struct map *map, struct span key, void *value, bool replace)
{
    CHECK_THAT(value != NULL);
    uint64_t hash = hash_span(&map->key, key);
    struct slot *slot = probe(map, key, hash);
    if (slot->value != NULL) {
        if (!replace)
            return WEIR_ERR_EXISTS;
        slot->value = value;
        return WEIR_OK;
    }
    if (map->count + 1 > (map->mask + 1) - (map->mask + 1) / 4) {
        TRY(grow(map));
        slot = probe(map, key, hash);
    }
    *slot = (struct slot){key, value, hash};
    map->count++;
    return WEIR_OK;
}

enum weir_err map_add(struct map *map, struct span key, void *value)
{
    return put(map, key, value, false);
}

enum weir_err map_set(struct map *map, struct span key, void *value)
{
    return put(map, key, value, true);
}

/* Close the gap: move back every later slot of the run whose home is not after the gap. */
static void shift_back(struct map *map, size_t gap)
{
    for (size_t at = (gap + 1) & map->mask; map->slots[at].value != NULL;
         at = (at + 1) & map->mask) {
        size_t home = (size_t)map->slots[at].hash & map->mask;
        if (((at - home) & map->mask) < ((at - gap) & map->mask))
            continue;
        map->slots[gap] = map->slots[at];
        gap = at;
    }
    map->slots[gap] = (struct slot){0};
}

void *map_remove(struct map *map, struct span key)
{
    struct slot *slot = probe(map, key, hash_span(&map->key, key));
    void *value = slot->value;
    if (value == NULL)
        return NULL;
    shift_back(map, (size_t)(slot - map->slots));
    map->count--;
    return value;
}

size_t map_count(const struct map *map)
{
    return map->count;
}

bool map_next(const struct map *map, size_t *cursor, struct span *out_key, void **out_value)
{
    for (; *cursor <= map->mask; (*cursor)++) {
        const struct slot *slot = &map->slots[*cursor];
        if (slot->value == NULL)
            continue;
        *out_key = slot->key;
        *out_value = slot->value;
        (*cursor)++;
        return true;
    }
    return false;
}
