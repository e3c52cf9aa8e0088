/* Whose code runs right now, for whoever must explain the end of this process. Before each call
 * into a plugin the process stores where it goes: two words in its slot of shared memory (all that
 * is left when it is killed), and a pointer of its own, from which a signal handler makes names.
 * The stores are in phases.h (hooks of an exchange) and policies.h (everything else). */
#ifndef WEIR_PLUGIN_HOST_BLAME_H
#define WEIR_PLUGIN_HOST_BLAME_H

#include "plugin_host/chains.h"
#include "plugin_host/host.h"
#include "plugin_host/image.h"

/* worker_slot.phase: an enum phase, or one of these. */
enum blame_place {
    BLAME_CALLBACK = PHASE_COUNT, /* of a stream, a fetch, a file */
    BLAME_TIMER,
    BLAME_DESCRIPTOR, /* a watched one */
    BLAME_LOAD,       /* constructors and the entry of an image: there is no policy yet */
    BLAME_CONFIGURE,
    BLAME_START,
    BLAME_STOP,
    BLAME_EXPORT, /* of its state, to the next build */
    BLAME_IMPORT,
    BLAME_THREAD, /* of the plugin's own: only a backtrace knows */
    BLAME_PLACES
};
/* "access", "start"; NULL: none of ours. */
const char *blame_place_name(uint32_t place);

/* All texts are terminated, and empty when not known. */
struct blame_facts {
    uint32_t policy_plus_one; /* 0: no policy */
    uint32_t place;           /* when `plugin` is known */
    uint64_t generation;      /* of the policy; 0: not known */
    char plugin[64], version[32];
    char hash[IMAGE_HASH_TEXT + 1]; /* of the build */
    char route[64], request[33];
};

/* Nothing is locked, allocated or changed, so a signal handler may ask; `host` may be NULL. Plugin
 * memory is read: in a process gone wild the call may fault, with *out filled as far as it got. */
void plugin_host_blame(const struct plugin_host *host, struct blame_facts *out);

#endif
