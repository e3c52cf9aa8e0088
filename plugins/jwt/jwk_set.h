/* A JSON Web Key Set (RFC 7517): public keys by name. */
#ifndef JWT_JWK_SET_H
#define JWT_JWK_SET_H

#include "key.h"

enum { JWK_SET_BYTES_MAX = 1024 * 1024 };

typedef struct jwk_set jwk_set;

/* Keys that cannot be used (of another use or kind, too small, broken) are left out. `secrets`:
 * take keys of HS*, too, which have no business in a set that anybody can fetch. NULL: no set, or
 * no memory; *out_why says what is wrong (static). */
jwk_set *jwk_set_read(weir_str text, bool secrets, const char **out_why);
/* NULL is fine. */
void jwk_set_free(jwk_set *set);
size_t jwk_set_count(const jwk_set *set);
/* Was it read from this very text? */
bool jwk_set_is(const jwk_set *set, weir_str text);

typedef enum jwk_found {
    JWK_FOUND,
    JWK_UNKNOWN, /* no key of that name; without a name: none that suits, or several */
    JWK_UNSUITED /* a key of that name, but not for that algorithm */
} jwk_found;
/* `kid` may be absent. `set` may be NULL. */
jwk_found jwk_set_find(const jwk_set *set, weir_str kid, const struct algorithm *algorithm,
                       struct key **out_key);

#endif
