/* Opening listening sockets and accepting from them. */
#include "net/listen.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/internal.h"

enum { BATCH = 16, QUEUE_MAX = 4096, PAUSE_MS = 100 };

struct listener {
    struct loop *loop;
    struct tls_server *tls; /* borrowed */
    void (*accepted)(struct listener *listener, struct conn *conn);
    void *user;
    int fd;
    bool stopped;
    bool expects_header; /* of the PROXY protocol */
    struct watch watch;
    struct deadline pause;
    struct list starved;   /* in the loop's list while it pauses */
    struct loop_task task; /* the free after the turn */
    struct address address;
    struct listener_stats stats;
};

/* A path left over from a process that is gone. A living listener, and anything that is no socket,
 * is left alone: bind() will say so. */
static void unlink_stale(const struct address *address, const struct sockaddr_storage *storage,
                         socklen_t size)
{
    struct stat status;
    if (lstat(address->text, &status) != 0 || !S_ISSOCK(status.st_mode))
        return;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return;
    if (connect(fd, (const struct sockaddr *)storage, size) != 0 && errno == ECONNREFUSED)
        (void)unlink(address->text);
    (void)close(fd);
}

static bool set_options(int fd, const struct address *address, bool reuseport)
{
    int on = 1;
    if (address->family == ADDRESS_UNIX)
        return true;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0)
        return false;
    /* [::] and 0.0.0.0 on one port are two listeners. */
    if (address->family == ADDRESS_V6 &&
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) != 0)
        return false;
    return !reuseport || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) == 0;
}

/* Bound, not listening yet. -1 with errno, and `step` says what failed. */
static int open_bound(const struct address *address, bool reuseport, const char **step)
{
    struct sockaddr_storage storage;
    socklen_t size = address_to_sockaddr(address, &storage);
    int fd = -1;
    *step = "socket";
    if (size == 0)
        errno = EAFNOSUPPORT;
    else
        fd = socket(storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (address->family == ADDRESS_UNIX)
        unlink_stale(address, &storage, size);
    if (!set_options(fd, address, reuseport))
        *step = "setsockopt";
    else if (bind(fd, (const struct sockaddr *)&storage, size) != 0)
        *step = "bind";
    else
        return fd;
    int saved = errno;
    (void)close(fd);
    errno = saved;
    return -1;
}

/* errno stays. */
static void explain(const struct address *address, const char *step, char *err, size_t err_size)
{
    char text[ADDRESS_TEXT];
    int saved = errno;
    struct span where = address_text(address, text);
    if (err_size > 0)
        (void)snprintf(err, err_size, "cannot listen on %.*s: %s: %s", SPAN_ARG(where), step,
                       strerrordesc_np(saved));
    errno = saved;
}

int listen_open(const struct address *address, bool reuseport, int backlog, char *err,
                size_t err_size)
{
    const char *step;
    int fd = open_bound(address, reuseport, &step);
    if (fd >= 0 && listen(fd, backlog) == 0)
        return fd;
    if (fd >= 0)
        step = "listen";
    explain(address, step, err, err_size);
    if (fd >= 0) {
        int saved = errno;
        (void)close(fd);
        errno = saved;
    }
    return -1;
}

bool listen_is_free(const struct address *address, char *err, size_t err_size)
{
    const char *step;
    int fd = open_bound(address, false, &step);
    if (fd < 0)
        explain(address, step, err, err_size);
    else
        (void)close(fd);
    return fd >= 0;
}

static void on_listener_readable(struct watch *watch, int events);

static void on_pause_over(struct deadline *deadline)
{
    struct listener *listener = LIST_ENTRY(deadline, struct listener, pause);
    list_remove(&listener->starved);
    watch_start(listener->loop, &listener->watch, listener->fd, WATCH_READ, on_listener_readable);
}

void listeners_wake(struct loop *loop)
{
    LIST_FOREACH (node, &loop->starved) {
        struct listener *listener = LIST_ENTRY(node, struct listener, starved);
        deadline_clear(&listener->pause);
        on_pause_over(&listener->pause);
    }
}

/* Whether accepting goes on in this turn. */
static bool accept_failed(struct listener *listener)
{
    switch (errno) {
    case EINTR:
        return true;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
        /* The connection stays in the queue and the socket readable: without a pause we would spin
         * instead of closing something. */
        listener->stats.paused++;
        watch_stop(&listener->watch);
        deadline_set(listener->loop, &listener->pause, PAUSE_MS);
        if (!list_is_linked(&listener->starved))
            list_push_back(&listener->loop->starved, &listener->starved);
        return false;
    case EAGAIN:
        return false;
    default: /* that one connection broke in the queue, see accept(2) */
        listener->stats.failed++;
        return true;
    }
}

static bool begin(const struct listener *listener, struct conn *conn)
{
    if (listener->expects_header)
        return proxy_expect(conn, listener->tls);
    return listener->tls == NULL || tls_accept(conn, listener->tls);
}

static void take(struct listener *listener, int fd, const struct address *peer)
{
    struct conn *conn = conn_create(listener->loop, fd, peer);
    if (conn == NULL) {
        listener->stats.failed++;
        (void)close(fd);
        return;
    }
    if (!begin(listener, conn)) {
        listener->stats.failed++;
        conn_close(conn);
        return;
    }
    listener->stats.accepted++;
    listener->accepted(listener, conn);
}

static void accept_some(struct listener *listener, int most)
{
    for (int i = 0; i < most && !listener->stopped; i++) {
        struct sockaddr_storage storage;
        struct address peer;
        socklen_t size = sizeof storage;
        int fd =
            accept4(listener->fd, (struct sockaddr *)&storage, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (!accept_failed(listener))
                break;
            continue;
        }
        address_from_sockaddr(&peer, (const struct sockaddr *)&storage, size);
        take(listener, fd, &peer);
    }
}

static void on_listener_readable(struct watch *watch, int events)
{
    (void)events;
    accept_some(LIST_ENTRY(watch, struct listener, watch), BATCH);
}

void listener_accept_now(struct listener *listener)
{
    accept_some(listener, QUEUE_MAX);
}

static void free_listener(struct loop_task *task)
{
    free(LIST_ENTRY(task, struct listener, task));
}

struct listener *listener_start(struct loop *loop, int fd, struct tls_server *tls,
                                void (*accepted)(struct listener *listener, struct conn *conn),
                                void *user)
{
    struct sockaddr_storage storage;
    socklen_t size = sizeof storage;
    struct listener *listener = calloc(1, sizeof *listener);
    int on = 1;
    if (listener == NULL)
        return NULL;
    listener->loop = loop;
    listener->tls = tls;
    listener->accepted = accepted;
    listener->user = user;
    listener->fd = fd;
    listener->task.run = free_listener;
    deadline_init(&listener->pause, on_pause_over);
    if (getsockname(fd, (struct sockaddr *)&storage, &size) == 0)
        address_from_sockaddr(&listener->address, (const struct sockaddr *)&storage, size);
    /* Linux hands the option on to what is accepted: one call here instead of one per connection.
     */
    if (listener->address.family != ADDRESS_UNIX)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    watch_start(loop, &listener->watch, fd, WATCH_READ, on_listener_readable);
    return listener;
}

void listener_expect_header(struct listener *listener)
{
    listener->expects_header = true;
}

void listener_stop(struct listener *listener)
{
    if (listener == NULL || listener->stopped)
        return;
    listener->stopped = true;
    watch_stop(&listener->watch);
    deadline_clear(&listener->pause);
    list_remove(&listener->starved);
    loop_after_turn(listener->loop, &listener->task);
}

void *listener_user(const struct listener *listener)
{
    return listener->user;
}

const struct address *listener_address(const struct listener *listener)
{
    return &listener->address;
}

struct listener_stats listener_stats(const struct listener *listener)
{
    return listener->stats;
}
