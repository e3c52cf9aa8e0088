/* Settings that a reload cannot change. */
#include "process/instance.h"

enum compared {
    COMPARED_BOOLEAN,
    COMPARED_NUMBER,
    COMPARED_TEXT,
    COMPARED_LIST,
    COMPARED_LISTEN,
    COMPARED_PORTS
};

static const struct row {
    const char *name;
    enum compared type;
    size_t offset;
} rows[] = {
    {"proxy_listen", COMPARED_LISTEN, offsetof(struct settings, proxy_listen)},
    {"admin_listen", COMPARED_LISTEN, offsetof(struct settings, admin_listen)},
    {"status_listen", COMPARED_LISTEN, offsetof(struct settings, status_listen)},
    {"port_maps", COMPARED_PORTS, offsetof(struct settings, port_maps)},
    {"workers", COMPARED_NUMBER, offsetof(struct settings, workers)},
    {"prefix", COMPARED_TEXT, offsetof(struct settings, prefix)},
    {"error_log", COMPARED_TEXT, offsetof(struct settings, error_log)},
    {"ssl_cert", COMPARED_LIST, offsetof(struct settings, ssl_cert)},
    {"ssl_cert_key", COMPARED_LIST, offsetof(struct settings, ssl_cert_key)},
    {"lua_ssl_trusted_certificate", COMPARED_LIST,
     offsetof(struct settings, lua_ssl_trusted_certificate)},
    {"dns_resolver", COMPARED_LIST, offsetof(struct settings, dns_resolver)},
    {"shared_memory_size", COMPARED_NUMBER, offsetof(struct settings, shared_memory_size)},
    {"drain_delay", COMPARED_NUMBER, offsetof(struct settings, drain_delay_ms)},
    {"drain_timeout", COMPARED_NUMBER, offsetof(struct settings, drain_timeout_ms)},
    {"plugin_watch", COMPARED_BOOLEAN, offsetof(struct settings, plugin_watch)},
    {"swap_watch", COMPARED_NUMBER, offsetof(struct settings, swap_watch_ms)},
    {"keep_previous", COMPARED_NUMBER, offsetof(struct settings, keep_previous_ms)},
    {"quarantine_crashes", COMPARED_NUMBER, offsetof(struct settings, quarantine_crashes)},
    {"quarantine_window", COMPARED_NUMBER, offsetof(struct settings, quarantine_window_ms)},
    {"watchdog", COMPARED_NUMBER, offsetof(struct settings, watchdog_ms)},
};

static bool same_boolean(const void *a, const void *b)
{
    return *(const bool *)a == *(const bool *)b;
}

static bool same_number(const void *a, const void *b)
{
    return *(const int64_t *)a == *(const int64_t *)b;
}

static bool same_text(const void *a, const void *b)
{
    return span_equal(*(const struct span *)a, *(const struct span *)b);
}

static bool same_list(const void *a, const void *b)
{
    const struct span_list *one = a, *other = b;
    bool same = one->count == other->count;
    for (size_t i = 0; same && i < one->count; i++)
        same = span_equal(one->items[i], other->items[i]);
    return same;
}

static bool same_listen(const void *a, const void *b)
{
    const struct listen_list *one = a, *other = b;
    bool same = one->count == other->count;
    for (size_t i = 0; same && i < one->count; i++) {
        const struct listen *x = &one->items[i], *y = &other->items[i];
        same = span_equal(x->address, y->address) && x->ssl == y->ssl && x->http2 == y->http2 &&
               x->proxy_protocol == y->proxy_protocol && x->backlog == y->backlog;
    }
    return same;
}

static bool same_ports(const void *a, const void *b)
{
    const struct port_map_list *one = a, *other = b;
    bool same = one->count == other->count;
    for (size_t i = 0; same && i < one->count; i++)
        same = one->items[i].outside == other->items[i].outside &&
               one->items[i].inside == other->items[i].inside;
    return same;
}

void settings_compare(const struct settings *running, const struct settings *wanted,
                      const char *file, struct buf *out)
{
    static bool (*const same[])(const void *a, const void *b) = {
        [COMPARED_BOOLEAN] = same_boolean, [COMPARED_NUMBER] = same_number,
        [COMPARED_TEXT] = same_text,       [COMPARED_LIST] = same_list,
        [COMPARED_LISTEN] = same_listen,   [COMPARED_PORTS] = same_ports,
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const struct row *row = &rows[i];
        if (!same[row->type]((const char *)running + row->offset,
                             (const char *)wanted + row->offset))
            buf_printf(out, "%s: warning: gateway.%s: the change needs a restart\n", file,
                       row->name);
    }
}
