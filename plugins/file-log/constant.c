/* A statement of one word and one literal needs no interpreter: it becomes JSON when the
 * configuration is read, and costs nothing afterwards. */
#include "constant.h"

#include <string.h>

enum { JSON_PER_BYTE = 6 }; /* "\u001f": the longest a byte of text becomes */

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static weir_str from(weir_str text, size_t at)
{
    text.data += at;
    text.size -= at;
    return text;
}

/* Without white space at both ends and a semicolon behind. */
static weir_str trim(weir_str text)
{
    while (text.size > 0 && is_space(text.data[0]))
        text = from(text, 1);
    while (text.size > 0 && is_space(text.data[text.size - 1]))
        text.size--;
    return text;
}

static bool equals(weir_str text, const char *word)
{
    return text.size == strlen(word) && memcmp(text.data, word, text.size) == 0;
}

static size_t put_json_byte(char *out, char c)
{
    static const char digits[] = "0123456789abcdef";
    unsigned char byte = (unsigned char)c;
    if (c == '"' || c == '\\') {
        out[0] = '\\';
        out[1] = c;
        return 2;
    }
    if (byte >= 0x20) {
        out[0] = c;
        return 1;
    }
    const char escape[JSON_PER_BYTE] = {'\\', 'u', '0', '0', digits[byte >> 4], digits[byte & 15]};
    memcpy(out, escape, sizeof(escape));
    return sizeof(escape);
}

/* What stands for an escape of Lua, '\0' for one that is not known. */
static char unescape(char c)
{
    static const char known[] = "\\\"'abfnrtv\n", meant[] = "\\\"'\a\b\f\n\r\t\v\n";
    const char *at = c == '\0' ? NULL : strchr(known, c);
    if (at == NULL)
        return '\0';
    return meant[at - known];
}

static weir_status quoted_to_json(const void *self, weir_str text, weir_str *out_json)
{
    char quote = text.data[0];
    char *json = weir_policy_alloc(self, text.size * JSON_PER_BYTE + 2);
    size_t size = 0;
    if (json == NULL)
        return WEIR_NO_MEMORY;
    json[size++] = '"';
    size_t at = 1;
    for (; at < text.size && text.data[at] != quote; at++) {
        char c = text.data[at];
        if (c == '\n')
            return WEIR_INVALID;
        if (c == '\\') {
            if (++at == text.size)
                return WEIR_INVALID;
            c = unescape(text.data[at]);
            if (c == '\0')
                return WEIR_INVALID;
        }
        size += put_json_byte(json + size, c);
    }
    if (at + 1 != text.size) /* never closed, or something behind it */
        return WEIR_INVALID;
    json[size++] = '"';
    out_json->data = json;
    out_json->size = size;
    return WEIR_SUCCESS;
}

static size_t count_digits(weir_str text)
{
    size_t count = 0;
    while (count < text.size && is_digit(text.data[count]))
        count++;
    return count;
}

/* JSON's numbers are Lua's too, but for hex and for a missing digit beside the point. */
static bool is_number(weir_str text)
{
    if (text.size > 0 && text.data[0] == '-')
        text = from(text, 1);
    size_t digits = count_digits(text);
    if (digits == 0 || (digits > 1 && text.data[0] == '0'))
        return false;
    text = from(text, digits);
    if (text.size > 0 && text.data[0] == '.') {
        digits = count_digits(from(text, 1));
        if (digits == 0)
            return false;
        text = from(text, digits + 1);
    }
    if (text.size > 1 && (text.data[0] == 'e' || text.data[0] == 'E')) {
        text = from(text, text.data[1] == '-' || text.data[1] == '+' ? 2 : 1);
        digits = count_digits(text);
        if (digits == 0)
            return false;
        text = from(text, digits);
    }
    return text.size == 0;
}

weir_status constant_to_json(const void *self, weir_str code, weir_str *out_json)
{
    static const char word[] = "return";
    size_t size = sizeof(word) - 1;
    code = trim(code);
    if (code.size <= size || memcmp(code.data, word, size) != 0)
        return WEIR_INVALID;
    weir_str value = from(code, size);
    if (!is_space(value.data[0]) && value.data[0] != '"' && value.data[0] != '\'')
        return WEIR_INVALID;
    value = trim(value);
    if (value.size > 0 && value.data[value.size - 1] == ';') {
        value.size--;
        value = trim(value);
    }
    if (value.size == 0 || equals(value, "nil")) {
        *out_json = (weir_str){"", 0};
        return WEIR_SUCCESS;
    }
    if (value.data[0] == '"' || value.data[0] == '\'')
        return quoted_to_json(self, value, out_json);
    if (!equals(value, "true") && !equals(value, "false") && !is_number(value))
        return WEIR_INVALID;
    *out_json = value;
    return WEIR_SUCCESS;
}
