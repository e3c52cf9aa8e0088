/* The workers as the master sees them: forked into seats, told and heard over their channels,
 * replaced when they die. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "plugin_host/chains.h"
#include "process/master.h"
#include "process/watchdog.h"
#include "process/worker.h"

enum {
    FORK_AGAIN_MS = 1000,
    CLOSED_PATIENCE_MS = 5000,
    HUNG_PATIENCE_MS = 2000, /* to leave a backtrace */
    DUMP_PATIENCE_MS = 30000,
    HEARD_MAX = 1000, /* messages in a second: a worker that says more has gone wild */
    LAST_WORDS_MAX = 100,
};

/* What is known of a worker that has said nothing itself (it was killed, or called exit()): its
 * slot. An exchange that began under an older configuration is taken for one of the present. */
static void blame_by_slot(const struct seat *seat, struct death *death)
{
    const struct master *master = seat->master;
    const struct worker_slot *slot = shared_worker(master->instance->shared, seat->index);
    bool in_making = slot->phase == BLAME_CONFIGURE || slot->phase == BLAME_START;
    const struct manifest *manifest =
        in_making && seat->asked ? &master->transaction.manifest : &master->manifest;
    death->policy = slot->policy_plus_one - 1;
    death->place = slot->phase;
    death->blamed = slot->policy_plus_one != 0;
    if (!death->blamed || death->policy >= manifest->policy_count ||
        manifest->policies[death->policy] >= manifest->build_count ||
        !(in_making || manifest->number == slot->generation))
        return;
    const struct manifest_build *build = &manifest->builds[manifest->policies[death->policy]];
    death->generation = manifest->number;
    memcpy(death->plugin, build->name, sizeof(death->plugin));
    memcpy(death->version, build->version, sizeof(death->version));
    memcpy(death->hash, build->hash.text, sizeof(death->hash));
}

/* Its channel is of no use any more: what it has to do it finishes, and a new one takes its place.
 */
static void on_wild(struct seat *seat, const char *what)
{
    if (seat->wild || seat->ended)
        return;
    seat->wild = true;
    log_error("worker %" PRIu32 " (pid %d) %s, it is replaced", seat->index, (int)seat->pid, what);
    watch_stop(&seat->watch);
    (void)kill(seat->pid, SIGTERM);
    deadline_set(seat->master->loop, &seat->patience, CLOSED_PATIENCE_MS);
}

static void on_patience(struct deadline *deadline)
{
    struct seat *seat = LIST_ENTRY(deadline, struct seat, patience);
    if (seat->state == SEAT_EMPTY) {
        seat->due = true;
        return;
    }
    if (seat->closed && !seat->wild) {
        on_wild(seat, "closed its channel");
        return;
    }
    if (seat->state == SEAT_STARTING && !seat->hung && !seat->wild) {
        crew_end_hung(seat, seat->master->committed->step_ms);
        return;
    }
    /* Its last words are said: what takes so long is a core, which a kill would cut. */
    if (seat->hung && !seat->dumping &&
        seat->master->instance->crashes[seat->index].pid == seat->pid) {
        seat->dumping = true;
        deadline_set(seat->master->loop, &seat->patience, DUMP_PATIENCE_MS);
        return;
    }
    log_error("worker %" PRIu32 " (pid %d) does not answer, it is killed", seat->index,
              (int)seat->pid);
    (void)kill(seat->pid, SIGKILL);
}

void crew_end_hung(struct seat *seat, uint64_t still_ms)
{
    AUTO_BUF what = BUF_INIT;
    struct death death = {.worker = seat->index};
    blame_by_slot(seat, &death);
    death_blame(&death, &what);
    log_error("worker %" PRIu32 " (pid %d) hangs%.*s for %" PRIu64 " ms, it is ended", seat->index,
              (int)seat->pid, SPAN_ARG(buf_view(&what)), still_ms);
    seat->hung = true;
    (void)kill(seat->pid, SIGABRT);
    deadline_set(seat->master->loop, &seat->patience, HUNG_PATIENCE_MS);
}

bool crew_make(struct master *master)
{
    master->seats = calloc(master->instance->workers, sizeof(*master->seats));
    master->buffer = calloc(1, sizeof(*master->buffer));
    for (uint32_t i = 0; master->seats != NULL && i < master->instance->workers; i++) {
        master->seats[i].master = master;
        master->seats[i].index = i;
        master->seats[i].channel = -1;
        deadline_init(&master->seats[i].patience, on_patience);
    }
    return master->seats != NULL && master->buffer != NULL;
}

static void close_channel(struct seat *seat)
{
    watch_stop(&seat->watch);
    if (seat->channel >= 0)
        (void)close(seat->channel);
    seat->channel = -1;
}

void crew_free(struct master *master)
{
    for (uint32_t i = 0; master->seats != NULL && i < master->instance->workers; i++) {
        close_channel(&master->seats[i]);
        deadline_clear(&master->seats[i].patience);
    }
    free(master->seats);
    free(master->buffer);
    master->seats = NULL;
    master->buffer = NULL;
}

void master_forget(void *user)
{
    struct master *master = user;
    control_close(master->control, true);
    crew_free(master);
    transaction_forget(master);
    watch_end(master);
    plugin_watch_end(master);
    deadline_clear(&master->stop_patience);
    watchdog_stop(master);
    loop_destroy(master->loop);
    prefix_forget(&master->instance->prefix);
}

/* ---- telling */

static bool tell(struct seat *seat, const struct message *message)
{
    if (seat->channel < 0)
        return false;
    enum weir_err err = channel_send(seat->channel, message);
    if (err == WEIR_OK)
        return true;
    if (err != WEIR_ERR_CLOSED) {
        log_error("worker %" PRIu32 " (pid %d) does not take %s: %s; it is killed", seat->index,
                  (int)seat->pid, message_name(message->type), weir_err_text(err));
        (void)kill(seat->pid, SIGKILL);
    }
    return false;
}

bool crew_say(struct seat *seat, const struct message *message)
{
    return tell(seat, message);
}

bool crew_tell(struct seat *seat, enum message_type type, uint64_t number)
{
    if (type == MESSAGE_COMMIT)
        seat->serves = number;
    return tell(seat, &(struct message){type, number, SPAN_NONE, -1});
}

void crew_tell_all(struct master *master, enum message_type type, uint64_t number)
{
    for (uint32_t i = 0; i < master->instance->workers; i++)
        if (master->seats[i].pid > 0)
            (void)crew_tell(&master->seats[i], type, number);
}

bool crew_prepare(struct seat *seat, const struct revision *revision)
{
    struct span file = span_text(seat->master->instance->options->file);
    return tell(seat, &(struct message){MESSAGE_PREPARE, revision->number, file, revision->fd});
}

void crew_signal_all(struct master *master, int signum)
{
    for (uint32_t i = 0; i < master->instance->workers; i++)
        if (master->seats[i].pid > 0)
            (void)kill(master->seats[i].pid, signum);
}

size_t crew_alive(const struct master *master)
{
    size_t alive = 0;
    for (uint32_t i = 0; master->seats != NULL && i < master->instance->workers; i++)
        alive += master->seats[i].pid > 0;
    return alive;
}

bool crew_all_ready(const struct master *master)
{
    for (uint32_t i = 0; i < master->instance->workers; i++)
        if (master->seats[i].state != SEAT_READY)
            return false;
    return true;
}

/* ---- hearing */

void crew_serve_committed(struct seat *seat)
{
    const struct revision *revision = seat->master->committed;
    if (crew_prepare(seat, revision))
        (void)crew_tell(seat, MESSAGE_COMMIT, revision->number);
}

static void on_ready(struct seat *seat)
{
    if (seat->state != SEAT_STARTING)
        return;
    deadline_clear(&seat->patience);
    seat->state = SEAT_READY;
    /* It began with what was committed then. */
    if (seat->serves != seat->master->committed->number)
        crew_serve_committed(seat);
    transaction_on_ready(seat);
}

static void on_refused(struct seat *seat, const struct message *message)
{
    struct master *master = seat->master;
    char who[64];
    if (seat->state != SEAT_STARTING) {
        transaction_on_refused(seat, message->number, message->text);
        return;
    }
    /* It ends by itself, its death is what counts. */
    (void)snprintf(who, sizeof(who), "worker %" PRIu32 " cannot serve: ", seat->index);
    if (!master->starting)
        log_lines(LOG_ERROR, who, message->text);
    else if (!master->start_failed)
        master->start_failed =
            !instance_refuse(master->instance, EXIT_FAILED, "%s%.*s", who, SPAN_ARG(message->text));
}

static void on_message(struct seat *seat, const struct message *message)
{
    switch (message->type) {
    case MESSAGE_READY:
        on_ready(seat);
        break;
    case MESSAGE_PREPARED:
        transaction_on_prepared(seat, message->number);
        break;
    case MESSAGE_REFUSED:
        on_refused(seat, message);
        break;
    case MESSAGE_COMMITTED:
        transaction_on_committed(seat, message->number);
        break;
    case MESSAGE_DRAINED:
        break; /* its end follows */
    case MESSAGE_RECORDING:
        record_on_began(seat, message->number, message->text);
        break;
    case MESSAGE_RECORDED:
        record_on_ended(seat, message->number, message->text);
        break;
    case MESSAGE_PREPARE:
    case MESSAGE_COMMIT:
    case MESSAGE_ABORT:
    case MESSAGE_DRAIN:
    case MESSAGE_REOPEN_LOG:
    case MESSAGE_QUIT:
    case MESSAGE_RECORD:
    case MESSAGE_RECORD_END:
    case MESSAGE_TYPES:
        on_wild(seat, "sent what only the master says");
        break;
    }
}

static bool says_too_much(struct seat *seat)
{
    uint64_t now_ms = clock_mono_ms();
    if (now_ms - seat->heard_ms > 1000) {
        seat->heard_ms = now_ms;
        seat->heard = 0;
    }
    return ++seat->heard > HEARD_MAX;
}

/* One message; false: no more will come for now. */
static bool hear(struct seat *seat)
{
    struct message message;
    if (seat->channel < 0)
        return false;
    enum weir_err err = channel_receive(seat->channel, seat->master->buffer, &message);
    if (err == WEIR_OK) {
        if (message.fd >= 0)
            (void)close(message.fd);
        if (says_too_much(seat))
            on_wild(seat, "sends without end");
        else
            on_message(seat, &message);
        return !seat->wild;
    }
    if (err == WEIR_ERR_AGAIN)
        return false;
    if (err != WEIR_ERR_CLOSED) {
        on_wild(seat, "sent what is no message");
        return false;
    }
    /* It is about to end, or a plugin closed what is not its own. */
    seat->closed = true;
    watch_stop(&seat->watch);
    deadline_set(seat->master->loop, &seat->patience, CLOSED_PATIENCE_MS);
    return false;
}

static void on_channel(struct watch *watch, int events)
{
    (void)events;
    (void)hear(LIST_ENTRY(watch, struct seat, watch));
}

/* ---- forking */

_Noreturn static void run_child(struct master *master, uint32_t index, int channel)
{
    struct instance *instance = master->instance;
    master_forget(master);
    sockets_keep(&instance->sockets, index);
    revision_destroy(master->committed);
    transaction_free(master);
    ledger_free(&master->ledger);
    manifest_free(&master->manifest);
    int code = worker_process_run(instance, index, channel);
    instance_forget(instance);
    exit(code);
}

static bool fork_worker(struct seat *seat)
{
    int ends[2];
    sigset_t all, before;
    if (channel_pair(ends) != WEIR_OK)
        return false;
    (void)fflush(NULL);
    /* Of who sat here before. */
    seat->master->instance->crashes[seat->index].pid = 0;
    /* A signal between fork() and the worker's own handlers would run the master's. */
    (void)sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, &before);
    pid_t pid = fork();
    if (pid == 0) {
        (void)close(ends[0]);
        run_child(seat->master, seat->index, ends[1]);
    }
    int saved = errno;
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    (void)close(ends[1]);
    if (pid < 0) {
        (void)close(ends[0]);
        errno = saved;
        return false;
    }
    seat->pid = pid;
    seat->channel = ends[0];
    return true;
}

static void fill(struct seat *seat)
{
    struct master *master = seat->master;
    seat->due = false;
    if (!fork_worker(seat)) {
        log_error("worker %" PRIu32 " cannot be started: %s", seat->index, strerrordesc_np(errno));
        deadline_set(master->loop, &seat->patience, FORK_AGAIN_MS);
        return;
    }
    seat->state = SEAT_STARTING;
    seat->hung = seat->dumping = seat->wild = seat->closed = seat->ended = false;
    seat->heard = 0;
    seat->asked = seat->agreed = false;
    watch_start(master->loop, &seat->watch, seat->channel, WATCH_READ, on_channel);
    deadline_set(master->loop, &seat->patience, master->committed->step_ms);
    crew_serve_committed(seat);
}

void crew_fork_due(struct master *master)
{
    for (uint32_t i = 0; master->seats != NULL && i < master->instance->workers; i++)
        if (master->seats[i].due && master->stop <= STOP_DELAYED)
            fill(&master->seats[i]);
}

void crew_start_all(struct master *master)
{
    for (uint32_t i = 0; i < master->instance->workers; i++)
        master->seats[i].due = true;
    crew_fork_due(master);
}

/* ---- death */

static void explain(const struct seat *seat, int status, struct death *out_death)
{
    const struct crash_record *record = &seat->master->instance->crashes[seat->index];
    *out_death = (struct death){.worker = seat->index,
                                .status = status,
                                .signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0,
                                .hung = seat->hung};
    if (!crash_tell(record, seat->pid, out_death))
        blame_by_slot(seat, out_death);
}

static void empty(struct seat *seat)
{
    struct worker_slot *slot = shared_worker(seat->master->instance->shared, seat->index);
    seat->ended = true;
    /* What it said last may be why it ended; a process it left behind may go on for ever. */
    for (int i = 0; i < LAST_WORDS_MAX && hear(seat); i++)
        continue;
    close_channel(seat);
    deadline_clear(&seat->patience);
    seat->state = SEAT_EMPTY;
    seat->pid = 0;
    slot->pid = 0;
    slot->state = WORKER_DEAD;
    slot->policy_plus_one = 0;
}

static void replace(struct seat *seat, const char *how, bool crashed)
{
    struct master *master = seat->master;
    uint32_t pause_ms = backoff_after_death(&seat->backoff, clock_mono_ms() + 1);
    shared_facts(master->instance->shared)->worker_restarts++;
    seat->due = pause_ms == 0;
    if (pause_ms > 0)
        deadline_set(master->loop, &seat->patience, pause_ms);
    log_line(crashed ? LOG_ERROR : LOG_NOTICE,
             "worker %" PRIu32 " ended: %s; replaced in %" PRIu32 " ms", seat->index, how,
             pause_ms);
}

bool crew_reaped(struct master *master, pid_t pid, int status)
{
    uint32_t i = 0;
    while (master->seats != NULL && i < master->instance->workers && master->seats[i].pid != pid)
        i++;
    if (master->seats == NULL || i == master->instance->workers)
        return false;
    struct seat *seat = &master->seats[i];
    struct death death;
    AUTO_BUF how = BUF_INIT, backtrace = BUF_INIT;
    explain(seat, status, &death);
    death_describe(&death, &how);
    buf_byte(&how, '\0');
    const char *text = how.failed ? "?" : how.data;
    /* exit() in a hook is no way to end a worker. */
    bool crashed = death.blamed || !WIFEXITED(status) || WEXITSTATUS(status) != 0;
    crash_backtrace(&master->instance->crashes[i], pid, &backtrace);
    empty(seat);
    if (master->starting && !master->start_failed && master->stop == STOP_NONE)
        master->start_failed =
            !instance_refuse(master->instance, EXIT_FAILED,
                             "worker %" PRIu32 " ended while starting: %s", seat->index, text);
    if (master->stop <= STOP_DELAYED && !master->starting)
        replace(seat, text, crashed);
    else if (crashed && !master->starting)
        log_warn("worker %" PRIu32 " ended: %s", seat->index, text);
    char who[32];
    (void)snprintf(who, sizeof(who), "worker %" PRIu32 ":", seat->index);
    log_lines(LOG_ERROR, who, buf_view(&backtrace));
    if (master->stop == STOP_NONE && !master->starting)
        quarantine_note_death(master, &death);
    record_on_death(seat);
    transaction_on_death(seat, text, &death);
    transaction_next(master);
    stop_on_death(master);
    return true;
}
