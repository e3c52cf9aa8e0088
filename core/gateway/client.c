/* The client's connection: bytes wake its exchange, between exchanges it only waits. */
#include <stdlib.h>
#include <sys/ioctl.h>

#include "gateway/overload.h"

enum { LINGER_MS = 2000, LINGER_BYTES = 1 << 20, LAST_CALL_MS = 1000 };

static void end_if_idle(struct gateway *gateway)
{
    if (gateway->draining && gateway->client_count == 0 && gateway->idle != NULL)
        loop_after_turn(gateway->loop, &gateway->idle_task);
}

void client_close(struct client *client)
{
    struct gateway *gateway = client->gateway;
    deadline_clear(&client->deadline);
    conn_close(client->conn);
    list_remove(&client->link);
    gateway->client_count--;
    gateway->slot->connections = gateway->client_count;
    free(client);
    end_if_idle(gateway);
}

/* Whether its listener expects a PROXY header that has not come: counted and told here. */
static bool has_no_header(struct client *client)
{
    const char *why = client->requests > 0 ? NULL : conn_header_missing(client->conn);
    if (LIKELY(why == NULL))
        return false;
    char text[ADDRESS_TEXT];
    struct span peer = address_text(conn_peer(client->conn), text);
    log_info("connection from %.*s refused: %s", SPAN_ARG(peer), why);
    client->gateway->slot->header_refusals++;
    return true;
}

static void too_long(struct deadline *deadline)
{
    struct client *client = CONTAINER_OF(deadline, struct client, deadline);
    (void)has_no_header(client);
    client_close(client);
}

/* What has been sent to us is answered still, and who has asked nothing yet has a moment to. */
static bool has_more_to_say(const struct client *client)
{
    int waiting = 0;
    return client->requests == 0 ||
           (ioctl(conn_fd(client->conn), FIONREAD, &waiting) == 0 && waiting > 0);
}

void client_idle(struct client *client)
{
    const struct settings *settings = &client->gateway->current->settings;
    bool fresh = client->requests == 0;
    int64_t ms = fresh ? settings->client_header_timeout_ms : settings->keepalive_timeout_ms;
    if (client->gateway->draining)
        ms = !has_more_to_say(client) ? 0 : ms > 0 && ms < LAST_CALL_MS ? ms : LAST_CALL_MS;
    if (ms <= 0)
        client_close(client);
    else
        deadline_set(client->gateway->loop, &client->deadline,
                     ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ms);
}

/* ---- lingering */

static void linger_readable(struct conn *conn)
{
    struct client *client = conn_user(conn);
    char waste[4096];
    ssize_t got = conn_read(conn, waste, sizeof(waste));
    if (got > 0 && (client->lingered += (uint32_t)got) < LINGER_BYTES)
        return;
    if (got != CONN_AGAIN)
        client_close(client);
}
static const struct conn_events linger_events = {.readable = linger_readable};

void client_linger(struct client *client)
{
    if (client->exchange != NULL)
        exchange_release(client->exchange);
    client->lingering = true;
    conn_set_events(client->conn, &linger_events, client);
    if (!conn_is_reading(client->conn))
        conn_resume_reading(client->conn);
    conn_shutdown_write(client->conn);
    deadline_set(client->gateway->loop, &client->deadline, LINGER_MS);
}

/* ---- events */

/* Bytes while the exchange is not reading them: what the client sends ahead, or its end. */
static void read_ahead(struct client *client)
{
    struct exchange *x = client->exchange;
    size_t room = IO_BUFFER - x->in_size;
    bool streaming = x->up_active && !x->up.source.ended;
    bool shared = !x->from_memory; /* the body lies in the same buffer */
    if (room == 0 || (shared && (streaming || x->up.size != x->in_size))) {
        x->up.paused = true;
        conn_pause_reading(client->conn);
        return;
    }
    ssize_t got = conn_read(client->conn, x->in + x->in_size, room);
    if (got == CONN_AGAIN)
        return;
    if (got <= 0) {
        exchange_abort(x);
        return;
    }
    x->in_size += (uint32_t)got;
    if (shared)
        x->up.size = x->in_size;
}

static void readable(struct conn *conn)
{
    struct client *client = conn_user(conn);
    struct exchange *x = client->exchange;
    if (x == NULL) {
        deadline_clear(&client->deadline);
        if (UNLIKELY(has_no_header(client))) {
            client_close(client);
            return;
        }
        x = exchange_take(client);
        if (UNLIKELY(x == NULL)) { /* overload_refused() has been told */
            overload_answer(conn);
            client_linger(client);
            return;
        }
    }
    if (x->state == STATE_READ_HEAD || x->collecting) {
        exchange_go(x);
    } else if (x->up_active && !x->up.blocked && !x->up.parked && !x->up.finished &&
               !x->from_memory) {
        if (UNLIKELY(x->continue_awaited)) /* it did not wait for a word of the target */
            x->continue_awaited = x->up.drained = false;
        exchange_pump(x);
    } else {
        read_ahead(client);
    }
}

static void writable(struct conn *conn)
{
    struct client *client = conn_user(conn);
    struct exchange *x = client->exchange;
    if (x != NULL && (x->state == STATE_RELAY || x->state == STATE_SEND_REPLY))
        exchange_go(x);
}

static const struct conn_events events = {.readable = readable, .writable = writable};

/* What it has sent already is read first: closed over it, the connection would be reset, and the
 * answer might be lost (RFC 9112 9.6). */
static void refuse(struct gateway *gateway, struct conn *conn)
{
    char waste[4096];
    overload_answer(conn);
    (void)conn_read(conn, waste, sizeof(waste));
    conn_close(conn);
    overload_refused(gateway, OVERLOAD_CONNECTIONS);
}

void client_accept(struct gateway *gateway, struct conn *conn, uint16_t port, bool tls)
{
    gateway->slot->accepted++;
    if (UNLIKELY(!overload_admit(gateway))) {
        refuse(gateway, conn);
        return;
    }
    struct client *client = calloc(1, sizeof(*client));
    if (client == NULL) {
        conn_close(conn);
        return;
    }
    client->gateway = gateway;
    client->conn = conn;
    client->number = gateway->slot->accepted;
    client->port = port;
    client->tls = tls;
    deadline_init(&client->deadline, too_long);
    list_push_back(&gateway->clients, &client->link);
    gateway->client_count++;
    gateway->slot->connections = gateway->client_count;
    conn_set_events(conn, &events, client);
    client_idle(client);
}
