/* key-auth against the recorded answers of a real Kong: each row names its case (group/name) and
 * holds what was answered to the client and sent to the target. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <weir_testkit.h>

#define ALICE_CREDENTIAL "11111111-1111-4111-8111-111111111111"
#define BOB_CREDENTIAL "33333333-3333-4333-8333-333333333333"
#define NO_KEY "No API key found in request"
#define TWO_KEYS "Duplicate API key found"
#define WRONG_KEY "Unauthorized"
#define FORM "application/x-www-form-urlencoded"
#define JSON "application/json"
#define MULTIPART "multipart/form-data; boundary=b"
#define PART(name, value) \
    "--b\r\nContent-Disposition: form-data; name=\"" name "\"\r\n\r\n" value "\r\n"

static const char *yaml_of(const char *config)
{
    static char text[4096];
    int size = snprintf(
        text, sizeof(text),
        "_format_version: '3.0'\n"
        "services: [{name: s, url: 'http://127.0.0.1:9001', routes: [{name: r, paths: [/a]}]}]\n"
        "plugins: [{name: key-auth, config: %s}]\n"
        "consumers:\n"
        "- {username: alice, custom_id: cid-alice,\n"
        "   keyauth_credentials: [{key: alice-key, id: " ALICE_CREDENTIAL ", tags: [t1]}]}\n"
        "- {custom_id: only-custom, id: 22222222-2222-4222-8222-222222222222,\n"
        "   keyauth_credentials: [{key: bob-key, id: " BOB_CREDENTIAL "}]}\n"
        "- {username: anon, id: 44444444-4444-4444-8444-444444444444}\n",
        config);
    cr_assert(size > 0 && (size_t)size < sizeof(text));
    return text;
}

static struct kit *open_kit(const char *config)
{
    struct kit *kit = kit_open(yaml_of(config));
    cr_assert_not_null(kit, "%s: %s", config, kit_error());
    return kit;
}

static bool same(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

struct row {
    const char *reason, *config, *target;
    const char *headers[2][2];
    const char *body; /* NULL: a GET without one */
    int status;
    const char *message; /* of a refusal */
    /* What the target got. */
    const char *consumer, *identifier, *query, *key_header, *body_sent;
};

/* clang-format off */
static const struct row rows[] = {
    {"basic: no key", "{}", "/a", .status = 401, .message = NO_KEY},
    {"basic: key in header", "{}", "/a", {{"apikey", "alice-key"}}, .status = 200,
     .consumer = "alice", .identifier = ALICE_CREDENTIAL, .key_header = "alice-key"},
    {"basic: key in query, which stays as it is", "{}", "/a?apikey=alice-key&x=1", .status = 200,
     .consumer = "alice", .identifier = ALICE_CREDENTIAL, .query = "apikey=alice-key&x=1"},
    {"basic: header names have no case", "{}", "/a", {{"APIKEY", "alice-key"}}, .status = 200,
     .consumer = "alice", .identifier = ALICE_CREDENTIAL, .key_header = "alice-key"},
    {"basic: query names have one", "{}", "/a?APIKEY=alice-key", .status = 401, .message = NO_KEY},
    {"basic: unknown key", "{}", "/a", {{"apikey", "nope"}}, .status = 401, .message = WRONG_KEY},
    {"basic: unknown key in query", "{}", "/a?apikey=nope", .status = 401, .message = WRONG_KEY},
    {"basic: empty header", "{}", "/a", {{"apikey", ""}}, .status = 401, .message = NO_KEY},
    {"basic: keys have case", "{}", "/a", {{"apikey", "ALICE-KEY"}}, .status = 401, .message = WRONG_KEY},
    {"basic: another name", "{}", "/a", {{"api-key", "alice-key"}}, .status = 401, .message = NO_KEY},
    {"basic: consumer without username", "{}", "/a", {{"apikey", "bob-key"}}, .status = 200,
     .consumer = "only-custom", .identifier = BOB_CREDENTIAL, .key_header = "bob-key"},

    {"both-places: the header goes first", "{}", "/a?apikey=nope", {{"apikey", "alice-key"}}, .status = 200,
     .consumer = "alice", .identifier = ALICE_CREDENTIAL, .query = "apikey=nope", .key_header = "alice-key"},
    {"both-places: also when it is wrong", "{}", "/a?apikey=alice-key", {{"apikey", "nope"}},
     .status = 401, .message = WRONG_KEY},

    {"duplicates: two headers", "{}", "/a", {{"apikey", "alice-key"}, {"apikey", "bob-key"}},
     .status = 401, .message = TWO_KEYS},
    {"duplicates: two arguments", "{}", "/a?apikey=alice-key&apikey=bob-key", .status = 401, .message = TWO_KEYS},
    {"duplicates: a list in one header is one key", "{}", "/a", {{"apikey", "alice-key, bob-key"}},
     .status = 401, .message = WRONG_KEY},
    {"duplicates: argument without value", "{}", "/a?apikey", .status = 401, .message = NO_KEY},
    {"duplicates: argument with empty value", "{}", "/a?apikey=", .status = 401, .message = NO_KEY},

    {"key-names: any of them", "{key_names: [X-API-Key, tok]}", "/a", {{"x-api-key", "alice-key"}},
     .status = 200, .consumer = "alice", .identifier = ALICE_CREDENTIAL},
    {"key-names: the second in the query", "{key_names: [X-API-Key, tok]}", "/a?tok=alice-key",
     .status = 200, .consumer = "alice", .identifier = ALICE_CREDENTIAL, .query = "tok=alice-key"},
    {"key-names: the first name wins", "{key_names: [X-API-Key, tok]}", "/a",
     {{"tok", "bob-key"}, {"X-API-Key", "alice-key"}}, .status = 200, .consumer = "alice",
     .identifier = ALICE_CREDENTIAL},
    {"key-names: also when it is wrong", "{key_names: [X-API-Key, tok]}", "/a",
     {{"tok", "alice-key"}, {"X-API-Key", "nope"}}, .status = 401, .message = WRONG_KEY},
    {"key-names: _ is not -", "{key_names: [X-API-Key, tok]}", "/a", {{"X_API_Key", "alice-key"}},
     .status = 401, .message = NO_KEY},
    {"key-names: case of query names", "{key_names: [X-API-Key, tok]}", "/a?X-API-Key=alice-key",
     .status = 200, .consumer = "alice", .identifier = ALICE_CREDENTIAL, .query = "X-API-Key=alice-key"},
    {"key-names: wrong case of query names", "{key_names: [X-API-Key, tok]}", "/a?x-api-key=alice-key",
     .status = 401, .message = NO_KEY},

    {"query-off: header", "{key_in_query: false}", "/a", {{"apikey", "alice-key"}}, .status = 200,
     .consumer = "alice", .identifier = ALICE_CREDENTIAL, .key_header = "alice-key"},
    {"query-off: query", "{key_in_query: false}", "/a?apikey=alice-key", .status = 401, .message = NO_KEY},
    {"header off, by the same rule", "{key_in_header: false}", "/a?apikey=bob-key", {{"apikey", "alice-key"}},
     .status = 200, .consumer = "only-custom", .identifier = BOB_CREDENTIAL, .query = "apikey=bob-key",
     .key_header = "alice-key"},

    {"hide-credentials: the rest of the query is encoded anew", "{hide_credentials: true, key_in_body: true}",
     "/a?apikey=alice-key&x=1&y=%20z", .status = 200, .consumer = "alice", .identifier = ALICE_CREDENTIAL,
     .query = "x=1&y=+z"},
    {"hide-credentials: header", "{hide_credentials: true, key_in_body: true}", "/a", {{"apikey", "alice-key"}},
     .status = 200, .consumer = "alice", .identifier = ALICE_CREDENTIAL},
    {"hide-credentials: a bare ? stays", "{hide_credentials: true, key_in_body: true}", "/a?apikey=alice-key",
     .status = 200, .consumer = "alice", .identifier = ALICE_CREDENTIAL, .query = ""},
    {"hide-credentials: form", "{hide_credentials: true, key_in_body: true}", "/a", {{"Content-Type", FORM}},
     "apikey=alice-key&z=1", 200, .consumer = "alice", .identifier = ALICE_CREDENTIAL, .body_sent = "z=1"},
    {"hide-credentials: JSON", "{hide_credentials: true, key_in_body: true}", "/a", {{"Content-Type", JSON}},
     "{\"apikey\":\"alice-key\",\"z\":1}", 200, .consumer = "alice", .identifier = ALICE_CREDENTIAL,
     .body_sent = "{\"z\":1}"},
    {"hide: the other members keep every byte", "{hide_credentials: true, key_in_body: true}", "/a",
     {{"Content-Type", JSON}}, "{ \"n\": 12345678901234567890, \"apikey\" : \"alice-key\" , \"a\": [1, \"},{\"] }",
     200, .consumer = "alice", .identifier = ALICE_CREDENTIAL,
     .body_sent = "{ \"n\": 12345678901234567890, \"a\": [1, \"},{\"] }"},
    {"hide: found in the header, gone from the body too", "{hide_credentials: true, key_in_body: true}", "/a",
     {{"Content-Type", FORM}, {"apikey", "alice-key"}}, "apikey=other&z=%31", 200, .consumer = "alice",
     .identifier = ALICE_CREDENTIAL, .body_sent = "z=%31"},
    {"hide: multipart", "{hide_credentials: true, key_in_body: true}", "/a", {{"Content-Type", MULTIPART}},
     PART("x", "1") PART("apikey", "alice-key") PART("y", "2") "--b--\r\n", 200, .consumer = "alice",
     .identifier = ALICE_CREDENTIAL, .body_sent = PART("x", "1") PART("y", "2") "--b--\r\n"},

    {"key-in-body: form", "{key_in_body: true}", "/a", {{"Content-Type", FORM}}, "apikey=alice-key", 200,
     .consumer = "alice", .identifier = ALICE_CREDENTIAL, .body_sent = "apikey=alice-key"},
    {"key-in-body: JSON", "{key_in_body: true}", "/a", {{"Content-Type", JSON}}, "{\"apikey\":\"alice-key\"}",
     200, .consumer = "alice", .identifier = ALICE_CREDENTIAL, .body_sent = "{\"apikey\":\"alice-key\"}"},
    {"key-in-body: broken JSON", "{key_in_body: true}", "/a", {{"Content-Type", JSON}}, "{bad", 401, NO_KEY},
    {"key-in-body: text", "{key_in_body: true}", "/a", {{"Content-Type", "text/plain"}}, "apikey=alice-key",
     401, NO_KEY},
    {"key-in-body: multipart", "{key_in_body: true}", "/a", {{"Content-Type", MULTIPART}},
     PART("apikey", "alice-key") "--b--\r\n", 200, .consumer = "alice", .identifier = ALICE_CREDENTIAL,
     .body_sent = PART("apikey", "alice-key") "--b--\r\n"},
    {"key-in-body: no body", "{key_in_body: true}", "/a", .status = 401, .message = NO_KEY},
    {"in body, encoded", "{key_in_body: true}", "/a", {{"Content-Type", FORM}}, "x=1&api%6bey=alice%2Dkey", 200,
     .consumer = "alice", .identifier = ALICE_CREDENTIAL, .body_sent = "x=1&api%6bey=alice%2Dkey"},
    {"in body, escaped", "{key_in_body: true}", "/a", {{"Content-Type", JSON}}, "{\"\\u0061pikey\":\"alice\\u002dkey\"}",
     200, .consumer = "alice", .identifier = ALICE_CREDENTIAL, .body_sent = "{\"\\u0061pikey\":\"alice\\u002dkey\"}"},
    {"in body, twice", "{key_in_body: true}", "/a", {{"Content-Type", FORM}}, "apikey=alice-key&apikey=b", 401,
     TWO_KEYS},
    {"in body, a list", "{key_in_body: true}", "/a", {{"Content-Type", JSON}}, "{\"apikey\":[\"alice-key\"]}", 401,
     TWO_KEYS},
    {"in body, a number is no key", "{key_in_body: true}", "/a", {{"Content-Type", JSON}}, "{\"apikey\":1}", 401,
     NO_KEY},
    {"in body, deeper down", "{key_in_body: true}", "/a", {{"Content-Type", JSON}},
     "{\"o\":{\"apikey\":\"alice-key\"}}", 401, NO_KEY},
    {"in body, a list of objects", "{key_in_body: true}", "/a", {{"Content-Type", JSON}},
     "[{\"apikey\":\"alice-key\"}]", 401, NO_KEY},
    {"in body, more after the object", "{key_in_body: true}", "/a", {{"Content-Type", JSON}},
     "{\"apikey\":\"alice-key\"} {", 401, NO_KEY},
    {"in body, of a member written twice the last holds", "{key_in_body: true}", "/a", {{"Content-Type", JSON}},
     "{\"apikey\":\"nope\",\"apikey\":\"alice-key\"}", 200, .consumer = "alice",
     .identifier = ALICE_CREDENTIAL, .body_sent = "{\"apikey\":\"nope\",\"apikey\":\"alice-key\"}"},
    {"in body, an empty object", "{key_in_body: true, hide_credentials: true}", "/a", {{"Content-Type", JSON}}, "{ }",
     401, NO_KEY},
    {"in body, boundary never closed", "{key_in_body: true}", "/a", {{"Content-Type", MULTIPART}}, "--b", 401, NO_KEY},
    {"in body, quoted boundary and another case of the type", "{key_in_body: true}", "/a",
     {{"Content-Type", "Multipart/Form-Data; charset=x; boundary=\"b\""}}, PART("apikey", "alice-key") "--b--\r\n",
     200, .consumer = "alice", .identifier = ALICE_CREDENTIAL, .body_sent = PART("apikey", "alice-key") "--b--\r\n"},
    {"in body, two parts", "{key_in_body: true}", "/a", {{"Content-Type", MULTIPART}},
     PART("apikey", "alice-key") PART("apikey", "b") "--b--\r\n", 401, TWO_KEYS},
    {"in body, a form name alone is no key", "{key_in_body: true}", "/a", {{"Content-Type", FORM}}, "apikey&x=1", 401,
     NO_KEY},
    {"in body, an empty form value", "{key_in_body: true}", "/a", {{"Content-Type", FORM}}, "apikey=", 401, NO_KEY},
    {"in body, an empty JSON text", "{key_in_body: true}", "/a", {{"Content-Type", JSON}}, "{\"apikey\":\"\"}", 401,
     NO_KEY},
    {"in body, unknown key", "{key_in_body: true}", "/a", {{"Content-Type", FORM}}, "apikey=nope", 401, WRONG_KEY},
    {"in body, the charset does not matter", "{key_in_body: true}", "/a",
     {{"Content-Type", JSON " ; charset=utf-8"}}, "{\"apikey\":\"alice-key\"}", 200, .consumer = "alice",
     .identifier = ALICE_CREDENTIAL, .body_sent = "{\"apikey\":\"alice-key\"}"},
    {"in body, the query goes first", "{key_in_body: true}", "/a?apikey=bob-key", {{"Content-Type", FORM}},
     "apikey=alice-key", 200, .consumer = "only-custom", .identifier = BOB_CREDENTIAL,
     .query = "apikey=bob-key", .body_sent = "apikey=alice-key"},
    {"in body, the first name goes before the second's header", "{key_names: [one, two], key_in_body: true}", "/a",
     {{"Content-Type", FORM}, {"two", "bob-key"}}, "one=alice-key", 200, .consumer = "alice",
     .identifier = ALICE_CREDENTIAL, .body_sent = "one=alice-key"},
    {"hide: all of a JSON name, however it is written", "{hide_credentials: true, key_in_body: true}", "/a",
     {{"Content-Type", JSON}}, "{\"apikey\":\"x\", \"id\": 9007199254740993 ,\"\\u0061pikey\":\"alice-key\"}", 200,
     .consumer = "alice", .identifier = ALICE_CREDENTIAL, .body_sent = "{ \"id\": 9007199254740993}"},
    {"hide: a body that has none keeps its bytes", "{hide_credentials: true, key_in_body: true}", "/a",
     {{"Content-Type", FORM}, {"apikey", "alice-key"}}, "&&z=%31&", 200, .consumer = "alice",
     .identifier = ALICE_CREDENTIAL, .body_sent = "&&z=%31&"},
    {"hide: a body that is not what it says keeps its bytes", "{hide_credentials: true, key_in_body: true}", "/a",
     {{"Content-Type", JSON}, {"apikey", "alice-key"}}, "{\"apikey\":", 200, .consumer = "alice",
     .identifier = ALICE_CREDENTIAL, .body_sent = "{\"apikey\":"},
    {"hide: without key_in_body the body is not touched", "{hide_credentials: true}", "/a",
     {{"Content-Type", FORM}, {"apikey", "alice-key"}}, "apikey=x", 200, .consumer = "alice",
     .identifier = ALICE_CREDENTIAL, .body_sent = "apikey=x"},
    {"hide: the other names stay", "{hide_credentials: true, key_names: [one, two]}", "/a?two=x&one=y",
     {{"one", "alice-key"}}, .status = 200, .consumer = "alice", .identifier = ALICE_CREDENTIAL, .query = "two=x"},
    {"body not asked for", "{}", "/a", {{"Content-Type", FORM}}, "apikey=alice-key", 401, NO_KEY},

    {"anonymous-id: no key", "{anonymous: 44444444-4444-4444-8444-444444444444}", "/a", .status = 200,
     .consumer = "anon"},
    {"anonymous-id: wrong key", "{anonymous: 44444444-4444-4444-8444-444444444444}", "/a", {{"apikey", "nope"}},
     .status = 200, .consumer = "anon", .key_header = "nope"},
    {"anonymous-id: a good key counts", "{anonymous: 44444444-4444-4444-8444-444444444444}", "/a",
     {{"apikey", "alice-key"}}, .status = 200, .consumer = "alice", .identifier = ALICE_CREDENTIAL,
     .key_header = "alice-key"},
    {"anonymous-username", "{anonymous: anon}", "/a", .status = 200, .consumer = "anon"},
    {"anonymous-unknown: loads, then 500", "{anonymous: ghost}", "/a", .status = 500,
     .message = "An unexpected error occurred"},
    {"anonymous-spoofed: identity headers are the gateway's", "{anonymous: anon}", "/a",
     {{"X-Consumer-Custom-ID", "root"}, {"X-Credential-Identifier", "z"}}, .status = 200, .consumer = "anon"},
    {"spoofed-identity-headers", "{}", "/a", {{"apikey", "bob-key"}, {"X-Consumer-Username", "root"}}, .status = 200,
     .consumer = "only-custom", .identifier = BOB_CREDENTIAL, .key_header = "bob-key"},
};
/* clang-format on */

static const struct {
    const char *name, *id, *username, *custom_id, *anonymous;
} consumers[] = {
    /* The id of alice derives from the name, as Kong derives it. */
    {"alice", "b32379d9-3d28-5683-a79c-72139be6e34f", "alice", "cid-alice", NULL},
    {"only-custom", "22222222-2222-4222-8222-222222222222", NULL, "only-custom", NULL},
    {"anon", "44444444-4444-4444-8444-444444444444", "anon", NULL, "true"},
};

static void expect_identity(const struct row *row, kit_request *r)
{
    for (size_t i = 0; i < sizeof(consumers) / sizeof(consumers[0]); i++) {
        if (!same(consumers[i].name, row->consumer))
            continue;
        const char *const pairs[][2] = {
            {"X-Consumer-ID", consumers[i].id},
            {"X-Consumer-Username", consumers[i].username},
            {"X-Consumer-Custom-ID", consumers[i].custom_id},
            {"X-Anonymous-Consumer", consumers[i].anonymous},
            {"X-Credential-Identifier", row->identifier},
        };
        for (size_t j = 0; j < sizeof(pairs) / sizeof(pairs[0]); j++)
            cr_expect(same(kit_upstream_header(r, pairs[j][0]), pairs[j][1]), "%s: %s: %s",
                      row->reason, pairs[j][0], kit_upstream_header(r, pairs[j][0]));
    }
}

static void expect_refusal(const struct row *row, kit_request *r)
{
    char body[256];
    (void)snprintf(body, sizeof(body), "{\n  \"message\":\"%s\",\n  \"request_id\":\"%s\"\n}",
                   row->message, kit_id(r));
    cr_expect(same(kit_response_body(r), body), "%s: %s", row->reason, kit_response_body(r));
    const char *challenge = row->status == 401 ? "Key" : NULL;
    cr_expect(same(kit_response_header(r, "WWW-Authenticate"), challenge), "%s", row->reason);
    cr_expect(!kit_was_proxied(r), "%s", row->reason);
}

static void expect_passed(const struct row *row, kit_request *r)
{
    cr_expect(kit_was_proxied(r), "%s", row->reason);
    cr_expect(same(kit_upstream_query(r), row->query), "%s: query %s", row->reason,
              kit_upstream_query(r));
    if (strstr(row->config, "key_names") == NULL)
        cr_expect(same(kit_upstream_header(r, "apikey"), row->key_header), "%s: apikey %s",
                  row->reason, kit_upstream_header(r, "apikey"));
    cr_expect(same(kit_consumer(r), row->consumer), "%s: %s", row->reason, kit_consumer(r));
    expect_identity(row, r);
    if (row->body == NULL)
        return;
    cr_expect(same(kit_upstream_body(r), row->body_sent), "%s: body %s", row->reason,
              kit_upstream_body(r));
    char length[24];
    (void)snprintf(length, sizeof(length), "%zu", strlen(row->body_sent));
    cr_expect(same(kit_upstream_header(r, "Content-Length"), length), "%s: Content-Length %s",
              row->reason, kit_upstream_header(r, "Content-Length"));
}

static void run_row(const struct row *row)
{
    struct kit *kit = open_kit(row->config);
    kit_request *r = kit_request_new(kit, row->body == NULL ? "GET" : "POST", row->target);
    for (size_t i = 0; i < 2 && row->headers[i][0] != NULL; i++)
        kit_request_header(r, row->headers[i][0], row->headers[i][1]);
    if (row->body != NULL)
        kit_request_body(r, row->body);
    int status = kit_run(r);
    cr_expect_eq(status, row->status, "%s: %d", row->reason, status);
    if (status == row->status && row->message != NULL)
        expect_refusal(row, r);
    else if (status == row->status)
        expect_passed(row, r);
    kit_close(kit);
}

Test(key_auth, answers_as_recorded)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        run_row(&rows[i]);
}

static int status_of(struct kit *kit, const char *method, const char *key)
{
    kit_request *r = kit_request_new(kit, method, "/a");
    if (key != NULL)
        kit_request_header(r, "apikey", key);
    int status = kit_run(r);
    kit_request_free(r);
    return status;
}

Test(key_auth, preflight_off_lets_options_through_and_nothing_else)
{
    struct kit *kit = open_kit("{run_on_preflight: false}");
    cr_expect_eq(status_of(kit, "OPTIONS", NULL), 200);
    cr_expect_eq(status_of(kit, "GET", NULL), 401);
    cr_expect(kit_reload(kit, yaml_of("{}")), "%s", kit_error());
    cr_expect_eq(status_of(kit, "OPTIONS", NULL), 401, "by default OPTIONS needs a key, too");
    kit_close(kit);
}

Test(key_auth, a_preflight_without_key_has_no_identity)
{
    struct kit *kit = open_kit("{run_on_preflight: false, anonymous: anon}");
    kit_request *r = kit_request_new(kit, "OPTIONS", "/a");
    cr_expect_eq(kit_run(r), 200);
    cr_expect_null(kit_upstream_header(r, "X-Consumer-Username"));
    kit_close(kit);
}

Test(key_auth, the_realm_is_told)
{
    struct kit *kit = open_kit("{realm: orders}");
    kit_request *r = kit_request_new(kit, "GET", "/a");
    cr_expect_eq(kit_run(r), 401);
    cr_expect_str_eq(kit_response_header(r, "WWW-Authenticate"), "Key realm=\"orders\"");
    kit_close(kit);
}

Test(key_auth, an_unknown_anonymous_consumer_is_warned_of_at_once)
{
    struct kit *kit = open_kit("{anonymous: ghost}");
    cr_expect_not_null(strstr(kit_log_lines(kit), "ghost"), "%s", kit_log_lines(kit));
    kit_close(kit);
}

Test(key_auth, keys_never_reach_the_log)
{
    struct kit *kit = open_kit("{anonymous: ghost, key_in_body: true}");
    (void)status_of(kit, "GET", "alice-key");
    (void)status_of(kit, "GET", "wrong-key");
    cr_expect_null(strstr(kit_log_lines(kit), "-key"), "%s", kit_log_lines(kit));
    kit_close(kit);
}

/* In a file without database the ttl is an absolute second (kong-format 2.5). */
Test(key_auth, a_credential_ends_at_its_ttl)
{
    struct kit *kit = kit_open("_format_version: '3.0'\n"
                               "services: [{name: s, host: t, routes: [{name: r, paths: [/a]}]}]\n"
                               "plugins: [{name: key-auth}]\n"
                               "consumers: [{username: u, keyauth_credentials:\n"
                               "  [{key: short, ttl: 1767225610}, {key: small, ttl: 60}]}]\n");
    cr_assert_not_null(kit, "%s", kit_error());
    cr_expect_eq(status_of(kit, "GET", "short"), 200);
    cr_expect_eq(status_of(kit, "GET", "small"), 401, "60 seconds after 1970");
    kit_advance_ms(kit, 11000);
    cr_expect_eq(status_of(kit, "GET", "short"), 401);
    kit_close(kit);
}

Test(key_auth, a_key_that_two_consumers_have_is_refused_without_showing_it)
{
    struct kit *kit = kit_open("_format_version: '3.0'\n"
                               "plugins: [{name: key-auth}]\n"
                               "consumers:\n"
                               "- {username: u, keyauth_credentials: [{key: hush-hush}]}\n"
                               "- {username: v, keyauth_credentials: [{key: hush-hush}]}\n");
    cr_expect_null(kit);
    cr_expect_not_null(strstr(kit_error(), "kong.yml:5:"), "%s", kit_error());
    cr_expect_null(strstr(kit_error(), "hush-hush"), "%s", kit_error());
}

Test(key_auth, wrong_configurations_are_refused_where_they_are_wrong)
{
    static const struct {
        const char *reason, *config;
    } wrong[] = {
        {"no such field", "{key_name: [x]}"},     {"not a header name", "{key_names: ['a b']}"},
        {"required", "{key_names: null}"},        {"not a boolean", "{hide_credentials: maybe}"},
        {"cannot be sent", "{realm: \"a\\nb\"}"},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct kit *kit = kit_open(yaml_of(wrong[i].config));
        cr_expect_null(kit, "%s", wrong[i].reason);
        cr_expect_not_null(strstr(kit_error(), "kong.yml:3:"), "%s: %s", wrong[i].reason,
                           kit_error());
        kit_close(kit);
    }
}

/* More than is looked through is no key, and no error either. */
Test(key_auth, a_form_of_more_than_a_thousand_fields_has_no_key)
{
    struct kit *kit = open_kit("{key_in_body: true}");
    static char body[2 * 1001 + sizeof("apikey=alice-key")];
    for (size_t fields = 999; fields <= 1001; fields += 2) {
        for (size_t i = 0; i < fields; i++)
            memcpy(body + 2 * i, "z&", 2);
        memcpy(body + 2 * fields, "apikey=alice-key", sizeof("apikey=alice-key"));
        kit_request *r = kit_request_new(kit, "POST", "/a");
        kit_request_header(r, "Content-Type", FORM);
        kit_request_body(r, body);
        cr_expect_eq(kit_run(r), fields == 999 ? 200 : 401, "%zu", fields);
        kit_request_free(r);
    }
    kit_close(kit);
}

/* Deeper than the reader of JSON goes: no key in it. */
Test(key_auth, a_json_body_of_129_levels_has_no_key)
{
    struct kit *kit = open_kit("{key_in_body: true}");
    for (int depth = 127; depth <= 128; depth++) {
        char body[400];
        int size = snprintf(body, sizeof(body), "{\"apikey\":\"alice-key\",\"d\":%.*s%.*s}", depth,
                            "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["
                            "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
                            depth,
                            "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"
                            "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]");
        cr_assert(size > 0 && (size_t)size < sizeof(body));
        kit_request *r = kit_request_new(kit, "POST", "/a");
        kit_request_header(r, "Content-Type", JSON);
        kit_request_body(r, body);
        cr_expect_eq(kit_run(r), depth == 127 ? 200 : 401, "%d", depth);
        kit_request_free(r);
    }
    kit_close(kit);
}

Test(key_auth, a_body_above_the_cap_is_413)
{
    struct kit *kit = open_kit("{key_in_body: true}");
    kit_request *r = kit_request_new(kit, "POST", "/a");
    kit_request_header(r, "Content-Type", FORM);
    kit_request_body(r, "apikey=alice-key");
    kit_body_limit(r, 8);
    cr_expect_eq(kit_run(r), 413);
    kit_close(kit);
}

Test(key_auth, a_body_that_comes_late_is_waited_for)
{
    struct kit *kit = open_kit("{key_in_body: true}");
    kit_request *r = kit_request_new(kit, "POST", "/a");
    kit_request_header(r, "Content-Type", FORM);
    kit_request_body(r, "apikey=alice-key");
    kit_hold_body(r);
    cr_expect_eq(kit_run(r), 0);
    cr_expect(kit_is_waiting(r));
    kit_advance_ms(kit, 1000);
    cr_expect(kit_is_waiting(r));
    kit_body_arrives(r);
    cr_expect_eq(kit_status(r), 200);
    cr_expect_str_eq(kit_consumer(r), "alice");
    kit_close(kit);
}

Test(key_auth, a_body_is_not_read_when_the_header_has_the_key)
{
    struct kit *kit = open_kit("{key_in_body: true}");
    kit_request *r = kit_request_new(kit, "POST", "/a");
    kit_request_header(r, "Content-Type", FORM);
    kit_request_header(r, "apikey", "alice-key");
    kit_request_body(r, "z=1");
    kit_hold_body(r);
    cr_expect_eq(kit_run(r), 200);
    kit_close(kit);
}

Test(key_auth, without_a_route_no_key_is_asked_for)
{
    struct kit *kit = open_kit("{}");
    kit_request *r = kit_request_new(kit, "GET", "/a");
    kit_request_route(r, NULL);
    kit_request_header(r, "apikey", "alice-key");
    cr_expect_eq(kit_run(r), 404, "without a route access does not run: no 401");
    cr_expect_null(kit_consumer(r));
    kit_close(kit);
}

Test(key_auth, the_example_of_the_readme_works)
{
    struct kit *kit = kit_open_markdown("plugins/key-auth/README.md");
    cr_assert_not_null(kit, "%s", kit_error());
    kit_request *r = kit_request_new(kit, "GET", "/orders");
    kit_request_header(r, "X-API-Key", "sesame");
    cr_expect_eq(kit_run(r), 200);
    cr_expect_str_eq(kit_consumer(r), "ann");
    kit_close(kit);
}
