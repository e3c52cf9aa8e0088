/* The status and admin listeners of a worker: views of shared memory and of the current generation.
 * Status: /status, /status/ready, /status/live, /metrics. Admin: /, /status, /metrics, the health
 * of targets, which it may be told to change (upstreams.h), and orders for the master: swap a
 * plugin, roll back, reload (orders.h).
 * A small HTTP/1 server of its own, so that traffic and its policies never meet it. [worker] */
#ifndef WEIR_ADMIN_ADMIN_H
#define WEIR_ADMIN_ADMIN_H

#include "gateway/gateway.h"
#include "plugin_host/shared.h"

struct admin;
enum admin_kind { ADMIN_STATUS, ADMIN_ADMIN };

struct admin_options { /* all borrowed */
    struct loop *loop;
    struct gateway *gateway;
    struct shared *shared;
    uint32_t worker;
    const char *control;     /* socket of the master, NULL: there is nobody to ask (orders.h) */
    const char *plugin_path; /* directories joined by ':' */
    bool single_process;     /* it takes no orders about plugins */
};

WEIR_MUST_USE struct admin *admin_create(const struct admin_options *options);
void admin_destroy(struct admin *admin); /* NULL is fine */
/* The descriptor stays the caller's. */
WEIR_MUST_USE enum weir_err admin_listen(struct admin *admin, int fd, enum admin_kind kind,
                                         struct tls_server *tls);

#endif
