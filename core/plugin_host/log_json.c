/* As much JSON as the log document needs: is a value of a policy one, and what are its members. A
 * tree would cost allocations for every line, and numbers would lose digits on the way. */
#include "base/text.h"
#include "plugin_host/log_writer.h"

struct scan {
    struct span in;
    size_t at;
    char *out;
    size_t size;
    unsigned depth;
};

static bool scan_value(struct scan *scan);

static char peek(struct scan *scan)
{
    while (scan->at < scan->in.size) {
        char c = scan->in.data[scan->at];
        if (c != ' ' && c != '\t' && c != '\r' && c != '\n')
            return c;
        scan->at++;
    }
    return '\0';
}

static void take(struct scan *scan, size_t size)
{
    memcpy(scan->out + scan->size, scan->in.data + scan->at, size);
    scan->size += size;
    scan->at += size;
}

static bool accept(struct scan *scan, char c)
{
    if (peek(scan) != c || scan->at == scan->in.size)
        return false;
    take(scan, 1);
    return true;
}

/* Size of an escape at `at`, 0 when it is none. */
static size_t escape_size(struct span in, size_t at)
{
    if (at + 1 >= in.size || in.data[at + 1] == '\0')
        return 0;
    if (in.data[at + 1] != 'u')
        return strchr("\"\\/bfnrt", in.data[at + 1]) != NULL ? 2 : 0;
    for (size_t i = 2; i < 6; i++)
        if (at + i >= in.size || text_hex_digit(in.data[at + i]) < 0)
            return 0;
    return 6;
}

/* Does one of the eight bytes mean something in a string, or begin a longer character? The
 * subtractions set the top bit of a byte that is below 0x20, '"' or '\\'; a borrow may do so to
 * its neighbour, which then gets the closer look for nothing. */
static bool has_special(uint64_t word)
{
    const uint64_t each = 0x0101010101010101ULL, top = each << 7;
    return ((word | (word - each * 0x20) | ((word ^ each * '"') - each) |
             ((word ^ each * '\\') - each)) &
            top) != 0;
}

static bool is_special(char c)
{
    unsigned char byte = (unsigned char)c;
    return byte < 0x20 || byte >= 0x80 || byte == '"' || byte == '\\';
}

/* The first special byte at or after `at`. */
static size_t skip_plain(struct span in, size_t at)
{
    uint64_t word;
    for (; in.size - at >= sizeof(word); at += sizeof(word)) {
        memcpy(&word, in.data + at, sizeof(word));
        if (has_special(word))
            break;
    }
    while (at < in.size && !is_special(in.data[at]))
        at++;
    return at;
}

static bool scan_string(struct scan *scan)
{
    if (peek(scan) != '"')
        return false;
    size_t end = skip_plain(scan->in, scan->at + 1);
    if (end < scan->in.size && scan->in.data[end] == '"') { /* most strings: all of it is plain */
        take(scan, end + 1 - scan->at);
        return true;
    }
    while (end < scan->in.size && scan->in.data[end] != '"') {
        size_t size = scan->in.data[end] == '\\' ? escape_size(scan->in, end) : 1;
        if (size == 0 || (unsigned char)scan->in.data[end] < 0x20)
            return false;
        end += size;
    }
    if (end >= scan->in.size)
        return false;
    struct span whole = span_first(span_from(scan->in, scan->at), end + 1 - scan->at);
    if (!text_is_utf8(whole))
        return false;
    take(scan, whole.size);
    return true;
}

static size_t digits_at(const struct scan *scan, size_t at)
{
    size_t end = at;
    while (end < scan->in.size && scan->in.data[end] >= '0' && scan->in.data[end] <= '9')
        end++;
    return end - at;
}

static char byte_at(const struct scan *scan, size_t at)
{
    if (at < scan->in.size)
        return scan->in.data[at];
    return '\0';
}

static bool scan_number(struct scan *scan)
{
    size_t at = byte_at(scan, scan->at) == '-' ? scan->at + 1 : scan->at;
    size_t digits = digits_at(scan, at);
    if (digits == 0 || (digits > 1 && scan->in.data[at] == '0'))
        return false;
    at += digits;
    if (byte_at(scan, at) == '.') {
        digits = digits_at(scan, at + 1);
        if (digits == 0)
            return false;
        at += 1 + digits;
    }
    if (byte_at(scan, at) == 'e' || byte_at(scan, at) == 'E') {
        at += byte_at(scan, at + 1) == '+' || byte_at(scan, at + 1) == '-' ? 2 : 1;
        digits = digits_at(scan, at);
        if (digits == 0)
            return false;
        at += digits;
    }
    take(scan, at - scan->at);
    return true;
}

static bool scan_word(struct scan *scan)
{
    static const struct span words[] = {SPAN("true"), SPAN("false"), SPAN("null")};
    for (size_t i = 0; i < COUNT_OF(words); i++) {
        if (span_starts_with(span_from(scan->in, scan->at), words[i])) {
            take(scan, words[i].size);
            return true;
        }
    }
    return false;
}

/* NOLINTBEGIN(misc-no-recursion): LOG_VALUE_DEPTH bounds it */

/* Behind the opening bracket. */
static bool scan_items(struct scan *scan, bool is_object, char close)
{
    if (accept(scan, close))
        return true;
    do {
        if (is_object && (!scan_string(scan) || !accept(scan, ':')))
            return false;
        if (!scan_value(scan))
            return false;
    } while (accept(scan, ','));
    return accept(scan, close);
}

static bool scan_value(struct scan *scan)
{
    char c = peek(scan);
    if (c == '{' || c == '[') {
        if (++scan->depth > LOG_VALUE_DEPTH)
            return false;
        take(scan, 1);
        bool good = scan_items(scan, c == '{', c == '{' ? '}' : ']');
        scan->depth--;
        return good;
    }
    if (c == '"')
        return scan_string(scan);
    return c == '-' || (c >= '0' && c <= '9') ? scan_number(scan) : scan_word(scan);
}

/* NOLINTEND(misc-no-recursion) */

/* NOLINTNEXTLINE(readability-non-const-parameter): written through the scan */
size_t log_json_compact(struct span json, char *out)
{
    struct scan scan = {.in = json, .out = out};
    if (json.size == 0 || !scan_value(&scan))
        return 0;
    (void)peek(&scan);
    return scan.at == json.size ? scan.size : 0;
}

/* Size of the value at the beginning of compact text. */
static size_t value_size(struct span text)
{
    unsigned depth = 0;
    bool quoted = false;
    for (size_t at = 0; at < text.size; at++) {
        char c = text.data[at];
        if (quoted) {
            if (c == '\\')
                at++;
            else if (c == '"')
                quoted = false;
            continue;
        }
        if (depth == 0 && (c == ',' || c == ':' || c == '}'))
            return at;
        quoted = c == '"';
        if (c == '{' || c == '[')
            depth++;
        else if (c == '}' || c == ']')
            depth--;
    }
    return text.size;
}

bool log_json_member(struct span *rest, struct span *out_name, struct span *out_value)
{
    struct span text = span_from(*rest, 1); /* '{' or ',' */
    if (text.size == 0 || text.data[0] != '"')
        return false;
    *out_name = span_first(text, value_size(text));
    text = span_from(text, out_name->size + 1);
    *out_value = span_first(text, value_size(text));
    *rest = span_from(text, out_value->size);
    return true;
}
