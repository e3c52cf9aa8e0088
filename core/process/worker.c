#include "process/worker.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "gateway/gateway.h"
#include "net/resolve.h"
#include "process/services.h"
#include "upstream/pool.h"

struct worker {
    struct instance *instance; /* borrowed */
    struct loop *loop;         /* borrowed */
    uint32_t index;
    struct worker_slot *slot;
    struct services services;
    struct resolver *resolver;
    struct upstreams *upstreams;
    struct plugin_host *host;
    struct images *images;
    struct gateway *gateway;
    void *side;                   /* of options->side, NULL: none */
    struct generation *candidate; /* one pin, NULL: none */
    bool listening, draining;
};

/* What a dead predecessor counted goes on; what it was in the middle of does not. */
static void take_slot(struct worker *worker)
{
    struct worker_slot *slot = shared_worker(worker->instance->shared, worker->index);
    slot->policy_plus_one = 0;
    slot->active = slot->connections = slot->reading = slot->writing = slot->waiting = 0;
    slot->generation = 0;
    slot->pid = getpid();
    slot->started_wall_ms = clock_wall_ms();
    slot->state = WORKER_STARTING;
    worker->slot = slot;
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
    worker->host = plugin_host_create(&worker->services.table, instance->shared, worker->index);
    if (worker->host == NULL)
        return "no memory for the plugin host";
    services_set_host(&worker->services, worker->host);
    if ((worker->images = images_create(worker->host, instance->prefix.images)) == NULL)
        return "no memory for images";
    worker->gateway = gateway_create(&(struct gateway_options){.loop = worker->loop,
                                                               .host = worker->host,
                                                               .upstreams = worker->upstreams,
                                                               .slot = worker->slot});
    if (worker->gateway == NULL)
        return "no memory for the gateway";
    if (side != NULL && (worker->side = side->create(worker->loop, worker->gateway,
                                                     instance->shared, worker->index)) == NULL)
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
    gateway_destroy(worker->gateway);
    /* The last exchanges and connections are freed after the turn and still hold what follows. */
    loop_poll(worker->loop);
    services_set_host(&worker->services, NULL);
    images_destroy(worker->images);
    plugin_host_destroy(worker->host);
    services_end_peers(&worker->services);
    upstreams_destroy(worker->upstreams);
    loop_poll(worker->loop);
    resolver_destroy(worker->resolver);
    services_fini(&worker->services);
    worker->slot->state = WORKER_DEAD;
    worker->slot->pid = 0;
    free(worker);
}

/* ---- the candidate */

static enum weir_err build(struct worker *worker, struct span text, uint64_t number,
                           const char *folder, struct problems *problems)
{
    const struct run_options *options = worker->instance->options;
    size_t count = options->flag_count;
    struct settings_flag *flags = calloc(count + 1, sizeof(*flags));
    if (flags == NULL)
        return WEIR_ERR_NO_MEMORY;
    if (count > 0)
        memcpy(flags, options->flags, count * sizeof(*flags));
    /* A flag wins over file and environment. */
    if (folder != NULL)
        flags[count++] = (struct settings_flag){SPAN("plugin_path"), span_text(folder)};
    struct generation_source source = {.text = text,
                                       .file = options->file,
                                       .flags = flags,
                                       .flag_count = count,
                                       .plugin_path = options->plugin_path,
                                       .host = worker->host,
                                       .images = worker->images,
                                       .upstreams = worker->upstreams,
                                       .number = number};
    enum weir_err err = generation_build(&source, problems, &worker->candidate);
    free(flags);
    return err;
}

enum weir_err worker_prepare(struct worker *worker, struct span text, uint64_t number,
                             const char *folder, struct buf *out_text)
{
    worker_abort(worker);
    AUTO(arena_destroy) struct arena *arena = arena_create(NULL);
    struct problems *problems = arena == NULL ? NULL : problems_create(arena);
    if (problems == NULL)
        return WEIR_ERR_NO_MEMORY;
    enum weir_err err = build(worker, text, number, folder, problems);
    problems_print(problems, out_text, false);
    if (err != WEIR_OK) {
        if (err != WEIR_ERR_CONFIG)
            buf_printf(out_text, "%s\n", weir_err_text(err));
        return err;
    }
    char why[512] = "";
    err = generation_start(worker->candidate, why, sizeof(why));
    if (err == WEIR_OK)
        return WEIR_OK;
    buf_printf(out_text, "%s\n", why[0] != '\0' ? why : weir_err_text(err));
    worker_abort(worker);
    return err;
}

void worker_abort(struct worker *worker)
{
    generation_unpin(worker->candidate);
    worker->candidate = NULL;
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
        if (item->kind == SOCKET_PROXY)
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

void worker_end_side(struct worker *worker)
{
    if (worker->side != NULL)
        worker->instance->options->side->destroy(worker->side);
    worker->side = NULL;
}
