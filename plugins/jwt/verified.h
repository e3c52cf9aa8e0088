/* Tokens that were found good, so that the same one need not be verified again: bounded, by the
 * digest of the whole token. What may change meanwhile (time, the credential, the keys) is asked
 * anew at each use; a reload starts empty. */
#ifndef JWT_VERIFIED_H
#define JWT_VERIFIED_H

#include "jwt.h"

enum { DIGEST_BYTES = 32 };

typedef struct verified_token {
    const weir_credential *credential; /* NULL: a key of the JWKS */
    const weir_consumer *consumer;     /* NULL: nobody */
    uint32_t jwks_serial;
    uint32_t value_count;
    double exp, nbf; /* NAN: not there, or not asked for */
    weir_str identifier;
    const weir_str *values; /* of claims_to_headers */
} verified_token;

/* NULL: no memory. */
verified *verified_create(void);
/* NULL is fine. */
void verified_destroy(verified *tokens);

/* False: no memory. */
bool verified_digest(verified *tokens, weir_str text, unsigned char out[DIGEST_BYTES]);
/* NULL: not there. Good until the next verified_keep() or verified_drop(). */
const verified_token *verified_find(verified *tokens, const unsigned char digest[DIGEST_BYTES]);
/* Copied; not kept when it is large, or without memory. */
void verified_keep(verified *tokens, const unsigned char digest[DIGEST_BYTES],
                   const verified_token *token);
void verified_drop(verified *tokens, const unsigned char digest[DIGEST_BYTES]);

#endif
