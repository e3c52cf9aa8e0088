/* Rules for paths of routes and services, and for names and hosts. Private to this room. */
#ifndef WEIR_CONFIG_PATHS_H
#define WEIR_CONFIG_PATHS_H

#include "base/arena.h"
#include "base/span.h"

/* Kong's normal form: escapes of plain bytes decoded, dot segments gone, slashes merged. */
struct span path_normalize(struct arena *arena, struct span path);
/* A path of a 1.1 or 2.1 file as 3.0 writes it: plain and normal, or "~" in front of a pattern. */
struct span path_migrate(struct arena *arena, struct span path);
bool path_escapes_are_valid(struct span path, struct span *out_bad);
bool path_has_empty_segments(struct span path);
/* Does a plain path look as if its author meant a pattern? */
bool path_looks_like_regex(struct span path);

/* Letters, digits, . - _ ~ and UTF-8. */
bool name_is_valid(struct span name);
/* A host name of letters, digits, - _ . without empty labels (one trailing dot is fine). */
bool host_is_name(struct span host);
bool host_is_ipv4(struct span host);
bool host_is_ipv6(struct span host);

#endif
