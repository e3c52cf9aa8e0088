#include "run_support.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- the loop */

static void *timer_start(void *user, uint32_t delay_ms, uint32_t repeat_ms, void (*fire)(void *arg),
                         void *arg)
{
    struct rig *rig = user;
    cr_assert_eq(repeat_ms, 0U);
    for (size_t i = 0; i < RIG_TIMERS; i++)
        if (!rig->timers[i].active) {
            rig->timers[i] = (struct rig_timer){true, rig->now_ms + delay_ms, fire, arg};
            return &rig->timers[i];
        }
    return NULL;
}

static void timer_stop(void *user, void *timer)
{
    (void)user;
    struct rig_timer *stopped = timer;
    cr_assert(stopped->active, "a timer is stopped once, and not after it has fired");
    stopped->active = false;
}

static void turn_soon(void *user)
{
    struct rig *rig = user;
    atomic_fetch_add(&rig->turns_asked, 1);
}

bool rig_turn(struct rig *rig)
{
    if (atomic_exchange(&rig->turns_asked, 0) == 0)
        return false;
    plugin_host_turn(rig->host);
    return true;
}

void rig_settle(struct rig *rig)
{
    for (int i = 0; i < 1000; i++)
        if (!rig_turn(rig))
            return;
    cr_assert_fail("the loop never comes to rest");
}

void rig_advance(struct rig *rig, uint64_t ms)
{
    rig->now_ms += ms;
    for (size_t i = 0; i < RIG_TIMERS; i++)
        if (rig->timers[i].active && rig->timers[i].due_ms <= rig->now_ms) {
            rig->timers[i].active = false;
            rig->timers[i].fire(rig->timers[i].arg);
        }
    rig_settle(rig);
}

size_t rig_timers(const struct rig *rig)
{
    size_t count = 0;
    for (size_t i = 0; i < RIG_TIMERS; i++)
        count += rig->timers[i].active;
    return count;
}

/* ---- the gateway */

static void on_resume(struct weir_request *request, enum direction direction,
                      enum phase_result result)
{
    struct rig *rig = (struct rig *)(void *)request;
    rig->resumes++;
    rig->resumed_direction = direction;
    rig->resumed = result;
    if (rig->end_on_resume) {
        request_end(request);
        /* As freed memory would be: a later touch is seen. */
        memset(request, 0xa5, sizeof(*request));
    }
}

static enum weir_err read_body(struct weir_request *request)
{
    struct rig *rig = (struct rig *)(void *)request;
    rig->body_reads++;
    return rig->body_read_error;
}

static uint64_t bytes(const struct weir_request *request, enum direction direction)
{
    (void)request;
    return direction == TO_TARGET ? 11 : 22;
}

static const struct request_ops ops = {.resume = on_resume, .read_body = read_body, .bytes = bytes};

/* ---- actors */

void rig_note(struct rig *rig, const char *text)
{
    size_t used = strlen(rig->trace);
    (void)snprintf(rig->trace + used, sizeof(rig->trace) - used, "%s%s", used == 0 ? "" : " ",
                   text);
}

static weir_verdict on_wake(weir_request *request, void *self, void *context, uint32_t why);

static weir_verdict play(weir_request *request, struct actor *actor)
{
    if (actor->act != NULL)
        return actor->act(request, actor);
    if (actor->waited < actor->waits || actor->forgets) {
        actor->waited++;
        actor->token = call_park(request, actor->deadline_ms, on_wake);
        if (actor->wakes_early)
            cr_expect_eq(call_wake(actor->rig->table, actor->token), WEIR_SUCCESS);
        if (!actor->forgets)
            return WEIR_WAIT;
    }
    if (actor->status != 0)
        cr_expect_eq(call_respond(request, actor->status, WEIR_LIT("text/plain"), WEIR_LIT("no")),
                     WEIR_SUCCESS);
    return actor->verdict;
}

static weir_verdict on_wake(weir_request *request, void *self, void *context, uint32_t why)
{
    struct actor *actor = self;
    char text[64];
    (void)snprintf(text, sizeof(text), "%s(%s)", actor->name,
                   why == WEIR_WOKEN ? "woken" : "deadline");
    rig_note(actor->rig, text);
    actor->why = why;
    actor->wakes++;
    actor->context = context;
    return play(request, actor);
}

static weir_verdict hook(weir_request *request, void *self, void *context)
{
    struct actor *actor = self;
    rig_note(actor->rig, actor->name);
    actor->context = context;
    return play(request, actor);
}

static void log_hook(weir_request *request, void *self, void *context)
{
    struct actor *actor = self;
    rig_note(actor->rig, actor->name);
    actor->context = context;
    if (actor->act != NULL)
        (void)actor->act(request, actor);
}

static weir_verdict body_hook(weir_request *request, void *self, void *context, weir_str chunk,
                              bool last)
{
    struct actor *actor = self;
    if (actor->body != NULL)
        return actor->body(request, self, context, chunk, last);
    actor->context = context;
    buf_append(&actor->input, chunk.data, chunk.size);
    if (last)
        buf_byte(&actor->input, '$');
    const struct walk *walk =
        request->walks[TO_TARGET].running ? &request->walks[TO_TARGET] : &request->walks[TO_CLIENT];
    uint32_t side = walk->phase == PHASE_REQUEST_BODY ? WEIR_SIDE_REQUEST : WEIR_SIDE_RESPONSE;
    if (actor->body_need == WEIR_BODY_STREAM)
        cr_expect_eq(call_body_emit(request, side, chunk), WEIR_SUCCESS);
    actor->waited = 0; /* it waits at every chunk */
    return play(request, actor);
}

/* ---- the rig */

const struct host_services *host_services_of(struct rig *rig)
{
    static struct host_services services;
    services = (struct host_services){
        .user = rig, .timer_start = timer_start, .timer_stop = timer_stop, .turn_soon = turn_soon};
    return &services;
}

void rig_open(struct rig *rig)
{
    memset(rig, 0, sizeof(*rig));
    rig->shared = shared_create(1 << 20, 1);
    cr_assert_not_null(rig->shared);
    rig->host = plugin_host_create(host_services_of(rig), rig->shared, 0);
    cr_assert_not_null(rig->host);
    rig->table = plugin_table_create(rig->host, SPAN("actor"));
    cr_assert_not_null(rig->table);
    rig->arena = arena_create(NULL);
    cr_assert_not_null(rig->arena);
    rig->set.members = rig->members;
}

void rig_close(struct rig *rig)
{
    request_end(&rig->request);
    cr_expect_eq(rig_timers(rig), 0U, "no deadline outlives its exchange");
    for (uint16_t i = 0; i < rig->count; i++)
        buf_free(&rig->actors[i]->input);
    plugin_table_destroy(rig->table);
    plugin_host_destroy(rig->host);
    arena_destroy(rig->arena);
    shared_destroy(rig->shared);
}

void rig_add(struct rig *rig, struct actor *actor)
{
    uint16_t at = rig->count++;
    cr_assert_lt(at, RIG_ACTORS);
    actor->rig = rig;
    actor->plugin = (weir_plugin){.name = actor->name,
                                  .context_size = actor->context_size,
                                  .request_body_need = actor->body_need,
                                  .response_body_need = actor->body_need};
    actor->policy.name = span_text(actor->name);
    actor->row = (struct build_totals){0};
    actor->running = (struct running_policy){.policy = &actor->policy,
                                             .plugin = &actor->plugin,
                                             .row = &actor->row,
                                             .fails_open = actor->fails_open,
                                             .index = at};
    rig->actors[at] = actor;
    rig->members[at] = &actor->running;
    for (int phase = 0; phase < PHASE_COUNT; phase++) {
        struct chain_entry *entry = &rig->entries[phase][at];
        *entry = (struct chain_entry){.self = actor, .policy = &actor->running, .slot = at};
        if (phase == PHASE_LOG)
            entry->run.log_hook = log_hook;
        else if (phase == PHASE_REQUEST_BODY || phase == PHASE_RESPONSE_BODY)
            entry->run.body_hook = body_hook;
        else
            entry->run.hook = hook;
        rig->set.phases[phase] = (struct chain){rig->entries[phase], rig->count};
    }
    rig->set.member_count = rig->count;
    rig->set.context_bytes += (actor->context_size + 15U) & ~15U;
}

void rig_begin(struct rig *rig)
{
    /* Whatever lay there before must not matter. */
    memset(&rig->request, 0x5a, sizeof(rig->request));
    request_begin(&rig->request, rig->host, &ops, rig->arena, NULL);
    http_headers_init(&rig->request.head.headers, rig->request_items, 32);
    http_headers_init(&rig->request.response.headers, rig->response_items, 32);
    rig->request.set = &rig->set;
}

enum phase_result rig_act(weir_verdict (*act)(weir_request *request, struct actor *actor),
                          enum phase phase, struct rig *rig)
{
    static struct actor actor;
    actor = (struct actor){.name = "actor", .act = act};
    rig->count = 0;
    rig->set.context_bytes = 0;
    rig_add(rig, &actor);
    if (rig->request.set == NULL)
        rig_begin(rig);
    return phase_run(&rig->request, phase);
}

struct span rig_span(weir_str str)
{
    return (struct span){str.data, str.size};
}

weir_str rig_str(const char *text)
{
    return text == NULL ? (weir_str){NULL, 0} : (weir_str){text, strlen(text)};
}

void expect_text(const char *why, struct span have, const char *want)
{
    if (want == NULL)
        cr_expect(!span_is_set(have), "%s: have '%.*s', want nothing", why, SPAN_ARG(have));
    else
        cr_expect(span_is_set(have) && span_equal(have, span_text(want)),
                  "%s: have %s'%.*s', want '%s'", why, span_is_set(have) ? "" : "nothing ",
                  SPAN_ARG(have), want);
}
