#include "key.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdlib.h>

#include "text.h"

enum {
    HALF_MAX = 66,         /* of P-521 */
    DER_MAX = 2 * 70 + 16, /* of an ECDSA signature */
    PEM_BYTES_MAX = 65536,
    RSA_BITS_MIN = 2048,
};

/* One of the two is set. */
struct key {
    EVP_PKEY *public_key;
    EVP_MAC_CTX *hmac; /* keyed, so that each use starts from there */
};

/* clang-format off */
static const struct algorithm algorithms[] = {
    {"HS256", FAMILY_HS, "SHA256", NULL, 0},
    {"HS384", FAMILY_HS, "SHA384", NULL, 0},
    {"HS512", FAMILY_HS, "SHA512", NULL, 0},
    {"RS256", FAMILY_RS, "SHA256", NULL, 0},
    {"RS384", FAMILY_RS, "SHA384", NULL, 0},
    {"RS512", FAMILY_RS, "SHA512", NULL, 0},
    {"ES256", FAMILY_ES, "SHA256", "prime256v1", 32},
    {"ES384", FAMILY_ES, "SHA384", "secp384r1", 48},
    {"ES512", FAMILY_ES, "SHA512", "secp521r1", 66},
    {"PS256", FAMILY_PS, "SHA256", NULL, 0},
    {"PS384", FAMILY_PS, "SHA384", NULL, 0},
    {"PS512", FAMILY_PS, "SHA512", NULL, 0},
    {"EdDSA", FAMILY_ED, NULL, NULL, 0},
};
/* clang-format on */

const char *const algorithm_names[] = {"HS256", "HS384", "HS512", "RS256", "RS384",
                                       "RS512", "ES256", "ES384", "ES512", "PS256",
                                       "PS384", "PS512", "EdDSA", NULL};

const struct algorithm *algorithm_find(weir_str name)
{
    for (size_t i = 0; i < sizeof(algorithms) / sizeof(algorithms[0]); i++)
        if (text_equal(text_of(algorithms[i].name), name))
            return &algorithms[i];
    return NULL;
}

/* ---- making keys */

/* Takes `public_key`, NULL too. What went wrong on the way is nobody's business later. */
static struct key *key_of(EVP_PKEY *public_key)
{
    ERR_clear_error();
    struct key *made = public_key == NULL ? NULL : calloc(1, sizeof(*made));
    if (made == NULL)
        EVP_PKEY_free(public_key);
    else
        made->public_key = public_key;
    return made;
}

static EVP_MAC_CTX *keyed_hmac(const char *digest, const void *secret, size_t size)
{
    char name[16];
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *made = mac == NULL ? NULL : EVP_MAC_CTX_new(mac);
    EVP_MAC_free(mac);
    strcpy(name, digest);
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0),
        OSSL_PARAM_construct_end(),
    };
    if (made != NULL && EVP_MAC_init(made, secret, size, parameters) == 1)
        return made;
    EVP_MAC_CTX_free(made);
    ERR_clear_error();
    return NULL;
}

struct key *key_of_secret(const struct algorithm *algorithm, const void *secret, size_t size)
{
    struct key *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return NULL;
    made->hmac = keyed_hmac(algorithm->digest, secret, size);
    if (made->hmac != NULL)
        return made;
    free(made);
    return NULL;
}

/* Or OpenSSL would ask at the terminal. */
static int no_passphrase(char *buffer, int size, int writing, void *user)
{
    (void)buffer;
    (void)size;
    (void)writing;
    (void)user;
    return -1;
}

static EVP_PKEY *key_of_certificate(BIO *text)
{
    X509 *certificate = PEM_read_bio_X509(text, NULL, no_passphrase, NULL);
    EVP_PKEY *found = certificate == NULL ? NULL : X509_get_pubkey(certificate);
    X509_free(certificate);
    return found;
}

struct key *key_of_pem(weir_str pem)
{
    static const char certificate[] = "-----BEGIN CERTIFICATE-----";
    if (pem.size == 0 || pem.size > PEM_BYTES_MAX)
        return NULL;
    BIO *text = BIO_new_mem_buf(pem.data, (int)pem.size);
    if (text == NULL)
        return NULL;
    EVP_PKEY *found = memmem(pem.data, pem.size, certificate, sizeof(certificate) - 1) != NULL
                          ? key_of_certificate(text)
                          : PEM_read_bio_PUBKEY(text, NULL, no_passphrase, NULL);
    BIO_free(text);
    return key_of(found);
}

static EVP_PKEY *public_key_of(const char *type, OSSL_PARAM_BLD *builder)
{
    EVP_PKEY *made = NULL;
    OSSL_PARAM *parameters = OSSL_PARAM_BLD_to_param(builder);
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    if (parameters == NULL || context == NULL || EVP_PKEY_fromdata_init(context) != 1 ||
        EVP_PKEY_fromdata(context, &made, EVP_PKEY_PUBLIC_KEY, parameters) != 1)
        made = NULL;
    EVP_PKEY_CTX_free(context);
    OSSL_PARAM_free(parameters);
    return made;
}

static BIGNUM *number_of(weir_str bytes)
{
    enum { NUMBER_BYTES_MAX = 2048 };
    if (bytes.size == 0 || bytes.size > NUMBER_BYTES_MAX)
        return NULL;
    return BN_bin2bn((const unsigned char *)bytes.data, (int)bytes.size, NULL);
}

struct key *key_of_rsa(weir_str modulus, weir_str exponent)
{
    EVP_PKEY *made = NULL;
    BIGNUM *n = number_of(modulus), *e = number_of(exponent);
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    if (n != NULL && e != NULL && builder != NULL && BN_is_odd(e) && !BN_is_one(e) &&
        OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
        OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, e) == 1)
        made = public_key_of("RSA", builder);
    OSSL_PARAM_BLD_free(builder);
    BN_free(n);
    BN_free(e);
    return key_of(made);
}

struct key *key_of_point(const char *group, weir_str x, weir_str y)
{
    unsigned char point[1 + 2 * HALF_MAX] = {POINT_CONVERSION_UNCOMPRESSED};
    if (x.size != y.size || x.size == 0 || x.size > HALF_MAX)
        return NULL;
    memcpy(point + 1, x.data, x.size);
    memcpy(point + 1 + x.size, y.data, y.size);
    EVP_PKEY *made = NULL;
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    if (builder != NULL &&
        OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, group, 0) == 1 &&
        OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, point, 1 + 2 * x.size) ==
            1)
        made = public_key_of("EC", builder); /* refuses a point beside the curve */
    OSSL_PARAM_BLD_free(builder);
    return key_of(made);
}

struct key *key_of_edwards(const char *curve, weir_str x)
{
    return key_of(
        EVP_PKEY_new_raw_public_key_ex(NULL, curve, NULL, (const unsigned char *)x.data, x.size));
}

void key_free(struct key *key)
{
    if (key == NULL)
        return;
    EVP_PKEY_free(key->public_key);
    EVP_MAC_CTX_free(key->hmac);
    free(key);
}

/* ---- using them */

bool key_suits(const struct key *key, const struct algorithm *algorithm, bool strict)
{
    char group[32];
    size_t size = 0;
    const EVP_PKEY *public_key = key->public_key;
    if (public_key == NULL)
        return algorithm->family == FAMILY_HS;
    bool large = !strict || EVP_PKEY_get_bits(public_key) >= RSA_BITS_MIN;
    switch (algorithm->family) {
    case FAMILY_HS:
        return false;
    case FAMILY_RS:
        return EVP_PKEY_is_a(public_key, "RSA") && large;
    case FAMILY_PS:
        return (EVP_PKEY_is_a(public_key, "RSA") || EVP_PKEY_is_a(public_key, "RSA-PSS")) && large;
    case FAMILY_ES:
        return EVP_PKEY_is_a(public_key, "EC") &&
               EVP_PKEY_get_group_name(public_key, group, sizeof(group), &size) == 1 &&
               strcmp(group, algorithm->group) == 0;
    case FAMILY_ED:
        return EVP_PKEY_is_a(public_key, "ED25519") || EVP_PKEY_is_a(public_key, "ED448");
    }
    return false;
}

static bool verify_hmac(EVP_MAC_CTX *hmac, weir_str text, weir_str signature)
{
    unsigned char wanted[EVP_MAX_MD_SIZE];
    size_t size = 0;
    return EVP_MAC_init(hmac, NULL, 0, NULL) == 1 &&
           EVP_MAC_update(hmac, (const unsigned char *)text.data, text.size) == 1 &&
           EVP_MAC_final(hmac, wanted, &size, sizeof(wanted)) == 1 && size == signature.size &&
           CRYPTO_memcmp(wanted, signature.data, size) == 0;
}

/* r and s side by side become the DER that OpenSSL takes; 0: they are no signature. */
static size_t der_of(weir_str signature, unsigned half, unsigned char *out)
{
    if (signature.size != 2 * (size_t)half)
        return 0;
    const unsigned char *bytes = (const unsigned char *)signature.data;
    ECDSA_SIG *pair = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(bytes, (int)half, NULL), *s = BN_bin2bn(bytes + half, (int)half, NULL);
    int size = 0;
    bool made = pair != NULL && r != NULL && s != NULL && !BN_is_zero(r) && !BN_is_zero(s);
    if (made && ECDSA_SIG_set0(pair, r, s) == 1) {
        r = s = NULL; /* the pair's from now on */
        size = i2d_ECDSA_SIG(pair, NULL);
        size = size > 0 && size <= DER_MAX ? i2d_ECDSA_SIG(pair, &out) : 0;
    }
    BN_free(r);
    BN_free(s);
    ECDSA_SIG_free(pair);
    return size > 0 ? (size_t)size : 0;
}

static bool begin(EVP_MD_CTX *digest, EVP_PKEY *public_key, const struct algorithm *algorithm)
{
    EVP_PKEY_CTX *context = NULL; /* the digest's */
    if (EVP_DigestVerifyInit_ex(digest, &context, algorithm->digest, NULL, NULL, public_key,
                                NULL) != 1)
        return false;
    /* The salt is as long as the digest (RFC 7518 3.5): any other length is another signature. */
    return algorithm->family != FAMILY_PS ||
           (EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) == 1 &&
            EVP_PKEY_CTX_set_rsa_pss_saltlen(context, RSA_PSS_SALTLEN_DIGEST) == 1);
}

bool key_verify(struct key *key, const struct algorithm *algorithm, weir_str text,
                weir_str signature)
{
    unsigned char der[DER_MAX];
    const unsigned char *bytes = (const unsigned char *)signature.data;
    size_t size = signature.size;
    if (key->hmac != NULL)
        return verify_hmac(key->hmac, text, signature);
    if (size == 0)
        return false;
    if (algorithm->family == FAMILY_ES) {
        size = der_of(signature, algorithm->half, der);
        bytes = der;
    }
    EVP_MD_CTX *digest = size == 0 ? NULL : EVP_MD_CTX_new();
    bool good =
        digest != NULL && begin(digest, key->public_key, algorithm) &&
        EVP_DigestVerify(digest, bytes, size, (const unsigned char *)text.data, text.size) == 1;
    EVP_MD_CTX_free(digest);
    ERR_clear_error();
    return good;
}
