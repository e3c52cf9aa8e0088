/* What a plugin says of itself, in the words of the headers it was built with, becomes a descriptor
 * of ours: shorter ones are filled with zeros, longer ones must not use what we do not know, and
 * bits that we do not know are refused rather than ignored. Internal to core/plugin_host. */
#ifndef WEIR_PLUGIN_HOST_NEGOTIATE_H
#define WEIR_PLUGIN_HOST_NEGOTIATE_H

#include <weir/weir.h>

#include "base/arena.h"
#include "base/error.h"

struct negotiation {
    const char *name;      /* of the plugin, as its file and its manifest say */
    const weir_host *host; /* whose major and minor count */
    struct arena *arena;   /* the tables go there */
    char why[256];         /* out, after an error: one sentence that names field, have and want */
};

/* Fill *out_plugin from `offered` (may be NULL). Tables are copied, rows of records and of
 * credential kinds included, and all have our strides then; texts stay the image's. INVALID,
 * NO_MEMORY: see `why`. */
WEIR_MUST_USE enum weir_err negotiate(struct negotiation *talk, const weir_plugin *offered,
                                      weir_plugin *out_plugin);

#endif
