/* Text with $(…) in it: $(headers.x), $(query_params.x), $(uri_captures.x), $(shared.x),
 * $(consumer.username|id|custom_id), $(request_id), $(correlation_id), $(now), $(latency), $(host),
 * $(path), $(method), $(client_ip). Compiled once, rendered per request. */
#ifndef WEIR_PLUGIN_HOST_TEMPLATE_H
#define WEIR_PLUGIN_HOST_TEMPLATE_H

#include "base/arena.h"
#include "plugin_host/request.h"

struct shared_value { /* request->shared, newest first */
    struct shared_value *next;
    struct span name, value;
};

/* NULL: `why` says what is wrong. weir_template is the ABI's opaque handle; it lies in `arena`. */
WEIR_MUST_USE const weir_template *template_compile(struct arena *arena, struct span text,
                                                    char *why, size_t why_size);
/* INVALID: an unknown nested name. Absent values render as nothing. */
WEIR_MUST_USE enum weir_err template_render(struct weir_request *request,
                                            const weir_template *compiled, struct span *out_text);
WEIR_MUST_USE enum weir_err shared_value_set(struct weir_request *request, struct span name,
                                             struct span value);
struct span shared_value_get(const struct weir_request *request, struct span name);

#endif
