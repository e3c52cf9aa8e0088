/* Small helpers over weir_str for the files of this plugin. */
#ifndef JWT_TEXT_H
#define JWT_TEXT_H

#include <string.h>
#include <strings.h>

#include <weir/weir.h>

#define TEXT_NONE ((weir_str){NULL, 0})

static inline weir_str text_of(const char *terminated)
{
    return (weir_str){terminated, strlen(terminated)};
}
static inline weir_str text_part(weir_str text, size_t from, size_t to)
{
    return (weir_str){text.data + from, to - from};
}
static inline bool text_equal(weir_str a, weir_str b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}
static inline bool text_equal_nocase(weir_str a, weir_str b)
{
    return a.size == b.size && (a.size == 0 || strncasecmp(a.data, b.data, a.size) == 0);
}
/* Index of the first `byte` from `at` on, or text.size. */
static inline size_t text_find(weir_str text, size_t at, char byte)
{
    const char *found = at < text.size ? memchr(text.data + at, byte, text.size - at) : NULL;
    return found == NULL ? text.size : (size_t)(found - text.data);
}
static inline bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}
static inline weir_str text_trim(weir_str text)
{
    while (text.size > 0 && is_blank(text.data[0]))
        text = text_part(text, 1, text.size);
    while (text.size > 0 && is_blank(text.data[text.size - 1]))
        text.size--;
    return text;
}
/* Among texts of a configured list. */
static inline bool text_is_listed(const weir_list *list, weir_str text)
{
    const weir_str *items = (const weir_str *)list->items;
    for (size_t i = 0; i < list->count; i++)
        if (text_equal(items[i], text))
            return true;
    return false;
}
/* Text as the arguments of "%.*s". */
#define TEXT_ARG(text) (int)(text).size, (text).data

#endif
