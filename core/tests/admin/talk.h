/* A client on the same thread as the server it talks to: it turns the loop while it waits. */
#ifndef WEIR_TESTS_ADMIN_TALK_H
#define WEIR_TESTS_ADMIN_TALK_H

#include "base/buf.h"
#include "net/loop.h"

/* A listening socket on a free port of the loopback; ends the test when there is none. */
int talk_listen(void);
/* A connection to it, which does not block. */
int talk_connect(int listening);
/* Connect to that socket, send `bytes` in pieces of `piece` bytes with a turn of the loop after
 * each, and return all that comes until the server ends the connection. Terminated; NULL: it did
 * not within some seconds. The caller frees it. */
char *talk(struct loop *loop, int listening, struct span bytes, size_t piece);

#endif
