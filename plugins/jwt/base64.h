/* base64url as RFC 7515 wants it: one spelling for each byte string, so that a token cannot be
 * written in two ways. Secrets of configurations are read more kindly. */
#ifndef JWT_BASE64_H
#define JWT_BASE64_H

#include <weir/weir.h>

/* Room that decoding needs at most. */
#define BASE64_ROOM(size) ((size) / 4 * 3 + 3)

/* The URL alphabet alone, no padding, no blanks, unused bits zero. False: anything else. */
bool base64url_decode(weir_str text, unsigned char *out, size_t *out_size);
/* Both alphabets, with or without padding. */
bool base64_decode_any(weir_str text, unsigned char *out, size_t *out_size);

#endif
