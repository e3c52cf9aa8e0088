/* The memory that all processes of one gateway share: dictionaries of policies, metric cells, and a
 * slot for every worker. The master maps it before it forks; it outlives workers, reloads and
 * swaps. Nothing in it is a pointer. Next: dict.h, metrics.h. */
#ifndef WEIR_PLUGIN_HOST_SHARED_H
#define WEIR_PLUGIN_HOST_SHARED_H

#include <stdint.h>

#include "base/auto.h"
#include "base/span.h"

struct shared;

enum { SHARED_WORKERS_MAX = 256 };

/* What a worker says of itself, written by it alone with plain stores, read by anybody. */
struct worker_slot {
    /* Blame: stored before each call into a plugin, policy 0 when none runs. More of it is written
     * by the handler of a crash: process/crash.h. */
    uint32_t policy_plus_one;
    uint32_t phase; /* or enum blame_place: blame.h */
    /* Life. */
    int32_t pid;         /* 0: not running */
    uint32_t state;      /* enum worker_state */
    uint64_t generation; /* number of the configuration it serves */
    uint64_t started_wall_ms;
    uint64_t beats; /* goes up while its loop turns */
    uint32_t busy;  /* 1: it builds a configuration, which may take longer than any turn */
    /* Counters since the gateway started: a replacement goes on where the dead one stopped. */
    uint64_t accepted, requests, active, connections, reading, writing, waiting;
    /* Of limit_refusals those for want of memory; clients cut or answered 408 for being slow; those
     * that idled and made room; times without a descriptor to accept with. */
    uint64_t memory_refusals, slow_clients, displaced, accept_pauses;
    uint64_t memory;          /* bytes of exchanges */
    uint64_t connections_max; /* the ceiling that holds */
    uint64_t limit_refusals, protocol_errors, target_failures, retries, retries_refused;
    uint64_t pool_reused, pool_dialed;
    uint64_t tunnels;         /* of `active`: those that have switched protocols */
    uint64_t header_refusals; /* connections without the PROXY header that their listener expects */
};
enum worker_state { WORKER_NONE, WORKER_STARTING, WORKER_READY, WORKER_DRAINING, WORKER_DEAD };

/* What the gateway as a whole is: written by the master. */
struct gateway_facts {
    uint64_t started_wall_ms;
    uint64_t generation;
    char config_hash[32];
    uint32_t workers;
    uint32_t ready;    /* 1 once every worker serves */
    uint32_t draining; /* 1 from SIGTERM on */
    uint64_t reloads, reload_failures, worker_restarts;
    uint64_t last_reload_wall_ms;
    uint32_t services, routes, consumers, upstreams, policies;
    int32_t master_pid; /* who made the region */
    uint64_t swaps, rollbacks, swap_failures;
    /* Builds that do not run any more; more than there is room for are counted only. */
    uint32_t quarantined;
    struct {
        char plugin[64], version[32], hash[16], why[160];
    } quarantine[8];
};

/* `size` bytes (rounded up to pages, at least 1 MiB) for `workers` slots; pages cost nothing until
 * they are used. NULL without memory. */
WEIR_MUST_USE struct shared *shared_create(size_t size, uint32_t workers);
void shared_destroy(struct shared *shared);
AUTO_DEFINE(struct shared, shared_destroy)

struct worker_slot *shared_worker(struct shared *shared, uint32_t index);
uint32_t shared_workers(const struct shared *shared);
struct gateway_facts *shared_facts(struct shared *shared);
/* Zeroed memory for what another room shares between workers: the health of targets. Whoever asks
 * first makes it, all that ask later (with the same size) get the same. NULL when there is no room.
 */
WEIR_MUST_USE void *shared_block(struct shared *shared, size_t size);

struct shared_usage {
    size_t size, used;
    size_t dictionaries, series;
    uint64_t evictions;  /* dictionary entries that made room before their end */
    uint64_t overflows;  /* metric updates that went to an overflow series */
    uint64_t recoveries; /* locks taken over from a dead worker */
};
struct shared_usage shared_usage(const struct shared *shared);

#endif
