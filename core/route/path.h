/* The path sent upstream, from the service's path, the part the route matched and the request's
 * path. */
#ifndef WEIR_ROUTE_PATH_H
#define WEIR_ROUTE_PATH_H

#include "base/arena.h"
#include "base/span.h"

enum path_handling { PATH_HANDLING_V0, PATH_HANDLING_V1 };

/* `service_path` may be unset ("/"); `matched` is route_match.matched_path, empty for a route
 * without paths. The result is borrowed from `path` or `service_path` when it is part of one of
 * them, else it lies in `arena`. Only failure: WEIR_ERR_NO_MEMORY. */
WEIR_MUST_USE enum weir_err route_upstream_path(struct arena *arena, struct span service_path,
                                                struct span matched, bool strip,
                                                enum path_handling handling, struct span path,
                                                struct span *out_path);

#endif
