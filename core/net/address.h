/* Where a socket is: an IPv4 or IPv6 address with its port, or a unix path. A plain value, copied
 * by assignment. The text of the IP is made once, with the address. */
#ifndef WEIR_NET_ADDRESS_H
#define WEIR_NET_ADDRESS_H

#include <stdint.h>
#include <sys/socket.h>

#include "base/error.h"
#include "base/span.h"

#define ADDRESS_TEXT 128 /* room for any address as text, terminated */

struct address {
    uint8_t family;       /* ADDRESS_… */
    uint8_t text_size;    /* of `text` */
    uint16_t port;        /* host order, 0 for unix */
    uint32_t scope;       /* IPv6 zone, 0 mostly */
    unsigned char ip[16]; /* network order; IPv4 uses the first four */
    char text[108];       /* the IP without brackets, or the unix path; terminated */
};
enum { ADDRESS_NONE, ADDRESS_V4, ADDRESS_V6, ADDRESS_UNIX };

/* "127.0.0.1:80", "[::1]:80", "unix:/path"; names are for the resolver: INVALID. */
WEIR_MUST_USE enum weir_err address_parse(struct span text, struct address *out_address);
/* "127.0.0.1", "::1", "[::1]". INVALID when it is no IP literal. */
WEIR_MUST_USE enum weir_err address_parse_ip(struct span text, uint16_t port,
                                             struct address *out_address);
/* family is ADDRESS_NONE when it is of no kind known here. IPv4 mapped into IPv6 becomes IPv4. */
void address_from_sockaddr(struct address *address, const struct sockaddr *from, socklen_t size);
socklen_t address_to_sockaddr(const struct address *address, struct sockaddr_storage *to);
void address_set_port(struct address *address, uint16_t port);
bool address_equal(const struct address *a, const struct address *b); /* with the port */

/* "10.0.0.1", "::1"; the path of a unix address. Lives as long as the address, terminated. */
static inline struct span address_ip_text(const struct address *address)
{
    return (struct span){address->text, address->text_size};
}
/* "10.0.0.1:80", "[::1]:80", "unix:/path". Returns `out` as a span. */
struct span address_text(const struct address *address, char out[ADDRESS_TEXT]);

#endif
