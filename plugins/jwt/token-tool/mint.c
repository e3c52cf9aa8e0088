/* A token from what the command line says. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "token.h"

enum { EXPIRES_S = 300 /* unless said otherwise: what is for a try should not live on */ };

static int refused(const struct member *member, int error)
{
    if (error == ENOMEM)
        return failure("no memory");
    return failure("the %s '%s' is no text in UTF-8",
                   member->kind == HEADER_TEXT ? "member of the header" : "claim", member->name);
}

/* libjwt takes objects, so that the value comes as the only member of one; that it is the only one
 * is seen in a token of its own ("1, \"iss\": 2" would be two). */
static int add_json(jwt_t *token, const struct member *member)
{
    char text[NAME_SIZE_MAX + VALUE_SIZE_MAX + 8];
    jwt_t *alone = NULL;
    char *rest = NULL;
    (void)snprintf(text, sizeof(text), "{\"%s\":%s}", member->name, member->value);
    bool good = jwt_new(&alone) == 0 && jwt_add_grants_json(alone, text) == 0 &&
                jwt_del_grants(alone, member->name) == 0 &&
                (rest = jwt_get_grants_json(alone, NULL)) != NULL && strcmp(rest, "{}") == 0 &&
                jwt_add_grants_json(token, text) == 0;
    free(rest);
    jwt_free(alone);
    if (good)
        return TOKEN_OK;
    return failure("the claim '%s' is no JSON (text stands in quotes, integers fit 64 bits, no "
                   "member twice)",
                   member->name);
}

static int add_member(jwt_t *token, const struct member *member)
{
    int error = 0;
    switch (member->kind) {
    case CLAIM_JSON:
        return add_json(token, member);
    case CLAIM_TEXT:
        error = jwt_add_grant(token, member->name, member->value);
        break;
    case HEADER_TEXT:
        error = jwt_add_header(token, member->name, member->value);
        break;
    }
    return error == 0 ? TOKEN_OK : refused(member, error);
}

static int add_time(jwt_t *token, const char *name, int64_t from_now)
{
    if (jwt_add_grant_int(token, name, (long)(time(NULL) + from_now)) == 0)
        return TOKEN_OK;
    return failure("no memory");
}

static int fill(const struct options *options, jwt_t *token)
{
    int code = TOKEN_OK;
    for (size_t i = 0; i < options->member_count && code == TOKEN_OK; i++)
        code = add_member(token, &options->members[i]);
    bool ends = options->has_expires ? !options->never_expires
                                     : options_find(options, CLAIM_TEXT, "exp") == NULL;
    if (code == TOKEN_OK && ends)
        code = add_time(token, "exp", options->has_expires ? options->expires_s : EXPIRES_S);
    if (code == TOKEN_OK && options->has_not_before)
        code = add_time(token, "nbf", options->not_before_s);
    return code;
}

/* The library signs ES* with a key of any curve, which nobody accepts: the signature has the size
 * of the curve. */
static bool is_of_curve(jwt_alg_t algorithm, const char *text)
{
    static const struct {
        jwt_alg_t algorithm;
        size_t size; /* in base64 */
    } sizes[] = {{JWT_ALG_ES256, 86}, {JWT_ALG_ES384, 128}, {JWT_ALG_ES512, 176}};
    const char *signature = strrchr(text, '.');
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        if (sizes[i].algorithm == algorithm)
            return signature != NULL && strlen(signature + 1) == sizes[i].size;
    return true;
}

static int print(const struct options *options, const char *text, int error)
{
    if (text == NULL && error != ENOMEM && options->key_file != NULL)
        return failure("the key in %s cannot sign with %s: another kind of key, or not readable",
                       options->key_file, options->algorithm_name);
    if (text == NULL)
        return failure("it cannot be signed: %s", strerrordesc_np(error));
    if (!is_of_curve(options->algorithm, text))
        return failure("the key in %s is on another curve than %s needs (ES256: P-256, ES384: "
                       "P-384, ES512: P-521)",
                       options->key_file, options->algorithm_name);
    if (strlen(text) > TOKEN_SIZE_MAX)
        return failure("the token has %zu bytes, the gateway takes %d", strlen(text),
                       (int)TOKEN_SIZE_MAX);
    if (puts(text) == EOF || fflush(stdout) != 0)
        return failure("the token cannot be written: %s", strerrordesc_np(errno));
    return TOKEN_OK;
}

static int sign(const struct options *options, jwt_t *token)
{
    struct key *key = calloc(1, sizeof(*key));
    if (key == NULL)
        return failure("no memory");
    int code = key_read(options, key);
    if (code == TOKEN_OK && jwt_set_alg(token, options->algorithm, key->bytes, key->size) != 0)
        code = failure("no memory");
    key_forget(key);
    free(key);
    if (code != TOKEN_OK)
        return code;
    char *text = jwt_encode_str(token);
    code = print(options, text, errno);
    free(text);
    return code;
}

int mint(const struct options *options)
{
    jwt_t *token = NULL;
    if (jwt_new(&token) != 0)
        return failure("no memory");
    int code = fill(options, token);
    if (code == TOKEN_OK)
        code = sign(options, token);
    jwt_free(token);
    return code;
}
