/* Edits of a JSON document, in the order remove, rename, replace, add, append. */
#ifndef RESPONSE_TRANSFORMER_JSON_RULES_H
#define RESPONSE_TRANSFORMER_JSON_RULES_H

#include <weir/json.h>

#include "config.h"

struct json_rules;

/* Memory of the policy. NULL: refused, and `error` says why. [configure] */
const struct json_rules *json_rules_compile(void *self, const struct config *config,
                                            weir_error *error);
bool json_rules_exist(const struct json_rules *rules);
/* WEIR_NO_MEMORY: `json` is left half edited. [response_body] */
weir_status json_rules_apply(const struct json_rules *rules, weir_request *request,
                             weir_json *json);

#endif
