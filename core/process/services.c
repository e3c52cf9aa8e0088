#include "process/services.h"

#include <stdlib.h>

#include <weir/weir.h>

#include "net/deadline.h"
#include "outbound/fetch.h"
#include "outbound/files.h"
#include "outbound/outbound.h"
#include "outbound/stream.h"

struct lent_timer {
    struct list link;
    struct loop *loop;
    struct deadline deadline;
    uint32_t repeat_ms;
    void (*fire)(void *arg);
    void *arg;
};

struct lent_io {
    struct list link;
    struct watch watch;
    int fd;
    void (*ready)(void *arg, uint32_t events);
    void *arg;
    struct loop_task free_later;
};

static void on_timer(struct deadline *deadline)
{
    struct lent_timer *timer = LIST_ENTRY(deadline, struct lent_timer, deadline);
    void (*fire)(void *arg) = timer->fire;
    void *arg = timer->arg;
    if (timer->repeat_ms > 0) {
        deadline_set(timer->loop, &timer->deadline, timer->repeat_ms);
    } else { /* whoever asked forgets it when it fires */
        list_remove(&timer->link);
        free(timer);
    }
    fire(arg); /* may stop a repeating one: it is gone then */
}

static void *start_timer(void *user, uint32_t delay_ms, uint32_t repeat_ms, void (*fire)(void *arg),
                         void *arg)
{
    struct services *services = user;
    struct lent_timer *timer = calloc(1, sizeof(*timer));
    if (timer == NULL)
        return NULL;
    timer->loop = services->loop;
    timer->repeat_ms = repeat_ms;
    timer->fire = fire;
    timer->arg = arg;
    deadline_init(&timer->deadline, on_timer);
    deadline_set(services->loop, &timer->deadline, delay_ms);
    list_push_back(&services->timers, &timer->link);
    return timer;
}

static void stop_timer(void *user, void *handle)
{
    struct lent_timer *timer = handle;
    (void)user;
    if (timer == NULL)
        return;
    deadline_clear(&timer->deadline);
    list_remove(&timer->link);
    free(timer);
}

static int watch_events(uint32_t events)
{
    return ((events & WEIR_IO_READ) != 0 ? WATCH_READ : 0) |
           ((events & WEIR_IO_WRITE) != 0 ? WATCH_WRITE : 0);
}

static void on_io(struct watch *watch, int events)
{
    struct lent_io *io = LIST_ENTRY(watch, struct lent_io, watch);
    uint32_t told = ((events & WATCH_READ) != 0 ? (uint32_t)WEIR_IO_READ : 0) |
                    ((events & WATCH_WRITE) != 0 ? (uint32_t)WEIR_IO_WRITE : 0);
    io->ready(io->arg, told);
}

static void *add_io(void *user, int fd, uint32_t events, void (*ready)(void *arg, uint32_t events),
                    void *arg)
{
    struct services *services = user;
    struct lent_io *io = calloc(1, sizeof(*io));
    if (io == NULL)
        return NULL;
    io->fd = fd;
    io->ready = ready;
    io->arg = arg;
    list_push_back(&services->ios, &io->link);
    watch_start(services->loop, &io->watch, fd, watch_events(events), on_io);
    return io;
}

static void set_io(void *user, void *handle, uint32_t events)
{
    struct services *services = user;
    struct lent_io *io = handle;
    watch_start(services->loop, &io->watch, io->fd, watch_events(events), on_io);
}

static void free_io(struct loop_task *task)
{
    free(LIST_ENTRY(task, struct lent_io, free_later));
}

static void remove_io(void *user, void *handle)
{
    struct services *services = user;
    struct lent_io *io = handle;
    if (io == NULL)
        return;
    watch_stop(&io->watch);
    list_remove(&io->link);
    /* It may be its own callback that asks. */
    io->free_later.run = free_io;
    loop_after_turn(services->loop, &io->free_later);
}

/* ---- peers: without outbound nothing is opened, so the others are not called */

static void *open_stream(void *user, const weir_peer *peer, const struct stream_reports *reports,
                         void *arg)
{
    const struct services *services = user;
    struct stream_events events = {reports->opened, reports->data, reports->closed};
    if (services->outbound == NULL)
        return NULL;
    return stream_open(services->outbound, peer, &events, arg);
}

static weir_status write_stream(void *user, void *stream, weir_str bytes)
{
    (void)user;
    return stream_write(stream, bytes);
}

static void close_stream(void *user, void *stream)
{
    (void)user;
    stream_close(stream);
}

static void *start_fetch(void *user, const weir_fetch_request *request,
                         void (*done)(void *arg, const weir_fetch_answer *answer), void *arg)
{
    const struct services *services = user;
    return services->outbound == NULL ? NULL : fetch_start(services->outbound, request, done, arg);
}

static void cancel_fetch(void *user, void *fetch)
{
    (void)user;
    fetch_cancel(fetch);
}

enum weir_err services_begin_peers(struct services *services, struct resolver *resolver)
{
    services->outbound = outbound_create(services->loop, resolver, NULL);
    return services->outbound == NULL ? WEIR_ERR_NO_MEMORY : WEIR_OK;
}

void services_end_peers(struct services *services)
{
    outbound_destroy(TAKE(services->outbound));
}

/* ---- files: the thread that writes comes with the first of them */

static void *open_file(void *user, weir_str path, const weir_file_options *options,
                       void (*report)(void *arg, bool ended), void *arg)
{
    struct services *services = user;
    if (services->files == NULL)
        services->files = files_create(services->loop);
    return services->files == NULL ? NULL : file_open(services->files, path, options, report, arg);
}

static weir_status append_to_file(void *user, void *file, weir_str line)
{
    (void)user;
    return file_append(file, line);
}

static int64_t number_of_file(void *user, void *file, uint32_t what)
{
    (void)user;
    return file_number(file, what);
}

static void close_file(void *user, void *file)
{
    (void)user;
    file_close(file);
}

static void end_files(void *user)
{
    struct services *services = user;
    files_destroy(TAKE(services->files));
}

static void turn_soon(void *user)
{
    struct services *services = user;
    loop_async_send(&services->turn);
}

static void on_turn(struct loop_async *async)
{
    struct services *services = async->user;
    if (services->host != NULL)
        plugin_host_turn(services->host);
}

void services_init(struct services *services, struct loop *loop)
{
    *services = (struct services){.loop = loop,
                                  .table = {.user = services,
                                            .timer_start = start_timer,
                                            .timer_stop = stop_timer,
                                            .io_add = add_io,
                                            .io_set = set_io,
                                            .io_remove = remove_io,
                                            .turn_soon = turn_soon,
                                            .stream_open = open_stream,
                                            .stream_write = write_stream,
                                            .stream_close = close_stream,
                                            .fetch_start = start_fetch,
                                            .fetch_cancel = cancel_fetch,
                                            .file_open = open_file,
                                            .file_append = append_to_file,
                                            .file_number = number_of_file,
                                            .file_close = close_file,
                                            .files_end = end_files}};
    list_init(&services->timers);
    list_init(&services->ios);
    loop_async_init(loop, &services->turn, on_turn);
    services->turn.user = services;
}

void services_set_host(struct services *services, struct plugin_host *host)
{
    services->host = host;
}

void services_fini(struct services *services)
{
    if (services->loop == NULL)
        return;
    LIST_FOREACH (node, &services->timers)
        stop_timer(services, LIST_ENTRY(node, struct lent_timer, link));
    LIST_FOREACH (node, &services->ios)
        remove_io(services, LIST_ENTRY(node, struct lent_io, link));
    loop_async_stop(&services->turn);
    services->loop = NULL;
}
