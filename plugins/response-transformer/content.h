/* What a response's fields say of its body, and what they must say once it was edited. */
#ifndef RESPONSE_TRANSFORMER_CONTENT_H
#define RESPONSE_TRANSFORMER_CONTENT_H

#include <weir/weir.h>

struct content_names {
    weir_header_id type, encoding, etag, range;
    weir_header_id digests[4]; /* they hold for the bytes that came */
};

void content_names_fill(struct content_names *names);
/* application/json or application/…+json, perhaps with parameters or in a list. */
bool content_is_json(const struct content_names *names, weir_request *request);
/* No coding, or one that weir_inflate() knows. `out_coding` is absent without one. */
bool content_is_readable(const struct content_names *names, weir_request *request,
                         weir_str *out_coding);
/* false: no memory. */
bool content_was_edited(const struct content_names *names, weir_request *request, bool inflated);

#endif
