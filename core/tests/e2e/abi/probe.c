/* Does in each phase what the request asks for in X-Do ("access=wait response_headers=done") and
 * writes a line for each request from the log phase. BODY_NEED is compiled in. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <weir/weir.h>

#ifndef BODY_NEED
#define BODY_NEED WEIR_BODY_NONE
#endif
#ifndef PRIORITY
#define PRIORITY 500
#endif

enum { REWRITE, ACCESS, REQUEST_BODY, UPSTREAM, RESPONSE_HEADERS, RESPONSE_BODY, PHASES };
static const char *const names[PHASES] = {"rewrite",  "access",           "request_body",
                                          "upstream", "response_headers", "response_body"};

typedef struct {
    weir_str file;
    weir_header_id asked, wrong;
    int fd;
} probe;

typedef struct {
    weir_str rest[2]; /* of the chunk that waits, by side */
    size_t bytes[2];  /* seen by the body hooks */
    int calls[2];
    bool waited_late[2];
} per_request;

typedef struct {
    weir_token token;
    bool twice;
} bell;

static const weir_field fields[] = {WEIR_STRING(probe, file, .flags = WEIR_REQUIRED)};

static int configure(void *self, weir_error *error)
{
    probe *policy = self;
    (void)error;
    policy->asked = weir_header_intern(WEIR_LIT("X-Do"));
    policy->wrong = weir_header_intern(WEIR_LIT("X-Wrong"));
    return 0;
}

static int start(void *self)
{
    probe *policy = self;
    char path[4096];
    (void)snprintf(path, sizeof(path), "%.*s", (int)policy->file.size, policy->file.data);
    policy->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    return policy->fd < 0;
}

static void stop(void *self)
{
    (void)close(((probe *)self)->fd);
}

static bool is_asked(weir_request *request, const probe *policy, int phase, const char *action)
{
    char word[64];
    weir_str all = weir_header_get(request, WEIR_SIDE_REQUEST, policy->asked, 0);
    size_t size = (size_t)snprintf(word, sizeof(word), "%s=%s ", names[phase], action);
    return all.data != NULL && memmem(all.data, all.size, word, size) != NULL;
}

static void ring(void *self, void *user)
{
    const bell *mine = user;
    (void)self;
    if (weir_wake(mine->token) != WEIR_SUCCESS)
        return;
    if (mine->twice && weir_wake(mine->token) != WEIR_GONE)
        weir_log(NULL, WEIR_LOG_ERROR, "BROKEN: the second wake was heard");
}

static weir_verdict answer(weir_request *request, int phase)
{
    char text[64];
    int size = snprintf(text, sizeof(text), "done in %s", names[phase]);
    weir_status status =
        weir_respond(request, 299, WEIR_LIT("text/x-probe"), (weir_str){text, (size_t)size});
    return status == WEIR_SUCCESS ? WEIR_DONE : WEIR_FAIL;
}

/* Whatever was kept of the chunk goes on. */
static weir_verdict woken(weir_request *request, const probe *policy, per_request *mine,
                          uint32_t why, int phase)
{
    if (is_asked(request, policy, phase, "waitdone"))
        return answer(request, phase);
    bool expires = is_asked(request, policy, phase, "expire");
    if (is_asked(request, policy, phase, "waitfail") ||
        why != (expires ? WEIR_DEADLINE : WEIR_WOKEN))
        return WEIR_FAIL;
    if (phase != REQUEST_BODY && phase != RESPONSE_BODY)
        return WEIR_NEXT;
    uint32_t side = phase == REQUEST_BODY ? WEIR_SIDE_REQUEST : WEIR_SIDE_RESPONSE;
    if (BODY_NEED == WEIR_BODY_STREAM && weir_body_emit(request, side, mine->rest[side]))
        return WEIR_FAIL;
    return WEIR_NEXT;
}

#define WAKE(phase)                                                                    \
    static weir_verdict wake_##phase(weir_request *request, void *self, void *context, \
                                     uint32_t why)                                     \
    {                                                                                  \
        return woken(request, self, context, why, phase);                              \
    }
WAKE(REWRITE)
WAKE(ACCESS)
WAKE(REQUEST_BODY)
WAKE(UPSTREAM)
WAKE(RESPONSE_HEADERS)
WAKE(RESPONSE_BODY)
static weir_wake_hook *const wakes[PHASES] = {wake_REWRITE,          wake_ACCESS,
                                              wake_REQUEST_BODY,     wake_UPSTREAM,
                                              wake_RESPONSE_HEADERS, wake_RESPONSE_BODY};

static weir_verdict wait_for(weir_request *request, void *self, int phase, uint32_t delay_ms,
                             bool twice)
{
    bell *mine = weir_policy_alloc(self, sizeof(*mine));
    weir_token token = weir_park(request, delay_ms == 0 ? 100 : 30000, wakes[phase]);
    if (mine == NULL || token == 0)
        return WEIR_FAIL;
    *mine = (bell){token, twice};
    if (delay_ms > 0 && weir_timer_start(self, delay_ms, 0, ring, mine) == NULL)
        return WEIR_FAIL;
    return WEIR_WAIT;
}

static weir_verdict act(weir_request *request, void *self, int phase)
{
    const probe *policy = self;
    if (is_asked(request, policy, phase, "done"))
        return answer(request, phase);
    if (is_asked(request, policy, phase, "fail"))
        return WEIR_FAIL;
    if (is_asked(request, policy, phase, "odd"))
        return 77;
    if (is_asked(request, policy, phase, "expire"))
        return wait_for(request, self, phase, 0, false);
    if (is_asked(request, policy, phase, "lost"))
        return weir_park(request, 30000, wakes[phase]) == 0 ? WEIR_FAIL : WEIR_WAIT;
    if (is_asked(request, policy, phase, "early")) {
        weir_token token = weir_park(request, 30000, wakes[phase]);
        return weir_wake(token) == WEIR_SUCCESS ? WEIR_WAIT : WEIR_FAIL;
    }
    if (is_asked(request, policy, phase, "forgotten")) { /* a park whose hook does not wait */
        weir_token token = weir_park(request, 30000, wakes[phase]);
        return weir_wake(token) == WEIR_SUCCESS ? WEIR_NEXT : WEIR_FAIL;
    }
    if (is_asked(request, policy, phase, "wait") || is_asked(request, policy, phase, "waitdone") ||
        is_asked(request, policy, phase, "waitfail"))
        return wait_for(request, self, phase, 2, false);
    if (is_asked(request, policy, phase, "double"))
        return wait_for(request, self, phase, 2, true);
    return WEIR_NEXT;
}

#define HOOK(name, phase)                                                      \
    static weir_verdict name(weir_request *request, void *self, void *context) \
    {                                                                          \
        (void)context;                                                         \
        return act(request, self, phase);                                      \
    }
HOOK(on_rewrite, REWRITE)
HOOK(on_access, ACCESS)
HOOK(on_upstream, UPSTREAM)
HOOK(on_response_headers, RESPONSE_HEADERS)

/* A part of the chunk goes on before the wait, the rest after it. */
static weir_verdict on_body(weir_request *request, void *self, per_request *mine, weir_str chunk,
                            int phase)
{
    uint32_t side = phase == REQUEST_BODY ? WEIR_SIDE_REQUEST : WEIR_SIDE_RESPONSE;
    size_t now = chunk.size;
    mine->bytes[side] += chunk.size;
    mine->calls[side]++;
    weir_verdict verdict = act(request, self, phase);
    if (is_asked(request, self, phase, "late") && !mine->waited_late[side]) {
        mine->waited_late[side] = true;
        verdict = wait_for(request, self, phase, 1500, false);
    }
    if (BODY_NEED != WEIR_BODY_STREAM || verdict == WEIR_DONE || verdict == WEIR_FAIL)
        return verdict;
    if (verdict == WEIR_WAIT) {
        now = chunk.size / 3;
        char *copy = weir_request_alloc(request, chunk.size - now + 1);
        if (copy == NULL)
            return WEIR_FAIL;
        memcpy(copy, chunk.data + now, chunk.size - now);
        mine->rest[side] = (weir_str){copy, chunk.size - now};
    }
    return weir_body_emit(request, side, (weir_str){chunk.data, now}) ? WEIR_FAIL : verdict;
}
static weir_verdict on_request_body(weir_request *request, void *self, void *context,
                                    weir_str chunk, bool last)
{
    (void)last;
    return on_body(request, self, context, chunk, REQUEST_BODY);
}
static weir_verdict on_response_body(weir_request *request, void *self, void *context,
                                     weir_str chunk, bool last)
{
    (void)last;
    return on_body(request, self, context, chunk, RESPONSE_BODY);
}

static void on_log(weir_request *request, void *self, void *context)
{
    const probe *policy = self;
    const per_request *mine = context;
    char line[256];
    weir_str path = weir_request_text(request, WEIR_TEXT_PATH);
    int size = snprintf(line, sizeof(line), "%s %.*s status=%lld in=%zu/%d out=%zu/%d\n",
                        PLUGIN_NAME, (int)path.size, path.data,
                        (long long)weir_request_number(request, WEIR_NUMBER_STATUS), mine->bytes[0],
                        mine->calls[0], mine->bytes[1], mine->calls[1]);
    if (write(policy->fd, line, (size_t)size) != size)
        weir_log(request, WEIR_LOG_ERROR, "BROKEN: cannot write");
}

WEIR_PLUGIN(PLUGIN_NAME, "1.0.0", WEIR_CAP_BODY, .priority = PRIORITY, WEIR_SELF(probe),
            WEIR_CONTEXT(per_request), WEIR_FIELDS(fields), .request_body_need = BODY_NEED,
            .response_body_need = BODY_NEED, .configure = configure, .start = start, .stop = stop,
            .rewrite = on_rewrite, .access = on_access, .request_body = on_request_body,
            .upstream = on_upstream, .response_headers = on_response_headers,
            .response_body = on_response_body, .log = on_log);
