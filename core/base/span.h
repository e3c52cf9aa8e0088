/* A view of bytes somebody else owns. Not terminated; `data` may be NULL when absent, and an absent
 * span is not the same as an empty one (span_is_set). Same layout as the SDK's weir_str. */
#ifndef WEIR_BASE_SPAN_H
#define WEIR_BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/check.h"

struct span {
    const char *data;
    size_t size;
};

#define SPAN(literal) ((struct span){"" literal, sizeof(literal) - 1})
#define SPAN_NONE ((struct span){NULL, 0})
/* printf("%.*s", SPAN_ARG(s)) */
#define SPAN_ARG(span) (int)(span).size, (span).data == NULL ? "" : (span).data

static inline struct span span_of(const char *data, size_t size)
{
    return (struct span){data, size};
}
static inline struct span span_text(const char *text)
{
    return text == NULL ? SPAN_NONE : (struct span){text, strlen(text)};
}
static inline bool span_is_set(struct span s)
{
    return s.data != NULL;
}
static inline bool span_is_empty(struct span s)
{
    return s.size == 0;
}
static inline bool span_equal(struct span a, struct span b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}
static inline bool span_starts_with(struct span s, struct span prefix)
{
    return s.size >= prefix.size &&
           (prefix.size == 0 || memcmp(s.data, prefix.data, prefix.size) == 0);
}
static inline bool span_ends_with(struct span s, struct span suffix)
{
    return s.size >= suffix.size && (suffix.size == 0 || memcmp(s.data + (s.size - suffix.size),
                                                                suffix.data, suffix.size) == 0);
}
/* Bytes from `at` on; empty when `at` is past the end. */
static inline struct span span_from(struct span s, size_t at)
{
    if (at > s.size)
        at = s.size;
    /* Adding even 0 to NULL is undefined. */
    return at == 0 ? s : (struct span){s.data + at, s.size - at};
}
static inline struct span span_first(struct span s, size_t size)
{
    return (struct span){s.data, size < s.size ? size : s.size};
}

/* ASCII case is folded, other bytes are compared as they are. */
bool span_equal_nocase(struct span a, struct span b);
bool span_starts_with_nocase(struct span s, struct span prefix);
/* -1, 0, 1 by bytes, the shorter first. */
int span_compare(struct span a, struct span b);
/* Index of the first `byte`, or s.size. */
size_t span_find(struct span s, char byte);
/* Index of the first `needle`, or s.size. */
size_t span_search(struct span s, struct span needle);
/* Without spaces and tabs at both ends. */
struct span span_trim(struct span s);
/* Cut the text before the next `separator` off *rest and return it; false when *rest is used up.
 *   while (span_split(&rest, ',', &item)) … */
bool span_split(struct span *rest, char separator, struct span *out_item);
/* Secrets: the time depends on the sizes alone. */
bool span_equal_secret(struct span a, struct span b);

#endif
