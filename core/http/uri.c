#include "http/uri.h"

#include <arpa/inet.h>

#include "base/text.h"
#include "http/scan.h"

/* clang-format off */
#define ALPHA_DIGIT ['0' ... '9'] = 1, ['A' ... 'Z'] = 1, ['a' ... 'z'] = 1

/* RFC 3986 2.2, and '%' itself: decoding one of these would change what the path means. */
static const bool reserved_bytes[256] = {
    ['!'] = 1, ['*'] = 1, ['\''] = 1, ['('] = 1, [')'] = 1, [';'] = 1, [':'] = 1, ['@'] = 1,
    ['&'] = 1, ['='] = 1, ['+'] = 1, ['$'] = 1, [','] = 1, ['/'] = 1, ['?'] = 1, ['%'] = 1,
    ['#'] = 1, ['['] = 1, [']'] = 1,
};
/* What a path carries upstream as it is. */
static const bool path_bytes[256] = {
    ALPHA_DIGIT,
    ['!'] = 1, ['#'] = 1, ['$'] = 1, ['&'] = 1, ['\''] = 1, ['('] = 1, [')'] = 1, ['*'] = 1,
    ['+'] = 1, [','] = 1, ['/'] = 1, [':'] = 1, [';'] = 1, ['='] = 1, ['?'] = 1, ['@'] = 1,
    ['['] = 1, [']'] = 1, ['-'] = 1, ['_'] = 1, ['.'] = 1, ['~'] = 1, ['%'] = 1,
};
/* RFC 3986 3.2.2 reg-name without escapes; and without ',', which is in no host name but in what
 * becomes of two Host fields when somebody joins them. */
static const bool host_bytes[256] = {
    ALPHA_DIGIT,
    ['-'] = 1, ['.'] = 1, ['_'] = 1, ['~'] = 1, ['!'] = 1, ['$'] = 1, ['&'] = 1, ['\''] = 1,
    ['('] = 1, [')'] = 1, ['*'] = 1, ['+'] = 1, [';'] = 1, ['='] = 1,
};
/* clang-format on */

static bool is_one_of(const bool table[256], char byte)
{
    return table[(unsigned char)byte];
}

/* The byte that "%XX" at `at` stands for, -1 when it is no escape. */
static int escaped_byte(const char *at, const char *end)
{
    if (end - at < 3)
        return -1;
    int high = text_hex_digit(at[1]), low = text_hex_digit(at[2]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

bool http_path_is_normal(struct span path)
{
    if (path.size == 0 || path.data[0] != '/')
        return false;
    const char *end = path.data + path.size;
    return scan_odd_path(path.data, end) == end;
}

/* Step 1 of http_path_normalize(): returns the new size; false for what no server should guess at.
 */
static bool decode_plain(struct span raw, char *out, size_t *out_size)
{
    const char *end = raw.data + raw.size;
    char *to = out;
    for (const char *at = raw.data; at < end;) {
        if (*at != '%') {
            *to++ = *at++;
            continue;
        }
        int byte = escaped_byte(at, end);
        if (byte <= 0)
            return false;
        if (is_one_of(reserved_bytes, (char)byte)) {
            *to++ = '%';
            *to++ = "0123456789ABCDEF"[byte >> 4];
            *to++ = "0123456789ABCDEF"[byte & 15];
        } else {
            *to++ = (char)byte;
        }
        at += 3;
    }
    *out_size = (size_t)(to - out);
    return true;
}

/* Is `at` a slash, when an escaped one counts too? The size of it, or 0. */
static size_t any_slash(const char *at, const char *end)
{
    if (*at == '/')
        return 1;
    return end - at >= 3 && memcmp(at, "%2F", 3) == 0 ? 3 : 0;
}

/* Would ".." leave the root for a reader that takes %2F for a slash? Kong's front refuses that too:
 * the target behind us may well be such a reader. `path` went through decode_plain(). */
static bool climbs_with_escaped_slashes(struct span path)
{
    const char *at = path.data, *end = path.data + path.size;
    size_t depth = 0;
    while (at < end) {
        const char *begin = at;
        size_t slash = 0;
        while (at < end && (slash = any_slash(at, end)) == 0)
            at++;
        struct span segment = span_of(begin, (size_t)(at - begin));
        at += slash;
        if (segment.size == 0 || span_equal(segment, SPAN(".")))
            continue;
        if (!span_equal(segment, SPAN("..")))
            depth++;
        else if (depth-- == 0)
            return true;
    }
    return false;
}

/* Steps 2 and 3, in place: dot segments and runs of '/'. False above the root. */
static bool resolve_dots(char *path, size_t *size)
{
    const char *at = path, *end = path + *size;
    char *to = path;        /* everything before it is normal and ends without '/' */
    bool ends_open = false; /* the last segment was a dot one or empty: the path ends with '/' */
    while (at < end) {
        while (at < end && *at == '/')
            at++;
        const char *begin = at;
        while (at < end && *at != '/')
            at++;
        struct span segment = span_of(begin, (size_t)(at - begin));
        ends_open = segment.size == 0 || span_equal(segment, SPAN("."));
        if (ends_open)
            continue;
        if (span_equal(segment, SPAN(".."))) {
            if (to == path)
                return false;
            while (*--to != '/')
                ;
            ends_open = true;
            continue;
        }
        *to++ = '/';
        memmove(to, begin, segment.size);
        to += segment.size;
    }
    if (ends_open)
        *to++ = '/';
    *size = (size_t)(to - path);
    return true;
}

enum weir_err http_path_normalize(struct arena *arena, struct span raw, struct span *out)
{
    if (LIKELY(http_path_is_normal(raw)) || span_equal(raw, SPAN("*"))) {
        *out = raw;
        return WEIR_OK;
    }
    if (raw.size == 0 || raw.data[0] != '/')
        return WEIR_ERR_BAD_REQUEST;
    char *path = arena_bytes(arena, raw.size);
    if (path == NULL)
        return WEIR_ERR_NO_MEMORY;
    size_t size;
    if (!decode_plain(raw, path, &size) || climbs_with_escaped_slashes(span_of(path, size)) ||
        !resolve_dots(path, &size))
        return WEIR_ERR_BAD_REQUEST;
    /* Again: in "/a%2Fb/../..%2Fc" the ".." took two levels of that reader with it. */
    if (climbs_with_escaped_slashes(span_of(path, size)))
        return WEIR_ERR_BAD_REQUEST;
    *out = span_of(path, size);
    return WEIR_OK;
}

struct span http_path_escape(struct arena *arena, struct span path)
{
    size_t extra = 0;
    for (size_t i = 0; i < path.size; i++)
        extra += is_one_of(path_bytes, path.data[i]) ? 0 : 2;
    if (LIKELY(extra == 0))
        return path;
    char *out = arena_bytes(arena, path.size + extra), *to = out;
    if (out == NULL)
        return SPAN_NONE;
    for (size_t i = 0; i < path.size; i++) {
        unsigned char byte = (unsigned char)path.data[i];
        if (path_bytes[byte]) {
            *to++ = (char)byte;
            continue;
        }
        *to++ = '%';
        *to++ = "0123456789ABCDEF"[byte >> 4];
        *to++ = "0123456789ABCDEF"[byte & 15];
    }
    return span_of(out, (size_t)(to - out));
}

/* The size of "[IPv6]" at the start of `s`, 0 when it is none. Zones (RFC 6874) mean something on
 * the client's machine only. */
static size_t ipv6_literal(struct span s)
{
    char text[INET6_ADDRSTRLEN];
    unsigned char address[16];
    size_t close = span_find(s, ']');
    if (close == s.size || close < 2 || close > sizeof(text))
        return 0;
    memcpy(text, s.data + 1, close - 1);
    text[close - 1] = '\0';
    return strlen(text) == close - 1 && inet_pton(AF_INET6, text, address) == 1 ? close + 1 : 0;
}

static size_t registered_name(struct span s)
{
    const char *end = s.data + s.size, *at = scan_host(s.data, end);
    while (at < end) {
        if (is_one_of(host_bytes, *at))
            at++;
        else if (*at == '%' && escaped_byte(at, end) > 0)
            at += 3;
        else
            break;
    }
    return (size_t)(at - s.data);
}

static bool is_port(struct span s)
{
    unsigned port = 0;
    for (size_t i = 0; i < s.size && i < 6; i++) {
        unsigned digit = (unsigned)(unsigned char)s.data[i] - '0';
        if (digit > 9)
            return false;
        port = port * 10 + digit;
    }
    return s.size <= 5 && port <= 65535;
}

bool http_authority_split(struct span authority, struct span *out_host, struct span *out_port)
{
    if (authority.size == 0)
        return false;
    size_t end = authority.data[0] == '[' ? ipv6_literal(authority) : registered_name(authority);
    if (end == 0)
        return false;
    struct span port = SPAN_NONE;
    if (end < authority.size) {
        if (authority.data[end] != ':')
            return false;
        port = span_from(authority, end + 1);
        if (port.size == 0)
            port = SPAN_NONE;
        else if (!is_port(port))
            return false;
    }
    if (out_host != NULL)
        *out_host = span_first(authority, end);
    if (out_port != NULL)
        *out_port = port;
    return true;
}

bool http_query_next(struct span *rest, struct span *out_name, struct span *out_value,
                     bool *out_has_value)
{
    struct span piece;
    while (span_split(rest, '&', &piece)) {
        if (piece.size == 0)
            continue;
        size_t mark = span_find(piece, '=');
        *out_name = span_first(piece, mark);
        *out_value = span_from(piece, mark + 1);
        *out_has_value = mark < piece.size;
        return true;
    }
    return false;
}
