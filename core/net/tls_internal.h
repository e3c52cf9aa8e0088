/* The OpenSSL contexts, for tls.c, tls_conn.c and proxy_conn.c alone. */
#ifndef WEIR_NET_TLS_INTERNAL_H
#define WEIR_NET_TLS_INTERNAL_H

#include <openssl/ssl.h>

#include "net/tls.h"

struct tls_server {
    SSL_CTX *context; /* counted: every SSL made from it holds it */
};

struct tls_client {
    SSL_CTX *context; /* counted likewise */
    bool verify;
};

#endif
