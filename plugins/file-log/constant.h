/* Lua that returns a constant: all of custom_fields_by_lua that can be had without Lua. */
#ifndef FILE_LOG_CONSTANT_H
#define FILE_LOG_CONSTANT_H

#include <weir/weir.h>

/* `return "x"`, `return 'x'`, a number, true, false or nil, as a JSON value in the policy's memory;
 * nil is the empty text (weir_log_set() removes the member then). WEIR_INVALID: anything else;
 * WEIR_NO_MEMORY. */
weir_status constant_to_json(const void *self, weir_str code, weir_str *out_json);

#endif
