#include "plugin_host/catalog.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/map.h"
#include "config/tables.h"

enum { MAX_PLUGINS = 1024, PATH_SIZE = 4096 };
enum { IDLE_SHARED_SIZE = 64 * 1024 * 1024 }; /* pages cost nothing until they are used */

struct entry {
    char *name;          /* without .so */
    struct span folder;  /* in the catalog's list; empty: `path` is the file */
    char *path;          /* of the file, NULL: FOLDER/NAME.so */
    char *bad;           /* hash of a build in quarantine, NULL: none */
    struct image *image; /* NULL: not asked for yet, or refused */
    bool tried, broken;
    struct image_refusal refusal;
    struct plugin_schema schema;
    struct credential_schema *credentials; /* image's credential_count of them */
};

struct catalog {
    char *folders; /* "/a:/b" */
    struct images *images;
    struct entry *entries; /* sorted by name */
    size_t count;
    struct map *by_name;     /* -> struct entry */
    struct map *collections; /* -> struct credential_schema of loaded plugins */
    bool all_tried;
    struct plugin_catalog view;
    catalog_call *call; /* NULL: plugins may be loaded on the spot */
    void *call_user;
};

static int compare_entries(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

static bool add_entry(struct catalog *catalog, struct span folder, struct span name)
{
    struct entry *entries = reallocarray(catalog->entries, catalog->count + 1, sizeof(*entries));
    if (entries == NULL)
        return false;
    catalog->entries = entries;
    char *copy = strndup(name.data, name.size);
    if (copy == NULL)
        return false;
    entries[catalog->count++] = (struct entry){.name = copy, .folder = folder};
    return true;
}

/* Those with a file of their own come before all folders. */
static bool add_sources(struct catalog *catalog, const struct plugin_sources *sources)
{
    for (size_t i = 0; i < sources->count; i++) {
        const struct plugin_source *source = &sources->items[i];
        if (source->path == NULL)
            continue;
        if (!add_entry(catalog, SPAN_NONE, span_text(source->name)))
            return false;
        struct entry *entry = &catalog->entries[catalog->count - 1];
        if ((entry->path = strdup(source->path)) == NULL)
            return false;
    }
    return true;
}

static bool mark_quarantined(struct catalog *catalog, const struct plugin_sources *sources)
{
    for (size_t i = 0; i < sources->count; i++) {
        struct entry *entry = map_find(catalog->by_name, span_text(sources->items[i].name));
        if (entry == NULL || sources->items[i].quarantined == NULL)
            continue;
        free(entry->bad);
        if ((entry->bad = strdup(sources->items[i].quarantined)) == NULL)
            return false;
    }
    return true;
}

/* Names of earlier folders win: entries before `known` are theirs, sorted or not. */
static bool is_known(const struct catalog *catalog, size_t known, struct span name)
{
    for (size_t i = 0; i < known; i++)
        if (span_equal(span_text(catalog->entries[i].name), name))
            return true;
    return false;
}

static bool list_folder(struct catalog *catalog, struct span path)
{
    char text[PATH_SIZE];
    (void)snprintf(text, sizeof(text), "%.*s", SPAN_ARG(path));
    DIR *folder = opendir(text);
    if (folder == NULL)
        return true;
    bool good = true;
    size_t known = catalog->count;
    const struct dirent *file;
    while (good && catalog->count < MAX_PLUGINS && (file = readdir(folder)) != NULL) {
        struct span name = span_text(file->d_name);
        if (name.size <= 3 || name.data[0] == '.' || !span_ends_with(name, SPAN(".so")))
            continue;
        name = span_first(name, name.size - 3);
        good = is_known(catalog, known, name) || add_entry(catalog, path, name);
    }
    (void)closedir(folder);
    return good;
}

static bool list_folders(struct catalog *catalog)
{
    struct span rest = span_text(catalog->folders), path;
    while (span_split(&rest, ':', &path))
        if (!span_is_empty(path) && !list_folder(catalog, path))
            return false;
    if (catalog->count > 1)
        qsort(catalog->entries, catalog->count, sizeof(struct entry), compare_entries);
    for (size_t i = 0; i < catalog->count; i++) /* from here on the entries stay where they are */
        if (map_add(catalog->by_name, span_text(catalog->entries[i].name), &catalog->entries[i]) !=
            WEIR_OK)
            return false;
    return true;
}

static bool is_quarantined(const struct entry *entry)
{
    return entry->bad != NULL && span_equal(image_hash(entry->image), span_text(entry->bad));
}

static bool describe(struct catalog *catalog, struct entry *entry)
{
    const weir_plugin *plugin = image_plugin(entry->image);
    entry->schema = (struct plugin_schema){
        .name = span_text(entry->name),
        .fields = plugin->fields,
        .field_count = plugin->field_count,
        .self_size = plugin->self_size,
        .no_consumer_scope = (plugin->flags & WEIR_PLUGIN_NO_CONSUMER_SCOPE) != 0,
    };
    if (plugin->credential_count == 0)
        return true;
    entry->credentials = calloc(plugin->credential_count, sizeof(*entry->credentials));
    if (entry->credentials == NULL)
        return false;
    for (uint32_t i = 0; i < plugin->credential_count; i++) {
        const weir_credential_kind *kind = catalog_credential_kind(plugin, i);
        size_t known = plugin->credential_stride;
        entry->credentials[i] = (struct credential_schema){
            .collection = span_text(kind->collection),
            .plugin = entry->schema.name,
            .fields = kind->fields,
            .field_count = kind->field_count,
            .data_size = kind->data_size,
            .unique_key = span_text(kind->unique_key),
            .random_key = (kind->flags & WEIR_RANDOM_KEY) != 0,
            .check = known < offsetof(weir_credential_kind, check) + sizeof(kind->check) ||
                             is_quarantined(entry)
                         ? NULL
                         : kind->check,
        };
        /* Two plugins with one collection: the first one asked for has it. */
        enum weir_err err =
            map_add(catalog->collections, entry->credentials[i].collection, &entry->credentials[i]);
        if (err != WEIR_OK && err != WEIR_ERR_EXISTS)
            return false;
    }
    return true;
}

static void load_here(struct catalog *catalog, struct entry *entry)
{
    char source[PATH_SIZE];
    int size = entry->path != NULL ? snprintf(source, sizeof(source), "%s", entry->path)
                                   : snprintf(source, sizeof(source), "%.*s/%s.so",
                                              SPAN_ARG(entry->folder), entry->name);
    if (size < 0 || (size_t)size >= sizeof(source)) {
        (void)snprintf(entry->refusal.text, sizeof(entry->refusal.text),
                       "plugin '%.63s': its path is too long", entry->name);
        return;
    }
    if (images_acquire(catalog->images, entry->name, source, &entry->image, &entry->refusal) ==
            WEIR_OK &&
        !describe(catalog, entry)) {
        /* Kinds that were told already go on to be known, so the image stays. */
        (void)snprintf(entry->refusal.text, sizeof(entry->refusal.text),
                       "plugin '%.63s': no memory", entry->name);
        entry->broken = true;
    }
}

struct load {
    struct catalog *catalog;
    struct entry *entry;
};

static void load_there(void *arg)
{
    const struct load *load = arg;
    load_here(load->catalog, load->entry);
}

static void load_entry(struct catalog *catalog, struct entry *entry)
{
    struct load load = {catalog, entry};
    if (entry->tried)
        return;
    entry->tried = true;
    if (catalog->call == NULL)
        load_here(catalog, entry);
    else if (!catalog->call(catalog->call_user, load_there, &load))
        (void)snprintf(entry->refusal.text, sizeof(entry->refusal.text),
                       "plugin '%.63s': not loaded any more", entry->name);
}

static struct entry *find_loaded(struct catalog *catalog, struct span name)
{
    struct entry *entry = map_find(catalog->by_name, name);
    if (entry != NULL)
        load_entry(catalog, entry);
    return entry;
}

static bool is_usable(const struct entry *entry)
{
    return entry != NULL && entry->image != NULL && !entry->broken;
}

/* config/build.h: a sentence that begins with "plugin '" is about one that is there. */
static const struct plugin_schema *find_schema(void *user, struct span name, char *why,
                                               size_t why_size)
{
    struct catalog *catalog = user;
    const struct entry *entry = find_loaded(catalog, name);
    if (is_usable(entry))
        return &entry->schema;
    if (entry == NULL)
        (void)snprintf(why, why_size, "%s", catalog->folders);
    else
        (void)snprintf(why, why_size, "%s (the file is there, but refused)", entry->refusal.text);
    return NULL;
}

/* Its usual owner is asked first, then everybody, once. */
static const struct credential_schema *find_credential(void *user, struct span collection)
{
    struct catalog *catalog = user;
    const struct credential_schema *known = map_find(catalog->collections, collection);
    if (known != NULL || catalog->all_tried)
        return known;
    const char *owner = plugin_of_collection(collection);
    if (owner != NULL)
        (void)find_loaded(catalog, span_text(owner));
    known = map_find(catalog->collections, collection);
    for (size_t i = 0; i < catalog->count && known == NULL; i++) {
        load_entry(catalog, &catalog->entries[i]);
        known = map_find(catalog->collections, collection);
    }
    catalog->all_tried = known == NULL;
    return known;
}

static const char *nth_name(void *user, size_t index)
{
    return catalog_name(user, index);
}

struct catalog *catalog_create(const char *path_list, struct images *images)
{
    return catalog_create_from(path_list, &(struct plugin_sources){NULL, 0}, images);
}

struct catalog *catalog_create_from(const char *path_list, const struct plugin_sources *sources,
                                    struct images *images)
{
    AUTO(catalog_destroy) struct catalog *catalog = calloc(1, sizeof(*catalog));
    if (catalog == NULL)
        return NULL;
    catalog->images = images;
    catalog->folders = strdup(path_list);
    catalog->by_name = map_create(64);
    catalog->collections = map_create(16);
    catalog->view = (struct plugin_catalog){
        .user = catalog,
        .find = find_schema,
        .find_credential = find_credential,
        .nth_name = nth_name,
    };
    if (catalog->folders == NULL || catalog->by_name == NULL || catalog->collections == NULL)
        return NULL;
    return add_sources(catalog, sources) && list_folders(catalog) &&
                   mark_quarantined(catalog, sources)
               ? TAKE(catalog)
               : NULL;
}

void catalog_destroy(struct catalog *catalog)
{
    if (catalog == NULL)
        return;
    for (size_t i = 0; i < catalog->count; i++) {
        images_release(catalog->images, catalog->entries[i].image);
        free(catalog->entries[i].credentials);
        free(catalog->entries[i].name);
        free(catalog->entries[i].path);
        free(catalog->entries[i].bad);
    }
    map_destroy(catalog->by_name);
    map_destroy(catalog->collections);
    free(catalog->entries);
    free(catalog->folders);
    free(catalog);
}

void catalog_load_through(struct catalog *catalog, catalog_call *call, void *user)
{
    catalog->call = call;
    catalog->call_user = user;
}

const struct plugin_catalog *catalog_view(const struct catalog *catalog)
{
    return &catalog->view;
}

const char *catalog_name(const struct catalog *catalog, size_t index)
{
    return index < catalog->count ? catalog->entries[index].name : NULL;
}

struct image *catalog_find_image(struct catalog *catalog, struct span name,
                                 struct image_refusal *out_refusal)
{
    const struct entry *entry = find_loaded(catalog, name);
    if (is_usable(entry))
        return entry->image;
    if (entry == NULL)
        (void)snprintf(out_refusal->text, sizeof(out_refusal->text), "no plugin '%.*s' in %s",
                       SPAN_ARG(span_first(name, 64)), catalog->folders);
    else
        *out_refusal = entry->refusal;
    return NULL;
}

bool catalog_is_quarantined(const struct catalog *catalog, struct span name)
{
    const struct entry *entry = map_find(catalog->by_name, name);
    return is_usable(entry) && is_quarantined(entry);
}

const struct image *catalog_image(struct catalog *catalog, struct span name,
                                  struct image_refusal *out_refusal)
{
    return catalog_find_image(catalog, name, out_refusal);
}

bool idle_plugins_open(struct idle_plugins *out, const char *path_list, const char *copies)
{
    *out = (struct idle_plugins){.shared = shared_create(IDLE_SHARED_SIZE, 1)};
    if (out->shared != NULL)
        out->host = plugin_host_create(NULL, out->shared, 0);
    if (out->host != NULL)
        out->images = images_create(out->host, copies);
    if (out->images != NULL)
        out->catalog = catalog_create(path_list, out->images);
    return out->catalog != NULL;
}

void idle_plugins_close(struct idle_plugins *plugins)
{
    catalog_destroy(plugins->catalog);
    images_destroy(plugins->images);
    plugin_host_destroy(plugins->host);
    shared_destroy(plugins->shared);
}
