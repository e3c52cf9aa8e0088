/* Finding the first byte that ends a piece of a head. Each scan exists twice in this file: with
 * SSE2 (16 bytes a step, what every x86-64 has) and as the plain loop that defines it, which also
 * does the last bytes and every other machine. A test holds the two equal. Internal to core/http.
 */
#ifndef WEIR_HTTP_SCAN_H
#define WEIR_HTTP_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/check.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* RFC 9110 5.6.2: what a token is made of. */
extern const bool http_token_bytes[256];

static inline bool scan_is_token(char byte)
{
    return http_token_bytes[(unsigned char)byte];
}

/* Ends a field value: control bytes but HT, and DEL (RFC 9110 5.5). */
static inline bool scan_ends_value(char byte)
{
    return ((unsigned char)byte < 0x20 && byte != '\t') || byte == 0x7f;
}

/* Ends a target: control bytes, space, DEL, and a fragment, which is never sent (RFC 9112 3.2). */
static inline bool scan_ends_target(char byte)
{
    return (unsigned char)byte <= 0x20 || byte == 0x7f || byte == '#';
}

static inline const char *scan_token_scalar(const char *at, const char *end)
{
    while (at < end && scan_is_token(*at))
        at++;
    return at;
}
static inline const char *scan_value_scalar(const char *at, const char *end)
{
    while (at < end && !scan_ends_value(*at))
        at++;
    return at;
}
/* What nearly all tokens are made of: letters, digits and '-'. */
static inline bool scan_is_plain(char byte)
{
    char lower = (char)(byte | 0x20);
    return (lower >= 'a' && lower <= 'z') || (byte >= '0' && byte <= '9') || byte == '-';
}
static inline const char *scan_plain_scalar(const char *at, const char *end)
{
    while (at < end && scan_is_plain(*at))
        at++;
    return at;
}
/* Stops at '?' too. */
static inline const char *scan_path_scalar(const char *at, const char *end)
{
    while (at < end && !scan_ends_target(*at) && *at != '?')
        at++;
    return at;
}
static inline const char *scan_query_scalar(const char *at, const char *end)
{
    while (at < end && !scan_ends_target(*at))
        at++;
    return at;
}
/* Steps over what most host names are made of. */
static inline const char *scan_host_scalar(const char *at, const char *end)
{
    while (at < end && ((*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') ||
                        (*at >= '0' && *at <= '9') || *at == '-' || *at == '.'))
        at++;
    return at;
}
/* The first '%', or the first '/' with another '/' or a '.' behind it. */
static inline const char *scan_odd_path_scalar(const char *at, const char *end)
{
    for (; at < end; at++)
        if (*at == '%' || (*at == '/' && at + 1 < end && (at[1] == '/' || at[1] == '.')))
            break;
    return at;
}

#ifdef __SSE2__
#define SCAN_STEP 16

static inline __m128i scan_load(const char *at)
{
    return _mm_loadu_si128((const __m128i *)(const void *)at);
}
static inline __m128i scan_equal(__m128i bytes, char byte)
{
    return _mm_cmpeq_epi8(bytes, _mm_set1_epi8(byte));
}
/* Unsigned bytes at most `most`. */
static inline __m128i scan_at_most(__m128i bytes, char most)
{
    return _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(most)), bytes);
}
static inline unsigned scan_mask(__m128i hits)
{
    return (unsigned)_mm_movemask_epi8(hits);
}
static inline __m128i scan_plain_hits(__m128i bytes)
{
    __m128i lower = _mm_or_si128(bytes, _mm_set1_epi8(0x20));
    __m128i letters = scan_at_most(_mm_sub_epi8(lower, _mm_set1_epi8('a')), 25);
    __m128i digits = scan_at_most(_mm_sub_epi8(bytes, _mm_set1_epi8('0')), 9);
    __m128i plain = _mm_or_si128(_mm_or_si128(letters, digits), scan_equal(bytes, '-'));
    return _mm_cmpeq_epi8(plain, _mm_setzero_si128());
}
static inline __m128i scan_value_hits(__m128i bytes)
{
    __m128i control = _mm_andnot_si128(scan_equal(bytes, '\t'), scan_at_most(bytes, 0x1f));
    return _mm_or_si128(control, scan_equal(bytes, 0x7f));
}
static inline __m128i scan_value_stops(__m128i bytes)
{
    return _mm_or_si128(scan_at_most(bytes, 0x1f), scan_equal(bytes, 0x7f));
}
static inline __m128i scan_query_hits(__m128i bytes)
{
    return _mm_or_si128(_mm_or_si128(scan_at_most(bytes, 0x20), scan_equal(bytes, 0x7f)),
                        scan_equal(bytes, '#'));
}
static inline __m128i scan_host_hits(__m128i bytes)
{
    return _mm_andnot_si128(scan_equal(bytes, '.'), scan_plain_hits(bytes));
}
static inline __m128i scan_path_hits(__m128i bytes)
{
    return _mm_or_si128(scan_query_hits(bytes), scan_equal(bytes, '?'));
}
#endif

/* `last`: from where on a whole step no longer fits, worked out once for a head (scan_last). */
static inline const char *scan_last(const char *at, const char *end)
{
    return end - at >= 16 ? end - 16 : at - 1;
}

/* Names are letters, digits and '-' but for a few: those are stepped over, then the rest is read by
 * the plain loop. */
static inline const char *scan_token_to(const char *at, const char *last, const char *end)
{
#ifdef __SSE2__
    for (; at <= last; at += SCAN_STEP) {
        unsigned hits = scan_mask(scan_plain_hits(scan_load(at)));
        if (hits != 0) {
            at += __builtin_ctz(hits);
            return LIKELY(*at == ':') ? at : scan_token_scalar(at, end);
        }
    }
#endif
    (void)last;
    return scan_token_scalar(at, end);
}

#ifdef __SSE2__
/* Fewer bytes than a step: their two halves side by side, which overlap in the middle, are one. */
static inline __m128i scan_load_halves(const char *at, const char *end, unsigned half)
{
    if (half == 8)
        return _mm_unpacklo_epi64(_mm_loadl_epi64((const __m128i *)(const void *)at),
                                  _mm_loadl_epi64((const __m128i *)(const void *)(end - 8)));
    int first, last;
    memcpy(&first, at, sizeof(first));
    memcpy(&last, end - sizeof(last), sizeof(last));
    return _mm_unpacklo_epi32(_mm_cvtsi32_si128(first), _mm_cvtsi32_si128(last));
}
/* From a hit in such a pair to the byte it is of, `end` without one. */
static inline const char *scan_of_halves(unsigned hits, const char *at, const char *end,
                                         unsigned half)
{
    unsigned all = (1U << half) - 1;
    hits = (hits & all) | (hits >> half & all) << ((unsigned)(end - at) - half);
    return hits == 0 ? end : at + __builtin_ctz(hits);
}

#define SCAN_DEFINE(what)                                                               \
    static inline const char *scan_##what(const char *at, const char *end)              \
    {                                                                                   \
        while (end - at >= SCAN_STEP) {                                                 \
            unsigned hits = scan_mask(scan_##what##_hits(scan_load(at)));               \
            if (hits != 0)                                                              \
                return at + __builtin_ctz(hits);                                        \
            at += SCAN_STEP;                                                            \
        }                                                                               \
        if (end - at < 4)                                                               \
            return scan_##what##_scalar(at, end);                                       \
        unsigned half = end - at >= 8 ? 8 : 4;                                          \
        unsigned rest = scan_mask(scan_##what##_hits(scan_load_halves(at, end, half))); \
        return scan_of_halves(rest, at, end, half);                                     \
    }
#else
#define SCAN_DEFINE(what)                                                  \
    static inline const char *scan_##what(const char *at, const char *end) \
    {                                                                      \
        return scan_##what##_scalar(at, end);                              \
    }
#endif
SCAN_DEFINE(value)
SCAN_DEFINE(path)
SCAN_DEFINE(query)
SCAN_DEFINE(host)
SCAN_DEFINE(plain)

/* A short token is mostly plain: one step. */
static inline const char *scan_token(const char *at, const char *end)
{
    return scan_token_scalar(scan_plain(at, end), end);
}

/* scan_value() when the 16 bytes before `at` may be read: the last bytes are then one step too. A
 * tab stops the steps as well, which saves two operations in each; the plain loop goes on behind
 * it. */
static inline const char *scan_value_to(const char *at, const char *last, const char *end)
{
#ifdef __SSE2__
    unsigned hits = 0;
    for (; at <= last; at += SCAN_STEP) {
        hits = scan_mask(scan_value_stops(scan_load(at)));
        if (hits != 0)
            break;
    }
    if (UNLIKELY(at > last)) {
        hits = scan_mask(scan_value_stops(scan_load(end - SCAN_STEP))) >> (SCAN_STEP - (end - at));
        if (hits == 0)
            return end;
    }
    at += __builtin_ctz(hits);
    return LIKELY(*at != '\t') ? at : scan_value_scalar(at, end);
#else
    (void)last;
    return scan_value_scalar(at, end);
#endif
}

static inline const char *scan_odd_path(const char *at, const char *end)
{
#ifdef __SSE2__
    /* One byte more than a step: each slash is judged together with what follows it. */
    while (end - at > SCAN_STEP) {
        __m128i bytes = scan_load(at), next = scan_load(at + 1);
        __m128i follower = _mm_or_si128(scan_equal(next, '/'), scan_equal(next, '.'));
        __m128i pair = _mm_and_si128(scan_equal(bytes, '/'), follower);
        unsigned hits = scan_mask(_mm_or_si128(pair, scan_equal(bytes, '%')));
        if (hits != 0)
            return at + __builtin_ctz(hits);
        at += SCAN_STEP;
    }
#endif
    return scan_odd_path_scalar(at, end);
}

#endif
