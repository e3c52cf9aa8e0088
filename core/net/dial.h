/* Connecting to an address, with TLS when asked for, within one deadline. */
#ifndef WEIR_NET_DIAL_H
#define WEIR_NET_DIAL_H

#include "base/auto.h"
#include "net/address.h"

struct conn;
struct dial;
struct loop;
struct tls_client;

/* `done` gets the connection (yours now, TLS handshake complete) or NULL and REFUSED (also a failed
 * handshake), TIMEOUT or SYSTEM. It is called once, never before dial_start() returns, and the dial
 * is gone then. `tls` and `server_name` (SNI and the name to verify; NULL: none) may be NULL and
 * are not needed after the call. NULL without memory: `done` is not called. */
WEIR_MUST_USE struct dial *
dial_start(struct loop *loop, const struct address *address, struct tls_client *tls,
           const char *server_name, uint32_t timeout_ms,
           void (*done)(struct conn *conn, enum weir_err err, void *user), void *user);
/* Inside `done` without a connection: what TLS, and not the network, failed with; else NULL. One
 * sentence, of the call alone. */
const char *dial_tls_failure(void);
/* There is a connection, and TLS is what takes its time. */
bool dial_is_shaking_hands(const struct dial *dial);
/* `done` will not be called. NULL is fine. */
void dial_cancel(struct dial *dial);

#endif
