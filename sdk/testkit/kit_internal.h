/* What the files of the test kit share: kit.c (configuration and workers), time.c (the virtual
 * clock and what the host asks of a loop), streams.c and fetches.c (peers of policies), files.c,
 * request.c (what a test says of a request and asks of the answer), exchange.c (its life). The
 * rooms stay behind this line: the public header knows none. */
#ifndef WEIR_TESTKIT_INTERNAL_H
#define WEIR_TESTKIT_INTERNAL_H

#include <stdatomic.h>
#include <weir_testkit.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/list.h"
#include "config/build.h"
#include "plugin_host/chains.h"
#include "plugin_host/host.h"
#include "plugin_host/images.h"
#include "plugin_host/request.h"

enum {
    KIT_WORKERS = 8,
    KIT_HEADERS = 256, /* of one message */
    KIT_CAPTURES = 16,
    KIT_POLLS_MAX = 64,
    KIT_STEPS_MAX = 100000, /* of one advance: a timer of 0 ms would go on for ever */
    KIT_ROUNDS_MAX = 16,    /* over watched descriptors in one turn */
};

/* One configuration with its images; requests pin it. */
struct kit_generation {
    unsigned pins;
    struct arena *arena;
    struct catalog *catalog;
    struct config *config;
    struct policies *policies;
    bool started;
};

struct kit_timer {
    struct list link;
    uint64_t due_us;
    uint32_t repeat_ms;
    void (*fire)(void *arg);
    void *arg;
};

struct kit_watch {
    struct list link;
    int fd;
    uint32_t events; /* WEIR_IO_… */
    uint32_t round;  /* in which it was served last */
    void (*ready)(void *arg, uint32_t events);
    void *arg;
};

struct kit {
    unsigned magic;
    struct kit *first;                /* the worker that owns what all share: itself, or another */
    struct kit *workers[KIT_WORKERS]; /* of the first: all of them, itself at 0 */
    uint32_t index;
    char *folder, *yaml; /* of the plugins, and the last configuration */
    char copies[64];     /* folder of the private copies of this worker */
    struct shared *shared;
    struct plugin_host *host;
    struct images *images;
    struct kit_generation *generation;
    struct list timers, watches;
    struct list fetches; /* under way */
    struct list scripts; /* of the first: what is known of URLs that are fetched */
    bool fetches_held;   /* of the first */
    struct list files;   /* that have not ended */
    struct list faults;  /* of the first: what is wrong with which path */
    uint32_t round;      /* of serving watches */
    struct list requests;
    atomic_bool turn_wanted;
    struct buf log, metrics;
};
#define KIT_MAGIC 0x6b697430u

enum stage {
    STAGE_NEW,
    STAGE_REWRITE,
    STAGE_ROUTE,
    STAGE_ACCESS,
    STAGE_WHOLE_BODY, /* request body hooks that must be through before the target is sent a head */
    STAGE_UPSTREAM,
    STAGE_SEND,
    STAGE_TARGET,
    STAGE_RESPONSE_HEADERS,
    STAGE_RESPONSE_BODY,
    STAGE_LOG,
    STAGE_OVER,
    STAGE_COUNT
};

/* A body on its way through the hooks. */
struct body_walk {
    struct span bytes;
    size_t at;
    bool begun, ended; /* `ended`: the last piece was given */
    struct buf out;
};

struct kit_request {
    struct weir_request request; /* first: the host hands it back */
    unsigned magic;
    struct kit *kit;
    struct kit_generation *generation;
    struct arena *arena;
    struct list link;
    struct http_header request_items[KIT_HEADERS], response_items[KIT_HEADERS];

    /* What the test said. */
    const struct route *route; /* NULL: none matches */
    struct span body;
    bool has_body;
    size_t split, body_limit;
    bool hold_body;
    struct span capture_names[KIT_CAPTURES + 1], captures[KIT_CAPTURES + 1];
    struct span target_body;
    uint16_t target_status;
    int target_failure; /* 0: it answers */
    int64_t target_ms;
    struct http_headers target_headers;
    struct http_header target_items[KIT_HEADERS];

    /* Where it stands. */
    enum stage stage;
    bool waiting;
    bool body_wanted; /* a policy asked for it and it has not been delivered */
    bool proxied, answered, aborted;
    struct body_walk walks[DIRECTIONS];
    struct span upstream_body;
    struct buf sent; /* the client's bytes */
};
#define KIT_REQUEST_MAGIC 0x6b697472u

/* The test itself is wrong: say so and end the process. */
_Noreturn void kit_die(const char *format, ...) WEIR_PRINTF(1, 2);
/* Memory that a test cannot do without. */
void *kit_need(void *memory);
/* A terminated copy in the request's arena. */
const char *kit_text(kit_request *r, struct span s);

/* time.c */
extern const struct host_services kit_services;
void kit_clock_begin(void);
void kit_handles_end(struct kit *kit);
/* Wakes that are due, until nothing is. */
void kit_settle(struct kit *kit);

/* streams.c, fetches.c: members of kit_services */
void *kit_stream_open(void *user, const weir_peer *peer, const struct stream_reports *reports,
                      void *arg);
weir_status kit_stream_write(void *user, void *handle, weir_str bytes);
void kit_stream_close(void *user, void *handle);
void *kit_fetch_start(void *user, const weir_fetch_request *request,
                      void (*done)(void *arg, const weir_fetch_answer *answer), void *arg);
void kit_fetch_cancel(void *user, void *fetch);
bool kit_fetch_is_due(const struct kit *kit);
void kit_fetch_deliver(struct kit *kit); /* one of those that are due */
void kit_scripts_free(struct kit *kit);

/* files.c: members of kit_services */
void *kit_file_open(void *user, weir_str path, const weir_file_options *options,
                    void (*report)(void *arg, bool ended), void *arg);
weir_status kit_file_append(void *user, void *file, weir_str line);
int64_t kit_file_number(void *user, void *file, uint32_t what);
void kit_file_close(void *user, void *file);
void kit_files_end(void *user);
void kit_files_turn(struct kit *kit); /* try again what waits, then report */
void kit_faults_free(struct kit *kit);

/* kit.c */
void kit_generation_unpin(struct kit *kit, struct kit_generation *generation);

/* exchange.c */
extern const struct request_ops kit_request_ops;
void exchange_begin(kit_request *r);
void exchange_deliver_body(kit_request *r);
void exchange_end(kit_request *r); /* log hooks, if they have not run, and nothing after them */

#endif
