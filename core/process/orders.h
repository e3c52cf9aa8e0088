/* What the master is asked to change, in the order of asking: one transaction each. Who asked waits
 * for the order's event on the control socket. [master] */
#ifndef WEIR_PROCESS_ORDERS_H
#define WEIR_PROCESS_ORDERS_H

#include "base/list.h"
#include "process/ledger.h"

struct control_client;
struct master;

enum { ORDERS_MAX = 32, ORDER_PATH_MAX = 4096, WATCH_MAX_MS = 24 * 3600 * 1000 };

enum order_kind {
    ORDER_RELOAD,     /* the file of the configuration, and the files in plugin_path */
    ORDER_SWAP,       /* the same text, one plugin from another file */
    ORDER_ROLLBACK,   /* the same text, one plugin as it was before its swap */
    ORDER_QUARANTINE, /* the same text, one build of a plugin not run any more */
    ORDER_KINDS
};

struct order {
    struct list link;
    enum order_kind kind;
    uint64_t event; /* 0: nobody waits */
    char plugin[LEDGER_NAME_MAX];
    char file[ORDER_PATH_MAX]; /* SWAP: empty: the one in plugin_path */
    struct build_hash build;   /* ROLLBACK: to it; QUARANTINE: of it */
    uint32_t canary;           /* workers that take it first; 0: all at once */
    uint32_t watch_ms;         /* how long the canary, and then everybody, is watched; 0: not */
    bool waits;                /* the answer comes when the watch is over */
    bool automatic;            /* nobody asked: the master decided */
    char reason[512];          /* of an automatic one */
};

struct orders {
    struct list queue;
    size_t count;
    uint64_t last_event;
};

void orders_init(struct orders *orders);
void orders_free(struct orders *orders);
/* All are dropped, and who waits is told. */
void orders_refuse(struct master *master, struct span why);
/* Behind the others, with an event of its own; NULL: too many wait already, or no memory. A reload
 * that waits already is this one too. */
struct order *orders_add(struct orders *orders, enum order_kind kind);
/* Before the others, without an event. NULL without memory. */
struct order *orders_add_urgent(struct orders *orders, enum order_kind kind);
/* The first, the caller's to free(); NULL: none. */
struct order *orders_take(struct orders *orders);

/* Questions of the control socket; each is answered, now or when its order is done:
 *   swap NAME [canary=N|N%] [watch=SECONDS] [wait] [file=PATH]     (the path last: it may hold
 * spaces) rollback NAME */
bool orders_ask(struct master *master, struct control_client *client, struct span question);

#endif
