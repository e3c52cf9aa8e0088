#include "route/router.h"

#include <stdlib.h>

#include "config/problems.h"
#include "route/index.h"

#define ROUTER_MAGIC 0x72747231u
#define WARNINGS_MAX 20
#define STREAM_PROTOCOLS                                                                    \
    (PROTOCOL_BIT(PROTOCOL_TCP) | PROTOCOL_BIT(PROTOCOL_TLS) | PROTOCOL_BIT(PROTOCOL_UDP) | \
     PROTOCOL_BIT(PROTOCOL_TLS_PASSTHROUGH))

bool router_flavor_parse(struct span name, enum router_flavor *out_flavor)
{
    static const struct {
        struct span name;
        enum router_flavor flavor;
    } flavors[] = {
        {{"traditional_compatible", 22}, ROUTER_TRADITIONAL_COMPATIBLE},
        {{"traditional", 11}, ROUTER_TRADITIONAL},
        {{"expressions", 11}, ROUTER_EXPRESSIONS},
    };
    for (size_t i = 0; i < COUNT_OF(flavors); i++) {
        if (span_equal(name, flavors[i].name)) {
            *out_flavor = flavors[i].flavor;
            return true;
        }
    }
    return false;
}

/* ---- building ------------------------------------------------------------------------------- */

struct expansion {
    struct router *router;
    struct problems *problems; /* may be NULL */
    struct entry *entries;     /* unsorted, from the heap */
    size_t count, capacity;
    unsigned warnings;
    bool has_errors;
};

static struct span name_of(const struct route *route)
{
    return span_is_set(route->name) ? route->name : route->id;
}

static void complain(struct expansion *all, enum problem_level level, const struct route *route,
                     const char *what, const char *why)
{
    if (level == PROBLEM_ERROR)
        all->has_errors = true;
    else if (all->warnings++ >= WARNINGS_MAX)
        return;
    struct position position = {0, 0};
    if (route->node != NULL)
        position = route->node->position;
    if (all->problems != NULL)
        problem_add(all->problems, level, position, "", "route '%.*s': %s%s",
                    SPAN_ARG(name_of(route)), what, why);
}

static struct entry *add_entry(struct expansion *all)
{
    if (all->count == all->capacity) {
        size_t capacity = all->capacity == 0 ? 64 : all->capacity * 2;
        struct entry *entries = realloc(all->entries, capacity * sizeof(*entries));
        if (entries == NULL)
            return NULL;
        all->entries = entries;
        all->capacity = capacity;
    }
    all->entries[all->count] = (struct entry){0};
    return &all->entries[all->count++];
}

static enum weir_err compile_regexes(struct expansion *all, const struct route *route, size_t count,
                                     struct entry *entry)
{
    struct router *router = all->router;
    const struct regex **regexes = arena_array(router->arena, const struct regex *, count);
    char why[160] = "";
    if (regexes == NULL)
        return WEIR_ERR_NO_MEMORY;
    size_t done = 0;
    for (size_t i = 0; i < route->paths.count; i++) {
        if (!path_is_regex(route->paths.items[i]))
            continue;
        enum weir_err err =
            regex_compile(router->regexes, REGEX_PATH, span_from(route->paths.items[i], 1), why,
                          sizeof(why), &regexes[done]);
        if (err == WEIR_ERR_INVALID)
            complain(all, PROBLEM_ERROR, route, "invalid regex in paths: ", why);
        else
            TRY(err);
        done += err == WEIR_OK;
    }
    entry->regexes = regexes;
    entry->regex_count = (uint32_t)done;
    return WEIR_OK;
}

static bool has_entry(const struct expansion *all, size_t first, uint32_t path_size)
{
    for (size_t i = first; i < all->count; i++) {
        if (all->entries[i].regexes == NULL && all->entries[i].path_size == path_size)
            return true;
    }
    return false;
}

/* One entry for all regexes, one per length of the plain paths, one when there are no paths. */
static enum weir_err expand_paths(struct expansion *all, const struct route *route,
                                  const struct conditions *conditions)
{
    size_t first = all->count, regexes = 0;
    for (size_t i = 0; i < route->paths.count; i++)
        regexes += path_is_regex(route->paths.items[i]);
    if (regexes != 0) {
        struct entry *entry = add_entry(all);
        if (entry == NULL)
            return WEIR_ERR_NO_MEMORY;
        TRY(compile_regexes(all, route, regexes, entry));
    }
    for (size_t i = 0; i < route->paths.count || (i == 0 && route->paths.count == 0); i++) {
        struct span path = route->paths.count == 0 ? SPAN("") : route->paths.items[i];
        if (path_is_regex(path) || has_entry(all, first, (uint32_t)path.size))
            continue;
        struct entry *entry = add_entry(all);
        if (entry == NULL)
            return WEIR_ERR_NO_MEMORY;
        entry->path_size = (uint32_t)path.size;
    }
    for (size_t i = first; i < all->count; i++) {
        struct entry *entry = &all->entries[i];
        entry->route = route;
        entry->conditions = conditions;
        entry->priority =
            entry_priority(route, entry->regexes != NULL, entry->path_size, all->router->flavor);
    }
    return WEIR_OK;
}

static enum weir_err expand_route(struct expansion *all, const struct route *route)
{
    struct router *router = all->router;
    struct condition_builder builder = {router->arena, router->regexes, router->flavor, ""};
    const struct conditions *conditions = NULL;
    if (route->service != NULL && !route->service->enabled)
        return WEIR_OK;
    if (route->protocols != 0 && (route->protocols & ~STREAM_PROTOCOLS) == 0)
        return WEIR_OK;
    if (route->expression.size != 0) {
        complain(all, PROBLEM_WARNING, route, "left out, there is no ", "expressions router");
        return WEIR_OK;
    }
    enum weir_err err = conditions_build(&builder, route, &conditions);
    if (err == WEIR_ERR_INVALID) {
        complain(all, PROBLEM_ERROR, route, "invalid regex in headers: ", builder.why);
        return WEIR_OK;
    }
    TRY(err);
    return expand_paths(all, route, conditions);
}

static enum weir_err expand_all(struct expansion *all, const struct config *config)
{
    struct router *router = all->router;
    for (size_t i = 0; i < config->route_count; i++)
        TRY(expand_route(all, config->routes[i]));
    if (all->has_errors)
        return WEIR_ERR_CONFIG;
    entries_sort(all->entries, all->count, router->flavor);
    struct entry *entries = arena_alloc(router->arena, all->count * sizeof(*entries));
    if (entries == NULL)
        return WEIR_ERR_NO_MEMORY;
    if (all->count != 0)
        memcpy(entries, all->entries, all->count * sizeof(*entries));
    router->entries = entries;
    router->entry_count = all->count;
    return WEIR_OK;
}

static struct router *router_create(enum router_flavor flavor)
{
    struct router *router = calloc(1, sizeof(*router));
    if (router == NULL)
        return NULL;
    router->magic = ROUTER_MAGIC;
    router->flavor = flavor;
    router->arena = arena_create(NULL);
    router->regexes = router->arena == NULL ? NULL : regex_set_create(router->arena);
    if (router->regexes == NULL) {
        router_destroy(router);
        return NULL;
    }
    return router;
}

void router_destroy(struct router *router)
{
    if (router == NULL)
        return;
    CHECK(router, ROUTER);
    regex_set_destroy(router->regexes);
    map_destroy(router->hosts);
    arena_destroy(router->arena);
    router->magic = 0;
    free(router);
}

static enum weir_err fill(struct router *router, const struct config *config,
                          struct problems *problems)
{
    struct expansion all = {.router = router, .problems = problems};
    enum weir_err err = expand_all(&all, config);
    free(all.entries);
    TRY(err);
    TRY(index_build(router));
    if (problems == NULL || all.warnings >= WARNINGS_MAX)
        return WEIR_OK;
    return index_warn(router, problems, WARNINGS_MAX - all.warnings);
}

enum weir_err router_build(const struct config *config, enum router_flavor flavor,
                           struct problems *problems, struct router **out_router)
{
    struct router *router = router_create(flavor);
    if (router == NULL)
        return WEIR_ERR_NO_MEMORY;
    enum weir_err err = fill(router, config, problems);
    if (err != WEIR_OK)
        router_destroy(router);
    else
        *out_router = router;
    return err;
}

size_t router_memory(const struct router *router)
{
    CHECK(router, ROUTER);
    /* A map's slot is 32 bytes, and up to two thirds of them may be free. */
    return sizeof(*router) + arena_used(router->arena) + map_count(router->hosts) * 96;
}

/* ---- matching ------------------------------------------------------------------------------- */

struct search {
    struct router *router;
    struct view view;
    struct route_match *match; /* a regex entry that fits leaves its captures here */
    uint32_t best;             /* rank; entry_count when nothing was found */
};

static bool try_regexes(struct search *search, const struct entry *entry)
{
    for (uint32_t i = 0; i < entry->regex_count; i++) {
        if (regex_capture(search->router->regexes, entry->regexes[i], search->view.query->path,
                          search->match))
            return true;
    }
    return false;
}

static void search_bucket(struct search *search, uint32_t bucket)
{
    const struct router *router = search->router;
    struct tree_walk walk = tree_walk(&router->paths, bucket, search->view.query->path);
    const struct tree_node *node;
    while ((node = tree_step(&walk)) != NULL) {
        const uint32_t *ranks = router->paths.values + node->values;
        for (uint32_t i = 0; i < node->value_count && ranks[i] < search->best; i++) {
            const struct entry *entry = &router->entries[ranks[i]];
            if (UNLIKELY(search->view.query->method_named) && entry->route->methods.count == 0)
                continue;
            if (entry->conditions != NULL &&
                !conditions_hold(entry->conditions, search->router->regexes, &search->view))
                continue;
            if (entry->regexes != NULL && !try_regexes(search, entry))
                continue;
            search->best = ranks[i];
            break;
        }
    }
}

/* All buckets whose wildcard fits. `name` is the whole name: a longer text never fits by accident,
 * as the walk only gives keys that are prefixes of it. */
static void search_wildcards(struct search *search, const struct forest *wildcards,
                             struct span name)
{
    bool takes_one = search->router->flavor == ROUTER_TRADITIONAL;
    size_t fixed = 0;
    struct tree_walk walk = tree_walk(wildcards, 0, name);
    const struct tree_node *node;
    while ((node = tree_step(&walk)) != NULL) {
        fixed += node->label_size;
        if (takes_one && fixed == name.size)
            break;
        for (uint32_t i = 0; i < node->value_count; i++)
            search_bucket(search, wildcards->values[node->values + i]);
    }
}

static void search_hosts(struct search *search)
{
    const struct router *router = search->router;
    char lower[HOST_SIZE_MAX], backwards[HOST_SIZE_MAX];
    struct span host = search->view.host;
    if (host.size > HOST_SIZE_MAX)
        return;
    for (size_t i = 0; i < host.size; i++) {
        char c = host.data[i];
        c = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
        lower[i] = c;
        backwards[host.size - 1 - i] = c;
    }
    const uint32_t *exact = map_find(router->hosts, span_of(lower, host.size));
    /* A name with a star in it would find a wildcard's bucket here. */
    if (exact != NULL && memchr(lower, '*', host.size) == NULL)
        search_bucket(search, *exact);
    if (router->has_wildcards) {
        search_wildcards(search, &router->suffixes, span_of(backwards, host.size));
        search_wildcards(search, &router->prefixes, span_of(lower, host.size));
    }
}

bool router_match(struct router *router, const struct route_query *query,
                  struct route_match *out_match)
{
    CHECK(router, ROUTER);
    struct search search = {
        router, {query, query->host, NO_PORT}, out_match, (uint32_t)router->entry_count};
    if (router->bucket_count > 1) {
        host_split(query->host, &search.view.host, &search.view.port);
        if (search.view.port == NO_PORT && router->flavor == ROUTER_TRADITIONAL)
            search.view.port = query->tls ? 443 : 80;
        else if (search.view.port == NO_PORT)
            search.view.port = query->port;
        search_hosts(&search);
    }
    search_bucket(&search, BUCKET_ANY_HOST);
    if (search.best == router->entry_count)
        return false;
    const struct entry *entry = &router->entries[search.best];
    out_match->route = entry->route;
    out_match->service = entry->route->service;
    if (entry->regexes == NULL) {
        out_match->matched_path = span_first(query->path, entry->path_size);
        out_match->capture_count = 0;
        out_match->names = NULL;
    }
    return true;
}
