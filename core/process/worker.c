#include "process/worker.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "gateway/gateway.h"
#include "net/deadline.h"
#include "net/resolve.h"
#include "process/build_files.h"
#include "process/recording.h"
#include "process/services.h"
#include "process/watchdog.h"
#include "upstream/cells.h"
#include "upstream/pool.h"

struct worker {
    struct instance *instance; /* borrowed */
    struct loop *loop;         /* borrowed */
    uint32_t index;
    struct worker_slot *slot;
    struct deadline beat;
    struct services services;
    struct resolver *resolver;
    struct upstreams *upstreams;
    struct plugin_host *host;
    struct images *images;
    struct gateway *gateway;
    void *side; /* of options->side, NULL: none */
    struct background *background;
    struct recording_run *recording;
    struct preparation *preparation; /* that runs, NULL: none */
    struct generation *candidate;    /* one pin, NULL: none */
    bool listening, draining;
};

/* What a dead predecessor counted goes on; what it was in the middle of does not. */
static void take_slot(struct worker *worker)
{
    struct worker_slot *slot = shared_worker(worker->instance->shared, worker->index);
    slot->policy_plus_one = 0;
    slot->active = slot->connections = slot->reading = slot->writing = slot->waiting = 0;
    slot->generation = 0;
    slot->busy = 0;
    slot->pid = getpid();
    slot->started_wall_ms = clock_wall_ms();
    slot->state = WORKER_STARTING;
    worker->slot = slot;
}

/* For the watchdog: by a timer, so that a loop which has nothing to do is not taken for one that
 * hangs. */
static void on_beat(struct deadline *deadline)
{
    struct worker *worker = LIST_ENTRY(deadline, struct worker, beat);
    const struct instance *instance = worker->instance;
    uint32_t beat_ms = watchdog_beat_ms(&instance->settings);
    worker->slot->beats++;
    if (beat_ms > 0 && !instance->options->single_process)
        deadline_set(worker->loop, &worker->beat, beat_ms);
}

static struct resolver *make_resolver(const struct worker *worker)
{
    const struct span_list *servers = &worker->instance->settings.dns_resolver;
    AUTO_BUF list = BUF_INIT;
    for (size_t i = 0; i < servers->count; i++) {
        buf_text(&list, i > 0 ? "," : "");
        buf_span(&list, servers->items[i]);
    }
    buf_byte(&list, '\0');
    return list.failed ? NULL
                       : resolver_create(worker->loop, servers->count > 0 ? list.data : NULL);
}

/* Without room in the region each worker finds out about targets for itself. */
static void share_health(struct worker *worker)
{
    struct health_table *table =
        shared_block(worker->instance->shared, sizeof(struct health_table));
    if (table == NULL)
        log_warn("shared_memory_size leaves no room for the health of targets: each worker keeps "
                 "its own");
    else
        upstreams_set_health(worker->upstreams, table);
}

static void *create_side(const struct worker *worker, const struct side_service *side)
{
    const struct instance *instance = worker->instance;
    struct span path = instance->settings.plugin_path;
    return side->create(&(struct side_options){
        .loop = worker->loop,
        .gateway = worker->gateway,
        .shared = instance->shared,
        .worker = worker->index,
        .control = instance->prefix.control,
        .plugin_path = path.size > 0 ? path.data : instance->options->plugin_path,
        .single_process = instance->options->single_process});
}

static const char *create_parts(struct worker *worker)
{
    const struct instance *instance = worker->instance;
    const struct side_service *side = instance->options->side;
    if ((worker->resolver = make_resolver(worker)) == NULL)
        return "the resolver does not start";
    if (services_begin_peers(&worker->services, worker->resolver) != WEIR_OK)
        return "no memory for connections of policies";
    if ((worker->upstreams = upstreams_create(worker->loop, worker->resolver)) == NULL)
        return "no memory for pools";
    share_health(worker);
    worker->host = plugin_host_create(&worker->services.table, instance->shared, worker->index);
    if (worker->host == NULL)
        return "no memory for the plugin host";
    services_set_host(&worker->services, worker->host);
    crash_set_host(worker->host);
    if ((worker->images = images_create(worker->host, instance->prefix.images)) == NULL)
        return "no memory for images";
    worker->gateway = gateway_create(&(struct gateway_options){.loop = worker->loop,
                                                               .host = worker->host,
                                                               .upstreams = worker->upstreams,
                                                               .slot = worker->slot});
    if (worker->gateway == NULL)
        return "no memory for the gateway";
    if ((worker->background = background_create(worker->loop)) == NULL)
        return "no memory for work beside the loop";
    worker->recording =
        recording_create(worker->loop, worker->background, worker->host, &worker->services.table);
    if (worker->recording == NULL)
        return "no memory for recordings";
    if (side != NULL && (worker->side = create_side(worker, side)) == NULL)
        return "no memory for status and admin";
    return NULL;
}

struct worker *worker_create(struct instance *instance, struct loop *loop, uint32_t index,
                             char *why, size_t why_size)
{
    struct worker *worker = calloc(1, sizeof(*worker));
    if (worker == NULL) {
        (void)snprintf(why, why_size, "no memory");
        return NULL;
    }
    worker->instance = instance;
    worker->loop = loop;
    worker->index = index;
    take_slot(worker);
    deadline_init(&worker->beat, on_beat);
    on_beat(&worker->beat);
    services_init(&worker->services, loop);
    const char *missing = create_parts(worker);
    if (missing == NULL)
        return worker;
    (void)snprintf(why, why_size, "%s", missing);
    worker_destroy(worker);
    return NULL;
}

void worker_destroy(struct worker *worker)
{
    if (worker == NULL)
        return;
    worker_end_side(worker);
    worker_abort(worker);
    recording_abandon(worker->recording);
    gateway_destroy(worker->gateway);
    /* The last exchanges and connections are freed after the turn and still hold what follows. */
    loop_poll(worker->loop);
    background_destroy(worker->background); /* ends the last configurations */
    services_set_host(&worker->services, NULL);
    images_destroy(worker->images);
    crash_set_host(NULL);
    plugin_host_destroy(worker->host);
    services_end_peers(&worker->services);
    upstreams_destroy(worker->upstreams);
    loop_poll(worker->loop);
    resolver_destroy(worker->resolver);
    services_fini(&worker->services);
    recording_destroy(worker->recording);
    deadline_clear(&worker->beat);
    worker->slot->state = WORKER_DEAD;
    worker->slot->pid = 0;
    free(worker);
}

/* ---- the candidate */

/* What a build borrows. */
struct preparation {
    struct worker *worker; /* NULL: nobody waits for it any more */
    struct arena *arena;   /* with all but the text, itself included */
    struct problems *problems;
    struct mapped_text mapped; /* ours, unless the caller keeps the text */
    struct generation_source source;
    struct generation_build *build;
    worker_prepared *prepared;
    void *user;
};

static void preparation_free(struct preparation *preparation)
{
    mapped_text_close(&preparation->mapped);
    arena_destroy(preparation->arena);
}

static bool take_flags(struct preparation *preparation, const struct run_options *options,
                       const char *folder)
{
    struct generation_source *source = &preparation->source;
    struct arena *arena = preparation->arena;
    size_t count = options->flag_count;
    struct settings_flag *flags = arena_array(arena, struct settings_flag, count + 1);
    if (flags == NULL)
        return false;
    if (count > 0)
        memcpy(flags, options->flags, count * sizeof(*flags));
    if (folder != NULL) { /* a flag wins over file and environment */
        struct span copy = arena_copy(arena, span_text(folder));
        if (copy.data == NULL)
            return false;
        flags[count++] = (struct settings_flag){SPAN("plugin_path"), copy};
    }
    source->flags = flags;
    source->flag_count = count;
    return true;
}

static struct preparation *preparation_make(struct worker *worker, uint64_t number,
                                            const char *folder)
{
    const struct run_options *options = worker->instance->options;
    struct arena *arena = arena_create(NULL);
    struct preparation *made = arena == NULL ? NULL : arena_new(arena, struct preparation);
    if (made == NULL) {
        arena_destroy(arena);
        return NULL;
    }
    made->worker = worker;
    made->arena = arena;
    made->problems = problems_create(arena);
    made->source = (struct generation_source){.file = options->file,
                                              .plugin_path = options->plugin_path,
                                              .host = worker->host,
                                              .images = worker->images,
                                              .upstreams = worker->upstreams,
                                              .background = worker->background,
                                              .number = number};
    if (made->problems != NULL && take_flags(made, options, folder) &&
        (folder == NULL || quarantine_read(folder, arena, &made->source.plugins) == WEIR_OK))
        return made;
    preparation_free(made);
    return NULL;
}

static void describe(struct problems *problems, enum weir_err err, const char *why, struct buf *out)
{
    problems_print(problems, out, false);
    if (err != WEIR_OK && err != WEIR_ERR_CONFIG)
        buf_printf(out, "%s\n", why[0] != '\0' ? why : weir_err_text(err));
}

static enum weir_err prepare(struct worker *worker, struct span text, uint64_t number,
                             const char *folder, struct buf *out_text)
{
    char why[512] = "";
    worker_abort(worker);
    struct preparation *preparation = preparation_make(worker, number, folder);
    if (preparation == NULL)
        return WEIR_ERR_NO_MEMORY;
    preparation->source.text = text;
    enum weir_err err =
        generation_build(&preparation->source, preparation->problems, &worker->candidate);
    if (err == WEIR_OK)
        err = generation_start(worker->candidate, why, sizeof(why));
    if (err != WEIR_OK)
        worker_abort(worker);
    describe(preparation->problems, err, why, out_text);
    preparation_free(preparation);
    return err;
}

enum weir_err worker_prepare(struct worker *worker, struct span text, uint64_t number,
                             const char *folder, struct buf *out_text)
{
    worker->slot->busy = 1;
    enum weir_err err = prepare(worker, text, number, folder, out_text);
    worker->slot->busy = 0;
    return err;
}

static void on_built(void *user, enum weir_err err, const char *why, struct generation *generation)
{
    struct preparation *preparation = user;
    struct worker *worker = preparation->worker;
    if (worker == NULL) {
        generation_unpin(generation);
    } else {
        AUTO_BUF text = BUF_INIT;
        worker->preparation = NULL;
        worker->candidate = generation;
        describe(preparation->problems, err, why, &text);
        preparation->prepared(preparation->user, preparation->source.number, err, buf_view(&text));
    }
    preparation_free(preparation);
}

enum weir_err worker_prepare_beside(struct worker *worker, int fd, uint64_t number,
                                    const char *folder, worker_prepared *prepared, void *user)
{
    worker_abort(worker);
    struct preparation *made = preparation_make(worker, number, folder);
    if (made == NULL)
        return WEIR_ERR_NO_MEMORY;
    made->prepared = prepared;
    made->user = user;
    enum weir_err err = mapped_text_open(fd, &made->mapped);
    made->source.text = made->mapped.text;
    if (err == WEIR_OK) {
        made->build = generation_build_begin(&made->source, made->problems, on_built, made);
        err = made->build == NULL ? WEIR_ERR_NO_MEMORY : WEIR_OK;
    }
    if (err == WEIR_OK)
        worker->preparation = made;
    else
        preparation_free(made);
    return err;
}

void worker_abort(struct worker *worker)
{
    struct preparation *preparation = TAKE(worker->preparation);
    if (preparation != NULL) {
        preparation->worker = NULL;
        generation_build_cancel(preparation->build);
    }
    generation_unpin(TAKE(worker->candidate));
}

static uint32_t bounded(int64_t value)
{
    return value < 0 ? 0 : value > UINT32_MAX ? UINT32_MAX : (uint32_t)value;
}

static void apply_settings(struct worker *worker, const struct settings *settings)
{
    struct pool_limits limits = {bounded(settings->upstream_keepalive_pool_size),
                                 bounded(settings->upstream_keepalive_max_requests),
                                 bounded(settings->upstream_keepalive_idle_timeout_ms)};
    upstreams_set_limits(worker->upstreams, limits);
    log_set_level(settings->level);
}

static enum weir_err listen_all(struct worker *worker, char *why, size_t why_size)
{
    const struct instance *instance = worker->instance;
    for (size_t i = 0; i < instance->sockets.count; i++) {
        const struct listen_socket *item = &instance->sockets.items[i];
        struct tls_server *tls = item->tls ? instance->tls : NULL;
        enum weir_err err = WEIR_OK;
        if (!socket_is_for(item, worker->index))
            continue;
        if (item->kind == SOCKET_PROXY && item->proxy_protocol)
            err = gateway_listen_proxied(worker->gateway, item->fd, tls, item->port);
        else if (item->kind == SOCKET_PROXY)
            err = gateway_listen(worker->gateway, item->fd, tls, item->port);
        else if (worker->side != NULL)
            err = instance->options->side->listen(
                worker->side, item->fd, item->kind == SOCKET_STATUS ? SIDE_STATUS : SIDE_ADMIN,
                tls);
        if (err != WEIR_OK) {
            char text[ADDRESS_TEXT];
            struct span address = address_text(&item->address, text);
            (void)snprintf(why, why_size, "cannot accept on %.*s: %s", SPAN_ARG(address),
                           weir_err_text(err));
            return err;
        }
    }
    return WEIR_OK;
}

enum weir_err worker_commit(struct worker *worker, uint64_t number, char *why, size_t why_size)
{
    struct generation *generation = worker->candidate;
    if (generation == NULL || generation->number != number) {
        (void)snprintf(why, why_size, "configuration %" PRIu64 " was not prepared", number);
        return WEIR_ERR_NOT_FOUND;
    }
    worker->candidate = NULL;
    apply_settings(worker, &generation->settings);
    const struct generation *old = gateway_current(worker->gateway);
    if (old != NULL)
        policies_hand_over(old->policies, generation->policies);
    gateway_publish(worker->gateway, generation);
    worker->slot->generation = number;
    if (worker->listening || worker->draining)
        return WEIR_OK;
    TRY(listen_all(worker, why, why_size));
    worker->listening = true;
    worker->slot->state = WORKER_READY;
    return WEIR_OK;
}

const struct generation *worker_generation(const struct worker *worker)
{
    return gateway_current(worker->gateway);
}

void worker_record(struct worker *worker, int fd, uint64_t number, struct span words,
                   const struct recording_reports *reports)
{
    struct generation *generation = gateway_current(worker->gateway);
    if (generation == NULL)
        reports->began(reports->user, number, SPAN("nothing is served yet"));
    else
        recording_begin(worker->recording, generation, fd, number, words, reports);
}

void worker_record_end(struct worker *worker)
{
    recording_end(worker->recording);
}

/* ---- the end */

void worker_drain(struct worker *worker, void (*drained)(void *user), void *user)
{
    if (worker->draining)
        return;
    worker->draining = true;
    worker->slot->state = WORKER_DRAINING;
    gateway_drain(worker->gateway, drained, user);
    /* Otherwise the kernel would go on filling a queue that nobody empties. */
    sockets_close_proxy(&worker->instance->sockets);
}

bool worker_is_draining(const struct worker *worker)
{
    return worker->draining;
}

void worker_log_active(const struct worker *worker, enum log_level level, const char *heading)
{
    enum { NAMED_MAX = 20 };
    size_t active = gateway_active(worker->gateway);
    AUTO_BUF text = BUF_INIT;
    if (active == 0)
        return;
    gateway_describe_active(worker->gateway, NAMED_MAX, &text);
    log_line(level, "%s, %zu in flight:", heading, active);
    for (struct span rest = buf_view(&text), line; span_split(&rest, '\n', &line);)
        if (!span_is_empty(line))
            log_line(level, "  %.*s", SPAN_ARG(line));
}

void worker_end_side(struct worker *worker)
{
    if (worker->side != NULL)
        worker->instance->options->side->destroy(worker->side);
    worker->side = NULL;
}
