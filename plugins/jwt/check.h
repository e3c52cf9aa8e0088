/* Is a token good: its key, its signature, its times, its claims, in this order; and whose it is.
 */
#ifndef JWT_CHECK_H
#define JWT_CHECK_H

#include "jwt.h"

typedef struct checked {
    const weir_credential *credential; /* NULL: a key of the JWKS */
    const weir_consumer *consumer;     /* NULL: nobody in particular */
    weir_str identifier;
    const weir_str *values; /* of claims_to_headers */
    unsigned times;         /* WRONG_TIMES */
    weir_str claim;         /* NO_CONSUMER: what names nobody */
    bool wait;              /* its key may be on the way: jwks_wait(), then check again */
} checked;

/* `may_wait`: ask for `wait` rather than refuse. */
refusal check_token(weir_request *request, const jwt_policy *policy, weir_str text, bool may_wait,
                    checked *out);

#endif
