/* A Redis client for policies: one connection of one policy in one worker, commands in flight one
 * behind the other, never a blocking call. Bytes go over weir_stream_*(), so names, TLS and the
 * deadline of connecting are the host's; everything runs on the worker's loop thread. Link
 * weir_redis.
 *
 * It connects at the first command. While it is connected for the first time, commands wait (no
 * longer than `timeout_ms`). Once it was found to be down, commands are refused at once until it
 * answers again; it is tried again after 10 ms, then twice as long up to 1 s, with jitter, and at
 * least every 80 ms while commands are refused. Down means: refused, closed, no answer to a command
 * within timeout_ms, or an AUTH or SELECT that failed. User name and password reach no log. */
#ifndef WEIR_REDIS_H
#define WEIR_REDIS_H

#include <weir/weir.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weir_redis weir_redis;
typedef struct weir_redis_reply weir_redis_reply; /* lives as long as the call that shows it */

#define WEIR_REDIS_STRING 1U /* text, a status ("OK") too */
#define WEIR_REDIS_INTEGER 2U
#define WEIR_REDIS_ARRAY 3U
#define WEIR_REDIS_NIL 4U
#define WEIR_REDIS_ERROR 5U /* Redis answered with an error; the text says which */

/* The answer to a command. `reply` NULL: none came, `why` says what happened; whether Redis has
 * carried the command out is not known then. `user` and `token` are those of the command. */
typedef void weir_redis_hook(void *self, void *user, weir_token token,
                             const weir_redis_reply *reply, weir_str why);
/* Told once for each change: down, and up again after that. */
typedef void weir_redis_changed_hook(void *self, void *user, bool up, weir_str why);

/* `size` is sizeof(weir_redis_options). Texts must live as long as the client. */
typedef struct weir_redis_options {
    uint32_t size;
    uint32_t flags; /* WEIR_PEER_... */
    weir_str host, server_name;
    weir_str username, password; /* absent password: no AUTH; absent username: the default user */
    int64_t database;            /* 0: no SELECT */
    uint32_t timeout_ms;         /* to connect and greet, and for each command; > 0 */
    uint32_t in_flight;          /* commands that wait for an answer at most; 0: 4,096 */
    uint16_t port;
    weir_redis_changed_hook *changed; /* may be NULL */
    void *changed_user;
} weir_redis_options;

/* A Lua script: sent once to each connection, called by its digest, sent again with a call when
 * Redis has forgotten it. Static storage; the same at every call. */
typedef struct weir_redis_script {
    const char *text;
} weir_redis_script;

/* NULL without memory. Nothing is sent yet. `self` is the policy's. `scripts` (count of them, at
 * most 8) are those it will call; the array must live as long as the client. [start, worker] */
weir_redis *weir_redis_open(const void *self, const weir_redis_options *options,
                            const weir_redis_script *scripts, size_t script_count);
/* Commands in flight are forgotten, their hooks are not called. NULL is fine. In stop() at the
 * latest; not from inside a hook of the client. */
void weir_redis_close(weir_redis *redis);

/* Send a command. `hook` (may be NULL) is called once, never from inside this call.
 * WEIR_GONE: Redis is down; WEIR_FULL: too many in flight, or 1 MiB waits to be sent;
 * WEIR_INVALID: more than 64 words; WEIR_NO_MEMORY. `hook` is not called then. */
weir_status weir_redis_command(weir_redis *redis, const weir_str *words, size_t count,
                               weir_redis_hook *hook, void *user, weir_token token);
/* Call scripts[script]: the first `key_count` of the words are its KEYS, the others its ARGV (at
 * most 61 together). Statuses as above. */
weir_status weir_redis_call(weir_redis *redis, size_t script, const weir_str *words, size_t count,
                            size_t key_count, weir_redis_hook *hook, void *user, weir_token token);
/* Commands refused right now would be so because it is down. */
bool weir_redis_is_down(const weir_redis *redis);

/* WEIR_REDIS_...; what a part of an answer is not reads as 0, absent or NULL. */
uint32_t weir_redis_type(const weir_redis_reply *reply);
int64_t weir_redis_integer(const weir_redis_reply *reply); /* of a text, too */
weir_str weir_redis_text(const weir_redis_reply *reply);
size_t weir_redis_count(const weir_redis_reply *reply);
const weir_redis_reply *weir_redis_item(const weir_redis_reply *reply, size_t index);

#ifdef __cplusplus
}
#endif

#endif
