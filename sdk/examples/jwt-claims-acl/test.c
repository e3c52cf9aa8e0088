#include <criterion/criterion.h>
#include <string.h>
#include <weir_testkit.h>

#define CONFIGURATION(config)                                           \
    "_format_version: '3.0'\n"                                          \
    "services: [{name: s, host: t, routes: [{name: r, paths: [/]}]}]\n" \
    "plugins: [{name: jwt-claims-acl, config: " config "}]\n"
#define OPS CONFIGURATION("{claim: realm_access.roles, allow: [ops, admin], deny: [guest]}")
#define SCOPE CONFIGURATION("{claim: scope, words: true, allow: ['orders:read']}")
#define LEVEL CONFIGURATION("{claim: 'https://example.com/level', allow: ['3', 'true']}")

/* As the policy jwt would have published them; NULL: it has not. */
static kit_request *ask(struct kit *kit, const char *claims)
{
    kit_request *r = kit_request_new(kit, "GET", "/");
    if (claims != NULL)
        kit_request_shared(r, "jwt_claims", claims);
    (void)kit_run(r);
    return r;
}

Test(claims_acl, who_may_pass)
{
    static const struct {
        const char *reason, *config, *claims;
        int status;
    } rows[] = {
        {"nobody was authenticated by jwt", OPS, NULL, 401},
        {"one of the roles", OPS, "{\"realm_access\":{\"roles\":[\"dev\",\"ops\"]}}", 200},
        {"one role as text", OPS, "{\"realm_access\":{\"roles\":\"admin\"}}", 200},
        {"escapes are decoded", OPS, "{\"realm_access\":{\"roles\":\"\\u006fps\"}}", 200},
        {"none of them", OPS, "{\"realm_access\":{\"roles\":[\"dev\"]}}", 403},
        {"a beginning is not the value", OPS, "{\"realm_access\":{\"roles\":[\"op\",\"opsx\"]}}",
         403},
        {"deny beats allow", OPS, "{\"realm_access\":{\"roles\":[\"ops\",\"guest\"]}}", 403},
        {"no such claim", OPS, "{\"roles\":[\"ops\"]}", 403},
        {"no object on the way", OPS, "{\"realm_access\":\"ops\"}", 403},
        {"a list in the list is no value", OPS, "{\"realm_access\":{\"roles\":[[\"ops\"]]}}", 403},
        {"a name with dots", LEVEL, "{\"https://example.com/level\":3}", 200},
        {"a number is compared as it is written", LEVEL, "{\"https://example.com/level\":3.0}",
         403},
        {"true", LEVEL, "{\"https://example.com/level\":true}", 200},
        {"a word of several", SCOPE, "{\"scope\":\"users:read orders:read\"}", 200},
        {"words are whole", SCOPE, "{\"scope\":\"orders:read2  xorders:read\"}", 403},
        {"empty", SCOPE, "{\"scope\":\"\"}", 403},
        {"what cannot be read fails closed", SCOPE, "{\"scope\":", 500},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct kit *kit = kit_open(rows[i].config);
        cr_assert_not_null(kit, "%s: %s", rows[i].reason, kit_error());
        kit_request *r = ask(kit, rows[i].claims);
        cr_expect_eq(kit_status(r), rows[i].status, "%s: %d", rows[i].reason, kit_status(r));
        cr_expect_eq(kit_was_proxied(r), rows[i].status == 200, "%s", rows[i].reason);
        kit_close(kit);
    }
}

Test(claims_acl, deny_alone_lets_the_others_pass)
{
    struct kit *kit = kit_open(CONFIGURATION("{claim: tier, deny: [free], message: pay first}"));
    cr_assert_not_null(kit, "%s", kit_error());
    cr_expect_eq(kit_status(ask(kit, "{}")), 200);
    kit_request *r = ask(kit, "{\"tier\":\"free\"}");
    cr_expect_eq(kit_status(r), 403);
    cr_expect(strstr(kit_response_body(r), "\"message\":\"pay first\"") != NULL);
    kit_close(kit);
}

Test(claims_acl, what_is_refused)
{
    cr_expect_null(kit_open(CONFIGURATION("{claim: tier}")));
    cr_expect(strstr(kit_error(), "at least one of these fields") != NULL, "%s", kit_error());
    cr_expect_null(kit_open(CONFIGURATION("{allow: [a]}")));
    cr_expect(strstr(kit_error(), "config.claim") != NULL, "%s", kit_error());
}
