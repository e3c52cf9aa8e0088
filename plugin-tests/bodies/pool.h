/* Memory for the body library that may run out, and texts. */
#ifndef BODIES_POOL_H
#define BODIES_POOL_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <weir/weir.h>

/* Runs out after `left` allocations. */
struct pool {
    void *blocks[4096];
    size_t count, left;
};

/* A weir_alloc. */
static inline void *take(void *user, size_t size)
{
    struct pool *pool = user;
    if (pool->left == 0 || pool->count == sizeof(pool->blocks) / sizeof(pool->blocks[0]))
        return NULL;
    pool->left--;
    return pool->blocks[pool->count++] = malloc(size);
}

static inline void drop(struct pool *pool)
{
    while (pool->count > 0)
        free(pool->blocks[--pool->count]);
}

static inline weir_str str(const char *text)
{
    return (weir_str){text, text == NULL ? 0 : strlen(text)};
}

static inline bool is(weir_str have, const char *want)
{
    return have.size == strlen(want) && memcmp(have.data, want, have.size) == 0;
}

#endif
