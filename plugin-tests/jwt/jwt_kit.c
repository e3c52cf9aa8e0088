#include "jwt_kit.h"

#include <criterion/criterion.h>
#include <string.h>

struct kit *jwt_try(const char *config, const char *more)
{
    return kit_open(sign_format(
        "_format_version: '3.0'\n"
        "services: [{name: s, url: 'http://127.0.0.1:9001', routes: [{name: r, paths: [/a]}]}]\n"
        "plugins: [{name: jwt, config: %s}]\n"
        "consumers:\n"
        "- username: jo\n"
        "  custom_id: cid-jo\n"
        "  jwt_secrets:\n"
        "  - {key: iss-1, secret: " SECRET ", id: 55555555-5555-4555-8555-555555555555}\n"
        "  - {key: iss-384, secret: " SECRET ", algorithm: HS384}\n"
        "  - {key: iss-512, secret: " SECRET ", algorithm: HS512}\n"
        "  - {key: iss-b64, secret: cmF3LWJ5dGVz}\n"
        "  - {key: iss-none}\n"
        "%s"
        "- {username: anon, id: 44444444-4444-4444-8444-444444444444}\n",
        config, more));
}

struct kit *jwt_open(const char *config, const char *more)
{
    struct kit *kit = jwt_try(config, more);
    cr_assert_not_null(kit, "%s: %s", config, kit_error());
    return kit;
}

kit_request *jwt_send(struct kit *kit, const char *token)
{
    kit_request *r = kit_request_new(kit, "GET", "/a");
    if (token != NULL)
        kit_request_header(r, "Authorization", sign_format("Bearer %s", token));
    (void)kit_run(r);
    return r;
}

int jwt_status(struct kit *kit, const char *token)
{
    kit_request *r = jwt_send(kit, token);
    int status = kit_status(r);
    kit_request_free(r);
    return status;
}

void jwt_refused(struct kit *kit, const char *reason, const char *token, const char *message)
{
    kit_request *r = jwt_send(kit, token);
    const char *body = sign_format("{\"message\":\"%s\"}", message);
    cr_expect_eq(kit_status(r), 401, "%s: %d", reason, kit_status(r));
    cr_expect_str_eq(kit_response_body(r), body, "%s: %s", reason, kit_response_body(r));
    cr_expect_str_eq(kit_response_header(r, "WWW-Authenticate"), BEARER, "%s", reason);
    cr_expect_not(kit_was_proxied(r), "%s", reason);
    kit_request_free(r);
}

void jwt_passes(struct kit *kit, const char *reason, const char *token, const char *consumer)
{
    kit_request *r = jwt_send(kit, token);
    const char *who = kit_consumer(r);
    cr_expect_eq(kit_status(r), 200, "%s: %d %s", reason, kit_status(r), kit_response_body(r));
    if (consumer == NULL)
        cr_expect_null(who, "%s: %s", reason, who);
    else
        cr_expect(who != NULL && strcmp(who, consumer) == 0, "%s: %s", reason, who);
    kit_request_free(r);
}

const char *jwt_token(const char *claims)
{
    return sign_hmac("SHA256", SECRET, HS256, claims);
}
