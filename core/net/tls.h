/* TLS 1.2 and later over OpenSSL, set up once per listener or kind of target. The handshake and the
 * records happen inside struct conn. Both objects are counted by the connections that use them, so
 * they may be destroyed while those live. */
#ifndef WEIR_NET_TLS_H
#define WEIR_NET_TLS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/auto.h"

struct tls_client;
struct tls_server;

/* PEM files: the chain, leaf first, and its key. Both NULL: a certificate for "localhost" is made
 * in memory, good for 30 days. Offers http/1.1 by ALPN. NULL with a sentence in `err`. */
WEIR_MUST_USE struct tls_server *tls_server_create(const char *cert_path, const char *key_path,
                                                   char *err, size_t err_size);
void tls_server_destroy(struct tls_server *server);
AUTO_DEFINE(struct tls_server, tls_server_destroy)

/* Authorities that the clients of this process made from now on trust when they name none: those of
 * a PEM file, with NULL the system's; each call adds some. Without any call they trust the
 * system's. False with a sentence in `err`, and nothing is added. */
WEIR_MUST_USE bool tls_trust_add(const char *ca_path, char *err, size_t err_size);
void tls_trust_reset(void);

/* `verify`: chain and name must be right. `ca_path`: a PEM file of authorities, NULL for those of
 * tls_trust_add(). */
WEIR_MUST_USE struct tls_client *tls_client_create(bool verify, const char *ca_path, char *err,
                                                   size_t err_size);
void tls_client_destroy(struct tls_client *client);
AUTO_DEFINE(struct tls_client, tls_client_destroy)

#endif
