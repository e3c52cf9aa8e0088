/* Parked work: a hook that answered WAIT and what wakes it. A token is a place in a bounded table
 * and a generation number, never a pointer, so a stale one answers "gone" whatever became of its
 * request. Waking only queues: what was woken runs in parks_turn(), from the loop.
 * Internal to core/plugin_host; calls_wait.c is what plugins see of it. */
#ifndef WEIR_PLUGIN_HOST_PARKS_H
#define WEIR_PLUGIN_HOST_PARKS_H

#include "plugin_host/request.h"

struct parks;
struct park;

enum { PARKS_MAX = 65536, PARK_DEADLINE_MS = 60000 };

/* Borrows `host`, whose services must be set by the first park. NULL without memory. */
WEIR_MUST_USE struct parks *parks_create(struct plugin_host *host);
/* Nothing may be parked any more (every request has ended). NULL is fine. */
void parks_destroy(struct parks *parks);
/* Run what was woken before the call; what wakes meanwhile comes with the next turn. [loop] */
void parks_turn(struct parks *parks);
/* Parked and not yet woken or ended; for tests and metrics. */
size_t parks_count(const struct parks *parks);

/* Park the running hook of `walk`. deadline_ms 0: PARK_DEADLINE_MS. NULL without memory, when the
 * table is full, or when the process lends no timers. [worker, in a hook] */
WEIR_MUST_USE struct park *parks_take(struct parks *parks, struct weir_request *request,
                                      enum direction direction, uint32_t deadline_ms,
                                      weir_wake_hook *on_wake);
weir_token park_token(const struct park *park);
/* End it unwoken; its token is stale from now on. [worker] */
void parks_drop(struct parks *parks, struct park *park);
/* GONE: ended, or woken already. [any thread] */
weir_status parks_wake(struct parks *parks, weir_token token);
/* The wait ends with PHASE_FAILED, without a call of on_wake. False: GONE. [worker] */
bool parks_fail(struct parks *parks, weir_token token);

#endif
