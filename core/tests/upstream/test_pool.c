/* Keep-alive pools, with real connections on loopback. */
#include "support.h"

TestSuite(upstream_pool, .timeout = 60);

static struct target_pool *pool_of(struct world *world, const struct site *site)
{
    struct target_pool *pool =
        pool_acquire(world->upstreams, &site->address, NULL, SPAN("ignored"));
    cr_assert_not_null(pool);
    return pool;
}

Test(upstream_pool, last_in_first_out)
{
    struct world world;
    struct site site;
    struct conn *conns[3];
    uint32_t requests = 0;
    world_open(&world);
    site_open(&world, &site, NULL);
    struct target_pool *pool = pool_of(&world, &site);
    cr_assert_null(pool_take(pool, &requests), "nothing was given yet");
    for (size_t i = 0; i < COUNT_OF(conns); i++)
        conns[i] = connect_to(&world, &site, pool);
    for (uint32_t i = 0; i < COUNT_OF(conns); i++)
        pool_give(pool, conns[i], 10 + i);
    cr_assert_eq(upstreams_idle(world.upstreams), 3);
    for (uint32_t i = COUNT_OF(conns); i-- > 0;) {
        cr_assert_eq(pool_take(pool, &requests), conns[i]);
        cr_assert_eq(requests, 10 + i);
        cr_assert_null(conn_user(conns[i]), "its events are off");
    }
    cr_assert_null(pool_take(pool, &requests), "each is taken once");
    cr_assert_eq(upstreams_idle(world.upstreams), 0);
    cr_assert_eq(site.ended, 0);
    for (size_t i = 0; i < COUNT_OF(conns); i++)
        conn_close(conns[i]);
    pool_release(pool);
    site_close(&site);
    world_close(&world);
}

static const struct limit_case {
    const char *why;
    struct pool_limits limits;
    uint32_t requests;
    size_t given, kept;
} limit_cases[] = {
    {"the default keeps", {512, 10000, 60000}, 1, 3, 3},
    {"idle_max 0 switches keep-alive off", {0, 10000, 60000}, 1, 3, 0},
    {"idle_max bounds the pool", {2, 10000, 60000}, 1, 3, 2},
    {"the last request it may carry was carried", {512, 100, 60000}, 100, 3, 0},
    {"one more is allowed", {512, 100, 60000}, 99, 3, 3},
    {"requests_max 0 is no bound", {512, 0, 60000}, UINT32_MAX, 3, 3},
    {"idle_ms 0 is no bound", {512, 10000, 0}, 1, 3, 3},
};

Test(upstream_pool, limits)
{
    for (size_t row = 0; row < COUNT_OF(limit_cases); row++) {
        const struct limit_case *c = &limit_cases[row];
        struct world world;
        struct site site;
        world_open(&world);
        site_open(&world, &site, NULL);
        upstreams_set_limits(world.upstreams, c->limits);
        struct target_pool *pool = pool_of(&world, &site);
        struct conn *conns[3];
        for (size_t i = 0; i < c->given; i++)
            conns[i] = connect_to(&world, &site, pool);
        for (size_t i = 0; i < c->given; i++)
            pool_give(pool, conns[i], c->requests);
        cr_assert_eq(upstreams_idle(world.upstreams), c->kept, "%s", c->why);
        TURN_UNTIL(world.loop, site.ended == c->given - c->kept);
        pool_release(pool);
        site_close(&site);
        world_close(&world);
    }
}

Test(upstream_pool, worker_is_full)
{
    struct world world;
    struct site site;
    uint32_t requests = 0;
    world_open(&world);
    site_open(&world, &site, NULL);
    struct target_pool *pool = pool_of(&world, &site);
    struct conn *conns[3];
    for (size_t i = 0; i < COUNT_OF(conns); i++)
        conns[i] = connect_to(&world, &site, pool);
    world.upstreams->idle += IDLE_TOTAL_MAX; /* as if other pools had them */
    pool_give(pool, conns[0], 1);
    TURN_UNTIL(world.loop, site.ended == 1);
    world.upstreams->idle -= 1;
    pool_give(pool, conns[1], 1);
    pool_give(pool, conns[2], 2); /* the oldest of this pool makes room */
    TURN_UNTIL(world.loop, site.ended == 2);
    cr_assert_eq(upstreams_idle(world.upstreams), (size_t)IDLE_TOTAL_MAX);
    cr_assert_eq(pool_take(pool, &requests), conns[2], "the younger one stayed");
    cr_assert_null(pool_take(pool, &requests));
    world.upstreams->idle -= IDLE_TOTAL_MAX - 1;
    conn_close(conns[2]);
    pool_release(pool);
    site_close(&site);
    world_close(&world);
}

static void on_exchange_readable(struct conn *conn)
{
    (void)conn;
}

Test(upstream_pool, the_end_removes_even_without_references)
{
    struct world world;
    struct site site;
    world_open(&world);
    site_open(&world, &site, NULL);
    struct target_pool *pool = pool_of(&world, &site);
    struct conn *conn = connect_to(&world, &site, pool);
    static const struct conn_events exchange = {.readable = on_exchange_readable};
    conn_set_events(conn, &exchange, NULL);
    conn_pause_reading(conn); /* back-pressure left over: the end must be seen all the same */
    pool_give(pool, conn, 1);
    pool_release(pool);
    cr_assert_eq(map_count(world.upstreams->pools), 1, "it holds an idle connection");
    conn_close(site.conns[0]);
    site.conns[0] = NULL;
    TURN_UNTIL(world.loop, upstreams_idle(world.upstreams) == 0);
    cr_assert_eq(map_count(world.upstreams->pools), 0, "and is freed with the last one");
    site_close(&site);
    world_close(&world);
}

Test(upstream_pool, unexpected_bytes_close)
{
    struct world world;
    struct site site;
    uint32_t requests;
    world_open(&world);
    site_open(&world, &site, NULL);
    struct target_pool *pool = pool_of(&world, &site);
    struct conn *quiet = connect_to(&world, &site, pool);
    struct conn *loud = connect_to(&world, &site, pool);
    pool_give(pool, quiet, 1);
    pool_give(pool, loud, 1);
    site_send(site.conns[1]);
    TURN_UNTIL(world.loop, site.ended == 1);
    cr_assert_eq(pool_take(pool, &requests), quiet, "the other one is none the worse");
    cr_assert_null(pool_take(pool, &requests));
    conn_close(quiet);
    pool_release(pool);
    site_close(&site);
    world_close(&world);
}

Test(upstream_pool, idle_ones_grow_old_each_for_itself)
{
    struct world world;
    struct site site;
    uint32_t requests;
    world_open(&world);
    site_open(&world, &site, NULL);
    upstreams_set_limits(world.upstreams, (struct pool_limits){512, 0, 300});
    struct target_pool *pool = pool_of(&world, &site);
    struct conn *first = connect_to(&world, &site, pool);
    struct conn *second = connect_to(&world, &site, pool);
    pool_give(pool, first, 1);
    uint64_t given = clock_mono_ms();
    struct deadline later;
    deadline_init(&later, on_guard);
    deadline_set(world.loop, &later, 150);
    while (deadline_is_set(&later))
        loop_run_once(world.loop);
    pool_give(pool, second, 2);
    TURN_UNTIL(world.loop, upstreams_idle(world.upstreams) == 1);
    cr_assert_geq(clock_mono_ms() - given, 300);
    cr_assert_eq(pool_take(pool, &requests), second);
    pool_give(pool, second, 3); /* young again */
    given = clock_mono_ms();
    TURN_UNTIL(world.loop, upstreams_idle(world.upstreams) == 0);
    cr_assert_geq(clock_mono_ms() - given, 300);
    pool_release(pool);
    site_close(&site);
    world_close(&world);
}

static struct tls_client *make_client(void)
{
    char err[200];
    struct tls_client *client = tls_client_create(false, NULL, err, sizeof err);
    cr_assert_not_null(client, "%s", err);
    return client;
}

Test(upstream_pool, what_makes_two_pools)
{
    struct world world;
    struct address address, other;
    world_open(&world);
    struct tls_client *client = make_client(), *stricter = make_client();
    cr_assert_eq(address_parse(SPAN("127.0.0.1:1"), &address), WEIR_OK);
    cr_assert_eq(address_parse(SPAN("127.0.0.1:2"), &other), WEIR_OK);
    const struct {
        const char *why;
        const struct address *address;
        struct tls_client *tls;
        struct span name;
        bool same;
    } rows[] = {
        {"the same again", &address, client, SPAN("a.test"), true},
        {"plain", &address, NULL, SPAN("a.test"), false},
        {"another name to the same address: the certificate was checked for one name", &address,
         client, SPAN("b.test"), false},
        {"no name", &address, client, SPAN_NONE, false},
        {"other TLS settings", &address, stricter, SPAN("a.test"), false},
        {"another port", &other, client, SPAN("a.test"), false},
    };
    struct target_pool *first = pool_acquire(world.upstreams, &address, client, SPAN("a.test"));
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct target_pool *pool =
            pool_acquire(world.upstreams, rows[i].address, rows[i].tls, rows[i].name);
        cr_assert_not_null(pool);
        cr_assert_eq(pool == first, rows[i].same, "%s", rows[i].why);
        pool_release(pool);
    }
    char longest[SERVER_NAME_MAX + 1];
    memset(longest, 'a', sizeof longest);
    cr_assert_null(
        pool_acquire(world.upstreams, &address, client, span_of(longest, sizeof longest)));
    pool_release(first);
    cr_assert_eq(map_count(world.upstreams->pools), 0);
    tls_client_destroy(client);
    tls_client_destroy(stricter);
    world_close(&world);
}

/* TLS 1.3 sends session tickets after the handshake: records, but no bytes for us. */
Test(upstream_pool, tls_connections_stay_until_their_settings_go)
{
    struct world world;
    struct site site;
    char err[200];
    uint32_t requests;
    world_open(&world);
    struct tls_server *server = tls_server_create(NULL, NULL, err, sizeof err);
    cr_assert_not_null(server, "%s", err);
    site_open(&world, &site, server);
    struct tls_client *client = make_client();
    struct target_pool *pool = pool_acquire(world.upstreams, &site.address, client, SPAN("a.test"));
    struct conn *first = connect_to(&world, &site, pool);
    pool_give(pool, first, 1);
    struct conn *second = connect_to(&world, &site, pool); /* several turns go by */
    cr_assert(conn_is_tls(second));
    cr_assert_eq(pool_take(pool, &requests), first);
    pool_give(pool, first, 2);
    pools_forget(world.upstreams, client);
    tls_client_destroy(client);
    cr_assert_eq(upstreams_idle(world.upstreams), 0);
    cr_assert_null(pool_dial(pool, 1000, NULL, NULL), "its TLS client is gone");
    pool_give(pool, second, 1);
    cr_assert_eq(upstreams_idle(world.upstreams), 0, "nothing is kept for nobody");
    TURN_UNTIL(world.loop, site.ended == 2);
    pool_release(pool);
    site_close(&site);
    tls_server_destroy(server);
    world_close(&world);
}
