/* weir plugin bench: what each hook of a plugin costs, in the test kit: nanoseconds, memory, calls
 * into the host. Three passes, so that no number pays for another: one counts, one takes the time
 * of hooks, one that of whole requests without any watch. Numbers are shown, nothing is asserted.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fuzz_plans.h"
#include "tool.h"

enum {
    REQUESTS = 20000,
    COUNTED = 2048, /* requests of the pass that counts */
    ASKS = 64,      /* different ones, in turn */
    BATCH = 32,     /* calls that are one measurement: a single one is too short for the clock */
    BATCHES = 2048,
    VERDICTS = 5, /* those of the ABI, and all others */
    CLOCK_ROUNDS = 10000,
};

static const char *const verdict_names[VERDICTS] = {"NEXT", "DONE", "WAIT", "FAIL", "unknown"};

struct series { /* of times: means of batches */
    uint64_t calls, sum, batch_calls;
    size_t count;
    double batches[BATCHES];
};

struct hook {
    uint64_t calls; /* of the pass that counts */
    uint64_t request_bytes, policy_bytes, malloc_bytes, malloc_calls, host_calls;
    uint64_t verdicts[VERDICTS];
    uint64_t instructions, instruction_calls;
    struct series times;
};

static struct bench {
    struct subject subject;
    long requests, seed;
    bool json;
    enum { PASS_COUNT, PASS_TIME, PASS_INSTRUCTIONS } pass;
    struct hook hooks[WATCH_PHASES];
    struct series request, bare; /* whole requests with and without policies */
    struct ask asks[ASKS];
    double clock_ns;
    uint64_t clock_instructions;
    bool has_instructions;
} bench;

/* ---- series */

static uint64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void add_time(struct series *series, uint64_t ns, unsigned batch)
{
    series->calls++;
    series->sum += ns;
    if (++series->batch_calls < batch)
        return;
    if (series->count < BATCHES)
        series->batches[series->count++] = (double)series->sum / (double)series->batch_calls;
    series->sum = series->batch_calls = 0;
}

/* The rest that fills no batch, when there is nothing else. */
static void end_series(struct series *series)
{
    if (series->count == 0 && series->batch_calls > 0)
        series->batches[series->count++] = (double)series->sum / (double)series->batch_calls;
}

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return left < right ? -1 : left > right;
}

/* Without what reading the clock costs; -1: there is none. */
static double quantile(struct series *series, double part)
{
    end_series(series);
    if (series->count == 0)
        return -1;
    qsort(series->batches, series->count, sizeof(series->batches[0]), compare);
    double ns = series->batches[(size_t)(part * (double)(series->count - 1))] - bench.clock_ns;
    return ns < 0 ? 0 : ns;
}

static int compare_u64(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

static void measure_clock(void)
{
    static uint64_t rounds[CLOCK_ROUNDS];
    double sum = 0;
    for (size_t i = 0; i < CLOCK_ROUNDS; i++) {
        uint64_t began = now_ns();
        rounds[i] = now_ns() - began;
    }
    qsort(rounds, CLOCK_ROUNDS, sizeof(rounds[0]), compare_u64);
    for (size_t i = 0; i < CLOCK_ROUNDS / 2; i++)
        sum += (double)rounds[i];
    bench.clock_ns = sum / (CLOCK_ROUNDS / 2.0);
}

/* ---- passes */

static void on_sample(const struct watch_sample *sample)
{
    struct hook *hook = &bench.hooks[sample->phase];
    if (bench.pass == PASS_TIME) {
        add_time(&hook->times, sample->ns, BATCH);
        return;
    }
    if (bench.pass == PASS_INSTRUCTIONS) {
        hook->instructions += sample->instructions;
        hook->instruction_calls++;
        return;
    }
    hook->calls++;
    hook->request_bytes += sample->request_bytes;
    hook->policy_bytes += sample->policy_bytes;
    hook->malloc_bytes += sample->malloc_bytes;
    hook->malloc_calls += sample->malloc_calls;
    hook->host_calls += sample->host_calls;
    hook->verdicts[sample->verdict < VERDICTS ? sample->verdict : VERDICTS - 1]++;
}

static bool run_pass(unsigned what, long requests)
{
    watch_change(what);
    watch_seed((uint64_t)bench.seed);
    struct kit *kit = subject_kit(&bench.subject);
    if (kit == NULL)
        return false;
    for (long i = 0; i < requests; i++)
        lab_free(lab_finish(kit, &bench.asks[i % ASKS]));
    kit_close(kit);
    watch_settle();
    return true;
}

static bool time_requests(const char *yaml, struct series *series, long requests)
{
    kit_watch_plugins(NULL);
    struct kit *kit = kit_open_folder(yaml, bench.subject.search);
    if (kit == NULL)
        return false;
    for (long i = 0; i < requests; i++) {
        kit_request *r = ask_request(kit, &bench.asks[i % ASKS]);
        uint64_t began = now_ns();
        (void)kit_run(r);
        add_time(series, now_ns() - began, BATCH);
        kit_request_free(r);
    }
    kit_close(kit);
    return true;
}

static void make_asks(void)
{
    struct dice dice = dice_of((uint64_t)bench.seed, 1);
    for (size_t i = 0; i < ASKS; i++) {
        ask_make(&bench.asks[i], &dice, true);
        bench.asks[i].without_route = false;
    }
}

static void count_instructions(void)
{
    uint64_t least = UINT64_MAX;
    bench.has_instructions = watch_instructions();
    if (!bench.has_instructions)
        return;
    for (int i = 0; i < 1000; i++) {
        uint64_t none = watch_instructions_of_nothing();
        least = none < least ? none : least;
    }
    bench.clock_instructions = least;
    bench.pass = PASS_INSTRUCTIONS;
    (void)run_pass(WATCH_HOOKS, COUNTED);
}

static bool run_passes(void)
{
    static const char bare[] =
        "_format_version: '3.0'\n"
        "services: [{name: s, host: target.test, routes: [{name: r, paths: [/]}]}]\n";
    unsigned counting = WATCH_HOOKS | WATCH_CALLS | WATCH_IMPORTS;
    watch_begin(bench.subject.name, counting, on_sample);
    watch_fetches(lab_answer_fetch);
    ask_learn(bench.subject.yaml);
    make_asks();
    if (!run_pass(counting, ASKS)) /* for the words, see watch_words() */
        return false;
    watch_stop_learning();
    make_asks();
    memset(bench.hooks, 0, sizeof(bench.hooks));
    (void)run_pass(counting, COUNTED);
    const weir_plugin *plugin = watch_plugin();
    bool fetches = plugin != NULL && (plugin->capabilities & WEIR_CAP_NETWORK) != 0;
    bench.pass = PASS_TIME;
    /* Peers answer only where the watch sees them asked. */
    (void)run_pass(fetches ? WATCH_HOOKS | WATCH_CALLS : WATCH_HOOKS, bench.requests);
    count_instructions();
    return time_requests(bench.subject.yaml, &bench.request, bench.requests / 2) &&
           time_requests(bare, &bench.bare, bench.requests / 2);
}

/* ---- telling */

static double per_call(uint64_t sum, uint64_t calls)
{
    return calls == 0 ? 0 : (double)sum / (double)calls;
}

static double instructions_of(const struct hook *hook)
{
    double count = per_call(hook->instructions, hook->instruction_calls);
    return count < (double)bench.clock_instructions ? 0 : count - (double)bench.clock_instructions;
}

static void tell_verdicts(const struct hook *hook, bool json)
{
    const char *before = "";
    for (size_t i = 0; i < VERDICTS; i++) {
        unsigned long long count = hook->verdicts[i];
        if (count == 0)
            continue;
        if (json)
            (void)printf("%s\"%s\":%llu", before, verdict_names[i], count);
        else
            (void)printf("%s%s %llu", before, verdict_names[i], count);
        before = json ? "," : ", ";
    }
}

static void tell_number(int width, double number)
{
    if (number < 0)
        (void)printf(" %*s", width, "-");
    else
        (void)printf(" %*.*f", width, number > 0 && number < 10 ? 1 : 0, number);
}

static void tell_hook(enum watch_phase phase, struct hook *hook)
{
    (void)printf("%-17s %7llu", watch_phase_name(phase), (unsigned long long)hook->calls);
    tell_number(9, quantile(&hook->times, 0.5));
    tell_number(8, quantile(&hook->times, 0.99));
    tell_number(9, per_call(hook->request_bytes, hook->calls));
    tell_number(9, per_call(hook->policy_bytes, hook->calls));
    tell_number(9, per_call(hook->malloc_bytes, hook->calls));
    tell_number(8, per_call(hook->malloc_calls, hook->calls));
    tell_number(8, per_call(hook->host_calls, hook->calls));
    if (bench.has_instructions)
        tell_number(9, instructions_of(hook));
    (void)printf("  ");
    tell_verdicts(hook, false);
    (void)printf("\n");
}

static void tell_text(void)
{
    (void)printf("bench: %s, %ld requests of %d kinds, seed %ld\n\n", bench.subject.name,
                 bench.requests, ASKS, bench.seed);
    (void)printf("%-17s %7s %9s %8s %9s %9s %9s %8s %8s%s  %s\n", "hook", "calls", "median ns",
                 "p99 ns", "request B", "policy B", "malloc B", "mallocs", "host",
                 bench.has_instructions ? "  instrs." : "", "verdicts");
    for (unsigned phase = 0; phase < WATCH_PHASES; phase++)
        if (bench.hooks[phase].calls > 0)
            tell_hook((enum watch_phase)phase, &bench.hooks[phase]);
    double whole = quantile(&bench.request, 0.5), bare = quantile(&bench.bare, 0.5);
    (void)printf(
        "\na whole request in the kit: %.0f ns (p99 %.0f), %.0f of them without policies\n", whole,
        quantile(&bench.request, 0.99), bare);
    if (watch_has_sanitizer())
        (void)printf("a sanitizer is part of this program: times are not those of a gateway\n");
}

static void tell_json(void)
{
    const char *before = "";
    (void)printf("{\"plugin\":\"%s\",\"requests\":%ld,\"seed\":%ld,\"sanitized\":%s,\"hooks\":[",
                 bench.subject.name, bench.requests, bench.seed,
                 watch_has_sanitizer() ? "true" : "false");
    for (unsigned phase = 0; phase < WATCH_PHASES; phase++) {
        struct hook *hook = &bench.hooks[phase];
        if (hook->calls == 0)
            continue;
        (void)printf("%s{\"hook\":\"%s\",\"calls\":%llu,", before,
                     watch_phase_name((enum watch_phase)phase), (unsigned long long)hook->calls);
        if (hook->times.calls > 0)
            (void)printf("\"median_ns\":%.1f,\"p99_ns\":%.1f,", quantile(&hook->times, 0.5),
                         quantile(&hook->times, 0.99));
        if (bench.has_instructions)
            (void)printf("\"instructions\":%.0f,", instructions_of(hook));
        (void)printf(
            "\"request_bytes\":%.1f,\"policy_bytes\":%.1f,\"malloc_bytes\":%.1f,"
            "\"mallocs\":%.2f,\"host_calls\":%.2f,\"verdicts\":{",
            per_call(hook->request_bytes, hook->calls), per_call(hook->policy_bytes, hook->calls),
            per_call(hook->malloc_bytes, hook->calls), per_call(hook->malloc_calls, hook->calls),
            per_call(hook->host_calls, hook->calls));
        tell_verdicts(hook, true);
        (void)printf("}}");
        before = ",";
    }
    (void)printf(
        "],\"request\":{\"median_ns\":%.1f,\"p99_ns\":%.1f,\"without_policies_ns\":%.1f}}\n",
        quantile(&bench.request, 0.5), quantile(&bench.request, 0.99), quantile(&bench.bare, 0.5));
}

/* ---- the verb */

static bool take_number(const char *text, long *out)
{
    char *end = NULL;
    errno = 0;
    long number = strtol(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || number < 1)
        return false;
    *out = number;
    return true;
}

static int run_bench(void)
{
    if (subject_sanitizer(&bench.subject) != NULL && !watch_has_sanitizer())
        return tool_fail("bench", "%s is built with a sanitizer: its times say nothing",
                         bench.subject.image);
    measure_clock();
    if (!subject_place(&bench.subject))
        return TOOL_FAILED;
    if (!run_passes()) {
        (void)tool_fail("bench", "the configuration is refused: %s", kit_error());
        return TOOL_BAD_CONFIG;
    }
    (bench.json ? tell_json : tell_text)();
    return TOOL_OK;
}

int tool_bench(int argc, char **argv)
{
    const char *file = NULL, *config = NULL;
    bench.requests = REQUESTS;
    bench.seed = 1;
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        bool takes_value = true;
        if (strcmp(argv[i], "--json") == 0) {
            bench.json = true;
            takes_value = false;
        } else if (argv[i][0] != '-' && file == NULL) {
            file = argv[i];
            takes_value = false;
        } else if (strcmp(argv[i], "--config") == 0 && value != NULL) {
            config = value;
        } else if (value == NULL ||
                   !((strcmp(argv[i], "--requests") == 0 && take_number(value, &bench.requests)) ||
                     (strcmp(argv[i], "--seed") == 0 && take_number(value, &bench.seed)))) {
            return tool_usage("bench", "what is '%s'?", argv[i]);
        }
        i += takes_value;
    }
    int result = subject_open(&bench.subject, "bench", file, config, false);
    if (result == TOOL_OK)
        result = run_bench();
    subject_close(&bench.subject);
    return result;
}
