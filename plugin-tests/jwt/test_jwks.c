/* Keys from a JSON Web Key Set: a file, and a URL that answers, is silent, fails, changes. */
#include <criterion/criterion.h>
#include <openssl/ec.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "jwt_kit.h"

#define URL "http://keys.test/jwks"
#define BY_URL "{jwks_uri: '" URL "', jwks_consumer: jo}"
#define CLAIMS "{\"sub\":\"u1\"}"

static const char *header_of(const char *algorithm, const char *kid)
{
    return kid == NULL ? sign_format("{\"alg\":\"%s\"}", algorithm)
                       : sign_format("{\"alg\":\"%s\",\"kid\":\"%s\"}", algorithm, kid);
}

static const char *named(EVP_PKEY *key, const char *kid)
{
    return sign_jwk(key, sign_format(",\"kid\":\"%s\"", kid));
}

static const char *es256(EVP_PKEY *key, const char *kid, const char *claims)
{
    return sign_ec(key, "SHA256", 32, false, header_of("ES256", kid), claims);
}

static const char *set_of(const char *a, const char *b)
{
    return sign_format("{\"keys\":[%s%s%s]}", a, *b != '\0' ? "," : "", b);
}

/* With a set in a file; `config` is what else is configured. */
static struct kit *open_with_file(const char *set, const char *config)
{
    char path[] = "/tmp/jwt-test-XXXXXX";
    int file = mkstemp(path);
    cr_assert(file >= 0);
    cr_assert_eq(write(file, set, strlen(set)), (ssize_t)strlen(set));
    cr_assert_eq(close(file), 0);
    struct kit *kit = jwt_try(sign_format("{jwks_file: %s%s}", path, config), "");
    (void)unlink(path);
    return kit;
}

Test(jwt_jwks, the_key_or_its_kind_decides_the_algorithm)
{
    EVP_PKEY *rsa = EVP_RSA_gen(2048), *ec = EVP_EC_gen("P-256"),
             *ed = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    const char *set = sign_format(
        "{\"keys\":[%s,%s,%s,%s,{\"kty\":\"oct\",\"kid\":\"o\",\"alg\":\"HS256\",\"k\":\"%s\"}]}",
        named(rsa, "r"), sign_jwk(rsa, ",\"kid\":\"r256\",\"alg\":\"RS256\",\"use\":\"sig\""),
        named(ec, "e"), named(ed, "d"), sign_encode("0123456789abcdef", 16));
    struct kit *kit = open_with_file(set, ", jwks_consumer: jo");
    cr_assert_not_null(kit, "%s", kit_error());
    jwt_passes(kit, "RS256", sign_rsa(rsa, "SHA256", -1, header_of("RS256", "r"), CLAIMS), "jo");
    jwt_passes(kit, "PS512", sign_rsa(rsa, "SHA512", 64, header_of("PS512", "r"), CLAIMS), "jo");
    jwt_passes(kit, "named", sign_rsa(rsa, "SHA256", -1, header_of("RS256", "r256"), CLAIMS), "jo");
    jwt_refused(kit, "another than the key names",
                sign_rsa(rsa, "SHA512", -1, header_of("RS512", "r256"), CLAIMS),
                "Invalid algorithm");
    jwt_passes(kit, "ES256", es256(ec, "e", CLAIMS), "jo");
    jwt_passes(kit, "the only one of its kind", es256(ec, NULL, CLAIMS), "jo");
    jwt_refused(kit, "not the only one",
                sign_rsa(rsa, "SHA256", -1, header_of("RS256", NULL), CLAIMS),
                "No mandatory 'iss' in claims");
    jwt_passes(kit, "EdDSA", sign_edwards(ed, header_of("EdDSA", "d"), CLAIMS), "jo");
    jwt_passes(kit, "HS256",
               sign_hmac("SHA256", "0123456789abcdef", header_of("HS256", "o"), CLAIMS), "jo");
    jwt_refused(kit, "HS256 with a public key",
                sign_hmac("SHA256", sign_pem(rsa, 0), header_of("HS256", "r"), CLAIMS),
                "Invalid algorithm");
    jwt_refused(kit, "of another key", es256(ec, "d", CLAIMS), "Invalid algorithm");
    jwt_passes(kit, "credentials go on", jwt_token(ISS1), "jo");
    kit_close(kit);
    EVP_PKEY_free(rsa);
    EVP_PKEY_free(ec);
    EVP_PKEY_free(ed);
}

Test(jwt_jwks, a_kid_is_only_looked_up)
{
    EVP_PKEY *ec = EVP_EC_gen("P-256");
    struct kit *kit = open_with_file(set_of(named(ec, "e"), ""), ", jwks_consumer: jo");
    cr_assert_not_null(kit, "%s", kit_error());
    static const char *const kids[] = {"../e", "e\\u0000", "E", "e ", "' OR 1=1", "/dev/null", ""};
    for (size_t i = 0; i < sizeof(kids) / sizeof(kids[0]); i++)
        jwt_refused(kit, kids[i], es256(ec, kids[i], CLAIMS), "No mandatory 'iss' in claims");
    static const char *const kinds[] = {"[\"e\"]", "null", "1", "{\"e\":1}"};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        jwt_refused(kit, kinds[i],
                    sign_ec(ec, "SHA256", 32, false,
                            sign_format("{\"alg\":\"ES256\",\"kid\":%s}", kinds[i]), CLAIMS),
                    "No mandatory 'iss' in claims");
    kit_close(kit);
    EVP_PKEY_free(ec);
}

Test(jwt_jwks, sets_without_a_usable_key_are_refused)
{
    EVP_PKEY *small = EVP_RSA_gen(1024), *ec = EVP_EC_gen("P-256");
    const char *sets[] = {
        "",
        "[]",
        "{}",
        "{\"keys\":{}}",
        "{\"keys\":[]}",
        "{\"keys\":[1,null,\"x\"]}",
        set_of(named(small, "a"), ""),
        set_of(sign_jwk(ec, ",\"use\":\"enc\""), ""),
        set_of(sign_jwk(ec, ",\"key_ops\":[\"sign\"]"), ""),
        set_of(sign_jwk(ec, ",\"alg\":\"none\""), ""),
        set_of(sign_jwk(ec, ",\"alg\":\"HS256\""), ""),
        set_of(sign_jwk(ec, ",\"alg\":\"ES384\""), ""),
        set_of(sign_jwk(ec, ",\"kid\":5"), ""),
        "{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"}]}",
        "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AA\",\"y\":\"AA\"}]}",
        "{\"keys\":[{\"kty\":\"RSA\",\"n\":\"\",\"e\":\"AQAB\"}]}",
    };
    for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++)
        cr_expect_null(open_with_file(sets[i], ""), "%s", sets[i]);
    EVP_PKEY_free(small);
    EVP_PKEY_free(ec);
}

Test(jwt_jwks, whose_token_it_is)
{
    EVP_PKEY *ec = EVP_EC_gen("P-256");
    const char *set = set_of(named(ec, "e"), "");
    const char *jo = es256(ec, "e", "{\"who\":{\"name\":\"jo\"},\"iss\":\"idp\"}");
    const char *stranger = es256(ec, "e", "{\"who\":{\"name\":\"x\\\"y\"}}");
    struct kit *kit = open_with_file(set, ", consumer_claim: who.name");
    jwt_passes(kit, "by claim", jo, "jo");
    kit_request *r = jwt_send(kit, stranger);
    cr_expect_eq(kit_status(r), 401);
    cr_expect_str_eq(kit_response_body(r),
                     "{\"message\":\"Could not find consumer for 'who.name=x\\\"y'\"}");
    cr_expect_null(kit_response_header(r, "WWW-Authenticate"));
    kit_close(kit);
    kit = open_with_file(set, ", consumer_claim: who.name, jwks_consumer: anon");
    jwt_passes(kit, "by claim", jo, "jo");
    jwt_passes(kit, "else the named one", stranger, "anon");
    kit_close(kit);
    kit = open_with_file(set, "");
    for (int again = 0; again < 2; again++) {
        r = jwt_send(kit, jo);
        cr_expect_eq(kit_status(r), 200);
        cr_expect_null(kit_consumer(r), "authenticated, as nobody in particular");
        cr_expect_str_eq(kit_upstream_header(r, "X-Credential-Identifier"), "idp");
    }
    kit_close(kit);
    EVP_PKEY_free(ec);
}

Test(jwt_jwks, the_first_fetch_is_waited_for)
{
    EVP_PKEY *ec = EVP_EC_gen("P-256");
    struct kit *kit = jwt_open(BY_URL, "");
    kit_fetch_answer(kit, URL, 200, "application/json", set_of(named(ec, "e"), ""));
    kit_fetch_hold(kit);
    kit_request *r = jwt_send(kit, es256(ec, "e", CLAIMS));
    cr_expect(kit_is_waiting(r));
    cr_expect_eq(jwt_status(kit, jwt_token(ISS1)), 200, "credentials need not wait");
    cr_expect_eq(jwt_status(kit, "a.b.c"), 401, "neither do wrong tokens");
    kit_fetch_release(kit);
    cr_expect_eq(kit_finish(r), 200);
    cr_expect_str_eq(kit_consumer(r), "jo");
    cr_expect_eq(kit_fetch_count(kit, URL), 1);
    cr_expect_str_eq(kit_fetch_method(kit, URL), "GET");
    kit_close(kit);
    EVP_PKEY_free(ec);
}

Test(jwt_jwks, a_silent_server_costs_its_deadline_and_no_more)
{
    EVP_PKEY *ec = EVP_EC_gen("P-256");
    struct kit *kit = jwt_open("{jwks_uri: '" URL "', jwks_timeout: 2s, anonymous: anon}", "");
    kit_fetch_hold(kit);
    kit_request *r = jwt_send(kit, es256(ec, "e", CLAIMS));
    kit_advance_ms(kit, 1999);
    cr_expect(kit_is_waiting(r));
    kit_advance_ms(kit, 1);
    cr_expect_eq(kit_finish(r), 503, "an outage makes nobody anonymous: %d", kit_status(r));
    cr_expect_str_eq(kit_response_body(r),
                     "{\"message\":\"The keys to verify tokens are not available\"}");
    cr_expect_eq(jwt_status(kit, NULL), 200, "without a token: anonymous");
    kit_close(kit);
    EVP_PKEY_free(ec);
}

Test(jwt_jwks, an_unknown_kid_asks_again_once_per_interval)
{
    EVP_PKEY *a = EVP_EC_gen("P-256"), *b = EVP_EC_gen("P-256");
    struct kit *kit =
        jwt_open("{jwks_uri: '" URL "', jwks_consumer: jo, jwks_refresh_interval: 60s}", "");
    kit_fetch_answer(kit, URL, 200, NULL, set_of(named(a, "a"), ""));
    kit_fetch_answer(kit, URL, 200, NULL, set_of(named(a, "a"), named(b, "b")));
    jwt_passes(kit, "a", es256(a, "a", CLAIMS), "jo");
    for (int i = 0; i < 3; i++)
        jwt_refused(kit, "b, too early", es256(b, "b", CLAIMS), "No mandatory 'iss' in claims");
    cr_expect_eq(kit_fetch_count(kit, URL), 1);
    kit_advance_ms(kit, 60000);
    jwt_passes(kit, "b", es256(b, "b", CLAIMS), "jo");
    cr_expect_eq(kit_fetch_count(kit, URL), 2);
    for (int i = 0; i < 3; i++)
        jwt_refused(kit, "c", es256(b, "c", CLAIMS), "No mandatory 'iss' in claims");
    cr_expect_eq(kit_fetch_count(kit, URL), 2, "no flood of unknown names reaches the server");
    kit_close(kit);
    EVP_PKEY_free(a);
    EVP_PKEY_free(b);
}

Test(jwt_jwks, a_key_that_is_withdrawn_ends_its_tokens_remembered_or_not)
{
    EVP_PKEY *a = EVP_EC_gen("P-256"), *b = EVP_EC_gen("P-256");
    struct kit *kit =
        jwt_open("{jwks_uri: '" URL "', jwks_consumer: jo, jwks_refresh_interval: 60s}", "");
    kit_fetch_answer(kit, URL, 200, NULL, set_of(named(a, "a"), ""));
    kit_fetch_answer(kit, URL, 200, NULL, set_of(named(b, "a"), ""));
    const char *token = es256(a, "a", CLAIMS);
    jwt_passes(kit, "at first", token, "jo");
    jwt_passes(kit, "remembered", token, "jo");
    kit_advance_ms(kit, 60000);
    (void)jwt_status(kit, token); /* asks anew in the background */
    kit_turn(kit);
    jwt_refused(kit, "another key has its name", token, "Invalid signature");
    jwt_passes(kit, "the new one", es256(b, "a", CLAIMS), "jo");
    kit_close(kit);
    EVP_PKEY_free(a);
    EVP_PKEY_free(b);
}

Test(jwt_jwks, what_is_known_is_kept_when_the_server_fails)
{
    static const struct {
        int status;
        const char *body;
    } failures[] = {
        {0, "connection refused"}, {500, "oops"}, {200, "not JSON"}, {200, "{\"keys\":[]}"},
        {302, "{\"keys\":[]}"},    {200, NULL},   {204, NULL}};
    EVP_PKEY *a = EVP_EC_gen("P-256");
    struct kit *kit =
        jwt_open("{jwks_uri: '" URL "', jwks_consumer: jo, jwks_refresh_interval: 1s}", "");
    kit_fetch_answer(kit, URL, 200, NULL, set_of(named(a, "a"), ""));
    jwt_passes(kit, "first", es256(a, "a", CLAIMS), "jo");
    for (size_t i = 0; i < sizeof(failures) / sizeof(failures[0]); i++) {
        kit_fetch_answer(kit, URL, failures[i].status, NULL, failures[i].body);
        kit_advance_ms(kit, 1000);
        jwt_refused(kit, "unknown", es256(a, "b", CLAIMS), "No mandatory 'iss' in claims");
        cr_expect_eq(kit_fetch_count(kit, URL), i + 2);
        jwt_passes(kit, "kept", es256(a, "a", sign_format("{\"n\":%zu}", i)), "jo");
    }
    cr_expect_not_null(strstr(kit_log_lines(kit), URL), "%s", kit_log_lines(kit));
    kit_close(kit);
    EVP_PKEY_free(a);
}

Test(jwt_jwks, no_secret_is_taken_from_a_url)
{
    struct kit *kit = jwt_open(BY_URL, "");
    kit_fetch_answer(
        kit, URL, 200, NULL,
        "{\"keys\":[{\"kty\":\"oct\",\"kid\":\"o\",\"alg\":\"HS256\",\"k\":\"AAAA\"}]}");
    cr_expect_eq(
        jwt_status(kit, sign_hmac("SHA256", "\x00\x00\x00", header_of("HS256", "o"), CLAIMS)), 503);
    kit_close(kit);
}

Test(jwt_jwks, a_server_that_was_down_at_first_is_asked_again_soon)
{
    EVP_PKEY *a = EVP_EC_gen("P-256");
    struct kit *kit = jwt_open(BY_URL, "");
    kit_fetch_answer(kit, URL, 503, NULL, "");
    kit_fetch_answer(kit, URL, 200, NULL, set_of(named(a, "a"), ""));
    cr_expect_eq(jwt_status(kit, es256(a, "a", CLAIMS)), 503);
    cr_expect_eq(jwt_status(kit, es256(a, "a", CLAIMS)), 503);
    cr_expect_eq(kit_fetch_count(kit, URL), 1);
    kit_advance_ms(kit, 5000);
    jwt_passes(kit, "it is up", es256(a, "a", CLAIMS), "jo");
    kit_close(kit);
    EVP_PKEY_free(a);
}

Test(jwt_jwks, a_client_that_leaves_while_it_waits_is_no_trouble)
{
    EVP_PKEY *a = EVP_EC_gen("P-256");
    struct kit *kit = jwt_open(BY_URL, "");
    kit_fetch_answer(kit, URL, 200, NULL, set_of(named(a, "a"), ""));
    kit_fetch_hold(kit);
    kit_request *r = jwt_send(kit, es256(a, "a", CLAIMS));
    cr_expect(kit_is_waiting(r));
    kit_abort(r);
    kit_fetch_release(kit);
    jwt_passes(kit, "others go on", es256(a, "a", CLAIMS), "jo");
    kit_close(kit);
    EVP_PKEY_free(a);
}
