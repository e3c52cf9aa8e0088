/* --single-process: a worker without a master, for debuggers, valgrind and profilers. A reload is
 * built in place: no trial process, so a plugin that crashes takes the gateway with it. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "gateway/gateway.h"
#include "net/deadline.h"
#include "net/loop.h"
#include "process/control.h"
#include "process/record.h"
#include "process/recording.h"
#include "process/top.h"
#include "process/worker.h"

enum { EVENT_END = 1 };

struct single {
    struct instance *instance;
    struct loop *loop;
    struct worker *worker;
    struct control *control;
    struct deadline patience; /* drain_delay, then drain_timeout in two halves */
    uint32_t second_half_ms;  /* 0: it is that */
    uint64_t number;
    struct revision *committed;
    bool records;
    char record_words[RECORD_WORDS_MAX];
};

static void note_facts(struct single *single, const struct generation *generation)
{
    struct gateway_facts *facts = shared_facts(single->instance->shared);
    const struct config *config = generation->config;
    facts->generation = generation->number;
    facts->services = (uint32_t)config->service_count;
    facts->routes = (uint32_t)config->route_count;
    facts->consumers = (uint32_t)config->consumer_count;
    facts->upstreams = (uint32_t)config->upstream_count;
    facts->policies = (uint32_t)config->policy_count;
    struct span hash = span_first(config->hash, sizeof(facts->config_hash));
    if (hash.size > 0)
        memcpy(facts->config_hash, hash.data, hash.size);
}

/* The exit code; `text` is what there is to say. */
static int take(struct single *single, const struct revision *revision, struct buf *text)
{
    struct mapped_text mapped;
    char why[256] = "";
    enum weir_err err = mapped_text_open(revision->fd, &mapped);
    if (err == WEIR_OK) {
        err = worker_prepare(single->worker, mapped.text, revision->number, NULL, text);
        mapped_text_close(&mapped);
    }
    const struct generation *before = worker_generation(single->worker);
    if (err == WEIR_OK)
        err = worker_commit(single->worker, revision->number, why, sizeof(why));
    if (err != WEIR_OK) {
        buf_printf(text, "%s%s", why, why[0] == '\0' ? "" : "\n");
        return err == WEIR_ERR_CONFIG ? EXIT_BAD_CONFIG : EXIT_FAILED;
    }
    const struct generation *now = worker_generation(single->worker);
    if (before != NULL)
        settings_compare(&single->instance->settings, &now->settings,
                         single->instance->options->file, text);
    note_facts(single, now);
    return EXIT_FINE;
}

/* The text that is served, for `weir record`. */
static void keep(struct single *single, struct revision **revision)
{
    revision_destroy(single->committed);
    single->committed = TAKE(*revision);
}

static int reload(struct single *single, struct buf *text)
{
    const char *file = single->instance->options->file;
    struct gateway_facts *facts = shared_facts(single->instance->shared);
    AUTO(revision_destroy) struct revision *revision = NULL;
    int code = EXIT_FAILED;
    enum weir_err err = revision_read(file, single->number + 1, &revision);
    if (err == WEIR_OK) {
        single->number++;
        code = take(single, revision, text);
        if (code == EXIT_FINE)
            keep(single, &revision);
    } else {
        buf_printf(text, "%s: %s\n", file,
                   err == WEIR_ERR_SYSTEM ? strerrordesc_np(errno) : weir_err_text(err));
    }
    if (code == EXIT_FINE) {
        facts->reloads++;
        facts->last_reload_wall_ms = clock_wall_ms();
        log_notice("configuration %" PRIu64 " is in use", single->number);
    } else {
        facts->reload_failures++;
        log_error("the reload was refused, nothing has changed: %.*s", SPAN_ARG(buf_view(text)));
    }
    return code;
}

/* ---- the end */

static void on_drained(void *user)
{
    struct single *single = user;
    loop_stop(single->loop);
}

static void on_patience(struct deadline *deadline)
{
    struct single *single = LIST_ENTRY(deadline, struct single, patience);
    int64_t timeout_ms = single->instance->settings.drain_timeout_ms;
    uint32_t patience_ms = timeout_ms > INT32_MAX ? INT32_MAX : (uint32_t)timeout_ms;
    if (!worker_is_draining(single->worker)) {
        single->second_half_ms = patience_ms / 2;
        deadline_set(single->loop, &single->patience, patience_ms - single->second_half_ms);
        worker_drain(single->worker, on_drained, single);
    } else if (single->second_half_ms > 0) {
        worker_log_active(single->worker, LOG_NOTICE, "half of drain_timeout is over");
        deadline_set(single->loop, &single->patience, single->second_half_ms);
        single->second_half_ms = 0;
    } else {
        worker_log_active(single->worker, LOG_WARN, "cut because drain_timeout came first");
        loop_stop(single->loop);
    }
}

static void stop(struct single *single)
{
    struct gateway_facts *facts = shared_facts(single->instance->shared);
    int64_t delay_ms = single->instance->settings.drain_delay_ms;
    if (facts->draining != 0) { /* the second time: at once */
        loop_stop(single->loop);
        return;
    }
    facts->draining = 1;
    facts->ready = 0;
    deadline_set(single->loop, &single->patience,
                 delay_ms > INT32_MAX ? INT32_MAX : (uint32_t)delay_ms);
}

static void on_signal(struct loop *loop, int signum, void *user)
{
    AUTO_BUF text = BUF_INIT;
    switch (signum) {
    case SIGHUP:
        (void)reload(user, &text);
        break;
    case SIGUSR1:
        log_reopen();
        break;
    case SIGINT:
        loop_stop(loop);
        break;
    default:
        stop(user);
        break;
    }
}

/* ---- weir record */

static void on_began(void *user, uint64_t number, struct span why)
{
    struct single *single = user;
    AUTO_BUF text = BUF_INIT;
    (void)number;
    if (why.size == 0)
        return;
    single->records = false;
    buf_printf(&text, "%.*s\n", SPAN_ARG(why));
    control_answer_all(single->control, EVENT_RECORD, EXIT_FAILED, buf_view(&text));
}

static void on_ended(void *user, uint64_t number, struct span numbers)
{
    struct single *single = user;
    AUTO_BUF text = BUF_INIT;
    uint64_t written = 0, lost = 0, left_out = 0;
    (void)number;
    single->records = false;
    (void)record_add(numbers, &written, &lost, &left_out);
    record_tell(&text, written, 1, lost, left_out);
    control_answer_all(single->control, EVENT_RECORD, EXIT_FINE, buf_view(&text));
}

static void record(struct single *single, struct control_client *client, struct span words)
{
    const struct recording_reports reports = {on_began, on_ended, single};
    char key[RECORD_KEY_TEXT];
    bool stops = span_equal(words, SPAN("stop"));
    if (stops != single->records) {
        control_answer(client, EXIT_FAILED,
                       stops ? SPAN("nothing is recorded\n")
                             : SPAN("another recording is under way\n"));
        return;
    }
    control_wait(client, EVENT_RECORD);
    if (stops) {
        worker_record_end(single->worker);
        return;
    }
    record_key(key);
    single->records = true;
    if (!record_words(single->record_words, sizeof(single->record_words), key, true, words))
        on_began(single, 1, SPAN("the order is too long"));
    else
        worker_record(single->worker, single->committed->fd, 1, span_text(single->record_words),
                      &reports);
    explicit_bzero(key, sizeof(key));
    explicit_bzero(single->record_words, sizeof(single->record_words));
}

static void on_question(struct control_client *client, struct span question, void *user)
{
    struct single *single = user;
    AUTO_BUF text = BUF_INIT;
    if (span_equal(question, SPAN("reload"))) {
        int code = reload(single, &text);
        control_answer(client, code, buf_view(&text));
    } else if (span_equal(question, SPAN("stop"))) {
        control_wait(client, EVENT_END);
        if (shared_facts(single->instance->shared)->draining == 0)
            stop(single);
    } else if (span_starts_with(question, SPAN("record "))) {
        record(single, client, span_from(question, 7));
    } else if (span_equal(question, SPAN("top"))) {
        top_report(single->instance->shared, client);
    } else if (span_equal(question, SPAN("status"))) {
        bool ready = shared_facts(single->instance->shared)->ready != 0;
        buf_printf(&text, "worker 0: %s, single process, configuration %" PRIu64 "\n",
                   ready ? "ready" : "draining", single->number);
        control_answer(client, ready ? EXIT_FINE : EXIT_FAILED, buf_view(&text));
    } else {
        control_answer(client, EXIT_FAILED, SPAN("expected reload, stop, status, top or record\n"));
    }
}

/* ---- the steps */

static bool start_loop(void *user)
{
    struct single *single = user;
    static const int signals[] = {SIGHUP, SIGTERM, SIGQUIT, SIGINT, SIGUSR1};
    (void)signal(SIGPIPE, SIG_IGN);
    single->loop = loop_create();
    bool good = single->loop != NULL;
    for (size_t i = 0; good && i < COUNT_OF(signals); i++)
        good = loop_signal(single->loop, signals[i], on_signal, single) == WEIR_OK;
    if (good)
        return true;
    loop_destroy(single->loop);
    return instance_refuse(single->instance, EXIT_FAILED, "cannot make the event loop");
}

static void end_loop(void *user)
{
    struct single *single = user;
    deadline_clear(&single->patience);
    loop_destroy(single->loop);
}

static bool open_control(void *user)
{
    struct single *single = user;
    char why[256];
    single->control = control_open(single->loop, single->instance->prefix.control, on_question,
                                   single, why, sizeof(why));
    return single->control != NULL || instance_refuse(single->instance, EXIT_FAILED, "%s", why);
}

static void close_control(void *user)
{
    struct single *single = user;
    control_answer_all(single->control, EVENT_END, EXIT_FINE, SPAN("stopped\n"));
    control_close(single->control, false);
}

static bool make_worker(void *user)
{
    struct single *single = user;
    char why[256];
    crash_catch(single->instance->crashes, STDERR_FILENO);
    single->worker = worker_create(single->instance, single->loop, 0, why, sizeof(why));
    return single->worker != NULL || instance_refuse(single->instance, EXIT_FAILED, "%s", why);
}

static void unmake_worker(void *user)
{
    struct single *single = user;
    worker_destroy(single->worker);
    revision_destroy(single->committed);
}

static bool serve_first(void *user)
{
    struct single *single = user;
    AUTO_BUF text = BUF_INIT;
    AUTO(revision_destroy) struct revision *revision = TAKE(single->instance->first);
    single->number = revision->number;
    int code = take(single, revision, &text);
    (void)fprintf(stderr, "%.*s", SPAN_ARG(buf_view(&text)));
    single->instance->code = code;
    if (code == EXIT_FINE)
        keep(single, &revision);
    return code == EXIT_FINE;
}

static bool announce(void *user)
{
    struct single *single = user;
    shared_facts(single->instance->shared)->ready = 1;
    instance_announce(single->instance);
    return true;
}

/* clang-format off */
static const struct start_step steps[] = {
    {"event loop",      start_loop,   end_loop},
    {"control socket",  open_control, close_control},
    {"worker",          make_worker,  unmake_worker},
    {"configuration",   serve_first,  NULL},
    {"ready",           announce,     NULL},
};
/* clang-format on */

int single_run(struct instance *instance)
{
    struct single single = {.instance = instance};
    deadline_init(&single.patience, on_patience);
    size_t done = steps_run(steps, COUNT_OF(steps), &single);
    if (done == COUNT_OF(steps)) {
        loop_run(single.loop);
        log_notice("stopped");
        instance->code = EXIT_FINE;
    }
    steps_undo(steps, done, &single);
    return instance->code;
}
