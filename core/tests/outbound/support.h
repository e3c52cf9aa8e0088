/* What the tests of this room share: a loop that turns until something is true, and a server on
 * loopback that says what its test told it to. */
#ifndef WEIR_TESTS_OUTBOUND_SUPPORT_H
#define WEIR_TESTS_OUTBOUND_SUPPORT_H

#include <criterion/criterion.h>

#include "base/buf.h"
#include "base/clock.h"
#include "net/conn.h"
#include "net/deadline.h"
#include "net/listen.h"
#include "net/loop.h"
#include "net/resolve.h"
#include "net/tls.h"
#include "outbound/fetch.h"
#include "outbound/outbound.h"
#include "outbound/stream.h"

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

struct server {
    struct loop *loop;
    /* What it does: */
    bool tls;
    bool echo;           /* send back what comes */
    bool closes_at_once; /* as soon as it has accepted */
    const char *answer;  /* once `until` was read; NULL: never */
    size_t answer_size;  /* 0: strlen */
    const char *until;   /* NULL: the end of a head */
    size_t piece;        /* bytes a turn; 0: all at once */
    bool stays_open;     /* after the answer */
    bool deaf;           /* never reads */
    /* What it saw: */
    struct buf got; /* of all connections */
    unsigned accepted, open;
    /* Its own. */
    struct tls_server *tls_server;
    struct listener *listener;
    struct address address;
    struct list conns;
    int fd;
};

/* The loop, the resolver, what is tested, and a server that is not started yet. */
struct world {
    struct loop *loop;
    struct resolver *resolver;
    struct outbound *outbound;
    struct server server;
    char ca_path[64]; /* of the server's certificate, once it is started */
};
void world_open(struct world *world);
/* Listens; with `tls` its certificate becomes the only authority that `outbound` trusts. */
void server_start(struct world *world);
/* Breaks its connections: the other side is told that bytes may be missing. */
void server_reset(struct server *server);
/* Ends as the worker does: what is open is closed without a word. */
void world_close(struct world *world);

#endif
