/* The policy, and what its files share. How a request goes: find.h (where is the token), token.h
 * (what does it say), check.h (is it true, and enough), answer.h (what if not). */
#ifndef JWT_H
#define JWT_H

#include <weir/weir.h>

/* Why a request may not pass, in the order in which it is found out. */
typedef enum refusal {
    PASSES,
    NO_TOKEN,
    SEVERAL_TOKENS,
    TOO_LARGE,
    BAD_JSON,
    BAD_ALGORITHM,
    BAD_CLAIMS,
    BAD_SIGNATURE,
    CRITICAL_EXTENSION,
    NO_KEY_CLAIM,
    BAD_KEY_CLAIM,
    NO_CREDENTIAL,
    KEYS_AWAY, /* of jwks_uri: none could be fetched yet */
    WRONG_ALGORITHM,
    NO_KEY,
    WRONG_SIGNATURE,
    WRONG_TIMES, /* exp, nbf: see `times` */
    TOO_FAR,     /* maximum_expiration */
    WRONG_ISSUER,
    WRONG_AUDIENCE,
    NO_CONSUMER,
    LACKS_ROLE,
    LACKS_SCOPE,
    UNAUTHENTICATED, /* roles or scopes are required, and there is no good token */
    NO_MEMORY,       /* not the client's fault: the policy fails */
    REFUSALS,
} refusal;

/* What is wrong with exp and nbf, as the bits of a number. */
enum {
    EXP_NO_NUMBER = 1 << 0,
    EXP_PAST = 1 << 1,
    NBF_NO_NUMBER = 1 << 2,
    NBF_AHEAD = 1 << 3,
};

typedef struct credential {
    weir_str key, algorithm, secret, rsa_public_key;
} credential;

typedef struct keyring keyring;   /* keyring.h */
typedef struct verified verified; /* verified.h */
typedef struct jwks jwks;         /* jwks.h */

typedef struct jwt_policy {
    weir_list uri_param_names, cookie_names, header_names, claims_to_verify; /* weir_str */
    weir_str key_claim_name, anonymous, realm;
    bool secret_is_base64, run_on_preflight;
    double maximum_expiration;
    /* Beyond Kong. */
    weir_list allowed_iss, allowed_aud, required_roles, required_scopes; /* weir_str */
    weir_list claims_to_headers;                                         /* weir_pair */
    int64_t clock_skew_ms, jwks_refresh_interval_ms, jwks_timeout_ms;
    weir_str jwks_file, jwks_uri, jwks_consumer, consumer_claim;
    weir_str roles_claim, scopes_claim, error_codes;
    /* Ours, after the configuration. */
    const weir_header_id *headers, *told; /* of header_names; of claims_to_headers */
    weir_header_id www_authenticate, cookie, anonymous_consumer;
    weir_str challenge, challenge_invalid, challenge_scope;
    bool verifies_exp, verifies_nbf, seed_codes;
    /* From start() to stop(). */
    keyring *keyring;
    verified *verified;
    jwks *jwks; /* NULL: neither file nor URL */
} jwt_policy;

#endif
