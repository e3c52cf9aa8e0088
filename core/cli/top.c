/* weir top: what a running gateway and its plugins do right now. Two answers to "top" and the time
 * between them make the rates (process/top.h says what stands in one). */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/verbs.h"
#include "process/process.h"

enum { TOP_MS = 10000, ROWS_MAX = 4096, HASH_SHOWN = 12 };
#define INTERVAL_MIN 0.1
#define INTERVAL_MAX 3600.0

const char cli_top_details[] =
    "A line for each build of a plugin and phase it is called in, the most expensive one first:\n"
    "\n"
    "  CALLS/S    calls that have returned, in a second\n"
    "  SHARE      of the time that all plugins took together\n"
    "  MEAN US    of a call, in microseconds\n"
    "  DONE/S     calls that answered the request themselves\n"
    "  FAIL/S     calls that failed\n"
    "  SUSPENDED  hooks of the build, of all phases, that wait right now\n"
    "\n"
    "Times are estimated from one request in 64.\n"
    "\n"
    "  --once              one table, then the end\n"
    "  --interval SECONDS  what rates are made of, and how often it is refreshed: 1 when not "
    "given\n" PREFIX_DETAILS;

/* One line of the table. Words are borrowed from the answer. */
struct row {
    struct span plugin, version, hash, phase; /* phase: unset when it was never called */
    uint64_t loaded, suspended;
    uint64_t next, done, wait, fail, time_ns;
};

struct sample {
    struct buf answer; /* ours */
    uint64_t time_us;
    uint64_t requests, active, running, workers;
    struct row *rows; /* ours */
    size_t count;
};

/* Of one row, between two samples. */
struct rate {
    const struct row *row;
    double calls, done, fail; /* in a second */
    double time_ns, mean_us;
};

static void sample_free(struct sample *sample)
{
    buf_free(&sample->answer);
    free(sample->rows);
    *sample = (struct sample){0};
}

/* ---- reading an answer */

static uint64_t next_number(struct span *rest)
{
    struct span word;
    uint64_t value = 0;
    return span_split(rest, ' ', &word) && text_to_u64(word, &value) ? value : 0;
}

static struct span next_word(struct span *rest)
{
    struct span word;
    return span_split(rest, ' ', &word) ? word : SPAN("");
}

static struct row *add_row(struct sample *sample)
{
    if (sample->count >= ROWS_MAX)
        return NULL;
    struct row *rows = reallocarray(sample->rows, sample->count + 1, sizeof(*rows));
    if (rows == NULL)
        return NULL;
    sample->rows = rows;
    return &rows[sample->count++];
}

static void read_build(struct row *build, struct span rest)
{
    *build = (struct row){.plugin = next_word(&rest), .hash = next_word(&rest)};
    build->loaded = next_number(&rest);
    (void)next_number(&rest); /* pinned */
    (void)next_number(&rest); /* policies */
    (void)next_number(&rest); /* in flight */
    build->suspended = next_number(&rest);
    for (int i = 0; i < 3; i++) /* exchanges and how they went */
        (void)next_number(&rest);
    build->version = next_word(&rest);
}

static void read_phase(struct row *row, struct span rest)
{
    row->phase = next_word(&rest);
    row->next = next_number(&rest);
    row->done = next_number(&rest);
    row->wait = next_number(&rest);
    row->fail = next_number(&rest);
    row->time_ns = next_number(&rest);
}

/* False: no memory. */
static bool read_line(struct sample *sample, struct row *build, struct span line)
{
    struct span word = next_word(&line);
    if (span_equal(word, SPAN("time"))) {
        sample->time_us = next_number(&line);
    } else if (span_equal(word, SPAN("gateway"))) {
        sample->requests = next_number(&line);
        sample->active = next_number(&line);
        sample->running = next_number(&line);
        sample->workers = next_number(&line);
    } else if (span_equal(word, SPAN("build"))) {
        read_build(build, line);
    } else if (span_equal(word, SPAN("phase"))) {
        struct row *row = add_row(sample);
        if (row == NULL)
            return false;
        *row = *build;
        read_phase(row, line);
    }
    return true;
}

/* The exit code; what was wrong has been said. */
static int take_sample(const char *prefix, struct sample *out)
{
    struct span text, line;
    struct row build = {0};
    sample_free(out);
    int code = cli_ask_for(prefix, "top", TOP_MS, &out->answer, &text);
    while (code == CLI_OK && span_split(&text, '\n', &line))
        if (!read_line(out, &build, line)) {
            (void)fprintf(stderr, "weir top: out of memory\n");
            code = CLI_FAILED;
        }
    return code;
}

/* ---- rates */

static const struct row *find_row(const struct sample *sample, const struct row *like)
{
    for (size_t i = 0; i < sample->count; i++) {
        const struct row *row = &sample->rows[i];
        if (span_equal(row->hash, like->hash) && span_equal(row->plugin, like->plugin) &&
            span_equal(row->phase, like->phase))
            return row;
    }
    return NULL;
}

static double grown(uint64_t now, uint64_t before)
{
    return now > before ? (double)(now - before) : 0; /* a slot of another build begins at 0 */
}

static struct rate rate_of(const struct row *row, const struct sample *before, double seconds)
{
    static const struct row nothing;
    const struct row *start = find_row(before, row);
    if (start == NULL)
        start = &nothing;
    struct rate rate = {.row = row};
    double calls = grown(row->next + row->done + row->wait + row->fail,
                         start->next + start->done + start->wait + start->fail);
    rate.calls = calls / seconds;
    rate.done = grown(row->done, start->done) / seconds;
    rate.fail = grown(row->fail, start->fail) / seconds;
    rate.time_ns = grown(row->time_ns, start->time_ns);
    rate.mean_us = calls > 0 ? rate.time_ns / calls / 1000 : 0;
    return rate;
}

static int compare_rates(const void *a, const void *b)
{
    const struct rate *left = a, *right = b;
    if (left->time_ns > right->time_ns || left->time_ns < right->time_ns)
        return left->time_ns > right->time_ns ? -1 : 1;
    if (left->calls > right->calls || left->calls < right->calls)
        return left->calls > right->calls ? -1 : 1;
    return span_compare(left->row->plugin, right->row->plugin);
}

/* ---- showing them */

static void show_rate(const struct rate *rate, double all_ns)
{
    const struct row *row = rate->row;
    char plugin[64];
    (void)snprintf(plugin, sizeof(plugin), "%.*s %.*s", SPAN_ARG(span_first(row->plugin, 40)),
                   SPAN_ARG(span_first(row->version, 20)));
    (void)printf("%-30s %-12.*s %-16.*s %10.1f %5.1f%% %9.2f %9.1f %9.1f %9" PRIu64 "\n", plugin,
                 SPAN_ARG(span_first(row->hash, HASH_SHOWN)), SPAN_ARG(row->phase), rate->calls,
                 all_ns > 0 ? rate->time_ns * 100 / all_ns : 0, rate->mean_us, rate->done,
                 rate->fail, row->suspended);
}

static bool show(const struct sample *before, const struct sample *now)
{
    struct rate *rates = calloc(now->count + 1, sizeof(*rates));
    if (rates == NULL)
        return false;
    double all_ns = 0;
    size_t count = 0;
    double seconds = grown(now->time_us, before->time_us) / 1e6;
    if (seconds < INTERVAL_MIN / 10)
        seconds = INTERVAL_MIN / 10;
    for (size_t i = 0; i < now->count; i++) {
        rates[count] = rate_of(&now->rows[i], before, seconds);
        if (now->rows[i].loaded == 0 && rates[count].calls <= 0)
            continue; /* of a build that is gone */
        all_ns += rates[count++].time_ns;
    }
    qsort(rates, count, sizeof(*rates), compare_rates);
    double workers_ns = seconds * 1e9 * (double)(now->running == 0 ? 1 : now->running);
    (void)printf("%.1f requests/s, %" PRIu64 " active, %" PRIu64 " of %" PRIu64
                 " workers, plugins take %.1f%% of their time\n\n",
                 grown(now->requests, before->requests) / seconds, now->active, now->running,
                 now->workers, all_ns * 100 / workers_ns);
    (void)printf("%-30s %-12s %-16s %10s %6s %9s %9s %9s %9s\n", "PLUGIN", "BUILD", "PHASE",
                 "CALLS/S", "SHARE", "MEAN US", "DONE/S", "FAIL/S", "SUSPENDED");
    for (size_t i = 0; i < count; i++)
        show_rate(&rates[i], all_ns);
    free(rates);
    return fflush(stdout) == 0;
}

static void wait_seconds(double seconds)
{
    struct timespec left = {.tv_sec = (time_t)seconds,
                            .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};
    (void)nanosleep(&left, NULL);
}

static bool is_screen(void)
{
    const char *terminal = getenv("TERM");
    return isatty(STDOUT_FILENO) && terminal != NULL &&
           !span_equal(span_text(terminal), SPAN("dumb"));
}

static int watch(const char *prefix, double interval, bool once)
{
    struct sample samples[2] = {{.count = 0}};
    bool screen = !once && is_screen();
    int code = take_sample(prefix, &samples[0]);
    for (unsigned turn = 0; code == CLI_OK; turn++) {
        struct sample *before = &samples[turn % 2], *now = &samples[(turn + 1) % 2];
        wait_seconds(interval);
        code = take_sample(prefix, now);
        if (code != CLI_OK)
            break;
        /* Home, what follows is cleared: a whole clear would flicker. */
        (void)fputs(screen ? "\033[H\033[J" : turn > 0 ? "\n" : "", stdout);
        if (!show(before, now))
            code = CLI_FAILED;
        if (once)
            break;
    }
    sample_free(&samples[0]);
    sample_free(&samples[1]);
    return code;
}

/* ---- words */

/* `--NAME VALUE` or `--NAME=VALUE`. */
static const char *value_of(struct span name, int argc, char **argv, int *at)
{
    struct span word = span_text(argv[*at]);
    if (!span_starts_with(word, name))
        return NULL;
    if (word.size > name.size && word.data[name.size] == '=')
        return word.data + name.size + 1;
    return word.size == name.size && *at + 1 < argc ? argv[++*at] : NULL;
}

int cli_top(int argc, char **argv)
{
    const char *prefix = getenv("WEIR_PREFIX"), *value;
    double interval = 1;
    bool once = false;
    for (int i = 1; i < argc; i++) {
        if (span_equal(span_text(argv[i]), SPAN("--once"))) {
            once = true;
        } else if ((value = value_of(SPAN("--prefix"), argc, argv, &i)) != NULL) {
            prefix = value;
        } else if ((value = value_of(SPAN("--interval"), argc, argv, &i)) != NULL) {
            if (!text_to_double(span_text(value), &interval) || !(interval >= INTERVAL_MIN) ||
                interval > INTERVAL_MAX)
                return cli_usage(argv[0], "--interval takes 0.1 to 3600 seconds, not '%s'", value);
        } else {
            return cli_usage(argv[0], "unexpected '%s'", argv[i]);
        }
    }
    if (prefix == NULL || prefix[0] == '\0')
        prefix = process_default_prefix();
    return watch(prefix, interval, once);
}
