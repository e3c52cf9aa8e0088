/* "plugins": the builds that a running gateway uses, and what the ledger knows of them. */
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

/* What exchanges that began before a swap still run on, and what the linker does not let go. */
static void report_rest(const struct master *master, struct buf *out)
{
    const struct shared *shared = master->instance->shared;
    struct build_name name;
    struct build_totals totals;
    for (uint32_t slot = 0; slot < builds_count(shared); slot++) {
        if (!builds_name(shared, slot, &name) || !builds_read(shared, slot, -1, &totals) ||
            totals.loaded == 0)
            continue;
        const struct manifest_build *current = manifest_find(&master->manifest, name.plugin);
        if (current != NULL && strcmp(current->hash.text, name.hash) == 0)
            continue;
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
