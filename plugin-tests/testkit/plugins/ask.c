/* A plugin for the tests of the kit's Redis: the header X-Command is a command, the answer to the
 * request says what became of it. One request at a time. */
#include <stdio.h>
#include <string.h>

#include <weir/redis.h>

typedef struct {
    int64_t port, database, timeout_ms;
    weir_str password;
    weir_header_id command;
    weir_redis *redis;
    char answer[256];
} ask;

static const weir_field fields[] = {
    WEIR_INTEGER(ask, port, .def = "6379"),
    WEIR_INTEGER(ask, database, .def = "0"),
    WEIR_STRING(ask, password, .flags = WEIR_SECRET),
    WEIR_DURATION(ask, timeout_ms, .key = "timeout", .def = "1s"),
};
static const weir_redis_script scripts[] = {{"return 1"}};

static int configure(void *self, weir_error *error)
{
    ask *mine = self;
    (void)error;
    mine->command = weir_header_intern(WEIR_LIT("X-Command"));
    return 0;
}

static int start(void *self)
{
    ask *mine = self;
    weir_redis_options options = {.size = (uint32_t)sizeof(options),
                                  .host = WEIR_LIT("redis.test"),
                                  .password = mine->password,
                                  .database = mine->database,
                                  .timeout_ms = (uint32_t)mine->timeout_ms,
                                  .port = (uint16_t)mine->port};
    mine->redis = weir_redis_open(self, &options, scripts, 1);
    return mine->redis == NULL ? -1 : 0;
}

static void stop(void *self)
{
    weir_redis_close(((ask *)self)->redis);
}

static void on_answer(void *self, void *user, weir_token token, const weir_redis_reply *reply,
                      weir_str why)
{
    ask *mine = self;
    (void)user;
    weir_str text = reply == NULL ? why : weir_redis_text(reply);
    if (reply != NULL && weir_redis_type(reply) == WEIR_REDIS_INTEGER)
        (void)snprintf(mine->answer, sizeof(mine->answer), "%lld",
                       (long long)weir_redis_integer(reply));
    else
        (void)snprintf(mine->answer, sizeof(mine->answer), "%s%.*s",
                       reply == NULL       ? "no answer: "
                       : text.data == NULL ? "nil"
                                           : "",
                       (int)text.size, text.data == NULL ? "" : text.data);
    (void)weir_wake(token);
}

static weir_verdict say(weir_request *request, const ask *mine)
{
    return weir_respond(request, 200, WEIR_LIT("text/plain"),
                        (weir_str){mine->answer, strlen(mine->answer)})
               ? WEIR_FAIL
               : WEIR_DONE;
}

static weir_verdict on_wake(weir_request *request, void *self, void *context, uint32_t why)
{
    (void)context, (void)why;
    return say(request, self);
}

static weir_verdict on_access(weir_request *request, void *self, void *context)
{
    ask *mine = self;
    weir_str words[8], text = weir_header_get(request, WEIR_SIDE_REQUEST, mine->command, 0);
    size_t count = 0;
    (void)context;
    for (size_t at = 0; at < text.size && count < 8; at++) {
        const char *space = memchr(text.data + at, ' ', text.size - at);
        size_t size = space == NULL ? text.size - at : (size_t)(space - text.data) - at;
        words[count++] = (weir_str){text.data + at, size};
        at += size;
    }
    weir_token token = weir_park(request, 60000, on_wake);
    weir_status status =
        count > 0 && words[0].size == 6 && memcmp(words[0].data, "script", 6) == 0
            ? weir_redis_call(mine->redis, 0, words + 1, count - 1, count - 1, on_answer, NULL,
                              token)
            : weir_redis_command(mine->redis, words, count, on_answer, NULL, token);
    if (status == WEIR_SUCCESS)
        return WEIR_WAIT;
    (void)snprintf(mine->answer, sizeof(mine->answer), "refused: %d", (int)status);
    return say(request, mine);
}

WEIR_PLUGIN("ask", "1.0.0", WEIR_CAP_NETWORK, .priority = 500, WEIR_SELF(ask), WEIR_FIELDS(fields),
            .configure = configure, .start = start, .stop = stop, .access = on_access);
