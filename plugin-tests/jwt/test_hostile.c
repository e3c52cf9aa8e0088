/* Tokens made to be misread. None of them may pass, and each gets its answer without a look at a
 * signature where the text itself is wrong. */
#include <criterion/criterion.h>
#include <openssl/ec.h>
#include <stdlib.h>
#include <string.h>

#include "jwt_kit.h"

#define BAD_JSON "Bad token; invalid JSON"
#define BAD_ALG "Bad token; invalid alg"
#define BAD_SIGNATURE "Bad token; invalid signature"
#define FORGED "Invalid signature"

static const char *text64(const char *text)
{
    return sign_encode(text, strlen(text));
}

Test(jwt_hostile, the_algorithm_none_in_any_case)
{
    static const char *const headers[] = {"{\"alg\":\"none\"}",
                                          "{\"alg\":\"None\"}",
                                          "{\"alg\":\"NONE\"}",
                                          "{\"alg\":\"nOnE\"}",
                                          "{\"alg\":\"\"}",
                                          "{\"alg\":\"none \"}",
                                          "{\"alg\":null}",
                                          "{\"alg\":0}",
                                          "{\"alg\":[\"HS256\"]}",
                                          "{\"alg\":\"hs256\"}",
                                          "{\"alg\":\"HS256 \"}",
                                          "{\"Alg\":\"HS256\"}",
                                          "{}",
                                          "{\"alg\":\"HS1\"}",
                                          "{\"alg\":\"RSA1_5\"}",
                                          "{\"alg\":\"dir\"}",
                                          "{\"alg\":\"HS256\\u0000\"}",
                                          "\"HS256\"",
                                          "null",
                                          "5",
                                          "[\"alg\",\"HS256\"]"};
    struct kit *kit = jwt_open("{}", "");
    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        jwt_refused(kit, headers[i], sign_join(sign_join(text64(headers[i]), text64(ISS1)), ""),
                    BAD_ALG);
        jwt_refused(kit, headers[i], sign_hmac("SHA256", SECRET, headers[i], ISS1), BAD_ALG);
    }
    kit_close(kit);
}

/* The parts of the good token, each spelt in ways that a lenient decoder takes. */
Test(jwt_hostile, base64_has_one_spelling)
{
    struct kit *kit = jwt_open("{}", "");
    const char *good = jwt_token("{\"iss\":\"iss-1\",\"a\":\"?~?~\"}");
    char *header = strdup(good), *claims = strchr(header, '.');
    *claims++ = '\0';
    char *signature = strchr(claims, '.');
    *signature++ = '\0';
    jwt_passes(kit, "as it is", good, "jo");
    static const char *const tails[] = {"=", "==",       " ", "%3D", "\t",
                                        "A", "\xc3\xa9", "+", "/",   "~"};
    for (size_t i = 0; i < sizeof(tails) / sizeof(tails[0]); i++) {
        jwt_refused(kit, tails[i], sign_format("%s%s.%s.%s", header, tails[i], claims, signature),
                    BAD_JSON);
        jwt_refused(kit, tails[i], sign_format("%s.%s%s.%s", header, claims, tails[i], signature),
                    BAD_JSON);
        if (strcmp(tails[i], " ") != 0 && strcmp(tails[i], "\t") != 0 && strcmp(tails[i], "A") != 0)
            jwt_refused(kit, tails[i],
                        sign_format("%s.%s.%s%s", header, claims, signature, tails[i]),
                        BAD_SIGNATURE);
    }
    /* 32 bytes leave two bits of the last letter unused: three other letters say the same bytes. */
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    size_t last = strlen(signature) - 1;
    size_t value = (size_t)(strchr(alphabet, signature[last]) - alphabet);
    for (size_t other = value + 1; other < value + 4; other++) {
        signature[last] = alphabet[other];
        jwt_refused(kit, "unused bits", sign_format("%s.%s.%s", header, claims, signature),
                    BAD_SIGNATURE);
    }
    free(header);
    kit_close(kit);
}

Test(jwt_hostile, shapes)
{
    const char *good = jwt_token(ISS1);
    const char *dot = strrchr(good, '.');
    const struct {
        const char *reason, *token, *message;
    } rows[] = {
        {"one part", "abc", BAD_JSON},
        {"two parts", "a.b", BAD_JSON},
        {"dots alone", "..", BAD_JSON},
        {"four dots alone", "....", BAD_JSON},
        {"no signature part", sign_format("%.*s", (int)(dot - good), good), BAD_JSON},
        {"an empty signature", sign_format("%.*s.", (int)(dot - good), good), FORGED},
        {"a fourth part", sign_format("%s.x", good), BAD_SIGNATURE},
        {"a third dot", sign_format("%s.", good), BAD_SIGNATURE},
        {"five parts, as encrypted ones have", sign_format("%s.x.y", good), BAD_SIGNATURE},
        {"truncated", sign_format("%.*s", (int)strlen(good) - 1, good), BAD_SIGNATURE},
        {"truncated by a byte", sign_format("%.*s", (int)strlen(good) - 3, good), FORGED},
        {"a byte more", sign_format("%sAA", good), BAD_SIGNATURE},
        {"claims gone", sign_format("%s..x", text64(HS256)), BAD_JSON},
        {"header gone", sign_format(".%s", strchr(good, '.') + 1), BAD_JSON},
        {"claims are an array", sign_hmac("SHA256", SECRET, HS256, "[\"iss\",\"iss-1\"]"),
         "Bad token; invalid claims"},
        {"claims are text", sign_hmac("SHA256", SECRET, HS256, "\"iss-1\""),
         "Bad token; invalid claims"},
        {"claims are null", sign_hmac("SHA256", SECRET, HS256, "null"),
         "Bad token; invalid claims"},
        {"claims, then more", jwt_token(ISS1 "{}"), BAD_JSON},
        {"a comma too much", jwt_token("{\"iss\":\"iss-1\",}"), BAD_JSON},
        {"single quotes", jwt_token("{'iss':'iss-1'}"), BAD_JSON},
        {"a comment", jwt_token("{\"iss\":\"iss-1\"/**/}"), BAD_JSON},
        {"NaN", jwt_token("{\"iss\":\"iss-1\",\"exp\":NaN}"), BAD_JSON},
        {"Infinity", jwt_token("{\"iss\":\"iss-1\",\"exp\":Infinity}"), BAD_JSON},
        {"hex", jwt_token("{\"iss\":\"iss-1\",\"exp\":0xffffffff}"), BAD_JSON},
        {"a leading zero", jwt_token("{\"iss\":\"iss-1\",\"exp\":01}"), BAD_JSON},
        {"a byte order mark", jwt_token("\xef\xbb\xbf" ISS1), BAD_JSON},
        {"a critical extension",
         sign_hmac("SHA256", SECRET, "{\"alg\":\"HS256\",\"crit\":[\"exp\"],\"exp\":1}", ISS1),
         "Bad token; unknown critical extension"},
        {"an empty crit", sign_hmac("SHA256", SECRET, "{\"alg\":\"HS256\",\"crit\":[]}", ISS1),
         "Bad token; unknown critical extension"},
        {"unencoded payload",
         sign_hmac("SHA256", SECRET, "{\"alg\":\"HS256\",\"b64\":false,\"crit\":[\"b64\"]}", ISS1),
         "Bad token; unknown critical extension"},
    };
    struct kit *kit = jwt_open("{}", "");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        jwt_refused(kit, rows[i].reason, rows[i].token, rows[i].message);
    jwt_passes(kit, "and the good one", good, "jo");
    kit_close(kit);
}

Test(jwt_hostile, no_member_twice)
{
    struct kit *kit = jwt_open("{}", "");
    const char *signed_ones[] = {
        jwt_token("{\"iss\":\"ghost\",\"iss\":\"iss-1\"}"),
        jwt_token("{\"iss\":\"iss-1\",\"iss\":\"ghost\"}"),
        jwt_token("{\"iss\":\"iss-1\",\"\\u0069ss\":\"iss-1\"}"),
        jwt_token("{\"iss\":\"iss-1\",\"exp\":1,\"exp\":9999999999}"),
        jwt_token("{\"iss\":\"iss-1\",\"o\":{\"a\":[{\"b\":1,\"b\":2}]}}"),
        sign_hmac("SHA256", SECRET, "{\"alg\":\"none\",\"alg\":\"HS256\"}", ISS1),
        sign_hmac("SHA256", SECRET, "{\"alg\":\"HS256\",\"alg\":\"HS256\"}", ISS1),
        sign_hmac("SHA256", SECRET, "{\"alg\":\"HS256\",\"kid\":\"a\",\"kid\":\"b\"}", ISS1),
    };
    for (size_t i = 0; i < sizeof(signed_ones) / sizeof(signed_ones[0]); i++)
        jwt_refused(kit, sign_format("row %zu", i), signed_ones[i], BAD_JSON);
    jwt_passes(kit, "the same name in different objects",
               jwt_token("{\"iss\":\"iss-1\",\"o\":{\"iss\":1},\"p\":{\"iss\":2}}"), "jo");
    kit_close(kit);
}

static const char *repeated(const char *text, size_t count)
{
    char *made = malloc(strlen(text) * count + 1), *at = made;
    cr_assert_not_null(made);
    for (size_t i = 0; i < count; i++)
        at = stpcpy(at, text);
    *at = '\0';
    const char *kept = sign_format("%s", made);
    free(made);
    return kept;
}

Test(jwt_hostile, sizes_have_bounds)
{
    struct kit *kit = jwt_open("{}", "");
    jwt_refused(kit, "too deep",
                jwt_token(sign_format("{\"iss\":\"iss-1\",\"a\":%s%s}", repeated("[", 200),
                                      repeated("]", 200))),
                BAD_JSON);
    jwt_passes(kit, "deep",
               jwt_token(sign_format("{\"iss\":\"iss-1\",\"a\":%s%s}", repeated("[", 20),
                                     repeated("]", 20))),
               "jo");
    jwt_passes(kit, "12,000 bytes",
               jwt_token(sign_format("{\"iss\":\"iss-1\",\"a\":\"%s\"}", repeated("a", 12000))),
               "jo");
    jwt_refused(kit, "more than 16 KiB",
                jwt_token(sign_format("{\"iss\":\"iss-1\",\"a\":\"%s\"}", repeated("a", 12300))),
                "Bad token; too large");
    const char *members = "";
    for (int i = 0; i < 300; i++)
        members = sign_format("%s,\"m%d\":1", members, i);
    jwt_refused(kit, "too many members", jwt_token(sign_format("{\"iss\":\"iss-1\"%s}", members)),
                BAD_JSON);
    kit_close(kit);
}

Test(jwt_hostile, what_names_the_key_is_only_looked_up)
{
    static const char *const names[] = {"../../../../etc/passwd",
                                        "iss-1' OR '1'='1",
                                        "iss-1\\u0000",
                                        "iss-1\\n",
                                        "ISS-1",
                                        " iss-1",
                                        "iss-1 ",
                                        "*",
                                        "%s%n",
                                        "http://127.0.0.1/keys",
                                        "$(headers.x)"};
    struct kit *kit = jwt_open("{key_claim_name: kid}", "");
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        jwt_refused(kit, names[i],
                    sign_hmac("SHA256", SECRET,
                              sign_format("{\"alg\":\"HS256\",\"kid\":\"%s\"}", names[i]), "{}"),
                    "No credentials found for given 'kid'");
    static const char *const kinds[] = {"[\"iss-1\"]", "{\"iss-1\":1}", "1", "true", "null"};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        jwt_refused(kit, kinds[i],
                    sign_hmac("SHA256", SECRET,
                              sign_format("{\"alg\":\"HS256\",\"kid\":%s}", kinds[i]), "{}"),
                    "Invalid 'kid' in claims");
    kit_close(kit);
}

/* A key that comes with the token ("jwk", "jku", "x5c", "x5u") is never used. */
Test(jwt_hostile, a_token_brings_no_key)
{
    EVP_PKEY *own = EVP_EC_gen("P-256");
    struct kit *kit = jwt_open("{}", "");
    const char *header = sign_format("{\"alg\":\"ES256\",\"jwk\":%s,\"jku\":\"http://127.0.0.1/"
                                     "\",\"x5u\":\"http://127.0.0.1/\"}",
                                     sign_jwk(own, ""));
    jwt_refused(kit, "jwk", sign_ec(own, "SHA256", 32, false, header, ISS1), "Invalid algorithm");
    kit_close(kit);
    EVP_PKEY_free(own);
}

/* One byte changed anywhere in a good token. */
Test(jwt_hostile, no_changed_byte_passes)
{
    struct kit *kit = jwt_open("{}", "");
    char *token = strdup(jwt_token(ISS1));
    for (size_t i = 0; i < strlen(token); i++) {
        char was = token[i];
        token[i] = was == 'A' ? 'B' : 'A';
        cr_expect_eq(jwt_status(kit, token), 401, "byte %zu", i);
        token[i] = was;
    }
    jwt_passes(kit, "unchanged", token, "jo");
    for (size_t i = 0; i < strlen(token); i++) {
        char was = token[i];
        token[i] = was == 'A' ? 'B' : 'A';
        cr_expect_eq(jwt_status(kit, token), 401, "byte %zu, with the good one remembered", i);
        token[i] = was;
    }
    free(token);
    kit_close(kit);
}
