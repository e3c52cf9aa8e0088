#include <stdlib.h>

#include "gateway/overload.h"
#include "net/listen.h"

enum { ARENA_CHUNK = 16 * 1024, ARENA_SPARES = 512 };

struct entry { /* one listening socket */
    struct list link;
    struct gateway *gateway;
    struct listener *listener;
    uint16_t port;
    bool tls;
    uint64_t pauses; /* of the listener, when last looked at */
};

static void tell_idle(struct loop_task *task)
{
    struct gateway *gateway = CONTAINER_OF(task, struct gateway, idle_task);
    void (*idle)(void *user) = gateway->idle;
    gateway->idle = NULL;
    if (idle != NULL)
        idle(gateway->idle_user);
}

static void trim(struct deadline *deadline)
{
    overload_trim(CONTAINER_OF(deadline, struct gateway, trim));
}

struct gateway *gateway_create(const struct gateway_options *options)
{
    struct gateway *gateway = calloc(1, sizeof(*gateway));
    if (gateway == NULL)
        return NULL;
    gateway->loop = options->loop;
    gateway->host = options->host;
    gateway->upstreams = options->upstreams;
    gateway->slot = options->slot;
    gateway->slot->tunnels = 0; /* what a dead predecessor was in the middle of */
    list_init(&gateway->clients);
    list_init(&gateway->spares);
    list_init(&gateway->listeners);
    gateway->idle_task.run = tell_idle;
    deadline_init(&gateway->trim, trim);
    gateway->arenas = arena_pool_create(ARENA_CHUNK, ARENA_SPARES);
    if (gateway->arenas == NULL) {
        free(gateway);
        return NULL;
    }
    return gateway;
}

static void stop_listening(struct gateway *gateway)
{
    LIST_FOREACH (node, &gateway->listeners) {
        struct entry *entry = LIST_ENTRY(node, struct entry, link);
        list_remove(&entry->link);
        listener_stop(entry->listener);
        free(entry);
    }
}

void gateway_destroy(struct gateway *gateway)
{
    if (gateway == NULL)
        return;
    stop_listening(gateway);
    gateway->idle = NULL;
    LIST_FOREACH (node, &gateway->clients) {
        struct client *client = LIST_ENTRY(node, struct client, link);
        if (client->exchange != NULL)
            exchange_abort(client->exchange);
        else
            client_close(client);
    }
    loop_task_cancel(&gateway->idle_task);
    deadline_clear(&gateway->trim);
    LIST_FOREACH (node, &gateway->spares) {
        list_remove(node);
        exchange_free(LIST_ENTRY(node, struct exchange, link));
    }
    generation_unpin(gateway->current);
    arena_pool_destroy(gateway->arenas);
    free(gateway);
}

static void accepted(struct listener *listener, struct conn *conn)
{
    struct entry *entry = listener_user(listener);
    uint64_t pauses = listener_stats(listener).paused;
    entry->gateway->slot->accept_pauses += pauses - entry->pauses;
    entry->pauses = pauses;
    client_accept(entry->gateway, conn, entry->port, entry->tls);
}

static enum weir_err listen_on(struct gateway *gateway, int fd, struct tls_server *tls,
                               uint16_t port, bool with_header)
{
    CHECK_THAT(gateway->current != NULL);
    struct entry *entry = calloc(1, sizeof(*entry));
    if (entry == NULL)
        return WEIR_ERR_NO_MEMORY;
    entry->gateway = gateway;
    entry->port = port;
    entry->tls = tls != NULL;
    entry->listener = listener_start(gateway->loop, fd, tls, accepted, entry);
    if (entry->listener == NULL) {
        free(entry);
        return WEIR_ERR_NO_MEMORY;
    }
    if (with_header)
        listener_expect_header(entry->listener);
    list_push_back(&gateway->listeners, &entry->link);
    return WEIR_OK;
}

enum weir_err gateway_listen(struct gateway *gateway, int fd, struct tls_server *tls, uint16_t port)
{
    return listen_on(gateway, fd, tls, port, false);
}

enum weir_err gateway_listen_proxied(struct gateway *gateway, int fd, struct tls_server *tls,
                                     uint16_t port)
{
    return listen_on(gateway, fd, tls, port, true);
}

static struct pool_limits pool_limits_of(const struct settings *settings)
{
    struct pool_limits limits = {
        .idle_max = (uint32_t)settings->upstream_keepalive_pool_size,
        .requests_max = (uint32_t)settings->upstream_keepalive_max_requests,
        .idle_ms = (uint32_t)settings->upstream_keepalive_idle_timeout_ms,
    };
    return limits;
}

void gateway_publish(struct gateway *gateway, struct generation *generation)
{
    struct generation *old = gateway->current;
    upstreams_set_limits(gateway->upstreams, pool_limits_of(&generation->settings));
    gateway->current = generation;
    gateway->slot->generation = generation->number;
    overload_configure(gateway);
    generation_unpin(old);
}

struct generation *gateway_current(const struct gateway *gateway)
{
    return gateway->current;
}

void gateway_drain(struct gateway *gateway, void (*idle)(void *user), void *user)
{
    gateway->draining = true;
    gateway->idle = idle;
    gateway->idle_user = user;
    /* Who was let into the queue is not turned away by closing it. */
    LIST_FOREACH (node, &gateway->listeners)
        listener_accept_now(LIST_ENTRY(node, struct entry, link)->listener);
    stop_listening(gateway);
    LIST_FOREACH (node, &gateway->clients) {
        struct client *client = LIST_ENTRY(node, struct client, link);
        if (client->exchange == NULL && !client->lingering)
            client_idle(client);
    }
    if (gateway->client_count == 0)
        loop_after_turn(gateway->loop, &gateway->idle_task);
}

size_t gateway_active(const struct gateway *gateway)
{
    return gateway->active;
}

struct span gateway_date(struct gateway *gateway)
{
    uint64_t second = clock_wall_ms() / 1000;
    if (gateway->date_second != second) {
        gateway->date_second = second;
        http_date(gateway->date, second);
    }
    return span_of(gateway->date, HTTP_DATE_SIZE);
}
