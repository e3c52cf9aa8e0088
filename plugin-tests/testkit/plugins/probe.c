/* A plugin for the tests of the test kit: `act` says which service of the host it uses. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <weir/weir.h>

typedef struct {
    weir_str act;
    int64_t deadline_ms;
    weir_header_id header;
    weir_metric *seen;
    weir_token waiting; /* of the last request that parked */
    int64_t ticks;
    int pipe[2];
    weir_io *io;
} probe;

static const char *const acts[] = {"pass",  "park",   "tick", "pipe",    "override", "fail", "late",
                                   "early", "answer", "body", "rewrite", "identify", NULL};
static const weir_field fields[] = {
    WEIR_ENUM(probe, act, .def = "pass", .choices = acts),
    WEIR_DURATION(probe, deadline_ms, .key = "deadline", .def = "1s"),
};

typedef struct {
    weir_str key;
} probe_key;
static const weir_field key_fields[] = {
    WEIR_STRING(probe_key, key, .flags = WEIR_SECRET | WEIR_UNIQUE),
};
static const weir_credential_kind kinds[] = {
    {.collection = "probe_keys",
     .fields = key_fields,
     .field_count = 1,
     .field_stride = (uint32_t)sizeof(key_fields[0]),
     .unique_key = "key",
     .data_size = (uint32_t)sizeof(probe_key)},
};

static bool does(const probe *self, const char *act)
{
    return self->act.size == strlen(act) && memcmp(self->act.data, act, self->act.size) == 0;
}

static int configure(void *self, weir_error *error)
{
    static const char *const labels[] = {"act", NULL};
    probe *mine = self;
    mine->header = weir_header_intern(WEIR_LIT("X-Probe"));
    mine->seen = weir_metric_open(error, self, WEIR_METRIC_COUNTER, WEIR_LIT("probe_seen"),
                                  WEIR_LIT("requests"), labels, NULL, 0);
    mine->pipe[0] = mine->pipe[1] = -1;
    return mine->seen == NULL ? -1 : 0;
}

static void on_tick(void *self, void *user)
{
    probe *mine = self;
    (void)user;
    mine->ticks++;
    weir_log(NULL, WEIR_LOG_NOTICE, "tick %lld", (long long)mine->ticks);
    if (mine->waiting != 0 && mine->ticks % 3 == 0)
        (void)weir_wake(mine->waiting);
}

static void on_pipe(void *self, void *user, int fd, uint32_t events)
{
    char byte;
    probe *mine = self;
    (void)user;
    if ((events & WEIR_IO_READ) != 0 && read(fd, &byte, 1) == 1)
        (void)weir_wake(mine->waiting);
}

static int start(void *self)
{
    probe *mine = self;
    if (does(mine, "tick") && weir_timer_start(self, 100, 100, on_tick, NULL) == NULL)
        return -1;
    if (!does(mine, "pipe"))
        return 0;
    if (pipe(mine->pipe) != 0)
        return -1;
    mine->io = weir_io_add(self, mine->pipe[0], WEIR_IO_READ, on_pipe, NULL);
    return mine->io == NULL ? -1 : 0;
}

static void stop(void *self)
{
    probe *mine = self;
    if (mine->io != NULL)
        weir_io_remove(mine->io);
    if (mine->pipe[0] >= 0) {
        (void)close(mine->pipe[0]);
        (void)close(mine->pipe[1]);
    }
}

static weir_verdict on_wake(weir_request *request, void *self, void *context, uint32_t why)
{
    probe *mine = self;
    (void)context;
    mine->waiting = 0;
    if (why == WEIR_WOKEN)
        return WEIR_NEXT;
    return weir_respond(request, 504, WEIR_LIT("text/plain"), WEIR_LIT("nobody came")) ? WEIR_FAIL
                                                                                       : WEIR_DONE;
}

static weir_verdict park(weir_request *request, probe *mine)
{
    mine->waiting = weir_park(request, (uint32_t)mine->deadline_ms, on_wake);
    return mine->waiting == 0 ? WEIR_FAIL : WEIR_WAIT;
}

static weir_verdict on_rewrite(weir_request *request, void *self, void *context)
{
    const probe *mine = self;
    (void)context;
    if (!does(mine, "rewrite"))
        return WEIR_NEXT;
    return weir_respond(request, 418, WEIR_LIT("text/plain"), WEIR_LIT("before routing"))
               ? WEIR_FAIL
               : WEIR_DONE;
}

static weir_verdict override(weir_request *request)
{
    return weir_method_set(request, WEIR_LIT("PUT")) ||
                   weir_path_set(request, WEIR_LIT("/other")) ||
                   weir_query_set(request, WEIR_LIT("x"), WEIR_LIT("2")) ||
                   weir_host_set(request, WEIR_LIT("host.test")) ||
                   weir_target_set(request, WEIR_LIT("192.0.2.9"), 81) ||
                   weir_shared_set(request, WEIR_LIT("note"), WEIR_LIT("shared"))
               ? WEIR_FAIL
               : WEIR_NEXT;
}

static weir_verdict on_access(weir_request *request, void *self, void *context)
{
    probe *mine = self;
    (void)context;
    weir_metric_add(mine->seen, &mine->act, 1);
    if (does(mine, "fail"))
        return WEIR_FAIL;
    if (does(mine, "identify")) {
        weir_str key = weir_header_get(request, WEIR_SIDE_REQUEST, mine->header, 0);
        const weir_credential *found = weir_credential_find(self, 0, key);
        return found == NULL || weir_authenticate(request, weir_credential_consumer(found), found,
                                                  (weir_str){NULL, 0})
                   ? WEIR_FAIL
                   : WEIR_NEXT;
    }
    if (does(mine, "override"))
        return override(request);
    if (does(mine, "body"))
        return weir_body_read(request, (uint32_t)mine->deadline_ms, on_wake) ? WEIR_FAIL
                                                                             : WEIR_WAIT;
    if (does(mine, "park") || does(mine, "tick"))
        return park(request, mine);
    if (does(mine, "early")) { /* woken before WAIT was returned: legal */
        weir_verdict verdict = park(request, mine);
        (void)weir_wake(mine->waiting);
        return verdict;
    }
    if (does(mine, "pipe")) {
        weir_verdict verdict = park(request, mine);
        return write(mine->pipe[1], "!", 1) == 1 ? verdict : WEIR_FAIL;
    }
    return WEIR_NEXT;
}

static weir_verdict on_response_headers(weir_request *request, void *self, void *context)
{
    probe *mine = self;
    (void)context;
    if (weir_header_set(request, WEIR_SIDE_RESPONSE, mine->header, WEIR_LIT("was here")))
        return WEIR_FAIL;
    if (does(mine, "late"))
        return park(request, mine);
    if (!does(mine, "answer"))
        return WEIR_NEXT;
    return weir_respond(request, 299, WEIR_LIT("text/plain"), WEIR_LIT("instead")) ? WEIR_FAIL
                                                                                   : WEIR_DONE;
}

static void on_log(weir_request *request, void *self, void *context)
{
    (void)self;
    (void)context;
    weir_log(request, WEIR_LOG_INFO, "probe: %lld in %lld ms",
             (long long)weir_request_number(request, WEIR_NUMBER_STATUS),
             (long long)weir_request_number(request, WEIR_NUMBER_TOTAL_MS));
}

WEIR_PLUGIN("probe", "1.0.0", WEIR_CAP_NETWORK | WEIR_CAP_BODY, .priority = 500, WEIR_SELF(probe),
            WEIR_FIELDS(fields), WEIR_CREDENTIALS(kinds), .configure = configure, .start = start,
            .stop = stop, .rewrite = on_rewrite, .access = on_access,
            .response_headers = on_response_headers, .log = on_log);
