/* Where the time of one exchange goes: at each moment it is the gateway's own, the target's, or a
 * policy's (its hooks, and while it waits for something). For one request in BUILD_SAMPLE hooks are
 * timed for the totals of their builds; a request with a record of its own has all of them timed,
 * and can say so in a Server-Timing field. */
#ifndef WEIR_PLUGIN_HOST_TIMING_H
#define WEIR_PLUGIN_HOST_TIMING_H

#include "plugin_host/request.h"

/* After request_begin(): keep a record of this request, from now on. Without memory it is not
 * timed, which is no error. */
void timing_begin(struct weir_request *request);
/* The target has the request (its connection included), or has answered or failed. Fine for
 * requests without a record. */
void timing_set_target(struct weir_request *request, bool begins);
static inline void timing_target(struct weir_request *request, bool begins)
{
    if (UNLIKELY(request->timing != NULL))
        timing_set_target(request, begins);
}
/* "gateway;dur=0.1312, upstream;dur=2.0110, core;dur=0.0911, key-auth;dur=0.0401" up to now, in
 * milliseconds. `gateway` is all the time that was not upstream's; what follows upstream are its
 * parts. Kept for timing_told(); unset without a record or memory. */
struct span timing_make_text(struct weir_request *request);
static inline struct span timing_text(struct weir_request *request)
{
    return UNLIKELY(request->timing != NULL) ? timing_make_text(request) : SPAN_NONE;
}
/* What timing_text() said last; unset: nothing. */
struct span timing_told(const struct weir_request *request);

/* ---- for phases.c: around the call of a hook of a timed request, and when it goes on to wait */
void timing_hook_begins(struct weir_request *request, const struct chain_entry *entry);
void timing_hook_ends(struct weir_request *request, const struct walk *walk);
void timing_hook_waits(struct weir_request *request, const struct walk *walk);
/* It is woken, or will not be. */
void timing_wait_ends(struct weir_request *request);

#endif
