/* One exchange over a chain set made by hand: actors whose hooks do what a row of a table says, a
 * loop whose time the test moves, a gateway that only notes what it was told. */
#ifndef WEIR_TESTS_PLUGIN_HOST_RUN_SUPPORT_H
#define WEIR_TESTS_PLUGIN_HOST_RUN_SUPPORT_H

#include <stdatomic.h>

#include "plugin_host/builds.h"
#include "plugin_host/calls.h"
#include "plugin_host/host.h"
#include "plugin_host/parks.h"

enum { RIG_ACTORS = 8, RIG_TIMERS = 32, ACTOR_WAITS = 4 };

struct rig;

struct actor {
    /* What it does: park `waits` times in a row, then answer `verdict`. With `act` that decides. */
    const char *name;
    weir_verdict verdict;
    uint32_t waits;
    uint32_t status; /* respond() with it first, 0: not */
    bool fails_open;
    bool wakes_early; /* wakes its park before it returns WAIT */
    bool forgets;     /* parks, and returns `verdict` without waiting */
    uint32_t body_need, context_size, deadline_ms;
    weir_verdict (*act)(weir_request *request, struct actor *actor);
    weir_body_hook *body; /* else the chunk is noted, and passed on by STREAM stages */

    /* What happened. */
    weir_token token; /* of its last park */
    uint32_t why;     /* of its last wake */
    uint32_t wakes;
    void *context; /* of its last call */
    struct buf input;

    struct rig *rig;
    uint32_t waited;
    weir_plugin plugin;
    struct policy policy;
    struct running_policy running;
    struct build_totals row; /* each is a build of its own */
};

struct rig_timer {
    bool active;
    uint64_t due_ms;
    void (*fire)(void *arg);
    void *arg;
};

struct rig {
    weir_request request; /* first: the gateway embeds it so */
    struct plugin_host *host;
    weir_host *table;
    struct shared *shared;
    struct arena *arena;
    struct http_header request_items[32], response_items[32];
    struct actor *actors[RIG_ACTORS];
    struct running_policy *members[RIG_ACTORS];
    struct chain_entry entries[PHASE_COUNT][RIG_ACTORS];
    struct chain_set set;
    uint16_t count;

    uint64_t now_ms;
    struct rig_timer timers[RIG_TIMERS];
    atomic_uint turns_asked;

    char trace[1024]; /* what ran, in order: "a b(woken) " */
    int resumes;      /* calls of ops->resume() */
    enum direction resumed_direction;
    enum phase_result resumed;
    bool end_on_resume; /* the exchange ends as soon as it is resumed */
    int body_reads;
    enum weir_err body_read_error;
};

/* Its loop, for a host of one's own. Borrowed until the next call. */
const struct host_services *host_services_of(struct rig *rig);
/* No actors yet. */
void rig_open(struct rig *rig);
void rig_close(struct rig *rig);
/* In running order. The actor hooks every phase. */
void rig_add(struct rig *rig, struct actor *actor);
/* After the last rig_add(): the request, with the set entered. */
void rig_begin(struct rig *rig);
/* plugin_host_turn() if anybody asked for one; true when so. */
bool rig_turn(struct rig *rig);
/* Until nobody asks any more. */
void rig_settle(struct rig *rig);
void rig_advance(struct rig *rig, uint64_t ms);
size_t rig_timers(const struct rig *rig);
void rig_note(struct rig *rig, const char *text);
/* A respond()ed access phase of one actor that calls `act`: for calls that need a running hook. */
enum phase_result rig_act(weir_verdict (*act)(weir_request *request, struct actor *actor),
                          enum phase phase, struct rig *rig);

struct span rig_span(weir_str str);
weir_str rig_str(const char *text);

/* Expect a text, with the reason. */
void expect_text(const char *why, struct span have, const char *want);

#endif
