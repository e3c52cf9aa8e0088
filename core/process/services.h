/* What a worker's loop lends to policies: timers, descriptors, wakes, connections to peers, files
 * that lines are appended to. */
#ifndef WEIR_PROCESS_SERVICES_H
#define WEIR_PROCESS_SERVICES_H

#include "net/loop.h"
#include "plugin_host/host.h"

struct files;
struct outbound;
struct resolver;

struct services {
    struct host_services table; /* for plugin_host_create() */
    struct loop *loop;
    struct plugin_host *host;
    struct loop_async turn;
    struct list timers, ios;   /* those not given back */
    struct outbound *outbound; /* ours; NULL: policies reach no peer */
    struct files *files;       /* ours; NULL: none was opened */
};

/* Embedded in the worker; `loop` is borrowed. */
void services_init(struct services *services, struct loop *loop);
/* Policies reach peers from now on. `resolver` is borrowed until services_end_peers(). */
WEIR_MUST_USE enum weir_err services_begin_peers(struct services *services,
                                                 struct resolver *resolver);
/* After the policies are gone. */
void services_end_peers(struct services *services);
/* Whose turn it is from now on; NULL: nobody's. */
void services_set_host(struct services *services, struct plugin_host *host);
/* After the host is gone; it has ended the files. */
void services_fini(struct services *services);

#endif
