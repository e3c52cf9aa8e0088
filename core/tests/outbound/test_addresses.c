/* A name with several addresses: the next one is tried when one refuses or swallows packets. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <unistd.h>

#include "support.h"

TestSuite(outbound_addresses, .timeout = 60);

/* Says of every name that it is 127.0.0.2 and 127.0.0.3. */
struct name_server {
    struct watch watch;
    int fd;
    char csv[64];
};

static void on_question(struct watch *watch, int events)
{
    struct name_server *server = watch->user;
    unsigned char packet[512];
    struct sockaddr_in from;
    socklen_t from_size = sizeof(from);
    (void)events;
    ssize_t got =
        recvfrom(server->fd, packet, sizeof(packet) - 64, 0, (struct sockaddr *)&from, &from_size);
    if (got < 17)
        return;
    size_t end = 12;
    while (end < (size_t)got && packet[end] != 0)
        end += packet[end] + 1U;
    size_t size = end + 5;
    bool v4 = packet[end + 2] == 1;
    packet[2] = 0x81; /* an answer, recursion desired */
    packet[3] = 0x80;
    memset(packet + 6, 0, 6);
    for (unsigned char last = 2; v4 && last <= 3; last++) {
        unsigned char record[] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, last};
        packet[7]++;
        memcpy(packet + size, record, sizeof(record));
        size += sizeof(record);
    }
    (void)sendto(server->fd, packet, size, 0, (struct sockaddr *)&from, from_size);
}

static void name_server_start(struct world *world, struct name_server *server)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(in);
    *server = (struct name_server){0};
    server->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    cr_assert_eq(bind(server->fd, (struct sockaddr *)&in, size), 0);
    cr_assert_eq(getsockname(server->fd, (struct sockaddr *)&in, &size), 0);
    (void)snprintf(server->csv, sizeof(server->csv), "127.0.0.1:%u", (unsigned)ntohs(in.sin_port));
    server->watch.user = server;
    watch_start(world->loop, &server->watch, server->fd, WATCH_READ, on_question);
    outbound_destroy(world->outbound);
    resolver_destroy(world->resolver);
    cr_assert_not_null(world->resolver = resolver_create(world->loop, server->csv));
    cr_assert_not_null(world->outbound = outbound_create(world->loop, world->resolver, NULL));
}

struct seen {
    unsigned opened, closed;
    char why[512];
};

static void on_opened(void *user)
{
    ((struct seen *)user)->opened++;
}

static void on_data(void *user, weir_str bytes)
{
    (void)user, (void)bytes;
}

static void on_closed(void *user, weir_str why)
{
    struct seen *seen = user;
    seen->closed++;
    cr_assert(why.size < sizeof(seen->why));
    memcpy(seen->why, why.data, why.size);
}

/* A socket on 127.0.0.LAST at the server's port; `hangs`: its queue is full, so nobody gets in. */
enum { FILLERS = 16 };
static int listen_beside(const struct world *world, unsigned last, int backlog)
{
    struct sockaddr_in in = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK - 1 + last),
                             .sin_port = htons(world->server.address.port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
    cr_assert_eq(listen(fd, backlog), 0);
    return fd;
}

static void fill_queue(int fd, int fillers[FILLERS])
{
    struct sockaddr_in in;
    socklen_t size = sizeof(in);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&in, &size), 0);
    for (size_t i = 0; i < FILLERS; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(fillers[i], (struct sockaddr *)&in, size);
    }
}

Test(outbound_addresses, the_next_one_is_tried)
{
    static const struct {
        const char *reason;
        unsigned listens; /* 127.0.0.x that does; 0: none */
        bool other_hangs; /* instead of refusing */
        const char *fails;
    } rows[] = {
        {"the first is good", 2, false, NULL},
        {"the first refuses", 3, false, NULL},
        {"both refuse", 0, false, "refused"},
        {"the second hangs, nobody needs it", 2, true, NULL},
        {"the first swallows packets", 3, true, NULL},
    };
    static const struct stream_events events = {on_opened, on_data, on_closed};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct world world;
        struct name_server names;
        struct seen seen = {0};
        int fillers[FILLERS], good = -1, hung = -1;
        world_open(&world);
        name_server_start(&world, &names);
        server_start(&world); /* its port is free on the other addresses, too */
        if (rows[i].listens != 0)
            good = listen_beside(&world, rows[i].listens, 16);
        if (rows[i].other_hangs) {
            hung = listen_beside(&world, 5 - rows[i].listens, 0);
            fill_queue(hung, fillers);
        }
        weir_peer peer = {.size = sizeof(peer),
                          .host = WEIR_LIT("two.test"),
                          .port = world.server.address.port,
                          .deadline_ms = 600};
        cr_assert_not_null(stream_open(world.outbound, &peer, &events, &seen));
        TURN_UNTIL(world.loop, seen.opened + seen.closed > 0);
        cr_expect_eq(seen.opened, rows[i].fails == NULL ? 1 : 0, "%s: %s", rows[i].reason,
                     seen.why);
        if (rows[i].fails != NULL)
            cr_expect_not_null(strstr(seen.why, rows[i].fails), "%s: %s", rows[i].reason, seen.why);
        for (size_t f = 0; rows[i].other_hangs && f < FILLERS; f++)
            (void)close(fillers[f]);
        if (hung >= 0)
            (void)close(hung);
        if (good >= 0)
            (void)close(good);
        watch_stop(&names.watch);
        (void)close(names.fd);
        world_close(&world);
    }
}
