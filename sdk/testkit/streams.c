/* Streams of policies in the kit: real sockets on loopback, moved on by the turns of the kit, with
 * deadlines on its clock; or, to a port where the kit's own Redis is, a peer in memory. What the
 * gateway does with names and TLS is not repeated here. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kit_internal.h"

enum { QUEUE_MAX = 1024 * 1024, READ_SIZE = 16 * 1024 };

/* What a peer in memory has said and the policy has not heard. */
struct news {
    struct list link;
    enum { NEWS_OPENED, NEWS_DATA, NEWS_CLOSED } what;
    void *timer; /* it is on its way; NULL: there */
    struct buf bytes;
    const char *why;
};

struct kit_stream {
    struct list link;
    uint64_t owner;
    struct kit *kit;
    const struct stream_reports *reports;
    void *arg;
    int fd;
    void *watch, *timer;
    const char *failure;      /* known before the first turn */
    struct redis_link *redis; /* the peer in memory; then there is no descriptor */
    struct list news;
    bool open, over;
    bool running; /* inside a report */
    struct buf queue;
};

/* strerror() without its one buffer for all. */
static const char *text_of(int error)
{
    const char *text = strerrordesc_np(error);
    return text != NULL ? text : "an error without a name";
}

/* ---- the end */

static void release(struct kit_stream *stream)
{
    if (!stream->over || stream->running)
        return;
    buf_free(&stream->queue);
    free(stream);
}

static void drop_news(struct kit_stream *stream, struct news *news)
{
    list_remove(&news->link);
    kit_services.timer_stop(stream->kit, news->timer);
    buf_free(&news->bytes);
    free(news);
}

static void shut(struct kit_stream *stream)
{
    if (stream->over)
        return;
    stream->over = true;
    list_remove(&stream->link);
    kit_services.timer_stop(stream->kit, TAKE(stream->timer));
    kit_services.io_remove(stream->kit, TAKE(stream->watch));
    LIST_FOREACH (node, &stream->news)
        drop_news(stream, LIST_ENTRY(node, struct news, link));
    kit_redis_hung_up(TAKE(stream->redis));
    if (stream->fd >= 0)
        (void)close(stream->fd);
}

static void end(struct kit_stream *stream, const char *why)
{
    shut(stream);
    stream->running = true;
    stream->reports->closed(stream->arg, (weir_str){why, strlen(why)});
    stream->running = false;
    release(stream);
}

void kit_stream_close(void *user, void *handle)
{
    struct kit_stream *stream = handle;
    (void)user;
    shut(stream);
    release(stream);
}

/* ---- bytes */

static void watch_again(struct kit_stream *stream)
{
    kit_services.io_set(stream->kit, stream->watch,
                        WEIR_IO_READ | (stream->queue.size > 0 ? WEIR_IO_WRITE : 0U));
}

/* A peer that takes no more is found by the reader. */
static void send_queue(struct kit_stream *stream)
{
    ssize_t sent = send(stream->fd, stream->queue.data, stream->queue.size, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN)
        sent = (ssize_t)stream->queue.size;
    if (sent > 0) {
        stream->queue.size -= (size_t)sent;
        memmove(stream->queue.data, stream->queue.data + sent, stream->queue.size);
    }
    watch_again(stream);
}

weir_status kit_stream_write(void *user, void *handle, weir_str bytes)
{
    struct kit_stream *stream = handle;
    (void)user;
    if (!stream->open || stream->over)
        return stream->over ? WEIR_GONE : WEIR_PHASE;
    if (bytes.size > QUEUE_MAX - stream->queue.size)
        return WEIR_FULL;
    if (stream->redis != NULL) {
        kit_redis_hears(stream->redis, (struct span){bytes.data, bytes.size});
        return WEIR_SUCCESS;
    }
    buf_append(&stream->queue, bytes.data, bytes.size);
    if (stream->queue.failed)
        kit_die("no memory");
    if (stream->queue.size > 0)
        send_queue(stream);
    return WEIR_SUCCESS;
}

static void report_data(struct kit_stream *stream, struct span bytes)
{
    stream->running = true;
    stream->reports->data(stream->arg, (weir_str){bytes.data, bytes.size});
    stream->running = false;
    release(stream);
}

static void receive(struct kit_stream *stream)
{
    char bytes[READ_SIZE];
    ssize_t got = recv(stream->fd, bytes, sizeof(bytes), 0);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0) {
        end(stream, got == 0 ? "the peer closed the connection" : text_of(errno));
        return;
    }
    report_data(stream, span_of(bytes, (size_t)got));
}

static void report_opened(struct kit_stream *stream)
{
    stream->open = true;
    kit_services.timer_stop(stream->kit, TAKE(stream->timer));
    stream->running = true;
    stream->reports->opened(stream->arg);
    stream->running = false;
    release(stream);
}

static void connected(struct kit_stream *stream)
{
    int error = 0;
    socklen_t size = sizeof(error);
    if (stream->failure == NULL &&
        (getsockopt(stream->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0))
        stream->failure = text_of(error != 0 ? error : errno);
    if (stream->failure != NULL) {
        end(stream, stream->failure);
        return;
    }
    watch_again(stream);
    report_opened(stream);
}

static void on_ready(void *arg, uint32_t events)
{
    struct kit_stream *stream = arg;
    if (!stream->open) {
        connected(stream);
        return;
    }
    if ((events & WEIR_IO_WRITE) != 0 && stream->queue.size > 0)
        send_queue(stream);
    if ((events & WEIR_IO_READ) != 0)
        receive(stream);
}

static void on_late(void *arg)
{
    struct kit_stream *stream = arg;
    stream->timer = NULL; /* it ran once and is gone */
    end(stream, "no connection within the deadline");
}

/* ---- a peer in memory */

static void on_news(void *arg)
{
    struct news *news = arg;
    news->timer = NULL; /* it ran once and is gone; what follows is a turn */
}

static struct news *add_news(struct kit_stream *stream, uint32_t after_ms)
{
    struct news *news = kit_need(calloc(1, sizeof(*news)));
    if (after_ms > 0)
        news->timer = kit_need(kit_timer_start(stream->kit, after_ms, 0, on_news, news));
    list_push_back(&stream->news, &news->link);
    return news;
}

void kit_stream_says(struct kit_stream *stream, struct span bytes, uint32_t after_ms)
{
    struct news *news = add_news(stream, after_ms);
    news->what = NEWS_DATA;
    buf_span(&news->bytes, bytes);
    if (news->bytes.failed)
        kit_die("no memory");
}

void kit_stream_ends(struct kit_stream *stream, const char *why)
{
    struct news *news = add_news(stream, 0);
    news->what = NEWS_CLOSED;
    news->why = why;
}

static struct news *due_news(const struct kit_stream *stream)
{
    if (list_is_empty(&stream->news))
        return NULL;
    struct news *news = LIST_ENTRY(stream->news.next, struct news, link);
    return news->timer == NULL ? news : NULL;
}

static struct kit_stream *due_stream(const struct kit *kit)
{
    LIST_FOREACH (node, &kit->streams) {
        struct kit_stream *stream = LIST_ENTRY(node, struct kit_stream, link);
        if (due_news(stream) != NULL)
            return stream;
    }
    return NULL;
}

bool kit_stream_is_due(const struct kit *kit)
{
    return due_stream(kit) != NULL;
}

void kit_stream_deliver(struct kit *kit)
{
    struct kit_stream *stream = due_stream(kit);
    struct news *news = stream == NULL ? NULL : due_news(stream);
    if (news == NULL)
        return;
    struct buf bytes = news->bytes;
    const char *why = news->why;
    int what = (int)news->what;
    news->bytes = BUF_INIT;
    drop_news(stream, news);
    if (what == NEWS_OPENED)
        report_opened(stream);
    else if (what == NEWS_DATA)
        report_data(stream, buf_view(&bytes));
    else
        end(stream, why);
    buf_free(&bytes);
}

/* ---- open */

static socklen_t address_of(weir_str host, uint16_t port, struct sockaddr_storage *out)
{
    char text[64] = "";
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    if (host.size >= sizeof(text))
        return 0;
    memcpy(text, host.data, host.size);
    if (inet_pton(AF_INET, strcmp(text, "localhost") == 0 ? "127.0.0.1" : text, &v4.sin_addr) ==
        1) {
        memcpy(out, &v4, sizeof(v4));
        return sizeof(v4);
    }
    if (inet_pton(AF_INET6, text, &v6.sin6_addr) != 1)
        return 0;
    memcpy(out, &v6, sizeof(v6));
    return sizeof(v6);
}

/* Whatever comes of it is told by a turn: a socket that was never connected is ready, too. */
static void connect_to(struct kit_stream *stream, const weir_peer *peer)
{
    struct sockaddr_storage address = {.ss_family = AF_INET};
    socklen_t size = address_of(peer->host, peer->port, &address);
    stream->fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (stream->fd < 0)
        kit_die("no socket: errno %d", errno);
    if ((peer->flags & WEIR_PEER_TLS) != 0)
        stream->failure = "the test kit speaks no TLS";
    else if (size == 0)
        stream->failure = "the test kit knows no names but localhost";
    else if (connect(stream->fd, (const struct sockaddr *)&address, size) != 0 &&
             errno != EINPROGRESS)
        stream->failure = text_of(errno);
}

void *kit_stream_open(void *user, const weir_peer *peer, const struct stream_reports *reports,
                      void *arg)
{
    if (peer->host.data == NULL || peer->host.size == 0 || peer->host.size > 253 ||
        peer->port == 0 || peer->deadline_ms == 0 ||
        (peer->flags & ~(WEIR_PEER_TLS | WEIR_PEER_NO_VERIFY)) != 0)
        return NULL;
    struct kit_stream *stream = kit_need(calloc(1, sizeof(*stream)));
    stream->kit = user;
    stream->owner = kit_owner(user);
    list_push_back(&stream->kit->streams, &stream->link);
    stream->reports = reports;
    stream->arg = arg;
    stream->fd = -1;
    list_init(&stream->news);
    stream->timer = kit_need(kit_timer_start(user, peer->deadline_ms, 0, on_late, stream));
    stream->redis = kit_redis_connect(peer->port, stream);
    if (stream->redis != NULL || kit_redis_refuses(peer->port)) {
        struct news *news = add_news(stream, 0);
        news->what = stream->redis != NULL ? NEWS_OPENED : NEWS_CLOSED;
        news->why = "Connection refused";
        return stream;
    }
    connect_to(stream, peer);
    stream->watch = kit_need(kit_watch_add(user, stream->fd, WEIR_IO_WRITE, on_ready, stream));
    return stream;
}

size_t kit_stream_count(const struct kit *kit, uint64_t owner)
{
    size_t count = 0;
    LIST_FOREACH (node, &kit->streams) {
        const struct kit_stream *stream = LIST_ENTRY(node, const struct kit_stream, link);
        count += owner == 0 || stream->owner == owner;
    }
    return count;
}
