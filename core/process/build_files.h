/* The files behind the builds of plugins: which build a configuration runs (builds/N/NAME.so, a
 * link), which one it must not run (builds/N/quarantine), and the images themselves. See prefix.h.
 * [master, probe, worker] */
#ifndef WEIR_PROCESS_BUILD_FILES_H
#define WEIR_PROCESS_BUILD_FILES_H

#include "plugin_host/catalog.h"
#include "process/ledger.h"
#include "process/prefix.h"

/* images/NAME.<hash>.so, in the arena; NULL without memory. */
const char *image_file(const struct prefix *prefix, struct arena *arena, const char *plugin,
                       const struct build_hash *build);

/* Room for the plugins of configuration `number` and for `more` others, filled with where its
 * builds lie. Paths and names lie in the arena. */
WEIR_MUST_USE enum weir_err build_files_list(const struct prefix *prefix, uint64_t number,
                                             size_t more, struct arena *arena,
                                             struct plugin_source **out_items, size_t *out_count);
/* The trial of configuration `number` would copy `path` (NULL: none) though it lies in images/
 * already: a second name for the file spares the copy, on a full disk too. Best effort. */
void build_files_offer(const struct prefix *prefix, uint64_t number, const char *plugin,
                       const char *path);

/* The builds of `sources` that are in quarantine, for the folder of configuration `number`. */
WEIR_MUST_USE bool quarantine_write(const struct prefix *prefix, uint64_t number,
                                    const struct plugin_sources *sources);
/* What quarantine_write() left in `folder`; none when there is no such file. In the arena. */
WEIR_MUST_USE enum weir_err quarantine_read(const char *folder, struct arena *arena,
                                            struct plugin_sources *out_sources);

/* Remove images that no configuration in builds/ links to and `keep` does not want. */
void images_sweep(const struct prefix *prefix,
                  bool (*keep)(void *user, struct span plugin, struct span hash), void *user);

#endif
