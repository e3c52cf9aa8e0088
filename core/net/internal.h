/* What the files of this room share and nobody else includes: the inside of a loop and of a
 * connection, and what a filter (TLS) may do with one. */
#ifndef WEIR_NET_INTERNAL_H
#define WEIR_NET_INTERNAL_H

#include <ev.h>

#include "net/conn.h"
#include "net/deadline.h"
#include "net/loop.h"

struct tls_client;
struct tls_server;

/* --- deadlines: see deadline.c */
enum { WHEEL_NEAR = 256, WHEEL_FAR = 64 };
struct wheel {
    struct list near[WHEEL_NEAR];                                 /* one tick each */
    struct list far[WHEEL_FAR];                                   /* 256 ticks each */
    struct list farthest[WHEEL_FAR];                              /* 16384 ticks each */
    uint64_t near_used[WHEEL_NEAR / 64], far_used, farthest_used; /* set bits may be out of date */
    uint64_t tick;  /* everything up to it has been looked at */
    uint64_t armed; /* the timer fires for this tick, UINT64_MAX: it does not run */
    bool turning;
    ev_timer timer;
};
void wheel_init(struct loop *loop);
/* Everything due by the cached clock expires, and the timer is set for what comes next. */
void wheel_turn(struct loop *loop);
void wheel_fini(struct loop *loop);

/* --- loop */
enum { CONN_SPARES = 1024 };
struct loop {
    struct ev_loop *ev;
    ev_prepare before_wait;
    ev_check after_wait;
    ev_idle no_wait; /* active while put-off work remains */
    struct loop_async wake;
    struct list tasks;
    struct list signals;
    struct list spare_conns; /* by task.link */
    struct list starved;     /* listeners without a descriptor to accept with */
    unsigned spare_count;
    struct wheel wheel;
};

/* --- connection */
/* A layer between the socket and the reader. A plain connection has none and pays one test for it.
 */
struct conn_filter;
struct conn_filter_ops {
    bool tls; /* else `sni` and `facts` are not there */
    void (*ready)(struct conn *conn, int revents);
    ssize_t (*read)(struct conn *conn, void *buf, size_t size);
    ssize_t (*writev)(struct conn *conn, const struct iovec *parts, int count);
    void (*shutdown_write)(struct conn *conn);
    void (*resumed)(struct conn *conn);
    struct span (*sni)(const struct conn *conn);
    void (*facts)(const struct conn *conn, struct span *out_version, struct span *out_cipher);
    void (*destroy)(struct conn *conn); /* says good-bye while the descriptor is still open */
};
struct conn_filter {
    const struct conn_filter_ops *ops;
};

#define CONN_MAGIC 0xc0441ec7u
struct conn {
    ev_io io; /* first: the callback gets it */
    unsigned magic;
    struct address peer;
    struct loop *loop;
    const struct conn_events *events;
    void *user;
    struct conn_filter *filter; /* ours */
    struct address *announced;  /* ours; NULL: none */
    struct loop_task task;      /* the way to the spares */
    int error;
    bool closed;
    bool paused;     /* by the reader */
    bool must_read;  /* the filter needs bytes although the reader paused */
    bool want_write; /* the write watcher runs */
};
/* A descriptor has become free: those in loop->starved go on. */
void listeners_wake(struct loop *loop);
/* Bring the watcher in line with the flags. */
void conn_arm(struct conn *conn);
/* Call the reader for EV_READ and EV_WRITE. */
void conn_dispatch(struct conn *conn, int revents);
/* The same by way of the filter. */
void conn_ready(struct conn *conn, int revents);

/* --- PROXY header before everything else */
/* With `tls` (borrowed) the handshake follows it. False without memory: close the connection. */
bool proxy_expect(struct conn *conn, const struct tls_server *tls);

/* --- TLS on a connection */
struct tls_session; /* an SSL made ready before there is a connection */
/* False without memory; the connection stays plain then, close it. */
bool tls_accept(struct conn *conn, struct tls_server *server);
WEIR_MUST_USE struct tls_session *tls_session_create(struct tls_client *client, const char *name);
void tls_session_destroy(struct tls_session *session);
/* Why the handshake of `conn` has failed, inside `opened`: one sentence, or empty when the socket
 * failed and not TLS. */
void tls_failure(const struct conn *conn, char *out, size_t size);
/* `opened` is called once, with the handshake's end, instead of the events. Takes `session` over
 * when it returns true. */
bool tls_connect(struct conn *conn, struct tls_session *session,
                 void (*opened)(struct conn *conn, bool good));

#endif
