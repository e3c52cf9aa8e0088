/* The Redis client: a ring of commands in the order they were sent, a parser of hiredis, and one
 * timer that means what the state says: an end to connecting, the deadline of the oldest command,
 * or the next try. Whatever goes wrong ends in fail(), which empties the ring. */
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <weir/redis.h>

enum {
    SCRIPTS_MAX = 8,
    WORDS_MAX = 64,
    IN_FLIGHT = 4096,
    RING_FIRST = 16,
    UNREAD_MAX = 1 << 20, /* bytes of an answer that is not whole yet */
    ELEMENTS_MAX = 65536, /* of one array in an answer */
    RETRY_FIRST_MS = 10,
    RETRY_MOST_MS = 1000,
    RETRY_WANTED_MS = 80, /* somebody is refused meanwhile */
    SHA_SIZE = 40,
    HEAD_SIZE = 64,
};

enum state {
    IDLE,       /* no command yet */
    CONNECTING, /* the stream is not open */
    GREETING,   /* AUTH, SELECT, scripts */
    READY,
    DOWN /* until the timer tries again */
};

enum greeting { GREET_AUTH, GREET_SELECT, GREET_SCRIPT };

struct greet {
    uint8_t what, script;
};

/* Bytes that hiredis made; free() is what it asks for. A script's begin with the number of words,
 * which is replaced, so that EVALSHA and EVAL share the rest. */
struct command {
    weir_redis_hook *hook;
    void *user;
    weir_token token;
    int64_t deadline_us;
    char *bytes;
    uint32_t size, rest_at, words;
    int16_t script; /* -1: a plain command */
    bool whole;     /* with the script's text, not its digest */
};

struct weir_redis {
    void *self;
    weir_redis_options options;
    const weir_redis_script *scripts;
    size_t script_count;
    char sha[SCRIPTS_MAX][SHA_SIZE + 1]; /* empty: unknown */

    enum state state;
    bool down;
    bool late; /* the deadline has passed, and the answer may lie in the socket */
    weir_stream *stream;
    redisReader *reader;
#if HIREDIS_MAJOR < 1
    redisReplyObjectFunctions functions; /* of the reader: hiredis' own but for arrays */
    void *(*create_array)(const redisReadTask *task, int elements); /* hiredis' own */
#endif
    size_t unread; /* bytes since the last whole answer */
    weir_timer *timer;
    int64_t retry_us; /* when the timer tries again */
    uint32_t retry_ms;

    struct greet greets[SCRIPTS_MAX + 2];
    size_t greet_count, greeted;

    struct command *ring;
    size_t room, first, count; /* room is a power of two */
    char *out;
    size_t out_room;
};

static void begin(weir_redis *redis);
static void on_timer(void *self, void *user);

static weir_str text_of(const char *text)
{
    return (weir_str){text, strlen(text)};
}

/* ---- the ring */

static struct command *at(const weir_redis *redis, size_t index)
{
    return &redis->ring[(redis->first + index) & (redis->room - 1)];
}

static bool grow(weir_redis *redis)
{
    size_t room = redis->room == 0 ? RING_FIRST : redis->room * 2;
    struct command *ring = malloc(room * sizeof(*ring));
    if (ring == NULL)
        return false;
    for (size_t i = 0; i < redis->count; i++)
        ring[i] = *at(redis, i);
    free(redis->ring);
    redis->ring = ring;
    redis->room = room;
    redis->first = 0;
    return true;
}

static weir_status push(weir_redis *redis, const struct command *command)
{
    if (redis->count >= redis->options.in_flight)
        return WEIR_FULL;
    if (redis->count == redis->room && !grow(redis))
        return WEIR_NO_MEMORY;
    redis->count++;
    *at(redis, redis->count - 1) = *command;
    return WEIR_SUCCESS;
}

static struct command pop(weir_redis *redis)
{
    struct command command = *at(redis, 0);
    redis->first = (redis->first + 1) & (redis->room - 1);
    redis->count--;
    return command;
}

static void answer(weir_redis *redis, struct command *command, const redisReply *reply,
                   weir_str why)
{
    free(command->bytes);
    command->bytes = NULL;
    if (command->hook != NULL)
        command->hook(redis->self, command->user, command->token, (const weir_redis_reply *)reply,
                      why);
}

/* ---- the timer */

static void stop_timer(weir_redis *redis)
{
    weir_timer_stop(redis->timer);
    redis->timer = NULL;
}

static void start_timer(weir_redis *redis, uint32_t ms)
{
    stop_timer(redis);
    redis->timer = weir_timer_start(redis->self, ms, 0, on_timer, redis);
}

/* Half of it at least, so that many workers do not come at once. */
static void start_retry(weir_redis *redis, uint32_t ms)
{
    uint32_t random = 0;
    weir_random(&random, sizeof(random));
    ms = ms / 2 + random % (ms / 2 + 1);
    redis->retry_us = weir_mono_us() + (int64_t)ms * 1000;
    start_timer(redis, ms);
}

/* The deadline of the oldest command. */
static void watch_oldest(weir_redis *redis)
{
    if (redis->count == 0 || redis->timer != NULL)
        return;
    int64_t left_us = at(redis, 0)->deadline_us - weir_mono_us();
    start_timer(redis, left_us <= 0 ? 1 : (uint32_t)((left_us + 999) / 1000));
}

/* ---- down and up */

static void drop_connection(weir_redis *redis)
{
    stop_timer(redis);
    weir_stream_close(redis->stream);
    redis->stream = NULL;
    if (redis->reader != NULL)
        redisReaderFree(redis->reader);
    redis->reader = NULL;
}

static void tell(weir_redis *redis, bool up, weir_str why)
{
    if (redis->options.changed != NULL)
        redis->options.changed(redis->self, redis->options.changed_user, up, why);
}

static void fail(weir_redis *redis, weir_str why)
{
    bool news = !redis->down;
    drop_connection(redis);
    redis->state = DOWN;
    redis->down = true;
    start_retry(redis, redis->retry_ms);
    redis->retry_ms = redis->retry_ms * 2 < RETRY_MOST_MS ? redis->retry_ms * 2 : RETRY_MOST_MS;
    if (news)
        tell(redis, false, why);
    /* Hooks cannot add to the ring: commands are refused while it is down. */
    while (redis->count > 0) {
        struct command command = pop(redis);
        answer(redis, &command, NULL, why);
    }
}

static void fail_text(weir_redis *redis, const char *why)
{
    fail(redis, text_of(why));
}

/* ---- sending */

static char *reserve(weir_redis *redis, size_t size)
{
    if (size <= redis->out_room)
        return redis->out;
    char *out = realloc(redis->out, size * 2);
    if (out == NULL)
        return NULL;
    redis->out = out;
    redis->out_room = size * 2;
    return out;
}

static weir_status send_script(weir_redis *redis, const struct command *command)
{
    const char *sha = redis->sha[command->script];
    const char *text = redis->scripts[command->script].text;
    bool whole = command->whole || sha[0] == '\0';
    const char *what = whole ? text : sha;
    size_t what_size = strlen(what), rest = command->size - command->rest_at;
    char head[HEAD_SIZE];
    int head_size = snprintf(head, sizeof(head), "*%u\r\n$%d\r\n%s\r\n$%zu\r\n", command->words + 2,
                             whole ? 4 : 7, whole ? "EVAL" : "EVALSHA", what_size);
    size_t size = (size_t)head_size + what_size + 2 + rest;
    char *out = reserve(redis, size);
    if (out == NULL)
        return WEIR_NO_MEMORY;
    memcpy(out, head, (size_t)head_size);
    memcpy(out + head_size, what, what_size);
    memcpy(out + (size_t)head_size + what_size, "\r\n", 2);
    memcpy(out + (size_t)head_size + what_size + 2, command->bytes + command->rest_at, rest);
    return weir_stream_write(redis->stream, (weir_str){out, size});
}

static weir_status send_command(weir_redis *redis, const struct command *command)
{
    if (command->script >= 0)
        return send_script(redis, command);
    return weir_stream_write(redis->stream, (weir_str){command->bytes, command->size});
}

/* `command->bytes` is the ring's from here on, or freed. */
static weir_status submit(weir_redis *redis, struct command *command)
{
    weir_status status = push(redis, command);
    if (status == WEIR_SUCCESS && redis->state == READY) {
        status = send_command(redis, command);
        if (status != WEIR_SUCCESS)
            redis->count--; /* it is the last one */
    }
    if (status != WEIR_SUCCESS) {
        free(command->bytes);
        return status == WEIR_PHASE ? WEIR_GONE : status;
    }
    if (redis->state == READY)
        watch_oldest(redis);
    else if (redis->state == IDLE)
        begin(redis);
    return WEIR_SUCCESS;
}

/* Somebody is refused: it need not wait for the end of a long pause. */
static void hurry(weir_redis *redis)
{
    if (redis->state == DOWN && redis->retry_us - weir_mono_us() > RETRY_WANTED_MS * 1000)
        start_retry(redis, RETRY_WANTED_MS);
}

static bool format(const weir_str *words, size_t count, char **out_bytes, uint32_t *out_size)
{
    const char *argv[WORDS_MAX];
    size_t sizes[WORDS_MAX];
    for (size_t i = 0; i < count; i++) {
        argv[i] = words[i].data == NULL ? "" : words[i].data;
        sizes[i] = words[i].size;
    }
    int size = redisFormatCommandArgv(out_bytes, (int)count, argv, sizes);
    *out_size = size > 0 ? (uint32_t)size : 0;
    return size > 0;
}

static weir_status make(weir_redis *redis, const weir_str *words, size_t count, int16_t script,
                        struct command *command)
{
    if (count == 0 || count > WORDS_MAX)
        return WEIR_INVALID;
    if (redis->down) {
        hurry(redis);
        return WEIR_GONE;
    }
    if (redis->count >= redis->options.in_flight)
        return WEIR_FULL;
    if (!format(words, count, &command->bytes, &command->size))
        return WEIR_NO_MEMORY;
    const char *end = memchr(command->bytes, '\n', command->size);
    command->rest_at = end == NULL ? 0 : (uint32_t)(end + 1 - command->bytes);
    command->words = (uint32_t)count;
    command->script = script;
    command->deadline_us = weir_mono_us() + (int64_t)redis->options.timeout_ms * 1000;
    return WEIR_SUCCESS;
}

weir_status weir_redis_command(weir_redis *redis, const weir_str *words, size_t count,
                               weir_redis_hook *hook, void *user, weir_token token)
{
    struct command command = {.hook = hook, .user = user, .token = token};
    weir_status status = make(redis, words, count, -1, &command);
    return status != WEIR_SUCCESS ? status : submit(redis, &command);
}

weir_status weir_redis_call(weir_redis *redis, size_t script, const weir_str *words, size_t count,
                            size_t key_count, weir_redis_hook *hook, void *user, weir_token token)
{
    weir_str all[WORDS_MAX];
    char number[24];
    if (script >= redis->script_count || key_count > count || count > WORDS_MAX - 3)
        return WEIR_INVALID;
    int size = snprintf(number, sizeof(number), "%zu", key_count);
    all[0] = (weir_str){number, (size_t)size};
    for (size_t i = 0; i < count; i++)
        all[i + 1] = words[i];
    struct command command = {.hook = hook, .user = user, .token = token};
    weir_status status = make(redis, all, count + 1, (int16_t)script, &command);
    return status != WEIR_SUCCESS ? status : submit(redis, &command);
}

bool weir_redis_is_down(const weir_redis *redis)
{
    return redis->down;
}

/* ---- greeting */

static bool greet_words(weir_redis *redis, const weir_str *words, size_t count, enum greeting what,
                        size_t script)
{
    char *bytes = NULL;
    uint32_t size = 0;
    if (!format(words, count, &bytes, &size))
        return false;
    weir_status status = weir_stream_write(redis->stream, (weir_str){bytes, size});
    free(bytes);
    redis->greets[redis->greet_count++] = (struct greet){(uint8_t)what, (uint8_t)script};
    return status == WEIR_SUCCESS;
}

static bool greet(weir_redis *redis)
{
    const weir_redis_options *options = &redis->options;
    bool ok = true;
    redis->greet_count = redis->greeted = 0;
    if (options->password.data != NULL && options->username.data != NULL) {
        weir_str words[] = {WEIR_LIT("AUTH"), options->username, options->password};
        ok = greet_words(redis, words, 3, GREET_AUTH, 0);
    } else if (options->password.data != NULL) {
        weir_str words[] = {WEIR_LIT("AUTH"), options->password};
        ok = greet_words(redis, words, 2, GREET_AUTH, 0);
    }
    /* Always, so that a Redis that does not answer is found before it is trusted. */
    char number[24];
    int size = snprintf(number, sizeof(number), "%lld", (long long)options->database);
    weir_str select[] = {WEIR_LIT("SELECT"), {number, (size_t)size}};
    weir_str ping[] = {WEIR_LIT("PING")};
    ok = ok && (options->database != 0 ? greet_words(redis, select, 2, GREET_SELECT, 0)
                                       : greet_words(redis, ping, 1, GREET_SELECT, 0));
    for (size_t i = 0; ok && i < redis->script_count; i++) {
        weir_str load[] = {WEIR_LIT("SCRIPT"), WEIR_LIT("LOAD"), text_of(redis->scripts[i].text)};
        redis->sha[i][0] = '\0';
        ok = greet_words(redis, load, 3, GREET_SCRIPT, i);
    }
    return ok;
}

static void be_ready(weir_redis *redis)
{
    bool news = redis->down;
    stop_timer(redis);
    redis->state = READY;
    redis->down = redis->late = false;
    for (size_t i = 0; i < redis->count; i++)
        if (send_command(redis, at(redis, i)) != WEIR_SUCCESS) {
            fail_text(redis, "more waits to be sent than there is room for");
            return;
        }
    watch_oldest(redis);
    if (news)
        tell(redis, true, text_of("it answers again"));
}

/* Of an error of AUTH nothing is told on: who knows what it repeats. */
static void on_greeted(weir_redis *redis, const redisReply *reply)
{
    struct greet step = redis->greets[redis->greeted++];
    bool error = reply->type == REDIS_REPLY_ERROR;
    if (step.what == GREET_SCRIPT && !error && reply->str != NULL && reply->len == SHA_SIZE)
        memcpy(redis->sha[step.script], reply->str, SHA_SIZE + 1);
    if (error && step.what == GREET_AUTH) {
        fail_text(redis, "AUTH was refused");
        return;
    }
    if (error && step.what == GREET_SELECT) {
        fail(redis, (weir_str){reply->str, (size_t)reply->len < 200 ? (size_t)reply->len : 200});
        return;
    }
    if (redis->greeted == redis->greet_count)
        be_ready(redis);
}

/* ---- answers */

static bool is_forgotten_script(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_ERROR && reply->len >= 8 &&
           memcmp(reply->str, "NOSCRIPT", 8) == 0;
}

static void on_answer(weir_redis *redis, const redisReply *reply)
{
    if (redis->count == 0) {
        fail_text(redis, "an answer that nothing asked for");
        return;
    }
    struct command command = pop(redis);
    if (command.script >= 0 && !command.whole && is_forgotten_script(reply)) {
        command.whole = true;
        command.deadline_us = weir_mono_us() + (int64_t)redis->options.timeout_ms * 1000;
        /* There is room: it has just left. */
        if (push(redis, &command) == WEIR_SUCCESS && send_command(redis, &command) != WEIR_SUCCESS)
            fail_text(redis, "more waits to be sent than there is room for");
        return;
    }
    redis->retry_ms = RETRY_FIRST_MS;
    answer(redis, &command, reply, (weir_str){NULL, 0});
}

/* hiredis makes room for as many elements as an answer announces, before one of them is there. */
#if HIREDIS_MAJOR >= 1
static void bound_arrays(weir_redis *redis)
{
    redis->reader->maxelements = ELEMENTS_MAX;
}
#else
static void *create_array(const redisReadTask *task, int elements)
{
    const weir_redis *redis = task->privdata;
    return elements > ELEMENTS_MAX ? NULL : redis->create_array(task, elements);
}

static void bound_arrays(weir_redis *redis)
{
    redis->functions = *redis->reader->fn;
    redis->create_array = redis->functions.createArray;
    redis->functions.createArray = create_array;
    redis->reader->fn = &redis->functions;
    redis->reader->privdata = redis;
}
#endif

static void on_opened(void *self, void *user)
{
    weir_redis *redis = user;
    (void)self;
    redis->state = GREETING;
    redis->unread = 0;
    redis->reader = redisReaderCreate();
    if (redis->reader != NULL)
        bound_arrays(redis);
    if (redis->reader == NULL || !greet(redis))
        fail_text(redis, "no memory");
}

static void on_data(void *self, void *user, weir_str bytes)
{
    weir_redis *redis = user;
    (void)self;
    redis->unread += bytes.size;
    if (redisReaderFeed(redis->reader, bytes.data, bytes.size) != REDIS_OK) {
        fail_text(redis, "no memory");
        return;
    }
    while (redis->reader != NULL) {
        void *object = NULL;
        if (redisReaderGetReply(redis->reader, &object) != REDIS_OK) {
            fail_text(redis, "it does not speak the protocol of Redis");
            return;
        }
        if (object == NULL)
            break;
        if (redis->state == GREETING)
            on_greeted(redis, object);
        else
            on_answer(redis, object);
        freeReplyObject(object);
        if (redis->reader != NULL)
            redis->unread = redis->reader->len - redis->reader->pos;
    }
    if (redis->reader != NULL && redis->unread > UNREAD_MAX)
        fail_text(redis, "an answer that is too long");
}

static void on_closed(void *self, void *user, weir_str why)
{
    weir_redis *redis = user;
    (void)self;
    redis->stream = NULL;
    fail(redis, why);
}

/* ---- connecting */

static void begin(weir_redis *redis)
{
    const weir_redis_options *options = &redis->options;
    weir_peer peer = {.size = (uint32_t)sizeof(peer),
                      .flags = options->flags,
                      .host = options->host,
                      .server_name = options->server_name,
                      .port = options->port,
                      .deadline_ms = options->timeout_ms};
    weir_stream_events events = {.size = (uint32_t)sizeof(events),
                                 .opened = on_opened,
                                 .data = on_data,
                                 .closed = on_closed};
    redis->state = CONNECTING;
    redis->stream = weir_stream_open(redis->self, &peer, &events, redis);
    /* Both steps have one deadline: who waits meanwhile waits no longer. 0 ms, since this may be
     * inside a command, whose hook must not be called yet. */
    start_timer(redis, redis->stream == NULL ? 0 : options->timeout_ms);
}

/* A worker that was held up sees its timers before its sockets: an answer that is there already
 * gets one more turn. */
static void on_deadline(weir_redis *redis, const char *why)
{
    bool over = redis->count > 0 && at(redis, 0)->deadline_us <= weir_mono_us();
    if (over && redis->late) {
        fail_text(redis, why);
        return;
    }
    redis->late = over;
    watch_oldest(redis);
}

static void on_timer(void *self, void *user)
{
    weir_redis *redis = user;
    char why[64];
    (void)self;
    redis->timer = NULL; /* it ran once and is gone */
    (void)snprintf(why, sizeof(why), "no answer within %u ms", redis->options.timeout_ms);
    switch (redis->state) {
    case IDLE:
        break;
    case CONNECTING:
    case GREETING:
        fail_text(redis, redis->stream == NULL ? "no connection could be opened" : why);
        break;
    case READY:
        on_deadline(redis, why);
        break;
    case DOWN:
        begin(redis);
        break;
    }
}

weir_redis *weir_redis_open(const void *self, const weir_redis_options *options,
                            const weir_redis_script *scripts, size_t script_count)
{
    weir_redis *redis = script_count > SCRIPTS_MAX ? NULL : calloc(1, sizeof(*redis));
    if (redis == NULL)
        return NULL;
    redis->self = (void *)(uintptr_t)self;
    redis->options = *options;
    redis->scripts = scripts;
    redis->script_count = script_count;
    redis->retry_ms = RETRY_FIRST_MS;
    if (redis->options.in_flight == 0)
        redis->options.in_flight = IN_FLIGHT;
    if (redis->options.timeout_ms == 0)
        redis->options.timeout_ms = 1;
    return redis;
}

void weir_redis_close(weir_redis *redis)
{
    if (redis == NULL)
        return;
    drop_connection(redis);
    while (redis->count > 0) {
        struct command command = pop(redis);
        free(command.bytes);
    }
    free(redis->ring);
    free(redis->out);
    free(redis);
}

/* ---- replies */

static const redisReply *inner(const weir_redis_reply *reply)
{
    return (const redisReply *)(const void *)reply;
}

uint32_t weir_redis_type(const weir_redis_reply *reply)
{
    switch (reply == NULL ? REDIS_REPLY_NIL : inner(reply)->type) {
    case REDIS_REPLY_STRING:
    case REDIS_REPLY_STATUS:
        return WEIR_REDIS_STRING;
    case REDIS_REPLY_INTEGER:
        return WEIR_REDIS_INTEGER;
    case REDIS_REPLY_ARRAY:
        return WEIR_REDIS_ARRAY;
    case REDIS_REPLY_ERROR:
        return WEIR_REDIS_ERROR;
    default:
        return WEIR_REDIS_NIL;
    }
}

weir_str weir_redis_text(const weir_redis_reply *reply)
{
    uint32_t type = weir_redis_type(reply);
    if (type != WEIR_REDIS_STRING && type != WEIR_REDIS_ERROR)
        return (weir_str){NULL, 0};
    return (weir_str){inner(reply)->str, (size_t)inner(reply)->len};
}

int64_t weir_redis_integer(const weir_redis_reply *reply)
{
    uint32_t type = weir_redis_type(reply);
    if (type == WEIR_REDIS_INTEGER)
        return inner(reply)->integer;
    return type == WEIR_REDIS_STRING ? strtoll(inner(reply)->str, NULL, 10) : 0;
}

size_t weir_redis_count(const weir_redis_reply *reply)
{
    return weir_redis_type(reply) == WEIR_REDIS_ARRAY ? inner(reply)->elements : 0;
}

const weir_redis_reply *weir_redis_item(const weir_redis_reply *reply, size_t index)
{
    if (index >= weir_redis_count(reply))
        return NULL;
    return (const weir_redis_reply *)(const void *)inner(reply)->element[index];
}
