/* Rows marked Kong were recorded from a running Kong 3.9. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "weir_testkit.h"

#define YAML(config)                                                           \
    "_format_version: '3.0'\n"                                                 \
    "services: [{name: s, host: up.test, routes: [{name: r, paths: [/a]}]}]\n" \
    "plugins: [{name: cors, config: " config "}]\n"
#define ALL_METHODS "GET,HEAD,PUT,PATCH,POST,DELETE,OPTIONS,TRACE,CONNECT"
#define APP "https://app.example.com"
#define ADMIN "https://admin.example.com"

static struct kit *open_kit(const char *yaml)
{
    struct kit *kit = kit_open(yaml);
    cr_assert_not_null(kit, "%s", kit_error());
    return kit;
}

static void expect_header(kit_request *r, const char *why, const char *name, const char *want)
{
    const char *have = kit_response_header(r, name);
    if (want == NULL)
        cr_expect_null(have, "%s: %s: %s", why, name, have == NULL ? "" : have);
    else
        cr_expect(have != NULL && strcmp(have, want) == 0, "%s: %s is %s, not %s", why, name,
                  have == NULL ? "absent" : have, want);
}

static kit_request *preflight(struct kit *kit, const char *origin, const char *asked_headers)
{
    kit_request *r = kit_request_new(kit, "OPTIONS", "/a");
    kit_request_header(r, "Origin", origin);
    kit_request_header(r, "Access-Control-Request-Method", "PUT");
    if (asked_headers != NULL)
        kit_request_header(r, "Access-Control-Request-Headers", asked_headers);
    return r;
}

static const struct origin_row {
    const char *why, *yaml, *origin; /* NULL: none is sent */
    const char *allow_origin, *vary, *credentials;
} origins[] = {
    {"Kong: no origins are all origins", YAML("{}"), APP, "*", NULL, NULL},
    {"Kong: and without Origin too", YAML("{}"), NULL, "*", NULL, NULL},
    {"Kong: a star alone is the same", YAML("{origins: ['*']}"), APP, "*", NULL, NULL},
    {"Kong: one origin is named", YAML("{origins: ['" APP "']}"), APP, APP, "Origin", NULL},
    {"Kong: whoever asks", YAML("{origins: ['" APP "']}"), "https://evil.test", APP, "Origin",
     NULL},
    {"Kong: and when nobody does", YAML("{origins: ['" APP "']}"), NULL, APP, "Origin", NULL},
    {"Kong: the first of two", YAML("{origins: ['" APP "', '" ADMIN "']}"), APP, APP, "Origin",
     NULL},
    {"Kong: the second of two", YAML("{origins: ['" APP "', '" ADMIN "']}"), ADMIN, ADMIN, "Origin",
     NULL},
    {"Kong: neither of two", YAML("{origins: ['" APP "', '" ADMIN "']}"), "https://evil.test", NULL,
     "Origin", NULL},
    {"Kong: two and no Origin", YAML("{origins: ['" APP "', '" ADMIN "']}"), NULL, NULL, "Origin",
     NULL},
    {"case matters in a list", YAML("{origins: ['" APP "', '" ADMIN "']}"),
     "HTTPS://APP.EXAMPLE.COM", NULL, "Origin", NULL},
    {"a default port is no difference, and is not sent back",
     YAML("{origins: ['" APP "', '" ADMIN ":443']}"), APP ":443", APP, "Origin", NULL},
    {"nor in the configuration", YAML("{origins: ['" APP "', '" ADMIN ":443']}"), ADMIN, ADMIN,
     "Origin", NULL},
    {"80 is no default of https", YAML("{origins: ['" APP "', '" ADMIN "']}"), APP ":80", NULL,
     "Origin", NULL},
    {"a path of the Origin does not count", YAML("{origins: ['" APP "', '" ADMIN "']}"), APP "/x",
     APP, "Origin", NULL},
    {"a user part makes it another origin", YAML("{origins: ['" APP "', '" ADMIN "']}"),
     "https://evil@app.example.com", NULL, "Origin", NULL},
    {"Kong: no scheme, no match", YAML("{origins: [example.com, 'https://b.test:8443']}"),
     "https://example.com", NULL, "Origin", NULL},
    {"Kong: unless the Origin has none either",
     YAML("{origins: [example.com, 'https://b.test:8443']}"), "example.com", "example.com",
     "Origin", NULL},
    {"Kong: the port counts", YAML("{origins: [example.com, 'https://b.test:8443']}"),
     "https://b.test", NULL, "Origin", NULL},
    {"Kong: with its port", YAML("{origins: [example.com, 'https://b.test:8443']}"),
     "https://b.test:8443", "https://b.test:8443", "Origin", NULL},
    {"Kong: a regular expression", YAML("{origins: ['https?://.*\\.example\\.com$']}"),
     "http://y.example.com", "http://y.example.com", "Origin", NULL},
    {"Kong: that does not match", YAML("{origins: ['https?://.*\\.example\\.com$']}"),
     "https://example.com", NULL, "Origin", NULL},
    {"Kong: nor a longer name", YAML("{origins: ['https?://.*\\.example\\.com$']}"),
     "https://x.example.com.evil.test", NULL, "Origin", NULL},
    {"Kong: without a colon the host is compared", YAML("{origins: ['.*example\\.com']}"),
     "https://x.example.com", "https://x.example.com", "Origin", NULL},
    {"Kong: to its end, without a dollar", YAML("{origins: ['.*example\\.com']}"),
     "https://x.example.com.evil.test", NULL, "Origin", NULL},
    {"from its start, without a caret", YAML("{origins: ['app\\.example\\.com']}"),
     "https://xapp.example.com", NULL, "Origin", NULL},
    {"a port does not hide the host", YAML("{origins: ['app\\.example\\.com']}"), APP ":8443",
     APP ":8443", "Origin", NULL},
    {"a star in a list comes in its turn", YAML("{origins: ['" APP "', '*']}"), APP, APP, "Origin",
     NULL},
    {"and takes the rest", YAML("{origins: ['" APP "', '*']}"), "https://evil.test", "*", "Origin",
     NULL},
    {"Kong: credentials with all origins echo", YAML("{credentials: true}"), APP, APP, "Origin",
     "true"},
    {"Kong: but not without Origin", YAML("{credentials: true}"), NULL, "*", NULL, NULL},
    {"Kong: credentials with one origin", YAML("{origins: ['" APP "'], credentials: true}"),
     "https://evil.test", APP, "Origin", "true"},
    {"Kong: credentials with a list that does not match",
     YAML("{origins: ['" APP "', '" ADMIN "'], credentials: true}"), "https://evil.test", NULL,
     "Origin", "true"},
    {"no Origin, no headers, when asked so", YAML("{allow_origin_absent: false}"), NULL, NULL, NULL,
     NULL},
    {"with Origin all the same", YAML("{allow_origin_absent: false}"), APP, "*", NULL, NULL},
};

Test(cors, an_answer_names_the_origin)
{
    for (size_t i = 0; i < sizeof(origins) / sizeof(origins[0]); i++) {
        const struct origin_row *row = &origins[i];
        struct kit *kit = open_kit(row->yaml);
        kit_request *r = kit_request_new(kit, "GET", "/a");
        if (row->origin != NULL)
            kit_request_header(r, "Origin", row->origin);
        cr_expect_eq(kit_run(r), 200);
        expect_header(r, row->why, "Access-Control-Allow-Origin", row->allow_origin);
        expect_header(r, row->why, "Vary", row->vary);
        expect_header(r, row->why, "Access-Control-Allow-Credentials", row->credentials);
        expect_header(r, row->why, "Access-Control-Allow-Methods", NULL);
        cr_expect(kit_was_proxied(r), "%s", row->why);
        kit_close(kit);
    }
}

Test(cors, an_expression_without_end_gives_up_soon)
{
    struct kit *kit = open_kit(YAML("{origins: ['(a+)+b']}"));
    kit_request *r = kit_request_new(kit, "GET", "/a");
    kit_request_header(r, "Origin", "http://aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaabc");
    clock_t start = clock();
    cr_expect_eq(kit_run(r), 200);
    double took_s = (double)(clock() - start) / CLOCKS_PER_SEC;
    cr_expect_lt(took_s, 0.1, "the limits of the match do not hold: %f s", took_s);
    expect_header(r, "giving up is no match", "Access-Control-Allow-Origin", NULL);

    r = kit_request_new(kit, "GET", "/a");
    kit_request_header(r, "Origin", "http://aaab");
    cr_expect_eq(kit_run(r), 200);
    expect_header(r, "and what is found soon matches", "Access-Control-Allow-Origin",
                  "http://aaab");
    kit_close(kit);
}

Test(cors, a_preflight_decides_the_same)
{
    for (size_t i = 0; i < sizeof(origins) / sizeof(origins[0]); i++) {
        const struct origin_row *row = &origins[i];
        if (row->origin == NULL)
            continue;
        struct kit *kit = open_kit(row->yaml);
        kit_request *r = preflight(kit, row->origin, NULL);
        cr_expect_eq(kit_run(r), 200, "%s: a refused origin is still 200", row->why);
        expect_header(r, row->why, "Access-Control-Allow-Origin", row->allow_origin);
        expect_header(r, row->why, "Vary", row->vary);
        expect_header(r, row->why, "Access-Control-Allow-Credentials", row->credentials);
        expect_header(r, row->why, "Access-Control-Allow-Methods", ALL_METHODS);
        cr_expect_eq(kit_response_header_count(r, "Access-Control-Allow-Origin"),
                     row->allow_origin == NULL ? 0U : 1U, "%s", row->why);
        cr_expect_leq(kit_response_header_count(r, "Vary"), 1U, "%s: once", row->why);
        cr_expect_str_eq(kit_response_body(r), "", "%s", row->why);
        cr_expect_not(kit_was_proxied(r), "%s: the service is not asked", row->why);
        kit_close(kit);
    }
}

Test(cors, preflight_says_what_is_allowed)
{
    static const struct {
        const char *why, *yaml, *asked, *headers, *methods, *max_age, *expose;
    } rows[] = {
        {"Kong: nothing asked, nothing named", YAML("{}"), NULL, NULL, ALL_METHODS, NULL, NULL},
        {"Kong: the headers asked for, as they were", YAML("{}"), "X-A, content-type",
         "X-A, content-type", ALL_METHODS, NULL, NULL},
        {"Kong: the configured ones outrank",
         YAML("{headers: [Authorization, X-Request-ID], methods: [GET, POST, OPTIONS], max_age: "
              "3600, exposed_headers: [X-Foo]}"),
         "X-Other", "Authorization,X-Request-ID", "GET,POST,OPTIONS", "3600", NULL},
        {"Kong: an age of 0 is said", YAML("{max_age: 0}"), NULL, NULL, ALL_METHODS, "0", NULL},
        {"half a second is", YAML("{max_age: 0.5}"), NULL, NULL, ALL_METHODS, "0.5", NULL},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct kit *kit = open_kit(rows[i].yaml);
        kit_request *r = preflight(kit, APP, rows[i].asked);
        cr_expect_eq(kit_run(r), 200);
        expect_header(r, rows[i].why, "Access-Control-Allow-Headers", rows[i].headers);
        expect_header(r, rows[i].why, "Access-Control-Allow-Methods", rows[i].methods);
        expect_header(r, rows[i].why, "Access-Control-Max-Age", rows[i].max_age);
        expect_header(r, rows[i].why, "Access-Control-Expose-Headers", rows[i].expose);
        kit_close(kit);
    }
}

Test(cors, other_options_requests_go_to_the_service)
{
    static const struct {
        const char *why, *origin, *asked_method;
    } rows[] = {
        {"Kong: no Origin", NULL, "PUT"},
        {"Kong: no Access-Control-Request-Method", APP, NULL},
        {"Kong: neither", NULL, NULL},
    };
    struct kit *kit = open_kit(YAML("{}"));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kit_request *r = kit_request_new(kit, "OPTIONS", "/a");
        if (rows[i].origin != NULL)
            kit_request_header(r, "Origin", rows[i].origin);
        if (rows[i].asked_method != NULL)
            kit_request_header(r, "Access-Control-Request-Method", rows[i].asked_method);
        cr_expect_eq(kit_run(r), 200);
        cr_expect(kit_was_proxied(r), "%s", rows[i].why);
        expect_header(r, rows[i].why, "Access-Control-Allow-Origin", "*");
        expect_header(r, rows[i].why, "Access-Control-Allow-Methods", NULL);
    }
    kit_close(kit);
}

Test(cors, preflight_continue_leaves_everything_to_the_service)
{
    struct kit *kit = open_kit(YAML("{preflight_continue: true, origins: ['" APP "']}"));
    kit_request *r = preflight(kit, APP, NULL);
    cr_expect_eq(kit_run(r), 200);
    cr_expect(kit_was_proxied(r));
    expect_header(r, "Kong: nothing is added", "Access-Control-Allow-Origin", NULL);
    expect_header(r, "Kong: nothing is added", "Vary", NULL);
    kit_close(kit);
}

Test(cors, private_network_only_when_asked)
{
    struct kit *kit = open_kit(YAML("{private_network: true}"));
    kit_request *r = preflight(kit, APP, NULL);
    cr_expect_eq(kit_run(r), 200);
    expect_header(r, "not asked", "Access-Control-Allow-Private-Network", NULL);
    r = preflight(kit, APP, NULL);
    kit_request_header(r, "Access-Control-Request-Private-Network", "true");
    cr_expect_eq(kit_run(r), 200);
    expect_header(r, "asked", "Access-Control-Allow-Private-Network", "true");
    kit_close(kit);

    kit = open_kit(YAML("{}"));
    r = preflight(kit, APP, NULL);
    kit_request_header(r, "Access-Control-Request-Private-Network", "true");
    cr_expect_eq(kit_run(r), 200);
    expect_header(r, "not configured", "Access-Control-Allow-Private-Network", NULL);
    kit_close(kit);
}

Test(cors, what_the_service_sets_is_replaced_or_joined)
{
    struct kit *kit =
        open_kit(YAML("{origins: ['" APP "', '" ADMIN "'], exposed_headers: [X-A, X-B]}"));
    kit_request *r = kit_request_new(kit, "GET", "/a");
    kit_request_header(r, "Origin", APP);
    kit_target_header(r, "Access-Control-Allow-Origin", "*");
    kit_target_header(r, "Vary", "Accept-Encoding");
    cr_expect_eq(kit_run(r), 200);
    expect_header(r, "replaced", "Access-Control-Allow-Origin", APP);
    expect_header(r, "ours", "Access-Control-Expose-Headers", "X-A,X-B");
    cr_expect_eq(kit_response_header_count(r, "Access-Control-Allow-Origin"), 1U);
    cr_expect_str_eq(kit_response_header_nth(r, "Vary", 0), "Accept-Encoding");
    cr_expect_str_eq(kit_response_header_nth(r, "Vary", 1), "Origin");

    r = kit_request_new(kit, "GET", "/a");
    kit_request_header(r, "Origin", "https://evil.test");
    kit_target_header(r, "Access-Control-Allow-Origin", "*");
    cr_expect_eq(kit_run(r), 200);
    expect_header(r, "the service's yes does not outlive our no", "Access-Control-Allow-Origin",
                  NULL);
    kit_close(kit);
}

Test(cors, errors_carry_the_headers)
{
    struct kit *kit = open_kit(YAML("{origins: ['" APP "']}"));
    kit_request *r = kit_request_new(kit, "GET", "/a");
    kit_request_header(r, "Origin", APP);
    kit_target_fails(r, 502);
    cr_expect_eq(kit_run(r), 502);
    expect_header(r, "the target is down", "Access-Control-Allow-Origin", APP);

    r = kit_request_new(kit, "GET", "/none");
    kit_request_route(r, NULL);
    kit_request_header(r, "Origin", APP);
    cr_expect_eq(kit_run(r), 404);
    expect_header(r, "Kong: no route matches", "Access-Control-Allow-Origin", APP);

    r = preflight(kit, APP, NULL);
    kit_request_route(r, NULL);
    cr_expect_eq(kit_run(r), 404, "Kong: a preflight without route is not answered");
    expect_header(r, "Kong: but says the origin", "Access-Control-Allow-Origin", APP);
    kit_close(kit);
}

Test(cors, authentication_comes_after_the_preflight)
{
    struct kit *kit =
        open_kit("_format_version: '3.0'\n"
                 "services: [{name: s, host: up.test, routes: [{name: r, paths: "
                 "[/a]}]}]\n"
                 "plugins: [{name: key-auth}, {name: cors, config: {origins: ['" APP "']}}]\n");
    kit_request *r = preflight(kit, APP, NULL);
    cr_expect_eq(kit_run(r), 200, "Kong: a preflight needs no key");
    expect_header(r, "preflight", "Access-Control-Allow-Origin", APP);
    r = kit_request_new(kit, "GET", "/a");
    kit_request_header(r, "Origin", APP);
    cr_expect_eq(kit_run(r), 401);
    expect_header(r, "Kong: the 401 carries the headers", "Access-Control-Allow-Origin", APP);
    kit_close(kit);
}

/* Whoever made the answer: a browser hides from a script what these headers do not open. */
Test(cors, answers_of_other_policies_carry_the_headers)
{
    struct kit *kit =
        open_kit("_format_version: '3.0'\n"
                 "services: [{name: s, host: up.test, routes: [{name: r, paths: [/a]}]}]\n"
                 "plugins: [{name: rate-limiting, config: {minute: 1, policy: local}},\n"
                 "  {name: cors, config: {origins: ['" APP "', '" ADMIN "'], credentials: true,\n"
                 "    exposed_headers: [X-RateLimit-Limit-Minute]}}]\n");
    for (int i = 0; i < 2; i++) {
        const char *why = i == 0 ? "within the limit" : "beyond the limit";
        kit_request *r = kit_request_new(kit, "GET", "/a");
        kit_request_header(r, "Origin", ADMIN);
        cr_expect_eq(kit_run(r), i == 0 ? 200 : 429, "%s", why);
        expect_header(r, why, "Access-Control-Allow-Origin", ADMIN);
        expect_header(r, why, "Access-Control-Allow-Credentials", "true");
        expect_header(r, why, "Access-Control-Expose-Headers", "X-RateLimit-Limit-Minute");
        expect_header(r, why, "Vary", "Origin");
    }
    kit_request *r = preflight(kit, APP, NULL);
    cr_expect_eq(kit_run(r), 200, "a preflight is no use of the limit");
    expect_header(r, "preflight", "Access-Control-Allow-Origin", APP);
    kit_close(kit);

    static const int statuses[] = {502, 503, 504};
    kit = open_kit(YAML("{origins: ['" APP "', '" ADMIN "']}"));
    for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
        r = kit_request_new(kit, "GET", "/a");
        kit_request_header(r, "Origin", APP);
        kit_target_fails(r, statuses[i]);
        cr_expect_eq(kit_run(r), statuses[i]);
        expect_header(r, "the gateway's own", "Access-Control-Allow-Origin", APP);
    }
    kit_close(kit);
}

Test(cors, an_answer_exposes_headers_and_says_no_more)
{
    struct kit *kit = open_kit(YAML("{headers: [X-In], exposed_headers: [X-A], methods: [GET], "
                                    "max_age: 60, private_network: true}"));
    kit_request *r = kit_request_new(kit, "GET", "/a");
    kit_request_header(r, "Origin", APP);
    kit_request_header(r, "Access-Control-Request-Private-Network", "true");
    cr_expect_eq(kit_run(r), 200);
    expect_header(r, "exposed", "Access-Control-Expose-Headers", "X-A");
    expect_header(r, "of preflights", "Access-Control-Allow-Headers", NULL);
    expect_header(r, "of preflights", "Access-Control-Max-Age", NULL);
    expect_header(r, "of preflights", "Access-Control-Allow-Private-Network", NULL);
    kit_close(kit);
}

Test(cors, the_first_of_two_origin_fields_counts)
{
    struct kit *kit = open_kit(YAML("{origins: ['" APP "', '" ADMIN "']}"));
    kit_request *r = kit_request_new(kit, "GET", "/a");
    kit_request_header(r, "Origin", APP);
    kit_request_header(r, "Origin", ADMIN);
    cr_expect_eq(kit_run(r), 200);
    expect_header(r, "the first", "Access-Control-Allow-Origin", APP);
    kit_close(kit);
}

/* A browser's way of saying "no origin": files, sandboxes, redirects. */
Test(cors, the_null_origin_is_one_like_others)
{
    static const struct {
        const char *why, *yaml, *allow;
    } rows[] = {
        {"all", YAML("{}"), "*"},
        {"all, with credentials", YAML("{credentials: true}"), "null"},
        {"not in the list", YAML("{origins: ['" APP "', '" ADMIN "']}"), NULL},
        {"in the list", YAML("{origins: ['" APP "', 'null']}"), "null"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct kit *kit = open_kit(rows[i].yaml);
        kit_request *r = kit_request_new(kit, "GET", "/a");
        kit_request_header(r, "Origin", "null");
        cr_expect_eq(kit_run(r), 200);
        expect_header(r, rows[i].why, "Access-Control-Allow-Origin", rows[i].allow);
        kit_close(kit);
    }
}

Test(cors, the_example_of_the_readme_works)
{
    struct kit *kit = kit_open_markdown("plugins/cors/README.md");
    cr_assert_not_null(kit, "%s", kit_error());
    cr_expect_str_empty(kit_warnings());
    kit_request *r = kit_request_new(kit, "GET", "/orders");
    kit_request_header(r, "Origin", "https://shop.example.org");
    cr_expect_eq(kit_run(r), 200);
    expect_header(r, "README", "Access-Control-Allow-Origin", "https://shop.example.org");
    kit_close(kit);
}

Test(cors, what_is_refused)
{
    static const struct {
        const char *why, *yaml, *says;
    } rows[] = {
        {"Kong's sentence for a glob", YAML("{origins: ['*.example.com']}"),
         "'*.example.com' is not a valid regex"},
        {"an open bracket", YAML("{origins: ['" APP "', 'https://[a']}"),
         "'https://[a' is not a valid regex"},
        {"an unknown method", YAML("{methods: [GET, FETCH]}"), "expected one of: "},
        {"a text as age", YAML("{max_age: soon}"), "expected a number"},
        {"an unknown field", YAML("{origin: ['*']}"), "unknown field"},
        {"a word as switch", YAML("{credentials: maybe}"), "expected a boolean"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cr_expect_null(kit_open(rows[i].yaml), "%s: accepted", rows[i].why);
        cr_expect_not_null(strstr(kit_error(), rows[i].says), "%s: %s", rows[i].why, kit_error());
    }
}
