/* The watch: between one plugin and the host of the test kit. Every hook and callback passes
 * through fuzz_watch.c, every call of the plugin into the table through fuzz_calls.c, and what the
 * plugin takes from libc (memory, sleeping, sockets, threads) through fuzz_imports.c, which writes
 * other addresses into the image's own table of imports: so only what this plugin does is seen,
 * with and without sanitizers. `bench` counts with it, `fuzz` looks for mistakes and lets calls
 * fail. */
#ifndef WEIR_FUZZ_WATCH_H
#define WEIR_FUZZ_WATCH_H

#include "kit_watch.h"

enum {
    WATCH_HOOKS = 1 << 0,   /* hooks and callbacks: always */
    WATCH_CALLS = 1 << 1,   /* calls into the table */
    WATCH_IMPORTS = 1 << 2, /* libc */
    WATCH_JUDGE = 1 << 3,   /* mistakes are told to the report */
    WATCH_GUARD = 1 << 4,   /* request memory lies in pages that vanish with the request */
    WATCH_ALL = 31,
};

/* In the order of the descriptor. */
enum watch_phase {
    WATCH_CONFIGURE,
    WATCH_START,
    WATCH_STOP,
    WATCH_REWRITE,
    WATCH_ACCESS,
    WATCH_REQUEST_BODY,
    WATCH_UPSTREAM,
    WATCH_RESPONSE_HEADERS,
    WATCH_RESPONSE_BODY,
    WATCH_LOG,
    WATCH_EXPORT,
    WATCH_IMPORT,
    WATCH_WAKE,
    WATCH_TIMER,
    WATCH_DESCRIPTOR,
    WATCH_STREAM,
    WATCH_FETCH,
    WATCH_PHASES
};
const char *watch_phase_name(enum watch_phase phase); /* "access" */

/* Of one call into the plugin. */
struct watch_sample {
    enum watch_phase phase;
    uint64_t ns;                         /* the clock's own share included */
    uint64_t instructions;               /* 0: the kernel does not say */
    uint64_t request_bytes;              /* weir_request_alloc() */
    uint64_t policy_bytes;               /* weir_policy_alloc() */
    uint64_t malloc_bytes, malloc_calls; /* of the plugin itself */
    uint64_t host_calls;
    weir_verdict verdict; /* WEIR_NEXT where there is none */
};

/* Kits opened from now on; plugins of another name are left alone. `on_sample` may be NULL. */
void watch_begin(const char *plugin, unsigned what,
                 void (*on_sample)(const struct watch_sample *sample));
void watch_change(unsigned what); /* of images that are loaded from now on */
/* Count instructions from now on; false: not permitted here. */
bool watch_instructions(void);
/* What two readings with nothing between them count. */
uint64_t watch_instructions_of_nothing(void);

/* ---- what a scenario asks */

/* The request is about to run; it is over (log hooks have run, or it was freed). */
void watch_request_begins(kit_request *r);
void watch_request_over(kit_request *r);
/* All that the plugin holds now: malloc and policy memory. */
uint64_t watch_bytes_held(void);
/* The most of it, request memory included, since the last call. */
uint64_t watch_bytes_peak(void);
/* The nth call that may fail from now on fails; 0: none. */
void watch_fail_at(uint32_t nth);
/* Calls that may fail since watch_fail_at(). */
uint32_t watch_fallible(void);
/* After the next hook of that phase that would go on, the request waits as if another policy had
 * asked for it. WATCH_PHASES: never. */
void watch_wait_after(enum watch_phase phase);
/* Random numbers begin anew from here. */
void watch_seed(uint64_t seed);
/* What the plugin has: the descriptor as the author wrote it, NULL before it was loaded. */
const weir_plugin *watch_plugin(void);
/* The table without the watch. */
const weir_host *watch_table(void);
/* It makes random numbers or reads clocks of its own, so that two runs may differ. */
bool watch_is_own_master(void);
/* Words the plugin asks requests for, by name (headers, arguments, …). */
size_t watch_words(void);
const char *watch_word(size_t n);
size_t watch_header_words(void);
const char *watch_header_word(size_t n);
void watch_stop_learning(void);
/* Streams connect to that port of this machine, without TLS; 0: to whom the plugin says. */
void watch_streams(uint16_t port);
uint16_t watch_stream_port(void);
/* Each URL that is fetched is told here first. */
void watch_fetches(void (*on_fetch)(struct kit *kit, const char *url));

/* After kit_close(): what the plugin left behind becomes finds, and is forgotten. */
void watch_settle(void);

/* ---- for the files of the watch */

struct watched { /* an image */
    struct watched *next;
    struct kit *kit;
    weir_plugin *plugin;  /* the host's copy, with our functions */
    weir_plugin original; /* the author's */
    weir_host *table;     /* the plugin's, with our functions */
    weir_host host;       /* the kit's */
    uint32_t number;
    uintptr_t base; /* where it lies */
    char path[256];
    struct watch_sample totals; /* of the call that runs */
};

struct watched_request {
    const weir_request *request;
    weir_wake_hook *on_wake; /* of the plugin, while it waits */
    bool parked, answered;   /* in the call that runs */
    bool was_answered;       /* by this plugin, ever */
};

struct watch_call { /* a call into the plugin that runs */
    struct watch_call *outer;
    struct watched *image;
    enum watch_phase phase;
    struct watched_request *request; /* NULL: it is about none */
    uint64_t began_ns, began_instructions;
    long switches;
    char outer_phase[40];
};

extern unsigned watch_what;
extern _Thread_local bool watch_on_loop; /* set in the thread that runs hooks */
static inline bool watch_judges(void)
{
    return (watch_what & WATCH_JUDGE) != 0;
}

/* fuzz_watch.c */
struct watched *watch_current(void); /* of the running call, else the one loaded last */
struct watched *watch_image_of(const void *self);
enum watch_phase watch_running_phase(void); /* WATCH_PHASES: none */
struct watched_request *watch_find_request(const weir_request *request);
/* false: it is over, which becomes a find. */
bool watch_is_live(const weir_request *request, const char *call);
bool watch_fails_now(void);
uint64_t watch_random(void);
void watch_learn(weir_str word, bool is_header);
void watch_tell_fetch(struct kit *kit, weir_str url);
void watch_enter(struct watch_call *call, struct watched *image, enum watch_phase phase,
                 const weir_request *request);
void watch_leave(struct watch_call *call, weir_verdict verdict);
weir_verdict watch_on_wake(weir_request *request, void *self, void *context, uint32_t why);

/* fuzz_calls.c: put our functions into the table. */
void watch_calls(struct watched *image);
void watch_calls_forget(void); /* tokens of a kit that is closed */

/* fuzz_imports.c: and into the image's imports. */
void watch_imports(struct watched *image);
bool watch_imports_clock(void); /* any image reads clocks or random sources by itself */

/* fuzz_blocks.c: memory of the plugin. */
enum memory_state { MEMORY_UNKNOWN, MEMORY_FREED, MEMORY_REQUEST_OVER };
void block_added(void *block, size_t size, uintptr_t site);

/* true: free it now; false: it is kept for a while, or was freed before. */
bool block_removed(void *block, uintptr_t site);
/* It is no longer the plugin's, for whatever reason. Its size, 0 when it never was. */
size_t block_forget(void *block);
void block_policy_bytes(size_t size);
void *block_request_alloc(const weir_request *request, size_t size);
void block_request_bytes(size_t size);
void block_request_over(const weir_request *request);
/* Does [data, data + size) lie in memory that is gone? `where` says in which. */
enum memory_state block_state(const void *data, size_t size, const char **out_freed_in);
void blocks_policies_gone(void);
void blocks_settle(void);
/* AddressSanitizer is in this process. */
bool watch_has_sanitizer(void);
/* Signals become finds; memory that is gone is named. */
void blocks_catch_signals(void);

#endif
