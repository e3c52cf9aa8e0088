#include "plugin_host/timing.h"

#include <inttypes.h>

#include "base/clock.h"
#include "plugin_host/builds_internal.h"
#include "plugin_host/host_internal.h"

/* Every nanosecond from `began` to `last` was added to exactly one part, the one that was `now`
 * then. Between hooks that is `base`: what goes on when no policy is the reason. */
struct timing_part {
    struct timing_part *next;
    const struct running_policy *policy; /* NULL: core, upstream */
    uint64_t ns;
};

struct request_timing {
    uint64_t began_ns, last_ns;
    struct timing_part core, upstream;
    struct timing_part *policies, **end; /* in the order they first ran */
    struct timing_part *now, *base;
    struct span text;
};

void timing_begin(struct weir_request *request)
{
    struct request_timing *timing = arena_new(request->arena, struct request_timing);
    if (timing == NULL)
        return;
    timing->began_ns = timing->last_ns = clock_precise_ns();
    timing->now = timing->base = &timing->core;
    timing->end = &timing->policies;
    request->timing = timing;
    request->timed = true;
}

static void switch_to(struct request_timing *timing, struct timing_part *part, uint64_t now_ns)
{
    timing->now->ns += now_ns - timing->last_ns;
    timing->last_ns = now_ns;
    timing->now = part;
}

/* Without memory: what it has is core's. */
static struct timing_part *part_of(struct weir_request *request,
                                   const struct running_policy *policy)
{
    struct request_timing *timing = request->timing;
    for (struct timing_part *part = timing->policies; part != NULL; part = part->next)
        if (part->policy == policy)
            return part;
    struct timing_part *part = arena_new(request->arena, struct timing_part);
    if (part == NULL)
        return &timing->core;
    part->policy = policy;
    *timing->end = part;
    timing->end = &part->next;
    return part;
}

void timing_set_target(struct weir_request *request, bool begins)
{
    struct request_timing *timing = request->timing;
    bool waits = timing->now != timing->base; /* a policy does: it goes on being the reason */
    timing->base = begins ? &timing->upstream : &timing->core;
    if (!waits)
        switch_to(timing, timing->base, clock_precise_ns());
}

/* ---- hooks */

void timing_hook_begins(struct weir_request *request, const struct chain_entry *entry)
{
    uint64_t now_ns = clock_precise_ns();
    request->host->hook_began_ns = now_ns;
    if (request->timing != NULL)
        switch_to(request->timing, part_of(request, entry->policy), now_ns);
}

void timing_hook_ends(struct weir_request *request, const struct walk *walk)
{
    uint64_t now_ns = clock_precise_ns();
    uint32_t weight = request->timing != NULL ? 1 : request->sampled ? BUILD_SAMPLE : 0;
    if (weight != 0) /* else it is only recorded */
        build_time(walk->entry->policy->row, walk->phase, now_ns - request->host->hook_began_ns,
                   weight);
    if (request->timing != NULL)
        switch_to(request->timing, request->timing->base, now_ns);
}

void timing_hook_waits(struct weir_request *request, const struct walk *walk)
{
    if (request->timing != NULL)
        switch_to(request->timing, part_of(request, walk->entry->policy), clock_precise_ns());
}

void timing_wait_ends(struct weir_request *request)
{
    if (request->timing != NULL)
        switch_to(request->timing, request->timing->base, clock_precise_ns());
}

/* ---- telling */

/* Milliseconds with four places: a tenth of a microsecond, so that many short parts still add up.
 */
static void tell(struct buf *out, struct span name, uint64_t ns)
{
    buf_text(out, out->size == 0 ? "" : ", ");
    buf_span(out, name);
    buf_printf(out, ";dur=%" PRIu64 ".%04" PRIu64, ns / 1000000, ns % 1000000 / 100);
}

struct span timing_make_text(struct weir_request *request)
{
    struct request_timing *timing = request->timing;
    switch_to(timing, timing->now, clock_precise_ns());
    AUTO_BUF out = BUF_INIT;
    tell(&out, SPAN("gateway"), timing->last_ns - timing->began_ns - timing->upstream.ns);
    if (timing->upstream.ns != 0)
        tell(&out, SPAN("upstream"), timing->upstream.ns);
    tell(&out, SPAN("core"), timing->core.ns);
    for (const struct timing_part *part = timing->policies; part != NULL; part = part->next)
        tell(&out, part->policy->policy->name, part->ns);
    timing->text = out.failed ? SPAN_NONE : arena_copy(request->arena, buf_view(&out));
    return timing->text;
}

struct span timing_told(const struct weir_request *request)
{
    return request->timing == NULL ? SPAN_NONE : request->timing->text;
}
