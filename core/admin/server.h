/* A small HTTP/1.1 server: whole requests in, whole answers out. The admin and status listeners and
 * `weir echo` are built on it; traffic never meets it. One request of a connection at a time, one
 * per turn of the loop, keep-alive and pipelining, everything bounded, every wait has a deadline.
 * [the loop's thread] */
#ifndef WEIR_ADMIN_SERVER_H
#define WEIR_ADMIN_SERVER_H

#include "base/buf.h"
#include "http/message.h"

struct address;
struct client;
struct loop;
struct server;
struct tls_server;

enum {
    SERVER_HEAD_BYTES = 16384,
    SERVER_LISTENERS_MAX = 32,
};

struct server_request { /* borrowed for the call of `answer` */
    const struct http_request_head *head;
    struct span body;      /* its first options.body_kept bytes */
    uint64_t body_size;    /* of the whole body */
    struct client *client; /* for server_answer() */
};

/* Filled by `answer`; 200 and empty when it is called. */
struct server_reply {
    unsigned status;          /* 200-599 */
    struct span content_type; /* static storage; unset: no such header */
    struct span allow;        /* static storage; for a 405 */
    struct buf body;          /* the server frees it; failed: the client reads a 500 */
    uint64_t filler;          /* so many bytes 'x' follow the body */
    uint32_t delay_ms;        /* wait so long first */

    /* Instead of `body`, one that is made while it is sent: `next` appends a piece in each turn of
     * the loop in which the client has taken the last one, false: that was the end. `over` follows,
     * whatever becomes of the client. */
    bool (*next)(void *stream, struct buf *out);
    void (*over)(void *stream);
    void *stream;

    /* Instead of all of it: the answer comes later, by server_answer(). `gone` with `waiting` is
     * called when it cannot be given any more, because the server ends. */
    void (*gone)(void *waiting);
    void *waiting;
};

struct server_options {
    struct loop *loop; /* borrowed */
    void (*answer)(const struct server_request *request, struct server_reply *reply, void *user);
    void *user;
    struct span name;     /* of the Server header, static storage */
    uint32_t connections; /* more are closed at once */
    uint32_t body_kept;   /* bytes of a body that `answer` sees, the rest is read and dropped */
    uint64_t body_bytes;  /* a longer body is a 413 */
    uint32_t idle_ms;     /* between two requests, and for all of a head */
    uint32_t stall_ms;    /* without a byte of progress in a body or an answer */
};

/* NULL without memory. */
WEIR_MUST_USE struct server *server_create(const struct server_options *options);
/* The answer to a request whose `answer` set reply->gone, once, unless `gone` was called: never
 * from within that call. Takes over what is in `reply`. */
void server_answer(struct client *client, struct server_reply *reply);
/* Closes listeners and connections; runs what is put off before the loop ends. NULL is fine. */
void server_destroy(struct server *server);
/* Accept on a listening socket, which stays the caller's. `tls` is borrowed, NULL: plain. */
WEIR_MUST_USE enum weir_err server_listen(struct server *server, int fd, struct tls_server *tls);

#endif
