/* Any bytes as what a Redis answers, through the client of the SDK over a make-believe host. The
 * first byte chooses how many commands wait. However the bytes are cut, every command is answered
 * once, in order, with the same; once the peer breaks the protocol the stream is closed and nobody
 * waits for ever; and no answer makes the client ask for more than a bounded piece of memory
 * (libFuzzer's -malloc_limit_mb). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <weir/redis.h>

#include "fuzz.h"

enum { COMMANDS_MAX = 8, NOTES_MAX = 1 << 16, DEPTH_MAX = 16 };

struct weir_timer {
    weir_timer_hook *hook;
    void *user;
};
struct weir_stream {
    weir_stream_events events;
    void *user;
    bool open;
};

/* What happened, as text: compared between two runs over the same bytes. */
struct run {
    char notes[NOTES_MAX];
    size_t size;
    unsigned answered, sent;
};

static struct run *run;
static struct weir_timer timer;
static struct weir_stream stream;
static int64_t now_us;

/* ---- the host */

static weir_timer *timer_start(const void *self, uint32_t delay_ms, uint32_t repeat_ms,
                               weir_timer_hook *hook, void *user)
{
    (void)self, (void)delay_ms, (void)repeat_ms;
    timer = (struct weir_timer){hook, user};
    return &timer;
}

static void timer_stop(weir_timer *stopped)
{
    if (stopped != NULL)
        stopped->hook = NULL;
}

static weir_stream *stream_open(const void *self, const weir_peer *peer,
                                const weir_stream_events *events, void *user)
{
    (void)self, (void)peer;
    CHECK_THAT(!stream.open);
    stream = (struct weir_stream){*events, user, true};
    return &stream;
}

static weir_status stream_write(weir_stream *to, weir_str bytes)
{
    CHECK_THAT(to == &stream && stream.open && bytes.size > 0);
    return WEIR_SUCCESS;
}

static void stream_close(weir_stream *closed)
{
    if (closed != NULL)
        stream.open = false;
}

static int64_t mono_us(const weir_host *host)
{
    (void)host;
    return now_us;
}

static void random_bytes(const weir_host *host, void *out, size_t size)
{
    (void)host;
    memset(out, 0, size);
}

static const weir_host host = {.timer_start = timer_start,
                               .timer_stop = timer_stop,
                               .mono_us = mono_us,
                               .random = random_bytes,
                               .stream_open = stream_open,
                               .stream_write = stream_write,
                               .stream_close = stream_close};
const weir_host *weir_host_table = &host;

/* ---- what the hooks see */

static void note(const void *bytes, size_t size)
{
    size_t room = NOTES_MAX - run->size;
    size = size < room ? size : room;
    if (size > 0)
        memcpy(run->notes + run->size, bytes, size);
    run->size += size;
}

static void note_reply(const weir_redis_reply *reply, unsigned depth)
{
    uint32_t type = weir_redis_type(reply);
    int64_t integer = weir_redis_integer(reply);
    weir_str text = weir_redis_text(reply);
    size_t count = weir_redis_count(reply);
    CHECK_THAT(type >= WEIR_REDIS_STRING && type <= WEIR_REDIS_ERROR);
    CHECK_THAT(type == WEIR_REDIS_ARRAY || count == 0);
    CHECK_THAT((type == WEIR_REDIS_STRING || type == WEIR_REDIS_ERROR) == (text.data != NULL));
    CHECK_THAT(weir_redis_item(reply, count) == NULL);
    note(&type, sizeof(type));
    note(&integer, sizeof(integer));
    note(&count, sizeof(count));
    note(text.data, text.size);
    for (size_t i = 0; i < count && depth < DEPTH_MAX; i++)
        note_reply(weir_redis_item(reply, i), depth + 1);
}

static void on_reply(void *self, void *user, weir_token token, const weir_redis_reply *reply,
                     weir_str why)
{
    (void)self;
    CHECK_THAT(user == &run && (reply == NULL) == (why.data != NULL));
    note(&token, sizeof(token));
    note_reply(reply, 0);
    run->answered++;
}

static void on_changed(void *self, void *user, bool up, weir_str why)
{
    (void)self, (void)user, (void)why;
    note(up ? "up" : "down", up ? 2 : 4);
}

static void feed(const char *bytes, size_t size, uint32_t *seed)
{
    for (size_t at = 0; at < size && stream.open;) {
        size_t piece = seed == NULL ? size : fuzz_piece(seed, size - at);
        char *copy = malloc(piece); /* its end is the end: ASan sees who reads on */
        if (copy == NULL)
            return;
        memcpy(copy, bytes + at, piece);
        stream.events.data(NULL, stream.user, (weir_str){copy, piece});
        free(copy);
        at += piece;
    }
}

static void converse(struct run *out, unsigned commands, const char *bytes, size_t size,
                     uint32_t *seed)
{
    static const weir_redis_script scripts[] = {{"return 1"}, {"return 2"}};
    static const weir_str words[] = {{"GET", 3}, {"k", 1}};
    weir_redis_options options = {.size = (uint32_t)sizeof(options),
                                  .host = WEIR_LIT("redis.test"),
                                  .password = WEIR_LIT("secret"),
                                  .timeout_ms = 100,
                                  .port = 6379,
                                  .changed = on_changed};
    run = out;
    run->size = run->answered = run->sent = 0;
    stream.open = false;
    now_us = 1000000;
    weir_redis *redis = weir_redis_open(NULL, &options, scripts, 2);
    if (redis == NULL)
        return;
    for (unsigned i = 0; i < commands; i++) {
        weir_status status =
            i % 2 == 0 ? weir_redis_command(redis, words, 2, on_reply, (void *)&run, i)
                       : weir_redis_call(redis, i / 2 % 2, words, 2, 1, on_reply, (void *)&run, i);
        run->sent += status == WEIR_SUCCESS;
    }
    if (stream.open)
        stream.events.opened(NULL, stream.user);
    feed(bytes, size, seed);
    CHECK_THAT(run->answered <= run->sent);
    /* Time passes: the deadline, and the one more turn that a late answer gets. */
    for (int turn = 0; turn < 4 && timer.hook != NULL && run->answered < run->sent; turn++) {
        weir_timer_hook *hook = timer.hook;
        timer.hook = NULL;
        now_us += 200000;
        hook(NULL, timer.user);
    }
    CHECK_THAT(run->answered == run->sent);
    weir_redis_close(redis);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static struct run whole, pieces;
    if (size == 0)
        return 0;
    uint32_t seed = fuzz_seed(bytes, size);
    unsigned commands = 1 + bytes[0] % COMMANDS_MAX;
    converse(&whole, commands, (const char *)bytes + 1, size - 1, NULL);
    converse(&pieces, commands, (const char *)bytes + 1, size - 1, &seed);
    CHECK_THAT(whole.sent == pieces.sent && whole.answered == pieces.answered);
    CHECK_THAT(whole.size == pieces.size && memcmp(whole.notes, pieces.notes, whole.size) == 0);
    return 0;
}
