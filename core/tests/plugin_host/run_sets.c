/* The policies of an exchange change under way: global, the route's, the consumer's. What a policy
 * keeps in its context survives as long as the policy does. */
#include <criterion/criterion.h>

#include "config/problems.h"
#include "plugin_host/phases.h"
#include "policy_fixture.h"
#include "run_support.h"

TestSuite(run_sets, .timeout = 60);

/* ---- contexts, over sets made by hand */

struct player {
    weir_plugin plugin;
    struct running_policy running;
};

static struct player players[6] = {
    {.plugin = {.context_size = 8}},  {.plugin = {.context_size = 0}},
    {.plugin = {.context_size = 17}}, {.plugin = {.context_size = 4}},
    {.plugin = {.context_size = 0}},  {.plugin = {.context_size = 100}},
};

/* The members called by their digits, in that order. */
static struct chain_set set_of(const char *digits, struct running_policy **table)
{
    struct chain_set set = {.members = table, .member_count = (uint16_t)strlen(digits)};
    for (uint16_t i = 0; i < set.member_count; i++) {
        struct player *player = &players[digits[i] - '0'];
        player->running.plugin = &player->plugin;
        table[i] = &player->running;
        set.context_bytes += (player->plugin.context_size + 15U) & ~15U;
    }
    return set;
}

static const struct {
    const char *why, *from, *to;
} switches[] = {
    {"the same members", "025", "025"},
    {"one more in front", "25", "025"},
    {"one in the middle goes", "025", "05"},
    {"all others", "02", "35"},
    {"another order", "025", "520"},
    {"none any more", "02", "1"},
    {"none before", "1", "02"},
    {"from those without any", "14", "41"},
    {"nobody at all", "", "0"},
};

static void *context_of(const struct weir_request *request, char digit)
{
    for (uint16_t i = 0; i < request->set->member_count; i++)
        if (request->set->members[i] == &players[digit - '0'].running)
            return request->contexts == NULL ? NULL : request->contexts[i];
    return NULL;
}

static void check_contexts(const char *why, const struct weir_request *request, const char *digits,
                           void *const *old)
{
    for (const char *digit = digits; *digit != '\0'; digit++) {
        size_t size = players[*digit - '0'].plugin.context_size;
        unsigned char *context = context_of(request, *digit), *kept = old[*digit - '0'];
        cr_expect_eq(context != NULL, size != 0, "%s: %c", why, *digit);
        if (size == 0)
            continue;
        cr_expect_eq((uintptr_t)context % 16, 0U, "%s: aligned", why);
        if (kept != NULL)
            cr_expect_eq(context, kept, "%s: %c keeps its own", why, *digit);
        for (size_t i = 0; i < size; i++)
            cr_expect_eq(context[i], kept != NULL ? *digit : 0, "%s: %c at %zu", why, *digit, i);
        memset(context, *digit, size);
    }
}

Test(run_sets, contexts_are_kept)
{
    for (size_t i = 0; i < COUNT_OF(switches); i++) {
        struct rig rig;
        struct running_policy *from_table[6], *to_table[6];
        struct chain_set from = set_of(switches[i].from, from_table);
        struct chain_set to = set_of(switches[i].to, to_table);
        void *old[6] = {NULL};
        rig_open(&rig);
        rig_begin(&rig);
        rig.request.set = NULL;
        cr_assert_eq(request_enter_set(&rig.request, &from), WEIR_OK);
        check_contexts(switches[i].why, &rig.request, switches[i].from, old);
        for (const char *digit = switches[i].from; *digit != '\0'; digit++)
            old[*digit - '0'] = context_of(&rig.request, *digit);
        size_t used = arena_used(rig.arena);
        cr_assert_eq(request_enter_set(&rig.request, &to), WEIR_OK);
        check_contexts(switches[i].why, &rig.request, switches[i].to, old);
        if (to.context_bytes == 0) {
            cr_expect_eq(arena_used(rig.arena), used, "%s: nothing allocated", switches[i].why);
            cr_expect_null(rig.request.contexts, "%s", switches[i].why);
        }
        rig_close(&rig);
    }
}

Test(run_sets, without_memory_nothing_changes)
{
    struct rig rig;
    struct running_policy *from_table[6], *to_table[6];
    struct chain_set from = set_of("0", from_table), to = set_of("05", to_table);
    rig_open(&rig);
    rig_begin(&rig);
    rig.request.set = NULL;
    cr_assert_eq(request_enter_set(&rig.request, &from), WEIR_OK);
    void **contexts = rig.request.contexts;
    arena_limit(rig.arena, arena_used(rig.arena) + 40);
    cr_expect_eq(request_enter_set(&rig.request, &to), WEIR_ERR_NO_MEMORY);
    cr_expect_eq(rig.request.set, &from);
    cr_expect_eq(rig.request.contexts, contexts);
    rig_close(&rig);
}

/* ---- consumers, over real plugins */

/* In access: `auth` authenticates the consumer it is told, at once or when its park is woken; all
 * note their tag and count their calls in their context. */
static const char source[] =
    "#include <weir/weir.h>\n"
    "typedef struct { weir_str tag; weir_header_id id; } conf;\n"
    "typedef struct { int64_t calls; } mine;\n"
    "static const weir_field rows[] = {WEIR_STRING(conf, tag)};\n"
    "static int configure(void *s, weir_error *e)\n"
    "{ conf *c = s; (void)e; c->id = weir_header_intern(WEIR_LIT(\"x-ran\")); return 0; }\n"
    "static weir_verdict note(weir_request *r, void *s, void *x)\n"
    "{ conf *c = s; mine *m = x; char text[64]; size_t n = c->tag.size;\n"
    "  for (size_t i = 0; i < n; i++) text[i] = c->tag.data[i];\n"
    "  text[n++] = (char)('0' + m->calls++);\n"
    "  weir_header_add(r, WEIR_SIDE_REQUEST, c->id, (weir_str){text, n}); return WEIR_NEXT; }\n"
    "#ifdef AUTH\n"
    "static weir_verdict wake(weir_request *r, void *s, void *x, uint32_t why)\n"
    "{ (void)x, (void)why;\n"
    "  const weir_consumer *c = weir_consumer_find(s, WEIR_LIT(\"ann\"));\n"
    "  if (c == NULL) return WEIR_FAIL;\n"
    "  return weir_authenticate(r, c, NULL, WEIR_LIT(\"id\")) == WEIR_SUCCESS ? WEIR_NEXT\n"
    "    : WEIR_FAIL; }\n"
    "static weir_verdict access_hook(weir_request *r, void *s, void *x)\n"
    "{ conf *c = s; (void)note(r, s, x);\n"
    "  if (c->tag.data[0] != 'w') return wake(r, s, x, 0);\n"
    "  return weir_park(r, 5, wake) == 0 ? WEIR_FAIL : WEIR_WAIT; }\n"
    "#else\n#define access_hook note\n#endif\n"
    "WEIR_PLUGIN(NAME, \"1.0.0\", 0, .priority = PRIORITY, WEIR_SELF(conf), WEIR_CONTEXT(mine),\n"
    "    WEIR_FIELDS(rows), .configure = configure, .access = access_hook,\n"
    "    .response_headers = note);\n";

static const struct {
    const char *why, *tag, *ran;
} consumers[] = {
    {"later members are chosen again, earlier ones are not", "a",
     "first0 a0 late-ann0 last0 extra-ann0"},
    {"also when the hook waited in between", "w", "first0 w0 late-ann0 last0 extra-ann0"},
};

static struct span ran(struct rig *rig)
{
    static char text[256];
    size_t used = 0;
    weir_header_id id = call_header_intern(rig->table, WEIR_LIT("x-ran"));
    for (size_t nth = 0;; nth++) {
        weir_str value = call_header_get(&rig->request, WEIR_SIDE_REQUEST, id, nth);
        if (value.data == NULL)
            return span_of(text, used);
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%.*s", used == 0 ? "" : " ",
                                 SPAN_ARG(rig_span(value)));
    }
}

Test(run_sets, the_consumers_policies_follow_its_authentication)
{
    struct rig rig;
    struct fixture f;
    rig_open(&rig);
    fixture_open(&f, host_services_of(&rig));
    fixture_compile(&f, "first", source, "-DNAME='\"first\"' -DPRIORITY=50");
    fixture_compile(&f, "auth", source, "-DNAME='\"auth\"' -DPRIORITY=40 -DAUTH");
    fixture_compile(&f, "late", source, "-DNAME='\"late\"' -DPRIORITY=30");
    fixture_compile(&f, "last", source, "-DNAME='\"last\"' -DPRIORITY=20");
    fixture_compile(&f, "extra", source, "-DNAME='\"extra\"' -DPRIORITY=10");
    for (size_t i = 0; i < COUNT_OF(consumers); i++) {
        char yaml[2048];
        (void)snprintf(
            yaml, sizeof(yaml),
            "_format_version: \"3.0\"\n"
            "services:\n- {name: s, url: 'http://a.test', routes: [{name: r, paths: [/]}]}\n"
            "consumers:\n- username: ann\n  plugins:\n"
            "  - {name: first, config: {tag: first-ann}}\n"
            "  - {name: late, config: {tag: late-ann}}\n"
            "  - {name: extra, config: {tag: extra-ann}}\n"
            "plugins:\n"
            "- {name: first, config: {tag: first}}\n- {name: auth, config: {tag: %s}}\n"
            "- {name: late, config: {tag: late}}\n- {name: last, config: {tag: last}}\n",
            consumers[i].tag);
        fixture_load(&f, yaml);
        cr_assert_eq(f.err, WEIR_OK, "%s", fixture_problems(&f));
        rig_begin(&rig);
        weir_request *request = &rig.request;
        request->host = f.plugins.host;
        request->policies = f.policies;
        request->set = NULL;
        cr_assert_eq(request_enter_global(request), WEIR_OK);
        cr_expect_eq(phase_run(request, PHASE_REWRITE), PHASE_NEXT);
        request->route = fixture_route(&f, "r");
        cr_assert_eq(request_enter_route(request), WEIR_OK);
        const struct chain_set *before = request->set;
        enum phase_result result = phase_run(request, PHASE_ACCESS);
        if (result == PHASE_WAIT) {
            cr_expect_eq(request->set, before, "nobody known yet");
            for (size_t t = 0; t < RIG_TIMERS; t++)
                if (rig.timers[t].active) {
                    rig.timers[t].active = false;
                    rig.timers[t].fire(rig.timers[t].arg);
                }
            plugin_host_turn(f.plugins.host);
            result = rig.resumed;
        }
        cr_expect_eq(result, PHASE_NEXT, "%s", consumers[i].why);
        expect_text(consumers[i].why, ran(&rig), consumers[i].ran);
        cr_expect_neq(request->set, before);
        request->consumer_changed = false;
        request_end(request);
        request->host = rig.host;
    }
    fixture_close(&f);
    rig_close(&rig);
}
