/* One build of a policy among several: VERSION is what it says of itself in the answer; the rest is
 * what is wrong with it. Compiled by swap.py. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <weir/weir.h>

#ifndef VERSION
#define VERSION "1.0.0"
#endif
#ifndef FAIL_OF
#define FAIL_OF 0 /* one request of so many fails */
#endif
#ifndef CRASH_OF
#define CRASH_OF 0
#endif
#ifndef ERROR_OF
#define ERROR_OF 0 /* answered 500 */
#endif
#ifndef SLOW_MS
#define SLOW_MS 0
#endif
#ifndef ON_CONFIGURE
#define ON_CONFIGURE 0
#endif
#ifndef ON_START
#define ON_START 0
#endif

#define REFUSE 1
#define CRASH 2
#define HANG 3
#define LATER 8 /* with one of them: not in the worker that comes first */

typedef struct {
    weir_str label;
    weir_header_id version, crash, counted;
} build;

static const weir_field fields[] = {
    WEIR_STRING(build, label, .def = "none", .help = "what comes after the version"),
};

static unsigned requests;

/* `label` is a file that the first one makes. */
static int is_first(const build *policy)
{
    char path[512];
    size_t size = policy->label.size < sizeof(path) ? policy->label.size : 0;
    memcpy(path, policy->label.data, size);
    path[size] = '\0';
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0600);
    return fd >= 0 && close(fd) == 0;
}

static int misbehave(int how)
{
    if (how == REFUSE)
        return 1;
    if (how == CRASH)
        raise(SIGSEGV);
    while (how == HANG)
        sleep(1);
    return 0;
}

static int configure(void *self, weir_error *error)
{
    build *policy = self;
    (void)error;
    policy->version = weir_header_intern(WEIR_LIT("X-Build"));
    policy->crash = weir_header_intern(WEIR_LIT("X-Crash"));
    policy->counted = weir_header_intern(WEIR_LIT("X-Counted"));
    return misbehave(ON_CONFIGURE);
}

static int start(void *self)
{
#ifdef STICKY
    Dl_info info;
    if (dladdr(&requests, &info) != 0) /* one more reference than dlclose() takes */
        (void)dlopen(info.dli_fname, RTLD_NOW);
#endif
    if ((ON_START & LATER) != 0 && is_first(self))
        return 0;
    return misbehave(ON_START & ~LATER);
}

static weir_verdict on_access(weir_request *request, void *self, void *context)
{
    const build *policy = self;
    (void)context;
    requests++;
    if (weir_header_get(request, WEIR_SIDE_REQUEST, policy->crash, 0).data != NULL ||
        (CRASH_OF > 0 && requests % (CRASH_OF + 1U) == CRASH_OF))
        raise(SIGSEGV);
    if (SLOW_MS > 0) {
        struct timespec pause = {SLOW_MS / 1000, (SLOW_MS % 1000) * 1000000L};
        nanosleep(&pause, NULL);
    }
    if (FAIL_OF > 0 && requests % (FAIL_OF + 1U) == FAIL_OF)
        return WEIR_FAIL;
    if (ERROR_OF > 0 && requests % (ERROR_OF + 1U) == ERROR_OF) {
        weir_respond_error(request, 500, WEIR_LIT("made up"));
        return WEIR_DONE;
    }
    return WEIR_NEXT;
}

static weir_verdict on_response(weir_request *request, void *self, void *context)
{
    const build *policy = self;
    (void)context;
    weir_status status =
        weir_header_set(request, WEIR_SIDE_RESPONSE, policy->version, WEIR_LIT(VERSION)) |
        weir_header_set_number(request, WEIR_SIDE_RESPONSE, policy->counted, requests);
    return status == WEIR_SUCCESS ? WEIR_NEXT : WEIR_FAIL;
}

/* What the next build goes on with. */
static void export_state(void *self, weir_state *state)
{
    char number[16];
    int size = snprintf(number, sizeof(number), "%u", requests);
    (void)self;
    (void)weir_state_set(state, WEIR_LIT("requests"), (weir_str){number, (size_t)size});
    (void)weir_state_set(state, WEIR_LIT("version"), WEIR_LIT(VERSION));
}

static void import_state(void *self, const weir_state *state)
{
    char number[16];
    weir_str text = weir_state_get(state, WEIR_LIT("requests"));
    (void)self;
    if (text.data == NULL || text.size >= sizeof(number))
        return;
    memcpy(number, text.data, text.size);
    number[text.size] = '\0';
    requests = (unsigned)strtoul(number, NULL, 10);
}

WEIR_PLUGIN(PLUGIN_NAME, VERSION, 0, .priority = 500, WEIR_SELF(build), WEIR_FIELDS(fields),
            .configure = configure, .start = start, .access = on_access,
            .response_headers = on_response, .export_state = export_state,
            .import_state = import_state);
