/* Recorded answers as tables, and what tests need to turn such rows into configurations and
 * queries. Lists are lines ("a\nb"); a header is "Name: value", a repeated name adds a value. NULL:
 * absent. */
#ifndef WEIR_TESTS_ROUTE_RECORDED_H
#define WEIR_TESTS_ROUTE_RECORDED_H

#include "config/entities.h"
#include "http/headers.h"
#include "route/router.h"

struct route_row {
    const char *name, *id;
    int port; /* of its service; 0: no service */
    const char *service_path;
    bool disabled; /* the service is */
    const char *methods, *hosts, *paths, *headers, *snis;
    int64_t regex_priority, created_at;
    bool keep_path, v1; /* strip_path is the default here as well */
    uint32_t protocols; /* 0: http and https */
    const char *expression;
};

struct request_row {
    const char *method, *host;
    const char *path; /* normalised */
    const char *headers;
    const char *sni;
    bool tls;
    const char *route;    /* name of the route it takes; NULL: none */
    const char *upstream; /* path sent upstream, not escaped; NULL: was not seen */
    const char *weir;     /* why the row says something else than was recorded */
};

struct recorded_case {
    const char *id;
    struct route_row routes[8];
    struct request_row requests[40];
};

extern const struct recorded_case recorded_routing[], recorded_paths[], recorded_traditional[];
extern const size_t recorded_routing_count, recorded_paths_count, recorded_traditional_count;

/* Everything lies in `arena`; `rows` end at `count` or at the first without a name. */
struct config *config_of(struct arena *arena, const struct route_row *rows, size_t count);

#define QUERY_HEADERS_MAX 16
struct query_room {
    struct http_headers headers;
    struct http_header items[QUERY_HEADERS_MAX];
};
struct route_query query_of(struct arena *arena, const struct request_row *row,
                            struct query_room *room);
/* Name of the route that takes it, "-" when none does. */
const char *taken_by(struct router *router, const struct route_query *query);

#endif
