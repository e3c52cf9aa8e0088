#include "gateway/retry.h"

#include "base/random.h"
#include "gateway/exchange.h"

/* ---- the budget */

static void roll(struct retry_budget *budget, uint64_t now_ms)
{
    uint64_t age_ms = now_ms - budget->begun_ms;
    if (age_ms < RETRY_WINDOW_MS)
        return;
    /* Nobody looked for longer than a window: what it was on the average. */
    budget->requests_before = (uint32_t)((uint64_t)budget->requests * RETRY_WINDOW_MS / age_ms);
    budget->requests = budget->retries = 0;
    budget->begun_ms = now_ms;
}

bool retry_budget_take(struct retry_budget *budget, const struct service *service, uint64_t now_ms)
{
    roll(budget, now_ms);
    uint64_t requests =
        budget->requests > budget->requests_before ? budget->requests : budget->requests_before;
    uint64_t most = (uint64_t)service->retry_budget_min * (RETRY_WINDOW_MS / 1000) +
                    requests * (uint64_t)service->retry_budget_percent / 100;
    if (budget->retries >= most)
        return false;
    budget->retries++;
    return true;
}

static struct retry_budget *budget_of(struct exchange *x)
{
    return &x->generation->retry_budgets[x->request.service->index];
}

void retry_count_request(struct exchange *x)
{
    budget_of(x)->requests++;
}

/* ---- the rules */

enum http_method retry_sent_method(const struct exchange *x)
{
    const struct weir_request *request = &x->request;
    return span_is_set(request->method_override) ? http_method_of(request->method_override)
                                                 : request->head.method_id;
}

bool retry_is_idempotent(const struct exchange *x)
{
    enum http_method method = retry_sent_method(x);
    return method != HTTP_METHOD_POST && method != HTTP_METHOD_PATCH &&
           method != HTTP_METHOD_CONNECT && method != HTTP_METHOD_UNKNOWN;
}

/* What can be sent whole, was not answered in part, and may be done twice or has left no byte with
 * the target. Of bytes only `up.sent` tells: the first may have gone long after step_send(). */
static bool may_be_repeated(const struct exchange *x)
{
    return !x->answer_started && !x->up.refilled && (x->up.sent == 0 || retry_is_idempotent(x));
}

bool retry_is_stale(const struct exchange *x, enum retry_on cause)
{
    return x->target_requests > 0 && x->out_size == 0 && cause == RETRY_ON_RESET;
}

/* Twice as long each time, half of it by chance: who failed together shall not come back together.
 */
static uint64_t due_ms(const struct exchange *x)
{
    const struct service *service = x->request.service;
    uint64_t delay = (uint64_t)service->retry_delay_ms;
    uint64_t most = (uint64_t)service->retry_delay_max_ms;
    if (delay == 0)
        return 0;
    for (uint32_t i = 1; i < x->attempts && delay < most; i++)
        delay *= 2;
    delay = delay < most ? delay : most;
    return clock_mono_ms() + delay - random_u64() % (delay / 2 + 1);
}

/* A target that nothing was sent to has no load of it: such a retry is not of the budget. */
static bool is_granted(struct exchange *x)
{
    if (x->attempts > x->request.service->retries)
        return false;
    if (x->up.sent > 0 && !retry_budget_take(budget_of(x), x->request.service, clock_mono_ms())) {
        x->gateway->slot->retries_refused++;
        return false;
    }
    x->retry_due_ms = due_ms(x);
    return true;
}

bool retry_after_failure(struct exchange *x, enum retry_on cause)
{
    if (!may_be_repeated(x))
        return false;
    /* One that was kept and had ended says nothing about the target: that try is free, once. */
    if (retry_is_stale(x, cause) && !x->free_retry) {
        x->free_retry = true;
        x->attempts--;
        x->retry_due_ms = 0;
        return true;
    }
    return (x->request.service->retry_on & cause) != 0 && is_granted(x);
}

bool retry_after_status(struct exchange *x, unsigned status)
{
    return service_retries_status(x->request.service, status) && may_be_repeated(x) &&
           is_granted(x);
}
