/* What makes requests alike for an upstream that hashes: the hash_on and hash_fallback of Kong's
 * format (kong-format 5.3). */
#ifndef WEIR_GATEWAY_AFFINITY_H
#define WEIR_GATEWAY_AFFINITY_H

#include "upstream/pick.h"

/* For pick->hash; pick->user is the exchange. With hash_on: cookie and a request without it the
 * answer will bring one: exchange->affinity_cookie. */
uint64_t affinity_hash(struct pick *pick, const struct upstream *upstream);

#endif
