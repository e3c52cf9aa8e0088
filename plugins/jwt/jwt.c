#include "jwt.h"

#include "answer.h"
#include "check.h"
#include "claims.h"
#include "find.h"
#include "jwks.h"
#include "key.h"
#include "keyring.h"
#include "text.h"
#include "token.h"
#include "verified.h"

static const char *const time_claims[] = {"exp", "nbf", NULL};
static const char *const code_kinds[] = {"kong", "seed", NULL};

static const weir_field fields[] = {
    WEIR_LIST(jwt_policy, uri_param_names, WEIR_TYPE_STRING, .def = "[jwt]", .flags = WEIR_UNIQUE,
              .help = "arguments of the query that may hold the token"),
    WEIR_LIST(jwt_policy, cookie_names, WEIR_TYPE_STRING, .def = "[]", .flags = WEIR_UNIQUE,
              .help = "cookies that may hold the token"),
    WEIR_LIST(jwt_policy, header_names, WEIR_TYPE_STRING, .def = "[authorization]",
              .flags = WEIR_UNIQUE | WEIR_HEADER_NAME,
              .help = "headers that may hold it, after the word Bearer"),
    WEIR_STRING(jwt_policy, key_claim_name, .def = "iss",
                .help = "claim, or member of the token's header, that names the credential"),
    WEIR_BOOLEAN(jwt_policy, secret_is_base64, .def = "false", .flags = WEIR_REQUIRED,
                 .help = "secrets of HS* credentials are written in base64"),
    WEIR_LIST(jwt_policy, claims_to_verify, WEIR_TYPE_ENUM, .choices = time_claims,
              .flags = WEIR_UNIQUE, .help = "claims that must be there and hold now"),
    WEIR_NUMBER(jwt_policy, maximum_expiration, .def = "0", .max = 31536000,
                .help = "seconds that exp may lie ahead; 0: any number"),
    WEIR_STRING(jwt_policy, anonymous,
                .help = "consumer (username or id) for requests without a good token"),
    WEIR_BOOLEAN(jwt_policy, run_on_preflight, .def = "true", .flags = WEIR_REQUIRED,
                 .help = "false: OPTIONS requests need no token"),
    WEIR_STRING(jwt_policy, realm, .help = "realm in WWW-Authenticate"),

    WEIR_LIST(jwt_policy, allowed_iss, WEIR_TYPE_STRING, .help = "iss must be one of these"),
    WEIR_LIST(jwt_policy, allowed_aud, WEIR_TYPE_STRING, .help = "aud must have one of these"),
    WEIR_DURATION(jwt_policy, clock_skew_ms, .key = "clock_skew", .def = "0s",
                  .flags = WEIR_NOT_NEGATIVE, .max = 3600000,
                  .help = "how far the issuer's clock may be off, for exp and nbf"),
    WEIR_STRING(jwt_policy, jwks_file, .flags = WEIR_PATH,
                .help = "file with a JSON Web Key Set, read at start and reload"),
    WEIR_STRING(jwt_policy, jwks_uri, .help = "URL of a JSON Web Key Set"),
    WEIR_DURATION(jwt_policy, jwks_refresh_interval_ms, .key = "jwks_refresh_interval",
                  .def = "300s", .min = 1000, .max = 86400000,
                  .help = "the URL is asked at most this often"),
    WEIR_DURATION(jwt_policy, jwks_timeout_ms, .key = "jwks_timeout", .def = "5s", .min = 10,
                  .max = 60000, .help = "for the whole fetch, and for requests that wait for it"),
    WEIR_STRING(jwt_policy, jwks_consumer, .flags = WEIR_CONSUMER_NAME,
                .help = "consumer (username or id) of tokens that a key of the set verifies"),
    WEIR_STRING(jwt_policy, consumer_claim,
                .help = "claim of such tokens that names their consumer (username or id)"),
    WEIR_MAP(jwt_policy, claims_to_headers,
             .help = "claims the target is told, each with the header for it"),
    WEIR_LIST(jwt_policy, required_roles, WEIR_TYPE_STRING, .help = "one of these is needed"),
    WEIR_LIST(jwt_policy, required_scopes, WEIR_TYPE_STRING, .help = "all of these are needed"),
    WEIR_STRING(jwt_policy, roles_claim, .def = "roles", .help = "where the roles are"),
    WEIR_STRING(jwt_policy, scopes_claim,
                .help = "where the scopes are; absent: scope, else scopes"),
    WEIR_ENUM(jwt_policy, error_codes, .def = "kong", .choices = code_kinds,
              .help = "seed: bodies name the kind of failure in a member \"error\""),
};

static const weir_field credential_fields[] = {
    WEIR_STRING(credential, key, .flags = WEIR_UNIQUE,
                .help = "what the key claim says; a random one when absent"),
    WEIR_ENUM(credential, algorithm, .def = "HS256", .choices = algorithm_names,
              .help = "the one algorithm its tokens are signed with"),
    WEIR_STRING(credential, secret, .flags = WEIR_SECRET,
                .help = "of HS*; one that nobody knows when absent"),
    WEIR_STRING(credential, rsa_public_key,
                .help = "public key or certificate in PEM for all but HS*: RSA, EC or EdDSA"),
};

/* As Kong has it: RS*, PS* and EdDSA need a key at load, that of ES* is missed when it is used. A
 * key that is there must be one, whatever for. */
static int check_credential(const void *data, weir_error *error)
{
    const credential *row = data;
    const struct algorithm *algorithm = algorithm_find(row->algorithm);
    if (row->rsa_public_key.size == 0) {
        if (algorithm == NULL || algorithm->family == FAMILY_HS || algorithm->family == FAMILY_ES)
            return 0;
        weir_error_at(error, "rsa_public_key", "required field missing: algorithm %s needs it",
                      algorithm->name);
        return -1;
    }
    struct key *key = key_of_pem(row->rsa_public_key);
    if (key == NULL) {
        weir_error_at(error, "rsa_public_key", "invalid key: want a public key in PEM");
        return -1;
    }
    key_free(key);
    return 0;
}

static const weir_credential_kind kinds[] = {
    {
        .collection = "jwt_secrets",
        .fields = credential_fields,
        .field_count = sizeof(credential_fields) / sizeof(credential_fields[0]),
        .field_stride = (uint32_t)sizeof(credential_fields[0]),
        .unique_key = "key",
        .data_size = (uint32_t)sizeof(credential),
        .flags = WEIR_RANDOM_KEY,
        .check = check_credential,
    },
};

/* ---- configuration */

static const weir_header_id *intern_headers(jwt_policy *policy, weir_error *error)
{
    const weir_str *names = policy->header_names.items;
    size_t count = policy->header_names.count;
    weir_header_id *ids = weir_policy_alloc(policy, (count + 1) * sizeof(*ids));
    if (ids == NULL)
        weir_error_at(error, "header_names", "no memory");
    for (size_t i = 0; ids != NULL && i < count; i++) {
        ids[i] = weir_header_intern(names[i]);
        if (ids[i] == 0) {
            weir_error_at(error, "header_names", "'%.*s' cannot be a header name",
                          TEXT_ARG(names[i]));
            return NULL;
        }
    }
    return ids;
}

/* The way the message goes is not a claim's business. */
static bool may_be_told(weir_str header)
{
    static const char *const reserved[] = {"Host",
                                           "Connection",
                                           "Content-Length",
                                           "Transfer-Encoding",
                                           "Upgrade",
                                           "Trailer",
                                           "TE",
                                           "Keep-Alive",
                                           "Expect",
                                           NULL};
    for (size_t i = 0; reserved[i] != NULL; i++)
        if (text_equal_nocase(header, text_of(reserved[i])))
            return false;
    return true;
}

static const weir_header_id *intern_told(jwt_policy *policy, weir_error *error)
{
    const weir_pair *pairs = policy->claims_to_headers.items;
    size_t count = policy->claims_to_headers.count;
    weir_header_id *ids = weir_policy_alloc(policy, (count + 1) * sizeof(*ids));
    if (ids == NULL)
        weir_error_at(error, "claims_to_headers", "no memory");
    for (size_t i = 0; ids != NULL && i < count; i++) {
        ids[i] = may_be_told(pairs[i].value) ? weir_header_intern(pairs[i].value) : 0;
        if (ids[i] == 0) {
            weir_error_at(error, "claims_to_headers", "'%.*s' cannot be a header for a claim",
                          TEXT_ARG(pairs[i].value));
            return NULL;
        }
    }
    return ids;
}

static char *append(char *at, weir_str text)
{
    if (text.size > 0)
        memcpy(at, text.data, text.size);
    return at + text.size;
}

/* Bearer realm="…", error="…"; both are optional. Absent: no memory. */
static weir_str challenge_of(jwt_policy *policy, weir_str error)
{
    weir_str realm = policy->realm;
    char *text = weir_policy_alloc(policy, 2 * realm.size + error.size + 64), *at = text;
    if (text == NULL)
        return TEXT_NONE;
    at = append(at, WEIR_LIT("Bearer"));
    if (realm.data != NULL) {
        at = append(at, WEIR_LIT(" realm=\""));
        for (size_t i = 0; i < realm.size; i++) {
            if (realm.data[i] == '"' || realm.data[i] == '\\')
                *at++ = '\\';
            *at++ = realm.data[i];
        }
        at = append(at, WEIR_LIT("\""));
    }
    if (error.size > 0) {
        at = append(at, realm.data != NULL ? WEIR_LIT(", error=\"") : WEIR_LIT(" error=\""));
        at = append(at, error);
        at = append(at, WEIR_LIT("\""));
    }
    return (weir_str){text, (size_t)(at - text)};
}

static int make_challenges(jwt_policy *policy, weir_error *error)
{
    for (size_t i = 0; i < policy->realm.size; i++) {
        unsigned char c = (unsigned char)policy->realm.data[i];
        if (c < 0x20 || c == 0x7f) {
            weir_error_at(error, "realm", "control characters cannot be sent in a header");
            return -1;
        }
    }
    policy->challenge = challenge_of(policy, TEXT_NONE);
    policy->challenge_invalid = challenge_of(policy, WEIR_LIT("invalid_token"));
    policy->challenge_scope = challenge_of(policy, WEIR_LIT("insufficient_scope"));
    if (policy->challenge.data != NULL && policy->challenge_invalid.data != NULL &&
        policy->challenge_scope.data != NULL)
        return 0;
    weir_error_at(error, "realm", "no memory");
    return -1;
}

static int check_combinations(const jwt_policy *policy, weir_error *error)
{
    if (policy->maximum_expiration > 0 && !policy->verifies_exp) {
        weir_error_at(error, "claims_to_verify", "expected to contain: exp");
        return -1;
    }
    weir_str uri = policy->jwks_uri;
    if (uri.data != NULL && (uri.size < 8 || (strncasecmp(uri.data, "http://", 7) != 0 &&
                                              strncasecmp(uri.data, "https://", 8) != 0))) {
        weir_error_at(error, "jwks_uri", "expected a URL that starts with http:// or https://");
        return -1;
    }
    bool has_set = uri.data != NULL || policy->jwks_file.data != NULL;
    if (!has_set && (policy->jwks_consumer.data != NULL || policy->consumer_claim.data != NULL)) {
        weir_error_at(error,
                      policy->jwks_consumer.data != NULL ? "jwks_consumer" : "consumer_claim",
                      "needs jwks_file or jwks_uri: other tokens have the consumer of their "
                      "credential");
        return -1;
    }
    return 0;
}

static int configure(void *self, weir_error *error)
{
    jwt_policy *policy = self;
    policy->headers = intern_headers(policy, error);
    policy->told = policy->headers == NULL ? NULL : intern_told(policy, error);
    if (policy->told == NULL)
        return -1;
    policy->www_authenticate = weir_header_intern(WEIR_LIT("WWW-Authenticate"));
    policy->cookie = weir_header_intern(WEIR_LIT("Cookie"));
    policy->anonymous_consumer = weir_header_intern(WEIR_LIT("X-Anonymous-Consumer"));
    policy->verifies_exp = text_is_listed(&policy->claims_to_verify, WEIR_LIT("exp"));
    policy->verifies_nbf = text_is_listed(&policy->claims_to_verify, WEIR_LIT("nbf"));
    policy->seed_codes = text_equal(policy->error_codes, WEIR_LIT("seed"));
    return make_challenges(policy, error) != 0 ? -1 : check_combinations(policy, error);
}

/* ---- life in a worker */

static void stop(void *self)
{
    jwt_policy *policy = self;
    jwks_destroy(policy->jwks);
    verified_destroy(policy->verified);
    keyring_destroy(policy->keyring);
    policy->jwks = NULL;
    policy->verified = NULL;
    policy->keyring = NULL;
}

static int start(void *self)
{
    jwt_policy *policy = self;
    /* Kong loads such a file and answers 500 later; say so now. */
    if (policy->anonymous.data != NULL && weir_consumer_find(self, policy->anonymous) == NULL)
        weir_log(NULL, WEIR_LOG_WARN,
                 "anonymous consumer %.*s is configured but doesn't exist: requests without a good "
                 "token get 500",
                 TEXT_ARG(policy->anonymous));
    policy->keyring = keyring_create();
    policy->verified = verified_create();
    bool has_set = policy->jwks_file.data != NULL || policy->jwks_uri.data != NULL;
    policy->jwks = has_set ? jwks_create(policy) : NULL;
    if (policy->keyring != NULL && policy->verified != NULL && (!has_set || policy->jwks != NULL))
        return 0;
    stop(self);
    return -1;
}

/* ---- a request */

static weir_verdict refuse(weir_request *request, const jwt_policy *policy, refusal why,
                           const checked *about)
{
    return answer(request, policy, why, about) ? WEIR_DONE : WEIR_FAIL;
}

static bool needs_rights(const jwt_policy *policy)
{
    return policy->required_roles.count > 0 || policy->required_scopes.count > 0;
}

static weir_verdict without_token(weir_request *request, const jwt_policy *policy, refusal why,
                                  const checked *about)
{
    if (why == NO_MEMORY)
        return WEIR_FAIL;
    if (policy->anonymous.data == NULL || why == KEYS_AWAY || why == LACKS_ROLE ||
        why == LACKS_SCOPE)
        return refuse(request, policy, why, about);
    if (needs_rights(policy)) /* nobody has none */
        return refuse(request, policy, UNAUTHENTICATED, about);
    weir_status status = weir_authenticate_anonymous(request, policy->anonymous);
    if (status == WEIR_SUCCESS)
        return WEIR_NEXT;
    if (status != WEIR_NOT_FOUND)
        return WEIR_FAIL;
    weir_log(request, WEIR_LOG_ERROR, "anonymous consumer %.*s is configured but doesn't exist",
             TEXT_ARG(policy->anonymous));
    return weir_respond_error(request, 500, WEIR_LIT("An unexpected error occurred")) ==
                   WEIR_SUCCESS
               ? WEIR_DONE
               : WEIR_FAIL;
}

static weir_verdict with_token(weir_request *request, const jwt_policy *policy, weir_str token,
                               const checked *who)
{
    if (weir_authenticate(request, who->consumer, who->credential, who->identifier) != WEIR_SUCCESS)
        return WEIR_FAIL;
    for (size_t i = 0; i < policy->claims_to_headers.count; i++)
        if (who->values[i].data != NULL &&
            weir_header_set(request, WEIR_SIDE_REQUEST, policy->told[i], who->values[i]) !=
                WEIR_SUCCESS)
            return WEIR_FAIL;
    /* For later policies; without memory they see nothing. */
    (void)weir_shared_set(request, WEIR_LIT("authenticated_jwt_token"), token);
    weir_str claims = token_claims_text(request, token);
    if (claims.data != NULL)
        (void)weir_shared_set(request, WEIR_LIT("jwt_claims"), claims);
    return WEIR_NEXT;
}

static weir_wake_hook on_keys;

static weir_verdict proceed(weir_request *request, const jwt_policy *policy, bool may_wait)
{
    weir_str token = TEXT_NONE;
    checked about = {.times = 0};
    switch (find_token(request, policy, &token)) {
    case FOUND_NONE:
        return without_token(request, policy, NO_TOKEN, &about);
    case FOUND_SEVERAL:
        return without_token(request, policy, SEVERAL_TOKENS, &about);
    case FOUND_ONE:
        break;
    }
    refusal why = check_token(request, policy, token, may_wait, &about);
    if (about.wait && jwks_wait(policy->jwks, request, on_keys))
        return WEIR_WAIT;
    return why == PASSES ? with_token(request, policy, token, &about)
                         : without_token(request, policy, why, &about);
}

/* Whether the keys came or not: what is there now must do. */
static weir_verdict on_keys(weir_request *request, void *self, void *context, uint32_t why)
{
    (void)context;
    (void)why;
    return proceed(request, self, false);
}

/* By a good credential: the anonymous consumer that an earlier policy set is none. */
static bool is_authenticated(weir_request *request, const jwt_policy *policy)
{
    return weir_request_number(request, WEIR_NUMBER_AUTHENTICATED) == 1 &&
           weir_header_get(request, WEIR_SIDE_REQUEST, policy->anonymous_consumer, 0).data == NULL;
}

static weir_verdict on_access(weir_request *request, void *self, void *context)
{
    const jwt_policy *policy = self;
    (void)context;
    /* Whoever sends them, they are the gateway's. */
    for (size_t i = 0; i < policy->claims_to_headers.count; i++)
        (void)weir_header_remove(request, WEIR_SIDE_REQUEST, policy->told[i]);
    if (!policy->run_on_preflight &&
        text_equal(weir_request_text(request, WEIR_TEXT_METHOD), WEIR_LIT("OPTIONS")))
        return WEIR_NEXT;
    /* With `anonymous` one good credential of any kind is enough, unless rights are asked for. */
    if (policy->anonymous.data != NULL && !needs_rights(policy) &&
        is_authenticated(request, policy))
        return WEIR_NEXT;
    return proceed(request, policy, true);
}

WEIR_PLUGIN("jwt", "1.0.0", WEIR_CAP_NETWORK | WEIR_CAP_SECRETS, .priority = 1450,
            .flags = WEIR_PLUGIN_AUTHENTICATES | WEIR_PLUGIN_NO_CONSUMER_SCOPE,
            WEIR_SELF(jwt_policy), WEIR_FIELDS(fields), WEIR_CREDENTIALS(kinds),
            .configure = configure, .start = start, .stop = stop, .access = on_access);
