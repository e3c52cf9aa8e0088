/* A Redis in memory for policies in the kit: it reads the protocol of Redis from their streams,
 * says what the test told it to say, and answers the rest from its store. It may hang, hang up, be
 * slow or down. One for each port, for all workers of the process. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/text.h"
#include "kit_internal.h"

enum {
    WORDS_MAX = 64,
    WORD_MAX = 1 << 20,
    NUMBER_MAX = 16,
    SHA_SIZE = 40,
    DATABASES = 16,
    SEEN_MAX = 128
};

/* One answer to commands of that name, about that key. */
struct script {
    struct list link;
    char *command, *key; /* `key` NULL: any */
    char *answer;        /* as it is sent; NULL: it hangs up */
};

struct kit_redis {
    struct list link;
    uint16_t port;
    struct redis_store *store;
    struct list scripts, links;
    char *password;
    bool down, hangs;
    uint32_t slow_ms;
    size_t split, connections;
    struct buf seen, value;
};

struct redis_link {
    struct list link;
    struct kit_redis *redis;
    struct kit_stream *stream;
    uint32_t database;
    bool known; /* it said the password */
    struct buf unread;
};

static struct list servers = {&servers, &servers};

static struct kit_redis *server_at(uint16_t port)
{
    LIST_FOREACH (node, &servers) {
        struct kit_redis *redis = LIST_ENTRY(node, struct kit_redis, link);
        if (redis->port == port)
            return redis;
    }
    return NULL;
}

/* ---- answers */

/* In pieces, when the test wants it so. */
static void say(const struct redis_link *link, struct span bytes)
{
    const struct kit_redis *redis = link->redis;
    uint32_t after_ms = redis->slow_ms;
    while (bytes.size > 0) {
        size_t size = redis->split == 0 || redis->split > bytes.size ? bytes.size : redis->split;
        kit_stream_says(link->stream, span_first(bytes, size), after_ms);
        bytes = span_from(bytes, size);
        after_ms = 0; /* they follow one another */
    }
}

static bool speaks_of(const struct script *script, const struct span *words, size_t count)
{
    if (!span_equal_nocase(span_text(script->command), words[0]))
        return false;
    if (script->key == NULL)
        return true;
    /* EVAL text number key */
    bool is_script =
        span_equal_nocase(words[0], SPAN("EVAL")) || span_equal_nocase(words[0], SPAN("EVALSHA"));
    size_t at = is_script ? 3 : 1;
    return at < count && span_equal(span_text(script->key), words[at]);
}

static void drop_script(struct script *script)
{
    list_remove(&script->link);
    free(script->command);
    free(script->key);
    free(script->answer);
    free(script);
}

/* The first one, which stays when it is the last for them. */
static bool answer_by_script(struct redis_link *link, const struct span *words, size_t count)
{
    struct script *found = NULL;
    bool is_last = true;
    LIST_FOREACH (node, &link->redis->scripts) {
        struct script *script = LIST_ENTRY(node, struct script, link);
        if (!speaks_of(script, words, count))
            continue;
        is_last = found == NULL;
        if (found != NULL)
            break;
        found = script;
    }
    if (found == NULL)
        return false;
    if (found->answer == NULL)
        kit_stream_ends(link->stream, "the peer closed the connection");
    else
        say(link, span_text(found->answer));
    if (!is_last)
        drop_script(found);
    return true;
}

static bool is_allowed(struct redis_link *link, const struct span *words, size_t count,
                       struct buf *out)
{
    const char *password = link->redis->password;
    bool is_auth = span_equal_nocase(words[0], SPAN("AUTH"));
    if (!is_auth) {
        if (password == NULL || link->known)
            return true;
        buf_text(out, "-NOAUTH Authentication required.\r\n");
        return false;
    }
    if (password == NULL) {
        buf_text(out, "-ERR Client sent AUTH, but no password is set\r\n");
        return false;
    }
    link->known = count > 1 && span_equal(words[count - 1], span_text(password));
    buf_text(out, link->known
                      ? "+OK\r\n"
                      : "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
    return false;
}

/* As many digits as a digest has, the same for the same text. */
static void say_digest(struct span text, struct buf *out)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < text.size; i++)
        hash = (hash ^ (unsigned char)text.data[i]) * 0x100000001b3u;
    buf_printf(out, "$%d\r\n%016llx%016llx%08x\r\n", SHA_SIZE, (unsigned long long)hash,
               (unsigned long long)~hash, (unsigned)text.size);
}

static void answer(struct redis_link *link, const struct span *words, size_t count)
{
    AUTO_BUF out = BUF_INIT;
    uint64_t database;
    if (!is_allowed(link, words, count, &out)) {
        /* said */
    } else if (answer_by_script(link, words, count)) {
        return;
    } else if (span_equal_nocase(words[0], SPAN("SELECT")) && count == 2 &&
               text_to_u64(words[1], &database) && database < DATABASES) {
        link->database = (uint32_t)database;
        buf_text(&out, "+OK\r\n");
    } else if (span_equal_nocase(words[0], SPAN("SCRIPT")) && count == 3 &&
               span_equal_nocase(words[1], SPAN("LOAD"))) {
        say_digest(words[2], &out);
    } else {
        kit_store_run(link->redis->store, link->database, words, count, &out);
    }
    if (out.failed)
        kit_die("no memory");
    say(link, buf_view(&out));
}

static void remember(struct kit_redis *redis, const struct span *words, size_t count)
{
    bool secret = span_equal_nocase(words[0], SPAN("AUTH"));
    for (size_t i = 0; i < count; i++) {
        struct span word = secret && i > 0 ? SPAN("***") : span_first(words[i], SEEN_MAX);
        if (i > 0)
            buf_byte(&redis->seen, ' ');
        for (size_t k = 0; k < word.size; k++)
            buf_byte(&redis->seen, word.data[k] > ' ' && word.data[k] < 127 ? word.data[k] : '_');
    }
    buf_byte(&redis->seen, '\n');
    if (redis->seen.failed)
        kit_die("no memory");
}

/* ---- the protocol */

/* "*3\r\n" or "$5\r\n". Returns the bytes it took; 0: not whole. */
static size_t read_length(struct span bytes, char kind, size_t most, size_t *out)
{
    uint64_t number;
    size_t end = span_find(bytes, '\n');
    if (bytes.size == 0 || (end == bytes.size && end < NUMBER_MAX))
        return 0;
    if (bytes.data[0] != kind || end >= NUMBER_MAX || end < 3 || bytes.data[end - 1] != '\r' ||
        !text_to_u64(span_of(bytes.data + 1, end - 2), &number) || number > most)
        kit_die("the policy does not speak the protocol of Redis");
    *out = (size_t)number;
    return end + 1;
}

/* One command. Returns the bytes it took; 0: not whole. */
static size_t read_command(struct span bytes, struct span words[WORDS_MAX], size_t *out_count)
{
    size_t at = read_length(bytes, '*', WORDS_MAX, out_count);
    if (at == 0)
        return 0;
    for (size_t i = 0; i < *out_count; i++) {
        size_t size = 0, head = read_length(span_from(bytes, at), '$', WORD_MAX, &size);
        if (head == 0 || bytes.size - at - head < size + 2)
            return 0;
        words[i] = span_of(bytes.data + at + head, size);
        at += head + size + 2;
    }
    return at;
}

void kit_redis_hears(struct redis_link *link, struct span bytes)
{
    struct span words[WORDS_MAX];
    size_t count = 0, used = 0, taken;
    buf_span(&link->unread, bytes);
    if (link->unread.failed)
        kit_die("no memory");
    struct span unread = buf_view(&link->unread);
    while ((taken = read_command(span_from(unread, used), words, &count)) != 0) {
        used += taken;
        if (count == 0)
            continue;
        remember(link->redis, words, count);
        if (!link->redis->hangs)
            answer(link, words, count);
    }
    link->unread.size -= used;
    if (used > 0 && link->unread.size > 0)
        memmove(link->unread.data, link->unread.data + used, link->unread.size);
}

struct redis_link *kit_redis_connect(uint16_t port, struct kit_stream *stream)
{
    struct kit_redis *redis = server_at(port);
    if (redis == NULL || redis->down)
        return NULL;
    struct redis_link *link = kit_need(calloc(1, sizeof(*link)));
    link->redis = redis;
    link->stream = stream;
    list_push_back(&redis->links, &link->link);
    redis->connections++;
    return link;
}

bool kit_redis_refuses(uint16_t port)
{
    const struct kit_redis *redis = server_at(port);
    return redis != NULL && redis->down;
}

void kit_redis_hung_up(struct redis_link *link)
{
    if (link == NULL)
        return;
    list_remove(&link->link);
    buf_free(&link->unread);
    free(link);
}

/* ---- what a test says */

struct kit_redis *kit_redis_open(uint16_t port)
{
    if (port == 0 || server_at(port) != NULL)
        kit_die("kit_redis_open: port %u is 0 or taken", port);
    if (clock_mono_us() == 0) /* before the first kit */
        kit_clock_begin();
    struct kit_redis *redis = kit_need(calloc(1, sizeof(*redis)));
    redis->port = port;
    redis->store = kit_store_create();
    list_init(&redis->scripts);
    list_init(&redis->links);
    list_push_back(&servers, &redis->link);
    return redis;
}

void kit_redis_close(struct kit_redis *redis)
{
    if (redis == NULL)
        return;
    if (!list_is_empty(&redis->links))
        kit_die("kit_redis_close: a policy is connected, close its kit first");
    LIST_FOREACH (node, &redis->scripts)
        drop_script(LIST_ENTRY(node, struct script, link));
    list_remove(&redis->link);
    kit_store_destroy(redis->store);
    buf_free(&redis->seen);
    buf_free(&redis->value);
    free(redis->password);
    free(redis);
}

static void add_script(struct kit_redis *redis, const char *command, const char *key,
                       const char *answer)
{
    struct script *script = kit_need(calloc(1, sizeof(*script)));
    script->command = kit_need(strdup(command));
    script->key = key == NULL ? NULL : kit_need(strdup(key));
    script->answer = answer == NULL ? NULL : kit_need(strdup(answer));
    list_push_back(&redis->scripts, &script->link);
}

void kit_redis_reply(struct kit_redis *redis, const char *command, const char *key,
                     const char *answer_bytes)
{
    if (answer_bytes == NULL)
        kit_die("kit_redis_reply: no answer; see kit_redis_hangs_up()");
    add_script(redis, command, key, answer_bytes);
}

void kit_redis_hangs_up(struct kit_redis *redis, const char *command, const char *key)
{
    add_script(redis, command, key, NULL);
}

void kit_redis_forget(struct kit_redis *redis)
{
    LIST_FOREACH (node, &redis->scripts)
        drop_script(LIST_ENTRY(node, struct script, link));
    redis->seen.size = 0;
}

void kit_redis_hang(struct kit_redis *redis, bool hangs)
{
    redis->hangs = hangs;
}

void kit_redis_down(struct kit_redis *redis, bool down)
{
    redis->down = down;
    LIST_FOREACH (node, &redis->links)
        if (down)
            kit_stream_ends(LIST_ENTRY(node, struct redis_link, link)->stream,
                            "the peer closed the connection");
}

void kit_redis_slow(struct kit_redis *redis, uint32_t ms)
{
    redis->slow_ms = ms;
}

void kit_redis_split(struct kit_redis *redis, size_t size)
{
    redis->split = size;
}

void kit_redis_password(struct kit_redis *redis, const char *password)
{
    char *copy = password == NULL ? NULL : kit_need(strdup(password));
    free(redis->password);
    redis->password = copy;
}

/* ---- and asks */

size_t kit_redis_connections(const struct kit_redis *redis)
{
    return redis->connections;
}

const char *kit_redis_seen(struct kit_redis *redis)
{
    return kit_buf_text(&redis->seen);
}

size_t kit_redis_count(const struct kit_redis *redis, const char *command)
{
    size_t count = 0;
    struct span rest = buf_view(&redis->seen);
    while (rest.size > 0) {
        size_t end = span_find(rest, '\n');
        struct span line = span_first(rest, end);
        struct span word = span_first(line, span_find(line, ' '));
        count += command == NULL || span_equal_nocase(word, span_text(command));
        rest = end == rest.size ? SPAN_NONE : span_from(rest, end + 1);
    }
    return count;
}

const char *kit_redis_run(struct kit_redis *redis, const char *command)
{
    struct span words[WORDS_MAX], rest = span_text(command);
    size_t count = 0;
    while (rest.size > 0 && count < WORDS_MAX) {
        size_t end = span_find(rest, ' ');
        if (end > 0)
            words[count++] = span_first(rest, end);
        rest = end == rest.size ? SPAN_NONE : span_from(rest, end + 1);
    }
    if (count == 0)
        kit_die("kit_redis_run: no command");
    redis->value.size = 0;
    kit_store_run(redis->store, 0, words, count, &redis->value);
    /* ":1\r\n", "+OK\r\n", "$3\r\nabc\r\n": the value alone */
    struct span reply = buf_view(&redis->value);
    if (span_starts_with(reply, SPAN("$-1")))
        return NULL;
    size_t from = reply.data[0] == '$' ? span_find(reply, '\n') + 1 : reply.data[0] == '-' ? 0 : 1;
    redis->value.size = reply.size - 2;
    return kit_buf_text(&redis->value) + from;
}
