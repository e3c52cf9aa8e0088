/* "plugins", "plugins json": the builds that a running gateway uses, and what the ledger knows of
 * them; for people and for programs. */
#include <inttypes.h>

#include "base/clock.h"
#include "plugin_host/builds.h"
#include "process/master.h"

static void report_use(const struct master *master, const char *plugin, const char *hash,
                       struct buf *out)
{
    struct build_totals totals;
    if (!builds_read_of(master->instance->shared, plugin, hash, -1, &totals))
        return;
    buf_printf(out, ", %" PRIu64 " in flight, loaded by %" PRIu64, totals.in_flight, totals.loaded);
    if (totals.suspended > 0)
        buf_printf(out, ", %" PRIu64 " waiting", totals.suspended);
    if (totals.pinned > 0)
        buf_printf(out, ", cannot be unloaded in %" PRIu64, totals.pinned);
}

static void report_one(struct master *master, const struct manifest_build *build, struct buf *out)
{
    const struct plugin_record *record = ledger_find(&master->ledger, build->name, false);
    const struct build_hash *previous =
        ledger_previous(&master->ledger, build->name, clock_mono_ms());
    buf_printf(out, "%-24s %-10s build %.12s  %" PRIu32 " %s", build->name, build->version,
               build->hash.text, build->policies, build->policies == 1 ? "policy" : "policies");
    report_use(master, build->name, build->hash.text, out);
    if (record != NULL && hash_is_set(&record->pinned))
        buf_text(out, ", chosen by a swap");
    if (previous != NULL)
        buf_printf(out, ", before it %.12s", previous->text);
    if (watch_is_for(&master->watch, build->name))
        buf_text(out, ", watched");
    buf_text(out, "\n");
    if (build->quarantined)
        buf_printf(out, "  in quarantine: %s\n", record == NULL ? "" : record->why);
    else if (record != NULL && record->why[0] != '\0')
        buf_printf(out, "  came back by itself: %s\n", record->why);
}

/* What exchanges that began before a swap still run on, and what the linker does not let go. False:
 * nothing (more). */
static bool next_replaced(const struct master *master, uint32_t *slot, struct build_name *out_name,
                          struct build_totals *out_totals)
{
    const struct shared *shared = master->instance->shared;
    for (; *slot < builds_count(shared); ++*slot) {
        if (!builds_name(shared, *slot, out_name) || !builds_read(shared, *slot, -1, out_totals) ||
            out_totals->loaded == 0)
            continue;
        const struct manifest_build *current = manifest_find(&master->manifest, out_name->plugin);
        if (current == NULL || strcmp(current->hash.text, out_name->hash) != 0) {
            ++*slot;
            return true;
        }
    }
    return false;
}

static void report_rest(const struct master *master, struct buf *out)
{
    struct build_name name;
    struct build_totals totals;
    for (uint32_t slot = 0; next_replaced(master, &slot, &name, &totals);) {
        buf_printf(out, "%-24s %-10s build %.12s  replaced", name.plugin, name.version, name.hash);
        report_use(master, name.plugin, name.hash, out);
        buf_text(out, "\n");
    }
}

void plugin_report(struct master *master, struct control_client *client)
{
    AUTO_BUF text = BUF_INIT;
    for (uint32_t i = 0; i < master->manifest.build_count; i++)
        report_one(master, &master->manifest.builds[i], &text);
    report_rest(master, &text);
    control_answer(client, EXIT_FINE, buf_view(&text));
}

/* ---- for programs */

/* "key":"text", or null without one. */
static void put_text(struct buf *out, const char *key, const char *text)
{
    buf_printf(out, "\"%s\":", key);
    if (text == NULL || text[0] == '\0')
        buf_text(out, "null");
    else
        buf_json(out, span_text(text));
    buf_byte(out, ',');
}

static void put_flag(struct buf *out, const char *key, bool value)
{
    buf_printf(out, "\"%s\":%s,", key, value ? "true" : "false");
}

static void put_use(struct buf *out, const struct build_totals *totals)
{
    buf_printf(out,
               "\"in_flight\":%" PRIu64 ",\"loaded\":%" PRIu64 ",\"suspended\":%" PRIu64
               ",\"pinned\":%" PRIu64 "}",
               totals->in_flight, totals->loaded, totals->suspended, totals->pinned);
}

static void put_one(struct master *master, const struct manifest_build *build, struct buf *out)
{
    const struct plugin_record *record = ledger_find(&master->ledger, build->name, false);
    const struct build_hash *previous =
        ledger_previous(&master->ledger, build->name, clock_mono_ms());
    struct build_totals totals; /* zero when no worker has it (yet) */
    (void)builds_read_of(master->instance->shared, build->name, build->hash.text, -1, &totals);
    buf_byte(out, '{');
    put_text(out, "name", build->name);
    put_text(out, "version", build->version);
    put_text(out, "hash", build->hash.text);
    buf_printf(out, "\"policies\":%" PRIu32 ",", build->policies);
    put_flag(out, "chosen_by_swap", record != NULL && hash_is_set(&record->pinned));
    put_text(out, "previous", previous == NULL ? NULL : previous->text);
    put_flag(out, "watched", watch_is_for(&master->watch, build->name));
    put_flag(out, "quarantined", build->quarantined);
    put_text(out, "why", record == NULL ? NULL : record->why);
    put_use(out, &totals);
}

void plugin_report_json(struct master *master, struct control_client *client)
{
    AUTO_BUF text = BUF_INIT;
    struct build_name name;
    struct build_totals totals;
    buf_text(&text, "{\"plugins\":[");
    for (uint32_t i = 0; i < master->manifest.build_count; i++) {
        buf_text(&text, i == 0 ? "" : ",");
        put_one(master, &master->manifest.builds[i], &text);
    }
    buf_text(&text, "],\"replaced\":[");
    bool first = true;
    for (uint32_t slot = 0; next_replaced(master, &slot, &name, &totals); first = false) {
        buf_text(&text, first ? "{" : ",{");
        put_text(&text, "name", name.plugin);
        put_text(&text, "version", name.version);
        put_text(&text, "hash", name.hash);
        put_use(&text, &totals);
    }
    buf_text(&text, "]}");
    if (text.failed)
        control_answer(client, EXIT_FAILED, SPAN("no memory\n"));
    else
        control_answer(client, EXIT_FINE, buf_view(&text));
}
