#include "kits.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static const char *yaml_of(const char *config, const char *others)
{
    static char text[4096];
    int size = snprintf(
        text, sizeof(text),
        "_format_version: '3.0'\n"
        "services: [{name: s, url: 'http://127.0.0.1:9001', routes: [{name: r, paths: [/a]}]}]\n"
        "consumers: [{username: alice, keyauth_credentials: [{key: alice-key}]}]\n"
        "plugins: [{name: response-transformer, config: %s}%s]\n",
        config, others);
    cr_assert(size > 0 && (size_t)size < sizeof(text));
    return text;
}

struct kit *open_kit(const char *config, const char *others)
{
    struct kit *kit = kit_open(yaml_of(config, others));
    cr_assert_not_null(kit, "%s: %s", config, kit_error());
    return kit;
}

const char *refusal(const char *config)
{
    struct kit *kit = kit_open(yaml_of(config, ""));
    if (kit == NULL)
        return kit_error();
    kit_close(kit);
    return NULL;
}

kit_request *ask(struct kit *kit, const char *target, int status, const char *type,
                 const char *body)
{
    kit_request *r = kit_request_new(kit, "GET", target);
    kit_target_response(r, status, body);
    kit_target_header(r, "Content-Type", type);
    return r;
}

const char *edited(const char *config, const char *body)
{
    static char kept[65536];
    struct kit *kit = open_kit(config, "");
    kit_request *r = ask(kit, "/a", 200, "application/json", body);
    cr_assert_eq(kit_run(r), 200, "%s: %d", config, kit_status(r));
    cr_assert_lt(kit_response_body_size(r), sizeof(kept));
    memcpy(kept, kit_response_body(r), kit_response_body_size(r) + 1);
    kit_close(kit);
    return kept;
}
