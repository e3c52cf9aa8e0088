#include "check.h"

#include <math.h>

#include "claims.h"
#include "jwks.h"
#include "keyring.h"
#include "text.h"
#include "verified.h"

/* ---- times */

static unsigned faults_of(const jwt_policy *policy, double exp, double nbf)
{
    double now = (double)(weir_now_ms() / 1000), skew = (double)policy->clock_skew_ms / 1000;
    unsigned faults = 0;
    if (policy->verifies_exp)
        faults |= isnan(exp) ? EXP_NO_NUMBER : exp + skew <= now ? EXP_PAST : 0;
    if (policy->verifies_nbf)
        faults |= isnan(nbf) ? NBF_NO_NUMBER : nbf - skew > now ? NBF_AHEAD : 0;
    return faults;
}

static bool is_too_far(const jwt_policy *policy, double exp)
{
    double now = (double)(weir_now_ms() / 1000), skew = (double)policy->clock_skew_ms / 1000;
    return policy->maximum_expiration > 0 && !(exp - now <= policy->maximum_expiration + skew);
}

/* ---- the key */

static refusal key_claim_of(const jwt_policy *policy, const struct token *read, weir_str *out_key)
{
    weir_str name = policy->key_claim_name;
    weir_json *from = read->claims;
    const weir_json_value *value = weir_json_member(from, weir_json_root(from), name);
    if (value == NULL) {
        from = read->header;
        value = weir_json_member(from, weir_json_root(from), name);
    }
    if (value == NULL)
        return NO_KEY_CLAIM;
    *out_key = claim_text(from, value);
    return out_key->size > 0 ? PASSES : BAD_KEY_CLAIM;
}

static refusal credential_key(const jwt_policy *policy, const struct token *read, checked *out,
                              struct key **out_key)
{
    weir_str name = TEXT_NONE;
    refusal why = key_claim_of(policy, read, &name);
    if (why != PASSES)
        return why;
    const weir_credential *found = weir_credential_find(policy, 0, name);
    if (found == NULL)
        return NO_CREDENTIAL;
    const credential *data = weir_credential_data(found);
    const struct algorithm *algorithm = algorithm_find(data->algorithm);
    if (algorithm == NULL || algorithm != read->algorithm)
        return WRONG_ALGORITHM;
    *out_key = keyring_find(policy->keyring, found, algorithm, policy->secret_is_base64);
    if (*out_key == NULL)
        return NO_KEY;
    out->credential = found;
    out->consumer = weir_credential_consumer(found);
    out->identifier = data->key;
    return PASSES;
}

static bool names_a_credential(refusal why)
{
    return why != NO_KEY_CLAIM && why != BAD_KEY_CLAIM && why != NO_CREDENTIAL;
}

/* First the key of the set that the token names, then the credential that it names, then the one
 * key of the set that suits a token without "kid"; else the set may be old. */
static refusal find_key(const jwt_policy *policy, const struct token *read, bool may_wait,
                        checked *out, struct key **out_key)
{
    if (policy->jwks == NULL)
        return credential_key(policy, read, out, out_key);
    const weir_json_value *named =
        weir_json_member(read->header, weir_json_root(read->header), WEIR_LIT("kid"));
    weir_str kid = claim_text(read->header, named);
    jwk_found found = JWK_UNKNOWN;
    jwks_refresh(policy->jwks);
    if (kid.data != NULL)
        found = jwks_find(policy->jwks, kid, read->algorithm, out_key);
    if (found == JWK_FOUND)
        return PASSES;
    refusal why = credential_key(policy, read, out, out_key);
    if (names_a_credential(why))
        return why;
    /* A "kid" that is no text names nothing, and does not count as none either. */
    if (named == NULL)
        found = jwks_find(policy->jwks, TEXT_NONE, read->algorithm, out_key);
    if (found == JWK_FOUND)
        return PASSES;
    if (found == JWK_UNSUITED)
        return WRONG_ALGORITHM;
    out->wait = may_wait && jwks_is_coming(policy->jwks);
    return jwks_has_keys(policy->jwks) ? why : KEYS_AWAY;
}

/* ---- whose it is, without a credential */

static refusal find_consumer(const jwt_policy *policy, const struct token *read, checked *out)
{
    weir_str key = TEXT_NONE;
    if (key_claim_of(policy, read, &key) == PASSES)
        out->identifier = key;
    else
        out->identifier = WEIR_LIT("");
    if (policy->consumer_claim.data != NULL) {
        out->claim = claim_text(read->claims, claim_find(read->claims, policy->consumer_claim));
        if (out->claim.size > 0)
            out->consumer = weir_consumer_find(policy, out->claim);
    }
    if (out->consumer == NULL && policy->jwks_consumer.data != NULL)
        out->consumer = weir_consumer_find(policy, policy->jwks_consumer);
    bool wanted = policy->consumer_claim.data != NULL || policy->jwks_consumer.data != NULL;
    return wanted && out->consumer == NULL ? NO_CONSUMER : PASSES;
}

/* ---- a token that was found good before */

static bool recall(const jwt_policy *policy, const unsigned char *digest, checked *out)
{
    const verified_token *known = verified_find(policy->verified, digest);
    if (known == NULL)
        return false;
    bool good = faults_of(policy, known->exp, known->nbf) == 0 && !is_too_far(policy, known->exp);
    if (known->credential != NULL)
        good = good && weir_credential_find(policy, 0, known->identifier) == known->credential;
    else
        good = good && policy->jwks != NULL && known->jwks_serial == jwks_serial(policy->jwks);
    if (!good) {
        verified_drop(policy->verified, digest);
        return false;
    }
    if (policy->jwks != NULL)
        jwks_refresh(policy->jwks);
    *out = (checked){.credential = known->credential,
                     .consumer = known->consumer,
                     .identifier = known->identifier,
                     .values = known->values};
    return true;
}

static void remember(const jwt_policy *policy, const unsigned char *digest, const checked *found,
                     double exp, double nbf)
{
    const verified_token token = {
        .credential = found->credential,
        .consumer = found->consumer,
        .jwks_serial = policy->jwks == NULL ? 0 : jwks_serial(policy->jwks),
        .value_count = (uint32_t)policy->claims_to_headers.count,
        .exp = exp,
        .nbf = nbf,
        .identifier = found->identifier,
        .values = found->values,
    };
    verified_keep(policy->verified, digest, &token);
}

/* ---- all of it */

static refusal refusal_of(token_fault fault)
{
    static const refusal refusals[] = {
        [TOKEN_FINE] = PASSES,
        [TOKEN_TOO_LARGE] = TOO_LARGE,
        [TOKEN_BAD_JSON] = BAD_JSON,
        [TOKEN_BAD_ALGORITHM] = BAD_ALGORITHM,
        [TOKEN_BAD_CLAIMS] = BAD_CLAIMS,
        [TOKEN_BAD_SIGNATURE] = BAD_SIGNATURE,
        [TOKEN_CRITICAL] = CRITICAL_EXTENSION,
        [TOKEN_NO_MEMORY] = NO_MEMORY,
    };
    return refusals[fault];
}

static refusal check_claims(const jwt_policy *policy, const struct token *read, double exp,
                            double nbf, checked *out)
{
    out->times = faults_of(policy, exp, nbf);
    if (out->times != 0)
        return WRONG_TIMES;
    if (is_too_far(policy, exp))
        return TOO_FAR;
    refusal why = claims_check(policy, read->claims);
    /* Before what the consumer may do comes who it is. */
    if (out->credential == NULL && why != WRONG_ISSUER && why != WRONG_AUDIENCE) {
        refusal nobody = find_consumer(policy, read, out);
        if (nobody != PASSES)
            return nobody;
    }
    return why;
}

refusal check_token(weir_request *request, const jwt_policy *policy, weir_str text, bool may_wait,
                    checked *out)
{
    unsigned char digest[DIGEST_BYTES];
    struct token read;
    struct key *key = NULL;
    *out = (checked){.times = 0};
    if (text.size > TOKEN_BYTES_MAX)
        return TOO_LARGE;
    if (!verified_digest(policy->verified, text, digest))
        return NO_MEMORY;
    if (recall(policy, digest, out))
        return PASSES;
    refusal why = refusal_of(token_read(request, text, &read));
    if (why == PASSES)
        why = find_key(policy, &read, may_wait, out, &key);
    if (why != PASSES || out->wait)
        return why;
    if (!key_verify(key, read.algorithm, read.signed_text, read.signature))
        return WRONG_SIGNATURE;
    double exp =
        claim_number(weir_json_member(read.claims, weir_json_root(read.claims), WEIR_LIT("exp")));
    double nbf =
        claim_number(weir_json_member(read.claims, weir_json_root(read.claims), WEIR_LIT("nbf")));
    why = check_claims(policy, &read, exp, nbf, out);
    if (why != PASSES)
        return why;
    out->values = claims_values(request, policy, read.claims);
    if (out->values == NULL)
        return NO_MEMORY;
    remember(policy, digest, out, exp, nbf);
    return PASSES;
}
