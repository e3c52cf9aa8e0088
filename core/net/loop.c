/* libev with the clock read once per turn and work put off to the turn's end. The end of a turn is
 * just before the next wait, so whatever a callback put off is done before the process sleeps. */
#include "net/loop.h"

#include <signal.h>
#include <stdlib.h>

#include "base/clock.h"
#include "net/internal.h"

struct loop_signal {
    struct list link;
    ev_signal watcher;
    struct loop *loop;
    void (*fn)(struct loop *loop, int signum, void *user);
    void *user;
};

_Static_assert(sizeof(ev_io) <= sizeof(((struct watch *)0)->io), "struct watch holds an ev_io");
_Static_assert(sizeof(ev_async) <= sizeof(((struct loop_async *)0)->async), "and this an ev_async");

static ev_io *watch_io(struct watch *watch)
{
    return (ev_io *)(void *)watch->io;
}

static ev_async *async_watcher(struct loop_async *async)
{
    return (ev_async *)(void *)async->async;
}

/* Only what waits now: a task that puts itself off again runs in the next turn, or it would keep
 * the loop from its sockets. */
static void run_tasks(struct loop *loop)
{
    struct list batch;
    if (list_is_empty(&loop->tasks))
        return;
    batch = loop->tasks;
    batch.next->prev = batch.prev->next = &batch;
    list_init(&loop->tasks);
    while (!list_is_empty(&batch)) {
        struct loop_task *task = LIST_ENTRY(batch.next, struct loop_task, link);
        list_remove(&task->link);
        task->run(task);
    }
}

static void on_before_wait(struct ev_loop *ev, ev_prepare *watcher, int revents)
{
    struct loop *loop = watcher->data;
    (void)revents;
    run_tasks(loop);
    if (list_is_empty(&loop->tasks))
        ev_idle_stop(ev, &loop->no_wait);
    else
        ev_idle_start(ev, &loop->no_wait);
}

static void on_after_wait(struct ev_loop *ev, ev_check *watcher, int revents)
{
    (void)ev, (void)watcher, (void)revents;
    clock_update();
}

static void on_idle(struct ev_loop *ev, ev_idle *watcher, int revents)
{
    (void)ev, (void)watcher, (void)revents;
}

static void on_wake(struct loop_async *async)
{
    (void)async; /* turning is all it is for */
}

struct loop *loop_create(void)
{
    struct loop *loop = calloc(1, sizeof *loop);
    if (loop == NULL)
        return NULL;
    loop->ev = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    if (loop->ev == NULL)
        loop->ev = ev_loop_new(EVBACKEND_POLL | EVFLAG_NOENV);
    if (loop->ev == NULL) {
        free(loop);
        return NULL;
    }
    /* OpenSSL writes to sockets with plain write(2). */
    struct sigaction pipe_action;
    if (sigaction(SIGPIPE, NULL, &pipe_action) == 0 && pipe_action.sa_handler == SIG_DFL) {
        pipe_action.sa_handler = SIG_IGN;
        (void)sigaction(SIGPIPE, &pipe_action, NULL);
    }
    list_init(&loop->tasks);
    list_init(&loop->signals);
    list_init(&loop->spare_conns);
    list_init(&loop->starved);
    clock_update();
    wheel_init(loop);
    ev_prepare_init(&loop->before_wait, on_before_wait);
    loop->before_wait.data = loop;
    ev_set_priority(&loop->before_wait, EV_MINPRI);
    ev_prepare_start(loop->ev, &loop->before_wait);
    ev_check_init(&loop->after_wait, on_after_wait);
    ev_set_priority(&loop->after_wait, EV_MAXPRI); /* before every callback of the turn */
    ev_check_start(loop->ev, &loop->after_wait);
    ev_idle_init(&loop->no_wait, on_idle);
    loop_async_init(loop, &loop->wake, on_wake);
    return loop;
}

void loop_destroy(struct loop *loop)
{
    if (loop == NULL)
        return;
    while (!list_is_empty(&loop->tasks))
        run_tasks(loop);
    LIST_FOREACH (node, &loop->signals) {
        struct loop_signal *entry = LIST_ENTRY(node, struct loop_signal, link);
        ev_signal_stop(loop->ev, &entry->watcher);
        free(entry);
    }
    LIST_FOREACH (node, &loop->spare_conns)
        free(LIST_ENTRY(node, struct conn, task.link));
    wheel_fini(loop);
    loop_async_stop(&loop->wake);
    ev_idle_stop(loop->ev, &loop->no_wait);
    ev_check_stop(loop->ev, &loop->after_wait);
    ev_prepare_stop(loop->ev, &loop->before_wait);
    ev_loop_destroy(loop->ev);
    free(loop);
}

void loop_run(struct loop *loop)
{
    ev_run(loop->ev, 0);
    run_tasks(loop);
}

void loop_run_once(struct loop *loop)
{
    /* Work put off between two turns may be all the caller waits for. */
    bool waits = list_is_empty(&loop->tasks);
    ev_run(loop->ev, waits ? EVRUN_ONCE : EVRUN_NOWAIT);
    run_tasks(loop);
}

void loop_poll(struct loop *loop)
{
    ev_run(loop->ev, EVRUN_NOWAIT);
    run_tasks(loop);
}

void loop_stop(struct loop *loop)
{
    ev_break(loop->ev, EVBREAK_ALL);
}

void loop_after_turn(struct loop *loop, struct loop_task *task)
{
    if (!list_is_linked(&task->link))
        list_push_back(&loop->tasks, &task->link);
}

void loop_task_cancel(struct loop_task *task)
{
    list_remove(&task->link);
}

static void on_signal(struct ev_loop *ev, ev_signal *watcher, int revents)
{
    struct loop_signal *entry = watcher->data;
    (void)ev, (void)revents;
    entry->fn(entry->loop, watcher->signum, entry->user);
}

static struct loop_signal *find_signal(struct loop *loop, int signum)
{
    LIST_FOREACH (node, &loop->signals) {
        struct loop_signal *entry = LIST_ENTRY(node, struct loop_signal, link);
        if (entry->watcher.signum == signum)
            return entry;
    }
    return NULL;
}

enum weir_err loop_signal(struct loop *loop, int signum,
                          void (*fn)(struct loop *loop, int signum, void *user), void *user)
{
    struct loop_signal *entry = find_signal(loop, signum);
    if (fn == NULL) {
        if (entry == NULL)
            return WEIR_OK;
        ev_signal_stop(loop->ev, &entry->watcher);
        list_remove(&entry->link);
        free(entry);
        return WEIR_OK;
    }
    if (entry == NULL) {
        entry = calloc(1, sizeof *entry);
        if (entry == NULL)
            return WEIR_ERR_NO_MEMORY;
        ev_signal_init(&entry->watcher, on_signal, signum);
        entry->watcher.data = entry;
        entry->loop = loop;
        list_push_back(&loop->signals, &entry->link);
        ev_signal_start(loop->ev, &entry->watcher);
    }
    entry->fn = fn;
    entry->user = user;
    return WEIR_OK;
}

static void on_watch(struct ev_loop *ev, ev_io *io, int revents)
{
    struct watch *watch = io->data;
    int events = 0;
    (void)ev;
    if ((revents & EV_READ) != 0)
        events |= WATCH_READ;
    if ((revents & EV_WRITE) != 0)
        events |= WATCH_WRITE;
    watch->fn(watch, events);
}

void watch_start(struct loop *loop, struct watch *watch, int fd, int events,
                 void (*fn)(struct watch *watch, int events))
{
    ev_io *io = watch_io(watch);
    int flags = 0;
    watch_stop(watch);
    watch->loop = loop;
    watch->fn = fn;
    if ((events & WATCH_READ) != 0)
        flags |= EV_READ;
    if ((events & WATCH_WRITE) != 0)
        flags |= EV_WRITE;
    if (flags == 0)
        return;
    ev_io_init(io, on_watch, fd, flags);
    io->data = watch;
    ev_io_start(loop->ev, io);
}

void watch_stop(struct watch *watch)
{
    if (watch->loop != NULL)
        ev_io_stop(watch->loop->ev, watch_io(watch));
}

static void on_async(struct ev_loop *ev, ev_async *watcher, int revents)
{
    struct loop_async *async = watcher->data;
    (void)ev, (void)revents;
    async->fn(async);
}

void loop_async_init(struct loop *loop, struct loop_async *async,
                     void (*fn)(struct loop_async *async))
{
    ev_async *watcher = async_watcher(async);
    async->loop = loop;
    async->fn = fn;
    ev_async_init(watcher, on_async);
    watcher->data = async;
    ev_async_start(loop->ev, watcher);
}

void loop_async_send(struct loop_async *async)
{
    ev_async_send(async->loop->ev, async_watcher(async));
}

void loop_async_stop(struct loop_async *async)
{
    if (async->loop != NULL)
        ev_async_stop(async->loop->ev, async_watcher(async));
}

void loop_wake(struct loop *loop)
{
    loop_async_send(&loop->wake);
}
