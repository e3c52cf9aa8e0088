/* Hooks in their order over one exchange, and what their verdicts mean. A hook that waits leaves
 * its place in a walk; parks.c comes back to it. Bodies have a file of their own: body.c. */
#include "plugin_host/phases.h"

#include "plugin_host/host_internal.h"
#include "plugin_host/parks.h"
#include "plugin_host/recorder.h"

static const struct phase_rule {
    const char *name;
    enum direction direction;
    bool may_answer; /* DONE is a verdict here */
} rules[PHASE_COUNT] = {
    [PHASE_REWRITE] = {"rewrite", TO_TARGET, true},
    [PHASE_ACCESS] = {"access", TO_TARGET, true},
    [PHASE_REQUEST_BODY] = {"request_body", TO_TARGET, true},
    [PHASE_UPSTREAM] = {"upstream", TO_TARGET, true},
    [PHASE_RESPONSE_HEADERS] = {"response_headers", TO_CLIENT, true},
    [PHASE_RESPONSE_BODY] = {"response_body", TO_CLIENT, false}, /* the head may be sent */
    [PHASE_LOG] = {"log", TO_CLIENT, false},
};

const char *phase_name(enum phase phase)
{
    return rules[phase].name;
}

enum direction phase_direction(enum phase phase)
{
    return rules[phase].direction;
}

/* ---- verdicts */

static inline void count(const struct walk *walk, enum build_verdict verdict)
{
    build_count(walk->entry->policy->row, walk->phase, verdict);
}

static inline void drop_park(struct weir_request *request, struct walk *walk)
{
    if (walk->park != NULL)
        parks_drop(host_parks(request->host), walk->park);
}

/* A consumer was authenticated in the hook: later members are chosen again, and the walk goes on
 * with the first of them. */
static bool switch_set(struct weir_request *request, struct walk *walk)
{
    uint16_t rank = walk->entry->slot;
    request->consumer_changed = false;
    if (request->consumer == NULL) /* an identity without consumer has no scopes of its own */
        return true;
    const struct chain_set *set = policies_consumer(request->policies, request->set, request->route,
                                                    request->consumer, rank, request->arena);
    if (set == NULL)
        return false;
    if (set == request->set)
        return true;
    if (request_enter_set(request, set) != WEIR_OK)
        return false;
    walk->chain = &set->phases[walk->phase];
    walk->next = 0;
    while (walk->next < walk->chain->count && walk->chain->entries[walk->next].slot <= rank)
        walk->next++;
    return true;
}

static enum phase_result answer(struct weir_request *request, struct walk *walk, bool offered)
{
    if (offered) {
        request->reply = request->offered;
        request->reply.by_policy = true;
    }
    if (walk->phase != PHASE_RESPONSE_HEADERS)
        return PHASE_DONE;
    response_replace(request);
    walk->replaced = true;
    return PHASE_NEXT; /* the later ones see the answer as the response */
}

static enum phase_result fail(struct weir_request *request, struct walk *walk, bool *out_failed)
{
    count(walk, BUILD_FAIL);
    if (out_failed != NULL)
        *out_failed = true;
    if (walk->entry->policy->fails_open)
        return PHASE_NEXT;
    if (!request->has_response)
        request->reply.status = 0; /* of a reply nobody stands by */
    return PHASE_FAILED;
}

const char *verdict_word(const struct weir_request *request, const struct walk *walk,
                         weir_verdict verdict)
{
    bool has_answer = walk->answered || (!request->has_response && request->reply.status != 0);
    switch (verdict) {
    case WEIR_NEXT:
        return "NEXT";
    case WEIR_DONE:
        if (walk->phase == PHASE_RESPONSE_BODY)
            return "FAIL (DONE in response_body)";
        return has_answer ? "DONE" : "FAIL (DONE without an answer)";
    case WEIR_WAIT:
        return walk->park != NULL ? "WAIT" : "FAIL (WAIT for nothing)";
    case WEIR_FAIL:
        return "FAIL";
    default:
        return "FAIL (no verdict)";
    }
}

enum phase_result hook_settle(struct weir_request *request, struct walk *walk, weir_verdict verdict,
                              bool *out_failed)
{
    if (UNLIKELY(request->consumer_changed) && !switch_set(request, walk)) {
        drop_park(request, walk);
        return PHASE_FAILED; /* whose policies would run is not known */
    }
    if (verdict == WEIR_WAIT && walk->park != NULL) {
        walk->waiting = true;
        walk->entry->policy->row->suspended++; /* until parks_drop() */
        count(walk, BUILD_WAIT);
        if (UNLIKELY(request->timed))
            timing_hook_waits(request, walk);
        return PHASE_WAIT;
    }
    drop_park(request, walk);
    bool offered = walk->answered;
    walk->answered = false;
    if (verdict == WEIR_DONE && rules[walk->phase].may_answer &&
        (offered || (!request->has_response && request->reply.status != 0))) {
        count(walk, BUILD_DONE);
        return answer(request, walk, offered);
    }
    if (offered)
        response_keep(request);
    if (LIKELY(verdict == WEIR_NEXT)) {
        count(walk, BUILD_NEXT);
        return PHASE_NEXT;
    }
    return fail(request, walk, out_failed);
}

/* ---- walks */

static inline struct walk *begin(struct weir_request *request, enum phase phase)
{
    struct walk *walk = &request->walks[rules[phase].direction];
    CHECK_THAT(!walk->running);
    drop_park(request, walk);
    walk->chain = &request->set->phases[phase];
    walk->next = 0;
    walk->phase = (uint8_t)phase;
    walk->waiting = walk->answered = walk->replaced = false;
    walk->entry = NULL;
    return walk;
}

void walk_begin(struct weir_request *request, enum phase phase)
{
    (void)begin(request, phase);
}

/* NEXT of a hook that asked for nothing: there is nothing to settle. */
static inline bool is_plain_next(const struct weir_request *request, const struct walk *walk,
                                 weir_verdict verdict)
{
    return verdict == WEIR_NEXT && walk->park == NULL && !walk->answered &&
           !request->consumer_changed;
}

static inline weir_verdict call_hook(struct weir_request *request, const struct chain_entry *entry)
{
    return entry->run.hook(request, entry->self, request_context(request, entry));
}

/* Apart, so that requests which are not timed pay for one test. */
__attribute__((noinline)) static weir_verdict
call_timed(struct weir_request *request, struct walk *walk, const struct chain_entry *entry)
{
    timing_hook_begins(request, entry);
    weir_verdict verdict = call_hook(request, entry);
    timing_hook_ends(request, walk);
    if (request->recording != NULL)
        recorder_verdict(request, walk, NULL, NULL, verdict);
    return verdict;
}

static enum phase_result run_from_here(struct weir_request *request, struct walk *walk)
{
    const unsigned phase = walk->phase;
    while (walk->next < walk->chain->count) {
        const struct chain_entry *entry = &walk->chain->entries[walk->next++];
        hook_mark(request, walk, entry);
        weir_verdict verdict =
            UNLIKELY(request->timed) ? call_timed(request, walk, entry) : call_hook(request, entry);
        hook_unmark(request, walk);
        if (LIKELY(is_plain_next(request, walk, verdict))) {
            build_count(entry->policy->row, phase, BUILD_NEXT);
            continue;
        }
        enum phase_result result = hook_settle(request, walk, verdict, NULL);
        if (result != PHASE_NEXT)
            return result;
    }
    return walk->replaced ? PHASE_DONE : PHASE_NEXT;
}

static void run_log(struct weir_request *request, struct walk *walk)
{
    while (walk->next < walk->chain->count) {
        const struct chain_entry *entry = &walk->chain->entries[walk->next++];
        hook_enter(request, walk, entry);
        entry->run.log_hook(request, entry->self, request_context(request, entry));
        hook_leave(request, walk);
        if (UNLIKELY(request->recording != NULL))
            recorder_log_hook(request, walk);
        build_count(entry->policy->row, PHASE_LOG, BUILD_NEXT);
    }
}

enum phase_result phase_run(struct weir_request *request, enum phase phase)
{
    CHECK_THAT(!phase_is_body(phase));
    if (phase_is_empty(request, phase))
        return PHASE_NEXT;
    if (request_make_contexts(request) != WEIR_OK)
        return PHASE_FAILED;
    struct walk *walk = begin(request, phase);
    if (phase != PHASE_LOG)
        return run_from_here(request, walk);
    run_log(request, walk);
    return PHASE_NEXT;
}

void walk_woken(struct weir_request *request, enum direction direction, weir_wake_hook *on_wake,
                uint32_t why)
{
    struct walk *walk = &request->walks[direction];
    CHECK_THAT(walk->waiting && !walk->running);
    walk->waiting = false;
    if (UNLIKELY(request->timed))
        timing_wait_ends(request);
    enum phase_result result = PHASE_FAILED;
    if (on_wake != NULL) {
        const struct chain_entry *entry = walk->entry;
        hook_enter(request, walk, entry);
        weir_verdict verdict = on_wake(request, entry->self, request_context(request, entry), why);
        hook_leave(request, walk);
        if (UNLIKELY(request->recording != NULL))
            recorder_verdict(request, walk, NULL, why == WEIR_DEADLINE ? "deadline" : "woken",
                             verdict);
        if (phase_is_body(walk->phase))
            result = body_go_on(request, direction, verdict);
        else
            result = hook_settle(request, walk, verdict, NULL);
        if (result == PHASE_NEXT && !phase_is_body(walk->phase))
            result = run_from_here(request, walk);
    }
    if (result != PHASE_WAIT)
        request->ops->resume(request, direction, result);
}
