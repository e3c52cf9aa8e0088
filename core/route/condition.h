/* What a route asks of a request besides host name and path: methods, headers, server names, ports.
 * Values of one field are alternatives, fields must all hold, an absent field always does. */
#ifndef WEIR_ROUTE_CONDITION_H
#define WEIR_ROUTE_CONDITION_H

#include "route/regex.h"

/* "a.test", "*.a.test" or "a.*", with or without ":port"; of a request: never a wildcard. */
enum name_kind { NAME_EXACT, NAME_SUFFIX, NAME_PREFIX };
#define NO_PORT UINT32_MAX
struct name_pattern {
    struct span text; /* the fixed part, as written: ".a.test", "a." */
    enum name_kind kind;
    uint32_t port; /* NO_PORT: any */
};

struct value_condition {
    struct span text;          /* any letter case */
    const struct regex *regex; /* instead of text, when set */
};
struct header_condition {
    struct span name;
    const struct value_condition *values;
    uint32_t value_count;
};

struct conditions {
    struct span_list methods;
    const struct header_condition *headers;
    const struct name_pattern
        *hosts; /* only when one of them has a port: the index does the rest */
    const struct name_pattern *snis;
    uint32_t header_count, host_count, sni_count;
    bool exact_header_names; /* else '_' is as good as '-' */
    bool wildcard_takes_one; /* '*' stands for at least one byte */
};

/* The request as the conditions see it. */
struct view {
    const struct route_query *query;
    struct span host; /* without port */
    uint32_t port;
};

/* "name[:digits]" is taken apart; anything else is a name whole. */
void host_split(struct span host, struct span *out_name, uint32_t *out_port);
struct name_pattern name_pattern_parse(struct span text);
bool name_pattern_fits(const struct name_pattern *pattern, struct span name, bool takes_one);

struct condition_builder {
    struct arena *arena;
    struct regex_set *regexes;
    enum router_flavor flavor;
    char why[160]; /* of WEIR_ERR_INVALID */
};
/* *out is NULL when the route asks nothing more. WEIR_ERR_INVALID: a regex does not compile. */
WEIR_MUST_USE enum weir_err conditions_build(struct condition_builder *builder,
                                             const struct route *route,
                                             const struct conditions **out);
bool conditions_hold(const struct conditions *conditions, struct regex_set *set,
                     const struct view *view);

/* Whatever fits `b` fits `a`. May say no where it is so. NULL: no conditions. */
bool conditions_cover(const struct conditions *a, const struct conditions *b);
/* Some request may fit both. */
bool conditions_overlap(const struct conditions *a, const struct conditions *b);

#endif
