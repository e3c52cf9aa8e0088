/* Paths, authorities and queries as Kong reads them: the path that routing, plugins and the target
 * see is the normalized one. */
#ifndef WEIR_HTTP_URI_H
#define WEIR_HTTP_URI_H

#include "base/arena.h"
#include "base/error.h"
#include "base/span.h"

/* Nothing to do for http_path_normalize(): begins with '/', no '%', no empty segment and none that
 * begins with a dot. One pass; false may also be said of an odd path that is normal. */
bool http_path_is_normal(struct span path);
/* %XX of unreserved and of other plain bytes decoded, reserved ones kept with upper-case digits;
 * dot segments resolved (%2e counts as a dot); runs of '/' merged. *out is `raw` itself when
 * nothing changed, else in the arena. BAD_REQUEST: does not begin with '/', a broken escape, %00,
 * or ".." above the root. "*" stays "*". */
WEIR_MUST_USE enum weir_err http_path_normalize(struct arena *arena, struct span raw,
                                                struct span *out);
/* A normalized path as it is sent upstream: bytes a URI cannot carry become %XX. `path` itself when
 * nothing changed; absent without memory. */
struct span http_path_escape(struct arena *arena, struct span path);

/* host [":" port] (RFC 9110 4.2.3, RFC 3986 3.2.2) without user part. *out_host keeps the brackets
 * of an IPv6 literal; *out_port is absent when there is none or it is empty ("host:"). False when
 * it is no authority; the outputs may be NULL. */
bool http_authority_split(struct span authority, struct span *out_host, struct span *out_port);

/* The next name[=value] of a query, raw (see text_percent_decode); empty pieces are skipped.
 * Without '=' the value is empty and *out_has_value false. False at the end. */
bool http_query_next(struct span *rest, struct span *out_name, struct span *out_value,
                     bool *out_has_value);

#endif
