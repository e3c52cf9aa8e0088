#include "plugin_host/images.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/map.h"
#include "plugin_host/builds.h"
#include "plugin_host/elf_lint.h"
#include "plugin_host/host_internal.h"

/* Images that stay mapped cost memory and TLS room for as long as the process lives. */
enum { PINNED_MAX = 64, KEY_MAX = 64 + 1 + IMAGE_HASH_TEXT };

struct counted {
    struct image *image;
    weir_host *table; /* ours, lives as long as the image */
    struct plugin_host *host;
    struct build_totals own; /* counted here when shared memory has no room */
    uint32_t slot;
    bool has_slot;
    bool stuck; /* the file does not say so, but the linker does not let it go */
    size_t uses;
    size_t key_size;
    char key[KEY_MAX]; /* name, "/", hash */
};

struct images {
    struct plugin_host *host;
    const char *copies;
    struct map *by_key;   /* -> struct counted */
    struct map *by_image; /* the bytes of its pointer -> struct counted */
    size_t pinned;
};

struct images *images_create(struct plugin_host *host, const char *copies)
{
    AUTO(images_destroy) struct images *images = calloc(1, sizeof(*images));
    if (images == NULL)
        return NULL;
    images->host = host;
    images->copies = copies;
    images->by_key = map_create(16);
    images->by_image = map_create(16);
    return images->by_key == NULL || images->by_image == NULL ? NULL : TAKE(images);
}

static struct span key_of(const struct counted *counted)
{
    return span_of(counted->key, counted->key_size);
}

/* The key is the pointer that lies in the record itself. */
static struct span address_of(struct image *const *image)
{
    return span_of((const char *)image, sizeof(*image));
}

/* ---- its slot in the table of builds */

static void attach(struct counted *counted)
{
    const weir_plugin *plugin = image_plugin(counted->image);
    struct shared *shared = counted->host->shared;
    struct build_name name = {0};
    (void)snprintf(name.plugin, sizeof(name.plugin), "%s", plugin->name);
    (void)snprintf(name.version, sizeof(name.version), "%s",
                   plugin->version == NULL ? "?" : plugin->version);
    memcpy(name.hash, image_hash(counted->image).data, IMAGE_HASH_TEXT);
    struct build_totals *row =
        shared == NULL ? NULL : builds_take(shared, counted->host->worker, &name, &counted->slot);
    counted->has_slot = row != NULL;
    if (row == NULL)
        row = &counted->own;
    row->loaded = 1;
    row->pinned = image_is_pinned(counted->image);
    image_set_row(counted->image, row);
}

static void detach(struct counted *counted)
{
    if (counted->has_slot)
        builds_give(counted->host->shared, counted->host->worker, counted->slot);
}

/* ---- */

static void close_counted(struct counted *counted)
{
    detach(counted);
    image_close(counted->image);
    plugin_table_destroy(counted->table); /* the image's code might have used it until here */
    free(counted);
}

static void close_counted_at(struct counted **slot)
{
    if (*slot != NULL)
        close_counted(*slot);
}

void images_destroy(struct images *images)
{
    if (images == NULL)
        return;
    size_t cursor = 0;
    struct span key;
    void *value;
    while (images->by_key != NULL && map_next(images->by_key, &cursor, &key, &value)) {
        struct counted *counted = value;
        CHECK_THAT(counted->uses == 0);
        close_counted(counted);
    }
    map_destroy(images->by_key);
    map_destroy(images->by_image);
    free(images);
}

static enum weir_err remember(struct images *images, struct counted *counted)
{
    TRY(map_add(images->by_key, key_of(counted), counted));
    enum weir_err err = map_add(images->by_image, address_of(&counted->image), counted);
    if (err != WEIR_OK)
        (void)map_remove(images->by_key, key_of(counted));
    return err;
}

/* An earlier build of the plugin cannot be unloaded: the next one will be no better. */
static bool has_stuck(const struct images *images, const char *name)
{
    size_t cursor = 0, size = strlen(name);
    struct span key;
    void *value;
    while (map_next(images->by_key, &cursor, &key, &value)) {
        const struct counted *counted = value;
        if (counted->stuck && key.size > size && key.data[size] == '/' &&
            memcmp(key.data, name, size) == 0)
            return true;
    }
    return false;
}

static enum weir_err load_new(struct images *images, const char *name, const char *source,
                              struct span bytes, struct counted *counted,
                              struct image_refusal *out_refusal)
{
    struct elf_facts facts;
    char why[256];
    if (images->pinned >= PINNED_MAX && elf_lint(bytes, &facts, why, sizeof(why)) == WEIR_OK &&
        (elf_is_pinned(&facts) || has_stuck(images, name))) {
        (void)snprintf(
            out_refusal->text, sizeof(out_refusal->text),
            "plugin '%.63s': %s cannot be unloaded and %d such images are loaded already", name,
            source, (int)PINNED_MAX);
        return WEIR_ERR_LIMIT;
    }
    counted->host = images->host;
    counted->table = plugin_table_create(images->host, span_text(name));
    if (counted->table == NULL) {
        (void)snprintf(out_refusal->text, sizeof(out_refusal->text), "plugin '%.63s': no memory",
                       name);
        return WEIR_ERR_NO_MEMORY;
    }
    images->host->loading = counted->key;
    enum weir_err err = image_load_bytes(name, source, bytes, images->copies, counted->table,
                                         &counted->image, out_refusal);
    images->host->loading = NULL;
    TRY(err);
    attach(counted);
    const weir_plugin *plugin = image_plugin(counted->image);
    plugin_table_grant(counted->table, plugin->capabilities);
    if (images->host->image_loaded != NULL)
        images->host->image_loaded(images->host->image_user, (weir_plugin *)(uintptr_t)plugin,
                                   counted->table);
    return WEIR_OK;
}

enum weir_err images_acquire(struct images *images, const char *name, const char *source,
                             struct image **out_image, struct image_refusal *out_refusal)
{
    AUTO_BUF file = BUF_INIT;
    TRY(image_read(name, source, &file, out_refusal));
    AUTO(close_counted) struct counted *made = calloc(1, sizeof(*made));
    if (made == NULL || strlen(name) > KEY_MAX - IMAGE_HASH_TEXT - 1) {
        (void)snprintf(out_refusal->text, sizeof(out_refusal->text), "plugin '%.63s': %s", name,
                       made == NULL ? "no memory" : "the name is too long");
        return made == NULL ? WEIR_ERR_NO_MEMORY : WEIR_ERR_INVALID;
    }
    char hash[IMAGE_HASH_TEXT];
    image_hash_bytes(buf_view(&file), hash);
    size_t name_size = strlen(name);
    memcpy(made->key, name, name_size);
    made->key[name_size] = '/';
    memcpy(made->key + name_size + 1, hash, sizeof(hash));
    made->key_size = name_size + 1 + sizeof(hash);
    struct counted *counted = map_find(images->by_key, key_of(made));
    if (counted == NULL) {
        TRY(load_new(images, name, source, buf_view(&file), made, out_refusal));
        if (remember(images, made) != WEIR_OK) {
            (void)snprintf(out_refusal->text, sizeof(out_refusal->text),
                           "plugin '%.63s': no memory", name);
            return WEIR_ERR_NO_MEMORY;
        }
        counted = TAKE(made);
        images->pinned += image_is_pinned(counted->image);
    }
    counted->uses++;
    *out_image = counted->image;
    return WEIR_OK;
}

void images_release(struct images *images, struct image *image)
{
    if (image == NULL)
        return;
    struct counted *counted = map_find(images->by_image, address_of(&image));
    CHECK_THAT(counted != NULL && counted->uses > 0);
    counted->uses--;
    /* What stays mapped keeps its table, and is used again when the same build comes back. */
    if (counted->uses > 0 || image_is_pinned(image))
        return;
    if (!image_unload(image)) {
        counted->stuck = true;
        images->pinned++;
        image_row(image)->pinned = 1;
        log_warn("plugin %.*s: the linker does not unload it, %zu such images stay mapped",
                 SPAN_ARG(key_of(counted)), images->pinned);
        return;
    }
    (void)map_remove(images->by_key, key_of(counted));
    (void)map_remove(images->by_image, address_of(&counted->image));
    close_counted(counted);
}

size_t images_count(const struct images *images)
{
    return map_count(images->by_key);
}

size_t images_pinned(const struct images *images)
{
    return images->pinned;
}
