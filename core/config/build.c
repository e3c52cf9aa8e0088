/* The order of things: version, collecting, linking, arrays. */
#include "config/build.h"

#include <time.h>

#include "base/digest.h"
#include "base/text.h"
#include "config/builder.h"

static const char zero_hash[] = "00000000000000000000000000000000";

static void check_version(struct builder *builder, const struct node *root, struct config *config)
{
    const struct member *member = node_find_member(root, SPAN("_format_version"));
    config->format_version = SPAN("3.0");
    if (member == NULL || node_is_null(member->value)) {
        WARN(builder, root->position, "_format_version", "missing, taken as \"3.0\"");
        return;
    }
    const struct node *value = member->value;
    struct span version = value->text;
    bool known = value->kind == NODE_SCALAR &&
                 (span_equal(version, SPAN("1.1")) || span_equal(version, SPAN("2.1")) ||
                  span_equal(version, SPAN("3.0")));
    if (value->kind != NODE_SCALAR)
        PROBLEM(builder, value->position, "_format_version", "expected a string");
    else if (!known)
        PROBLEM(builder, value->position, "_format_version", "expected one of: 1.1, 2.1, 3.0");
    else if (!value->quoted)
        WARN(builder, value->position, "_format_version", "a bare number, write \"%.*s\"",
             SPAN_ARG(version));
    if (known)
        config->format_version = arena_copy(builder->arena, version);
    builder->old_paths = known && !span_equal(version, SPAN("3.0"));
}

static void read_top(struct builder *builder, const struct node *root, struct config *config)
{
    const struct node *transform = node_find(root, SPAN("_transform"));
    const struct node *settings = node_find(root, SPAN("gateway"));
    check_version(builder, root, config);
    config->transform = true;
    if (!node_is_null(transform) && !node_to_boolean(transform, &config->transform))
        PROBLEM(builder, transform->position, "_transform", "expected a boolean");
    if (!node_is_null(settings) && settings->kind != NODE_MAP)
        PROBLEM(builder, settings->position, "gateway", "expected a map");
    else if (!node_is_null(settings))
        config->settings = settings;
}

static void attach_targets(struct builder *builder)
{
    struct pointers *targets = &builder->kinds[KIND_TARGET];
    struct pointers *upstreams = &builder->kinds[KIND_UPSTREAM];
    for (size_t i = 0; i < targets->count; i++)
        ((struct target *)targets->items[i])->upstream->target_count++;
    for (size_t i = 0; i < upstreams->count; i++) {
        struct upstream *upstream = upstreams->items[i];
        upstream->targets =
            arena_array(builder->arena, const struct target *, upstream->target_count + 1);
        upstream->target_count = 0;
        builder->no_memory = builder->no_memory || upstream->targets == NULL;
    }
    for (size_t i = 0; i < targets->count && !builder->no_memory; i++) {
        struct target *target = targets->items[i];
        target->upstream->targets[target->upstream->target_count++] = target;
    }
}

#define HAND_OVER(config, builder, kind, type, array, count_)                   \
    do {                                                                        \
        (config)->array = (struct type **)(void *)(builder)->kinds[kind].items; \
        (config)->count_ = (builder)->kinds[kind].count;                        \
    } while (0)

/* What is looked up later stays; the rest goes with the scratch arena. */
static enum weir_err keep_names(struct builder *builder)
{
    static const struct names none = {0};
    for (size_t kind = 0; kind < KIND_COUNT; kind++) {
        bool build_only = kind == KIND_POLICY || kind == KIND_TARGET;
        struct names *by_id = &builder->names->by_id[kind];
        TRY(names_keep(&builder->names->by_name[kind], builder->arena));
        if (build_only)
            *by_id = none;
        else
            TRY(names_keep(by_id, builder->arena));
    }
    builder->names->credential_ids = builder->names->credential_keys = none;
    return names_keep(&builder->names->custom_ids, builder->arena);
}

static void hand_over(struct builder *builder, struct config *config)
{
    HAND_OVER(config, builder, KIND_SERVICE, service, services, service_count);
    HAND_OVER(config, builder, KIND_ROUTE, route, routes, route_count);
    HAND_OVER(config, builder, KIND_CONSUMER, consumer, consumers, consumer_count);
    HAND_OVER(config, builder, KIND_UPSTREAM, upstream, upstreams, upstream_count);
    HAND_OVER(config, builder, KIND_TARGET, target, targets, target_count);
    HAND_OVER(config, builder, KIND_POLICY, policy, policies, policy_count);
    HAND_OVER(config, builder, KIND_CERTIFICATE, certificate, certificates, certificate_count);
    HAND_OVER(config, builder, KIND_SNI, sni, snis, sni_count);
    HAND_OVER(config, builder, KIND_CA_CERTIFICATE, ca_certificate, ca_certificates,
              ca_certificate_count);
    HAND_OVER(config, builder, KIND_VAULT, vault, vaults, vault_count);
    config->credentials = (struct credential **)(void *)builder->credentials.items;
    config->credential_count = builder->credentials.count;
    config->names = builder->names;
    builder->no_memory = builder->no_memory || keep_names(builder) != WEIR_OK;
    config->hash = span_text(zero_hash);
}

static bool has_consumer(void *user, struct span name_or_id)
{
    const struct builder *builder = user;
    return names_reference(builder->names, KIND_CONSUMER, name_or_id) != NULL;
}

static bool compile_regex(void *user, struct span pattern, char *why, size_t why_size)
{
    const struct plugin_catalog *catalog = ((struct builder *)user)->catalog;
    return catalog->regex_compiles(catalog->user, pattern, why, why_size);
}

enum weir_err config_build(struct arena *arena, const struct node *root,
                           const struct plugin_catalog *catalog, struct problems *problems,
                           struct config **out_config)
{
    struct builder builder = {
        .arena = arena, .problems = problems, .catalog = catalog, .now = (int64_t)time(NULL)};
    builder.schema = (struct schema_context){
        .arena = arena,
        .problems = problems,
        .user = &builder,
        .consumer_exists = has_consumer,
        .regex_compiles = catalog->regex_compiles == NULL ? NULL : compile_regex};
    struct config *config = arena_new(arena, struct config);
    builder.names = arena_new(arena, struct config_names);
    if (config == NULL || builder.names == NULL)
        return WEIR_ERR_NO_MEMORY;
    if (root->kind != NODE_MAP) {
        PROBLEM(&builder, root->position, NULL,
                "failed parsing declarative configuration: expected an object");
        return WEIR_ERR_CONFIG;
    }
    config->root = root;
    builder.scratch = arena_create(NULL);
    if (builder.scratch == NULL)
        return WEIR_ERR_NO_MEMORY;
    read_top(&builder, root, config);
    collect_all(&builder, root);
    for (size_t i = 0; i < builder.pendings.count && !builder.no_memory; i++)
        link_pending(&builder, builder.pendings.items[i]);
    builder.no_memory = builder.no_memory || builder.schema.no_memory;
    bool good = !builder.no_memory && problems_errors(problems) == 0;
    if (good) {
        attach_targets(&builder);
        hand_over(&builder, config);
    }
    arena_destroy(builder.scratch);
    if (builder.no_memory)
        return WEIR_ERR_NO_MEMORY;
    if (!good)
        return WEIR_ERR_CONFIG;
    *out_config = config;
    return WEIR_OK;
}

enum weir_err config_set_hash(struct arena *arena, struct config *config, struct span text)
{
    unsigned char digest[DIGEST_SHA256];
    char *hex = arena_bytes(arena, 33);
    if (hex == NULL)
        return WEIR_ERR_NO_MEMORY;
    bool is_empty = config->service_count + config->route_count + config->consumer_count +
                        config->upstream_count + config->policy_count + config->certificate_count +
                        config->ca_certificate_count + config->vault_count ==
                    0;
    if (is_empty)
        return WEIR_OK;
    digest_sha256(digest, text);
    text_hex(hex, digest, 16);
    hex[32] = '\0';
    config->hash = span_of(hex, 32);
    return WEIR_OK;
}

enum weir_err config_load(struct arena *arena, struct span text, const char *file,
                          const struct plugin_catalog *catalog, struct problems *problems,
                          struct config **out_config)
{
    struct node *root = NULL;
    struct config *config = NULL;
    enum weir_err parsed = document_parse(arena, text, file, problems, &root);
    if (root == NULL) /* nothing to look at any further */
        return parsed;
    TRY(config_build(arena, root, catalog, problems, &config));
    TRY(parsed);
    TRY(config_set_hash(arena, config, text));
    *out_config = config;
    return WEIR_OK;
}
