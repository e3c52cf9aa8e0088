/* Rules of services, routes, consumers, certificates and vaults. Upstreams: rules_upstream.c. */
#include <ctype.h>

#include "base/text.h"
#include "config/builder.h"
#include "config/paths.h"
#include "config/retries.h"

#define AT(pending, key) schema_find_position((pending)->node, key)
#define PATH(builder, pending, key) builder_text(builder, "%s.%s", (pending)->path, key)
#define FAULT(builder, pending, key, ...) \
    PROBLEM(builder, AT(pending, key), PATH(builder, pending, key), __VA_ARGS__)

static void check_name(struct builder *builder, struct pending *pending, const char *key,
                       struct span name)
{
    if (!span_is_empty(name) && !name_is_valid(name))
        FAULT(builder, pending, key,
              "invalid value '%.*s': the only accepted ascii characters are alphanumerics or ., -, "
              "_, and ~",
              SPAN_ARG(span_first(name, 200)));
}

/* ---- services ------------------------------------------------------------------------------- */

/* Host and port of a URL's authority; false when the port is none. */
static bool split_authority(struct span authority, struct span *out_host, struct span *out_port)
{
    size_t at = authority.size;
    *out_port = SPAN_NONE;
    if (span_starts_with(authority, SPAN("["))) {
        size_t end = span_find(authority, ']');
        *out_host = span_first(authority, end + 1);
        at = end + 1;
        if (end == authority.size || (at < authority.size && authority.data[at] != ':'))
            return false;
    } else {
        at = span_find(authority, ':');
        *out_host = span_first(authority, at);
    }
    if (at < authority.size)
        *out_port = span_from(authority, at + 1);
    return true;
}

/* `url` wins over parts written beside it, as in Kong. */
static void take_url(struct builder *builder, struct pending *pending, struct service *service)
{
    const struct node *node = node_find(pending->node, SPAN("url"));
    struct span url = SPAN_NONE;
    uint64_t port = 0;
    if (node_is_null(node))
        return;
    if (node->kind != NODE_SCALAR) {
        FAULT(builder, pending, "url", "expected a string");
        return;
    }
    if (!schema_text(&builder->schema, node, false, PATH(builder, pending, "url"), &url))
        return;
    url = span_first(span_first(url, span_find(url, '#')), span_find(url, '?'));
    size_t scheme_end = span_search(url, SPAN("://"));
    if (scheme_end == url.size) {
        FAULT(builder, pending, "url", "not a URL: expected http://host or https://host");
        return;
    }
    struct span scheme = span_first(url, scheme_end), rest = span_from(url, scheme_end + 3);
    struct span authority = span_first(rest, span_find(rest, '/')), port_text = SPAN_NONE;
    struct span path = span_from(rest, authority.size);
    size_t user = span_find(authority, '@');
    if (user < authority.size)
        authority = span_from(authority, user + 1);
    if (!split_authority(authority, &service->host, &port_text) ||
        (span_is_set(port_text) && (!text_to_u64(port_text, &port) || port > 65535))) {
        FAULT(builder, pending, "url", "value should be between 0 and 65535: the port of the URL");
        return;
    }
    service->protocol_text = scheme;
    service->port = span_is_set(port_text)              ? (int64_t)port
                    : span_equal(scheme, SPAN("https")) ? 443
                                                        : 80;
    service->path = span_is_empty(path) ? SPAN_NONE : path;
}

static void check_host(struct builder *builder, struct pending *pending, struct service *service)
{
    struct span host = service->host;
    const char *key = node_is_null(node_find(pending->node, SPAN("url"))) ? "host" : "url";
    if (span_is_empty(host)) {
        if (node_is_null(node_find(pending->node, SPAN("host"))))
            PROBLEM(builder, key[0] == 'u' ? AT(pending, "url") : pending->node->position,
                    PATH(builder, pending, "host"), "required field missing");
        return;
    }
    if (host_is_name(host) || host_is_ipv4(host) || host_is_ipv6(host))
        return;
    struct span name = span_first(host, span_find(host, ':'));
    if (name.size < host.size && (host_is_name(name) || host_is_ipv4(name)))
        FAULT(builder, pending, key, "must not have a port");
    else
        FAULT(builder, pending, key, "invalid value: %.*s", SPAN_ARG(span_first(host, 200)));
}

static void check_service_path(struct builder *builder, struct pending *pending,
                               struct service *service)
{
    struct span bad = SPAN_NONE;
    const char *key = node_is_null(node_find(pending->node, SPAN("url"))) ? "path" : "url";
    if (span_is_empty(service->path))
        return;
    if (!span_starts_with(service->path, SPAN("/")))
        FAULT(builder, pending, key, "should start with: /");
    else if (path_has_empty_segments(service->path))
        FAULT(builder, pending, key, "must not have empty segments");
    else if (!path_escapes_are_valid(service->path, &bad))
        FAULT(builder, pending, key, "invalid url-encoded value: '%.*s'", SPAN_ARG(bad));
    else if (service->protocol >= PROTOCOL_GRPC)
        FAULT(builder, pending, key, "value must be null");
}

static void check_retries(struct builder *builder, struct pending *pending, struct service *service)
{
    enum { TIMES_THE_FIRST = 10, DELAY_MAX = 60000 };
    service->retries = service->retries == WEIR_UNSET ? 5 : service->retries;
    service->retry_on = retry_on_of(&service->retry_on_text);
    int64_t delay = service->retry_delay_ms == WEIR_UNSET ? 0 : service->retry_delay_ms;
    int64_t most = delay * TIMES_THE_FIRST < DELAY_MAX ? delay * TIMES_THE_FIRST : DELAY_MAX;
    service->retry_delay_ms = delay;
    if (service->retry_delay_max_ms == WEIR_UNSET)
        service->retry_delay_max_ms = most;
    else if (service->retry_delay_max_ms < delay)
        FAULT(builder, pending, "retry_delay_max", "must not be less than retry_delay");
    if (service->retry_budget_percent == WEIR_UNSET)
        service->retry_budget_percent = 20;
    if (service->retry_budget_min == WEIR_UNSET)
        service->retry_budget_min = 10;
}

static void check_service(struct builder *builder, struct pending *pending)
{
    struct service *service = pending->entity;
    take_url(builder, pending, service);
    if (span_is_set(service->protocol_text) &&
        !protocol_parse(service->protocol_text, &service->protocol))
        FAULT(builder, pending, "url",
              "expected one of: http, https, grpc, grpcs, tcp, tls, udp, tls_passthrough");
    if (span_equal(service->host, SPAN("")) && node_is_null(node_find(pending->node, SPAN("host"))))
        service->host = SPAN_NONE;
    check_name(builder, pending, "name", service->name);
    check_host(builder, pending, service);
    check_service_path(builder, pending, service);
    /* an explicit null means what Kong does without the value: its default */
    int64_t *const times[] = {&service->connect_timeout_ms, &service->write_timeout_ms,
                              &service->read_timeout_ms};
    for (size_t i = 0; i < COUNT_OF(times); i++)
        *times[i] = *times[i] == WEIR_UNSET ? 60000 : *times[i];
    check_retries(builder, pending, service);
    service->port = service->port == WEIR_UNSET ? 80 : service->port;
    service->tls_verify_depth =
        service->tls_verify_depth == WEIR_UNSET ? -1 : service->tls_verify_depth;
    service->tls_verify_set = !node_is_null(node_find(pending->node, SPAN("tls_verify")));
}

void check_linked(struct builder *builder, struct pending *pending)
{
    const struct service *service = pending->entity;
    static const char *const keys[] = {"client_certificate", "tls_verify", "tls_verify_depth",
                                       "ca_certificates"};
    if (service->protocol == PROTOCOL_HTTPS || service->protocol == PROTOCOL_TLS)
        return;
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        if (!node_is_null(node_find(pending->node, span_text(keys[i]))))
            FAULT(builder, pending, keys[i],
                  "value must be null unless 'protocol' is https or tls");
    }
}

/* ---- routes --------------------------------------------------------------------------------- */

const struct named_list *read_headers(struct builder *builder, const struct node *node,
                                      const char *path, size_t *out_count)
{
    *out_count = 0;
    if (node_is_null(node))
        return NULL;
    if (node->kind != NODE_MAP) {
        PROBLEM(builder, node->position, path, "expected a map");
        return NULL;
    }
    struct named_list *headers = arena_array(builder->arena, struct named_list, node->count + 1);
    builder->no_memory = builder->no_memory || headers == NULL;
    for (size_t i = 0; headers != NULL && i < node->count; i++) {
        const struct node *key = node->members[i].key, *list = node->members[i].value;
        const char *at = builder_text(builder, "%s.%s", path, key->text.data);
        if (!schema_is_header_name(key->text))
            PROBLEM(builder, key->position, at,
                    "bad header name '%.*s', allowed characters are A-Z, a-z, 0-9, '_', and '-'",
                    SPAN_ARG(span_first(key->text, 200)));
        if (list->kind != NODE_LIST) {
            PROBLEM(builder, list->position, at, "expected an array");
            continue;
        }
        struct span *values = arena_array(builder->arena, struct span, list->count + 1);
        builder->no_memory = builder->no_memory || values == NULL;
        for (size_t j = 0; values != NULL && j < list->count; j++) {
            const char *item = builder_text(builder, "%s[%zu]", at, j);
            if (!node_is_string(list->items[j]))
                PROBLEM(builder, list->items[j]->position, item, "expected a string");
            else if (!schema_text(&builder->schema, list->items[j], false, item, &values[j]))
                continue;
        }
        headers[i] = (struct named_list){arena_copy(builder->arena, key->text),
                                         {values, values == NULL ? 0 : list->count}};
    }
    *out_count = headers == NULL ? 0 : node->count;
    return headers;
}

static void read_protocols(struct builder *builder, struct pending *pending, struct route *route)
{
    static const uint32_t groups[] = {PROTOCOL_BIT(PROTOCOL_HTTP) | PROTOCOL_BIT(PROTOCOL_HTTPS),
                                      PROTOCOL_BIT(PROTOCOL_TCP) | PROTOCOL_BIT(PROTOCOL_TLS) |
                                          PROTOCOL_BIT(PROTOCOL_UDP),
                                      PROTOCOL_BIT(PROTOCOL_TLS_PASSTHROUGH),
                                      PROTOCOL_BIT(PROTOCOL_GRPC) | PROTOCOL_BIT(PROTOCOL_GRPCS)};
    for (size_t i = 0; i < route->protocols_text.count; i++) {
        enum protocol protocol = PROTOCOL_HTTP;
        if (protocol_parse(route->protocols_text.items[i], &protocol))
            route->protocols |= PROTOCOL_BIT(protocol);
    }
    if (route->protocols_text.count == 0)
        route->protocols = groups[0];
    for (size_t i = 0; i < COUNT_OF(groups); i++) {
        if ((route->protocols & ~groups[i]) == 0)
            return;
    }
    FAULT(builder, pending, "protocols",
          "the groups http https, tcp tls udp, tls_passthrough, and grpc grpcs cannot be mixed");
}

static void check_plain_path(struct builder *builder, struct span path, struct position at,
                             const char *where)
{
    struct span normal = path_normalize(builder->arena, path);
    if (!span_equal(normal, path))
        PROBLEM(builder, at, where, "non-normalized path, consider use '%.*s' instead",
                SPAN_ARG(span_first(normal, 400)));
    else if (path_looks_like_regex(path))
        WARN(builder, at, where,
             "a plain path that looks like a pattern: a regular expression starts with '~/'");
}

static void check_regex_path(struct builder *builder, struct span path, struct position at,
                             const char *where)
{
    char why[256] = "";
    struct span pattern = span_from(path, 1);
    if (builder->schema.regex_compiles != NULL &&
        !builder->schema.regex_compiles(builder->schema.user, pattern, why, sizeof(why)))
        PROBLEM(builder, at, where, "invalid regex: '%.*s' (PCRE returned: %s)",
                SPAN_ARG(span_first(pattern, 400)), why);
}

static void check_paths(struct builder *builder, struct pending *pending, struct route *route)
{
    struct span *paths = (struct span *)(uintptr_t)route->paths.items; /* ours, just filled */
    for (size_t i = 0; i < route->paths.count; i++) {
        const char *where = builder_text(builder, "%s.paths[%zu]", pending->path, i);
        struct position at =
            schema_find_position(pending->node, builder_text(builder, "paths[%zu]", i));
        struct span bad = SPAN_NONE;
        if (span_is_empty(paths[i]))
            continue; /* said so already */
        if (builder->old_paths)
            paths[i] = path_migrate(builder->arena, paths[i]);
        bool is_regex = span_starts_with(paths[i], SPAN("~/"));
        if (!is_regex && !span_starts_with(paths[i], SPAN("/")))
            PROBLEM(builder, at, where, "should start with: / (fixed path) or ~/ (regex path)");
        else if (path_has_empty_segments(paths[i]))
            PROBLEM(builder, at, where, "must not have empty segments");
        else if (!path_escapes_are_valid(paths[i], &bad))
            PROBLEM(builder, at, where, "invalid url-encoded value: '%.*s'", SPAN_ARG(bad));
        else if (is_regex)
            check_regex_path(builder, paths[i], at, where);
        else
            check_plain_path(builder, paths[i], at, where);
    }
}

static bool host_entry_is_valid(struct span host, bool allow_port)
{
    size_t colon = span_find(host, ':');
    uint64_t port = 0;
    if (colon < host.size) {
        if (host_is_ipv6(host))
            return true;
        if (!allow_port || !text_to_u64(span_from(host, colon + 1), &port) || port > 65535)
            return false;
        host = span_first(host, colon);
    }
    if (span_starts_with(host, SPAN("*.")))
        host = span_from(host, 2);
    else if (span_ends_with(host, SPAN(".*")))
        host.size -= 2;
    return host_is_name(host);
}

static void check_lists(struct builder *builder, struct pending *pending, const struct route *route)
{
    for (size_t i = 0; i < route->methods.count; i++) {
        struct span method = route->methods.items[i];
        bool valid = method.size > 0;
        for (size_t j = 0; j < method.size; j++)
            valid = valid && isupper((unsigned char)method.data[j]);
        const char *key = builder_text(builder, "methods[%zu]", i);
        if (!valid && method.size > 0)
            FAULT(builder, pending, key, "invalid value: %.*s", SPAN_ARG(span_first(method, 64)));
    }
    for (size_t i = 0; i < route->hosts.count; i++) {
        struct span host = route->hosts.items[i];
        const char *key = builder_text(builder, "hosts[%zu]", i);
        if (host.size > 0 && !host_entry_is_valid(host, true))
            FAULT(builder, pending, key, "invalid value: %.*s", SPAN_ARG(span_first(host, 200)));
    }
    for (size_t i = 0; i < route->snis.count; i++) {
        struct span sni = route->snis.items[i];
        const char *key = builder_text(builder, "snis[%zu]", i);
        if (sni.size > 0 && !span_equal(sni, SPAN("*")) &&
            (host_is_ipv4(sni) || !host_entry_is_valid(sni, false)))
            FAULT(builder, pending, key, "invalid value: %.*s", SPAN_ARG(span_first(sni, 200)));
    }
    for (size_t i = 0; i < route->header_count; i++) {
        if (span_equal_nocase(route->headers[i].name, SPAN("host")))
            FAULT(builder, pending, "headers",
                  "cannot contain 'host' header, which must be specified in the 'hosts' attribute");
    }
}

static void check_match_fields(struct builder *builder, struct pending *pending,
                               const struct route *route)
{
    struct position at = pending->node->position;
    bool has_sni = route->snis.count > 0;
    bool has_common = route->hosts.count > 0 || route->header_count > 0 || route->paths.count > 0;
    bool has_http = has_common || route->methods.count > 0;
    uint32_t protocols = route->protocols;
    if (span_is_set(route->expression))
        return;
    if (protocols & PROTOCOL_BIT(PROTOCOL_HTTPS)) {
        if (!has_http && !has_sni)
            PROBLEM(builder, at, pending->path,
                    "must set one of 'methods', 'hosts', 'headers', "
                    "'paths', 'snis' when 'protocols' is 'https'");
    } else if (protocols & PROTOCOL_BIT(PROTOCOL_HTTP)) {
        if (!has_http)
            PROBLEM(builder, at, pending->path,
                    "must set one of 'methods', 'hosts', 'headers', "
                    "'paths' when 'protocols' is 'http'");
    } else if (protocols & PROTOCOL_BIT(PROTOCOL_GRPCS)) {
        if (!has_common && !has_sni)
            PROBLEM(builder, at, pending->path,
                    "must set one of 'hosts', 'headers', 'paths', "
                    "'snis' when 'protocols' is 'grpcs'");
    } else if (protocols & PROTOCOL_BIT(PROTOCOL_GRPC)) {
        if (!has_common)
            PROBLEM(builder, at, pending->path,
                    "must set one of 'hosts', 'headers', 'paths' when "
                    "'protocols' is 'grpc'");
    } else {
        FAULT(builder, pending, "protocols", "stream routes are not supported");
    }
}

static void check_route(struct builder *builder, struct pending *pending)
{
    struct route *route = pending->entity;
    static const uint32_t plain = PROTOCOL_BIT(PROTOCOL_HTTP) | PROTOCOL_BIT(PROTOCOL_GRPC) |
                                  PROTOCOL_BIT(PROTOCOL_TCP) | PROTOCOL_BIT(PROTOCOL_UDP);
    read_protocols(builder, pending, route);
    route->headers = read_headers(builder, node_find(pending->node, SPAN("headers")),
                                  PATH(builder, pending, "headers"), &route->header_count);
    check_name(builder, pending, "name", route->name);
    check_paths(builder, pending, route);
    check_lists(builder, pending, route);
    check_match_fields(builder, pending, route);
    if (route->snis.count > 0 && (route->protocols & plain) == route->protocols)
        FAULT(builder, pending, "snis",
              "'snis' can only be set when 'protocols' is 'grpcs', 'https', 'tls' or "
              "'tls_passthrough'");
    int64_t *code = &route->https_redirect_status_code;
    if (*code != 426 && *code != 301 && *code != 302 && *code != 307 && *code != 308)
        FAULT(builder, pending, "https_redirect_status_code",
              "expected one of: 426, 301, 302, 307, 308");
    bool is_grpc =
        (route->protocols & (PROTOCOL_BIT(PROTOCOL_GRPC) | PROTOCOL_BIT(PROTOCOL_GRPCS))) != 0;
    if (is_grpc && node_find(pending->node, SPAN("strip_path")) == NULL)
        route->strip_path = false;
    else if (is_grpc && route->strip_path)
        FAULT(builder, pending, "strip_path",
              "cannot set 'strip_path' when 'protocols' is 'grpc' or 'grpcs'");
    if (is_grpc && route->methods.count > 0)
        FAULT(builder, pending, "methods",
              "cannot set 'methods' when 'protocols' is 'grpc' or 'grpcs'");
    route->path_handling_v1 = span_equal(route->path_handling_text, SPAN("v1"));
    if (route->path_handling_v1)
        WARN(builder, AT(pending, "path_handling"), PATH(builder, pending, "path_handling"),
             "'v1' is deprecated and has no effect");
    route->regex_priority = route->regex_priority == WEIR_UNSET ? 0 : route->regex_priority;
    route->priority = route->priority == WEIR_UNSET ? 0 : route->priority;
}

/* ---- the small ones ------------------------------------------------------------------------- */

static void check_consumer(struct builder *builder, struct pending *pending)
{
    struct consumer *consumer = pending->entity;
    if (span_is_empty(consumer->username) && span_is_empty(consumer->custom_id))
        PROBLEM(builder, pending->node->position, pending->path,
                "at least one of these fields must be non-empty: 'custom_id', 'username'");
    if (!span_is_empty(consumer->custom_id))
        register_name(builder, &builder->names->custom_ids, SPAN("consumers"), SPAN("custom_id"),
                      consumer->custom_id, consumer, pending->node, pending->path);
}

static void check_certificate(struct builder *builder, struct pending *pending)
{
    struct certificate *certificate = pending->entity;
    if (span_is_set(certificate->cert_alt) != span_is_set(certificate->key_alt))
        PROBLEM(builder, pending->node->position, pending->path,
                "all or none of these fields must be set: 'cert_alt', 'key_alt'");
}

static void check_vault(struct builder *builder, struct pending *pending)
{
    static const weir_field fields[] = {
        WEIR_STRING(struct vault, config_prefix, .key = "prefix"),
    };
    static const char *const extra[] = {"ttl", "neg_ttl", "resurrect_ttl", "base64_decode", NULL};
    struct vault *vault = pending->entity;
    if (span_equal(vault->prefix, SPAN("env")))
        FAULT(builder, pending, "prefix", "the prefix must not be the name of a vault");
    builder->schema.extra_keys = extra;
    enum weir_err err = schema_fill(&builder->schema, fields, COUNT_OF(fields),
                                    node_find(pending->node, SPAN("config")), vault,
                                    PATH(builder, pending, "config"));
    builder->schema.extra_keys = NULL;
    builder->no_memory = builder->no_memory || err == WEIR_ERR_NO_MEMORY;
}

void check_entity(struct builder *builder, struct pending *pending)
{
    switch ((int)pending->kind) {
    case KIND_SERVICE:
        check_service(builder, pending);
        break;
    case KIND_ROUTE:
        check_route(builder, pending);
        break;
    case KIND_CONSUMER:
        check_consumer(builder, pending);
        break;
    case KIND_UPSTREAM:
        check_upstream(builder, pending->entity, pending->node, pending->path);
        break;
    case KIND_TARGET:
        check_target(builder, pending->entity, pending->node, pending->path);
        break;
    case KIND_POLICY:
        check_name(builder, pending, "instance_name",
                   ((struct policy *)pending->entity)->instance_name);
        break;
    case KIND_CERTIFICATE:
        check_certificate(builder, pending);
        break;
    case KIND_VAULT:
        check_vault(builder, pending);
        break;
    default:
        break;
    }
}
