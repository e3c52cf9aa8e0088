/* The master: starts the gateway step by step, then waits for signals, questions and deaths. It
 * never loads a plugin and never reads traffic. Next: crew.c, transaction.c, stop.c. */
#include "process/master.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/log.h"
#include "process/top.h"
#include "process/watchdog.h"

static void turn(struct master *master)
{
    loop_run_once(master->loop);
    /* Here and not in a callback: a child tears this loop down. */
    crew_fork_due(master);
}

/* ---- signals */

static void on_child(struct loop *loop, int signum, void *user)
{
    struct master *master = user;
    int status;
    pid_t pid;
    (void)loop, (void)signum;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        if (!crew_reaped(master, pid, status) &&
            !probe_reaped(master->transaction.probe, pid, status))
            log_debug("an unknown child ended, pid %d", (int)pid);
}

static void on_reload(struct loop *loop, int signum, void *user)
{
    (void)loop, (void)signum;
    transaction_ask_reload(user, NULL);
}

static void on_gentle_stop(struct loop *loop, int signum, void *user)
{
    (void)loop, (void)signum;
    stop_gently(user);
}

static void on_quick_stop(struct loop *loop, int signum, void *user)
{
    (void)loop, (void)signum;
    stop_quickly(user);
}

static void on_log(struct loop *loop, int signum, void *user)
{
    (void)loop, (void)signum;
    log_reopen();
    crew_tell_all(user, MESSAGE_REOPEN_LOG, 0);
}

static bool start_loop(void *user)
{
    struct master *master = user;
    static const struct {
        int signum;
        void (*fn)(struct loop *loop, int signum, void *user);
    } signals[] = {
        {SIGCHLD, on_child},       {SIGHUP, on_reload},     {SIGTERM, on_gentle_stop},
        {SIGQUIT, on_gentle_stop}, {SIGINT, on_quick_stop}, {SIGUSR1, on_log},
    };
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error of write(), in all */
    master->loop = loop_create();
    bool good = master->loop != NULL;
    for (size_t i = 0; good && i < COUNT_OF(signals); i++)
        good = loop_signal(master->loop, signals[i].signum, signals[i].fn, master) == WEIR_OK;
    if (good)
        return true;
    loop_destroy(master->loop);
    master->loop = NULL;
    return instance_refuse(master->instance, EXIT_FAILED, "cannot make the event loop");
}

static void end_loop(void *user)
{
    struct master *master = user;
    deadline_clear(&master->transaction.patience);
    watch_end(master);
    plugin_watch_end(master);
    deadline_clear(&master->stop_patience);
    watchdog_stop(master);
    loop_destroy(master->loop);
    master->loop = NULL;
}

/* ---- questions */

static void tell_status(struct master *master, struct control_client *client)
{
    static const char *const states[] = {[WORKER_NONE] = "none",
                                         [WORKER_STARTING] = "starting",
                                         [WORKER_READY] = "ready",
                                         [WORKER_DRAINING] = "draining",
                                         [WORKER_DEAD] = "dead"};
    AUTO_BUF text = BUF_INIT;
    const struct gateway_facts *facts = shared_facts(master->instance->shared);
    for (uint32_t i = 0; i < master->instance->workers; i++) {
        const struct worker_slot *slot = shared_worker(master->instance->shared, i);
        uint32_t state = slot->state;
        buf_printf(&text,
                   "worker %" PRIu32 ": %s, pid %" PRId32 ", configuration %" PRIu64 ", %" PRIu64
                   " requests, %" PRIu64 " active\n",
                   i, state < COUNT_OF(states) ? states[state] : "?", slot->pid, slot->generation,
                   slot->requests, slot->active);
    }
    bool good = crew_all_ready(master) && facts->ready != 0;
    control_answer(client, good ? EXIT_FINE : EXIT_FAILED, buf_view(&text));
}

static void on_question(struct control_client *client, struct span question, void *user)
{
    struct master *master = user;
    if (span_equal(question, SPAN("status"))) {
        tell_status(master, client);
    } else if (span_equal(question, SPAN("reload"))) {
        transaction_ask_reload(master, client);
    } else if (span_equal(question, SPAN("plugins"))) {
        plugin_report(master, client);
    } else if (span_equal(question, SPAN("plugins json"))) {
        plugin_report_json(master, client);
    } else if (span_equal(question, SPAN("top"))) {
        top_report(master->instance->shared, client);
    } else if (span_equal(question, SPAN("stop"))) {
        control_wait(client, EVENT_STOP);
        if (master->stop == STOP_NONE) /* a second one only waits with the first */
            stop_gently(master);
    } else if (!orders_ask(master, client, question) && !record_ask(master, client, question)) {
        control_answer(
            client, EXIT_FAILED,
            SPAN("expected reload, stop, status, top, plugins, swap, rollback or record\n"));
    }
}

static bool open_control(void *user)
{
    struct master *master = user;
    char why[256];
    master->control = control_open(master->loop, master->instance->prefix.control, on_question,
                                   master, why, sizeof(why));
    return master->control != NULL || instance_refuse(master->instance, EXIT_FAILED, "%s", why);
}

static void close_control(void *user)
{
    struct master *master = user;
    control_answer_all(master->control, EVENT_STOP, EXIT_FINE, SPAN("stopped\n"));
    control_close(master->control, false);
    master->control = NULL;
}

/* ---- workers */

static bool make_crew(void *user)
{
    struct master *master = user;
    if (crew_make(master))
        return true;
    crew_free(master);
    return instance_refuse(master->instance, EXIT_FAILED, "no memory for the workers");
}

static void unmake_crew(void *user)
{
    crew_free(user);
}

static bool try_configuration(void *user)
{
    struct master *master = user;
    if (transaction_try_first(master))
        return true;
    transaction_cancel(master);
    return false;
}

static void drop_configuration(void *user)
{
    struct master *master = user;
    transaction_cancel(master);
    buf_free(&master->transaction.text);
    revision_destroy(master->committed);
    master->committed = NULL;
    manifest_free(&master->manifest);
    ledger_free(&master->ledger);
}

static void end_workers(void *user)
{
    struct master *master = user;
    crew_signal_all(master, SIGKILL);
    for (uint32_t i = 0; i < master->instance->workers; i++) {
        struct seat *seat = &master->seats[i];
        while (seat->pid > 0 && waitpid(seat->pid, NULL, 0) < 0 && errno == EINTR)
            continue;
        seat->pid = 0;
    }
}

static bool start_workers(void *user)
{
    struct master *master = user;
    crew_start_all(master);
    while (!crew_all_ready(master) && !master->start_failed && master->stop == STOP_NONE)
        turn(master);
    if (!master->start_failed && master->stop == STOP_NONE)
        return true;
    end_workers(master);
    return false;
}

static bool announce(void *user)
{
    struct master *master = user;
    master->starting = false;
    shared_facts(master->instance->shared)->ready = 1;
    instance_announce(master->instance);
    watchdog_start(master);
    plugin_watch_begin(master);
    transaction_next(master);
    return true;
}

/* clang-format off */
static const struct start_step steps[] = {
    /* name             does               undone by */
    {"event loop",      start_loop,        end_loop},
    {"control socket",  open_control,      close_control},
    {"seats",           make_crew,         unmake_crew},
    {"trial",           try_configuration, drop_configuration},
    {"workers",         start_workers,     end_workers},
    {"ready",           announce,          NULL},
};
/* clang-format on */

int master_run(struct instance *instance)
{
    struct master master = {.instance = instance, .starting = true};
    orders_init(&master.orders);
    transaction_init(&master);
    watch_init(&master);
    stop_make(&master);
    watchdog_make(&master);
    size_t done = steps_run(steps, COUNT_OF(steps), &master);
    while (done == COUNT_OF(steps) && !master.done)
        turn(&master);
    if (done == COUNT_OF(steps) || instance->ended)
        instance->code = EXIT_FINE;
    if (done == COUNT_OF(steps))
        log_notice("stopped");
    steps_undo(steps, done, &master);
    return instance->code;
}
