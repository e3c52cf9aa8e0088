/* One direction of a body: bytes come from one connection, lose their framing, get another one and
 * go out on the other connection. Nothing is copied: what goes out points into the buffer that was
 * read into, and nothing more is read until it has gone (back-pressure). [worker] */
#ifndef WEIR_GATEWAY_RELAY_H
#define WEIR_GATEWAY_RELAY_H

#include <sys/uio.h>

#include "base/buf.h"
#include "http/chunked.h"
#include "http/framing.h"
#include "net/conn.h"

/* Where a body ends, while it is read. */
struct body_source {
    enum http_body_kind kind;
    uint64_t left;  /* LENGTH: still to come */
    uint64_t taken; /* payload bytes so far */
    uint64_t limit; /* payload bytes allowed; 0: no bound */
    struct http_chunked chunked;
    bool ended;
};

/* What is to be sent next, in order; the bytes stay their owner's until it is sent. */
enum { OUTGOING_PARTS = 24 };
struct outgoing {
    struct iovec parts[OUTGOING_PARTS];
    int at, count;
    char chunk_head[HTTP_CHUNK_HEAD_MAX];
};

/* Hooks that change a body: see relay_pump(). */
struct relay;
enum relay_result {
    RELAY_DONE,        /* the whole body has been sent */
    RELAY_WAIT,        /* for the reader or the writer: relay->blocked says which */
    RELAY_PARKED,      /* a hook waits */
    RELAY_SOURCE_GONE, /* ended or broken before the body was over */
    RELAY_SINK_GONE,
    RELAY_BAD,        /* broken framing */
    RELAY_LIMIT,      /* more than source.limit */
    RELAY_OVERLOADED, /* max_memory forbids to hold more of it */
    RELAY_HOOK_FAILED,
    RELAY_ANSWERED, /* a hook made an answer: the body goes nowhere */
};

struct relay {
    struct body_source source;
    struct outgoing out;
    char *buffer;  /* `capacity` bytes, of the owner */
    uint32_t base; /* reading starts here again when all is sent */
    uint32_t at, size, capacity;
    bool chunked;  /* it goes out in chunks */
    bool trailers; /* and so do its trailer fields; set after relay_begin(), not beside a hook */
    const struct http_headers *trailer_head; /* what they may not repeat; NULL: nothing */
    bool finished;                           /* the last byte is in `out` or sent */
    bool filled;                             /* `out` holds body bytes that are not all sent yet */
    bool blocked;                            /* waiting for the sink */
    bool drained;  /* the last read was short: do not ask the kernel again now */
    bool keeps;    /* fill the buffer before it is used anew: a short body stays whole in it */
    bool refilled; /* bytes of the body were overwritten: it cannot be sent again */
    bool paused;   /* reading of the source is paused; relay_begin() leaves it as it is */
    uint64_t sent; /* bytes that went out */
    /* Policies between the two ends; NULL: none. Appends what comes out to relay->changed. */
    enum relay_result (*hook)(struct relay *relay, struct span piece, bool last);
    struct buf changed; /* without a hook: the trailer section */
    /* Who looks on: payload as it comes in (source.taken counts it already), and what came out of
     * the hooks. relay_begin() leaves it as it is. NULL: nobody. */
    void (*watch)(struct relay *relay, struct span piece, bool hooked);
    /* Called once, before the first byte that the hooks let out (or at their end) goes out: the
     * head, which waits for them. `whole`: `size` is all of it. False: it cannot be made. NULL:
     * none. */
    bool (*late_head)(struct relay *relay, size_t size, bool whole);
    bool parked; /* a hook waits: what is in `out` may go, nothing more is given to it */
    bool has_held, held_ended;
    struct span held; /* what it let out when it was done */
};

/* `data` and `size` bytes from relay->at on are already there. */
void relay_begin(struct relay *relay, const struct http_framing *framing, uint64_t limit);
/* More to send before the body. False when there is no room. */
bool outgoing_add(struct outgoing *out, struct span part);
static inline bool outgoing_is_empty(const struct outgoing *out)
{
    return out->at == out->count;
}

/* Send, read and send on as far as possible. `from` NULL: everything is in the buffer. */
enum relay_result relay_pump(struct relay *relay, struct conn *from, struct conn *to);
/* A parked hook is done: `piece` is what it let out (valid until the hook is called again), `ended`
 * says that it was the last of the body. Then pump on. */
void relay_resume(struct relay *relay, struct span piece, bool ended);
/* The source ended (EOF). True when that ends the body by its framing. */
bool relay_source_end(struct relay *relay);
/* Payload into `out` without sending it anywhere: to have a body whole. OK: all of it; AGAIN: more
 * must be read; BAD_REQUEST; LIMIT. */
WEIR_MUST_USE enum weir_err relay_collect(struct relay *relay, struct buf *out);
/* Throw away what the buffer holds of the body. True: that was the rest of it. */
bool relay_discard(struct relay *relay);

#endif
