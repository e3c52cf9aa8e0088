/* Every state of the exchange table, and everything that can happen in it: the client leaves, the
 * target leaves, time passes, the gateway drains or ends, and memory runs out at the first, second,
 * third … allocation. Whatever it is, both sides see something well-formed or an end, each request
 * is logged once, and nothing is left.
 *
 * By default a part of the product runs, which WEIR_WALK_SEED turns (it is printed); WEIR_WALK=full
 * runs all of it. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "allocations.h"
#include "base/log.h"
#include "scenes.h"

enum ending {
    GOES_ON,
    CLIENT_ENDS,  /* FIN */
    CLIENT_RESET, /* RST */
    TARGET_ENDS,
    TARGET_RESET,
    LATE,
    DRAINED,
    DESTROYED,
    ENDINGS
};
static const char *const ending_names[ENDINGS] = {
    "all goes on",       "the client ends",     "the client resets",      "the target ends",
    "the target resets", "the deadline passes", "the gateway is drained", "the gateway ends"};

/* ---- which states were entered: the test is linked with --wrap for the steps */

static uint64_t entered;

/* NOLINTBEGIN(bugprone-reserved-identifier) */
/* clang-format off */
#define STEPS(X) \
    X(READ_HEAD, read_head) X(CHECK, check) X(REWRITE, rewrite) X(ROUTE, route) \
    X(ACCESS, access) X(PREPARE, prepare) X(RETRY, retry) X(UPSTREAM, upstream) X(PICK, pick) \
    X(CONNECT, connect) X(SEND, send) X(READ_RESPONSE, read_response) \
    X(RESPONSE_HEADERS, response_headers) X(RELAY, relay) X(TUNNEL, tunnel) \
    X(MAKE_REPLY, make_reply) X(REPLY_HEADERS, reply_headers) X(SEND_REPLY, send_reply) \
    X(FINISH, finish)
/* clang-format on */
#define OBSERVE(state_, name)                         \
    enum step __real_step_##name(struct exchange *x); \
    enum step __wrap_step_##name(struct exchange *x); \
    enum step __wrap_step_##name(struct exchange *x)  \
    {                                                 \
        entered |= UINT64_C(1) << STATE_##state_;     \
        return __real_step_##name(x);                 \
    }
STEPS(OBSERVE)
/* NOLINTEND(bugprone-reserved-identifier) */
#define ONE(state_, name) +1
_Static_assert((0 STEPS(ONE)) == STATE_COUNT, "every state has its step here");

/* ---- leaks: told per scene, not at the end of the process alone */

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/lsan_interface.h>
static bool has_leak(void)
{
    return __lsan_do_recoverable_leak_check() != 0;
}
#else
static bool has_leak(void)
{
    return false;
}
#endif

/* ---- one walk */

struct run {
    struct performance walk;
    enum ending ending;
    unsigned fail_at;
    bool all_after, was_there;
    char label[256];
};
static struct run run;
static unsigned walks, failures_reached;

static void on_abort(int signum)
{
    (void)signum;
    (void)!write(STDERR_FILENO, "in the walk: ", 13);
    (void)!write(STDERR_FILENO, run.label, strlen(run.label));
    (void)!write(STDERR_FILENO, "\n", 1);
}

#define EXPECT(condition, ...)                                 \
    do {                                                       \
        if (!(condition)) {                                    \
            char said_[256];                                   \
            (void)snprintf(said_, sizeof(said_), __VA_ARGS__); \
            cr_expect(false, "%s: %s", run.label, said_);      \
        }                                                      \
    } while (0)

static void on_idle(void *user)
{
    struct performance *walk = user;
    walk->world.idle_calls++;
}

static void leave(int *fd, bool reset)
{
    if (*fd >= 0)
        world_leave(&run.walk.world, *fd, reset);
    *fd = -1;
}

static void happen(void)
{
    struct performance *walk = &run.walk;
    switch (run.ending) {
    case CLIENT_ENDS:
        if (walk->client >= 0)
            world_finish(walk->client);
        break;
    case CLIENT_RESET:
        leave(&walk->client, true);
        break;
    case TARGET_ENDS:
    case TARGET_RESET:
        leave(&walk->target, run.ending == TARGET_RESET);
        break;
    case LATE:
        walk_pass(walk, walk->scene->pass_ms);
        break;
    case DRAINED:
        allocations_arm(true);
        gateway_drain(walk->world.gateway, on_idle, walk);
        allocations_arm(false);
        break;
    case DESTROYED:
        allocations_arm(true);
        gateway_destroy(TAKE(walk->world.gateway));
        allocations_arm(false);
        break;
    case GOES_ON:
    case ENDINGS:
        break;
    }
    walk_settle(walk);
}

/* A client that is gone is noticed at once, where anybody looks. */
static void expect_noticed(void)
{
    const struct performance *walk = &run.walk;
    bool gone = run.ending == CLIENT_ENDS || run.ending == CLIENT_RESET;
    if (!gone || walk->scene->unseen || walk->scene->state == STATE_TUNNEL)
        return;
    if (run.ending == CLIENT_ENDS && walk->scene->deaf) /* what is blocked looks at its deadline */
        return;
    EXPECT(world_exchange(&walk->world) == NULL, "the exchange of a client that is gone goes on");
}

static bool is_going_on(void)
{
    const struct world *world = &run.walk.world;
    return world->gateway != NULL && (world_exchange(world) != NULL ||
                                      (run.ending == DRAINED && world->gateway->client_count > 0));
}

/* Until everything is over: what is held is let go, and time passes. */
static void play_out(void)
{
    struct performance *walk = &run.walk;
    bool held = run.ending == LATE || run.ending == TARGET_ENDS || run.ending == TARGET_RESET;
    walk_play(walk, !held);
    for (int i = 0; i < 3 && is_going_on(); i++) {
        walk_play(walk, true);
        if (is_going_on())
            walk_pass(walk, walk->scene->pass_ms);
    }
    walk_play(walk, true);
}

static int expected(void)
{
    const struct scene *scene = run.walk.scene;
    int outcome = AS_EVER;
    if (run.ending == LATE)
        outcome = scene->late;
    else if (run.ending == TARGET_ENDS)
        outcome = scene->gone;
    else if (run.ending == TARGET_RESET)
        outcome = scene->reset;
    return outcome == AS_EVER ? scene->usual : outcome;
}

static void expect_answer(void)
{
    const struct performance *walk = &run.walk;
    unsigned count = walk->scene->ahead == NULL ? 1 : 2;
    struct verdict verdict = walk_judge(walk, count);
    EXPECT(!verdict.corrupt, "the client got what is no answer: %.*s",
           (int)(walk->got_size < 100 ? walk->got_size : 100), walk->got);
    if (verdict.partial && walk->client >= 0 && walk->world.gateway != NULL)
        EXPECT(walk->client_over, "half an answer, and no end");
    bool known = run.ending <= GOES_ON || (run.ending >= TARGET_ENDS && run.ending <= DRAINED);
    if (!known || allocations_failed() || !run.was_there)
        return;
    EXPECT(verdict.status == expected(), "status %d, not %d (%zu bytes: %.*s)", verdict.status,
           expected(), walk->got_size, (int)(walk->got_size < 60 ? walk->got_size : 60), walk->got);
    if (expected() == CUT && walk->scene->state != STATE_COUNT)
        EXPECT(walk->client_over, "the client waits for ever");
    if (run.ending == DRAINED)
        EXPECT(walk->world.idle_calls <= 1 && walk->client_over, "drained, and still connected");
}

/* A gateway that has lived through it serves the next client. */
static void expect_service(void)
{
    static const struct span request = SPAN("GET /plain HTTP/1.1\r\nHost: a\r\n\r\n");
    struct world *world = &run.walk.world;
    if (world->gateway == NULL || run.ending == DRAINED)
        return;
    int client = world_client(world);
    EXPECT(client >= 0, "the next client is not let in");
    if (client < 0)
        return;
    run.walk.has_parked = true;
    (void)world_send(client, request);
    int target = -1;
    bool answers = run.walk.scene->plugin->access == NULL; /* others answer it themselves */
    for (int i = 0; i < 20 && target < 0; i++) {
        world_settle(world);
        target = world_accept_now(world, 1);
    }
    if (target >= 0) {
        (void)world_read(target, NULL);
        (void)world_send(target, SPAN("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
    }
    AUTO_BUF got = BUF_INIT;
    for (int i = 0; i < 4; i++) {
        world_settle(world);
        (void)world_read(client, &got);
    }
    EXPECT(got.size > 12 && (memcmp(got.data, "HTTP/1.1 200", 12) == 0 ||
                             (!answers && memcmp(got.data, "HTTP/1.1 418", 12) == 0)),
           "the next request: %.*s", (int)(got.size < 60 ? got.size : 60), got.data);
}

static void expect_logs(void)
{
    const struct performance *walk = &run.walk;
    uint64_t requests = walk->world.slot->requests;
    if (allocations_failed()) /* a hook may have had no memory for its context */
        EXPECT(walk->logs <= requests, "%u log calls of %u requests", walk->logs,
               (unsigned)requests);
    else
        EXPECT(walk->logs == requests, "%u log calls of %u requests", walk->logs,
               (unsigned)requests);
}

static void walk_once(const struct scene *scene, enum ending ending, unsigned fail_at, bool after)
{
    struct performance *walk = &run.walk;
    run.ending = ending;
    run.was_there = false;
    (void)snprintf(run.label, sizeof(run.label), "%s, %s%s%.0u%s", scene->name,
                   ending_names[ending], fail_at > 0 ? ", no memory at allocation " : "", fail_at,
                   after ? " and after" : "");
    allocations_fail(fail_at, after);
    walk_open(walk, scene);
    walk_begin_scene(walk);
    run.was_there = walk_is_there(walk);
    if (!allocations_failed()) {
        const struct exchange *x = world_exchange(&walk->world);
        EXPECT(run.was_there, "never came there: state %d, the client got %zu bytes",
               x == NULL ? -1 : (int)x->state, walk->got_size);
    }
    happen();
    if (!allocations_failed())
        expect_noticed();
    play_out();
    expect_answer();
    bool reached = allocations_failed();
    allocations_fail(0, false);
    expect_service();
    world_clear(&walk->world);
    const char *fault = world_fault(&walk->world);
    EXPECT(fault == NULL, "%s", fault);
    if (!reached)
        expect_logs();
    else
        EXPECT(walk->logs <= walk->world.slot->requests, "more log calls than requests");
    walk_close(walk);
    walks++;
    failures_reached += reached;
    if (!reached)
        run.fail_at = 0; /* there was no such allocation any more */
}

static void begin(void)
{
    const struct sigaction action = {.sa_handler = on_abort, .sa_flags = (int)SA_RESETHAND};
    (void)sigaction(SIGABRT, &action, NULL);
    log_set_level(LOG_CRIT);
}
static void end(void)
{
    free(TAKE(run.walk.got));
    (void)fprintf(stderr, "walk: %u walks, %u with a failed allocation\n", walks, failures_reached);
}

TestSuite(walk, .init = begin, .fini = end);

/* Every scene, every ending, with memory enough. */
Test(walk, every_ending_in_every_state)
{
    const char *only = getenv("WEIR_WALK_ONLY");
    for (size_t i = 0; i < scene_count; i++) {
        if (only != NULL && strstr(scenes[i].name, only) == NULL)
            continue;
        for (int ending = 0; ending < ENDINGS; ending++)
            walk_once(&scenes[i], (enum ending)ending, 0, false);
        EXPECT(!has_leak(), "memory has leaked in this scene");
    }
    for (int state = 0; state < STATE_COUNT && only == NULL; state++)
        cr_expect((entered >> state & 1) != 0, "no scene has entered state %d", state);
}

/* The allocations of a walk fail one by one; `stride` and `offset`: which of them. */
static void starve(const struct scene *scene, enum ending ending, bool after, unsigned offset,
                   unsigned stride)
{
    for (unsigned k = 1 + offset; k < 2000; k += stride) {
        run.fail_at = k;
        walk_once(scene, ending, k, after);
        if (run.fail_at == 0)
            return;
    }
    cr_assert_fail("%s: there is no end of allocations", run.label);
}

/* By default a share of the product, so chosen that seeds together come to all of it. */
static void starve_some(unsigned part, unsigned parts)
{
    const char *mode = getenv("WEIR_WALK"), *text = getenv("WEIR_WALK_SEED");
    const char *only = getenv("WEIR_WALK_ONLY");
    bool full = mode != NULL && strcmp(mode, "full") == 0;
    unsigned seed = text != NULL ? (unsigned)strtoul(text, NULL, 10) : (unsigned)time(NULL);
    (void)fprintf(stderr, "walk: WEIR_WALK_SEED=%u\n", seed);
    for (size_t i = part; i < scene_count; i += parts) {
        if (only != NULL && strstr(scenes[i].name, only) == NULL)
            continue;
        for (unsigned ending = 0; full && ending < ENDINGS; ending++)
            for (int after = 0; after < 2; after++)
                starve(&scenes[i], (enum ending)ending, after != 0, 0, 1);
        for (unsigned turn = 0; !full && turn < 3; turn++)
            starve(&scenes[i], (enum ending)((seed + i + 3 * turn) % ENDINGS),
                   (seed / ENDINGS + i + turn) % 2 != 0, (seed / 3 + (unsigned)i + turn) % 4, 4);
        EXPECT(!has_leak(), "memory has leaked in this scene");
    }
}
Test(walk, without_memory_first_half)
{
    starve_some(0, 2);
}
Test(walk, without_memory_second_half)
{
    starve_some(1, 2);
}
