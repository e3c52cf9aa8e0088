/* A body on its way through the hooks of its direction: what one policy passes on is what the next
 * one sees. STREAM stages get each chunk, BUFFER stages one call with the whole, TEE stages a look.
 * A stage that waits stops the line: its place is kept, and what comes out after it is woken lies
 * in `output`. */
#include "base/buf.h"
#include "plugin_host/host_internal.h"
#include "plugin_host/parks.h"
#include "plugin_host/phases.h"
#include "plugin_host/recorder.h"

struct stage {
    struct buf whole; /* BUFFER: what came so far; the body it was given, afterwards */
    bool bypassed;    /* it failed and fails open: the rest passes it by */
};

struct body_pipe {
    const struct chain *chain;
    struct stage *stages;  /* chain->count */
    bool last, ended;      /* of the chunk that is on its way; of the body */
    struct buf between[2]; /* what a stage made for the next one; two in turn, one is its input */
    uint8_t turn;
    struct buf *emit;  /* where a STREAM stage's output goes: `between`, the caller's, `output` */
    size_t emit_start; /* what this stage has emitted begins here */
    struct buf kept;   /* the chunk of a stage that waits, should it fail open */
    struct buf output;
};

static const struct running_policy *policy_at(const struct body_pipe *pipe, uint16_t at)
{
    return pipe->chain->entries[at].policy;
}

static uint32_t need_of(const struct running_policy *policy, enum direction direction)
{
    return direction == TO_TARGET ? policy->plugin->request_body_need
                                  : policy->plugin->response_body_need;
}

uint32_t body_need(const struct walk *walk)
{
    return need_of(walk->entry->policy, phase_direction(walk->phase));
}

static enum phase body_phase(enum direction direction)
{
    return direction == TO_TARGET ? PHASE_REQUEST_BODY : PHASE_RESPONSE_BODY;
}

static struct body_pipe *pipe_make(struct weir_request *request, enum direction direction)
{
    const struct chain *chain = &request->set->phases[body_phase(direction)];
    struct body_pipe *pipe = arena_new(request->arena, struct body_pipe);
    if (pipe == NULL)
        return NULL;
    pipe->chain = chain;
    pipe->stages = arena_array(request->arena, struct stage, chain->count);
    if (pipe->stages == NULL)
        return NULL;
    for (uint16_t i = 0; i < chain->count; i++)
        pipe->stages[i].whole.limit = BODY_WHOLE_MAX;
    pipe->between[0].limit = pipe->between[1].limit = BODY_EMIT_MAX;
    request->pipes[direction] = pipe;
    walk_begin(request, body_phase(direction));
    return pipe;
}

void body_free(struct weir_request *request)
{
    for (int direction = 0; direction < DIRECTIONS; direction++) {
        struct body_pipe *pipe = request->pipes[direction];
        request->pipes[direction] = NULL;
        if (pipe == NULL)
            continue;
        for (uint16_t i = 0; i < pipe->chain->count; i++)
            buf_free(&pipe->stages[i].whole);
        buf_free(&pipe->between[0]);
        buf_free(&pipe->between[1]);
        buf_free(&pipe->kept);
        buf_free(&pipe->output);
    }
}

static size_t held_by(const struct body_pipe *pipe)
{
    size_t held = pipe->between[0].capacity + pipe->between[1].capacity + pipe->kept.capacity +
                  pipe->output.capacity;
    for (uint16_t i = 0; i < pipe->chain->count; i++)
        held += pipe->stages[i].whole.capacity;
    return held;
}

size_t request_bodies_held(const struct weir_request *request)
{
    size_t held = 0;
    for (int direction = 0; direction < DIRECTIONS; direction++)
        if (request->pipes[direction] != NULL)
            held += held_by(request->pipes[direction]);
    return held;
}

/* ---- one stage */

/* One pass of a chunk down the line. */
struct pass {
    struct weir_request *request;
    enum direction direction;
    struct body_pipe *pipe;
    struct walk *walk;
    struct span chunk;
    struct buf *out; /* of the last stage */
    bool delivered;  /* the last stage wrote to `out` itself */
    enum weir_err error;
};

static struct span emitted(const struct body_pipe *pipe)
{
    return span_from(buf_view(pipe->emit), pipe->emit_start);
}

static bool is_final(const struct body_pipe *pipe, uint16_t at)
{
    return at + 1 == pipe->chain->count;
}

/* Where the output of stage `at` goes: the last one's straight to the caller, so that a byte is
 * copied once on its way. */
static void aim(struct pass *pass, uint16_t at)
{
    struct body_pipe *pipe = pass->pipe;
    pipe->emit = NULL;
    if (need_of(policy_at(pipe, at), pass->direction) != WEIR_BODY_STREAM)
        return;
    if (is_final(pipe, at)) {
        pipe->emit = pass->out;
    } else {
        pipe->turn ^= 1;
        pipe->emit = &pipe->between[pipe->turn];
        pipe->emit->size = 0;
        pipe->emit->failed = false;
    }
    pipe->emit_start = pipe->emit->size;
}

/* The caller's buffer is not ours when its call is over. */
static void keep_place(struct pass *pass, uint16_t at)
{
    struct body_pipe *pipe = pass->pipe;
    if (pipe->emit == NULL) /* a whole body stays where it is */
        return;
    if (policy_at(pipe, at)->fails_open) {
        pipe->kept.size = 0;
        buf_span(&pipe->kept, pass->chunk);
    }
    if (!is_final(pipe, at) || pipe->emit == &pipe->output)
        return;
    buf_span(&pipe->output, emitted(pipe));
    pipe->emit->size = pipe->emit_start;
    pipe->emit = &pipe->output;
    pipe->emit_start = 0;
}

/* What stage `at`, that has returned NEXT or failed open, hands to the one behind it. */
static void hand_on(struct pass *pass, uint16_t at, bool failed)
{
    struct body_pipe *pipe = pass->pipe;
    pass->delivered = false;
    pipe->stages[at].bypassed = failed;
    if (pipe->emit == NULL) {
        if (!failed && need_of(policy_at(pipe, at), pass->direction) == WEIR_BODY_BUFFER)
            pass->chunk = pass->request->bodies[pass->direction].bytes;
    } else if (failed) {
        pipe->emit->size = pipe->emit_start;
        /* The input may lie in the other buffer, which the next stage must not write to. */
        if (!is_final(pipe, at))
            pipe->turn ^= 1;
    } else if (pipe->emit->failed) {
        pass->error = WEIR_ERR_NO_MEMORY;
    } else {
        pass->chunk = emitted(pipe);
        pass->delivered = is_final(pipe, at);
    }
}

/* Collect for a BUFFER stage. False: it waits for more, or *error. */
static bool collect(struct pass *pass, uint16_t at)
{
    struct buf *whole = &pass->pipe->stages[at].whole;
    if (pass->chunk.size > BODY_WHOLE_MAX - whole->size) {
        pass->error = WEIR_ERR_BODY_TOO_LARGE;
        return false;
    }
    buf_span(whole, pass->chunk);
    if (whole->failed) {
        pass->error = WEIR_ERR_NO_MEMORY;
        return false;
    }
    if (!pass->pipe->last)
        return false;
    pass->chunk = whole->size == 0 ? SPAN("") : buf_view(whole);
    pass->request->bodies[pass->direction].bytes = pass->chunk;
    pass->request->bodies[pass->direction].complete = true;
    return true;
}

struct buf *body_emission(struct weir_request *request, enum direction direction)
{
    return request->pipes[direction] == NULL ? NULL : request->pipes[direction]->emit;
}

static enum phase_result call_stage(struct pass *pass, uint16_t at, bool *out_failed)
{
    struct weir_request *request = pass->request;
    const struct chain_entry *entry = &pass->pipe->chain->entries[at];
    aim(pass, at);
    pass->walk->next = (uint16_t)(at + 1);
    hook_enter(request, pass->walk, entry);
    weir_verdict verdict =
        entry->run.body_hook(request, entry->self, request_context(request, entry),
                             (weir_str){pass->chunk.data, pass->chunk.size}, pass->pipe->last);
    hook_leave(request, pass->walk);
    if (UNLIKELY(request->recording != NULL))
        recorder_verdict(request, pass->walk,
                         &(struct recorded_piece){pass->chunk.size, pass->pipe->last}, NULL,
                         verdict);
    return hook_settle(request, pass->walk, verdict, out_failed);
}

/* ---- the line */

static bool has_skipped(const struct weir_request *request, enum direction direction,
                        const struct running_policy *policy)
{
    for (const struct skipped_body *by = request->skipped[direction]; by != NULL; by = by->next)
        if (by->policy == policy)
            return true;
    return false;
}

uint32_t request_body_need(const struct weir_request *request, enum direction direction)
{
    if (request->set == NULL)
        return WEIR_BODY_NONE;
    if (request->skipped[direction] == NULL)
        return request->set->body_need[direction];
    const struct chain *chain = &request->set->phases[body_phase(direction)];
    uint8_t need = WEIR_BODY_NONE;
    for (uint16_t i = 0; i < chain->count; i++) {
        const struct running_policy *policy = chain->entries[i].policy;
        if (!has_skipped(request, direction, policy))
            need = chain_stronger_need(need, need_of(policy, direction));
    }
    return need;
}

static bool is_skipped(const struct pass *pass, uint16_t at)
{
    return pass->pipe->stages[at].bypassed ||
           has_skipped(pass->request, pass->direction, policy_at(pass->pipe, at)) ||
           need_of(policy_at(pass->pipe, at), pass->direction) == WEIR_BODY_NONE;
}

/* From stage `at` on, until the chunk has come out, is used up, or somebody waits. */
static enum phase_result run_line(struct pass *pass, uint16_t at)
{
    struct body_pipe *pipe = pass->pipe;
    for (; at < pipe->chain->count && pass->error == WEIR_OK; at++) {
        if (pass->chunk.size == 0 && !pipe->last)
            return PHASE_NEXT;
        if (is_skipped(pass, at)) {
            pass->delivered = false;
            continue;
        }
        if (need_of(policy_at(pipe, at), pass->direction) == WEIR_BODY_BUFFER && !collect(pass, at))
            break;
        bool failed = false;
        enum phase_result result = call_stage(pass, at, &failed);
        if (result == PHASE_WAIT)
            keep_place(pass, at);
        if (result != PHASE_NEXT)
            return result;
        hand_on(pass, at, failed);
    }
    if (pass->error == WEIR_OK && at == pipe->chain->count) {
        if (!pass->delivered)
            buf_span(pass->out, pass->chunk);
        if (pass->out->failed)
            pass->error = WEIR_ERR_NO_MEMORY;
        pipe->ended = pipe->last;
    }
    return pass->error == WEIR_OK ? PHASE_NEXT : PHASE_FAILED;
}

enum phase_result phase_body(struct weir_request *request, enum direction direction,
                             struct span chunk, bool last, struct buf *out,
                             enum weir_err *out_error)
{
    *out_error = WEIR_OK;
    struct body_pipe *pipe = request->pipes[direction];
    if (request_make_contexts(request) != WEIR_OK ||
        (pipe == NULL && (pipe = pipe_make(request, direction)) == NULL)) {
        *out_error = WEIR_ERR_NO_MEMORY;
        return PHASE_FAILED;
    }
    struct walk *walk = &request->walks[direction];
    CHECK_THAT(!walk->waiting && !walk->running && !pipe->ended);
    if (walk->phase != body_phase(direction)) /* another attempt's hooks ran in between */
        walk_begin(request, body_phase(direction));
    pipe->last = last;
    pipe->output.size = 0;
    struct pass pass = {request, direction, pipe, walk, chunk, out, false, WEIR_OK};
    enum phase_result result = run_line(&pass, 0);
    *out_error = pass.error;
    return result;
}

enum phase_result body_go_on(struct weir_request *request, enum direction direction,
                             weir_verdict verdict)
{
    struct body_pipe *pipe = request->pipes[direction];
    struct walk *walk = &request->walks[direction];
    uint16_t at = (uint16_t)(walk->next - 1);
    bool failed = false;
    enum phase_result result = hook_settle(request, walk, verdict, &failed);
    if (result != PHASE_NEXT)
        return result;
    struct span input = need_of(policy_at(pipe, at), direction) == WEIR_BODY_BUFFER
                            ? buf_view(&pipe->stages[at].whole)
                            : buf_view(&pipe->kept);
    struct pass pass = {request, direction, pipe, walk, input, &pipe->output, false, WEIR_OK};
    if (failed && pipe->kept.failed)
        pass.error = WEIR_ERR_NO_MEMORY;
    hand_on(&pass, at, failed);
    return run_line(&pass, (uint16_t)(at + 1));
}

struct span request_body_output(const struct weir_request *request, enum direction direction)
{
    const struct body_pipe *pipe = request->pipes[direction];
    return pipe == NULL ? SPAN_NONE : buf_view(&pipe->output);
}

bool request_body_ended(const struct weir_request *request, enum direction direction)
{
    return request->pipes[direction] != NULL && request->pipes[direction]->ended;
}
