/* A worker's part of `weir record`: the configuration is read beside the loop (the first worker
 * writes the file's first line meanwhile), then requests go to a file through the host's writer,
 * until one of the bounds is reached. One at a time. [worker] */
#ifndef WEIR_PROCESS_RECORDING_H
#define WEIR_PROCESS_RECORDING_H

#include "base/auto.h"
#include "base/error.h"
#include "base/span.h"

struct background;
struct generation;
struct loop;
struct plugin_host;
struct recording_run;
struct host_services;

enum {
    RECORD_COUNT_MAX = 1000000,
    RECORD_SECONDS_MAX = 24 * 3600,
    RECORD_BYTES = 256 << 20, /* of the lines of one worker */
    RECORD_REDACTS = 64,
};

/* The words of an order, in any order, the file last (it may hold spaces):
 *   count=N seconds=N body_bytes=N bodies plugin=NAME route=NAME redact=NAME… file=PATH
 * and what the master adds in front: key=HEX header */
struct record_order {
    uint64_t count, seconds, body_bytes;
    bool bodies, header;
    struct span plugin, route, file, key; /* borrowed; unset: not given */
    struct span redacts[RECORD_REDACTS];
    size_t redact_count;
};
/* False, with a sentence in `why`. */
bool record_order_read(struct span words, struct record_order *out, char *why, size_t why_size);

struct recording_reports {
    /* `why` empty: requests are recorded from now on. Else it could not begin, and is over. */
    void (*began)(void *user, uint64_t number, struct span why);
    /* It is over and all is in the file, but what is lost: "WRITTEN LOST LEFT_OUT". */
    void (*ended)(void *user, uint64_t number, struct span numbers);
    void *user;
};

/* All borrowed. NULL without memory. */
WEIR_MUST_USE struct recording_run *recording_create(struct loop *loop,
                                                     struct background *background,
                                                     struct plugin_host *host,
                                                     const struct host_services *services);
/* While requests, loop and services are still there: what is recorded ends, nobody is told. */
void recording_abandon(struct recording_run *run);
void recording_destroy(struct recording_run *run); /* after the services' files; NULL is fine */

/* Record what `generation` serves; `fd` (not kept) is the text it was built from. */
void recording_begin(struct recording_run *run, struct generation *generation, int fd,
                     uint64_t number, struct span words, const struct recording_reports *reports);
/* Now, whatever the bounds say. Nothing when nothing is recorded. */
void recording_end(struct recording_run *run);

#endif
