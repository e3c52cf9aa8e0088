/* The table of how a service's path and a request's path are joined, both ways of path_handling. */
#include <criterion/criterion.h>

#include "route/path.h"

struct row {
    const char *service, *matched;
    bool strip;
    const char *path, *v0, *v1;
};

static const struct row rows[] = {
    /* the table as Kong documents it; matched "": a route without paths */
    {"/", "/", true, "/", "/", "/"},
    {"/", "/", false, "/", "/", "/"},
    {"/", "/", true, "/route/req", "/route/req", "/route/req"},
    {"/", "/", false, "/route/req", "/route/req", "/route/req"},
    {"/", "/route", false, "/route/", "/route/", "/route/"},
    {"/", "/route", true, "/route", "/", "/"},
    {"/", "/route", true, "/route/", "/", "/"},
    {"/", "/route", true, "/routereq", "/req", "/req"},
    {"/", "/route/", true, "/route/req", "/req", "/req"},
    {"/srv", "/rou", false, "/roureq", "/srv/roureq", "/srvroureq"},
    {"/srv", "/rou", true, "/roureq", "/srv/req", "/srvreq"},
    {"/srv/", "/rou", false, "/rou", "/srv/rou", "/srv/rou"},
    {"/srv/", "/rou", true, "/rou", "/srv", "/srv/"},
    {"/service", "/", true, "/", "/service", "/service"},
    {"/service", "/", false, "/", "/service", "/service"},
    {"/service", "/", true, "/route", "/service/route", "/serviceroute"},
    {"/service", "/", false, "/route", "/service/route", "/serviceroute"},
    {"/service", "/", true, "/route/", "/service/route/", "/serviceroute/"},
    {"/service", "/", false, "/route/", "/service/route/", "/serviceroute/"},
    {"/service", "/route", false, "/route", "/service/route", "/serviceroute"},
    {"/service", "/route", false, "/routereq", "/service/routereq", "/serviceroutereq"},
    {"/service", "/route", true, "/route", "/service", "/service"},
    {"/service", "/route", true, "/route/", "/service/", "/service/"},
    {"/service", "/route", true, "/routereq", "/service/req", "/servicereq"},
    {"/service", "/route/", false, "/route/req", "/service/route/req", "/serviceroute/req"},
    {"/service", "/route/", true, "/route/", "/service/", "/service"},
    {"/service", "/route/", true, "/route/req", "/service/req", "/servicereq"},
    {"/service/", "/", true, "/", "/service/", "/service/"},
    {"/service/", "/", false, "/", "/service/", "/service/"},
    {"/service/", "/", true, "/route", "/service/route", "/service/route"},
    {"/service/", "/", false, "/route", "/service/route", "/service/route"},
    {"/service/", "/route", false, "/route/", "/service/route/", "/service/route/"},
    {"/service/", "/route", true, "/route", "/service", "/service/"},
    {"/service/", "/route", true, "/route/", "/service/", "/service/"},
    {"/service/", "/route", true, "/routereq", "/service/req", "/service/req"},
    {"/service/", "/route/", true, "/route/req", "/service/req", "/service/req"},
    {"/service", "", true, "/", "/service", "/service"},
    {"/service", "", false, "/", "/service", "/service"},
    {"/service", "", true, "/route", "/service/route", "/serviceroute"},
    {"/service", "", false, "/route", "/service/route", "/serviceroute"},
    {"/service/", "", true, "/route/", "/service/route/", "/service/route/"},
    {"/service/", "", false, "/route/", "/service/route/", "/service/route/"},
    {"/service", "/route", true, "/route./req", "/service/req", "/servicereq"},
    {"/service", "/route", true, "/route../req", "/service/req", "/servicereq"},
    {"/service", "/route", false, "/route../req", "/service/route../req", "/serviceroute../req"},
    /* no service path is the root */
    {NULL, "/a", true, "/a/b", "/b", "/b"},
    {NULL, "/a", false, "/a/b", "/a/b", "/a/b"},
    {NULL, "", true, "/a/b", "/a/b", "/a/b"},
    /* dots that a prefix cut off from their segment are no segment of their own */
    {"/s", "/a", true, "/a.", "/s", "/s"},
    {"/s", "/a", true, "/a..", "/s", "/s"},
    {"/", "/a", true, "/a..", "/", "/"},
    {"/s", "/a", true, "/a...", "/s/...", "/s..."},
    {"/s", "/a", true, "/a.b", "/s/.b", "/s.b"},
    {"/s/", "/a", true, "/a../b", "/s/b", "/s/b"},
    {"/", "/a", true, "/a../b", "/b", "/b"},
    {"/", "/a/", true, "/a/b/c", "/b/c", "/b/c"},
    /* a regex may match all of it */
    {"/s", "/a/b", true, "/a/b", "/s", "/s"},
    {"/s/", "/a/b", true, "/a/b", "/s", "/s/"},
};

static void check(struct arena *arena, const struct row *row, enum path_handling handling)
{
    const char *wanted = handling == PATH_HANDLING_V0 ? row->v0 : row->v1;
    struct span out = SPAN_NONE;
    cr_assert_eq(route_upstream_path(arena, span_text(row->service), span_text(row->matched),
                                     row->strip, handling, span_text(row->path), &out),
                 WEIR_OK);
    cr_expect(span_equal(out, span_text(wanted)), "v%d: %s + %s strip %s, %s -> %.*s, wanted %s",
              (int)handling, row->service == NULL ? "(none)" : row->service, row->matched,
              row->strip ? "yes" : "no", row->path, SPAN_ARG(out), wanted);
}

Test(path, service_and_request_path_are_joined_as_the_table_says)
{
    struct arena *arena = arena_create(NULL);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        check(arena, &rows[i], PATH_HANDLING_V0);
        check(arena, &rows[i], PATH_HANDLING_V1);
    }
    arena_destroy(arena);
}

/* No arena: an allocation would crash. */
Test(path, a_path_that_is_sent_as_it_came_is_not_copied)
{
    static const struct row free_rows[] = {
        {"/", "/a", false, "/a/b", "/a/b", "/a/b"}, {"/", "/", true, "/a/b", "/a/b", "/a/b"},
        {NULL, "", true, "/a", "/a", "/a"},         {"/", "/a", true, "/a/b", "/b", "/b"},
        {"/", "/a/", true, "/a/b", "/b", "/b"},     {"/s", "/a", true, "/a", "/s", "/s"},
        {"/s", "", true, "/", "/s", "/s"},          {"/s/", "/a", true, "/a/", "/s/", "/s/"},
    };
    for (size_t i = 0; i < COUNT_OF(free_rows); i++) {
        check(NULL, &free_rows[i], PATH_HANDLING_V0);
        check(NULL, &free_rows[i], PATH_HANDLING_V1);
    }
}

Test(path, without_memory_it_says_so)
{
    struct arena *arena = arena_create(NULL);
    struct span out = SPAN("old");
    arena_limit(arena, 1);
    cr_assert_eq(route_upstream_path(arena, SPAN("/s"), SPAN("/a"), true, PATH_HANDLING_V0,
                                     SPAN("/a/b"), &out),
                 WEIR_ERR_NO_MEMORY);
    cr_assert(span_equal(out, SPAN("old")));
    arena_destroy(arena);
}
