/* GET /metrics: families of the node and of policies in one order, made piece by piece, because a
 * worker that wrote 100,000 series at once would keep its traffic waiting for as long. */
#ifndef WEIR_ADMIN_SCRAPE_H
#define WEIR_ADMIN_SCRAPE_H

#include "base/buf.h"
#include "gateway/generation.h"
#include "plugin_host/shared.h"

struct scrape;

/* `generation` is pinned, NULL: there is none yet. NULL without memory. */
WEIR_MUST_USE struct scrape *scrape_create(struct shared *shared, struct generation *generation);
void scrape_destroy(struct scrape *scrape); /* NULL is fine */
/* Appends what can be written in a fraction of a millisecond, whole lines. False: that was the
 * last. */
bool scrape_next(struct scrape *scrape, struct buf *out);

#endif
