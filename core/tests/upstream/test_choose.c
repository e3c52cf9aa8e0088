/* The algorithms that are no plain turn. Targets are told apart by their port: A is 7001, B 7002
 * and so on; nothing is dialed here. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/random.h"
#include "support.h"

TestSuite(upstream_choose, .timeout = 60);

enum { KEYS = 4000, TARGETS_MAX = 12 };

/* `order`: the letters of the targets as the file has them; weights by letter. */
static void open_upstream(struct world *world, struct setup *setup, const char *algorithm,
                          const char *order, const int *weights)
{
    static char yaml[4000];
    int at = snprintf(yaml, sizeof yaml,
                      "_format_version: '3.0'\n"
                      "services: [{name: s, url: 'http://up'}]\n"
                      "upstreams:\n- name: up\n  algorithm: %s\n  targets:\n",
                      algorithm);
    for (; *order != '\0'; order++)
        at += snprintf(yaml + at, sizeof yaml - (size_t)at,
                       "  - {target: '127.0.0.1:%d', weight: %d}\n", 7001 + *order - 'A',
                       weights[*order - 'A']);
    setup_open(world, setup, yaml);
    cr_assert_eq(setup->err, WEIR_OK);
}

static struct ring *ring_of(const struct setup *setup)
{
    return setup->balancers->rings[0];
}

static struct pick pick_of(const struct setup *setup, uint64_t hashed)
{
    return (struct pick){.balancers = setup->balancers,
                         .service = setup_service(setup, "s"),
                         .hashed = hashed,
                         .has_hash = true};
}

static char letter_of(const struct pick *pick)
{
    return (char)('A' + pick->target_port - 7001);
}

static uint64_t key_of(size_t i)
{
    return (i + 1) * 0xd1342543de82ef95ULL;
}

/* Who gets each key. */
static void assign(const struct setup *setup, char *out)
{
    for (size_t i = 0; i < KEYS; i++) {
        struct pick pick = pick_of(setup, key_of(i));
        cr_assert_eq(pick_next(&pick), WEIR_OK);
        out[i] = letter_of(&pick);
        pick_end(&pick);
    }
}

static void assign_fresh(struct world *world, const char *order, const int *weights, char *out)
{
    struct setup setup;
    open_upstream(world, &setup, "consistent-hashing", order, weights);
    assign(&setup, out);
    setup_close(&setup);
}

/* Any set of targets with any weights: one that goes gives up its keys and no others, one that
 * comes takes only for itself, and about as many as its weight says. */
Test(upstream_choose, hashing_moves_what_it_must)
{
    static char before[KEYS], after[KEYS];
    struct world world;
    world_open(&world);
    for (unsigned round = 0; round < 12; round++) {
        int weights[TARGETS_MAX];
        char all[TARGETS_MAX + 1] = "", fewer[TARGETS_MAX + 1] = "";
        size_t count = 2 + random_u64() % (TARGETS_MAX - 1);
        double total = 0;
        for (size_t i = 0; i < count; i++) {
            weights[i] = 1 + (int)(random_u64() % 200);
            all[i] = (char)('A' + i);
            total += weights[i];
        }
        size_t gone = random_u64() % count;
        for (size_t i = 0, to = 0; i < count; i++) {
            if (i != gone)
                fewer[to++] = all[i];
        }
        assign_fresh(&world, all, weights, before);
        assign_fresh(&world, fewer, weights, after);
        size_t moved = 0;
        for (size_t i = 0; i < KEYS; i++) {
            if (before[i] == all[gone])
                moved++;
            else
                cr_assert_eq(before[i], after[i], "key %zu moved though its target stays", i);
        }
        /* Six deviations: not once in the life of this test by chance. */
        double share = weights[gone] / total;
        double wide = 6 * sqrt(KEYS * share * (1 - share)) + 6 * KEYS * sqrt(share / 10000) + 1;
        cr_assert(fabs((double)moved - KEYS * share) < wide, "%zu keys at a share of %.3f", moved,
                  share);
    }
    world_close(&world);
}

Test(upstream_choose, hashing_is_the_same_in_every_worker)
{
    static char first[KEYS], second[KEYS];
    const int weights[] = {100, 100, 200, 7};
    struct world world, other;
    world_open(&world);
    world_open(&other);
    assign_fresh(&world, "ABCD", weights, first);
    assign_fresh(&other, "DBAC", weights, second);
    cr_assert_eq(memcmp(first, second, KEYS), 0, "and the order of the file does not count");
    size_t hits[4] = {0};
    for (size_t i = 0; i < KEYS; i++)
        hits[first[i] - 'A']++;
    cr_assert(hits[2] > KEYS * 180 / 407 && hits[2] < KEYS * 220 / 407);
    cr_assert(hits[3] > 0 && hits[3] < KEYS / 20, "7 of 407 is little, but not nothing");
    world_close(&other);
    world_close(&world);
}

Test(upstream_choose, hashing_retries_go_through_all)
{
    struct world world;
    struct setup setup;
    const int weights[] = {100, 1, 50};
    world_open(&world);
    open_upstream(&world, &setup, "consistent-hashing", "ABC", weights);
    for (size_t i = 0; i < 50; i++) {
        struct pick pick = pick_of(&setup, key_of(i));
        char order[5] = "";
        unsigned seen = 0;
        for (size_t j = 0; j < 4; j++) {
            cr_assert_eq(pick_next(&pick), WEIR_OK);
            order[j] = letter_of(&pick);
            seen |= j < 3 ? 1u << (order[j] - 'A') : 0;
        }
        cr_assert_eq(seen, 7u, "%s", order);
        cr_assert_eq(order[3], order[0], "and begin again with its own");
        pick_end(&pick);
    }
    setup_close(&setup);
    world_close(&world);
}

Test(upstream_choose, slots)
{
    static const struct {
        const char *slots;
        uint32_t count;
    } rows[] = {{"10", 1000}, {"4711", 4711}, {"65536", 65536}};
    struct world world;
    world_open(&world);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct setup setup;
        char algorithm[100];
        (void)snprintf(algorithm, sizeof algorithm, "consistent-hashing\n  slots: %s",
                       rows[i].slots);
        open_upstream(&world, &setup, algorithm, "A", (const int[]){1});
        cr_assert_eq(ring_of(&setup)->slot_count, rows[i].count);
        setup_close(&setup);
    }
    world_close(&world);
}

/* Addresses come and go under exchanges that hold one. */
Test(upstream_choose, addresses_change_under_an_attempt)
{
    static const char *const algorithms[] = {"consistent-hashing", "least-connections", "latency"};
    struct world world;
    world_open(&world);
    for (size_t i = 0; i < COUNT_OF(algorithms); i++) {
        struct setup setup;
        struct address now[2];
        open_upstream(&world, &setup, algorithms[i], "A", (const int[]){5});
        struct pick pick = pick_of(&setup, 1), next = pick_of(&setup, 1);
        cr_assert_eq(pick_next(&pick), WEIR_OK);
        cr_assert_eq(address_parse(SPAN("10.0.0.7:80"), &now[0]), WEIR_OK);
        cr_assert_eq(address_parse(SPAN("10.0.0.8:80"), &now[1]), WEIR_OK);
        cr_assert(ring_set_addresses(ring_of(&setup), 0, now, 2));
        pick_report(&pick, PICK_ANSWERED, 200);
        cr_assert_eq(pick_next(&next), WEIR_OK);
        cr_assert_eq(next.address.ip[0], 10);
        const struct peer_record *kept = ring_of(&setup)->peers[1].record;
        cr_assert(ring_set_addresses(ring_of(&setup), 0, now + 1, 1));
        cr_assert_eq(ring_of(&setup)->peers[0].record, kept, "who stays keeps what is known");
        pick_end(&pick);
        pick_end(&next);
        setup_close(&setup);
    }
    world_close(&world);
}

/* --- least connections */

Test(upstream_choose, the_least_busy_by_weight)
{
    struct world world;
    struct setup setup;
    struct pick picks[12];
    size_t hits[3] = {0};
    const int weights[] = {100, 50, 0};
    world_open(&world);
    open_upstream(&world, &setup, "least-connections", "ABC", weights);
    for (size_t i = 0; i < COUNT_OF(picks); i++) {
        picks[i] = pick_of(&setup, 0);
        cr_assert_eq(pick_next(&picks[i]), WEIR_OK);
        hits[letter_of(&picks[i]) - 'A']++;
    }
    cr_assert_eq(hits[0], 8, "two of three");
    cr_assert_eq(hits[1], 4);
    for (size_t i = 0; i < COUNT_OF(picks); i++) {
        if (letter_of(&picks[i]) == 'B')
            pick_end(&picks[i]);
    }
    struct pick next = pick_of(&setup, 0);
    cr_assert_eq(pick_next(&next), WEIR_OK);
    cr_assert_eq(letter_of(&next), 'B', "whose are over");
    cr_assert_eq(ring_of(&setup)->peers[1].record->active, 1);
    cr_assert_eq(pick_next(&next), WEIR_OK);
    cr_assert_eq(ring_of(&setup)->peers[1].record->active, 0, "a failed attempt is over too");
    cr_assert_eq(letter_of(&next), 'A', "a retry goes elsewhere");
    pick_end(&next);
    for (size_t i = 0; i < COUNT_OF(picks); i++)
        pick_end(&picks[i]);
    setup_close(&setup);
    world_close(&world);
}

Test(upstream_choose, equals_take_turns)
{
    struct world world;
    struct setup setup;
    size_t hits[3] = {0};
    world_open(&world);
    open_upstream(&world, &setup, "least-connections", "ABC", (const int[]){9, 9, 9});
    for (size_t i = 0; i < 30; i++) {
        struct pick pick = pick_of(&setup, 0);
        cr_assert_eq(pick_next(&pick), WEIR_OK);
        hits[letter_of(&pick) - 'A']++;
        pick_end(&pick);
    }
    for (size_t i = 0; i < 3; i++)
        cr_assert_eq(hits[i], 10);
    setup_close(&setup);
    world_close(&world);
}

/* --- latency. The clock is moved by hand. */

static char answered_after(const struct setup *setup, const uint64_t *ms)
{
    struct pick pick = pick_of(setup, 0);
    cr_assert_eq(pick_next(&pick), WEIR_OK);
    char letter = letter_of(&pick);
    clock_advance_us(ms[letter - 'A'] * 1000);
    pick_report(&pick, PICK_ANSWERED, 200);
    pick_end(&pick);
    return letter;
}

Test(upstream_choose, the_quickest)
{
    struct world world;
    struct setup setup;
    world_open(&world);
    open_upstream(&world, &setup, "latency", "AB", (const int[]){1, 1});
    clock_freeze(clock_mono_us(), clock_wall_us());
    size_t slow = 0;
    for (size_t i = 0; i < 100; i++)
        slow += answered_after(&setup, (const uint64_t[]){50, 5}) == 'A';
    cr_assert_leq(slow, 2, "%zu", slow);
    /* What was slow long ago is worth another try. */
    slow = 0;
    for (size_t i = 0; i < 20; i++) {
        clock_advance_us(5000000);
        slow += answered_after(&setup, (const uint64_t[]){50, 5}) == 'A';
    }
    cr_assert(slow > 0 && slow < 20, "%zu", slow);
    setup_close(&setup);
    world_close(&world);
}

Test(upstream_choose, a_quick_refusal_is_no_quick_answer)
{
    struct world world;
    struct setup setup;
    world_open(&world);
    open_upstream(&world, &setup, "latency", "AB", (const int[]){1, 1});
    clock_freeze(clock_mono_us(), clock_wall_us());
    size_t refused = 0;
    for (size_t i = 0; i < 50; i++) {
        struct pick pick = pick_of(&setup, 0);
        cr_assert_eq(pick_next(&pick), WEIR_OK);
        bool bad = letter_of(&pick) == 'A';
        refused += bad;
        clock_advance_us(bad ? 1000 : 20000);
        pick_report(&pick, bad ? PICK_UNREACHABLE : PICK_ANSWERED, 200);
        pick_end(&pick);
    }
    cr_assert_leq(refused, 2);
    setup_close(&setup);
    world_close(&world);
}

Test(upstream_choose, a_newcomer_counts_as_average)
{
    struct world world;
    struct setup setup;
    size_t hits[3] = {0};
    world_open(&world);
    open_upstream(&world, &setup, "latency", "ABC", (const int[]){1, 1, 1});
    clock_freeze(clock_mono_us(), clock_wall_us());
    record_observe(ring_of(&setup)->peers[0].record, 10000);
    record_observe(ring_of(&setup)->peers[1].record, 90000);
    for (size_t i = 0; i < 200; i++) {
        struct pick pick = pick_of(&setup, 0);
        cr_assert_eq(pick_next(&pick), WEIR_OK);
        hits[letter_of(&pick) - 'A']++;
        pick_end(&pick);
    }
    cr_assert_eq(hits[1], 0, "the slowest never wins of two");
    cr_assert(hits[0] > hits[2] && hits[2] > 0, "%zu %zu", hits[0], hits[2]);
    setup_close(&setup);
    world_close(&world);
}
