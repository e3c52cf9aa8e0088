/* Every listening socket of the gateway, opened by the master and kept for its whole life: what
 * waits in the queue of a dead worker is served by its replacement. A proxy listener has one socket
 * for each worker (SO_REUSEPORT); unix sockets, status and admin have one that all share. */
#ifndef WEIR_PROCESS_SOCKETS_H
#define WEIR_PROCESS_SOCKETS_H

#include "base/buf.h"
#include "config/settings.h"
#include "net/address.h"

enum socket_kind { SOCKET_PROXY, SOCKET_STATUS, SOCKET_ADMIN };
enum { SOCKET_OF_ALL = UINT32_MAX };

struct listen_socket {
    int fd;
    enum socket_kind kind;
    uint32_t worker; /* whose, or SOCKET_OF_ALL */
    bool tls;
    bool proxy_protocol;    /* a connection begins with a PROXY header */
    uint16_t port;          /* as clients see it: after port_maps */
    struct address address; /* with the real port */
};
struct sockets {
    struct listen_socket *items;
    size_t count;
    bool any_tls;
};

/* `with_side`: status and admin too. All or none; false with a sentence in `why`. */
WEIR_MUST_USE bool sockets_open(struct sockets *sockets, const struct settings *settings,
                                uint32_t workers, bool with_side, char *why, size_t why_size);
/* Paths of unix sockets go. */
void sockets_close(struct sockets *sockets);
/* In a child: close all that are not this worker's; SOCKET_OF_ALL: close every one. Paths stay. */
void sockets_keep(struct sockets *sockets, uint32_t worker);
/* No more traffic comes in; status and admin stay. */
void sockets_close_proxy(struct sockets *sockets);
/* In a child, at its end: close what is left, paths stay. */
void sockets_forget(struct sockets *sockets);
/* "127.0.0.1:8000 (proxy_protocol), 127.0.0.1:8443 (tls)" of one kind. */
void sockets_describe(const struct sockets *sockets, enum socket_kind kind, struct buf *out);
static inline bool socket_is_for(const struct listen_socket *socket, uint32_t worker)
{
    return socket->fd >= 0 && (socket->worker == worker || socket->worker == SOCKET_OF_ALL);
}

#endif
