/* The tunnel behind a 101 (gateway/tunnel.c) in every state it can be in: what was sent ahead, ends
 * of one half or both, sinks that take nothing, silence, a drain, and what is counted at the end.
 */
#include <criterion/criterion.h>
#include <sys/socket.h>
#include <unistd.h>

#include "world.h"

enum { READ_MS = 5000, WRITE_MS = 3000, BODY_MS = 4000, LOTS = 24 << 20 };

static const char yaml[] = "_format_version: \"3.0\"\n"
                           "gateway:\n  client_body_timeout: 4s\n"
                           "services:\n- name: s\n  url: http://@1\n"
                           "  read_timeout: 5000\n  write_timeout: 3000\n"
                           "  routes:\n  - paths: [/]\n";
#define ASK "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"
#define SWITCH "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"

/* Written by the log phase. */
struct diary {
    unsigned logs, status;
    uint64_t bytes[DIRECTIONS];
};

static void on_log(weir_request *request, void *self, void *context)
{
    struct diary *diary;
    (void)context;
    memcpy(&diary, self, sizeof(diary));
    diary->logs++;
    diary->status = request->response.status;
    for (enum direction d = TO_TARGET; d < DIRECTIONS; d++)
        diary->bytes[d] = exchange_ops.bytes(request, d);
}
static const weir_plugin logging = {.size = sizeof(weir_plugin),
                                    .major = WEIR_MAJOR,
                                    .name = "diary",
                                    .version = "1",
                                    .log = on_log};

struct bench {
    struct world world;
    struct diary diary;
    int ends[DIRECTIONS]; /* whom a direction leads to: the target, the client */
    size_t heads[DIRECTIONS];
};

static int sink_end(const struct bench *bench, enum direction direction)
{
    return bench->ends[direction];
}
static int source_end(const struct bench *bench, enum direction direction)
{
    return bench->ends[direction == TO_TARGET ? TO_CLIENT : TO_TARGET];
}

/* Reads until there are `size` bytes or the end. */
static enum world_end await(struct bench *bench, int fd, struct buf *into, size_t size)
{
    enum world_end end = WORLD_OPEN;
    (void)WORLD_UNTIL(&bench->world,
                      (end = world_read(fd, into)) != WORLD_OPEN || into->size >= size);
    return end;
}

static enum world_end await_end(struct bench *bench, int fd)
{
    AUTO_BUF rest = BUF_INIT;
    return await(bench, fd, &rest, SIZE_MAX);
}

/* Takes the head from the front; its size. */
static size_t cut_head(struct buf *got)
{
    size_t end = span_search(buf_view(got), SPAN("\r\n\r\n"));
    cr_assert(end < got->size, "no head in %.*s", SPAN_ARG(buf_view(got)));
    end += 4;
    memmove(got->data, got->data + end, got->size - end);
    got->size -= end;
    return end;
}

static bool is_open(const struct bench *bench)
{
    const struct exchange *x = world_exchange(&bench->world);
    return x != NULL && x->state == STATE_TUNNEL && x->tunnel.open;
}

/* Opens it with these bytes behind the two heads, and reads them at the other ends. */
static void open_with(struct bench *bench, struct span behind_request, struct span behind_101)
{
    static const weir_plugin *const plugins[] = {&logging};
    AUTO_BUF seen = BUF_INIT, ask = BUF_INIT, answer = BUF_INIT;
    memset(bench, 0, sizeof(*bench));
    world_open(&bench->world, &(struct world_options){.yaml = yaml,
                                                      .targets = 1,
                                                      .plugins = plugins,
                                                      .plugin_count = 1,
                                                      .user = &bench->diary});
    int client = world_client(&bench->world);
    buf_text(&ask, ASK);
    buf_span(&ask, behind_request);
    cr_assert_eq(world_send(client, buf_view(&ask)), (ssize_t)ask.size);
    int target = world_accept(&bench->world, 0);
    cr_assert(client >= 0 && target >= 0);
    bench->ends[TO_TARGET] = target;
    bench->ends[TO_CLIENT] = client;
    (void)await(bench, target, &seen, sizeof(ASK) - 1);
    world_settle(&bench->world);
    (void)world_read(target, &seen);
    (void)cut_head(&seen);
    cr_assert_eq(seen.size, 0, "nothing goes behind the request before the 101");
    buf_text(&answer, SWITCH);
    buf_span(&answer, behind_101);
    cr_assert_eq(world_send(target, buf_view(&answer)), (ssize_t)answer.size);
    (void)await(bench, target, &seen, behind_request.size);
    cr_assert(span_equal(buf_view(&seen), behind_request), "what was sent ahead arrives");
    buf_free(&answer);
    (void)WORLD_UNTIL(&bench->world, is_open(bench));
    (void)await(bench, client, &answer, sizeof(SWITCH) + behind_101.size);
    bench->heads[TO_CLIENT] = cut_head(&answer);
    (void)await(bench, client, &answer, behind_101.size);
    cr_assert(span_equal(buf_view(&answer), behind_101), "and what came behind the 101");
    cr_assert(is_open(bench));
    cr_assert_eq(bench->world.slot->tunnels, 1);
    bench->heads[TO_TARGET] = world_exchange(&bench->world)->head_size;
}

static void open_bench(struct bench *bench)
{
    open_with(bench, SPAN(""), SPAN(""));
}

static void says(struct bench *bench, enum direction direction, struct span text)
{
    AUTO_BUF got = BUF_INIT;
    cr_assert_eq(world_send(source_end(bench, direction), text), (ssize_t)text.size);
    (void)await(bench, sink_end(bench, direction), &got, text.size);
    cr_assert(span_equal(buf_view(&got), text), "direction %d: %.*s", (int)direction,
              SPAN_ARG(buf_view(&got)));
}

static void leave(struct bench *bench, enum direction sink, bool reset)
{
    if (bench->ends[sink] >= 0)
        world_leave(&bench->world, bench->ends[sink], reset);
    bench->ends[sink] = -1;
}

/* Both have left or do now: it is over, was logged once, and nothing is left of it. */
static void close_bench(struct bench *bench)
{
    leave(bench, TO_CLIENT, false);
    leave(bench, TO_TARGET, false);
    cr_assert(WORLD_UNTIL(&bench->world, bench->world.slot->tunnels == 0));
    cr_assert(WORLD_UNTIL(&bench->world, world_exchange(&bench->world) == NULL));
    cr_expect_eq(bench->diary.logs, 1);
    cr_expect_eq(bench->diary.status, 101);
    world_clear(&bench->world);
    const char *fault = world_fault(&bench->world);
    cr_expect(fault == NULL, "%s", fault == NULL ? "" : fault);
    world_close(&bench->world);
}

static void fill(struct buf *out, size_t size)
{
    for (size_t i = 0; i < size; i++)
        buf_byte(out, (char)(i * 7 + (i >> 8)));
    cr_assert(!out->failed);
}

Test(tunnel, what_was_sent_ahead_arrives)
{
    static const struct {
        size_t request, answer;
        const char *why;
    } rows[] = {
        {0, 0, "nothing"},
        {1, 0, "a byte of the client"},
        {0, 1, "a byte of the target"},
        {5000, 5000, "both at once"},
        {60000, 60000, "nearly a buffer"},
        {200000, 200000, "more than a buffer: the rest is in the kernel"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct bench bench;
        AUTO_BUF up = BUF_INIT, down = BUF_INIT;
        fill(&up, rows[i].request);
        fill(&down, rows[i].answer);
        open_with(&bench, buf_view(&up), buf_view(&down));
        says(&bench, TO_TARGET, SPAN("up"));
        says(&bench, TO_CLIENT, SPAN("down"));
        world_finish(bench.ends[TO_CLIENT]);
        cr_assert_eq(await_end(&bench, bench.ends[TO_TARGET]), WORLD_ENDED, "%s", rows[i].why);
        world_finish(bench.ends[TO_TARGET]);
        cr_assert_eq(await_end(&bench, bench.ends[TO_CLIENT]), WORLD_ENDED, "%s", rows[i].why);
        close_bench(&bench);
        cr_expect_eq(bench.diary.bytes[TO_TARGET], bench.heads[TO_TARGET] + up.size + 2, "%s",
                     rows[i].why);
        cr_expect_eq(bench.diary.bytes[TO_CLIENT], bench.heads[TO_CLIENT] + down.size + 4, "%s",
                     rows[i].why);
    }
}

Test(tunnel, each_half_ends_alone)
{
    for (enum direction first = TO_TARGET; first < DIRECTIONS; first++) {
        enum direction second = first == TO_TARGET ? TO_CLIENT : TO_TARGET;
        struct bench bench;
        open_bench(&bench);
        says(&bench, first, SPAN("last words"));
        world_finish(source_end(&bench, first));
        cr_assert_eq(await_end(&bench, sink_end(&bench, first)), WORLD_ENDED);
        for (int i = 0; i < 3; i++)
            says(&bench, second, SPAN("I go on"));
        cr_expect(is_open(&bench));
        cr_expect_eq(bench.world.slot->tunnels, 1);
        world_finish(source_end(&bench, second));
        cr_assert_eq(await_end(&bench, sink_end(&bench, second)), WORLD_ENDED);
        close_bench(&bench);
    }
}

Test(tunnel, bytes_before_an_end_come_before_it)
{
    for (enum direction d = TO_TARGET; d < DIRECTIONS; d++) {
        struct bench bench;
        AUTO_BUF much = BUF_INIT, got = BUF_INIT;
        open_bench(&bench);
        fill(&much, 300000);
        size_t sent = 0;
        /* All of it and the end, while nobody reads. */
        while (sent < much.size) {
            ssize_t more = world_send(source_end(&bench, d), span_from(buf_view(&much), sent));
            cr_assert(more >= 0);
            sent += (size_t)more;
            world_settle(&bench.world);
        }
        world_finish(source_end(&bench, d));
        world_settle(&bench.world);
        cr_assert_eq(await(&bench, sink_end(&bench, d), &got, SIZE_MAX), WORLD_ENDED);
        cr_expect(span_equal(buf_view(&got), buf_view(&much)), "direction %d: %zu", (int)d,
                  got.size);
        leave(&bench, d == TO_TARGET ? TO_CLIENT : TO_TARGET, false);
        close_bench(&bench);
    }
}

/* Writes on until nothing is taken any more; *sent grows. True: some was. */
static bool stuff(struct bench *bench, enum direction direction, const struct buf *piece,
                  size_t *sent)
{
    size_t before = *sent;
    for (int refused = 0; refused < 50;) {
        struct span rest = span_from(buf_view(piece), *sent % piece->size);
        ssize_t more = world_send(source_end(bench, direction), rest);
        cr_assert(more >= 0);
        *sent += (size_t)more;
        cr_assert(*sent < LOTS, "direction %d takes everything", (int)direction);
        world_settle(&bench->world);
        if (more > 0)
            refused = 0;
        else if (++refused % 5 == 0)
            (void)usleep(2000); /* for acknowledgements of the kernel */
    }
    return *sent > before;
}

/* The same until traffic the other way finds no more room either: what the kernel holds back for
 * itself is used up, too. */
static size_t saturate(struct bench *bench, enum direction direction, const struct buf *piece)
{
    enum direction other = direction == TO_TARGET ? TO_CLIENT : TO_TARGET;
    size_t sent = 0;
    for (int quiet = 0; quiet < 3;) {
        quiet = stuff(bench, direction, piece, &sent) ? 0 : quiet + 1;
        says(bench, other, SPAN("free"));
    }
    (void)stuff(bench, direction, piece, &sent);
    return sent;
}

static void narrow_buffers(const struct bench *bench)
{
    const struct exchange *x = world_exchange(&bench->world);
    int size = 32768,
        fds[] = {bench->ends[0], bench->ends[1], conn_fd(x->target), conn_fd(x->client->conn)};
    for (size_t i = 0; i < COUNT_OF(fds); i++) {
        (void)setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
        (void)setsockopt(fds[i], SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    }
}

static const struct relay *relay_to(const struct bench *bench, enum direction direction)
{
    const struct exchange *x = world_exchange(&bench->world);
    return direction == TO_TARGET ? &x->up : &x->down;
}

static bool is_source_read(const struct bench *bench, enum direction direction)
{
    const struct exchange *x = world_exchange(&bench->world);
    return conn_is_reading(direction == TO_TARGET ? x->client->conn : x->target);
}

Test(tunnel, a_blocked_sink_stops_its_source_alone)
{
    for (enum direction d = TO_TARGET; d < DIRECTIONS; d++) {
        struct bench bench;
        AUTO_BUF piece = BUF_INIT, got = BUF_INIT;
        open_bench(&bench);
        narrow_buffers(&bench);
        fill(&piece, 65521);
        size_t sent = saturate(&bench, d, &piece);
        const struct relay *relay = relay_to(&bench, d);
        cr_expect(relay->blocked && relay->paused && !is_source_read(&bench, d));
        cr_expect(relay->size - relay->base <= 16 * 1024, "%u", relay->size - relay->base);
        for (int i = 0; i < 3; i++)
            says(&bench, d == TO_TARGET ? TO_CLIENT : TO_TARGET, SPAN("the other way is free"));
        (void)await(&bench, sink_end(&bench, d), &got, sent);
        cr_assert_eq(got.size, sent);
        for (size_t at = 0; at < sent; at += piece.size)
            cr_assert(span_equal(span_first(span_from(buf_view(&got), at), piece.size),
                                 span_first(buf_view(&piece), sent - at)),
                      "direction %d: other bytes from %zu on", (int)d, at);
        cr_expect(!relay_to(&bench, d)->blocked && is_source_read(&bench, d), "it goes on");
        says(&bench, d, SPAN("and is free again"));
        leave(&bench, d == TO_TARGET ? TO_CLIENT : TO_TARGET, false);
        close_bench(&bench);
    }
}

Test(tunnel, both_sinks_may_be_blocked_at_once)
{
    struct bench bench;
    AUTO_BUF piece = BUF_INIT;
    size_t sent[DIRECTIONS] = {0, 0};
    open_bench(&bench);
    narrow_buffers(&bench);
    fill(&piece, 65521);
    for (int quiet = 0; quiet < 3;) {
        bool up = stuff(&bench, TO_TARGET, &piece, &sent[TO_TARGET]);
        quiet = stuff(&bench, TO_CLIENT, &piece, &sent[TO_CLIENT]) || up ? 0 : quiet + 1;
    }
    for (enum direction d = TO_TARGET; d < DIRECTIONS; d++)
        cr_expect(relay_to(&bench, d)->blocked && !is_source_read(&bench, d));
    cr_expect(is_open(&bench));
    /* Freed they are in the test above: TCP with two full buffers backs off for many seconds. */
    close_bench(&bench);
    for (enum direction d = TO_TARGET; d < DIRECTIONS; d++)
        cr_expect(bench.diary.bytes[d] <= bench.heads[d] + sent[d]);
}

Test(tunnel, silence_ends_it_and_a_byte_of_either_side_does_not)
{
    struct bench bench;
    open_bench(&bench);
    for (int i = 0; i < 6; i++) {
        world_pass(&bench.world, READ_MS - 1000);
        cr_assert(is_open(&bench), "after %d", i);
        says(&bench, i % 2 == 0 ? TO_TARGET : TO_CLIENT, SPAN("."));
    }
    world_pass(&bench.world, READ_MS - 1000);
    cr_expect(is_open(&bench));
    world_pass(&bench.world, 2000);
    cr_expect(!is_open(&bench));
    cr_expect_neq(await_end(&bench, bench.ends[TO_CLIENT]), WORLD_OPEN);
    cr_expect_neq(await_end(&bench, bench.ends[TO_TARGET]), WORLD_OPEN);
    close_bench(&bench);
}

Test(tunnel, who_takes_nothing_is_not_waited_for_though_the_other_way_is_busy)
{
    static const uint32_t limits[DIRECTIONS] = {[TO_TARGET] = WRITE_MS, [TO_CLIENT] = BODY_MS};
    for (enum direction d = TO_TARGET; d < DIRECTIONS; d++) {
        struct bench bench;
        AUTO_BUF piece = BUF_INIT;
        open_bench(&bench);
        narrow_buffers(&bench);
        fill(&piece, 65521);
        (void)saturate(&bench, d, &piece);
        for (uint32_t ms = 1000; ms < limits[d]; ms += 1000) {
            world_pass(&bench.world, 1000);
            cr_assert(is_open(&bench), "direction %d after %u ms", (int)d, ms);
            says(&bench, d == TO_TARGET ? TO_CLIENT : TO_TARGET, SPAN("busy"));
        }
        world_pass(&bench.world, 2000);
        cr_expect(!is_open(&bench), "direction %d", (int)d);
        close_bench(&bench);
    }
}

static void idle(void *user)
{
    ++*(unsigned *)user;
}

Test(tunnel, a_drain_waits_for_it)
{
    struct bench bench;
    unsigned idles = 0;
    open_bench(&bench);
    gateway_drain(bench.world.gateway, idle, &idles);
    world_settle(&bench.world);
    cr_expect_eq(idles, 0);
    says(&bench, TO_TARGET, SPAN("still"));
    says(&bench, TO_CLIENT, SPAN("here"));
    world_finish(bench.ends[TO_TARGET]);
    cr_expect_eq(await_end(&bench, bench.ends[TO_CLIENT]), WORLD_ENDED);
    says(&bench, TO_TARGET, SPAN("half of it too"));
    cr_expect_eq(idles, 0);
    leave(&bench, TO_CLIENT, false);
    cr_expect(WORLD_UNTIL(&bench.world, idles > 0));
    close_bench(&bench);
    cr_expect_eq(idles, 1);
}

Test(tunnel, whoever_leaves_ends_it)
{
    for (enum direction d = TO_TARGET; d < DIRECTIONS; d++) {
        for (int i = 0; i < 4; i++) {
            bool reset = i % 2 == 1, blocked = i >= 2;
            struct bench bench;
            AUTO_BUF piece = BUF_INIT;
            open_bench(&bench);
            fill(&piece, 65521);
            if (blocked) { /* bytes for the one that leaves are under way */
                narrow_buffers(&bench);
                (void)saturate(&bench, d, &piece);
            }
            leave(&bench, d, reset);
            enum direction other = d == TO_TARGET ? TO_CLIENT : TO_TARGET;
            cr_expect_neq(await_end(&bench, sink_end(&bench, other)), WORLD_OPEN,
                          "direction %d, reset %d, blocked %d", (int)d, reset, blocked);
            close_bench(&bench);
        }
    }
}

Test(tunnel, the_gateway_goes_while_it_is_open)
{
    struct bench bench;
    open_bench(&bench);
    says(&bench, TO_TARGET, SPAN("hello"));
    gateway_destroy(TAKE(bench.world.gateway));
    for (enum direction d = TO_TARGET; d < DIRECTIONS; d++)
        cr_expect_neq(await_end(&bench, bench.ends[d]), WORLD_OPEN);
    cr_expect_eq(bench.diary.logs, 1);
    cr_expect_eq(bench.diary.bytes[TO_TARGET], bench.heads[TO_TARGET] + 5);
    cr_expect_eq(bench.world.slot->tunnels, 0);
    world_close(&bench.world);
}
