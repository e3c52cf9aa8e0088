#include "process/sockets.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "net/listen.h"

struct opening {
    struct sockets *sockets;
    const struct settings *settings;
    uint32_t workers;
    char *why;
    size_t why_size;
};

static uint16_t outside_port(const struct settings *settings, uint16_t port)
{
    for (size_t i = 0; i < settings->port_maps.count; i++)
        if (settings->port_maps.items[i].inside == port)
            return settings->port_maps.items[i].outside;
    return port;
}

/* The port of 0 is chosen by the kernel once, for all sockets of the listener. */
static void ask_address(int fd, struct address *address)
{
    struct sockaddr_storage storage;
    socklen_t size = sizeof(storage);
    if (address->family != ADDRESS_UNIX && getsockname(fd, (struct sockaddr *)&storage, &size) == 0)
        address_set_port(address,
                         storage.ss_family == AF_INET
                             ? ntohs(((struct sockaddr_in *)(void *)&storage)->sin_port)
                             : ntohs(((struct sockaddr_in6 *)(void *)&storage)->sin6_port));
}

static bool open_one(struct opening *opening, const struct listen *listen, enum socket_kind kind,
                     uint32_t worker, struct address *address)
{
    bool of_worker = worker != SOCKET_OF_ALL;
    int backlog = listen->backlog > 0 ? listen->backlog : SOMAXCONN;
    int fd = listen_open(address, of_worker, backlog, opening->why, opening->why_size);
    if (fd < 0)
        return false;
    ask_address(fd, address);
    struct sockets *sockets = opening->sockets;
    sockets->items[sockets->count++] =
        (struct listen_socket){.fd = fd,
                               .kind = kind,
                               .worker = worker,
                               .tls = listen->ssl,
                               .proxy_protocol = listen->proxy_protocol,
                               .port = outside_port(opening->settings, address->port),
                               .address = *address};
    sockets->any_tls = sockets->any_tls || listen->ssl;
    return true;
}

static bool open_listener(struct opening *opening, const struct listen *listen,
                          enum socket_kind kind)
{
    struct address address;
    if (address_parse(listen->address, &address) != WEIR_OK) {
        (void)snprintf(opening->why, opening->why_size,
                       "cannot listen on %.*s: expected an IP address with port, or unix:/path",
                       SPAN_ARG(listen->address));
        return false;
    }
    if (listen->proxy_protocol && kind != SOCKET_PROXY) {
        (void)snprintf(opening->why, opening->why_size,
                       "cannot listen on %.*s: proxy_protocol is for proxy_listen alone",
                       SPAN_ARG(listen->address));
        return false;
    }
    if (kind != SOCKET_PROXY || address.family == ADDRESS_UNIX)
        return open_one(opening, listen, kind, SOCKET_OF_ALL, &address);
    /* Otherwise a second gateway of the same user would quietly take half of the traffic. */
    if (address.port != 0 && !listen_is_free(&address, opening->why, opening->why_size))
        return false;
    for (uint32_t worker = 0; worker < opening->workers; worker++)
        if (!open_one(opening, listen, kind, worker, &address))
            return false;
    return true;
}

bool sockets_open(struct sockets *sockets, const struct settings *settings, uint32_t workers,
                  bool with_side, char *why, size_t why_size)
{
    struct opening opening = {sockets, settings, workers, why, why_size};
    const struct {
        const struct listen_list *list;
        enum socket_kind kind;
    } lists[] = {{&settings->proxy_listen, SOCKET_PROXY},
                 {&settings->status_listen, SOCKET_STATUS},
                 {&settings->admin_listen, SOCKET_ADMIN}};
    size_t kinds = with_side ? COUNT_OF(lists) : 1;
    size_t most = settings->proxy_listen.count * workers + settings->status_listen.count +
                  settings->admin_listen.count;
    *sockets = (struct sockets){.items = calloc(most + 1, sizeof(*sockets->items))};
    if (sockets->items == NULL) {
        (void)snprintf(why, why_size, "no memory");
        return false;
    }
    for (size_t k = 0; k < kinds; k++)
        for (size_t i = 0; i < lists[k].list->count; i++)
            if (!open_listener(&opening, &lists[k].list->items[i], lists[k].kind)) {
                sockets_close(sockets);
                return false;
            }
    return true;
}

static void close_one(struct listen_socket *item)
{
    if (item->fd >= 0)
        (void)close(item->fd);
    item->fd = -1;
}

void sockets_close(struct sockets *sockets)
{
    for (size_t i = 0; i < sockets->count; i++)
        if (sockets->items[i].address.family == ADDRESS_UNIX)
            (void)unlink(sockets->items[i].address.text);
    sockets_forget(sockets);
}

void sockets_keep(struct sockets *sockets, uint32_t worker)
{
    for (size_t i = 0; i < sockets->count; i++)
        if (worker == SOCKET_OF_ALL || !socket_is_for(&sockets->items[i], worker))
            close_one(&sockets->items[i]);
}

void sockets_close_proxy(struct sockets *sockets)
{
    for (size_t i = 0; i < sockets->count; i++)
        if (sockets->items[i].kind == SOCKET_PROXY)
            close_one(&sockets->items[i]);
}

void sockets_forget(struct sockets *sockets)
{
    sockets_keep(sockets, SOCKET_OF_ALL);
    free(sockets->items);
    *sockets = (struct sockets){0};
}

void sockets_describe(const struct sockets *sockets, enum socket_kind kind, struct buf *out)
{
    size_t told = 0;
    for (size_t i = 0; i < sockets->count; i++) {
        const struct listen_socket *item = &sockets->items[i];
        char text[ADDRESS_TEXT];
        if (item->kind != kind || (item->worker != SOCKET_OF_ALL && item->worker != 0))
            continue;
        struct span address = address_text(&item->address, text);
        buf_printf(out, "%s%.*s%s%s", told++ > 0 ? ", " : "", SPAN_ARG(address),
                   item->proxy_protocol ? " (proxy_protocol)" : "", item->tls ? " (tls)" : "");
    }
    if (told == 0)
        buf_text(out, "off");
}
