#include "base/span.h"

static unsigned char fold(char c)
{
    unsigned char byte = (unsigned char)c;
    return byte >= 'A' && byte <= 'Z' ? (unsigned char)(byte | 0x20) : byte;
}

/* Mostly both are spelled alike: eight bytes at once for as long as they are. */
static bool equal_folded(const char *a, const char *b, size_t size)
{
    size_t i = 0;
    for (uint64_t one, other; size - i >= sizeof(one); i += sizeof(one)) {
        memcpy(&one, a + i, sizeof(one));
        memcpy(&other, b + i, sizeof(other));
        if (one != other)
            break;
    }
    for (; i < size; i++)
        if (fold(a[i]) != fold(b[i]))
            return false;
    return true;
}

bool span_equal_nocase(struct span a, struct span b)
{
    return a.size == b.size && equal_folded(a.data, b.data, a.size);
}

bool span_starts_with_nocase(struct span s, struct span prefix)
{
    return s.size >= prefix.size && equal_folded(s.data, prefix.data, prefix.size);
}

int span_compare(struct span a, struct span b)
{
    size_t common = a.size < b.size ? a.size : b.size;
    int order = common == 0 ? 0 : memcmp(a.data, b.data, common);
    if (order != 0)
        return order < 0 ? -1 : 1;
    return a.size == b.size ? 0 : a.size < b.size ? -1 : 1;
}

size_t span_find(struct span s, char byte)
{
    const char *found = s.size == 0 ? NULL : memchr(s.data, byte, s.size);
    return found == NULL ? s.size : (size_t)(found - s.data);
}

size_t span_search(struct span s, struct span needle)
{
    if (needle.size == 0)
        return 0;
    const char *found = s.size == 0 ? NULL : memmem(s.data, s.size, needle.data, needle.size);
    return found == NULL ? s.size : (size_t)(found - s.data);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

struct span span_trim(struct span s)
{
    while (s.size > 0 && is_blank(s.data[0])) {
        s.data++;
        s.size--;
    }
    while (s.size > 0 && is_blank(s.data[s.size - 1]))
        s.size--;
    return s;
}

bool span_split(struct span *rest, char separator, struct span *out_item)
{
    if (rest->data == NULL)
        return false;
    size_t at = span_find(*rest, separator);
    *out_item = span_first(*rest, at);
    /* "a," has two items, the second empty; only after the last item is the rest absent. */
    *rest = at == rest->size ? SPAN_NONE : span_of(rest->data + at + 1, rest->size - at - 1);
    return true;
}

bool span_equal_secret(struct span a, struct span b)
{
    if (a.size != b.size)
        return false;
    volatile unsigned char difference = 0;
    for (size_t i = 0; i < a.size; i++)
        difference =
            (unsigned char)(difference | ((unsigned char)a.data[i] ^ (unsigned char)b.data[i]));
    return difference == 0;
}
