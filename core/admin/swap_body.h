/* The body of POST /weir/plugins/NAME/swap (orders.h), made into a question of the control socket.
 * Nothing a client sends gets there unchecked: the socket may load any file of the machine, HTTP
 * only what lies in plugin_path. Private to this room. */
#ifndef WEIR_ADMIN_SWAP_BODY_H
#define WEIR_ADMIN_SWAP_BODY_H

#include "base/buf.h"

struct swap_body {
    struct span plugin;      /* its name, checked already */
    const char *plugin_path; /* directories joined by ':', NULL: none */
    uint32_t usual_watch_ms; /* when the body does not say how long */

    /* Filled in. */
    struct buf question; /* the caller frees it */
    uint32_t watch_ms;   /* how long the answer may wait for its watch, 0: it does not */
    unsigned status;     /* of a refusal */
    char why[256];
};

/* False: `status` and `why` say what is wrong. An empty body asks for the file in plugin_path. */
WEIR_MUST_USE bool swap_body_read(struct swap_body *swap, struct span body);

#endif
