#include "admin/ask.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "net/conn.h"
#include "net/deadline.h"
#include "net/dial.h"

enum { DIAL_MS = 5000, ANSWER_MAX = 4 << 20, PIECE = 4096 };

struct ask {
    struct loop *loop;
    struct dial *dial; /* while it connects */
    struct conn *conn; /* afterwards */
    struct deadline deadline;
    struct buf question, answer;
    size_t sent;
    void (*done)(void *user, enum weir_err err, struct span answer);
    void *user;
};

void ask_cancel(struct ask *ask)
{
    if (ask == NULL)
        return;
    deadline_clear(&ask->deadline);
    dial_cancel(ask->dial);
    conn_close(ask->conn);
    buf_free(&ask->question);
    buf_free(&ask->answer);
    free(ask);
}

static void finish(struct ask *ask, enum weir_err err)
{
    /* `done` may end the loop's other things: nothing of ours may come back after it. */
    deadline_clear(&ask->deadline);
    conn_close(TAKE(ask->conn));
    ask->done(ask->user, err, err == WEIR_OK ? buf_view(&ask->answer) : SPAN_NONE);
    ask_cancel(ask);
}

static void on_deadline(struct deadline *deadline)
{
    finish(CONTAINER_OF(deadline, struct ask, deadline), WEIR_ERR_TIMEOUT);
}

static void send_question(struct ask *ask)
{
    while (ask->sent < ask->question.size) {
        struct iovec part = {ask->question.data + ask->sent, ask->question.size - ask->sent};
        ssize_t taken = conn_writev(ask->conn, &part, 1);
        if (taken == CONN_AGAIN)
            return;
        if (taken < 0) {
            finish(ask, WEIR_ERR_CLOSED);
            return;
        }
        ask->sent += (size_t)taken;
    }
}

static void on_writable(struct conn *conn)
{
    send_question(conn_user(conn));
}

/* Its end is the end of the connection. */
static void on_readable(struct conn *conn)
{
    struct ask *ask = conn_user(conn);
    char *room = buf_reserve(&ask->answer, PIECE);
    if (room == NULL) {
        finish(ask, ask->answer.size + PIECE > ANSWER_MAX ? WEIR_ERR_LIMIT : WEIR_ERR_NO_MEMORY);
        return;
    }
    ssize_t got = conn_read(conn, room, PIECE);
    if (got > 0)
        ask->answer.size += (size_t)got;
    else if (got != CONN_AGAIN)
        finish(ask, got == 0 && ask->answer.size > 0 ? WEIR_OK : WEIR_ERR_CLOSED);
}

static void on_dialed(struct conn *conn, enum weir_err err, void *user)
{
    static const struct conn_events events = {.readable = on_readable, .writable = on_writable};
    struct ask *ask = user;
    ask->dial = NULL;
    ask->conn = conn;
    if (conn == NULL) {
        finish(ask, err);
        return;
    }
    conn_set_events(conn, &events, ask);
    send_question(ask);
}

static bool is_line(struct span text)
{
    for (size_t i = 0; i < text.size; i++)
        if ((unsigned char)text.data[i] < ' ' || text.data[i] == 0x7f)
            return false;
    return text.size > 0;
}

enum weir_err ask_start(struct loop *loop, const char *socket_path, struct span question,
                        uint32_t timeout_ms,
                        void (*done)(void *user, enum weir_err err, struct span answer), void *user,
                        struct ask **out_ask)
{
    char text[ADDRESS_TEXT];
    struct address address;
    int size = snprintf(text, sizeof(text), "unix:%s", socket_path);
    if (!is_line(question) || size < 0 || (size_t)size >= sizeof(text) ||
        address_parse(span_text(text), &address) != WEIR_OK)
        return WEIR_ERR_INVALID;
    struct ask *ask = calloc(1, sizeof(*ask));
    if (ask == NULL)
        return WEIR_ERR_NO_MEMORY;
    *ask = (struct ask){.loop = loop, .done = done, .user = user};
    ask->answer.limit = ANSWER_MAX;
    deadline_init(&ask->deadline, on_deadline);
    buf_span(&ask->question, question);
    buf_byte(&ask->question, '\n');
    if (!ask->question.failed)
        ask->dial = dial_start(loop, &address, NULL, NULL, DIAL_MS, on_dialed, ask);
    if (ask->dial == NULL) {
        ask_cancel(ask);
        return WEIR_ERR_NO_MEMORY;
    }
    deadline_set(loop, &ask->deadline, timeout_ms);
    *out_ask = ask;
    return WEIR_OK;
}
