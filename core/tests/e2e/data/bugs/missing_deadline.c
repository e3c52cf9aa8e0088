/* Waits for a peer that may never answer, for as long as it takes. */
#include <weir/weir.h>

typedef struct {
    weir_token token;
    weir_fetch *fetch;
} per_request;

static void on_answer(void *self, void *user, const weir_fetch_answer *answer)
{
    per_request *mine = user;
    (void)self, (void)answer;
    mine->fetch = NULL;
    (void)weir_wake(mine->token);
}

static weir_verdict on_wake(weir_request *request, void *self, void *context, uint32_t why)
{
    (void)request, (void)self, (void)context, (void)why;
    return WEIR_NEXT;
}

static weir_verdict on_access(weir_request *request, void *self, void *context)
{
    per_request *mine = context;
    const weir_fetch_request ask = {
        .size = (uint32_t)sizeof(ask),
        .method = WEIR_LIT("GET"),
        .url = WEIR_LIT("http://127.0.0.1:9/allowed"),
        .deadline_ms = 30000,
        .body_limit = 1024,
    };
    mine->token = weir_park(request, 0, on_wake);
    if (mine->token == 0)
        return WEIR_FAIL;
    mine->fetch = weir_fetch_start(self, &ask, on_answer, mine);
    return mine->fetch == NULL ? WEIR_FAIL : WEIR_WAIT;
}

static void on_log(weir_request *request, void *self, void *context)
{
    (void)request, (void)self;
    weir_fetch_cancel(((per_request *)context)->fetch);
}

WEIR_PLUGIN("missing_deadline", "1.0.0", WEIR_CAP_NETWORK, .priority = 100,
            WEIR_CONTEXT(per_request), .access = on_access, .log = on_log);
