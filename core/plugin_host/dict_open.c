/* Finding or making a dictionary. A plugin's new build may ask for another layout while the old
 * build still serves, or comes back after a failed swap: the entries of the layout used last are
 * therefore kept beside the new ones, and only what an older layout left behind is cleared and used
 * again. Its handles, should any be left, answer WEIR_GONE. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "plugin_host/dict.h"
#include "plugin_host/dict_internal.h"

/* What is asked for, with the geometry that follows from it. */
struct shape {
    struct span owner, name;
    uint32_t layout, entries, value_size;
    uint32_t shards, per_shard;
    uint64_t bytes; /* of all buckets */
};

static uint64_t round_up(uint64_t size, uint64_t align)
{
    return (size + align - 1) & ~(align - 1);
}

static uint32_t slot_size(uint32_t value_size)
{
    return (uint32_t)sizeof(struct dict_slot) + ((value_size + 7) & ~7U);
}

static uint32_t bucket_size(uint32_t value_size)
{
    return (uint32_t)sizeof(struct dict_bucket) + DICT_WAYS * slot_size(value_size);
}

/* Half as many places again as entries: with two buckets to choose from, keys then hardly ever push
 * each other out before the dictionary is full. A shard has at least 16 buckets for the same end.
 */
static void plan(struct shape *shape)
{
    uint64_t buckets = 1;
    while (buckets * DICT_WAYS <
           shape->entries + (shape->entries > DICT_WAYS ? shape->entries / 2 : 0))
        buckets *= 2;
    shape->shards = buckets >= 16 * DICT_SHARDS_MAX ? DICT_SHARDS_MAX
                    : buckets >= 32                 ? (uint32_t)(buckets / 16)
                                                    : 1;
    shape->per_shard = (uint32_t)(buckets / shape->shards);
    shape->bytes = buckets * bucket_size(shape->value_size);
}

static const char *refusal(const struct shape *shape)
{
    if (shape->name.size == 0 || shape->name.size >= DICT_NAME_SIZE)
        return "its name must have 1 to 127 bytes";
    if (shape->owner.size >= DICT_OWNER_SIZE)
        return "the plugin's name is longer than 63 bytes";
    if (shape->entries == 0 || shape->entries > DICT_ENTRIES_MAX)
        return "entries must be 1 to 67108864";
    if (shape->value_size == 0 || shape->value_size > DICT_VALUE_MAX)
        return "value_size must be 1 to 4096";
    return NULL;
}

static bool same_name(const struct dict_head *head, const struct shape *shape)
{
    return span_equal(span_text(head->owner), shape->owner) &&
           span_equal(span_text(head->name), shape->name);
}

static bool same_shape(const struct dict_head *head, const struct shape *shape)
{
    return head->ready != 0 && head->layout == shape->layout && head->entries == shape->entries &&
           head->value_size == shape->value_size && same_name(head, shape);
}

static struct dict_head *find(struct shared *shared, const struct shape *shape)
{
    for (uint32_t i = 0; i < shared->dict_count; i++) {
        struct dict_head *head = shared_at(shared, shared->dicts[i]);
        if (same_shape(head, shape))
            return head;
    }
    return NULL;
}

/* A dictionary of the same name whose layout is neither the wanted one nor the one in use until
 * now, or one whose maker died half way. */
static struct dict_head *find_abandoned(struct shared *shared, const struct shape *shape)
{
    const struct dict_head *previous = NULL;
    for (uint32_t i = 0; i < shared->dict_count; i++) {
        const struct dict_head *head = shared_at(shared, shared->dicts[i]);
        if (head->ready != 0 && same_name(head, shape) && head->layout != shape->layout &&
            (previous == NULL || head->opened > previous->opened))
            previous = head;
    }
    for (uint32_t i = 0; i < shared->dict_count; i++) {
        struct dict_head *head = shared_at(shared, shared->dicts[i]);
        bool unused = head->ready == 0 || (previous != NULL && head->layout != shape->layout &&
                                           head->layout != previous->layout);
        if (same_name(head, shape) && unused && head->shards_made >= shape->shards &&
            head->bytes_made >= shape->bytes)
            return head;
    }
    return NULL;
}

/* One piece: head, shards, buckets. Locks first, then the directory's entry: a maker that dies
 * before its last store made nothing. */
static struct dict_head *allocate(struct shared *shared, const struct shape *shape)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    /* Whole pages can be given back when another layout moves in. */
    uint64_t align = shape->bytes >= page ? page : SHARED_LINE;
    uint64_t shards_from = round_up(sizeof(struct dict_head), SHARED_LINE);
    uint64_t buckets_from =
        round_up(shards_from + shape->shards * sizeof(struct dict_shard), align);
    uint64_t bytes = round_up(shape->bytes, align);
    if (shared->dict_count == SHARED_DICTS_MAX)
        return NULL;
    uint64_t at = shared_alloc(shared, buckets_from + bytes, align);
    if (at == 0)
        return NULL;

    struct dict_head *head = shared_at(shared, at);
    if (shape->owner.size != 0)
        memcpy(head->owner, shape->owner.data, shape->owner.size);
    memcpy(head->name, shape->name.data, shape->name.size);
    head->shards_made = shape->shards;
    head->bytes_made = bytes;
    head->shards_at = at + shards_from;
    head->buckets_at = at + buckets_from;
    struct dict_shard *shards = shared_at(shared, head->shards_at);
    for (uint32_t i = 0; i < shape->shards; i++)
        shared_lock_init(&shards[i].lock);
    shared->dicts[shared->dict_count] = at;
    __atomic_store_n(&shared->dict_count, shared->dict_count + 1, __ATOMIC_RELEASE);
    return head;
}

static void set_shape(struct dict_head *head, const struct shape *shape)
{
    head->layout = shape->layout;
    head->entries = shape->entries;
    head->value_size = shape->value_size;
    head->shards = shape->shards;
    head->per_shard = shape->per_shard;
    __atomic_store_n(&head->ready, 1, __ATOMIC_RELEASE);
}

/* The kernel works on whole pages, and those of a small dictionary hold its neighbours too. */
static void clear(void *bytes, uint64_t size)
{
    if (size % (uint64_t)sysconf(_SC_PAGESIZE) != 0 || madvise(bytes, size, MADV_REMOVE) != 0)
        memset(bytes, 0, size);
}

/* Holding every lock, so that nobody is inside with the old geometry and every journal is done. */
static void make_anew(struct shared *shared, struct dict_head *head, const struct shape *shape)
{
    struct dict_shard *shards = shared_at(shared, head->shards_at);
    for (uint32_t i = 0; i < head->shards_made; i++)
        dict_shard_lock(shared, head, i);
    __atomic_store_n(&head->ready, 0, __ATOMIC_RELEASE);
    __atomic_store_n(&head->epoch, head->epoch + 1, __ATOMIC_RELEASE);
    clear(shared_at(shared, head->buckets_at), head->bytes_made);
    for (uint32_t i = 0; i < head->shards_made; i++)
        shards[i].changes = 0;
    set_shape(head, shape);
    for (uint32_t i = 0; i < head->shards_made; i++)
        shared_unlock(&shards[i].lock);
}

static struct dict_head *find_or_make(struct shared *shared, const struct shape *shape)
{
    struct dict_head *head = find(shared, shape);
    if (head == NULL) {
        head = find_abandoned(shared, shape);
        if (head != NULL) {
            make_anew(shared, head, shape);
        } else {
            head = allocate(shared, shape);
            if (head != NULL)
                set_shape(head, shape);
        }
    }
    if (head != NULL)
        head->opened = ++shared->dict_opens;
    return head;
}

static void fill_handle(weir_dict *dict, struct shared *shared, struct dict_head *head)
{
    *dict = (weir_dict){
        .magic = DICT_MAGIC,
        .shared = shared,
        .head = head,
        .shards = shared_at(shared, head->shards_at),
        .buckets = shared_at(shared, head->buckets_at),
        .epoch = head->epoch,
        .value_size = head->value_size,
        .shard_mask = head->shards - 1,
        .bucket_mask = head->per_shard - 1,
        .slot_size = slot_size(head->value_size),
        .bucket_size = bucket_size(head->value_size),
    };
}

weir_dict *dict_open(struct shared *shared, struct span owner, struct span name, uint32_t layout,
                     uint32_t entries, uint32_t value_size, char *why, size_t why_size)
{
    CHECK(shared, SHARED);
    struct shape shape = {owner, name, layout, entries, value_size, 0, 0, 0};
    const char *wrong = refusal(&shape);
    if (wrong != NULL) {
        (void)snprintf(why, why_size, "dictionary \"%.*s\": %s", SPAN_ARG(span_first(name, 127)),
                       wrong);
        return NULL;
    }
    weir_dict *dict = malloc(sizeof(*dict));
    if (dict == NULL) {
        (void)snprintf(why, why_size, "dictionary \"%.*s\": no memory", SPAN_ARG(name));
        return NULL;
    }
    plan(&shape);
    shared_lock_simple(shared, &shared->directory_lock);
    struct dict_head *head = find_or_make(shared, &shape);
    bool too_many = head == NULL && shared->dict_count == SHARED_DICTS_MAX;
    if (head != NULL)
        fill_handle(dict, shared, head);
    shared_unlock(&shared->directory_lock);
    if (head != NULL)
        return dict;

    free(dict);
    if (too_many)
        (void)snprintf(why, why_size, "dictionary \"%.*s\": there are %d already", SPAN_ARG(name),
                       SHARED_DICTS_MAX);
    else
        (void)snprintf(why, why_size,
                       "dictionary \"%.*s\": the shared memory is full: %llu bytes are needed for "
                       "%u entries, %llu of %llu are left",
                       SPAN_ARG(name), (unsigned long long)shape.bytes, entries,
                       (unsigned long long)shared_left(shared), (unsigned long long)shared->size);
    return NULL;
}

void dict_close(weir_dict *dict)
{
    if (dict == NULL)
        return;
    CHECK(dict, DICT);
    dict->magic = 0;
    free(dict);
}

void dicts_usage(const struct shared *shared, struct shared_usage *usage)
{
    const char *base = (const char *)shared;
    usage->dictionaries = __atomic_load_n(&shared->dict_count, __ATOMIC_ACQUIRE);
    for (size_t i = 0; i < usage->dictionaries; i++) {
        const struct dict_head *head = (const void *)(base + shared->dicts[i]);
        const struct dict_shard *shards = (const void *)(base + head->shards_at);
        for (uint32_t k = 0; k < head->shards_made; k++)
            usage->evictions += __atomic_load_n(&shards[k].evictions, __ATOMIC_RELAXED);
    }
}
