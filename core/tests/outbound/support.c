#include "support.h"

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

bool guard_expired;

void on_guard(struct deadline *deadline)
{
    (void)deadline;
    guard_expired = true;
}

/* ---- one connection of the server */

struct peer {
    struct list link;
    struct server *server;
    struct conn *conn;
    struct buf out; /* `sent` of it are gone */
    size_t sent;
    size_t seen; /* of server->got when it began */
    bool answers;
    struct loop_task send;
};

static void peer_close(struct peer *peer)
{
    peer->server->open--;
    list_remove(&peer->link);
    loop_task_cancel(&peer->send);
    conn_close(peer->conn);
    buf_free(&peer->out);
    free(peer);
}

static void peer_send(struct peer *peer)
{
    const struct server *server = peer->server;
    size_t left = peer->out.size - peer->sent;
    size_t size = server->piece > 0 && server->piece < left ? server->piece : left;
    struct iovec part = {peer->out.data + peer->sent, size};
    if (size == 0)
        return;
    ssize_t sent = conn_writev(peer->conn, &part, 1);
    if (sent == CONN_ERROR) {
        peer_close(peer);
        return;
    }
    if (sent > 0)
        peer->sent += (size_t)sent;
    if (peer->sent < peer->out.size && sent == (ssize_t)size)
        loop_after_turn(server->loop, &peer->send);
    if (peer->sent == peer->out.size && peer->answers && !server->stays_open)
        peer_close(peer);
}

static void on_send(struct loop_task *task)
{
    peer_send(LIST_ENTRY(task, struct peer, send));
}

static void on_writable(struct conn *conn)
{
    peer_send(conn_user(conn));
}

static void take(struct peer *peer, struct span bytes)
{
    struct server *server = peer->server;
    buf_span(&server->got, bytes);
    if (server->echo) {
        buf_span(&peer->out, bytes);
        peer_send(peer);
        return;
    }
    struct span until = span_text(server->until != NULL ? server->until : "\r\n\r\n");
    struct span asked = span_from(buf_view(&server->got), peer->seen);
    if (server->answer == NULL || peer->answers || span_search(asked, until) == asked.size)
        return;
    peer->answers = true;
    buf_append(&peer->out, server->answer,
               server->answer_size > 0 ? server->answer_size : strlen(server->answer));
    peer_send(peer);
}

static void on_readable(struct conn *conn)
{
    char bytes[4096];
    struct peer *peer = conn_user(conn);
    if (peer->server->deaf) {
        conn_pause_reading(conn);
        return;
    }
    ssize_t got = conn_read(conn, bytes, sizeof(bytes));
    if (got == CONN_AGAIN)
        return;
    if (got <= 0)
        peer_close(peer);
    else
        take(peer, span_of(bytes, (size_t)got));
}

static void on_accepted(struct listener *listener, struct conn *conn)
{
    static const struct conn_events events = {.readable = on_readable, .writable = on_writable};
    struct server *server = listener_user(listener);
    server->accepted++;
    if (server->closes_at_once) {
        conn_close(conn);
        return;
    }
    struct peer *peer = calloc(1, sizeof(*peer));
    cr_assert_not_null(peer);
    peer->server = server;
    peer->conn = conn;
    peer->seen = server->got.size;
    peer->send.run = on_send;
    list_push_back(&server->conns, &peer->link);
    server->open++;
    conn_set_events(conn, &events, peer);
}

/* ---- the whole */

/* OpenSSL's context is what a tls_server begins with. */
static void write_certificate(const struct server *server, char *path)
{
    int file = mkstemp(path);
    cr_assert(file >= 0);
    FILE *out = fdopen(file, "w");
    SSL_CTX *context = *(SSL_CTX *const *)(const void *)server->tls_server;
    cr_assert_eq(PEM_write_X509(out, SSL_CTX_get0_certificate(context)), 1);
    cr_assert_eq(fclose(out), 0);
}

void world_open(struct world *world)
{
    *world = (struct world){.server = {.fd = -1}};
    clock_update();
    cr_assert_not_null(world->loop = loop_create());
    /* A name server that nobody is: names beside localhost have no answer. */
    cr_assert_not_null(world->resolver = resolver_create(world->loop, "127.0.0.1:9"));
    cr_assert_not_null(world->outbound = outbound_create(world->loop, world->resolver, NULL));
    world->server.loop = world->loop;
    list_init(&world->server.conns);
}

void server_start(struct world *world)
{
    struct server *server = &world->server;
    struct sockaddr_storage storage;
    socklen_t size = sizeof(storage);
    char why[200] = "";
    cr_assert_eq(address_parse(SPAN("127.0.0.1:0"), &server->address), WEIR_OK);
    server->fd = listen_open(&server->address, false, 64, why, sizeof(why));
    cr_assert(server->fd >= 0, "%s", why);
    cr_assert_eq(getsockname(server->fd, (struct sockaddr *)&storage, &size), 0);
    address_from_sockaddr(&server->address, (struct sockaddr *)&storage, size);
    if (server->tls) {
        server->tls_server = tls_server_create(NULL, NULL, why, sizeof(why));
        cr_assert_not_null(server->tls_server, "%s", why);
        (void)snprintf(world->ca_path, sizeof(world->ca_path), "/tmp/weir-test-XXXXXX");
        write_certificate(server, world->ca_path);
        outbound_destroy(world->outbound);
        world->outbound = outbound_create(world->loop, world->resolver, world->ca_path);
        cr_assert_not_null(world->outbound);
    }
    server->listener =
        listener_start(world->loop, server->fd, server->tls_server, on_accepted, server);
    cr_assert_not_null(server->listener);
}

void server_reset(struct server *server)
{
    const struct linger none = {.l_onoff = 1};
    LIST_FOREACH (node, &server->conns) {
        struct peer *peer = LIST_ENTRY(node, struct peer, link);
        cr_assert_eq(setsockopt(conn_fd(peer->conn), SOL_SOCKET, SO_LINGER, &none, sizeof(none)),
                     0);
        peer_close(peer);
    }
}

void world_close(struct world *world)
{
    struct server *server = &world->server;
    outbound_destroy(world->outbound);
    LIST_FOREACH (node, &server->conns)
        peer_close(LIST_ENTRY(node, struct peer, link));
    listener_stop(server->listener);
    tls_server_destroy(server->tls_server);
    if (server->fd >= 0)
        (void)close(server->fd);
    buf_free(&server->got);
    if (world->ca_path[0] != '\0')
        (void)unlink(world->ca_path);
    loop_poll(world->loop);
    resolver_destroy(world->resolver);
    loop_destroy(world->loop);
}
