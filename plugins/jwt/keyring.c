#include "keyring.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <stdlib.h>

#include "base64.h"
#include "text.h"

enum { WAYS = 4, SETS = 256, SECRET_ROOM = 4096 };

struct slot {
    const weir_credential *owner; /* lives as long as the policy, so its address names it */
    struct key *key;              /* NULL: it has none */
    uint32_t used;
};

struct keyring {
    struct slot slots[SETS][WAYS];
    uint32_t clock;
};

keyring *keyring_create(void)
{
    return calloc(1, sizeof(keyring));
}

void keyring_destroy(keyring *ring)
{
    for (size_t i = 0; ring != NULL && i < SETS; i++)
        for (size_t j = 0; j < WAYS; j++)
            key_free(ring->slots[i][j].key);
    free(ring);
}

static struct key *key_of_encoded(const struct algorithm *algorithm, weir_str secret)
{
    unsigned char bytes[BASE64_ROOM(SECRET_ROOM)];
    size_t size = 0;
    struct key *made = NULL;
    if (secret.size <= SECRET_ROOM && base64_decode_any(secret, bytes, &size))
        made = key_of_secret(algorithm, bytes, size);
    OPENSSL_cleanse(bytes, sizeof(bytes));
    return made;
}

/* A credential without secret has one that nobody knows. */
static struct key *key_of_nobody(const struct algorithm *algorithm)
{
    unsigned char bytes[32];
    return RAND_bytes(bytes, sizeof(bytes)) == 1 ? key_of_secret(algorithm, bytes, sizeof(bytes))
                                                 : NULL;
}

static struct key *make(const credential *data, const struct algorithm *algorithm,
                        bool secret_is_base64)
{
    if (algorithm->family == FAMILY_HS) {
        if (data->secret.data == NULL)
            return key_of_nobody(algorithm);
        return secret_is_base64 ? key_of_encoded(algorithm, data->secret)
                                : key_of_secret(algorithm, data->secret.data, data->secret.size);
    }
    struct key *made = data->rsa_public_key.data == NULL ? NULL : key_of_pem(data->rsa_public_key);
    if (made == NULL || key_suits(made, algorithm, false))
        return made;
    key_free(made);
    return NULL;
}

static size_t set_of(const weir_credential *owner)
{
    uint64_t bits = (uint64_t)(uintptr_t)owner;
    return (size_t)((bits * 0x9e3779b97f4a7c15ULL) >> 32) % SETS;
}

struct key *keyring_find(keyring *ring, const weir_credential *owner,
                         const struct algorithm *algorithm, bool secret_is_base64)
{
    struct slot *set = ring->slots[set_of(owner)], *oldest = &set[0];
    ring->clock++;
    for (size_t i = 0; i < WAYS; i++) {
        if (set[i].owner == owner) {
            set[i].used = ring->clock;
            return set[i].key;
        }
        if (ring->clock - set[i].used > ring->clock - oldest->used)
            oldest = &set[i];
    }
    const credential *data = weir_credential_data(owner);
    key_free(oldest->key);
    *oldest = (struct slot){owner, make(data, algorithm, secret_is_base64), ring->clock};
    if (oldest->key == NULL)
        weir_log(NULL, WEIR_LOG_WARN,
                 "jwt_secrets: the credential %.*s has no key that can be read and suits %s",
                 TEXT_ARG(data->key), algorithm->name);
    return oldest->key;
}
