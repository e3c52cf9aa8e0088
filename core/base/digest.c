#include "base/digest.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdatomic.h>
#include <unistd.h>

/* Fetched once and kept for the life of the process: EVP_sha256() would look the provider up again
 * on every call. Any thread may be the first, and a second one that fetches too drops its own. */
static EVP_MD *fetched(EVP_MD *_Atomic *slot, const char *name)
{
    EVP_MD *known = atomic_load_explicit(slot, memory_order_acquire), *other = NULL;
    if (known != NULL)
        return known;
    known = EVP_MD_fetch(NULL, name, NULL);
    CHECK_THAT(known != NULL); /* both are part of every OpenSSL 3 default provider */
    if (atomic_compare_exchange_strong(slot, &other, known))
        return known;
    EVP_MD_free(known);
    return other;
}

static EVP_MD *_Atomic sha1_algorithm, *_Atomic sha256_algorithm;

void digest_sha1(unsigned char out[DIGEST_SHA1], struct span s)
{
    int done = EVP_Digest(s.data, s.size, out, NULL, fetched(&sha1_algorithm, "SHA1"), NULL);
    CHECK_THAT(done == 1);
}

void digest_sha256(unsigned char out[DIGEST_SHA256], struct span s)
{
    int done = EVP_Digest(s.data, s.size, out, NULL, fetched(&sha256_algorithm, "SHA256"), NULL);
    CHECK_THAT(done == 1);
}

static enum weir_err digest_file(EVP_MD_CTX *digest, int fd, unsigned char out[DIGEST_SHA256])
{
    char piece[16384];
    off_t at = 0;
    if (EVP_DigestInit_ex2(digest, fetched(&sha256_algorithm, "SHA256"), NULL) != 1)
        return WEIR_ERR_NO_MEMORY;
    for (;;) {
        ssize_t got = pread(fd, piece, sizeof(piece), at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return WEIR_ERR_SYSTEM;
        if (got == 0)
            break;
        if (EVP_DigestUpdate(digest, piece, (size_t)got) != 1)
            return WEIR_ERR_INTERNAL;
        at += got;
    }
    return EVP_DigestFinal_ex(digest, out, NULL) == 1 ? WEIR_OK : WEIR_ERR_INTERNAL;
}

enum weir_err digest_sha256_fd(unsigned char out[DIGEST_SHA256], int fd)
{
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    if (digest == NULL)
        return WEIR_ERR_NO_MEMORY;
    enum weir_err err = digest_file(digest, fd, out);
    EVP_MD_CTX_free(digest);
    return err;
}
