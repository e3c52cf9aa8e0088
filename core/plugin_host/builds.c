/* The table of builds. Only workers change it, under a lock that outlives its holder; readers go
 * without (the master must not wait for a worker), and look at a slot's sequence before and after.
 */
#include "plugin_host/builds.h"

#include "plugin_host/builds_internal.h"
#include "plugin_host/shared_internal.h"

enum { WORDS = sizeof(struct build_totals) / sizeof(uint64_t) };
_Static_assert(sizeof(struct build_totals) % sizeof(uint64_t) == 0, "a row is made of words");
#define GAUGES_FROM (offsetof(struct build_totals, in_flight) / sizeof(uint64_t))

const char *build_verdict_name(enum build_verdict verdict)
{
    static const char *const names[BUILD_VERDICTS] = {
        [BUILD_NEXT] = "next", [BUILD_DONE] = "done", [BUILD_WAIT] = "wait", [BUILD_FAIL] = "fail"};
    return names[verdict];
}

void builds_init(struct builds *builds)
{
    shared_lock_init(&builds->lock);
}

/* ---- changing it */

static void lock(struct shared *shared)
{
    struct builds *builds = &shared->builds;
    if (LIKELY(!shared_lock(&builds->lock)))
        return;
    /* Who died in the middle of giving a slot away had no image of it yet. */
    for (uint32_t i = 0; i < builds->count; i++)
        if (builds->slots[i].sequence % 2 != 0) {
            builds->slots[i].known = 0;
            builds->slots[i].released = 0;
            __atomic_store_n(&builds->slots[i].sequence, builds->slots[i].sequence + 1,
                             __ATOMIC_RELEASE);
        }
    shared_lock_repaired(shared, &builds->lock);
}

static void unlock(struct shared *shared)
{
    shared_unlock(&shared->builds.lock);
}

static bool is_held(const struct build_slot *slot)
{
    uint64_t all = 0;
    for (size_t i = 0; i < COUNT_OF(slot->holders); i++)
        all |= slot->holders[i];
    return all != 0;
}

static bool is_name(const struct build_slot *slot, const struct build_name *name)
{
    return slot->known != 0 && strcmp(slot->name.plugin, name->plugin) == 0 &&
           strcmp(slot->name.version, name->version) == 0 &&
           strcmp(slot->name.hash, name->hash) == 0;
}

/* Its own, else one never used, else the one that has been out of use for longest. */
static struct build_slot *find_slot(struct builds *builds, const struct build_name *name)
{
    struct build_slot *oldest = NULL;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < builds->count; i++) {
        struct build_slot *slot = &builds->slots[i];
        if (is_name(slot, name))
            return slot;
        if (is_held(slot))
            continue;
        kept++;
        if (oldest == NULL || slot->released < oldest->released)
            oldest = slot;
    }
    if (kept < BUILDS_KEPT && builds->count < BUILD_SLOTS)
        return &builds->slots[builds->count];
    return oldest;
}

static struct build_totals *row_of(struct shared *shared, const struct build_slot *slot,
                                   uint32_t worker)
{
    return shared_at(shared, slot->rows_at + (uint64_t)worker * BUILD_ROW);
}

/* Under the lock. False: no room for its rows. */
static bool give_to(struct shared *shared, struct build_slot *slot, const struct build_name *name)
{
    struct builds *builds = &shared->builds;
    if (slot->rows_at == 0)
        slot->rows_at = shared_alloc(shared, (uint64_t)shared->workers * BUILD_ROW, SHARED_LINE);
    if (slot->rows_at == 0)
        return false;
    __atomic_store_n(&slot->sequence, slot->sequence + 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    memset(row_of(shared, slot, 0), 0, (size_t)shared->workers * BUILD_ROW);
    slot->name = *name;
    slot->known = 1;
    __atomic_store_n(&slot->sequence, slot->sequence + 1, __ATOMIC_RELEASE);
    if (slot == &builds->slots[builds->count])
        __atomic_store_n(&builds->count, builds->count + 1, __ATOMIC_RELEASE);
    return true;
}

struct build_totals *builds_take(struct shared *shared, uint32_t worker,
                                 const struct build_name *name, uint32_t *out_slot)
{
    CHECK(shared, SHARED);
    CHECK_THAT(worker < shared->workers);
    struct build_totals *row = NULL;
    lock(shared);
    struct build_slot *slot = find_slot(&shared->builds, name);
    if (slot != NULL && (is_name(slot, name) || give_to(shared, slot, name))) {
        slot->holders[worker / 64] |= 1ULL << worker % 64;
        row = row_of(shared, slot, worker);
        *out_slot = (uint32_t)(slot - shared->builds.slots);
    }
    unlock(shared);
    return row;
}

/* Under the lock. */
static void let_go(struct builds *builds, struct build_slot *slot, uint32_t worker)
{
    slot->holders[worker / 64] &= ~(1ULL << worker % 64);
    slot->released = ++builds->clock;
}

static void forget_gauges(struct build_totals *row)
{
    memset((uint64_t *)row + GAUGES_FROM, 0, (WORDS - GAUGES_FROM) * sizeof(uint64_t));
}

void builds_give(struct shared *shared, uint32_t worker, uint32_t slot)
{
    CHECK(shared, SHARED);
    CHECK_THAT(worker < shared->workers && slot < BUILD_SLOTS);
    lock(shared);
    forget_gauges(row_of(shared, &shared->builds.slots[slot], worker));
    let_go(&shared->builds, &shared->builds.slots[slot], worker);
    unlock(shared);
}

void builds_take_over(struct shared *shared, uint32_t worker)
{
    CHECK(shared, SHARED);
    CHECK_THAT(worker < shared->workers);
    lock(shared);
    for (uint32_t i = 0; i < shared->builds.count; i++) {
        struct build_slot *slot = &shared->builds.slots[i];
        if ((slot->holders[worker / 64] >> worker % 64 & 1) == 0)
            continue;
        forget_gauges(row_of(shared, slot, worker));
        let_go(&shared->builds, slot, worker);
    }
    unlock(shared);
}

/* ---- reading it */

static const struct build_slot *slot_at(const struct shared *shared, uint32_t slot)
{
    CHECK(shared, SHARED);
    return slot < builds_count(shared) ? &shared->builds.slots[slot] : NULL;
}

uint32_t builds_count(const struct shared *shared)
{
    CHECK(shared, SHARED);
    return __atomic_load_n(&shared->builds.count, __ATOMIC_ACQUIRE);
}

static uint32_t begin_read(const struct build_slot *slot)
{
    return __atomic_load_n(&slot->sequence, __ATOMIC_ACQUIRE);
}

static bool end_read(const struct build_slot *slot, uint32_t sequence)
{
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return sequence % 2 == 0 && slot->known != 0 &&
           __atomic_load_n(&slot->sequence, __ATOMIC_RELAXED) == sequence;
}

bool builds_name(const struct shared *shared, uint32_t slot, struct build_name *out)
{
    const struct build_slot *at = slot_at(shared, slot);
    if (at == NULL)
        return false;
    uint32_t sequence = begin_read(at);
    struct build_name name = at->name;
    if (!end_read(at, sequence))
        return false;
    *out = name;
    return true;
}

static void add_row(uint64_t sum[WORDS], const struct build_totals *row)
{
    const uint64_t *words = (const uint64_t *)(const void *)row;
    for (size_t i = 0; i < WORDS; i++)
        sum[i] += __atomic_load_n(&words[i], __ATOMIC_RELAXED);
}

bool builds_read(const struct shared *shared, uint32_t slot, int worker, struct build_totals *out)
{
    *out = (struct build_totals){0};
    const struct build_slot *at = slot_at(shared, slot);
    if (at == NULL || worker >= (int)shared->workers)
        return false;
    uint32_t sequence = begin_read(at);
    if (sequence % 2 != 0)
        return false;
    const char *rows = (const char *)shared + at->rows_at;
    uint32_t from = worker < 0 ? 0 : (uint32_t)worker;
    uint32_t to = worker < 0 ? shared->workers : from + 1;
    for (uint32_t i = from; i < to; i++)
        add_row((uint64_t *)(void *)out, (const void *)(rows + (size_t)i * BUILD_ROW));
    if (end_read(at, sequence))
        return true;
    *out = (struct build_totals){0};
    return false;
}

bool builds_find(const struct shared *shared, const char *plugin, const char *hash,
                 uint32_t *out_slot)
{
    struct build_name name;
    uint32_t count = builds_count(shared);
    for (uint32_t i = 0; i < count; i++)
        if (builds_name(shared, i, &name) && strcmp(name.plugin, plugin) == 0 &&
            strncmp(name.hash, hash, IMAGE_HASH_TEXT) == 0) {
            *out_slot = i;
            return true;
        }
    return false;
}

bool builds_read_of(const struct shared *shared, const char *plugin, const char *hash, int worker,
                    struct build_totals *out)
{
    uint32_t slot;
    struct build_name name;
    *out = (struct build_totals){0};
    /* Once more after it: the slot may have become another's in between. */
    if (builds_find(shared, plugin, hash, &slot) && builds_read(shared, slot, worker, out) &&
        builds_name(shared, slot, &name) && strcmp(name.plugin, plugin) == 0 &&
        strncmp(name.hash, hash, IMAGE_HASH_TEXT) == 0)
        return true;
    *out = (struct build_totals){0};
    return false;
}

/* ---- what it means */

struct build_totals build_since(const struct build_totals *now, const struct build_totals *start)
{
    struct build_totals since = *now;
    uint64_t *words = (uint64_t *)(void *)&since;
    const uint64_t *before = (const uint64_t *)(const void *)start;
    for (size_t i = 0; i < GAUGES_FROM; i++)
        words[i] = words[i] > before[i] ? words[i] - before[i] : 0; /* its slot was reused */
    return since;
}

uint64_t build_verdicts(const struct build_totals *totals, enum build_verdict verdict)
{
    uint64_t sum = 0;
    for (size_t phase = 0; phase < PHASE_COUNT; phase++)
        sum += totals->phases[phase].verdicts[verdict];
    return sum;
}

uint64_t build_calls(const struct build_totals *totals)
{
    uint64_t sum = 0;
    for (int verdict = 0; verdict < BUILD_VERDICTS; verdict++)
        sum += build_verdicts(totals, (enum build_verdict)verdict);
    return sum;
}

uint64_t build_time_ns(const struct build_totals *totals)
{
    uint64_t sum = 0;
    for (size_t phase = 0; phase < PHASE_COUNT; phase++)
        sum += totals->phases[phase].time_ns;
    return sum;
}

uint64_t build_latency_us(const struct build_totals *totals, unsigned permille)
{
    uint64_t all = 0, seen = 0;
    for (size_t i = 0; i < BUILD_LATENCIES; i++)
        all += totals->latency[i];
    if (all == 0)
        return 0;
    size_t bucket = 0;
    for (; bucket + 1 < BUILD_LATENCIES; bucket++) {
        seen += totals->latency[bucket];
        if (seen * 1000 >= all * permille)
            break;
    }
    return bucket == 0 ? 0 : 1ULL << bucket;
}
