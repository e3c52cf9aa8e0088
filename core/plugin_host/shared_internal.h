/* How the shared region is laid out: a header, the workers' areas, then whatever the bump allocator
 * handed out, found through two directories of offsets. Never included outside the room. What is
 * made stays made: nothing is given back before the gateway ends, so an offset never dangles. */
#ifndef WEIR_PLUGIN_HOST_SHARED_INTERNAL_H
#define WEIR_PLUGIN_HOST_SHARED_INTERNAL_H

#include <errno.h>
#include <pthread.h>

#include "base/hash.h"
#include "plugin_host/builds_internal.h"
#include "plugin_host/shared.h"

#define SHARED_MAGIC 0x57534852U

enum { SHARED_DICTS_MAX = 256, SHARED_FAMILIES_MAX = 512, SHARED_LINE = 64 };

/* Lines that one worker alone writes. */
struct worker_area {
    _Alignas(SHARED_LINE) struct worker_slot slot;
    _Alignas(SHARED_LINE) uint64_t cells_at; /* next free metric cell in its current page */
    uint64_t overflows;
};

struct shared {
    unsigned magic;
    uint32_t workers;
    uint64_t size;
    struct hash_key entry_key, label_key;
    pthread_mutex_t alloc_lock;     /* innermost: nothing is locked inside */
    pthread_mutex_t directory_lock; /* outermost */
    uint64_t used;
    uint64_t recoveries;
    uint64_t dict_opens; /* a clock for "opened last" */
    uint32_t dict_count, family_count;
    uint64_t block_at;                      /* of shared_block(); 0: not made yet */
    uint64_t dicts[SHARED_DICTS_MAX];       /* offsets of struct dict_head */
    uint64_t families[SHARED_FAMILIES_MAX]; /* offsets of struct family */
    struct builds builds;
    _Alignas(SHARED_LINE) struct gateway_facts facts;
    _Alignas(SHARED_LINE) struct worker_area areas[];
};

static inline void *shared_at(struct shared *shared, uint64_t offset)
{
    return (char *)shared + offset;
}
static inline uint64_t shared_offset(const struct shared *shared, const void *at)
{
    return (uint64_t)((const char *)at - (const char *)shared);
}

/* Zeroed bytes at a multiple of `align` (a power of two); 0 when the region is full. */
uint64_t shared_alloc(struct shared *shared, uint64_t size, uint64_t align);
uint64_t shared_left(struct shared *shared);

/* Robust and shared between processes. */
void shared_lock_init(pthread_mutex_t *lock);
/* True when the holder died: repair what it guards, then call shared_lock_repaired(). */
WEIR_MUST_USE static inline bool shared_lock(pthread_mutex_t *lock)
{
    int error = pthread_mutex_lock(lock);
    if (LIKELY(error == 0))
        return false;
    CHECK_THAT(error == EOWNERDEAD);
    return true;
}
void shared_lock_repaired(struct shared *shared, pthread_mutex_t *lock);
static inline void shared_unlock(pthread_mutex_t *lock)
{
    CHECK_THAT(pthread_mutex_unlock(lock) == 0);
}
/* For locks whose data is whole after every single store. */
void shared_lock_simple(struct shared *shared, pthread_mutex_t *lock);

#endif
