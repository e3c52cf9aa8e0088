/* The configuration as the gateway reads it: one struct per entity of the YAML, references resolved
 * to pointers, checked and complete. Everything lies in the generation's arena and never changes.
 * An absent text is an unset span. `index` counts an entity within its array of struct config. */
#ifndef WEIR_CONFIG_ENTITIES_H
#define WEIR_CONFIG_ENTITIES_H

#include "base/map.h"
#include "base/span.h"
#include "config/document.h"

/* As in the file: span lists point into the arena. */
struct span_list {
    const struct span *items;
    size_t count;
};
struct int_list {
    const int64_t *items;
    size_t count;
};
struct named_list { /* a header name and its values */
    struct span name;
    struct span_list values;
};

enum protocol {
    PROTOCOL_HTTP,
    PROTOCOL_HTTPS,
    PROTOCOL_GRPC,
    PROTOCOL_GRPCS,
    PROTOCOL_TCP,
    PROTOCOL_TLS,
    PROTOCOL_UDP,
    PROTOCOL_TLS_PASSTHROUGH
};
#define PROTOCOL_BIT(protocol) (1u << (protocol))
struct span protocol_name(enum protocol protocol);

struct ca_certificate {
    struct span id;
    struct span cert;        /* PEM */
    struct span cert_digest; /* as given, else unset */
    struct span_list tags;
    int64_t created_at, updated_at;
    const struct node *node;
    uint32_t index;
};

struct certificate {
    struct span id;
    struct span cert, key;         /* PEM */
    struct span cert_alt, key_alt; /* both or none */
    struct span_list tags;
    int64_t created_at, updated_at;
    const struct node *node;
    uint32_t index;
};

struct sni {
    struct span id, name;
    const struct certificate *certificate;
    struct span_list tags;
    int64_t created_at, updated_at;
    const struct node *node;
    uint32_t index;
};

/* After what another attempt is made (service `retry_on`): bits of a set. Statuses and groups of
 * them follow; the names and what they cover are one table in retries.c. */
enum retry_on {
    RETRY_ON_CONNECT_FAILURE = 1 << 0, /* refused, unreachable, TLS, connect_timeout */
    RETRY_ON_RESET = 1 << 1,           /* the connection ended before a whole head of an answer */
    RETRY_ON_TIMEOUT = 1 << 2,         /* write_timeout, read_timeout */
    RETRY_ON_BAD_RESPONSE = 1 << 3,    /* an answer that is no HTTP */
};
#define RETRY_ON_DEFAULT (RETRY_ON_CONNECT_FAILURE | RETRY_ON_RESET | RETRY_ON_TIMEOUT)

struct service {
    struct span id, name; /* name may be unset */
    enum protocol protocol;
    struct span host, path; /* path may be unset */
    int64_t port, retries;
    struct span_list retry_on_text;
    uint32_t retry_on;            /* RETRY_ON_… */
    int64_t retry_delay_ms;       /* before the first retry; 0: none */
    int64_t retry_delay_max_ms;   /* before any */
    int64_t retry_budget_percent; /* retries for 100 requests */
    int64_t retry_budget_min;     /* in a second, whatever the requests */
    int64_t connect_timeout_ms, write_timeout_ms, read_timeout_ms;
    const struct certificate *client_certificate;
    bool tls_verify_set, tls_verify; /* unset: the node's default */
    int64_t tls_verify_depth;        /* -1: not set */
    struct span protocol_text;       /* as written, like all *_text */
    struct span_list ca_certificate_ids;
    const struct ca_certificate **ca_certificates;
    size_t ca_certificate_count;
    bool enabled;
    struct span_list tags;
    int64_t created_at, updated_at;
    const struct node *node;
    uint32_t index;
};

struct route {
    struct span id, name;
    uint32_t protocols; /* PROTOCOL_BIT()s */
    struct span_list protocols_text, methods, hosts;
    struct span_list
        paths; /* "~/…" is a regular expression; 1.1 and 2.1 files are migrated already */
    const struct named_list *headers;
    size_t header_count;
    struct span_list snis;
    int64_t https_redirect_status_code, regex_priority;
    bool strip_path, preserve_host, request_buffering, response_buffering;
    bool path_handling_v1;
    struct span path_handling_text;
    struct span expression; /* router_flavor expressions only */
    int64_t priority;
    const struct service *service; /* NULL: plugins must answer */
    struct span_list tags;
    int64_t created_at, updated_at;
    const struct node *node;
    uint32_t index;
};

struct consumer {
    struct span id, username, custom_id; /* one of username and custom_id may be unset */
    struct span_list tags;
    int64_t created_at, updated_at;
    const struct node *node;
    uint32_t index;
};

enum balance_algorithm {
    BALANCE_ROUND_ROBIN,
    BALANCE_CONSISTENT_HASHING,
    BALANCE_LEAST_CONNECTIONS,
    BALANCE_LATENCY
};
enum hash_input {
    HASH_NONE,
    HASH_CONSUMER,
    HASH_IP,
    HASH_HEADER,
    HASH_COOKIE,
    HASH_PATH,
    HASH_QUERY_ARG,
    HASH_URI_CAPTURE
};
enum check_type { CHECK_TCP, CHECK_HTTP, CHECK_HTTPS, CHECK_GRPC, CHECK_GRPCS };

struct check_limits {
    double interval_s; /* active only; 0: off */
    struct int_list http_statuses;
    int64_t successes;                             /* of the healthy half */
    int64_t tcp_failures, timeouts, http_failures; /* of the unhealthy half */
};

struct health_checks {
    enum check_type active_type, passive_type;
    struct span active_type_text, passive_type_text;
    double timeout_s;
    int64_t concurrency;
    struct span http_path, https_sni;
    bool https_verify_certificate;
    const struct named_list *headers;
    size_t header_count;
    struct check_limits active_healthy, active_unhealthy, passive_healthy, passive_unhealthy;
    double threshold; /* percent */
};

struct target {
    struct span id;
    struct span target; /* as written */
    struct span host;   /* name or address, without brackets */
    int64_t port;       /* 8000 when not written */
    int64_t weight;     /* 0: known, gets no traffic */
    struct span_list tags;
    double created_at, updated_at;
    struct upstream *upstream;
    const struct node *node;
    uint32_t index;
};

struct upstream {
    struct span id, name;
    enum balance_algorithm algorithm;
    enum hash_input hash_on, hash_fallback;
    struct span algorithm_text, hash_on_text, hash_fallback_text;
    struct span hash_on_header, hash_fallback_header;
    struct span hash_on_cookie, hash_on_cookie_path;
    struct span hash_on_query_arg, hash_fallback_query_arg;
    struct span hash_on_uri_capture, hash_fallback_uri_capture;
    int64_t slots;
    struct health_checks checks;
    struct span host_header;
    const struct certificate *client_certificate;
    bool use_srv_name;
    const struct target **targets;
    size_t target_count;
    struct span_list tags;
    int64_t created_at, updated_at;
    const struct node *node;
    uint32_t index;
};

#define POLICY_PREFIX                                                          \
    64 /* bytes in front of policy.self that belong to the plugin host, zeroed \
        */

/* One configured use of a plugin. */
struct policy {
    struct span id, name, instance_name;
    bool enabled, optional;
    struct span on_error;      /* "closed" or "open" */
    struct span on_quarantine; /* "closed" or "bypass" */
    uint32_t protocols;
    struct span_list protocols_text;
    const struct service *service;
    const struct route *route;
    const struct consumer *consumer;
    void *self; /* the plugin's struct, its configuration part filled; POLICY_PREFIX bytes before it
                 */
    const struct plugin_schema *schema; /* of the catalog that built it */
    const struct node *node;            /* the entry, for positions */
    const struct node *config;          /* its config, NULL when absent */
    const struct node *ordering;        /* as written, NULL when absent */
    struct span path;                   /* "services[0].plugins[1]" */
    struct span_list tags;
    int64_t created_at, updated_at;
    uint32_t index;
};

struct credential {
    struct span collection; /* "keyauth_credentials" */
    struct span id;
    struct consumer *consumer;
    struct span key; /* the unique value, unset when the kind has none. Secret. */
    void *data;      /* the plugin's struct, filled */
    const struct credential_schema *schema;
    struct span_list tags;
    int64_t ttl, created_at; /* ttl 0: none; else an absolute epoch second */
    const struct node *node;
    uint32_t index;
};

struct vault {
    struct span id, name, prefix, description;
    struct span config_prefix;
    struct span_list tags;
    const struct node *node;
    uint32_t index;
};

struct config_names;

struct config {
    struct service **services;
    size_t service_count;
    struct route **routes;
    size_t route_count;
    struct consumer **consumers;
    size_t consumer_count;
    struct upstream **upstreams;
    size_t upstream_count;
    struct target **targets;
    size_t target_count;
    struct policy **policies; /* enabled or not, in the order of the file */
    size_t policy_count;
    struct credential **credentials;
    size_t credential_count;
    struct certificate **certificates;
    size_t certificate_count;
    struct sni **snis;
    size_t sni_count;
    struct ca_certificate **ca_certificates;
    size_t ca_certificate_count;
    struct vault **vaults;
    size_t vault_count;

    bool transform;              /* _transform */
    struct span format_version;  /* as written: "1.1", "2.1", "3.0" */
    struct span hash;            /* 32 hex digits; zeros when there are no entities */
    const struct node *settings; /* the gateway: block, NULL when absent */
    const struct node *root;
    const struct config_names *names;
};

/* Whether the service retries what was answered with `status`. */
bool service_retries_status(const struct service *service, unsigned status);

/* By name or id, as a reference in the file would find it: names first. NULL when there is none.
 * Consumers go by username. */
struct service *config_service(const struct config *config, struct span name_or_id);
struct route *config_route(const struct config *config, struct span name_or_id);
struct consumer *config_consumer(const struct config *config, struct span name_or_id);
struct consumer *config_consumer_by_custom_id(const struct config *config, struct span custom_id);
struct upstream *config_upstream(const struct config *config, struct span name_or_id);
struct certificate *config_certificate(const struct config *config, struct span id);

#endif
