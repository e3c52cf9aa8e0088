/* A connection of a policy to a peer: name resolved, every address tried, TLS spoken, all within
 * one deadline; then bytes both ways. Callbacks come from the loop alone, never from inside a call.
 */
#ifndef WEIR_OUTBOUND_STREAM_H
#define WEIR_OUTBOUND_STREAM_H

#include <weir/weir.h>

#include "base/auto.h"

struct outbound;
struct stream;

enum { STREAM_QUEUE_MAX = 1024 * 1024 /* bytes that wait to be sent */ };

/* Any of them may close its own stream. After `closed` the stream is gone. */
struct stream_events {
    void (*opened)(void *user);
    void (*data)(void *user, weir_str bytes); /* of the call alone */
    void (*closed)(void *user, weir_str why); /* one sentence, of the call alone */
};

/* `peer` is not needed after the call, `events` is copied. NULL, and no event follows: no memory,
 * or a peer that cannot be (no host, a name with odd bytes, port or deadline 0, unknown flags). */
WEIR_MUST_USE struct stream *stream_open(struct outbound *outbound, const weir_peer *peer,
                                         const struct stream_events *events, void *user);
/* Copied; what is written in one turn goes out together. WEIR_PHASE before `opened`, WEIR_FULL past
 * STREAM_QUEUE_MAX (nothing of it is taken then), WEIR_NO_MEMORY. */
weir_status stream_write(struct stream *stream, weir_str bytes);
/* No event follows. What the kernel takes at once of the queue still goes out. NULL is fine. */
void stream_close(struct stream *stream);
/* The peer ended it in order, nothing was lost. [inside closed] */
bool stream_ended(const struct stream *stream);

/* All of them, without an event. */
void streams_close(struct outbound *outbound);

#endif
