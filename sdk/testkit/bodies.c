/* How bodies come in the test kit: in which pieces, how slowly, and whether they come to an end. */
#include <stdlib.h>

#include "http/message.h"
#include "kit_internal.h"

static struct body_plan *plan_of(kit_request *r, uint32_t side)
{
    CHECK(r, KIT_REQUEST);
    if (side > WEIR_SIDE_RESPONSE)
        kit_die("a side is WEIR_SIDE_REQUEST or WEIR_SIDE_RESPONSE, not %u", (unsigned)side);
    if (r->stage != STAGE_NEW)
        kit_die("a request is described before kit_run(), not after");
    return &r->plans[side == WEIR_SIDE_REQUEST ? TO_TARGET : TO_CLIENT];
}

/* ---- what the test says */

void kit_split(kit_request *r, size_t size)
{
    for (uint32_t side = 0; side <= WEIR_SIDE_RESPONSE; side++) {
        struct body_plan *plan = plan_of(r, side);
        plan->how = size == 0 ? SPLIT_NOT : SPLIT_EVERY;
        plan->every = size;
    }
}

void kit_split_list(kit_request *r, uint32_t side, const size_t *sizes, size_t count)
{
    struct body_plan *plan = plan_of(r, side);
    plan->how = SPLIT_LIST;
    plan->count = count;
    plan->sizes = kit_need(arena_array(r->arena, size_t, count));
    if (count > 0)
        memcpy(plan->sizes, sizes, count * sizeof(*sizes));
}

void kit_split_random(kit_request *r, uint32_t side, uint64_t seed)
{
    struct body_plan *plan = plan_of(r, side);
    plan->how = SPLIT_RANDOM;
    plan->state = seed;
    plan->last_full = (kit_body_random(plan) & 1) != 0;
}

void kit_last_full(kit_request *r, uint32_t side)
{
    plan_of(r, side)->last_full = true;
}

void kit_slow_body(kit_request *r, uint32_t side, uint32_t ms)
{
    plan_of(r, side)->pause_ms = ms;
}

void kit_body_breaks(kit_request *r, uint32_t side, size_t after)
{
    struct body_plan *plan = plan_of(r, side);
    plan->breaks = true;
    plan->breaks_at = after;
}

void kit_no_length(kit_request *r, uint32_t side)
{
    bool of_request = plan_of(r, side) == &r->plans[TO_TARGET];
    struct http_headers *headers = of_request ? &r->request.head.headers : &r->target_headers;
    (void)http_headers_remove(headers, HTTP_HEADER_CONTENT_LENGTH, SPAN_NONE);
    r->plans[of_request ? TO_TARGET : TO_CLIENT].no_length = true;
    if (of_request)
        kit_request_header(r, "Transfer-Encoding", "chunked");
}

/* ---- pieces */

/* splitmix64 */
uint64_t kit_body_random(struct body_plan *plan)
{
    uint64_t z = plan->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Mostly small, so that short bodies are cut, too. */
static size_t random_size(struct body_plan *plan, size_t left)
{
    uint64_t bits = kit_body_random(plan);
    size_t most = (bits & 3) == 0 ? left : (bits & 3) == 1 ? 64 : 7;
    return 1 + (size_t)((bits >> 8) % (most == 0 ? 1 : most));
}

static size_t wanted_size(struct body_plan *plan, size_t left)
{
    switch (plan->how) {
    case SPLIT_NOT:
        return left;
    case SPLIT_EVERY:
        return plan->every;
    case SPLIT_LIST:
        return plan->next < plan->count ? plan->sizes[plan->next++] : left;
    case SPLIT_RANDOM:
        return random_size(plan, left);
    }
    kit_die("no such split: %d", (int)plan->how);
}

bool kit_body_piece(struct body_plan *plan, struct span bytes, size_t at, struct span *out_piece,
                    bool *out_last)
{
    size_t end = plan->breaks && plan->breaks_at < bytes.size ? plan->breaks_at : bytes.size;
    size_t left = end - at;
    if (plan->breaks && left == 0)
        return false;
    size_t size = wanted_size(plan, left);
    if (size > left)
        size = left;
    *out_piece = span_first(span_from(bytes, at), size);
    /* Split ones end with an empty piece, as chunked ones do. */
    bool is_whole = left == size && (plan->how == SPLIT_NOT || plan->last_full);
    *out_last = !plan->breaks && (left == 0 || is_whole);
    return true;
}

/* ---- slowly */

static void on_piece(void *arg)
{
    kit_request *r = arg;
    CHECK(r, KIT_REQUEST);
    r->piece_timer = NULL; /* it ran once and is gone */
    exchange_go_on(r);
}

void kit_body_pause(kit_request *r, uint32_t ms)
{
    r->piece_timer = kit_need(kit_timer_start(r->kit, ms, 0, on_piece, r));
}

/* A body that is read whole comes in as many pieces. */
static uint32_t time_of_body(const kit_request *r)
{
    struct body_plan plan = r->plans[TO_TARGET];
    uint32_t pieces = 0;
    struct span piece;
    bool last = false;
    for (size_t at = 0; !last && kit_body_piece(&plan, r->body, at, &piece, &last);) {
        at += piece.size;
        pieces++;
    }
    return pieces > 1 ? (pieces - 1) * plan.pause_ms : 0;
}

static void on_body(void *arg)
{
    kit_request *r = arg;
    CHECK(r, KIT_REQUEST);
    r->body_timer = NULL;
    r->body_wanted = true;
}

void kit_body_wanted(kit_request *r)
{
    uint32_t ms = r->plans[TO_TARGET].pause_ms == 0 ? 0 : time_of_body(r);
    if (ms == 0)
        r->body_wanted = true;
    else
        r->body_timer = kit_need(kit_timer_start(r->kit, ms, 0, on_body, r));
}
