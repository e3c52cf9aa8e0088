/* weir plugin fuzz: the parent of the runs. Each batch of runs is a child of its own, so that a
 * crash is a find with its scenario and not the end of the tool. What a batch does follows from
 * seed and run alone. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fuzz_peer.h"
#include "fuzz_plans.h"
#include "fuzz_report.h"
#include "tool.h"

enum {
    RUNS = 64,
    BATCH = 32,       /* images stay loaded under sanitizers: a child does not live long */
    STUCK_MS = 60000, /* without a beat */
    POLL_MS = 250,
    REFUSED_EXIT = 78,
    STEPS_ALL = 1000,
    STEPS_FIRST = 8, /* of those that every child begins with */
    STEPS_MOST = 32, /* of a plan that can be made shorter */
    LINE = 4096,
};

/* Set by the first instance for the one it becomes. */
#define PRELOADED "WEIR_PLUGIN_FUZZ_PRELOADED"

struct options {
    const char *file, *config;
    uint64_t seed;
    long runs, only, seconds; /* -1: not given */
};

struct batch {
    struct subject *subject;
    const struct options *options;
    uint32_t from, count;
    /* Of a run that is made shorter; else STEPS_ALL. */
    int first_steps, run_steps;
    bool quiet;
};

/* ---- the child */

static void run_one(struct lab *lab, const struct batch *batch, uint32_t run)
{
    struct report *report = report_of();
    report->run = run;
    report->requests = 0;
    lab->dice = dice_of(batch->options->seed, (uint64_t)run + 1);
    lab->seed = dice_next(&lab->dice);
    lab->steps = batch->run_steps;
    plan_run(lab, run);
    if (report->count > 0)
        _exit(REPORT_EXIT);
}

static _Noreturn void be_child(const struct batch *batch)
{
    struct lab lab = {.subject = batch->subject, .seed = 1, .dice = {1}};
    lab.steps = batch->first_steps;
    report_of()->run = batch->from;
    report_of()->warm = false;
    report_of()->requests = 0;
    /* What the kit leaves when it crashes goes with our folder. */
    (void)setenv("TMPDIR", batch->subject->folder, 1);
    blocks_catch_signals();
    (void)peer_listen();
    watch_begin(batch->subject->name, WATCH_ALL, NULL);
    ask_learn(batch->subject->yaml);
    if (!plan_warm_up(&lab)) {
        (void)fprintf(stderr, "weir plugin fuzz: the configuration is refused: %s\n", kit_error());
        _exit(REFUSED_EXIT);
    }
    if (report_of()->count > 0)
        _exit(REPORT_EXIT);
    report_of()->warm = true;
    for (uint32_t i = 0; i < batch->count; i++)
        run_one(&lab, batch, batch->from + i);
    _exit(0);
}

/* ---- the parent: what the child says on stderr, and how it ends */

struct watcher {
    pid_t child;
    int pipe;
    char line[LINE];
    size_t size;
    char sanitizer[160]; /* the first line of a sanitizer's report; empty: none */
    uint64_t beat;
    long quiet_ms;
    bool stuck, quiet;
};

static void hear_line(struct watcher *watcher)
{
    static const char *const marks[] = {
        "ERROR: AddressSanitizer: ", "runtime error: ", "ERROR: LeakSanitizer: ", "test kit: "};
    watcher->line[watcher->size] = '\0';
    for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
        const char *found = strstr(watcher->line, marks[i]);
        if (found != NULL && watcher->sanitizer[0] == '\0')
            (void)snprintf(watcher->sanitizer, sizeof(watcher->sanitizer), "%s",
                           found + strlen(marks[i]));
    }
    watcher->size = 0;
}

static bool hear(struct watcher *watcher)
{
    char bytes[4096];
    ssize_t size = read(watcher->pipe, bytes, sizeof(bytes));
    if (size <= 0)
        return size < 0 && errno == EINTR;
    if (!watcher->quiet)
        (void)fwrite(bytes, 1, (size_t)size, stderr);
    for (ssize_t i = 0; i < size; i++) {
        if (bytes[i] == '\n' || watcher->size + 1 == sizeof(watcher->line))
            hear_line(watcher);
        else
            watcher->line[watcher->size++] = bytes[i];
    }
    return true;
}

static void mind_the_beat(struct watcher *watcher)
{
    uint64_t beat = report_of()->beat;
    watcher->quiet_ms = beat == watcher->beat ? watcher->quiet_ms + POLL_MS : 0;
    watcher->beat = beat;
    if (watcher->quiet_ms < STUCK_MS || watcher->stuck)
        return;
    watcher->stuck = true;
    (void)kill(watcher->child, SIGKILL);
}

/* The status of waitpid(). */
static int wait_for(struct watcher *watcher)
{
    int status = 0;
    struct pollfd poll_fd = {.fd = watcher->pipe, .events = POLLIN};
    for (bool open = true; open;) {
        int ready = poll(&poll_fd, 1, POLL_MS);
        if (ready > 0)
            open = hear(watcher);
        else if (ready == 0)
            mind_the_beat(watcher);
    }
    while (waitpid(watcher->child, &status, 0) < 0 && errno == EINTR)
        ;
    return status;
}

static bool starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

/* How AddressSanitizer names it, and how we do. */
static const char *kind_of(const char *sanitizer)
{
    static const char *const kinds[][2] = {
        {"heap-use-after-free", "use after free"},
        {"attempting double-free", "use after free"},
        {"heap-buffer-overflow", "overflow"},
        {"stack-buffer-overflow", "overflow"},
        {"global-buffer-overflow", "overflow"},
        {"stack-use-after", "use after free"},
        {"use-after-poison", "use after free"},
        {"attempting free on", "bad free"},
        {"alloc-dealloc-mismatch", "bad free"},
        {"SEGV", "crash"},
        {"stack-overflow", "crash"},
        {"timers fire without end", "endless timers"},
        {"policies wake each other without end", "endless wakes"},
    };
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (starts_with(sanitizer, kinds[i][0]))
            return kinds[i][1];
    return "undefined behaviour";
}

static void judge_end(const struct watcher *watcher, int status)
{
    struct report *report = report_of();
    bool is_killed = WIFSIGNALED(status);
    if (watcher->stuck)
        report_find("endless loop", NULL, "nothing came back for %d s", STUCK_MS / 1000);
    else if (watcher->sanitizer[0] != '\0' && !report_has(NULL))
        report_find(kind_of(watcher->sanitizer), NULL, "%s", watcher->sanitizer);
    else if (watcher->sanitizer[0] != '\0' && report_has("crash"))
        (void)snprintf(report->finds[0].text, sizeof(report->finds[0].text), "%s",
                       watcher->sanitizer);
    else if (is_killed)
        report_find("crash", NULL, "%s", strsignal(WTERMSIG(status)));
    else if (report->count == 0 && WEXITSTATUS(status) != 0)
        report_find("crash", NULL, "the process ended with %d", WEXITSTATUS(status));
}

/* TOOL_OK, TOOL_FAILED: there are finds, TOOL_BAD_CONFIG. */
static int run_batch(const struct batch *batch)
{
    struct watcher watcher = {.quiet = batch->quiet};
    int ends[2];
    (void)fflush(NULL);
    if (pipe2(ends, O_CLOEXEC) != 0 || (watcher.child = fork()) < 0)
        return tool_fail("fuzz", "cannot start a process: %s", strerror(errno));
    if (watcher.child == 0) {
        (void)dup2(ends[1], STDERR_FILENO);
        (void)close(ends[0]);
        (void)close(ends[1]);
        be_child(batch);
    }
    (void)close(ends[1]);
    watcher.pipe = ends[0];
    int status = wait_for(&watcher);
    (void)close(ends[0]);
    if (WIFEXITED(status) && WEXITSTATUS(status) == REFUSED_EXIT)
        return TOOL_BAD_CONFIG;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        judge_end(&watcher, status);
    return report_of()->count > 0 ? TOOL_FAILED : TOOL_OK;
}

/* ---- making it shorter */

/* Is the same kind found when only so many requests are made? */
static bool is_found_with(struct batch *batch, int steps, const struct report *found)
{
    struct report *report = report_of();
    batch->first_steps = found->warm ? STEPS_ALL : steps;
    batch->run_steps = found->warm ? steps : STEPS_ALL;
    report->count = 0;
    report->phase[0] = '\0';
    return run_batch(batch) == TOOL_FAILED && report->warm == found->warm &&
           strcmp(report->finds[0].kind, found->finds[0].kind) == 0;
}

/* A run's first requests are the same however many follow, so the least number that does it is soon
 * found. */
static void shorten(const struct batch *whole)
{
    static struct report best;
    struct report *report = report_of();
    struct batch batch = *whole;
    int least = 1, most = report->warm ? STEPS_MOST : STEPS_FIRST;
    if ((report->warm && !plan_can_be_shorter(report->run)) || report_has("endless loop"))
        return;
    best = *report;
    batch.from = report->run;
    batch.count = report->warm ? 1 : 0;
    batch.quiet = true;
    while (least < most) {
        int half = (least + most) / 2;
        if (is_found_with(&batch, half, &best)) {
            best = *report;
            most = half;
        } else {
            least = half + 1;
        }
    }
    *report = best;
}

/* ---- telling */

/* "in on_access (leak.c:23)", when the compiler left the names and addr2line is there. */
static void tell_site(const struct subject *subject, uint64_t site)
{
    char address[32], out[] = "/tmp/weir-site-XXXXXX", *text = NULL;
    int fd = mkstemp(out);
    if (fd < 0)
        return;
    (void)close(fd);
    (void)snprintf(address, sizeof(address), "0x%llx", (unsigned long long)site - 1);
    const char *const argv[] = {"addr2line", "-f", "-s", "-e", subject->image, address, NULL};
    if (tool_exists("addr2line") && tool_run(argv, NULL, out) == 0)
        text = tool_read_file(out, LINE, NULL);
    (void)unlink(out);
    size_t name = text == NULL ? 0 : strcspn(text, "\n");
    if (text != NULL && text[0] != '?' && text[name] == '\n')
        (void)printf("  in %.*s, %.*s\n", (int)name, text, (int)strcspn(text + name + 1, " \n"),
                     text + name + 1);
    else
        (void)printf("  at %s.so+0x%llx\n", subject->name, (unsigned long long)site);
    free(text);
}

static void tell_finds(const struct subject *subject, const struct options *options)
{
    const struct report *report = report_of();
    for (uint32_t i = 0; i < report->count; i++) {
        const struct find *find = &report->finds[i];
        (void)printf("fuzz: FOUND %s: %s%s%s (seed %llu, run %u)\n", find->kind, find->text,
                     find->phase[0] == '\0' ? "" : ", in phase ", find->phase,
                     (unsigned long long)options->seed, (unsigned)report->run);
        if (find->site != 0)
            tell_site(subject, find->site);
    }
    (void)printf("  plugin %s, while it ran: %s\n", subject->name, report->scenario);
    (void)printf("  again: weir plugin fuzz%s%s%s%s --seed %llu --run %u\n",
                 options->file == NULL ? "" : " ", options->file == NULL ? "" : options->file,
                 options->config == NULL ? "" : " --config ",
                 options->config == NULL ? "" : options->config, (unsigned long long)options->seed,
                 (unsigned)report->run);
}

/* ---- all batches */

static int64_t now_s(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

static int run_all(struct subject *subject, const struct options *options)
{
    int64_t end_s = options->seconds < 0 ? INT64_MAX : now_s() + options->seconds;
    uint32_t limit = options->runs >= 0      ? (uint32_t)options->runs
                     : options->seconds >= 0 ? UINT32_MAX
                                             : RUNS;
    struct batch batch = {.subject = subject, .options = options};
    int result = TOOL_OK;
    batch.first_steps = batch.run_steps = STEPS_ALL;
    if (options->only >= 0) {
        batch.from = (uint32_t)options->only;
        limit = batch.from + 1;
    }
    while (result == TOOL_OK && batch.from < limit && now_s() < end_s) {
        uint32_t most = options->seconds >= 0 ? BATCH / 4 : BATCH; /* to end in time */
        batch.count = limit - batch.from < most ? limit - batch.from : most;
        result = run_batch(&batch);
        batch.from += batch.count;
    }
    if (result == TOOL_FAILED && report_of()->count > 0)
        shorten(&batch);
    if (result == TOOL_FAILED)
        tell_finds(subject, options);
    else if (result == TOOL_OK)
        (void)printf("fuzz: nothing found in %u runs (seed %llu)\n",
                     options->only >= 0 ? 1U : (unsigned)batch.from,
                     (unsigned long long)options->seed);
    return result;
}

/* ---- the sanitizer's runtime */

/* A plugin built for AddressSanitizer needs its runtime before all else: begin again with it. */
static void become_sanitized(const struct subject *subject, char **argv)
{
    const char *runtime = subject_sanitizer(subject), *own = "/proc/self/exe";
    char program[4096];
    ssize_t size = readlink(own, program, sizeof(program) - 1);
    if (runtime == NULL || watch_has_sanitizer() || getenv(PRELOADED) != NULL || size <= 0)
        return;
    program[size] = '\0';
    (void)setenv(PRELOADED, "1", 1);
    (void)setenv("LD_PRELOAD", runtime, 1);
    argv[0] = program;
    char **again = calloc(64, sizeof(*again));
    size_t count = 0;
    if (again == NULL)
        return;
    again[count++] = program;
    again[count++] = (char *)(uintptr_t) "fuzz";
    for (size_t i = 1; argv[i] != NULL && count < 63; i++)
        again[count++] = argv[i];
    (void)execv(program, again);
    (void)tool_fail("fuzz", "cannot begin again with %s: %s", runtime, strerror(errno));
    free(again);
}

/* Leaks are ours to find; the rest of what it is asked to stays. */
static void set_sanitizer(void)
{
    const char *given = getenv("ASAN_OPTIONS");
    char text[1024];
    if (getenv(PRELOADED) != NULL)
        (void)unsetenv("LD_PRELOAD"); /* not for addr2line and the like */
    (void)snprintf(text, sizeof(text), "%s%sdetect_leaks=0:allocator_may_return_null=1",
                   given == NULL ? "" : given, given == NULL ? "" : ":");
    (void)setenv("ASAN_OPTIONS", text, 1);
}

/* ---- the verb */

static bool take_number(const char *text, long *out)
{
    char *end = NULL;
    if (text == NULL)
        return false;
    errno = 0;
    *out = strtol(text, &end, 10);
    return errno == 0 && end != text && *end == '\0' && *out >= 0;
}

static bool take_option(struct options *options, const char *name, const char *value)
{
    long number = 0;
    if (strcmp(name, "--config") == 0) {
        options->config = value;
        return value != NULL;
    }
    if (!take_number(value, &number))
        return false;
    if (strcmp(name, "--seed") == 0)
        options->seed = (uint64_t)number;
    else if (strcmp(name, "--runs") == 0)
        options->runs = number;
    else if (strcmp(name, "--run") == 0)
        options->only = number;
    else if (strcmp(name, "--seconds") == 0)
        options->seconds = number;
    else
        return false;
    return true;
}

int tool_fuzz(int argc, char **argv)
{
    struct options options = {.seed = (uint64_t)time(NULL) % 1000000, .runs = -1, .only = -1};
    options.seconds = -1;
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] != '-' && options.file == NULL)
            options.file = argv[i];
        else if (i + 1 >= argc || !take_option(&options, argv[i], argv[i + 1]))
            return tool_usage("fuzz", "what is '%s'?", argv[i]);
        else
            i++;
    }
    struct subject subject;
    set_sanitizer();
    int result = subject_open(&subject, "fuzz", options.file, options.config, true);
    if (result == TOOL_OK) {
        become_sanitized(&subject, argv);
        result =
            report_make() && subject_place(&subject) ? run_all(&subject, &options) : TOOL_FAILED;
    }
    subject_close(&subject);
    return result;
}
