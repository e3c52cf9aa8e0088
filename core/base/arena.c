/* Bump allocation over a list of chunks. The arena's own record lies in the first chunk, so a
 * recycled exchange costs no heap call at all. A piece larger than a chunk gets a chunk of its own
 * size, which goes back to the heap instead of the pool. */
#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { HEAP_CHUNK = 16 * 1024, ALIGNMENT = 16 };

struct chunk {
    struct chunk *next;
    size_t size; /* with this record */
};

struct arena {
    struct arena_pool *pool; /* borrowed; NULL: chunks from the heap */
    struct chunk *chunks;    /* newest first; the last one holds this record */
    char *at, *end;
    size_t used, limit;
};

struct arena_pool {
    struct chunk *idle;
    size_t chunk_size, count, keep;
    size_t lent; /* chunks out: must be 0 when the pool goes */
};

static size_t align_up(size_t size)
{
    return (size + (ALIGNMENT - 1)) & ~(size_t)(ALIGNMENT - 1);
}

#define CHUNK_RECORD align_up(sizeof(struct chunk))

struct arena_pool *arena_pool_create(size_t chunk_size, size_t keep)
{
    CHECK_THAT(chunk_size >= 512);
    struct arena_pool *pool = calloc(1, sizeof(*pool));
    if (pool == NULL)
        return NULL;
    pool->chunk_size = align_up(chunk_size);
    pool->keep = keep;
    return pool;
}

void arena_pool_destroy(struct arena_pool *pool)
{
    if (pool == NULL)
        return;
    CHECK_THAT(pool->lent == 0);
    while (pool->idle != NULL) {
        struct chunk *chunk = pool->idle;
        pool->idle = chunk->next;
        free(chunk);
    }
    free(pool);
}

static size_t usual_size(const struct arena_pool *pool)
{
    return pool == NULL ? (size_t)HEAP_CHUNK : pool->chunk_size;
}

static struct chunk *chunk_take(struct arena_pool *pool, size_t size)
{
    struct chunk *chunk = NULL;
    if (pool != NULL && size == pool->chunk_size && pool->idle != NULL) {
        chunk = pool->idle;
        pool->idle = chunk->next;
        pool->count--;
    } else {
        chunk = malloc(size);
        if (chunk == NULL)
            return NULL;
    }
    if (pool != NULL)
        pool->lent++;
    chunk->size = size;
    chunk->next = NULL;
    return chunk;
}

static void chunk_put(struct arena_pool *pool, struct chunk *chunk)
{
    if (pool != NULL)
        pool->lent--;
    if (pool == NULL || chunk->size != pool->chunk_size || pool->count >= pool->keep) {
        free(chunk);
        return;
    }
    chunk->next = pool->idle;
    pool->idle = chunk;
    pool->count++;
}

static void start_in(struct arena *arena, struct chunk *chunk, size_t taken)
{
    arena->at = (char *)chunk + CHUNK_RECORD + taken;
    arena->end = (char *)chunk + chunk->size;
}

struct arena *arena_create(struct arena_pool *pool)
{
    struct chunk *chunk = chunk_take(pool, usual_size(pool));
    if (chunk == NULL)
        return NULL;
    struct arena *arena = (void *)((char *)chunk + CHUNK_RECORD);
    *arena = (struct arena){.pool = pool, .chunks = chunk};
    start_in(arena, chunk, align_up(sizeof(*arena)));
    return arena;
}

void arena_reset(struct arena *arena)
{
    while (arena->chunks->next != NULL) {
        struct chunk *chunk = arena->chunks;
        arena->chunks = chunk->next;
        chunk_put(arena->pool, chunk);
    }
    arena->used = 0;
    start_in(arena, arena->chunks, align_up(sizeof(*arena)));
}

void arena_destroy(struct arena *arena)
{
    if (arena == NULL)
        return;
    arena_reset(arena);
    chunk_put(arena->pool, arena->chunks);
}

static bool add_chunk(struct arena *arena, size_t size)
{
    size_t usual = usual_size(arena->pool);
    size_t needed = CHUNK_RECORD + size;
    struct chunk *chunk = chunk_take(arena->pool, needed > usual ? needed : usual);
    if (chunk == NULL)
        return false;
    chunk->next = arena->chunks;
    arena->chunks = chunk;
    start_in(arena, chunk, 0);
    return true;
}

static void *take(struct arena *arena, size_t size)
{
    if (size > SIZE_MAX / 2 || (arena->limit != 0 && size > arena->limit - arena->used))
        return NULL;
    if (size > (size_t)(arena->end - arena->at) && !add_chunk(arena, size))
        return NULL;
    void *piece = arena->at;
    arena->at += size;
    arena->used += size;
    return piece;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    if (size > SIZE_MAX / 2)
        return NULL;
    size_t skip = (size_t)(-(uintptr_t)arena->at & (ALIGNMENT - 1));
    /* Text leaves `at` anywhere; a fresh chunk starts aligned, so the skip is lost only here. */
    if (skip <= (size_t)(arena->end - arena->at))
        arena->at += skip;
    else
        arena->at = arena->end;
    return take(arena, align_up(size == 0 ? 1 : size));
}

void *arena_zalloc(struct arena *arena, size_t size)
{
    void *piece = arena_alloc(arena, size);
    if (piece != NULL)
        memset(piece, 0, size);
    return piece;
}

void *arena_zalloc_array(struct arena *arena, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        return NULL;
    return arena_zalloc(arena, bytes);
}

char *arena_bytes(struct arena *arena, size_t size)
{
    return take(arena, size == 0 ? 1 : size);
}

struct span arena_copy(struct arena *arena, struct span s)
{
    if (!span_is_set(s) || s.size > SIZE_MAX / 4)
        return SPAN_NONE;
    char *copy = arena_bytes(arena, s.size + 1);
    if (copy == NULL)
        return SPAN_NONE;
    if (s.size > 0)
        memcpy(copy, s.data, s.size);
    copy[s.size] = '\0';
    return span_of(copy, s.size);
}

struct span arena_printf(struct arena *arena, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int size = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (size < 0)
        return SPAN_NONE;
    char *text = arena_bytes(arena, (size_t)size + 1);
    if (text == NULL)
        return SPAN_NONE;
    va_start(args, format);
    (void)vsnprintf(text, (size_t)size + 1, format, args);
    va_end(args);
    return span_of(text, (size_t)size);
}

size_t arena_used(const struct arena *arena)
{
    return arena->used;
}

void arena_limit(struct arena *arena, size_t bytes)
{
    CHECK_THAT(bytes == 0 || bytes >= arena->used);
    arena->limit = bytes;
}
