#include "process/build_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/map.h"

enum { QUARANTINE_BYTES_MAX = 64 * 1024, FILE_NAME_MAX = 256, PATH_ROOM = PREFIX_PATH_MAX + 300 };
#define QUARANTINE_FILE "quarantine"

static void close_folder_at(DIR **folder)
{
    if (*folder != NULL)
        (void)closedir(*folder);
}
#define AUTO_DIR __attribute__((cleanup(close_folder_at))) DIR

/* NAME and hash of "NAME.<hash>.so". */
static bool split_image(const char *file, struct span *out_plugin, struct span *out_hash)
{
    struct span text = span_text(file);
    size_t tail = 1 + IMAGE_HASH_TEXT + 3;
    if (text.size <= tail || !span_ends_with(text, SPAN(".so")))
        return false;
    *out_plugin = span_first(text, text.size - tail);
    *out_hash = span_of(text.data + text.size - tail + 1, IMAGE_HASH_TEXT);
    return text.data[text.size - tail] == '.';
}

const char *image_file(const struct prefix *prefix, struct arena *arena, const char *plugin,
                       const struct build_hash *build)
{
    char path[PATH_ROOM];
    (void)snprintf(path, sizeof(path), "%s/%s.%s.so", prefix->images, plugin, build->text);
    return arena_copy(arena, span_text(path)).data;
}

/* ---- the builds of a configuration */

static enum weir_err list_one(int folder, const char *file, struct arena *arena,
                              struct plugin_source *out)
{
    char target[PATH_ROOM];
    struct span name = span_text(file);
    ssize_t size = readlinkat(folder, file, target, sizeof(target) - 1);
    if (size <= 0 || (size_t)size == sizeof(target) - 1 || !span_ends_with(name, SPAN(".so")))
        return WEIR_ERR_NOT_FOUND; /* none of ours */
    *out = (struct plugin_source){
        .name = arena_copy(arena, span_first(name, name.size - 3)).data,
        .path = arena_copy(arena, span_of(target, (size_t)size)).data,
    };
    return out->name == NULL || out->path == NULL ? WEIR_ERR_NO_MEMORY : WEIR_OK;
}

static size_t count_entries(DIR *folder)
{
    size_t count = 0;
    while (readdir(folder) != NULL)
        count++;
    rewinddir(folder);
    return count;
}

enum weir_err build_files_list(const struct prefix *prefix, uint64_t number, size_t more,
                               struct arena *arena, struct plugin_source **out_items,
                               size_t *out_count)
{
    AUTO_DIR *folder = opendir(prefix_build(prefix, number));
    size_t room = more + (folder == NULL ? 0 : count_entries(folder));
    struct plugin_source *items = arena_array(arena, struct plugin_source, room + 1);
    if (items == NULL)
        return WEIR_ERR_NO_MEMORY;
    const struct dirent *entry;
    size_t count = 0;
    while (folder != NULL && count < room && (entry = readdir(folder)) != NULL) {
        enum weir_err err = list_one(dirfd(folder), entry->d_name, arena, &items[count]);
        if (err == WEIR_ERR_NO_MEMORY)
            return err;
        count += err == WEIR_OK;
    }
    *out_items = items;
    *out_count = count;
    return WEIR_OK;
}

void build_files_offer(const struct prefix *prefix, uint64_t number, const char *plugin,
                       const char *path)
{
    char offer[PATH_ROOM];
    struct span name, hash, images = span_text(prefix->images);
    struct span rest = span_text(path);
    if (path == NULL || !span_starts_with(rest, images) ||
        !split_image(path + images.size + 1, &name, &hash) || !span_equal(name, span_text(plugin)))
        return;
    (void)snprintf(offer, sizeof(offer), "%s/%s", prefix_build(prefix, number),
                   path + images.size + 1);
    if (link(path, offer) != 0)
        return; /* the trial makes a copy */
}

/* ---- quarantine */

static const char *quarantine_path(const char *folder, char out[PATH_ROOM])
{
    (void)snprintf(out, PATH_ROOM, "%s/" QUARANTINE_FILE, folder);
    return out;
}

bool quarantine_write(const struct prefix *prefix, uint64_t number,
                      const struct plugin_sources *sources)
{
    char path[PATH_ROOM];
    AUTO_BUF text = BUF_INIT;
    for (size_t i = 0; i < sources->count; i++)
        if (sources->items[i].quarantined != NULL)
            buf_printf(&text, "%s %s\n", sources->items[i].name, sources->items[i].quarantined);
    if (text.size == 0)
        return !text.failed;
    FILE *file = fopen(quarantine_path(prefix_build(prefix, number), path), "we");
    if (file == NULL)
        return false;
    bool good = !text.failed && fwrite(text.data, 1, text.size, file) == text.size;
    return (fclose(file) == 0) && good;
}

enum weir_err quarantine_read(const char *folder, struct arena *arena,
                              struct plugin_sources *out_sources)
{
    char path[PATH_ROOM];
    AUTO_BUF text = BUF_INIT;
    *out_sources = (struct plugin_sources){NULL, 0};
    enum weir_err err = buf_read_file(&text, quarantine_path(folder, path), QUARANTINE_BYTES_MAX);
    if (err == WEIR_ERR_SYSTEM && errno == ENOENT)
        return WEIR_OK;
    TRY(err);
    struct plugin_source *items = arena_array(arena, struct plugin_source, LEDGER_MAX);
    if (items == NULL)
        return WEIR_ERR_NO_MEMORY;
    struct span rest = buf_view(&text), line, name;
    size_t count = 0;
    while (count < LEDGER_MAX && span_split(&rest, '\n', &line)) {
        if (!span_split(&line, ' ', &name) || line.size != IMAGE_HASH_TEXT)
            continue;
        items[count] = (struct plugin_source){.name = arena_copy(arena, name).data,
                                              .quarantined = arena_copy(arena, line).data};
        if (items[count].name == NULL || items[count].quarantined == NULL)
            return WEIR_ERR_NO_MEMORY;
        count++;
    }
    *out_sources = (struct plugin_sources){items, count};
    return WEIR_OK;
}

/* ---- what nobody needs any more */

static bool note_links(const struct prefix *prefix, const char *number, struct map *used,
                       struct arena *arena)
{
    struct plugin_source *items;
    size_t count;
    if (number[0] < '0' || number[0] > '9')
        return true;
    if (build_files_list(prefix, strtoull(number, NULL, 10), 0, arena, &items, &count) != WEIR_OK)
        return false;
    for (size_t i = 0; i < count; i++) {
        const char *base = strrchr(items[i].path, '/');
        struct span key = span_text(base == NULL ? items[i].path : base + 1);
        enum weir_err err = map_add(used, key, used);
        if (err != WEIR_OK && err != WEIR_ERR_EXISTS)
            return false;
    }
    return true;
}

void images_sweep(const struct prefix *prefix,
                  bool (*keep)(void *user, struct span plugin, struct span hash), void *user)
{
    AUTO(arena_destroy) struct arena *arena = arena_create(NULL);
    AUTO(map_destroy) struct map *used = map_create(64);
    AUTO_DIR *builds = opendir(prefix->builds);
    AUTO_DIR *images = opendir(prefix->images);
    const struct dirent *entry;
    bool known = arena != NULL && used != NULL && builds != NULL && images != NULL;
    while (known && (entry = readdir(builds)) != NULL)
        known = note_links(prefix, entry->d_name, used, arena);
    while (known && (entry = readdir(images)) != NULL) {
        struct span plugin, hash;
        if (split_image(entry->d_name, &plugin, &hash) &&
            map_find(used, span_text(entry->d_name)) == NULL && !keep(user, plugin, hash))
            (void)unlinkat(dirfd(images), entry->d_name, 0);
    }
}
