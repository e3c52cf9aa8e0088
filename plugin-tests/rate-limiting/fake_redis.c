#include "fake_redis.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNECTIONS = 16, SAYS = 8, SEEN = 1 << 18, UNREAD = 1 << 16, WORDS = 32 };

struct connection {
    int fd;
    size_t size;
    char bytes[UNREAD];
};

struct fake_redis {
    int listener, port, wake[2];
    pthread_t thread;
    pthread_mutex_t lock;
    struct {
        char word[16];
        const char *bytes;
    } says[SAYS];
    size_t says_count, accepted;
    struct connection connections[CONNECTIONS];
    char seen[SEEN], copy[SEEN];
    size_t seen_size;
};

struct words {
    size_t count;
    struct {
        const char *data;
        size_t size;
    } word[WORDS];
};

/* One command of the bytes; its size, 0: not whole yet. */
static size_t parse(const char *bytes, size_t size, struct words *out)
{
    char line[32];
    size_t at = 0;
    long left = 1;
    out->count = 0;
    for (bool first = true; left > 0; first = false) {
        const char *end = memmem(bytes + at, size - at, "\r\n", 2);
        if (end == NULL)
            return 0;
        (void)snprintf(line, sizeof(line), "%.*s", (int)(end - bytes - (long)at), bytes + at);
        at = (size_t)(end - bytes) + 2;
        long number = strtol(line + 1, NULL, 10);
        if (first) {
            left = number;
            continue;
        }
        if (at + (size_t)number + 2 > size)
            return 0;
        out->word[out->count].data = bytes + at;
        out->word[out->count++].size = (size_t)number;
        at += (size_t)number + 2;
        left--;
    }
    return at;
}

static bool is(const struct words *words, const char *word)
{
    return words->word[0].size == strlen(word) &&
           memcmp(words->word[0].data, word, words->word[0].size) == 0;
}

static void note(struct fake_redis *fake, const struct words *words)
{
    for (size_t i = 0; i < words->count && fake->seen_size < SEEN - 1024; i++) {
        const char *data = words->word[i].data;
        int size = (int)words->word[i].size;
        if (memchr(data, '\n', (size_t)size) != NULL) {
            data = "<script>";
            size = 8;
        } else if (i == 1 && is(words, "EVALSHA")) {
            data = "<sha>";
            size = 5;
        }
        fake->seen_size += (size_t)snprintf(fake->seen + fake->seen_size, SEEN - fake->seen_size,
                                            "%s%.*s", i == 0 ? "" : " ", size, data);
    }
    fake->seen[fake->seen_size++] = '\n';
    fake->seen[fake->seen_size] = '\0';
}

static const char *answer_to(struct fake_redis *fake, const struct words *words)
{
    for (size_t i = fake->says_count; i-- > 0;)
        if (is(words, fake->says[i].word))
            return fake->says[i].bytes;
    if (is(words, "SCRIPT"))
        return "$40\r\n0123456789012345678901234567890123456789\r\n";
    return is(words, "PING") ? "+PONG\r\n" : "+OK\r\n";
}

static void end(struct connection *connection)
{
    (void)close(connection->fd);
    connection->fd = -1;
}

static void serve(struct fake_redis *fake, struct connection *connection)
{
    struct words words;
    ssize_t got =
        recv(connection->fd, connection->bytes + connection->size, UNREAD - connection->size, 0);
    if (got <= 0) {
        end(connection);
        return;
    }
    connection->size += (size_t)got;
    size_t used;
    while ((used = parse(connection->bytes, connection->size, &words)) > 0) {
        note(fake, &words);
        const char *answer = answer_to(fake, &words);
        if (answer == NULL) {
            end(connection);
            return;
        }
        (void)send(connection->fd, answer, strlen(answer), MSG_NOSIGNAL);
        connection->size -= used;
        memmove(connection->bytes, connection->bytes + used, connection->size);
    }
}

static void take_in(struct fake_redis *fake)
{
    for (size_t i = 0; i < CONNECTIONS; i++) {
        struct connection *connection = &fake->connections[i];
        if (connection->fd >= 0)
            continue;
        connection->fd = accept(fake->listener, NULL, NULL);
        connection->size = 0;
        fake->accepted++;
        return;
    }
}

static void *run(void *arg)
{
    struct fake_redis *fake = arg;
    for (;;) {
        struct pollfd polls[CONNECTIONS + 2] = {{.fd = fake->wake[0], .events = POLLIN},
                                                {.fd = fake->listener, .events = POLLIN}};
        for (size_t i = 0; i < CONNECTIONS; i++)
            polls[i + 2] = (struct pollfd){.fd = fake->connections[i].fd, .events = POLLIN};
        (void)poll(polls, CONNECTIONS + 2, -1);
        if (polls[0].revents != 0)
            return NULL;
        (void)pthread_mutex_lock(&fake->lock);
        if (polls[1].revents != 0)
            take_in(fake);
        for (size_t i = 0; i < CONNECTIONS; i++)
            if (polls[i + 2].revents != 0 && fake->connections[i].fd >= 0)
                serve(fake, &fake->connections[i]);
        (void)pthread_mutex_unlock(&fake->lock);
    }
}

struct fake_redis *fake_redis_start(int port)
{
    struct fake_redis *fake = calloc(1, sizeof(*fake));
    int yes = 1;
    cr_assert_not_null(fake);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    for (size_t i = 0; i < CONNECTIONS; i++)
        fake->connections[i].fd = -1;
    fake->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)setsockopt(fake->listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    cr_assert_eq(bind(fake->listener, (struct sockaddr *)&address, size), 0);
    cr_assert_eq(listen(fake->listener, 16), 0);
    cr_assert_eq(getsockname(fake->listener, (struct sockaddr *)&address, &size), 0);
    fake->port = ntohs(address.sin_port);
    cr_assert_eq(pipe(fake->wake), 0);
    cr_assert_eq(pthread_mutex_init(&fake->lock, NULL), 0);
    cr_assert_eq(pthread_create(&fake->thread, NULL, run, fake), 0);
    return fake;
}

void fake_redis_stop(struct fake_redis *fake)
{
    (void)!write(fake->wake[1], "", 1);
    (void)pthread_join(fake->thread, NULL);
    for (size_t i = 0; i < CONNECTIONS; i++)
        if (fake->connections[i].fd >= 0)
            end(&fake->connections[i]);
    (void)close(fake->listener);
    (void)close(fake->wake[0]);
    (void)close(fake->wake[1]);
    (void)pthread_mutex_destroy(&fake->lock);
    free(fake);
}

int fake_redis_port(const struct fake_redis *fake)
{
    return fake->port;
}

void fake_redis_says(struct fake_redis *fake, const char *word, const char *bytes)
{
    (void)pthread_mutex_lock(&fake->lock);
    size_t i = 0;
    while (i < fake->says_count && strcmp(fake->says[i].word, word) != 0)
        i++;
    cr_assert_lt(i, (size_t)SAYS);
    (void)snprintf(fake->says[i].word, sizeof(fake->says[i].word), "%s", word);
    fake->says[i].bytes = bytes;
    fake->says_count = i == fake->says_count ? i + 1 : fake->says_count;
    (void)pthread_mutex_unlock(&fake->lock);
}

const char *fake_redis_seen(struct fake_redis *fake)
{
    (void)pthread_mutex_lock(&fake->lock);
    memcpy(fake->copy, fake->seen, fake->seen_size + 1);
    (void)pthread_mutex_unlock(&fake->lock);
    return fake->copy;
}

void fake_redis_forget(struct fake_redis *fake)
{
    (void)pthread_mutex_lock(&fake->lock);
    fake->seen_size = 0;
    fake->seen[0] = '\0';
    (void)pthread_mutex_unlock(&fake->lock);
}

size_t fake_redis_connections(struct fake_redis *fake)
{
    (void)pthread_mutex_lock(&fake->lock);
    size_t accepted = fake->accepted;
    (void)pthread_mutex_unlock(&fake->lock);
    return accepted;
}
