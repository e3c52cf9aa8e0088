/* The master's state, shared by the files that each hold one of its jobs: crew.c (workers),
 * transaction.h (what changes), stop.c (the end), master.c (start, signals, control socket).
 * Internal. */
#ifndef WEIR_PROCESS_MASTER_H
#define WEIR_PROCESS_MASTER_H

#include <sys/types.h>

#include "net/deadline.h"
#include "net/loop.h"
#include "process/backoff.h"
#include "process/channel.h"
#include "process/control.h"
#include "process/crash.h"
#include "process/instance.h"
#include "process/plugin_watch.h"
#include "process/probe.h"
#include "process/record.h"
#include "process/transaction.h"
#include "process/watch.h"

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
    uint64_t beats;    /* of its slot when they last went up */
    uint64_t still_ms; /* how long they have not since */
    uint64_t heard_ms; /* when the count of what it said began */
    uint32_t heard;    /* messages since */
    bool hung;         /* it was told to end for that */
    bool dumping;      /* … and takes its time to write a core */
    bool wild;         /* for what it sent */
    bool closed;       /* its end of the channel is */
    bool ended;        /* its pid is nobody's any more */
    bool due;          /* fork it at the end of the turn */
    bool asked;        /* PREPARE of the transaction was sent */
    bool excused;      /* who sat here ended meanwhile, and not of the candidate */
    bool records;      /* was told to, and has not ended */
    bool canary;       /* serves its candidate, or is told to */
    bool agreed;       /* … and PREPARED came; later: COMMITTED came */
    uint64_t serves;   /* number of the configuration it was sent last to commit */
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
    struct orders orders;
    struct transaction transaction;
    struct ledger ledger;
    struct swap_watch watch;
    struct plugin_watch plugin_watch;
    struct record record;
    enum stop_state stop;
    struct deadline stop_patience;
    struct deadline watchdog;
    uint64_t watched_ms; /* when it last looked */
    bool starting;       /* a worker that fails now fails the start */
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
bool crew_say(struct seat *seat, const struct message *message); /* with text or descriptor */
/* What is committed, as for a new one. */
void crew_serve_committed(struct seat *seat);
/* PREPARE of a revision. */
bool crew_prepare(struct seat *seat, const struct revision *revision);
/* It is ended, in a way that leaves a backtrace; when that does not help, killed. */
void crew_end_hung(struct seat *seat, uint64_t still_ms);
void crew_signal_all(struct master *master, int signum);
size_t crew_alive(const struct master *master);
bool crew_all_ready(const struct master *master);
/* In a child: close what is the master's. */
void master_forget(void *user);

/* ---- quarantine.c */
/* A worker ended: when a build is to blame too often, or is watched, its end is queued. */
void quarantine_note_death(struct master *master, const struct death *death);

/* ---- plugin_report.c */
void plugin_report(struct master *master, struct control_client *client);
/* The same for programs: one object with "plugins" and "replaced". */
void plugin_report_json(struct master *master, struct control_client *client);

/* ---- transaction.c */
/* Every line of `text` (at most 40), each after `who`. */
void log_lines(enum log_level level, const char *who, struct span text);

/* ---- stop.c */
enum { EVENT_STOP = UINT32_MAX }; /* what clients of "stop" wait for */
void stop_make(struct master *master);
void stop_gently(struct master *master); /* a second time: at once */
void stop_quickly(struct master *master);
void stop_on_death(struct master *master);

#endif
