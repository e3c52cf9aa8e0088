/* The key sets of a policy: one from a file, read at start, and one from a URL, fetched at start,
 * again for a key that is not known, and again in the background once it is older than the
 * interval; each time the interval must have passed since the last try. A fetch that fails changes
 * nothing. */
#ifndef JWT_JWKS_H
#define JWT_JWKS_H

#include "jwk_set.h"
#include "jwt.h"

/* Reads the file, begins the first fetch. NULL: no memory, or the file is no key set: logged. */
jwks *jwks_create(const jwt_policy *policy);
/* NULL is fine. */
void jwks_destroy(jwks *keys);

/* As jwk_set_find(), in the file's set first. */
jwk_found jwks_find(jwks *keys, weir_str kid, const struct algorithm *algorithm,
                    struct key **out_key);
/* Is there any key? */
bool jwks_has_keys(const jwks *keys);
/* Changes with every change of the keys. */
uint32_t jwks_serial(const jwks *keys);
/* Is a fetch under way, or was one begun now, that may bring a key which is not known? */
bool jwks_is_coming(jwks *keys);
/* Fetch what is old in the background. */
void jwks_refresh(jwks *keys);
/* Park until the fetch has ended; true: the hook returns WEIR_WAIT. False: too many wait already,
 * or no memory. */
bool jwks_wait(jwks *keys, weir_request *request, weir_wake_hook *on_wake);

#endif
