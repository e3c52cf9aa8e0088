/* One exchange as policies see it: what the host table reads and writes. The gateway embeds it as
 * the first member of its exchange and fills in the facts; the plugin host runs the hooks over it.
 * What policies change is kept here as data (reply, overrides, edited headers) and takes effect
 * when the hook has returned to the gateway, so a hook is never re-entered. [worker] */
#ifndef WEIR_PLUGIN_HOST_REQUEST_H
#define WEIR_PLUGIN_HOST_REQUEST_H

#include <weir/weir.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/list.h"
#include "base/log.h"
#include "config/entities.h"
#include "http/message.h"
#include "plugin_host/chains.h"

struct plugin_host;
struct weir_request;

enum direction { TO_TARGET, TO_CLIENT, DIRECTIONS };

enum phase_result {
    PHASE_NEXT,
    PHASE_DONE,   /* answered: request->reply holds the answer */
    PHASE_WAIT,   /* parked: request->ops->resume() will be called */
    PHASE_FAILED, /* a policy failed and fails closed: answer 500 (POLICY_FAILED) */
};

/* What only the owner of the exchange can do: the gateway, or the test kit's fake. */
struct request_ops {
    /* The phase that answered PHASE_WAIT is over. Called from the loop, never from inside a hook.
     */
    void (*resume)(struct weir_request *request, enum direction direction,
                   enum phase_result result);
    /* Read the whole request body, then call request_body_ready(). Never before it returns. LIMIT,
     * INVALID: it cannot. */
    enum weir_err (*read_body)(struct weir_request *request);
    /* The address the client connected to, unset when it is not known; asked for rarely. May be
     * NULL. */
    struct span (*server_ip)(struct weir_request *request);
    /* WEIR_NUMBER_BYTES_IN and _OUT. */
    uint64_t (*bytes)(const struct weir_request *request, enum direction direction);
};

/* An answer that weir or a policy makes, and did not get from a target. */
struct reply {
    uint16_t status;          /* 0: none */
    bool negotiated;          /* `body` is a message: the body is made by the client's Accept */
    bool engine;              /* and without Accept it is text/plain, as Kong's engine does */
    bool by_policy;           /* a policy made it, not the gateway */
    struct span content_type; /* unset: none is sent, or the negotiated one */
    struct span body;
};

/* One try to reach a target: the log's "tries". */
struct attempt_record {
    struct span ip; /* of the target; unset: it had no address */
    uint16_t port;
    uint16_t status;     /* 0: none came */
    uint64_t started_ms; /* wall clock */
    uint64_t pick_us;    /* to choose it */
    enum weir_err error; /* OK, TARGET_TIMEOUT, TARGET_BAD… */
};
enum { ATTEMPT_RECORDS = 8 }; /* later ones replace the last */

/* Bodies that policies asked to see whole. */
struct whole_body {
    struct span bytes;
    bool complete, replaced;
};

enum {
    BODY_WHOLE_MAX = 8 << 20, /* a body that a policy wants whole */
    BODY_EMIT_MAX = 8 << 20,  /* what a policy makes of one chunk */
};

/* Where one direction stands in a chain. */
struct walk {
    const struct chain *chain;
    uint16_t next; /* entry to run next */
    uint8_t phase;
    bool running;      /* inside a hook */
    bool waiting;      /* between WAIT and its wake */
    bool answered;     /* the running or waiting hook called respond() */
    bool replaced;     /* a hook of RESPONSE_HEADERS put its answer in place of the response */
    struct park *park; /* of the running or waiting hook, else NULL */
    const struct chain_entry *entry; /* running, waiting, or the last that ran */
};

struct body_pipe;
struct recording;
struct request_timing;
/* A policy that the body of this request passes by. */
struct skipped_body {
    struct skipped_body *next;
    const struct running_policy *policy;
};

struct weir_request {
    struct plugin_host *host;
    const struct request_ops *ops;
    struct arena *arena;         /* of the exchange */
    struct policies *policies;   /* of the generation the exchange pins */
    const struct chain_set *set; /* global, then the route's, then the consumer's */
    void **contexts;             /* by chain_entry.slot; NULL when the set needs none */
    struct walk walks[DIRECTIONS];

    /* The request. Spans live as long as the exchange. */
    struct http_request_head head; /* headers as policies left them */
    struct span path;              /* normalised, what routing sees */
    struct span query;             /* raw, after '?'; unset without; policies may edit it */
    struct span client_ip, peer_ip;
    struct span scheme; /* of the connection: "http" or "https" */
    uint16_t port;      /* of the listener, after port_maps */
    bool tls;
    struct span tls_version, tls_cipher; /* "TLSv1.3", the cipher's name; unset: not known */
    char id[32];                         /* hex digits, not terminated */
    struct span correlation;             /* weir_correlate(); unset: none */
    bool correlate_errors;               /* and our JSON error bodies show it */
    uint64_t connection_number;          /* of this worker's clients; 0: not known */
    uint32_t connection_requests;        /* on that connection, this one included */

    /* After routing. */
    const struct route *route;
    const struct service *service;
    const struct span *capture_names; /* unset ones are unnamed; [0] is the whole match */
    const struct span *captures;
    uint8_t capture_count;

    /* Identity. */
    const struct consumer *consumer;
    const struct credential *credential;
    bool authenticated; /* an identity is set, the anonymous one included */

    /* What policies asked for; unset: nothing. */
    struct span method_override, path_override, host_override;
    struct span target_host;
    uint16_t target_port;
    bool query_edited;
    struct reply reply;
    struct reply offered; /* respond() of a hook that has not returned yet: see walk.answered */

    /* The response: what came from the target, or the fields beside `reply`. */
    struct http_response_head response;
    bool has_response; /* response.status and response.headers hold */
    bool from_target;  /* it came from there; else weir made it */
    /* Response fields set before there was a response; NULL: none. request_response_started() adds
     * them to it. */
    struct http_headers *early_fields;

    struct whole_body bodies[DIRECTIONS];
    struct skipped_body *skipped[DIRECTIONS]; /* weir_body_skip(): by whom */
    struct body_pipe *pipes[DIRECTIONS];      /* body.c; NULL until the first chunk */
    struct span upstream_path;                /* as sent, with the query; unset: nothing was sent */
    struct attempt_record attempts[ATTEMPT_RECORDS];
    uint8_t attempt_count;

    /* Times: microseconds on the monotonic clock, 0: not yet. */
    uint64_t started_us, started_wall_ms;
    uint64_t picked_us;   /* a target was chosen for the last attempt */
    uint64_t answered_us; /* the target's head came */
    uint64_t finished_us;

    struct request_timing *timing; /* timing.h: where all its time goes; NULL: nobody asks */
    bool timed;                    /* hooks are looked at: for the totals, a record or both */
    bool sampled;                  /* for one in BUILD_SAMPLE */
    struct recording *recording;   /* recorder.h; NULL: nobody records */
    struct shared_value *shared;   /* published by policies */
    struct log_edit *log_edits;
    uint32_t park_count;
    bool consumer_changed; /* in the hook that runs: the set is switched when it has returned */
    /* body_read(): ops->read_body() was called and request_body_ready() not yet; who is woken by
     * it; what it said. */
    bool body_reading;
    weir_token body_token;
    enum weir_err body_error;
};

/* Begin: everything is zeroed but what the arguments give, the header tables (the gateway gives
 * head.headers and response.headers their items after it) and attempts beyond attempt_count. The
 * gateway fills in the facts. */
void request_begin(struct weir_request *request, struct plugin_host *host,
                   const struct request_ops *ops, struct arena *arena, struct policies *policies);
/* Contexts of the global policies, whose rewrite hooks run before routing. NO_MEMORY. */
WEIR_MUST_USE enum weir_err request_enter_global(struct weir_request *request);
/* After request->route and ->service are set: the chains of the route. */
WEIR_MUST_USE enum weir_err request_enter_route(struct weir_request *request);
/* Nothing of it may be woken any more; its parks answer "gone". Before the arena is reset, from the
 * loop or inside ops->resume(), never inside a hook: what wants to end an exchange there waits
 * until the phase has returned. */
void request_end(struct weir_request *request);
/* The exchange takes another course: hooks that wait are given up, their tokens answer "gone". As
 * request_end(), never inside a hook. */
void request_stop_waiting(struct weir_request *request);

/* Is there a hook for this phase? A load and a test. */
static inline bool phase_is_empty(const struct weir_request *request, enum phase phase)
{
    return request->set == NULL || request->set->phases[phase].count == 0;
}
/* Run the hooks of REWRITE, ACCESS, UPSTREAM, RESPONSE_HEADERS or LOG from the first on. A hook of
 * that direction that still waits is given up: LOG may come at any time. In RESPONSE_HEADERS DONE
 * comes after the last hook and says that request->reply (already applied to response.status; what
 * described the old body is gone from response.headers) takes the place of the response. */
enum phase_result phase_run(struct weir_request *request, enum phase phase);
/* The gateway calls it when has_response has become true, status and headers (of the target or of
 * weir's own reply) filled in: adds the fields that policies set before. LIMIT: no room for all. */
enum weir_err request_response_started(struct weir_request *request);

/* ---- bodies. Only when request_body_need() is not WEIR_BODY_NONE. */

/* The most that a policy of this request wants of the body, WEIR_BODY_…; those that said
 * weir_body_skip() do not count. */
uint32_t request_body_need(const struct weir_request *request, enum direction direction);

/* One chunk (copied when it must outlive the call) through the body hooks of its direction; what
 * comes out is appended to *out. PHASE_WAIT: nothing more may be given until resume(), and what
 * comes out then lies in request_body_output(). `last` may come with an empty chunk. FAILED also
 * when a body that is buffered whole passes BODY_WHOLE_MAX: *out_error is BODY_TOO_LARGE then. */
enum phase_result phase_body(struct weir_request *request, enum direction direction,
                             struct span chunk, bool last, struct buf *out,
                             enum weir_err *out_error);
/* ops->read_body() is done: wakes who asked. The bytes live as long as the exchange. Any other
 * error than OK (LIMIT: above the cap) ends the wait with PHASE_FAILED and the reply set. */
void request_body_ready(struct weir_request *request, enum weir_err err, struct span body);
/* What came out of the hooks since phase_body() answered PHASE_WAIT; it follows what that call
 * appended to *out. Complete when resume() is called, valid until the next phase_body(). */
struct span request_body_output(const struct weir_request *request, enum direction direction);
/* Memory that the body hooks of this request hold: bodies that are wanted whole, and what waits. */
size_t request_bodies_held(const struct weir_request *request);
/* Were the last bytes given, and have they come out? */
bool request_body_ended(const struct weir_request *request, enum direction direction);

/* ---- the log */

/* Whom a line of the log is about: "request ID, correlation ID, route NAME", the last two when they
 * are known. Cut at `size`, terminated; returns `out`. */
enum { REQUEST_TAG = 640 };
const char *request_tag(const struct weir_request *request, char *out, size_t size);
/* A line of that request. */
void request_log(const struct weir_request *request, enum log_level level, const char *format, ...)
    WEIR_PRINTF(3, 4);

/* ---- facts as numbers */

uint64_t request_gateway_ms(const struct weir_request *request); /* latencies.kong */
int64_t request_target_ms(const struct weir_request *request);   /* latencies.proxy, -1: none */
uint64_t request_total_ms(const struct weir_request *request);   /* latencies.request */

#endif
