/* Rules of upstreams and targets: hashing, health checks, addresses. */
#include "base/text.h"
#include "config/builder.h"
#include "config/paths.h"

#define FAULT(builder, node, path, key, ...)                                                     \
    PROBLEM(builder, schema_find_position(node, key), builder_text(builder, "%s.%s", path, key), \
            __VA_ARGS__)

static const char *const hash_words[] = {"none",   "consumer", "ip",        "header",
                                         "cookie", "path",     "query_arg", "uri_capture"};
static const char *const algorithm_words[] = {"round-robin", "consistent-hashing",
                                              "least-connections", "latency"};
static const char *const check_words[] = {"tcp", "http", "https", "grpc", "grpcs"};

/* The index of a word that the table has checked already; the first for anything else. */
static unsigned word_index(const char *const *words, size_t count, struct span word)
{
    for (unsigned i = 0; i < count; i++) {
        if (span_equal(span_text(words[i]), word))
            return i;
    }
    return 0;
}

/* What a hash input needs beside it, by the input. */
static struct span *hash_argument(struct upstream *upstream, enum hash_input input, bool fallback,
                                  const char **out_key)
{
    switch (input) {
    case HASH_HEADER:
        *out_key = fallback ? "hash_fallback_header" : "hash_on_header";
        return fallback ? &upstream->hash_fallback_header : &upstream->hash_on_header;
    case HASH_COOKIE:
        *out_key = "hash_on_cookie";
        return &upstream->hash_on_cookie;
    case HASH_QUERY_ARG:
        *out_key = fallback ? "hash_fallback_query_arg" : "hash_on_query_arg";
        return fallback ? &upstream->hash_fallback_query_arg : &upstream->hash_on_query_arg;
    case HASH_URI_CAPTURE:
        *out_key = fallback ? "hash_fallback_uri_capture" : "hash_on_uri_capture";
        return fallback ? &upstream->hash_fallback_uri_capture : &upstream->hash_on_uri_capture;
    case HASH_NONE:
    case HASH_CONSUMER:
    case HASH_IP:
    case HASH_PATH:
        break;
    }
    return NULL;
}

static void check_hashing(struct builder *builder, struct upstream *upstream,
                          const struct node *node, const char *path)
{
    const char *key = "", *other_key = "";
    struct span *on = hash_argument(upstream, upstream->hash_on, false, &key);
    struct span *fallback = hash_argument(upstream, upstream->hash_fallback, true, &other_key);
    if (on != NULL && span_is_empty(*on))
        PROBLEM(builder, node->position, builder_text(builder, "%s.%s", path, key),
                "required field missing");
    if (fallback != NULL && span_is_empty(*fallback))
        PROBLEM(builder, node->position, builder_text(builder, "%s.%s", path, other_key),
                "required field missing");
    if (upstream->hash_fallback == HASH_NONE)
        return;
    if (upstream->hash_on == HASH_NONE || upstream->hash_on == HASH_COOKIE)
        FAULT(builder, node, path, "hash_fallback", "expected one of: none");
    else if (upstream->hash_on == upstream->hash_fallback && on == NULL)
        FAULT(builder, node, path, "hash_fallback",
              "values of these fields must be distinct: 'hash_on', 'hash_fallback'");
    else if (on != NULL && fallback != NULL && upstream->hash_on == upstream->hash_fallback &&
             span_equal_nocase(*on, *fallback))
        FAULT(builder, node, path, other_key, "values of these fields must be distinct: '%s', '%s'",
              key, other_key);
}

static void derive_algorithm(struct upstream *upstream)
{
    bool hash_written = span_is_set(upstream->hash_on_text);
    bool hashes = hash_written && !span_equal(upstream->hash_on_text, SPAN("none"));
    if (span_is_set(upstream->algorithm_text))
        upstream->algorithm = (enum balance_algorithm)word_index(
            algorithm_words, COUNT_OF(algorithm_words), upstream->algorithm_text);
    else
        upstream->algorithm = hashes ? BALANCE_CONSISTENT_HASHING : BALANCE_ROUND_ROBIN;
    upstream->hash_on =
        (enum hash_input)word_index(hash_words, COUNT_OF(hash_words), upstream->hash_on_text);
    upstream->hash_fallback =
        (enum hash_input)word_index(hash_words, COUNT_OF(hash_words), upstream->hash_fallback_text);
    if (upstream->algorithm == BALANCE_LEAST_CONNECTIONS || upstream->algorithm == BALANCE_LATENCY)
        upstream->hash_on = upstream->hash_fallback = HASH_NONE;
    else if (hash_written) /* Kong lets hash_on decide over a written algorithm */
        upstream->algorithm = hashes ? BALANCE_CONSISTENT_HASHING
                              : upstream->algorithm == BALANCE_CONSISTENT_HASHING
                                  ? BALANCE_ROUND_ROBIN
                                  : upstream->algorithm;
}

static void fill_part(struct builder *builder, const weir_field *fields, size_t count,
                      const char *const *extra, const struct node *node, void *out,
                      const char *path)
{
    builder->schema.extra_keys = extra;
    enum weir_err err = schema_fill(&builder->schema, fields, count, node, out, path);
    builder->schema.extra_keys = NULL;
    builder->no_memory = builder->no_memory || err == WEIR_ERR_NO_MEMORY;
}

void fill_health_checks(struct builder *builder, struct upstream *upstream, const struct node *node,
                        const char *path)
{
    static const char *const health_extra[] = {"active", "passive", NULL};
    static const char *const active_extra[] = {"headers", NULL};
    struct health_checks *checks = &upstream->checks;
    const struct node *active = node_find(node, SPAN("active"));
    const char *active_path = builder_text(builder, "%s.active", path);
    fill_part(builder, health_fields, health_field_count, health_extra, node, checks, path);
    fill_part(builder, active_fields, active_field_count, active_extra, active, checks,
              active_path);
    fill_part(builder, passive_fields, passive_field_count, NULL, node_find(node, SPAN("passive")),
              checks, builder_text(builder, "%s.passive", path));
    checks->headers =
        read_headers(builder, node_find(active, SPAN("headers")),
                     builder_text(builder, "%s.headers", active_path), &checks->header_count);
    checks->active_type =
        (enum check_type)word_index(check_words, COUNT_OF(check_words), checks->active_type_text);
    checks->passive_type =
        (enum check_type)word_index(check_words, COUNT_OF(check_words), checks->passive_type_text);
}

void check_upstream(struct builder *builder, struct upstream *upstream, const struct node *node,
                    const char *path)
{
    struct span name = upstream->name;
    struct span shown = span_first(name, 200);
    size_t colon = span_find(name, ':');
    if (!span_is_empty(name)) {
        if (host_is_ipv4(name) || host_is_ipv6(name))
            FAULT(builder, node, path, "name", "Invalid name ('%.*s'); no ip addresses allowed",
                  SPAN_ARG(shown));
        else if (colon < name.size && host_is_name(span_first(name, colon)))
            FAULT(builder, node, path, "name", "Invalid name ('%.*s'); no port allowed",
                  SPAN_ARG(shown));
        else if (!host_is_name(name))
            FAULT(builder, node, path, "name", "Invalid name ('%.*s'); must be a valid hostname",
                  SPAN_ARG(shown));
    }
    derive_algorithm(upstream);
    check_hashing(builder, upstream, node, path);
    upstream->slots = upstream->slots == WEIR_UNSET ? 10000 : upstream->slots;
    fill_health_checks(builder, upstream, node_find(node, SPAN("healthchecks")),
                       builder_text(builder, "%s.healthchecks", path));
}

/* host, host:port, 10.0.0.1:80, ::1, [::1]:80 */
static bool split_target(struct span text, struct span *out_host, int64_t *out_port)
{
    uint64_t port = 8000;
    struct span host = text;
    if (!host_is_ipv6(text)) {
        size_t colon = span_find(text, ':');
        if (span_starts_with(text, SPAN("[")))
            colon = span_find(text, ']') + 1;
        if (colon < text.size) {
            host = span_first(text, colon);
            if (text.data[colon] != ':' || !text_to_u64(span_from(text, colon + 1), &port) ||
                port > 65535)
                return false;
        }
    }
    bool is_ipv6 = host_is_ipv6(host);
    if (!is_ipv6 && !host_is_ipv4(host) && !host_is_name(host))
        return false;
    if (is_ipv6 && host.data[0] == '[')
        host = span_of(host.data + 1, host.size - 2);
    *out_host = host;
    *out_port = (int64_t)port;
    return true;
}

void check_target(struct builder *builder, struct target *target, const struct node *node,
                  const char *path)
{
    target->weight = target->weight == WEIR_UNSET ? 100 : target->weight;
    if (target->created_at != target->created_at) /* NAN: absent */
        target->created_at = (double)builder->now;
    if (target->updated_at != target->updated_at)
        target->updated_at = (double)builder->now;
    if (span_is_empty(target->target))
        return;
    if (!split_target(target->target, &target->host, &target->port))
        FAULT(builder, node, path, "target",
              "Invalid target ('%.*s'); not a valid hostname or ip address",
              SPAN_ARG(span_first(target->target, 200)));
}
