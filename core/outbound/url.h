/* The URL of a request that a policy makes. Internal to core/outbound. */
#ifndef WEIR_OUTBOUND_URL_H
#define WEIR_OUTBOUND_URL_H

#include <stdint.h>

#include "base/span.h"

enum { URL_SIZE_MAX = 8192 };

struct url {
    bool tls;
    struct span authority; /* what Host says */
    struct span host;      /* brackets of an IPv6 address kept */
    uint16_t port;
    struct span path;  /* empty: "/" */
    struct span query; /* with its '?'; empty without one */
};

/* Everything points into `text`. False: not http or https, a user part, no host, a port that is
 * none, or bytes that a request line cannot carry. A fragment is left out. */
WEIR_MUST_USE bool url_parse(struct span text, struct url *out);

#endif
