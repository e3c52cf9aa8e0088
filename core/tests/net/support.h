/* What the tests of this room share: turning the loop until something is true, an echo server, and
 * a listener on a port of its own. */
#ifndef WEIR_TESTS_NET_SUPPORT_H
#define WEIR_TESTS_NET_SUPPORT_H

#include <criterion/criterion.h>

#include "base/clock.h"
#include "net/conn.h"
#include "net/deadline.h"
#include "net/dial.h"
#include "net/listen.h"
#include "net/loop.h"
#include "net/resolve.h"
#include "net/tls.h"

/* Turn until `condition`; a test that hangs fails after 10 s instead. */
#define TURN_UNTIL(loop, condition)                                   \
    do {                                                              \
        struct deadline guard_;                                       \
        guard_expired = false;                                        \
        deadline_init(&guard_, on_guard);                             \
        deadline_set((loop), &guard_, 10000);                         \
        while (!(condition) && !guard_expired)                        \
            loop_run_once(loop);                                      \
        deadline_clear(&guard_);                                      \
        cr_assert(!guard_expired, "never came true: %s", #condition); \
    } while (0)

extern bool guard_expired;
void on_guard(struct deadline *deadline);

/* 127.0.0.1 on a free port, backlog as given. */
int open_local(int backlog, struct address *out_address);

/* Sends back what it reads, for any number of connections. */
extern unsigned echo_open; /* connections it holds now */
extern char echo_sni[256]; /* of the last one that was readable */
void echo_accepted(struct listener *listener, struct conn *conn);

/* A client that sends `size` pattern bytes and collects what comes back. */
struct exchange {
    struct conn *conn;
    enum weir_err err;
    char failure[160]; /* dial_tls_failure(), empty when it had none */
    bool dialed, ended;
    size_t size, sent, received, wrong;
};
void exchange_dialed(struct conn *conn, enum weir_err err, void *user);
char pattern(size_t at);

#endif
