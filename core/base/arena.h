/* Memory that is freed all at once. One arena per exchange (recycled, so a warm exchange allocates
 * nothing), one per generation. Never shared between threads.
 * Chunks come from an arena_pool when one is given: they return to it, up to its bound. */
#ifndef WEIR_BASE_ARENA_H
#define WEIR_BASE_ARENA_H

#include <stddef.h>

#include "base/auto.h"
#include "base/span.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) /* clang */
#define ARENA_POISON
#endif
#elif defined(__SANITIZE_ADDRESS__) /* gcc */
#define ARENA_POISON
#endif
#ifdef ARENA_POISON
#include <sanitizer/asan_interface.h>
/* Bytes not handed out are poison: a pointer kept over a reset is found at its first use. */
#define ARENA_OPEN(at, size) ASAN_UNPOISON_MEMORY_REGION((at), (size))
#define ARENA_SHUT(at, size) ASAN_POISON_MEMORY_REGION((at), (size))
#else
#define ARENA_OPEN(at, size) ((void)0)
#define ARENA_SHUT(at, size) ((void)0)
#endif

struct arena_chunk;
struct arena_pool;

/* Open to the compiler for the inline path below alone: its members belong to arena.c. */
struct arena {
    char *at, *end;             /* free bytes; `end` already respects the limit */
    char *start;                /* where this chunk's pieces begin */
    size_t before, limit;       /* bytes taken from earlier chunks; 0: no bound */
    struct arena_chunk *chunks; /* newest first; the last one holds this record */
    struct arena_pool *pool;    /* borrowed; NULL: chunks from the heap */
};

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

/* The way out of line, when the chunk is full. */
WEIR_MUST_USE void *arena_alloc_slow(struct arena *arena, size_t size, size_t align);

/* 16-byte aligned, not zeroed; NULL without memory or past arena_limit(). An add, a compare and a
 * store on the hot path. */
WEIR_MUST_USE static inline void *arena_alloc(struct arena *arena, size_t size)
{
    size_t skip = (size_t)(-(uintptr_t)arena->at & 15);
    size_t room = (size_t)(arena->end - arena->at);
    if (UNLIKELY(room < skip || size > room - skip || size == 0))
        return arena_alloc_slow(arena, size, 16);
    char *piece = arena->at + skip;
    arena->at = piece + size;
    ARENA_OPEN(piece, size);
    return piece;
}
/* The same, zeroed. */
WEIR_MUST_USE void *arena_zalloc(struct arena *arena, size_t size);
/* 1-byte aligned: text. */
WEIR_MUST_USE static inline char *arena_bytes(struct arena *arena, size_t size)
{
    if (UNLIKELY(size > (size_t)(arena->end - arena->at) || size == 0))
        return arena_alloc_slow(arena, size, 1);
    char *piece = arena->at;
    arena->at += size;
    ARENA_OPEN(piece, size);
    return piece;
}
/* A terminated copy; data is NULL without memory (or when `s` is absent). */
struct span arena_copy(struct arena *arena, struct span s);
struct span arena_printf(struct arena *arena, const char *format, ...) WEIR_PRINTF(2, 3);

/* Bytes handed out so far (with the padding between them), and the most it may ever hold (0: no
 * bound). */
size_t arena_used(const struct arena *arena);
void arena_limit(struct arena *arena, size_t bytes);
/* Memory of the chunks behind the first one: what arena_reset() gives back. */
size_t arena_extra(const struct arena *arena);

#define arena_new(arena, type) ((type *)arena_zalloc((arena), sizeof(type)))
#define arena_array(arena, type, count) ((type *)arena_zalloc_array((arena), (count), sizeof(type)))
WEIR_MUST_USE void *arena_zalloc_array(struct arena *arena, size_t count, size_t size);

#endif
