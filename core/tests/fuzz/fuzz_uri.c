/* Any bytes as a path, as an authority and as a query. Routing, policies and the target see the
 * normalized path, so it must be the same however often it is normalized, also after it was escaped
 * for sending, and never lead out of the root: not for a reader that decodes once more, nor for one
 * that takes %2F for a slash. A plain second reading says what the segments are. */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "fuzz.h"
#include "http/scan.h"
#include "http/uri.h"

#define TEXT_MAX 4096

/* Depth below the root after each segment; false when it was left. Backslashes are no slashes here,
 * "%2F" is one when `escaped`. */
static bool stays_inside(struct span path, bool escaped)
{
    long depth = 0;
    size_t at = 0;
    while (at < path.size) {
        size_t begin = at;
        bool slash = false;
        while (at < path.size && !slash) {
            slash =
                path.data[at] == '/' ||
                (escaped && path.size - at >= 3 &&
                 (memcmp(path.data + at, "%2F", 3) == 0 || memcmp(path.data + at, "%2f", 3) == 0));
            if (!slash)
                at++;
        }
        struct span segment = span_of(path.data + begin, at - begin);
        if (span_equal(segment, SPAN("..")))
            depth--;
        else if (segment.size > 0 && !span_equal(segment, SPAN(".")))
            depth++;
        if (depth < 0)
            return false;
        if (slash)
            at += path.data[at] == '/' ? 1 : 3;
    }
    return true;
}

static bool has_dot_segment(struct span path)
{
    for (size_t i = 0; i < path.size; i++) {
        if (path.data[i] != '/')
            continue;
        struct span rest = span_from(path, i + 1);
        size_t end = span_find(rest, '/');
        if (end == 0 && rest.size > 0) /* an empty segment */
            return true;
        if (span_equal(span_first(rest, end), SPAN(".")) ||
            span_equal(span_first(rest, end), SPAN("..")))
            return true;
    }
    return false;
}

/* Every escape that is left is of a reserved byte, in upper case. */
static void check_escapes(struct span path)
{
    for (size_t i = 0; i < path.size; i++) {
        if (path.data[i] != '%')
            continue;
        CHECK_THAT(path.size - i >= 3);
        int high = text_hex_digit(path.data[i + 1]), low = text_hex_digit(path.data[i + 2]);
        CHECK_THAT(high >= 0 && low >= 0 && path.data[i + 1] < 'a' && path.data[i + 2] < 'a');
        CHECK_THAT(strchr("!*'();:@&=+$,/?%#[]", high * 16 + low) != NULL && high + low > 0);
    }
}

/* What both paths mean when each byte is decoded once. */
static size_t decoded(struct span path, char *out)
{
    size_t size = 0;
    for (size_t i = 0; i < path.size; i++) {
        int high = -1, low = -1;
        if (path.data[i] == '%' && path.size - i >= 3) {
            high = text_hex_digit(path.data[i + 1]);
            low = text_hex_digit(path.data[i + 2]);
        }
        out[size++] = high >= 0 && low >= 0 ? (char)(high * 16 + low) : path.data[i];
        i += high >= 0 && low >= 0 ? 2 : 0;
    }
    return size;
}

static void check_path(struct span raw)
{
    static char a[TEXT_MAX], b[TEXT_MAX * 3];
    struct arena *arena = arena_create(NULL);
    struct span once, twice;
    if (arena == NULL)
        return;
    enum weir_err error = http_path_normalize(arena, raw, &once);
    CHECK_THAT(error == WEIR_OK || error == WEIR_ERR_BAD_REQUEST);
    if (error == WEIR_OK && !span_equal(raw, SPAN("*"))) {
        CHECK_THAT(once.size > 0 && once.size <= raw.size && once.data[0] == '/');
        CHECK_THAT(!has_dot_segment(once) && stays_inside(once, false) && stays_inside(once, true));
        check_escapes(once);
        CHECK_THAT(http_path_normalize(arena, once, &twice) == WEIR_OK && span_equal(once, twice));

        struct span sent = http_path_escape(arena, once);
        CHECK_THAT(span_is_set(sent) && sent.size >= once.size && sent.size <= 3 * once.size);
        for (size_t i = 0; i < sent.size; i++)
            CHECK_THAT((unsigned char)sent.data[i] > ' ' && (unsigned char)sent.data[i] < 0x7f);
        CHECK_THAT(span_equal(span_of(a, decoded(once, a)), span_of(b, decoded(sent, b))));
        CHECK_THAT(http_path_normalize(arena, sent, &twice) == WEIR_OK && span_equal(once, twice));
        CHECK_THAT(stays_inside(sent, true));
    }
    if (http_path_is_normal(raw))
        CHECK_THAT(error == WEIR_OK && span_equal(raw, once) && !has_dot_segment(raw));
    arena_destroy(arena);
}

static void check_authority(struct span text)
{
    struct span host = SPAN("untouched"), port = SPAN("untouched");
    if (!http_authority_split(text, &host, &port)) {
        CHECK_THAT(span_equal(host, SPAN("untouched")) && span_equal(port, SPAN("untouched")));
        return;
    }
    CHECK_THAT(http_authority_split(text, NULL, NULL));
    CHECK_THAT(host.size > 0 && host.data == text.data);
    for (size_t i = 0; i < host.size; i++) {
        unsigned char byte = (unsigned char)host.data[i];
        CHECK_THAT(byte > ' ' && byte < 0x7f && strchr("/?#@,\\\"<>^`{|}", byte) == NULL);
        CHECK_THAT(byte != ':' || host.data[0] == '[');
    }
    if (span_is_set(port)) {
        uint64_t number;
        CHECK_THAT(text_to_u64(port, &number) && number <= 65535);
        CHECK_THAT(port.data + port.size == text.data + text.size && port.data[-1] == ':');
        CHECK_THAT(port.data - 1 == host.data + host.size);
    } else {
        CHECK_THAT(host.size == text.size ||
                   (host.size + 1 == text.size && text.data[host.size] == ':'));
    }
    struct span again;
    CHECK_THAT(http_authority_split(host, &again, &port) && span_equal(again, host) &&
               !span_is_set(port));
}

/* The pieces, put together again, are the query without its empty pieces. */
static void check_query(struct span text)
{
    static char want[TEXT_MAX + 1], have[TEXT_MAX + 1];
    size_t want_size = 0, have_size = 0;
    for (size_t i = 0; i < text.size; i++)
        if (text.data[i] != '&' || (want_size > 0 && want[want_size - 1] != '&'))
            want[want_size++] = text.data[i];
    if (want_size > 0 && want[want_size - 1] == '&')
        want_size--;
    struct span rest = text, name, value;
    bool has_value;
    while (http_query_next(&rest, &name, &value, &has_value)) {
        if (have_size > 0)
            have[have_size++] = '&';
        CHECK_THAT(have_size + name.size + value.size + 1 <= sizeof(have));
        CHECK_THAT(memchr(name.data, '=', name.size) == NULL && (has_value || value.size == 0));
        memcpy(have + have_size, name.data, name.size);
        have_size += name.size;
        if (has_value)
            have[have_size++] = '=';
        if (value.size > 0)
            memcpy(have + have_size, value.data, value.size);
        have_size += value.size;
    }
    CHECK_THAT(span_equal(span_of(want, want_size), span_of(have, have_size)));
}

/* The scans by steps of 16 bytes against their plain twins, from every start. */
static void check_scans(struct span text)
{
    const char *end = text.data + text.size;
    for (const char *at = text.data; at < end && at < text.data + 48; at++) {
        CHECK_THAT(scan_path(at, end) == scan_path_scalar(at, end));
        CHECK_THAT(scan_query(at, end) == scan_query_scalar(at, end));
        CHECK_THAT(scan_host(at, end) == scan_host_scalar(at, end));
        CHECK_THAT(scan_odd_path(at, end) == scan_odd_path_scalar(at, end));
        CHECK_THAT(scan_value(at, end) == scan_value_scalar(at, end));
        CHECK_THAT(scan_token(at, end) == scan_token_scalar(at, end));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (size == 0 || size > TEXT_MAX)
        return 0;
    struct span text = span_of((const char *)bytes, size);
    if (memchr(bytes, '\0', size) == NULL) /* no head has one, and "%00" is refused */
        check_path(text);
    check_authority(text);
    check_query(text);
    check_scans(text);
    return 0;
}
