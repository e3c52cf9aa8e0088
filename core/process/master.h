/* The master's state, shared by the files that each hold one of its jobs: crew.c (workers),
 * reload.c (the transaction), stop.c (the end), master.c (start, signals, control socket).
 * Internal. */
#ifndef WEIR_PROCESS_MASTER_H
#define WEIR_PROCESS_MASTER_H

#include <sys/types.h>

#include "net/deadline.h"
#include "net/loop.h"
#include "process/backoff.h"
#include "process/channel.h"
#include "process/control.h"
#include "process/instance.h"
#include "process/probe.h"

struct master;

/* The place of a worker: index, sockets and slot stay when who sits there dies. */
enum seat_state {
    SEAT_EMPTY,    /* nobody: due, or in a pause */
    SEAT_STARTING, /* forked, has not said READY */
    SEAT_READY,
};
struct seat {
    struct master *master;
    uint32_t index;
    enum seat_state state;
    pid_t pid;
    int channel; /* -1: none */
    struct watch watch;
    struct deadline patience; /* STARTING: to be ready; EMPTY: the pause before it is due */
    struct backoff backoff;
    bool due;        /* fork it at the end of the turn */
    bool asked;      /* PREPARE of the transaction was sent */
    bool agreed;     /* … and PREPARED came; later: COMMITTED came */
    uint64_t serves; /* number of the configuration it was sent last to commit */
};

enum reload_state { RELOAD_NONE, RELOAD_PROBING, RELOAD_PREPARING, RELOAD_COMMITTING };
struct reload {
    enum reload_state state;
    struct revision *candidate; /* ours until it is committed */
    struct probe *probe;
    struct manifest manifest; /* of the candidate */
    struct probe_facts facts;
    struct deadline patience; /* PREPARING, COMMITTING */
    struct buf text;          /* warnings, errors */
    uint64_t event;           /* control clients wait for it */
    bool again;               /* asked for while one ran */
    uint64_t last_number;     /* of any configuration tried */
};

enum stop_state {
    STOP_NONE,
    STOP_DELAYED,  /* not ready, still serving: drain_delay */
    STOP_DRAINING, /* no new connections: drain_timeout */
    STOP_QUITTING, /* told to end at once */
    STOP_KILLING,
};

struct master {
    struct instance *instance;
    struct loop *loop;
    struct control *control;
    struct seat *seats; /* instance->workers */
    struct channel_buffer *buffer;
    struct revision *committed; /* ours: what replacements get */
    struct manifest manifest;   /* of it */
    uint32_t log_level;
    struct reload reload;
    enum stop_state stop;
    struct deadline stop_patience;
    bool starting; /* a worker that fails now fails the start */
    bool start_failed;
    bool done; /* the last worker is gone */
};

/* ---- crew.c */
bool crew_make(struct master *master);
void crew_free(struct master *master); /* closes channels; nobody may be left */
/* Fork who is due. Between two turns only: the child tears the loop down. */
void crew_fork_due(struct master *master);
void crew_start_all(struct master *master);
/* A child ended: true when it had a seat. */
bool crew_reaped(struct master *master, pid_t pid, int status);
/* False: its channel is broken; its end is near. */
bool crew_tell(struct seat *seat, enum message_type type, uint64_t number);
void crew_tell_all(struct master *master, enum message_type type, uint64_t number);
/* PREPARE of a revision. */
bool crew_prepare(struct seat *seat, const struct revision *revision);
void crew_signal_all(struct master *master, int signum);
size_t crew_alive(const struct master *master);
bool crew_all_ready(const struct master *master);
/* In a child: close what is the master's. */
void master_forget(void *user);

/* ---- reload.c */
void reload_make(struct master *master);
/* Begin, or queue one behind the one that runs; `client` (NULL: nobody) is answered at its end. */
void reload_ask(struct master *master, struct control_client *client);
/* The gateway is ready: one that was asked for while it started begins. */
void reload_allow(struct master *master);
/* The first configuration: the same trial, without workers. */
bool reload_try_first(struct master *master);
void reload_on_ready(struct seat *seat);
void reload_on_prepared(struct seat *seat, uint64_t number);
void reload_on_refused(struct seat *seat, uint64_t number, struct span why);
void reload_on_committed(struct seat *seat, uint64_t number);
void reload_on_death(struct seat *seat, const char *how);
/* Nothing more happens; whoever waits is told. */
void reload_cancel(struct master *master);

/* Every line of `text` (at most 40), each after `who`. */
void log_lines(enum log_level level, const char *who, struct span text);

/* ---- stop.c */
enum { EVENT_STOP = UINT32_MAX }; /* what clients of "stop" wait for */
void stop_make(struct master *master);
void stop_gently(struct master *master); /* a second time: at once */
void stop_quickly(struct master *master);
void stop_on_death(struct master *master);

#endif
