/* What the recorded answers do not show: captures, what is left out, warnings, sizes. */
#include <criterion/criterion.h>

#include "config/problems.h"
#include "recorded.h"
#include "route/regex.h"

#define ID(n) "00000000-0000-4000-8000-00000000000" #n

struct decision {
    const char *why;
    struct route_row routes[4];
    struct request_row request; /* .route: who takes it */
};

/* clang-format off */
static const struct decision decisions[] = {
    {"host names are compared without letter case, also in wildcards",
     {{"a", ID(1), 1, NULL, .hosts = "*.Example.COM"}},
     {"GET", "API.example.com", "/", .route = "a"}},
    {"a wildcard at the end as well",
     {{"a", ID(1), 1, NULL, .hosts = "Example.*"}},
     {"GET", "example.ORG", "/", .route = "a"}},
    {"text after the colon that is no number belongs to the name",
     {{"a", ID(1), 1, NULL, .hosts = "a.test"}},
     {"GET", "a.test:x", "/", .route = NULL}},
    {"a wildcard written as a Host is not a way into the map",
     {{"a", ID(1), 1, NULL, .hosts = "a.*"}},
     {"GET", "*.a", "/", .route = NULL}},
    {"a name that is too long for one matches no host entry, the others still work",
     {{"a", ID(1), 1, NULL, .hosts = "*.test"}, {"b", ID(2), 1, NULL, .paths = "/"}},
     {"GET", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
             "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
             "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.test",
      "/", .route = "b"}},
    {"a more specific field set wins over a longer path",
     {{"a", ID(1), 1, NULL, .paths = "/a/b/c"}, {"b", ID(2), 1, NULL, .paths = "/a", .methods = "GET"}},
     {"GET", "h", "/a/b/c", .route = "b"}},
    {"a regex is anchored at its start, but only its first alternative is",
     {{"a", ID(1), 1, NULL, .paths = "~/x|/y"}},
     {"GET", "h", "/q/y", .route = "a"}},
    {"an alternative inside a group is no such thing",
     {{"a", ID(1), 1, NULL, .paths = "~/(x|y)/z"}},
     {"GET", "h", "/q/y/z", .route = NULL}},
    {"a quantifier takes the byte before it out of the literal part",
     {{"a", ID(1), 1, NULL, .paths = "~/ab?c"}},
     {"GET", "h", "/ac", .route = "a"}},
    {"a dollar is the very end, not the place before a last newline",
     {{"a", ID(1), 1, NULL, .paths = "~/a$"}},
     {"GET", "h", "/a\n", .route = NULL}},
    {"a dot is one character, however many bytes it has",
     {{"a", ID(1), 1, NULL, .paths = "~/.$"}},
     {"GET", "h", "/\303\251", .route = "a"}},
    {"bytes that are no text do not stop a regex",
     {{"a", ID(1), 1, NULL, .paths = "~/a"}},
     {"GET", "h", "/a\377\376", .route = "a"}},
    {"a higher id wins a tie",
     {{"a", ID(1), 1, NULL, .paths = "/t"}, {"b", ID(2), 1, NULL, .paths = "/t"}},
     {"GET", "h", "/t", .route = "b"}},
    {"a negative regex_priority counts as none, it does not become a huge one",
     {{"a", ID(1), 1, NULL, .paths = "~/t.*", .regex_priority = -5},
      {"b", ID(2), 1, NULL, .paths = "~/t", .regex_priority = 1}},
     {"GET", "h", "/t", .route = "b"}},
    {"all header names must be there",
     {{"a", ID(1), 1, NULL, .headers = "X-A: 1\nX-B: 2"}},
     {"GET", "h", "/", .headers = "X-A: 1", .route = NULL}},
    {"the values of one header are alternatives, each may be a regex",
     {{"a", ID(1), 1, NULL, .headers = "X-A: 1\nX-A: ~*^v[0-9]$"}},
     {"GET", "h", "/", .headers = "x_a: V7", .route = "a"}},
    {"a server name is asked for only on TLS",
     {{"a", ID(1), 1, NULL, .snis = "a.test."}},
     {"GET", "h", "/", .route = "a"}},
    {"the dot at the end of an entry is not part of the name",
     {{"a", ID(1), 1, NULL, .snis = "a.test."}},
     {"GET", "h", "/", .tls = true, .sni = "A.test", .route = "a"}},
    {"TLS without a server name fits no entry",
     {{"a", ID(1), 1, NULL, .snis = "a.test"}},
     {"GET", "h", "/", .tls = true, .route = NULL}},
    {"server names may have wildcards",
     {{"a", ID(1), 1, NULL, .snis = "*.test"}},
     {"GET", "h", "/", .tls = true, .sni = "x.y.test", .route = "a"}},
    {"a disabled service's routes are left out",
     {{"a", ID(1), 1, NULL, .paths = "/a/b", .disabled = true}, {"b", ID(2), 1, NULL, .paths = "/a"}},
     {"GET", "h", "/a/b", .route = "b"}},
    {"stream routes are not for HTTP",
     {{"a", ID(1), 1, NULL, .snis = "h", .protocols = PROTOCOL_BIT(PROTOCOL_TLS_PASSTHROUGH)}},
     {"GET", "h", "/", .route = NULL}},
    {"gRPC routes are",
     {{"a", ID(1), 1, NULL, .paths = "/a", .protocols = PROTOCOL_BIT(PROTOCOL_GRPC)}},
     {"POST", "h", "/a.B/c", .route = "a"}},
    {"an expression route is left out, the others stay",
     {{"a", ID(1), 1, NULL, .expression = "http.path == \"/\""}, {"b", ID(2), 1, NULL, .paths = "/"}},
     {"GET", "h", "/", .route = "b"}},
    {"a route without any field takes all",
     {{.name = "a", .id = ID(1), .port = 1}}, {"GET", "h", "/x", .route = "a"}},
    {"methods are compared with letter case",
     {{"a", ID(1), 1, NULL, .methods = "GET"}}, {"get", "h", "/x", .route = NULL}},
    {"a prefix ends anywhere, not at a slash",
     {{"a", ID(1), 1, NULL, .paths = "/user"}}, {"GET", "h", "/users", .route = "a"}},
    {"no routes, no match", {{.name = NULL}}, {"GET", "h", "/", .route = NULL}},
};
/* clang-format on */

Test(router, decisions)
{
    struct query_room room;
    for (size_t i = 0; i < COUNT_OF(decisions); i++) {
        const struct decision *decision = &decisions[i];
        struct arena *arena = arena_create(NULL);
        struct config *config = config_of(arena, decision->routes, COUNT_OF(decision->routes));
        struct router *router = NULL;
        cr_assert_eq(router_build(config, ROUTER_EXPRESSIONS, NULL, &router), WEIR_OK);
        struct route_query query = query_of(arena, &decision->request, &room);
        const char *wanted = decision->request.route == NULL ? "-" : decision->request.route;
        cr_expect_str_eq(taken_by(router, &query), wanted, "%s", decision->why);
        router_destroy(router);
        arena_destroy(arena);
    }
}

static bool match_path(struct arena *arena, const char *paths, const char *path,
                       struct router **router, struct route_match *match)
{
    struct route_row row = {.name = "r", .id = ID(1), .port = 1, .paths = paths};
    struct route_query query = {.method = SPAN("GET"), .path = span_text(path)};
    cr_assert_eq(
        router_build(config_of(arena, &row, 1), ROUTER_TRADITIONAL_COMPATIBLE, NULL, router),
        WEIR_OK);
    return router_match(*router, &query, match);
}

Test(router, groups_of_a_regex_are_captured_with_their_names)
{
    struct arena *arena = arena_create(NULL);
    struct router *router = NULL;
    struct route_match match;
    cr_assert(match_path(arena, "~/v(\\d+)/(?<kind>[a-z]+)(/x)?", "/v7/ab", &router, &match));
    cr_assert_eq(match.capture_count, 4);
    cr_assert(span_equal(match.matched_path, SPAN("/v7/ab")));
    cr_assert(span_equal(match.captures[0], SPAN("/v7/ab")));
    cr_assert(span_equal(match.captures[1], SPAN("7")));
    cr_assert(span_equal(match.captures[2], SPAN("ab")));
    cr_assert_not(span_is_set(match.captures[3]), "the group took no part");
    cr_assert_eq(match.names->count, 4);
    cr_assert(span_equal(match.names->names[2], SPAN("kind")));
    cr_assert_not(span_is_set(match.names->names[1]));
    router_destroy(router);
    arena_destroy(arena);
}

Test(router, captures_are_absent_without_groups_and_bounded_with_many)
{
    struct arena *arena = arena_create(NULL);
    struct router *router = NULL;
    struct route_match match;
    cr_assert(match_path(arena, "~/a.c", "/abcd", &router, &match));
    cr_assert_eq(match.capture_count, 0);
    cr_assert_null(match.names);
    cr_assert(span_equal(match.matched_path, SPAN("/abc")));
    router_destroy(router);
    cr_assert(match_path(arena, "~/(a)(a)(a)(a)(a)(a)(a)(a)(a)(a)(a)(a)(a)(a)(a)(a)(a)(a)",
                         "/aaaaaaaaaaaaaaaaaa", &router, &match));
    cr_assert_eq(match.capture_count, ROUTE_CAPTURES_MAX);
    cr_assert(span_equal(match.captures[15], SPAN("a")));
    router_destroy(router);
    arena_destroy(arena);
}

Test(router, a_better_plain_route_does_not_keep_the_captures_of_a_regex)
{
    static const struct route_row rows[] = {
        {"regex", ID(1), 1, NULL, .paths = "~/(a)"},
        {"plain", ID(2), 1, NULL, .paths = "/a/b", .methods = "GET"},
    };
    struct arena *arena = arena_create(NULL);
    struct router *router = NULL;
    struct route_match match;
    struct route_query query = {.method = SPAN("GET"), .path = SPAN("/a/b/c")};
    cr_assert_eq(
        router_build(config_of(arena, rows, 2), ROUTER_TRADITIONAL_COMPATIBLE, NULL, &router),
        WEIR_OK);
    cr_assert(router_match(router, &query, &match));
    cr_assert_str_eq(match.route->name.data, "plain");
    cr_assert_eq(match.capture_count, 0);
    cr_assert_null(match.names);
    cr_assert(span_equal(match.matched_path, SPAN("/a/b")));
    router_destroy(router);
    arena_destroy(arena);
}

Test(router, a_regex_that_runs_away_is_stopped)
{
    struct arena *arena = arena_create(NULL);
    struct router *router = NULL;
    struct route_match match;
    match.route = NULL;
    cr_assert_not(match_path(arena, "~/(a+)+(a+)+(a+)+$",
                             "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab",
                             &router, &match));
    cr_assert_null(match.route, "no match leaves the output alone");
    router_destroy(router);
    arena_destroy(arena);
}

struct literal {
    const char *why, *pattern, *prefix;
};

static const struct literal literals[] = {
    {"plain text", "/a/b", "/a/b"},
    {"up to the first special byte", "/v1/(\\d+)", "/v1/"},
    {"escaped punctuation is itself", "/a\\.b\\/c.", "/a.b/c"},
    {"an escaped letter is a class", "/a\\d", "/a"},
    {"a quantifier belongs to the byte before it", "/ab*c", "/a"},
    {"so does a count", "/ab{2}", "/a"},
    {"an alternative outside of groups", "/a|/b", ""},
    {"one inside a group", "/a/(b|c)", "/a/"},
    {"one inside a class is a byte", "/a/[|]", "/a/"},
    {"an escaped one too", "/a/\\|b.", "/a/|b"},
    {"a bracket in a class opens no group", "/a/[(]|/b", ""},
    {"a class within a class is not looked into", "/a/[[:alpha:](]x", ""},
    {"quoting is not looked into", "/a/\\Q(\\E|/b", ""},
    {"nor are comments", "/a/(?#()|/b", ""},
    {"nor is the mode in which blanks do not count", "(?x)/a b", ""},
    {"letter case may change midway", "/x/(?i)abc", "/x/"},
    {"bytes of UTF-8 end it", "/caf\303\251*", "/caf"},
};

Test(router, what_a_regex_begins_with)
{
    for (size_t i = 0; i < COUNT_OF(literals); i++) {
        char out[64];
        size_t size = regex_literal_prefix(span_text(literals[i].pattern), out);
        cr_expect(span_equal(span_of(out, size), span_text(literals[i].prefix)), "%s: %s -> %.*s",
                  literals[i].why, literals[i].pattern, (int)size, out);
    }
}

static size_t count_texts(struct problems *problems, const char *part)
{
    size_t found = 0;
    for (size_t i = 0; i < problems_count(problems); i++) {
        struct span text = problems_at(problems, i)->text;
        found += span_search(text, span_text(part)) != text.size;
    }
    return found;
}

Test(router, warnings_about_ties_and_routes_that_no_request_reaches)
{
    static const struct route_row rows[] = {
        {"one", ID(1), 1, NULL, .paths = "/t"},
        {"two", ID(2), 1, NULL, .paths = "/t"}, /* takes all of one's requests */
        {"get", ID(3), 1, NULL, .paths = "/m", .methods = "GET\nPUT"},
        {"put", ID(4), 1, NULL, .paths = "/m", .methods = "PUT\nPOST"}, /* they share PUT */
        {"a", ID(5), 1, NULL, .paths = "/o", .methods = "GET"},
        {"b", ID(6), 1, NULL, .paths = "/o", .methods = "PUT"}, /* nothing in common */
        {"half", ID(7), 1, NULL, .paths = "/t\n/u"}, /* equal lengths: one of two is taken */
    };
    struct arena *arena = arena_create(NULL);
    struct problems *problems = problems_create(arena);
    struct router *router = NULL;
    cr_assert_eq(router_build(config_of(arena, rows, COUNT_OF(rows)), ROUTER_TRADITIONAL_COMPATIBLE,
                              problems, &router),
                 WEIR_OK);
    cr_expect_eq(problems_errors(problems), 0);
    cr_expect_eq(count_texts(problems, "route 'one' can never be reached"), 1);
    cr_expect_eq(count_texts(problems, "route 'two' can never be reached"), 1, "half takes /t");
    cr_expect_eq(count_texts(problems, "routes 'put' and 'get' tie"), 1);
    cr_expect_eq(count_texts(problems, "'a'"), 0);
    cr_expect_eq(count_texts(problems, "'half' can"), 0);
    router_destroy(router);
    arena_destroy(arena);
}

Test(router, a_regex_that_does_not_compile_is_an_error_with_its_reason)
{
    static const struct route_row rows[] = {
        {"bad", ID(1), 1, NULL, .paths = "~/a("},
        {"worse", ID(2), 1, NULL, .headers = "X-A: ~*["},
    };
    struct arena *arena = arena_create(NULL);
    struct problems *problems = problems_create(arena);
    struct router *router = NULL;
    struct config *config = config_of(arena, rows, COUNT_OF(rows));
    cr_assert_eq(router_build(config, ROUTER_TRADITIONAL_COMPATIBLE, problems, &router),
                 WEIR_ERR_CONFIG);
    cr_assert_null(router);
    cr_expect_eq(problems_errors(problems), 2);
    cr_expect_eq(count_texts(problems, "route 'bad': invalid regex in paths: missing"), 1);
    cr_expect_eq(count_texts(problems, "route 'worse': invalid regex in headers: missing"), 1);
    arena_destroy(arena);
}

Test(router, fifty_thousand_routes_are_small_and_few_warnings)
{
    enum { COUNT = 50000 };
    struct arena *arena = arena_create(NULL);
    struct problems *problems = problems_create(arena);
    struct route_row *rows = arena_array(arena, struct route_row, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        rows[i].name = arena_printf(arena, "route-%zu", i).data;
        rows[i].id = arena_printf(arena, "%08zx-0000-4000-8000-000000000000", i).data;
        rows[i].port = 1;
        rows[i].hosts = arena_printf(arena, "h%zu.test", i % 5000).data;
        rows[i].paths =
            arena_printf(arena, "/api/v%zu/things-%zu", i % 7, i % 1000 == 0 ? 0 : i).data;
    }
    struct router *router = NULL;
    cr_assert_eq(router_build(config_of(arena, rows, COUNT), ROUTER_TRADITIONAL_COMPATIBLE,
                              problems, &router),
                 WEIR_OK);
    cr_expect_leq(router_memory(router), (size_t)15 << 20, "%zu bytes", router_memory(router));
    cr_expect_leq(problems_warnings(problems), 20);
    struct route_query query = {
        .method = SPAN("GET"), .host = SPAN("h2345.test"), .path = SPAN("/api/v0/things-2345/1")};
    cr_expect_str_eq(taken_by(router, &query), "route-2345");
    router_destroy(router);
    arena_destroy(arena);
}

Test(router, names_of_flavors)
{
    enum router_flavor flavor = ROUTER_EXPRESSIONS;
    cr_assert(router_flavor_parse(SPAN("traditional"), &flavor));
    cr_assert_eq(flavor, ROUTER_TRADITIONAL);
    cr_assert(router_flavor_parse(SPAN("traditional_compatible"), &flavor));
    cr_assert_eq(flavor, ROUTER_TRADITIONAL_COMPATIBLE);
    cr_assert_not(router_flavor_parse(SPAN("modern"), &flavor));
    router_destroy(NULL);
}
