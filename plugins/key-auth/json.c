#include "json.h"

#include "text.h"

typedef struct cursor {
    weir_str text;
    size_t at;
} cursor;

static char peek(const cursor *c)
{
    return c->at < c->text.size ? c->text.data[c->at] : '\0';
}

static bool take(cursor *c, char byte)
{
    if (c->at >= c->text.size || c->text.data[c->at] != byte)
        return false;
    c->at++;
    return true;
}

static void blanks(cursor *c)
{
    while (c->at < c->text.size && is_blank(c->text.data[c->at]))
        c->at++;
}

static bool hex4(cursor *c, unsigned *out_value)
{
    unsigned value = 0;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(peek(c));
        if (digit < 0)
            return false;
        value = value * 16 + (unsigned)digit;
        c->at++;
    }
    *out_value = value;
    return true;
}

static bool string(cursor *c)
{
    if (!take(c, '"'))
        return false;
    while (c->at < c->text.size) {
        unsigned value;
        unsigned char byte = (unsigned char)c->text.data[c->at++];
        if (byte == '"')
            return true;
        if (byte < 0x20)
            return false;
        if (byte != '\\')
            continue;
        char escape = peek(c);
        c->at++;
        if (escape == 'u' ? !hex4(c, &value) : !escape || strchr("\"\\/bfnrt", escape) == NULL)
            return false;
    }
    return false;
}

static bool digits(cursor *c)
{
    size_t from = c->at;
    while (peek(c) >= '0' && peek(c) <= '9')
        c->at++;
    return c->at > from;
}

static bool number(cursor *c)
{
    (void)take(c, '-');
    if (!take(c, '0') && !digits(c))
        return false;
    if (take(c, '.') && !digits(c))
        return false;
    if (!take(c, 'e') && !take(c, 'E'))
        return true;
    if (!take(c, '+'))
        (void)take(c, '-');
    return digits(c);
}

static bool word(cursor *c, weir_str expected)
{
    if (c->text.size - c->at < expected.size ||
        memcmp(c->text.data + c->at, expected.data, expected.size) != 0)
        return false;
    c->at += expected.size;
    return true;
}

static bool value(cursor *c, unsigned depth);

/* After its opening bracket. */
static bool inside(cursor *c, unsigned depth, char close)
{
    blanks(c);
    if (take(c, close))
        return true;
    do {
        blanks(c);
        if (close == '}') {
            if (!string(c))
                return false;
            blanks(c);
            if (!take(c, ':'))
                return false;
        }
        if (!value(c, depth))
            return false;
        blanks(c);
    } while (take(c, ','));
    return take(c, close);
}

static bool value(cursor *c, unsigned depth)
{
    blanks(c);
    switch (peek(c)) {
    case '{':
        c->at++;
        return depth > 0 && inside(c, depth - 1, '}');
    case '[':
        c->at++;
        return depth > 0 && inside(c, depth - 1, ']');
    case '"':
        return string(c);
    case 't':
        return word(c, WEIR_LIT("true"));
    case 'f':
        return word(c, WEIR_LIT("false"));
    case 'n':
        return word(c, WEIR_LIT("null"));
    default:
        return number(c);
    }
}

bool json_is_object(weir_str text)
{
    cursor c = {text, 0};
    blanks(&c);
    if (peek(&c) != '{' || !value(&c, JSON_DEPTH_MAX))
        return false;
    blanks(&c);
    return c.at == text.size;
}

size_t json_skip_string(weir_str text, size_t at)
{
    for (at++; at < text.size && text.data[at] != '"'; at++)
        if (text.data[at] == '\\')
            at++;
    return at < text.size ? at + 1 : text.size;
}

size_t json_find_comma(weir_str text, size_t at)
{
    size_t depth = 0;
    while (at < text.size) {
        char c = text.data[at];
        if (c == '"') {
            at = json_skip_string(text, at);
            continue;
        }
        if (c == '{' || c == '[')
            depth++;
        else if ((c == '}' || c == ']') && depth > 0)
            depth--;
        else if (c == ',' && depth == 0)
            return at;
        at++;
    }
    return text.size;
}

/* ---- what a string says */

static size_t put_utf8(unsigned code, char *out)
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    size_t more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    static const unsigned char leads[] = {0, 0xc0, 0xe0, 0xf0};
    for (size_t i = more; i > 0; i--, code >>= 6)
        out[i] = (char)(0x80 | (code & 0x3f));
    out[0] = (char)(leads[more] | code);
    return more + 1;
}

/* After "\u". Half a pair becomes U+FFFD. */
static unsigned escaped_code(cursor *c)
{
    unsigned code = 0, low = 0;
    if (!hex4(c, &code) || (code >= 0xdc00 && code < 0xe000))
        return 0xfffd;
    if (code < 0xd800 || code >= 0xe000)
        return code;
    cursor ahead = *c;
    if (!take(&ahead, '\\') || !take(&ahead, 'u') || !hex4(&ahead, &low) || low < 0xdc00 ||
        low >= 0xe000)
        return 0xfffd;
    *c = ahead;
    return 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
}

size_t json_decode(weir_str raw, char *out)
{
    static const char names[] = "bfnrt", bytes[] = "\b\f\n\r\t";
    cursor c = {raw, 1};
    size_t size = 0;
    while (c.at + 1 < raw.size) {
        char byte = raw.data[c.at++];
        if (byte != '\\') {
            out[size++] = byte;
            continue;
        }
        byte = peek(&c);
        c.at++;
        const char *name = byte == '\0' ? NULL : strchr(names, byte);
        if (byte == 'u')
            size += put_utf8(escaped_code(&c), out + size);
        else
            out[size++] = name == NULL ? byte : bytes[name - names];
    }
    return size;
}
