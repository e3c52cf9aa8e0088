/* Whom policies talk to in the test kit: servers, a Redis, files. Included by <weir_testkit.h>,
 * never alone. */
#ifndef WEIR_TESTKIT_PEERS_H
#define WEIR_TESTKIT_PEERS_H

#ifndef WEIR_TESTKIT_H
#error "include <weir_testkit.h>"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- weir_stream_… and weir_fetch_… ----------------------------------------------------------

   A stream is a real connection to a server of the test on loopback: plain TCP to "localhost" or an
   address (other names, and WEIR_PEER_TLS, end in `closed`). kit_turn() and kit_wait_ready() move
   it on: one turn connects, what a policy writes is sent at once, what comes in needs a turn.
   Deadlines go by the kit's clock: kit_advance_ms().

   A fetch reaches nobody: the test says what its URL answers, all workers ask the same. The answer
   comes with the next turn, so within kit_run(), unless fetches are held or delayed. */

/* One more answer of exactly that URL: each is given once, in this order, the last one from then on
 * for ever. Status 0: no answer came, and `body` is the reason; `content_type` NULL: none; `body`
 * NULL: empty. A URL nobody spoke of fails. */
void kit_fetch_answer(struct kit *kit, const char *url, int status, const char *content_type,
                      const char *body);
/* One more header of the answer that was added last. */
void kit_fetch_answer_header(struct kit *kit, const char *url, const char *name, const char *value);
/* The same for all URLs that begin so ("": any) and have no answer of their own; the longest
 * beginning wins. */
void kit_fetch_answer_prefix(struct kit *kit, const char *prefix, int status,
                             const char *content_type, const char *body);
/* The answer is made when it is asked for: `answerer` looks at the request (kit_fetch_header(), …)
 * and says kit_fetch_answer() for `url`, for this once; nothing: no answer comes. NULL: no more. */
typedef void kit_fetch_answerer(void *user, struct kit *kit, const char *url);
void kit_fetch_answer_by(struct kit *kit, const char *prefix, kit_fetch_answerer *answerer,
                         void *user);
/* Answers of URLs that begin so take that long on the kit's clock. */
void kit_fetch_delay(struct kit *kit, const char *prefix, uint32_t ms);
/* Fetches wait, as with a server that hangs, until they are released or their deadline passes. A
 * release turns all workers. */
void kit_fetch_hold(struct kit *kit);
void kit_fetch_release(struct kit *kit);
/* How often that URL was asked so far; NULL: all together. */
size_t kit_fetch_count(const struct kit *kit, const char *url);
/* Those without an answer yet, of this worker. */
size_t kit_fetch_waiting(const struct kit *kit);
/* What the last fetch of that URL sent; NULL: no such header, no body, or it was never asked. Live
 * until the next fetch. */
const char *kit_fetch_method(const struct kit *kit, const char *url);
const char *kit_fetch_header(const struct kit *kit, const char *url, const char *name);
const char *kit_fetch_body(const struct kit *kit, const char *url);

/* ---- a Redis in memory -----------------------------------------------------------------------

   Streams to that port, whatever the host and whether with TLS, end here: no socket is opened. It
   knows PING ECHO AUTH SELECT GET SET SETEX PSETEX SETNX INCR DECR INCRBY DEL UNLINK EXISTS EXPIRE
   PEXPIRE TTL PTTL SADD SREM SISMEMBER HSET HGET HDEL HEXISTS FLUSHALL and SCRIPT LOAD; ends are on
   the kit's clock. Answers come with the next turn, so within kit_run(). */

struct kit_redis;

/* Before or after kit_open(), for all workers; one for each port. */
struct kit_redis *kit_redis_open(uint16_t port);
/* After kit_close(): nobody may be connected. NULL is fine. */
void kit_redis_close(struct kit_redis *redis);

/* One more answer to that command about that key (NULL: any; of EVAL and EVALSHA the first key), in
 * place of what the data say: each is given once, in this order, the last one from then on for
 * ever. As it is sent: "+OK\r\n", "-ERR no\r\n", ":1\r\n", "$3\r\nyes\r\n", "$-1\r\n", or such that
 * no Redis says. "": it never answers this. */
void kit_redis_reply(struct kit_redis *redis, const char *command, const char *key,
                     const char *answer_bytes);
/* The same, and the connection is closed instead. */
void kit_redis_hangs_up(struct kit_redis *redis, const char *command, const char *key);
/* No scripted answers any more; and nothing was asked so far. */
void kit_redis_forget(struct kit_redis *redis);
/* It takes connections and commands and answers none; what it did not answer it never will. */
void kit_redis_hang(struct kit_redis *redis, bool hangs);
/* Connections are closed, new ones refused, until it is up again. Its data stay. */
void kit_redis_down(struct kit_redis *redis, bool down);
/* Each answer takes that long on the kit's clock. */
void kit_redis_slow(struct kit_redis *redis, uint32_t ms);
/* Answers come so many bytes at a time; 0: whole. */
void kit_redis_split(struct kit_redis *redis, size_t size);
/* Commands are refused until AUTH said it; NULL: there is none. */
void kit_redis_password(struct kit_redis *redis, const char *password);

/* Do a command on database 0, words parted by spaces, and tell its value: "OK", "3", the string;
 * "-ERR …" as it is; NULL: there is none. Lives until the next call. */
const char *kit_redis_run(struct kit_redis *redis, const char *command);
/* What policies asked, a line each, words parted by spaces; what AUTH said is not shown. */
const char *kit_redis_seen(struct kit_redis *redis);
/* How many of them were that command; NULL: all. */
size_t kit_redis_count(const struct kit_redis *redis, const char *command);
size_t kit_redis_connections(const struct kit_redis *redis); /* taken so far */

/* ---- files: weir_file_… ---------------------------------------------------------------------- */

/* Lines are in the file of that name when the call returns. What cannot be written waits, bounded
   as in the gateway, and is tried again in each turn; the host's log lines and metrics about it
   come with a turn, so within kit_run(). A closed file that still cannot be written loses its lines
   after 2 s on the kit's clock. */

/* Every write to that path fails with that errno (ENOSPC: a full disk), for all workers; 0: it goes
 * well again, also after kit_file_hang(). */
void kit_file_fail(struct kit *kit, const char *path, int error);
/* A write to that path does not come back, as on a disk that hangs. */
void kit_file_hang(struct kit *kit, const char *path);

#ifdef __cplusplus
}
#endif

#endif
