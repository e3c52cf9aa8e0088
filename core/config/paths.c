/* Paths and hosts as Kong sees them. */
#include "config/paths.h"

#include <arpa/inet.h>
#include <ctype.h>

#include "base/buf.h"
#include "base/text.h"

static bool is_reserved(int byte)
{
    return byte == '%' || (byte > 0 && strchr("!*'();:@&=+$,/?#[]", byte) != NULL);
}

/* The byte that %XX at `at` stands for, -1 when it is none. */
static int escaped_byte(struct span path, size_t at)
{
    if (at + 2 >= path.size || path.data[at] != '%')
        return -1;
    int high = text_hex_digit(path.data[at + 1]), low = text_hex_digit(path.data[at + 2]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

static size_t decode(struct span path, char *out)
{
    size_t size = 0;
    for (size_t i = 0; i < path.size; i++) {
        int byte = escaped_byte(path, i);
        if (byte < 0) {
            out[size++] = path.data[i];
            continue;
        }
        if (is_reserved(byte)) {
            out[size++] = '%';
            out[size++] = (char)toupper((unsigned char)path.data[i + 1]);
            out[size++] = (char)toupper((unsigned char)path.data[i + 2]);
        } else {
            out[size++] = (char)byte;
        }
        i += 2;
    }
    return size;
}

struct span path_normalize(struct arena *arena, struct span path)
{
    char *text = arena_bytes(arena, path.size * 2 + 2);
    if (text == NULL)
        return SPAN_NONE;
    struct span rest = {text, decode(path, text)}, segment = SPAN_NONE;
    char *out = text + path.size + 1;
    size_t size = 0;
    bool ends_open = false; /* the last segment was empty or dots: a slash stays at the end */
    if (span_starts_with(rest, SPAN("/")))
        rest = span_from(rest, 1);
    out[size++] = '/';
    while (span_split(&rest, '/', &segment)) {
        ends_open = true;
        if (span_is_empty(segment) || span_equal(segment, SPAN(".")))
            continue;
        if (span_equal(segment, SPAN(".."))) {
            size -= size > 1;
            while (size > 1 && out[size - 1] != '/')
                size--;
            continue;
        }
        memcpy(out + size, segment.data, segment.size);
        size += segment.size;
        out[size++] = '/';
        ends_open = false;
    }
    bool ends_with_slash = span_ends_with(path, SPAN("/"));
    if (size > 1 && !ends_open && !ends_with_slash)
        size--;
    return span_of(out, size);
}

static bool is_plain_path(struct span path)
{
    for (size_t i = 0; i < path.size; i++) {
        if (!isalnum((unsigned char)path.data[i]) && strchr(".-_~/%", path.data[i]) == NULL)
            return false;
    }
    return true;
}

struct span path_migrate(struct arena *arena, struct span path)
{
    if (span_starts_with(path, SPAN("~")) && is_plain_path(path))
        return path;
    if (is_plain_path(path))
        return path_normalize(arena, path);
    AUTO_BUF out = BUF_INIT;
    buf_byte(&out, '~');
    for (size_t i = 0; i < path.size; i++) {
        int byte = escaped_byte(path, i);
        if (byte < 0) {
            buf_byte(&out, path.data[i]);
            continue;
        }
        if (is_reserved(byte))
            buf_printf(&out, "%%%c%c", toupper((unsigned char)path.data[i + 1]),
                       toupper((unsigned char)path.data[i + 2]));
        else if (byte > 0 && strchr(".^-{}\\|", byte) != NULL)
            buf_printf(&out, "\\%c", byte);
        else
            buf_byte(&out, (char)byte);
        i += 2;
    }
    return out.failed ? SPAN_NONE : arena_copy(arena, buf_view(&out));
}

bool path_escapes_are_valid(struct span path, struct span *out_bad)
{
    for (size_t i = 0; i < path.size; i++) {
        if (path.data[i] == '%' && escaped_byte(path, i) < 0) {
            *out_bad = span_first(span_from(path, i), 3);
            return false;
        }
    }
    return true;
}

bool path_has_empty_segments(struct span path)
{
    return span_search(path, SPAN("//")) < path.size;
}

bool path_looks_like_regex(struct span path)
{
    for (size_t i = 0; i < path.size; i++) {
        if (strchr("\\([+*?|{^$", path.data[i]) != NULL)
            return true;
    }
    return false;
}

bool name_is_valid(struct span name)
{
    for (size_t i = 0; i < name.size; i++) {
        unsigned char c = (unsigned char)name.data[i];
        if (c < 0x80 && !isalnum(c) && strchr(".-_~", c) == NULL)
            return false;
    }
    return name.size > 0 && text_is_utf8(name);
}

bool host_is_name(struct span host)
{
    struct span label = SPAN_NONE;
    if (span_ends_with(host, SPAN(".")))
        host.size--;
    if (host.size == 0 || host.size > 253)
        return false;
    while (span_split(&host, '.', &label)) {
        if (label.size == 0 || label.size > 63)
            return false;
        for (size_t i = 0; i < label.size; i++) {
            unsigned char c = (unsigned char)label.data[i];
            if (!isalnum(c) && c != '-' && c != '_')
                return false;
        }
    }
    return true;
}

static bool is_address(struct span host, int family)
{
    char text[64];
    unsigned char address[16];
    if (host.size >= sizeof(text) || host.size == 0)
        return false;
    memcpy(text, host.data, host.size);
    text[host.size] = '\0';
    return inet_pton(family, text, address) == 1;
}

bool host_is_ipv4(struct span host)
{
    return is_address(host, AF_INET);
}

bool host_is_ipv6(struct span host)
{
    if (host.size > 2 && host.data[0] == '[' && host.data[host.size - 1] == ']')
        host = span_of(host.data + 1, host.size - 2);
    return is_address(host, AF_INET6);
}
