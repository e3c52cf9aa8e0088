/* A build that ends workers: back to the one before it when there is one, else out of service. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "process/master.h"

static bool is_under_way(const struct master *master, const char *plugin)
{
    const struct order *order = master->transaction.order;
    if (order != NULL && order->automatic && strcmp(order->plugin, plugin) == 0)
        return true;
    LIST_FOREACH (node, &master->orders.queue) {
        order = LIST_ENTRY(node, struct order, link);
        if (order->automatic && strcmp(order->plugin, plugin) == 0)
            return true;
    }
    return false;
}

static void take_out(struct master *master, const struct manifest_build *build, uint32_t deaths,
                     const char *how)
{
    const struct build_hash *previous =
        ledger_previous(&master->ledger, build->name, clock_mono_ms());
    bool back = previous != NULL && !hash_equal(previous, &build->hash);
    struct order *order =
        orders_add_urgent(&master->orders, back ? ORDER_ROLLBACK : ORDER_QUARANTINE);
    if (order == NULL) {
        log_error("plugin '%s': no memory for its quarantine", build->name);
        return;
    }
    order->build = back ? *previous : build->hash;
    (void)snprintf(order->plugin, sizeof(order->plugin), "%s", build->name);
    (void)snprintf(order->reason, sizeof(order->reason),
                   "it ended workers %" PRIu32 " times, last by %s", deaths, how);
    log_error("plugin '%s': %s, %s; %s", build->name, build->text, order->reason,
              back ? "the build before it comes back" : "it is taken out of service");
}

void quarantine_note_death(struct master *master, const struct death *death)
{
    const struct settings *settings = &master->instance->settings;
    struct build_hash hash = {{0}};
    /* Killed from outside while a hook ran: the memory ran out, or somebody meant the worker. */
    bool killed = death->signal == SIGKILL && !death->hung;
    if (!death->blamed || killed || death->plugin[0] == '\0' || death->hash[0] == '\0')
        return;
    memcpy(hash.text, death->hash, sizeof(hash.text));
    struct plugin_record *record = ledger_find(&master->ledger, death->plugin, true);
    AUTO_BUF how = BUF_INIT;
    death_describe(death, &how);
    buf_byte(&how, '\0');
    const char *text = how.failed ? "?" : how.data;
    if (record == NULL || watch_note_death(master, death->plugin, &hash, text))
        return;
    uint32_t deaths =
        ledger_death(record, &hash, clock_mono_ms(), (uint32_t)settings->quarantine_window_ms);
    const struct manifest_build *current = manifest_find(&master->manifest, death->plugin);
    if (settings->quarantine_crashes > 0 && deaths >= (uint64_t)settings->quarantine_crashes &&
        current != NULL && hash_equal(&current->hash, &hash) && !current->quarantined &&
        !is_under_way(master, death->plugin))
        take_out(master, current, deaths, text);
}
