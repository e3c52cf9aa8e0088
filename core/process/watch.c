#include "process/watch.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "plugin_host/builds.h"
#include "process/master.h"

enum {
    TICK_MS = 100,
    BAD_MIN = 5,          /* fewer are no rate */
    MARGIN_PERCENT = 1,   /* beyond twice the old rate */
    TIME_MIN = 200,       /* exchanges of each */
    TIME_MARGIN_US = 5000 /* beyond twice the old mean */
};

/* ---- the judgement */

static bool rate_is_worse(uint64_t bad_before, uint64_t all_before, uint64_t bad_after,
                          uint64_t all_after)
{
    double before = all_before == 0 ? 0 : (double)bad_before / (double)all_before;
    double after = all_after == 0 ? 0 : (double)bad_after / (double)all_after;
    return bad_after >= BAD_MIN && after > 2 * before + MARGIN_PERCENT / 100.0;
}

static bool time_is_worse(const char *what, uint64_t us_before, uint64_t all_before,
                          uint64_t us_after, uint64_t all_after, char *why, size_t why_size)
{
    double before = (double)us_before / (double)all_before;
    double after = (double)us_after / (double)all_after;
    if (after <= 2 * before + TIME_MARGIN_US)
        return false;
    (void)snprintf(why, why_size, "%s %.1f ms on average (with the old one %.1f ms)", what,
                   after / 1000, before / 1000);
    return true;
}

bool watch_is_worse(const struct watch_counts *before, const struct watch_counts *after, char *why,
                    size_t why_size)
{
    if (rate_is_worse(before->fails, before->exchanges, after->fails, after->exchanges)) {
        (void)snprintf(why, why_size,
                       "it failed %" PRIu64 " times in %" PRIu64 " exchanges (the old one %" PRIu64
                       " in %" PRIu64 ")",
                       after->fails, after->exchanges, before->fails, before->exchanges);
        return true;
    }
    if (rate_is_worse(before->server_errors, before->exchanges, after->server_errors,
                      after->exchanges)) {
        (void)snprintf(why, why_size,
                       "%" PRIu64 " of %" PRIu64 " answers were 5xx (of the old one %" PRIu64
                       " of %" PRIu64 ")",
                       after->server_errors, after->exchanges, before->server_errors,
                       before->exchanges);
        return true;
    }
    if (before->exchanges < TIME_MIN || after->exchanges < TIME_MIN)
        return false;
    return time_is_worse("exchanges take", before->latency_us, before->exchanges, after->latency_us,
                         after->exchanges, why, why_size) ||
           time_is_worse("its own code takes", before->hooks_us, before->exchanges, after->hooks_us,
                         after->exchanges, why, why_size);
}

/* ---- counting */

static struct watch_counts counts_of(const struct master *master, const char *plugin,
                                     const struct build_hash *build)
{
    struct build_totals totals; /* zero when no worker ever had it */
    (void)builds_read_of(master->instance->shared, plugin, build->text, -1, &totals);
    return (struct watch_counts){totals.exchanges, totals.server_errors,
                                 build_verdicts(&totals, BUILD_FAIL), totals.latency_us,
                                 build_time_ns(&totals) / 1000};
}

static struct watch_counts since(const struct watch_counts *now, const struct watch_counts *start)
{
    return (struct watch_counts){now->exchanges - start->exchanges,
                                 now->server_errors - start->server_errors,
                                 now->fails - start->fails, now->latency_us - start->latency_us,
                                 now->hooks_us - start->hooks_us};
}

/* ---- the end */

void watch_end(struct master *master)
{
    struct swap_watch *watch = &master->watch;
    if (!watch->active)
        return;
    watch->active = false;
    deadline_clear(&watch->tick);
}

void watch_supersede(struct master *master)
{
    const struct swap_watch *watch = &master->watch;
    if (!watch->active)
        return;
    AUTO_BUF text = BUF_INIT;
    buf_printf(&text, "plugin '%s': %s is not watched any more, something else is swapped\n",
               watch->order.plugin, watch->after_text);
    log_lines(LOG_NOTICE, "", buf_view(&text));
    if (watch->order.waits && !watch->canary)
        control_answer_all(master->control, watch->order.event, EXIT_FINE, buf_view(&text));
    watch_end(master);
}

static void give_up(struct master *master, const char *why)
{
    struct swap_watch *watch = &master->watch;
    char reason[512];
    (void)snprintf(reason, sizeof(reason), "%s goes back to %s: %s", watch->after_text,
                   watch->before_text, why);
    log_error("plugin '%s': %s", watch->order.plugin, reason);
    watch_end(master);
    if (watch->canary) {
        transaction_canary_bad(master, reason);
        return;
    }
    struct order *order = orders_add_urgent(&master->orders, ORDER_ROLLBACK);
    if (order == NULL) {
        log_error("plugin '%s': no memory for the rollback", watch->order.plugin);
        return;
    }
    order->event = watch->order.waits ? watch->order.event : 0;
    memcpy(order->plugin, watch->order.plugin, sizeof(order->plugin));
    order->build = watch->before;
    (void)snprintf(order->reason, sizeof(order->reason), "%s", reason);
}

static void be_satisfied(struct master *master)
{
    struct swap_watch *watch = &master->watch;
    struct watch_counts now = counts_of(master, watch->order.plugin, &watch->after);
    struct watch_counts did = since(&now, &watch->after_start);
    log_notice("plugin '%s': %s did well in %" PRIu64 " exchanges", watch->order.plugin,
               watch->after_text, did.exchanges);
    watch_end(master);
    if (watch->canary) {
        transaction_canary_good(master);
        return;
    }
    if (!watch->order.waits)
        return;
    AUTO_BUF text = BUF_INIT;
    buf_printf(
        &text, "plugin '%s' is now %s; watched for %.1f s and %" PRIu64 " exchanges, it did well\n",
        watch->order.plugin, watch->after_text, watch->order.watch_ms / 1000.0, did.exchanges);
    control_answer_all(master->control, watch->order.event, EXIT_FINE, buf_view(&text));
}

static void on_tick(struct deadline *deadline)
{
    struct master *master = LIST_ENTRY(deadline, struct master, watch.tick);
    struct swap_watch *watch = &master->watch;
    char why[256];
    struct watch_counts before = counts_of(master, watch->order.plugin, &watch->before);
    struct watch_counts after = counts_of(master, watch->order.plugin, &watch->after);
    struct watch_counts recent = since(&before, &watch->before_start);
    struct watch_counts did = since(&after, &watch->after_start);
    /* Beside a canary the old one runs too: what it does now is the better measure. */
    const struct watch_counts *measure =
        watch->canary && recent.exchanges >= TIME_MIN ? &recent : &before;
    if (watch_is_worse(measure, &did, why, sizeof(why))) {
        give_up(master, why);
        transaction_next(master);
    } else if (clock_mono_ms() >= watch->until_ms) {
        be_satisfied(master);
    } else {
        deadline_set(master->loop, &watch->tick, TICK_MS);
    }
}

bool watch_note_death(struct master *master, const char *plugin, const struct build_hash *build,
                      const char *how)
{
    const struct swap_watch *watch = &master->watch;
    if (!watch_is_for(watch, plugin) || !hash_equal(&watch->after, build))
        return false;
    char why[300];
    (void)snprintf(why, sizeof(why), "it ended a worker: %.256s", how);
    if (!watch->canary) /* transaction_on_death() knows of canaries */
        give_up(master, why);
    return true;
}

/* ---- the beginning */

void watch_init(struct master *master)
{
    deadline_init(&master->watch.tick, on_tick);
}

static void name_build(const struct manifest_build *build, struct build_hash *out_hash,
                       char out_text[128])
{
    *out_hash = build->hash;
    memcpy(out_text, build->text, sizeof(build->text));
}

/* A canary's new build is the candidate's, later it is the committed one and what was there before
 * it stands in the ledger. */
static bool find_builds(struct master *master, const char *plugin, bool canary)
{
    struct swap_watch *watch = &master->watch;
    const struct manifest_build *after =
        manifest_find(canary ? &master->transaction.manifest : &master->manifest, plugin);
    const struct manifest_build *before = manifest_find(&master->manifest, plugin);
    const struct build_hash *previous = ledger_previous(&master->ledger, plugin, clock_mono_ms());
    if (after == NULL || before == NULL || (!canary && previous == NULL))
        return false;
    name_build(after, &watch->after, watch->after_text);
    if (canary) {
        name_build(before, &watch->before, watch->before_text);
    } else {
        watch->before = *previous;
        (void)snprintf(watch->before_text, sizeof(watch->before_text), "build %.12s",
                       previous->text);
    }
    return !hash_equal(&watch->before, &watch->after);
}

void watch_begin(struct master *master, const struct order *order, bool canary)
{
    struct swap_watch *watch = &master->watch;
    watch_supersede(master);
    watch->order = *order;
    watch->canary = canary;
    if (!find_builds(master, order->plugin, canary)) {
        if (canary)
            transaction_canary_good(master);
        return;
    }
    watch->active = true;
    watch->before_start = counts_of(master, order->plugin, &watch->before);
    watch->after_start = counts_of(master, order->plugin, &watch->after);
    watch->until_ms = clock_mono_ms() + order->watch_ms;
    deadline_set(master->loop, &watch->tick, TICK_MS);
}
