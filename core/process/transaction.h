/* A change of the configuration or of a plugin's build, see transaction.c. One runs at a time, the
 * others wait in orders.h. What it is made from: candidate.h; how it does afterwards: watch.h.
 * [master] */
#ifndef WEIR_PROCESS_TRANSACTION_H
#define WEIR_PROCESS_TRANSACTION_H

#include "base/buf.h"
#include "net/deadline.h"
#include "process/orders.h"
#include "process/probe.h"

struct control_client;
struct death;
struct master;
struct seat;

enum transaction_state {
    TRANSACTION_NONE,
    TRANSACTION_PROBING,
    TRANSACTION_PREPARING,
    TRANSACTION_CANARY,
    TRANSACTION_COMMITTING,
};
struct transaction {
    enum transaction_state state;
    struct order *order;        /* ours; NULL: none runs, or the first configuration is tried */
    struct revision *candidate; /* ours until it is committed */
    struct probe *probe;
    struct manifest manifest; /* of the candidate */
    struct probe_facts facts;
    struct deadline patience; /* PREPARING, COMMITTING, and CANARY until they have committed */
    struct buf text;          /* warnings, errors, what to answer */
    bool proven;              /* PREPARING: a worker has agreed, or what is replaced ends workers */
    int code;                 /* COMMITTING: how it will have ended */
    uint64_t last_number;     /* of any configuration tried */
};

void transaction_init(struct master *master);
/* The next order begins unless one runs. */
void transaction_next(struct master *master);
/* `client` (NULL: nobody) is answered at its end. */
void transaction_ask_reload(struct master *master, struct control_client *client);
/* The first configuration: the same trial, without workers. */
bool transaction_try_first(struct master *master);

void transaction_on_ready(struct seat *seat);
void transaction_on_prepared(struct seat *seat, uint64_t number);
void transaction_on_refused(struct seat *seat, uint64_t number, struct span why);
void transaction_on_committed(struct seat *seat, uint64_t number);
void transaction_on_death(struct seat *seat, const char *how, const struct death *death);
/* What the watch of a canary found. */
void transaction_canary_good(struct master *master);
void transaction_canary_bad(struct master *master, const char *why);

/* Nothing more happens; whoever waits is told. */
void transaction_cancel(struct master *master);
/* In a child: the loop and the probe are the master's. The order and the candidate stay, a probe
 * child is made of them; transaction_free() is for the others. */
void transaction_forget(struct master *master);
void transaction_free(struct master *master);

#endif
