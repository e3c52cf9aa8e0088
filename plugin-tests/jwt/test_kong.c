/* jwt as Kong does it: each field, each answer. The group "jwt" of the recorded answers holds the
 * same facts end to end. */
#include <criterion/criterion.h>
#include <string.h>

#include "jwt_kit.h"

Test(jwt, without_a_token)
{
    struct kit *kit = jwt_open("{}", "");
    kit_request *r = jwt_send(kit, NULL);
    cr_expect_eq(kit_status(r), 401);
    cr_expect_str_eq(kit_response_body(r), "{\"message\":\"Unauthorized\"}");
    cr_expect_str_eq(kit_response_header(r, "Content-Type"), "application/json; charset=utf-8");
    cr_expect_str_eq(kit_response_header(r, "WWW-Authenticate"), "Bearer");
    kit_close(kit);
}

Test(jwt, a_good_token_tells_the_target_who_it_is)
{
    struct kit *kit = jwt_open("{}", "");
    kit_request *r = kit_request_new(kit, "GET", "/a");
    kit_request_header(r, "Authorization", sign_format("Bearer %s", jwt_token(ISS1)));
    kit_request_header(r, "X-Consumer-ID", "root");
    kit_request_header(r, "X-Anonymous-Consumer", "true");
    cr_expect_eq(kit_run(r), 200);
    cr_expect_str_eq(kit_upstream_header(r, "X-Consumer-ID"),
                     "0c991381-bd06-52db-b524-400c47e7c41a");
    cr_expect_str_eq(kit_upstream_header(r, "X-Consumer-Username"), "jo");
    cr_expect_str_eq(kit_upstream_header(r, "X-Consumer-Custom-ID"), "cid-jo");
    cr_expect_str_eq(kit_upstream_header(r, "X-Credential-Identifier"), "iss-1", "the key");
    cr_expect_null(kit_upstream_header(r, "X-Anonymous-Consumer"));
    cr_expect_not_null(kit_upstream_header(r, "Authorization"), "the token stays");
    cr_expect_str_eq(kit_shared(r, "jwt_claims"), ISS1);
    cr_expect_str_eq(kit_shared(r, "authenticated_jwt_token"), jwt_token(ISS1));
    kit_close(kit);
}

enum place { HEADER, QUERY, COOKIE };
static const struct {
    const char *reason, *config;
    enum place place;
    const char *before, *after; /* around the token */
    int status;
} places[] = {
    {"Bearer", "{}", HEADER, "Bearer ", "", 200},
    {"bearer", "{}", HEADER, "bearer ", "", 200},
    {"BEARER is none", "{}", HEADER, "BEARER ", "", 401},
    {"more blanks", "{}", HEADER, "  Bearer   ", "  ", 200},
    {"no blank", "{}", HEADER, "Bearer", "", 401},
    {"no word", "{}", HEADER, "", "", 401},
    {"another word", "{}", HEADER, "Basic ", "", 401},
    {"query", "{}", QUERY, "/a?jwt=", "", 200},
    {"query, twice the same", "{}", QUERY, "/a?jwt=x&x=1&jwt=", "", 401},
    {"another argument", "{}", QUERY, "/a?JWT=", "", 401},
    {"the argument's name", "{uri_param_names: [t, u]}", QUERY, "/a?u=", "", 200},
    {"no longer jwt", "{uri_param_names: [t, u]}", QUERY, "/a?jwt=", "", 401},
    {"no argument at all", "{uri_param_names: []}", QUERY, "/a?jwt=", "", 401},
    {"no cookie by default", "{}", COOKIE, "jwt=", "", 401},
    {"cookie", "{cookie_names: [sess]}", COOKIE, "x=1; sess=", "; y=2", 200},
    {"cookie, any case", "{cookie_names: [sess]}", COOKIE, "SESS=", "", 200},
    {"part of a name", "{cookie_names: [sess]}", COOKIE, "xsess=", "", 401},
    {"the first of two", "{cookie_names: [sess]}", COOKIE, "sess=a.b.c; sess=", "", 401},
};

Test(jwt, the_token_is_found_where_it_may_be)
{
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        struct kit *kit = jwt_open(places[i].config, "");
        const char *text =
            sign_format("%s%s%s", places[i].before, jwt_token(ISS1), places[i].after);
        kit_request *r = kit_request_new(kit, "GET", places[i].place == QUERY ? text : "/a");
        if (places[i].place != QUERY)
            kit_request_header(r, places[i].place == HEADER ? "Authorization" : "Cookie", text);
        cr_expect_eq(kit_run(r), places[i].status, "%s: %d", places[i].reason, kit_status(r));
        kit_close(kit);
    }
}

Test(jwt, other_headers_may_hold_it)
{
    struct kit *kit = jwt_open("{header_names: [X-Token, authorization]}", "");
    kit_request *r = kit_request_new(kit, "GET", "/a");
    kit_request_header(r, "x-token", sign_format("Bearer %s", jwt_token(ISS1)));
    cr_expect_eq(kit_run(r), 200);
    kit_close(kit);
}

Test(jwt, two_tokens_are_refused_unless_they_are_one)
{
    struct kit *kit = jwt_open("{cookie_names: [c]}", "");
    const char *good = jwt_token(ISS1), *other = jwt_token("{\"iss\":\"iss-1\",\"a\":1}");
    const char *seconds[] = {good, other};
    for (size_t i = 0; i < 2; i++) {
        kit_request *r = kit_request_new(kit, "GET", sign_format("/a?jwt=%s", good));
        kit_request_header(r, "Authorization", sign_format("Bearer %s", seconds[i]));
        kit_request_header(r, "Cookie", sign_format("c=%s", good));
        cr_expect_eq(kit_run(r), i == 0 ? 200 : 401);
        if (i == 1)
            cr_expect_str_eq(kit_response_body(r), "{\"message\":\"Multiple tokens provided\"}");
    }
    kit_close(kit);
}

Test(jwt, the_key_claim)
{
    static const struct {
        const char *reason, *header, *claims, *message; /* NULL: passes */
    } rows[] = {
        {"missing", HS256, "{}", "No mandatory 'iss' in claims"},
        {"empty", HS256, "{\"iss\":\"\"}", "Invalid 'iss' in claims"},
        {"unknown", HS256, "{\"iss\":\"ghost\"}", "No credentials found for given 'iss'"},
        {"a number", HS256, "{\"iss\":5}", "Invalid 'iss' in claims"},
        {"null", HS256, "{\"iss\":null}", "Invalid 'iss' in claims"},
        {"an array", HS256, "{\"iss\":[\"iss-1\"]}", "Invalid 'iss' in claims"},
        {"in the header", "{\"alg\":\"HS256\",\"iss\":\"iss-1\"}", "{}", NULL},
        {"claims before the header", "{\"alg\":\"HS256\",\"iss\":\"iss-1\"}", "{\"iss\":\"ghost\"}",
         "No credentials found for given 'iss'"},
        {"escaped", HS256, "{\"\\u0069ss\":\"iss\\u002d1\"}", NULL},
    };
    struct kit *kit = jwt_open("{}", "");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *token = sign_hmac("SHA256", SECRET, rows[i].header, rows[i].claims);
        if (rows[i].message == NULL)
            jwt_passes(kit, rows[i].reason, token, "jo");
        else
            jwt_refused(kit, rows[i].reason, token, rows[i].message);
    }
    kit_close(kit);
}

Test(jwt, key_claim_name)
{
    struct kit *kit = jwt_open("{key_claim_name: kid}", "");
    const char *header = "{\"alg\":\"HS256\",\"kid\":\"iss-1\"}";
    jwt_passes(kit, "header", sign_hmac("SHA256", SECRET, header, "{}"), "jo");
    jwt_passes(kit, "claims", jwt_token("{\"kid\":\"iss-1\"}"), "jo");
    jwt_refused(kit, "missing", jwt_token(ISS1), "No mandatory 'kid' in claims");
    kit_close(kit);
    kit = jwt_open("{key_claim_name: 'a\"b'}", "");
    jwt_refused(kit, "escaped", jwt_token(ISS1), "No mandatory 'a\\\"b' in claims");
    kit_close(kit);
}

Test(jwt, secret_is_base64)
{
    struct kit *kit = jwt_open("{secret_is_base64: true}", "");
    const char *claims = "{\"iss\":\"iss-b64\"}";
    jwt_passes(kit, "decoded", sign_hmac("SHA256", "raw-bytes", HS256, claims), "jo");
    jwt_refused(kit, "as it stands", sign_hmac("SHA256", "cmF3LWJ5dGVz", HS256, claims),
                "Invalid signature");
    kit_close(kit);
    kit = jwt_open("{secret_is_base64: true}", "  - {key: odd, secret: '+/+/_-_-'}\n"
                                               "  - {key: bad, secret: 'a b c'}\n");
    jwt_passes(kit, "both alphabets",
               sign_hmac("SHA256", "\xfb\xff\xbf\xff\xef\xfe", HS256, "{\"iss\":\"odd\"}"), "jo");
    jwt_refused(kit, "no base64", sign_hmac("SHA256", "a b c", HS256, "{\"iss\":\"bad\"}"),
                "Invalid key/secret");
    kit_close(kit);
}

static const struct times {
    const char *reason, *config, *claims;
    const char *body; /* NULL: passes */
} times[] = {
    {"not asked for", "{}", "\"exp\":1", NULL},
    {"exp ahead", "{claims_to_verify: [exp]}", "\"exp\":1767225601", NULL},
    {"exp now", "{claims_to_verify: [exp]}", "\"exp\":1767225600", "{\"exp\":\"token expired\"}"},
    {"exp with a fraction", "{claims_to_verify: [exp]}", "\"exp\":1767225600.5", NULL},
    {"exp as 1e10", "{claims_to_verify: [exp]}", "\"exp\":1e10", NULL},
    {"exp missing", "{claims_to_verify: [exp]}", "\"x\":1", "{\"exp\":\"must be a number\"}"},
    {"exp a string", "{claims_to_verify: [exp]}", "\"exp\":\"1967225600\"",
     "{\"exp\":\"must be a number\"}"},
    {"exp null", "{claims_to_verify: [exp]}", "\"exp\":null", "{\"exp\":\"must be a number\"}"},
    {"exp negative", "{claims_to_verify: [exp]}", "\"exp\":-1", "{\"exp\":\"token expired\"}"},
    {"exp huge", "{claims_to_verify: [exp]}", "\"exp\":99999999999999999999999", NULL},
    {"exp no number any more", "{claims_to_verify: [exp]}", "\"exp\":1e999",
     "{\"exp\":\"must be a number\"}"},
    {"exp longer than any number", "{claims_to_verify: [exp]}",
     "\"exp\":1000000000000000000000000000000000000000000000000000000000000000000",
     "{\"exp\":\"must be a number\"}"},
    {"nbf now", "{claims_to_verify: [nbf]}", "\"nbf\":1767225600", NULL},
    {"nbf ahead", "{claims_to_verify: [nbf]}", "\"nbf\":1767225601",
     "{\"nbf\":\"token not valid yet\"}"},
    {"nbf missing", "{claims_to_verify: [nbf]}", "\"x\":1", "{\"nbf\":\"must be a number\"}"},
    {"both", "{claims_to_verify: [exp, nbf]}", "\"exp\":1,\"nbf\":1967225600",
     "{\"exp\":\"token expired\",\"nbf\":\"token not valid yet\"}"},
    {"both missing", "{claims_to_verify: [nbf, exp]}", "\"x\":1",
     "{\"exp\":\"must be a number\",\"nbf\":\"must be a number\"}"},
    {"within the maximum", "{claims_to_verify: [exp], maximum_expiration: 300}",
     "\"exp\":1767225900", NULL},
    {"beyond the maximum", "{claims_to_verify: [exp], maximum_expiration: 300}",
     "\"exp\":1767225901", "{\"exp\":\"exceeds maximum allowed expiration\"}"},
    {"skew, exp", "{claims_to_verify: [exp, nbf], clock_skew: 30s}",
     "\"exp\":1767225571,\"nbf\":1767225630", NULL},
    {"beyond the skew", "{claims_to_verify: [exp, nbf], clock_skew: 30}",
     "\"exp\":1767225570,\"nbf\":1767225631",
     "{\"exp\":\"token expired\",\"nbf\":\"token not valid yet\"}"},
};

Test(jwt, times)
{
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        struct kit *kit = jwt_open(times[i].config, "");
        const char *claims = sign_format("{\"iss\":\"iss-1\",%s}", times[i].claims);
        kit_request *r = jwt_send(kit, jwt_token(claims));
        cr_expect_eq(kit_status(r), times[i].body == NULL ? 200 : 401, "%s: %d", times[i].reason,
                     kit_status(r));
        if (times[i].body != NULL)
            cr_expect_str_eq(kit_response_body(r), times[i].body, "%s: %s", times[i].reason,
                             kit_response_body(r));
        kit_close(kit);
    }
}

Test(jwt, the_signature_is_checked_before_the_times)
{
    struct kit *kit = jwt_open("{claims_to_verify: [exp]}", "");
    jwt_refused(kit, "forged", sign_hmac("SHA256", "x", HS256, "{\"iss\":\"iss-1\",\"exp\":1}"),
                "Invalid signature");
    kit_close(kit);
}

Test(jwt, anonymous)
{
    struct kit *kit = jwt_open("{anonymous: anon}", "");
    const char *bad[] = {NULL, "a.b.c", sign_hmac("SHA256", "x", HS256, ISS1)};
    for (size_t i = 0; i < 3; i++) {
        kit_request *r = jwt_send(kit, bad[i]);
        cr_expect_eq(kit_status(r), 200);
        cr_expect_str_eq(kit_upstream_header(r, "X-Anonymous-Consumer"), "true");
        cr_expect_str_eq(kit_consumer(r), "anon");
    }
    jwt_passes(kit, "a good one counts", jwt_token(ISS1), "jo");
    kit_close(kit);
    kit = jwt_open("{anonymous: ghost}", "");
    cr_expect_not_null(strstr(kit_log_lines(kit), "ghost"), "warned of at once");
    cr_expect_eq(jwt_status(kit, NULL), 500);
    kit_close(kit);
}

Test(jwt, preflight)
{
    struct kit *kit = jwt_open("{run_on_preflight: false}", "");
    kit_request *r = kit_request_new(kit, "OPTIONS", "/a");
    cr_expect_eq(kit_run(r), 200);
    cr_expect_eq(jwt_status(kit, NULL), 401);
    kit_close(kit);
    kit = jwt_open("{}", "");
    r = kit_request_new(kit, "OPTIONS", "/a");
    cr_expect_eq(kit_run(r), 401);
    kit_close(kit);
}

Test(jwt, realm)
{
    struct kit *kit = jwt_open("{realm: 'a \"b\"'}", "");
    kit_request *r = jwt_send(kit, NULL);
    cr_expect_str_eq(kit_response_header(r, "WWW-Authenticate"), "Bearer realm=\"a \\\"b\\\"\"");
    r = jwt_send(kit, "abc");
    cr_expect_str_eq(kit_response_header(r, "WWW-Authenticate"),
                     "Bearer realm=\"a \\\"b\\\"\", error=\"invalid_token\"");
    kit_close(kit);
}

Test(jwt, a_credential_without_key_lets_nobody_in)
{
    struct kit *kit = jwt_open("{}", "  - {key: iss-bad, algorithm: ES256}\n");
    jwt_refused(kit, "no secret: one that nobody knows",
                sign_hmac("SHA256", "", HS256, "{\"iss\":\"iss-none\"}"), "Invalid signature");
    jwt_refused(kit, "no public key, which Kong asks for at load only of the others",
                sign_hmac("SHA256", "", "{\"alg\":\"ES256\"}", "{\"iss\":\"iss-bad\"}"),
                "Invalid key/secret");
    cr_expect_not_null(strstr(kit_log_lines(kit), "iss-bad"), "the log says which");
    kit_close(kit);
}

Test(jwt, keys_are_checked_at_load)
{
    static const struct {
        const char *row, *error; /* NULL: it loads */
    } rows[] = {
        {"{key: k, algorithm: RS256}", "rsa_public_key: required field missing"},
        {"{key: k, algorithm: PS384}", "rsa_public_key: required field missing"},
        {"{key: k, algorithm: EdDSA}", "rsa_public_key: required field missing"},
        {"{key: k, algorithm: ES256}", NULL},
        {"{key: k, algorithm: HS512}", NULL},
        {"{key: k, algorithm: RS256, rsa_public_key: x}", "rsa_public_key: invalid key"},
        {"{key: k, algorithm: HS256, rsa_public_key: x}", "rsa_public_key: invalid key"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct kit *kit = jwt_try("{}", sign_format("  - %s\n", rows[i].row));
        cr_expect_eq(kit == NULL, rows[i].error != NULL, "%s", rows[i].row);
        if (rows[i].error != NULL)
            cr_expect(strstr(kit_error(), "jwt_secrets[5].") != NULL &&
                          strstr(kit_error(), rows[i].error) != NULL,
                      "%s: %s", rows[i].row, kit_error());
        kit_close(kit);
    }
}

static const char OR_YAML[] =
    "_format_version: '3.0'\n"
    "services: [{name: s, url: 'http://127.0.0.1:9001', routes: [{name: r, paths: [/a]}]}]\n"
    "plugins:\n"
    "- {name: key-auth, config: %s}\n"
    "- {name: jwt, config: %s}\n"
    "consumers:\n"
    "- {username: jo, jwt_secrets: [{key: iss-1, secret: " SECRET "}]}\n"
    "- {username: alice, keyauth_credentials: [{key: alice-key}]}\n"
    "- {username: anon}\n";

static void expect_pair(const char *config, bool key, bool token, int status, const char *consumer)
{
    char yaml[1024];
    (void)snprintf(yaml, sizeof(yaml), OR_YAML, config, config);
    struct kit *kit = kit_open(yaml);
    cr_assert_not_null(kit, "%s", kit_error());
    kit_request *r = kit_request_new(kit, "GET", "/a");
    if (key)
        kit_request_header(r, "apikey", "alice-key");
    if (token)
        kit_request_header(r, "Authorization", sign_format("Bearer %s", jwt_token(ISS1)));
    cr_expect_eq(kit_run(r), status, "%s %d %d: %d", config, key, token, kit_status(r));
    if (consumer != NULL)
        cr_expect_str_eq(kit_consumer(r), consumer);
    kit_close(kit);
}

Test(jwt, with_key_auth_both_are_needed_or_one)
{
    expect_pair("{}", false, false, 401, NULL);
    expect_pair("{}", true, false, 401, NULL);
    expect_pair("{}", false, true, 401, NULL);
    expect_pair("{}", true, true, 200, "alice"); /* the later one is who it is */
    expect_pair("{anonymous: anon}", false, false, 200, "anon");
    expect_pair("{anonymous: anon}", true, false, 200, "alice");
    expect_pair("{anonymous: anon}", false, true, 200, "jo");
    expect_pair("{anonymous: anon}", true, true, 200, "jo");
}

Test(jwt, wrong_configurations_are_refused_where_they_are_wrong)
{
    static const struct {
        const char *reason, *config, *message;
    } rows[] = {
        {"a claim that cannot be verified", "{claims_to_verify: [iat]}", "claims_to_verify"},
        {"no exp", "{maximum_expiration: 5}", "expected to contain: exp"},
        {"too long", "{claims_to_verify: [exp], maximum_expiration: 31536001}",
         "maximum_expiration"},
        {"negative", "{claims_to_verify: [exp], maximum_expiration: -1}", "maximum_expiration"},
        {"no header name", "{header_names: ['a b']}", "header_names"},
        {"cannot be sent", "{realm: \"a\\nb\"}", "realm"},
        {"no such code", "{error_codes: other}", "error_codes"},
        {"no URL", "{jwks_uri: 'ftp://x/'}", "jwks_uri"},
        {"no such consumer", "{jwks_uri: 'http://x/', jwks_consumer: ghost}", "ghost"},
        {"no set", "{jwks_consumer: jo}", "needs jwks_file or jwks_uri"},
        {"no set", "{consumer_claim: sub}", "needs jwks_file or jwks_uri"},
        {"interval", "{jwks_uri: 'http://x/', jwks_refresh_interval: 0s}", "jwks_refresh_interval"},
        {"reserved", "{claims_to_headers: {a: Content-Length}}", "Content-Length"},
        {"no header", "{claims_to_headers: {a: 'b c'}}", "b c"},
        {"no such field", "{algorithm: HS256}", "algorithm"},
        {"no such file", "{jwks_file: /no/such/file.json}", "jwks_file"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct kit *kit = jwt_try(rows[i].config, "");
        cr_expect_null(kit, "%s", rows[i].config);
        cr_expect(kit != NULL || strstr(kit_error(), rows[i].message) != NULL ||
                      strstr(rows[i].reason, "no such file") != NULL,
                  "%s: %s", rows[i].reason, kit_error());
        kit_close(kit);
    }
    struct kit *kit = kit_open("_format_version: '3.0'\n"
                               "consumers: [{username: jo, plugins: [{name: jwt}]}]\n");
    cr_expect_null(kit, "it finds out who the consumer is, so it cannot be of one");
    kit = jwt_try("{}", "  - {key: k, algorithm: none}\n");
    cr_expect_null(kit, "a credential without algorithm");
    kit = jwt_try("{}", "  - {key: iss-1, secret: hush}\n");
    cr_expect_null(kit, "a key twice");
    cr_expect_null(strstr(kit_error(), "hush"));
}

Test(jwt, secrets_and_tokens_never_reach_the_log)
{
    struct kit *kit = jwt_open("{anonymous: ghost}", "  - {key: k, algorithm: ES256}\n");
    const char *token = jwt_token(ISS1);
    (void)jwt_status(kit, token);
    (void)jwt_status(kit, sign_hmac("SHA256", "x", HS256, ISS1));
    (void)jwt_status(kit, sign_hmac("SHA256", "x", "{\"alg\":\"ES256\"}", "{\"iss\":\"k\"}"));
    cr_expect_null(strstr(kit_log_lines(kit), SECRET), "%s", kit_log_lines(kit));
    cr_expect_null(strstr(kit_log_lines(kit), "eyJ"), "%s", kit_log_lines(kit));
    kit_close(kit);
}

Test(jwt, the_readme_example_loads_without_a_warning)
{
    struct kit *kit = kit_open_markdown("plugins/jwt/README.md");
    cr_assert_not_null(kit, "%s", kit_error());
    cr_expect_str_eq(kit_warnings(), "");
    kit_close(kit);
}
