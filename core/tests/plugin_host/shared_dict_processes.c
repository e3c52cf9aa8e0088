/* Dictionaries under several processes, some of which are killed wherever they happen to be. */
#include <criterion/criterion.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "plugin_host/dict.h"
#include "plugin_host/dict_internal.h"

enum { CHILDREN = 4, KILLS = 50, PAIRS = 20, BIG = 512 };

static struct shared *region;
static uint64_t *progress; /* shared with the children */
static char why[256];

static void set_up(void)
{
    clock_update();
    region = shared_create(16 << 20, 1);
    cr_assert_not_null(region);
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(page, MAP_FAILED);
    progress = page;
}

static void tear_down(void)
{
    shared_destroy(region);
    cr_expect_eq(munmap(progress, 4096), 0);
}

TestSuite(shared_dict_processes, .init = set_up, .fini = tear_down, .timeout = 60);

static weir_dict *open_named(const char *name, uint32_t entries, uint32_t value_size)
{
    weir_dict *dict = dict_open(region, SPAN("plugin"), span_text(name), 1, entries, value_size,
                                why, sizeof(why));
    cr_assert_not_null(dict, "%s", why);
    return dict;
}

static int64_t value_of(weir_dict *dict, weir_str key)
{
    int64_t value = 0;
    weir_status status = dict_get(dict, key, &value, sizeof(value));
    return status == WEIR_SUCCESS ? value : -1;
}

static weir_str numbered(char out[24], const char *name, int number)
{
    return (weir_str){out, (size_t)snprintf(out, 24, "%s-%d", name, number)};
}

static const struct {
    const char *reason;
    size_t count;
    int64_t limit;
} hammers[] = {
    {"one counter: a lock of its own", 1, 2000},
    {"several: all their shards are locked", 5, 1500},
};

static void hammer(weir_dict *dict, size_t row, int child)
{
    char texts[16][24];
    weir_take takes[16];
    for (size_t i = 0; i < hammers[row].count; i++) /* each child in another order */
        takes[i] = (weir_take){
            .key = numbered(texts[i], "k", (int)((i + (size_t)child) % hammers[row].count)),
            .limit = hammers[row].limit};
    weir_status status = WEIR_SUCCESS;
    while (status == WEIR_SUCCESS) {
        status = dict_take(dict, takes, hammers[row].count);
        if (status == WEIR_SUCCESS)
            __atomic_add_fetch(progress, 1, __ATOMIC_RELAXED);
    }
    _exit(status == WEIR_FULL ? 0 : 1);
}

Test(shared_dict_processes, exactly_the_limit_is_admitted)
{
    for (size_t row = 0; row < COUNT_OF(hammers); row++) {
        weir_dict *dict = open_named(hammers[row].reason, 5000, 8);
        pid_t children[CHILDREN];
        char text[24];
        *progress = 0;
        for (int i = 0; i < CHILDREN; i++) {
            children[i] = fork();
            if (children[i] == 0)
                hammer(dict, row, i);
        }
        for (int i = 0; i < CHILDREN; i++) {
            int status = 1;
            cr_assert_eq(waitpid(children[i], &status, 0), children[i]);
            cr_expect_eq(status, 0, "%s", hammers[row].reason);
        }
        cr_expect_eq(*progress, hammers[row].limit, "%s", hammers[row].reason);
        for (size_t i = 0; i < hammers[row].count; i++)
            cr_expect_eq(value_of(dict, numbered(text, "k", (int)i)), hammers[row].limit);
        dict_close(dict);
    }
    cr_expect_eq(shared_usage(region).recoveries, 0, "nobody died");
}

/* Pairs are counted together, big values hold one byte many times. */
static void work_until_killed(weir_dict *counters, weir_dict *values)
{
    char texts[2][24], bytes[BIG];
    for (int i = 0;; i++) {
        weir_take pair[2] = {{.key = numbered(texts[0], "left", i % PAIRS), .limit = INT64_MAX},
                             {.key = numbered(texts[1], "right", i % PAIRS), .limit = INT64_MAX}};
        memset(bytes, 'a' + i % 26, sizeof(bytes));
        if (dict_take(counters, pair, 2) != WEIR_SUCCESS ||
            dict_set(values, numbered(texts[0], "v", i % PAIRS), bytes, BIG, 0) != WEIR_SUCCESS)
            _exit(1);
        if (i % 3 == 0) /* made and gone all the time, so that new ones are made too */
            (void)dict_remove(values, numbered(texts[0], "v", i * 7 % PAIRS));
        __atomic_add_fetch(progress, 1, __ATOMIC_RELAXED);
    }
}

static void wait_for_progress(uint64_t until)
{
    uint64_t deadline_us = clock_precise_us() + 20 * 1000 * 1000;
    while (__atomic_load_n(progress, __ATOMIC_RELAXED) < until) {
        cr_assert_lt(clock_precise_us(), deadline_us, "a lock is stuck");
        (void)sched_yield();
    }
}

static void expect_whole(weir_dict *counters, weir_dict *values)
{
    char text[24], bytes[BIG];
    for (int i = 0; i < PAIRS; i++) {
        int64_t left = value_of(counters, numbered(text, "left", i));
        cr_expect_eq(left, value_of(counters, numbered(text, "right", i)), "all or none");
        if (dict_get(values, numbered(text, "v", i), bytes, BIG) != WEIR_SUCCESS)
            continue;
        for (size_t k = 1; k < BIG; k++)
            cr_assert_eq(bytes[k], bytes[0], "a value in two halves");
    }
}

Test(shared_dict_processes, killed_workers_leave_whole_entries_and_no_lock)
{
    weir_dict *counters = open_named("counters", 500, 8), *values = open_named("values", 500, BIG);
    for (int round = 0; round < KILLS; round++) {
        uint64_t before = __atomic_load_n(progress, __ATOMIC_RELAXED);
        pid_t children[2];
        for (int i = 0; i < 2; i++) {
            children[i] = fork();
            if (children[i] == 0)
                work_until_killed(counters, values);
        }
        wait_for_progress(before + 20 + (uint64_t)round);
        for (int i = 0; i < 2; i++) {
            int status = 0;
            cr_assert_eq(kill(children[i], SIGKILL), 0);
            cr_assert_eq(waitpid(children[i], &status, 0), children[i]);
            cr_assert(WIFSIGNALED(status), "it should not have stopped by itself");
        }
        expect_whole(counters, values);
    }
    printf("[----] %d kills, %llu locks taken over\n", 2 * KILLS,
           (unsigned long long)shared_usage(region).recoveries);
    cr_expect_eq(shared_usage(region).evictions, 0);
    dict_close(counters);
    dict_close(values);
}

/* Where the only entry with that value lies. */
static struct dict_change locate(const weir_dict *dict, int64_t value)
{
    size_t buckets = (size_t)dict->head->shards * dict->head->per_shard;
    for (size_t i = 0; i < buckets * DICT_WAYS; i++) {
        char *at = dict->buckets + i / DICT_WAYS * dict->bucket_size;
        struct dict_bucket *bucket = (struct dict_bucket *)(void *)at;
        struct dict_slot *slot = (void *)(bucket->slots + i % DICT_WAYS * dict->slot_size);
        int64_t found;
        memcpy(&found, slot->value, sizeof(found));
        if (bucket->tag[i % DICT_WAYS] != 0 && found == value)
            return (struct dict_change){.tag_at =
                                            shared_offset(region, &bucket->tag[i % DICT_WAYS]),
                                        .slot_at = shared_offset(region, slot),
                                        .tag = bucket->tag[i % DICT_WAYS],
                                        .check = slot->check,
                                        .shard = (uint32_t)(i / DICT_WAYS / dict->head->per_shard)};
    }
    cr_assert_fail("no entry with that value");
    return (struct dict_change){0};
}

/* A worker that dies with both shards locked: `decided` changes are in its journal, and of these
 * the first `carried_out` are done, except that the next one's entry is half written. */
static void die_inside(weir_dict *dict, struct dict_change changes[2], uint32_t decided,
                       uint32_t carried_out)
{
    uint32_t lowest = changes[0].shard < changes[1].shard ? changes[0].shard : changes[1].shard;
    pid_t child = fork();
    if (child == 0) {
        dict_shard_lock(region, dict->head, lowest);
        dict_shard_lock(region, dict->head, changes[0].shard + changes[1].shard - lowest);
        memcpy(dict->shards[lowest].change, changes, 2 * sizeof(changes[0]));
        dict->shards[lowest].changes = decided;
        for (uint32_t i = 0; i < carried_out; i++) {
            struct dict_slot *slot = shared_at(region, changes[i].slot_at);
            memcpy(slot->value, &changes[i].value, sizeof(changes[i].value));
        }
        if (carried_out == 1)
            *(uint64_t *)shared_at(region, changes[1].tag_at) = 0;
        _exit(0);
    }
    int status = 1;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(status, 0);
}

static const struct {
    const char *reason;
    uint32_t decided, carried_out;
    bool take_first; /* else the counters are read at once, the later shard before the earlier */
    int64_t left, right;
} deaths[] = {
    {"written down, not decided: nothing happened", 0, 0, false, 100001, 200001},
    {"decided: it happens", 2, 0, false, 7, 9},
    {"half done: the rest follows", 2, 1, false, 7, 9},
    {"done but not forgotten: not twice", 2, 2, false, 7, 9},
    {"the next take needs the journal at once", 2, 0, true, 8, 9},
    {"the same, half done", 2, 1, true, 8, 9},
    {"the same, nothing decided", 0, 0, true, 100002, 200001},
};

/* A new counter whose key falls into that shard; `out_text` holds the key. */
static struct dict_change make_in_shard(weir_dict *dict, uint32_t shard, int64_t value,
                                        char out_text[24], weir_str *out_key)
{
    for (int number = 0; number < 10000; number++) {
        *out_key = numbered(out_text, "key", number);
        if (value_of(dict, *out_key) != -1)
            continue;
        cr_assert_eq(dict_add(dict, *out_key, value, 0, NULL), WEIR_SUCCESS);
        struct dict_change change = locate(dict, value);
        if (change.shard == shard)
            return change;
        cr_assert_eq(dict_remove(dict, *out_key), WEIR_SUCCESS);
    }
    cr_assert_fail("no key for that shard");
    return (struct dict_change){0};
}

static void die_with_lock(weir_dict *dict, uint32_t shard)
{
    pid_t child = fork();
    if (child == 0) {
        dict_shard_lock(region, dict->head, shard);
        _exit(0);
    }
    cr_assert_eq(waitpid(child, NULL, 0), child);
}

Test(shared_dict_processes, what_a_dead_worker_had_decided_happens)
{
    for (size_t row = 0; row < COUNT_OF(deaths); row++) {
        const char *reason = deaths[row].reason;
        weir_dict *dict = open_named(reason, 1000, 8);
        cr_assert_gt(dict->head->shards, 5);
        char texts[3][24];
        weir_str left, right, third;
        struct dict_change changes[2];
        changes[0] = make_in_shard(dict, 1, 100001, texts[0], &left);
        changes[0].value = 7;
        changes[1] = make_in_shard(dict, 5, 200001, texts[1], &right);
        changes[1].value = 9;
        (void)make_in_shard(dict, 3, 300001, texts[2], &third);

        uint64_t before = shared_usage(region).recoveries;
        die_inside(dict, changes, deaths[row].decided, deaths[row].carried_out);
        if (deaths[row].take_first) { /* the journal is used again, past a shard still dead */
            weir_take pair[2] = {{.key = left, .limit = 1000000}, {.key = third, .limit = 1000000}};
            cr_expect_eq(dict_take(dict, pair, 2), WEIR_SUCCESS, "%s", reason);
        }
        cr_expect_eq(value_of(dict, right), deaths[row].right, "%s", reason);
        cr_expect_eq(value_of(dict, left), deaths[row].left, "%s", reason);
        cr_expect_eq(shared_usage(region).recoveries, before + 2, "%s", reason);

        /* An old change does not come back with the next death, nor with the next use. */
        weir_take pair[2] = {{.key = left, .limit = 1000000}, {.key = right, .limit = 1000000}};
        cr_expect_eq(dict_add(dict, right, 50, 0, NULL), WEIR_SUCCESS);
        die_with_lock(dict, 5);
        cr_expect_eq(value_of(dict, right), deaths[row].right + 50, "%s", reason);
        cr_expect_eq(dict_take(dict, pair, 2), WEIR_SUCCESS);
        cr_expect_eq(pair[0].value, deaths[row].left + 1, "%s", reason);
        cr_expect_eq(pair[1].value, deaths[row].right + 51, "%s", reason);
        dict_close(dict);
    }
}
