/* A worker driven by its control channel. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/random.h"
#include "gateway/gateway.h"
#include "net/deadline.h"
#include "process/channel.h"
#include "process/recording.h"
#include "process/worker.h"

struct worker_process {
    struct instance *instance;
    struct loop *loop;
    struct worker *worker;
    int channel;
    struct watch watch;
    struct deadline patience; /* of a drain: its first half, then its second */
    uint32_t second_half_ms;  /* 0: it is that */
    bool cut;                 /* what was under way is named in the log */
    uint64_t preparing;       /* number of the configuration, 0: none */
    uint64_t to_commit;       /* that one, as soon as it is prepared; 0: not told yet */
    int code;
    struct channel_buffer buffer;
};

static void answer(struct worker_process *process, enum message_type type, uint64_t number,
                   struct span text)
{
    struct message message = {type, number, text, -1};
    enum weir_err err = channel_send(process->channel, &message);
    if (err != WEIR_OK && err != WEIR_ERR_CLOSED)
        log_error("cannot tell the master %s: %s", message_name(type), weir_err_text(err));
}

static void end(struct worker_process *process, int code)
{
    process->code = code;
    loop_stop(process->loop);
}

/* Before anything is served a refusal is the end; afterwards the old configuration goes on. */
static void refuse(struct worker_process *process, uint64_t number, struct span text)
{
    while (span_ends_with(text, SPAN("\n")))
        text.size--;
    answer(process, MESSAGE_REFUSED, number, text);
    if (worker_generation(process->worker) == NULL)
        end(process, EXIT_FAILED);
}

static void commit(struct worker_process *process, uint64_t number)
{
    char why[256] = "";
    bool first = worker_generation(process->worker) == NULL;
    if (worker_commit(process->worker, number, why, sizeof(why)) != WEIR_OK) {
        refuse(process, number, span_text(why));
        /* Published but not listening: of no use. */
        if (first)
            end(process, EXIT_FAILED);
        return;
    }
    answer(process, MESSAGE_COMMITTED, number, SPAN_NONE);
    if (first)
        answer(process, MESSAGE_READY, number, SPAN_NONE);
}

static void on_prepared(void *user, uint64_t number, enum weir_err err, struct span text)
{
    struct worker_process *process = user;
    bool committed = process->to_commit == number;
    process->preparing = process->to_commit = 0;
    if (err == WEIR_OK)
        answer(process, MESSAGE_PREPARED, number, SPAN_NONE);
    else
        refuse(process, number, text.size > 0 ? text : span_text(weir_err_text(err)));
    if (err == WEIR_OK && committed)
        commit(process, number);
}

/* Nobody is served yet, and the sooner it can the better. */
static void prepare_first(struct worker_process *process, uint64_t number, int fd,
                          const char *folder)
{
    AUTO_BUF text = BUF_INIT;
    struct mapped_text mapped;
    enum weir_err err = mapped_text_open(fd, &mapped);
    if (err == WEIR_OK) {
        err = worker_prepare(process->worker, mapped.text, number, folder, &text);
        mapped_text_close(&mapped);
    }
    on_prepared(process, number, err, buf_view(&text));
}

static void on_prepare(struct worker_process *process, const struct message *message)
{
    const char *folder = prefix_build(&process->instance->prefix, message->number);
    enum weir_err err = message->fd < 0 ? WEIR_ERR_INVALID : WEIR_OK;
    if (err == WEIR_OK && worker_generation(process->worker) == NULL) {
        prepare_first(process, message->number, message->fd, folder);
        return;
    }
    process->preparing = message->number;
    process->to_commit = 0;
    if (err == WEIR_OK)
        err = worker_prepare_beside(process->worker, message->fd, message->number, folder,
                                    on_prepared, process);
    if (err != WEIR_OK)
        on_prepared(process, message->number, err, SPAN_NONE);
}

/* What was committed long ago is prepared and committed in one breath. */
static void on_commit(struct worker_process *process, const struct message *message)
{
    if (process->preparing == message->number)
        process->to_commit = message->number;
    else
        commit(process, message->number);
}

static void on_drained(void *user)
{
    struct worker_process *process = user;
    answer(process, MESSAGE_DRAINED, 0, SPAN_NONE);
    end(process, EXIT_FINE);
}

/* The master's patience ends at about the same time as ours: whoever is first. */
static void cut(struct worker_process *process)
{
    if (!process->cut)
        worker_log_active(process->worker, LOG_WARN,
                          worker_is_draining(process->worker)
                              ? "cut because drain_timeout or a second signal came first"
                              : "cut by a stop at once");
    process->cut = true;
    end(process, EXIT_FINE);
}

static void on_patience(struct deadline *deadline)
{
    struct worker_process *process = LIST_ENTRY(deadline, struct worker_process, patience);
    uint32_t rest_ms = process->second_half_ms;
    if (rest_ms == 0) {
        cut(process);
        return;
    }
    worker_log_active(process->worker, LOG_NOTICE, "half of drain_timeout is over");
    process->second_half_ms = 0;
    deadline_set(process->loop, &process->patience, rest_ms);
}

static void drain(struct worker_process *process)
{
    int64_t timeout_ms = process->instance->settings.drain_timeout_ms;
    uint32_t patience_ms = timeout_ms > INT32_MAX ? INT32_MAX : (uint32_t)timeout_ms;
    if (worker_is_draining(process->worker))
        return;
    process->second_half_ms = patience_ms / 2;
    deadline_set(process->loop, &process->patience, patience_ms - process->second_half_ms);
    worker_drain(process->worker, on_drained, process);
}

/* ---- weir record */

static void on_began(void *user, uint64_t number, struct span why)
{
    answer(user, MESSAGE_RECORDING, number, why);
}

static void on_ended(void *user, uint64_t number, struct span numbers)
{
    answer(user, MESSAGE_RECORDED, number, numbers);
}

static void record(struct worker_process *process, const struct message *message)
{
    const struct recording_reports reports = {on_began, on_ended, process};
    if (message->fd < 0)
        on_began(process, message->number, SPAN("no descriptor came with the order"));
    else
        worker_record(process->worker, message->fd, message->number, message->text, &reports);
}

/* ---- */

static void on_message(struct worker_process *process, const struct message *message)
{
    switch (message->type) {
    case MESSAGE_PREPARE:
        on_prepare(process, message);
        break;
    case MESSAGE_COMMIT:
        on_commit(process, message);
        break;
    case MESSAGE_ABORT:
        process->preparing = process->to_commit = 0;
        worker_abort(process->worker);
        break;
    case MESSAGE_DRAIN:
        drain(process);
        break;
    case MESSAGE_REOPEN_LOG:
        log_reopen();
        break;
    case MESSAGE_QUIT:
        cut(process);
        break;
    case MESSAGE_RECORD:
        record(process, message);
        break;
    case MESSAGE_RECORD_END:
        worker_record_end(process->worker);
        break;
    case MESSAGE_PREPARED:
    case MESSAGE_REFUSED:
    case MESSAGE_COMMITTED:
    case MESSAGE_READY:
    case MESSAGE_DRAINED:
    case MESSAGE_RECORDING:
    case MESSAGE_RECORDED:
    case MESSAGE_TYPES:
        log_error("the master sent %s", message_name(message->type));
        break;
    }
}

static void on_channel(struct watch *watch, int events)
{
    struct worker_process *process = LIST_ENTRY(watch, struct worker_process, watch);
    struct message message;
    (void)events;
    enum weir_err err = channel_receive(process->channel, &process->buffer, &message);
    if (err == WEIR_ERR_AGAIN)
        return;
    if (err == WEIR_OK) {
        on_message(process, &message);
        if (message.fd >= 0)
            (void)close(message.fd);
        return;
    }
    watch_stop(&process->watch);
    log_warn("the master is gone, this worker drains and ends");
    worker_end_side(process->worker);
    drain(process);
}

static void on_drain_signal(struct loop *loop, int signum, void *user)
{
    (void)loop, (void)signum;
    drain(user);
}

static void on_log_signal(struct loop *loop, int signum, void *user)
{
    (void)loop, (void)signum, (void)user;
    log_reopen();
}

static bool take_signals(struct worker_process *process)
{
    /* Ctrl-C and a closed terminal reach the whole group; the master tells the workers. */
    (void)signal(SIGINT, SIG_IGN);
    (void)signal(SIGHUP, SIG_IGN);
    (void)signal(SIGPIPE, SIG_IGN);
    bool good = loop_signal(process->loop, SIGTERM, on_drain_signal, process) == WEIR_OK &&
                loop_signal(process->loop, SIGQUIT, on_drain_signal, process) == WEIR_OK &&
                loop_signal(process->loop, SIGUSR1, on_log_signal, process) == WEIR_OK;
    sigset_t none;
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    return good;
}

static int serve(struct worker_process *process, uint32_t index)
{
    char why[256] = "no memory";
    process->loop = loop_create();
    if (process->loop == NULL || !take_signals(process) ||
        (process->worker =
             worker_create(process->instance, process->loop, index, why, sizeof(why))) == NULL) {
        log_error("cannot start: %s", why);
        answer(process, MESSAGE_REFUSED, 0, span_text(why));
        return EXIT_FAILED;
    }
    watch_start(process->loop, &process->watch, process->channel, WATCH_READ, on_channel);
    loop_run(process->loop);
    deadline_clear(&process->patience);
    watch_stop(&process->watch);
    return process->code;
}

int worker_process_run(struct instance *instance, uint32_t index, int channel)
{
    char role[32];
    struct worker_process *process = calloc(1, sizeof(*process));
    random_reseed();
    (void)snprintf(role, sizeof(role), "worker %" PRIu32, index);
    log_set_role(role);
    if (process == NULL)
        return EXIT_FAILED;
    process->instance = instance;
    process->channel = channel;
    deadline_init(&process->patience, on_patience);
    crash_catch(&instance->crashes[index], -1);
    int code = serve(process, index);
    worker_destroy(process->worker);
    loop_destroy(process->loop);
    (void)close(channel);
    free(process);
    return code;
}
