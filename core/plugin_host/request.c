/* The beginning and the end of an exchange for the plugin host, and the contexts of its policies:
 * one block of the arena for each set of policies it passes through. Next: phases.c. */
#include "plugin_host/request.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"
#include "plugin_host/builds_internal.h"
#include "plugin_host/host_internal.h"
#include "plugin_host/parks.h"
#include "plugin_host/phases.h"
#include "plugin_host/recorder.h"

#define CONTEXT_ALIGN ((size_t)16)

static size_t round_up(size_t size)
{
    return (size + CONTEXT_ALIGN - 1) & ~(CONTEXT_ALIGN - 1);
}

/* Zero the members from `first` up to, not including, `after`. */
#define ZERO_MEMBERS(request, first, after)                             \
    memset((char *)(request) + offsetof(struct weir_request, first), 0, \
           offsetof(struct weir_request, after) - offsetof(struct weir_request, first))

/* Header tables and attempt records are most of the struct, and whoever fills them writes them
 * whole: zeroing them would cost more than all the rest of a request without policies. */
void request_begin(struct weir_request *request, struct plugin_host *host,
                   const struct request_ops *ops, struct arena *arena, struct policies *policies)
{
    memset(request, 0, offsetof(struct weir_request, head.headers));
    request->host = host;
    request->ops = ops;
    request->arena = arena;
    request->policies = policies;
    request->head.headers.items = NULL;
    request->head.headers.count = request->head.headers.capacity = 0;
    ZERO_MEMBERS(request, path, response.headers);
    request->response.headers.items = NULL;
    request->response.headers.count = request->response.headers.capacity = 0;
    ZERO_MEMBERS(request, has_response, attempts);
    size_t rest = offsetof(struct weir_request, attempt_count);
    memset((char *)request + rest, 0, sizeof(*request) - rest);
    if (ACCOUNTING && LIKELY(host != NULL) && UNLIKELY(++host->requests % BUILD_SAMPLE == 0))
        request->timed = request->sampled = true;
    if (UNLIKELY(host != NULL && host->recorder != NULL))
        recorder_begin(request);
}

/* ---- what builds count of it */

static inline bool is_counted(const struct chain_set *set)
{
    return ACCOUNTING && set != NULL && set->row_count != 0;
}

/* Not inline: what requests without policies pay for is the test before it. */
__attribute__((noinline)) static void enter_flight(const struct chain_set *set)
{
    for (uint16_t i = 0; i < set->row_count; i++)
        set->rows[i]->in_flight++;
}

__attribute__((noinline)) static void leave_flight(const struct chain_set *set)
{
    for (uint16_t i = 0; i < set->row_count; i++)
        set->rows[i]->in_flight--;
}

/* The exchange is over: what each build of its chains hears about it. */
__attribute__((noinline)) static void end_flight(const struct weir_request *request)
{
    const struct chain_set *set = request->set;
    if (request->finished_us == 0) { /* it never was one */
        leave_flight(set);
        return;
    }
    /* How long a tunnel was open says nothing about a build. */
    bool tunnel = request->has_response && request->response.status == 101;
    uint64_t end_us = tunnel ? request->answered_us : request->finished_us;
    uint64_t us = end_us > request->started_us ? end_us - request->started_us : 0;
    unsigned bits = us == 0 ? 0 : 64 - (unsigned)__builtin_clzll(us);
    unsigned bucket = bits < BUILD_LATENCIES ? bits : BUILD_LATENCIES - 1;
    for (uint16_t i = 0; i < set->row_count; i++) {
        struct build_totals *row = set->rows[i];
        row->in_flight--;
        row->exchanges++;
        row->latency_us += us;
        row->latency[bucket]++;
    }
    if (UNLIKELY(request->has_response && request->response.status >= 500))
        for (uint16_t i = 0; i < set->row_count; i++)
            set->rows[i]->server_errors++;
}

/* ---- */

static void *kept_context(const struct weir_request *request, const struct running_policy *policy)
{
    const struct chain_set *set = request->set;
    for (uint16_t i = 0; i < set->member_count; i++)
        if (set->members[i] == policy)
            return request->contexts[i];
    return NULL;
}

/* The contexts `set` needs, at *out: a table and behind it all that are new, in one block. Those
 * that `request` has already are taken over. */
static enum weir_err make_contexts(struct weir_request *request, const struct chain_set *set,
                                   void ***out)
{
    size_t table = round_up(set->member_count * sizeof(void *));
    void **contexts = arena_zalloc(request->arena, table + set->context_bytes);
    if (contexts == NULL)
        return WEIR_ERR_NO_MEMORY;
    char *at = (char *)contexts + table;
    bool fresh = request->contexts == NULL || request->set == NULL;
    for (uint16_t i = 0; i < set->member_count; i++) {
        size_t size = round_up(set->members[i]->plugin->context_size);
        if (size == 0 || (!fresh && (contexts[i] = kept_context(request, set->members[i])) != NULL))
            continue;
        contexts[i] = at;
        at += size;
    }
    *out = contexts;
    return WEIR_OK;
}

__attribute__((noinline)) static enum weir_err change_set(struct weir_request *request,
                                                          const struct chain_set *set)
{
    void **contexts = NULL;
    if (set->context_bytes != 0)
        TRY(make_contexts(request, set, &contexts));
    if (is_counted(request->set))
        leave_flight(request->set);
    if (is_counted(set))
        enter_flight(set);
    request->contexts = contexts;
    request->set = set;
    return WEIR_OK;
}

enum weir_err request_enter_set(struct weir_request *request, const struct chain_set *set)
{
    return request->set == set ? WEIR_OK : change_set(request, set);
}

enum weir_err request_make_contexts(struct weir_request *request)
{
    if (LIKELY(request->contexts != NULL || request->set->context_bytes == 0))
        return WEIR_OK;
    return make_contexts(request, request->set, &request->contexts);
}

/* Most exchanges leave the global set for a route's before any hook has run, so contexts wait for
 * the first one. */
enum weir_err request_enter_global(struct weir_request *request)
{
    request->set = policies_global(request->policies);
    request->contexts = NULL;
    if (is_counted(request->set))
        enter_flight(request->set);
    return WEIR_OK;
}

enum weir_err request_enter_route(struct weir_request *request)
{
    const struct chain_set *set = policies_route(request->policies, request->route);
    /* Without policies there is nothing to make and nobody to tell. */
    if (set->member_count == 0 && (request->set == NULL || request->set->member_count == 0)) {
        request->set = set;
        return WEIR_OK;
    }
    return request_enter_set(request, set);
}

void request_stop_waiting(struct weir_request *request)
{
    for (int direction = 0; direction < DIRECTIONS; direction++) {
        struct walk *walk = &request->walks[direction];
        CHECK_THAT(!walk->running);
        if (walk->park != NULL) {
            if (walk->waiting && request->timed)
                timing_wait_ends(request);
            parks_drop(host_parks(request->host), walk->park);
        }
        walk->waiting = false;
    }
}

void request_end(struct weir_request *request)
{
    request_stop_waiting(request);
    body_free(request);
    if (UNLIKELY(request->recording != NULL))
        recorder_end(request);
    if (is_counted(request->set))
        end_flight(request);
    request->set = NULL;
    request->contexts = NULL;
}

/* ---- the log */

static struct span route_name(const struct weir_request *request)
{
    const struct route *route = request->route;
    if (route == NULL)
        return SPAN_NONE;
    return span_first(span_is_set(route->name) ? route->name : route->id, 256);
}

const char *request_tag(const struct weir_request *request, char *out, size_t size)
{
    struct span id = request->id[0] == '\0' ? SPAN("-") : span_of(request->id, sizeof(request->id));
    struct span correlation = request->correlation, route = route_name(request);
    (void)snprintf(out, size, "request %.*s%s%.*s%s%.*s", SPAN_ARG(id),
                   span_is_empty(correlation) ? "" : ", correlation ", SPAN_ARG(correlation),
                   span_is_empty(route) ? "" : ", route ", SPAN_ARG(route));
    return out;
}

void request_log(const struct weir_request *request, enum log_level level, const char *format, ...)
{
    if (!log_enabled(level))
        return;
    char text[2048], tag[REQUEST_TAG];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    log_line(level, "%s (%s)", text, request_tag(request, tag, sizeof(tag)));
}

/* ---- facts as numbers */

static uint64_t end_us(const struct weir_request *request)
{
    return request->finished_us != 0 ? request->finished_us : clock_mono_us();
}

static uint64_t ms_between(uint64_t from_us, uint64_t to_us)
{
    return to_us > from_us ? (to_us - from_us) / 1000 : 0;
}

uint64_t request_gateway_ms(const struct weir_request *request)
{
    return ms_between(request->started_us,
                      request->picked_us != 0 ? request->picked_us : end_us(request));
}

int64_t request_target_ms(const struct weir_request *request)
{
    if (request->picked_us == 0 || request->answered_us == 0)
        return -1;
    return (int64_t)ms_between(request->picked_us, request->answered_us);
}

uint64_t request_total_ms(const struct weir_request *request)
{
    return ms_between(request->started_us, end_us(request));
}
