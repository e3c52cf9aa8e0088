/* What weir adds to Kong's checks: issuers, audiences, roles, scopes, claims as headers, and the
 * other set of error bodies. All of it is off by default. */
#include <criterion/criterion.h>
#include <string.h>

#include "jwt_kit.h"

static const struct row {
    const char *reason, *config, *claims;
    int status;
    const char *body; /* NULL: passes */
} rows[] = {
    {"iss allowed", "{allowed_iss: [x, iss-1]}", "", 200, NULL},
    {"iss not allowed", "{allowed_iss: [x]}", "", 401, "{\"message\":\"Invalid issuer\"}"},
    {"aud, a text", "{allowed_aud: [a, b]}", ",\"aud\":\"b\"", 200, NULL},
    {"aud, an array", "{allowed_aud: [a, b]}", ",\"aud\":[\"x\",\"a\"]", 200, NULL},
    {"aud, another", "{allowed_aud: [a]}", ",\"aud\":\"x\"", 401,
     "{\"message\":\"Invalid audience\"}"},
    {"aud, a part", "{allowed_aud: [a b]}", ",\"aud\":\"a\"", 401,
     "{\"message\":\"Invalid audience\"}"},
    {"aud, words are not taken apart", "{allowed_aud: [a]}", ",\"aud\":\"a b\"", 401,
     "{\"message\":\"Invalid audience\"}"},
    {"aud missing", "{allowed_aud: [a]}", "", 401, "{\"message\":\"Invalid audience\"}"},
    {"aud empty", "{allowed_aud: [a]}", ",\"aud\":[]", 401, "{\"message\":\"Invalid audience\"}"},
    {"aud of other kinds", "{allowed_aud: ['1']}", ",\"aud\":[1,null,{\"a\":1},[\"1\"]]", 401,
     "{\"message\":\"Invalid audience\"}"},
    {"one of the roles", "{required_roles: [admin, ops]}", ",\"roles\":[\"x\",\"ops\"]", 200, NULL},
    {"a role as text", "{required_roles: [admin]}", ",\"roles\":\"admin\"", 200, NULL},
    {"no role", "{required_roles: [admin, ops]}", ",\"roles\":[\"x\"]", 403,
     "{\"message\":\"Required roles: admin, ops\"}"},
    {"no roles at all", "{required_roles: [admin]}", "", 403,
     "{\"message\":\"Required roles: admin\"}"},
    {"roles have case", "{required_roles: [admin]}", ",\"roles\":[\"Admin\"]", 403,
     "{\"message\":\"Required roles: admin\"}"},
    {"nested roles", "{required_roles: [admin], roles_claim: realm_access.roles}",
     ",\"realm_access\":{\"roles\":[\"admin\"]}", 200, NULL},
    {"a name with dots", "{required_roles: [admin], roles_claim: 'https://x.test/roles'}",
     ",\"https://x.test/roles\":[\"admin\"]", 200, NULL},
    {"a way that ends early", "{required_roles: [admin], roles_claim: a.b.c}", ",\"a\":{\"b\":1}",
     403, "{\"message\":\"Required roles: admin\"}"},
    {"a message that must be escaped", "{required_roles: ['a\"b']}", "", 403,
     "{\"message\":\"Required roles: a\\\"b\"}"},
    {"all scopes, as words", "{required_scopes: [read, write]}", ",\"scope\":\"write x  read\"",
     200, NULL},
    {"all scopes, as an array", "{required_scopes: [read, write]}",
     ",\"scopes\":[\"read\",\"write\"]", 200, NULL},
    {"one is missing", "{required_scopes: [read, write]}", ",\"scope\":\"read\"", 403,
     "{\"message\":\"Required scopes: read, write\"}"},
    {"a scope's part", "{required_scopes: [read]}", ",\"scope\":\"reader\"", 403,
     "{\"message\":\"Required scopes: read\"}"},
    {"another claim", "{required_scopes: [read], scopes_claim: scp}", ",\"scp\":\"read\"", 200,
     NULL},
    {"and no other one", "{required_scopes: [read], scopes_claim: scp}", ",\"scope\":\"read\"", 403,
     "{\"message\":\"Required scopes: read\"}"},
    {"nobody has no role", "{required_roles: [admin], anonymous: anon}", ",\"roles\":[]", 403,
     "{\"message\":\"Required roles: admin\"}"},
};

Test(jwt_claims, issuer_audience_roles_scopes)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct kit *kit = jwt_open(rows[i].config, "");
        for (int again = 0; again < 2; again++) {
            kit_request *r =
                jwt_send(kit, jwt_token(sign_format("{\"iss\":\"iss-1\"%s}", rows[i].claims)));
            cr_expect_eq(kit_status(r), rows[i].status, "%s: %d", rows[i].reason, kit_status(r));
            if (rows[i].body == NULL)
                continue;
            cr_expect_str_eq(kit_response_body(r), rows[i].body, "%s", rows[i].reason);
            cr_expect_str_eq(kit_response_header(r, "WWW-Authenticate"),
                             rows[i].status == 403 ? "Bearer error=\"insufficient_scope\"" : BEARER,
                             "%s", rows[i].reason);
        }
        kit_close(kit);
    }
}

Test(jwt_claims, whoever_has_no_token_has_no_rights)
{
    struct kit *kit = jwt_open("{required_roles: [admin], anonymous: anon}", "");
    cr_expect_eq(jwt_status(kit, NULL), 401);
    cr_expect_eq(jwt_status(kit, "a.b.c"), 401);
    cr_expect_eq(jwt_status(kit, jwt_token("{\"iss\":\"iss-1\",\"roles\":[\"admin\"]}")), 200);
    kit_close(kit);
}

static const struct told {
    const char *reason, *claim, *claims, *value; /* NULL: no such header */
} tellings[] = {
    {"text", "sub", "\"sub\":\"u1\"", "u1"},
    {"empty", "sub", "\"sub\":\"\"", ""},
    {"number, every digit", "n", "\"n\":12345678901234567890.50", "12345678901234567890.50"},
    {"true", "b", "\"b\":true", "true"},
    {"null", "b", "\"b\":null", NULL},
    {"missing", "b", "\"c\":1", NULL},
    {"array", "r", "\"r\":[\"a\",\"b c\",3,true]", "a,b c,3,true"},
    {"an element that could pass for two", "r", "\"r\":[\"a\",\"b,admin\",\"c\"]", "a,c"},
    {"elements that are no values", "r", "\"r\":[null,[\"a\"],{\"b\":1},\"c\"]", "c"},
    {"object", "o", "\"o\":{\"a\": 1}", "{\"a\": 1}"},
    {"nested", "a.b", "\"a\":{\"b\":\"x\"}", "x"},
    {"dots in a name go first", "a.b", "\"a\":{\"b\":\"x\"},\"a.b\":\"y\"", "y"},
    {"a line end", "sub", "\"sub\":\"a\\r\\nX-Admin: 1\"", NULL},
    {"a NUL", "sub", "\"sub\":\"a\\u0000b\"", NULL},
    {"other alphabets", "sub", "\"sub\":\"\xc3\xa9\"", "\xc3\xa9"},
};

Test(jwt_claims, claims_to_headers)
{
    for (size_t i = 0; i < sizeof(tellings) / sizeof(tellings[0]); i++) {
        struct kit *kit =
            jwt_open(sign_format("{claims_to_headers: {'%s': X-Told}}", tellings[i].claim), "");
        for (int again = 0; again < 2; again++) {
            kit_request *r = kit_request_new(kit, "GET", "/a");
            kit_request_header(
                r, "Authorization",
                sign_format("Bearer %s",
                            jwt_token(sign_format("{\"iss\":\"iss-1\",%s}", tellings[i].claims))));
            kit_request_header(r, "x-told", "root");
            cr_expect_eq(kit_run(r), 200, "%s", tellings[i].reason);
            const char *told = kit_upstream_header(r, "X-Told");
            cr_expect(told == NULL || tellings[i].value == NULL
                          ? told == tellings[i].value
                          : strcmp(told, tellings[i].value) == 0,
                      "%s: %s", tellings[i].reason, told);
        }
        kit_close(kit);
    }
}

Test(jwt_claims, headers_of_claims_are_never_the_clients)
{
    static const char *const configs[] = {
        "{claims_to_headers: {sub: X-Sub}, anonymous: anon}",
        "{claims_to_headers: {sub: X-Sub}, run_on_preflight: false}",
    };
    for (size_t i = 0; i < 2; i++) {
        struct kit *kit = jwt_open(configs[i], "");
        kit_request *r = kit_request_new(kit, "OPTIONS", "/a");
        kit_request_header(r, "X-Sub", "root");
        kit_request_header(r, "X-Sub", "toor");
        cr_expect_eq(kit_run(r), 200);
        cr_expect_null(kit_upstream_header(r, "X-Sub"));
        kit_close(kit);
    }
}

#define CODE(error, message) "{\"error\":\"" error "\",\"message\":\"" message "\"}"
#define CODE_MISSING CODE("missing_token", "Authorization header with Bearer token is required.")
#define CODE_EXPIRED CODE("token_expired", "The token has expired. Please obtain a new token.")
#define CODE_INVALID CODE("invalid_token", "The token is malformed or invalid.")
#define CODE_FAILED CODE("authentication_failed", "Token validation failed.")
#define CODE_UNKNOWN CODE("unauthenticated", "Authentication is required.")

Test(jwt_claims, error_codes_of_the_seed)
{
    const char *config = "{error_codes: seed, claims_to_verify: [exp, nbf], allowed_aud: [a],"
                         " required_roles: [admin, ops]}";
    const struct {
        const char *reason, *token;
        int status;
        const char *body;
    } codes[] = {
        {"no token", NULL, 401, CODE_MISSING},
        {"malformed", "abc", 401, CODE_INVALID},
        {"forged", sign_hmac("SHA256", "x", HS256, ISS1), 401, CODE_INVALID},
        {"none", sign_hmac("SHA256", "x", "{\"alg\":\"none\"}", ISS1), 401, CODE_INVALID},
        {"unknown issuer", jwt_token("{\"iss\":\"ghost\"}"), 401, CODE_FAILED},
        {"expired", jwt_token("{\"iss\":\"iss-1\",\"exp\":1,\"nbf\":1}"), 401, CODE_EXPIRED},
        {"not yet", jwt_token("{\"iss\":\"iss-1\",\"exp\":2e9,\"nbf\":2e9}"), 401, CODE_FAILED},
        {"no exp", jwt_token("{\"iss\":\"iss-1\",\"nbf\":1}"), 401, CODE_INVALID},
        {"audience", jwt_token("{\"iss\":\"iss-1\",\"exp\":2e9,\"nbf\":1,\"aud\":\"b\"}"), 401,
         CODE_INVALID},
        {"roles", jwt_token("{\"iss\":\"iss-1\",\"exp\":2e9,\"nbf\":1,\"aud\":\"a\"}"), 403,
         CODE("forbidden", "Required roles: admin, ops")},
    };
    struct kit *kit = jwt_open(config, "");
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        kit_request *r = jwt_send(kit, codes[i].token);
        cr_expect_eq(kit_status(r), codes[i].status, "%s", codes[i].reason);
        cr_expect_str_eq(kit_response_body(r), codes[i].body, "%s: %s", codes[i].reason,
                         kit_response_body(r));
    }
    kit_close(kit);
    kit = jwt_open("{error_codes: seed, required_roles: [a], anonymous: anon}", "");
    kit_request *r = jwt_send(kit, NULL);
    cr_expect_eq(kit_status(r), 401);
    cr_expect_str_eq(kit_response_body(r), CODE_UNKNOWN);
    kit_close(kit);
}
