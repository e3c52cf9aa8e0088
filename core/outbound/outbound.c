#include "outbound/outbound.h"

#include <stdlib.h>

#include "base/log.h"
#include "net/tls.h"
#include "outbound/fetch.h"
#include "outbound/internal.h"
#include "outbound/stream.h"

struct outbound *outbound_create(struct loop *loop, struct resolver *resolver, const char *ca_path)
{
    struct outbound *outbound = calloc(1, sizeof(*outbound));
    if (outbound == NULL)
        return NULL;
    outbound->loop = loop;
    outbound->resolver = resolver;
    list_init(&outbound->streams);
    list_init(&outbound->fetches);
    if (ca_path != NULL && (outbound->ca_path = strdup(ca_path)) == NULL) {
        free(outbound);
        return NULL;
    }
    return outbound;
}

void outbound_destroy(struct outbound *outbound)
{
    if (outbound == NULL)
        return;
    fetches_cancel(outbound); /* first: a fetch closes its own stream */
    streams_close(outbound);
    tls_client_destroy(outbound->verifying);
    tls_client_destroy(outbound->trusting);
    free(outbound->ca_path);
    free(outbound);
}

struct tls_client *outbound_tls(struct outbound *outbound, bool verify)
{
    struct tls_client **slot = verify ? &outbound->verifying : &outbound->trusting;
    char why[256] = "";
    if (*slot == NULL) {
        *slot = tls_client_create(verify, verify ? outbound->ca_path : NULL, why, sizeof(why));
        if (*slot == NULL)
            log_warn("connections of policies cannot use TLS: %s", why);
    }
    return *slot;
}
