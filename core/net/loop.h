/* The event loop of one worker: file descriptors, signals, wakes from other threads, and work put
 * off to the end of the turn. A loop belongs to the thread that runs it; only loop_wake() and
 * loop_async_send() may be called from elsewhere. libev stays behind this header: nobody else
 * includes <ev.h>. For time see net/deadline.h, for streams net/conn.h. */
#ifndef WEIR_NET_LOOP_H
#define WEIR_NET_LOOP_H

#include <stdbool.h>

#include "base/auto.h"
#include "base/list.h"

struct loop;

/* epoll, or poll where there is none; the environment does not choose. NULL without memory or
 * descriptors. Create it after fork(), a loop does not survive one. */
WEIR_MUST_USE struct loop *loop_create(void);
/* Runs what loop_after_turn() still holds, then frees. Watches, deadlines, connections and
 * listeners must be stopped before. NULL is fine. */
void loop_destroy(struct loop *loop);
AUTO_DEFINE(struct loop, loop_destroy)

/* Turn until loop_stop(). */
void loop_run(struct loop *loop);
/* One turn: waits for at least one event (not when work was put off before), runs its callbacks and
 * what they put off. */
void loop_run_once(struct loop *loop);
/* One turn that does not wait. */
void loop_poll(struct loop *loop);
/* loop_run() returns after this turn. */
void loop_stop(struct loop *loop);

/* Work for the end of the turn, before the loop waits again: frees (an event already queued must
 * find a live object), resumes. Zero it before first use; it is unlinked before `run`, which may
 * free it or put it off again (that runs in the next turn, without waiting). Putting off twice runs
 * once. */
struct loop_task {
    struct list link;
    void (*run)(struct loop_task *task);
};
void loop_after_turn(struct loop *loop, struct loop_task *task);
/* Forget it; fine when it is not waiting. */
void loop_task_cancel(struct loop_task *task);

/* `fn` runs in the loop, not in the signal handler. A signal belongs to one loop and one fn; the
 * last one set wins, fn NULL gives the signal back. */
WEIR_MUST_USE enum weir_err loop_signal(struct loop *loop, int signum,
                                        void (*fn)(struct loop *loop, int signum, void *user),
                                        void *user);

/* A plain descriptor, for libraries that do their own I/O. The memory is the caller's; zero it
 * before first use. Stop it before the descriptor is closed. */
enum { WATCH_READ = 1, WATCH_WRITE = 2 };
struct watch {
    _Alignas(void *) unsigned char io[48]; /* libev's */
    struct loop *loop;
    void (*fn)(struct watch *watch, int events);
    void *user; /* free for the caller */
};
/* Starting a started watch changes its events. `events` 0 stops it. */
void watch_start(struct loop *loop, struct watch *watch, int fd, int events,
                 void (*fn)(struct watch *watch, int events));
void watch_stop(struct watch *watch); /* fine when it is not started */

/* Wakes from other threads. Sends between two turns melt into one call of `fn`. */
struct loop_async {
    _Alignas(void *) unsigned char async[48]; /* libev's */
    struct loop *loop;
    void (*fn)(struct loop_async *async);
    void *user; /* free for the caller */
};
void loop_async_init(struct loop *loop, struct loop_async *async,
                     void (*fn)(struct loop_async *async));
void loop_async_send(struct loop_async *async); /* [any thread] */
void loop_async_stop(struct loop_async *async);
/* Make the loop turn once, for instance to see a flag that another thread has set. [any thread] */
void loop_wake(struct loop *loop);

#endif
