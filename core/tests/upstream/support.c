#include "support.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

bool guard_expired;

void on_guard(struct deadline *deadline)
{
    (void)deadline;
    guard_expired = true;
}

/* --- the name server */
static size_t question_name(const unsigned char *packet, size_t size, char out[256])
{
    size_t at = 12, used = 0;
    while (at < size && packet[at] != 0 && at + 1 + packet[at] < size && used + 65 < 256) {
        size_t length = packet[at++];
        memcpy(out + used, packet + at, length);
        used += length;
        out[used++] = '.';
        at += length;
    }
    out[used == 0 ? 0 : used - 1] = '\0';
    return at + 1;
}

static void add_answer(unsigned char *packet, size_t *size, unsigned char last)
{
    const unsigned char record[] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 0, 0, last};
    memcpy(packet + *size, record, sizeof record);
    *size += sizeof record;
    packet[7]++;
}

static void on_question(struct watch *watch, int events)
{
    struct name_server *server = watch->user;
    unsigned char packet[512];
    char name[256];
    struct sockaddr_in from;
    socklen_t from_size = sizeof from;
    (void)events;
    ssize_t got =
        recvfrom(server->fd, packet, sizeof packet - 64, 0, (struct sockaddr *)&from, &from_size);
    if (got < 17)
        return;
    size_t end = question_name(packet, (size_t)got, name);
    bool v4 = packet[end + 1] == 1;
    size_t size = end + 4;
    server->questions++;
    packet[2] = 0x81; /* an answer, recursion desired */
    packet[3] = 0x80;
    memset(packet + 6, 0, 6);
    if (strcmp(name, "broken.test") == 0) {
        packet[3] |= 2; /* SERVFAIL */
    } else if (strcmp(name, "one.test") == 0) {
        if (v4)
            add_answer(packet, &size, 9);
    } else if (strcmp(name, "three.test") == 0) {
        for (unsigned char last = 1; v4 && last <= 3; last++)
            add_answer(packet, &size, last);
    } else {
        packet[3] |= 3; /* no such name */
    }
    (void)sendto(server->fd, packet, size, 0, (struct sockaddr *)&from, from_size);
}

static void name_server_start(struct loop *loop, struct name_server *server)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof in;
    *server = (struct name_server){0};
    server->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    cr_assert_eq(bind(server->fd, (struct sockaddr *)&in, size), 0);
    cr_assert_eq(getsockname(server->fd, (struct sockaddr *)&in, &size), 0);
    (void)snprintf(server->csv, sizeof server->csv, "127.0.0.1:%u", (unsigned)ntohs(in.sin_port));
    server->watch.user = server;
    watch_start(loop, &server->watch, server->fd, WATCH_READ, on_question);
}

/* --- the world */
void world_open(struct world *world)
{
    world->loop = loop_create();
    name_server_start(world->loop, &world->names);
    world->resolver = resolver_create(world->loop, world->names.csv);
    cr_assert_not_null(world->resolver);
    world->upstreams = upstreams_create(world->loop, world->resolver);
    cr_assert_not_null(world->upstreams);
}

void world_close(struct world *world)
{
    upstreams_destroy(world->upstreams);
    resolver_destroy(world->resolver);
    watch_stop(&world->names.watch);
    (void)close(world->names.fd);
    loop_destroy(world->loop);
}

/* --- configurations */
static const struct plugin_schema *find_nothing(void *user, struct span name, char *why,
                                                size_t why_size)
{
    (void)user, (void)name, (void)why, (void)why_size;
    return NULL;
}
static const struct credential_schema *find_no_credential(void *user, struct span collection)
{
    (void)user, (void)collection;
    return NULL;
}

void setup_open(struct world *world, struct setup *setup, const char *yaml)
{
    static const struct plugin_catalog catalog = {.find = find_nothing,
                                                  .find_credential = find_no_credential};
    *setup = (struct setup){.arena = arena_create(NULL)};
    struct problems *problems = problems_create(setup->arena);
    enum weir_err err =
        config_load(setup->arena, span_text(yaml), "test.yaml", &catalog, problems, &setup->config);
    cr_assert_eq(err, WEIR_OK, "the configuration has %zu errors", problems_errors(problems));
    setup->err = balancers_build(setup->arena, world->upstreams, setup->config, &setup->balancers,
                                 setup->why, sizeof setup->why);
}

void setup_close(struct setup *setup)
{
    balancers_destroy(setup->balancers);
    arena_destroy(setup->arena);
}

const struct service *setup_service(const struct setup *setup, const char *name)
{
    const struct service *service = config_service(setup->config, span_text(name));
    cr_assert_not_null(service, "no service %s", name);
    return service;
}

/* --- a target */
static void on_site_readable(struct conn *conn)
{
    struct site *site = conn_user(conn);
    char buf[256];
    ssize_t got = conn_read(conn, buf, sizeof buf);
    if (got == CONN_AGAIN || got > 0)
        return;
    for (size_t i = 0; i < site->accepted; i++) {
        if (site->conns[i] == conn)
            site->conns[i] = NULL;
    }
    site->ended++;
    conn_close(conn);
}

static void on_accepted(struct listener *listener, struct conn *conn)
{
    static const struct conn_events events = {.readable = on_site_readable};
    struct site *site = listener_user(listener);
    cr_assert_lt(site->accepted, (size_t)SITE_MAX);
    site->conns[site->accepted++] = conn;
    conn_set_events(conn, &events, site);
}

void site_open(struct world *world, struct site *site, struct tls_server *tls)
{
    char err[200];
    struct address any;
    *site = (struct site){0};
    cr_assert_eq(address_parse(SPAN("127.0.0.1:0"), &any), WEIR_OK);
    site->fd = listen_open(&any, false, 64, err, sizeof err);
    cr_assert(site->fd >= 0, "%s", err);
    site->listener = listener_start(world->loop, site->fd, tls, on_accepted, site);
    cr_assert_not_null(site->listener);
    site->address = *listener_address(site->listener);
}

void site_close(struct site *site)
{
    for (size_t i = 0; i < site->accepted; i++)
        conn_close(site->conns[i]);
    listener_stop(site->listener);
    (void)close(site->fd);
}

void site_send(struct conn *conn)
{
    static char text[] = "HTTP/1.1 408 Request Timeout\r\n\r\n";
    struct iovec part = {text, sizeof text - 1};
    cr_assert_eq(conn_writev(conn, &part, 1), (ssize_t)part.iov_len);
}

struct dialed {
    bool done;
    struct conn *conn;
};

static void on_dialed(struct conn *conn, enum weir_err err, void *user)
{
    struct dialed *dialed = user;
    cr_assert_eq(err, WEIR_OK, "dial: %s", weir_err_text(err));
    dialed->done = true;
    dialed->conn = conn;
}

struct conn *connect_to(struct world *world, struct site *site, struct target_pool *pool)
{
    struct dialed dialed = {0};
    size_t before = site->accepted;
    cr_assert_not_null(pool_dial(pool, 5000, on_dialed, &dialed));
    TURN_UNTIL(world->loop, dialed.done && site->accepted > before);
    return dialed.conn;
}
