/* The directory of run-time files:
 *   weir.pid     locked while a master lives
 *   weir.sock    the control socket
 *   images/      private copies of plugins, NAME.<sha256>.so
 *   builds/N/    for configuration N: NAME.so, a link to the image the probe child accepted, so a
 *                worker (or its replacement, days later) loads exactly that build. */
#ifndef WEIR_PROCESS_PREFIX_H
#define WEIR_PROCESS_PREFIX_H

#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/span.h"

enum { PREFIX_PATH_MAX = 4096 };

struct prefix {
    char path[PREFIX_PATH_MAX - 256]; /* room for the names below it */
    char images[PREFIX_PATH_MAX], builds[PREFIX_PATH_MAX], control[PREFIX_PATH_MAX];
    char pid_file[PREFIX_PATH_MAX];
    int lock; /* -1: not ours */
};

/* Make the directories, take the lock, write the pid. False with a sentence in `why`. `path` empty:
 * the default one. */
WEIR_MUST_USE bool prefix_take(struct prefix *prefix, struct span path, char *why, size_t why_size);
/* The pid file goes, the directories stay. Fine when it was not taken. */
void prefix_leave(struct prefix *prefix);
/* In a child: the descriptor only, the lock stays the master's. */
void prefix_forget(struct prefix *prefix);

/* "…/builds/7" in static storage. */
const char *prefix_build(const struct prefix *prefix, uint64_t number);
WEIR_MUST_USE bool prefix_build_make(const struct prefix *prefix, uint64_t number);
/* The images that were loaded from the folder of a build move to images/, links take their place.
 */
WEIR_MUST_USE bool prefix_build_seal(const struct prefix *prefix, uint64_t number);
/* The plugin whose copy is the newest in the folder: what a trial was at when it crashed. */
bool prefix_build_latest(const struct prefix *prefix, uint64_t number, char *out_name, size_t size);
void prefix_build_remove(const struct prefix *prefix, uint64_t number);

#endif
