/* A stream goes through: lookup, one dial after the other, connection. What ends it is one of two:
 * its owner (dispose) or the world (end), which is a dispose that is told. The struct lives on to
 * the end of the turn, so that whoever is up the stack still finds it. */
#include "outbound/stream.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/clock.h"
#include "net/conn.h"
#include "net/deadline.h"
#include "net/dial.h"
#include "net/loop.h"
#include "net/resolve.h"
#include "net/tls.h"
#include "outbound/internal.h"

enum {
    NAME_MAX_SIZE = 253,
    ADDRESSES_MAX = 16,     /* tried of one name */
    QUEUE_KEPT = 64 * 1024, /* an empty queue larger than that gives its memory back */
    WHY_SIZE = NAME_MAX_SIZE + 160
};

enum stream_state { STREAM_OPENING, STREAM_OPEN, STREAM_OVER };

#define STREAM_MAGIC 0x57f3a810u
struct stream {
    unsigned magic;
    struct list link;
    struct outbound *outbound;
    struct stream_events events;
    void *user;
    enum stream_state state;
    bool tls;
    bool ended; /* by the peer, in order */

    /* On the way to a connection. */
    uint32_t flags, deadline_ms;
    uint16_t port;
    char host[NAME_MAX_SIZE + 1], server_name[NAME_MAX_SIZE + 1];
    struct deadline deadline;
    struct lookup *lookup; /* ours while set, and so is the next */
    struct dial *dial;
    struct address addresses[ADDRESSES_MAX];
    size_t address_count, address_next;

    struct conn *conn; /* ours */
    struct buf queue;  /* `sent` bytes of it are gone */
    size_t sent;
    bool write_waits; /* `writable` will come */
    bool write_broken;
    struct loop_task flush;
    struct loop_task release;
    char why[WHY_SIZE];
};

/* ---- the end */

static void on_release(struct loop_task *task)
{
    struct stream *stream = LIST_ENTRY(task, struct stream, release);
    stream->magic = 0;
    buf_free(&stream->queue);
    free(stream);
}

static void dispose(struct stream *stream)
{
    stream->state = STREAM_OVER;
    list_remove(&stream->link);
    deadline_clear(&stream->deadline);
    loop_task_cancel(&stream->flush);
    lookup_cancel(TAKE(stream->lookup));
    dial_cancel(TAKE(stream->dial));
    conn_close(TAKE(stream->conn));
    loop_after_turn(stream->outbound->loop, &stream->release);
}

static void tell_end(struct stream *stream)
{
    dispose(stream);
    stream->events.closed(stream->user, (weir_str){stream->why, strlen(stream->why)});
}

static void end(struct stream *stream, const char *format, ...) WEIR_PRINTF(2, 3);
static void end(struct stream *stream, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(stream->why, sizeof(stream->why), format, args);
    va_end(args);
    tell_end(stream);
}

bool stream_ended(const struct stream *stream)
{
    CHECK(stream, STREAM);
    return stream->ended;
}

/* ---- bytes out */

/* False: the connection takes no more, ever. */
static bool send_queue(struct stream *stream)
{
    while (stream->sent < stream->queue.size) {
        struct iovec part = {stream->queue.data + stream->sent, stream->queue.size - stream->sent};
        ssize_t sent = conn_writev(stream->conn, &part, 1);
        if (sent == CONN_ERROR)
            return false;
        if (sent > 0)
            stream->sent += (size_t)sent;
        if (stream->sent < stream->queue.size) {
            stream->write_waits = true;
            return true;
        }
    }
    stream->queue.size = stream->sent = 0;
    if (stream->queue.capacity > QUEUE_KEPT)
        buf_free(&stream->queue);
    return true;
}

static void lost(struct stream *stream)
{
    int error = conn_errno(stream->conn);
    const char *text = error != 0 ? strerrordesc_np(error) : NULL;
    if (text == NULL)
        text = stream->tls ? "TLS failed" : "no reason known";
    end(stream, "%s:%u: the connection broke: %s", stream->host, (unsigned)stream->port, text);
}

static void flush(struct stream *stream)
{
    if (stream->write_broken || send_queue(stream))
        return;
    /* A peer that reads no more may have said why: the reader finds that, and then the end. After
     * a TLS failure there is nothing to be read. */
    if (stream->tls) {
        lost(stream);
        return;
    }
    stream->write_broken = true;
    stream->queue.size = stream->sent = 0;
}

static void on_flush(struct loop_task *task)
{
    flush(LIST_ENTRY(task, struct stream, flush));
}

static void on_writable(struct conn *conn)
{
    struct stream *stream = conn_user(conn);
    CHECK(stream, STREAM);
    stream->write_waits = false;
    flush(stream);
}

/* What was sent already makes room for what comes. */
static void compact(struct stream *stream)
{
    if (stream->sent == 0 || stream->sent < stream->queue.size / 2)
        return;
    stream->queue.size -= stream->sent;
    memmove(stream->queue.data, stream->queue.data + stream->sent, stream->queue.size);
    stream->sent = 0;
}

weir_status stream_write(struct stream *stream, weir_str bytes)
{
    CHECK(stream, STREAM);
    if (stream->state != STREAM_OPEN)
        return stream->state == STREAM_OPENING ? WEIR_PHASE : WEIR_GONE;
    if (stream->write_broken)
        return WEIR_GONE;
    if (bytes.data == NULL || bytes.size == 0)
        return bytes.size == 0 ? WEIR_SUCCESS : WEIR_INVALID;
    if (bytes.size > STREAM_QUEUE_MAX - (stream->queue.size - stream->sent))
        return WEIR_FULL;
    compact(stream);
    char *room = buf_reserve(&stream->queue, bytes.size);
    if (room == NULL) {
        stream->queue.failed = false; /* what waits is whole */
        return WEIR_NO_MEMORY;
    }
    memcpy(room, bytes.data, bytes.size);
    stream->queue.size += bytes.size;
    if (!stream->write_waits)
        loop_after_turn(stream->outbound->loop, &stream->flush);
    return WEIR_SUCCESS;
}

void stream_close(struct stream *stream)
{
    if (stream == NULL)
        return;
    CHECK(stream, STREAM);
    if (stream->state == STREAM_OVER)
        return;
    if (stream->conn != NULL && !stream->write_waits && !stream->write_broken)
        (void)send_queue(stream);
    dispose(stream);
}

void streams_close(struct outbound *outbound)
{
    while (!list_is_empty(&outbound->streams))
        stream_close(LIST_ENTRY(outbound->streams.next, struct stream, link));
}

/* ---- bytes in */

static void on_readable(struct conn *conn)
{
    struct stream *stream = conn_user(conn);
    CHECK(stream, STREAM);
    char *buffer = stream->outbound->read_buffer;
    for (int i = 0; i < READS_PER_TURN && stream->state == STREAM_OPEN; i++) {
        ssize_t got = conn_read(conn, buffer, READ_SIZE);
        if (got == CONN_AGAIN)
            return;
        if (got == CONN_ERROR) {
            lost(stream);
        } else if (got == 0) {
            stream->ended = true;
            end(stream, "%s:%u closed the connection", stream->host, (unsigned)stream->port);
        } else {
            stream->events.data(stream->user, (weir_str){buffer, (size_t)got});
            if (got < READ_SIZE && !stream->tls)
                return; /* that was all */
        }
    }
}

/* ---- the way to a connection */

static void on_late(struct deadline *deadline)
{
    struct stream *stream = LIST_ENTRY(deadline, struct stream, deadline);
    bool shaking_hands = stream->dial != NULL && dial_is_shaking_hands(stream->dial);
    end(stream, "%s:%u: no %s within %u ms", stream->host, (unsigned)stream->port,
        shaking_hands ? "end of the TLS handshake" : "connection", (unsigned)stream->deadline_ms);
}

static void dial_next(struct stream *stream, enum weir_err before);

static void on_dialed(struct conn *conn, enum weir_err err, void *user)
{
    static const struct conn_events events = {.readable = on_readable, .writable = on_writable};
    struct stream *stream = user;
    CHECK(stream, STREAM);
    stream->dial = NULL;
    if (conn == NULL) {
        /* That TLS failed with one address says more than that nobody listens on another. */
        const char *reason = dial_tls_failure();
        if (reason != NULL)
            (void)snprintf(stream->why, sizeof(stream->why), "%s:%u: %s", stream->host,
                           (unsigned)stream->port, reason);
        dial_next(stream, err);
        return;
    }
    stream->conn = conn;
    stream->state = STREAM_OPEN;
    deadline_clear(&stream->deadline);
    conn_set_events(conn, &events, stream);
    stream->events.opened(stream->user);
}

static void give_up(struct stream *stream, enum weir_err err)
{
    if (stream->why[0] != '\0')
        tell_end(stream);
    else if (err == WEIR_ERR_TIMEOUT)
        on_late(&stream->deadline);
    else
        end(stream, "%s:%u: %s", stream->host, (unsigned)stream->port,
            err == WEIR_ERR_REFUSED ? "connection refused" : "cannot connect");
}

/* The time left is shared out, so that one address that swallows packets leaves some to others. */
static void dial_next(struct stream *stream, enum weir_err before)
{
    uint64_t now = clock_mono_ms(), until = stream->deadline.at_ms;
    size_t left = stream->address_count - stream->address_next;
    struct tls_client *tls = NULL;
    if (left == 0) {
        give_up(stream, before);
        return;
    }
    if (stream->tls) {
        tls = outbound_tls(stream->outbound, (stream->flags & WEIR_PEER_NO_VERIFY) == 0);
        if (tls == NULL) {
            end(stream, "%s:%u: TLS cannot be set up", stream->host, (unsigned)stream->port);
            return;
        }
    }
    uint64_t share = until > now ? (until - now) / left : 0;
    struct address *address = &stream->addresses[stream->address_next++];
    stream->dial =
        dial_start(stream->outbound->loop, address, tls, stream->tls ? stream->server_name : NULL,
                   share > 0 ? (uint32_t)share : 1, on_dialed, stream);
    if (stream->dial == NULL)
        end(stream, "%s:%u: no memory", stream->host, (unsigned)stream->port);
}

static void on_resolved(const struct resolution *resolution, void *user)
{
    struct stream *stream = user;
    CHECK(stream, STREAM);
    stream->lookup = NULL;
    if (resolution->error != WEIR_OK) {
        end(stream, "%s: %s", stream->host,
            resolution->error == WEIR_ERR_NO_NAME ? "there is no such name"
                                                  : "the name cannot be resolved");
        return;
    }
    for (size_t i = 0; i < resolution->count && i < ADDRESSES_MAX; i++) {
        stream->addresses[i] = resolution->addresses[i];
        address_set_port(&stream->addresses[i], stream->port);
        stream->address_count++;
    }
    dial_next(stream, WEIR_ERR_SYSTEM);
}

/* A terminated copy of a name or an address, brackets removed. */
static bool take_name(char out[NAME_MAX_SIZE + 1], weir_str from)
{
    struct span name = {from.data, from.size};
    if (name.size > 2 && name.data[0] == '[' && name.data[name.size - 1] == ']')
        name = (struct span){name.data + 1, name.size - 2};
    if (name.size == 0 || name.size > NAME_MAX_SIZE)
        return false;
    for (size_t i = 0; i < name.size; i++)
        if (name.data[i] <= ' ' || name.data[i] >= 127)
            return false;
    memcpy(out, name.data, name.size);
    out[name.size] = '\0';
    return true;
}

static bool take_peer(struct stream *stream, const weir_peer *peer)
{
    stream->flags = peer->flags;
    stream->tls = (peer->flags & WEIR_PEER_TLS) != 0;
    stream->port = peer->port;
    stream->deadline_ms = peer->deadline_ms;
    return (peer->flags & ~(WEIR_PEER_TLS | WEIR_PEER_NO_VERIFY)) == 0 && peer->port != 0 &&
           peer->deadline_ms != 0 && take_name(stream->host, peer->host) &&
           take_name(stream->server_name,
                     peer->server_name.data != NULL ? peer->server_name : peer->host);
}

struct stream *stream_open(struct outbound *outbound, const weir_peer *peer,
                           const struct stream_events *events, void *user)
{
    struct stream *stream = calloc(1, sizeof(*stream));
    if (stream == NULL)
        return NULL;
    stream->magic = STREAM_MAGIC;
    stream->outbound = outbound;
    stream->events = *events;
    stream->user = user;
    stream->flush.run = on_flush;
    stream->release.run = on_release;
    if (take_peer(stream, peer))
        stream->lookup =
            resolver_lookup(outbound->resolver, span_text(stream->host), on_resolved, stream);
    if (stream->lookup == NULL) {
        free(stream);
        return NULL;
    }
    deadline_init(&stream->deadline, on_late);
    deadline_set(outbound->loop, &stream->deadline, stream->deadline_ms);
    list_push_back(&outbound->streams, &stream->link);
    return stream;
}
