/* Dictionaries as seen by one who is no policy: the test kit. */
#include "base/clock.h"
#include "plugin_host/dict.h"
#include "plugin_host/dict_internal.h"

weir_dict *dict_find(struct shared *shared, struct span owner, struct span name)
{
    const struct dict_head *found = NULL;
    char why[256];
    CHECK(shared, SHARED);
    shared_lock_simple(shared, &shared->directory_lock);
    for (size_t i = 0; i < shared->dict_count; i++) {
        const struct dict_head *head = shared_at(shared, shared->dicts[i]);
        if (span_equal(span_text(head->owner), owner) && span_equal(span_text(head->name), name) &&
            head->ready != 0 && (found == NULL || head->opened > found->opened))
            found = head;
    }
    shared_unlock(&shared->directory_lock);
    return found == NULL ? NULL
                         : dict_open(shared, owner, name, found->layout, found->entries,
                                     found->value_size, why, sizeof(why));
}

uint32_t dict_value_size(const weir_dict *dict)
{
    CHECK(dict, DICT);
    return dict->value_size;
}

size_t dict_count(weir_dict *dict)
{
    size_t count = 0;
    uint64_t now_ms = clock_mono_ms();
    CHECK(dict, DICT);
    for (uint32_t shard = 0; shard <= dict->shard_mask; shard++) {
        dict_shard_lock(dict->shared, dict->head, shard);
        for (size_t i = 0; i <= dict->bucket_mask; i++) {
            size_t index = (size_t)shard * (dict->bucket_mask + 1) + i;
            const struct dict_bucket *bucket =
                (const void *)(dict->buckets + index * dict->bucket_size);
            for (size_t way = 0; way < DICT_WAYS; way++) {
                const struct dict_slot *slot =
                    (const void *)(bucket->slots + way * dict->slot_size);
                bool ended = slot->expires_ms != 0 && slot->expires_ms <= now_ms;
                count += bucket->tag[way] != 0 && !ended;
            }
        }
        shared_unlock(&dict->shards[shard].lock);
    }
    return count;
}
