/* What a policy's own conversations share in one worker: the loop they run on, the resolver, and
 * TLS set up once for those who verify and once for those who do not. A stream is stream.h, an HTTP
 * request fetch.h. */
#ifndef WEIR_OUTBOUND_OUTBOUND_H
#define WEIR_OUTBOUND_OUTBOUND_H

#include "base/auto.h"

struct loop;
struct outbound;
struct resolver;

/* Both are borrowed and must outlive it. `ca_path`: a PEM file of authorities, NULL for the
 * system's; not needed after the call. NULL without memory. */
WEIR_MUST_USE struct outbound *outbound_create(struct loop *loop, struct resolver *resolver,
                                               const char *ca_path);
/* What is still open is closed, what is under way cancelled, without a word to its owner. Not
 * inside a callback of theirs. NULL is fine. */
void outbound_destroy(struct outbound *outbound);
AUTO_DEFINE(struct outbound, outbound_destroy)

#endif
