/* What each build of a plugin does and costs, on each worker: calls and verdicts by phase, sampled
 * time, and how the exchanges went that it had a part in. A build is (plugin, version, hash of the
 * image); its slot lies in shared memory, so that its numbers outlive reloads, swaps and workers.
 * Each worker writes a row of its own with plain stores; readers add the rows up. */
#ifndef WEIR_PLUGIN_HOST_BUILDS_H
#define WEIR_PLUGIN_HOST_BUILDS_H

#include "plugin_host/chains.h"
#include "plugin_host/shared.h"

enum {
    BUILD_SLOTS = 256,
    BUILDS_KEPT = 32, /* slots of builds that no worker has loaded any more; then they are reused */
    BUILD_LATENCIES = 24,
    BUILD_SAMPLE = 64, /* of so many requests one is timed */
};

/* How a hook, or what it had called back after WAIT, returned. What counts is what the host made
 * of it: WAIT without a wake to wait for is a FAIL, for example. */
enum build_verdict { BUILD_NEXT, BUILD_DONE, BUILD_WAIT, BUILD_FAIL, BUILD_VERDICTS };
const char *build_verdict_name(enum build_verdict verdict); /* "next" */

struct build_phase {
    uint64_t verdicts[BUILD_VERDICTS]; /* their sum: the calls that have returned */
    uint64_t time_ns;                  /* in all calls, estimated from the samples */
    uint64_t sampled_ns, samples;
};

/* Made of uint64_t alone: rows are read, added and subtracted word by word. */
struct build_totals {
    /* Exchanges that ended with a policy of the build in their chains. */
    uint64_t exchanges, server_errors; /* answered with 500 and above */
    uint64_t latency_us;               /* sum, as the loop's clock sees it */
    uint64_t latency[BUILD_LATENCIES]; /* [0]: 0 us, [n]: below 2^n us; the last has the rest too */
    uint64_t arena_bytes;              /* of weir_request_alloc() */
    struct build_phase phases[PHASE_COUNT];

    /* As it is now; what a dead worker had is forgotten. */
    uint64_t in_flight; /* exchanges that have such a policy in their chains */
    uint64_t suspended; /* hooks that wait */
    uint64_t policies;  /* of all configurations that are still there */
    uint64_t loaded;    /* images: workers that have it */
    uint64_t pinned;    /* of them: cannot be unloaded */
};

struct build_name {
    char plugin[64], version[32];
    char hash[IMAGE_HASH_TEXT + 1];
};

/* ---- for readers, in any process that has the region. Nothing is locked. */

/* Slots from 0 up to here may hold a build. */
uint32_t builds_count(const struct shared *shared);
/* False: the slot holds none. */
bool builds_name(const struct shared *shared, uint32_t slot, struct build_name *out);
/* `hash`: all IMAGE_HASH_TEXT digits. False: no worker ever had it, or too long ago. */
bool builds_find(const struct shared *shared, const char *plugin, const char *hash,
                 uint32_t *out_slot);
/* What `worker` counted, -1: all of them. Each number is whole, together they are of about now.
 * False, and *out is zero: the slot holds no build. Use a slot at once: once no worker has its
 * build, another one may get it. */
bool builds_read(const struct shared *shared, uint32_t slot, int worker, struct build_totals *out);
/* The two above in one: false, and *out is zero, when it is not known. */
bool builds_read_of(const struct shared *shared, const char *plugin, const char *hash, int worker,
                    struct build_totals *out);

/* Counters of `now` less those of `start`; what is as it is now stays. */
struct build_totals build_since(const struct build_totals *now, const struct build_totals *start);
/* Over all phases. */
uint64_t build_calls(const struct build_totals *totals);
uint64_t build_verdicts(const struct build_totals *totals, enum build_verdict verdict);
uint64_t build_time_ns(const struct build_totals *totals);
/* No more than this many microseconds took `permille` of the exchanges: the upper end of its
 * bucket, a power of two. 0 without exchanges. */
uint64_t build_latency_us(const struct build_totals *totals, unsigned permille);

/* ---- for the worker that loads images */

/* The row of `worker` for the build, counting from now on; give it back when the image is closed.
 * NULL: there is no room for it, *out_slot is unchanged. */
struct build_totals *builds_take(struct shared *shared, uint32_t worker,
                                 const struct build_name *name, uint32_t *out_slot);
void builds_give(struct shared *shared, uint32_t worker, uint32_t slot);
/* `worker` is a new process: its predecessor has nothing loaded and nothing in flight. */
void builds_take_over(struct shared *shared, uint32_t worker);

#endif
