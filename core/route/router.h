/* Request head -> route. A configuration is compiled once into an index (hosts, then a radix tree
 * over path prefixes, then candidates in order of precedence); a match walks it and allocates
 * nothing. The answer is always that of trying every entry in order of precedence. Next: path.h,
 * order.h. */
#ifndef WEIR_ROUTE_ROUTER_H
#define WEIR_ROUTE_ROUTER_H

#include "base/auto.h"
#include "base/span.h"
#include "config/entities.h"

struct http_headers;
struct problems;
struct router;

enum router_flavor { ROUTER_TRADITIONAL_COMPATIBLE, ROUTER_TRADITIONAL, ROUTER_EXPRESSIONS };

/* "traditional_compatible", "traditional", "expressions". */
bool router_flavor_parse(struct span name, enum router_flavor *out_flavor);

/* Groups of a regex path. names[0] is the whole match and unset, as is every unnamed group. */
#define ROUTE_CAPTURES_MAX 16
struct route_captures {
    uint8_t count;
    struct span names[ROUTE_CAPTURES_MAX];
};

struct route_query {
    struct span method;
    struct span host; /* the Host header as sent, port included */
    uint16_t port;    /* of the listener, after port_maps: used when Host has none */
    struct span path; /* normalised, without query */
    const struct http_headers *headers;
    struct span sni; /* unset: none */
    bool tls;
    bool method_named; /* only a route that names the method may take it */
};

struct route_match {
    const struct route *route;
    const struct service *service; /* NULL: the route has none */
    struct span matched_path; /* borrowed from the query's path; empty: the route has no paths */
    uint8_t capture_count;    /* 0 when the path was plain or its regex has no groups */
    struct span captures[ROUTE_CAPTURES_MAX]; /* only the first capture_count are written; [0] is
                                               * the whole match; unset: the group took no part */
    const struct route_captures *names; /* NULL when capture_count is 0; lives with the router */
};

/* `config` is borrowed and must outlive the router. Routes of disabled services and of stream
 * protocols are left out. `problems` may be NULL; it gets at most 20 warnings about routes that tie
 * or that no request can reach, and one error per regex that does not compile (WEIR_ERR_CONFIG
 * then). The expressions flavor is not there: its `expression` routes are left out, each with a
 * warning, the others are routed as traditional_compatible does. [any thread] */
WEIR_MUST_USE enum weir_err router_build(const struct config *config, enum router_flavor flavor,
                                         struct problems *problems, struct router **out_router);
void router_destroy(struct router *router); /* NULL is fine */
AUTO_DEFINE(struct router, router_destroy)

/* False when no route matches: `out_match` is untouched then. Not const: scratch memory of the
 * regex engine lives in the router, so one router serves one thread. [worker] */
bool router_match(struct router *router, const struct route_query *query,
                  struct route_match *out_match);

/* Bytes held, regexes excluded. */
size_t router_memory(const struct router *router);

#endif
