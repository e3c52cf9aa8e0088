/* One build of a policy among several: VERSION is what it says of itself in the answer; the rest is
 * what is wrong with it. Compiled by swap.py. */
#include <signal.h>
#include <stdlib.h>
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
#define CRASH_SECOND 4 /* in every worker but the first */

typedef struct {
    weir_str label;
    weir_header_id version, crash;
} build;

static const weir_field fields[] = {
    WEIR_STRING(build, label, .def = "none", .help = "what comes after the version"),
};

static unsigned requests;

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
    return misbehave(ON_CONFIGURE);
}

static int start(void *self)
{
    (void)self;
    return misbehave(ON_START);
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
    return weir_header_set(request, WEIR_SIDE_RESPONSE, policy->version, WEIR_LIT(VERSION)) == 0
               ? WEIR_NEXT
               : WEIR_FAIL;
}

WEIR_PLUGIN(PLUGIN_NAME, VERSION, 0, .priority = 500, WEIR_SELF(build), WEIR_FIELDS(fields),
            .configure = configure, .start = start, .access = on_access,
            .response_headers = on_response);
