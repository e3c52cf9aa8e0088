/* A worker without a gateway: loop, name server, resolver, upstreams, configurations from YAML
 * text, and a target that counts its connections. */
#ifndef WEIR_TESTS_UPSTREAM_SUPPORT_H
#define WEIR_TESTS_UPSTREAM_SUPPORT_H

#include <criterion/criterion.h>

#include "base/clock.h"
#include "base/log.h"
#include "config/build.h"
#include "net/conn.h"
#include "net/deadline.h"
#include "net/dial.h"
#include "net/listen.h"
#include "net/loop.h"
#include "net/resolve.h"
#include "upstream/internal.h"

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

/* Knows three.test (10.0.0.1, .2, .3), one.test (10.0.0.9), broken.test (SERVFAIL); the rest is
 * NXDOMAIN. */
struct name_server {
    struct watch watch;
    int fd;
    unsigned questions;
    char csv[64];
};

struct world {
    struct loop *loop;
    struct name_server names;
    struct resolver *resolver;
    struct upstreams *upstreams;
};
void world_open(struct world *world);
void world_close(struct world *world); /* upstreams must be unused; LeakSanitizer sees the rest */

/* A configuration and its balancers. */
struct setup {
    struct arena *arena;
    struct config *config;
    struct balancers *balancers;
    enum weir_err err;
    char why[400];
};
void setup_open(struct world *world, struct setup *setup, const char *yaml);
void setup_close(struct setup *setup);
const struct service *setup_service(const struct setup *setup, const char *name);

/* A target: keeps what it accepts. */
enum { SITE_MAX = 16 };
struct site {
    struct listener *listener;
    struct address address;
    int fd;
    struct conn *conns[SITE_MAX]; /* in the order of their first byte or acceptance */
    size_t accepted, ended;
};
void site_open(struct world *world, struct site *site, struct tls_server *tls);
void site_close(struct site *site);
void site_send(struct conn *conn);
/* A connection of the pool's, dialed and accepted. */
struct conn *connect_to(struct world *world, struct site *site, struct target_pool *pool);

#endif
