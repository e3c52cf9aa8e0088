/* The resolver against a name server of three names that counts its questions. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support.h"

TestSuite(net_resolve, .timeout = 60);

struct name_server {
    struct watch watch;
    int fd;
    unsigned a_questions; /* about IPv4, for any name */
    bool silent;
    unsigned char last; /* of the address it gives: 10.1.2.x */
    char csv[64];
};

/* The name of the question as text; returns where it ends. */
static size_t question_name(const unsigned char *packet, size_t size, char *out, size_t out_size)
{
    size_t at = 12, used = 0;
    while (at < size && packet[at] != 0 && at + 1 + packet[at] < size) {
        size_t length = packet[at++];
        for (size_t i = 0; i < length && used + 2 < out_size; i++)
            out[used++] = (char)packet[at + i];
        out[used++] = '.';
        at += length;
    }
    out[used == 0 ? 0 : used - 1] = '\0';
    return at + 1;
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
    size_t end = question_name(packet, (size_t)got, name, sizeof name);
    bool v4 = packet[end + 1] == 1;
    size_t size = end + 4;
    server->a_questions += v4;
    if (server->silent)
        return;
    packet[2] = 0x81; /* an answer, recursion desired */
    packet[3] = 0x80;
    memset(packet + 6, 0, 6);
    if (strcmp(name, "shop.test") != 0 && strcmp(name, "six.test") != 0) {
        packet[3] |= 3; /* no such name */
    } else if (v4 == (strcmp(name, "shop.test") == 0)) {
        unsigned char head[] = {0xc0, 12, 0, v4 ? 1 : 28, 0, 1, 0, 0, 0, 2, 0, v4 ? 4 : 16};
        unsigned char ip[16] = {10, 1, 2, server->last};
        packet[7] = 1;
        memcpy(packet + size, head, sizeof head); /* TTL 2 s */
        memcpy(packet + size + sizeof head, ip, v4 ? 4 : 16);
        size += sizeof head + (v4 ? 4 : 16);
    }
    (void)sendto(server->fd, packet, size, 0, (struct sockaddr *)&from, from_size);
}

static void name_server_start(struct loop *loop, struct name_server *server)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof in;
    *server = (struct name_server){.last = 3};
    server->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    cr_assert_eq(bind(server->fd, (struct sockaddr *)&in, size), 0);
    cr_assert_eq(getsockname(server->fd, (struct sockaddr *)&in, &size), 0);
    (void)snprintf(server->csv, sizeof server->csv, "127.0.0.1:%u", (unsigned)ntohs(in.sin_port));
    server->watch.user = server;
    watch_start(loop, &server->watch, server->fd, WATCH_READ, on_question);
}

static void name_server_stop(struct name_server *server)
{
    watch_stop(&server->watch);
    (void)close(server->fd);
}

struct asked {
    int calls;
    enum weir_err error;
    size_t count;
    struct address first;
};

static void on_resolved(const struct resolution *resolution, void *user)
{
    struct asked *asked = user;
    asked->calls++;
    asked->error = resolution->error;
    asked->count = resolution->count;
    if (resolution->count > 0)
        asked->first = resolution->addresses[0];
}

static const struct name_case {
    const char *why, *name;
    enum weir_err error;
    const char *ip;
} names[] = {
    {"from the name server", "shop.test", WEIR_OK, "10.1.2.3"},
    {"case makes no difference", "SHOP.Test", WEIR_OK, "10.1.2.3"},
    {"a final dot is legal", "shop.test.", WEIR_OK, "10.1.2.3"},
    {"only IPv6", "six.test", WEIR_OK, "a01:203::"},
    {"no such name", "nobody.test", WEIR_ERR_NO_NAME, NULL},
    {"a literal asks nobody", "192.0.2.7", WEIR_OK, "192.0.2.7"},
    {"an IPv6 literal, in the brackets of a URL", "[2001:db8::1]", WEIR_OK, "2001:db8::1"},
    {"localhost is never asked for", "localhost", WEIR_OK, "127.0.0.1"},
    {"no name at all", "", WEIR_ERR_NO_NAME, NULL},
    {"a blank cannot be in a name", "shop test", WEIR_ERR_NO_NAME, NULL},
};

Test(net_resolve, names)
{
    AUTO(loop_destroy) struct loop *loop = loop_create();
    struct name_server server;
    name_server_start(loop, &server);
    struct resolver *resolver = resolver_create(loop, server.csv);
    cr_assert_not_null(resolver);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        const struct name_case *row = &names[i];
        struct asked asked = {0};
        cr_assert_not_null(resolver_lookup(resolver, span_text(row->name), on_resolved, &asked));
        cr_assert_eq(asked.calls, 0, "%s: never before it returns", row->why);
        TURN_UNTIL(loop, asked.calls == 1);
        cr_assert_eq(asked.error, row->error, "%s", row->why);
        if (row->error != WEIR_OK)
            continue;
        cr_assert_eq(asked.count, 1, "%s", row->why);
        cr_assert_str_eq(address_ip_text(&asked.first).data, row->ip, "%s", row->why);
    }
    /* A line of /etc/hosts, whatever it says here. */
    char host[256];
    if (gethostname(host, sizeof host) == 0 && system("grep -qw \"$(hostname)\" /etc/hosts") == 0) {
        struct asked asked = {0};
        cr_assert_not_null(resolver_lookup(resolver, span_text(host), on_resolved, &asked));
        TURN_UNTIL(loop, asked.calls == 1);
        cr_assert_eq(asked.error, WEIR_OK, "%s is in /etc/hosts", host);
    }
    resolver_destroy(resolver);
    name_server_stop(&server);
}

Test(net_resolve, one_question_for_many_and_a_cache)
{
    AUTO(loop_destroy) struct loop *loop = loop_create();
    struct name_server server;
    struct asked asked[5] = {{0}}, cancelled = {0};
    name_server_start(loop, &server);
    struct resolver *resolver = resolver_create(loop, server.csv);
    cr_assert_null(resolver_cached(resolver, SPAN("shop.test")), "not known yet");
    for (size_t i = 0; i < COUNT_OF(asked); i++)
        cr_assert_not_null(resolver_lookup(resolver, SPAN("shop.test"), on_resolved, &asked[i]));
    lookup_cancel(resolver_lookup(resolver, SPAN("shop.test"), on_resolved, &cancelled));
    TURN_UNTIL(loop, asked[4].calls == 1);
    for (size_t i = 0; i < COUNT_OF(asked); i++)
        cr_assert_eq(asked[i].calls, 1);
    cr_assert_eq(cancelled.calls, 0);
    cr_assert_eq(server.a_questions, 1);

    const struct resolution *known = resolver_cached(resolver, SPAN("Shop.test"));
    cr_assert_not_null(known);
    cr_assert_eq(known->error, WEIR_OK);
    cr_assert_leq(known->expires_ms, clock_mono_ms() + 2000, "the TTL of the answer");
    cr_assert_gt(known->expires_ms, clock_mono_ms() + 1000);
    cr_assert_not_null(resolver_cached(resolver, SPAN("127.0.0.1")), "literals always are");
    cr_assert_not_null(resolver_cached(resolver, SPAN("localhost")), "localhost too");
    resolver_destroy(resolver);
    name_server_stop(&server);
}

static bool is_now(struct resolver *resolver, const char *ip)
{
    const struct resolution *known = resolver_cached(resolver, SPAN("shop.test"));
    cr_assert_not_null(known, "a stale answer is given while a new one is fetched");
    return span_equal(address_ip_text(&known->addresses[0]), span_text(ip));
}

Test(net_resolve, a_stale_answer_is_given_and_refreshed)
{
    AUTO(loop_destroy) struct loop *loop = loop_create();
    struct name_server server;
    struct asked asked = {0};
    name_server_start(loop, &server);
    struct resolver *resolver = resolver_create(loop, server.csv);
    cr_assert_not_null(resolver_lookup(resolver, SPAN("shop.test"), on_resolved, &asked));
    TURN_UNTIL(loop, asked.calls == 1);
    server.last = 4;
    cr_assert(is_now(resolver, "10.1.2.3"));
    struct deadline tick;
    deadline_init(&tick, on_guard);
    deadline_set(loop, &tick, 2100);
    guard_expired = false;
    while (!guard_expired)
        loop_run_once(loop);
    cr_assert_eq(server.a_questions, 1, "nobody asked");
    cr_assert(is_now(resolver, "10.1.2.3"), "stale");
    TURN_UNTIL(loop, is_now(resolver, "10.1.2.4"));
    cr_assert_eq(server.a_questions, 2);
    resolver_destroy(resolver);
    name_server_stop(&server);
}

Test(net_resolve, no_such_name_is_remembered)
{
    AUTO(loop_destroy) struct loop *loop = loop_create();
    struct name_server server;
    struct asked asked = {0};
    name_server_start(loop, &server);
    struct resolver *resolver = resolver_create(loop, server.csv);
    cr_assert_not_null(resolver_lookup(resolver, SPAN("nobody.test."), on_resolved, &asked));
    TURN_UNTIL(loop, asked.calls == 1);
    unsigned before = server.a_questions;
    const struct resolution *known = resolver_cached(resolver, SPAN("nobody.test."));
    cr_assert_not_null(known);
    cr_assert_eq(known->error, WEIR_ERR_NO_NAME);
    cr_assert_not_null(resolver_lookup(resolver, SPAN("nobody.test."), on_resolved, &asked));
    TURN_UNTIL(loop, asked.calls == 2);
    cr_assert_eq(server.a_questions, before);
    resolver_destroy(resolver);
    name_server_stop(&server);
}

Test(net_resolve, destroyed_while_a_question_is_open)
{
    AUTO(loop_destroy) struct loop *loop = loop_create();
    struct name_server server;
    struct asked asked = {0};
    name_server_start(loop, &server);
    server.silent = true;
    struct resolver *resolver = resolver_create(loop, server.csv);
    cr_assert_not_null(resolver_lookup(resolver, SPAN("shop.test"), on_resolved, &asked));
    TURN_UNTIL(loop, server.a_questions == 1);
    resolver_destroy(resolver);
    loop_poll(loop);
    cr_assert_eq(asked.calls, 0);
    name_server_stop(&server);
}

Test(net_resolve, more_names_than_the_cache_holds)
{
    AUTO(loop_destroy) struct loop *loop = loop_create();
    struct resolver *resolver = resolver_create(loop, "127.0.0.1:9");
    char name[32];
    cr_assert_not_null(resolver);
    for (unsigned i = 0; i < 5000; i++) {
        int size = snprintf(name, sizeof name, "10.0.%u.%u", i / 256, i % 256);
        cr_assert_not_null(resolver_cached(resolver, span_of(name, (size_t)size)));
    }
    resolver_destroy(resolver);
}
