/* Kong's listener syntax. */
#include "config/listen.h"

#include <stdio.h>

#include "base/text.h"
#include "config/paths.h"

static size_t count_items(struct span text)
{
    size_t count = 0;
    struct span item = SPAN_NONE;
    while (span_split(&text, ',', &item))
        count += !span_is_empty(span_trim(item));
    return count;
}

static bool read_port(struct span text, uint16_t *out_port)
{
    uint64_t port = 0;
    if (!text_to_u64(text, &port) || port > 65535)
        return false;
    *out_port = (uint16_t)port;
    return true;
}

static bool read_address(struct span text, struct listen *listen)
{
    listen->address = text;
    if (span_starts_with(text, SPAN("unix:"))) {
        listen->unix_socket = true;
        listen->host = span_from(text, 5);
        return listen->host.size > 0;
    }
    size_t colon = text.size;
    while (colon > 0 && text.data[colon - 1] != ':')
        colon--;
    if (colon == 0 || !read_port(span_from(text, colon), &listen->port))
        return false;
    listen->host = span_first(text, colon - 1);
    if (host_is_ipv6(listen->host)) {
        if (listen->host.data[0] != '[')
            return false; /* without brackets nobody can tell the port */
        listen->host = span_of(listen->host.data + 1, listen->host.size - 2);
        return true;
    }
    return host_is_ipv4(listen->host) || host_is_name(listen->host);
}

static bool read_flag(struct span word, struct listen *listen)
{
    const struct {
        const char *name;
        bool *flag;
    } flags[] = {{"ssl", &listen->ssl},
                 {"http2", &listen->http2},
                 {"proxy_protocol", &listen->proxy_protocol},
                 {"reuseport", &listen->reuseport},
                 {"ipv6only", &listen->ipv6only},
                 {"ipv6only=on", &listen->ipv6only}};
    static const char *const ignored[] = {"deferred", "bind", "default_server", "ipv6only=off"};
    uint64_t backlog = 0;
    for (size_t i = 0; i < COUNT_OF(flags); i++) {
        if (span_equal(word, span_text(flags[i].name)))
            return *flags[i].flag = true;
    }
    for (size_t i = 0; i < COUNT_OF(ignored); i++) {
        if (span_equal(word, span_text(ignored[i])))
            return true;
    }
    if (span_starts_with(word, SPAN("so_keepalive")))
        return true;
    if (!span_starts_with(word, SPAN("backlog=")) || !text_to_u64(span_from(word, 8), &backlog) ||
        backlog > 1 << 20)
        return false;
    listen->backlog = (int)backlog;
    return true;
}

static enum weir_err read_listen(struct span text, struct listen *listen, char *why,
                                 size_t why_size)
{
    struct span word = SPAN_NONE;
    bool has_address = false;
    while (span_split(&text, ' ', &word)) {
        if (span_is_empty(word))
            continue;
        if (!has_address && !read_address(word, listen)) {
            snprintf(why, why_size, "'%.*s' is no address: expected HOST:PORT or unix:/path",
                     SPAN_ARG(span_first(word, 100)));
            return WEIR_ERR_INVALID;
        }
        if (has_address && !read_flag(word, listen)) {
            snprintf(why, why_size,
                     "unknown flag '%.*s' (ssl, http2, proxy_protocol, reuseport, "
                     "ipv6only, backlog=N)",
                     SPAN_ARG(span_first(word, 100)));
            return WEIR_ERR_INVALID;
        }
        has_address = true;
    }
    return WEIR_OK;
}

enum weir_err listen_parse(struct arena *arena, struct span text, struct listen_list *out_list,
                           char *why, size_t why_size)
{
    struct span item = SPAN_NONE;
    text = span_trim(text);
    size_t count = span_equal(text, SPAN("off")) ? 0 : count_items(text), used = 0;
    struct listen *items = arena_array(arena, struct listen, count + 1);
    if (items == NULL)
        return WEIR_ERR_NO_MEMORY;
    while (used < count && span_split(&text, ',', &item)) {
        item = span_trim(item);
        if (!span_is_empty(item))
            TRY(read_listen(item, &items[used++], why, why_size));
    }
    *out_list = (struct listen_list){items, count};
    return WEIR_OK;
}

enum weir_err port_maps_parse(struct arena *arena, struct span text, struct port_map_list *out_list,
                              char *why, size_t why_size)
{
    struct span item = SPAN_NONE;
    size_t count = count_items(text), used = 0;
    struct port_map *items = arena_array(arena, struct port_map, count + 1);
    if (items == NULL)
        return WEIR_ERR_NO_MEMORY;
    while (used < count && span_split(&text, ',', &item)) {
        item = span_trim(item);
        size_t colon = span_find(item, ':');
        if (span_is_empty(item))
            continue;
        if (!read_port(span_first(item, colon), &items[used].outside) ||
            !read_port(span_from(item, colon + 1), &items[used].inside)) {
            snprintf(why, why_size, "'%.*s' is no pair of ports such as 80:8000",
                     SPAN_ARG(span_first(item, 100)));
            return WEIR_ERR_INVALID;
        }
        used++;
    }
    *out_list = (struct port_map_list){items, count};
    return WEIR_OK;
}
