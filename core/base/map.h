/* Text -> pointer, open addressing, keyed hash. Keys are borrowed: they must outlive the map. */
#ifndef WEIR_BASE_MAP_H
#define WEIR_BASE_MAP_H

#include "base/auto.h"
#include "base/hash.h"

struct map;

/* Sized for `expected` entries, grows beyond. NULL without memory. */
WEIR_MUST_USE struct map *map_create(size_t expected);
void map_destroy(struct map *map); /* the values are not touched */
AUTO_DEFINE(struct map, map_destroy)

/* NULL when absent. One probe sequence. */
void *map_find(const struct map *map, struct span key);
/* WEIR_ERR_EXISTS leaves the old value, NO_MEMORY changes nothing. `value` must not be NULL. */
WEIR_MUST_USE enum weir_err map_add(struct map *map, struct span key, void *value);
/* Add or replace. */
WEIR_MUST_USE enum weir_err map_set(struct map *map, struct span key, void *value);
void *map_remove(struct map *map, struct span key); /* the value, NULL when absent */
size_t map_count(const struct map *map);
/* Iterate in no particular order: start with *cursor = 0, false at the end. */
bool map_next(const struct map *map, size_t *cursor, struct span *out_key, void **out_value);

#endif
