/* Small helpers over weir_str for the files of this plugin. */
#ifndef KEY_AUTH_TEXT_H
#define KEY_AUTH_TEXT_H

#include <string.h>
#include <strings.h>

#include <weir/weir.h>

static inline weir_str text_part(weir_str text, size_t from, size_t to)
{
    return (weir_str){text.data + from, to - from};
}
static inline bool text_equal(weir_str a, weir_str b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}
static inline bool text_starts_nocase(weir_str text, weir_str start)
{
    return text.size >= start.size && strncasecmp(text.data, start.data, start.size) == 0;
}
/* Index of the first `byte` from `at` on, or text.size. */
static inline size_t text_find(weir_str text, size_t at, char byte)
{
    const char *found = at < text.size ? memchr(text.data + at, byte, text.size - at) : NULL;
    return found == NULL ? text.size : (size_t)(found - text.data);
}
static inline size_t text_search(weir_str text, size_t at, weir_str needle)
{
    const char *found =
        at < text.size ? memmem(text.data + at, text.size - at, needle.data, needle.size) : NULL;
    return found == NULL ? text.size : (size_t)(found - text.data);
}
/* -1: it is none. */
static inline int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}
static inline bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}
static inline weir_str text_trim(weir_str text)
{
    while (text.size > 0 && is_blank(text.data[0]))
        text = text_part(text, 1, text.size);
    while (text.size > 0 && is_blank(text.data[text.size - 1]))
        text.size--;
    return text;
}

#endif
