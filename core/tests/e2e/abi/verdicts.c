/* Does in its access hook what X-Verdict says, after X-Spin milliseconds of work. Compiled by
 * accounting.py, which knows what each request adds to the counts. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <weir/weir.h>

#ifndef VERSION
#define VERSION "1.0.0"
#endif

enum { BYTES = 100, WAIT_MS = 20, HOLD_MS = 60000 };

typedef struct {
    weir_header_id verdict, spin;
} verdicts;

static int configure(void *self, weir_error *error)
{
    verdicts *policy = self;
    (void)error;
    policy->verdict = weir_header_intern(WEIR_LIT("X-Verdict"));
    policy->spin = weir_header_intern(WEIR_LIT("X-Spin"));
    return 0;
}

static void spin(weir_request *request, const verdicts *policy)
{
    weir_str text = weir_header_get(request, WEIR_SIDE_REQUEST, policy->spin, 0);
    long ms = text.data == NULL ? 0 : strtol(text.data, NULL, 10);
    struct timespec now, start;
    (void)clock_gettime(CLOCK_MONOTONIC, &start);
    do
        (void)clock_gettime(CLOCK_MONOTONIC, &now);
    while ((now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000 < ms);
}

static bool is(weir_str text, const char *word)
{
    return text.size == strlen(word) && memcmp(text.data, word, text.size) == 0;
}

static weir_verdict woken(weir_request *request, void *self, void *context, uint32_t why)
{
    (void)request, (void)self, (void)context, (void)why;
    return WEIR_NEXT;
}

static weir_verdict on_access(weir_request *request, void *self, void *context)
{
    const verdicts *policy = self;
    (void)context;
    weir_str asked = weir_header_get(request, WEIR_SIDE_REQUEST, policy->verdict, 0);
    if (weir_request_alloc(request, BYTES) == NULL)
        return WEIR_FAIL;
    spin(request, policy);
    if (is(asked, "fail"))
        return WEIR_FAIL;
    if (is(asked, "done"))
        return weir_respond(request, 403, WEIR_LIT("text/plain"), WEIR_LIT("no")) == WEIR_SUCCESS
                   ? WEIR_DONE
                   : WEIR_FAIL;
    if (is(asked, "wait") || is(asked, "hold"))
        return weir_park(request, is(asked, "wait") ? WAIT_MS : HOLD_MS, woken) == 0 ? WEIR_FAIL
                                                                                     : WEIR_WAIT;
    return WEIR_NEXT;
}

static weir_verdict on_response(weir_request *request, void *self, void *context)
{
    (void)context;
    spin(request, self);
    return WEIR_NEXT;
}

static void on_log(weir_request *request, void *self, void *context)
{
    (void)request, (void)self, (void)context;
}

WEIR_PLUGIN(PLUGIN_NAME, VERSION, 0, .priority = 500, WEIR_SELF(verdicts), .configure = configure,
            .access = on_access, .response_headers = on_response, .log = on_log);
