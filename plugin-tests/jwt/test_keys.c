/* Every algorithm with a key of its own, and what passes for another key's signature. */
#include <criterion/criterion.h>
#include <openssl/ec.h>
#include <openssl/rsa.h>
#include <string.h>

#include "jwt_kit.h"

static const char *credential(const char *key, const char *algorithm, EVP_PKEY *of)
{
    return sign_format("  - key: %s\n    algorithm: %s\n    rsa_public_key: |\n%s", key, algorithm,
                       sign_pem(of, 6));
}

static const char *header_of(const char *algorithm)
{
    return sign_format("{\"alg\":\"%s\"}", algorithm);
}

static const char *claims_of(const char *key)
{
    return sign_format("{\"iss\":\"%s\"}", key);
}

Test(jwt_keys, hmac)
{
    static const char *const rows[][3] = {{"HS256", "SHA256", "iss-1"},
                                          {"HS384", "SHA384", "iss-384"},
                                          {"HS512", "SHA512", "iss-512"}};
    struct kit *kit = jwt_open("{}", "");
    for (size_t i = 0; i < 3; i++)
        for (size_t j = 0; j < 3; j++) {
            const char *token =
                sign_hmac(rows[j][1], SECRET, header_of(rows[j][0]), claims_of(rows[i][2]));
            if (i == j)
                jwt_passes(kit, rows[i][0], token, "jo");
            else
                jwt_refused(kit, rows[i][0], token, "Invalid algorithm");
        }
    kit_close(kit);
}

Test(jwt_keys, rsa)
{
    EVP_PKEY *key = EVP_RSA_gen(2048), *other = EVP_RSA_gen(2048);
    static const struct {
        const char *name, *digest;
        int salt;
    } rows[] = {{"RS256", "SHA256", -1}, {"RS384", "SHA384", -1}, {"RS512", "SHA512", -1},
                {"PS256", "SHA256", 32}, {"PS384", "SHA384", 48}, {"PS512", "SHA512", 64}};
    const char *more = "";
    for (size_t i = 0; i < 6; i++)
        more = sign_format("%s%s", more, credential(rows[i].name, rows[i].name, key));
    struct kit *kit = jwt_open("{}", more);
    for (size_t i = 0; i < 6; i++) {
        const char *header = header_of(rows[i].name), *claims = claims_of(rows[i].name);
        jwt_passes(kit, rows[i].name, sign_rsa(key, rows[i].digest, rows[i].salt, header, claims),
                   "jo");
        jwt_refused(kit, "another key",
                    sign_rsa(other, rows[i].digest, rows[i].salt, header, claims),
                    "Invalid signature");
        jwt_refused(kit, "PKCS #1 for PSS and back",
                    sign_rsa(key, rows[i].digest, rows[i].salt < 0 ? 32 : -1, header, claims),
                    "Invalid signature");
    }
    jwt_refused(kit, "no salt", sign_rsa(key, "SHA256", 0, header_of("PS256"), claims_of("PS256")),
                "Invalid signature");
    jwt_refused(kit, "a short salt",
                sign_rsa(key, "SHA256", 20, header_of("PS256"), claims_of("PS256")),
                "Invalid signature");
    jwt_refused(kit, "a long salt",
                sign_rsa(key, "SHA256", 64, header_of("PS256"), claims_of("PS256")),
                "Invalid signature");
    kit_close(kit);
    EVP_PKEY_free(key);
    EVP_PKEY_free(other);
}

Test(jwt_keys, an_rsa_public_key_is_no_secret)
{
    EVP_PKEY *key = EVP_RSA_gen(2048);
    struct kit *kit = jwt_open("{}", credential("rsa", "RS256", key));
    static const char *const digests[][2] = {
        {"HS256", "SHA256"}, {"HS384", "SHA384"}, {"HS512", "SHA512"}};
    const char *pem = sign_pem(key, 0);
    const char *trimmed = sign_format("%.*s", (int)strlen(pem) - 1, pem);
    for (size_t i = 0; i < 3; i++) {
        const char *header = header_of(digests[i][0]), *claims = claims_of("rsa");
        jwt_refused(kit, "PEM", sign_hmac(digests[i][1], pem, header, claims), "Invalid algorithm");
        jwt_refused(kit, "PEM without its last line end",
                    sign_hmac(digests[i][1], trimmed, header, claims), "Invalid algorithm");
        jwt_refused(kit, "HMAC in an RS256 token",
                    sign_hmac(digests[i][1], pem, header_of("RS256"), claims), "Invalid signature");
    }
    kit_close(kit);
    EVP_PKEY_free(key);
}

Test(jwt_keys, ec)
{
    static const struct {
        const char *name, *curve, *digest;
        size_t half;
    } rows[] = {{"ES256", "P-256", "SHA256", 32},
                {"ES384", "P-384", "SHA384", 48},
                {"ES512", "P-521", "SHA512", 66}};
    for (size_t i = 0; i < 3; i++) {
        EVP_PKEY *key = EVP_EC_gen(rows[i].curve);
        const char *header = header_of(rows[i].name), *claims = claims_of("ec");
        struct kit *kit = jwt_open("{}", credential("ec", rows[i].name, key));
        jwt_passes(kit, rows[i].name,
                   sign_ec(key, rows[i].digest, rows[i].half, false, header, claims), "jo");
        jwt_refused(kit, "DER", sign_ec(key, rows[i].digest, rows[i].half, true, header, claims),
                    "Invalid signature");
        jwt_refused(kit, "halves too long",
                    sign_ec(key, rows[i].digest, rows[i].half + 1, false, header, claims),
                    "Invalid signature");
        kit_close(kit);
        for (size_t j = 0; j < 3; j++)
            if (j != i) {
                kit = jwt_open("{}", credential("ec", rows[j].name, key));
                jwt_refused(kit, "another curve than the algorithm's",
                            sign_ec(key, rows[j].digest,
                                    rows[j].half > rows[i].half ? rows[j].half : rows[i].half,
                                    false, header_of(rows[j].name), claims),
                            "Invalid key/secret");
                kit_close(kit);
            }
        EVP_PKEY_free(key);
    }
}

/* r and s of 0, of the group's order, and of more. */
Test(jwt_keys, ec_numbers_out_of_range)
{
    static const unsigned char order[32] = {0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00,
                                            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                            0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84,
                                            0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51};
    EVP_PKEY *key = EVP_EC_gen("P-256");
    struct kit *kit = jwt_open("{}", credential("ec", "ES256", key));
    const char *good = sign_ec(key, "SHA256", 32, false, header_of("ES256"), claims_of("ec"));
    const char *body = sign_format("%.*s", (int)(strrchr(good, '.') - good), good);
    unsigned char values[4][32] = {{0}, {0}, {0}, {0}};
    values[1][31] = 1;
    memcpy(values[2], order, 32);
    memset(values[3], 0xff, 32);
    for (size_t r = 0; r < 4; r++)
        for (size_t s = 0; s < 4; s++) {
            unsigned char pair[64];
            memcpy(pair, values[r], 32);
            memcpy(pair + 32, values[s], 32);
            jwt_refused(kit, sign_format("r %zu, s %zu", r, s),
                        sign_join(body, sign_encode(pair, 64)), "Invalid signature");
        }
    jwt_passes(kit, "and the good one", good, "jo");
    kit_close(kit);
    EVP_PKEY_free(key);
}

Test(jwt_keys, edwards)
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    EVP_PKEY *longer = EVP_PKEY_Q_keygen(NULL, NULL, "ED448");
    struct kit *kit = jwt_open("{}", sign_format("%s%s", credential("ed", "EdDSA", key),
                                                 credential("ed448", "EdDSA", longer)));
    jwt_passes(kit, "Ed25519", sign_edwards(key, header_of("EdDSA"), claims_of("ed")), "jo");
    jwt_passes(kit, "Ed448", sign_edwards(longer, header_of("EdDSA"), claims_of("ed448")), "jo");
    jwt_refused(kit, "another key", sign_edwards(longer, header_of("EdDSA"), claims_of("ed")),
                "Invalid signature");
    const char *zeros = sign_encode((const unsigned char[64]){0}, 64);
    const char *good = sign_edwards(key, header_of("EdDSA"), claims_of("ed"));
    const char *body = sign_format("%.*s", (int)(strrchr(good, '.') - good), good);
    jwt_refused(kit, "zeros", sign_join(body, zeros), "Invalid signature");
    jwt_refused(kit, "nothing", sign_join(body, ""), "Invalid signature");
    kit_close(kit);
    EVP_PKEY_free(key);
    EVP_PKEY_free(longer);
}

Test(jwt_keys, a_private_key_or_a_password_prompt_is_no_public_key)
{
    struct kit *kit =
        jwt_try("{}", "  - key: locked\n    algorithm: RS256\n    rsa_public_key: |\n"
                      "      -----BEGIN ENCRYPTED PRIVATE KEY-----\n"
                      "      MIIC3TBXBgkqhkiG9w0BBQ0wSjApBgkqhkiG9w0BBQwwHAQIAAAAAAAAAAAC\n"
                      "      -----END ENCRYPTED PRIVATE KEY-----\n");
    cr_expect_null(kit);
    cr_expect_not_null(strstr(kit_error(), "rsa_public_key: invalid key"), "%s", kit_error());
}
