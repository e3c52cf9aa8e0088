#include "route/index.h"

#include <stdlib.h>

struct keys {
    struct tree_key *items;
    size_t count, capacity;
};

struct index_builder {
    struct router *router;
    struct keys paths, suffixes, prefixes;
};

static enum weir_err add_key(struct keys *keys, struct span text, uint32_t tree, uint32_t value)
{
    if (keys->count == keys->capacity) {
        size_t capacity = keys->capacity == 0 ? 64 : keys->capacity * 2;
        struct tree_key *items = realloc(keys->items, capacity * sizeof(*items));
        if (items == NULL)
            return WEIR_ERR_NO_MEMORY;
        keys->items = items;
        keys->capacity = capacity;
    }
    keys->items[keys->count++] = (struct tree_key){text, tree, value};
    return WEIR_OK;
}

/* Lower case, without port, the star kept. */
static struct span host_key(struct arena *arena, struct span host)
{
    uint32_t port;
    host_split(host, &host, &port);
    char *text = arena_bytes(arena, host.size + 1);
    if (text == NULL)
        return SPAN_NONE;
    for (size_t i = 0; i < host.size; i++) {
        char c = host.data[i];
        text[i] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
    }
    return span_of(text, host.size);
}

static enum weir_err add_wildcard(struct index_builder *builder, struct span key, uint32_t bucket)
{
    struct name_pattern pattern = name_pattern_parse(key);
    if (pattern.kind == NAME_EXACT)
        return WEIR_OK;
    builder->router->has_wildcards = true;
    if (pattern.kind == NAME_PREFIX)
        return add_key(&builder->prefixes, pattern.text, 0, bucket);
    char *text = arena_bytes(builder->router->arena, pattern.text.size + 1);
    if (text == NULL)
        return WEIR_ERR_NO_MEMORY;
    for (size_t i = 0; i < pattern.text.size; i++)
        text[i] = pattern.text.data[pattern.text.size - 1 - i];
    return add_key(&builder->suffixes, span_of(text, pattern.text.size), 0, bucket);
}

static enum weir_err find_bucket(struct index_builder *builder, struct span host,
                                 uint32_t *out_bucket)
{
    struct router *router = builder->router;
    struct span key = host_key(router->arena, host);
    if (!span_is_set(key))
        return WEIR_ERR_NO_MEMORY;
    const uint32_t *known = map_find(router->hosts, key);
    if (known != NULL) {
        *out_bucket = *known;
        return WEIR_OK;
    }
    uint32_t *bucket = arena_new(router->arena, uint32_t);
    if (bucket == NULL)
        return WEIR_ERR_NO_MEMORY;
    *bucket = router->bucket_count;
    TRY(map_add(router->hosts, key, bucket));
    TRY(add_wildcard(builder, key, *bucket));
    router->bucket_count++;
    *out_bucket = *bucket;
    return WEIR_OK;
}

static enum weir_err add_regex_path(struct index_builder *builder, struct span path,
                                    uint32_t bucket, uint32_t rank)
{
    char *text = arena_bytes(builder->router->arena, path.size);
    if (text == NULL)
        return WEIR_ERR_NO_MEMORY;
    size_t size = regex_literal_prefix(span_from(path, 1), text);
    return add_key(&builder->paths, span_of(text, size), bucket, rank);
}

static enum weir_err add_paths(struct index_builder *builder, uint32_t bucket, uint32_t rank)
{
    const struct entry *entry = &builder->router->entries[rank];
    const struct span_list *paths = &entry->route->paths;
    if (paths->count == 0)
        return add_key(&builder->paths, SPAN(""), bucket, rank);
    for (size_t i = 0; i < paths->count; i++) {
        struct span path = paths->items[i];
        if (path_is_regex(path) != (entry->regexes != NULL))
            continue;
        if (entry->regexes != NULL)
            TRY(add_regex_path(builder, path, bucket, rank));
        else if (path.size == entry->path_size)
            TRY(add_key(&builder->paths, path, bucket, rank));
    }
    return WEIR_OK;
}

static enum weir_err add_entry(struct index_builder *builder, uint32_t rank)
{
    const struct span_list *hosts = &builder->router->entries[rank].route->hosts;
    if (hosts->count == 0)
        return add_paths(builder, BUCKET_ANY_HOST, rank);
    for (size_t i = 0; i < hosts->count; i++) {
        uint32_t bucket = 0;
        TRY(find_bucket(builder, hosts->items[i], &bucket));
        TRY(add_paths(builder, bucket, rank));
    }
    return WEIR_OK;
}

static enum weir_err build(struct index_builder *builder)
{
    struct router *router = builder->router;
    for (size_t rank = 0; rank < router->entry_count; rank++)
        TRY(add_entry(builder, (uint32_t)rank));
    TRY(forest_build(router->arena, builder->paths.items, builder->paths.count,
                     router->bucket_count, &router->paths));
    TRY(forest_build(router->arena, builder->suffixes.items, builder->suffixes.count, 1,
                     &router->suffixes));
    return forest_build(router->arena, builder->prefixes.items, builder->prefixes.count, 1,
                        &router->prefixes);
}

enum weir_err index_build(struct router *router)
{
    struct index_builder builder = {.router = router};
    if (router->entry_count > UINT32_MAX / 4)
        return WEIR_ERR_LIMIT;
    router->bucket_count = 1;
    router->hosts = map_create(0);
    enum weir_err err = router->hosts == NULL ? WEIR_ERR_NO_MEMORY : build(&builder);
    free(builder.paths.items);
    free(builder.suffixes.items);
    free(builder.prefixes.items);
    return err;
}
