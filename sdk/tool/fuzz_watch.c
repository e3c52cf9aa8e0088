#include "fuzz_watch.h"

#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "fuzz_report.h"

enum {
    LIVE_REQUESTS = 64,
    WORDS = 256,
    WORD_SIZE = 64,
    BLOCKED_NS = 20000000, /* a hook that stood still that long was not just unlucky */
    WAIT_MS = 60000,
};

static const char *const names[WATCH_PHASES + 1] = {
    [WATCH_CONFIGURE] = "configure",
    [WATCH_START] = "start",
    [WATCH_STOP] = "stop",
    [WATCH_REWRITE] = "rewrite",
    [WATCH_ACCESS] = "access",
    [WATCH_REQUEST_BODY] = "request_body",
    [WATCH_UPSTREAM] = "upstream",
    [WATCH_RESPONSE_HEADERS] = "response_headers",
    [WATCH_RESPONSE_BODY] = "response_body",
    [WATCH_LOG] = "log",
    [WATCH_EXPORT] = "export_state",
    [WATCH_IMPORT] = "import_state",
    [WATCH_WAKE] = "wake",
    [WATCH_TIMER] = "timer",
    [WATCH_DESCRIPTOR] = "descriptor",
    [WATCH_STREAM] = "stream",
    [WATCH_FETCH] = "fetch",
    [WATCH_PHASES] = "",
};

unsigned watch_what;
_Thread_local bool watch_on_loop;

static struct {
    char plugin[64];
    void (*on_sample)(const struct watch_sample *sample);
    struct watched *images; /* the newest first */
    uint32_t image_count;
    struct watch_call *call; /* the innermost */
    struct watched_request live[LIVE_REQUESTS];
    uint32_t fail_in, fallible;
    enum watch_phase wait_after;
    uint64_t random;
    bool learned;
    size_t word_count, header_count;
    char words[WORDS][WORD_SIZE], headers[WORDS][WORD_SIZE];
    void (*on_fetch)(struct kit *kit, const char *url);
    uint16_t stream_port;
    int counter; /* perf events; -1: none */
} watch = {.counter = -1, .wait_after = WATCH_PHASES};

const char *watch_phase_name(enum watch_phase phase)
{
    return names[phase];
}

/* ---- state that scenarios set and ask */

void watch_fail_at(uint32_t nth)
{
    watch.fail_in = nth;
    watch.fallible = 0;
}

uint32_t watch_fallible(void)
{
    return watch.fallible;
}

bool watch_fails_now(void)
{
    watch.fallible++;
    return watch.fail_in > 0 && --watch.fail_in == 0;
}

void watch_wait_after(enum watch_phase phase)
{
    watch.wait_after = phase;
}

void watch_seed(uint64_t seed)
{
    watch.random = seed;
}

/* splitmix64 */
uint64_t watch_random(void)
{
    uint64_t z = watch.random += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

const weir_plugin *watch_plugin(void)
{
    return watch.images == NULL ? NULL : &watch.images->original;
}

const weir_host *watch_table(void)
{
    return watch.images == NULL ? NULL : &watch.images->host;
}

bool watch_is_own_master(void)
{
    return watch_imports_clock();
}

void watch_fetches(void (*on_fetch)(struct kit *kit, const char *url))
{
    watch.on_fetch = on_fetch;
}

void watch_streams(uint16_t port)
{
    watch.stream_port = port;
}

uint16_t watch_stream_port(void)
{
    return watch.stream_port;
}

void watch_tell_fetch(struct kit *kit, weir_str url)
{
    char text[2048];
    if (watch.on_fetch == NULL || url.data == NULL || url.size >= sizeof(text))
        return;
    memcpy(text, url.data, url.size);
    text[url.size] = '\0';
    watch.on_fetch(kit, text);
}

/* ---- words */

static bool add_word(char words[][WORD_SIZE], size_t *count, weir_str word)
{
    if (word.data == NULL || word.size == 0 || word.size >= WORD_SIZE || *count == WORDS)
        return false;
    for (size_t i = 0; i < *count; i++)
        if (strlen(words[i]) == word.size && memcmp(words[i], word.data, word.size) == 0)
            return false;
    memcpy(words[*count], word.data, word.size);
    words[(*count)++][word.size] = '\0';
    return true;
}

void watch_learn(weir_str word, bool is_header)
{
    if (watch.learned)
        return;
    if (is_header)
        (void)add_word(watch.headers, &watch.header_count, word);
    else
        (void)add_word(watch.words, &watch.word_count, word);
}

void watch_stop_learning(void)
{
    watch.learned = true;
}

size_t watch_words(void)
{
    return watch.word_count;
}

const char *watch_word(size_t n)
{
    return watch.words[n];
}

size_t watch_header_words(void)
{
    return watch.header_count;
}

const char *watch_header_word(size_t n)
{
    return watch.headers[n];
}

/* ---- requests that live */

struct watched_request *watch_find_request(const weir_request *request)
{
    for (size_t i = 0; i < LIVE_REQUESTS; i++)
        if (request != NULL && watch.live[i].request == request)
            return &watch.live[i];
    return NULL;
}

static struct watched_request *request_begins(const weir_request *request)
{
    struct watched_request *found = watch_find_request(request);
    for (size_t i = 0; found == NULL && i < LIVE_REQUESTS; i++)
        if (watch.live[i].request == NULL) {
            watch.live[i] = (struct watched_request){.request = request};
            return &watch.live[i];
        }
    return found;
}

void watch_request_begins(kit_request *r)
{
    (void)request_begins(kit_watch_request(r));
}

void watch_request_over(kit_request *r)
{
    struct watched_request *found = watch_find_request(kit_watch_request(r));
    if (found == NULL)
        return;
    block_request_over(found->request);
    *found = (struct watched_request){0};
}

bool watch_is_live(const weir_request *request, const char *call)
{
    if (!watch_judges() || watch_find_request(request) != NULL)
        return true;
    report_find("use after free", NULL, "weir_%s() for a request that is over", call);
    return false;
}

/* ---- calls into the plugin */

struct watched *watch_current(void)
{
    return watch.call != NULL && watch_on_loop ? watch.call->image : watch.images;
}

enum watch_phase watch_running_phase(void)
{
    return watch.call != NULL && watch_on_loop ? watch.call->phase : WATCH_PHASES;
}

struct watched *watch_image_of(const void *self)
{
    const weir_plugin *plugin = kit_plugin_of(self);
    struct watched *image = watch.images;
    while (image != NULL && image->plugin != plugin)
        image = image->next;
    if (image == NULL)
        abort(); /* our function runs for an image that was never told */
    return image;
}

static uint64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t instructions(void)
{
    uint64_t count = 0;
    if (watch.counter < 0 || read(watch.counter, &count, sizeof(count)) != sizeof(count))
        return 0;
    return count;
}

bool watch_instructions(void)
{
    struct perf_event_attr event = {
        .type = PERF_TYPE_HARDWARE,
        .size = sizeof(event),
        .config = PERF_COUNT_HW_INSTRUCTIONS,
        .exclude_kernel = 1,
        .exclude_hv = 1,
    };
    if (watch.counter < 0)
        watch.counter = (int)syscall(SYS_perf_event_open, &event, 0, -1, -1,
                                     (unsigned long)PERF_FLAG_FD_CLOEXEC);
    return watch.counter >= 0;
}

uint64_t watch_instructions_of_nothing(void)
{
    uint64_t before = instructions();
    return instructions() - before;
}

static long voluntary_switches(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_THREAD, &usage) == 0 ? usage.ru_nvcsw : 0;
}

void watch_enter(struct watch_call *call, struct watched *image, enum watch_phase phase,
                 const weir_request *request)
{
    struct report *report = report_of();
    *call = (struct watch_call){.outer = watch.call, .image = image, .phase = phase};
    watch_on_loop = true;
    watch.call = call;
    call->request = request == NULL ? NULL : request_begins(request);
    if (call->request != NULL)
        call->request->parked = call->request->answered = false;
    image->totals = (struct watch_sample){.phase = phase};
    if (report != NULL) {
        report->beat++;
        memcpy(call->outer_phase, report->phase, sizeof(call->outer_phase));
        (void)snprintf(report->phase, sizeof(report->phase), "%s", names[phase]);
    }
    if (watch_judges())
        call->switches = voluntary_switches();
    call->began_instructions = instructions();
    call->began_ns = now_ns();
}

static bool may_block(enum watch_phase phase)
{
    return phase == WATCH_CONFIGURE || phase == WATCH_START || phase == WATCH_STOP;
}

/* A voluntary switch tells waiting from a machine that is busy. */
static void judge_time(const struct watch_call *call, uint64_t ns)
{
    if (ns >= BLOCKED_NS && !may_block(call->phase) && voluntary_switches() > call->switches)
        report_find("blocking call", NULL,
                    "it stood still for %u ms; every request of the worker "
                    "waits meanwhile",
                    (unsigned)(ns / 1000000));
}

static bool is_request_phase(enum watch_phase phase)
{
    return (phase >= WATCH_REWRITE && phase <= WATCH_RESPONSE_BODY) || phase == WATCH_WAKE;
}

static void judge_verdict(const struct watch_call *call, weir_verdict verdict)
{
    const struct watched_request *request = call->request;
    if (verdict > WEIR_FAIL)
        report_find("unknown verdict", NULL, "%u, which counts as WEIR_FAIL", (unsigned)verdict);
    if (request == NULL || !is_request_phase(call->phase))
        return;
    if (verdict == WEIR_WAIT && !request->parked)
        report_find("wait without a token", NULL,
                    "WEIR_WAIT, but weir_park() or weir_body_read() did not succeed before");
    if (verdict == WEIR_DONE && !request->was_answered)
        report_find("done without an answer", NULL, "WEIR_DONE, but weir_respond() was not called");
    if (verdict == WEIR_NEXT && request->answered)
        report_find("answer thrown away", NULL,
                    "weir_respond() succeeded, then the hook returned WEIR_NEXT");
}

void watch_leave(struct watch_call *call, weir_verdict verdict)
{
    struct watch_sample *sample = &call->image->totals;
    struct report *report = report_of();
    sample->ns = now_ns() - call->began_ns;
    sample->instructions = instructions() - call->began_instructions;
    sample->verdict = verdict;
    sample->phase = call->phase;
    if (watch_judges()) {
        judge_time(call, sample->ns);
        judge_verdict(call, verdict);
    }
    if (watch.on_sample != NULL)
        watch.on_sample(sample);
    if (report != NULL)
        memcpy(report->phase, call->outer_phase, sizeof(report->phase));
    watch.call = call->outer;
}

/* ---- a wait of our own */

static weir_verdict on_our_wake(weir_request *request, void *self, void *context, uint32_t why)
{
    (void)request, (void)self, (void)context, (void)why;
    return WEIR_NEXT;
}

static weir_verdict maybe_wait(struct watched *image, enum watch_phase phase, weir_request *request,
                               weir_verdict verdict)
{
    if (verdict != WEIR_NEXT || phase != watch.wait_after)
        return verdict;
    watch.wait_after = WATCH_PHASES;
    return image->host.park(request, WAIT_MS, on_our_wake) == 0 ? verdict : WEIR_WAIT;
}

weir_verdict watch_on_wake(weir_request *request, void *self, void *context, uint32_t why)
{
    struct watched *image = watch_image_of(self);
    struct watched_request *waiting = watch_find_request(request);
    struct watch_call call;
    if (waiting == NULL || waiting->on_wake == NULL)
        abort();
    weir_wake_hook *on_wake = waiting->on_wake;
    waiting->on_wake = NULL;
    watch_enter(&call, image, WATCH_WAKE, request);
    weir_verdict verdict = on_wake(request, self, context, why);
    watch_leave(&call, verdict);
    return verdict;
}

/* ---- hooks in place of the plugin's */

static weir_verdict run_hook(weir_hook *(*which)(const weir_plugin *), enum watch_phase phase,
                             weir_request *request, void *self, void *context)
{
    struct watched *image = watch_image_of(self);
    weir_hook *hook = which(&image->original);
    struct watch_call call;
    watch_enter(&call, image, phase, request);
    weir_verdict verdict = hook(request, self, context);
    watch_leave(&call, verdict);
    return maybe_wait(image, phase, request, verdict);
}

static weir_verdict run_body_hook(enum watch_phase phase, weir_request *request, void *self,
                                  void *context, weir_str chunk, bool last)
{
    struct watched *image = watch_image_of(self);
    weir_body_hook *hook =
        phase == WATCH_REQUEST_BODY ? image->original.request_body : image->original.response_body;
    struct watch_call call;
    /* Chunks live for the call alone: what is kept of one is in memory that is gone. */
    char *copy = watch_judges() && chunk.size > 0 ? malloc(chunk.size) : NULL;
    if (copy != NULL) {
        memcpy(copy, chunk.data, chunk.size);
        chunk.data = copy;
    }
    watch_enter(&call, image, phase, request);
    weir_verdict verdict = hook(request, self, context, chunk, last);
    watch_leave(&call, verdict);
    if (copy != NULL) {
        memset(copy, 0xdd, chunk.size);
        free(copy);
    }
    return maybe_wait(image, phase, request, verdict);
}

#define HOOK(member_, phase_)                                                          \
    static weir_hook *which_##member_(const weir_plugin *plugin)                       \
    {                                                                                  \
        return plugin->member_;                                                        \
    }                                                                                  \
    static weir_verdict on_##member_(weir_request *request, void *self, void *context) \
    {                                                                                  \
        return run_hook(which_##member_, phase_, request, self, context);              \
    }
HOOK(rewrite, WATCH_REWRITE)
HOOK(access, WATCH_ACCESS)
HOOK(upstream, WATCH_UPSTREAM)
HOOK(response_headers, WATCH_RESPONSE_HEADERS)

static weir_verdict on_request_body(weir_request *request, void *self, void *context,
                                    weir_str chunk, bool last)
{
    return run_body_hook(WATCH_REQUEST_BODY, request, self, context, chunk, last);
}

static weir_verdict on_response_body(weir_request *request, void *self, void *context,
                                     weir_str chunk, bool last)
{
    return run_body_hook(WATCH_RESPONSE_BODY, request, self, context, chunk, last);
}

static void on_log(weir_request *request, void *self, void *context)
{
    struct watched *image = watch_image_of(self);
    struct watch_call call;
    watch_enter(&call, image, WATCH_LOG, request);
    image->original.log(request, self, context);
    watch_leave(&call, WEIR_NEXT);
}

static int on_configure(void *self, weir_error *error)
{
    struct watched *image = watch_image_of(self);
    struct watch_call call;
    watch_enter(&call, image, WATCH_CONFIGURE, NULL);
    int result = image->original.configure(self, error);
    watch_leave(&call, WEIR_NEXT);
    return result;
}

static int on_start(void *self)
{
    struct watched *image = watch_image_of(self);
    struct watch_call call;
    watch_enter(&call, image, WATCH_START, NULL);
    int result = image->original.start(self);
    watch_leave(&call, WEIR_NEXT);
    return result;
}

static void on_stop(void *self)
{
    struct watched *image = watch_image_of(self);
    struct watch_call call;
    watch_enter(&call, image, WATCH_STOP, NULL);
    image->original.stop(self);
    watch_leave(&call, WEIR_NEXT);
}

static void on_export(void *self, weir_state *state)
{
    struct watched *image = watch_image_of(self);
    struct watch_call call;
    watch_enter(&call, image, WATCH_EXPORT, NULL);
    image->original.export_state(self, state);
    watch_leave(&call, WEIR_NEXT);
}

static void on_import(void *self, const weir_state *state)
{
    struct watched *image = watch_image_of(self);
    struct watch_call call;
    watch_enter(&call, image, WATCH_IMPORT, NULL);
    image->original.import_state(self, state);
    watch_leave(&call, WEIR_NEXT);
}

/* ---- images */

#define REPLACE(member_, function_)      \
    if (image->original.member_ != NULL) \
    image->plugin->member_ = (function_)

static void replace_hooks(struct watched *image)
{
    REPLACE(configure, on_configure);
    REPLACE(start, on_start);
    REPLACE(stop, on_stop);
    REPLACE(rewrite, on_rewrite);
    REPLACE(access, on_access);
    REPLACE(request_body, on_request_body);
    REPLACE(upstream, on_upstream);
    REPLACE(response_headers, on_response_headers);
    REPLACE(response_body, on_response_body);
    REPLACE(log, on_log);
    REPLACE(export_state, on_export);
    REPLACE(import_state, on_import);
}

/* "[a, b]" are two words. */
static void learn_default(const weir_field *field)
{
    static const char between[] = " ,[]{}'\"";
    for (const char *at = field->def; *at != '\0';) {
        size_t size = strcspn(at, between);
        watch_learn((weir_str){at, size}, (field->flags & WEIR_HEADER_NAME) != 0);
        at += size;
        at += strspn(at, between);
    }
}

static void on_loaded(struct kit *kit, weir_plugin *plugin, weir_host *table)
{
    if (strcmp(plugin->name, watch.plugin) != 0)
        return;
    struct watched *image = calloc(1, sizeof(*image));
    if (image == NULL)
        return;
    image->kit = kit;
    image->plugin = plugin;
    image->original = *plugin;
    image->table = table;
    image->host = *table;
    image->number = ++watch.image_count;
    image->next = watch.images;
    watch.images = image;
    for (uint32_t i = 0; i < plugin->field_count; i++)
        if (plugin->fields[i].def != NULL)
            learn_default(&plugin->fields[i]);
    replace_hooks(image);
    if ((watch_what & WATCH_CALLS) != 0)
        watch_calls(image);
    if ((watch_what & WATCH_IMPORTS) != 0)
        watch_imports(image);
}

void watch_change(unsigned what)
{
    watch_what = what;
}

void watch_begin(const char *plugin, unsigned what,
                 void (*on_sample)(const struct watch_sample *sample))
{
    (void)snprintf(watch.plugin, sizeof(watch.plugin), "%s", plugin);
    watch.on_sample = on_sample;
    watch_on_loop = true;
    watch_change(what);
    kit_watch_plugins(on_loaded);
}

void watch_settle(void)
{
    for (size_t i = 0; i < LIVE_REQUESTS; i++)
        watch.live[i] = (struct watched_request){0};
    watch.call = NULL;
    watch_fail_at(0);
    watch.wait_after = WATCH_PHASES;
    watch.stream_port = 0;
    watch_calls_forget();
    blocks_policies_gone();
    blocks_settle();
}
