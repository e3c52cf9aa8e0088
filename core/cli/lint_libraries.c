#include "cli/lint_libraries.h"

#include <elf.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/map.h"

enum {
    LIBRARIES_MAX = 128,
    PATH_SIZE = 4096,
    CACHE_HEADER = 48,
    CACHE_ENTRY = 24,
};
static const size_t library_limit = (size_t)256 << 20;
static const size_t cache_limit = (size_t)16 << 20;

struct library {
    struct span name;
    struct buf bytes;
    struct elf_details details;
    bool found;
};

struct libraries {
    struct arena *arena;
    struct map *symbols; /* -> struct library */
    struct buf cache;    /* /etc/ld.so.cache */
    struct span search_path, origin;
    struct library items[LIBRARIES_MAX];
    size_t count;
};

static bool load(struct libraries *libraries, struct library *library, const char *path)
{
    buf_free(&library->bytes);
    library->bytes = BUF_INIT;
    library->found =
        buf_read_file(&library->bytes, path, library_limit) == WEIR_OK &&
        elf_read_details(buf_view(&library->bytes), libraries->arena, &library->details) == WEIR_OK;
    return library->found;
}

static bool load_from(struct libraries *libraries, struct library *library, struct span folder)
{
    static const struct span marks[] = {{"$ORIGIN", 7}, {"${ORIGIN}", 9}};
    char path[PATH_SIZE];
    for (size_t i = 0; i < COUNT_OF(marks); i++)
        if (span_starts_with(folder, marks[i])) {
            (void)snprintf(path, sizeof(path), "%.*s%.*s/%.*s", SPAN_ARG(libraries->origin),
                           SPAN_ARG(span_from(folder, marks[i].size)), SPAN_ARG(library->name));
            return load(libraries, library, path);
        }
    (void)snprintf(path, sizeof(path), "%.*s/%.*s", SPAN_ARG(folder), SPAN_ARG(library->name));
    return load(libraries, library, path);
}

static bool load_from_list(struct libraries *libraries, struct library *library, struct span list)
{
    struct span folder;
    while (span_split(&list, ':', &folder))
        if (!span_is_empty(folder) && load_from(libraries, library, folder))
            return true;
    return false;
}

static uint32_t number_at(struct span bytes, size_t offset)
{
    uint32_t number = 0;
    if (offset <= bytes.size && bytes.size - offset >= sizeof(number))
        memcpy(&number, bytes.data + offset, sizeof(number));
    return number;
}

static struct span text_at(struct span bytes, uint32_t offset)
{
    struct span rest = offset < bytes.size ? span_from(bytes, offset) : SPAN_NONE;
    size_t end = span_find(rest, '\0');
    return end < rest.size ? span_first(rest, end) : SPAN_NONE;
}

/* ldconfig's cache: a header, rows of {flags, name, path, …}, texts. */
static bool load_from_cache(struct libraries *libraries, struct library *library)
{
    struct span cache = buf_view(&libraries->cache);
    if (!span_starts_with(cache, SPAN("glibc-ld.so.cache1.1")))
        return false;
    uint32_t count = number_at(cache, 20);
    for (size_t i = 0; i < count && CACHE_HEADER + (i + 1) * CACHE_ENTRY <= cache.size; i++) {
        size_t row = CACHE_HEADER + i * CACHE_ENTRY;
        struct span path = text_at(cache, number_at(cache, row + 8)); /* terminated */
        if (span_equal(text_at(cache, number_at(cache, row + 4)), library->name) &&
            !span_is_empty(path) && load(libraries, library, path.data))
            return true;
    }
    return false;
}

static bool find(struct libraries *libraries, struct library *library)
{
    const char *others = getenv("LD_LIBRARY_PATH");
    char path[PATH_SIZE];
    if (span_find(library->name, '/') < library->name.size) {
        (void)snprintf(path, sizeof(path), "%.*s", SPAN_ARG(library->name));
        return load(libraries, library, path);
    }
    return load_from_list(libraries, library, libraries->search_path) ||
           load_from_list(libraries, library, span_text(others == NULL ? "" : others)) ||
           load_from_cache(libraries, library) ||
           load_from_list(libraries, library, SPAN("/lib:/usr/lib:/lib64:/usr/lib64"));
}

static bool is_known(const struct libraries *libraries, struct span name)
{
    for (size_t i = 0; i < libraries->count; i++)
        if (span_equal(libraries->items[i].name, name))
            return true;
    return false;
}

static void add_needed(struct libraries *libraries, const struct elf_details *of)
{
    for (size_t i = 0; i < of->needed.count && libraries->count < LIBRARIES_MAX; i++)
        if (!is_known(libraries, of->needed.items[i]))
            libraries->items[libraries->count++].name = of->needed.items[i];
}

static bool add_symbols(struct libraries *libraries, struct library *library)
{
    const struct elf_names *exports = &library->details.exports;
    for (size_t i = 0; i < exports->count; i++)
        if (map_find(libraries->symbols, exports->items[i]) == NULL &&
            map_add(libraries->symbols, exports->items[i], library) != WEIR_OK)
            return false;
    return true;
}

struct libraries *libraries_open(const struct elf_details *plugin, const char *path)
{
    AUTO(libraries_close) struct libraries *libraries = calloc(1, sizeof(*libraries));
    if (libraries == NULL || (libraries->arena = arena_create(NULL)) == NULL ||
        (libraries->symbols = map_create(8192)) == NULL)
        return NULL;
    const char *slash = strrchr(path, '/');
    libraries->origin = slash == NULL ? SPAN(".") : span_of(path, (size_t)(slash - path));
    libraries->search_path = plugin->search_path;
    if (buf_read_file(&libraries->cache, "/etc/ld.so.cache", cache_limit) != WEIR_OK)
        buf_free(&libraries->cache);
    add_needed(libraries, plugin);
    for (size_t i = 0; i < libraries->count; i++) { /* grows on the way */
        struct library *library = &libraries->items[i];
        if (!find(libraries, library))
            continue;
        if (!add_symbols(libraries, library))
            return NULL;
        add_needed(libraries, &library->details);
    }
    return TAKE(libraries);
}

void libraries_close(struct libraries *libraries)
{
    if (libraries == NULL)
        return;
    for (size_t i = 0; i < libraries->count; i++)
        buf_free(&libraries->items[i].bytes);
    buf_free(&libraries->cache);
    map_destroy(libraries->symbols);
    arena_destroy(libraries->arena);
    free(libraries);
}

struct span libraries_missing(const struct libraries *libraries, size_t nth)
{
    for (size_t i = 0; i < libraries->count; i++)
        if (!libraries->items[i].found && nth-- == 0)
            return libraries->items[i].name;
    return SPAN_NONE;
}

struct span libraries_find(const struct libraries *libraries, struct span symbol)
{
    const struct library *library = map_find(libraries->symbols, symbol);
    return library == NULL ? SPAN_NONE : library->name;
}

bool libraries_offer(const struct libraries *libraries, const struct elf_version *version)
{
    for (size_t i = 0; i < libraries->count; i++) {
        const struct library *library = &libraries->items[i];
        if (!span_equal(library->name, version->file) || !library->found)
            continue;
        for (size_t at = 0; at < library->details.version_count; at++)
            if (span_is_empty(library->details.versions[at].file) &&
                span_equal(library->details.versions[at].version, version->version))
                return true;
        return false;
    }
    return true;
}
