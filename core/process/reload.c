/* A new configuration as one transaction: the probe child tries it, every worker prepares it beside
 * the old one, then all commit. Any refusal, crash or silence before the commit leaves everything
 * as it was. From the commit on there is no way back: who does not follow is killed, and its
 * replacement starts with the new one.
 *
 *   NONE -> PROBING -> PREPARING -> COMMITTING -> NONE */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "process/master.h"

static void begin(struct master *master);

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
    const struct probe_facts *probed = &master->reload.facts;
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
    struct reload *reload = &master->reload;
    if (reload->candidate != NULL)
        prefix_build_remove(&master->instance->prefix, reload->candidate->number);
    revision_destroy(reload->candidate);
    reload->candidate = NULL;
    manifest_free(&reload->manifest);
}

static void finish(struct master *master, int code)
{
    struct reload *reload = &master->reload;
    struct gateway_facts *facts = shared_facts(master->instance->shared);
    deadline_clear(&reload->patience);
    drop_candidate(master);
    reload->state = RELOAD_NONE;
    for (uint32_t i = 0; i < master->instance->workers; i++)
        master->seats[i].asked = master->seats[i].agreed = false;
    if (code == EXIT_FINE) {
        facts->reloads++;
        facts->last_reload_wall_ms = clock_wall_ms();
        log_lines(LOG_WARN, "", buf_view(&reload->text));
        log_notice("configuration %" PRIu64 " is in use", master->committed->number);
        buf_printf(&reload->text, "configuration %" PRIu64 " is in use on %" PRIu32 " workers\n",
                   master->committed->number, master->instance->workers);
    } else {
        facts->reload_failures++;
        log_error("the reload was refused, nothing has changed");
        log_lines(LOG_ERROR, "", buf_view(&reload->text));
    }
    control_answer_all(master->control, reload->event, code, buf_view(&reload->text));
    if (reload->again && master->stop == STOP_NONE) {
        reload->again = false;
        begin(master);
    }
}

static void abort_it(struct master *master)
{
    for (uint32_t i = 0; i < master->instance->workers; i++)
        if (master->seats[i].asked)
            (void)crew_tell(&master->seats[i], MESSAGE_ABORT, master->reload.candidate->number);
    finish(master, EXIT_FAILED);
}

/* ---- commit */

static void check_committed(struct master *master)
{
    if (master->reload.state != RELOAD_COMMITTING)
        return;
    for (uint32_t i = 0; i < master->instance->workers; i++)
        if (master->seats[i].state == SEAT_READY && !master->seats[i].agreed)
            return;
    finish(master, EXIT_FINE);
}

/* The candidate is what replacements get from now on. */
static void take_over(struct master *master)
{
    struct reload *reload = &master->reload;
    if (master->committed != NULL)
        prefix_build_remove(&master->instance->prefix, master->committed->number);
    revision_destroy(master->committed);
    master->committed = TAKE(reload->candidate);
    manifest_free(&master->manifest);
    master->manifest = reload->manifest;
    reload->manifest = (struct manifest){0};
    note_facts(master);
}

static void commit(struct master *master)
{
    take_over(master);
    master->reload.state = RELOAD_COMMITTING;
    deadline_set(master->loop, &master->reload.patience, master->committed->step_ms);
    for (uint32_t i = 0; i < master->instance->workers; i++) {
        struct seat *seat = &master->seats[i];
        seat->agreed = false;
        if (seat->state == SEAT_READY) {
            (void)crew_tell(seat, MESSAGE_COMMIT, master->committed->number);
        } else if (seat->state == SEAT_EMPTY) { /* what it died of may be mended */
            deadline_clear(&seat->patience);
            seat->due = true;
        }
    }
    check_committed(master);
}

/* ---- prepare */

static void check_prepared(struct master *master)
{
    if (master->reload.state != RELOAD_PREPARING)
        return;
    for (uint32_t i = 0; i < master->instance->workers; i++) {
        const struct seat *seat = &master->seats[i];
        bool absent = seat->state == SEAT_EMPTY && !seat->due;
        if (!absent && !(seat->state == SEAT_READY && seat->agreed))
            return;
    }
    commit(master);
}

static void ask(struct seat *seat)
{
    seat->asked = crew_prepare(seat, seat->master->reload.candidate);
    seat->agreed = false;
}

/* One worker goes first and the rest follow when it agrees: what crashes in start(), where no trial
 * can look, costs one worker and not all of them. */
static void ask_next(struct master *master)
{
    bool first_asked = false, first_agreed = false;
    for (uint32_t i = 0; i < master->instance->workers; i++) {
        first_asked = first_asked || master->seats[i].asked;
        first_agreed = first_agreed || master->seats[i].agreed;
    }
    if (first_asked && !first_agreed)
        return;
    for (uint32_t i = 0; i < master->instance->workers; i++) {
        struct seat *seat = &master->seats[i];
        if (seat->state != SEAT_READY || seat->asked)
            continue;
        ask(seat);
        if (!first_agreed && seat->asked)
            return;
    }
}

static void go_on_preparing(struct master *master)
{
    if (master->reload.state != RELOAD_PREPARING)
        return;
    ask_next(master);
    check_prepared(master);
}

static void prepare(struct master *master)
{
    master->reload.state = RELOAD_PREPARING;
    deadline_set(master->loop, &master->reload.patience, master->reload.candidate->step_ms);
    go_on_preparing(master);
}

void reload_on_ready(struct seat *seat)
{
    go_on_preparing(seat->master);
    check_committed(seat->master);
}

void reload_on_prepared(struct seat *seat, uint64_t number)
{
    struct reload *reload = &seat->master->reload;
    if (reload->state != RELOAD_PREPARING || number != reload->candidate->number)
        return;
    seat->agreed = true;
    deadline_set(seat->master->loop, &reload->patience, reload->candidate->step_ms);
    go_on_preparing(seat->master);
}

void reload_on_refused(struct seat *seat, uint64_t number, struct span why)
{
    struct reload *reload = &seat->master->reload;
    if (reload->state == RELOAD_PREPARING && number == reload->candidate->number) {
        buf_printf(&reload->text, "worker %" PRIu32 ": %.*s%s", seat->index, SPAN_ARG(why),
                   span_ends_with(why, SPAN("\n")) ? "" : "\n");
        abort_it(seat->master);
        return;
    }
    /* Only of what is committed it matters still: it would serve something else than the rest. */
    if (seat->master->committed == NULL || number != seat->master->committed->number)
        return;
    char who[64];
    (void)snprintf(who, sizeof(who),
                   "worker %" PRIu32 " cannot follow, it is killed: ", seat->index);
    log_lines(LOG_ERROR, who, why);
    (void)kill(seat->pid, SIGKILL);
}

void reload_on_committed(struct seat *seat, uint64_t number)
{
    if (seat->master->reload.state == RELOAD_COMMITTING &&
        number == seat->master->committed->number)
        seat->agreed = true;
    check_committed(seat->master);
}

void reload_on_death(struct seat *seat, const char *how)
{
    struct reload *reload = &seat->master->reload;
    if (reload->state == RELOAD_PREPARING && seat->asked) {
        seat->asked = false;
        buf_printf(&reload->text, "worker %" PRIu32 " died preparing it: %s\n", seat->index, how);
        abort_it(seat->master);
        return;
    }
    go_on_preparing(seat->master);
    check_committed(seat->master);
}

static void on_patience(struct deadline *deadline)
{
    struct master *master = LIST_ENTRY(deadline, struct master, reload.patience);
    bool committing = master->reload.state == RELOAD_COMMITTING;
    for (uint32_t i = 0; i < master->instance->workers; i++) {
        struct seat *seat = &master->seats[i];
        if (seat->state == SEAT_EMPTY || seat->agreed)
            continue;
        buf_printf(&master->reload.text, "worker %" PRIu32 " did not answer in time\n",
                   seat->index);
        if (committing && seat->state == SEAT_READY)
            (void)kill(seat->pid, SIGKILL); /* its replacement has the new one */
    }
    if (committing)
        finish(master, EXIT_FINE);
    else
        abort_it(master);
}

/* ---- probe */

static void on_probed(struct probe_result *result, void *user)
{
    struct master *master = user;
    struct reload *reload = &master->reload;
    reload->probe = NULL;
    buf_span(&reload->text, result->text);
    reload->facts = result->facts;
    reload->manifest = result->manifest;
    result->manifest = (struct manifest){0};
    if (master->starting) {
        master->instance->code = result->code;
        reload->state = RELOAD_NONE;
    } else if (result->code != EXIT_FINE) {
        finish(master, result->code);
    } else {
        prepare(master);
    }
}

static bool probe(struct master *master)
{
    char why[512];
    struct reload *reload = &master->reload;
    reload->probe = probe_start(master->instance, master->loop, reload->candidate, master_forget,
                                on_probed, master, why, sizeof(why));
    if (reload->probe == NULL) {
        buf_printf(&reload->text, "%s\n", why);
        return false;
    }
    reload->state = RELOAD_PROBING;
    return true;
}

static void begin(struct master *master)
{
    struct reload *reload = &master->reload;
    const char *file = master->instance->options->file;
    buf_free(&reload->text);
    reload->event++;
    log_notice("reading %s again", file);
    enum weir_err err = revision_read(file, ++reload->last_number, &reload->candidate);
    if (err != WEIR_OK) {
        buf_printf(&reload->text, "%s: %s\n", file,
                   err == WEIR_ERR_SYSTEM ? strerrordesc_np(errno) : weir_err_text(err));
        finish(master, EXIT_FAILED);
    } else if (!probe(master)) {
        finish(master, EXIT_FAILED);
    }
}

void reload_make(struct master *master)
{
    deadline_init(&master->reload.patience, on_patience);
}

void reload_ask(struct master *master, struct control_client *client)
{
    struct reload *reload = &master->reload;
    if (master->stop != STOP_NONE) {
        if (client != NULL)
            control_answer(client, EXIT_FAILED, SPAN("the gateway is stopping\n"));
        return;
    }
    /* Whether it begins now or after the one that runs, its event is the next. */
    if (client != NULL)
        control_wait(client, reload->event + 1);
    if (reload->state == RELOAD_NONE && !master->starting)
        begin(master);
    else
        reload->again = true;
}

void reload_allow(struct master *master)
{
    if (!master->reload.again)
        return;
    master->reload.again = false;
    begin(master);
}

bool reload_try_first(struct master *master)
{
    struct instance *instance = master->instance;
    struct reload *reload = &master->reload;
    reload->candidate = TAKE(instance->first);
    reload->last_number = reload->candidate->number;
    instance->code = EXIT_FAILED;
    if (!probe(master))
        return instance_refuse(instance, EXIT_FAILED, "%.*s", SPAN_ARG(buf_view(&reload->text)));
    while (reload->state == RELOAD_PROBING && master->stop == STOP_NONE)
        loop_run_once(master->loop);
    if (master->stop != STOP_NONE)
        return false;
    (void)fprintf(stderr, "%.*s", SPAN_ARG(buf_view(&reload->text)));
    buf_free(&reload->text);
    if (instance->code != EXIT_FINE)
        return false;
    take_over(master);
    return true;
}

void reload_cancel(struct master *master)
{
    struct reload *reload = &master->reload;
    reload->again = false;
    probe_cancel(reload->probe);
    reload->probe = NULL;
    if (reload->state != RELOAD_NONE && !master->starting) {
        buf_text(&reload->text, "the gateway is stopping\n");
        /* Committed is committed. */
        if (reload->state == RELOAD_COMMITTING)
            finish(master, EXIT_FINE);
        else
            abort_it(master);
    }
    drop_candidate(master);
    reload->state = RELOAD_NONE;
}
