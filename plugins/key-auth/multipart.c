#include "multipart.h"

#include "text.h"

enum { BOUNDARY_MAX = 70 /* RFC 2046 5.1.1 */ };

/* The value of `name=` among the parameters of a header, without its quotes; unset: absent. */
static weir_str parameter(weir_str header, weir_str name)
{
    for (size_t at = text_find(header, 0, ';'); at < header.size;) {
        size_t end = text_find(header, at + 1, ';');
        weir_str item = text_trim(text_part(header, at + 1, end));
        at = end;
        if (!text_starts_nocase(item, name) || item.size <= name.size ||
            item.data[name.size] != '=')
            continue;
        weir_str value = text_part(item, name.size + 1, item.size);
        if (value.size >= 2 && value.data[0] == '"' && value.data[value.size - 1] == '"')
            value = text_part(value, 1, value.size - 1);
        return value;
    }
    return (weir_str){NULL, 0};
}

bool multipart_delimiter(weir_request *request, weir_str content_type, weir_str *out_delimiter)
{
    weir_str boundary = parameter(content_type, WEIR_LIT("boundary"));
    if (boundary.size == 0 || boundary.size > BOUNDARY_MAX)
        return false;
    char *text = weir_request_alloc(request, boundary.size + 2);
    if (text == NULL)
        return false;
    memcpy(text, "--", 2);
    memcpy(text + 2, boundary.data, boundary.size);
    *out_delimiter = (weir_str){text, boundary.size + 2};
    return true;
}

static weir_str name_of(weir_str head)
{
    for (size_t at = 0; at < head.size;) {
        size_t end = text_find(head, at, '\n');
        weir_str line = text_trim(text_part(head, at, end));
        at = end + 1;
        if (text_starts_nocase(line, WEIR_LIT("content-disposition:")))
            return parameter(line, WEIR_LIT("name"));
    }
    return (weir_str){NULL, 0};
}

/* A delimiter counts only at the start of a line. */
static size_t find_delimiter(weir_str text, size_t at, weir_str delimiter)
{
    size_t found = text_search(text, at, delimiter);
    while (found > 0 && found < text.size && text.data[found - 1] != '\n')
        found = text_search(text, found + 1, delimiter);
    return found;
}

/* The part whose delimiter stands at or after *at. */
static bool next_part(weir_str text, weir_str delimiter, size_t *at, multipart_part *out)
{
    static const char blank_line[] = "\r\n\r\n";
    size_t begin = find_delimiter(text, *at, delimiter);
    size_t head = begin + delimiter.size;
    if (begin >= text.size || head + 2 > text.size || memcmp(text.data + head, "--", 2) == 0)
        return false;
    size_t end = find_delimiter(text, head, delimiter);
    weir_str inside = text_part(text, head, end);
    size_t blank = text_search(inside, 0, (weir_str){blank_line, 4});
    *out = (multipart_part){.begin = begin, .end = end};
    *at = end;
    if (blank >= inside.size)
        return true; /* no content */
    out->name = name_of(text_part(inside, 0, blank));
    out->content = text_part(inside, blank + 4, inside.size);
    /* The line end before the delimiter belongs to the delimiter. */
    if (out->content.size >= 2 && memcmp(out->content.data + out->content.size - 2, "\r\n", 2) == 0)
        out->content.size -= 2;
    return true;
}

static bool has_name(const multipart_part *part, weir_str name)
{
    return part->name.data != NULL && text_equal(part->name, name);
}

size_t multipart_find(weir_str text, weir_str delimiter, weir_str name, multipart_part *out_part)
{
    size_t at = 0, count = 0;
    multipart_part part;
    while (next_part(text, delimiter, &at, &part))
        if (has_name(&part, name) && count++ == 0)
            *out_part = part;
    return count;
}

bool multipart_without(weir_request *request, weir_str text, weir_str delimiter, weir_str name,
                       weir_str *out_text)
{
    char *made = weir_request_alloc(request, text.size + 1);
    size_t at = 0, copied = 0, size = 0;
    multipart_part part;
    if (made == NULL)
        return false;
    while (next_part(text, delimiter, &at, &part)) {
        if (!has_name(&part, name))
            continue;
        memcpy(made + size, text.data + copied, part.begin - copied);
        size += part.begin - copied;
        copied = part.end;
    }
    if (copied < text.size)
        memcpy(made + size, text.data + copied, text.size - copied);
    size += text.size - copied;
    *out_text = (weir_str){made, size};
    return true;
}
