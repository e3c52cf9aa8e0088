#include <criterion/criterion.h>
#include <string.h>
#include <weir_testkit.h>

#define CONFIGURATION(config)                                           \
    "_format_version: '3.0'\n"                                          \
    "services: [{name: s, host: t, routes: [{name: r, paths: [/]}]}]\n" \
    "plugins: [{name: ip-restriction, config: " config "}]\n"

static kit_request *ask(struct kit *kit, const char *ip)
{
    kit_request *r = kit_request_new(kit, "GET", "/");
    kit_request_client_ip(r, ip);
    (void)kit_run(r);
    return r;
}

Test(ip_restriction, who_may_pass)
{
    static const struct {
        const char *reason, *config, *ip;
        int status;
    } rows[] = {
        {"inside a block", CONFIGURATION("{allow: [10.0.0.0/8]}"), "10.255.0.1", 200},
        {"outside of it", CONFIGURATION("{allow: [10.0.0.0/8]}"), "11.0.0.1", 403},
        {"the last bit of an odd prefix", CONFIGURATION("{allow: [10.0.0.4/31]}"), "10.0.0.5", 200},
        {"one beyond it", CONFIGURATION("{allow: [10.0.0.4/31]}"), "10.0.0.6", 403},
        {"one address", CONFIGURATION("{allow: [10.0.0.4]}"), "10.0.0.4", 200},
        {"everybody", CONFIGURATION("{deny: [0.0.0.0/0]}"), "10.0.0.4", 403},
        {"but not of the other version", CONFIGURATION("{deny: [0.0.0.0/0]}"), "2001:db8::1", 200},
        {"deny comes first", CONFIGURATION("{allow: [10.0.0.0/8], deny: [10.0.0.4]}"), "10.0.0.4",
         403},
        {"who is in neither", CONFIGURATION("{allow: [10.0.0.0/8], deny: [10.0.0.4]}"), "11.0.0.1",
         403},
        {"version 6", CONFIGURATION("{allow: ['2001:db8::/33']}"), "2001:db8:7fff::1", 200},
        {"beyond the 33rd bit", CONFIGURATION("{allow: ['2001:db8::/33']}"), "2001:db8:8000::1",
         403},
        {"version 4 inside 6 is version 4", CONFIGURATION("{deny: [10.0.0.0/8]}"),
         "::ffff:10.0.0.1", 403},
        {"in the configuration, too", CONFIGURATION("{deny: ['::ffff:10.0.0.0/104']}"), "10.9.9.9",
         403},
        {"a status of its own", CONFIGURATION("{deny: [10.0.0.4], status: 451}"), "10.0.0.4", 451},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct kit *kit = kit_open(rows[i].config);
        cr_assert_not_null(kit, "%s: %s", rows[i].reason, kit_error());
        kit_request *r = ask(kit, rows[i].ip);
        cr_expect_eq(kit_status(r), rows[i].status, "%s: %d", rows[i].reason, kit_status(r));
        cr_expect_eq(kit_was_proxied(r), rows[i].status == 200, "%s", rows[i].reason);
        kit_close(kit);
    }
}

Test(ip_restriction, the_messages)
{
    struct kit *kit = kit_open(CONFIGURATION("{allow: [10.0.0.0/8]}"));
    cr_assert_not_null(kit, "%s", kit_error());
    kit_request *r = ask(kit, "192.0.2.1");
    cr_expect(strstr(kit_response_body(r), "\"message\":\"IP address not allowed: 192.0.2.1\"") !=
                  NULL,
              "%s", kit_response_body(r));
    kit_close(kit);
    kit = kit_open(CONFIGURATION("{deny: [192.0.2.1], message: not you}"));
    r = ask(kit, "192.0.2.1");
    cr_expect(strstr(kit_response_body(r), "\"message\":\"not you\"") != NULL);
    kit_close(kit);
}

Test(ip_restriction, what_is_refused_and_where)
{
    static const struct {
        const char *config, *place, *text;
    } rows[] = {
        {CONFIGURATION("{}"), "config", "at least one of these fields must be non-empty"},
        {CONFIGURATION("{allow: [10.0.0.1, 10.0.0.256]}"), "config.allow[1]", "'10.0.0.256'"},
        {CONFIGURATION("{deny: [10.0.0.0/33]}"), "config.deny[0]", "'10.0.0.0/33'"},
        {CONFIGURATION("{deny: [10.0.0.0/]}"), "config.deny[0]", "'10.0.0.0/'"},
        {CONFIGURATION("{deny: ['::1/129']}"), "config.deny[0]", "'::1/129'"},
        {CONFIGURATION("{deny: ['::1/1111']}"), "config.deny[0]", "'::1/1111'"},
        {CONFIGURATION("{deny: [example.com]}"), "config.deny[0]", "'example.com'"},
        {CONFIGURATION("{deny: ['::ffff:1.2.3.4/95']}"), "config.deny[0]", "'::ffff:1.2.3.4/95'"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cr_expect_null(kit_open(rows[i].config), "%s", rows[i].config);
        cr_expect(strstr(kit_error(), rows[i].place) != NULL, "%s", kit_error());
        cr_expect(strstr(kit_error(), rows[i].text) != NULL, "%s", kit_error());
    }
}
