/* What a token says, with or without a look at its signature. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "token.h"

static int take_token(const struct options *options, char text[TOKEN_SIZE_MAX + 1])
{
    size_t size = 0;
    if (strcmp(options->token, "-") == 0) {
        long got = file_read("/dev/stdin", "token", text, TOKEN_SIZE_MAX);
        if (got < 0)
            return TOKEN_FAILED;
        size = (size_t)got;
        while (size > 0 && (text[size - 1] == '\n' || text[size - 1] == '\r'))
            size--;
    } else {
        size = strlen(options->token);
        if (size > TOKEN_SIZE_MAX)
            return failure("the token is longer than the %d bytes that the gateway takes",
                           (int)TOKEN_SIZE_MAX);
        memcpy(text, options->token, size);
    }
    text[size] = '\0';
    if (strlen(text) == size && size > 0 &&
        strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.") == size)
        return TOKEN_OK;
    return failure("that is no token: letters, digits, '-', '_', and a dot between its parts");
}

static int read_token(const char *text, jwt_t **out_token)
{
    int error = jwt_decode(out_token, text, NULL, 0);
    if (error == 0)
        return TOKEN_OK;
    if (error == ENOMEM)
        return failure("no memory");
    return failure("libjwt cannot read it: it reads three parts in base64url, the first two JSON "
                   "objects, typ JWT or none, and HS*, RS* or ES*");
}

static int verify(const struct options *options, const char *text, jwt_t *unverified)
{
    const char *named = jwt_get_header(unverified, "alg");
    jwt_t *verified = NULL;
    /* Only then the key: a token that chooses its own algorithm proves nothing. */
    if (named == NULL || strcmp(named, options->algorithm_name) != 0)
        return failure("the token names another algorithm than %s", options->algorithm_name);
    struct key *key = calloc(1, sizeof(*key));
    if (key == NULL)
        return failure("no memory");
    int code = key_read(options, key);
    if (code == TOKEN_OK && jwt_decode(&verified, text, key->bytes, key->size) != 0)
        code = failure("the signature is wrong, or the key is none of %s", options->algorithm_name);
    key_forget(key);
    free(key);
    jwt_free(verified);
    return code;
}

/* The library escapes control characters but for these, which some terminals obey. */
static void print_json(const char *title, const char *json)
{
    (void)printf("%s  ", title);
    for (const unsigned char *at = (const unsigned char *)json; *at != '\0'; at++) {
        if (*at == 0x7f)
            (void)printf("\\u007f");
        else if (at[0] == 0xc2 && at[1] >= 0x80 && at[1] < 0xa0)
            (void)printf("\\u00%02x", *++at);
        else
            (void)putchar(*at);
    }
    (void)putchar('\n');
}

static void print_time(jwt_t *token, const char *name)
{
    errno = 0;
    time_t value = (time_t)jwt_get_grant_int(token, name);
    struct tm parts;
    char text[64];
    long long ahead = (long long)value - (long long)time(NULL);
    if (errno != 0 || value < 0 || gmtime_r(&value, &parts) == NULL ||
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts) == 0)
        return;
    (void)printf("%s     %s, %s%lld s%s\n", name, text, ahead >= 0 ? "in " : "",
                 ahead >= 0 ? ahead : -ahead, ahead >= 0 ? "" : " ago");
}

static int print(const struct options *options, jwt_t *token)
{
    char *header = jwt_get_headers_json(token, NULL), *claims = jwt_get_grants_json(token, NULL);
    bool good = header != NULL && claims != NULL;
    if (good) {
        (void)puts(options->command == VERIFY
                       ? "the signature is right"
                       : "not verified: anybody can write a token that says this");
        print_json("header", header);
        print_json("claims", claims);
        print_time(token, "exp");
        print_time(token, "nbf");
    }
    free(header);
    free(claims);
    if (!good)
        return failure("no memory");
    return fflush(stdout) == 0 ? TOKEN_OK
                               : failure("it cannot be written: %s", strerrordesc_np(errno));
}

int show(const struct options *options)
{
    char text[TOKEN_SIZE_MAX + 1];
    jwt_t *token = NULL;
    int code = take_token(options, text);
    if (code == TOKEN_OK)
        code = read_token(text, &token);
    if (code == TOKEN_OK && options->command == VERIFY)
        code = verify(options, text, token);
    if (code == TOKEN_OK)
        code = print(options, token);
    jwt_free(token);
    return code;
}
