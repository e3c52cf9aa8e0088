#include "sign.h"

#include <criterion/criterion.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Freed at exit, so that the leak checker stays quiet. */
static void *kept[65536];
static size_t kept_count;

static void free_kept(void)
{
    while (kept_count > 0)
        free(kept[--kept_count]);
}

static char *keep(size_t size)
{
    char *text = malloc(size);
    cr_assert(text != NULL && kept_count < sizeof(kept) / sizeof(kept[0]));
    if (kept_count == 0)
        cr_assert_eq(atexit(free_kept), 0);
    kept[kept_count++] = text;
    return text;
}

const char *sign_format(const char *pattern, ...)
{
    va_list arguments, again;
    va_start(arguments, pattern);
    va_copy(again, arguments);
    int size = vsnprintf(NULL, 0, pattern, arguments);
    cr_assert(size >= 0);
    char *text = keep((size_t)size + 1);
    (void)vsnprintf(text, (size_t)size + 1, pattern, again);
    va_end(again);
    va_end(arguments);
    return text;
}

const char *sign_join(const char *a, const char *b)
{
    return sign_format("%s.%s", a, b);
}

const char *sign_encode(const void *bytes, size_t size)
{
    char *text = keep(size / 3 * 4 + 5);
    int written = EVP_EncodeBlock((unsigned char *)text, bytes, (int)size);
    for (int i = 0; i < written; i++) {
        if (text[i] == '+')
            text[i] = '-';
        else if (text[i] == '/')
            text[i] = '_';
        else if (text[i] == '=')
            text[i] = '\0';
    }
    return text;
}

static const char *body_of(const char *header, const char *claims)
{
    return sign_join(sign_encode(header, strlen(header)), sign_encode(claims, strlen(claims)));
}

const char *sign_hmac(const char *digest, const char *secret, const char *header,
                      const char *claims)
{
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    const char *body = body_of(header, claims);
    const EVP_MD *kind = EVP_get_digestbyname(digest);
    cr_assert_not_null(HMAC(kind, secret, (int)strlen(secret), (const unsigned char *)body,
                            strlen(body), mac, &size));
    return sign_join(body, sign_encode(mac, size));
}

static size_t sign(EVP_PKEY *key, const char *digest, int salt, const char *text,
                   unsigned char *out, size_t room)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    EVP_PKEY_CTX *inner = NULL;
    size_t size = room;
    cr_assert_eq(EVP_DigestSignInit_ex(context, &inner, digest, NULL, NULL, key, NULL), 1);
    if (salt >= 0) {
        cr_assert_eq(EVP_PKEY_CTX_set_rsa_padding(inner, RSA_PKCS1_PSS_PADDING), 1);
        cr_assert_eq(EVP_PKEY_CTX_set_rsa_pss_saltlen(inner, salt), 1);
    }
    cr_assert_eq(EVP_DigestSign(context, out, &size, (const unsigned char *)text, strlen(text)), 1);
    EVP_MD_CTX_free(context);
    return size;
}

const char *sign_rsa(EVP_PKEY *key, const char *digest, int salt, const char *header,
                     const char *claims)
{
    unsigned char bytes[1024];
    const char *body = body_of(header, claims);
    return sign_join(body, sign_encode(bytes, sign(key, digest, salt, body, bytes, sizeof(bytes))));
}

const char *sign_ec(EVP_PKEY *key, const char *digest, size_t half, bool der, const char *header,
                    const char *claims)
{
    unsigned char bytes[256], pair[256];
    const unsigned char *at = bytes;
    const char *body = body_of(header, claims);
    size_t size = sign(key, digest, -1, body, bytes, sizeof(bytes));
    if (der)
        return sign_join(body, sign_encode(bytes, size));
    ECDSA_SIG *made = d2i_ECDSA_SIG(NULL, &at, (long)size);
    cr_assert_not_null(made);
    cr_assert_eq(BN_bn2binpad(ECDSA_SIG_get0_r(made), pair, (int)half), (int)half);
    cr_assert_eq(BN_bn2binpad(ECDSA_SIG_get0_s(made), pair + half, (int)half), (int)half);
    ECDSA_SIG_free(made);
    return sign_join(body, sign_encode(pair, 2 * half));
}

const char *sign_edwards(EVP_PKEY *key, const char *header, const char *claims)
{
    return sign_rsa(key, NULL, -1, header, claims);
}

const char *sign_pem(EVP_PKEY *key, int indent)
{
    char *bytes = NULL;
    BIO *out = BIO_new(BIO_s_mem());
    cr_assert_eq(PEM_write_bio_PUBKEY(out, key), 1);
    long size = BIO_get_mem_data(out, &bytes);
    const char *text = "";
    for (const char *at = bytes, *end; at < bytes + size; at = end + 1) {
        end = memchr(at, '\n', (size_t)(bytes + size - at));
        cr_assert_not_null(end);
        text = sign_format("%s%*s%.*s\n", text, indent, "", (int)(end - at), at);
    }
    BIO_free(out);
    return text;
}

static const char *number_of(EVP_PKEY *key, const char *name, int size)
{
    unsigned char bytes[1024];
    BIGNUM *number = NULL;
    cr_assert_eq(EVP_PKEY_get_bn_param(key, name, &number), 1);
    if (size == 0)
        size = BN_num_bytes(number);
    cr_assert_eq(BN_bn2binpad(number, bytes, size), size);
    BN_free(number);
    return sign_encode(bytes, (size_t)size);
}

const char *sign_jwk(EVP_PKEY *key, const char *more)
{
    unsigned char raw[64];
    size_t size = sizeof(raw);
    if (EVP_PKEY_is_a(key, "RSA"))
        return sign_format("{\"kty\":\"RSA\",\"n\":\"%s\",\"e\":\"%s\"%s}",
                           number_of(key, OSSL_PKEY_PARAM_RSA_N, 0),
                           number_of(key, OSSL_PKEY_PARAM_RSA_E, 0), more);
    if (EVP_PKEY_is_a(key, "EC")) {
        int half = (EVP_PKEY_get_bits(key) + 7) / 8;
        return sign_format("{\"kty\":\"EC\",\"crv\":\"P-%d\",\"x\":\"%s\",\"y\":\"%s\"%s}",
                           EVP_PKEY_get_bits(key), number_of(key, OSSL_PKEY_PARAM_EC_PUB_X, half),
                           number_of(key, OSSL_PKEY_PARAM_EC_PUB_Y, half), more);
    }
    cr_assert_eq(EVP_PKEY_get_raw_public_key(key, raw, &size), 1);
    return sign_format("{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"%s\"%s}",
                       sign_encode(raw, size), more);
}
