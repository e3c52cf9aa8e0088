/* Digests over OpenSSL's libcrypto, the algorithms fetched once. The only part of base beside libc:
 * a well-kept library beats a hash of our own. */
#ifndef WEIR_BASE_DIGEST_H
#define WEIR_BASE_DIGEST_H

#include "base/error.h"
#include "base/span.h"

#define DIGEST_SHA1 20
#define DIGEST_SHA256 32

void digest_sha1(unsigned char out[DIGEST_SHA1], struct span s);
void digest_sha256(unsigned char out[DIGEST_SHA256], struct span s);
/* Of a whole open file from its start; the file offset is not moved. */
WEIR_MUST_USE enum weir_err digest_sha256_fd(unsigned char out[DIGEST_SHA256], int fd);

#endif
