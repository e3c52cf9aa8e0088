/* Compressed bodies. Link weir::bodies (it brings zlib). */
#ifndef WEIR_INFLATE_H
#define WEIR_INFLATE_H

#include <weir/json.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Undo a Content-Encoding: "gzip", "x-gzip", "deflate" (with or without zlib's head), "identity" or
 * absent (then *out_text is `body`), any case, one coding alone. Concatenated gzip members are one
 * body. WEIR_NOT_FOUND: a coding this does not know, or several; WEIR_INVALID: not compressed like
 * that, cut short, or with bytes behind its end; WEIR_FULL: more than `limit` bytes come out;
 * WEIR_NO_MEMORY. */
weir_status weir_inflate(weir_str body, weir_str coding, size_t limit, weir_alloc *alloc,
                         void *user, weir_str *out_text);

#ifdef __cplusplus
}
#endif

#endif
