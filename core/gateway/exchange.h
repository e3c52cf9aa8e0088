/* The inside of core/gateway: one client connection, one exchange, and what the files of this room
 * ask of each other. The life of an exchange is one table in exchange.c; each of its steps is a
 * short function in steps_request.c, steps_target.c, steps_reply.c or tunnel.c. */
#ifndef WEIR_GATEWAY_EXCHANGE_H
#define WEIR_GATEWAY_EXCHANGE_H

#include "base/clock.h"
#include "gateway/forward.h"
#include "gateway/gateway.h"
#include "gateway/pace.h"
#include "gateway/relay.h"
#include "http/write.h"
#include "net/deadline.h"
#include "plugin_host/request.h"

enum {
    IO_BUFFER = 64 * 1024,    /* of each side of an exchange; only touched pages cost memory */
    SPARE_EXCHANGES = 256,    /* kept for reuse */
    SPARES_NEEDED = 32,       /* of them when nothing is going on */
    TRIM_MS = 1000,           /* how often it is looked whether more are needed */
    CHANGED_KEPT = 64 * 1024, /* of what hooks made of a body, for the next one */
    HEADER_CAPACITY = 128,    /* fields of a message, those that policies add included */
    WHOLE_BODY_MAX = 8 << 20, /* a body that a policy wants whole */
};

/* One connection of a client. Between two requests it holds no exchange and so no buffer. */
struct client {
    struct gateway *gateway;
    struct conn *conn;
    struct exchange *exchange; /* NULL: idle */
    struct list link;
    struct deadline deadline; /* idle, or lingering */
    uint64_t number;          /* counted by the worker from 1 on */
    uint32_t requests;
    uint32_t lingered; /* bytes thrown away after our last answer */
    uint16_t port;
    bool tls, lingering;
};

enum state {
    STATE_READ_HEAD,
    STATE_CHECK,
    STATE_REWRITE,
    STATE_ROUTE,
    STATE_ACCESS,
    STATE_PREPARE,
    STATE_RETRY,
    STATE_UPSTREAM,
    STATE_PICK,
    STATE_CONNECT,
    STATE_SEND,
    STATE_READ_RESPONSE,
    STATE_RESPONSE_HEADERS,
    STATE_RELAY,
    STATE_TUNNEL,
    STATE_MAKE_REPLY,
    STATE_REPLY_HEADERS,
    STATE_SEND_REPLY,
    STATE_FINISH,
    STATE_COUNT,
};

/* What a step says. */
enum step {
    STEP_NEXT,   /* the row's next state */
    STEP_WAIT,   /* an event goes on in this state */
    STEP_REPLY,  /* request.reply holds an answer: to MAKE_REPLY */
    STEP_RETRY,  /* another attempt: to RETRY */
    STEP_AGAIN,  /* the same exchange, begun anew on what the client sent ahead: to READ_HEAD */
    STEP_TUNNEL, /* the target has switched protocols: to TUNNEL */
    STEP_CUT,    /* nothing can be said any more: log and close */
    STEP_OVER,   /* the exchange is gone: do not touch it */
};

/* An exchange whose target has switched protocols: tunnel.c. Only `agreed` holds before that. */
struct tunnel {
    bool agreed; /* the target's answer is a 101 that was asked for */
    bool open;   /* its bytes flow */
    bool ready[DIRECTIONS], over[DIRECTIONS];
    uint64_t moved[DIRECTIONS];    /* bytes read and bytes sent, when last looked at */
    uint64_t moved_us[DIRECTIONS]; /* when that last changed */
};

struct exchange {
    struct weir_request request; /* first: policies know it by this address */
    struct gateway *gateway;
    struct generation *generation;
    struct client *client;
    struct list link; /* among the spares */
    enum state state;
    struct deadline deadline;
    uint64_t begun_us;           /* its first byte has come */
    struct pace sending, taking; /* of the client: the request's body, and the answer */
    size_t counted;              /* bytes of bodies that max_memory counts: overload.c */

    /* Client side. */
    char *in; /* IO_BUFFER bytes: head, then body, then what the client sent ahead */
    uint32_t in_size, head_size, seen;
    bool head_drained;
    struct http_framing framing;
    struct relay up;        /* request body, towards the target */
    bool up_active;         /* it is being sent */
    bool continue_expected; /* Expect: 100-continue, not answered yet */
    bool continue_awaited;  /* and the target was asked: its body waits until continue_due_ms */
    uint64_t continue_due_ms;
    bool close_client; /* after this exchange */
    bool client_ended; /* the client will send no more */
    bool from_memory;  /* the body lies in request.bodies[TO_TARGET] */
    bool collecting;   /* a policy waits for the whole body */
    struct buf collected;
    uint32_t body_end; /* from_memory: what the client sent ahead begins here in `in` */

    /* Target side. */
    struct pick pick;
    struct span affinity_cookie; /* Set-Cookie of the answer (arena); unset: none */
    struct dial *dial;
    struct conn *target;
    uint32_t target_requests; /* it has carried before */
    uint32_t attempts;
    uint64_t retry_due_ms;     /* the next one is not made before; 0: at once */
    enum weir_err async_error; /* of the pick or dial that has just ended */
    bool async_done;
    bool free_retry;  /* the one that does not count is spent: on a stale connection */
    bool target_keep; /* the connection can carry another request */
    char *out;        /* IO_BUFFER bytes: the response head and body as received */
    uint32_t out_size, out_seen, out_head;
    bool out_drained;
    struct http_framing response_framing;
    struct relay down;   /* response body, towards the client */
    bool answer_begun;   /* `down` is set up */
    bool answer_started; /* bytes of the answer went to the client */
    bool body_hooked;    /* the response body went through its hooks, or into them */
    bool until_close;    /* the answer ends with the connection */
    bool reply_hooked;   /* the response hooks have seen our own reply */

    /* Upgrade (RFC 9110 7.8): the protocols the target is offered, then the one it took; unset:
     * none (arena, or a head). */
    struct span upgrade;
    struct tunnel tunnel;

    /* Waiting policies. */
    enum phase_result resumed;
    bool has_resumed;

    struct route_match match;
    struct forward_facts facts;
    struct http_header request_fields[HEADER_CAPACITY], response_fields[HEADER_CAPACITY];
};

struct gateway {
    struct loop *loop;
    struct plugin_host *host;
    struct upstreams *upstreams;
    struct worker_slot *slot;
    struct generation *current;
    struct arena_pool *arenas;
    struct list clients;
    struct list spares;
    struct list listeners;
    size_t client_count, active, spare_count;
    /* Ceilings, and what was refused at each: overload.c. */
    uint64_t clients_max, memory_max, memory, own_files;
    uint64_t refused[3], told_ms[3];
    size_t spares_unused;
    struct deadline trim;
    bool draining;
    void (*idle)(void *user);
    void *idle_user;
    struct loop_task idle_task;
    uint64_t date_second;
    char date[HTTP_DATE_SIZE];
};

/* ---- client.c */
void client_accept(struct gateway *gateway, struct conn *conn, uint16_t port, bool tls);
void client_close(struct client *client);
/* Its exchange is over and nothing was sent ahead: wait for the next request. */
void client_idle(struct client *client);
/* Close it once the client has read our answer: it may still be sending (RFC 9112 9.6). */
void client_linger(struct client *client);

/* ---- exchange.c */
WEIR_MUST_USE struct exchange *exchange_take(struct client *client);
/* Go on in the state it is in, until it waits or is over: do not touch it afterwards. */
void exchange_go(struct exchange *x);
/* The client is gone: whatever runs is stopped, the log phase runs. */
void exchange_abort(struct exchange *x);
void exchange_release(struct exchange *x);
void exchange_free(struct exchange *x); /* a spare one */
/* The current second as an HTTP date, made once a second. */
struct span gateway_date(struct gateway *gateway);
/* Begin the next request on the same connection with the bytes from `at` on. */
void exchange_again(struct exchange *x, uint32_t at);
void exchange_drop_target(struct exchange *x);

/* Answer with the sentence of `err`, as the engine (connection-level faults) or the core does. */
enum step step_fail(struct exchange *x, enum weir_err err, bool engine);

/* The facts a request has whatever its head says: id, times, addresses. */
void exchange_introduce(struct exchange *x);

/* ---- the steps, by state */
enum step step_read_head(struct exchange *x);
enum step step_check(struct exchange *x);
enum step step_rewrite(struct exchange *x);
enum step step_route(struct exchange *x);
enum step step_access(struct exchange *x);
enum step step_prepare(struct exchange *x);
enum step step_retry(struct exchange *x);
enum step step_upstream(struct exchange *x);
enum step step_pick(struct exchange *x);
enum step step_connect(struct exchange *x);
enum step step_send(struct exchange *x);
enum step step_read_response(struct exchange *x);
enum step step_response_headers(struct exchange *x);
enum step step_relay(struct exchange *x);
enum step step_make_reply(struct exchange *x);
enum step step_reply_headers(struct exchange *x);
enum step step_send_reply(struct exchange *x);
enum step step_finish(struct exchange *x);

/* ---- tunnel.c */
enum step step_tunnel(struct exchange *x);
/* How long an open tunnel may wait for the next byte. */
uint32_t tunnel_ms(const struct exchange *x);
/* Which of the client's Upgrade the target is offered: x->upgrade. NO_MEMORY. */
WEIR_MUST_USE enum weir_err tunnel_offer(struct exchange *x);
/* The target's head is a 426: its Upgrade goes on when it is of use to the client (RFC
 * 9110 15.5.22).
 */
void tunnel_tell_upgrade(struct exchange *x);
/* The answer, final or that of a policy, is one that a tunnel follows. */
bool tunnel_is_answer(const struct exchange *x);
/* The target's head is such a one: whether it was asked for (then x->tunnel.agreed), else *reason.
 */
bool tunnel_agree(struct exchange *x, const char **reason);

/* A wakeup for the request body alone: pump it, then wait on. */
void exchange_pump(struct exchange *x);
/* Hooks on the body of a direction, put between the two ends of its relay. */
void hook_body(struct exchange *x, enum direction direction);
/* The target did not say in time that it wants the body: it gets it all the same. */
enum step continue_late(struct exchange *x);
/* The client is told to send its body, unless that is here. */
void say_continue(struct exchange *x);
/* The target failed with `err`: another try, or the answer that says so. */
enum step step_target_failed(struct exchange *x, enum weir_err err);
/* The answer's head and framing, from x->down (its buffer is set) and x->response_framing.
 * `unmeasured`: its length is not known. STEP_NEXT or STEP_CUT. */
enum step answer_begin(struct exchange *x, bool unmeasured);
/* Send on; `from` NULL: all of it is in the buffer. STEP_NEXT when it is out. */
enum step answer_pump(struct exchange *x, struct conn *from);
/* Run a phase, or take the result of the one that waited. */
enum step step_phase(struct exchange *x, enum phase phase);
/* The request body moves on (the target or the client is ready). */
enum step pump_request_body(struct exchange *x);

/* ---- events of the target connection (steps_target.c) */
extern const struct conn_events target_events;
extern const struct request_ops exchange_ops;

#endif
