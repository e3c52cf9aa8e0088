/* The examples of RFC 7515 appendix A and RFC 8037 appendix A: the keys as they print them, and the
 * very bytes they sign. Two of the five sign no JSON, so what is tested here lies below the policy.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "../../plugins/jwt/base64.c"
#include "../../plugins/jwt/key.c"

#define JOE                                                                            \
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19y" \
    "b290Ijp0cnVlfQ"

static const struct example {
    const char *name, *algorithm, *text, *signature;
    const char *first, *second; /* of the key */
} examples[] = {
    {"RFC 7515 A.1", "HS256", "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." JOE,
     "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
     "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow", ""},
    {"RFC 7515 A.2", "RS256", "eyJhbGciOiJSUzI1NiJ9." JOE,
     "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5"
     "jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb"
     "1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QO"
     "YEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
     "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4"
     "d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5re"
     "xMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxX"
     "FvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
     "AQAB"},
    {"RFC 7515 A.3", "ES256", "eyJhbGciOiJFUzI1NiJ9." JOE,
     "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
     "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"},
    {"RFC 7515 A.4", "ES512", "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA",
     "AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8G"
     "aSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn",
     "AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk",
     "ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2"},
    {"RFC 8037 A.4", "EdDSA", "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
     "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
     "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", ""},
};

static weir_str decoded(const char *text, unsigned char *out)
{
    size_t size = 0;
    cr_assert(base64url_decode(text_of(text), out, &size), "%s", text);
    return (weir_str){(const char *)out, size};
}

static struct key *key_of_example(const struct example *example, const struct algorithm *algorithm)
{
    unsigned char first[512], second[512];
    weir_str a = decoded(example->first, first), b = decoded(example->second, second);
    switch (algorithm->family) {
    case FAMILY_HS:
        return key_of_secret(algorithm, a.data, a.size);
    case FAMILY_RS:
    case FAMILY_PS:
        return key_of_rsa(a, b);
    case FAMILY_ES:
        return key_of_point(algorithm->group, a, b);
    case FAMILY_ED:
        return key_of_edwards("ED25519", a);
    }
    return NULL;
}

Test(jwt_rfc, examples_are_verified)
{
    unsigned char bytes[512];
    for (size_t i = 0; i < sizeof(examples) / sizeof(examples[0]); i++) {
        const struct example *example = &examples[i];
        const struct algorithm *algorithm = algorithm_find(text_of(example->algorithm));
        cr_assert_not_null(algorithm, "%s", example->name);
        struct key *key = key_of_example(example, algorithm);
        cr_assert_not_null(key, "%s", example->name);
        cr_assert(key_suits(key, algorithm, true), "%s", example->name);
        weir_str signature = decoded(example->signature, bytes), text = text_of(example->text);
        /* Twice: a keyed MAC must be as new the second time. */
        cr_expect(key_verify(key, algorithm, text, signature), "%s", example->name);
        cr_expect(key_verify(key, algorithm, text, signature), "%s, again", example->name);
        for (size_t at = 0; at < signature.size; at++) {
            bytes[at] ^= 1;
            cr_expect_not(key_verify(key, algorithm, text, signature), "%s: byte %zu",
                          example->name, at);
            bytes[at] ^= 1;
        }
        for (size_t size = 0; size < signature.size; size += 7)
            cr_expect_not(key_verify(key, algorithm, text, (weir_str){signature.data, size}),
                          "%s: %zu bytes", example->name, size);
        text.size--;
        cr_expect_not(key_verify(key, algorithm, text, signature), "%s", example->name);
        key_free(key);
    }
}

Test(jwt_rfc, a_key_suits_its_own_algorithms_alone)
{
    for (size_t i = 0; i < sizeof(examples) / sizeof(examples[0]); i++) {
        const struct algorithm *own = algorithm_find(text_of(examples[i].algorithm));
        struct key *key = key_of_example(&examples[i], own);
        for (size_t j = 0; algorithm_names[j] != NULL; j++) {
            const struct algorithm *other = algorithm_find(text_of(algorithm_names[j]));
            bool rsa = own->family == FAMILY_RS &&
                       (other->family == FAMILY_RS || other->family == FAMILY_PS);
            bool same = own->family == other->family &&
                        (own->family != FAMILY_ES || own->half == other->half);
            cr_expect_eq(key_suits(key, other, true), rsa || same, "%s %s", examples[i].name,
                         other->name);
        }
        key_free(key);
    }
}

Test(jwt_rfc, base64url_has_one_spelling)
{
    static const struct {
        const char *reason, *text;
        bool strict, any;
    } rows[] = {
        {"empty", "", true, true},
        {"one byte", "YQ", true, true},
        {"padding", "YQ==", false, true},
        {"unused bits", "YR", false, true},
        {"unused bits, two", "YWJ", false, true},
        {"two bytes", "YWI", true, true},
        {"one letter", "Y", false, false},
        {"five letters", "YWJjZ", false, false},
        {"URL alphabet", "-_-_", true, true},
        {"the other one", "+/+/", false, true},
        {"blank", "YW I", false, false},
        {"line end", "YWI\n", false, false},
        {"dot", "YW.I", false, false},
        {"three of padding", "Y===", false, false},
        {"padding inside", "YQ==YQ", false, false},
    };
    unsigned char out[32];
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        size_t size = 0;
        cr_expect_eq(base64url_decode(text_of(rows[i].text), out, &size), rows[i].strict, "%s",
                     rows[i].reason);
        cr_expect_eq(base64_decode_any(text_of(rows[i].text), out, &size), rows[i].any, "%s",
                     rows[i].reason);
    }
}

Test(jwt_rfc, points_beside_the_curve_and_odd_numbers_make_no_key)
{
    unsigned char x[64], y[64];
    weir_str a = decoded(examples[2].first, x), b = decoded(examples[2].second, y);
    y[31] ^= 1;
    cr_expect_null(key_of_point("prime256v1", a, b), "beside the curve");
    y[31] ^= 1;
    cr_expect_null(key_of_point("secp384r1", a, b), "of another curve");
    cr_expect_null(key_of_point("prime256v1", a, (weir_str){b.data, 31}), "short");
    cr_expect_null(key_of_rsa(a, WEIR_LIT("\x01")), "exponent 1 signs everything");
    cr_expect_null(key_of_rsa(a, WEIR_LIT("\x04")), "an even exponent");
    cr_expect_null(key_of_rsa(TEXT_NONE, WEIR_LIT("\x01\x00\x01")), "no modulus");
    cr_expect_null(key_of_edwards("ED25519", (weir_str){a.data, 31}), "short");
    cr_expect_null(key_of_pem(WEIR_LIT("-----BEGIN PUBLIC KEY-----\nAAAA\n")), "no key");
    cr_expect_null(key_of_pem(WEIR_LIT("")), "empty");
}
