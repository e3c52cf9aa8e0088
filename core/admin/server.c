#include "admin/server.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/list.h"
#include "http/chunked.h"
#include "http/framing.h"
#include "http/write.h"
#include "net/conn.h"
#include "net/deadline.h"
#include "net/listen.h"
#include "net/loop.h"

/* A client is in one of six states, and one function for each says what it waits for:
 *
 *   READ_HEAD -> READ_BODY -> LATER -> DELAY -> SEND -> READ_HEAD | LINGER
 *
 * The head stays at the front of the input while its body is read behind it, because the answer is
 * made from both. */

enum {
    INPUT_BYTES = 2 * SERVER_HEAD_BYTES,
    FIELDS_MAX = 100,
    REPLY_HEAD_MAX = 1024,
    CHUNK_HEAD = 10, /* eight digits and CRLF */
    FILLER_BYTES = 16384,
    LINGER_MS = 1000,
};

enum client_state { READ_HEAD, READ_BODY, LATER, DELAY, SEND, LINGER };

struct client {
    struct list link; /* in server->clients until it is closed */
    struct loop_task task;
    struct deadline deadline;
    struct server *server;
    struct conn *conn; /* NULL once closed: only the free is left to do */
    enum client_state state;
    bool keep_alive, paused;

    struct http_request_head head;
    struct http_header fields[FIELDS_MAX];
    size_t head_size, seen;

    struct http_framing framing;
    struct http_chunked chunked;
    struct buf body;
    uint64_t body_size;

    struct buf out; /* head and body of the answer, or a piece of it */
    size_t sent;
    uint64_t filler;

    /* What is left of the answer. */
    bool (*next)(void *stream, struct buf *out); /* NULL: nothing */
    void (*over)(void *stream);
    void *stream;
    bool chunks;

    void (*gone)(void *waiting); /* LATER: nobody is there to be answered any more */
    void *waiting;

    size_t at, end; /* unread input; `at` is behind the head while a body is read */
    char input[INPUT_BYTES];
};

struct server {
    struct server_options options;
    struct list clients;
    uint32_t count;
    size_t listener_count;
    struct listener *listeners[SERVER_LISTENERS_MAX];
    char filler[FILLER_BYTES];
};

static void advance(struct client *client);

static void client_free(struct loop_task *task)
{
    struct client *client = CONTAINER_OF(task, struct client, task);
    buf_free(&client->body);
    buf_free(&client->out);
    free(client);
}

static void end_stream(struct client *client)
{
    if (client->over != NULL)
        client->over(client->stream);
    client->next = NULL;
    client->over = NULL;
}

/* An event of this turn may still look at it, so the memory goes at the end of the turn. */
static void client_close(struct client *client)
{
    if (client->conn == NULL)
        return;
    conn_close(TAKE(client->conn));
    end_stream(client);
    if (client->gone != NULL)
        TAKE(client->gone)(client->waiting);
    deadline_clear(&client->deadline);
    list_remove(&client->link);
    client->server->count--;
    loop_task_cancel(&client->task);
    client->task.run = client_free;
    loop_after_turn(client->server->options.loop, &client->task);
}

static void next_turn(struct loop_task *task)
{
    advance(CONTAINER_OF(task, struct client, task));
}

static void wait_at_most(struct client *client, uint32_t ms)
{
    deadline_set(client->server->options.loop, &client->deadline, ms);
}

static void pause_reading(struct client *client, bool pause)
{
    if (client->paused == pause)
        return;
    client->paused = pause;
    if (pause)
        conn_pause_reading(client->conn);
    else
        conn_resume_reading(client->conn);
}

/* --- the answer ------------------------------------------------------------------------------ */

static void next_piece(struct loop_task *task);

/* A body the client may still be sending would turn our close into a reset that takes the answer
 * with it, so the rest of it is read for a moment. */
static void linger(struct client *client)
{
    client->state = LINGER;
    client->at = client->end = 0;
    conn_shutdown_write(client->conn);
    pause_reading(client, false);
    wait_at_most(client, LINGER_MS);
}

static void exchange_over(struct client *client)
{
    buf_free(&client->out);
    buf_free(&client->body);
    client->sent = 0;
    client->body_size = 0;
    if (!client->keep_alive) {
        linger(client);
        return;
    }
    client->end -= client->at;
    memmove(client->input, client->input + client->at, client->end);
    client->at = client->seen = 0;
    client->state = READ_HEAD;
    pause_reading(client, false);
    wait_at_most(client, client->server->options.idle_ms);
    if (client->end > 0) { /* pipelined: no event will tell */
        client->task.run = next_turn;
        loop_after_turn(client->server->options.loop, &client->task);
    }
}

/* True when all of the pending bytes are out; false when it waits or the client is gone. */
static bool send_pending(struct client *client)
{
    while (client->sent < client->out.size || client->filler > 0) {
        uint64_t filler = client->filler < FILLER_BYTES ? client->filler : FILLER_BYTES;
        size_t left = client->out.size - client->sent;
        struct iovec parts[2] = {{left > 0 ? client->out.data + client->sent : NULL, left},
                                 {client->server->filler, (size_t)filler}};
        ssize_t taken = left > 0 ? conn_writev(client->conn, parts, filler > 0 ? 2 : 1)
                                 : conn_writev(client->conn, &parts[1], 1);
        if (taken == CONN_ERROR) {
            client_close(client);
            return false;
        }
        if (taken == CONN_AGAIN) {
            pause_reading(client, true);
            return false;
        }
        wait_at_most(client, client->server->options.stall_ms);
        size_t of_out = (size_t)taken < left ? (size_t)taken : left;
        client->sent += of_out;
        client->filler -= (uint64_t)taken - of_out;
    }
    return true;
}

/* All that was ready is out: the next piece is for the next turn, so that others get theirs. */
static void sent_all(struct client *client)
{
    if (client->next == NULL) {
        exchange_over(client);
        return;
    }
    client->task.run = next_piece;
    loop_after_turn(client->server->options.loop, &client->task);
}

/* The next piece into client->out, as a chunk unless the end of the connection ends the body. */
static void make_piece(struct client *client)
{
    static const char size[] = "00000000\r\n"; /* filled in below */
    struct buf *out = &client->out;
    out->size = client->sent = 0;
    if (client->chunks)
        buf_append(out, size, CHUNK_HEAD);
    size_t head = out->size;
    bool more = client->next(client->stream, out);
    size_t bytes = out->size - head;
    if (client->chunks && !out->failed && bytes > 0) {
        char digits[CHUNK_HEAD + 1];
        (void)snprintf(digits, sizeof(digits), "%08x\r\n", (unsigned)bytes);
        memcpy(out->data, digits, CHUNK_HEAD);
        buf_append(out, "\r\n", 2);
    } else {
        out->size = bytes;
    }
    if (!more && client->chunks)
        buf_text(out, "0\r\n\r\n");
    if (!more)
        end_stream(client);
}

static void next_piece(struct loop_task *task)
{
    struct client *client = CONTAINER_OF(task, struct client, task);
    make_piece(client);
    if (client->out.failed) /* the head is out: only the missing end can tell */
        client_close(client);
    else if (send_pending(client))
        sent_all(client);
}

static void start_sending(struct client *client)
{
    client->state = SEND;
    wait_at_most(client, client->server->options.stall_ms);
    if (send_pending(client))
        sent_all(client);
}

static bool has_body(const struct server_reply *reply)
{
    return reply->status != 204 && reply->status != 304;
}

/* A body of unknown length: in chunks, or ended by the connection for clients that know none. */
static void take_stream(struct client *client, struct server_reply *reply, bool head_request)
{
    client->chunks = reply->next != NULL && client->head.minor_version > 0;
    client->next = head_request ? NULL : reply->next;
    client->over = reply->over;
    client->stream = reply->stream;
    if (reply->next != NULL && !client->chunks)
        client->keep_alive = false;
    if (head_request)
        end_stream(client);
}

/* The head and, unless it answers a HEAD, the body into client->out. */
static void write_reply(struct client *client, struct server_reply *reply, bool head_request)
{
    char head[REPLY_HEAD_MAX], date[HTTP_DATE_SIZE];
    struct http_writer w = http_writer_of(head, sizeof(head));
    http_write_status_line(&w, reply->status);
    http_date(date, clock_wall_us() / 1000000);
    http_write_header(&w, SPAN("Date"), span_of(date, sizeof(date)));
    http_write_header(&w, SPAN("Server"), client->server->options.name);
    if (span_is_set(reply->content_type))
        http_write_header(&w, SPAN("Content-Type"), reply->content_type);
    if (span_is_set(reply->allow))
        http_write_header(&w, SPAN("Allow"), reply->allow);
    if (client->chunks)
        http_write_header(&w, SPAN("Transfer-Encoding"), SPAN("chunked"));
    else if (reply->status != 204 && reply->next == NULL)
        http_write_header_u64(&w, SPAN("Content-Length"), reply->body.size + reply->filler);
    http_write_header(&w, SPAN("Connection"),
                      client->keep_alive ? SPAN("keep-alive") : SPAN("close"));
    http_write_end(&w);

    struct span bytes = w.overflow ? SPAN_NONE : http_written(&w, head);
    buf_span(&client->out, bytes);
    client->filler = 0;
    if (!head_request && has_body(reply)) {
        buf_span(&client->out, buf_view(&reply->body));
        client->filler = reply->filler;
    }
    buf_free(&reply->body);
}

static void send_reply(struct client *client, struct server_reply *reply, bool head_request)
{
    if (reply->body.failed) {
        buf_free(&reply->body);
        *reply = (struct server_reply){.status = 500, .content_type = SPAN("application/json")};
        buf_text(&reply->body, "{\"message\":\"An unexpected error occurred\"}");
    }
    uint32_t delay_ms = reply->delay_ms;
    take_stream(client, reply, head_request);
    write_reply(client, reply, head_request);
    if (client->out.failed || client->out.size == 0) {
        client_close(client);
        return;
    }
    if (delay_ms == 0) {
        start_sending(client);
        return;
    }
    client->state = DELAY;
    pause_reading(client, true);
    wait_at_most(client, delay_ms);
}

/* The message cannot be read on: say why and close. */
static void refuse(struct client *client, enum weir_err error)
{
    struct server_reply reply = {.status = (unsigned)weir_err_status(error),
                                 .content_type = SPAN("application/json; charset=utf-8")};
    if (reply.status == 0)
        reply.status = 400;
    buf_text(&reply.body, "{\"message\":");
    buf_json(&reply.body, span_text(weir_err_text(error)));
    buf_text(&reply.body, "}");
    client->keep_alive = false;
    buf_free(&client->out);
    client->sent = 0;
    send_reply(client, &reply, false);
}

static void answer(struct client *client)
{
    const struct server_options *options = &client->server->options;
    struct server_request request = {.head = &client->head,
                                     .body = buf_view(&client->body),
                                     .body_size = client->body_size,
                                     .client = client};
    struct server_reply reply = {.status = 200};
    options->answer(&request, &reply, options->user);
    if (reply.gone == NULL) {
        send_reply(client, &reply, client->head.method_id == HTTP_METHOD_HEAD);
        return;
    }
    buf_free(&reply.body);
    client->state = LATER; /* who answers has the deadline */
    client->gone = reply.gone;
    client->waiting = reply.waiting;
    deadline_clear(&client->deadline);
}

void server_answer(struct client *client, struct server_reply *reply)
{
    client->gone = NULL;
    send_reply(client, reply, client->head.method_id == HTTP_METHOD_HEAD);
}

/* --- the request ------------------------------------------------------------------------------ */

static bool keep_piece(struct client *client, struct span piece)
{
    const struct server_options *options = &client->server->options;
    client->body_size += piece.size;
    if (client->body_size > options->body_bytes) {
        refuse(client, WEIR_ERR_BODY_TOO_LARGE);
        return false;
    }
    if (client->body.size < options->body_kept)
        buf_span(&client->body, span_first(piece, options->body_kept - client->body.size));
    if (client->body.failed) {
        refuse(client, WEIR_ERR_NO_MEMORY);
        return false;
    }
    return true;
}

static void read_chunked(struct client *client)
{
    struct span input = span_of(client->input + client->at, client->end - client->at), piece;
    enum http_result result;
    do {
        result = http_chunked_next(&client->chunked, &input, &piece);
        if (result != HTTP_REFUSED && !keep_piece(client, piece))
            return;
    } while (result == HTTP_INCOMPLETE && input.size > 0);
    client->at = client->end - input.size;
    if (result == HTTP_REFUSED)
        refuse(client, WEIR_ERR_BAD_REQUEST);
    else if (result == HTTP_COMPLETE)
        answer(client);
}

static void read_body(struct client *client)
{
    if (client->framing.kind == HTTP_BODY_CHUNKED) {
        read_chunked(client);
    } else {
        uint64_t left = client->framing.length - client->body_size;
        size_t here = client->end - client->at;
        if (here > left)
            here = (size_t)left;
        struct span piece = span_of(client->input + client->at, here);
        client->at += here;
        if (!keep_piece(client, piece))
            return;
        if (client->body_size == client->framing.length)
            answer(client);
    }
    if (client->conn != NULL && client->state == READ_BODY && client->at == client->end)
        client->at = client->end = client->head_size;
}

static void begin_body(struct client *client)
{
    const struct server_options *options = &client->server->options;
    if (client->framing.kind == HTTP_BODY_NONE) {
        answer(client);
        return;
    }
    if (client->framing.kind == HTTP_BODY_LENGTH && client->framing.length > options->body_bytes) {
        refuse(client, WEIR_ERR_BODY_TOO_LARGE);
        return;
    }
    http_chunked_init(&client->chunked);
    client->state = READ_BODY;
    wait_at_most(client, options->stall_ms);
    struct span expect = http_headers_get(&client->head.headers, HTTP_HEADER_EXPECT);
    if (span_equal_nocase(expect, SPAN("100-continue")) && client->at == client->end) {
        /* Nothing else is on its way to a client that waits for this: it always fits. */
        static char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
        struct iovec part = {go_on, sizeof(go_on) - 1};
        if (conn_writev(client->conn, &part, 1) != (ssize_t)part.iov_len) {
            client_close(client);
            return;
        }
    }
    read_body(client);
}

static void read_head(struct client *client)
{
    const struct http_limits limits = {SERVER_HEAD_BYTES, 8192, FIELDS_MAX};
    enum weir_err error = WEIR_ERR_BAD_REQUEST;
    const char *reason = NULL;
    http_headers_init(&client->head.headers, client->fields, FIELDS_MAX);
    switch (http_parse_request(client->input, client->end, client->seen, &limits, &client->head,
                               &client->head_size, &error, &reason)) {
    case HTTP_INCOMPLETE:
        client->seen = client->end;
        return;
    case HTTP_REFUSED:
        refuse(client, error);
        return;
    case HTTP_COMPLETE:
        break;
    }
    client->at = client->head_size;
    error = http_frame_request(&client->head, &client->framing, &reason);
    if (error != WEIR_OK) {
        refuse(client, error);
        return;
    }
    client->keep_alive = client->framing.keep_alive;
    begin_body(client);
}

/* What the bytes at hand allow. */
static void advance(struct client *client)
{
    if (client->conn == NULL || client->end == client->at)
        return;
    switch (client->state) {
    case READ_HEAD:
        read_head(client);
        break;
    case READ_BODY:
        read_body(client);
        break;
    case LINGER:
        client->at = client->end = 0;
        break;
    case LATER:
    case DELAY:
    case SEND:
        break;
    }
}

/* --- events ------------------------------------------------------------------------------------
 */

static void on_readable(struct conn *conn)
{
    struct client *client = conn_user(conn);
    if (client->state == LATER || client->state == DELAY || client->state == SEND) {
        pause_reading(client, true);
        return;
    }
    if (list_is_linked(&client->task.link)) /* what is here comes first, and may fill the room */
        return;
    ssize_t size =
        conn_read(conn, client->input + client->end, sizeof(client->input) - client->end);
    if (size == CONN_AGAIN)
        return;
    if (size <= 0) { /* the end before the end of a request: nobody is there to be answered */
        client_close(client);
        return;
    }
    client->end += (size_t)size;
    if (client->state == READ_BODY)
        wait_at_most(client, client->server->options.stall_ms);
    advance(client);
}

static void on_writable(struct conn *conn)
{
    struct client *client = conn_user(conn);
    if (client->state == SEND && !list_is_linked(&client->task.link) && send_pending(client))
        sent_all(client);
}

static void on_deadline(struct deadline *deadline)
{
    struct client *client = CONTAINER_OF(deadline, struct client, deadline);
    if (client->state == DELAY)
        start_sending(client);
    else if (client->state == READ_BODY || (client->state == READ_HEAD && client->end > 0))
        refuse(client, WEIR_ERR_REQUEST_TIMEOUT);
    else
        client_close(client);
}

static void on_accepted(struct listener *listener, struct conn *conn)
{
    static const struct conn_events events = {on_readable, on_writable};
    struct server *server = listener_user(listener);
    /* Not zeroed whole: only `at` and `end` say what of the input counts. */
    struct client *client =
        server->count < server->options.connections ? malloc(sizeof(*client)) : NULL;
    if (client == NULL) {
        conn_close(conn);
        return;
    }
    memset(client, 0, offsetof(struct client, input));
    client->server = server;
    client->conn = conn;
    list_push_back(&server->clients, &client->link);
    server->count++;
    deadline_init(&client->deadline, on_deadline);
    conn_set_events(conn, &events, client);
    wait_at_most(client, server->options.idle_ms);
}

/* --- the server --------------------------------------------------------------------------------
 */

struct server *server_create(const struct server_options *options)
{
    struct server *server = calloc(1, sizeof(*server));
    if (server == NULL)
        return NULL;
    server->options = *options;
    list_init(&server->clients);
    memset(server->filler, 'x', sizeof(server->filler));
    return server;
}

void server_destroy(struct server *server)
{
    if (server == NULL)
        return;
    for (size_t i = 0; i < server->listener_count; i++)
        listener_stop(server->listeners[i]);
    while (!list_is_empty(&server->clients))
        client_close(LIST_ENTRY(server->clients.next, struct client, link));
    free(server);
}

enum weir_err server_listen(struct server *server, int fd, struct tls_server *tls)
{
    if (server->listener_count == SERVER_LISTENERS_MAX)
        return WEIR_ERR_LIMIT;
    struct listener *listener = listener_start(server->options.loop, fd, tls, on_accepted, server);
    if (listener == NULL)
        return WEIR_ERR_NO_MEMORY;
    server->listeners[server->listener_count++] = listener;
    return WEIR_OK;
}
