#include "gateway/relay.h"

#include "http/write.h"

enum { READS_A_TURN = 8 }; /* then other exchanges get their turn */

void relay_begin(struct relay *relay, const struct http_framing *framing, uint64_t limit)
{
    relay->source.kind = framing->kind;
    relay->source.left = framing->kind == HTTP_BODY_LENGTH ? framing->length : 0;
    relay->source.taken = 0;
    relay->source.limit = limit;
    relay->source.ended = framing->kind == HTTP_BODY_NONE;
    if (framing->kind == HTTP_BODY_CHUNKED)
        http_chunked_init(&relay->source.chunked);
    relay->out.at = relay->out.count = 0;
    /* Not `paused`: that is the connection's, which may have been held back while a hook waited. */
    relay->chunked = relay->blocked = relay->drained = relay->refilled = false;
    relay->finished = relay->filled = relay->trailers = false;
    relay->sent = 0;
    relay->hook = NULL;
    relay->trailer_head = NULL;
    relay->late_head = NULL;
    relay->parked = relay->has_held = false;
    relay->changed.size = 0;
    relay->changed.failed = false; /* of another body: relays are used again */
}

bool outgoing_add(struct outgoing *out, struct span part)
{
    if (part.size == 0)
        return true;
    if (out->count == OUTGOING_PARTS)
        return false;
    union {
        const char *from;
        void *to;
    } bytes = {.from = part.data}; /* writev does not write to them */
    out->parts[out->count++] = (struct iovec){bytes.to, part.size};
    return true;
}

/* OK, AGAIN, CLOSED. */
static enum weir_err flush(struct relay *relay, struct conn *to)
{
    struct outgoing *out = &relay->out;
    while (out->at < out->count) {
        ssize_t sent = conn_writev(to, out->parts + out->at, out->count - out->at);
        if (sent < 0)
            return sent == CONN_AGAIN ? WEIR_ERR_AGAIN : WEIR_ERR_CLOSED;
        relay->sent += (uint64_t)sent;
        size_t left = (size_t)sent;
        while (out->at < out->count && left >= out->parts[out->at].iov_len)
            left -= out->parts[out->at++].iov_len;
        if (out->at == out->count)
            break;
        struct iovec *part = &out->parts[out->at];
        part->iov_base = (char *)part->iov_base + left;
        part->iov_len -= left;
        return WEIR_ERR_AGAIN; /* `writable` will tell */
    }
    out->at = out->count = 0;
    return WEIR_OK;
}

/* The next piece of payload in the buffer. False: none there, or broken (*err). */
static bool next_piece(struct relay *relay, struct span *out_piece, enum weir_err *err)
{
    struct body_source *source = &relay->source;
    struct span input = span_of(relay->buffer + relay->at, relay->size - relay->at);
    size_t before = input.size;
    *out_piece = SPAN_NONE;
    if (source->ended || before == 0)
        return false;
    if (source->kind == HTTP_BODY_CHUNKED) {
        enum http_result result = http_chunked_next(&source->chunked, &input, out_piece);
        if (result == HTTP_REFUSED) {
            *err = WEIR_ERR_BAD_REQUEST;
            return false;
        }
        source->ended = result == HTTP_COMPLETE;
        if (UNLIKELY(relay->trailers))
            buf_span(&relay->changed, source->chunked.trailer);
        relay->at += (uint32_t)(before - input.size);
    } else {
        size_t take = source->kind == HTTP_BODY_LENGTH && source->left < before
                          ? (size_t)source->left
                          : before;
        *out_piece = span_first(input, take);
        relay->at += (uint32_t)take;
        if (source->kind == HTTP_BODY_LENGTH) {
            source->left -= take;
            source->ended = source->left == 0;
        }
    }
    source->taken += out_piece->size;
    if (UNLIKELY(relay->watch != NULL))
        relay->watch(relay, *out_piece, false);
    if (source->limit != 0 && source->taken > source->limit) {
        *err = WEIR_ERR_LIMIT;
        return false;
    }
    return true;
}

/* Payload pieces from the buffer, as they are, until `out` is full or the buffer empty. */
static enum weir_err gather(struct relay *relay, int room, size_t *out_size)
{
    enum weir_err err = WEIR_OK;
    struct span piece;
    *out_size = 0;
    while (relay->out.count < room && next_piece(relay, &piece, &err)) {
        (void)outgoing_add(&relay->out, piece);
        *out_size += piece.size;
    }
    return err;
}

/* The same through the hooks of policies: what comes out is one part. */
static enum relay_result gather_hooked(struct relay *relay, struct span *out_piece)
{
    enum weir_err err = WEIR_OK;
    enum relay_result result = RELAY_DONE;
    struct span piece;
    bool told_end = false;
    relay->changed.size = 0;
    while (result == RELAY_DONE && next_piece(relay, &piece, &err)) {
        if (piece.size == 0 && !relay->source.ended)
            continue;
        told_end = relay->source.ended;
        result = relay->hook(relay, piece, told_end);
    }
    if (err != WEIR_OK)
        return err == WEIR_ERR_LIMIT ? RELAY_LIMIT : RELAY_BAD;
    if (result == RELAY_DONE && relay->source.ended && !told_end)
        result = relay->hook(relay, span_of("", 0), true);
    if (relay->changed.failed)
        return RELAY_HOOK_FAILED;
    *out_piece = buf_view(&relay->changed);
    return result;
}

static void add_chunk(struct relay *relay, struct span piece)
{
    struct outgoing *out = &relay->out;
    (void)outgoing_add(out, span_of(out->chunk_head, http_chunk_head(out->chunk_head, piece.size)));
    (void)outgoing_add(out, piece);
    (void)outgoing_add(out, HTTP_CHUNK_TAIL);
}

/* What the hooks let out, framed. */
static enum relay_result fill_hooked(struct relay *relay, bool *out_ended)
{
    struct span piece = SPAN_NONE;
    enum relay_result result = RELAY_DONE;
    if (relay->has_held) {
        relay->has_held = false;
        piece = relay->held;
        *out_ended = relay->held_ended;
    } else {
        result = gather_hooked(relay, &piece);
        relay->parked = result == RELAY_PARKED;
        *out_ended = result == RELAY_DONE && relay->source.ended;
    }
    bool is_failed = result != RELAY_DONE && result != RELAY_PARKED;
    if (UNLIKELY(relay->watch != NULL) && !is_failed)
        relay->watch(relay, piece, true);
    if (relay->late_head != NULL && !is_failed && (piece.size > 0 || *out_ended) &&
        !TAKE(relay->late_head)(relay, piece.size, *out_ended))
        return RELAY_HOOK_FAILED;
    if (relay->chunked && piece.size > 0)
        add_chunk(relay, piece);
    else
        (void)outgoing_add(&relay->out, piece);
    return result;
}

/* The payload as it is. */
static enum relay_result fill_plain(struct relay *relay, bool *out_ended)
{
    struct outgoing *out = &relay->out;
    int head_at = out->count;
    size_t size = 0;
    if (relay->chunked) /* a place for the chunk's head */
        out->parts[out->count++] = (struct iovec){out->chunk_head, 0};
    enum weir_err err = gather(relay, OUTGOING_PARTS - 2, &size);
    if (err != WEIR_OK)
        return err == WEIR_ERR_LIMIT ? RELAY_LIMIT : RELAY_BAD;
    *out_ended = relay->source.ended;
    if (relay->chunked && size == 0) {
        out->count = head_at;
    } else if (relay->chunked) {
        out->parts[head_at].iov_len = http_chunk_head(out->chunk_head, size);
        (void)outgoing_add(out, HTTP_CHUNK_TAIL);
    }
    return RELAY_DONE;
}

/* The end of a chunked body, with the trailer fields that may go on, as we spell them. What stands
 * in the head is not said anew behind it: policies have looked at it there. */
static void add_last(struct relay *relay)
{
    struct buf *section = &relay->changed;
    size_t size = section->size;
    char *room = relay->trailers && size > 2 ? buf_reserve(section, 2 * size + 8) : NULL;
    if (room == NULL) { /* none, or no memory: they may be dropped (RFC 9110 6.5.1) */
        section->failed = section->failed && !relay->trailers;
        (void)outgoing_add(&relay->out, HTTP_CHUNK_LAST);
        return;
    }
    struct span rest = span_first(buf_view(section), size), name, value;
    struct http_writer w = http_writer_of(room, 2 * size + 8);
    http_write_span(&w, SPAN("0\r\n"));
    while (http_trailer_next(&rest, &name, &value))
        if (http_trailer_may_pass(name) &&
            (relay->trailer_head == NULL ||
             http_headers_find(relay->trailer_head, name, 0) == NULL))
            http_write_header(&w, name, value);
    http_write_end(&w);
    (void)outgoing_add(&relay->out, http_written(&w, room));
}

/* Put what the buffer holds into `out`, framed. */
static enum relay_result fill(struct relay *relay)
{
    bool ended = false;
    enum relay_result result = relay->has_held || relay->hook != NULL ? fill_hooked(relay, &ended)
                                                                      : fill_plain(relay, &ended);
    if (ended) {
        relay->finished = true;
        if (relay->chunked)
            add_last(relay);
    }
    return result;
}

static enum relay_result fetch(struct relay *relay, struct conn *from)
{
    bool used_up = relay->at == relay->size && relay->size != relay->base;
    if (used_up && (!relay->keeps || relay->size == relay->capacity)) {
        relay->at = relay->size = relay->base;
        relay->refilled = true;
    }
    size_t room = relay->capacity - relay->size;
    ssize_t got = conn_read(from, relay->buffer + relay->size, room);
    if (got == CONN_AGAIN)
        return RELAY_WAIT;
    if (got < 0 || (got == 0 && !relay_source_end(relay)))
        return RELAY_SOURCE_GONE;
    relay->size += (uint32_t)got;
    relay->drained = (size_t)got < room;
    return RELAY_DONE;
}

bool relay_source_end(struct relay *relay)
{
    if (relay->source.kind == HTTP_BODY_UNTIL_CLOSE)
        relay->source.ended = true;
    return relay->source.ended;
}

void relay_resume(struct relay *relay, struct span piece, bool ended)
{
    relay->parked = false;
    relay->has_held = true;
    relay->held = piece;
    relay->held_ended = ended;
}

/* Once what was filled in is away, and when there is something to fill in. */
static bool can_fill(const struct relay *relay)
{
    return !relay->filled && !relay->finished && !relay->parked &&
           (relay->has_held || relay->at < relay->size || relay->source.ended);
}

enum relay_result relay_pump(struct relay *relay, struct conn *from, struct conn *to)
{
    relay->blocked = false;
    for (int reads = 0;;) {
        /* Before the flush, so that a head and the first of the body leave in one packet. */
        enum relay_result result = can_fill(relay) ? fill(relay) : RELAY_DONE;
        if (result != RELAY_DONE && result != RELAY_PARKED)
            return result;
        relay->filled = !outgoing_is_empty(&relay->out);
        enum weir_err err = flush(relay, to);
        if (err == WEIR_ERR_AGAIN) {
            relay->blocked = true;
            return relay->parked ? RELAY_PARKED : RELAY_WAIT;
        }
        if (err != WEIR_OK)
            return RELAY_SINK_GONE;
        relay->filled = false;
        if (relay->parked)
            return RELAY_PARKED;
        if (relay->finished)
            return RELAY_DONE;
        if (can_fill(relay))
            continue;
        if (from == NULL)
            return RELAY_SOURCE_GONE;
        if (relay->drained || reads++ == READS_A_TURN) {
            relay->drained = false;
            return RELAY_WAIT;
        }
        result = fetch(relay, from);
        if (result != RELAY_DONE)
            return result;
    }
}

enum weir_err relay_collect(struct relay *relay, struct buf *out)
{
    enum weir_err err = WEIR_OK;
    struct span piece;
    while (next_piece(relay, &piece, &err))
        buf_span(out, piece);
    if (err != WEIR_OK)
        return err;
    if (out->failed)
        return WEIR_ERR_LIMIT;
    return relay->source.ended ? WEIR_OK : WEIR_ERR_AGAIN;
}

bool relay_discard(struct relay *relay)
{
    enum weir_err err = WEIR_OK;
    struct span piece;
    while (next_piece(relay, &piece, &err))
        ;
    return err == WEIR_OK && relay->source.ended;
}
