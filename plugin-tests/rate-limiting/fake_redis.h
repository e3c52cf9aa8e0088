/* A Redis that says what the test told it to say, in a thread of its own, on loopback. It reads the
 * protocol by itself and notes every command it was sent. */
#ifndef RATE_LIMITING_FAKE_REDIS_H
#define RATE_LIMITING_FAKE_REDIS_H

#include <stdbool.h>
#include <stddef.h>

struct fake_redis;

/* On a free port, or, to come back, on `port`. */
struct fake_redis *fake_redis_start(int port);
void fake_redis_stop(struct fake_redis *fake);
int fake_redis_port(const struct fake_redis *fake);

/* Bytes that answer the commands which begin with `word`, from now on, in place of what a healthy
 * Redis says; "" is silence, NULL a closed connection. */
void fake_redis_says(struct fake_redis *fake, const char *word, const char *bytes);
/* Every command so far, a line each, words parted by one space; scripts are shown as "<script>",
 * digests as "<sha>". Lives until the next call. */
const char *fake_redis_seen(struct fake_redis *fake);
void fake_redis_forget(struct fake_redis *fake);
size_t fake_redis_connections(struct fake_redis *fake); /* accepted so far */

#endif
