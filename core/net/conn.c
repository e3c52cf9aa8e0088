/* Connections: one libev watcher, the events it is for, and what the reader asked. A closed
 * connection waits for the end of the turn and then joins the loop's spares. */
#include "net/conn.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/internal.h"

_Static_assert(sizeof(struct conn) <= 256, "an idle connection is cheap");

void conn_arm(struct conn *conn)
{
    int events = 0;
    if (!conn->paused || conn->must_read)
        events |= EV_READ;
    if (conn->want_write)
        events |= EV_WRITE;
    if (ev_is_active(&conn->io)) {
        if ((conn->io.events & (EV_READ | EV_WRITE)) == events)
            return;
        ev_io_stop(conn->loop->ev, &conn->io);
    }
    if (events == 0)
        return;
    ev_io_modify(&conn->io, events);
    ev_io_start(conn->loop->ev, &conn->io);
}

void conn_dispatch(struct conn *conn, int revents)
{
    if ((revents & EV_READ) != 0) {
        if (LIKELY(conn->events != NULL)) {
            if (!conn->paused)
                conn->events->readable(conn);
        } else {
            conn_pause_reading(conn);
        }
    }
    if ((revents & EV_WRITE) != 0 && conn->want_write && !conn->closed) {
        conn->want_write = false;
        conn_arm(conn);
        if (conn->events != NULL && conn->events->writable != NULL)
            conn->events->writable(conn);
    }
}

void conn_ready(struct conn *conn, int revents)
{
    if (conn->filter != NULL)
        conn->filter->ops->ready(conn, revents);
    else
        conn_dispatch(conn, revents);
}

static void on_io(struct ev_loop *ev, ev_io *io, int revents)
{
    struct conn *conn = (struct conn *)(void *)io;
    (void)ev;
    CHECK(conn, CONN);
    conn_ready(conn, revents);
}

static struct conn *take_spare(struct loop *loop)
{
    if (list_is_empty(&loop->spare_conns))
        return malloc(sizeof(struct conn));
    struct list *node = loop->spare_conns.next;
    list_remove(node);
    loop->spare_count--;
    return LIST_ENTRY(node, struct conn, task.link);
}

static void release(struct loop_task *task)
{
    struct conn *conn = LIST_ENTRY(task, struct conn, task);
    struct loop *loop = conn->loop;
    conn->magic = 0;
    free(conn->announced);
    if (loop->spare_count >= CONN_SPARES) {
        free(conn);
        return;
    }
    loop->spare_count++;
    list_push_front(&loop->spare_conns, &conn->task.link);
}

struct conn *conn_create(struct loop *loop, int fd, const struct address *peer)
{
    struct conn *conn = take_spare(loop);
    if (conn == NULL)
        return NULL;
    memset(conn, 0, offsetof(struct conn, peer));
    memset((char *)conn + offsetof(struct conn, loop), 0,
           sizeof *conn - offsetof(struct conn, loop));
    conn->magic = CONN_MAGIC;
    conn->loop = loop;
    conn->task.run = release;
    if (peer != NULL) {
        conn->peer = *peer;
    } else {
        struct sockaddr_storage storage;
        socklen_t size = sizeof storage;
        if (getpeername(fd, (struct sockaddr *)&storage, &size) != 0)
            size = 0;
        address_from_sockaddr(&conn->peer, (const struct sockaddr *)&storage, size);
    }
    ev_io_init(&conn->io, on_io, fd, EV_READ);
    ev_io_start(loop->ev, &conn->io);
    return conn;
}

void conn_close(struct conn *conn)
{
    if (conn == NULL || conn->closed)
        return;
    CHECK(conn, CONN);
    conn->closed = true;
    ev_io_stop(conn->loop->ev, &conn->io);
    if (conn->filter != NULL) {
        conn->filter->ops->destroy(conn);
        conn->filter = NULL;
    }
    (void)close(conn->io.fd);
    if (UNLIKELY(!list_is_empty(&conn->loop->starved)))
        listeners_wake(conn->loop);
    loop_after_turn(conn->loop, &conn->task);
}

void conn_set_events(struct conn *conn, const struct conn_events *events, void *user)
{
    bool waited = conn->events == NULL && conn->paused;
    CHECK(conn, CONN);
    conn->events = events;
    conn->user = user;
    if (waited && events != NULL)
        conn_resume_reading(conn);
}

void *conn_user(const struct conn *conn)
{
    return conn->user;
}

/* -1 of recv and sendmsg as one of our codes. */
static ssize_t failure(struct conn *conn)
{
    if (errno == EAGAIN)
        return CONN_AGAIN;
    conn->error = errno;
    return CONN_ERROR;
}

ssize_t conn_read(struct conn *conn, void *buf, size_t size)
{
    ssize_t got;
    CHECK(conn, CONN);
    if (UNLIKELY(conn->closed))
        return CONN_ERROR;
    if (conn->filter != NULL)
        return conn->filter->ops->read(conn, buf, size);
    do
        got = recv(conn->io.fd, buf, size, 0);
    while (UNLIKELY(got < 0 && errno == EINTR));
    /* The kernel tells of a reset once. Who has heard it from a write reads an end that is none. */
    if (UNLIKELY(got == 0 && conn->error == ECONNRESET))
        return CONN_ERROR;
    return LIKELY(got >= 0) ? got : failure(conn);
}

static size_t total_size(const struct iovec *parts, int count)
{
    size_t total = 0;
    for (int i = 0; i < count; i++)
        total += parts[i].iov_len;
    return total;
}

ssize_t conn_writev(struct conn *conn, const struct iovec *parts, int count)
{
    ssize_t sent;
    CHECK(conn, CONN);
    if (UNLIKELY(conn->closed))
        return CONN_ERROR;
    if (conn->filter != NULL)
        return conn->filter->ops->writev(conn, parts, count);
    if (count == 1) {
        do
            sent = send(conn->io.fd, parts->iov_base, parts->iov_len, MSG_NOSIGNAL);
        while (UNLIKELY(sent < 0 && errno == EINTR));
    } else {
        struct msghdr message = {.msg_iovlen = (size_t)count};
        memcpy(&message.msg_iov, &parts, sizeof(void *)); /* sendmsg does not write to them */
        do
            sent = sendmsg(conn->io.fd, &message, MSG_NOSIGNAL);
        while (UNLIKELY(sent < 0 && errno == EINTR));
    }
    if (UNLIKELY(sent < 0))
        sent = failure(conn);
    else if (LIKELY((size_t)sent == total_size(parts, count)))
        return sent;
    if (sent != CONN_ERROR) {
        conn->want_write = true;
        conn_arm(conn);
    }
    return sent;
}

ssize_t conn_write(struct conn *conn, struct span bytes)
{
    union {
        const char *from;
        void *to;
    } data = {.from = bytes.data}; /* writev does not write to it */
    const struct iovec part = {data.to, bytes.size};
    return conn_writev(conn, &part, 1);
}

void conn_shutdown_write(struct conn *conn)
{
    CHECK(conn, CONN);
    if (conn->closed)
        return;
    if (conn->filter != NULL)
        conn->filter->ops->shutdown_write(conn);
    (void)shutdown(conn->io.fd, SHUT_WR);
}

void conn_pause_reading(struct conn *conn)
{
    CHECK(conn, CONN);
    if (conn->closed || conn->paused)
        return;
    conn->paused = true;
    conn_arm(conn);
}

void conn_resume_reading(struct conn *conn)
{
    CHECK(conn, CONN);
    if (conn->closed || !conn->paused)
        return;
    conn->paused = false;
    conn_arm(conn);
    if (conn->filter != NULL)
        conn->filter->ops->resumed(conn);
}

bool conn_is_reading(const struct conn *conn)
{
    return !conn->paused;
}

bool conn_has_event(const struct conn *conn)
{
    return ev_is_pending(&conn->io);
}

int conn_fd(const struct conn *conn)
{
    return conn->io.fd;
}

struct loop *conn_loop(const struct conn *conn)
{
    return conn->loop;
}

const struct address *conn_peer(const struct conn *conn)
{
    return &conn->peer;
}

const struct address *conn_announced(const struct conn *conn)
{
    return conn->announced;
}

enum weir_err conn_local(const struct conn *conn, struct address *out_address)
{
    struct sockaddr_storage storage;
    socklen_t size = sizeof storage;
    if (getsockname(conn->io.fd, (struct sockaddr *)&storage, &size) != 0)
        return WEIR_ERR_SYSTEM;
    address_from_sockaddr(out_address, (const struct sockaddr *)&storage, size);
    return WEIR_OK;
}

bool conn_is_tls(const struct conn *conn)
{
    return conn->filter != NULL && conn->filter->ops->tls;
}

struct span conn_sni(const struct conn *conn)
{
    return conn_is_tls(conn) ? conn->filter->ops->sni(conn) : SPAN("");
}

void conn_tls_facts(const struct conn *conn, struct span *out_version, struct span *out_cipher)
{
    CHECK(conn, CONN);
    *out_version = *out_cipher = SPAN_NONE;
    if (conn_is_tls(conn))
        conn->filter->ops->facts(conn, out_version, out_cipher);
}

int conn_errno(const struct conn *conn)
{
    return conn->error;
}
