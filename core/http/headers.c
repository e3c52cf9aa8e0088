#include "http/headers.h"

#include "http/framing.h"
#include "http/names.h"
#include "http/scan.h"

/* clang-format off */
const bool http_token_bytes[256] = {
    ['!'] = 1, ['#'] = 1, ['$'] = 1, ['%'] = 1, ['&'] = 1, ['\''] = 1, ['*'] = 1, ['+'] = 1,
    ['-'] = 1, ['.'] = 1, ['^'] = 1, ['_'] = 1, ['`'] = 1, ['|'] = 1, ['~'] = 1,
    ['0' ... '9'] = 1, ['A' ... 'Z'] = 1, ['a' ... 'z'] = 1,
};
/* clang-format on */

void http_headers_init(struct http_headers *h, struct http_header *items, uint16_t capacity)
{
    h->items = items;
    h->capacity = capacity;
    http_headers_clear(h);
}

void http_headers_clear(struct http_headers *h)
{
    h->count = 0;
    memset(h->first, 0, sizeof(h->first));
    h->thinned = false;
}

bool http_name_is_valid(struct span name)
{
    return name.size > 0 && scan_token(name.data, name.data + name.size) == name.data + name.size;
}

static inline bool is_value(struct span value)
{
    return value.size == 0 ||
           scan_value(value.data, value.data + value.size) == value.data + value.size;
}

bool http_value_is_valid(struct span value)
{
    return is_value(value);
}

/* A name a caller asks for: by id when well known, else by its bytes. */
static struct http_name wanted_of(enum http_header_id id, struct span name)
{
    if (id == HTTP_HEADER_UNKNOWN)
        id = http_header_id_of(name);
    return (struct http_name){id, span_is_set(name) ? name : http_header_name(id)};
}

static inline bool is_wanted(const struct http_header *item, const struct http_name *wanted)
{
    return item->id == wanted->id &&
           (item->id != HTTP_HEADER_UNKNOWN ||
            (item->name.size == wanted->text.size && span_equal_nocase(item->name, wanted->text)));
}

/* Index of the first wanted field at or after `from`, or count. */
static inline size_t find_from(const struct http_headers *h, const struct http_name *wanted,
                               size_t from)
{
    if (wanted->id != HTTP_HEADER_UNKNOWN) {
        size_t first = h->first[wanted->id];
        if (first == 0)
            return h->count;
        if (from < first)
            return first - 1;
    }
    while (from < h->count && !is_wanted(&h->items[from], wanted))
        from++;
    return from;
}

const struct http_header *http_headers_find(const struct http_headers *h, struct span name,
                                            size_t nth)
{
    struct http_name wanted = wanted_of(HTTP_HEADER_UNKNOWN, name);
    size_t at = find_from(h, &wanted, 0);
    while (nth-- > 0 && at < h->count)
        at = find_from(h, &wanted, at + 1);
    return at < h->count ? &h->items[at] : NULL;
}

size_t http_headers_count(const struct http_headers *h, enum http_header_id id, struct span name)
{
    struct http_name wanted = wanted_of(id, name);
    size_t count = 0;
    for (size_t at = find_from(h, &wanted, 0); at < h->count; at = find_from(h, &wanted, at + 1))
        count++;
    return count;
}

static inline enum weir_err append(struct http_headers *h, const struct http_name *wanted,
                                   struct span value)
{
    if (h->count >= h->capacity)
        return WEIR_ERR_LIMIT;
    h->items[h->count++] = (struct http_header){wanted->text, value, (uint16_t)wanted->id,
                                                known_names[wanted->id].flags};
    if (wanted->id != HTTP_HEADER_UNKNOWN && h->first[wanted->id] == 0)
        h->first[wanted->id] = h->count;
    return WEIR_OK;
}

/* A name spelled as the table does needs no look. */
static bool is_name_valid(const struct http_name *wanted, struct span given)
{
    return (wanted->id != HTTP_HEADER_UNKNOWN && !span_is_set(given)) ||
           http_name_is_valid(wanted->text);
}

enum weir_err http_headers_add_name(struct http_headers *h, struct http_name name,
                                    struct span value)
{
    return is_value(value) ? append(h, &name, value) : WEIR_ERR_INVALID;
}

enum weir_err http_headers_add(struct http_headers *h, enum http_header_id id, struct span name,
                               struct span value)
{
    struct http_name wanted = wanted_of(id, name);
    return is_name_valid(&wanted, name) ? http_headers_add_name(h, wanted, value)
                                        : WEIR_ERR_INVALID;
}

/* Drop the wanted fields from `from` on in one pass; returns how many went. */
static size_t remove_from(struct http_headers *h, const struct http_name *wanted, size_t from)
{
    if (wanted->id != HTTP_HEADER_UNKNOWN && h->first[wanted->id] == 0)
        return 0;
    size_t kept = find_from(h, wanted, from);
    if (kept >= h->count)
        return 0;
    for (size_t at = kept; at < h->count; at++)
        if (!is_wanted(&h->items[at], wanted))
            h->items[kept++] = h->items[at];
    size_t removed = h->count - kept;
    h->count = (uint16_t)kept;
    return removed;
}

static void index_again(struct http_headers *h)
{
    memset(h->first, 0, sizeof(h->first));
    for (uint16_t at = h->count; at > 0; at--)
        h->first[h->items[at - 1].id] = at;
    h->first[HTTP_HEADER_UNKNOWN] = 0;
}

enum weir_err http_headers_set_name(struct http_headers *h, struct http_name name,
                                    struct span value)
{
    if (!is_value(value))
        return WEIR_ERR_INVALID;
    size_t at = find_from(h, &name, 0);
    if (at >= h->count)
        return append(h, &name, value);
    h->items[at].value = value;
    h->items[at].name = name.text;
    /* Ours now: that Connection named the one before does not make it go. */
    h->items[at].flags &= (uint16_t)~HTTP_HEADER_HOP;
    h->items[at].flags |= known_names[name.id].flags;
    if (remove_from(h, &name, at + 1) > 0)
        index_again(h);
    return WEIR_OK;
}

enum weir_err http_headers_set(struct http_headers *h, enum http_header_id id, struct span name,
                               struct span value)
{
    struct http_name wanted = wanted_of(id, name);
    if (!is_name_valid(&wanted, name))
        return WEIR_ERR_INVALID;
    return http_headers_set_name(h, wanted, value);
}

size_t http_headers_remove(struct http_headers *h, enum http_header_id id, struct span name)
{
    struct http_name wanted = wanted_of(id, name);
    size_t removed = remove_from(h, &wanted, 0);
    h->thinned = true;
    if (removed > 0)
        index_again(h);
    return removed;
}

void http_headers_remove_at(struct http_headers *h, size_t index)
{
    CHECK_THAT(index < h->count);
    h->thinned = true;
    h->count--;
    memmove(&h->items[index], &h->items[index + 1], (h->count - index) * sizeof(*h->items));
    index_again(h);
}

static void mark(struct http_headers *h, struct span option)
{
    if (span_equal_nocase(option, SPAN("keep-alive"))) /* the most common; never forwarded anyway */
        return;
    struct http_name named = wanted_of(HTTP_HEADER_UNKNOWN, option);
    if ((http_header_flags(named.id) & HTTP_HEADER_KEPT) != 0)
        return;
    for (size_t at = find_from(h, &named, 0); at < h->count; at = find_from(h, &named, at + 1))
        h->items[at].flags |= HTTP_HEADER_HOP;
}

void http_headers_mark_hop(struct http_headers *h)
{
    size_t first = h->first[HTTP_HEADER_CONNECTION];
    for (size_t at = first == 0 ? h->count : first - 1; at < h->count; at++) {
        struct span rest = h->items[at].value, option;
        while (h->items[at].id == HTTP_HEADER_CONNECTION && http_list_next(&rest, &option))
            mark(h, option);
    }
}
