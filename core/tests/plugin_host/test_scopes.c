/* Which policies run for whom: scopes, order, consumers, protocols. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "plugin_host/policies.h"
#include "policy_fixture.h"

static struct fixture f;

static void set_up(void)
{
    fixture_open(&f, NULL);
    fixture_plugin(&f, "auth", "-DPRIORITY=1000");
    fixture_plugin(&f, "p", "-DPRIORITY=100");
}

static void tear_down(void)
{
    fixture_close(&f);
}

TestSuite(scopes, .init = set_up, .fini = tear_down, .timeout = 60);

#define ENTITIES                                                       \
    "_format_version: \"3.0\"\n"                                       \
    "services: [{name: s, host: up.test}, {name: t, host: up.test}]\n" \
    "routes:\n"                                                        \
    "- {name: r, service: s, paths: [/r]}\n"                           \
    "- {name: other, service: s, paths: [/o]}\n"                       \
    "- {name: far, service: t, paths: [/f]}\n"                         \
    "consumers: [{username: c}, {username: d}]\n"                      \
    "plugins:\n"                                                       \
    "- {name: auth}\n"

/* Most specific first. */
static const struct {
    const char *what, *fields;
} eight[] = {
    {"route + service + consumer", ", route: r, service: s, consumer: c"},
    {"route + consumer", ", route: r, consumer: c"},
    {"service + consumer", ", service: s, consumer: c"},
    {"route + service", ", route: r, service: s"},
    {"consumer", ", consumer: c"},
    {"route", ", route: r"},
    {"service", ", service: s"},
    {"global", ""},
};

/* These policies beside `auth`. */
static void load(const char *plugins)
{
    char yaml[2048];
    (void)snprintf(yaml, sizeof(yaml), ENTITIES "%s", plugins);
    fixture_load(&f, yaml);
    cr_assert_eq(f.err, WEIR_OK, "%s\n%s", fixture_problems(&f), yaml);
}

/* The set of a route after `auth`, which is its member 0, has found the consumer. */
static const struct chain_set *set_for(const char *route_name, const char *consumer_name)
{
    const struct route *route = fixture_route(&f, route_name);
    const struct chain_set *set = policies_route(f.policies, route);
    if (consumer_name != NULL)
        set = policies_consumer(f.policies, set, route, fixture_consumer(&f, consumer_name), 0,
                                f.arena);
    cr_assert_not_null(set);
    return set;
}

static void expect_high(const char *plugins, const char *high, const char *low)
{
    load(plugins);
    cr_expect_str_eq(members_text(set_for("r", "c")), "auth high", "%s over %s:\n%s", high, low,
                     plugins);
}

Test(scopes, of_each_pair_the_more_specific_one_runs_whatever_the_order_in_the_file)
{
    for (size_t high = 0; high < COUNT_OF(eight); high++) {
        for (size_t low = high + 1; low < COUNT_OF(eight); low++) {
            char first[128], second[128], both[256];
            (void)snprintf(first, sizeof(first), "- {name: p, instance_name: high%s}\n",
                           eight[high].fields);
            (void)snprintf(second, sizeof(second), "- {name: p, instance_name: low%s}\n",
                           eight[low].fields);
            (void)snprintf(both, sizeof(both), "%s%s", first, second);
            expect_high(both, eight[high].what, eight[low].what);
            (void)snprintf(both, sizeof(both), "%s%s", second, first);
            expect_high(both, eight[high].what, eight[low].what);
        }
    }
}

Test(scopes, a_policy_reaches_nobody_outside_its_scope)
{
    static const struct {
        const char *why, *fields, *route, *consumer;
        bool runs;
    } rows[] = {
        {"global: everybody", "", "far", NULL, true},
        {"of a service: its routes", ", service: s", "other", NULL, true},
        {"of a service: no others", ", service: s", "far", NULL, false},
        {"of a route: no other of the service", ", route: r", "other", NULL, false},
        {"route and service that belong together", ", route: r, service: s", "r", NULL, true},
        {"route and service that do not: never", ", route: r, service: t", "r", NULL, false},
        {"of a consumer: before it is known", ", consumer: c", "r", NULL, false},
        {"of a consumer: once it is known", ", consumer: c", "r", "c", true},
        {"of a consumer: not of another", ", consumer: c", "r", "d", false},
        {"consumer and route: not on another route", ", consumer: c, route: r", "other", "c",
         false},
        {"consumer and service: on its other route", ", consumer: c, service: s", "other", "c",
         true},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char plugins[128];
        (void)snprintf(plugins, sizeof(plugins), "- {name: p%s}\n", rows[i].fields);
        load(plugins);
        cr_expect_str_eq(members_text(set_for(rows[i].route, rows[i].consumer)),
                         rows[i].runs ? "auth p" : "auth", "%s", rows[i].why);
    }
}

Test(scopes, a_disabled_policy_is_invisible_the_less_specific_one_runs)
{
    load("- {name: p, instance_name: low}\n"
         "- {name: p, instance_name: high, route: r, enabled: false}\n");
    cr_expect_str_eq(members_text(set_for("r", NULL)), "auth low");
    cr_expect_eq(policies_count(f.policies), 2);
}

Test(scopes, without_a_route_only_global_ones_run)
{
    load("- {name: p, route: r}\n");
    cr_expect_str_eq(members_text(policies_global(f.policies)), "auth");
}

Test(scopes, routes_with_equal_members_share_one_set)
{
    load("- {name: p, instance_name: own, route: r}\n");
    cr_expect_eq(set_for("other", NULL), set_for("far", NULL));
    cr_expect_eq(set_for("other", NULL), policies_global(f.policies));
    cr_expect_neq(set_for("r", NULL), set_for("far", NULL));
}

/* ---- consumers */

Test(scopes, members_up_to_the_rank_stay_and_later_ones_are_chosen_again)
{
    fixture_plugin(&f, "early", "-DPRIORITY=2000");
    fixture_plugin(&f, "late", "-DPRIORITY=50");
    fixture_plugin(&f, "soon", "-DPRIORITY=3000");
    load("- {name: early, instance_name: early-all}\n"
         "- {name: early, instance_name: early-c, consumer: c}\n"
         "- {name: p, instance_name: p-all}\n"
         "- {name: p, instance_name: p-c, consumer: c}\n"
         "- {name: late, instance_name: late-c, consumer: c}\n"
         "- {name: soon, instance_name: soon-c, consumer: c}\n");
    const struct route *route = fixture_route(&f, "r");
    const struct chain_set *set = policies_route(f.policies, route);
    cr_assert_str_eq(members_text(set), "early-all auth p-all");
    static const struct {
        const char *why;
        uint16_t rank;
        const char *members;
    } rows[] = {
        {"auth found it: later ones are the consumer's, one joins, earlier ones stay", 1,
         "early-all auth p-c late-c"},
        {"found by the first", 0, "early-all auth p-c late-c"},
        {"found by the last: only what is after it", 2, "early-all auth p-all late-c"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const struct chain_set *have = policies_consumer(
            f.policies, set, route, fixture_consumer(&f, "c"), rows[i].rank, f.arena);
        cr_expect_str_eq(members_text(have), rows[i].members, "%s", rows[i].why);
        cr_expect_eq(policies_consumer(f.policies, set, route, fixture_consumer(&f, "c"),
                                       rows[i].rank, f.arena),
                     have, "%s: made once", rows[i].why);
    }
    cr_expect_eq(policies_consumer(f.policies, set, route, fixture_consumer(&f, "d"), 0, f.arena),
                 set, "a consumer without policies changes nothing");
}

Test(scopes, routes_that_share_a_set_do_not_share_what_a_consumer_has_on_one_of_them)
{
    load("- {name: p, consumer: c, route: r}\n");
    cr_assert_eq(set_for("r", NULL), set_for("other", NULL));
    cr_expect_str_eq(members_text(set_for("r", "c")), "auth p");
    cr_expect_str_eq(members_text(set_for("other", "c")), "auth");
    cr_expect_str_eq(members_text(set_for("r", "c")), "auth p");
}

Test(scopes, a_second_consumer_takes_the_first_ones_policies_away)
{
    fixture_plugin(&f, "more", "-DPRIORITY=900");
    load("- {name: more}\n- {name: p, instance_name: p-all}\n"
         "- {name: p, instance_name: p-c, consumer: c}\n");
    const struct route *route = fixture_route(&f, "r");
    const struct chain_set *set = set_for("r", "c");
    cr_assert_str_eq(members_text(set), "auth more p-c");
    set = policies_consumer(f.policies, set, route, fixture_consumer(&f, "d"), 1, f.arena);
    cr_expect_str_eq(members_text(set), "auth more p-all");
}

/* The fixture's plugins have one body of code, so what tells overlays apart is who is in them. */
Test(scopes, beyond_its_bound_the_cache_takes_no_more_and_answers_are_the_same)
{
    load("- {name: p, instance_name: p-c, consumer: c}\n"
         "- {name: p, instance_name: p-d, consumer: d}\n");
    f.policies->overlays_max = 1;
    const struct chain_set *kept = set_for("r", "c");
    cr_expect_str_eq(members_text(kept), "auth p-c");
    cr_expect_str_eq(members_text(set_for("r", "d")), "auth p-d");
    cr_expect_eq(map_count(f.policies->overlays), 1);
    cr_expect_neq(set_for("r", "d"), set_for("r", "d"), "made in the arena of the exchange");
    cr_expect_eq(set_for("r", "c"), kept);
}

Test(scopes, without_memory_a_consumer_has_no_set)
{
    load("- {name: p, consumer: c}\n");
    const struct route *route = fixture_route(&f, "r");
    const struct chain_set *set = policies_route(f.policies, route);
    const struct consumer *c = fixture_consumer(&f, "c");
    arena_limit(f.arena, arena_used(f.arena));
    cr_expect_null(policies_consumer(f.policies, set, route, c, 0, f.arena));
    arena_limit(f.arena, 0);
    cr_expect_str_eq(members_text(set_for("r", "c")), "auth p", "nothing half-made was kept");
}

/* ---- order */

Test(scopes, order_is_priority_then_name_both_descending_unless_ordering_says_otherwise)
{
    fixture_plugin(&f, "a", "-DPRIORITY=7");
    fixture_plugin(&f, "b", "-DPRIORITY=7");
    fixture_plugin(&f, "z", "-DPRIORITY=1");
    static const struct {
        const char *why, *plugins, *members;
    } rows[] = {
        {"priority, then name", "- {name: a}\n- {name: z}\n- {name: b}\n", "auth b a z"},
        {"before", "- {name: a}\n- {name: z, ordering: {before: {access: [auth]}}}\n- {name: b}\n",
         "z auth b a"},
        {"after", "- {name: a}\n- {name: b, ordering: {after: {access: [a, z]}}}\n- {name: z}\n",
         "auth a z b"},
        {"a name that does not run here", "- {name: a, ordering: {after: {access: [nobody]}}}\n",
         "auth a"},
        {"after: it goes down, the other does not come up",
         "- {name: auth, route: r, ordering: {after: {access: [a]}}}\n- {name: b}\n- {name: a}\n",
         "b a auth"},
        {"both sides",
         "- {name: a, ordering: {after: {access: [z]}, before: {access: [b]}}}\n- {name: b}\n"
         "- {name: z}\n",
         "auth z a b"},
        {"only of a policy that runs: this one is another route's",
         "- {name: z}\n- {name: z, route: far, ordering: {before: {access: [auth]}}}\n", "auth z"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        load(rows[i].plugins);
        cr_expect_str_eq(members_text(set_for("r", NULL)), rows[i].members, "%s", rows[i].why);
    }
}

Test(scopes, orderings_that_contradict_each_other_are_refused_at_their_place)
{
    fixture_plugin(&f, "a", "-DPRIORITY=7");
    fixture_load(&f, ENTITIES "- name: a\n"
                              "  ordering:\n"
                              "    before: {access: [p]}\n"
                              "- {name: p, ordering: {before: {access: [a]}}}\n");
    cr_expect_eq(f.err, WEIR_ERR_CONFIG);
    cr_expect_str_eq(fixture_problems(&f),
                     "kong.yml:12:5: plugins[1].ordering: runs in a circle with the orderings of "
                     "other plugins\n");
    fixture_load(&f,
                 ENTITIES "- {name: p, ordering: {behind: {}, after: {log: [a]}, before: 5}}\n");
    cr_expect_eq(f.err, WEIR_ERR_CONFIG);
    cr_expect_str_eq(fixture_problems(&f),
                     "kong.yml:10:24: plugins[1].ordering: unknown field\n"
                     "kong.yml:10:44: plugins[1].ordering.after.log: unknown field\n"
                     "kong.yml:10:63: plugins[1].ordering.before: expected a record\n");
}

/* ---- protocols */

Test(scopes, protocols_only_keep_policies_of_streams_out)
{
    static const struct {
        const char *why, *protocols, *members;
    } rows[] = {
        {"as they come", "", "auth p"},
        {"both named", ", protocols: [http, https]", "auth p"},
        {"plain only: not compared with the request", ", protocols: [http]", "auth p"},
        {"TLS only: a plain request is not let through without it", ", protocols: [https, grpcs]",
         "auth p"},
        {"gRPC only", ", protocols: [grpc]", "auth p"},
        {"streams and requests", ", protocols: [tcp, http]", "auth p"},
        {"of streams: never", ", protocols: [tcp]", "auth"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char plugins[128];
        (void)snprintf(plugins, sizeof(plugins), "- {name: p%s}\n", rows[i].protocols);
        load(plugins);
        const struct route *route = fixture_route(&f, "r");
        cr_expect_str_eq(members_text(policies_route(f.policies, route)), rows[i].members, "%s",
                         rows[i].why);
    }
    load("- {name: p, instance_name: low}\n"
         "- {name: p, instance_name: high, route: r, protocols: [tcp]}\n");
    cr_expect_str_eq(members_text(set_for("r", NULL)), "auth low",
                     "one of streams does not hide one of requests");
}

/* ---- layers */

Test(scopes, of_a_layered_plugin_all_of_the_chosen_scope_run_by_instance_name)
{
    static const struct {
        const char *why, *plugins, *members;
    } rows[] = {
        {"in the order of the file",
         "- {name: q, instance_name: two}\n- {name: q, instance_name: one}\n", "auth two one"},
        {"one of them without a name", "- {name: q}\n- {name: q, instance_name: one}\n",
         "auth q one"},
        {"a narrower scope replaces them all",
         "- {name: q, instance_name: one}\n- {name: q, instance_name: two}\n"
         "- {name: q, instance_name: own, route: r}\n"
         "- {name: q, instance_name: owner, route: r}\n",
         "auth own owner"},
        {"route and service are another scope than the route",
         "- {name: q, instance_name: one, route: r}\n"
         "- {name: q, instance_name: two, route: r, service: s}\n",
         "auth two"},
        {"another route's do not join",
         "- {name: q, instance_name: one, route: other}\n"
         "- {name: q, instance_name: two, route: r}\n",
         "auth two"},
        {"a disabled one does not run",
         "- {name: q, instance_name: one}\n- {name: q, instance_name: two, enabled: false}\n",
         "auth one"},
        {"one of streams does not run",
         "- {name: q, instance_name: one}\n- {name: q, instance_name: two, protocols: [tcp]}\n",
         "auth one"},
        {"a consumer's replace them, all of those",
         "- {name: q, instance_name: one}\n- {name: q, instance_name: two}\n"
         "- {name: q, instance_name: c-one, consumer: c}\n"
         "- {name: q, instance_name: c-two, consumer: c}\n",
         "auth c-one c-two"},
        {"other plugins keep to one",
         "- {name: p, instance_name: one}\n- {name: p, instance_name: two}\n", "auth one"},
    };
    fixture_plugin(&f, "q", "-DPRIORITY=90 '-DMORE=.access=hook,.flags=WEIR_PLUGIN_LAYERED'");
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        load(rows[i].plugins);
        cr_expect_str_eq(members_text(set_for("r", "c")), rows[i].members, "%s", rows[i].why);
    }
}
