#include "fuzz_plans.h"

#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fuzz_peer.h"
#include "fuzz_report.h"

enum {
    CROWD = 4, /* requests that wait at once */
    CROWD_REQUESTS = 32,
    FAILURES_MAX = 64,  /* calls of one request that are made to fail, one after the other */
    FAILURE_ROUNDS = 4, /* the same again: what each of them leaves behind adds up */
    TELL = 400,
    THREAD_WAITS = 100, /* of 10 ms: a joined thread takes a moment to vanish */
    HOUR_MS = 3600000,
    FIRST_REQUESTS = 8,
    PEER_TURNS = 8,
};

/* ---- what is left behind */

static size_t count_entries(const char *path)
{
    size_t count = 0;
    DIR *folder = opendir(path);
    if (folder == NULL)
        return 0;
    while (readdir(folder) != NULL)
        count++;
    (void)closedir(folder);
    return count;
}

static void judge_threads(struct lab *lab)
{
    const struct timespec moment = {.tv_nsec = 10000000};
    size_t count = count_entries("/proc/self/task");
    for (int i = 0; i < THREAD_WAITS && count > lab->threads; i++) {
        (void)nanosleep(&moment, NULL);
        count = count_entries("/proc/self/task");
    }
    if (count > lab->threads)
        report_find("thread left", "stop", "%zu of the plugin's threads still run after stop()",
                    count - lab->threads);
}

static void judge_descriptors(struct lab *lab)
{
    size_t count = count_entries("/proc/self/fd");
    if (count > lab->descriptors)
        report_find("descriptor left", "stop", "%zu are still open after stop()",
                    count - lab->descriptors);
}

struct kit *lab_kit(struct lab *lab)
{
    lab->threads = count_entries("/proc/self/task");
    lab->descriptors = count_entries("/proc/self/fd");
    watch_seed(lab->seed);
    return subject_kit(lab->subject);
}

void lab_close(struct lab *lab, struct kit *kit)
{
    kit_close(kit);
    peer_hang_up();
    watch_settle();
    judge_threads(lab);
    judge_descriptors(lab);
}

/* ---- requests */

static void tell(const char *what, const struct ask *ask)
{
    char text[TELL];
    ask_tell(ask, text, sizeof(text));
    report_step("%s%s", what, text);
}

static int run(kit_request *r)
{
    if (report_of() != NULL)
        report_of()->requests++;
    watch_request_begins(r);
    return kit_run(r);
}

void lab_free(kit_request *r)
{
    if (r == NULL)
        return;
    kit_abort(r); /* log hooks, when they have not run */
    watch_request_over(r);
    kit_request_free(r);
}

/* One answer of a peer is as good as any. */
void lab_answer_fetch(struct kit *kit, const char *url)
{
    static const int statuses[] = {200, 200, 200, 204, 301, 401, 403, 404, 500, 0};
    static const char *const bodies[] = {"",   "{}",       "{\"keys\":[]}",
                                         "no", "\xff\xfe", "{\"allow\":true,\"ttl\":1}"};
    int status = statuses[watch_random() % 10];
    kit_fetch_answer(kit, url, status, status == 0 ? NULL : "application/json",
                     status == 0 ? "connection refused" : bodies[watch_random() % 6]);
}

/* Streams connect, and their peer answers. Bounded: one may connect again whenever it is hung up
 * on.
 */
static void peers_talk(struct kit *kit)
{
    for (int i = 0; i < PEER_TURNS && watch_stream_port() != 0; i++) {
        kit_turn(kit);
        if (!peer_serve())
            break;
    }
}

/* However it waits: bodies come, answers of peers, and then its deadlines. */
static void let_end(struct kit *kit, kit_request *r)
{
    for (int i = 0; i < 16 && kit_is_waiting(r); i++) {
        kit_body_arrives(r);
        peers_talk(kit);
        if (kit_is_waiting(r))
            kit_advance_ms(kit, i < 4 ? 10 : HOUR_MS / 4);
    }
}

kit_request *lab_finish(struct kit *kit, const struct ask *ask)
{
    kit_request *r = ask_request(kit, ask);
    if (run(r) == 0)
        let_end(kit, r);
    return r;
}

/* ---- signatures */

struct text {
    char *data;
    size_t size;
};

static void add(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(struct text *text, const char *format, ...)
{
    char *line = NULL;
    va_list args;
    va_start(args, format);
    int size = vasprintf(&line, format, args);
    va_end(args);
    char *more = size < 0 ? NULL : realloc(text->data, text->size + (size_t)size + 1);
    if (more == NULL)
        abort(); /* the tool itself cannot go on */
    memcpy(more + text->size, line, (size_t)size + 1);
    text->data = more;
    text->size += (size_t)size;
    free(line);
}

static bool add_header(void *user, weir_str name, weir_str value)
{
    add(user, "%.*s: %.*s\n", (int)name.size, name.data, (int)value.size, value.data);
    return true;
}

static void add_bytes(struct text *text, const char *what, const char *bytes, size_t size)
{
    add(text, "%s (%zu bytes): ", what, size);
    for (size_t i = 0; i < size; i++)
        add(text, bytes[i] >= ' ' && bytes[i] < 127 ? "%c" : "\\x%02x", (unsigned char)bytes[i]);
    add(text, "\n");
}

char *lab_signature(kit_request *r)
{
    weir_request *request = (weir_request *)(uintptr_t)kit_watch_request(r);
    struct text text = {0};
    const char *query = kit_upstream_query(r), *method = kit_upstream_method(r);
    const char *path = kit_upstream_path(r), *consumer = kit_consumer(r);
    add(&text, "status %d\n", kit_status(r));
    if (kit_status(r) != 0)
        watch_table()->header_each(request, WEIR_SIDE_RESPONSE, add_header, &text);
    if (kit_response_body(r) != NULL)
        add_bytes(&text, "body", kit_response_body(r), kit_response_body_size(r));
    add(&text, "consumer %s\n", consumer == NULL ? "none" : consumer);
    if (!kit_was_proxied(r))
        return text.data;
    add(&text, "to the target: %s %s?%s\n", method == NULL ? "" : method, path == NULL ? "" : path,
        query == NULL ? "" : query);
    watch_table()->header_each(request, WEIR_SIDE_REQUEST, add_header, &text);
    if (kit_upstream_body(r) != NULL)
        add_bytes(&text, "body to the target", kit_upstream_body(r), kit_upstream_body_size(r));
    return text.data;
}

/* ---- plan: a crowd. Requests of all kinds, some of which wait at once, while everything happens
 * that can happen to a worker. */

struct crowd {
    struct lab *lab;
    struct kit *kit, *other; /* the second worker, NULL: there is none */
    kit_request *waiting[CROWD];
    struct kit *owner[CROWD];
    unsigned reloads, swaps;
    bool held; /* fetches */
};

static void sweep(struct crowd *crowd)
{
    for (size_t i = 0; i < CROWD; i++) {
        if (crowd->waiting[i] == NULL || kit_is_waiting(crowd->waiting[i]))
            continue;
        lab_free(crowd->waiting[i]);
        crowd->waiting[i] = NULL;
    }
}

static void hold_or_release(struct crowd *crowd)
{
    crowd->held = !crowd->held;
    report_step("%s", crowd->held ? "peers do not answer from here" : "peers answer");
    if (crowd->held)
        kit_fetch_hold(crowd->kit);
    else
        kit_fetch_release(crowd->kit);
}

static void reload(struct crowd *crowd)
{
    if (crowd->reloads++ >= 4)
        return;
    report_step("a reload");
    (void)kit_reload(crowd->kit, crowd->lab->subject->yaml);
}

static void swap(struct crowd *crowd)
{
    if (crowd->swaps++ >= 1)
        return;
    report_step("a swap");
    if (subject_swap(crowd->lab->subject))
        (void)kit_reload(crowd->kit, crowd->lab->subject->yaml);
}

static void advance(struct crowd *crowd, int64_t ms)
{
    report_step("%lld ms pass", (long long)ms);
    kit_advance_ms(crowd->kit, ms);
}

static void one_leaves(struct crowd *crowd)
{
    size_t i = dice_below(&crowd->lab->dice, CROWD);
    if (crowd->waiting[i] == NULL)
        return;
    report_step("a client that waits goes away");
    lab_free(crowd->waiting[i]);
    crowd->waiting[i] = NULL;
}

static void one_arrives(struct crowd *crowd)
{
    size_t i = dice_below(&crowd->lab->dice, CROWD);
    if (crowd->waiting[i] == NULL)
        return;
    report_step("a late body arrives");
    kit_body_arrives(crowd->waiting[i]);
}

static void second_worker(struct crowd *crowd)
{
    if (crowd->other != NULL)
        return;
    report_step("a second worker begins");
    crowd->other = kit_second_worker(crowd->kit);
}

static void something_happens(struct crowd *crowd)
{
    struct dice *dice = &crowd->lab->dice;
    if (dice_chance(dice, 70))
        peers_talk(crowd->kit);
    switch (dice_below(dice, 12)) {
    case 0:
        hold_or_release(crowd);
        break;
    case 1:
        reload(crowd);
        break;
    case 2:
        swap(crowd);
        break;
    case 3:
    case 4:
        one_leaves(crowd);
        break;
    case 5:
    case 6:
        one_arrives(crowd);
        break;
    case 7:
        second_worker(crowd);
        break;
    case 8:
        advance(crowd, HOUR_MS);
        break;
    case 9:
        kit_turn(crowd->kit);
        break;
    default:
        advance(crowd, dice_below(dice, 2000));
        break;
    }
}

static void send_one(struct crowd *crowd)
{
    static struct ask ask;
    struct dice *dice = &crowd->lab->dice;
    ask_make(&ask, dice, dice_chance(dice, 40));
    struct kit *kit = crowd->other != NULL && dice_chance(dice, 40) ? crowd->other : crowd->kit;
    size_t place = 0;
    while (place < CROWD && crowd->waiting[place] != NULL)
        place++;
    tell(kit == crowd->other ? "worker 2: " : "", &ask);
    kit_request *r = ask_request(kit, &ask);
    (void)run(r);
    if (kit_is_waiting(r) && place < CROWD)
        crowd->waiting[place] = r;
    else
        lab_free(r); /* with one too many the client goes away */
}

static void plan_crowd(struct lab *lab)
{
    struct crowd crowd = {.lab = lab, .kit = lab_kit(lab)};
    watch_streams(peer_port());
    report_scenario("a crowd of requests:");
    for (int i = 0; crowd.kit != NULL && i < CROWD_REQUESTS && i < lab->steps; i++) {
        send_one(&crowd);
        if (dice_chance(&lab->dice, 60))
            something_happens(&crowd);
        sweep(&crowd);
    }
    for (size_t i = 0; i < CROWD; i++)
        lab_free(crowd.waiting[i]);
    report_step("the end: everything is stopped");
    if (crowd.other != NULL)
        kit_close(crowd.other);
    lab_close(lab, crowd.kit);
}

/* ---- plan: clients that go away, after each hook and at each wait */

static void leave_after(struct kit *kit, const struct ask *ask, enum watch_phase phase)
{
    report_scenario("the client goes away after the hook of %s:", watch_phase_name(phase));
    tell("", ask);
    kit_request *r = ask_request(kit, ask);
    watch_wait_after(phase);
    (void)run(r);
    watch_wait_after(WATCH_PHASES);
    lab_free(r);
    kit_advance_ms(kit, HOUR_MS); /* what it left behind comes due */
}

static void leave_waiting(struct kit *kit, const struct ask *ask, int turns)
{
    report_scenario("the client goes away after %d turns of waiting, peers do not answer:", turns);
    tell("", ask);
    kit_fetch_hold(kit);
    kit_request *r = ask_request(kit, ask);
    (void)run(r);
    for (int i = 0; i < turns && kit_is_waiting(r); i++) {
        kit_body_arrives(r);
        kit_turn(kit);
        peers_talk(kit);
    }
    lab_free(r);
    kit_fetch_release(kit);
    kit_advance_ms(kit, HOUR_MS);
}

static void plan_gone(struct lab *lab)
{
    static struct ask ask;
    struct kit *kit = lab_kit(lab);
    watch_streams(peer_port());
    for (int i = 0; kit != NULL && i < 2; i++) {
        ask_make(&ask, &lab->dice, i == 0);
        ask.held = false;
        for (unsigned phase = WATCH_REWRITE; phase < WATCH_LOG; phase++)
            leave_after(kit, &ask, (enum watch_phase)phase);
        ask.held = true;
        for (int turns = 0; turns < 4; turns++)
            leave_waiting(kit, &ask, turns);
    }
    lab_close(lab, kit);
}

/* ---- plan: nobody answers, every deadline passes */

static void plan_deadlines(struct lab *lab)
{
    static struct ask ask;
    struct kit *kit = lab_kit(lab);
    report_scenario("peers and bodies never come, time goes by:");
    for (int i = 0; kit != NULL && i < 6; i++) {
        ask_make(&ask, &lab->dice, i < 4);
        ask.held = i % 2 == 1;
        tell("", &ask);
        kit_fetch_hold(kit);
        kit_request *r = ask_request(kit, &ask);
        (void)run(r);
        for (int k = 0; k < 8 && kit_is_waiting(r); k++)
            kit_advance_ms(kit, k < 4 ? 1000 : HOUR_MS);
        lab_free(r);
        kit_fetch_release(kit);
        kit_advance_ms(kit, HOUR_MS);
    }
    lab_close(lab, kit);
}

/* ---- plan: every call that may fail does, the first, the second, … */

static void fail_in_request(struct kit *kit, const struct ask *ask)
{
    watch_fail_at(0);
    lab_free(lab_finish(kit, ask));
    uint32_t most = watch_fallible();
    for (uint32_t i = 1; i <= most && i <= FAILURES_MAX; i++) {
        report_scenario("call %u of %u that may fail does, in a request:", (unsigned)i,
                        (unsigned)most);
        tell("", ask);
        for (int round = 0; round < FAILURE_ROUNDS; round++) {
            watch_fail_at(i);
            kit_request *r = lab_finish(kit, ask);
            lab_free(r);
            watch_fail_at(0);
        }
    }
}

static void fail_in_reload(struct lab *lab, struct kit *kit)
{
    watch_fail_at(0);
    (void)kit_reload(kit, lab->subject->yaml);
    uint32_t most = watch_fallible();
    for (uint32_t i = 1; i <= most && i <= FAILURES_MAX; i++) {
        report_scenario("call %u of %u that may fail does, in configure or start", (unsigned)i,
                        (unsigned)most);
        for (int round = 0; round < FAILURE_ROUNDS; round++) {
            watch_fail_at(i);
            (void)kit_reload(kit, lab->subject->yaml);
            watch_fail_at(0);
        }
    }
}

static void plan_failures(struct lab *lab)
{
    static struct ask ask;
    struct kit *kit = lab_kit(lab);
    watch_streams(peer_port());
    for (int i = 0; kit != NULL && i < 3; i++) {
        ask_make(&ask, &lab->dice, i < 2);
        ask.held = false;
        fail_in_request(kit, &ask);
    }
    if (kit != NULL)
        fail_in_reload(lab, kit);
    lab_close(lab, kit);
}

/* ---- the table */

static void (*const plans[])(struct lab *lab) = {
    plan_crowd,  plan_splits,   plan_gone,        plan_failures, plan_swap,   plan_deadlines,
    plan_repeat, plan_growth,   plan_body_growth, plan_crowd,    plan_splits, plan_crowd,
    plan_gone,   plan_failures, plan_crowd,       plan_splits,
};
enum { PLANS = sizeof(plans) / sizeof(plans[0]) };

void plan_run(struct lab *lab, uint32_t run_number)
{
    plans[run_number % PLANS](lab);
}

bool plan_can_be_shorter(uint32_t run_number)
{
    return plans[run_number % PLANS] == plan_crowd;
}

bool plan_warm_up(struct lab *lab)
{
    static struct ask ask;
    watch_fetches(lab_answer_fetch);
    struct kit *kit = lab_kit(lab);
    report_scenario("the first requests:");
    for (int i = 0; kit != NULL && i < FIRST_REQUESTS && i < lab->steps; i++) {
        ask_make(&ask, &lab->dice, true);
        tell("", &ask);
        lab_free(lab_finish(kit, &ask));
    }
    bool loaded = kit != NULL;
    watch_stop_learning();
    lab_close(lab, kit);
    return loaded;
}
