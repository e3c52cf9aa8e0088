#include "world.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/internal.h"
#include "plugin_host/parks.h"
#include "plugin_host/policies.h"

enum { START_US = 1000000000, SHARED_SIZE = 1 << 20, CLEAR_MS = 120000 };

/* ---- what a worker lends to policies */

struct lent_timer {
    struct list link;
    struct world *world;
    struct deadline deadline;
    uint32_t repeat_ms;
    void (*fire)(void *arg);
    void *arg;
};

static void on_timer(struct deadline *deadline)
{
    struct lent_timer *timer = LIST_ENTRY(deadline, struct lent_timer, deadline);
    void (*fire)(void *arg) = timer->fire;
    void *arg = timer->arg;
    if (timer->repeat_ms > 0) {
        deadline_set(timer->world->loop, &timer->deadline, timer->repeat_ms);
    } else {
        list_remove(&timer->link);
        free(timer);
    }
    fire(arg);
}

static void *start_timer(void *user, uint32_t delay_ms, uint32_t repeat_ms, void (*fire)(void *arg),
                         void *arg)
{
    struct world *world = user;
    struct lent_timer *timer = calloc(1, sizeof(*timer));
    if (timer == NULL)
        return NULL;
    timer->world = world;
    timer->repeat_ms = repeat_ms;
    timer->fire = fire;
    timer->arg = arg;
    deadline_init(&timer->deadline, on_timer);
    deadline_set(world->loop, &timer->deadline, delay_ms);
    list_push_back(&world->timers, &timer->link);
    return timer;
}

static void stop_timer(void *user, void *handle)
{
    struct lent_timer *timer = handle;
    (void)user;
    deadline_clear(&timer->deadline);
    list_remove(&timer->link);
    free(timer);
}

static void turn_policies(struct loop_task *task)
{
    plugin_host_turn(CONTAINER_OF(task, struct world, policy_turn)->host);
}

static void turn_soon(void *user)
{
    struct world *world = user;
    loop_after_turn(world->loop, &world->policy_turn);
}

/* ---- sockets */

static void hold(struct world *world, int fd)
{
    size_t at = 0;
    while (at < WORLD_FDS && world->fds[at] >= 0)
        at++;
    CHECK_THAT(at < WORLD_FDS);
    world->fds[at] = fd;
}

/* Without TIME_WAIT: thousands of them in a second would use up the ports. */
static void close_hard(int fd)
{
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    (void)close(fd);
}

static struct sockaddr_in loopback(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
}

static int bound_socket(int type, uint16_t *out_port)
{
    struct sockaddr_in in = loopback(0);
    socklen_t size = sizeof(in);
    int fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    CHECK_THAT(fd >= 0 && bind(fd, (struct sockaddr *)&in, size) == 0);
    CHECK_THAT(getsockname(fd, (struct sockaddr *)&in, &size) == 0);
    *out_port = ntohs(in.sin_port);
    return fd;
}

static int listening_socket(uint16_t *out_port)
{
    int fd = bound_socket(SOCK_STREAM, out_port);
    CHECK_THAT(listen(fd, 64) == 0);
    return fd;
}

static int dial(struct world *world, uint16_t port)
{
    struct sockaddr_in in = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    CHECK_THAT(fd >= 0);
    CHECK_THAT(connect(fd, (struct sockaddr *)&in, sizeof(in)) == 0 || errno == EINPROGRESS);
    hold(world, fd);
    return fd;
}

/* ---- the configuration */

static void expand(const struct world *world, const char *yaml, struct buf *out)
{
    for (; *yaml != '\0'; yaml++) {
        unsigned target = (unsigned)(yaml[1] - '1');
        if (*yaml != '@' || target >= world->targets) {
            buf_byte(out, *yaml);
            continue;
        }
        buf_printf(out, "127.0.0.1:%u", (unsigned)world->ports[target]);
        yaml++;
    }
    CHECK_THAT(!out->failed);
}

static struct generation *build(struct world *world, const char *yaml)
{
    static char *no_environment[] = {NULL};
    const char *folder = getenv("WEIR_PLUGIN_DIR");
    AUTO(arena_destroy) struct arena *arena = arena_create(NULL);
    AUTO_BUF text = BUF_INIT;
    CHECK_THAT(arena != NULL);
    expand(world, yaml, &text);
    struct problems *problems = problems_create(arena);
    struct generation *generation = NULL;
    CHECK_THAT(problems != NULL);
    enum weir_err err =
        generation_build(&(struct generation_source){.text = buf_view(&text),
                                                     .file = "world.yaml",
                                                     .environment = no_environment,
                                                     .plugin_path = folder == NULL ? "" : folder,
                                                     .host = world->host,
                                                     .images = world->images,
                                                     .upstreams = world->upstreams,
                                                     .number = 1},
                         problems, &generation);
    if (err != WEIR_OK) {
        AUTO_BUF said = BUF_INIT;
        problems_print(problems, &said, false);
        (void)fprintf(stderr, "%.*s\n", SPAN_ARG(buf_view(&said)));
    }
    CHECK_THAT(generation != NULL);
    return generation;
}

/* ---- policies of this process, put in place of the configuration's chains */

static void add_policy(struct world *world, struct policies *policies, const weir_plugin *plugin,
                       void *user)
{
    struct policy *policy = arena_new(policies->arena, struct policy);
    struct built_policy *built = &policies->items[policies->count];
    size_t size = plugin->self_size > sizeof(user) ? plugin->self_size : sizeof(user);
    char *room = arena_zalloc(policies->arena, POLICY_PREFIX + size);
    CHECK_THAT(policy != NULL && room != NULL);
    policy->name = policy->path = policy->id = span_text(plugin->name);
    policy->enabled = true;
    policy->self = room + POLICY_PREFIX;
    built->run = (struct running_policy){.policy = policy,
                                         .plugin = plugin,
                                         .policies = policies,
                                         .index = (uint32_t)policies->count,
                                         .row = &world->row};
    list_init(&built->handles);
    list_init(&built->peers);
    list_init(&built->files);
    struct running_policy *run = &built->run;
    memcpy((char *)policy->self - sizeof(run), &run, sizeof(run));
    memcpy(policy->self, &user, sizeof(user));
    policies->count++;
    world->row.policies++;
}

static void add_policies(struct world *world, const struct world_options *options)
{
    struct policies *policies = world->generation->policies;
    struct running_policy *members[8];
    CHECK_THAT(policies->count == 0 && options->plugin_count <= COUNT_OF(members));
    policies->items =
        arena_array(policies->arena, struct built_policy, (size_t)options->plugin_count + 1);
    CHECK_THAT(policies->items != NULL);
    for (unsigned i = 0; i < options->plugin_count; i++) {
        add_policy(world, policies, options->plugins[i], options->user);
        members[i] = &policies->items[i].run;
    }
    policies->global =
        set_of_members(policies, policies->arena, members, options->plugin_count, SET_GLOBAL);
    CHECK_THAT(policies->global != NULL);
    for (size_t i = 0; i < policies->config->route_count; i++)
        policies->route_sets[i] = policies->global;
}

/* ---- opening and closing */

static void open_sockets(struct world *world, unsigned targets)
{
    uint16_t port;
    CHECK_THAT(targets <= WORLD_TARGETS);
    for (size_t i = 0; i < WORLD_FDS; i++)
        world->fds[i] = -1;
    world->targets = targets;
    world->door = listening_socket(&world->door_port);
    for (unsigned i = 0; i < targets; i++)
        world->listeners[i] = listening_socket(&world->ports[i]);
    world->names = bound_socket(SOCK_DGRAM, &port);
    char server[64];
    (void)snprintf(server, sizeof(server), "127.0.0.1:%u", (unsigned)port);
    world->resolver = resolver_create(world->loop, server);
    CHECK_THAT(world->resolver != NULL);
}

static void open_host(struct world *world)
{
    struct host_services services = {.user = world,
                                     .timer_start = start_timer,
                                     .timer_stop = stop_timer,
                                     .turn_soon = turn_soon};
    list_init(&world->timers);
    world->policy_turn.run = turn_policies;
    world->shared = shared_create(SHARED_SIZE, 1);
    CHECK_THAT(world->shared != NULL);
    world->slot = shared_worker(world->shared, 0);
    world->host = plugin_host_create(&services, world->shared, 0);
    CHECK_THAT(world->host != NULL);
    world->images = images_create(world->host, "/tmp");
    world->table = plugin_table_create(world->host, SPAN("world"));
    CHECK_THAT(world->images != NULL && world->table != NULL);
}

void world_open(struct world *world, const struct world_options *options)
{
    char why[256] = "";
    clock_freeze(START_US, 1700000000ULL * 1000000);
    *world = (struct world){0};
    world->loop = loop_create();
    CHECK_THAT(world->loop != NULL);
    open_sockets(world, options->targets);
    world->upstreams = upstreams_create(world->loop, world->resolver);
    CHECK_THAT(world->upstreams != NULL);
    open_host(world);
    world->gateway = gateway_create(&(struct gateway_options){.loop = world->loop,
                                                              .host = world->host,
                                                              .upstreams = world->upstreams,
                                                              .slot = world->slot});
    CHECK_THAT(world->gateway != NULL);
    world->generation = build(world, options->yaml);
    if (options->plugin_count > 0)
        add_policies(world, options);
    CHECK_THAT(generation_start(world->generation, why, sizeof(why)) == WEIR_OK);
    gateway_publish(world->gateway, world->generation);
    CHECK_THAT(gateway_listen(world->gateway, world->door, NULL, world->door_port) == WEIR_OK);
}

static void close_sockets(struct world *world)
{
    for (size_t i = 0; i < WORLD_FDS; i++)
        if (world->fds[i] >= 0)
            close_hard(world->fds[i]);
    for (unsigned i = 0; i < world->targets; i++)
        if (world->listeners[i] >= 0)
            (void)close(world->listeners[i]);
    (void)close(world->door);
    (void)close(world->names);
}

void world_close(struct world *world)
{
    gateway_destroy(TAKE(world->gateway));
    loop_poll(world->loop);
    images_destroy(world->images);
    plugin_table_destroy(world->table);
    loop_task_cancel(&world->policy_turn);
    plugin_host_destroy(world->host);
    CHECK_THAT(list_is_empty(&world->timers));
    upstreams_destroy(world->upstreams);
    loop_poll(world->loop);
    resolver_destroy(world->resolver);
    shared_destroy(world->shared);
    close_sockets(world);
    loop_destroy(world->loop);
}

/* ---- turns and time */

void world_turn(struct world *world)
{
    loop_poll(world->loop);
}

static void mix(uint64_t *print, uint64_t value)
{
    *print = (*print ^ value) * 1099511628211U;
}

/* Different when anything has moved. */
static uint64_t fingerprint(const struct world *world)
{
    uint64_t print = 14695981039346656037U;
    const struct gateway *gateway = world->gateway;
    mix(&print, world->slot->accepted);
    mix(&print, world->slot->requests);
    mix(&print, upstreams_idle(world->upstreams));
    mix(&print, world->row.suspended);
    if (gateway == NULL)
        return print;
    mix(&print, gateway->client_count);
    mix(&print, gateway->active);
    LIST_FOREACH (node, &gateway->clients) {
        const struct client *client = LIST_ENTRY(node, struct client, link);
        const struct exchange *x = client->exchange;
        mix(&print, client->number + client->lingered);
        if (x == NULL)
            continue;
        mix(&print, x->state + ((uint64_t)x->in_size << 8) + ((uint64_t)x->out_size << 32));
        mix(&print, x->up.sent + (x->up.source.taken << 32));
        mix(&print, x->down.sent + (x->down.source.taken << 32));
        mix(&print, x->attempts);
    }
    return print;
}

void world_settle(struct world *world)
{
    uint64_t before = fingerprint(world);
    for (int quiet = 0; quiet < 3; quiet++) {
        world_turn(world);
        uint64_t now = fingerprint(world);
        if (now != before)
            quiet = -1;
        before = now;
    }
}

bool world_patience(struct world *world, unsigned turns)
{
    world_turn(world);
    if (turns > 50)
        (void)usleep(1000);
    return turns < 2000;
}

void world_pass(struct world *world, uint32_t ms)
{
    clock_advance_us((uint64_t)ms * 1000);
    wheel_turn(world->loop);
    world_settle(world);
}

/* ---- clients */

int world_pair(struct world *world)
{
    int fds[2];
    struct address peer;
    CHECK_THAT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
    CHECK_THAT(address_parse(SPAN("127.0.0.1:40000"), &peer) == WEIR_OK);
    hold(world, fds[1]);
    struct conn *conn = conn_create(world->loop, fds[0], &peer);
    if (conn == NULL)
        (void)close(fds[0]);
    else
        client_accept(world->gateway, conn, world->door_port, false);
    return fds[1];
}

int world_client(struct world *world)
{
    uint64_t accepted = world->slot->accepted;
    int fd = dial(world, world->door_port);
    world_settle(world);
    if (WORLD_UNTIL(world, world->slot->accepted > accepted || world_read(fd, NULL) != WORLD_OPEN))
        return fd;
    world_leave(world, fd, true);
    return -1;
}

/* ---- targets */

int world_accept_now(struct world *world, unsigned target)
{
    int fd = accept4(world->listeners[target], NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0)
        hold(world, fd);
    return fd;
}

int world_accept(struct world *world, unsigned target)
{
    int fd = -1;
    if (world->listeners[target] < 0 ||
        !WORLD_UNTIL(world, fd >= 0 || (fd = world_accept_now(world, target)) >= 0))
        return -1;
    world_settle(world);
    return fd;
}

void world_refuse(struct world *world, unsigned target)
{
    (void)close(world->listeners[target]);
    world->listeners[target] = -1;
}

void world_stall(struct world *world, unsigned target)
{
    CHECK_THAT(listen(world->listeners[target], 0) == 0);
    (void)dial(world, world->ports[target]); /* the one place there is */
}

bool world_is_asked(const struct world *world)
{
    char byte;
    return recv(world->names, &byte, 1, MSG_PEEK) > 0;
}

static size_t end_of_question(const unsigned char *packet, size_t size)
{
    size_t at = 12;
    while (at < size && packet[at] != 0)
        at += 1 + (size_t)packet[at];
    return at + 5; /* the empty label, type and class */
}

void world_answer(struct world *world, const char *ip)
{
    unsigned char packet[512];
    struct sockaddr_in from;
    socklen_t from_size = sizeof(from);
    ssize_t got;
    while ((got = recvfrom(world->names, packet, sizeof(packet) - 16, 0, (struct sockaddr *)&from,
                           &from_size)) > 0) {
        size_t end = end_of_question(packet, (size_t)got);
        CHECK_THAT(end <= (size_t)got);
        bool v4 = packet[end - 3] == 1;
        packet[2] = 0x81;
        packet[3] = ip == NULL ? 0x83 : 0x80; /* no such name */
        memset(packet + 6, 0, 6);
        if (ip != NULL && v4) {
            static const unsigned char record[] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4};
            packet[7] = 1;
            memcpy(packet + end, record, sizeof(record));
            CHECK_THAT(inet_pton(AF_INET, ip, packet + end + sizeof(record)) == 1);
            end += sizeof(record) + 4;
        }
        (void)sendto(world->names, packet, end, 0, (struct sockaddr *)&from, from_size);
    }
}

/* ---- descriptors */

ssize_t world_send(int fd, struct span bytes)
{
    size_t sent = 0;
    while (sent < bytes.size) {
        ssize_t more = send(fd, bytes.data + sent, bytes.size - sent, MSG_NOSIGNAL);
        if (more < 0)
            return errno == EAGAIN ? (ssize_t)sent : -1;
        sent += (size_t)more;
    }
    return (ssize_t)sent;
}

enum world_end world_read(int fd, struct buf *into)
{
    char piece[16384];
    for (;;) {
        ssize_t got = recv(fd, piece, sizeof(piece), 0);
        if (got < 0)
            return errno == EAGAIN ? WORLD_OPEN : WORLD_RESET;
        if (got == 0)
            return WORLD_ENDED;
        if (into != NULL)
            buf_append(into, piece, (size_t)got);
    }
}

void world_narrow(int fd)
{
    int small = 4096;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
}

void world_finish(int fd)
{
    (void)shutdown(fd, SHUT_WR);
}

void world_leave(struct world *world, int fd, bool reset)
{
    for (size_t i = 0; i < WORLD_FDS; i++)
        if (world->fds[i] == fd)
            world->fds[i] = -1;
    if (reset)
        close_hard(fd);
    else
        (void)close(fd);
}

/* ---- what is left */

struct exchange *world_exchange(const struct world *world)
{
    LIST_FOREACH (node, &world->gateway->clients) {
        struct client *client = LIST_ENTRY(node, struct client, link);
        if (client->exchange != NULL)
            return client->exchange;
    }
    return NULL;
}

void world_clear(struct world *world)
{
    for (size_t i = 0; i < WORLD_FDS; i++)
        if (world->fds[i] >= 0)
            world_leave(world, world->fds[i], true);
    world_settle(world);
    for (unsigned i = 0; i < world->targets; i++)
        for (int fd; world->listeners[i] >= 0 && (fd = world_accept_now(world, i)) >= 0;)
            world_leave(world, fd, true);
    if (world_is_asked(world))
        world_answer(world, NULL);
    world_settle(world);
    world_pass(world, CLEAR_MS);
}

const char *world_fault(const struct world *world)
{
    const struct gateway *gateway = world->gateway;
    const struct worker_slot *slot = world->slot;
    if (gateway != NULL) {
        if (gateway->active != 0 || world_exchange(world) != NULL)
            return "an exchange is left";
        if (gateway->client_count != 0 || !list_is_empty(&gateway->clients))
            return "a client is left";
        if (world->generation->pins != 1)
            return "the generation is still pinned";
    }
    if (slot->active != 0 || slot->connections != 0 || slot->tunnels != 0)
        return "the counters of the slot do not agree";
    if (upstreams_idle(world->upstreams) != 0)
        return "an idle connection to a target is left";
    if (parks_count(world->host->parks) != 0 || world->row.suspended != 0)
        return "a hook is still parked";
    if (world->row.in_flight != 0)
        return "a build counts an exchange in flight";
    if (!list_is_empty(&world->timers))
        return "a timer of a policy is left";
    return NULL;
}
