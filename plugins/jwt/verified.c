#include "verified.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>

#include "text.h"

enum { WAYS = 4, SETS = 1024, TEXT_BYTES_MAX = 2048 };

struct slot {
    unsigned char digest[DIGEST_BYTES];
    uint32_t used;
    bool taken;
    verified_token token;
    void *memory; /* of its texts */
};

struct verified {
    EVP_MD *sha256;
    EVP_MD_CTX *hashing;
    uint32_t clock;
    struct slot (*slots)[WAYS]; /* SETS of them, from the first good token on */
};

verified *verified_create(void)
{
    verified *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return NULL;
    made->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    made->hashing = EVP_MD_CTX_new();
    if (made->sha256 != NULL && made->hashing != NULL)
        return made;
    verified_destroy(made);
    return NULL;
}

void verified_destroy(verified *tokens)
{
    if (tokens == NULL)
        return;
    for (size_t i = 0; tokens->slots != NULL && i < SETS; i++)
        for (size_t j = 0; j < WAYS; j++)
            free(tokens->slots[i][j].memory);
    free(tokens->slots);
    EVP_MD_CTX_free(tokens->hashing);
    EVP_MD_free(tokens->sha256);
    free(tokens);
}

bool verified_digest(verified *tokens, weir_str text, unsigned char out[DIGEST_BYTES])
{
    return EVP_DigestInit_ex2(tokens->hashing, tokens->sha256, NULL) == 1 &&
           EVP_DigestUpdate(tokens->hashing, text.data, text.size) == 1 &&
           EVP_DigestFinal_ex(tokens->hashing, out, NULL) == 1;
}

static struct slot *set_of(verified *tokens, const unsigned char *digest)
{
    return tokens->slots[(digest[0] | (size_t)digest[1] << 8) % SETS];
}

static struct slot *find(verified *tokens, const unsigned char *digest)
{
    struct slot *set = tokens->slots == NULL ? NULL : set_of(tokens, digest);
    for (size_t i = 0; set != NULL && i < WAYS; i++)
        if (set[i].taken && CRYPTO_memcmp(set[i].digest, digest, DIGEST_BYTES) == 0)
            return &set[i];
    return NULL;
}

static void clear(struct slot *slot)
{
    free(slot->memory);
    memset(slot, 0, sizeof(*slot));
}

const verified_token *verified_find(verified *tokens, const unsigned char digest[DIGEST_BYTES])
{
    struct slot *found = find(tokens, digest);
    if (found == NULL)
        return NULL;
    found->used = ++tokens->clock;
    return &found->token;
}

void verified_drop(verified *tokens, const unsigned char digest[DIGEST_BYTES])
{
    struct slot *found = find(tokens, digest);
    if (found != NULL)
        clear(found);
}

static weir_str copy(weir_str text, char **at)
{
    char *start = *at;
    if (text.data == NULL)
        return TEXT_NONE;
    memcpy(start, text.data, text.size);
    *at += text.size;
    return (weir_str){start, text.size};
}

/* One block: the values, then all bytes. */
static bool copy_texts(struct slot *slot, const verified_token *token)
{
    size_t bytes = token->identifier.size;
    for (size_t i = 0; i < token->value_count; i++)
        bytes += token->values[i].size;
    if (bytes > TEXT_BYTES_MAX)
        return false;
    weir_str *values = malloc(token->value_count * sizeof(*values) + bytes + 1);
    if (values == NULL)
        return false;
    char *at = (char *)(values + token->value_count);
    slot->memory = values;
    slot->token.identifier = copy(token->identifier, &at);
    for (size_t i = 0; i < token->value_count; i++)
        values[i] = copy(token->values[i], &at);
    slot->token.values = values;
    return true;
}

void verified_keep(verified *tokens, const unsigned char digest[DIGEST_BYTES],
                   const verified_token *token)
{
    if (tokens->slots == NULL)
        tokens->slots = calloc(SETS, sizeof(*tokens->slots));
    if (tokens->slots == NULL)
        return;
    struct slot *set = set_of(tokens, digest), *oldest = &set[0];
    tokens->clock++;
    for (size_t i = 0; i < WAYS; i++)
        if (!set[i].taken ||
            (oldest->taken && tokens->clock - set[i].used > tokens->clock - oldest->used))
            oldest = &set[i];
    clear(oldest);
    oldest->token = *token;
    if (!copy_texts(oldest, token)) {
        clear(oldest);
        return;
    }
    memcpy(oldest->digest, digest, DIGEST_BYTES);
    oldest->used = tokens->clock;
    oldest->taken = true;
}
