/* Health checks of an upstream: what reports do to its turn, what probes find out and say. Two
 * `struct upstreams` over one table of cells stand for two workers. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "net/tls.h"
#include "support.h"
#include "upstream/checks.h"

TestSuite(upstream_health, .timeout = 60);

static const char *yaml_of(const char *targets, const char *checks)
{
    static char yaml[4000];
    (void)snprintf(yaml, sizeof yaml,
                   "_format_version: '3.0'\n"
                   "services: [{name: s, url: 'http://up'}]\n"
                   "upstreams:\n- name: up\n  targets: %s\n  healthchecks: %s\n",
                   targets, checks);
    return yaml;
}

#define TWO "[{target: '127.0.0.1:7001'}, {target: '127.0.0.1:7002'}]"

static struct pick pick_of(const struct setup *setup)
{
    return (struct pick){.balancers = setup->balancers, .service = setup_service(setup, "s")};
}

/* One attempt after the other: "AB", '-' where nobody may be asked. `report` is of A alone. */
static void turns(const struct setup *setup, size_t count, enum pick_outcome outcome,
                  unsigned status, char *out)
{
    for (size_t i = 0; i < count; i++) {
        struct pick pick = pick_of(setup);
        enum weir_err err = pick_next(&pick);
        out[i] = err == WEIR_OK ? (char)('A' + pick.target_port - 7001) : '-';
        cr_assert(err == WEIR_OK || err == WEIR_ERR_NO_TARGET);
        if (out[i] == 'A')
            pick_report(&pick, outcome, status);
        pick_end(&pick);
    }
    out[count] = '\0';
}

static const struct report_case {
    const char *why, *checks;
    enum pick_outcome outcome;
    unsigned status;
    const char *order;
} report_cases[] = {
    {"refused twice", "{passive: {unhealthy: {tcp_failures: 2}}}", PICK_UNREACHABLE, 0, "ABABBBB"},
    {"late once", "{passive: {unhealthy: {timeouts: 1}}}", PICK_LATE, 0, "ABBBB"},
    {"a bad status of the default list", "{passive: {unhealthy: {http_failures: 1}}}",
     PICK_ANSWERED, 429, "ABBBB"},
    {"one of another list", "{passive: {unhealthy: {http_failures: 1, http_statuses: [404]}}}",
     PICK_ANSWERED, 404, "ABBBB"},
    {"one that is in no list", "{passive: {unhealthy: {http_failures: 1}}}", PICK_ANSWERED, 502,
     "ABABAB"},
    {"no HTTP at all", "{passive: {unhealthy: {http_failures: 1}}}", PICK_ANSWERED, 0, "ABBBB"},
    {"a kind that does not count", "{passive: {unhealthy: {http_failures: 1}}}", PICK_UNREACHABLE,
     0, "ABABAB"},
    {"successes alone are no checks", "{passive: {healthy: {successes: 1}}}", PICK_UNREACHABLE, 0,
     "ABABAB"},
    {"half of it is not more than half", "{threshold: 50, passive: {unhealthy: {timeouts: 1}}}",
     PICK_LATE, 0, "A----"},
    {"but more than 49 %", "{threshold: 49.9, passive: {unhealthy: {timeouts: 1}}}", PICK_LATE, 0,
     "ABBB"},
    {"nothing is more than all", "{threshold: 100, passive: {unhealthy: {timeouts: 1}}}", PICK_LATE,
     0, "--"},
};

Test(upstream_health, reports)
{
    log_set_level(LOG_ERROR);
    for (size_t row = 0; row < COUNT_OF(report_cases); row++) {
        const struct report_case *c = &report_cases[row];
        struct world world;
        struct setup setup;
        char order[16];
        world_open(&world);
        setup_open(&world, &setup, yaml_of(TWO, c->checks));
        cr_assert_eq(setup.err, WEIR_OK);
        turns(&setup, strlen(c->order), c->outcome, c->status, order);
        cr_assert_str_eq(order, c->order, "%s", c->why);
        setup_close(&setup);
        world_close(&world);
    }
}

Test(upstream_health, workers_share_what_they_know)
{
    static const char one[] = "{passive: {unhealthy: {timeouts: 1}}}";
    static const char other[] = "{passive: {unhealthy: {timeouts: 9}}}";
    struct health_table *table = calloc(1, sizeof *table);
    struct world first, second;
    struct setup setup, peer, fresh;
    char order[16];
    log_set_level(LOG_ERROR);
    world_open(&first);
    world_open(&second);
    upstreams_set_health(first.upstreams, table);
    upstreams_set_health(second.upstreams, table);
    setup_open(&first, &setup, yaml_of(TWO, one));
    setup_open(&second, &peer, yaml_of(TWO, one));
    turns(&peer, 2, PICK_ANSWERED, 200, order);
    cr_assert_str_eq(order, "AB");
    turns(&setup, 3, PICK_LATE, 0, order);
    cr_assert_str_eq(order, "ABB");
    turns(&peer, 3, PICK_ANSWERED, 200, order);
    cr_assert_str_eq(order, "BBB");
    /* Other limits, a worker that begins, both: the state stays. */
    setup_close(&peer);
    setup_close(&setup);
    setup_open(&second, &fresh, yaml_of(TWO, other));
    turns(&fresh, 3, PICK_ANSWERED, 200, order);
    cr_assert_str_eq(order, "BBB");
    const struct target *target = fresh.config->upstreams[0]->targets[0];
    cr_assert(balancers_set_health(fresh.balancers, target, NULL, true));
    turns(&fresh, 4, PICK_ANSWERED, 200, order);
    cr_assert_not_null(strchr(order, 'A'));
    setup_close(&fresh);
    world_close(&second);
    world_close(&first);
    free(table);
}

Test(upstream_health, facts)
{
    struct world world;
    struct setup setup;
    struct target_address addresses[4];
    size_t count;
    log_set_level(LOG_ERROR);
    world_open(&world);
    setup_open(&world, &setup,
               yaml_of("[{target: '127.0.0.1:7001', weight: 30}, {target: 'nobody.test:7002'}, "
                       "{target: '127.0.0.1:7003', weight: 0}]",
                       "{passive: {unhealthy: {timeouts: 1}}}"));
    const struct upstream *upstream = setup.config->upstreams[0];
    struct pick pick = pick_of(&setup);
    cr_assert_eq(pick_next(&pick), WEIR_OK);
    const struct ring *ring = setup.balancers->rings[0];
    TURN_UNTIL(world.loop, ring->lookups == 0 && ring->members[1].error != WEIR_OK);
    pick_end(&pick);
    static const enum target_health expected[] = {TARGET_HEALTHY, TARGET_DNS_ERROR,
                                                  TARGET_UNCHECKED};
    for (size_t i = 0; i < 3; i++)
        cr_assert_eq(balancers_health(setup.balancers, upstream->targets[i], addresses, 4, &count),
                     expected[i], "target %zu", i);
    cr_assert(!balancers_set_health(setup.balancers, upstream->targets[1], NULL, false));
    cr_assert(!balancers_set_health(setup.balancers, upstream->targets[2], NULL, false));
    cr_assert(balancers_set_health(setup.balancers, upstream->targets[0], NULL, false));
    cr_assert_eq(balancers_health(setup.balancers, upstream->targets[0], addresses, 4, &count),
                 TARGET_UNHEALTHY);
    cr_assert_eq(count, 1);
    cr_assert_eq(addresses[0].address.port, 7001);
    struct balance_facts facts = balancers_facts(setup.balancers, upstream);
    cr_assert(facts.checked && !facts.healthy);
    cr_assert_eq(facts.total, 30);
    cr_assert_eq(facts.unavailable, 30);
    setup_close(&setup);
    world_close(&world);
}

/* --- probes */

/* A target that answers whatever comes with `answer`, NULL: with nothing. */
static struct answerer {
    struct listener *listener;
    int fd;
    const char *answer;
    size_t asked, connected;
    struct conn *conns[256]; /* NULL: closed */
    char last[600];
} answerer;

static void hang_up(struct conn *conn)
{
    for (size_t i = 0; i < answerer.connected; i++) {
        if (answerer.conns[i] == conn)
            answerer.conns[i] = NULL;
    }
    conn_close(conn);
}

static void on_question(struct conn *conn)
{
    char buf[600];
    ssize_t got = conn_read(conn, buf, sizeof buf);
    if (got == CONN_AGAIN)
        return;
    if (got <= 0) {
        hang_up(conn);
        return;
    }
    answerer.asked++;
    (void)snprintf(answerer.last, sizeof answerer.last, "%.*s", (int)got, buf);
    if (answerer.answer == NULL)
        return;
    char text[200];
    struct iovec part = {text, (size_t)snprintf(text, sizeof text, "%s", answerer.answer)};
    if (part.iov_len == 0 || conn_writev(conn, &part, 1) < 0)
        hang_up(conn);
}

static void on_connected(struct listener *listener, struct conn *conn)
{
    static const struct conn_events events = {.readable = on_question};
    (void)listener;
    cr_assert_lt(answerer.connected, COUNT_OF(answerer.conns));
    answerer.conns[answerer.connected++] = conn;
    conn_set_events(conn, &events, NULL);
}

/* Returns the list of targets. */
static const char *answerer_open(struct world *world, const char *answer, struct tls_server *tls)
{
    static char targets[100];
    char err[200];
    struct address any;
    cr_assert_eq(address_parse(SPAN("127.0.0.1:0"), &any), WEIR_OK);
    answerer = (struct answerer){.answer = answer};
    answerer.fd = listen_open(&any, false, 64, err, sizeof err);
    answerer.listener = listener_start(world->loop, answerer.fd, tls, on_connected, NULL);
    cr_assert_not_null(answerer.listener);
    (void)snprintf(targets, sizeof targets, "[{target: 'localhost:%u'}]",
                   listener_address(answerer.listener)->port);
    return targets;
}

static void answerer_close(void)
{
    for (size_t i = 0; i < answerer.connected; i++)
        conn_close(answerer.conns[i]);
    listener_stop(answerer.listener);
    (void)close(answerer.fd);
}

static enum target_health health_of(const struct setup *setup)
{
    struct target_address addresses[4];
    size_t count;
    return balancers_health(setup->balancers, setup->config->upstreams[0]->targets[0], addresses, 4,
                            &count);
}

#define OFTEN "interval: 0.02"
static const struct probe_case {
    const char *why, *active, *answer;
    bool healthy; /* at last, from the other state */
} probe_cases[] = {
    {"a good answer brings it back", "unhealthy: {" OFTEN "}, healthy: {successes: 2}",
     "HTTP/1.1 200 OK\r\n\r\n", true},
    {"one of HTTP/1.0 too", "unhealthy: {" OFTEN "}, healthy: {successes: 1}",
     "HTTP/1.0 302 Found\r\n\r\n", true},
    {"a status alone is enough of a line", "unhealthy: {" OFTEN "}, healthy: {successes: 1}",
     "HTTP/1.1 200\r\n", true},
    {"a bad status", "healthy: {" OFTEN "}, unhealthy: {http_failures: 2}",
     "HTTP/1.1 503 No\r\n\r\n", false},
    {"a status of its own list",
     "healthy: {" OFTEN "}, unhealthy: {http_failures: 1, http_statuses: [418]}",
     "HTTP/1.1 418 Teapot\r\n\r\n", false},
    {"another protocol", "healthy: {" OFTEN "}, unhealthy: {http_failures: 1}",
     "SSH-2.0-OpenSSH_9.2\r\n", false},
    {"a status of four digits", "healthy: {" OFTEN "}, unhealthy: {http_failures: 1}",
     "HTTP/1.1 2000 OK\r\n\r\n", false},
    {"it closes without a word", "healthy: {" OFTEN "}, unhealthy: {tcp_failures: 1}", "", false},
    {"it closes in the middle", "timeout: 0.05, healthy: {" OFTEN "}, unhealthy: {timeouts: 1}",
     "HTTP/1.1 2", false},
    {"it says nothing", "timeout: 0.05, healthy: {" OFTEN "}, unhealthy: {timeouts: 2}", NULL,
     false},
    {"a connection is enough for tcp", "type: tcp, unhealthy: {" OFTEN "}, healthy: {successes: 2}",
     NULL, true},
    {"and for grpc", "type: grpc, unhealthy: {" OFTEN "}, healthy: {successes: 2}", NULL, true},
};

Test(upstream_health, probes)
{
    log_set_level(LOG_ERROR);
    for (size_t row = 0; row < COUNT_OF(probe_cases); row++) {
        const struct probe_case *c = &probe_cases[row];
        char checks[400];
        struct world world;
        struct setup setup;
        world_open(&world);
        const char *targets = answerer_open(&world, c->answer, NULL);
        (void)snprintf(checks, sizeof checks, "{active: {%s}}", c->active);
        setup_open(&world, &setup, yaml_of(targets, checks));
        const struct target *target = setup.config->upstreams[0]->targets[0];
        if (c->healthy) {
            TURN_UNTIL(world.loop, balancers_set_health(setup.balancers, target, NULL, false));
            cr_assert_eq(health_of(&setup), TARGET_UNHEALTHY);
        }
        TURN_UNTIL(world.loop,
                   health_of(&setup) == (c->healthy ? TARGET_HEALTHY : TARGET_UNHEALTHY));
        setup_close(&setup); /* probes that run are given up */
        answerer_close();
        world_close(&world);
    }
}

Test(upstream_health, what_is_asked)
{
    struct world world;
    struct setup setup;
    world_open(&world);
    setup_open(
        &world, &setup,
        yaml_of(answerer_open(&world, "HTTP/1.1 200 OK\r\n\r\n", NULL),
                "{active: {http_path: '/ping?a=b c', headers: {x-one: [a, b]}, healthy: {" OFTEN
                "}}}"));
    TURN_UNTIL(world.loop, answerer.asked > 0);
    cr_assert_str_eq(answerer.last, "GET /ping?a=b%20c HTTP/1.1\r\nx-one: a\r\nx-one: b\r\n"
                                    "Host: localhost\r\nUser-Agent: weir/" WEIR_VERSION
                                    " (probe)\r\nConnection: close\r\n\r\n");
    setup_close(&setup);
    answerer_close();
    world_close(&world);
}

/* The certificate is one that nobody has signed. */
Test(upstream_health, tls_probes)
{
    static const struct {
        const char *why, *active;
        bool healthy;
    } rows[] = {
        {"believed without verification", "type: https, https_verify_certificate: false", true},
        {"not believed by default", "type: https", false},
        {"for grpcs a handshake is enough", "type: grpcs, https_verify_certificate: false", true},
    };
    char err[200];
    log_set_level(LOG_CRIT);
    struct tls_server *tls = tls_server_create(NULL, NULL, err, sizeof err);
    cr_assert_not_null(tls);
    for (size_t row = 0; row < COUNT_OF(rows); row++) {
        char checks[400];
        struct world world;
        struct setup setup;
        world_open(&world);
        const char *targets = answerer_open(&world, "HTTP/1.1 200 OK\r\n\r\n", tls);
        (void)snprintf(checks, sizeof checks,
                       "{active: {%s, timeout: 5, healthy: {" OFTEN ", successes: 1}, "
                       "unhealthy: {" OFTEN ", tcp_failures: 1, http_failures: 1}}}",
                       rows[row].active);
        setup_open(&world, &setup, yaml_of(targets, checks));
        const struct target *target = setup.config->upstreams[0]->targets[0];
        TURN_UNTIL(world.loop,
                   balancers_set_health(setup.balancers, target, NULL, !rows[row].healthy));
        TURN_UNTIL(world.loop,
                   health_of(&setup) == (rows[row].healthy ? TARGET_HEALTHY : TARGET_UNHEALTHY));
        setup_close(&setup);
        answerer_close();
        world_close(&world);
    }
    tls_server_destroy(tls);
}

/* Workers look as often as they like: the target is asked once in a period. */
Test(upstream_health, one_of_all_workers_probes)
{
    enum { WORKERS = 4 };
    struct health_table *table = calloc(1, sizeof *table);
    struct world world;
    struct upstreams *upstreams[WORKERS];
    struct setup setups[WORKERS];
    world_open(&world);
    const char *yaml = yaml_of(answerer_open(&world, "HTTP/1.1 200 OK\r\n\r\n", NULL),
                               "{active: {healthy: {interval: 0.1}}}");
    struct upstreams *first = world.upstreams;
    for (size_t i = 0; i < WORKERS; i++) {
        upstreams[i] = world.upstreams = upstreams_create(world.loop, world.resolver);
        upstreams_set_health(upstreams[i], table);
        setup_open(&world, &setups[i], yaml);
    }
    world.upstreams = first;
    uint64_t begun = clock_mono_ms();
    TURN_UNTIL(world.loop, answerer.asked >= 8);
    cr_assert_geq(clock_mono_ms() - begun, 8 * 90, "each a little less than a tenth of a second");
    /* All but one die: nobody has to be told. */
    for (size_t i = 1; i < WORKERS; i++)
        setup_close(&setups[i]);
    size_t asked = answerer.asked;
    begun = clock_mono_ms();
    TURN_UNTIL(world.loop, answerer.asked >= asked + 5);
    cr_assert_lt(clock_mono_ms() - begun, 5000);
    setup_close(&setups[0]);
    asked = answerer.connected;
    struct deadline later;
    guard_expired = false;
    deadline_init(&later, on_guard);
    deadline_set(world.loop, &later, 250);
    while (!guard_expired)
        loop_run_once(world.loop);
    cr_assert_eq(answerer.connected, asked, "no upstream, no probes");
    for (size_t i = 0; i < WORKERS; i++)
        upstreams_destroy(upstreams[i]);
    answerer_close();
    world_close(&world);
    free(table);
}

/* Exchanges may hold an old configuration for hours: the rules of the new one count all the same.
 */
Test(upstream_health, the_newest_configuration_probes)
{
    struct world world;
    struct setup old, fresh;
    world_open(&world);
    char targets[100];
    (void)snprintf(targets, sizeof targets, "%s",
                   answerer_open(&world, "HTTP/1.1 200 OK\r\n\r\n", NULL));
    setup_open(&world, &old, yaml_of(targets, "{active: {http_path: /old, healthy: {" OFTEN "}}}"));
    TURN_UNTIL(world.loop, answerer.asked > 2);
    cr_assert_not_null(strstr(answerer.last, "/old"));
    setup_open(&world, &fresh,
               yaml_of(targets, "{active: {http_path: /new, healthy: {" OFTEN "}}}"));
    TURN_UNTIL(world.loop, strstr(answerer.last, "/new") != NULL);
    size_t asked = answerer.asked;
    while (answerer.asked < asked + 10) {
        loop_run_once(world.loop);
        cr_assert_not_null(strstr(answerer.last, "/new"));
    }
    setup_close(&fresh); /* as a reload that was refused */
    TURN_UNTIL(world.loop, strstr(answerer.last, "/old") != NULL);
    setup_close(&old);
    answerer_close();
    world_close(&world);
}

Test(upstream_health, at_most_so_many_at_once)
{
    struct world world;
    struct setup setup;
    char targets[600] = "[";
    world_open(&world);
    (void)answerer_open(&world, NULL, NULL);
    size_t at = 1;
    for (size_t i = 1; i <= 8; i++)
        at += (size_t)snprintf(targets + at, sizeof targets - at, "%s{target: '127.0.0.%zu:%u'}",
                               i == 1 ? "" : ", ", i, listener_address(answerer.listener)->port);
    (void)snprintf(targets + at, sizeof targets - at, "]");
    setup_open(&world, &setup,
               yaml_of(targets,
                       "{active: {timeout: 0.2, concurrency: 3, healthy: {interval: 0.05}, "
                       "unhealthy: {timeouts: 200}}}"));
    const struct checks *checks = setup.balancers->rings[0]->checks;
    uint64_t begun = clock_mono_ms();
    uint32_t most = 0;
    while (clock_mono_ms() - begun < 700) {
        loop_run_once(world.loop);
        most = checks->running > most ? checks->running : most;
    }
    cr_assert_eq(most, 3);
    setup_close(&setup);
    answerer_close();
    world_close(&world);
}
