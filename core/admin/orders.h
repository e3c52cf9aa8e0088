/* What the admin listener says of plugins and takes orders about. The paths are weir's own, beside
 * Kong's:
 *
 *   GET  /weir/plugins                the builds in use: of each its name, version, hash, policies,
 *                                     in_flight, loaded, suspended, pinned, chosen_by_swap,
 *                                     previous, watched, quarantined, why; and under "replaced"
 *                                     builds that are still loaded
 *   POST /weir/plugins/NAME/swap      {"file": "NEW.so", "canary": "1" or "25%", "watch": 10,
 *                                     "wait": true}, all of it optional; without a file the one in
 *                                     plugin_path. It must lie in a folder of plugin_path, below
 *                                     which a relative path is looked up.
 *   POST /weir/plugins/NAME/rollback
 *   POST /weir/reload
 *
 * Any worker is asked, the master does it, and the answer comes when it is done: {"message": "…",
 * "lines": ["…"]} with 200 (done), 409 (refused, or undone while it was watched: why is in the
 * lines), 400 (the request makes no sense), 403 (a file outside plugin_path, or a browser sends it
 * for another site), 404 (no such plugin in the configuration), 413, 501 (--single-process swaps
 * nothing), 503 (the master does not answer), 504 (not in time: it may still happen). Who loses the
 * connection, because the worker that holds it has to be replaced for instance, finds how it went
 * in GET /weir/plugins. Private to this room. */
#ifndef WEIR_ADMIN_ORDERS_H
#define WEIR_ADMIN_ORDERS_H

#include "admin/admin.h"
#include "admin/server.h"

struct admin_orders;

enum { ORDER_BODY_MAX = 8192 };

/* `node` is borrowed. NULL without memory. */
WEIR_MUST_USE struct admin_orders *admin_orders_create(const struct admin_options *node);
/* After the servers whose clients wait. NULL is fine. */
void admin_orders_destroy(struct admin_orders *orders);
/* False: it is none of these paths. */
bool admin_orders_answer(struct admin_orders *orders, const struct server_request *request,
                         struct server_reply *reply);

#endif
