/* Health checks of one upstream, as its ring carries them: the rules copied out of the
 * configuration (the ring outlives it), reports of attempts (passive), probes (active). Internal to
 * core/upstream. checks.c: rules and reports; schedule.c: when; probe.c: one probe. */
#ifndef WEIR_UPSTREAM_CHECKS_H
#define WEIR_UPSTREAM_CHECKS_H

#include "config/entities.h"
#include "net/deadline.h"
#include "upstream/internal.h"

enum {
    CHECK_STATUSES = 1000,
    CHECK_CONNECTED = CHECK_STATUSES, /* in place of a status: a connection is all that was asked */
    CHECK_CONCURRENCY_MAX = 256,
    CHECK_HOLD_MS = 60 * 1000, /* how often a cell is said to be in use, far below HEALTH_KEPT_MS */
};

/* What makes an address healthy or not, by the event. */
struct check_rules {
    unsigned char limits[CELL_EVENTS];
    unsigned char good[CHECK_STATUSES / 8], bad[CHECK_STATUSES / 8]; /* bits */
};

struct checks {
    struct list link; /* upstreams->checks */
    struct ring *ring;
    struct health_table *table; /* borrowed */
    struct arena *arena;        /* of the texts, and of this */
    struct span upstream;       /* its name */
    struct check_rules passive, active;
    double threshold; /* percent */

    /* Probes. */
    enum check_type type;
    uint32_t interval_ms[2]; /* of addresses that are down, up; 0: not probed */
    uint32_t timeout_ms, concurrency;
    struct span request_head; /* from "GET " to the end of the given headers */
    bool has_host;            /* among the given headers */
    struct span host_header;  /* of the upstream; empty: the target's host */
    struct span sni;          /* given, or of host_header; empty: the target's host */
    struct tls_entry *tls;    /* NULL: plain */
    struct deadline tick;
    struct list probes;
    uint32_t running;
    bool retired; /* a newer configuration of this upstream is there: its rules count for probes */
};

/* Kong's rule: which fields must be set for checks to exist at all. */
bool checks_wanted(const struct upstream *upstream);
/* Everything they are made from, for the ring's key. */
void checks_key(struct buf *key, const struct upstream *upstream);
/* NULL without memory (or without TLS, when probes need it). Nothing happens before
 * checks_plan(). */
WEIR_MUST_USE struct checks *checks_create(struct ring *ring, const struct upstream *upstream);
/* Probes that run are given up. NULL is fine. */
void checks_destroy(struct checks *checks);

/* What an attempt or (`active`) a probe came to. `status`: of an answer, 0: it made no sense. */
void checks_report(struct checks *checks, struct peer_record *record, bool active,
                   enum pick_outcome outcome, unsigned status);
/* A state that somebody set. */
void checks_force(struct checks *checks, struct peer_record *record, bool up);
/* Its cell, taken anew when it is another's by now; NULL: the table is full. */
struct health_cell *checks_cell(const struct checks *checks, struct peer_record *record);

/* --- schedule.c */
/* The peers or a state changed, or it begins: look for what is due now. */
void checks_plan(struct checks *checks);
void checks_look(struct deadline *tick); /* when it comes */

/* --- probe.c */
/* False without memory. */
bool probe_begin(struct checks *checks, struct peer_record *record, struct span host);
void probes_cancel(struct checks *checks);

#endif
