/* Memory that is freed all at once. One arena per exchange (recycled, so a warm exchange allocates
 * nothing), one per generation. Never shared between threads.
 * Chunks come from an arena_pool when one is given: they return to it, up to its bound. */
#ifndef WEIR_BASE_ARENA_H
#define WEIR_BASE_ARENA_H

#include <stddef.h>

#include "base/auto.h"
#include "base/span.h"

struct arena;
struct arena_pool;

/* Chunks of `chunk_size` bytes, at most `keep` of them kept when free. NULL without memory. */
WEIR_MUST_USE struct arena_pool *arena_pool_create(size_t chunk_size, size_t keep);
/* Every arena of the pool must be gone. NULL is fine. */
void arena_pool_destroy(struct arena_pool *pool);

/* The arena itself lies in its first chunk. `pool` may be NULL: chunks of 16 KiB from the heap. */
WEIR_MUST_USE struct arena *arena_create(struct arena_pool *pool);
void arena_destroy(struct arena *arena);
AUTO_DEFINE(struct arena, arena_destroy)
/* Forget everything but keep the first chunk: what an exchange does between two requests. */
void arena_reset(struct arena *arena);

/* 16-byte aligned, not zeroed; NULL without memory or past arena_limit(). */
WEIR_MUST_USE void *arena_alloc(struct arena *arena, size_t size);
/* The same, zeroed. */
WEIR_MUST_USE void *arena_zalloc(struct arena *arena, size_t size);
/* 1-byte aligned: text. */
WEIR_MUST_USE char *arena_bytes(struct arena *arena, size_t size);
/* A terminated copy; data is NULL without memory (or when `s` is absent). */
struct span arena_copy(struct arena *arena, struct span s);
struct span arena_printf(struct arena *arena, const char *format, ...) WEIR_PRINTF(2, 3);

/* Bytes handed out so far, and the most it may ever hold (0: no bound). */
size_t arena_used(const struct arena *arena);
void arena_limit(struct arena *arena, size_t bytes);

#define arena_new(arena, type) ((type *)arena_zalloc((arena), sizeof(type)))
#define arena_array(arena, type, count) ((type *)arena_zalloc_array((arena), (count), sizeof(type)))
WEIR_MUST_USE void *arena_zalloc_array(struct arena *arena, size_t count, size_t size);

#endif
