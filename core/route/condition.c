#include "route/condition.h"

#include "http/headers.h"

void host_split(struct span host, struct span *out_name, uint32_t *out_port)
{
    size_t colon = span_find(host, ':');
    uint32_t port = 0;
    *out_name = host;
    *out_port = NO_PORT;
    if (host.size - colon < 2 || host.size - colon > 9)
        return;
    for (size_t i = colon + 1; i < host.size; i++) {
        if (host.data[i] < '0' || host.data[i] > '9')
            return;
        port = port * 10 + (uint32_t)(host.data[i] - '0');
    }
    *out_name = span_first(host, colon);
    *out_port = port;
}

struct name_pattern name_pattern_parse(struct span text)
{
    struct name_pattern pattern = {.kind = NAME_EXACT};
    host_split(text, &pattern.text, &pattern.port);
    struct span name = pattern.text;
    if (name.size > 0 && name.data[0] == '*') {
        pattern.kind = NAME_SUFFIX;
        pattern.text = span_from(name, 1);
    } else if (name.size > 0 && name.data[name.size - 1] == '*') {
        pattern.kind = NAME_PREFIX;
        pattern.text = span_first(name, name.size - 1);
    }
    return pattern;
}

bool name_pattern_fits(const struct name_pattern *pattern, struct span name, bool takes_one)
{
    size_t fixed = pattern->text.size;
    if (pattern->kind == NAME_EXACT)
        return span_equal_nocase(name, pattern->text);
    if (name.size < fixed || (takes_one && name.size == fixed))
        return false;
    struct span part =
        pattern->kind == NAME_PREFIX ? span_first(name, fixed) : span_from(name, name.size - fixed);
    return span_equal_nocase(part, pattern->text);
}

static enum weir_err build_values(struct condition_builder *builder, const struct span_list *list,
                                  struct header_condition *header)
{
    struct value_condition *values =
        arena_array(builder->arena, struct value_condition, list->count);
    if (values == NULL)
        return WEIR_ERR_NO_MEMORY;
    /* The traditional router takes a regex only where it is the one value of its header. */
    bool regexes = builder->flavor != ROUTER_TRADITIONAL || list->count == 1;
    for (size_t i = 0; i < list->count; i++) {
        values[i].text = list->items[i];
        if (regexes && span_starts_with(list->items[i], SPAN("~*")))
            TRY(regex_compile(builder->regexes, REGEX_HEADER, span_from(list->items[i], 2),
                              builder->why, sizeof(builder->why), &values[i].regex));
    }
    header->values = values;
    header->value_count = (uint32_t)list->count;
    return WEIR_OK;
}

static enum weir_err build_headers(struct condition_builder *builder, const struct route *route,
                                   struct conditions *conditions)
{
    struct header_condition *headers =
        arena_array(builder->arena, struct header_condition, route->header_count);
    if (headers == NULL)
        return WEIR_ERR_NO_MEMORY;
    for (size_t i = 0; i < route->header_count; i++) {
        headers[i].name = route->headers[i].name;
        TRY(build_values(builder, &route->headers[i].values, &headers[i]));
    }
    conditions->headers = headers;
    conditions->header_count = (uint32_t)route->header_count;
    return WEIR_OK;
}

static enum weir_err build_hosts(struct arena *arena, const struct span_list *list,
                                 struct conditions *conditions)
{
    struct name_pattern *hosts = arena_array(arena, struct name_pattern, list->count);
    if (hosts == NULL)
        return WEIR_ERR_NO_MEMORY;
    for (size_t i = 0; i < list->count; i++)
        hosts[i] = name_pattern_parse(list->items[i]);
    conditions->hosts = hosts;
    conditions->host_count = (uint32_t)list->count;
    return WEIR_OK;
}

static enum weir_err build_snis(struct arena *arena, const struct span_list *list, bool wildcards,
                                struct conditions *conditions)
{
    struct name_pattern *snis = arena_array(arena, struct name_pattern, list->count);
    if (snis == NULL)
        return WEIR_ERR_NO_MEMORY;
    for (size_t i = 0; i < list->count; i++) {
        struct span text = list->items[i];
        if (text.size > 1 && text.data[text.size - 1] == '.')
            text.size--;
        snis[i] =
            wildcards ? name_pattern_parse(text) : (struct name_pattern){text, NAME_EXACT, NO_PORT};
    }
    conditions->snis = snis;
    conditions->sni_count = (uint32_t)list->count;
    return WEIR_OK;
}

static bool has_ports(const struct span_list *hosts)
{
    for (size_t i = 0; i < hosts->count; i++) {
        if (name_pattern_parse(hosts->items[i]).port != NO_PORT)
            return true;
    }
    return false;
}

enum weir_err conditions_build(struct condition_builder *builder, const struct route *route,
                               const struct conditions **out)
{
    bool ports = has_ports(&route->hosts), traditional = builder->flavor == ROUTER_TRADITIONAL;
    *out = NULL;
    if (!ports && route->methods.count + route->header_count + route->snis.count == 0)
        return WEIR_OK;
    struct conditions *conditions = arena_new(builder->arena, struct conditions);
    if (conditions == NULL)
        return WEIR_ERR_NO_MEMORY;
    conditions->methods = route->methods;
    conditions->exact_header_names = traditional;
    conditions->wildcard_takes_one = traditional;
    if (route->header_count != 0)
        TRY(build_headers(builder, route, conditions));
    if (ports)
        TRY(build_hosts(builder->arena, &route->hosts, conditions));
    if (route->snis.count != 0)
        TRY(build_snis(builder->arena, &route->snis, !traditional, conditions));
    *out = conditions;
    return WEIR_OK;
}

static bool method_holds(const struct span_list *methods, struct span method)
{
    for (size_t i = 0; i < methods->count; i++) {
        if (span_equal(methods->items[i], method))
            return true;
    }
    return methods->count == 0;
}

static bool host_holds(const struct conditions *conditions, const struct view *view)
{
    for (uint32_t i = 0; i < conditions->host_count; i++) {
        const struct name_pattern *host = &conditions->hosts[i];
        if ((host->port == NO_PORT || host->port == view->port) &&
            name_pattern_fits(host, view->host, conditions->wildcard_takes_one))
            return true;
    }
    return conditions->host_count == 0;
}

static bool sni_holds(const struct conditions *conditions, const struct route_query *query)
{
    /* In the clear there is no server name: let it pass, so that the redirect to https can happen.
     */
    if (conditions->sni_count == 0 || !query->tls)
        return true;
    for (uint32_t i = 0; i < conditions->sni_count; i++) {
        if (name_pattern_fits(&conditions->snis[i], query->sni, false))
            return true;
    }
    return false;
}

static bool header_name_fits(struct span wanted, struct span name, bool exact)
{
    if (wanted.size != name.size)
        return false;
    if (exact)
        return span_equal_nocase(wanted, name);
    for (size_t i = 0; i < name.size; i++) {
        unsigned char a = (unsigned char)wanted.data[i], b = (unsigned char)name.data[i];
        a = a == '_' ? '-' : (unsigned char)(a >= 'A' && a <= 'Z' ? a + 32 : a);
        b = b == '_' ? '-' : (unsigned char)(b >= 'A' && b <= 'Z' ? b + 32 : b);
        if (a != b)
            return false;
    }
    return true;
}

static bool value_fits(const struct header_condition *header, struct regex_set *set,
                       struct span value)
{
    for (uint32_t i = 0; i < header->value_count; i++) {
        const struct value_condition *wanted = &header->values[i];
        if (wanted->regex != NULL ? regex_matches(set, wanted->regex, value)
                                  : span_equal_nocase(wanted->text, value))
            return true;
    }
    return false;
}

static bool header_holds(const struct header_condition *header, bool exact, struct regex_set *set,
                         const struct http_headers *headers)
{
    if (headers == NULL)
        return false;
    for (uint16_t i = 0; i < headers->count; i++) {
        if (header_name_fits(header->name, headers->items[i].name, exact) &&
            value_fits(header, set, headers->items[i].value))
            return true;
    }
    return false;
}

bool conditions_hold(const struct conditions *conditions, struct regex_set *set,
                     const struct view *view)
{
    if (!method_holds(&conditions->methods, view->query->method) ||
        !sni_holds(conditions, view->query) || !host_holds(conditions, view))
        return false;
    for (uint32_t i = 0; i < conditions->header_count; i++) {
        if (!header_holds(&conditions->headers[i], conditions->exact_header_names, set,
                          view->query->headers))
            return false;
    }
    return true;
}
