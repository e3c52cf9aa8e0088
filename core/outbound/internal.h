/* What the files of this room share and nobody else includes. */
#ifndef WEIR_OUTBOUND_INTERNAL_H
#define WEIR_OUTBOUND_INTERNAL_H

#include "base/list.h"
#include "outbound/outbound.h"

struct tls_client;

enum {
    READ_SIZE = 16 * 1024,
    READS_PER_TURN = 4, /* of one stream: others have a turn too */
};

struct outbound {
    struct loop *loop;
    struct resolver *resolver;
    char *ca_path;
    /* Made when first asked for: loading authorities costs milliseconds and a megabyte. */
    struct tls_client *verifying, *trusting;
    struct list streams, fetches;
    char read_buffer[READ_SIZE]; /* of the stream whose turn it is */
};

/* NULL: TLS cannot be set up, and the log says why. */
struct tls_client *outbound_tls(struct outbound *outbound, bool verify);

#endif
