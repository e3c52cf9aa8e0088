/* Holds on to everything a policy can hold: a parked request, a timer, a watched pipe, a header out
 * of the image's own bytes. Says in a file when it starts and when it stops. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <weir/weir.h>

typedef struct {
    weir_str file, go; /* where to say it; the file whose presence wakes everybody */
    bool watch;
    weir_header_id literal, hold;
    weir_token tokens[16];
    unsigned parked, ticks, bytes;
    int pipe[2];
} lifetime;

static const char marker[] = "build-marker:00000000"; /* tests change it: another build */

static const weir_field fields[] = {
    WEIR_STRING(lifetime, file, .flags = WEIR_REQUIRED),
    WEIR_STRING(lifetime, go, .flags = WEIR_REQUIRED),
    WEIR_BOOLEAN(lifetime, watch, .def = "true"),
};

static void say(const lifetime *policy, const char *what)
{
    char path[4096], line[128];
    (void)snprintf(path, sizeof(path), "%.*s", (int)policy->file.size, policy->file.data);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    int size = snprintf(line, sizeof(line), "%s %s pid=%d ticks=%s bytes=%s\n", what, marker,
                        (int)getpid(), policy->ticks > 0 ? "some" : "none",
                        policy->bytes > 0 ? "some" : "none");
    if (fd < 0 || write(fd, line, (size_t)size) != size)
        weir_log(NULL, WEIR_LOG_ERROR, "BROKEN: cannot write");
    (void)close(fd);
}

static int configure(void *self, weir_error *error)
{
    lifetime *policy = self;
    (void)error;
    policy->literal = weir_header_intern(WEIR_LIT("X-Literal"));
    policy->hold = weir_header_intern(WEIR_LIT("X-Hold"));
    return 0;
}

static void tick(void *self, void *user)
{
    lifetime *policy = self;
    char path[4096];
    (void)user;
    policy->ticks++;
    if (write(policy->pipe[1], "x", 1) != 1)
        return;
    (void)snprintf(path, sizeof(path), "%.*s", (int)policy->go.size, policy->go.data);
    if (access(path, F_OK) != 0)
        return;
    while (policy->parked > 0)
        (void)weir_wake(policy->tokens[--policy->parked]);
}

static void on_pipe(void *self, void *user, int fd, uint32_t events)
{
    char bytes[64];
    (void)user;
    (void)events;
    if (read(fd, bytes, sizeof(bytes)) > 0)
        ((lifetime *)self)->bytes++;
}

static int start(void *self)
{
    lifetime *policy = self;
    if (policy->watch && (pipe2(policy->pipe, O_CLOEXEC | O_NONBLOCK) != 0 ||
                          weir_io_add(self, policy->pipe[0], WEIR_IO_READ, on_pipe, NULL) == NULL ||
                          weir_timer_start(self, 1, 5, tick, NULL) == NULL))
        return -1;
    say(policy, "start");
    return 0;
}

/* Timer and watcher are left to the host on purpose, the descriptors are ours. */
static void stop(void *self)
{
    lifetime *policy = self;
    say(policy, "stop");
    if (!policy->watch)
        return;
    (void)close(policy->pipe[1]);
}

static weir_verdict woken(weir_request *request, void *self, void *context, uint32_t why)
{
    const lifetime *policy = self;
    (void)context;
    return why == WEIR_WOKEN && weir_header_add(request, WEIR_SIDE_RESPONSE, policy->literal,
                                                WEIR_LIT("set when woken")) == WEIR_SUCCESS
               ? WEIR_NEXT
               : WEIR_FAIL;
}

static weir_verdict hold(weir_request *request, lifetime *policy, const char *phase)
{
    weir_str asked = weir_header_get(request, WEIR_SIDE_REQUEST, policy->hold, 0);
    if (asked.size != strlen(phase) || memcmp(asked.data, phase, asked.size) != 0)
        return WEIR_NEXT;
    weir_token token = policy->parked < 16 ? weir_park(request, 60000, woken) : 0;
    if (token == 0)
        return WEIR_FAIL;
    policy->tokens[policy->parked++] = token;
    return WEIR_WAIT;
}

static weir_verdict on_access(weir_request *request, void *self, void *context)
{
    const lifetime *policy = self;
    (void)context;
    if (weir_header_set(request, WEIR_SIDE_RESPONSE, policy->literal,
                        WEIR_LIT("a literal of the image")) ||
        weir_header_set(request, WEIR_SIDE_REQUEST, policy->literal, WEIR_LIT("for the target")))
        return WEIR_FAIL;
    return hold(request, self, "access");
}

static weir_verdict on_response_headers(weir_request *request, void *self, void *context)
{
    (void)context;
    return hold(request, self, "response_headers");
}

WEIR_PLUGIN(PLUGIN_NAME, "1.0.0", WEIR_CAP_NETWORK, .priority = 500, WEIR_SELF(lifetime),
            WEIR_FIELDS(fields), .configure = configure, .start = start, .stop = stop,
            .access = on_access, .response_headers = on_response_headers);
