/* Algorithms and keys: which signatures there are, and a key that is parsed once and used often.
 * The algorithm always comes from whoever owns the key, never from a token. */
#ifndef JWT_KEY_H
#define JWT_KEY_H

#include <weir/weir.h>

typedef enum key_family { FAMILY_HS, FAMILY_RS, FAMILY_PS, FAMILY_ES, FAMILY_ED } key_family;

struct algorithm {
    const char *name;
    key_family family;
    const char *digest; /* NULL: the signature has its own */
    const char *group;  /* FAMILY_ES: the one curve */
    unsigned half;      /* FAMILY_ES: bytes of r, and of s */
};

/* "HS256" …, as registered: names have case. NULL: not one of ours, "none" included. */
const struct algorithm *algorithm_find(weir_str name);
/* The names, ending with NULL. */
extern const char *const algorithm_names[];

struct key;

/* The key of HS*. NULL: no memory. */
struct key *key_of_secret(const struct algorithm *algorithm, const void *secret, size_t size);
/* A public key, or a certificate, in PEM. NULL: none can be read. Whether it suits an algorithm is
 * asked of key_suits(). */
struct key *key_of_pem(weir_str pem);
/* From the parts of a JWK, big-endian. NULL: they make no key. */
struct key *key_of_rsa(weir_str modulus, weir_str exponent);
struct key *key_of_point(const char *group, weir_str x, weir_str y);
struct key *key_of_edwards(const char *curve, weir_str x);
/* NULL is fine. */
void key_free(struct key *key);

/* Kind, curve and, with `strict`, size (RFC 7518 3.3: 2,048 bits) are the algorithm's. */
bool key_suits(const struct key *key, const struct algorithm *algorithm, bool strict);
/* Is it the signature of `text`? The key must suit. */
bool key_verify(struct key *key, const struct algorithm *algorithm, weir_str text,
                weir_str signature);

#endif
