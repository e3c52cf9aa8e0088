/* The path as the upstream shall get it: unreserved escapes decoded, dot segments and empty
 * segments resolved (RFC 3986 6.2.2, 5.2.4), the rest escaped again. */
#include <ctype.h>

#include "reference.h"

#define SEGMENTS 512

static int hex(char c)
{
    const char *digits = "0123456789abcdef", *at = strchr(digits, tolower((unsigned char)c));
    return c == '\0' || at == NULL ? -1 : (int)(at - digits);
}

static bool is_in(const char *set, unsigned char byte)
{
    return byte != '\0' && strchr(set, byte) != NULL;
}

static size_t put_escape(char *out, unsigned char byte)
{
    out[0] = '%';
    out[1] = "0123456789ABCDEF"[byte >> 4];
    out[2] = "0123456789ABCDEF"[byte & 15];
    return 3;
}

/* Escapes of what is reserved stay; others become their byte. */
static bool decode(struct span raw, char *out, size_t *out_size)
{
    size_t size = 0;
    for (size_t i = 0; i < raw.size; i++) {
        if (raw.data[i] != '%') {
            out[size++] = raw.data[i];
            continue;
        }
        int high = i + 2 < raw.size ? hex(raw.data[i + 1]) : -1;
        int low = i + 2 < raw.size ? hex(raw.data[i + 2]) : -1;
        if (high < 0 || low < 0 || (high == 0 && low == 0))
            return false;
        unsigned char byte = (unsigned char)(high * 16 + low);
        if (is_in("!*'();:@&=+$,/?%#[]", byte))
            size += put_escape(out + size, byte);
        else
            out[size++] = (char)byte;
        i += 2;
    }
    *out_size = size;
    return true;
}

/* The next segment of *rest; `wide`: an escaped slash is a slash too. */
static struct span segment_of(struct span *rest, bool wide)
{
    size_t end = 0, slash = 0;
    for (; end < rest->size; end++) {
        if (rest->data[end] == '/')
            slash = 1;
        else if (wide && span_starts_with(span_from(*rest, end), SPAN("%2F")))
            slash = 3;
        if (slash > 0)
            break;
    }
    struct span segment = span_first(*rest, end);
    *rest = span_from(*rest, end + slash);
    return segment;
}

static bool is_dots(struct span segment, size_t dots)
{
    return segment.size == dots && memcmp(segment.data, "..", dots) == 0;
}

static bool climbs(struct span path)
{
    int depth = 0;
    while (path.size > 0 && depth >= 0) {
        struct span segment = segment_of(&path, true);
        if (is_dots(segment, 2))
            depth--;
        else if (segment.size > 0 && !is_dots(segment, 1))
            depth++;
    }
    return depth < 0;
}

/* False when a ".." has nothing to take away. */
static bool resolve(struct span path, char *out, size_t *out_size)
{
    static struct span kept[SEGMENTS];
    size_t count = 0, size = 0;
    bool open = true; /* ends with a slash */
    path = span_from(path, 1);
    for (bool more = true; more;) {
        struct span before = path, segment = segment_of(&path, false);
        more = segment.size < before.size;
        open = segment.size == 0 || is_dots(segment, 1) || is_dots(segment, 2);
        if (is_dots(segment, 2) && count-- == 0)
            return false;
        CHECK_THAT(count < SEGMENTS);
        if (!open)
            kept[count++] = segment;
    }
    for (size_t i = 0; i < count; i++) {
        out[size++] = '/';
        memcpy(out + size, kept[i].data, kept[i].size);
        size += kept[i].size;
    }
    if (open)
        out[size++] = '/';
    *out_size = size;
    return true;
}

static size_t escape(struct span path, char *out)
{
    size_t size = 0;
    for (size_t i = 0; i < path.size; i++) {
        unsigned char byte = (unsigned char)path.data[i];
        if (byte < 0x80 && (isalnum(byte) || is_in("!#$&'()*+,/:;=?@[]-_.~%", byte)))
            out[size++] = (char)byte;
        else
            size += put_escape(out + size, byte);
    }
    return size;
}

bool path_normal(struct span raw, char *out, size_t *out_size)
{
    static char decoded[STREAM_MAX], resolved[STREAM_MAX];
    size_t size = 0, end = 0;
    if (raw.size == 0 || raw.size > STREAM_MAX || !decode(raw, decoded, &size) ||
        climbs(span_of(decoded, size)) || !resolve(span_of(decoded, size), resolved, &end) ||
        climbs(span_of(resolved, end)))
        return false;
    *out_size = escape(span_of(resolved, end), out);
    return true;
}
