/* A worker without processes: loop, resolver, upstreams, plugin host and a gateway with a
 * configuration from YAML text, all driven from the caller's thread by turns of the loop, between
 * clients and targets whose ends the caller holds. Nothing happens while the caller does something
 * else, and time passes only when it says so, so what a test does repeats. Without Criterion: the
 * fuzz targets use it too. What cannot go wrong in a test is a CHECK.
 *
 *     struct world world;
 *     world_open(&world, &(struct world_options){.yaml = yaml, .targets = 1});
 *     int client = world_pair(&world);
 *     world_send(client, SPAN("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
 *     int target = world_accept(&world, 0);        // turns until the gateway has dialed
 *     world_settle(&world);
 *     world_read(target, &request);
 *     world_send(target, SPAN("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
 *     world_settle(&world);
 *     world_read(client, &answer);
 *     world_clear(&world);                         // between two rounds: everybody leaves
 *     CHECK_THAT(world_fault(&world) == NULL);     // and nothing is left behind
 *     world_close(&world);
 */
#ifndef WEIR_TESTS_GATEWAY_WORLD_H
#define WEIR_TESTS_GATEWAY_WORLD_H

#include <weir/weir.h>

#include "base/buf.h"
#include "gateway/exchange.h"
#include "net/resolve.h"
#include "plugin_host/builds.h"
#include "plugin_host/host.h"
#include "plugin_host/images.h"
#include "plugin_host/shared.h"
#include "upstream/pool.h"

enum { WORLD_TARGETS = 4, WORLD_FDS = 128 };

struct world_options {
    /* "@1" to "@4" in it become "127.0.0.1:PORT" of the targets: `url: http://@1`. */
    const char *yaml;
    unsigned targets; /* listening sockets */
    /* Policies of this process, on every route and before it; their images need no file. They are
     * configured and started as others are, but have no fields. `self` of each begins with the
     * pointer `user`. Static, in running order. */
    const weir_plugin *const *plugins;
    unsigned plugin_count;
    void *user;
};

struct world {
    struct loop *loop;
    struct resolver *resolver; /* asks `names` */
    struct upstreams *upstreams;
    struct shared *shared;
    struct worker_slot *slot; /* the counters */
    struct plugin_host *host;
    struct images *images;
    weir_host *table; /* for call_wake() and others that want one */
    struct gateway *gateway;
    struct generation *generation; /* the current one; the gateway's pin */
    struct build_totals row;       /* what the policies of `plugins` count */
    struct list timers;            /* lent to policies */
    struct loop_task policy_turn;
    int door; /* the gateway's listening socket */
    uint16_t door_port;
    int listeners[WORLD_TARGETS]; /* of the targets; -1: closed */
    uint16_t ports[WORLD_TARGETS];
    unsigned targets;
    int names;
    int fds[WORLD_FDS];  /* all the caller holds; -1: free */
    unsigned idle_calls; /* of gateway_drain() */
};

/* Time begins at the same moment in every world of a process, which has no real time any more. */
void world_open(struct world *world, const struct world_options *options);
/* Ends everything, the caller's descriptors too, and frees all of it. Any state is fine. */
void world_close(struct world *world);

/* ---- turns and time */

/* One turn of the loop, without waiting. */
void world_turn(struct world *world);
/* Turns until nothing changes any more. */
void world_settle(struct world *world);
/* Turn until `condition`; false: it did not come true within two real seconds. */
#define WORLD_UNTIL(world, condition)                             \
    __extension__({                                               \
        unsigned turns_ = 0;                                      \
        while (!(condition) && world_patience((world), turns_++)) \
            ;                                                     \
        !!(condition);                                            \
    })
bool world_patience(struct world *world, unsigned turns); /* a turn; of the macro */
/* So much time passes at once: what is due expires, then the loop settles. */
void world_pass(struct world *world, uint32_t ms);

/* ---- clients */

/* A connected client, as a socketpair: quick, and the kernel tells no reset apart. */
int world_pair(struct world *world);
/* The same over loopback, accepted by the gateway's listener. -1: it did not (no memory). */
int world_client(struct world *world);

/* ---- targets, counted from 0 */

/* The next connection the gateway has dialed; turns until there is one. -1: none came. */
int world_accept(struct world *world, unsigned target);
/* The same without a turn. */
int world_accept_now(struct world *world, unsigned target);
/* Nobody listens there any more: refused from now on. */
void world_refuse(struct world *world, unsigned target);
/* Its queue is full from now on: who dials it waits. */
void world_stall(struct world *world, unsigned target);
/* The gateway has asked for a name and waits. */
bool world_is_asked(const struct world *world);
/* Answers all waiting questions: `ip` (IPv4), NULL: no such name. */
void world_answer(struct world *world, const char *ip);

/* ---- descriptors of either side */

/* As much of it as fits; how much. -1: the connection is gone. */
ssize_t world_send(int fd, struct span bytes);
enum world_end { WORLD_OPEN, WORLD_ENDED, WORLD_RESET };
/* All that is there, appended to `into` (NULL: thrown away). */
enum world_end world_read(int fd, struct buf *into);
/* So that little fits between the two ends; before any byte was sent. */
void world_narrow(int fd);
/* Ends its writing; it may be read on. */
void world_finish(int fd);
/* Closes it; `reset`: with a RST (TCP alone). */
void world_leave(struct world *world, int fd, bool reset);

/* ---- what is left */

/* The exchange of the client that came first; NULL: none runs. */
struct exchange *world_exchange(const struct world *world);
/* Everybody leaves, and two minutes pass. */
void world_clear(struct world *world);
/* After world_clear(), or once all is over: what is left that should not be, as a sentence. NULL:
 * no exchange, no client, no idle connection, no pin but the gateway's own, no parked hook, and
 * counters that agree. Static. */
const char *world_fault(const struct world *world);

#endif
