/* How a dictionary lies in the shared region: a head, shards with a lock and a journal each, and
 * buckets of eight entries. Never included outside the room. Next: dict.c (the calls), dict_open.c
 * (finding and making one). */
#ifndef WEIR_PLUGIN_HOST_DICT_INTERNAL_H
#define WEIR_PLUGIN_HOST_DICT_INTERNAL_H

#include <weir/weir.h>

#include "plugin_host/shared_internal.h"

#define DICT_MAGIC 0x57444943U

enum {
    DICT_OWNER_SIZE = 64,
    DICT_NAME_SIZE = 128, /* both with their final NUL */
    DICT_ENTRIES_MAX = 1 << 26,
    DICT_VALUE_MAX = 4096,
    DICT_SHARDS_MAX = 64, /* a set of shards is a uint64_t */
    DICT_TAKE_MAX = 16,
    DICT_WAYS = 8,
    DICT_RECENT = 64,         /* keys a handle remembers */
    DICT_RECENT_KEY_MAX = 160 /* bytes of one of them */
};

/* What an entry will be: written before any of several entries is touched, so that whoever takes
 * over the lock of a dead worker can finish what it began. */
struct dict_change {
    uint64_t tag_at, slot_at; /* offsets in the region */
    uint64_t tag, check, expires_ms;
    int64_t value;
    uint32_t shard;
    uint32_t done; /* set by a recovery, never by the worker itself */
};

struct dict_shard {
    _Alignas(SHARED_LINE) pthread_mutex_t lock;
    uint64_t evictions;
    uint32_t changes; /* > 0: the first so many below are decided; written by the lock's holder */
    _Alignas(SHARED_LINE) struct dict_change change[DICT_TAKE_MAX];
};

/* An entry without its tag. The value follows, a counter in its first 8 bytes. */
struct dict_slot {
    uint64_t check;      /* the other half of the fingerprint */
    uint64_t expires_ms; /* 0: never */
    unsigned char value[];
};

/* Eight entries: the tags share a line, so a look-up touches two. Tag 0: no entry. */
struct dict_bucket {
    uint64_t tag[DICT_WAYS];
    unsigned char slots[];
};

struct dict_head {
    char owner[DICT_OWNER_SIZE], name[DICT_NAME_SIZE];
    uint32_t layout, entries, value_size;
    uint32_t shards;      /* in use; a power of two */
    uint32_t per_shard;   /* buckets; a power of two */
    uint32_t ready;       /* 0 while it is made anew */
    uint32_t epoch;       /* a handle of another epoch is GONE */
    uint32_t shards_made; /* room, kept when another layout moves in */
    uint64_t bytes_made;
    uint64_t opened; /* order of the last opening */
    uint64_t shards_at, buckets_at;
};

/* The fingerprint of a key and where it may lie. */
struct dict_mark {
    uint64_t tag, check;
    struct dict_bucket *first, *second; /* the same in a tiny dictionary */
    uint32_t shard;
};

/* A key used lately: whoever counts asks for the same ones again and again. */
struct dict_recent {
    struct dict_mark mark; /* first NULL: none yet */
    uint32_t key_size;
    char key[DICT_RECENT_KEY_MAX];
};

struct weir_dict {
    unsigned magic;
    struct shared *shared;
    struct dict_head *head;
    struct dict_shard *shards;
    char *buckets;
    uint32_t epoch, value_size;
    uint32_t shard_mask, bucket_mask; /* of the buckets of one shard */
    uint32_t slot_size, bucket_size;
    struct dict_recent recent[DICT_RECENT];
};

/* Lock a shard, finishing first what a dead holder had decided. */
void dict_shard_lock(struct shared *shared, struct dict_head *head, uint32_t index);

void dicts_usage(const struct shared *shared, struct shared_usage *usage);

#endif
