#include "answer.h"

#include <stdarg.h>
#include <stdio.h>

#include <weir/json.h>

#include "text.h"

#define MISSING "missing_token", "Authorization header with Bearer token is required."
#define EXPIRED "token_expired", "The token has expired. Please obtain a new token."
#define INVALID "invalid_token", "The token is malformed or invalid."
#define FAILED "authentication_failed", "Token validation failed."
#define UNKNOWN "unauthenticated", "Authentication is required."
#define FORBIDDEN "forbidden", NULL

enum challenge { NONE, PLAIN, INVALID_TOKEN, SCOPE };

/* %1: a name from the configuration, see name_of(). */
struct row {
    uint32_t status;
    enum challenge challenge;
    const char *message;
    const char *seed_error, *seed_message; /* NULL: the same message */
};

/* clang-format off */
static const struct row rows[REFUSALS] = {
    [NO_TOKEN]           = {401, PLAIN, "Unauthorized", MISSING},
    [SEVERAL_TOKENS]     = {401, INVALID_TOKEN, "Multiple tokens provided", INVALID},
    [TOO_LARGE]          = {401, INVALID_TOKEN, "Bad token; too large", INVALID},
    [BAD_JSON]           = {401, INVALID_TOKEN, "Bad token; invalid JSON", INVALID},
    [BAD_ALGORITHM]      = {401, INVALID_TOKEN, "Bad token; invalid alg", INVALID},
    [BAD_CLAIMS]         = {401, INVALID_TOKEN, "Bad token; invalid claims", INVALID},
    [BAD_SIGNATURE]      = {401, INVALID_TOKEN, "Bad token; invalid signature", INVALID},
    [CRITICAL_EXTENSION] = {401, INVALID_TOKEN, "Bad token; unknown critical extension", INVALID},
    [NO_KEY_CLAIM]       = {401, INVALID_TOKEN, "No mandatory '%.*s' in claims", INVALID},
    [BAD_KEY_CLAIM]      = {401, INVALID_TOKEN, "Invalid '%.*s' in claims", INVALID},
    [NO_CREDENTIAL]      = {401, INVALID_TOKEN, "No credentials found for given '%.*s'", FAILED},
    [KEYS_AWAY]          = {503, NONE, "The keys to verify tokens are not available", FAILED},
    [WRONG_ALGORITHM]    = {401, INVALID_TOKEN, "Invalid algorithm", INVALID},
    [NO_KEY]             = {401, INVALID_TOKEN, "Invalid key/secret", FAILED},
    [WRONG_SIGNATURE]    = {401, INVALID_TOKEN, "Invalid signature", INVALID},
    [WRONG_TIMES]        = {401, INVALID_TOKEN, NULL, FAILED},
    [TOO_FAR]            = {401, INVALID_TOKEN, NULL, FAILED},
    [WRONG_ISSUER]       = {401, INVALID_TOKEN, "Invalid issuer", INVALID},
    [WRONG_AUDIENCE]     = {401, INVALID_TOKEN, "Invalid audience", INVALID},
    [NO_CONSUMER]        = {401, NONE, "Could not find consumer for '%.*s'", FAILED},
    [LACKS_ROLE]         = {403, SCOPE, "Required roles: %.*s", FORBIDDEN},
    [LACKS_SCOPE]        = {403, SCOPE, "Required scopes: %.*s", FORBIDDEN},
    [UNAUTHENTICATED]    = {401, PLAIN, "Unauthorized", UNKNOWN},
};
/* clang-format on */

/* Absent: no memory. */
static weir_str __attribute__((format(printf, 2, 3)))
format(weir_request *request, const char *pattern, ...)
{
    va_list arguments, again;
    va_start(arguments, pattern);
    va_copy(again, arguments);
    int size = vsnprintf(NULL, 0, pattern, arguments);
    char *text = size < 0 ? NULL : weir_request_alloc(request, (size_t)size + 1);
    if (text != NULL)
        (void)vsnprintf(text, (size_t)size + 1, pattern, again);
    va_end(again);
    va_end(arguments);
    return text == NULL ? TEXT_NONE : (weir_str){text, (size_t)size};
}

static weir_str quoted(weir_request *request, weir_str text)
{
    weir_str out = TEXT_NONE;
    if (text.data == NULL ||
        weir_json_quote(text, weir_alloc_of_request, request, &out) != WEIR_SUCCESS)
        return TEXT_NONE;
    return out;
}

static weir_str listed(weir_request *request, const weir_list *list)
{
    const weir_str *items = list->items;
    weir_str text = items[0];
    for (size_t i = 1; i < list->count && text.data != NULL; i++)
        text = format(request, "%.*s, %.*s", TEXT_ARG(text), TEXT_ARG(items[i]));
    return text;
}

static weir_str name_of(weir_request *request, const jwt_policy *policy, refusal why,
                        const checked *about)
{
    if (why == LACKS_ROLE)
        return listed(request, &policy->required_roles);
    if (why == LACKS_SCOPE)
        return listed(request, &policy->required_scopes);
    if (why != NO_CONSUMER)
        return policy->key_claim_name;
    if (policy->consumer_claim.data == NULL)
        return policy->jwks_consumer;
    weir_str claim = about->claim.data == NULL ? WEIR_LIT("") : about->claim;
    return format(request, "%.*s=%.*s", TEXT_ARG(policy->consumer_claim), TEXT_ARG(claim));
}

/* The part of a pattern around its one "%.*s", with the name in between. */
static weir_str message_of(weir_request *request, const char *pattern, weir_str name)
{
    const char *hole = strstr(pattern, "%.*s");
    if (hole == NULL)
        return text_of(pattern);
    return name.data == NULL ? TEXT_NONE
                             : format(request, "%.*s%.*s%s", (int)(hole - pattern), pattern,
                                      TEXT_ARG(name), hole + 4);
}

/* {"exp":…,"nbf":…}: as Kong tells of times. */
static weir_str times_of(weir_request *request, refusal why, unsigned times)
{
    const char *exp = (times & EXP_NO_NUMBER) != 0 ? "\"exp\":\"must be a number\""
                      : (times & EXP_PAST) != 0    ? "\"exp\":\"token expired\""
                                                   : "";
    const char *nbf = (times & NBF_NO_NUMBER) != 0 ? "\"nbf\":\"must be a number\""
                      : (times & NBF_AHEAD) != 0   ? "\"nbf\":\"token not valid yet\""
                                                   : "";
    if (why == TOO_FAR)
        return WEIR_LIT("{\"exp\":\"exceeds maximum allowed expiration\"}");
    return format(request, "{%s%s%s}", exp, *exp != '\0' && *nbf != '\0' ? "," : "", nbf);
}

static weir_str seed_body(weir_request *request, const struct row *row, refusal why, unsigned times,
                          weir_str message)
{
    struct row said = *row;
    /* In the order in which the seed's library looks at them. */
    if (why == WRONG_TIMES && (times & (EXP_NO_NUMBER | NBF_NO_NUMBER)) != 0)
        said = rows[BAD_JSON];
    else if (why == WRONG_TIMES && (times & NBF_AHEAD) == 0)
        said = (struct row){401, INVALID_TOKEN, NULL, EXPIRED};
    weir_str text =
        quoted(request, said.seed_message == NULL ? message : text_of(said.seed_message));
    return text.data == NULL ? TEXT_NONE
                             : format(request, "{\"error\":\"%s\",\"message\":%.*s}",
                                      said.seed_error, TEXT_ARG(text));
}

static weir_str kong_body(weir_request *request, refusal why, unsigned times, weir_str message)
{
    if (why == WRONG_TIMES || why == TOO_FAR)
        return times_of(request, why, times);
    weir_str text = quoted(request, message);
    return text.data == NULL ? TEXT_NONE : format(request, "{\"message\":%.*s}", TEXT_ARG(text));
}

bool answer(weir_request *request, const jwt_policy *policy, refusal why, const checked *about)
{
    const struct row *row = &rows[why];
    weir_str message = row->message == NULL ? WEIR_LIT("")
                                            : message_of(request, row->message,
                                                         name_of(request, policy, why, about));
    weir_str body = policy->seed_codes ? seed_body(request, row, why, about->times, message)
                                       : kong_body(request, why, about->times, message);
    if (body.data == NULL ||
        weir_respond(request, row->status, WEIR_LIT("application/json; charset=utf-8"), body) !=
            WEIR_SUCCESS)
        return false;
    const weir_str challenges[] = {
        [NONE] = TEXT_NONE,
        [PLAIN] = policy->challenge,
        [INVALID_TOKEN] = policy->challenge_invalid,
        [SCOPE] = policy->challenge_scope,
    };
    weir_str challenge = challenges[row->challenge];
    return challenge.data == NULL ||
           weir_header_set(request, WEIR_SIDE_RESPONSE, policy->www_authenticate, challenge) ==
               WEIR_SUCCESS;
}
