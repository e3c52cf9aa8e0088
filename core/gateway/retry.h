/* Whether a failed attempt is followed by another, and when. What may be sent again at all is a
 * matter of the message (RFC 9110 9.2.2); what shall be, of the service: `retries`, `retry_on`, a
 * delay, and a budget that keeps retries from being the load a target dies of. [worker] */
#ifndef WEIR_GATEWAY_RETRY_H
#define WEIR_GATEWAY_RETRY_H

#include "config/entities.h"
#include "http/message.h"

struct exchange;

/* Of one service in one worker. Retries of a window are bounded by `retry_budget_percent` of the
 * requests in it or in the one before, whichever are more, but for `retry_budget_min` of each
 * second. */
struct retry_budget {
    uint64_t begun_ms; /* of the window */
    uint32_t requests, requests_before;
    uint32_t retries;
};
enum { RETRY_WINDOW_MS = 10000 };

/* One more retry is within the budget, and is counted. */
WEIR_MUST_USE bool retry_budget_take(struct retry_budget *budget, const struct service *service,
                                     uint64_t now_ms);

/* The first attempt of a request begins. */
void retry_count_request(struct exchange *x);
/* The attempt failed by `cause`, nothing of an answer was passed on. True: there is another one,
 * due at x->retry_due_ms. */
WEIR_MUST_USE bool retry_after_failure(struct exchange *x, enum retry_on cause);
/* It was answered with this status; the answer is here as far as its head. */
WEIR_MUST_USE bool retry_after_status(struct exchange *x, unsigned status);
/* Nothing bad can be said of the target: a kept connection had ended without a byte. */
bool retry_is_stale(const struct exchange *x, enum retry_on cause);

/* What the target is sent: a policy may have chosen another method than the client. */
enum http_method retry_sent_method(const struct exchange *x);
/* RFC 9110 9.2.2, as Kong's engine has it. Of the method that is sent. */
bool retry_is_idempotent(const struct exchange *x);

#endif
