/* The body of an answer that weir makes itself, in the type the client asked for (Kong's rules,
 * kong-format 4.4). */
#ifndef WEIR_GATEWAY_REPLY_H
#define WEIR_GATEWAY_REPLY_H

#include "base/arena.h"
#include "base/span.h"

struct reply_text {
    struct span content_type, body; /* body absent: no memory */
};

/* `accept` may be absent, then `otherwise` (a media type) decides. `id`: the request's.
 * `correlation`: one more member of the JSON form, unless it is unset. */
struct reply_text reply_render(struct arena *arena, struct span accept, struct span otherwise,
                               struct span message, struct span id, struct span correlation);

#endif
