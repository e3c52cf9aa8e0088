/* The header of the PROXY protocol, versions 1 and 2 (haproxy, doc/proxy-protocol.txt): with it a
 * balancer that passes bytes on says whom the connection comes from. Pure: bytes in, addresses out.
 * It is read where the configuration asks for it and never guessed (section 2: whoever may choose
 * could pass for anybody). */
#ifndef WEIR_NET_PROXY_PROTOCOL_H
#define WEIR_NET_PROXY_PROTOCOL_H

#include "net/address.h"

/* A header of version 2 says its length, up to 64 KiB. Addresses and what balancers add to them
 * stay far below this; longer ones are refused before anything is kept of them. */
enum { PROXY_HEADER_MAX = 4096 };

enum proxy_result {
    PROXY_MORE,     /* a good beginning: every byte so far belongs to the header, and more does */
    PROXY_ACCEPTED, /* whole */
    PROXY_REFUSED,  /* no header, and no more bytes make it one */
};

struct proxy_header {
    size_t size;    /* of its bytes: what the client sent begins behind them */
    bool announced; /* false (LOCAL, UNKNOWN, unspecified): the addresses of the socket hold */
    struct address source, destination; /* ADDRESS_NONE unless announced */
};

/* `bytes`: everything that has come, from the first byte on. `out_header` is written when ACCEPTED,
 * `out_why` (a sentence, static) when REFUSED. Datagrams are refused: no stream comes from one. */
WEIR_MUST_USE enum proxy_result
proxy_header_parse(struct span bytes, struct proxy_header *out_header, const char **out_why);

#endif
