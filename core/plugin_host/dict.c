/* The calls on a dictionary. An entry is found by the keyed fingerprint of its key in one of two
 * buckets of its shard, under the shard's lock. What a worker leaves behind when it dies inside:
 *
 *  - a counter changes by one store, so it is the old or the new one;
 *  - another entry is taken out (tag 0), written, and put in by its tag as the last store, so it is
 *    the old one, the new one, or absent;
 *  - several counters at once are first written down as changes in the journal of the lowest shard
 *    that is locked; `changes` is the store that decides. Whoever gets the lock of a dead worker
 *    carries out the changes decided for that shard. A shard nobody has locked since still hides
 *    behind its dead lock, so no one sees a part.
 *
 * Order of locks: shards rising. Compiler barriers are enough between those stores: the reader
 * comes through a lock, and a process dies between two of its own instructions. */
#include "plugin_host/dict.h"

#include "base/clock.h"
#include "plugin_host/dict_internal.h"

struct place {
    uint64_t *tag;
    struct dict_slot *slot;
};

/* One counter of dict_take(). */
struct taking {
    struct dict_mark mark;
    struct place place;
    size_t first_same; /* index of the first with the same key: its own, nearly always */
    int64_t value, adds;
    bool alive;
};

static inline struct dict_slot *slot_at(const weir_dict *dict, struct dict_bucket *bucket,
                                        uint32_t way)
{
    return (struct dict_slot *)(void *)(bucket->slots + (size_t)way * dict->slot_size);
}

static inline int64_t *counter_of(struct dict_slot *slot)
{
    return (int64_t *)(void *)slot->value;
}

static inline struct dict_bucket *bucket_at(const weir_dict *dict, uint32_t shard, uint64_t bits)
{
    size_t index = (size_t)shard * (dict->bucket_mask + 1) + (bits & dict->bucket_mask);
    return (struct dict_bucket *)(void *)(dict->buckets + index * dict->bucket_size);
}

static inline uint64_t mix(uint64_t state, const char *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof(word));
    return (state ^ word) * 0x9e3779b97f4a7c15U;
}

/* Where a key is remembered. Not a secret: whoever finds two keys with one place makes them take
 * the long way, as if nothing were remembered. */
static inline struct dict_recent *recent_place(weir_dict *dict, weir_str key)
{
    uint64_t state = key.size;
    if (key.size >= 8) {
        for (const char *at = key.data, *end = at + key.size - 8; at < end; at += 8)
            state = mix(state, at);
        state = mix(state, key.data + key.size - 8);
    } else {
        char padded[8] = {0};
        memcpy(padded, key.data, key.size);
        state = mix(state, padded);
    }
    _Static_assert(DICT_RECENT == 1 << (64 - 58), "the top bits are the index");
    return &dict->recent[state >> 58];
}

static void make_mark(const weir_dict *dict, weir_str key, struct dict_mark *out_mark)
{
    struct hash_pair hash =
        hash_span_wide(&dict->shared->entry_key, (struct span){key.data, key.size});
    out_mark->tag = hash.first == 0 ? 1 : hash.first;
    out_mark->check = hash.second;
    out_mark->shard = (uint32_t)hash.second & dict->shard_mask;
    out_mark->first = bucket_at(dict, out_mark->shard, hash.first);
    out_mark->second = bucket_at(dict, out_mark->shard, hash.first >> 32);
}

static void remember(struct dict_recent *recent, weir_str key, const struct dict_mark *mark)
{
    recent->mark = *mark;
    recent->key_size = (uint32_t)key.size;
    memcpy(recent->key, key.data, key.size);
}

static inline bool mark_key(weir_dict *dict, weir_str key, struct dict_mark *out_mark)
{
    if (UNLIKELY(key.data == NULL || key.size - 1 >= DICT_RECENT_KEY_MAX)) {
        if (key.data == NULL && key.size != 0)
            return false;
        make_mark(dict, key, out_mark);
        return true;
    }
    struct dict_recent *recent = recent_place(dict, key);
    if (LIKELY(recent->key_size == key.size && memcmp(recent->key, key.data, key.size) == 0)) {
        *out_mark = recent->mark;
        return true;
    }
    make_mark(dict, key, out_mark);
    remember(recent, key, out_mark);
    return true;
}

static inline bool find_in(const weir_dict *dict, struct dict_bucket *bucket,
                           const struct dict_mark *mark, struct place *out_place)
{
    for (uint32_t way = 0; way < DICT_WAYS; way++) {
        if (bucket->tag[way] != mark->tag)
            continue;
        struct dict_slot *slot = slot_at(dict, bucket, way);
        if (slot->check != mark->check)
            continue;
        *out_place = (struct place){&bucket->tag[way], slot};
        return true;
    }
    return false;
}

/* The entry of that key even when it has ended: its place is the one to use again. */
static inline struct place find(const weir_dict *dict, const struct dict_mark *mark)
{
    struct place place = {NULL, NULL};
    if (!find_in(dict, mark->first, mark, &place))
        (void)find_in(dict, mark->second, mark, &place);
    return place;
}

static inline bool has_ended(const struct dict_slot *slot, uint64_t now_ms)
{
    return slot->expires_ms != 0 && slot->expires_ms <= now_ms;
}

static inline bool is_alive(struct place place, uint64_t now_ms)
{
    return place.tag != NULL && !has_ended(place.slot, now_ms);
}

static inline uint64_t end_of(int64_t ttl_ms, uint64_t now_ms)
{
    return ttl_ms == 0 ? 0 : now_ms + (uint64_t)ttl_ms;
}

static bool is_claimed(const struct taking *claims, size_t count, const uint64_t *tag)
{
    for (size_t i = 0; i < count; i++)
        if (claims[i].place.tag == tag)
            return true;
    return false;
}

/* The best place of one bucket: free, else the one that ends first (no end: last of all). Returns
 * how many are free. */
static uint32_t best_in(const weir_dict *dict, struct dict_bucket *bucket, uint64_t now_ms,
                        const struct taking *claims, size_t claim_count, struct place *out_place,
                        uint64_t *out_end)
{
    uint32_t free_ways = 0;
    for (uint32_t way = 0; way < DICT_WAYS; way++) {
        struct dict_slot *slot = slot_at(dict, bucket, way);
        if (is_claimed(claims, claim_count, &bucket->tag[way]))
            continue;
        bool is_free = bucket->tag[way] == 0 || has_ended(slot, now_ms);
        uint64_t end = is_free ? 0 : slot->expires_ms == 0 ? UINT64_MAX : slot->expires_ms;
        free_ways += is_free;
        if (out_place->tag == NULL || end < *out_end) {
            *out_place = (struct place){&bucket->tag[way], slot};
            *out_end = end;
        }
    }
    return free_ways;
}

/* A place for a new entry, out of the emptier of its two buckets; the places of `claims` are taken.
 * No tag: all are. */
static struct place make_room(const weir_dict *dict, const struct dict_mark *mark, uint64_t now_ms,
                              const struct taking *claims, size_t claim_count)
{
    struct place first = {NULL, NULL}, second = {NULL, NULL};
    uint64_t first_end = UINT64_MAX, second_end = UINT64_MAX;
    uint32_t first_free =
        best_in(dict, mark->first, now_ms, claims, claim_count, &first, &first_end);
    uint32_t second_free =
        best_in(dict, mark->second, now_ms, claims, claim_count, &second, &second_end);
    bool take_second =
        second.tag != NULL && (first.tag == NULL || second_free > first_free ||
                               (second_free == first_free && second_end < first_end));
    return take_second ? second : first;
}

/* `place` had a living entry of another key. */
static void count_eviction(const weir_dict *dict, uint32_t shard, struct place place,
                           uint64_t now_ms)
{
    if (*place.tag == 0 || has_ended(place.slot, now_ms))
        return;
    uint64_t *evictions = &dict->shards[shard].evictions;
    __atomic_store_n(evictions, *evictions + 1, __ATOMIC_RELAXED);
}

static inline void take_out(uint64_t *tag)
{
    __atomic_store_n(tag, 0, __ATOMIC_RELAXED);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static inline void put_in(uint64_t *tag, uint64_t value)
{
    __atomic_store_n(tag, value, __ATOMIC_RELEASE);
}

static void write_entry(uint32_t value_size, struct place place, const struct dict_mark *mark,
                        uint64_t expires_ms, const void *value, size_t size)
{
    take_out(place.tag);
    place.slot->check = mark->check;
    place.slot->expires_ms = expires_ms;
    memcpy(place.slot->value, value, size);
    memset(place.slot->value + size, 0, value_size - size);
    put_in(place.tag, mark->tag);
}

/* A new entry, or a new value for the one whose (ended) place is known. False: no place. */
static bool insert(const weir_dict *dict, const struct dict_mark *mark, struct place place,
                   uint64_t now_ms, uint64_t expires_ms, const void *value, size_t size)
{
    if (place.tag == NULL) {
        place = make_room(dict, mark, now_ms, NULL, 0);
        if (UNLIKELY(place.tag == NULL))
            return false;
        count_eviction(dict, mark->shard, place, now_ms);
    }
    write_entry(dict->value_size, place, mark, expires_ms, value, size);
    return true;
}

/* ---- locks and journal ----------------------------------------------------------------------- */

static void carry_out(struct shared *shared, const struct dict_change *change, uint32_t value_size)
{
    struct place place = {shared_at(shared, change->tag_at), shared_at(shared, change->slot_at)};
    if (*place.tag == change->tag && place.slot->check == change->check &&
        place.slot->expires_ms == change->expires_ms) {
        __atomic_store_n(counter_of(place.slot), change->value, __ATOMIC_RELAXED);
        return;
    }
    struct dict_mark mark = {.tag = change->tag, .check = change->check};
    write_entry(value_size, place, &mark, change->expires_ms, &change->value,
                sizeof(change->value));
}

/* The holder of shard `index` died: finish what it had decided. Journals of the living never name a
 * shard that we hold, so reading them meanwhile is harmless. */
static void recover(struct shared *shared, struct dict_head *head, uint32_t index)
{
    struct dict_shard *shards = shared_at(shared, head->shards_at);
    for (uint32_t i = 0; i < head->shards_made; i++) {
        uint32_t count = __atomic_load_n(&shards[i].changes, __ATOMIC_ACQUIRE);
        for (uint32_t k = 0; k < count; k++) {
            struct dict_change *change = &shards[i].change[k];
            if (__atomic_load_n(&change->shard, __ATOMIC_RELAXED) != index || change->done != 0)
                continue;
            carry_out(shared, change, head->value_size);
            __atomic_store_n(&change->done, 1, __ATOMIC_RELEASE);
        }
    }
}

/* We got the lock of a dead worker. */
static void take_over(struct shared *shared, struct dict_head *head, uint32_t index)
{
    struct dict_shard *shards = shared_at(shared, head->shards_at);
    recover(shared, head, index);
    shared_lock_repaired(shared, &shards[index].lock);
}

void dict_shard_lock(struct shared *shared, struct dict_head *head, uint32_t index)
{
    struct dict_shard *shards = shared_at(shared, head->shards_at);
    if (UNLIKELY(shared_lock(&shards[index].lock)))
        take_over(shared, head, index);
}

static inline void unlock(const weir_dict *dict, uint32_t shard)
{
    shared_unlock(&dict->shards[shard].lock);
}

static inline weir_status lock(const weir_dict *dict, uint32_t shard)
{
    if (UNLIKELY(shared_lock(&dict->shards[shard].lock)))
        take_over(dict->shared, dict->head, shard);
    if (LIKELY(dict->head->epoch == dict->epoch))
        return WEIR_SUCCESS;
    unlock(dict, shard);
    return WEIR_GONE;
}

/* The journal of `lowest`, which we hold, may be that of a dead worker with changes still waiting
 * behind other dead locks, all of them higher. Taking those locks carries them out. */
static void settle(const weir_dict *dict, uint32_t lowest)
{
    struct dict_shard *home = &dict->shards[lowest];
    for (uint32_t i = 0; i < home->changes; i++) {
        const struct dict_change *change = &home->change[i];
        if (change->shard == lowest || __atomic_load_n(&change->done, __ATOMIC_ACQUIRE) != 0)
            continue;
        dict_shard_lock(dict->shared, dict->head, change->shard);
        unlock(dict, change->shard);
    }
    __atomic_store_n(&home->changes, 0, __ATOMIC_RELEASE);
}

static inline uint32_t lowest_of(uint64_t set)
{
    return (uint32_t)__builtin_ctzll(set);
}

static void unlock_all(const weir_dict *dict, uint64_t set)
{
    for (; set != 0; set &= set - 1)
        unlock(dict, lowest_of(set));
}

static weir_status lock_all(const weir_dict *dict, uint64_t set)
{
    weir_status status = lock(dict, lowest_of(set));
    if (status != WEIR_SUCCESS)
        return status;
    if (UNLIKELY(dict->shards[lowest_of(set)].changes != 0))
        settle(dict, lowest_of(set));
    for (set &= set - 1; set != 0; set &= set - 1)
        dict_shard_lock(dict->shared, dict->head, lowest_of(set));
    return WEIR_SUCCESS;
}

/* ---- one entry ------------------------------------------------------------------------------- */

/* Everything a call on one key starts with: afterwards the shard is locked. */
static inline weir_status enter(weir_dict *dict, weir_str key, struct dict_mark *out_mark,
                                struct place *out_place)
{
    if (UNLIKELY(!mark_key(dict, key, out_mark)))
        return WEIR_INVALID;
    weir_status status = lock(dict, out_mark->shard);
    if (UNLIKELY(status != WEIR_SUCCESS))
        return status;
    *out_place = find(dict, out_mark);
    return WEIR_SUCCESS;
}

weir_status dict_get(weir_dict *dict, weir_str key, void *out_value, size_t size)
{
    struct dict_mark mark;
    struct place place;
    CHECK(dict, DICT);
    if (size > dict->value_size || (out_value == NULL && size != 0))
        return WEIR_INVALID;
    weir_status status = enter(dict, key, &mark, &place);
    if (status != WEIR_SUCCESS)
        return status;
    if (!is_alive(place, clock_mono_ms()))
        status = WEIR_NOT_FOUND;
    else if (size != 0)
        memcpy(out_value, place.slot->value, size);
    unlock(dict, mark.shard);
    return status;
}

weir_status dict_set(weir_dict *dict, weir_str key, const void *value, size_t size, int64_t ttl_ms)
{
    struct dict_mark mark;
    struct place place;
    CHECK(dict, DICT);
    if (size > dict->value_size || (value == NULL && size != 0) || ttl_ms < 0)
        return WEIR_INVALID;
    weir_status status = enter(dict, key, &mark, &place);
    if (status != WEIR_SUCCESS)
        return status;
    uint64_t now_ms = clock_mono_ms();
    if (!insert(dict, &mark, place, now_ms, end_of(ttl_ms, now_ms), value == NULL ? "" : value,
                size))
        status = WEIR_NO_MEMORY;
    unlock(dict, mark.shard);
    return status;
}

weir_status dict_remove(weir_dict *dict, weir_str key)
{
    struct dict_mark mark;
    struct place place;
    CHECK(dict, DICT);
    weir_status status = enter(dict, key, &mark, &place);
    if (status != WEIR_SUCCESS)
        return status;
    if (!is_alive(place, clock_mono_ms()))
        status = WEIR_NOT_FOUND;
    if (place.tag != NULL)
        take_out(place.tag);
    unlock(dict, mark.shard);
    return status;
}

weir_status dict_add(weir_dict *dict, weir_str key, int64_t delta, int64_t ttl_ms,
                     int64_t *out_value)
{
    struct dict_mark mark;
    struct place place;
    CHECK(dict, DICT);
    if (dict->value_size < sizeof(int64_t) || ttl_ms < 0)
        return WEIR_INVALID;
    weir_status status = enter(dict, key, &mark, &place);
    if (status != WEIR_SUCCESS)
        return status;
    uint64_t now_ms = clock_mono_ms();
    int64_t value = delta;
    if (is_alive(place, now_ms)) {
        if (__builtin_add_overflow(*counter_of(place.slot), delta, &value))
            status = WEIR_FULL;
        else
            __atomic_store_n(counter_of(place.slot), value, __ATOMIC_RELAXED);
    } else if (!insert(dict, &mark, place, now_ms, end_of(ttl_ms, now_ms), &value, sizeof(value))) {
        status = WEIR_NO_MEMORY;
    }
    unlock(dict, mark.shard);
    if (status == WEIR_SUCCESS && out_value != NULL)
        *out_value = value;
    return status;
}

weir_status dict_swap(weir_dict *dict, weir_str key, int64_t expected, int64_t value)
{
    struct dict_mark mark;
    struct place place;
    CHECK(dict, DICT);
    if (dict->value_size < sizeof(int64_t))
        return WEIR_INVALID;
    weir_status status = enter(dict, key, &mark, &place);
    if (status != WEIR_SUCCESS)
        return status;
    if (!is_alive(place, clock_mono_ms()))
        status = WEIR_NOT_FOUND;
    else if (*counter_of(place.slot) != expected)
        status = WEIR_FULL;
    else
        __atomic_store_n(counter_of(place.slot), value, __ATOMIC_RELAXED);
    unlock(dict, mark.shard);
    return status;
}

/* ---- take ------------------------------------------------------------------------------------ */

static weir_status take_one(weir_dict *dict, weir_take *take)
{
    struct dict_mark mark;
    struct place place;
    if (UNLIKELY(take->ttl_ms < 0))
        return WEIR_INVALID;
    weir_status status = enter(dict, take->key, &mark, &place);
    if (UNLIKELY(status != WEIR_SUCCESS))
        return status;
    uint64_t now_ms = clock_mono_ms();
    bool alive = is_alive(place, now_ms);
    int64_t value = alive ? *counter_of(place.slot) : 0;
    if (value >= take->limit) {
        status = WEIR_FULL;
    } else if (alive) {
        __atomic_store_n(counter_of(place.slot), ++value, __ATOMIC_RELAXED);
    } else {
        int64_t one = 1;
        if (insert(dict, &mark, place, now_ms, end_of(take->ttl_ms, now_ms), &one, sizeof(one)))
            value = one;
        else
            status = WEIR_NO_MEMORY;
    }
    unlock(dict, mark.shard);
    take->value = value;
    return status;
}

/* Fingerprints, equal keys, and the set of shards to lock (0: a bad key or ttl). */
static uint64_t prepare(weir_dict *dict, struct taking *takings, const weir_take *counters,
                        size_t count)
{
    uint64_t set = 0;
    for (size_t i = 0; i < count; i++) {
        struct dict_mark *mark = &takings[i].mark;
        if (counters[i].ttl_ms < 0 || !mark_key(dict, counters[i].key, mark))
            return 0;
        takings[i].place = (struct place){NULL, NULL};
        takings[i].adds = 0;
        size_t same = 0;
        while (same < i &&
               (takings[same].mark.tag != mark->tag || takings[same].mark.check != mark->check))
            same++;
        takings[i].first_same = same;
        takings[same].adds++;
        set |= (uint64_t)1 << mark->shard;
    }
    return set;
}

/* Counters as they are; WEIR_FULL when one has no room for all that this call adds to it. */
static weir_status look(const weir_dict *dict, struct taking *takings, weir_take *counters,
                        size_t count, uint64_t now_ms)
{
    weir_status status = WEIR_SUCCESS;
    for (size_t i = 0; i < count; i++) {
        struct taking *taking = &takings[takings[i].first_same];
        int64_t after;
        if (takings[i].first_same == i) {
            taking->place = find(dict, &taking->mark);
            taking->alive = is_alive(taking->place, now_ms);
            taking->value = taking->alive ? *counter_of(taking->place.slot) : 0;
        }
        counters[i].value = taking->value;
        if (__builtin_add_overflow(taking->value, taking->adds, &after) ||
            after > counters[i].limit)
            status = WEIR_FULL;
    }
    return status;
}

/* Places for the counters that are new; no two get the same, and none that another one has. */
static bool find_places(const weir_dict *dict, struct taking *takings, size_t count,
                        uint64_t now_ms)
{
    for (size_t i = 0; i < count; i++) {
        if (takings[i].first_same != i || takings[i].place.tag != NULL)
            continue;
        takings[i].place = make_room(dict, &takings[i].mark, now_ms, takings, count);
        if (takings[i].place.tag == NULL)
            return false;
    }
    return true;
}

/* Member by member: a recovery may look at `shard` meanwhile, which must never be another's. */
static void write_down(const weir_dict *dict, struct dict_change *change,
                       const struct taking *taking, uint64_t expires_ms)
{
    change->tag_at = shared_offset(dict->shared, taking->place.tag);
    change->slot_at = shared_offset(dict->shared, taking->place.slot);
    change->tag = taking->mark.tag;
    change->check = taking->mark.check;
    change->expires_ms = expires_ms;
    change->value = taking->value;
    __atomic_store_n(&change->shard, taking->mark.shard, __ATOMIC_RELAXED);
    __atomic_store_n(&change->done, 0, __ATOMIC_RELAXED);
}

/* Write the changes down, decide, carry them out, forget them. */
static void commit(const weir_dict *dict, struct taking *takings, weir_take *counters, size_t count,
                   uint32_t lowest, uint64_t now_ms)
{
    struct dict_shard *home = &dict->shards[lowest];
    uint32_t changes = 0;
    for (size_t i = 0; i < count; i++) {
        struct taking *taking = &takings[i];
        if (taking->first_same == i) {
            if (!taking->alive && *taking->place.tag != taking->mark.tag)
                count_eviction(dict, taking->mark.shard, taking->place, now_ms);
            taking->value += taking->adds;
            write_down(dict, &home->change[changes++], taking,
                       taking->alive ? taking->place.slot->expires_ms
                                     : end_of(counters[i].ttl_ms, now_ms));
        }
        counters[i].value = takings[taking->first_same].value;
    }
    __atomic_store_n(&home->changes, changes, __ATOMIC_RELEASE);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    for (uint32_t i = 0; i < changes; i++)
        carry_out(dict->shared, &home->change[i], dict->value_size);
    __atomic_store_n(&home->changes, 0, __ATOMIC_RELEASE);
}

weir_status dict_take(weir_dict *dict, weir_take *counters, size_t count)
{
    CHECK(dict, DICT);
    if (UNLIKELY(count > DICT_TAKE_MAX || dict->value_size < sizeof(int64_t)))
        return WEIR_INVALID;
    if (LIKELY(count == 1))
        return take_one(dict, counters);
    if (count == 0)
        return WEIR_SUCCESS;

    struct taking takings[DICT_TAKE_MAX];
    uint64_t set = prepare(dict, takings, counters, count);
    if (set == 0)
        return WEIR_INVALID;
    weir_status status = lock_all(dict, set);
    if (status != WEIR_SUCCESS)
        return status;
    uint64_t now_ms = clock_mono_ms();
    status = look(dict, takings, counters, count, now_ms);
    if (status == WEIR_SUCCESS && !find_places(dict, takings, count, now_ms))
        status = WEIR_NO_MEMORY;
    if (status == WEIR_SUCCESS)
        commit(dict, takings, counters, count, lowest_of(set), now_ms);
    unlock_all(dict, set);
    return status;
}
