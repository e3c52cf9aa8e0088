/* A dial goes through: connect(2), writable, connection, TLS handshake. Whatever ends it, finish()
 * is the one place that tells the caller, and always from the loop. */
#include "net/dial.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "net/internal.h"

struct dial {
    struct loop *loop;
    void (*done)(struct conn *conn, enum weir_err err, void *user);
    void *user;
    int fd;                      /* ours until there is a connection, else -1 */
    enum weir_err err;           /* for on_known */
    struct conn *conn;           /* ours until done */
    struct tls_session *session; /* ours until the connection has it */
    struct address address;
    struct watch watch;
    struct deadline deadline;
    struct loop_task known; /* the answer came within dial_start() */
};

static enum weir_err meaning(int error)
{
    switch (error) {
    case ETIMEDOUT:
        return WEIR_ERR_TIMEOUT;
    case ECONNREFUSED:
    case ECONNRESET:
    case ECONNABORTED:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case ENOENT: /* no such unix socket */
    case EAGAIN: /* a unix listener whose queue is full */
        return WEIR_ERR_REFUSED;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
        return WEIR_ERR_LIMIT; /* ours: it says nothing of the other side */
    default:
        return WEIR_ERR_SYSTEM;
    }
}

/* Of the dial that finishes; its connection is gone when `done` asks. Loops have a process each. */
static char tls_reason[160];

const char *dial_tls_failure(void)
{
    return tls_reason[0] == '\0' ? NULL : tls_reason;
}

bool dial_is_shaking_hands(const struct dial *dial)
{
    return dial->conn != NULL && conn_is_tls(dial->conn);
}

static void destroy(struct dial *dial)
{
    watch_stop(&dial->watch);
    deadline_clear(&dial->deadline);
    loop_task_cancel(&dial->known);
    conn_close(dial->conn);
    tls_session_destroy(dial->session);
    if (dial->fd >= 0)
        (void)close(dial->fd);
    free(dial);
}

static void finish(struct dial *dial, enum weir_err err)
{
    void (*done)(struct conn *, enum weir_err, void *) = dial->done;
    void *user = dial->user;
    struct conn *conn = err == WEIR_OK ? TAKE(dial->conn) : NULL;
    if (conn != NULL)
        conn_set_events(conn, NULL, NULL);
    destroy(dial);
    done(conn, err, user);
    tls_reason[0] = '\0';
}

static void on_deadline(struct deadline *deadline)
{
    struct dial *dial = LIST_ENTRY(deadline, struct dial, deadline);
    if (dial_is_shaking_hands(dial))
        (void)snprintf(tls_reason, sizeof tls_reason, "no end of the TLS handshake in time");
    finish(dial, WEIR_ERR_TIMEOUT);
}

static void on_opened(struct conn *conn, bool good)
{
    struct dial *dial = conn_user(conn);
    if (good) {
        finish(dial, WEIR_OK);
        return;
    }
    tls_failure(conn, tls_reason, sizeof tls_reason);
    finish(dial, conn_errno(conn) == ETIMEDOUT ? WEIR_ERR_TIMEOUT : WEIR_ERR_REFUSED);
}

/* Until `done` the reader is nobody. */
static void on_early_bytes(struct conn *conn)
{
    (void)conn;
}

static void on_connected(struct dial *dial)
{
    static const struct conn_events no_events = {.readable = on_early_bytes};
    int on = 1;
    if (dial->address.family != ADDRESS_UNIX)
        (void)setsockopt(dial->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    dial->conn = conn_create(dial->loop, dial->fd, &dial->address);
    if (dial->conn == NULL) {
        finish(dial, WEIR_ERR_SYSTEM);
        return;
    }
    dial->fd = -1;
    if (dial->session == NULL) {
        finish(dial, WEIR_OK);
        return;
    }
    conn_set_events(dial->conn, &no_events, dial);
    if (tls_connect(dial->conn, dial->session, on_opened))
        dial->session = NULL;
    else
        finish(dial, WEIR_ERR_SYSTEM);
}

static void on_connect_result(struct watch *watch, int events)
{
    struct dial *dial = LIST_ENTRY(watch, struct dial, watch);
    int error = 0;
    socklen_t size = sizeof error;
    (void)events;
    watch_stop(&dial->watch);
    if (getsockopt(dial->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
        error = errno;
    if (error != 0)
        finish(dial, meaning(error));
    else
        on_connected(dial);
}

static void on_known(struct loop_task *task)
{
    struct dial *dial = LIST_ENTRY(task, struct dial, known);
    if (dial->err != WEIR_OK)
        finish(dial, dial->err);
    else
        on_connected(dial);
}

static void begin(struct dial *dial)
{
    struct sockaddr_storage storage;
    socklen_t size = address_to_sockaddr(&dial->address, &storage);
    dial->err = WEIR_ERR_SYSTEM;
    if (size > 0)
        dial->fd = socket(storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (dial->fd >= 0) {
        if (connect(dial->fd, (const struct sockaddr *)&storage, size) == 0) {
            dial->err = WEIR_OK;
        } else if (errno == EINPROGRESS) {
            watch_start(dial->loop, &dial->watch, dial->fd, WATCH_WRITE, on_connect_result);
            return;
        } else {
            dial->err = meaning(errno);
        }
    } else if (size > 0) {
        dial->err = meaning(errno);
    }
    loop_after_turn(dial->loop, &dial->known);
}

/* NOLINTNEXTLINE(readability-function-size): each of the seven is one of the question */
struct dial *dial_start(struct loop *loop, const struct address *address, struct tls_client *tls,
                        const char *server_name, uint32_t timeout_ms,
                        void (*done)(struct conn *conn, enum weir_err err, void *user), void *user)
{
    struct dial *dial = calloc(1, sizeof *dial);
    if (dial == NULL)
        return NULL;
    dial->fd = -1;
    if (tls != NULL) {
        dial->session = tls_session_create(tls, server_name);
        if (dial->session == NULL) {
            free(dial);
            return NULL;
        }
    }
    dial->loop = loop;
    dial->done = done;
    dial->user = user;
    dial->address = *address;
    dial->known.run = on_known;
    deadline_init(&dial->deadline, on_deadline);
    deadline_set(loop, &dial->deadline, timeout_ms);
    begin(dial);
    return dial;
}

void dial_cancel(struct dial *dial)
{
    if (dial != NULL)
        destroy(dial);
}
