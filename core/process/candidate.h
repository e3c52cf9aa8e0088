/* What an order changes: the text and the builds a candidate is made from, and what the ledger
 * knows once it is committed. The rest of a transaction is the same for all orders. [master] */
#ifndef WEIR_PROCESS_CANDIDATE_H
#define WEIR_PROCESS_CANDIDATE_H

#include "plugin_host/catalog.h"
#include "process/master.h"

/* The text, and where builds come from (in the arena). False: why is in `text`. */
WEIR_MUST_USE bool candidate_make(struct master *master, const struct order *order, uint64_t number,
                                  struct arena *arena, struct plugin_sources *out_sources,
                                  struct revision **out_revision, struct buf *text);
/* The trial was good: what the master itself has to say about it. False: refused. */
WEIR_MUST_USE bool candidate_probed(struct master *master, const struct order *order,
                                    struct buf *text);
/* It is about to be committed; master->manifest is that of the old one still. `order` NULL: it is
 * the first. */
void candidate_taken(struct master *master, const struct order *order);
/* The file of a plugin in plugin_path: of the first folder that has one. */
bool candidate_find_file(const struct instance *instance, const char *plugin, char *out_path,
                         size_t size);
/* The transaction is over. */
void candidate_ended(struct master *master, const struct order *order, bool good);

#endif
