/* What a worker does when there is more than it can hold: ceilings for connections and memory, who
 * makes room for whom, and a word about it in the log, not more often than every few seconds. */
#ifndef WEIR_GATEWAY_OVERLOAD_H
#define WEIR_GATEWAY_OVERLOAD_H

#include "gateway/exchange.h"

/* What of an exchange is there from its beginning to its end: max_memory counts it whole. */
enum { EXCHANGE_BYTES = sizeof(struct exchange) + 2 * IO_BUFFER + 16 * 1024 };

/* Which ceiling was met. */
enum overload { OVERLOAD_CONNECTIONS, OVERLOAD_MEMORY, OVERLOAD_DESCRIPTORS, OVERLOADS };

/* The configuration has changed: what it allows, and what the descriptors of this process do. */
void overload_configure(struct gateway *gateway);
/* Whether another client may come; one that only waits may have been closed for it. */
WEIR_MUST_USE bool overload_admit(struct gateway *gateway);
/* Counts a refusal, and tells of it. */
void overload_refused(struct gateway *gateway, enum overload which);
/* The same for one that can be answered; then step_fail(x, WEIR_ERR_OVERLOADED, true). */
void overload_refuse(struct exchange *x, enum overload which);
/* 503 with Retry-After to one whom there is no exchange for. It stays open. */
void overload_answer(struct conn *conn);

/* An exchange more, or bytes more for one: false when max_memory forbids it. */
WEIR_MUST_USE bool overload_take(struct gateway *gateway, size_t bytes);
void overload_give(struct gateway *gateway, size_t bytes);
/* What this exchange holds beyond that (bodies, also with the policies, and what they took of its
 * arena), counted anew. False: max_memory is passed. */
bool overload_recount(struct exchange *x);
/* Spare exchanges are many and unused: some of them go, and so does the memory. */
void overload_trim(struct gateway *gateway);

#endif
