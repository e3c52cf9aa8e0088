#include "process/control.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/list.h"
#include "net/conn.h"
#include "net/deadline.h"
#include "net/listen.h"
#include "net/loop.h"

enum { ASK_MS = 10000, TELL_MS = 30000 };

struct control {
    struct loop *loop;
    struct listener *listener;
    int fd;
    struct list clients;
    size_t count;
    char *path;
    void (*asked)(struct control_client *client, struct span question, void *user);
    void *user;
};

struct control_client {
    struct list link;
    struct control *control;
    struct conn *conn;
    struct deadline deadline; /* for the question, then for the answer to be read */
    struct loop_task free_later;
    uint64_t waits_for; /* 0: for nothing */
    bool asked, answered;
    size_t size, sent;
    char line[CONTROL_LINE_MAX];
    struct buf answer;
};

static void free_client(struct loop_task *task)
{
    struct control_client *client = LIST_ENTRY(task, struct control_client, free_later);
    buf_free(&client->answer);
    free(client);
}

static void drop(struct control_client *client)
{
    if (!list_is_linked(&client->link))
        return;
    list_remove(&client->link);
    client->control->count--;
    deadline_clear(&client->deadline);
    conn_close(client->conn);
    client->free_later.run = free_client;
    loop_after_turn(client->control->loop, &client->free_later);
}

static void on_late(struct deadline *deadline)
{
    drop(LIST_ENTRY(deadline, struct control_client, deadline));
}

static void send_answer(struct control_client *client)
{
    while (client->sent < client->answer.size) {
        struct iovec part = {client->answer.data + client->sent,
                             client->answer.size - client->sent};
        ssize_t put = conn_writev(client->conn, &part, 1);
        if (put == CONN_AGAIN)
            return;
        if (put < 0)
            break;
        client->sent += (size_t)put;
    }
    drop(client);
}

static void on_writable(struct conn *conn)
{
    send_answer(conn_user(conn));
}

/* Bytes after the question are dropped; the end of the stream means nobody waits any more. */
static void on_readable(struct conn *conn)
{
    struct control_client *client = conn_user(conn);
    char waste[256];
    char *room = client->asked ? waste : client->line + client->size;
    size_t space = client->asked ? sizeof(waste) : sizeof(client->line) - client->size;
    ssize_t size = conn_read(conn, room, space);
    if (size == CONN_AGAIN)
        return;
    if (size <= 0) {
        drop(client);
        return;
    }
    if (client->asked)
        return;
    client->size += (size_t)size;
    struct span line = span_of(client->line, client->size);
    size_t end = span_find(line, '\n');
    if (end < line.size) {
        client->asked = true;
        deadline_clear(&client->deadline);
        client->control->asked(client, span_trim(span_first(line, end)), client->control->user);
    } else if (client->size == sizeof(client->line)) {
        drop(client);
    }
}

static void on_accepted(struct listener *listener, struct conn *conn)
{
    static const struct conn_events events = {.readable = on_readable, .writable = on_writable};
    struct control *control = listener_user(listener);
    struct control_client *client =
        control->count < CONTROL_CLIENTS_MAX ? calloc(1, sizeof(*client)) : NULL;
    if (client == NULL) {
        conn_close(conn);
        return;
    }
    client->control = control;
    client->conn = conn;
    deadline_init(&client->deadline, on_late);
    deadline_set(control->loop, &client->deadline, ASK_MS);
    list_push_back(&control->clients, &client->link);
    control->count++;
    conn_set_events(conn, &events, client);
}

struct control *control_open(struct loop *loop, const char *path,
                             void (*asked)(struct control_client *client, struct span question,
                                           void *user),
                             void *user, char *why, size_t why_size)
{
    struct address address;
    struct control *control = calloc(1, sizeof(*control));
    char text[ADDRESS_TEXT];
    int size = snprintf(text, sizeof(text), "unix:%s", path);
    if (control == NULL || (control->path = strdup(path)) == NULL) {
        free(control);
        (void)snprintf(why, why_size, "no memory");
        return NULL;
    }
    *control = (struct control){loop, NULL, -1, {0}, 0, control->path, asked, user};
    list_init(&control->clients);
    if (size >= (int)sizeof(text) || address_parse(span_text(text), &address) != WEIR_OK) {
        (void)snprintf(why, why_size, "%s is too long for a socket", path);
    } else {
        mode_t before = umask(0177);
        control->fd = listen_open(&address, false, 16, why, why_size);
        (void)umask(before);
    }
    if (control->fd >= 0)
        control->listener = listener_start(loop, control->fd, NULL, on_accepted, control);
    if (control->listener != NULL)
        return control;
    control_close(control, control->fd < 0);
    return NULL;
}

void control_close(struct control *control, bool keep_path)
{
    if (control == NULL)
        return;
    LIST_FOREACH (node, &control->clients)
        drop(LIST_ENTRY(node, struct control_client, link));
    listener_stop(control->listener);
    if (control->fd >= 0)
        (void)close(control->fd);
    if (!keep_path)
        (void)unlink(control->path);
    free(control->path);
    free(control);
}

void control_answer(struct control_client *client, int code, struct span text)
{
    if (client->answered || !list_is_linked(&client->link))
        return;
    client->answered = true;
    client->waits_for = 0;
    if (code == 0)
        buf_text(&client->answer, "ok\n");
    else
        buf_printf(&client->answer, "failed %d\n", code);
    buf_span(&client->answer, text);
    deadline_set(client->control->loop, &client->deadline, TELL_MS);
    send_answer(client);
}

void control_wait(struct control_client *client, uint64_t number)
{
    client->waits_for = number;
}

void control_answer_all(struct control *control, uint64_t number, int code, struct span text)
{
    if (control == NULL)
        return;
    LIST_FOREACH (node, &control->clients) {
        struct control_client *client = LIST_ENTRY(node, struct control_client, link);
        if (client->waits_for != 0 && client->waits_for == number)
            control_answer(client, code, text);
    }
}
