/* A question to the master over its control socket (process/process.h), asked from the loop of a
 * worker that goes on to serve. Private to this room. */
#ifndef WEIR_ADMIN_ASK_H
#define WEIR_ADMIN_ASK_H

#include <stdint.h>

#include "base/error.h"
#include "base/span.h"

struct ask;
struct loop;

/* `question` is one line without its end: INVALID when it is not. `done` is called once, later: OK
 * and what was answered (borrowed for the call); TIMEOUT: nothing came in time; REFUSED, CLOSED,
 * SYSTEM: nobody answers; LIMIT: too much; NO_MEMORY. The ask is gone then. Unless this returns OK
 * it is not called, and *out_ask stays as it is. */
WEIR_MUST_USE enum weir_err
ask_start(struct loop *loop, const char *socket_path, struct span question, uint32_t timeout_ms,
          void (*done)(void *user, enum weir_err err, struct span answer), void *user,
          struct ask **out_ask);
/* `done` will not be called; what was asked for may happen nevertheless. NULL is fine. */
void ask_cancel(struct ask *ask);

#endif
