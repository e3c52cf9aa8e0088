/* Whose code runs, as a signal handler would ask in the middle of it. */
#include <criterion/criterion.h>

#include "plugin_host/blame.h"
#include "plugin_host/host_internal.h"
#include "run_support.h"

TestSuite(run_blame, .timeout = 30);

static struct blame_facts seen;

static weir_verdict look(weir_request *request, struct actor *actor)
{
    (void)request;
    plugin_host_blame(actor->rig->host, &seen);
    return WEIR_NEXT;
}

static const char long_name[] =
    "a-route-with-a-name-that-is-longer-than-what-fits-into-the-record-of-a-crash";

Test(run_blame, a_hook_is_known_with_its_request)
{
    static const struct route named = {.id = SPAN("6d1e"), .name = SPAN("r7")},
                              unnamed = {.id = SPAN("6d1e")},
                              lengthy = {.name = {long_name, sizeof(long_name) - 1}};
    char cut[64] = "";
    memcpy(cut, long_name, sizeof(cut) - 1);
    const struct {
        const char *why;
        const struct route *route;
        enum phase phase;
        const char *want;
    } rows[] = {
        {"before routing there is none", NULL, PHASE_REWRITE, ""},
        {"its name", &named, PHASE_ACCESS, "r7"},
        {"without a name its id", &unnamed, PHASE_UPSTREAM, "6d1e"},
        {"what does not fit is cut", &lengthy, PHASE_RESPONSE_HEADERS, cut},
        {"hooks that give no verdict", &named, PHASE_LOG, "r7"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct rig rig;
        rig_open(&rig);
        rig_begin(&rig);
        rig.request.route = rows[i].route;
        memcpy(rig.request.id, "0123456789abcdef0123456789abcdef", sizeof(rig.request.id));
        memset(&seen, 0xee, sizeof(seen));
        (void)rig_act(look, rows[i].phase, &rig);
        cr_expect_eq(seen.policy_plus_one, 1, "%s", rows[i].why);
        cr_expect_eq(seen.place, (uint32_t)rows[i].phase, "%s", rows[i].why);
        cr_expect_str_eq(seen.plugin, "actor", "%s", rows[i].why);
        cr_expect_str_eq(seen.route, rows[i].want, "%s", rows[i].why);
        cr_expect_str_eq(seen.request, "0123456789abcdef0123456789abcdef", "%s", rows[i].why);

        plugin_host_blame(rig.host, &seen);
        cr_expect_eq(seen.policy_plus_one, 0, "%s: after the hook nobody", rows[i].why);
        cr_expect_str_eq(seen.plugin, "", "%s", rows[i].why);
        rig_close(&rig);
    }
}

Test(run_blame, an_image_that_is_loaded_has_no_policy_yet)
{
    static const char key[] =
        "key-auth/9f3c01ab22d0aaaabbbbccccddddeeeeffff00001111222233334444555566aa";
    struct rig rig;
    rig_open(&rig);
    rig.host->loading = key;
    plugin_host_blame(rig.host, &seen);
    cr_expect_eq(seen.policy_plus_one, 0);
    cr_expect_eq(seen.place, (uint32_t)BLAME_LOAD);
    cr_expect_str_eq(seen.plugin, "key-auth");
    cr_expect_str_eq(seen.hash, key + sizeof("key-auth/") - 1);
    rig.host->loading = NULL;
    rig_close(&rig);
    plugin_host_blame(NULL, &seen);
    cr_expect_str_eq(seen.plugin, "", "no host, nobody");
}

Test(run_blame, every_place_has_a_name)
{
    for (uint32_t place = 0; place < BLAME_PLACES; place++)
        cr_expect_not_null(blame_place_name(place), "place %u", place);
    cr_expect_null(blame_place_name(BLAME_PLACES));
    cr_expect_null(blame_place_name(UINT32_MAX));
}
