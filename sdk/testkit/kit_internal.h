/* What the files of the test kit share: kit.c (workers), generations.c (configurations and builds),
 * time.c (the virtual clock and what the host asks of a loop), streams.c and fetches.c (peers of
 * policies), files.c, request.c (what a test says of a request and asks of the answer), bodies.c
 * (how its bodies come), exchange.c (its life), trace.c (what hooks did), memory.c (what they were
 * lent). The rooms stay behind this line: the public header knows none. */
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
};

/* Another build in place of the one in the folder. */
struct kit_swap {
    struct list link;
    char *plugin, *path;
};

/* What a hook started: `owner` is the request whose hook it was, by its number; 0: none's. */
struct kit_timer {
    struct list link;
    uint64_t owner;
    uint64_t due_us;
    uint32_t repeat_ms;
    void (*fire)(void *arg);
    void *arg;
};

struct kit_stream;
struct kit_watch {
    struct list link;
    uint64_t owner;
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
    struct list swaps;
    char copies[64]; /* folder of the private copies of this worker */
    struct shared *shared;
    struct plugin_host *host;
    struct images *images;
    struct kit_generation *generation;
    size_t generation_count;
    struct list image_list;     /* of trace.c */
    const kit_request *running; /* whose hook runs */
    struct list timers, watches;
    struct list streams, fetches; /* under way */
    struct list scripts;          /* of the first: what is known of URLs that are fetched */
    bool fetches_held;            /* of the first */
    struct list files;            /* that have not ended */
    struct list faults;           /* of the first: what is wrong with which path */
    uint32_t round;               /* of serving watches */
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

/* How a body comes. */
struct body_plan {
    enum { SPLIT_NOT, SPLIT_EVERY, SPLIT_LIST, SPLIT_RANDOM } how;
    size_t every;
    size_t *sizes; /* (arena) */
    size_t count, next;
    uint64_t state; /* of the random numbers */
    uint32_t pause_ms;
    size_t breaks_at;
    bool breaks, last_full, no_length;
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
    size_t body_limit;
    bool hold_body, hold_target;
    struct body_plan plans[DIRECTIONS];
    struct span capture_names[KIT_CAPTURES + 1], captures[KIT_CAPTURES + 1];
    struct span target_body;
    uint16_t target_status;
    int target_failure; /* 0: it answers */
    int64_t target_ms;
    struct http_headers target_headers;
    struct http_header target_items[KIT_HEADERS];

    /* Where it stands. */
    uint64_t number;
    enum stage stage;
    bool waiting, paused;
    void *piece_timer, *body_timer; /* the next piece, or all of a body, has not come yet */
    bool body_wanted;               /* a policy asked for it and it has not been delivered */
    bool proxied, answered, aborted;
    struct body_walk walks[DIRECTIONS];
    struct span upstream_body;
    struct buf sent; /* the client's bytes */

    /* What its hooks did, and hold. */
    struct buf trace;
    weir_wake_hook *on_wake[DIRECTIONS]; /* the plugin's own */
    struct list pieces;                  /* of memory.c */
    const struct chain_set *ended_set;   /* once it is over */
    void **ended_contexts;
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
/* The number of the request whose hook runs; 0: none does. */
uint64_t kit_owner(const struct kit *kit);
/* One that no policy started. */
void *kit_timer_start(void *user, uint32_t delay_ms, uint32_t repeat_ms, void (*fire)(void *arg),
                      void *arg);
void kit_clock_begin(void);
void kit_handles_end(struct kit *kit);
void *kit_watch_add(void *user, int fd, uint32_t events, void (*ready)(void *arg, uint32_t events),
                    void *arg);
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
bool kit_stream_is_due(const struct kit *kit);
void kit_stream_deliver(struct kit *kit);
/* A peer in memory says something, now or later, or hangs up; never inside a call of the policy. */
void kit_stream_says(struct kit_stream *stream, struct span bytes, uint32_t after_ms);
void kit_stream_ends(struct kit_stream *stream, const char *why);
/* Those that hooks of that request started; 0: all. */
size_t kit_stream_count(const struct kit *kit, uint64_t owner);
size_t kit_fetches_of(const struct kit *kit, uint64_t owner);
void kit_scripts_free(struct kit *kit);

/* redis.c: the peer in memory. NULL: none is at that port, or it refuses. */
struct redis_link *kit_redis_connect(uint16_t port, struct kit_stream *stream);
bool kit_redis_refuses(uint16_t port);
void kit_redis_hears(struct redis_link *link, struct span bytes);
void kit_redis_hung_up(struct redis_link *link); /* the policy, or both; NULL is fine */

/* redis_store.c: the data of a Redis. One command; the answer goes to `out` as it is sent. */
struct redis_store;
struct redis_store *kit_store_create(void);
void kit_store_destroy(struct redis_store *store);
void kit_store_run(struct redis_store *store, uint32_t database, const struct span *words,
                   size_t count, struct buf *out);

/* files.c: members of kit_services */
void *kit_file_open(void *user, weir_str path, const weir_file_options *options,
                    void (*report)(void *arg, bool ended), void *arg);
weir_status kit_file_append(void *user, void *file, weir_str line);
int64_t kit_file_number(void *user, void *file, uint32_t what);
void kit_file_close(void *user, void *file);
void kit_files_end(void *user);
void kit_files_turn(struct kit *kit); /* try again what waits, then report */
void kit_faults_free(struct kit *kit);

/* watch.c: the author's tool sees the images of this worker. */
void kit_watch_begin(struct kit *kit);

/* generations.c */
void kit_generation_unpin(struct kit *kit, struct kit_generation *generation);
/* The configuration becomes the current one; it is kept for further workers. */
bool kit_load(struct kit *kit, const char *yaml);
void kit_swaps_copy(struct kit *kit, const struct kit *from);
void kit_swaps_free(struct kit *kit);
/* "" when it is empty; terminated. */
const char *kit_buf_text(struct buf *buf);

/* trace.c */
void kit_hooks_wrap(struct kit *kit, weir_plugin *plugin);
void kit_image_list_free(struct kit *kit);
/* What to have woken in place of `on_wake`, which runs then. */
weir_wake_hook *kit_wake_hook(weir_request *request, weir_wake_hook *on_wake);

/* memory.c */
void kit_table_wrap(struct kit *kit, weir_host *table);
void kit_memory_shut(kit_request *r); /* request_end(), and what policies were lent is gone */
void kit_memory_open(const kit_request *r);

/* bodies.c */
uint64_t kit_body_random(struct body_plan *plan);
/* The piece behind `at`. False: the body has broken off. */
bool kit_body_piece(struct body_plan *plan, struct span bytes, size_t at, struct span *out_piece,
                    bool *out_last);
void kit_body_pause(kit_request *r, uint32_t ms);
void kit_body_wanted(kit_request *r); /* whole */

/* exchange.c */
extern const struct request_ops kit_request_ops;
void exchange_begin(kit_request *r);
void exchange_go_on(kit_request *r); /* after a pause */
void exchange_deliver_body(kit_request *r);
void exchange_end(kit_request *r); /* log hooks, if they have not run, and nothing after them */

#endif
