/* Streams: every way to open one, what is written and read, and every way one ends. */
#include <stdlib.h>
#include <unistd.h>

#include "support.h"

TestSuite(outbound_stream, .timeout = 60);

/* What a policy saw. */
struct seen {
    struct stream *stream;
    unsigned opened, closed;
    struct buf data;
    char why[512];
    const char *greeting; /* written when it opens */
    size_t close_after;   /* closes itself once so many bytes came; 0: never */
    bool close_when_opened;
    bool closed_itself;
    weir_status last_write;
};

static void on_opened(void *user)
{
    struct seen *seen = user;
    seen->opened++;
    cr_expect_not_null(seen->stream, "not from inside stream_open()");
    if (seen->greeting != NULL)
        seen->last_write =
            stream_write(seen->stream, (weir_str){seen->greeting, strlen(seen->greeting)});
    if (seen->close_when_opened)
        stream_close(TAKE(seen->stream));
}

static void on_data(void *user, weir_str bytes)
{
    struct seen *seen = user;
    cr_expect_not_null(seen->stream, "no event follows a close");
    buf_append(&seen->data, bytes.data, bytes.size);
    if (seen->close_after > 0 && seen->data.size >= seen->close_after) {
        stream_close(TAKE(seen->stream));
        seen->closed_itself = true;
    }
}

static void on_closed(void *user, weir_str why)
{
    struct seen *seen = user;
    seen->closed++;
    cr_assert(why.size < sizeof(seen->why));
    memcpy(seen->why, why.data, why.size);
    cr_expect_eq(stream_write(seen->stream, WEIR_LIT("late")), WEIR_GONE);
    stream_close(seen->stream); /* of what is over already: fine */
    seen->stream = NULL;
}

static const struct stream_events events = {on_opened, on_data, on_closed};

static weir_peer peer_of(const struct world *world, uint32_t flags, const char *host)
{
    return (weir_peer){.size = sizeof(weir_peer),
                       .flags = flags,
                       .host = {host, strlen(host)},
                       .port = world->server.address.port,
                       .deadline_ms = 5000};
}

static bool open_it(struct world *world, struct seen *seen, weir_peer peer)
{
    seen->stream = stream_open(world->outbound, &peer, &events, seen);
    cr_expect_eq(seen->opened + seen->closed, 0, "no event from inside the call");
    return seen->stream != NULL;
}

static void expect_why(const struct seen *seen, const char *part, const char *reason)
{
    cr_expect_not_null(strstr(seen->why, part), "%s: '%s' has no '%s'", reason, seen->why, part);
}

Test(outbound_stream, opens_and_carries_bytes)
{
    static const struct {
        const char *reason, *host, *server_name;
        bool tls;
        uint32_t flags;
        const char *fails; /* part of why; NULL: it opens */
    } rows[] = {
        {"an address", "127.0.0.1", NULL, false, 0, NULL},
        {"a name", "localhost", NULL, false, 0, NULL},
        {"a name in capitals", "LOCALHOST", NULL, false, 0, NULL},
        {"TLS, the certificate has the name", "localhost", NULL, true, WEIR_PEER_TLS, NULL},
        {"TLS, the certificate has the address", "127.0.0.1", NULL, true, WEIR_PEER_TLS, NULL},
        {"TLS, the name to verify is another than that to connect to", "127.0.0.1", "localhost",
         true, WEIR_PEER_TLS, NULL},
        {"TLS for another name: somebody in the middle", "localhost", "bank.example", true,
         WEIR_PEER_TLS, "the certificate is refused: hostname mismatch"},
        {"the same, and any certificate will do", "localhost", "bank.example", true,
         WEIR_PEER_TLS | WEIR_PEER_NO_VERIFY, NULL},
        {"TLS to a peer that speaks none", "localhost", NULL, false, WEIR_PEER_TLS,
         "the TLS handshake failed"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct world world;
        struct seen seen = {.greeting = "hello", .close_after = 5};
        world_open(&world);
        world.server.tls = rows[i].tls;
        world.server.echo = true;
        server_start(&world);
        weir_peer peer = peer_of(&world, rows[i].flags, rows[i].host);
        if (rows[i].server_name != NULL)
            peer.server_name = (weir_str){rows[i].server_name, strlen(rows[i].server_name)};
        cr_assert(open_it(&world, &seen, peer), "%s", rows[i].reason);
        TURN_UNTIL(world.loop, seen.closed > 0 || seen.closed_itself);
        cr_expect_eq(seen.opened, rows[i].fails == NULL ? 1 : 0, "%s: %s", rows[i].reason,
                     seen.why);
        if (rows[i].fails == NULL)
            cr_expect(span_equal(buf_view(&seen.data), SPAN("hello")), "%s", rows[i].reason);
        else
            expect_why(&seen, rows[i].fails, rows[i].reason);
        buf_free(&seen.data);
        world_close(&world);
    }
}

Test(outbound_stream, an_authority_nobody_trusts_is_refused)
{
    struct world world;
    struct seen seen = {0};
    world_open(&world);
    world.server.tls = true;
    server_start(&world);
    outbound_destroy(world.outbound);
    world.outbound = outbound_create(world.loop, world.resolver, NULL); /* the system's */
    cr_assert(open_it(&world, &seen, peer_of(&world, WEIR_PEER_TLS, "localhost")));
    TURN_UNTIL(world.loop, seen.closed == 1);
    cr_expect_eq(seen.opened, 0);
    world_close(&world);
}

Test(outbound_stream, peers_that_cannot_be_are_refused_at_once)
{
    static const struct {
        const char *reason;
        weir_peer peer;
    } rows[] = {
        {"no host", {.port = 1, .deadline_ms = 1}},
        {"an empty host", {.host = {"", 0}, .port = 1, .deadline_ms = 1}},
        {"NUL in a host", {.host = {"a\0b", 3}, .port = 1, .deadline_ms = 1}},
        {"a space in a host", {.host = {"a b", 3}, .port = 1, .deadline_ms = 1}},
        {"no port", {.host = {"a", 1}, .deadline_ms = 1}},
        {"no deadline", {.host = {"a", 1}, .port = 1}},
        {"a flag nobody knows", {.host = {"a", 1}, .port = 1, .deadline_ms = 1, .flags = 64}},
        {"a server name with a line end",
         {.host = {"a", 1}, .server_name = {"b\n", 2}, .port = 1, .deadline_ms = 1}},
    };
    struct world world;
    struct seen seen = {0};
    world_open(&world);
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        cr_expect_not(open_it(&world, &seen, rows[i].peer), "%s", rows[i].reason);
    char long_name[300];
    memset(long_name, 'a', sizeof(long_name));
    weir_peer peer = {.host = {long_name, sizeof(long_name)}, .port = 1, .deadline_ms = 1};
    cr_expect_not(open_it(&world, &seen, peer), "a name longer than any");
    world_close(&world);
}

Test(outbound_stream, a_refused_connection_is_told)
{
    struct world world;
    struct seen seen = {0};
    world_open(&world);
    server_start(&world);
    weir_peer peer = peer_of(&world, 0, "127.0.0.1");
    listener_stop(TAKE(world.server.listener));
    (void)close(world.server.fd);
    world.server.fd = -1;
    cr_assert(open_it(&world, &seen, peer));
    cr_expect_eq(stream_write(seen.stream, WEIR_LIT("early")), WEIR_PHASE);
    TURN_UNTIL(world.loop, seen.closed == 1);
    expect_why(&seen, "refused", "nobody listens");
    expect_why(&seen, "127.0.0.1:", "whom it was");
    world_close(&world);
}

Test(outbound_stream, what_hangs_ends_at_the_deadline)
{
    static const struct {
        const char *reason, *host;
        bool hung_handshake;
    } rows[] = {
        {"a name server that does not answer", "nowhere.example", false},
        {"a handshake that gets no answer", "127.0.0.1", true},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct world world;
        struct seen seen = {0};
        world_open(&world);
        server_start(&world); /* plain, and it never says a word */
        weir_peer peer = peer_of(&world, rows[i].hung_handshake ? WEIR_PEER_TLS : 0, rows[i].host);
        world.server.deaf = true;
        peer.deadline_ms = 60;
        cr_assert(open_it(&world, &seen, peer));
        uint64_t began = clock_precise_us();
        TURN_UNTIL(world.loop, seen.closed == 1);
        uint64_t took_ms = (clock_precise_us() - began) / 1000;
        cr_expect(took_ms < 3000, "%s: %u ms", rows[i].reason, (unsigned)took_ms);
        cr_expect_eq(seen.opened, 0);
        /* A name server that refuses to be one is an answer, too. */
        if (rows[i].hung_handshake)
            expect_why(&seen, "60 ms", rows[i].reason);
        world_close(&world);
    }
}

Test(outbound_stream, the_peer_ends_it)
{
    struct world world;
    struct seen seen = {.greeting = "GET\r\n\r\n"};
    world_open(&world);
    world.server.answer = "bye";
    server_start(&world);
    cr_assert(open_it(&world, &seen, peer_of(&world, 0, "127.0.0.1")));
    TURN_UNTIL(world.loop, seen.closed == 1);
    cr_expect(span_equal(buf_view(&seen.data), SPAN("bye")), "what came before the end is given");
    expect_why(&seen, "closed the connection", "an end in order");
    buf_free(&seen.data);
    world_close(&world);
}

Test(outbound_stream, many_bytes_both_ways)
{
    enum { SIZE = 1000000 };
    for (int tls = 0; tls < 2; tls++) {
        struct world world;
        struct seen seen = {0};
        char *bytes = malloc(SIZE);
        cr_assert_not_null(bytes);
        for (size_t i = 0; i < SIZE; i++)
            bytes[i] = (char)(i * 31 + i / 251);
        world_open(&world);
        world.server.tls = tls == 1;
        world.server.echo = true;
        server_start(&world);
        cr_assert(
            open_it(&world, &seen, peer_of(&world, tls == 1 ? WEIR_PEER_TLS : 0, "localhost")));
        TURN_UNTIL(world.loop, seen.opened == 1);
        for (size_t at = 0; at < SIZE; at += SIZE / 10)
            cr_assert_eq(stream_write(seen.stream, (weir_str){bytes + at, SIZE / 10}),
                         WEIR_SUCCESS);
        TURN_UNTIL(world.loop, seen.data.size == SIZE || seen.closed > 0);
        cr_expect(span_equal(buf_view(&seen.data), span_of(bytes, SIZE)), "tls %d: %s", tls,
                  seen.why);
        free(bytes);
        buf_free(&seen.data);
        world_close(&world);
    }
}

Test(outbound_stream, the_queue_is_bounded)
{
    struct world world;
    struct seen seen = {0};
    char piece[64 * 1024] = {0};
    size_t taken = 0;
    world_open(&world);
    world.server.deaf = true;
    server_start(&world);
    cr_assert(open_it(&world, &seen, peer_of(&world, 0, "127.0.0.1")));
    TURN_UNTIL(world.loop, seen.opened == 1);
    weir_status status = WEIR_SUCCESS;
    /* The kernel takes some, then 1 MiB may wait. */
    for (int turns = 0; turns < 1000 && status == WEIR_SUCCESS; turns++) {
        status = stream_write(seen.stream, (weir_str){piece, sizeof(piece)});
        taken += status == WEIR_SUCCESS ? sizeof(piece) : 0;
        loop_poll(world.loop);
    }
    cr_expect_eq(status, WEIR_FULL);
    cr_expect(taken >= STREAM_QUEUE_MAX, "%zu", taken);
    cr_expect_eq(stream_write(seen.stream, (weir_str){NULL, 3}), WEIR_INVALID);
    cr_expect_eq(stream_write(seen.stream, (weir_str){NULL, 0}), WEIR_SUCCESS);
    cr_expect_eq(seen.closed, 0, "a slow peer is no broken one");
    world_close(&world);
}

Test(outbound_stream, its_owner_may_close_it_at_any_moment)
{
    struct world world;
    struct seen early = {0}, opening = {.close_when_opened = true}, idle = {0};
    world_open(&world);
    world.server.echo = true;
    server_start(&world);
    cr_assert(open_it(&world, &early, peer_of(&world, 0, "localhost")));
    stream_close(early.stream);
    stream_close(NULL);
    cr_assert(open_it(&world, &opening, peer_of(&world, 0, "localhost")));
    cr_assert(open_it(&world, &idle, peer_of(&world, 0, "localhost")));
    TURN_UNTIL(world.loop, opening.opened == 1 && idle.opened == 1 && world.server.accepted >= 2);
    cr_expect_eq(stream_write(idle.stream, WEIR_LIT("last words")), WEIR_SUCCESS);
    stream_close(idle.stream);
    TURN_UNTIL(world.loop, world.server.open == 0);
    cr_expect(span_equal(buf_view(&world.server.got), SPAN("last words")));
    cr_expect_eq(early.opened + early.closed + opening.closed + idle.closed, 0);
    world_close(&world);
}

Test(outbound_stream, a_peer_that_goes_away_while_much_is_written)
{
    struct world world;
    struct seen seen = {0};
    char piece[64 * 1024] = {0};
    world_open(&world);
    world.server.closes_at_once = true;
    server_start(&world);
    cr_assert(open_it(&world, &seen, peer_of(&world, 0, "127.0.0.1")));
    TURN_UNTIL(world.loop, seen.opened == 1);
    for (int i = 0; i < 8 && seen.closed == 0; i++)
        (void)stream_write(seen.stream, (weir_str){piece, sizeof(piece)});
    TURN_UNTIL(world.loop, seen.closed == 1);
    world_close(&world);
}
