/* Strings of JSON to text and back. */
#include "json_tree.h"

static size_t put_utf8(char *out, uint32_t code)
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xc0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (char)(0xe0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 0x3f));
        out[2] = (char)(0x80 | (code & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | code >> 18);
    out[1] = (char)(0x80 | (code >> 12 & 0x3f));
    out[2] = (char)(0x80 | (code >> 6 & 0x3f));
    out[3] = (char)(0x80 | (code & 0x3f));
    return 4;
}

static uint32_t hex4(const char *at)
{
    uint32_t value = 0;
    for (int i = 0; i < 4; i++) {
        char c = at[i];
        value = value << 4 | (uint32_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return value;
}

/* `at` is behind "\u". One escape, or both of a surrogate pair. */
static const char *decode_unicode(const char *at, const char *end, char **out)
{
    enum { REPLACEMENT = 0xfffd };
    uint32_t code = hex4(at);
    at += 4;
    if (code >= 0xd800 && code < 0xdc00 && end - at >= 6 && at[0] == '\\' && at[1] == 'u') {
        uint32_t low = hex4(at + 2);
        if (low >= 0xdc00 && low < 0xe000) {
            *out += put_utf8(*out, 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00));
            return at + 6;
        }
    }
    *out += put_utf8(*out, code >= 0xd800 && code < 0xe000 ? REPLACEMENT : code);
    return at;
}

weir_status json_unquote(weir_json *json, weir_str quoted, weir_str *out_text)
{
    static const char escapes[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    const char *at = quoted.data + 1, *end = quoted.data + quoted.size - 1;
    *out_text = json_span(at, end);
    if (memchr(at, '\\', out_text->size) == NULL)
        return WEIR_SUCCESS;
    char *text = json_bytes(json, out_text->size), *out = text;
    if (text == NULL)
        return WEIR_NO_MEMORY;
    while (at < end) {
        if (*at != '\\') {
            *out++ = *at++;
        } else if (at[1] == 'u') {
            at = decode_unicode(at + 2, end, &out);
        } else {
            *out++ = meanings[strchr(escapes, at[1]) - escapes];
            at += 2;
        }
    }
    *out_text = json_span(text, out);
    return WEIR_SUCCESS;
}

/* ---- quoting */

/* Bytes of the character at `at`, 0: it is none (RFC 3629). */
static size_t utf8_size(const char *at, size_t left)
{
    const unsigned char *byte = (const unsigned char *)at;
    size_t size = byte[0] < 0x80   ? 1
                  : byte[0] < 0xc2 ? 0
                  : byte[0] < 0xe0 ? 2
                  : byte[0] < 0xf0 ? 3
                  : byte[0] < 0xf5 ? 4
                                   : 0;
    if (size == 0 || size > left)
        return 0;
    for (size_t i = 1; i < size; i++)
        if ((byte[i] & 0xc0) != 0x80)
            return 0;
    if ((byte[0] == 0xe0 && byte[1] < 0xa0) || (byte[0] == 0xed && byte[1] >= 0xa0) ||
        (byte[0] == 0xf0 && byte[1] < 0x90) || (byte[0] == 0xf4 && byte[1] >= 0x90))
        return 0;
    return size;
}

static size_t put_escaped(char *out, unsigned char c)
{
    static const char digits[] = "0123456789abcdef", shorts[] = "\b\f\n\r\t\"\\",
                      letters[] = "bfnrt\"\\";
    const char *at = c == '\0' ? NULL : strchr(shorts, c);
    out[0] = '\\';
    if (at != NULL) {
        out[1] = letters[at - shorts];
        return 2;
    }
    memcpy(out + 1, "u00", 3);
    out[4] = digits[c >> 4];
    out[5] = digits[c & 15];
    return 6;
}

weir_status weir_json_quote(weir_str text, weir_alloc *alloc, void *user, weir_str *out_text)
{
    char *start = alloc(user, text.size * 6 + 2), *out = start;
    if (start == NULL)
        return WEIR_NO_MEMORY;
    *out++ = '"';
    for (size_t at = 0; at < text.size;) {
        unsigned char c = (unsigned char)text.data[at];
        size_t size = utf8_size(text.data + at, text.size - at);
        if (size == 0) {
            memcpy(out, "\xef\xbf\xbd", 3);
            out += 3;
            at++;
        } else if (size == 1 && (c < 0x20 || c == '"' || c == '\\')) {
            out += put_escaped(out, c);
            at++;
        } else {
            memcpy(out, text.data + at, size);
            out += size;
            at += size;
        }
    }
    *out++ = '"';
    *out_text = json_span(start, out);
    return WEIR_SUCCESS;
}
