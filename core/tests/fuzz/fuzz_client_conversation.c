/* What clients can do to a gateway: the input is all that up to three of them say, cut, paused,
 * ended, broken off, while time passes, against a gateway with routes and policies and a target
 * that answers well. Whatever they do: nothing but good requests reaches the target, each client
 * gets good answers to its own requests in their order, and in the end nothing is left.
 *
 *   ff s  the loop settles, the target answers        ff t  one turn of the loop
 *   ff pN time passes, N * N * 2 ms                   ff e  the client ends its writing
 *   ff r  it leaves                                   ff R  with a reset
 *   ff n  another client comes, over TCP with N       ff 0…2  that one goes on
 *   ff h  the target holds its answers back           ff g  and goes on
 *   ff l  it closes its connections                   ff x  resets them
 *   ff z  the client stops reading, or goes on
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "support/talk.h"

enum { CALLERS = 3, PEERS = 16, INPUT_MAX = 8192, ROUNDS = 200, BIG = 100000 };

static const char yaml[] = "_format_version: '3.0'\n"
                           "gateway:\n"
                           "  trusted_ips: [127.0.0.0/8]\n"
                           "  client_max_body_size: 64k\n"
                           "  keepalive_requests: 20\n"
                           "services:\n"
                           "- name: plain\n"
                           "  url: http://@1\n"
                           "  retries: 2\n"
                           "  routes:\n"
                           "  - name: all\n"
                           "    paths: [/]\n"
                           "  - name: secure\n"
                           "    paths: [/secure]\n"
                           "    protocols: [https]\n"
                           "- name: based\n"
                           "  url: http://@2/base\n"
                           "  retries: 0\n"
                           "  routes:\n"
                           "  - name: stripped\n"
                           "    paths: [/b]\n"
                           "    strip_path: true\n"
                           "    preserve_host: true\n"
                           "- name: moved\n"
                           "  url: http://@1/x?y\n"
                           "  routes:\n"
                           "  - name: by-header\n"
                           "    headers: {x-route: [moved]}\n"
                           "    paths: ['~/m/(?<id>[a-z]+)$']\n"
                           "    strip_path: false\n";

/* A connection to the target. */
struct peer {
    int fd; /* -1: none */
    bool answered, tunnel, closing;
    struct buf got, out;
    unsigned last[CALLERS]; /* what it has carried of each; of two connections the gateway may have
                               left one, with a request unread, for the other */
};

static struct world world;
static struct caller callers[CALLERS];
static struct peer peers[PEERS];
static unsigned caller_count, current;
static uint64_t seen, asked; /* requests: at the target, and counted by the gateway before */
static bool holding;

/* ---- the target: what reaches it */

static void check_mark(struct peer *peer, const struct message *m, struct span text)
{
    struct span mark = message_get(m, MARK_REQUEST);
    unsigned client = CALLERS, number = 0;
    TALK_CHECK(message_count(m, MARK_REQUEST) == 1 && mark.size < MARK_MAX, "its mark", text);
    char copy[MARK_MAX] = "";
    memcpy(copy, mark.data, mark.size);
    char *end = copy;
    client = (unsigned)strtoul(copy, &end, 10);
    TALK_CHECK(*end == '-' && client < CALLERS, "whose it is", text);
    number = (unsigned)strtoul(end + 1, &end, 10);
    TALK_CHECK(number >= peer->last[client], "in order", text);
    peer->last[client] = number;
}

static void check_request(struct peer *peer, const struct message *m, struct span text)
{
    static const char *const never[] = {"keep-alive", "proxy-connection", "http2-settings",
                                        "proxy"};
    struct span connection = message_get(m, "connection"), host = message_get(m, "host");
    bool upgrades = message_count(m, "upgrade") == 1;
    TALK_CHECK(message_count(m, "host") == 1 && host.size > 0 && span_find(host, ' ') == host.size,
               "one Host", text);
    TALK_CHECK(message_count(m, "connection") == 1, "one Connection", text);
    TALK_CHECK(
        span_equal(connection, upgrades ? SPAN("keep-alive, Upgrade") : SPAN("keep-alive")) &&
            message_count(m, "upgrade") <= 1,
        "its value", text);
    for (size_t i = 0; i < COUNT_OF(never); i++)
        TALK_CHECK(message_count(m, never[i]) == 0, never[i], text);
    TALK_CHECK(message_count(m, "expect") == 0 ||
                   (message_count(m, "expect") == 1 &&
                    span_equal(message_get(m, "expect"), SPAN("100-continue"))),
               "Expect", text);
    TALK_CHECK(message_count(m, "te") == 0 || span_equal(message_get(m, "te"), SPAN("trailers")),
               "TE", text);
    static const char *const once[] = {"x-forwarded-for",
                                       "x-forwarded-proto",
                                       "x-forwarded-host",
                                       "x-forwarded-port",
                                       "x-forwarded-path",
                                       "x-real-ip",
                                       "via"};
    for (size_t i = 0; i < COUNT_OF(once); i++)
        TALK_CHECK(message_count(m, once[i]) == 1, once[i], text);
    check_mark(peer, m, text);
}

/* ---- what it answers, by words in the path */

static bool is_asked(const struct message *m, const char *word)
{
    return memmem(m->target.data, m->target.size, word, strlen(word)) != NULL;
}

static void say_switch(struct peer *peer, const struct message *m)
{
    struct span offer = message_get(m, "upgrade");
    buf_printf(&peer->out, "HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: %.*s\r\n\r\n",
               (int)span_find(offer, ','), offer.data);
    peer->tunnel = true;
}

static void say_body(struct peer *peer, const struct message *m, struct span body, size_t more)
{
    struct buf *out = &peer->out;
    bool head = span_equal(m->method, SPAN("HEAD")), chunky = is_asked(m, "chunky");
    bool until = is_asked(m, "until"), half = is_asked(m, "half");
    peer->closing = until || half;
    if (chunky)
        buf_text(out, "Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n");
    else if (until)
        buf_text(out, "\r\n");
    else
        buf_printf(out, "Content-Length: %zu\r\n\r\n", body.size + more + (half ? 10 : 0));
    if (head)
        return;
    if (chunky)
        buf_printf(out, "%zx;x=y\r\n", body.size);
    buf_span(out, body);
    if (chunky)
        buf_text(out, half ? "\r\n5\r\nha" : "\r\n0\r\nX-Sum: 1\r\nContent-Length: 5\r\n\r\n");
    for (size_t i = 0; !chunky && i < more; i++)
        buf_byte(out, 'x');
}

static void say_answer(struct peer *peer, const struct message *m)
{
    struct buf *out = &peer->out;
    AUTO_BUF body = BUF_INIT;
    buf_printf(&body, "answer to %.*s %.*s", SPAN_ARG(message_get(m, MARK_REQUEST)),
               SPAN_ARG(m->target));
    if (is_asked(m, "info"))
        buf_text(out, "HTTP/1.1 103 Early\r\nLink: </a>\r\nX-Answers: none\r\n\r\n");
    if (is_asked(m, "leave")) {
        peer->closing = true;
    } else if (is_asked(m, "switch") && message_count(m, "upgrade") == 1 &&
               m->framing == BODY_NONE) {
        say_switch(peer, m);
    } else if (is_asked(m, "none")) {
        buf_text(out, "HTTP/1.1 204 None\r\nX-Answers: none\r\nConnection: x-answers\r\n\r\n");
    } else if (is_asked(m, "same")) {
        buf_text(out, "HTTP/1.1 304 Same\r\nETag: \"1\"\r\nContent-Length: 10\r\n\r\n");
    } else {
        buf_text(out, is_asked(m, "old") ? "HTTP/1.0 200 Old\r\n" : "HTTP/1.1 200 OK\r\n");
        buf_text(out, "Content-Type: text/plain\r\nKeep-Alive: 5\r\n");
        if (is_asked(m, "hop"))
            buf_text(out, "Connection: close, x-a\r\nX-A: 1\r\n");
        say_body(peer, m, buf_view(&body), is_asked(m, "big") ? BIG : 0);
    }
    CHECK_THAT(!out->failed && !body.failed);
}

/* ---- its connections */

static void drop(struct peer *peer, bool reset)
{
    world_leave(&world, peer->fd, reset);
    peer->fd = -1;
}

static void take_in(unsigned listener)
{
    for (int fd; (fd = world_accept_now(&world, listener)) >= 0;) {
        struct peer *peer = NULL;
        for (size_t i = 0; peer == NULL && i < PEERS; i++)
            peer = peers[i].fd < 0 ? &peers[i] : NULL;
        CHECK_THAT(peer != NULL); /* a client has one connection to a target, and there are few */
        peer->fd = fd;
        peer->got.size = peer->out.size = 0;
        peer->answered = peer->tunnel = peer->closing = false;
        memset(peer->last, 0, sizeof(peer->last));
    }
}

/* True: something was sent. */
static bool flush(struct peer *peer)
{
    ssize_t sent = peer->out.size > 0 ? world_send(peer->fd, buf_view(&peer->out)) : 0;
    if (sent > 0) {
        peer->out.size -= (size_t)sent;
        memmove(peer->out.data, peer->out.data + sent, peer->out.size);
    }
    if (sent < 0 || (peer->closing && peer->out.size == 0)) {
        drop(peer, false);
        return true;
    }
    return sent > 0;
}

static void listen_to(struct peer *peer)
{
    static struct message message;
    struct span text = buf_view(&peer->got);
    if (peer->tunnel) { /* an echo */
        buf_span(&peer->out, text);
        peer->got.size = 0;
        return;
    }
    if (text.size == 0 || holding)
        return;
    enum reading reading = message_read(text, (struct message_how){.ours = true}, &message);
    TALK_CHECK(reading != READ_BAD, message.why, text);
    if (message.head == 0 || (reading == READ_PART && !is_asked(&message, "early")))
        return;
    check_request(peer, &message, text);
    if (!peer->answered)
        say_answer(peer, &message);
    peer->answered = reading == READ_PART;
    if (reading == READ_PART)
        return;
    seen++;
    TALK_CHECK(message.size == text.size, "bytes behind a request", text);
    peer->got.size = 0;
}

static bool serve_peer(struct peer *peer)
{
    if (peer->fd < 0)
        return false;
    size_t before = peer->got.size;
    enum world_end end = world_read(peer->fd, &peer->got);
    bool moved = peer->got.size != before;
    CHECK_THAT(!peer->got.failed);
    listen_to(peer);
    if (end != WORLD_OPEN && !(peer->tunnel && peer->out.size > 0)) {
        drop(peer, false);
        return true;
    }
    return flush(peer) || moved;
}

/* Until nobody has anything to do. */
static void serve(void)
{
    bool moved = true;
    for (unsigned round = 0; moved; round++) {
        CHECK_THAT(round < ROUNDS); /* it comes to an end */
        world_settle(&world);
        moved = false;
        take_in(0);
        take_in(1);
        for (size_t i = 0; i < PEERS; i++)
            moved = serve_peer(&peers[i]) || moved;
        for (size_t i = 0; i < caller_count; i++)
            caller_read(&callers[i]);
    }
}

static void leave_all(bool reset)
{
    for (size_t i = 0; i < PEERS; i++)
        if (peers[i].fd >= 0)
            drop(&peers[i], reset);
}

/* ---- the clients */

static void add_caller(bool tcp)
{
    if (caller_count == CALLERS)
        return;
    current = caller_count++;
    caller_open(&world, &callers[current], tcp);
}

static void act(char action, unsigned argument)
{
    struct caller *caller = &callers[current];
    switch (action) {
    case 's':
        serve();
        break;
    case 't':
        world_turn(&world);
        break;
    case ACTION_PASS:
        world_pass(&world, argument * argument * 2);
        break;
    case 'e':
        if (caller->fd >= 0)
            world_finish(caller->fd);
        break;
    case 'r':
    case 'R':
        caller_leave(&world, caller, action == 'R');
        break;
    case 'n':
    case 'N':
        add_caller(action == 'N');
        break;
    case 'h':
    case 'g':
        holding = action == 'h';
        break;
    case 'l':
    case 'x':
        leave_all(action == 'x');
        break;
    case 'z':
        caller->deaf = !caller->deaf;
        break;
    default: /* 0…2 */
        current = (unsigned)(action - '0') < caller_count ? (unsigned)(action - '0') : current;
    }
}

static void judge(const struct answer *answer)
{
    char mark[MARK_MAX];
    AUTO_BUF want = BUF_INIT;
    const struct message *m = answer->message;
    if (!answer->record->from_target || answer->replaced || m->body.size == 0)
        return;
    buf_printf(&want, "answer to %.*s ", SPAN_ARG(mark_of(mark, answer->client, answer->number)));
    size_t size = want.size < m->body.size ? want.size : m->body.size;
    TALK_CHECK(span_equal(span_first(buf_view(&want), size), span_first(buf_view(&m->body), size)),
               "the body of another request", answer->text);
}

/* ---- */

static void open_world(void)
{
    if (world.loop != NULL)
        return;
    world_open(&world,
               &(struct world_options){
                   .yaml = yaml, .targets = 2, .plugins = policies, .plugin_count = POLICIES});
    for (size_t i = 0; i < PEERS; i++)
        peers[i].fd = -1;
    for (size_t i = 0; i < CALLERS; i++)
        callers[i].fd = -1;
}

static void begin(void)
{
    talk_begin(&world);
    caller_count = 0;
    seen = 0;
    asked = world.slot->requests + world.slot->retries;
    holding = false;
    add_caller(false);
}

static void end(void)
{
    holding = false;
    for (size_t i = 0; i < caller_count; i++)
        callers[i].deaf = false;
    talk_outlast(&world, serve);
    for (unsigned i = 0; i < caller_count; i++)
        caller_check(&callers[i], i, judge);
    /* Each that came was asked by a client, or sent once more. */
    CHECK_THAT(seen <= world.slot->requests + world.slot->retries - asked);
    leave_all(false);
    for (size_t i = 0; i < CALLERS; i++)
        callers[i].fd = -1;
    talk_end(&world);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (size > INPUT_MAX)
        return 0;
    open_world();
    begin();
    struct script script = {span_of((const char *)bytes, size), "stperRnN012hglxz"};
    struct span piece;
    char action;
    unsigned argument = 0;
    while (script_next(&script, &piece, &action, &argument))
        if (action != 0)
            act(action, argument);
        else
            caller_send(&world, &callers[current], piece);
    serve();
    for (unsigned round = 0; round < 2; round++) /* what waits for a policy goes on */
        world_pass(&world, 100), serve();
    end();
    return 0;
}
