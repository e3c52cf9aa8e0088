#include "process/candidate.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "process/build_files.h"

/* ---- where builds come from */

struct making {
    struct master *master;
    const struct order *order;
    uint64_t number;
    struct arena *arena;
    struct plugin_source *items; /* room for LEDGER_MAX + 1 more than there are */
    size_t count;
    struct buf *text;
};

static struct plugin_source *source_of(struct making *making, const char *plugin)
{
    for (size_t i = 0; i < making->count; i++)
        if (strcmp(making->items[i].name, plugin) == 0)
            return &making->items[i];
    making->items[making->count] = (struct plugin_source){.name = plugin};
    return &making->items[making->count++];
}

static bool take_image(struct making *making, const char *plugin, const struct build_hash *build)
{
    struct plugin_source *source = source_of(making, plugin);
    source->path = image_file(&making->master->instance->prefix, making->arena, plugin, build);
    if (source->path == NULL)
        buf_text(making->text, "no memory\n");
    return source->path != NULL;
}

static const char *plugin_folders(const struct instance *instance)
{
    struct span path = instance->settings.plugin_path;
    return path.size > 0 ? path.data : instance->options->plugin_path;
}

bool candidate_find_file(const struct instance *instance, const char *plugin, char *out_path,
                         size_t size)
{
    struct span rest = span_text(plugin_folders(instance)), folder;
    while (span_split(&rest, ':', &folder)) {
        int length = snprintf(out_path, size, "%.*s/%s.so", SPAN_ARG(folder), plugin);
        if (length > 0 && (size_t)length < size && access(out_path, F_OK) == 0)
            return true;
    }
    return false;
}

static bool take_folder_file(struct making *making)
{
    char path[ORDER_PATH_MAX];
    const struct instance *instance = making->master->instance;
    if (!candidate_find_file(instance, making->order->plugin, path, sizeof(path))) {
        buf_printf(making->text, "no plugin '%s' in %s\n", making->order->plugin,
                   plugin_folders(instance));
        return false;
    }
    source_of(making, making->order->plugin)->path =
        arena_copy(making->arena, span_text(path)).data;
    return true;
}

static bool take_file(struct making *making)
{
    if (making->order->file[0] == '\0')
        return take_folder_file(making);
    source_of(making, making->order->plugin)->path = making->order->file;
    return true;
}

/* Everything as plugin_path holds it but what a swap has chosen. */
static bool as_reload(struct making *making)
{
    const struct ledger *ledger = &making->master->ledger;
    for (size_t i = 0; i < ledger->count; i++)
        if (hash_is_set(&ledger->records[i].pinned) &&
            !take_image(making, ledger->records[i].name, &ledger->records[i].pinned))
            return false;
    return true;
}

static bool as_swap(struct making *making)
{
    if (ledger_find(&making->master->ledger, making->order->plugin, true) == NULL) {
        buf_text(making->text, "too many plugins were swapped\n");
        return false;
    }
    return take_file(making);
}

static bool as_rollback(struct making *making)
{
    return take_image(making, making->order->plugin, &making->order->build);
}

static bool as_quarantine(struct making *making)
{
    source_of(making, making->order->plugin)->quarantined = making->order->build.text;
    return true;
}

/* A swap to a build that is in quarantine takes it out: somebody wants it. */
static void mark_quarantined(struct making *making)
{
    const struct ledger *ledger = &making->master->ledger;
    for (size_t i = 0; i < ledger->count; i++) {
        const struct plugin_record *record = &ledger->records[i];
        bool swapped =
            making->order->kind == ORDER_SWAP && strcmp(record->name, making->order->plugin) == 0;
        if (hash_is_set(&record->quarantined) && !swapped)
            source_of(making, record->name)->quarantined = record->quarantined.text;
    }
}

static const struct {
    bool same_builds; /* as what is committed; else as plugin_path */
    bool (*choose)(struct making *making);
} ways[ORDER_KINDS] = {
    [ORDER_RELOAD] = {false, as_reload},
    [ORDER_SWAP] = {true, as_swap},
    [ORDER_ROLLBACK] = {true, as_rollback},
    [ORDER_QUARANTINE] = {true, as_quarantine},
};

/* What lies in images/ need not be copied there again. */
static void offer_images(const struct making *making)
{
    const struct prefix *prefix = &making->master->instance->prefix;
    for (size_t i = 0; i < making->count; i++)
        build_files_offer(prefix, making->number, making->items[i].name, making->items[i].path);
}

static bool make_sources(struct making *making)
{
    struct master *master = making->master;
    const struct prefix *prefix = &master->instance->prefix;
    bool same = ways[making->order->kind].same_builds;
    enum weir_err err =
        build_files_list(prefix, same ? master->committed->number : 0, LEDGER_MAX + 1,
                         making->arena, &making->items, &making->count);
    if (err != WEIR_OK) {
        buf_printf(making->text, "%s\n", weir_err_text(err));
        return false;
    }
    if (!ways[making->order->kind].choose(making))
        return false;
    mark_quarantined(making);
    return true;
}

static bool make_revision(struct making *making, struct revision **out_revision)
{
    const struct master *master = making->master;
    const char *file = master->instance->options->file;
    enum weir_err err = making->order->kind == ORDER_RELOAD
                            ? revision_read(file, making->number, out_revision)
                            : revision_again(master->committed, making->number, out_revision);
    if (err == WEIR_OK)
        return true;
    buf_printf(making->text, "%s: %s\n", file,
               err == WEIR_ERR_SYSTEM ? strerrordesc_np(errno) : weir_err_text(err));
    return false;
}

static bool make_folder(struct making *making)
{
    const struct prefix *prefix = &making->master->instance->prefix;
    struct plugin_sources sources = {making->items, making->count};
    if (!prefix_build_make(prefix, making->number) ||
        !quarantine_write(prefix, making->number, &sources)) {
        buf_printf(making->text, "%s: %s\n", prefix_build(prefix, making->number),
                   strerrordesc_np(errno));
        return false;
    }
    offer_images(making);
    return true;
}

bool candidate_make(struct master *master, const struct order *order, uint64_t number,
                    struct arena *arena, struct plugin_sources *out_sources,
                    struct revision **out_revision, struct buf *text)
{
    struct making making = {
        .master = master, .order = order, .number = number, .arena = arena, .text = text};
    if (!make_revision(&making, out_revision) || !make_sources(&making) || !make_folder(&making))
        return false;
    *out_sources = (struct plugin_sources){making.items, making.count};
    return true;
}

/* ---- after the trial */

static void tell_pinned(const struct master *master, struct buf *text)
{
    for (size_t i = 0; i < master->ledger.count; i++) {
        const struct plugin_record *record = &master->ledger.records[i];
        const struct manifest_build *build =
            manifest_find(&master->transaction.manifest, record->name);
        if (build != NULL && hash_is_set(&record->pinned))
            buf_printf(text,
                       "plugin '%s' stays %s, chosen by a swap; `weir plugin swap %s` takes the "
                       "one in plugin_path\n",
                       record->name, build->text, record->name);
        if (build != NULL && build->quarantined)
            buf_printf(text, "plugin '%s': %s is in quarantine: %s\n", record->name, build->text,
                       record->why);
    }
}

bool candidate_probed(struct master *master, const struct order *order, struct buf *text)
{
    const struct manifest_build *before, *after;
    if (order->kind == ORDER_RELOAD) {
        tell_pinned(master, text);
        return true;
    }
    before = manifest_find(&master->manifest, order->plugin);
    after = manifest_find(&master->transaction.manifest, order->plugin);
    if (before == NULL || after == NULL) {
        buf_printf(text, "no policy uses plugin '%s'\n", order->plugin);
        return false;
    }
    if (order->kind != ORDER_QUARANTINE)
        buf_printf(text, "plugin '%s': %s -> %s\n", order->plugin, before->text, after->text);
    return true;
}

/* ---- the ledger */

static void note_swap(struct master *master, const struct order *order,
                      struct plugin_record *record)
{
    const struct manifest_build *before = manifest_find(&master->manifest, order->plugin);
    const struct manifest_build *after =
        manifest_find(&master->transaction.manifest, order->plugin);
    if (!hash_equal(&before->hash, &after->hash)) {
        record->previous = before->hash;
        record->previous_until_ms =
            clock_mono_ms() + (uint64_t)master->instance->settings.keep_previous_ms;
    }
    record->pinned = order->file[0] == '\0' ? (struct build_hash){{0}} : after->hash;
    if (hash_equal(&record->quarantined, &after->hash))
        record->quarantined = (struct build_hash){{0}};
    record->why[0] = '\0';
}

void candidate_taken(struct master *master, const struct order *order)
{
    struct plugin_record *record =
        order == NULL ? NULL : ledger_find(&master->ledger, order->plugin, true);
    if (record == NULL)
        return;
    switch (order->kind) {
    case ORDER_SWAP:
        note_swap(master, order, record);
        break;
    case ORDER_ROLLBACK:
        record->pinned = order->build;
        record->previous = (struct build_hash){{0}};
        (void)snprintf(record->why, sizeof(record->why), "%.255s", order->reason);
        break;
    case ORDER_QUARANTINE:
        record->quarantined = order->build;
        (void)snprintf(record->why, sizeof(record->why), "%.255s", order->reason);
        break;
    case ORDER_RELOAD:
    case ORDER_KINDS:
        break;
    }
}

static bool is_wanted(void *user, struct span plugin, struct span hash)
{
    const struct ledger *ledger = user;
    for (size_t i = 0; i < ledger->count; i++) {
        const struct plugin_record *record = &ledger->records[i];
        if (span_equal(plugin, span_text(record->name)) &&
            (span_equal(hash, span_text(record->previous.text)) ||
             span_equal(hash, span_text(record->pinned.text))))
            return true;
    }
    return false;
}

/* What status, metrics and readiness show. */
static void note_quarantine(struct master *master)
{
    struct gateway_facts *facts = shared_facts(master->instance->shared);
    uint32_t count = 0;
    for (uint32_t i = 0; i < master->manifest.build_count; i++) {
        const struct manifest_build *build = &master->manifest.builds[i];
        if (!build->quarantined)
            continue;
        if (count < COUNT_OF(facts->quarantine)) {
            const struct plugin_record *record = ledger_find(&master->ledger, build->name, false);
            (void)snprintf(facts->quarantine[count].plugin, sizeof(facts->quarantine[0].plugin),
                           "%s", build->name);
            (void)snprintf(facts->quarantine[count].version, sizeof(facts->quarantine[0].version),
                           "%s", build->version);
            (void)snprintf(facts->quarantine[count].hash, sizeof(facts->quarantine[0].hash),
                           "%.12s", build->hash.text);
            (void)snprintf(facts->quarantine[count].why, sizeof(facts->quarantine[0].why), "%.159s",
                           record == NULL ? "" : record->why);
        }
        count++;
    }
    facts->quarantined = count;
}

void candidate_ended(struct master *master, const struct order *order, bool good)
{
    images_sweep(&master->instance->prefix, is_wanted, &master->ledger);
    note_quarantine(master);
    if (good && order->kind == ORDER_SWAP && order->watch_ms > 0)
        watch_begin(master, order, false);
}
