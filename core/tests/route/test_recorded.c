/* Every recorded exchange of a real Kong: the same route takes the request, and the same path goes
 * upstream. */
#include <criterion/criterion.h>

#include "recorded.h"
#include "route/path.h"

static void check_upstream(struct arena *arena, const struct recorded_case *recorded,
                           const struct request_row *row, const struct route_query *query,
                           const struct route_match *match, bool honours_v1)
{
    struct span path = SPAN_NONE;
    enum path_handling handling =
        honours_v1 && match->route->path_handling_v1 ? PATH_HANDLING_V1 : PATH_HANDLING_V0;
    cr_assert_eq(route_upstream_path(arena, match->service->path, match->matched_path,
                                     match->route->strip_path, handling, query->path, &path),
                 WEIR_OK);
    cr_expect(span_equal(path, span_text(row->upstream)), "%s: %s -> %.*s, recorded was %s",
              recorded->id, row->path, SPAN_ARG(path), row->upstream);
}

static void check_case(const struct recorded_case *recorded, enum router_flavor flavor)
{
    struct arena *arena = arena_create(NULL);
    struct config *config = config_of(arena, recorded->routes, COUNT_OF(recorded->routes));
    struct router *router = NULL;
    struct query_room room;
    cr_assert_eq(router_build(config, flavor, NULL, &router), WEIR_OK, "%s", recorded->id);
    for (const struct request_row *row = recorded->requests; row->method != NULL; row++) {
        struct route_query query = query_of(arena, row, &room);
        struct route_match match;
        bool found = router_match(router, &query, &match);
        const char *name = found ? match.route->name.data : "-";
        const char *wanted = row->route == NULL ? "-" : row->route;
        cr_expect_str_eq(name, wanted, "%s: %s %s (Host %s) went to %s, recorded was %s (%s)",
                         recorded->id, row->method, row->path, row->host, name, wanted,
                         row->weir == NULL ? "as Kong" : row->weir);
        if (found && row->upstream != NULL)
            check_upstream(arena, recorded, row, &query, &match, flavor == ROUTER_TRADITIONAL);
    }
    router_destroy(router);
    arena_destroy(arena);
}

Test(recorded, default_router_takes_the_same_routes)
{
    for (size_t i = 0; i < recorded_routing_count; i++)
        check_case(&recorded_routing[i], ROUTER_TRADITIONAL_COMPATIBLE);
}

Test(recorded, default_router_sends_the_same_paths)
{
    for (size_t i = 0; i < recorded_paths_count; i++)
        check_case(&recorded_paths[i], ROUTER_TRADITIONAL_COMPATIBLE);
}

Test(recorded, traditional_router)
{
    for (size_t i = 0; i < recorded_traditional_count; i++)
        check_case(&recorded_traditional[i], ROUTER_TRADITIONAL);
}
