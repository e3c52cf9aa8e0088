/* An HTTP/1.1 request that a policy makes, and its whole answer: one connection for each, closed
 * afterwards. Redirects are not followed, bodies are given as they come (no coding is asked for).
 * The callback comes from the loop alone. */
#ifndef WEIR_OUTBOUND_FETCH_H
#define WEIR_OUTBOUND_FETCH_H

#include <weir/weir.h>

#include "base/auto.h"

struct fetch;
struct outbound;

enum {
    FETCH_HEADERS_MAX = 64, /* of a request */
    FETCH_FIELDS_MAX = 100  /* of an answer */
};

/* `request` is not needed after the call. `done` is called once, and the fetch is gone then; the
 * answer lives for the call. NULL, and `done` is not called: no memory, or a request that cannot be
 * sent: another URL than http and https, with a user part or odd bytes; a method, header name or
 * value that is none; Connection, Content-Length, Transfer-Encoding, TE, Trailer, Upgrade or
 * Expect, which are ours to say; more than FETCH_HEADERS_MAX headers; more than STREAM_QUEUE_MAX
 * bytes; deadline 0. A Host among the headers is sent in place of the URL's. */
WEIR_MUST_USE struct fetch *fetch_start(struct outbound *outbound,
                                        const weir_fetch_request *request,
                                        void (*done)(void *user, const weir_fetch_answer *answer),
                                        void *user);
/* `done` will not be called. Not inside it. NULL is fine. */
void fetch_cancel(struct fetch *fetch);

/* All of them. */
void fetches_cancel(struct outbound *outbound);

#endif
