/* Bump allocation over a list of chunks. The arena's own record lies in the first chunk, so a
 * recycled exchange costs no heap call at all. A piece larger than a chunk gets a chunk of its own
 * size, which goes back to the heap instead of the pool.
 * Without a pool chunks grow with the arena. Large ones come from the system: a configuration of
 * many MiB that is replaced leaves no holes in the heap, and goes back whole and at once. */
#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

enum {
    HEAP_CHUNK = 16 * 1024,
    MAPPED_CHUNK = 128 * 1024,       /* from here on mapped */
    LARGEST_CHUNK = 2 * 1024 * 1024, /* a huge page */
    PAGE = 4096,
    ALIGNMENT = 16
};

struct arena_chunk {
    struct arena_chunk *next;
    size_t size; /* with this record */
};

struct arena_pool {
    struct arena_chunk *idle;
    size_t chunk_size, count, keep;
    size_t lent; /* chunks out: must be 0 when the pool goes */
};

static size_t align_up(size_t size)
{
    return (size + (ALIGNMENT - 1)) & ~(size_t)(ALIGNMENT - 1);
}

#define CHUNK_RECORD align_up(sizeof(struct arena_chunk))

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
        struct arena_chunk *chunk = pool->idle;
        pool->idle = chunk->next;
        free(chunk);
    }
    free(pool);
}

/* For an arena that holds `used` bytes. */
static size_t usual_size(const struct arena_pool *pool, size_t used)
{
    if (pool != NULL)
        return pool->chunk_size;
    size_t size = HEAP_CHUNK;
    while (size < LARGEST_CHUNK && size * 4 <= used)
        size *= 2;
    return size;
}

#ifdef ARENA_POISON
/* The leak checker looks for pointers in the heap only. */
static bool is_mapped(const struct arena_pool *pool, size_t size)
{
    (void)pool, (void)size;
    return false;
}
#else
static bool is_mapped(const struct arena_pool *pool, size_t size)
{
    return pool == NULL && size >= MAPPED_CHUNK;
}
#endif

/* Zeros. A page that is missing costs more than filling it: small chunks get all of theirs in one
 * go, large ones ask for a huge one. */
static struct arena_chunk *chunk_map(size_t size)
{
    int populate = size < LARGEST_CHUNK ? MAP_POPULATE : 0;
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | populate;
    void *chunk = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (chunk == MAP_FAILED)
        return NULL;
    if (size >= LARGEST_CHUNK)
        (void)madvise(chunk, size, MADV_HUGEPAGE);
    return chunk;
}

static struct arena_chunk *chunk_take(struct arena_pool *pool, size_t size)
{
    struct arena_chunk *chunk = NULL;
    if (pool != NULL && size == pool->chunk_size && pool->idle != NULL) {
        chunk = pool->idle;
        pool->idle = chunk->next;
        pool->count--;
    } else {
        chunk = is_mapped(pool, size) ? chunk_map(size) : malloc(size);
        if (chunk == NULL)
            return NULL;
    }
    if (pool != NULL)
        pool->lent++;
    chunk->size = size;
    chunk->next = NULL;
    return chunk;
}

static void chunk_put(struct arena_pool *pool, struct arena_chunk *chunk)
{
    ARENA_OPEN(chunk, chunk->size);
    if (pool != NULL)
        pool->lent--;
    if (is_mapped(pool, chunk->size)) {
        (void)munmap(chunk, chunk->size);
        return;
    }
    if (pool == NULL || chunk->size != pool->chunk_size || pool->count >= pool->keep) {
        free(chunk);
        return;
    }
    chunk->next = pool->idle;
    pool->idle = chunk;
    pool->count++;
    /* An idle chunk is nobody's but for its record. */
    ARENA_SHUT((char *)chunk + CHUNK_RECORD, chunk->size - CHUNK_RECORD);
}

/* `end` is where the chunk or the limit ends, so that the inline path needs one compare. */
static void set_end(struct arena *arena)
{
    arena->end = (char *)arena->chunks + arena->chunks->size;
    if (arena->limit == 0)
        return;
    size_t left = arena->limit - arena_used(arena);
    if (left < (size_t)(arena->end - arena->at))
        arena->end = arena->at + left;
}

static void start_at(struct arena *arena, char *at)
{
    arena->at = arena->start = at;
    set_end(arena);
    ARENA_SHUT(at, (size_t)((char *)arena->chunks + arena->chunks->size - at));
}

static char *first_piece(struct arena *arena)
{
    return (char *)arena + align_up(sizeof(*arena));
}

struct arena *arena_create(struct arena_pool *pool)
{
    struct arena_chunk *chunk = chunk_take(pool, usual_size(pool, 0));
    if (chunk == NULL)
        return NULL;
    struct arena *arena = (void *)((char *)chunk + CHUNK_RECORD);
    ARENA_OPEN(arena, sizeof(*arena));
    *arena = (struct arena){.pool = pool, .chunks = chunk};
    start_at(arena, first_piece(arena));
    return arena;
}

void arena_reset(struct arena *arena)
{
    while (UNLIKELY(arena->chunks->next != NULL)) {
        struct arena_chunk *chunk = arena->chunks;
        arena->chunks = chunk->next;
        chunk_put(arena->pool, chunk);
    }
    arena->before = 0;
    start_at(arena, first_piece(arena));
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
    size_t usual = usual_size(arena->pool, arena_used(arena));
    size_t needed = CHUNK_RECORD + size;
    if (is_mapped(arena->pool, needed))
        needed = (needed + (PAGE - 1)) & ~(size_t)(PAGE - 1);
    struct arena_chunk *chunk = chunk_take(arena->pool, needed > usual ? needed : usual);
    if (chunk == NULL)
        return false;
    arena->before = arena_used(arena);
    chunk->next = arena->chunks;
    arena->chunks = chunk;
    start_at(arena, (char *)chunk + CHUNK_RECORD);
    return true;
}

/* A piece that fills a mapped chunk of its own goes behind the current one, whose rest is not lost:
 * zeros. The last chunk of the list, with the arena's record, stays the last. NULL: not so. */
static void *piece_alone(struct arena *arena, size_t size)
{
    size_t needed = (CHUNK_RECORD + size + (PAGE - 1)) & ~(size_t)(PAGE - 1);
    if (size < MAPPED_CHUNK || !is_mapped(arena->pool, needed) || arena->chunks->next == NULL)
        return NULL;
    struct arena_chunk *chunk = chunk_take(NULL, needed);
    if (chunk == NULL)
        return NULL;
    chunk->next = arena->chunks->next;
    arena->chunks->next = chunk;
    arena->before += size;
    set_end(arena);
    return (char *)chunk + CHUNK_RECORD;
}

void *arena_alloc_slow(struct arena *arena, size_t size, size_t align)
{
    if (size == 0) /* a piece of no bytes still has an address of its own */
        size = 1;
    if (size > SIZE_MAX / 4 || (arena->limit != 0 && size > arena->limit - arena_used(arena)))
        return NULL;
    size_t skip = (size_t)(-(uintptr_t)arena->at & (align - 1));
    size_t room = (size_t)(arena->end - arena->at);
    if (room < skip || size > room - skip) {
        char *alone = piece_alone(arena, size);
        if (alone != NULL)
            return alone;
        if (!add_chunk(arena, size))
            return NULL;
        skip = 0; /* a chunk starts aligned for anything */
    }
    char *piece = arena->at + skip;
    arena->at = piece + size;
    ARENA_OPEN(piece, size);
    return piece;
}

void *arena_zalloc(struct arena *arena, size_t size)
{
    bool over =
        size > SIZE_MAX / 4 || (arena->limit != 0 && size > arena->limit - arena_used(arena));
    void *piece = over ? NULL : piece_alone(arena, size);
    if (piece != NULL)
        return piece;
    piece = arena_alloc(arena, size);
    /* Mapped chunks are zeros that nobody has written to: their pieces are handed out once. */
    if (piece != NULL && !is_mapped(arena->pool, arena->chunks->size))
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

size_t arena_extra(const struct arena *arena)
{
    size_t extra = 0;
    for (const struct arena_chunk *chunk = arena->chunks; chunk->next != NULL; chunk = chunk->next)
        extra += chunk->size;
    return extra;
}

size_t arena_used(const struct arena *arena)
{
    return arena->before + (size_t)(arena->at - arena->start);
}

void arena_limit(struct arena *arena, size_t bytes)
{
    CHECK_THAT(bytes == 0 || bytes >= arena_used(arena));
    arena->limit = bytes;
    set_end(arena);
}
