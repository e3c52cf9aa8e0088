/* Numbers, hex, percent codes and UUIDs as text: the small conversions every room needs. */
#ifndef WEIR_BASE_TEXT_H
#define WEIR_BASE_TEXT_H

#include "base/arena.h"
#include "base/span.h"

#define TEXT_U64_MAX 20 /* digits of UINT64_MAX */

/* Decimal digits at `out` (TEXT_U64_MAX bytes of room), not terminated; returns how many. */
size_t text_from_u64(char *out, uint64_t value);
/* The whole span is a decimal number without sign or space, and fits. */
bool text_to_u64(struct span s, uint64_t *out_value);
bool text_to_i64(struct span s, int64_t *out_value);
bool text_to_double(struct span s, double *out_value); /* C locale whatever the process has */
/* `size` bytes as 2*size lower-case hex digits at `out`. */
void text_hex(char *out, const void *data, size_t size);
/* The 16 hex digits of `value`, a few instructions for each byte. */
void text_hex64(char out[16], uint64_t value);
int text_hex_digit(char c); /* 0-15, -1 when it is none */

/* Query and form rules: %XX decoded, '+' is a space when `plus`. Bad escapes stay as they are.
 * Borrowed from `s` when nothing had to change, else in the arena; data NULL without memory. */
struct span text_percent_decode(struct arena *arena, struct span s, bool plus);
/* Everything but A-Z a-z 0-9 - _ . ~ is encoded, upper-case hex. */
struct span text_percent_encode(struct arena *arena, struct span s);

#define UUID_TEXT 36
bool uuid_is_valid(struct span s); /* 8-4-4-4-12 hex digits, any version */
void uuid_v4(char out[UUID_TEXT]); /* random, lower case, not terminated */
void uuid_v5(char out[UUID_TEXT], struct span namespace_uuid, struct span name);

/* Edit distance for did-you-mean, bounded: returns bound + 1 when larger. */
unsigned text_distance(struct span a, struct span b, unsigned bound);
/* Valid UTF-8 without overlong forms and surrogates. */
bool text_is_utf8(struct span s);

#endif
