#include "fixture.h"

#include <stdio.h>

/* ---- make-believe plugins ------------------------------------------------------------------- */

static const char *const policies[] = {"local", "redis", NULL};
static const char *const limits[] = {"consumer", "credential", "ip", "header", "path", NULL};
static const char *const generators[] = {"uuid", "uuid#counter", "tracker", NULL};
static const char *const algorithms[] = {"HS256", "HS384", "RS256", NULL};

static const weir_field redis_fields[] = {
    WEIR_STRING(struct fake_redis, host, .alias = "redis_host"),
    WEIR_INTEGER(struct fake_redis, port, .def = "6379", .max = 65535, .alias = "redis_port"),
    WEIR_STRING(struct fake_redis, password, .flags = WEIR_SECRET, .alias = "redis_password"),
    WEIR_INTEGER(struct fake_redis, database, .def = "0", .alias = "redis_database"),
};
static const weir_field rate_limiting_fields[] = {
    WEIR_INTEGER(struct fake_rate_limiting, second, .flags = WEIR_POSITIVE),
    WEIR_INTEGER(struct fake_rate_limiting, minute, .flags = WEIR_POSITIVE),
    WEIR_INTEGER(struct fake_rate_limiting, hour, .flags = WEIR_POSITIVE),
    WEIR_ENUM(struct fake_rate_limiting, policy, .def = "local", .choices = policies),
    WEIR_ENUM(struct fake_rate_limiting, limit_by, .def = "consumer", .choices = limits),
    WEIR_BOOLEAN(struct fake_rate_limiting, hide_client_headers),
    WEIR_BOOLEAN(struct fake_rate_limiting, fault_tolerant, .def = "true"),
    WEIR_RECORD(struct fake_rate_limiting, redis, struct fake_redis, redis_fields),
    WEIR_DURATION(struct fake_rate_limiting, window_ms, .key = "window", .def = "60s"),
};

struct fake_cors {
    weir_list origins, methods, headers, exposed_headers;
    bool credentials;
    int64_t max_age;
};
static const weir_field cors_fields[] = {
    WEIR_LIST(struct fake_cors, origins, WEIR_TYPE_STRING, .flags = WEIR_UNIQUE),
    WEIR_LIST(struct fake_cors, methods, WEIR_TYPE_STRING, .def = "[GET, HEAD]"),
    WEIR_LIST(struct fake_cors, headers, WEIR_TYPE_STRING, .flags = WEIR_HEADER_NAME),
    WEIR_LIST(struct fake_cors, exposed_headers, WEIR_TYPE_STRING),
    WEIR_BOOLEAN(struct fake_cors, credentials),
    WEIR_INTEGER(struct fake_cors, max_age),
};

struct fake_correlation {
    weir_str header_name, generator;
    bool echo_downstream;
};
static const weir_field correlation_fields[] = {
    WEIR_STRING(struct fake_correlation, header_name, .def = "Kong-Request-ID",
                .flags = WEIR_HEADER_NAME),
    WEIR_ENUM(struct fake_correlation, generator, .def = "\"uuid#counter\"", .choices = generators),
    WEIR_BOOLEAN(struct fake_correlation, echo_downstream),
};

struct fake_file_log {
    weir_str path;
    bool reopen;
};
static const weir_field file_log_fields[] = {
    WEIR_STRING(struct fake_file_log, path, .flags = WEIR_REQUIRED),
    WEIR_BOOLEAN(struct fake_file_log, reopen),
};

struct fake_prometheus {
    bool per_consumer, status_code_metrics, latency_metrics;
};
static const weir_field prometheus_fields[] = {
    WEIR_BOOLEAN(struct fake_prometheus, per_consumer),
    WEIR_BOOLEAN(struct fake_prometheus, status_code_metrics),
    WEIR_BOOLEAN(struct fake_prometheus, latency_metrics),
};

struct fake_jwt {
    weir_list header_names, claims_to_verify;
    weir_str key_claim_name, anonymous;
    bool run_on_preflight;
};
static const weir_field jwt_fields[] = {
    WEIR_LIST(struct fake_jwt, header_names, WEIR_TYPE_STRING, .def = "[authorization]"),
    WEIR_LIST(struct fake_jwt, claims_to_verify, WEIR_TYPE_STRING),
    WEIR_STRING(struct fake_jwt, key_claim_name, .def = "iss"),
    WEIR_STRING(struct fake_jwt, anonymous, .flags = WEIR_CONSUMER_NAME),
    WEIR_BOOLEAN(struct fake_jwt, run_on_preflight, .def = "true"),
};

struct fake_edit {
    weir_list headers, querystring, json;
};
static const weir_field edit_fields[] = {
    WEIR_LIST(struct fake_edit, headers, WEIR_TYPE_STRING),
    WEIR_LIST(struct fake_edit, querystring, WEIR_TYPE_STRING),
    WEIR_LIST(struct fake_edit, json, WEIR_TYPE_STRING),
};
struct fake_transformer {
    struct fake_edit add, remove, rename, replace;
    weir_list labels;
};
static const weir_field transformer_fields[] = {
    WEIR_RECORD(struct fake_transformer, add, struct fake_edit, edit_fields),
    WEIR_RECORD(struct fake_transformer, remove, struct fake_edit, edit_fields),
    WEIR_RECORD(struct fake_transformer, rename, struct fake_edit, edit_fields),
    WEIR_RECORD(struct fake_transformer, replace, struct fake_edit, edit_fields),
    WEIR_MAP(struct fake_transformer, labels),
};

#define PLUGIN(name_, fields_, type_, no_consumer_)                                         \
    {                                                                                       \
        {name_, sizeof(name_) - 1}, fields_, COUNT_OF(fields_), sizeof(type_), no_consumer_ \
    }
static const struct plugin_schema plugins[] = {
    PLUGIN("rate-limiting", rate_limiting_fields, struct fake_rate_limiting, false),
    PLUGIN("cors", cors_fields, struct fake_cors, true),
    PLUGIN("correlation-id", correlation_fields, struct fake_correlation, false),
    PLUGIN("file-log", file_log_fields, struct fake_file_log, false),
    PLUGIN("prometheus", prometheus_fields, struct fake_prometheus, false),
    PLUGIN("jwt", jwt_fields, struct fake_jwt, true),
    PLUGIN("request-transformer", transformer_fields, struct fake_transformer, false),
    PLUGIN("response-transformer", transformer_fields, struct fake_transformer, false),
};

static const weir_field key_fields[] = {
    WEIR_STRING(struct fake_key, key, .flags = WEIR_SECRET),
};
struct fake_jwt_secret {
    weir_str key, secret, algorithm, rsa_public_key;
};
static const weir_field jwt_secret_fields[] = {
    WEIR_STRING(struct fake_jwt_secret, key),
    WEIR_STRING(struct fake_jwt_secret, secret, .flags = WEIR_SECRET),
    WEIR_ENUM(struct fake_jwt_secret, algorithm, .def = "HS256", .choices = algorithms),
    WEIR_STRING(struct fake_jwt_secret, rsa_public_key),
};
struct fake_acl {
    weir_str group;
};
static const weir_field acl_fields[] = {
    WEIR_STRING(struct fake_acl, group, .flags = WEIR_REQUIRED),
};
static const struct credential_schema kinds[] = {
    {{"keyauth_credentials", 19},
     {"key-auth", 8},
     key_fields,
     1,
     sizeof(struct fake_key),
     {"key", 3},
     true},
    {{"jwt_secrets", 11},
     {"jwt", 3},
     jwt_secret_fields,
     COUNT_OF(jwt_secret_fields),
     sizeof(struct fake_jwt_secret),
     {"key", 3},
     true},
    {{"acls", 4}, {"acl", 3}, acl_fields, 1, sizeof(struct fake_acl), {NULL, 0}, false},
    /* of a plugin that Kong does not have */
    {{"tenant_tokens", 13},
     {"tenant-quota", 12},
     key_fields,
     1,
     sizeof(struct fake_key),
     {"key", 3},
     false},
};

static const struct plugin_schema *find(void *user, struct span name, char *why, size_t why_size)
{
    (void)user;
    for (size_t i = 0; i < COUNT_OF(plugins); i++) {
        if (span_equal(plugins[i].name, name))
            return &plugins[i];
    }
    snprintf(why, why_size, "/lib/weir/plugins");
    return NULL;
}

static const struct credential_schema *find_credential(void *user, struct span collection)
{
    (void)user;
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        if (span_equal(kinds[i].collection, collection))
            return &kinds[i];
    }
    return NULL;
}

static const char *nth_name(void *user, size_t index)
{
    (void)user;
    return index < COUNT_OF(plugins) ? plugins[index].name.data : NULL;
}

const struct plugin_catalog fake_catalog = {
    .find = find, .find_credential = find_credential, .nth_name = nth_name};

/* ---- loading -------------------------------------------------------------------------------- */

static char file_text[1 << 16];
static char print_text[1 << 16];

struct loaded load_text(struct span text)
{
    struct loaded loaded = {.arena = arena_create(NULL)};
    loaded.problems = problems_create(loaded.arena);
    loaded.err =
        config_load(loaded.arena, text, "kong.yml", &fake_catalog, loaded.problems, &loaded.config);
    return loaded;
}

struct loaded load_file(const char *name)
{
    char path[1024];
    const char *here = __FILE__, *slash = strrchr(here, '/');
    snprintf(path, sizeof(path), "%.*s/data/%s", slash == NULL ? 1 : (int)(slash - here),
             slash == NULL ? "." : here, name);
    FILE *file = fopen(path, "r");
    size_t size = file == NULL ? 0 : fread(file_text, 1, sizeof(file_text), file);
    if (file != NULL)
        fclose(file);
    return load_text(span_of(file_text, size));
}

void loaded_free(struct loaded *loaded)
{
    arena_destroy(loaded->arena);
}

const char *loaded_print(struct loaded *loaded)
{
    AUTO_BUF out = BUF_INIT;
    problems_print(loaded->problems, &out, false);
    snprintf(print_text, sizeof(print_text), "%.*s", (int)out.size,
             out.data == NULL ? "" : out.data);
    return print_text;
}

const struct policy *find_policy(const struct config *config, const char *name)
{
    for (size_t i = 0; i < config->policy_count; i++) {
        if (span_equal(config->policies[i]->name, span_text(name)))
            return config->policies[i];
    }
    return NULL;
}
