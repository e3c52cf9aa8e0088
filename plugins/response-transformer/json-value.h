/* Configured text as JSON text of a wanted type. */
#ifndef RESPONSE_TRANSFORMER_JSON_VALUE_H
#define RESPONSE_TRANSFORMER_JSON_VALUE_H

#include <weir/json.h>

enum value_type { VALUE_STRING, VALUE_NUMBER, VALUE_BOOLEAN };

/* "string", "number" or "boolean". */
enum value_type value_type_of(weir_str word);
/* Undo \/ and \" of values that were written for JSON. */
weir_status value_unescape(weir_str text, weir_alloc *alloc, void *user, weir_str *out_text);
/* WEIR_NOT_FOUND: `text` is no number, but should be. */
weir_status value_as_json(weir_str text, enum value_type type, weir_alloc *alloc, void *user,
                          weir_str *out_json);

#endif
