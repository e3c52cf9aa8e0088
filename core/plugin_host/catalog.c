#include "plugin_host/catalog.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_PLUGINS = 1024 };

struct entry {
    char *name;          /* without .so */
    struct image *image; /* NULL: not asked for yet, or refused */
    bool tried;
    struct image_refusal refusal;
    struct plugin_schema schema;
    struct credential_schema *credentials; /* image's credential_count of them */
};

struct catalog {
    const char *folder, *copies;
    const weir_host *host;
    struct entry *entries; /* sorted by name */
    size_t count;
    struct plugin_catalog view;
};

static int compare_entries(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

static bool add_entry(struct catalog *catalog, struct span name)
{
    struct entry *entries = reallocarray(catalog->entries, catalog->count + 1, sizeof(*entries));
    if (entries == NULL)
        return false;
    catalog->entries = entries;
    char *copy = strndup(name.data, name.size);
    if (copy == NULL)
        return false;
    entries[catalog->count++] = (struct entry){.name = copy};
    return true;
}

static bool list_folder(struct catalog *catalog)
{
    DIR *folder = opendir(catalog->folder);
    if (folder == NULL)
        return true;
    bool good = true;
    const struct dirent *file;
    while (good && catalog->count < MAX_PLUGINS && (file = readdir(folder)) != NULL) {
        struct span name = span_text(file->d_name);
        if (name.size > 3 && name.data[0] != '.' && span_ends_with(name, SPAN(".so")))
            good = add_entry(catalog, span_first(name, name.size - 3));
    }
    (void)closedir(folder);
    if (catalog->count > 1)
        qsort(catalog->entries, catalog->count, sizeof(struct entry), compare_entries);
    return good;
}

static bool describe(struct entry *entry)
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
        const weir_credential_kind *kind = &plugin->credentials[i];
        entry->credentials[i] = (struct credential_schema){
            .collection = span_text(kind->collection),
            .plugin = entry->schema.name,
            .fields = kind->fields,
            .field_count = kind->field_count,
            .data_size = kind->data_size,
            .unique_key = span_text(kind->unique_key),
            .random_key = (kind->flags & WEIR_RANDOM_KEY) != 0,
        };
    }
    return true;
}

static void load_entry(struct catalog *catalog, struct entry *entry)
{
    char source[4096];
    entry->tried = true;
    (void)snprintf(source, sizeof(source), "%s/%s.so", catalog->folder, entry->name);
    if (image_load(entry->name, source, catalog->copies, catalog->host, &entry->image,
                   &entry->refusal) == WEIR_OK &&
        !describe(entry)) {
        image_close(TAKE(entry->image));
        (void)snprintf(entry->refusal.text, sizeof(entry->refusal.text), "no memory");
    }
}

static struct entry *find_loaded(struct catalog *catalog, struct span name)
{
    for (size_t i = 0; i < catalog->count; i++) {
        struct entry *entry = &catalog->entries[i];
        if (!span_equal(name, span_text(entry->name)))
            continue;
        if (!entry->tried)
            load_entry(catalog, entry);
        return entry;
    }
    return NULL;
}

static const struct plugin_schema *find_schema(void *user, struct span name, char *why,
                                               size_t why_size)
{
    struct catalog *catalog = user;
    const struct entry *entry = find_loaded(catalog, name);
    if (entry != NULL && entry->image != NULL)
        return &entry->schema;
    (void)snprintf(why, why_size, "%s", entry == NULL ? catalog->folder : entry->refusal.text);
    return NULL;
}

static const struct credential_schema *find_credential(void *user, struct span collection)
{
    struct catalog *catalog = user;
    for (size_t i = 0; i < catalog->count; i++) {
        struct entry *entry = &catalog->entries[i];
        if (!entry->tried)
            load_entry(catalog, entry);
        uint32_t count = entry->image == NULL ? 0 : image_plugin(entry->image)->credential_count;
        for (uint32_t kind = 0; kind < count; kind++)
            if (span_equal(entry->credentials[kind].collection, collection))
                return &entry->credentials[kind];
    }
    return NULL;
}

static const char *nth_name(void *user, size_t index)
{
    return catalog_name(user, index);
}

struct catalog *catalog_create(const char *folder, const char *copies, const weir_host *host)
{
    AUTO(catalog_destroy) struct catalog *catalog = calloc(1, sizeof(*catalog));
    if (catalog == NULL)
        return NULL;
    catalog->folder = folder;
    catalog->copies = copies;
    catalog->host = host;
    catalog->view = (struct plugin_catalog){
        .user = catalog,
        .find = find_schema,
        .find_credential = find_credential,
        .nth_name = nth_name,
    };
    return list_folder(catalog) ? TAKE(catalog) : NULL;
}

void catalog_destroy(struct catalog *catalog)
{
    if (catalog == NULL)
        return;
    for (size_t i = 0; i < catalog->count; i++) {
        image_close(catalog->entries[i].image);
        free(catalog->entries[i].credentials);
        free(catalog->entries[i].name);
    }
    free(catalog->entries);
    free(catalog);
}

const struct plugin_catalog *catalog_view(const struct catalog *catalog)
{
    return &catalog->view;
}

const char *catalog_name(const struct catalog *catalog, size_t index)
{
    return index < catalog->count ? catalog->entries[index].name : NULL;
}

const struct image *catalog_image(struct catalog *catalog, struct span name,
                                  struct image_refusal *out_refusal)
{
    const struct entry *entry = find_loaded(catalog, name);
    if (entry == NULL)
        (void)snprintf(out_refusal->text, sizeof(out_refusal->text), "no plugin '%.*s' in %s",
                       SPAN_ARG(name), catalog->folder);
    else if (entry->image == NULL)
        *out_refusal = entry->refusal;
    return entry == NULL ? NULL : entry->image;
}
