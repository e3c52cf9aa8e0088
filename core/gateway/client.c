/* The client's connection: bytes wake its exchange, between exchanges it only waits. */
#include <stdlib.h>
#include <sys/ioctl.h>

#include "gateway/exchange.h"

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

static void too_long(struct deadline *deadline)
{
    client_close(CONTAINER_OF(deadline, struct client, deadline));
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
        x = exchange_take(client);
        if (x == NULL) {
            client_close(client);
            return;
        }
    }
    if (x->state == STATE_READ_HEAD || x->collecting)
        exchange_go(x);
    else if (x->up_active && !x->up.blocked && !x->up.parked && !x->up.finished && !x->from_memory)
        exchange_pump(x);
    else
        read_ahead(client);
}

static void writable(struct conn *conn)
{
    struct client *client = conn_user(conn);
    struct exchange *x = client->exchange;
    if (x != NULL && (x->state == STATE_RELAY || x->state == STATE_SEND_REPLY))
        exchange_go(x);
}

static const struct conn_events events = {.readable = readable, .writable = writable};

static bool is_full(const struct gateway *gateway)
{
    int64_t most = gateway->current->settings.max_connections;
    return most > 0 && gateway->client_count >= (uint64_t)most;
}

static void refuse(struct gateway *gateway, struct conn *conn)
{
    static const char answer[] = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n"
                                 "Content-Length: 0\r\nConnection: close\r\n\r\n";
    union {
        const char *from;
        void *to;
    } bytes = {.from = answer};
    struct iovec part = {bytes.to, sizeof(answer) - 1};
    (void)conn_writev(conn, &part, 1);
    conn_close(conn);
    gateway->slot->limit_refusals++;
}

void client_accept(struct gateway *gateway, struct conn *conn, uint16_t port, bool tls)
{
    gateway->slot->accepted++;
    if (is_full(gateway)) {
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
