/* Who is asked next: the turn by weight, retries, names, and the rules of upstream names. Targets
 * are told apart by their port (A is 7001, B 7002, …); nothing is dialed here. */
#include <stdio.h>

#include "support.h"

TestSuite(upstream_pick, .timeout = 60);

struct asked {
    int calls;
    enum weir_err err;
};

static void on_picked(struct pick *pick, enum weir_err err)
{
    struct asked *asked = pick->user;
    asked->calls++;
    asked->err = err;
}

static struct pick pick_of(const struct setup *setup, const char *service, struct asked *asked)
{
    *asked = (struct asked){0};
    return (struct pick){.balancers = setup->balancers,
                         .service = setup_service(setup, service),
                         .done = on_picked,
                         .user = asked};
}

/* The answer, waited for when need be. */
static enum weir_err next(struct world *world, struct pick *pick)
{
    struct asked *asked = pick->user;
    int calls = asked->calls;
    enum weir_err err = pick_next(pick);
    if (err != WEIR_ERR_AGAIN)
        return err;
    cr_assert_eq(asked->calls, calls, "never before it returns");
    TURN_UNTIL(world->loop, asked->calls > calls);
    cr_assert_eq(asked->calls, calls + 1);
    return asked->err;
}

/* One exchange after the other, without retries: "AABA". */
static void turns(struct world *world, const struct setup *setup, size_t count, char *out)
{
    for (size_t i = 0; i < count; i++) {
        struct asked asked;
        struct pick pick = pick_of(setup, "s", &asked);
        cr_assert_eq(next(world, &pick), WEIR_OK);
        cr_assert_not_null(pick.pool);
        out[i] = (char)('A' + pick.target_port - 7001);
        pick_end(&pick);
    }
    out[count] = '\0';
}

/* An upstream whose targets have these weights. */
static const char *weighted(const int *weights, size_t count)
{
    static char yaml[2000];
    int at = snprintf(yaml, sizeof yaml,
                      "_format_version: '3.0'\n"
                      "services: [{name: s, url: 'http://up:5555'}]\n"
                      "upstreams:\n- name: up\n  targets:\n");
    for (size_t i = 0; i < count; i++)
        at += snprintf(yaml + at, sizeof yaml - (size_t)at,
                       "  - {target: '127.0.0.1:%zu', weight: %d}\n", 7001 + i, weights[i]);
    return yaml;
}

static const struct weight_case {
    const char *why;
    size_t count;
    int weights[4];
    const char *order;
} weight_cases[] = {
    {"equal ones alternate", 2, {100, 100}, "ABABAB"},
    {"3 to 1 is spread", 2, {30, 10}, "AABAAABA"},
    {"the light one does not wait for the end of the round", 3, {5, 1, 1}, "AABACAAAABACAA"},
    {"weight 0 gets nothing", 3, {1, 0, 1}, "ACACAC"},
    {"one alone", 1, {1}, "AAA"},
    {"the order of the file does not make it heavier", 2, {1, 2}, "BABBAB"},
    {"the largest weights", 2, {65535, 65535}, "ABAB"},
};

Test(upstream_pick, smooth_by_weight)
{
    for (size_t row = 0; row < COUNT_OF(weight_cases); row++) {
        const struct weight_case *c = &weight_cases[row];
        struct world world;
        struct setup setup;
        char order[32];
        world_open(&world);
        setup_open(&world, &setup, weighted(c->weights, c->count));
        cr_assert_eq(setup.err, WEIR_OK);
        turns(&world, &setup, strlen(c->order), order);
        cr_assert_str_eq(order, c->order, "%s", c->why);
        setup_close(&setup);
        world_close(&world);
    }
}

/* The recorded order begins elsewhere in the round (Kong draws the start), its rhythm is ours. */
Test(upstream_pick, recorded_rhythm_of_3_to_1)
{
    static const char recorded[] = "BAAABAAABAAABAAABAAABAAABAAABAAABAAABAAABAAABAAABAAABAAABAAA";
    struct world world;
    struct setup setup;
    char order[80];
    world_open(&world);
    setup_open(&world, &setup, weighted((const int[]){30, 10}, 2));
    turns(&world, &setup, strlen(recorded) + 4, order);
    char *start = strchr(order, 'B');
    cr_assert(start != NULL && start - order < 4);
    cr_assert_eq(strncmp(start, recorded, strlen(recorded)), 0, "%s", order);
    setup_close(&setup);
    world_close(&world);
}

Test(upstream_pick, a_reload_goes_on_with_the_turn)
{
    struct world world;
    struct setup old, fresh, changed;
    char order[16];
    world_open(&world);
    setup_open(&world, &old, weighted((const int[]){5, 1, 1}, 3));
    turns(&world, &old, 3, order);
    cr_assert_str_eq(order, "AAB");
    setup_open(&world, &fresh, weighted((const int[]){5, 1, 1}, 3));
    setup_close(&old);
    turns(&world, &fresh, 4, order);
    cr_assert_str_eq(order, "ACAA", "as if nothing had happened");
    turns(&world, &fresh, 2, order);
    setup_open(&world, &changed, weighted((const int[]){5, 1, 2}, 3));
    setup_close(&fresh);
    turns(&world, &changed, 4, order);
    cr_assert_str_eq(order, "ACAA", "other weights, another round");
    setup_close(&changed);
    cr_assert_eq(map_count(world.upstreams->rings), 0);
    cr_assert_eq(map_count(world.upstreams->pools), 0);
    world_close(&world);
}

Test(upstream_pick, retries_avoid_what_was_tried)
{
    struct world world;
    struct setup setup;
    struct asked asked;
    char order[8] = "";
    world_open(&world);
    setup_open(&world, &setup, weighted((const int[]){100, 1, 1}, 3));
    struct pick pick = pick_of(&setup, "s", &asked);
    for (size_t i = 0; i < 4; i++) {
        cr_assert_eq(pick_next(&pick), WEIR_OK);
        order[i] = (char)('A' + pick.target_port - 7001);
    }
    cr_assert_str_eq(order, "ABCA", "all three, then it starts over");
    cr_assert_eq(pick.attempts, 4);
    pick_end(&pick);
    pick_end(&pick); /* twice is fine */
    setup_close(&setup);
    world_close(&world);
}

/* More candidates than `tried` has bits: it must still give something each time. */
Test(upstream_pick, a_hundred_targets)
{
    struct world world;
    struct setup setup;
    struct asked asked;
    static char yaml[10000];
    int at = snprintf(yaml, sizeof yaml,
                      "_format_version: '3.0'\n"
                      "services: [{name: s, url: 'http://up'}]\n"
                      "upstreams:\n- name: up\n  targets:\n");
    for (int i = 0; i < 100; i++)
        at += snprintf(yaml + at, sizeof yaml - (size_t)at, "  - {target: '127.0.0.1:%d'}\n",
                       7001 + i);
    world_open(&world);
    setup_open(&world, &setup, yaml);
    struct pick pick = pick_of(&setup, "s", &asked);
    bool seen[100] = {false};
    for (size_t i = 0; i < 64; i++) {
        cr_assert_eq(pick_next(&pick), WEIR_OK);
        cr_assert(!seen[pick.target_port - 7001], "attempt %zu repeats", i);
        seen[pick.target_port - 7001] = true;
    }
    cr_assert_eq(pick_next(&pick), WEIR_OK);
    pick_end(&pick);
    setup_close(&setup);
    world_close(&world);
}

static const char rules_yaml[] =
    "_format_version: '3.0'\n"
    "services:\n"
    "- {name: by-name, url: 'http://up:5555/p'}\n"
    "- {name: by-id, url: 'http://7fca84d6-7d37-4a74-a7b0-93e576089a41:5555'}\n"
    "- {name: literal, url: 'http://127.0.0.1:81'}\n"
    "- {name: six, host: '::1', port: 82}\n"
    "- {name: local, url: 'http://localhost:83'}\n"
    "- {name: asked, url: 'http://one.test:84'}\n"
    "- {name: none, url: 'http://nobody.test'}\n"
    "- {name: broken, url: 'http://broken.test'}\n"
    "- {name: empty, url: 'http://empty'}\n"
    "- {name: weightless, url: 'http://weightless'}\n"
    "- {name: half, url: 'http://half'}\n"
    "- {name: lost, url: 'http://lost'}\n"
    "- {name: hashed, url: 'http://hashed'}\n"
    "upstreams:\n"
    "- {name: up, id: 7fca84d6-7d37-4a74-a7b0-93e576089a41, targets: [{target: "
    "'localhost:9001'}]}\n"
    "- {name: empty}\n"
    "- {name: weightless, targets: [{target: '127.0.0.1:1', weight: 0}, {target: 'nobody.test:1', "
    "weight: 0}]}\n"
    "- {name: half, targets: [{target: 'nobody.test:1'}, {target: 'one.test:2'}, {target: "
    "'broken.test:3'}]}\n"
    "- {name: lost, targets: [{target: 'nobody.test:1'}, {target: 'broken.test:3'}]}\n"
    "- {name: hashed, algorithm: consistent-hashing, targets: [{target: '127.0.0.1:9'}]}\n";

static const struct rule_case {
    const char *why, *service;
    enum weir_err err;
    const char *ip;
    uint16_t port;
    const char *name;
} rule_cases[] = {
    {"an upstream's name: the service's port means nothing", "by-name", WEIR_OK, "127.0.0.1", 9001,
     "localhost"},
    {"an upstream's id is no name", "by-id", WEIR_ERR_NO_NAME},
    {"an address asks nobody", "literal", WEIR_OK, "127.0.0.1", 81, "127.0.0.1"},
    {"an IPv6 one", "six", WEIR_OK, "::1", 82, "::1"},
    {"localhost", "local", WEIR_OK, "127.0.0.1", 83, "localhost"},
    {"a name with the service's port", "asked", WEIR_OK, "10.0.0.9", 84, "one.test"},
    {"no such name", "none", WEIR_ERR_NO_NAME},
    {"the name server is ill", "broken", WEIR_ERR_TARGET_BUSY},
    {"no targets", "empty", WEIR_ERR_NO_TARGET},
    {"weights of 0 alone, names among them are not asked for", "weightless", WEIR_ERR_NO_TARGET},
    {"names that lead nowhere are skipped", "half", WEIR_OK, "10.0.0.9", 2, "one.test"},
    {"all lead nowhere, one only for now", "lost", WEIR_ERR_TARGET_BUSY},
    {"an upstream that hashes", "hashed", WEIR_OK, "127.0.0.1", 9, "127.0.0.1"},
};

Test(upstream_pick, rules)
{
    struct world world;
    struct setup setup;
    world_open(&world);
    log_set_level(LOG_ERROR);
    setup_open(&world, &setup, rules_yaml);
    cr_assert_eq(setup.err, WEIR_OK);
    /* Twice: the second time from what is known. */
    for (size_t i = 0; i < 2 * COUNT_OF(rule_cases); i++) {
        const struct rule_case *row = &rule_cases[i % COUNT_OF(rule_cases)];
        struct asked asked;
        struct pick pick = pick_of(&setup, row->service, &asked);
        cr_assert_eq(next(&world, &pick), row->err, "%s", row->why);
        if (row->err == WEIR_OK) {
            cr_assert_str_eq(pick.address.text, row->ip, "%s", row->why);
            cr_assert_eq(pick.address.port, row->port, "%s", row->why);
            cr_assert_eq(pick.target_port, row->port, "%s", row->why);
            cr_assert(span_equal(pick.host_name, span_text(row->name)), "%s", row->why);
            cr_assert_eq(pick.target != NULL, pick.upstream != NULL);
            cr_assert_eq(pick.upstream != NULL,
                         config_upstream(setup.config, pick.service->host) != NULL);
        } else {
            cr_assert_null(pick.pool, "%s", row->why);
        }
        pick_end(&pick);
    }
    setup_close(&setup);
    world_close(&world);
}

static const char names_yaml[] = "_format_version: '3.0'\n"
                                 "services:\n"
                                 "- {name: s, url: 'http://three.test:80'}\n"
                                 "- {name: mixed, url: 'http://up'}\n"
                                 "upstreams:\n"
                                 "- name: up\n"
                                 "  targets:\n"
                                 "  - {target: 'three.test:80', weight: 10}\n"
                                 "  - {target: '127.0.0.1:80', weight: 30}\n";

Test(upstream_pick, each_retry_takes_the_next_address_of_a_name)
{
    struct world world;
    struct setup setup;
    struct asked asked;
    unsigned seen = 0;
    world_open(&world);
    setup_open(&world, &setup, names_yaml);
    struct pick pick = pick_of(&setup, "s", &asked);
    for (size_t i = 0; i < 3; i++) {
        cr_assert_eq(next(&world, &pick), WEIR_OK);
        seen |= 1u << pick.address.ip[3];
    }
    cr_assert_eq(seen, 1u << 1 | 1u << 2 | 1u << 3);
    unsigned questions = world.names.questions;
    cr_assert_eq(pick_next(&pick), WEIR_OK);
    cr_assert_eq(world.names.questions, questions, "known by now");
    pick_end(&pick);
    setup_close(&setup);
    world_close(&world);
}

/* Each address of a name is a peer with the target's whole weight. */
Test(upstream_pick, addresses_have_the_weight_of_their_target)
{
    struct world world;
    struct setup setup;
    struct asked asked;
    unsigned literal = 0, named = 0;
    world_open(&world);
    setup_open(&world, &setup, names_yaml);
    struct pick first = pick_of(&setup, "mixed", &asked);
    cr_assert_eq(pick_next(&first), WEIR_OK, "the literal need not wait for the name");
    cr_assert_str_eq(first.address.text, "127.0.0.1");
    pick_end(&first);
    const struct ring *ring =
        setup.balancers->rings[config_upstream(setup.config, SPAN("up"))->index];
    TURN_UNTIL(world.loop, ring->peer_count == 4);
    for (size_t i = 0; i < 60; i++) {
        struct pick pick = pick_of(&setup, "mixed", &asked);
        cr_assert_eq(pick_next(&pick), WEIR_OK);
        literal += pick.address.ip[0] == 127;
        named += pick.address.ip[0] == 10;
        pick_end(&pick);
    }
    cr_assert_eq(literal, 30);
    cr_assert_eq(named, 30);
    setup_close(&setup);
    world_close(&world);
}

Test(upstream_pick, who_ended_is_not_told)
{
    struct world world;
    struct setup setup;
    struct asked gone, waits;
    world_open(&world);
    setup_open(&world, &setup, names_yaml);
    struct pick first = pick_of(&setup, "s", &gone);
    struct pick second = pick_of(&setup, "s", &waits);
    cr_assert_eq(pick_next(&first), WEIR_ERR_AGAIN);
    cr_assert_eq(pick_next(&second), WEIR_ERR_AGAIN);
    pick_end(&first);
    TURN_UNTIL(world.loop, waits.calls == 1);
    cr_assert_eq(waits.err, WEIR_OK);
    cr_assert_eq(gone.calls, 0);
    pick_end(&second);
    struct pick never = {0};
    pick_end(&never);
    setup_close(&setup);
    world_close(&world);
}

/* A `done` that ends the others, asks again, or both: the list of those who wait changes under it.
 */
static struct pick *victim;

static void on_picked_end_victim(struct pick *pick, enum weir_err err)
{
    on_picked(pick, err);
    pick_end(victim);
    cr_assert_eq(pick_next(pick), WEIR_OK);
    pick_end(pick);
}

Test(upstream_pick, done_may_end_another_that_waits)
{
    struct world world;
    struct setup setup;
    struct asked first_asked, second_asked, third_asked;
    world_open(&world);
    setup_open(&world, &setup, names_yaml);
    struct pick first = pick_of(&setup, "s", &first_asked);
    struct pick second = pick_of(&setup, "s", &second_asked);
    struct pick third = pick_of(&setup, "s", &third_asked);
    first.done = on_picked_end_victim;
    victim = &second;
    cr_assert_eq(pick_next(&first), WEIR_ERR_AGAIN);
    cr_assert_eq(pick_next(&second), WEIR_ERR_AGAIN);
    cr_assert_eq(pick_next(&third), WEIR_ERR_AGAIN);
    TURN_UNTIL(world.loop, third_asked.calls == 1);
    cr_assert_eq(first_asked.calls, 1);
    cr_assert_eq(second_asked.calls, 0);
    pick_end(&third);
    setup_close(&setup);
    world_close(&world);
}

/* The address a policy chose; its ring lives as long as the exchange. */
static const struct override_case {
    const char *why, *host;
    enum weir_err err;
    const char *ip;
} override_cases[] = {
    {"an address", "127.0.0.2", WEIR_OK, "127.0.0.2"},
    {"a name", "one.test", WEIR_OK, "10.0.0.9"},
    {"no such name", "nobody.test", WEIR_ERR_NO_NAME, NULL},
    {"no name at all", "", WEIR_ERR_NO_NAME, NULL},
    {"an upstream's name is a name like others here", "up", WEIR_ERR_NO_NAME, NULL},
};

Test(upstream_pick, override)
{
    struct world world;
    struct setup setup;
    world_open(&world);
    setup_open(&world, &setup, names_yaml);
    for (size_t i = 0; i < COUNT_OF(override_cases); i++) {
        const struct override_case *row = &override_cases[i];
        struct asked asked;
        struct pick pick = pick_of(&setup, "mixed", &asked);
        pick.host = span_text(row->host);
        pick.port = 8123;
        cr_assert_eq(next(&world, &pick), row->err, "%s", row->why);
        if (row->err == WEIR_OK) {
            cr_assert_str_eq(pick.address.text, row->ip, "%s", row->why);
            cr_assert_eq(pick.target_port, 8123);
            cr_assert(span_equal(pick.host_name, pick.host));
            cr_assert_null(pick.upstream);
            cr_assert_null(pick.target);
        }
        pick_end(&pick);
        cr_assert_eq(map_count(world.upstreams->rings), 1, "%s: the upstream's alone", row->why);
    }
    unsigned seen = 0;
    for (size_t i = 0; i < 3; i++) {
        struct asked asked;
        struct pick pick = pick_of(&setup, "mixed", &asked);
        pick.host = SPAN("three.test");
        cr_assert_eq(next(&world, &pick), WEIR_OK);
        seen |= 1u << pick.address.ip[3];
        pick_end(&pick);
    }
    cr_assert_eq(seen, 1u << 1 | 1u << 2 | 1u << 3, "not the first one each time");
    setup_close(&setup);
    world_close(&world);
}

/* Answers have their time: then the name is asked for again, while its old addresses serve on. */
Test(upstream_pick, addresses_change)
{
    struct world world;
    struct setup setup;
    struct asked asked;
    struct address now[2] = {{0}};
    world_open(&world);
    setup_open(&world, &setup, names_yaml);
    struct pick pick = pick_of(&setup, "s", &asked);
    cr_assert_eq(next(&world, &pick), WEIR_OK);
    struct ring *ring = setup.balancers->ways[pick.service->index].ring;
    cr_assert_eq(ring->peer_count, 3);
    struct peer *peers = ring->peers;
    struct address turned[3] = {peers[2].address, peers[0].address, peers[1].address};
    cr_assert(ring_set_addresses(ring, 0, turned, 3));
    cr_assert_eq(ring->peers, peers, "the same addresses in another order: nothing changed");
    /* The one in use goes, another stays, one is new. */
    size_t used = address_equal(&peers[0].address, &pick.address) ? 0 : 1;
    now[0] = peers[2].address;
    cr_assert_eq(address_parse(SPAN("10.0.0.7:80"), &now[1]), WEIR_OK);
    int64_t current = peers[2].current;
    cr_assert(used < 2 && ring_set_addresses(ring, 0, now, 2));
    cr_assert_eq(ring->peer_count, 2);
    cr_assert_eq(ring->total, 2);
    cr_assert_eq(ring->peers[0].current, current, "its turn stays");
    cr_assert_eq(pick.pool->refs, 1, "the exchange's alone");
    pick_end(&pick);
    cr_assert(ring_set_addresses(ring, 0, NULL, 0));
    cr_assert_eq(ring->peer_count, 0);
    setup_close(&setup);
    world_close(&world);
}

/* The clock is moved by hand from here on: nothing must be waited for by deadline. */
Test(upstream_pick, addresses_grow_old)
{
    struct world world;
    struct setup setup;
    struct asked asked;
    world_open(&world);
    setup_open(&world, &setup, names_yaml);
    struct pick pick = pick_of(&setup, "s", &asked);
    cr_assert_eq(next(&world, &pick), WEIR_OK);
    unsigned questions = world.names.questions;
    struct ring *ring = setup.balancers->ways[pick.service->index].ring;
    clock_freeze(clock_mono_us(), clock_wall_us());
    clock_advance_us(59 * UINT64_C(1000000)); /* of 60 */
    cr_assert_eq(pick_next(&pick), WEIR_OK);
    cr_assert_eq(ring->lookups, 0);
    clock_advance_us(2 * UINT64_C(1000000));
    cr_assert_eq(pick_next(&pick), WEIR_OK, "the old answer, while a new one is fetched");
    for (size_t i = 0; i < 1000 && world.names.questions == questions; i++)
        loop_run_once(world.loop);
    cr_assert_gt(world.names.questions, questions);
    clock_advance_us(2 * UINT64_C(3600000000));
    cr_assert_eq(pick_next(&pick), WEIR_ERR_AGAIN, "two hours old: may be somebody else's by now");
    pick_end(&pick);
    setup_close(&setup);
    world_close(&world);
}
