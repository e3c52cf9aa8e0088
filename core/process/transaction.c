/* One change of what runs as one transaction: the probe child tries it, every worker prepares it
 * beside the old one, then all commit; with a canary a few commit first and are watched. Any
 * refusal, crash or silence before the last commit leaves everything as it was. From that commit on
 * who does not follow is killed, and its replacement starts with the new one.
 *
 *   NONE -> PROBING -> PREPARING -> COMMITTING -> NONE
 *                          |            ^
 *                          +-> CANARY --+   a canary that fails commits the old one again */
#include "process/transaction.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "process/candidate.h"
#include "process/master.h"

/* What an order is called where its end is told; with the name of the plugin when it has one. */
static const char *const words[ORDER_KINDS] = {
    [ORDER_RELOAD] = "the reload",
    [ORDER_SWAP] = "the swap of plugin",
    [ORDER_ROLLBACK] = "the rollback of plugin",
    [ORDER_QUARANTINE] = "the quarantine of plugin",
};

/* ---- the end of one */

void log_lines(enum log_level level, const char *who, struct span text)
{
    enum { LINES = 40 };
    struct span line;
    for (int i = 0; i < LINES && span_split(&text, '\n', &line); i++)
        if (!span_is_empty(line))
            log_line(level, "%s%.*s", who, SPAN_ARG(line));
}

static void note_facts(struct master *master)
{
    const struct probe_facts *probed = &master->transaction.facts;
    struct gateway_facts *facts = shared_facts(master->instance->shared);
    facts->generation = master->committed->number;
    facts->services = probed->services;
    facts->routes = probed->routes;
    facts->consumers = probed->consumers;
    facts->upstreams = probed->upstreams;
    facts->policies = probed->policies;
    memcpy(facts->config_hash, probed->hash, sizeof(facts->config_hash));
    log_set_level((enum log_level)probed->log_level);
}

static void drop_candidate(struct master *master)
{
    struct transaction *transaction = &master->transaction;
    if (transaction->candidate != NULL)
        prefix_build_remove(&master->instance->prefix, transaction->candidate->number);
    revision_destroy(transaction->candidate);
    transaction->candidate = NULL;
    manifest_free(&transaction->manifest);
}

static void describe_workers(const struct master *master, struct buf *out)
{
    for (uint32_t i = 0; i < master->instance->workers; i++) {
        const struct seat *seat = &master->seats[i];
        buf_printf(out, "worker %" PRIu32 ": %s\n", i,
                   seat->state != SEAT_READY ? "not there, its replacement gets it"
                   : seat->agreed            ? "in use"
                                             : "did not follow, it is replaced");
    }
}

static void count_end(struct master *master, const struct order *order, int code)
{
    struct gateway_facts *facts = shared_facts(master->instance->shared);
    if (order->kind == ORDER_RELOAD && code == EXIT_FINE) {
        facts->reloads++;
        facts->last_reload_wall_ms = clock_wall_ms();
    } else if (order->kind == ORDER_RELOAD) {
        facts->reload_failures++;
    } else if (code != EXIT_FINE) {
        facts->swap_failures++;
    } else if (order->kind == ORDER_SWAP) {
        facts->swaps++;
    } else if (order->kind == ORDER_ROLLBACK) {
        facts->rollbacks++;
    }
}

static void tell_success(struct master *master, const struct order *order)
{
    struct buf *text = &master->transaction.text;
    log_lines(order->kind == ORDER_RELOAD ? LOG_WARN : LOG_NOTICE, "", buf_view(text));
    log_notice("configuration %" PRIu64 " is in use", master->committed->number);
    if (order->kind == ORDER_RELOAD) {
        buf_printf(text, "configuration %" PRIu64 " is in use on %" PRIu32 " workers\n",
                   master->committed->number, master->instance->workers);
        return;
    }
    const struct manifest_build *build = manifest_find(&master->manifest, order->plugin);
    log_notice("plugin '%s' is now %s", order->plugin, build == NULL ? "unused" : build->text);
    buf_printf(text, "plugin '%s' is now %s, configuration %" PRIu64 "\n", order->plugin,
               build == NULL ? "unused" : build->text, master->committed->number);
    describe_workers(master, text);
}

static void tell_failure(struct master *master, const struct order *order)
{
    const char *quote = order->plugin[0] == '\0' ? "" : "'";
    log_error("%s%s%s%s%s was refused, nothing has changed", words[order->kind],
              order->plugin[0] == '\0' ? "" : " ", quote, order->plugin, quote);
    log_lines(LOG_ERROR, "", buf_view(&master->transaction.text));
}

static void answer(struct master *master, const struct order *order, int code)
{
    struct buf *text = &master->transaction.text;
    bool watched = code == EXIT_FINE && watch_is_for(&master->watch, order->plugin);
    /* Who wants to know how it ends is told when the watch is over, see watch.c. */
    if (order->event == 0 || (watched && order->waits))
        return;
    if (watched)
        buf_printf(text, "it is watched for %.1f s and goes back by itself if it does worse\n",
                   order->watch_ms / 1000.0);
    /* What undoes a swap that somebody waits for has its event. */
    bool undone = order->automatic && order->kind == ORDER_ROLLBACK;
    control_answer_all(master->control, order->event, undone ? EXIT_FAILED : code, buf_view(text));
}

static void finish(struct master *master, int code)
{
    struct transaction *transaction = &master->transaction;
    struct order *order = TAKE(transaction->order);
    deadline_clear(&transaction->patience);
    drop_candidate(master);
    transaction->state = TRANSACTION_NONE;
    for (uint32_t i = 0; i < master->instance->workers; i++)
        master->seats[i].canary = false;
    count_end(master, order, code);
    if (code == EXIT_FINE)
        tell_success(master, order);
    else
        tell_failure(master, order);
    for (uint32_t i = 0; i < master->instance->workers; i++)
        master->seats[i].asked = master->seats[i].agreed = false;
    candidate_ended(master, order, code == EXIT_FINE);
    answer(master, order, code);
    free(order);
    transaction_next(master);
}

static void abort_it(struct master *master)
{
    for (uint32_t i = 0; i < master->instance->workers; i++)
        if (master->seats[i].asked)
            (void)crew_tell(&master->seats[i], MESSAGE_ABORT,
                            master->transaction.candidate->number);
    finish(master, EXIT_FAILED);
}

/* ---- commit */

static void check_committed(struct master *master)
{
    struct transaction *transaction = &master->transaction;
    if (transaction->state != TRANSACTION_COMMITTING)
        return;
    for (uint32_t i = 0; i < master->instance->workers; i++)
        if (master->seats[i].state == SEAT_READY && !master->seats[i].agreed)
            return;
    finish(master, transaction->code);
}

/* The candidate is what replacements get from now on. */
static void take_over(struct master *master)
{
    struct transaction *transaction = &master->transaction;
    if (transaction->order != NULL && watch_is_for(&master->watch, transaction->order->plugin))
        watch_supersede(master);
    candidate_taken(master, transaction->order);
    if (master->committed != NULL)
        prefix_build_remove(&master->instance->prefix, master->committed->number);
    revision_destroy(master->committed);
    master->committed = TAKE(transaction->candidate);
    manifest_free(&master->manifest);
    master->manifest = transaction->manifest;
    transaction->manifest = (struct manifest){0};
    note_facts(master);
}

static void enter_committing(struct master *master, int code)
{
    struct transaction *transaction = &master->transaction;
    transaction->state = TRANSACTION_COMMITTING;
    transaction->code = code;
    deadline_set(master->loop, &transaction->patience, master->committed->step_ms);
}

static void commit_seat(struct seat *seat)
{
    struct master *master = seat->master;
    uint64_t number = master->committed->number;
    if (seat->canary && seat->serves == number) {
        seat->agreed = true; /* long since */
        return;
    }
    bool prepared = seat->asked && seat->agreed;
    seat->agreed = false;
    if (seat->state == SEAT_READY && prepared) {
        (void)crew_tell(seat, MESSAGE_COMMIT, number);
    } else if (seat->state == SEAT_READY) { /* it came while a canary was watched */
        crew_serve_committed(seat);
    } else if (seat->state == SEAT_EMPTY) { /* what it died of may be mended */
        deadline_clear(&seat->patience);
        seat->due = true;
    }
}

static void commit(struct master *master)
{
    take_over(master);
    enter_committing(master, EXIT_FINE);
    for (uint32_t i = 0; i < master->instance->workers; i++)
        commit_seat(&master->seats[i]);
    check_committed(master);
}

/* ---- canary */

static bool canary_serves(const struct master *master)
{
    for (uint32_t i = 0; i < master->instance->workers; i++)
        if (master->seats[i].canary && !master->seats[i].agreed)
            return false;
    return true;
}

static void send_canary(struct master *master)
{
    struct transaction *transaction = &master->transaction;
    uint32_t wanted = transaction->order->canary;
    transaction->state = TRANSACTION_CANARY;
    watch_supersede(master);
    deadline_set(master->loop, &transaction->patience, transaction->candidate->step_ms);
    for (uint32_t i = 0; i < master->instance->workers && wanted > 0; i++) {
        struct seat *seat = &master->seats[i];
        if (seat->state != SEAT_READY || !seat->agreed)
            continue;
        wanted--;
        seat->canary = true;
        seat->agreed = false;
        (void)crew_tell(seat, MESSAGE_COMMIT, transaction->candidate->number);
    }
}

static void check_canary(struct master *master)
{
    struct transaction *transaction = &master->transaction;
    if (transaction->state != TRANSACTION_CANARY || watch_is_active(&master->watch) ||
        !canary_serves(master))
        return;
    deadline_clear(&transaction->patience);
    log_notice("plugin '%s': %" PRIu32 " of %" PRIu32 " workers serve the new build",
               transaction->order->plugin, transaction->order->canary, master->instance->workers);
    watch_begin(master, transaction->order, true);
}

void transaction_canary_good(struct master *master)
{
    if (master->transaction.state == TRANSACTION_CANARY)
        commit(master);
}

/* The old configuration is prepared and committed once more where the new one ran. */
void transaction_canary_bad(struct master *master, const char *why)
{
    struct transaction *transaction = &master->transaction;
    if (transaction->state != TRANSACTION_CANARY)
        return;
    watch_end(master);
    buf_printf(&transaction->text, "%s\n", why);
    for (uint32_t i = 0; i < master->instance->workers; i++) {
        struct seat *seat = &master->seats[i];
        bool was_canary = seat->canary;
        seat->canary = false;
        seat->agreed = !was_canary;
        if (was_canary && seat->state == SEAT_READY)
            crew_serve_committed(seat);
        else if (seat->asked)
            (void)crew_tell(seat, MESSAGE_ABORT, transaction->candidate->number);
    }
    enter_committing(master, EXIT_FAILED);
    check_committed(master);
}

/* ---- prepare */

/* What runs now may be what ends workers, and the candidate what mends it: nobody has to live long
 * enough to agree. Who takes such a seat gets what is committed then. */
static bool is_excused(const struct seat *seat)
{
    return seat->excused && seat->master->transaction.proven;
}

static void check_prepared(struct master *master)
{
    struct transaction *transaction = &master->transaction;
    if (transaction->state != TRANSACTION_PREPARING)
        return;
    for (uint32_t i = 0; i < master->instance->workers; i++) {
        const struct seat *seat = &master->seats[i];
        bool absent = (seat->state == SEAT_EMPTY && !seat->due) || is_excused(seat);
        if (!absent && !(seat->state == SEAT_READY && seat->agreed))
            return;
    }
    if (transaction->order->canary > 0)
        send_canary(master);
    else
        commit(master);
}

static void ask(struct seat *seat)
{
    seat->asked = crew_prepare(seat, seat->master->transaction.candidate);
    seat->agreed = seat->excused = false;
}

/* One worker goes first and the rest follow when it agrees: what crashes in start(), where no trial
 * can look, costs one worker and not all of them. */
static void ask_next(struct master *master)
{
    bool first_asked = false, first_agreed = master->transaction.proven;
    for (uint32_t i = 0; i < master->instance->workers; i++)
        first_asked = first_asked || master->seats[i].asked;
    if (first_asked && !first_agreed)
        return;
    for (uint32_t i = 0; i < master->instance->workers; i++) {
        struct seat *seat = &master->seats[i];
        if (seat->state != SEAT_READY || seat->asked || is_excused(seat))
            continue;
        ask(seat);
        if (!first_agreed && seat->asked)
            return;
    }
}

static void go_on_preparing(struct master *master)
{
    if (master->transaction.state != TRANSACTION_PREPARING)
        return;
    ask_next(master);
    check_prepared(master);
}

static void prepare(struct master *master)
{
    struct transaction *transaction = &master->transaction;
    transaction->state = TRANSACTION_PREPARING;
    transaction->proven = false;
    for (uint32_t i = 0; i < master->instance->workers; i++)
        master->seats[i].excused = false;
    deadline_set(master->loop, &transaction->patience, transaction->candidate->step_ms);
    go_on_preparing(master);
}

/* ---- what workers say */

void transaction_on_ready(struct seat *seat)
{
    go_on_preparing(seat->master);
    check_committed(seat->master);
}

void transaction_on_prepared(struct seat *seat, uint64_t number)
{
    struct transaction *transaction = &seat->master->transaction;
    if (transaction->state != TRANSACTION_PREPARING || number != transaction->candidate->number)
        return;
    seat->agreed = transaction->proven = true;
    deadline_set(seat->master->loop, &transaction->patience, transaction->candidate->step_ms);
    go_on_preparing(seat->master);
}

void transaction_on_refused(struct seat *seat, uint64_t number, struct span why)
{
    struct master *master = seat->master;
    struct transaction *transaction = &master->transaction;
    bool ours = transaction->candidate != NULL && number == transaction->candidate->number;
    if (ours && transaction->state == TRANSACTION_PREPARING) {
        buf_printf(&transaction->text, "worker %" PRIu32 ": %.*s%s", seat->index, SPAN_ARG(why),
                   span_ends_with(why, SPAN("\n")) ? "" : "\n");
        abort_it(master);
        return;
    }
    if (ours && transaction->state == TRANSACTION_CANARY) {
        seat->agreed = true; /* and goes back with the others */
        transaction_canary_bad(master, "a worker cannot commit it");
        return;
    }
    /* Only of what is committed it matters still: it would serve something else than the rest. */
    if (master->committed == NULL || number != master->committed->number)
        return;
    char who[64];
    (void)snprintf(who, sizeof(who),
                   "worker %" PRIu32 " cannot follow, it is killed: ", seat->index);
    log_lines(LOG_ERROR, who, why);
    if (!seat->ended)
        (void)kill(seat->pid, SIGKILL);
}

void transaction_on_committed(struct seat *seat, uint64_t number)
{
    struct master *master = seat->master;
    struct transaction *transaction = &master->transaction;
    if (transaction->state == TRANSACTION_CANARY && seat->canary &&
        number == transaction->candidate->number) {
        seat->agreed = true;
        check_canary(master);
        return;
    }
    if (transaction->state == TRANSACTION_COMMITTING && number == master->committed->number)
        seat->agreed = true;
    check_committed(master);
}

static bool is_of_candidate(const struct transaction *transaction, const struct death *death)
{
    return !death->blamed || death->generation == 0 ||
           death->generation == transaction->candidate->number;
}

void transaction_on_death(struct seat *seat, const char *how, const struct death *death)
{
    struct master *master = seat->master;
    struct transaction *transaction = &master->transaction;
    if (transaction->state == TRANSACTION_PREPARING && seat->asked) {
        seat->asked = seat->agreed = false;
        if (!is_of_candidate(transaction, death)) {
            seat->excused = true;
            if (strcmp(transaction->order->plugin, death->plugin) == 0)
                transaction->proven = true;
            go_on_preparing(master);
            return;
        }
        buf_printf(&transaction->text, "worker %" PRIu32 " died preparing it: %s\n", seat->index,
                   how);
        abort_it(master);
        return;
    }
    if (transaction->state == TRANSACTION_CANARY) {
        bool was_canary = seat->canary;
        char why[256];
        seat->asked = seat->agreed = seat->canary = false;
        (void)snprintf(why, sizeof(why), "worker %" PRIu32 " ended with the new build: %s",
                       seat->index, how);
        if (was_canary)
            transaction_canary_bad(master, why);
        return;
    }
    go_on_preparing(master);
    check_committed(master);
}

static void on_patience(struct deadline *deadline)
{
    struct master *master = LIST_ENTRY(deadline, struct master, transaction.patience);
    struct transaction *transaction = &master->transaction;
    bool committing = transaction->state == TRANSACTION_COMMITTING;
    for (uint32_t i = 0; i < master->instance->workers; i++) {
        struct seat *seat = &master->seats[i];
        if (seat->state == SEAT_EMPTY || seat->agreed)
            continue;
        buf_printf(&transaction->text, "worker %" PRIu32 " did not answer in time\n", seat->index);
        if (committing && seat->state == SEAT_READY && !seat->ended)
            (void)kill(seat->pid, SIGKILL); /* its replacement has the new one */
    }
    if (committing)
        finish(master, transaction->code);
    else if (transaction->state == TRANSACTION_CANARY)
        transaction_canary_bad(master, "a worker did not commit it in time");
    else
        abort_it(master);
}

/* ---- probe */

static void on_probed(struct probe_result *result, void *user)
{
    struct master *master = user;
    struct transaction *transaction = &master->transaction;
    transaction->probe = NULL;
    buf_span(&transaction->text, result->text);
    transaction->facts = result->facts;
    transaction->manifest = result->manifest;
    result->manifest = (struct manifest){0};
    if (master->starting) {
        master->instance->code = result->code;
        transaction->state = TRANSACTION_NONE;
    } else if (result->code != EXIT_FINE) {
        /* The configuration was good before: it is the build that is not. */
        finish(master, transaction->order->kind == ORDER_RELOAD ? result->code : EXIT_FAILED);
    } else if (!candidate_probed(master, transaction->order, &transaction->text)) {
        finish(master, EXIT_FAILED);
    } else {
        prepare(master);
    }
}

static bool probe(struct master *master, const struct plugin_sources *sources)
{
    char why[512];
    struct transaction *transaction = &master->transaction;
    transaction->probe = probe_start(master->instance, master->loop, transaction->candidate,
                                     sources, master_forget, on_probed, master, why, sizeof(why));
    if (transaction->probe == NULL) {
        buf_printf(&transaction->text, "%s\n", why);
        return false;
    }
    transaction->state = TRANSACTION_PROBING;
    return true;
}

static void begin(struct master *master)
{
    struct transaction *transaction = &master->transaction;
    struct plugin_sources sources;
    AUTO(arena_destroy) struct arena *arena = arena_create(NULL);
    buf_free(&transaction->text);
    if (transaction->order->automatic && transaction->order->reason[0] != '\0')
        buf_printf(&transaction->text, "%s\n", transaction->order->reason);
    if (arena == NULL)
        buf_text(&transaction->text, "no memory\n");
    if (arena == NULL ||
        !candidate_make(master, transaction->order, ++transaction->last_number, arena, &sources,
                        &transaction->candidate, &transaction->text) ||
        !probe(master, &sources))
        finish(master, EXIT_FAILED);
}

/* ---- what the rest of the master asks for */

void transaction_init(struct master *master)
{
    deadline_init(&master->transaction.patience, on_patience);
}

void transaction_next(struct master *master)
{
    struct transaction *transaction = &master->transaction;
    if (transaction->order != NULL || master->starting || master->stop != STOP_NONE)
        return;
    transaction->order = orders_take(&master->orders);
    if (transaction->order != NULL)
        begin(master);
}

void transaction_ask_reload(struct master *master, struct control_client *client)
{
    struct order *order = NULL;
    const char *why = "the gateway is stopping\n";
    if (master->stop == STOP_NONE) {
        order = orders_add(&master->orders, ORDER_RELOAD);
        why = "too much is asked for already\n";
    }
    if (order != NULL && client != NULL)
        control_wait(client, order->event);
    else if (client != NULL)
        control_answer(client, EXIT_FAILED, span_text(why));
    transaction_next(master);
}

bool transaction_try_first(struct master *master)
{
    struct instance *instance = master->instance;
    struct transaction *transaction = &master->transaction;
    transaction->candidate = TAKE(instance->first);
    transaction->last_number = transaction->candidate->number;
    instance->code = EXIT_FAILED;
    if (!prefix_build_make(&instance->prefix, transaction->candidate->number) ||
        !probe(master, &(struct plugin_sources){NULL, 0}))
        return instance_refuse(instance, EXIT_FAILED, "%.*s",
                               SPAN_ARG(buf_view(&transaction->text)));
    while (transaction->state == TRANSACTION_PROBING && master->stop == STOP_NONE)
        loop_run_once(master->loop);
    if (master->stop != STOP_NONE)
        return false;
    (void)fprintf(stderr, "%.*s", SPAN_ARG(buf_view(&transaction->text)));
    buf_free(&transaction->text);
    if (instance->code != EXIT_FINE)
        return false;
    take_over(master);
    return true;
}

void transaction_cancel(struct master *master)
{
    struct transaction *transaction = &master->transaction;
    static const struct span why = {"the gateway is stopping\n", 24};
    if (watch_is_active(&master->watch) && !master->watch.canary && master->watch.order.waits)
        control_answer_all(master->control, master->watch.order.event, EXIT_FAILED, why);
    watch_end(master);
    orders_refuse(master, why);
    probe_cancel(transaction->probe);
    transaction->probe = NULL;
    if (transaction->order != NULL) {
        buf_span(&transaction->text, why);
        /* Committed is committed. */
        if (transaction->state == TRANSACTION_COMMITTING)
            finish(master, transaction->code);
        else
            abort_it(master);
    }
    drop_candidate(master);
    transaction->state = TRANSACTION_NONE;
}

void transaction_forget(struct master *master)
{
    deadline_clear(&master->transaction.patience);
    probe_forget(master->transaction.probe);
}

void transaction_free(struct master *master)
{
    struct transaction *transaction = &master->transaction;
    revision_destroy(TAKE(transaction->candidate));
    manifest_free(&transaction->manifest);
    buf_free(&transaction->text);
    free(TAKE(transaction->order));
    orders_free(&master->orders);
}
