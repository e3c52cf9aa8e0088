/* The tables: kong's names, defaults and ranges. */
#include "config/tables.h"

#include "config/retries.h"

#define TIMEOUT .min = 1, .max = 2147483646.0
#define COMMON(type_)                                                                       \
    WEIR_STRING(type_, id), WEIR_LIST(type_, tags, WEIR_TYPE_STRING, .flags = WEIR_UNIQUE), \
        WEIR_NUMBER(type_, created_at), WEIR_NUMBER(type_, updated_at)
#define COMMON_INTEGER(type_)                                                               \
    WEIR_STRING(type_, id), WEIR_LIST(type_, tags, WEIR_TYPE_STRING, .flags = WEIR_UNIQUE), \
        WEIR_INTEGER(type_, created_at), WEIR_INTEGER(type_, updated_at)

_Static_assert(sizeof(struct span_list) == sizeof(weir_list), "lists are filled by the schema");

static const char *const protocols[] = {"http", "https",           "grpc", "grpcs", "tcp", "tls",
                                        "udp",  "tls_passthrough", NULL};
static const char *const path_handlings[] = {"v0", "v1", NULL};
static const char *const algorithms[] = {"round-robin", "consistent-hashing", "least-connections",
                                         "latency", NULL};
static const char *const hash_inputs[] = {"none", "consumer",  "ip",          "header", "cookie",
                                          "path", "query_arg", "uri_capture", NULL};
static const char *const check_types[] = {"tcp", "http", "https", "grpc", "grpcs", NULL};
static const char *const on_errors[] = {"closed", "open", NULL};
static const char *const on_quarantines[] = {"closed", "bypass", NULL};
static const char *const vault_names[] = {"env", NULL};

static const weir_field service_fields[] = {
    COMMON_INTEGER(struct service),
    WEIR_STRING(struct service, name),
    WEIR_ENUM(struct service, protocol_text, .key = "protocol", .def = "http",
              .choices = protocols),
    WEIR_STRING(struct service, host),
    WEIR_INTEGER(struct service, port, .def = "80", .max = 65535),
    WEIR_STRING(struct service, path),
    WEIR_INTEGER(struct service, retries, .def = "5", .max = 32767),
    /* Not Kong's; without them it is as there. */
    WEIR_LIST(struct service, retry_on_text, WEIR_TYPE_ENUM, .key = "retry_on",
              .flags = WEIR_UNIQUE, .choices = retry_on_names),
    WEIR_INTEGER(struct service, retry_delay_ms, .key = "retry_delay", .def = "0", .max = 60000),
    WEIR_INTEGER(struct service, retry_delay_max_ms, .key = "retry_delay_max", .max = 60000),
    WEIR_INTEGER(struct service, retry_budget_percent, .def = "20", .max = 10000),
    WEIR_INTEGER(struct service, retry_budget_min, .def = "10", .max = 1000000),
    WEIR_INTEGER(struct service, connect_timeout_ms, .key = "connect_timeout", .def = "60000",
                 TIMEOUT),
    WEIR_INTEGER(struct service, write_timeout_ms, .key = "write_timeout", .def = "60000", TIMEOUT),
    WEIR_INTEGER(struct service, read_timeout_ms, .key = "read_timeout", .def = "60000", TIMEOUT),
    WEIR_BOOLEAN(struct service, tls_verify),
    WEIR_INTEGER(struct service, tls_verify_depth, .max = 64),
    WEIR_LIST(struct service, ca_certificate_ids, WEIR_TYPE_STRING, .key = "ca_certificates"),
    WEIR_BOOLEAN(struct service, enabled, .def = "true"),
};

static const weir_field route_fields[] = {
    COMMON_INTEGER(struct route),
    WEIR_STRING(struct route, name),
    WEIR_LIST(struct route, protocols_text, WEIR_TYPE_ENUM, .key = "protocols", .min = 1,
              .choices = protocols),
    WEIR_LIST(struct route, methods, WEIR_TYPE_STRING, .flags = WEIR_UNIQUE),
    WEIR_LIST(struct route, hosts, WEIR_TYPE_STRING),
    WEIR_LIST(struct route, paths, WEIR_TYPE_STRING),
    WEIR_LIST(struct route, snis, WEIR_TYPE_STRING, .flags = WEIR_UNIQUE),
    WEIR_INTEGER(struct route, https_redirect_status_code, .def = "426"),
    WEIR_INTEGER(struct route, regex_priority, .def = "0"),
    WEIR_BOOLEAN(struct route, strip_path, .def = "true"),
    WEIR_BOOLEAN(struct route, preserve_host),
    WEIR_BOOLEAN(struct route, request_buffering, .def = "true"),
    WEIR_BOOLEAN(struct route, response_buffering, .def = "true"),
    WEIR_ENUM(struct route, path_handling_text, .key = "path_handling", .def = "v0",
              .choices = path_handlings),
    WEIR_STRING(struct route, expression),
    WEIR_INTEGER(struct route, priority, .max = 70368744177663.0),
};

static const weir_field consumer_fields[] = {
    COMMON_INTEGER(struct consumer),
    WEIR_STRING(struct consumer, username),
    WEIR_STRING(struct consumer, custom_id),
};

static const weir_field upstream_fields[] = {
    COMMON_INTEGER(struct upstream),
    WEIR_STRING(struct upstream, name, .flags = WEIR_REQUIRED),
    WEIR_ENUM(struct upstream, algorithm_text, .key = "algorithm", .choices = algorithms),
    WEIR_ENUM(struct upstream, hash_on_text, .key = "hash_on", .choices = hash_inputs),
    WEIR_ENUM(struct upstream, hash_fallback_text, .key = "hash_fallback", .choices = hash_inputs),
    WEIR_STRING(struct upstream, hash_on_header, .flags = WEIR_HEADER_NAME),
    WEIR_STRING(struct upstream, hash_fallback_header, .flags = WEIR_HEADER_NAME),
    WEIR_STRING(struct upstream, hash_on_cookie),
    WEIR_STRING(struct upstream, hash_on_cookie_path, .def = "/", .flags = WEIR_PATH),
    WEIR_STRING(struct upstream, hash_on_query_arg),
    WEIR_STRING(struct upstream, hash_fallback_query_arg),
    WEIR_STRING(struct upstream, hash_on_uri_capture),
    WEIR_STRING(struct upstream, hash_fallback_uri_capture),
    WEIR_INTEGER(struct upstream, slots, .def = "10000", .min = 10, .max = 65536),
    WEIR_STRING(struct upstream, host_header),
    WEIR_BOOLEAN(struct upstream, use_srv_name),
};

static const weir_field target_fields[] = {
    COMMON(struct target),
    WEIR_STRING(struct target, target, .flags = WEIR_REQUIRED),
    WEIR_INTEGER(struct target, weight, .def = "100", .max = 65535),
};

static const weir_field policy_fields[] = {
    COMMON_INTEGER(struct policy),
    WEIR_STRING(struct policy, name, .flags = WEIR_REQUIRED),
    WEIR_STRING(struct policy, instance_name),
    WEIR_BOOLEAN(struct policy, enabled, .def = "true"),
    WEIR_BOOLEAN(struct policy, optional),
    WEIR_ENUM(struct policy, on_error, .def = "closed", .choices = on_errors),
    WEIR_ENUM(struct policy, on_quarantine, .def = "closed", .choices = on_quarantines),
    WEIR_LIST(struct policy, protocols_text, WEIR_TYPE_ENUM, .key = "protocols",
              .choices = protocols),
};

static const weir_field certificate_fields[] = {
    COMMON_INTEGER(struct certificate),
    WEIR_STRING(struct certificate, cert, .flags = WEIR_REQUIRED),
    WEIR_STRING(struct certificate, key, .flags = WEIR_REQUIRED | WEIR_SECRET),
    WEIR_STRING(struct certificate, cert_alt),
    WEIR_STRING(struct certificate, key_alt, .flags = WEIR_SECRET),
};

static const weir_field sni_fields[] = {
    COMMON_INTEGER(struct sni),
    WEIR_STRING(struct sni, name, .flags = WEIR_REQUIRED),
};

static const weir_field ca_certificate_fields[] = {
    COMMON_INTEGER(struct ca_certificate),
    WEIR_STRING(struct ca_certificate, cert, .flags = WEIR_REQUIRED),
    WEIR_STRING(struct ca_certificate, cert_digest),
};

static const weir_field vault_fields[] = {
    WEIR_STRING(struct vault, id),
    WEIR_LIST(struct vault, tags, WEIR_TYPE_STRING, .flags = WEIR_UNIQUE),
    WEIR_ENUM(struct vault, name, .flags = WEIR_REQUIRED, .choices = vault_names),
    WEIR_STRING(struct vault, prefix, .flags = WEIR_REQUIRED),
    WEIR_STRING(struct vault, description),
};

#define COUNT .max = 255
#define CHECK_SECONDS .max = 65535
static const weir_field active_healthy_fields[] = {
    WEIR_NUMBER(struct check_limits, interval_s, .key = "interval", .def = "0", CHECK_SECONDS),
    WEIR_LIST(struct check_limits, http_statuses, WEIR_TYPE_INTEGER, .def = "[200, 302]",
              .min = 100, .max = 999),
    WEIR_INTEGER(struct check_limits, successes, .def = "0", COUNT),
};
static const weir_field active_unhealthy_fields[] = {
    WEIR_NUMBER(struct check_limits, interval_s, .key = "interval", .def = "0", CHECK_SECONDS),
    WEIR_LIST(struct check_limits, http_statuses, WEIR_TYPE_INTEGER,
              .def = "[429, 404, 500, 501, 502, 503, 504, 505]", .min = 100, .max = 999),
    WEIR_INTEGER(struct check_limits, tcp_failures, .def = "0", COUNT),
    WEIR_INTEGER(struct check_limits, timeouts, .def = "0", COUNT),
    WEIR_INTEGER(struct check_limits, http_failures, .def = "0", COUNT),
};
static const weir_field passive_healthy_fields[] = {
    WEIR_LIST(struct check_limits, http_statuses, WEIR_TYPE_INTEGER,
              .def = "[200, 201, 202, 203, 204, 205, 206, 207, 208, 226, 300, 301, 302, 303, 304, "
                     "305, 306, 307, 308]",
              .min = 100, .max = 999),
    WEIR_INTEGER(struct check_limits, successes, .def = "0", COUNT),
};
static const weir_field passive_unhealthy_fields[] = {
    WEIR_LIST(struct check_limits, http_statuses, WEIR_TYPE_INTEGER, .def = "[429, 500, 503]",
              .min = 100, .max = 999),
    WEIR_INTEGER(struct check_limits, tcp_failures, .def = "0", COUNT),
    WEIR_INTEGER(struct check_limits, timeouts, .def = "0", COUNT),
    WEIR_INTEGER(struct check_limits, http_failures, .def = "0", COUNT),
};

const weir_field active_fields[] = {
    WEIR_ENUM(struct health_checks, active_type_text, .key = "type", .def = "http",
              .choices = check_types),
    WEIR_NUMBER(struct health_checks, timeout_s, .key = "timeout", .def = "1", CHECK_SECONDS),
    WEIR_INTEGER(struct health_checks, concurrency, .def = "10", .min = 1, .max = 2147483648.0),
    WEIR_STRING(struct health_checks, http_path, .def = "/", .flags = WEIR_PATH),
    WEIR_STRING(struct health_checks, https_sni),
    WEIR_BOOLEAN(struct health_checks, https_verify_certificate, .def = "true"),
    WEIR_RECORD(struct health_checks, active_healthy, struct check_limits, active_healthy_fields,
                .key = "healthy"),
    WEIR_RECORD(struct health_checks, active_unhealthy, struct check_limits,
                active_unhealthy_fields, .key = "unhealthy"),
};
const weir_field passive_fields[] = {
    WEIR_ENUM(struct health_checks, passive_type_text, .key = "type", .def = "http",
              .choices = check_types),
    WEIR_RECORD(struct health_checks, passive_healthy, struct check_limits, passive_healthy_fields,
                .key = "healthy"),
    WEIR_RECORD(struct health_checks, passive_unhealthy, struct check_limits,
                passive_unhealthy_fields, .key = "unhealthy"),
};
const weir_field health_fields[] = {
    WEIR_NUMBER(struct health_checks, threshold, .def = "0", .max = 100),
};
const size_t health_field_count = COUNT_OF(health_fields);
const size_t active_field_count = COUNT_OF(active_fields);
const size_t passive_field_count = COUNT_OF(passive_fields);

/* ---- keys beside the tables ----------------------------------------------------------------- */

static const char *const service_extra[] = {
    "url", "client_certificate", "routes", "plugins", "_comment", "_ignore", NULL};
static const char *const route_extra[] = {"service",  "headers", "plugins",
                                          "_comment", "_ignore", NULL};
static const char *const consumer_extra[] = {"plugins",
                                             "_comment",
                                             "_ignore",
                                             "keyauth_credentials",
                                             "jwt_secrets",
                                             "acls",
                                             "basicauth_credentials",
                                             "hmacauth_credentials",
                                             "oauth2_credentials",
                                             NULL};
static const char *const upstream_extra[] = {"healthchecks", "targets", "client_certificate",
                                             "_comment",     "_ignore", NULL};
static const char *const target_extra[] = {"upstream", "_comment", "_ignore", NULL};
static const char *const policy_extra[] = {"config",   "service",  "route",   "consumer",
                                           "ordering", "_comment", "_ignore", NULL};
static const char *const certificate_extra[] = {"snis",     "services", "upstreams",
                                                "_comment", "_ignore",  NULL};
static const char *const sni_extra[] = {"certificate", "_comment", "_ignore", NULL};
static const char *const plain_extra[] = {"_comment", "_ignore", NULL};
static const char *const vault_extra[] = {"config",   "created_at", "updated_at",
                                          "_comment", "_ignore",    NULL};

static const struct legacy_key service_legacy[] = {
    {"upstream_url", PROBLEM_ERROR, "gone since Kong 1.0, write 'url'"},
    {"filter_chains", PROBLEM_ERROR, "filter chains are not supported"},
    {0},
};
static const struct legacy_key route_legacy[] = {
    {"uris", PROBLEM_ERROR, "gone since Kong 1.0, write 'paths'"},
    {"strip_uri", PROBLEM_ERROR, "gone since Kong 1.0, write 'strip_path'"},
    {"request_host", PROBLEM_ERROR, "gone since Kong 1.0, write 'hosts'"},
    {"request_path", PROBLEM_ERROR, "gone since Kong 1.0, write 'paths'"},
    {"sources", PROBLEM_ERROR, "stream routes are not supported"},
    {"destinations", PROBLEM_ERROR, "stream routes are not supported"},
    {"filter_chains", PROBLEM_ERROR, "filter chains are not supported"},
    {0},
};
static const struct legacy_key consumer_legacy[] = {
    {"groups", PROBLEM_ERROR, "consumer groups are an Enterprise feature, use 'acls'"},
    {0},
};
static const struct legacy_key policy_legacy[] = {
    {"run_on", PROBLEM_WARNING, "removed in Kong 2.0, ignored"},
    {"consumer_group", PROBLEM_ERROR, "consumer groups are an Enterprise feature"},
    {0},
};
const struct legacy_key top_legacy_keys[] = {
    {"apis", PROBLEM_ERROR, "gone since Kong 1.0, write 'services' and 'routes'"},
    {"consumer_groups", PROBLEM_ERROR, "consumer groups are an Enterprise feature, use 'acls'"},
    {"consumer_group_plugins", PROBLEM_ERROR, "consumer groups are an Enterprise feature"},
    {"filter_chains", PROBLEM_ERROR, "filter chains are not supported"},
    {"_info", PROBLEM_WARNING, "a key of decK, ignored"},
    {"_workspace", PROBLEM_WARNING, "a key of decK, ignored"},
    {"_konnect", PROBLEM_WARNING, "a key of decK, ignored"},
    {"workspaces", PROBLEM_WARNING, "there are no workspaces, ignored"},
    {"keys", PROBLEM_WARNING, "no plugin uses keys, ignored"},
    {"key_sets", PROBLEM_WARNING, "no plugin uses key sets, ignored"},
    {"parameters", PROBLEM_WARNING, "ignored"},
    {"clustering_data_planes", PROBLEM_WARNING, "ignored"},
    {0},
};
const char *const top_keys[] = {"_format_version", "_transform", "_comment",
                                "_ignore",         "gateway",    NULL};

#define ROW(type_, fields_, extra_, legacy_, name_)                               \
    .fields = fields_, .field_count = COUNT_OF(fields_), .size = sizeof(type_),   \
    .extra_keys = extra_, .legacy_keys = legacy_, .name = offsetof(type_, name_), \
    .tags = offsetof(type_, tags), .node = offsetof(type_, node), .index = offsetof(type_, index)
#define TIMES(type_) \
    .created_at = offsetof(type_, created_at), .updated_at = offsetof(type_, updated_at)

const struct kind_row kind_rows[KIND_COUNT] = {
    [KIND_VAULT] = {{"vaults", 6},
                    {"vault", 5},
                    .name_key = {"prefix", 6},
                    ROW(struct vault, vault_fields, vault_extra, NULL, prefix)},
    [KIND_CA_CERTIFICATE] = {{"ca_certificates", 15},
                             {"ca_certificate", 14},
                             ROW(struct ca_certificate, ca_certificate_fields, plain_extra, NULL,
                                 id),
                             TIMES(struct ca_certificate)},
    [KIND_CERTIFICATE] = {{"certificates", 12},
                          {"certificate", 11},
                          ROW(struct certificate, certificate_fields, certificate_extra, NULL, id),
                          TIMES(struct certificate)},
    [KIND_SERVICE] = {{"services", 8},
                      {"service", 7},
                      .name_key = {"name", 4},
                      ROW(struct service, service_fields, service_extra, service_legacy, name),
                      TIMES(struct service)},
    [KIND_ROUTE] = {{"routes", 6},
                    {"route", 5},
                    .name_key = {"name", 4},
                    ROW(struct route, route_fields, route_extra, route_legacy, name),
                    TIMES(struct route)},
    [KIND_CONSUMER] = {{"consumers", 9},
                       {"consumer", 8},
                       .name_key = {"username", 8},
                       ROW(struct consumer, consumer_fields, consumer_extra, consumer_legacy,
                           username),
                       TIMES(struct consumer)},
    [KIND_UPSTREAM] = {{"upstreams", 9},
                       {"upstream", 8},
                       .name_key = {"name", 4},
                       ROW(struct upstream, upstream_fields, upstream_extra, NULL, name),
                       TIMES(struct upstream)},
    [KIND_TARGET] = {{"targets", 7},
                     {"target", 6},
                     ROW(struct target, target_fields, target_extra, NULL, target)},
    [KIND_SNI] = {{"snis", 4},
                  {"sni", 3},
                  .name_key = {"name", 4},
                  ROW(struct sni, sni_fields, sni_extra, NULL, name),
                  TIMES(struct sni)},
    [KIND_POLICY] = {{"plugins", 7},
                     {"plugin", 6},
                     .name_key = {"instance_name", 13},
                     ROW(struct policy, policy_fields, policy_extra, policy_legacy, instance_name),
                     TIMES(struct policy)},
};

static const struct {
    const char *collection, *plugin;
} owners[] = {
    {"keyauth_credentials", "key-auth"},
    {"jwt_secrets", "jwt"},
    {"acls", "acl"},
    {"basicauth_credentials", "basic-auth"},
    {"hmacauth_credentials", "hmac-auth"},
    {"oauth2_credentials", "oauth2"},
    {"oauth2_tokens", "oauth2"},
    {"oauth2_authorization_codes", "oauth2"},
    {"sessions", "session"},
    {"session_metadatas", "session"},
    {"acme_storage", "acme"},
    {"ratelimiting_metrics", "rate-limiting"},
    {"response_ratelimiting_metrics", "response-ratelimiting"},
};

const char *plugin_of_collection(struct span collection)
{
    for (size_t i = 0; i < COUNT_OF(owners); i++) {
        if (span_equal(collection, span_text(owners[i].collection)))
            return owners[i].plugin;
    }
    return NULL;
}

const char *const *credential_collections(void)
{
    static const char *const names[] = {
        "keyauth_credentials",  "jwt_secrets",        "acls", "basicauth_credentials",
        "hmacauth_credentials", "oauth2_credentials", NULL};
    return names;
}

struct span protocol_name(enum protocol protocol)
{
    return span_text(protocols[protocol]);
}

bool protocol_parse(struct span name, enum protocol *out_protocol)
{
    for (size_t i = 0; protocols[i] != NULL; i++) {
        if (span_equal(name, span_text(protocols[i]))) {
            *out_protocol = (enum protocol)i;
            return true;
        }
    }
    return false;
}
