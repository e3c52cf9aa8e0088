/* Pools of idle connections. Newest first: what was used last is the warmest and the least likely
 * to be closed by the target, and the others grow old at the other end, where one deadline looks.
 */
#include "upstream/pool.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "upstream/internal.h"

struct upstreams *upstreams_create(struct loop *loop, struct resolver *resolver)
{
    struct upstreams *upstreams = calloc(1, sizeof *upstreams);
    if (upstreams == NULL)
        return NULL;
    upstreams->loop = loop;
    upstreams->resolver = resolver;
    upstreams->limits = POOL_LIMITS_DEFAULT;
    list_init(&upstreams->all);
    list_init(&upstreams->tls);
    list_init(&upstreams->spares);
    list_init(&upstreams->checks);
    upstreams->pools = map_create(64);
    upstreams->rings = map_create(64);
    if (upstreams->pools == NULL || upstreams->rings == NULL) {
        upstreams_destroy(upstreams);
        return NULL;
    }
    return upstreams;
}

/* Off its pool and back to the spares; the connection is the caller's. */
static struct conn *unlink_idle(struct idle *idle)
{
    struct target_pool *pool = idle->pool;
    list_remove(&idle->link);
    list_push_front(&pool->upstreams->spares, &idle->link);
    pool->idle_count--;
    pool->upstreams->idle--;
    return TAKE(idle->conn);
}

static void free_pool(struct target_pool *pool)
{
    if (!pool->forgotten)
        (void)map_remove(pool->upstreams->pools, span_of(pool->key, pool->key_size));
    deadline_clear(&pool->deadline);
    list_remove(&pool->all);
    pool->magic = 0;
    free(pool);
}

static void free_pool_if_unused(struct target_pool *pool)
{
    if (pool->refs == 0 && pool->idle_count == 0)
        free_pool(pool);
}

static void close_all_idle(struct target_pool *pool)
{
    while (!list_is_empty(&pool->idle))
        conn_close(unlink_idle(LIST_ENTRY(pool->idle.next, struct idle, link)));
}

void upstreams_close_idle(struct upstreams *upstreams)
{
    LIST_FOREACH (node, &upstreams->all) {
        struct target_pool *pool = LIST_ENTRY(node, struct target_pool, all);
        close_all_idle(pool);
        free_pool_if_unused(pool);
    }
}

void upstreams_destroy(struct upstreams *upstreams)
{
    if (upstreams == NULL)
        return;
    CHECK_THAT(upstreams->rings == NULL || map_count(upstreams->rings) == 0);
    CHECK_THAT(list_is_empty(&upstreams->tls));
    LIST_FOREACH (node, &upstreams->all) {
        struct target_pool *pool = LIST_ENTRY(node, struct target_pool, all);
        CHECK_THAT(pool->refs == 0);
        close_all_idle(pool);
        free_pool(pool);
    }
    while (!list_is_empty(&upstreams->spares)) {
        struct list *node = upstreams->spares.next;
        list_remove(node);
        free(LIST_ENTRY(node, struct idle, link));
    }
    map_destroy(upstreams->pools);
    map_destroy(upstreams->rings);
    free(upstreams->own);
    free(upstreams);
}

void upstreams_set_limits(struct upstreams *upstreams, struct pool_limits limits)
{
    upstreams->limits = limits;
}

size_t upstreams_idle(const struct upstreams *upstreams)
{
    return upstreams->idle;
}

/* Family, port, zone, where, TLS client and the name told to it, terminated. */
enum { KEY_MAX = 1 + 2 + 4 + 108 + 1 + sizeof(void *) + SERVER_NAME_MAX + 1 };

static size_t key_put(char *key, size_t at, const void *data, size_t size)
{
    memcpy(key + at, data, size);
    return at + size;
}

static size_t make_key(char key[KEY_MAX], const struct address *address,
                       const struct tls_client *tls, struct span server_name)
{
    size_t at = key_put(key, 0, &address->family, sizeof address->family);
    at = key_put(key, at, &address->port, sizeof address->port);
    at = key_put(key, at, &address->scope, sizeof address->scope);
    if (address->family == ADDRESS_UNIX)
        at = key_put(key, at, address->text, (size_t)address->text_size + 1);
    else
        at = key_put(key, at, address->ip, address->family == ADDRESS_V4 ? 4 : 16);
    if (tls == NULL)
        return at;
    const uintptr_t client = (uintptr_t)tls;
    at = key_put(key, at, &client, sizeof client);
    if (server_name.size > 0)
        at = key_put(key, at, server_name.data, server_name.size);
    key[at++] = '\0';
    return at;
}

static void on_oldest_expired(struct deadline *deadline)
{
    struct target_pool *pool = LIST_ENTRY(deadline, struct target_pool, deadline);
    uint32_t idle_ms = pool->upstreams->limits.idle_ms;
    uint64_t now = clock_mono_ms();
    if (idle_ms == 0)
        return;
    while (!list_is_empty(&pool->idle)) {
        struct idle *oldest = LIST_ENTRY(pool->idle.prev, struct idle, link);
        uint64_t age = now - oldest->since_ms;
        if (age < idle_ms) {
            deadline_set(pool->upstreams->loop, deadline, (uint32_t)(idle_ms - age));
            return;
        }
        conn_close(unlink_idle(oldest));
    }
    free_pool_if_unused(pool);
}

static struct target_pool *create_pool(struct upstreams *upstreams, const struct address *address,
                                       struct tls_client *tls, struct span server_name,
                                       struct span key)
{
    struct target_pool *pool = calloc(1, sizeof *pool + key.size);
    if (pool == NULL)
        return NULL;
    pool->magic = POOL_MAGIC;
    pool->tls = tls;
    pool->upstreams = upstreams;
    pool->address = *address;
    pool->key_size = key.size;
    memcpy(pool->key, key.data, key.size);
    if (tls != NULL && server_name.size > 0)
        pool->server_name = pool->key + key.size - server_name.size - 1;
    list_init(&pool->idle);
    deadline_init(&pool->deadline, on_oldest_expired);
    if (map_add(upstreams->pools, span_of(pool->key, pool->key_size), pool) != WEIR_OK) {
        free(pool);
        return NULL;
    }
    list_push_back(&upstreams->all, &pool->all);
    return pool;
}

struct target_pool *pool_acquire(struct upstreams *upstreams, const struct address *address,
                                 struct tls_client *tls, struct span server_name)
{
    char key[KEY_MAX];
    if (server_name.size > SERVER_NAME_MAX)
        return NULL; /* no DNS name is that long, no certificate carries it */
    struct span found = span_of(key, make_key(key, address, tls, server_name));
    struct target_pool *pool = map_find(upstreams->pools, found);
    if (pool == NULL)
        pool = create_pool(upstreams, address, tls, server_name, found);
    if (pool != NULL)
        pool->refs++;
    return pool;
}

void pool_release(struct target_pool *pool)
{
    if (pool == NULL)
        return;
    CHECK(pool, POOL);
    CHECK_THAT(pool->refs > 0);
    pool->refs--;
    free_pool_if_unused(pool);
}

void pools_forget(struct upstreams *upstreams, const struct tls_client *tls)
{
    LIST_FOREACH (node, &upstreams->all) {
        struct target_pool *pool = LIST_ENTRY(node, struct target_pool, all);
        if (pool->tls != tls)
            continue;
        close_all_idle(pool);
        (void)map_remove(upstreams->pools, span_of(pool->key, pool->key_size));
        pool->forgotten = true;
        pool->tls = NULL;
        free_pool_if_unused(pool);
    }
}

/* One read tells: nothing (TLS had records of its own), or the connection is of no more use. Bytes
 * before a request was sent are an answer to nobody, and giving them to the next request would be
 * response splitting. */
static void on_idle_readable(struct conn *conn)
{
    struct idle *idle = conn_user(conn);
    struct target_pool *pool = idle->pool;
    char byte;
    ssize_t got = conn_read(conn, &byte, sizeof byte);
    if (got == CONN_AGAIN)
        return;
    if (got > 0)
        log_debug("target %.*s:%u spoke on an idle connection",
                  SPAN_ARG(address_ip_text(&pool->address)), pool->address.port);
    conn_close(unlink_idle(idle));
    free_pool_if_unused(pool);
}

/* *io_look: also set when something has happened on it that the loop has not told yet. */
static struct conn *take_newest(struct target_pool *pool, uint32_t *out_requests, bool *io_look)
{
    CHECK(pool, POOL);
    if (list_is_empty(&pool->idle))
        return NULL;
    struct idle *newest = LIST_ENTRY(pool->idle.next, struct idle, link);
    *out_requests = newest->requests;
    *io_look = *io_look || conn_has_event(newest->conn);
    struct conn *conn = unlink_idle(newest);
    conn_set_events(conn, NULL, NULL);
    return conn;
}

/* TLS may have had something to say that is no byte of the target's. */
static bool is_silent(struct conn *conn)
{
    char byte;
    return conn_read(conn, &byte, sizeof byte) == CONN_AGAIN;
}

static struct conn *take_silent(struct target_pool *pool, uint32_t *out_requests, bool always_look)
{
    bool look = always_look;
    struct conn *conn;
    while ((conn = take_newest(pool, out_requests, &look)) != NULL && UNLIKELY(look) &&
           !is_silent(conn)) {
        conn_close(conn);
        look = always_look;
    }
    return conn;
}

struct conn *pool_take(struct target_pool *pool, uint32_t *out_requests)
{
    return take_silent(pool, out_requests, false);
}

struct conn *pool_take_open(struct target_pool *pool, uint32_t *out_requests)
{
    return take_silent(pool, out_requests, true);
}

bool pool_lacks_continue(const struct target_pool *pool)
{
    CHECK(pool, POOL);
    return clock_mono_ms() < pool->no_continue_until_ms;
}

void pool_note_no_continue(struct target_pool *pool)
{
    enum { NOTED_MS = 60 * 1000 };
    CHECK(pool, POOL);
    pool->no_continue_until_ms = clock_mono_ms() + NOTED_MS;
}

struct dial *pool_dial(struct target_pool *pool, uint32_t timeout_ms,
                       void (*done)(struct conn *conn, enum weir_err err, void *user), void *user)
{
    CHECK(pool, POOL);
    if (pool->forgotten)
        return NULL;
    return dial_start(pool->upstreams->loop, &pool->address, pool->tls, pool->server_name,
                      timeout_ms, done, user);
}

static bool may_keep(const struct target_pool *pool, uint32_t requests)
{
    const struct pool_limits *limits = &pool->upstreams->limits;
    return !pool->forgotten && pool->idle_count < limits->idle_max &&
           (limits->requests_max == 0 || requests < limits->requests_max);
}

static struct idle *take_spare(struct target_pool *pool)
{
    struct list *spares = &pool->upstreams->spares;
    if (pool->upstreams->idle >= IDLE_TOTAL_MAX) {
        if (list_is_empty(&pool->idle))
            return NULL;
        conn_close(unlink_idle(LIST_ENTRY(pool->idle.prev, struct idle, link)));
    }
    if (list_is_empty(spares))
        return calloc(1, sizeof(struct idle));
    struct list *node = spares->next;
    list_remove(node);
    return LIST_ENTRY(node, struct idle, link);
}

void pool_give(struct target_pool *pool, struct conn *conn, uint32_t requests)
{
    static const struct conn_events events = {.readable = on_idle_readable};
    CHECK(pool, POOL);
    struct upstreams *upstreams = pool->upstreams;
    struct idle *idle = may_keep(pool, requests) ? take_spare(pool) : NULL;
    if (idle == NULL) {
        conn_close(conn);
        return;
    }
    idle->conn = conn;
    idle->pool = pool;
    idle->since_ms = clock_mono_ms();
    idle->requests = requests;
    list_push_front(&pool->idle, &idle->link);
    pool->idle_count++;
    upstreams->idle++;
    conn_set_events(conn, &events, idle);
    if (!conn_is_reading(conn))
        conn_resume_reading(conn); /* back-pressure of the last exchange must not hide the end */
    if (!deadline_is_set(&pool->deadline) && upstreams->limits.idle_ms != 0)
        deadline_set(upstreams->loop, &pool->deadline, upstreams->limits.idle_ms);
}
