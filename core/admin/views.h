/* The JSON documents of the status and admin listeners. Each appends to `out`, which is `failed`
 * without memory; no secret is in any of them. Private to this room. */
#ifndef WEIR_ADMIN_VIEWS_H
#define WEIR_ADMIN_VIEWS_H

#include "admin/admin.h"
#include "base/buf.h"

/* Kong's node status document. */
void view_status(const struct admin_options *node, struct buf *out);
/* True: every worker serves and nobody asked to stop. Builds in quarantine are named and change
 * nothing about that. */
bool view_ready(const struct admin_options *node, struct buf *out);
void view_live(const struct admin_options *node, struct buf *out);
/* What this gateway is: version, plugins, the settings an operator asks for first. */
void view_root(const struct admin_options *node, struct buf *out);
/* {"message":"…"} */
void view_message(const char *message, struct buf *out);

#endif
