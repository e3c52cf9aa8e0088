/* The region itself: mapping, allocator, locks that outlive their holders. What lies in it is the
 * business of dict.c and metrics.c. Everything here is published by one store at the end, so a
 * process may die between any two instructions and leave at worst some bytes nobody uses. */
#include "plugin_host/shared.h"

#include <sys/mman.h>
#include <unistd.h>

#include "plugin_host/dict_internal.h"
#include "plugin_host/metrics_internal.h"
#include "plugin_host/shared_internal.h"

enum { SHARED_SIZE_MIN = 1 << 20 };

/* AddressSanitizer and the kernel agree on this limit; a larger wish is a mistake in a setting. */
#define SHARED_SIZE_MAX ((size_t)1 << 42)

void shared_lock_init(pthread_mutex_t *lock)
{
    pthread_mutexattr_t attributes;
    CHECK_THAT(pthread_mutexattr_init(&attributes) == 0);
    CHECK_THAT(pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED) == 0);
    CHECK_THAT(pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST) == 0);
    CHECK_THAT(pthread_mutex_init(lock, &attributes) == 0);
    CHECK_THAT(pthread_mutexattr_destroy(&attributes) == 0);
}

void shared_lock_repaired(struct shared *shared, pthread_mutex_t *lock)
{
    CHECK_THAT(pthread_mutex_consistent(lock) == 0);
    __atomic_add_fetch(&shared->recoveries, 1, __ATOMIC_RELAXED);
}

void shared_lock_simple(struct shared *shared, pthread_mutex_t *lock)
{
    if (UNLIKELY(shared_lock(lock)))
        shared_lock_repaired(shared, lock);
}

struct shared *shared_create(size_t size, uint32_t workers)
{
    CHECK_THAT(workers > 0 && workers <= SHARED_WORKERS_MAX);
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (size < SHARED_SIZE_MIN)
        size = SHARED_SIZE_MIN;
    if (size > SHARED_SIZE_MAX)
        return NULL;
    size = (size + page - 1) & ~(page - 1);

    void *region =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (region == MAP_FAILED)
        return NULL;
    struct shared *shared = region;
    shared->magic = SHARED_MAGIC;
    shared->workers = workers;
    shared->size = size;
    shared->facts.master_pid = getpid();
    shared->entry_key = hash_key_random();
    shared->label_key = hash_key_random();
    shared_lock_init(&shared->alloc_lock);
    shared_lock_init(&shared->directory_lock);
    builds_init(&shared->builds);
    shared->used = sizeof(struct shared) + workers * sizeof(struct worker_area);
    _Static_assert(sizeof(struct shared) + SHARED_WORKERS_MAX * sizeof(struct worker_area) <
                       SHARED_SIZE_MIN / 2,
                   "the smallest region has room for more than its header");
    return shared;
}

void shared_destroy(struct shared *shared)
{
    if (shared == NULL)
        return;
    CHECK(shared, SHARED);
    CHECK_THAT(munmap(shared, shared->size) == 0);
}

struct worker_slot *shared_worker(struct shared *shared, uint32_t index)
{
    CHECK(shared, SHARED);
    CHECK_THAT(index < shared->workers);
    return &shared->areas[index].slot;
}

uint32_t shared_workers(const struct shared *shared)
{
    CHECK(shared, SHARED);
    return shared->workers;
}

struct gateway_facts *shared_facts(struct shared *shared)
{
    CHECK(shared, SHARED);
    return &shared->facts;
}

uint64_t shared_alloc(struct shared *shared, uint64_t size, uint64_t align)
{
    uint64_t at = 0;
    shared_lock_simple(shared, &shared->alloc_lock);
    uint64_t start = (shared->used + align - 1) & ~(align - 1);
    if (start <= shared->size && size <= shared->size - start) {
        at = start;
        __atomic_store_n(&shared->used, start + size, __ATOMIC_RELAXED);
    }
    shared_unlock(&shared->alloc_lock);
    return at;
}

void *shared_block(struct shared *shared, size_t size)
{
    CHECK(shared, SHARED);
    shared_lock_simple(shared, &shared->directory_lock);
    if (shared->block_at == 0) /* at most leaked when the process dies between the two */
        shared->block_at = shared_alloc(shared, size, SHARED_LINE);
    uint64_t at = shared->block_at;
    shared_unlock(&shared->directory_lock);
    return at == 0 ? NULL : shared_at(shared, at);
}

uint64_t shared_left(struct shared *shared)
{
    return shared->size - __atomic_load_n(&shared->used, __ATOMIC_RELAXED);
}

struct shared_usage shared_usage(const struct shared *shared)
{
    CHECK(shared, SHARED);
    struct shared_usage usage = {
        .size = shared->size,
        .used = __atomic_load_n(&shared->used, __ATOMIC_RELAXED),
        .recoveries = __atomic_load_n(&shared->recoveries, __ATOMIC_RELAXED),
    };
    for (uint32_t i = 0; i < shared->workers; i++)
        usage.overflows += __atomic_load_n(&shared->areas[i].overflows, __ATOMIC_RELAXED);
    dicts_usage(shared, &usage);
    metrics_usage(shared, &usage);
    return usage;
}
