/* Values that stand outside the file: environment, files, vault references. Private to this room.
 */
#ifndef WEIR_CONFIG_SUBSTITUTE_H
#define WEIR_CONFIG_SUBSTITUTE_H

#include "config/schema.h"

/* The text of `raw` with everything resolved. *out_changed tells whether anything was; on failure
 * `why` says what, naming the variable or file but no value. */
WEIR_MUST_USE enum weir_err substitute(struct schema_context *context, struct span raw,
                                       struct span *out_text, bool *out_changed, char *why,
                                       size_t why_size);

#endif
