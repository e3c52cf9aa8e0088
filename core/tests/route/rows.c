#include <criterion/criterion.h>

#include "recorded.h"

static struct span_list lines_of(struct arena *arena, const char *text)
{
    struct span rest = span_text(text), item;
    size_t count = 0;
    if (text == NULL)
        return (struct span_list){NULL, 0};
    struct span *items = arena_array(arena, struct span, rest.size + 1);
    cr_assert_not_null(items);
    while (span_split(&rest, '\n', &item))
        items[count++] = item;
    return (struct span_list){items, count};
}

static void cut_header(struct span line, struct span *out_name, struct span *out_value)
{
    size_t colon = span_find(line, ':');
    *out_name = span_first(line, colon);
    *out_value = span_trim(span_from(line, colon + 1));
}

static void set_headers(struct arena *arena, const char *text, struct route *route)
{
    struct span_list lines = lines_of(arena, text);
    if (lines.count == 0)
        return;
    struct named_list *headers = arena_array(arena, struct named_list, lines.count);
    cr_assert_not_null(headers);
    for (size_t i = 0; i < lines.count; i++) {
        struct span name, value;
        size_t at = 0;
        cut_header(lines.items[i], &name, &value);
        while (at < route->header_count && !span_equal(headers[at].name, name))
            at++;
        if (at == route->header_count) {
            headers[at].name = name;
            headers[at].values.items = arena_array(arena, struct span, lines.count);
            cr_assert_not_null(headers[at].values.items);
            route->header_count++;
        }
        ((struct span *)(uintptr_t)headers[at].values.items)[headers[at].values.count++] = value;
    }
    route->headers = headers;
}

static struct service *service_of(struct arena *arena, const struct route_row *row)
{
    if (row->port == 0)
        return NULL;
    struct service *service = arena_new(arena, struct service);
    cr_assert_not_null(service);
    service->port = row->port;
    service->path = span_text(row->service_path);
    service->enabled = !row->disabled;
    return service;
}

static struct route *route_of(struct arena *arena, const struct route_row *row)
{
    struct route *route = arena_new(arena, struct route);
    cr_assert_not_null(route);
    route->name = span_text(row->name);
    route->id = span_text(row->id);
    route->methods = lines_of(arena, row->methods);
    route->hosts = lines_of(arena, row->hosts);
    route->paths = lines_of(arena, row->paths);
    route->snis = lines_of(arena, row->snis);
    set_headers(arena, row->headers, route);
    route->regex_priority = row->regex_priority;
    route->created_at = row->created_at;
    route->strip_path = !row->keep_path;
    route->path_handling_v1 = row->v1;
    route->protocols = row->protocols != 0
                           ? row->protocols
                           : PROTOCOL_BIT(PROTOCOL_HTTP) | PROTOCOL_BIT(PROTOCOL_HTTPS);
    route->expression = span_text(row->expression);
    route->service = service_of(arena, row);
    return route;
}

struct config *config_of(struct arena *arena, const struct route_row *rows, size_t count)
{
    struct config *config = arena_new(arena, struct config);
    cr_assert_not_null(config);
    config->routes = arena_array(arena, struct route *, count + 1);
    cr_assert_not_null(config->routes);
    for (size_t i = 0; i < count && rows[i].name != NULL; i++) {
        struct route *route = route_of(arena, &rows[i]);
        route->index = (uint32_t)i;
        config->routes[config->route_count++] = route;
    }
    return config;
}

struct route_query query_of(struct arena *arena, const struct request_row *row,
                            struct query_room *room)
{
    struct span_list lines = lines_of(arena, row->headers);
    http_headers_init(&room->headers, room->items, QUERY_HEADERS_MAX);
    for (size_t i = 0; i < lines.count; i++) {
        struct span name, value;
        cut_header(lines.items[i], &name, &value);
        cr_assert_eq(http_headers_add(&room->headers, HTTP_HEADER_UNKNOWN, name, value), WEIR_OK);
    }
    return (struct route_query){
        .method = span_text(row->method),
        .host = span_text(row->host),
        .port = row->tls ? 8443 : 8000,
        .path = span_text(row->path),
        .headers = &room->headers,
        .sni = span_text(row->sni),
        .tls = row->tls,
    };
}

const char *taken_by(struct router *router, const struct route_query *query)
{
    struct route_match match;
    return router_match(router, query, &match) ? match.route->name.data : "-";
}
