/* Wakes its request, and once more to be sure. */
#include <weir/weir.h>

typedef struct {
    weir_token token;
    weir_timer *timer;
} per_request;

static void on_timer(void *self, void *user)
{
    per_request *mine = user;
    (void)self;
    mine->timer = NULL;
    (void)weir_wake(mine->token);
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
    mine->token = weir_park(request, 1000, on_wake);
    if (mine->token == 0)
        return WEIR_FAIL;
    mine->timer = weir_timer_start(self, 1, 0, on_timer, mine);
    return mine->timer == NULL ? WEIR_FAIL : WEIR_WAIT;
}

static void on_log(weir_request *request, void *self, void *context)
{
    (void)request, (void)self;
    weir_timer_stop(((per_request *)context)->timer);
}

WEIR_PLUGIN("double_wake", "1.0.0", 0, .priority = 100, WEIR_CONTEXT(per_request),
            .access = on_access, .log = on_log);
