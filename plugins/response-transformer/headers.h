/* Edits of response headers, in the order remove, rename, replace, add, append. Whether a header is
 * there is asked of the response as it came: what one rule makes, another one does not see. */
#ifndef RESPONSE_TRANSFORMER_HEADERS_H
#define RESPONSE_TRANSFORMER_HEADERS_H

#include "config.h"

struct header_rules;

/* Memory of the policy. NULL: refused, and `error` says why. [configure] */
const struct header_rules *header_rules_compile(const void *self, const struct config *config,
                                                weir_error *error);
/* false: no memory. [response_headers] */
bool header_rules_apply(const struct header_rules *rules, weir_request *request);

#endif
