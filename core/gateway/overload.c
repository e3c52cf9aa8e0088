#include "gateway/overload.h"

#include <dirent.h>
#include <inttypes.h>
#include <malloc.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

#include "base/log.h"

enum {
    SPARE_FILES = 32, /* logs, a reload, name servers, connections of policies */
    LOOKED_AT = 32,   /* clients, to find who makes room */
    YOUNG_MS = 1000,  /* who has come just now is not asked to go */
    LOG_EVERY_MS = 5000,
};

/* ---- ceilings */

/* Descriptors that are open before the first client comes. */
static uint64_t count_files(void)
{
    uint64_t count = 0;
    DIR *dir = opendir("/proc/self/fd");
    if (dir == NULL)
        return SPARE_FILES;
    while (readdir(dir) != NULL)
        count++;
    (void)closedir(dir);
    return count;
}

/* Half of the descriptors are the clients', the other half their targets': who was let in can be
 * served. */
static uint64_t reachable_clients(struct gateway *gateway)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return UINT64_MAX;
    if (gateway->own_files == 0)
        gateway->own_files = count_files() + SPARE_FILES;
    return limit.rlim_cur > gateway->own_files + 2 ? (limit.rlim_cur - gateway->own_files) / 2 : 1;
}

void overload_configure(struct gateway *gateway)
{
    const struct settings *settings = &gateway->current->settings;
    uint64_t asked =
        settings->max_connections > 0 ? (uint64_t)settings->max_connections : UINT64_MAX;
    uint64_t most = reachable_clients(gateway);
    bool is_told = gateway->clients_max != 0;
    gateway->clients_max = asked < most ? asked : most;
    gateway->memory_max = settings->max_memory > 0 ? (uint64_t)settings->max_memory : UINT64_MAX;
    gateway->slot->connections_max = gateway->clients_max;
    if (most < asked && !is_told && asked != UINT64_MAX)
        log_notice("%" PRIu64 " client connections at most instead of the %" PRIu64
                   " of max_connections: more descriptors are needed (ulimit -n)",
                   most, asked);
}

/* ---- refusals */

void overload_refused(struct gateway *gateway, enum overload which)
{
    static const char *const names[] = {
        [OVERLOAD_CONNECTIONS] = "max_connections is reached",
        [OVERLOAD_MEMORY] = "max_memory is reached",
        [OVERLOAD_DESCRIPTORS] = "no descriptor is left for a target",
    };
    uint64_t now_ms = clock_mono_ms();
    gateway->slot->limit_refusals++;
    if (which == OVERLOAD_MEMORY)
        gateway->slot->memory_refusals++;
    gateway->refused[which]++;
    if (now_ms < gateway->told_ms[which] + LOG_EVERY_MS && gateway->told_ms[which] != 0)
        return;
    gateway->told_ms[which] = now_ms;
    uint64_t refused = gateway->refused[which];
    gateway->refused[which] = 0;
    log_warn("%s: %" PRIu64 " refused since this was last said, %zu clients, %zu requests, %" PRIu64
             " bytes for them",
             names[which], refused, gateway->client_count, gateway->active, gateway->memory);
}

void overload_refuse(struct exchange *x, enum overload which)
{
    overload_refused(x->gateway, which);
    if (http_headers_set(&x->request.response.headers, HTTP_HEADER_RETRY_AFTER, SPAN("Retry-After"),
                         SPAN("1")) != WEIR_OK)
        request_log(&x->request, LOG_WARN, "no room for Retry-After");
}

void overload_answer(struct conn *conn)
{
    static const char answer[] = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n"
                                 "Content-Length: 0\r\nConnection: close\r\n\r\n";
    (void)conn_write(conn, span_of(answer, sizeof(answer) - 1));
}

/* ---- who makes room */

/* How long a client has only waited, in ms; 0: it does something, or has come just now. A second
 * thought is given to one whose next bytes are there already. */
static uint64_t waited_ms(const struct client *client)
{
    const struct settings *settings = &client->gateway->current->settings;
    const struct exchange *x = client->exchange;
    uint64_t now_ms = clock_mono_ms(), since_ms;
    bool is_idle = x == NULL && client->requests > 0;
    int waiting = 0;
    if (client->lingering || (x != NULL && x->state != STATE_READ_HEAD))
        return 0;
    if (x != NULL) {
        since_ms = x->begun_us / 1000;
    } else {
        int64_t ms = is_idle ? settings->keepalive_timeout_ms : settings->client_header_timeout_ms;
        since_ms = client->deadline.at_ms - (uint64_t)ms;
    }
    uint64_t age_ms = now_ms > since_ms ? now_ms - since_ms : 0;
    if (!is_idle && age_ms < YOUNG_MS)
        return 0;
    if (x == NULL && ioctl(conn_fd(client->conn), FIONREAD, &waiting) == 0 && waiting > 0)
        return 0;
    /* Between two requests one loses less than in the middle of a head. */
    return is_idle ? age_ms + 1 + (UINT64_MAX >> 1) : age_ms;
}

static bool make_room(struct gateway *gateway)
{
    struct client *found = NULL;
    uint64_t longest = 0;
    for (int i = 0; i < LOOKED_AT && !list_is_empty(&gateway->clients); i++) {
        struct client *client = LIST_ENTRY(gateway->clients.next, struct client, link);
        uint64_t waited = waited_ms(client);
        list_remove(&client->link); /* the next look begins behind it */
        list_push_back(&gateway->clients, &client->link);
        if (waited > longest) {
            longest = waited;
            found = client;
        }
    }
    if (found == NULL)
        return false;
    gateway->slot->displaced++;
    if (found->exchange == NULL) {
        client_close(found);
    } else {
        overload_answer(found->conn);
        exchange_abort(found->exchange);
    }
    return true;
}

bool overload_admit(struct gateway *gateway)
{
    return LIKELY(gateway->client_count < gateway->clients_max) || make_room(gateway);
}

/* ---- memory */

static void drop_spares(struct gateway *gateway, size_t keep)
{
    while (gateway->spare_count > keep) {
        struct exchange *x = LIST_ENTRY(gateway->spares.prev, struct exchange, link);
        list_remove(&x->link);
        gateway->spare_count--;
        exchange_free(x);
    }
}

bool overload_take(struct gateway *gateway, size_t bytes)
{
    if (gateway->memory + bytes > gateway->memory_max)
        drop_spares(gateway, 0);
    if (gateway->memory + bytes > gateway->memory_max)
        return false;
    gateway->memory += bytes;
    gateway->slot->memory = gateway->memory;
    return true;
}

void overload_give(struct gateway *gateway, size_t bytes)
{
    gateway->memory -= bytes;
    gateway->slot->memory = gateway->memory;
}

bool overload_recount(struct exchange *x)
{
    struct gateway *gateway = x->gateway;
    size_t now = x->collected.capacity + x->up.changed.capacity + x->down.changed.capacity +
                 request_bodies_held(&x->request) + arena_extra(x->request.arena);
    bool is_more = now > x->counted;
    gateway->memory += now - x->counted;
    x->counted = now;
    gateway->slot->memory = gateway->memory;
    return !is_more || gateway->memory <= gateway->memory_max;
}

/* Called by a deadline as long as there are many: one peak leaves no memory behind. */
void overload_trim(struct gateway *gateway)
{
    size_t unused = gateway->spares_unused; /* all the time since the last look */
    gateway->spares_unused = gateway->spare_count;
    if (unused > SPARES_NEEDED && gateway->active < SPARES_NEEDED &&
        gateway->spare_count > SPARES_NEEDED) {
        drop_spares(gateway, SPARES_NEEDED);
        (void)malloc_trim(0);
    }
    if (gateway->spare_count > SPARES_NEEDED)
        deadline_set(gateway->loop, &gateway->trim, TRIM_MS);
}
