/* A token that was verified once is believed again only as long as all it rests on holds. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jwt_kit.h"

static const char *yaml_of(const char *config, const char *credential)
{
    return sign_format("_format_version: '3.0'\n"
                       "services: [{name: s, host: t, routes: [{name: r, paths: [/a]}]}]\n"
                       "plugins: [{name: jwt, config: %s}]\n"
                       "consumers:\n"
                       "- {username: jo, jwt_secrets: [%s]}\n"
                       "- {username: al}\n",
                       config, credential);
}

Test(jwt_verified, it_ends_with_exp_and_begins_with_nbf)
{
    struct kit *kit = jwt_open("{claims_to_verify: [exp, nbf]}", "");
    const char *token = jwt_token("{\"iss\":\"iss-1\",\"exp\":1767225610,\"nbf\":1767225605}");
    cr_expect_eq(jwt_status(kit, token), 401);
    kit_advance_ms(kit, 5000);
    cr_expect_eq(jwt_status(kit, token), 200);
    cr_expect_eq(jwt_status(kit, token), 200);
    kit_advance_ms(kit, 4999);
    cr_expect_eq(jwt_status(kit, token), 200);
    kit_advance_ms(kit, 1);
    kit_request *r = jwt_send(kit, token);
    cr_expect_eq(kit_status(r), 401);
    cr_expect_str_eq(kit_response_body(r), "{\"exp\":\"token expired\"}");
    kit_set_time(kit, (int64_t)NOW * 1000);
    cr_expect_eq(jwt_status(kit, token), 401, "the clock went back: not valid yet");
    kit_close(kit);
}

Test(jwt_verified, it_ends_with_its_credential)
{
    struct kit *kit = kit_open(yaml_of("{}", "{key: iss-1, secret: " SECRET ", ttl: 1767225610}"));
    cr_assert_not_null(kit, "%s", kit_error());
    cr_expect_eq(jwt_status(kit, jwt_token(ISS1)), 200);
    cr_expect_eq(jwt_status(kit, jwt_token(ISS1)), 200);
    kit_advance_ms(kit, 11000);
    kit_request *r = jwt_send(kit, jwt_token(ISS1));
    cr_expect_eq(kit_status(r), 401);
    cr_expect_str_eq(kit_response_body(r),
                     "{\"message\":\"No credentials found for given 'iss'\"}");
    kit_close(kit);
}

Test(jwt_verified, a_reload_forgets)
{
    struct kit *kit = kit_open(yaml_of("{}", "{key: iss-1, secret: " SECRET "}"));
    cr_assert_not_null(kit, "%s", kit_error());
    jwt_passes(kit, "first", jwt_token(ISS1), "jo");
    cr_assert(kit_reload(kit, yaml_of("{}", "{key: iss-1, secret: other}")), "%s", kit_error());
    jwt_refused(kit, "another secret", jwt_token(ISS1), "Invalid signature");
    cr_assert(kit_reload(kit, yaml_of("{}", "{key: iss-1, secret: " SECRET ", algorithm: HS512}")),
              "%s", kit_error());
    jwt_refused(kit, "another algorithm", jwt_token(ISS1), "Invalid algorithm");
    cr_assert(kit_reload(kit, yaml_of("{}", "")), "%s", kit_error());
    jwt_refused(kit, "gone", jwt_token(ISS1), "No credentials found for given 'iss'");
    kit_close(kit);
}

Test(jwt_verified, a_remembered_token_says_the_same_as_a_fresh_one)
{
    struct kit *kit = jwt_open("{claims_to_headers: {sub: X-Sub, none: X-None}}", "");
    const char *token = jwt_token("{\"iss\":\"iss-1\",\"sub\":\"u1\"}");
    for (int i = 0; i < 3; i++) {
        kit_request *r = kit_request_new(kit, "GET", "/a");
        kit_request_header(r, "Authorization", sign_format("Bearer %s", token));
        kit_request_header(r, "X-Sub", "root");
        kit_request_header(r, "X-None", "root");
        cr_expect_eq(kit_run(r), 200);
        cr_expect_str_eq(kit_upstream_header(r, "X-Sub"), "u1");
        cr_expect_eq(kit_upstream_header_count(r, "X-Sub"), 1);
        cr_expect_null(kit_upstream_header(r, "X-None"));
        cr_expect_str_eq(kit_upstream_header(r, "X-Credential-Identifier"), "iss-1");
        cr_expect_str_eq(kit_consumer(r), "jo");
        cr_expect_str_eq(kit_shared(r, "jwt_claims"), "{\"iss\":\"iss-1\",\"sub\":\"u1\"}");
    }
    kit_close(kit);
}

/* More tokens than are remembered, each twice, then the first ones again. */
Test(jwt_verified, more_tokens_than_it_holds)
{
    struct kit *kit = jwt_open("{claims_to_headers: {n: X-N}}", "");
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 4500; i += round == 0 ? 1 : 97) {
            const char *token = jwt_token(sign_format("{\"iss\":\"iss-1\",\"n\":%d}", i));
            kit_request *r = jwt_send(kit, token);
            cr_expect_eq(kit_status(r), 200);
            cr_expect_str_eq(kit_upstream_header(r, "X-N"), sign_format("%d", i));
            kit_request_free(r);
        }
    kit_close(kit);
}

/* And more credentials than keys are kept. */
Test(jwt_verified, more_credentials_than_keys_are_kept)
{
    char *yaml = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&yaml, &size);
    cr_assert_not_null(out);
    (void)fputs("_format_version: '3.0'\n"
                "services: [{name: s, host: t, routes: [{name: r, paths: [/a]}]}]\n"
                "plugins: [{name: jwt}]\n"
                "consumers:\n- username: jo\n  jwt_secrets:\n",
                out);
    for (int i = 0; i < 1500; i++)
        (void)fprintf(out, "  - {key: k%d, secret: s%d}\n", i, i);
    (void)fclose(out);
    struct kit *kit = kit_open(yaml);
    cr_assert_not_null(kit, "%s", kit_error());
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 1500; i += 1 + round * 6) {
            const char *claims = sign_format("{\"iss\":\"k%d\",\"r\":%d}", i, round);
            cr_expect_eq(jwt_status(kit, sign_hmac("SHA256", sign_format("s%d", i), HS256, claims)),
                         200);
            cr_expect_eq(
                jwt_status(kit, sign_hmac("SHA256", sign_format("s%d", i + 1), HS256, claims)),
                401);
        }
    kit_close(kit);
    free(yaml);
}
