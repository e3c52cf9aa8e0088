/* What the kit's Redis keeps: strings, sets and hashes with their ends, and the commands that
 * policies use most. Times are those of the kit. Anything else is answered as an unknown command:
 * the test scripts it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "kit_internal.h"

enum kind { STRING, SET, HASH };

struct redis_member {
    struct list link;
    struct buf name, value;
};

struct redis_key {
    struct list link;
    uint32_t database;
    enum kind kind;
    struct buf name, value; /* `value` of a string */
    struct list members;    /* of the others */
    uint64_t ends_ms;       /* 0: never */
};

struct redis_store {
    struct list keys;
};

/* One command being answered. */
struct call {
    struct redis_store *store;
    uint32_t database;
    const struct span *words;
    size_t count;
    struct buf *out;
};

/* ---- keys */

static void set_buf(struct buf *buf, struct span bytes)
{
    buf->size = 0;
    buf_span(buf, bytes);
    if (buf->failed)
        kit_die("no memory");
}

static void drop_member(struct redis_member *member)
{
    list_remove(&member->link);
    buf_free(&member->name);
    buf_free(&member->value);
    free(member);
}

static void drop_key(struct redis_key *key)
{
    LIST_FOREACH (node, &key->members)
        drop_member(LIST_ENTRY(node, struct redis_member, link));
    list_remove(&key->link);
    buf_free(&key->name);
    buf_free(&key->value);
    free(key);
}

struct redis_store *kit_store_create(void)
{
    struct redis_store *store = kit_need(calloc(1, sizeof(*store)));
    list_init(&store->keys);
    return store;
}

void kit_store_destroy(struct redis_store *store)
{
    LIST_FOREACH (node, &store->keys)
        drop_key(LIST_ENTRY(node, struct redis_key, link));
    free(store);
}

static struct redis_key *find_key(const struct call *call, struct span name)
{
    LIST_FOREACH (node, &call->store->keys) {
        struct redis_key *key = LIST_ENTRY(node, struct redis_key, link);
        if (key->database != call->database || !span_equal(buf_view(&key->name), name))
            continue;
        if (key->ends_ms == 0 || clock_mono_ms() < key->ends_ms)
            return key;
        drop_key(key);
        return NULL;
    }
    return NULL;
}

static struct redis_key *make_key(const struct call *call, enum kind kind)
{
    struct redis_key *key = kit_need(calloc(1, sizeof(*key)));
    key->database = call->database;
    key->kind = kind;
    set_buf(&key->name, call->words[1]);
    list_init(&key->members);
    list_push_back(&call->store->keys, &key->link);
    return key;
}

static struct redis_member *find_member(const struct redis_key *key, struct span name)
{
    if (key == NULL)
        return NULL;
    LIST_FOREACH (node, &key->members) {
        struct redis_member *member = LIST_ENTRY(node, struct redis_member, link);
        if (span_equal(buf_view(&member->name), name))
            return member;
    }
    return NULL;
}

/* ---- answers */

static void say_number(const struct call *call, int64_t number)
{
    buf_printf(call->out, ":%" PRId64 "\r\n", number);
}

static void say_bytes(const struct call *call, const struct buf *bytes)
{
    if (bytes == NULL) {
        buf_text(call->out, "$-1\r\n");
        return;
    }
    buf_printf(call->out, "$%zu\r\n", bytes->size);
    buf_span(call->out, buf_view(bytes));
    buf_text(call->out, "\r\n");
}

static bool read_number(const struct call *call, struct span text, int64_t *out)
{
    char digits[24], *end = NULL;
    (void)snprintf(digits, sizeof(digits), "%.*s", SPAN_ARG(span_first(text, 23)));
    *out = strtoll(digits, &end, 10);
    if (text.size > 0 && text.size < 24 && *end == '\0')
        return true;
    buf_text(call->out, "-ERR value is not an integer or out of range\r\n");
    return false;
}

/* The key of the command; *out NULL: there is none. False: it is of another kind, and that is the
 * answer. */
static bool take_key(const struct call *call, enum kind kind, struct redis_key **out)
{
    *out = find_key(call, call->words[1]);
    if (*out == NULL || (*out)->kind == kind)
        return true;
    buf_text(call->out, "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n");
    return false;
}

/* ---- commands: strings */

static void run_ping(const struct call *call)
{
    if (call->count > 1) {
        buf_printf(call->out, "$%zu\r\n%.*s\r\n", call->words[1].size, SPAN_ARG(call->words[1]));
        return;
    }
    buf_text(call->out, "+PONG\r\n");
}

static void run_get(const struct call *call)
{
    struct redis_key *key;
    if (take_key(call, STRING, &key))
        say_bytes(call, key == NULL ? NULL : &key->value);
}

static void put_string(const struct call *call, struct span value, int64_t ttl_ms)
{
    struct redis_key *old = find_key(call, call->words[1]);
    struct buf kept = BUF_INIT; /* `value` may be of the request alone, the name too */
    set_buf(&kept, value);
    if (old != NULL)
        drop_key(old);
    struct redis_key *key = make_key(call, STRING);
    key->value = kept;
    key->ends_ms = ttl_ms > 0 ? clock_mono_ms() + (uint64_t)ttl_ms : 0;
}

/* SET key value [NX | XX] [EX seconds | PX ms] */
static void run_set(const struct call *call)
{
    int64_t ttl_ms = 0;
    bool exists = find_key(call, call->words[1]) != NULL, refused = false;
    for (size_t i = 3; i < call->count; i++) {
        struct span option = call->words[i];
        bool seconds = span_equal_nocase(option, SPAN("EX"));
        if (span_equal_nocase(option, SPAN("NX"))) {
            refused = refused || exists;
        } else if (span_equal_nocase(option, SPAN("XX"))) {
            refused = refused || !exists;
        } else if ((seconds || span_equal_nocase(option, SPAN("PX"))) && i + 1 < call->count) {
            if (!read_number(call, call->words[++i], &ttl_ms))
                return;
            ttl_ms *= seconds ? 1000 : 1;
        } else {
            buf_text(call->out, "-ERR syntax error\r\n");
            return;
        }
    }
    if (refused) {
        buf_text(call->out, "$-1\r\n");
        return;
    }
    put_string(call, call->words[2], ttl_ms);
    buf_text(call->out, "+OK\r\n");
}

static void set_for(const struct call *call, int64_t unit_ms)
{
    int64_t time;
    if (!read_number(call, call->words[2], &time))
        return;
    put_string(call, call->words[3], time * unit_ms);
    buf_text(call->out, "+OK\r\n");
}

static void run_setex(const struct call *call)
{
    set_for(call, 1000);
}

static void run_psetex(const struct call *call)
{
    set_for(call, 1);
}

static void run_setnx(const struct call *call)
{
    bool exists = find_key(call, call->words[1]) != NULL;
    if (!exists)
        put_string(call, call->words[2], 0);
    say_number(call, !exists);
}

static void add(const struct call *call, int64_t delta)
{
    struct redis_key *key;
    int64_t value = 0;
    if (!take_key(call, STRING, &key) ||
        (key != NULL && !read_number(call, buf_view(&key->value), &value)))
        return;
    if (key == NULL)
        key = make_key(call, STRING);
    key->value.size = 0;
    buf_printf(&key->value, "%" PRId64, value + delta);
    say_number(call, value + delta);
}

static void run_incr(const struct call *call)
{
    add(call, 1);
}

static void run_decr(const struct call *call)
{
    add(call, -1);
}

static void run_incrby(const struct call *call)
{
    int64_t delta;
    if (read_number(call, call->words[2], &delta))
        add(call, delta);
}

/* ---- commands: keys */

static void run_del(const struct call *call)
{
    int64_t count = 0;
    for (size_t i = 1; i < call->count; i++) {
        struct redis_key *key = find_key(call, call->words[i]);
        if (key == NULL)
            continue;
        drop_key(key);
        count++;
    }
    say_number(call, count);
}

static void run_exists(const struct call *call)
{
    int64_t count = 0;
    for (size_t i = 1; i < call->count; i++)
        count += find_key(call, call->words[i]) != NULL;
    say_number(call, count);
}

static void expire(const struct call *call, int64_t unit_ms)
{
    int64_t time;
    struct redis_key *key = find_key(call, call->words[1]);
    if (!read_number(call, call->words[2], &time))
        return;
    if (key != NULL && time <= 0)
        drop_key(key);
    else if (key != NULL)
        key->ends_ms = clock_mono_ms() + (uint64_t)(time * unit_ms);
    say_number(call, key != NULL);
}

static void run_expire(const struct call *call)
{
    expire(call, 1000);
}

static void run_pexpire(const struct call *call)
{
    expire(call, 1);
}

static void say_left(const struct call *call, int64_t unit_ms)
{
    const struct redis_key *key = find_key(call, call->words[1]);
    if (key == NULL || key->ends_ms == 0)
        say_number(call, key == NULL ? -2 : -1);
    else
        say_number(call, ((int64_t)(key->ends_ms - clock_mono_ms()) + unit_ms - 1) / unit_ms);
}

static void run_ttl(const struct call *call)
{
    say_left(call, 1000);
}

static void run_pttl(const struct call *call)
{
    say_left(call, 1);
}

static void run_flushall(const struct call *call)
{
    LIST_FOREACH (node, &call->store->keys)
        drop_key(LIST_ENTRY(node, struct redis_key, link));
    buf_text(call->out, "+OK\r\n");
}

/* ---- commands: sets and hashes */

/* Returns whether it is new. */
static bool put_member(const struct call *call, struct redis_key **key, enum kind kind,
                       struct span name, struct span value)
{
    if (*key == NULL)
        *key = make_key(call, kind);
    struct redis_member *member = find_member(*key, name);
    bool is_new = member == NULL;
    if (is_new) {
        member = kit_need(calloc(1, sizeof(*member)));
        set_buf(&member->name, name);
        list_push_back(&(*key)->members, &member->link);
    }
    set_buf(&member->value, value);
    return is_new;
}

static void run_sadd(const struct call *call)
{
    struct redis_key *key;
    int64_t count = 0;
    if (!take_key(call, SET, &key))
        return;
    for (size_t i = 2; i < call->count; i++)
        count += put_member(call, &key, SET, call->words[i], SPAN(""));
    say_number(call, count);
}

static void run_hset(const struct call *call)
{
    struct redis_key *key;
    int64_t count = 0;
    if (!take_key(call, HASH, &key))
        return;
    for (size_t i = 2; i + 1 < call->count; i += 2)
        count += put_member(call, &key, HASH, call->words[i], call->words[i + 1]);
    say_number(call, count);
}

static void run_hget(const struct call *call)
{
    struct redis_key *key;
    if (!take_key(call, HASH, &key))
        return;
    const struct redis_member *member = find_member(key, call->words[2]);
    say_bytes(call, member == NULL ? NULL : &member->value);
}

static void say_member(const struct call *call, enum kind kind)
{
    struct redis_key *key;
    if (take_key(call, kind, &key))
        say_number(call, find_member(key, call->words[2]) != NULL);
}

static void run_sismember(const struct call *call)
{
    say_member(call, SET);
}

static void run_hexists(const struct call *call)
{
    say_member(call, HASH);
}

static void remove_members(const struct call *call, enum kind kind)
{
    struct redis_key *key;
    int64_t count = 0;
    if (!take_key(call, kind, &key))
        return;
    for (size_t i = 2; i < call->count; i++) {
        struct redis_member *member = find_member(key, call->words[i]);
        if (member == NULL)
            continue;
        drop_member(member);
        count++;
    }
    if (key != NULL && list_is_empty(&key->members))
        drop_key(key);
    say_number(call, count);
}

static void run_srem(const struct call *call)
{
    remove_members(call, SET);
}

static void run_hdel(const struct call *call)
{
    remove_members(call, HASH);
}

/* ---- the table */

static const struct command {
    const char *name;
    size_t least, most; /* words, the name included */
    void (*run)(const struct call *call);
} commands[] = {
    {"PING", 1, 2, run_ping},
    {"ECHO", 2, 2, run_ping},
    {"GET", 2, 2, run_get},
    {"SET", 3, 7, run_set},
    {"SETEX", 4, 4, run_setex},
    {"PSETEX", 4, 4, run_psetex},
    {"SETNX", 3, 3, run_setnx},
    {"INCR", 2, 2, run_incr},
    {"DECR", 2, 2, run_decr},
    {"INCRBY", 3, 3, run_incrby},
    {"DEL", 2, 64, run_del},
    {"UNLINK", 2, 64, run_del},
    {"EXISTS", 2, 64, run_exists},
    {"EXPIRE", 3, 3, run_expire},
    {"PEXPIRE", 3, 3, run_pexpire},
    {"TTL", 2, 2, run_ttl},
    {"PTTL", 2, 2, run_pttl},
    {"FLUSHALL", 1, 2, run_flushall},
    {"SADD", 3, 64, run_sadd},
    {"SREM", 3, 64, run_srem},
    {"SISMEMBER", 3, 3, run_sismember},
    {"HSET", 4, 64, run_hset},
    {"HGET", 3, 3, run_hget},
    {"HDEL", 3, 64, run_hdel},
    {"HEXISTS", 3, 3, run_hexists},
};

void kit_store_run(struct redis_store *store, uint32_t database, const struct span *words,
                   size_t count, struct buf *out)
{
    struct call call = {store, database, words, count, out};
    for (size_t i = 0; i < COUNT_OF(commands); i++) {
        const struct command *command = &commands[i];
        if (!span_equal_nocase(words[0], span_text(command->name)))
            continue;
        if (count < command->least || count > command->most)
            buf_printf(out, "-ERR wrong number of arguments for '%s' command\r\n", command->name);
        else
            command->run(&call);
        return;
    }
    buf_printf(out, "-ERR unknown command '%.*s'\r\n", SPAN_ARG(span_first(words[0], 64)));
}
