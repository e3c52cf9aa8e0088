#include "base/text.h"

#include <ctype.h>
#include <locale.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/digest.h"
#include "base/random.h"

static inline size_t count_digits(uint64_t value)
{
    size_t count = 1;
    for (uint64_t power = 10; value >= power; power *= 10)
        if (++count == TEXT_U64_MAX) /* the next power does not fit */
            break;
    return count;
}

size_t text_from_u64(char *out, uint64_t value)
{
    size_t size = count_digits(value), at = size;
    for (; value >= 10; value /= 10)
        out[--at] = (char)('0' + value % 10);
    out[0] = (char)('0' + value);
    return size;
}

bool text_to_u64(struct span s, uint64_t *out_value)
{
    uint64_t value = 0;
    if (s.size == 0)
        return false;
    for (size_t i = 0; i < s.size; i++) {
        unsigned digit = (unsigned)(unsigned char)s.data[i] - '0';
        if (digit > 9 || __builtin_mul_overflow(value, 10U, &value) ||
            __builtin_add_overflow(value, digit, &value))
            return false;
    }
    *out_value = value;
    return true;
}

bool text_to_i64(struct span s, int64_t *out_value)
{
    bool negative = s.size > 0 && s.data[0] == '-';
    uint64_t value;
    if (!text_to_u64(negative ? span_from(s, 1) : s, &value) ||
        value > (uint64_t)INT64_MAX + (negative ? 1U : 0U))
        return false;
    *out_value = negative ? (int64_t)(0 - value) : (int64_t)value;
    return true;
}

/* Any thread may be the first; a second one that makes it too drops its own. */
static locale_t c_locale(void)
{
    static _Atomic(locale_t) made;
    locale_t known = atomic_load_explicit(&made, memory_order_acquire), other = NULL;
    if (known != NULL)
        return known;
    known = newlocale(LC_ALL_MASK, "C", NULL);
    if (known == NULL || atomic_compare_exchange_strong(&made, &other, known))
        return known;
    freelocale(known);
    return other;
}

bool text_to_double(struct span s, double *out_value)
{
    char text[64];
    /* strtod() also takes spaces, hex, "inf" and "nan": none is a number in YAML's core or JSON. */
    if (s.size == 0 || s.size >= sizeof(text))
        return false;
    for (size_t i = 0; i < s.size; i++)
        if (strchr("0123456789+-.eE", s.data[i]) == NULL || s.data[i] == '\0')
            return false;
    memcpy(text, s.data, s.size);
    text[s.size] = '\0';
    locale_t locale = c_locale();
    if (locale == NULL)
        return false;
    char *end;
    double value = strtod_l(text, &end, locale);
    if (*end != '\0' || value != value || value > 1.7e308 || value < -1.7e308)
        return false;
    *out_value = value;
    return true;
}

void text_hex(char *out, const void *data, size_t size)
{
    const unsigned char *bytes = data;
    for (size_t i = 0; i < size; i++) {
        *out++ = "0123456789abcdef"[bytes[i] >> 4];
        *out++ = "0123456789abcdef"[bytes[i] & 15];
    }
}

/* Four bytes become eight digits in one word: a nibble to a byte, then '0' or 'a' - 10 on top. */
static uint64_t hex_word(uint32_t value)
{
    uint64_t word = __builtin_bswap32(value);
    word = (word | word << 16) & 0x0000ffff0000ffffULL;
    word = (word | word << 8) & 0x00ff00ff00ff00ffULL;
    word = (word << 8 & 0x0f000f000f000f00ULL) | (word >> 4 & 0x000f000f000f000fULL);
    uint64_t letters = (word + 0x0606060606060606ULL) >> 4 & 0x0101010101010101ULL;
    return word + 0x3030303030303030ULL + letters * ('a' - '0' - 10);
}

void text_hex64(char out[16], uint64_t value)
{
    uint64_t words[2] = {hex_word((uint32_t)(value >> 32)), hex_word((uint32_t)value)};
    memcpy(out, words, sizeof(words)); /* little-endian, as every machine weir is built for */
}

int text_hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool is_escape(struct span s)
{
    return s.size >= 3 && s.data[0] == '%' && text_hex_digit(s.data[1]) >= 0 &&
           text_hex_digit(s.data[2]) >= 0;
}

struct span text_percent_decode(struct arena *arena, struct span s, bool plus)
{
    if (span_find(s, '%') == s.size && (!plus || span_find(s, '+') == s.size))
        return s;
    char *out = arena_bytes(arena, s.size);
    if (out == NULL)
        return SPAN_NONE;
    size_t size = 0;
    while (s.size > 0) {
        size_t used = 1;
        if (is_escape(s)) {
            out[size++] = (char)(text_hex_digit(s.data[1]) * 16 + text_hex_digit(s.data[2]));
            used = 3;
        } else {
            out[size++] = (char)(plus && s.data[0] == '+' ? ' ' : s.data[0]);
        }
        s = span_from(s, used);
    }
    return span_of(out, size);
}

static bool is_unreserved(char c)
{
    return isalnum((unsigned char)c) || (c != '\0' && strchr("-_.~", c) != NULL);
}

struct span text_percent_encode(struct arena *arena, struct span s)
{
    size_t extra = 0;
    for (size_t i = 0; i < s.size; i++)
        extra += is_unreserved(s.data[i]) ? 0 : 2;
    if (extra == 0)
        return s;
    char *out = arena_bytes(arena, s.size + extra);
    if (out == NULL)
        return SPAN_NONE;
    char *at = out;
    for (size_t i = 0; i < s.size; i++) {
        unsigned char byte = (unsigned char)s.data[i];
        if (is_unreserved(s.data[i])) {
            *at++ = s.data[i];
            continue;
        }
        *at++ = '%';
        *at++ = "0123456789ABCDEF"[byte >> 4];
        *at++ = "0123456789ABCDEF"[byte & 15];
    }
    return span_of(out, (size_t)(at - out));
}

bool uuid_is_valid(struct span s)
{
    if (s.size != UUID_TEXT)
        return false;
    for (size_t i = 0; i < UUID_TEXT; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? s.data[i] != '-' : text_hex_digit(s.data[i]) < 0)
            return false;
    }
    return true;
}

/* RFC 9562: the version in the high half of byte 6, the variant in the top bits of byte 8. */
static void uuid_write(char out[UUID_TEXT], unsigned char bytes[16], unsigned version)
{
    static const unsigned char groups[] = {4, 2, 2, 2, 6};
    bytes[6] = (unsigned char)((bytes[6] & 0x0f) | (version << 4));
    bytes[8] = (unsigned char)((bytes[8] & 0x3f) | 0x80);
    size_t at = 0;
    for (size_t i = 0; i < sizeof(groups); i++) {
        if (i > 0)
            *out++ = '-';
        text_hex(out, bytes + at, groups[i]);
        out += (size_t)2 * groups[i];
        at += groups[i];
    }
}

void uuid_v4(char out[UUID_TEXT])
{
    uint64_t words[2] = {random_u64(), random_u64()};
    unsigned char bytes[16];
    memcpy(bytes, words, sizeof(bytes));
    uuid_write(out, bytes, 4);
}

void uuid_v5(char out[UUID_TEXT], struct span namespace_uuid, struct span name)
{
    CHECK_THAT(uuid_is_valid(namespace_uuid));
    unsigned char text[16 + 1024], longer[DIGEST_SHA1];
    size_t size = 0;
    if (name.size > sizeof(text) - 16) { /* from a file: anything; its digest is as good a name */
        digest_sha1(longer, name);
        name = span_of((const char *)longer, sizeof(longer));
    }
    for (size_t i = 0; i < UUID_TEXT; i++) {
        if (namespace_uuid.data[i] == '-')
            continue;
        int high = text_hex_digit(namespace_uuid.data[i++]);
        text[size++] = (unsigned char)(high * 16 + text_hex_digit(namespace_uuid.data[i]));
    }
    if (name.size > 0)
        memcpy(text + size, name.data, name.size);
    unsigned char digest[DIGEST_SHA1];
    digest_sha1(digest, span_of((const char *)text, size + name.size));
    uuid_write(out, digest, 5);
}

unsigned text_distance(struct span a, struct span b, unsigned bound)
{
    enum { LONGEST = 64 };
    size_t gap = a.size > b.size ? a.size - b.size : b.size - a.size;
    if (gap > bound || a.size > LONGEST || b.size > LONGEST)
        return bound + 1;
    unsigned row[LONGEST + 1];
    for (unsigned j = 0; j <= b.size; j++)
        row[j] = j;
    for (unsigned i = 1; i <= a.size; i++) {
        unsigned diagonal = row[0];
        row[0] = i;
        for (unsigned j = 1; j <= b.size; j++) {
            unsigned replaced = diagonal + (a.data[i - 1] == b.data[j - 1] ? 0 : 1);
            unsigned shifted = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            diagonal = row[j];
            row[j] = replaced < shifted ? replaced : shifted;
        }
    }
    return row[b.size] > bound ? bound + 1 : row[b.size];
}

/* Size and lowest code point by first byte; 0 when it starts nothing. */
static size_t utf8_size(unsigned char first, uint32_t *out_lowest, uint32_t *out_bits)
{
    static const struct {
        unsigned char mask, mark;
        uint32_t lowest;
    } kinds[] = {{0x80, 0x00, 0}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        if ((first & kinds[i].mask) != kinds[i].mark)
            continue;
        *out_lowest = kinds[i].lowest;
        *out_bits = first & (unsigned char)~kinds[i].mask;
        return i + 1;
    }
    return 0;
}

/* Without the plain ASCII at its beginning, as far as whole words of it go. */
static struct span skip_ascii(struct span s)
{
    uint64_t word;
    while (s.size >= sizeof(word)) {
        memcpy(&word, s.data, sizeof(word));
        if ((word & 0x8080808080808080ULL) != 0)
            break;
        s = span_from(s, sizeof(word));
    }
    return s;
}

bool text_is_utf8(struct span s)
{
    s = skip_ascii(s);
    while (s.size > 0) {
        uint32_t lowest = 0, code = 0;
        size_t size = utf8_size((unsigned char)s.data[0], &lowest, &code);
        if (size == 0 || size > s.size)
            return false;
        for (size_t i = 1; i < size; i++) {
            unsigned char byte = (unsigned char)s.data[i];
            if ((byte & 0xc0) != 0x80)
                return false;
            code = (code << 6) | (byte & 0x3f);
        }
        if (code < lowest || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
            return false;
        s = span_from(s, size);
    }
    return true;
}
