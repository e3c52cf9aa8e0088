#include "route/order.h"

#include <stdlib.h>

static uint64_t at_most(uint64_t value, uint64_t most)
{
    return value < most ? value : most;
}

static uint64_t field_count(const struct route *route)
{
    return (uint64_t)(route->methods.count != 0) + (route->hosts.count != 0) +
           (route->header_count != 0) + (route->paths.count != 0) + (route->snis.count != 0);
}

struct host_traits {
    bool wildcard, wildcard_port;
};

static struct host_traits look_at_hosts(const struct route *route)
{
    struct host_traits traits = {false, false};
    for (size_t i = 0; i < route->hosts.count; i++) {
        struct name_pattern host = name_pattern_parse(route->hosts.items[i]);
        bool wildcard = host.kind != NAME_EXACT;
        traits.wildcard |= wildcard;
        traits.wildcard_port |= wildcard && host.port != NO_PORT;
    }
    return traits;
}

/*  63-61  number of fields used          51     regex path
 *     60  hosts, none with a wildcard    50-19  regex_priority
 *  59-52  number of header names         18-0   length of the plain path */
static uint64_t compatible_priority(const struct route *route, bool regex, uint32_t path_size)
{
    uint64_t priority = field_count(route) << 61;
    if (route->hosts.count != 0 && !look_at_hosts(route).wildcard)
        priority |= UINT64_C(1) << 60;
    priority |= at_most(route->header_count, 255) << 52;
    if (!regex)
        return priority | at_most(path_size, 0x7ffff);
    /* A negative one would spill over all higher bits: it counts as none. */
    uint64_t wanted = route->regex_priority < 0 ? 0 : (uint64_t)route->regex_priority;
    return priority | UINT64_C(1) << 51 | at_most(wanted, UINT32_MAX) << 19;
}

/*  52-50  number of fields used    42-40  wildcard host with port, hosts without wildcard, regex
 * path 49-43  which fields             39-32  number of header names 31-0   regex_priority, or
 * length of the plain path */
static uint64_t traditional_priority(const struct route *route, bool regex, uint32_t path_size)
{
    struct host_traits hosts = look_at_hosts(route);
    uint64_t fields =
        (route->hosts.count != 0 ? 0x40u : 0u) | (route->header_count != 0 ? 0x20u : 0u) |
        (route->paths.count != 0 ? 0x10u : 0u) | (route->methods.count != 0 ? 0x08u : 0u) |
        (route->snis.count != 0 ? 0x04u : 0u);
    uint64_t weight = (hosts.wildcard_port ? 4u : 0u) | (regex ? 1u : 0u) |
                      (route->hosts.count != 0 && !hosts.wildcard ? 2u : 0u);
    int64_t wanted = route->regex_priority;
    wanted = wanted < INT32_MIN ? INT32_MIN : wanted > INT32_MAX ? INT32_MAX : wanted;
    uint64_t last = regex ? (uint64_t)(wanted - INT32_MIN) : path_size;
    return field_count(route) << 50 | fields << 43 | weight << 40 |
           at_most(route->header_count, 255) << 32 | last;
}

uint64_t entry_priority(const struct route *route, bool regex, uint32_t path_size,
                        enum router_flavor flavor)
{
    return flavor == ROUTER_TRADITIONAL ? traditional_priority(route, regex, path_size)
                                        : compatible_priority(route, regex, path_size);
}

static int compare_ids(const struct entry *a, const struct entry *b)
{
    int order = span_compare(a->route->id, b->route->id);
    if (order != 0)
        return order;
    /* The same id only in hand-made configurations; the order must be total all the same. */
    return a->route->index < b->route->index ? -1 : a->route->index > b->route->index;
}

static int compare_compatible(const void *left, const void *right)
{
    const struct entry *a = left, *b = right;
    if (a->priority != b->priority)
        return a->priority > b->priority ? -1 : 1;
    return compare_ids(b, a);
}

static int compare_traditional(const void *left, const void *right)
{
    const struct entry *a = left, *b = right;
    if (a->priority != b->priority)
        return a->priority > b->priority ? -1 : 1;
    if (a->route->created_at != b->route->created_at)
        return a->route->created_at < b->route->created_at ? -1 : 1;
    return compare_ids(a, b);
}

void entries_sort(struct entry *entries, size_t count, enum router_flavor flavor)
{
    if (count > 0)
        qsort(entries, count, sizeof(*entries),
              flavor == ROUTER_TRADITIONAL ? compare_traditional : compare_compatible);
}
