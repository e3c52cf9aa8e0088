/* The keys of credentials, each parsed once by a worker and kept: bounded, the one that was not
 * used for longest makes room. */
#ifndef JWT_KEYRING_H
#define JWT_KEYRING_H

#include "jwt.h"
#include "key.h"

/* NULL: no memory. */
keyring *keyring_create(void);
/* NULL is fine. */
void keyring_destroy(keyring *ring);

/* The key of `owner`, for the credential's own algorithm; good until the next call. NULL: the
 * credential has none that can be read and suits. */
struct key *keyring_find(keyring *ring, const weir_credential *owner,
                         const struct algorithm *algorithm, bool secret_is_base64);

#endif
