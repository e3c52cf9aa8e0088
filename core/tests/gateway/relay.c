/* A body through the relay: every framing, every split of the input, a sink that takes little. */
#include "gateway/relay.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/loop.h"

struct bench {
    struct loop *loop;
    struct conn *from, *to;
    int feed, drain; /* the other ends */
    struct relay relay;
    char buffer[64];
    struct buf got;
};

static int pair_of(int *other)
{
    int fds[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    *other = fds[1];
    return fds[0];
}

static void setup(struct bench *bench, enum http_body_kind kind, uint64_t length, bool chunked)
{
    struct http_framing framing = {.kind = kind, .length = length};
    memset(bench, 0, sizeof(*bench));
    bench->loop = loop_create();
    bench->from = conn_create(bench->loop, pair_of(&bench->feed), NULL);
    bench->to = conn_create(bench->loop, pair_of(&bench->drain), NULL);
    cr_assert(bench->from != NULL && bench->to != NULL);
    bench->relay.buffer = bench->buffer;
    bench->relay.capacity = sizeof(bench->buffer);
    relay_begin(&bench->relay, &framing, 0);
    bench->relay.chunked = chunked;
}

static void teardown(struct bench *bench)
{
    conn_close(bench->from);
    conn_close(bench->to);
    (void)close(bench->feed);
    (void)close(bench->drain);
    buf_free(&bench->got);
    buf_free(&bench->relay.changed);
    loop_destroy(bench->loop);
}

static void take(struct bench *bench)
{
    char piece[4096];
    ssize_t size;
    while ((size = read(bench->drain, piece, sizeof(piece))) > 0)
        buf_append(&bench->got, piece, (size_t)size);
}

/* The payload of what came out, which must be well-formed chunks when `chunked`. */
static void expect_payload(struct bench *bench, bool chunked, struct span want, const char *why)
{
    AUTO_BUF payload = BUF_INIT;
    struct span input = buf_view(&bench->got), piece;
    if (!chunked) {
        cr_expect(span_equal(input, want), "%s: got '%.*s'", why, SPAN_ARG(input));
        return;
    }
    struct http_chunked state;
    enum http_result result;
    http_chunked_init(&state);
    while ((result = http_chunked_next(&state, &input, &piece)) == HTTP_INCOMPLETE) {
        buf_span(&payload, piece);
        if (input.size == 0)
            break;
    }
    cr_expect_eq(result, HTTP_COMPLETE, "%s", why);
    cr_expect(span_equal(buf_view(&payload), want), "%s: got '%.*s'", why,
              SPAN_ARG(buf_view(&payload)));
    cr_expect_eq(input.size, 0u, "%s: bytes behind the last chunk", why);
}

static const struct {
    const char *why;
    enum http_body_kind kind;
    const char *input;
    const char *payload;
    bool chunked_out, ends_by_eof;
} rows[] = {
    {"length stays a length", HTTP_BODY_LENGTH, "hello world", "hello world", false, false},
    {"length to chunks", HTTP_BODY_LENGTH, "hello world", "hello world", true, false},
    {"chunks to chunks", HTTP_BODY_CHUNKED, "5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nT: v\r\n\r\n",
     "hello world", true, false},
    {"chunks to a stream", HTTP_BODY_CHUNKED, "b\r\nhello world\r\n0\r\n\r\n", "hello world", false,
     false},
    {"an empty chunked body", HTTP_BODY_CHUNKED, "0\r\n\r\n", "", true, false},
    {"until close to chunks", HTTP_BODY_UNTIL_CLOSE, "hello world", "hello world", true, true},
};

static void run_row(size_t row, size_t split)
{
    struct bench bench;
    size_t size = strlen(rows[row].input);
    enum relay_result result = RELAY_WAIT;
    setup(&bench, rows[row].kind, size, rows[row].chunked_out);
    for (size_t at = 0; at < size; at += split) {
        size_t piece = size - at < split ? size - at : split;
        cr_assert_eq(write(bench.feed, rows[row].input + at, piece), (ssize_t)piece);
        result = relay_pump(&bench.relay, bench.from, bench.to);
        take(&bench);
        if (at + piece < size)
            cr_assert_eq(result, RELAY_WAIT, "%s, split %zu", rows[row].why, split);
    }
    if (rows[row].ends_by_eof) {
        (void)shutdown(bench.feed, SHUT_WR);
        result = relay_pump(&bench.relay, bench.from, bench.to);
        take(&bench);
    }
    cr_expect_eq(result, RELAY_DONE, "%s, split %zu", rows[row].why, split);
    expect_payload(&bench, rows[row].chunked_out, span_text(rows[row].payload), rows[row].why);
    teardown(&bench);
}

Test(relay, every_framing_in_every_split)
{
    for (size_t row = 0; row < COUNT_OF(rows); row++)
        for (size_t split = 1; split <= 12; split++)
            run_row(row, split);
}

/* Those that may pass go on, spelled our way, whatever came in one read. */
Test(relay, trailers_pass_when_they_are_wanted)
{
    static const char body[] = "2\r\nhi\r\n0\r\nA:1\r\nContent-Length: 7\r\nb: 2 \r\n\r\n";
    static const char last[] = "0\r\nA: 1\r\nb: 2\r\n\r\n";
    for (size_t split = 0; split <= 2 * sizeof(body); split++) {
        struct bench bench;
        bool wanted = split % 2 == 0;
        size_t first = split / 2 < sizeof(body) - 1 ? split / 2 : sizeof(body) - 1;
        setup(&bench, HTTP_BODY_CHUNKED, 0, true);
        bench.relay.trailers = wanted;
        cr_assert_eq(write(bench.feed, body, first), (ssize_t)first);
        enum relay_result result = relay_pump(&bench.relay, bench.from, bench.to);
        cr_assert_eq(write(bench.feed, body + first, sizeof(body) - 1 - first),
                     (ssize_t)(sizeof(body) - 1 - first));
        for (int turns = 0; result == RELAY_WAIT && turns < 4; turns++)
            result = relay_pump(&bench.relay, bench.from, bench.to);
        cr_assert_eq(result, RELAY_DONE, "split at %zu", first);
        take(&bench);
        struct span want = wanted ? span_text(last) : SPAN("\r\n0\r\n\r\n");
        cr_expect(span_ends_with(buf_view(&bench.got), want), "split at %zu: '%.*s'", first,
                  SPAN_ARG(buf_view(&bench.got)));
        teardown(&bench);
    }
}

Test(relay, an_end_before_the_end_is_no_end)
{
    struct bench bench;
    setup(&bench, HTTP_BODY_LENGTH, 10, false);
    cr_assert_eq(write(bench.feed, "12345", 5), 5);
    (void)shutdown(bench.feed, SHUT_WR);
    enum relay_result result;
    while ((result = relay_pump(&bench.relay, bench.from, bench.to)) == RELAY_WAIT)
        ;
    cr_expect_eq(result, RELAY_SOURCE_GONE);
    teardown(&bench);
}

Test(relay, broken_chunks_are_refused)
{
    struct bench bench;
    setup(&bench, HTTP_BODY_CHUNKED, 0, true);
    cr_assert_eq(write(bench.feed, "5\r\nhelloX", 9), 9);
    cr_expect_eq(relay_pump(&bench.relay, bench.from, bench.to), RELAY_BAD);
    teardown(&bench);
}

Test(relay, a_limit_counts_payload)
{
    struct bench bench;
    setup(&bench, HTTP_BODY_CHUNKED, 0, true);
    bench.relay.source.limit = 4;
    cr_assert_eq(write(bench.feed, "5\r\nhello\r\n", 10), 10);
    cr_expect_eq(relay_pump(&bench.relay, bench.from, bench.to), RELAY_LIMIT);
    teardown(&bench);
}

/* The sink takes nothing for a while: nothing is read meanwhile, nothing is lost after. */
Test(relay, a_full_sink_stops_the_source)
{
    struct bench bench;
    size_t total = 4 << 20, fed = 0, stuck = 0;
    char piece[1000];
    setup(&bench, HTTP_BODY_LENGTH, total, false);
    memset(piece, 'x', sizeof(piece));
    for (int turns = 0; turns < 20000 && fed < total && stuck < 3; turns++) {
        size_t want = total - fed < sizeof(piece) ? total - fed : sizeof(piece);
        ssize_t put = write(bench.feed, piece, want);
        fed += put > 0 ? (size_t)put : 0;
        cr_assert_eq(relay_pump(&bench.relay, bench.from, bench.to), RELAY_WAIT);
        stuck = put < 0 && bench.relay.blocked ? stuck + 1 : 0;
    }
    cr_assert_eq(stuck, 3u, "the sink never filled up");
    cr_assert_lt(fed, total);
    for (enum relay_result result = RELAY_WAIT; result != RELAY_DONE;) {
        size_t want = total - fed < sizeof(piece) ? total - fed : sizeof(piece);
        ssize_t put = want == 0 ? 0 : write(bench.feed, piece, want);
        fed += put > 0 ? (size_t)put : 0;
        take(&bench);
        result = relay_pump(&bench.relay, bench.from, bench.to);
        cr_assert(result == RELAY_DONE || result == RELAY_WAIT);
    }
    take(&bench);
    cr_expect_eq(bench.got.size, total);
    teardown(&bench);
}
