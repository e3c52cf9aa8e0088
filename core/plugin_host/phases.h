/* What the hooks of one exchange share while they run: phases.c runs chains of plain hooks, body.c
 * those over bodies, parks.c calls back what waited. Internal to core/plugin_host. */
#ifndef WEIR_PLUGIN_HOST_PHASES_H
#define WEIR_PLUGIN_HOST_PHASES_H

#include "plugin_host/builds_internal.h"
#include "plugin_host/host_internal.h"
#include "plugin_host/request.h"
#include "plugin_host/timing.h"

#define PHASE_BIT(phase) (1U << (phase))
#define PHASES_BEFORE_TARGET \
    (PHASE_BIT(PHASE_REWRITE) | PHASE_BIT(PHASE_ACCESS) | PHASE_BIT(PHASE_UPSTREAM))

enum direction phase_direction(enum phase phase);
static inline bool phase_is_body(enum phase phase)
{
    return phase == PHASE_REQUEST_BODY || phase == PHASE_RESPONSE_BODY;
}

/* The direction whose hook runs right now, NULL outside of hooks. At most one does. */
static inline struct walk *request_running(struct weir_request *request)
{
    if (request->walks[TO_TARGET].running)
        return &request->walks[TO_TARGET];
    return request->walks[TO_CLIENT].running ? &request->walks[TO_CLIENT] : NULL;
}
/* May a hook of one of these phases be the one that asks? */
static inline bool request_in_phases(struct weir_request *request, unsigned phase_bits)
{
    const struct walk *walk = request_running(request);
    return walk != NULL && (PHASE_BIT(walk->phase) & phase_bits) != 0;
}
static inline void *request_context(const struct weir_request *request,
                                    const struct chain_entry *entry)
{
    return request->contexts == NULL ? NULL : request->contexts[entry->slot];
}

/* request.c: go on with `set`; contexts of policies that are in both sets are kept. NO_MEMORY
 * changes nothing. */
WEIR_MUST_USE enum weir_err request_enter_set(struct weir_request *request,
                                              const struct chain_set *set);
/* Contexts of the present set, if it needs any and has none yet. */
WEIR_MUST_USE enum weir_err request_make_contexts(struct weir_request *request);

/* Begin a walk; what waited in that direction is given up. */
void walk_begin(struct weir_request *request, enum phase phase);
/* Around every call into a plugin: who is to blame if it does not come back, and how long it takes
 * in requests that are timed. How it returned is counted by who settles it. */
static inline void hook_mark(struct weir_request *request, struct walk *walk,
                             const struct chain_entry *entry)
{
    struct worker_slot *blame = request->host->blame;
    blame->phase = walk->phase;
    blame->policy_plus_one = entry->policy->index + 1;
    request->host->running_request = request;
    walk->entry = entry;
    walk->running = true;
}
static inline void hook_unmark(struct weir_request *request, struct walk *walk)
{
    request->host->blame->policy_plus_one = 0;
    walk->running = false;
}
static inline void hook_enter(struct weir_request *request, struct walk *walk,
                              const struct chain_entry *entry)
{
    hook_mark(request, walk, entry);
    if (UNLIKELY(request->timed))
        timing_hook_begins(request, entry);
}
static inline void hook_leave(struct weir_request *request, struct walk *walk)
{
    if (UNLIKELY(request->timed))
        timing_hook_ends(request, walk);
    hook_unmark(request, walk);
}
/* What hook_settle() will make of a verdict: "NEXT", "FAIL (DONE without an answer)" … */
const char *verdict_word(const struct weir_request *request, const struct walk *walk,
                         weir_verdict verdict);
/* What the verdict of a hook that has returned means. NEXT: go on behind walk->entry; also after a
 * FAIL of a policy that fails open (*out_failed, may be NULL, tells). */
enum phase_result hook_settle(struct weir_request *request, struct walk *walk, weir_verdict verdict,
                              bool *out_failed);

/* From parks_turn(), the park being gone already: call `on_wake` (NULL: the wait failed), go on and
 * resume the exchange, which may end in it. */
void walk_woken(struct weir_request *request, enum direction direction, weir_wake_hook *on_wake,
                uint32_t why);

/* body.c: go on after the hook that waited has returned `verdict`. */
enum phase_result body_go_on(struct weir_request *request, enum direction direction,
                             weir_verdict verdict);
/* WEIR_BODY_… of the running or waiting body hook. */
uint32_t body_need(const struct walk *walk);
/* Where body_emit() of the running hook goes; NULL when it is no STREAM hook. */
struct buf *body_emission(struct weir_request *request, enum direction direction);
void body_free(struct weir_request *request);

/* calls_fields.c. An answer was offered in place of a response: mark the fields that describe the
 * old body. Then either the answer is given, and those not set again go, or it is not. */
void response_offer(struct weir_request *request);
void response_replace(struct weir_request *request);
void response_keep(struct weir_request *request);

#endif
