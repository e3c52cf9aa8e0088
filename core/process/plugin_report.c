/* "plugins": the builds that a running gateway uses, and what the ledger knows of them. */
#include <inttypes.h>

#include "base/clock.h"
#include "process/master.h"

static void report_one(struct master *master, const struct manifest_build *build, struct buf *out)
{
    const struct plugin_record *record = ledger_find(&master->ledger, build->name, false);
    const struct build_hash *previous =
        ledger_previous(&master->ledger, build->name, clock_mono_ms());
    buf_printf(out, "%-24s %-10s build %.12s  %" PRIu32 " %s", build->name, build->version,
               build->hash.text, build->policies, build->policies == 1 ? "policy" : "policies");
    if (build->pinned)
        buf_text(out, ", cannot be unloaded");
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

void plugin_report(struct master *master, struct control_client *client)
{
    AUTO_BUF text = BUF_INIT;
    for (uint32_t i = 0; i < master->manifest.build_count; i++)
        report_one(master, &master->manifest.builds[i], &text);
    control_answer(client, EXIT_FINE, buf_view(&text));
}
