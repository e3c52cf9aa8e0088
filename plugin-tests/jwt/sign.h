/* Makes tokens with OpenSSL alone: nothing of the plugin is used, so that it is not checked with
 * its own reading of the standards. Texts are the caller's until the process ends. */
#ifndef SIGN_H
#define SIGN_H

#include <openssl/evp.h>
#include <stdbool.h>
#include <stddef.h>

/* base64url without padding. */
const char *sign_encode(const void *bytes, size_t size);
/* A dot between. */
const char *sign_join(const char *a, const char *b);
const char *sign_format(const char *pattern, ...) __attribute__((format(printf, 1, 2)));

/* Header and claims as JSON texts. The MAC of `digest`. */
const char *sign_hmac(const char *digest, const char *secret, const char *header,
                      const char *claims);
/* With a private key: RSA (salt < 0: PKCS #1, else PSS with that salt), EC (r and s, or DER as it
 * comes), Ed25519 (`digest` NULL). */
const char *sign_rsa(EVP_PKEY *key, const char *digest, int salt, const char *header,
                     const char *claims);
const char *sign_ec(EVP_PKEY *key, const char *digest, size_t half, bool der, const char *header,
                    const char *claims);
const char *sign_edwards(EVP_PKEY *key, const char *header, const char *claims);

/* The public half as PEM, indented by `indent` spaces for a YAML block ("|"). */
const char *sign_pem(EVP_PKEY *key, int indent);
/* As a JWK; `more` is further members, with a comma before: ,"kid":"a". */
const char *sign_jwk(EVP_PKEY *key, const char *more);

#endif
