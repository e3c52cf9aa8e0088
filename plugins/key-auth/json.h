/* JSON as far as a key in it needs: is a text one valid object, and what does a string say. Makes
 * no tree: a body of many small values must not become fifty times its size. */
#ifndef KEY_AUTH_JSON_H
#define KEY_AUTH_JSON_H

#include <weir/weir.h>

/* The whole text is one object (RFC 8259), nested at most JSON_DEPTH_MAX deep. */
#define JSON_DEPTH_MAX 256
bool json_is_object(weir_str text);
/* Past the string that starts at `at` with its quote, or text.size. */
size_t json_skip_string(weir_str text, size_t at);
/* The next comma of this level from `at` on, or text.size. The text must be valid. */
size_t json_find_comma(weir_str text, size_t at);
/* What a valid string (with its quotes) says, at `out`; never more than raw.size bytes. */
size_t json_decode(weir_str raw, char *out);

#endif
