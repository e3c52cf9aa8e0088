/* From a configuration to running policies: configure() and its complaints, start and stop, chains
 * by phase, credentials. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/clock.h"
#include "plugin_host/calls.h"
#include "policy_fixture.h"

static struct fixture f;

static void set_up(void)
{
    fixture_open(&f, NULL);
}

static void tear_down(void)
{
    fixture_close(&f);
}

TestSuite(policies, .init = set_up, .fini = tear_down, .timeout = 60);

#define HEAD                                 \
    "_format_version: \"3.0\"\n"             \
    "services: [{name: s, host: up.test}]\n" \
    "routes: [{name: r, service: s, paths: [/r]}]\n"

Test(policies, what_configure_complains_about_has_a_line_and_a_column)
{
    fixture_plugin(&f, "p", "-DPRIORITY=1");
    static const struct {
        const char *why, *yaml, *problems;
    } rows[] = {
        {"a nested field",
         "plugins:\n- name: p\n  config:\n    tag: at host\n    redis:\n      host: nowhere\n",
         "kong.yml:9:13: plugins[0].config.redis.host: no such host\n"},
        {"a field that is not written: the nearest that is",
         "plugins:\n- name: p\n  config:\n    tag: at host\n",
         "kong.yml:7:5: plugins[0].config.redis.host: no such host\n"},
        {"a complaint counts even when configure() is happy",
         "plugins:\n- name: p\n  config: {tag: at tag}\n",
         "kong.yml:6:17: plugins[0].config.tag: a bad tag\n"},
        {"no path", "plugins:\n- name: p\n  config: {tag: at root}\n",
         "kong.yml:6:11: plugins[0].config: all of it\n"},
        {"a refusal without a word", "plugins:\n- name: p\n  config: {tag: silent}\n",
         "kong.yml:6:11: plugins[0].config: plugin 'p' refuses its configuration\n"},
        {"all of them at once",
         "plugins:\n- {name: p, config: {tag: silent}}\n"
         "- {name: p, route: r, config: {tag: at tag}}\n",
         "kong.yml:5:21: plugins[0].config: plugin 'p' refuses its configuration\n"
         "kong.yml:6:37: plugins[1].config.tag: a bad tag\n"},
        {"a disabled one is not asked",
         "plugins:\n- {name: p, enabled: false, config: {tag: silent}}\n", ""},
        {"a capability that was not declared", "plugins:\n- {name: p, config: {tag: dict}}\n",
         "kong.yml:5:21: plugins[0].config: the plugin did not declare WEIR_CAP_SHARED_MEMORY\n"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char yaml[1024];
        (void)snprintf(yaml, sizeof(yaml), HEAD "%s", rows[i].yaml);
        fixture_load(&f, yaml);
        cr_expect_eq(f.err, rows[i].problems[0] == '\0' ? WEIR_OK : WEIR_ERR_CONFIG, "%s",
                     rows[i].why);
        cr_expect_str_eq(fixture_problems(&f), rows[i].problems, "%s:\n  have: %s", rows[i].why,
                         fixture_problems(&f));
    }
}

Test(policies, a_missing_plugin_is_an_error_unless_the_policy_is_optional)
{
    fixture_load(&f, HEAD "plugins: [{name: nothing, optional: true}]\n");
    cr_expect_eq(f.err, WEIR_OK);
    cr_expect_eq(policies_count(f.policies), 0);
    cr_expect_eq(problems_warnings(f.problems), 1);
    fixture_load(&f, HEAD "plugins: [{name: nothing}]\n");
    cr_expect_eq(f.err, WEIR_ERR_CONFIG);
}

Test(policies, chains_hold_only_those_that_hook_a_phase)
{
    fixture_plugin(&f, "first",
                   "-DPRIORITY=30 '-DMORE=.rewrite=hook,.access=hook,.log=finish,"
                   ".context_size=20,.request_body=body,.request_body_need=WEIR_BODY_TEE'");
    fixture_plugin(&f, "second",
                   "-DPRIORITY=20 '-DMORE=.access=hook,.response_headers=hook,.context_size=16,"
                   ".request_body=body,.request_body_need=WEIR_BODY_STREAM'");
    fixture_plugin(&f, "third",
                   "-DPRIORITY=10 '-DMORE=.upstream=hook,.response_body=body,.log=finish,"
                   ".response_body_need=WEIR_BODY_BUFFER,.request_body=body'");
    fixture_load(&f, HEAD "plugins:\n- {name: first}\n- {name: second, on_error: open}\n"
                          "- {name: third, route: r}\n");
    cr_assert_eq(f.err, WEIR_OK, "%s", fixture_problems(&f));
    const struct chain_set *global = policies_global(f.policies);
    const struct chain_set *set = policies_route(f.policies, fixture_route(&f, "r"));
    cr_expect_str_eq(phase_text(global, PHASE_REWRITE), "first");
    cr_expect_str_eq(phase_text(set, PHASE_REWRITE), "", "it ran before there was a route");
    static const struct {
        enum phase phase;
        const char *members;
    } rows[] = {
        {PHASE_ACCESS, "first second"},
        {PHASE_REQUEST_BODY, "first second"}, /* the third did not ask for it */
        {PHASE_UPSTREAM, "third"},
        {PHASE_RESPONSE_HEADERS, "second"},
        {PHASE_RESPONSE_BODY, "third"},
        {PHASE_LOG, "first third"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        cr_expect_str_eq(phase_text(set, rows[i].phase), rows[i].members, "%s",
                         phase_name(rows[i].phase));
    cr_expect_eq(set->body_need[0], WEIR_BODY_STREAM, "stronger than a copy");
    cr_expect_eq(set->body_need[1], WEIR_BODY_BUFFER);
    cr_expect_eq(set->context_bytes, 32 + 16);
    const struct chain_entry *last = &set->phases[PHASE_LOG].entries[1];
    cr_expect_eq(last->slot, 2);
    cr_expect_eq(policy_of_self(last->self), last->policy);
    cr_expect_eq(set->members[2], last->policy);
    cr_expect(set->members[1]->fails_open);
    cr_expect(!set->members[0]->fails_open);
}

Test(policies, without_memory_the_build_says_so_and_leaves_nothing)
{
    fixture_plugin(&f, "keys", "-DPRIORITY=1 -DCREDENTIALS");
    fixture_plugin(&f, "p", "-DPRIORITY=2");
    fixture_load(&f, HEAD "plugins:\n- {name: keys, ordering: {before: {access: [p]}}}\n"
                          "- {name: p}\n- {name: p, route: r}\n"
                          "consumers: [{username: c}]\n"
                          "first_keys: [{consumer: c, key: one}]\n");
    cr_assert_eq(f.err, WEIR_OK, "%s", fixture_problems(&f));
    size_t refusals = 0;
    for (enum weir_err err = WEIR_ERR_NO_MEMORY; err != WEIR_OK; refusals++) {
        struct policies *policies = NULL;
        struct arena *arena = arena_create(NULL);
        cr_assert_not_null(arena);
        arena_limit(arena, 64 + refusals * 32);
        err = policies_build(arena, f.plugins.host, f.config, f.plugins.catalog, f.problems,
                             &policies);
        cr_assert(err == WEIR_OK || err == WEIR_ERR_NO_MEMORY, "%zu: %s", refusals,
                  weir_err_text(err));
        cr_assert_eq(policies != NULL, err == WEIR_OK);
        policies_stop(policies);
        arena_destroy(arena);
    }
    cr_expect_gt(refusals, 10);
}

Test(policies, without_a_loop_there_are_no_timers)
{
    fixture_plugin(&f, "p", "-DPRIORITY=1");
    fixture_load(&f, HEAD "plugins: [{name: p}]\n");
    cr_assert_eq(f.err, WEIR_OK, "%s", fixture_problems(&f));
    const void *self = policies_at(f.policies, 0)->policy->self;
    cr_expect_null(call_timer_start(self, 1, 0, NULL, NULL));
    cr_expect_null(call_io_add(self, 0, WEIR_IO_READ, NULL, NULL));
}

struct conf { /* as the fixture's plugin has it */
    weir_str tag, host;
    int64_t starts;
};

Test(policies, the_first_that_refuses_to_start_stops_those_that_did)
{
    fixture_plugin(&f, "p", "-DPRIORITY=1");
    fixture_load(&f, HEAD "plugins: [{name: p}, {name: p, route: r, config: {tag: lazy}},"
                          " {name: p, service: s}]\n");
    cr_assert_eq(f.err, WEIR_OK, "%s", fixture_problems(&f));
    char why[128] = "";
    cr_expect_eq(policies_start(f.policies, why, sizeof(why)), WEIR_ERR_REFUSED);
    cr_expect_str_eq(why, "plugin 'p' (plugins[1]): start() refused");
    static const int64_t want[] = {1 - 10, 1, 0}; /* stopped, refused, never asked */
    for (size_t i = 0; i < COUNT_OF(want); i++) {
        const struct conf *conf = policies_at(f.policies, i)->policy->self;
        cr_expect_eq(conf->starts, want[i], "policy %zu", i);
    }
}

/* ---- in pieces */

static size_t count_again(enum weir_err (*step)(struct policies *policies,
                                                const struct slice *slice),
                          struct policies *policies)
{
    const struct slice over = {1}; /* when it begins */
    size_t again = 0;
    enum weir_err err;
    while ((err = step(policies, &over)) == WEIR_ERR_AGAIN)
        again++;
    cr_assert_eq(err, WEIR_OK);
    return again;
}

static enum weir_err step_configure(struct policies *policies, const struct slice *slice)
{
    return policies_configure(policies, slice, f.problems);
}

static enum weir_err step_check(struct policies *policies, const struct slice *slice)
{
    return policies_check(policies, slice, f.problems);
}

static enum weir_err step_start(struct policies *policies, const struct slice *slice)
{
    char why[128];
    return policies_start_some(policies, slice, why, sizeof(why));
}

Test(policies, slices_that_are_over_make_the_same_in_many_turns)
{
    fixture_plugin(&f, "keys", "-DPRIORITY=1 -DCREDENTIALS");
    fixture_plugin(&f, "p", "-DPRIORITY=2");
    fixture_load(&f, HEAD "plugins: [{name: keys}, {name: p}, {name: p, route: r}]\n"
                          "consumers: [{username: c}]\n"
                          "first_keys: [{consumer: c, key: one}, {consumer: c, key: two}]\n");
    cr_assert_eq(f.err, WEIR_OK, "%s", fixture_problems(&f));
    struct policies *policies = NULL;
    struct arena *arena = arena_create(NULL);
    cr_assert_eq(policies_create(arena, f.plugins.host, f.config, f.plugins.catalog, &policies),
                 WEIR_OK);
    cr_expect_eq(count_again(step_configure, policies), 3, "one policy a turn");
    cr_assert_eq(policies_index(policies, f.problems), WEIR_OK);
    cr_expect_eq(count_again(step_check, policies), 2, "one credential a turn");
    cr_expect_eq(count_again(step_start, policies), 3);
    const struct conf *conf = policies_at(policies, 1)->policy->self;
    cr_expect_eq(conf->starts, 1, "started once, however many turns it took");
    cr_expect_not_null(policies_credential(policies_at(policies, 0), 0, SPAN("two")),
                       "they are indexed");
    cr_expect_eq(count_again(policies_end, policies), 3);
    cr_expect_eq(conf->starts, 1 - 10, "stopped once");
    policies_stop(policies); /* nothing is left to stop */
    cr_expect_eq(conf->starts, 1 - 10);
    arena_destroy(arena);
}

static unsigned called;

static bool call_at_once(void *user, void (*work)(void *arg), void *arg)
{
    called++;
    if (user == NULL)
        return false;
    work(arg);
    return true;
}

Test(policies, who_may_not_load_sends_for_one_who_may)
{
    fixture_plugin(&f, "p", "-DPRIORITY=1");
    static int there;
    static const struct {
        const char *why;
        void *user;
        bool loaded;
    } rows[] = {{"loaded by the other", &there, true}, {"the other is gone", NULL, false}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct image_refusal refusal = {""};
        AUTO(catalog_destroy) struct catalog *catalog = catalog_create(f.folder, f.plugins.images);
        cr_assert_not_null(catalog);
        called = 0;
        catalog_load_through(catalog, call_at_once, rows[i].user);
        cr_expect_null(catalog_find_image(catalog, SPAN("q"), &refusal), "there is none");
        cr_expect_eq(called, 0, "who looks up alone needs nobody");
        for (int twice = 0; twice < 2; twice++)
            cr_expect_eq(catalog_find_image(catalog, SPAN("p"), &refusal) != NULL, rows[i].loaded,
                         "%s", rows[i].why);
        cr_expect_eq(called, 1, "%s: asked once", rows[i].why);
        cr_expect_eq(refusal.text[0] == '\0', false, "it says why");
    }
}

/* ---- credentials */

Test(policies, credentials_are_found_by_kind_and_key_until_their_end)
{
    fixture_plugin(&f, "keys", "-DPRIORITY=1 -DCREDENTIALS");
    fixture_plugin(&f, "p", "-DPRIORITY=2");
    clock_freeze(1000000, UINT64_C(1000) * 1000000);
    fixture_load(&f, HEAD "plugins: [{name: keys}, {name: p}]\n"
                          "consumers: [{username: c}]\n"
                          "first_keys: [{consumer: c, key: one, label: x},"
                          " {consumer: c, key: old, ttl: 1000},"
                          " {consumer: c, key: fresh, ttl: 1001}]\n"
                          "second_keys: [{consumer: c, key: two}]\n");
    cr_assert_eq(f.err, WEIR_OK, "%s", fixture_problems(&f));
    const struct running_policy *keys = policies_at(f.policies, 0);
    static const struct {
        const char *why;
        uint32_t kind;
        const char *key;
        bool found;
    } rows[] = {
        {"its kind", 0, "one", true},          {"another kind", 1, "one", false},
        {"the second kind", 1, "two", true},   {"a kind there is not", 2, "two", false},
        {"nobody's", 0, "ones", false},        {"nothing", 0, "", false},
        {"its time is over", 0, "old", false}, {"a second is left", 0, "fresh", true},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        cr_expect_eq(policies_credential(keys, rows[i].kind, span_text(rows[i].key)) != NULL,
                     rows[i].found, "%s", rows[i].why);
    cr_expect_null(policies_credential(keys, 0, SPAN_NONE));
    cr_expect_null(policies_credential(policies_at(f.policies, 1), 0, SPAN("one")),
                   "a plugin without kinds");
    clock_advance_us(1000000);
    cr_expect_null(policies_credential(keys, 0, SPAN("fresh")), "a second later");
    const struct credential *one = policies_credential(keys, 0, SPAN("one"));
    const weir_str *data = one->data; /* key, label */
    cr_expect(span_equal(span_of(data[1].data, data[1].size), SPAN("x")));
    cr_expect_eq(one->consumer, fixture_consumer(&f, "c"));
}
