/* c-ares driven by the loop: it tells which sockets it wants watched and until when it waits. */
#include <stdlib.h>

#include "net/resolve_internal.h"

enum { TIMEOUT_MS = 2000, TRIES = 3, ADDRESSES_MAX = 64 };

struct resolver_socket {
    struct list link;
    struct watch watch;
    ares_socket_t fd;
};

/* After everything that may have changed what c-ares waits for. */
static void update_timeout(struct resolver *resolver)
{
    struct timeval wait;
    if (ares_timeout(resolver->channel, NULL, &wait) == NULL) {
        deadline_clear(&resolver->timeout);
        return;
    }
    uint64_t ms = (uint64_t)wait.tv_sec * 1000 + (uint64_t)wait.tv_usec / 1000;
    deadline_set(resolver->loop, &resolver->timeout, ms > 60000 ? 60000 : (uint32_t)ms);
}

static void on_timeout(struct deadline *deadline)
{
    struct resolver *resolver = LIST_ENTRY(deadline, struct resolver, timeout);
    ares_process_fd(resolver->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    update_timeout(resolver);
}

static void on_socket(struct watch *watch, int events)
{
    struct resolver *resolver = watch->user;
    struct resolver_socket *entry = LIST_ENTRY(watch, struct resolver_socket, watch);
    ares_socket_t fd = entry->fd; /* the entry may be gone after the call */
    ares_process_fd(resolver->channel, (events & WATCH_READ) != 0 ? fd : ARES_SOCKET_BAD,
                    (events & WATCH_WRITE) != 0 ? fd : ARES_SOCKET_BAD);
    update_timeout(resolver);
}

static struct resolver_socket *find_socket(struct resolver *resolver, ares_socket_t fd)
{
    LIST_FOREACH (node, &resolver->sockets) {
        struct resolver_socket *entry = LIST_ENTRY(node, struct resolver_socket, link);
        if (entry->fd == fd)
            return entry;
    }
    return NULL;
}

static void on_socket_state(void *user, ares_socket_t fd, int readable, int writable)
{
    struct resolver *resolver = user;
    struct resolver_socket *entry = find_socket(resolver, fd);
    if (!readable && !writable) {
        if (entry == NULL)
            return;
        watch_stop(&entry->watch);
        list_remove(&entry->link);
        free(entry);
        return;
    }
    if (entry == NULL) {
        entry = calloc(1, sizeof *entry);
        if (entry == NULL)
            return; /* the query times out */
        entry->fd = fd;
        entry->watch.user = resolver;
        list_push_back(&resolver->sockets, &entry->link);
    }
    watch_start(resolver->loop, &entry->watch, fd,
                (readable ? WATCH_READ : 0) | (writable ? WATCH_WRITE : 0), on_socket);
}

static enum weir_err meaning(int status)
{
    switch (status) {
    case ARES_ENOTFOUND:
    case ARES_ENODATA:
    case ARES_EBADNAME:
    case ARES_ENONAME:
        return WEIR_ERR_NO_NAME;
    case ARES_ETIMEOUT:
        return WEIR_ERR_TIMEOUT;
    case ARES_ENOMEM:
        return WEIR_ERR_NO_MEMORY;
    default:
        return WEIR_ERR_SYSTEM;
    }
}

static size_t count_family(const struct ares_addrinfo *info, int family)
{
    size_t count = 0;
    for (const struct ares_addrinfo_node *node = info->nodes; node != NULL; node = node->ai_next)
        count += node->ai_family == family;
    return count > ADDRESSES_MAX ? ADDRESSES_MAX : count;
}

/* The shortest life of the addresses and of the aliases that led to them. */
static uint64_t ttl_of(const struct ares_addrinfo *info, int family)
{
    int ttl = INT32_MAX;
    for (const struct ares_addrinfo_node *node = info->nodes; node != NULL; node = node->ai_next)
        if (node->ai_family == family && node->ai_ttl < ttl)
            ttl = node->ai_ttl;
    for (const struct ares_addrinfo_cname *cname = info->cnames; cname != NULL; cname = cname->next)
        if (cname->ttl < ttl)
            ttl = cname->ttl;
    return ttl < 0 ? 0 : (uint64_t)ttl * 1000;
}

static void take_addresses(struct name *name, const struct ares_addrinfo *info)
{
    int family = count_family(info, AF_INET) > 0 ? AF_INET : AF_INET6;
    size_t count = count_family(info, family), filled = 0;
    if (count == 0) {
        name_answered(name, WEIR_ERR_NO_NAME, NULL, 0, 0);
        return;
    }
    struct address *addresses = calloc(count, sizeof *addresses);
    if (addresses == NULL) {
        name_answered(name, WEIR_ERR_NO_MEMORY, NULL, 0, 0);
        return;
    }
    for (const struct ares_addrinfo_node *node = info->nodes; node != NULL && filled < count;
         node = node->ai_next)
        if (node->ai_family == family)
            address_from_sockaddr(&addresses[filled++], node->ai_addr, (socklen_t)node->ai_addrlen);
    name_answered(name, WEIR_OK, addresses, filled, ttl_of(info, family));
}

static void on_answer(void *user, int status, int timeouts, struct ares_addrinfo *info)
{
    struct name *name = user;
    (void)timeouts;
    if (!name->resolver->stopping) {
        if (status == ARES_SUCCESS && info != NULL)
            take_addresses(name, info);
        else
            name_answered(name, meaning(status), NULL, 0, 0);
    }
    if (info != NULL)
        ares_freeaddrinfo(info);
}

void resolver_query(struct name *name)
{
    static const struct ares_addrinfo_hints hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = ARES_AI_NOSORT};
    struct resolver *resolver = name->resolver;
    ares_getaddrinfo(resolver->channel, name->text, NULL, &hints, on_answer, name);
    update_timeout(resolver);
}

bool resolver_start_ares(struct resolver *resolver, const char *nameservers)
{
    char lookups[] = "fb"; /* the file, then the name servers */
    struct ares_options options = {
        .timeout = TIMEOUT_MS,
        .tries = TRIES,
        .lookups = lookups,
        .sock_state_cb = on_socket_state,
        .sock_state_cb_data = resolver,
    };
    if (ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS)
        return false;
    deadline_init(&resolver->timeout, on_timeout);
    if (ares_init_options(&resolver->channel, &options,
                          ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS |
                              ARES_OPT_SOCK_STATE_CB) != ARES_SUCCESS) {
        ares_library_cleanup();
        return false;
    }
    if (nameservers == NULL ||
        ares_set_servers_ports_csv(resolver->channel, nameservers) == ARES_SUCCESS)
        return true;
    resolver_stop_ares(resolver);
    return false;
}

void resolver_stop_ares(struct resolver *resolver)
{
    resolver->stopping = true;
    ares_destroy(resolver->channel);
    deadline_clear(&resolver->timeout);
    LIST_FOREACH (node, &resolver->sockets) {
        struct resolver_socket *entry = LIST_ENTRY(node, struct resolver_socket, link);
        watch_stop(&entry->watch);
        list_remove(&entry->link);
        free(entry);
    }
    ares_library_cleanup();
}
