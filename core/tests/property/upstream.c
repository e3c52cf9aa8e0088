/* The recording upstream of smuggle.c: nothing on its connections that is no request, no request
 * that the plan of its client's stream does not have next, and nothing between two of them. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"
#include "second.h"

enum { PEERS_MAX = 2048, KILLS = 300, LEAVES = 100, SPOILS = 40, BREAKS = 40, SPOILED_MS = 20 };

struct peer {
    enum kind kind;
    int fd;
    uint64_t carried;    /* requests so far */
    uint64_t spoiled_ms; /* since it has said something broken; 0: it has not */
    size_t size;
    char data[2 * STREAM_MAX];
};

static struct peer *peers[PEERS_MAX];
static struct message asked, sent;

void peer_accept(int listener)
{
    int one = 1, fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    unsigned slot = 0;
    while (peers[slot] != NULL)
        slot++;
    struct peer *p = calloc(1, sizeof(*p));
    CHECK_THAT(p != NULL && slot < PEERS_MAX);
    peers[slot] = p;
    p->kind = KIND_PEER;
    p->fd = fd;
    bench.figures.peers++;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    watch(fd, &p->kind);
}

static void end(struct peer *p)
{
    (void)close(p->fd);
    for (unsigned i = 0; i < PEERS_MAX; i++)
        if (peers[i] == p)
            peers[i] = NULL;
    free(p);
}

unsigned peers_unfinished(void)
{
    unsigned count = 0;
    for (unsigned i = 0; i < PEERS_MAX; i++)
        count += peers[i] != NULL && peers[i]->size > 0;
    return count;
}

/* Those that wait in vain for the rest of a broken answer. */
void peers_tick(void)
{
    for (unsigned i = 0; i < PEERS_MAX; i++)
        if (peers[i] != NULL && peers[i]->spoiled_ms != 0 &&
            bench.now_ms > peers[i]->spoiled_ms + SPOILED_MS)
            end(peers[i]);
}

/* ---- whose request it is */

static struct stream *owner_of(const struct message *m)
{
    struct span ip = m->head == WHOLE ? message_field(m, "x-real-ip") : SPAN_NONE;
    struct stream *s = span_is_set(ip) ? stream_of_ip(ip) : NULL;
    if (s == NULL)
        fail(NULL, "the upstream got a request of nobody: %.*s %.*s, X-Real-IP %.*s",
             SPAN_ARG(m->method), SPAN_ARG(m->target), SPAN_ARG(ip));
    return s;
}

/* The bytes say whose they are even when they are no request. */
_Noreturn static void fail_with(const struct peer *p, const char *why)
{
    static const char mark[] = "X-Real-IP: ";
    const char *at = memmem(p->data, p->size, mark, sizeof(mark) - 1);
    const struct stream *s = NULL;
    if (at != NULL) {
        struct span rest =
            span_of(at + sizeof(mark) - 1, p->size - (size_t)(at - p->data) - sizeof(mark) + 1);
        s = stream_of_ip(span_first(rest, span_find(rest, '\r')));
    }
    fail(s, "the upstream got %s:\n%.*s", why, (int)p->size, p->data);
}

static bool is_of(const struct stream *s, unsigned request, bool part, const char **why)
{
    const struct planned *p = &s->plan.requests[request];
    struct edge edge = {bench.options.proxy_port, bench.options.target_port, ""};
    stream_ip(s->number, edge.client_ip);
    message_read(span_from(span_of(s->bytes, s->size), p->at), RULES_CLIENT, &asked);
    return passed_rightly(&asked, &sent, part, &edge, why);
}

static unsigned next_passed(const struct stream *s, unsigned request)
{
    while (request < s->plan.count && s->plan.requests[request].fate == FATE_LOCAL)
        request++;
    return request;
}

/* The next one, or once more that which got no answer. One is left out when weir has lost it with a
 * connection that was cut here: its client is told so (502), and there are no more such than cuts.
 */
static unsigned find_request(const struct peer *p, struct stream *s)
{
    struct figures *f = &bench.figures;
    unsigned next = next_passed(s, s->next), lost = 0;
    const char *why = "there is none", *later;
    if (s->killed > 0 && is_of(s, s->killed - 1, false, &later)) {
        f->resent++;
        return s->killed - 1;
    }
    for (unsigned i = next; i < s->plan.count; i = next_passed(s, i + 1), lost++) {
        if (s->plan.requests[i].fate != FATE_PASSED) {
            why = i == next ? "that is not to be passed on" : why;
            break;
        }
        if (is_of(s, i, false, i == next ? &why : &later)) {
            f->lost += lost;
            if (f->lost > f->killed + f->left + f->bad_answers)
                fail(s, "request %u never reached the upstream", next);
            s->next = i + 1;
            return i;
        }
    }
    fail(s, "the upstream got a request that is not the stream's next, %u (%s):\n%.*s", next, why,
         (int)p->size, p->data);
}

/* ---- the answer */

size_t answer_body(uint32_t number, unsigned request, char out[512])
{
    struct dice dice = dice_of(bench.options.seed, number, 16 + request);
    size_t size = 0, want = dice_one_in(&dice, 8) ? 0 : 1 + dice_roll(&dice, 300);
    while (size < want)
        size += (size_t)snprintf(out + size, 512 - size, "a%u.%u;", (unsigned)number, request);
    return size < want ? size : want;
}

static int write_answer(const struct stream *s, unsigned request, bool chunked, char *out,
                        size_t room)
{
    char body[512];
    uint32_t number = s->number;
    size_t size = answer_body(number, request, body);
    if (bench.options.broken != NULL && strcmp(bench.options.broken, "answer") == 0 &&
        number % BREAKS == 0)
        number++;
    bool is_head = s->plan.requests[request].is_head;
    int shown = is_head ? 0 : (int)size;
    if (!chunked)
        return snprintf(out, room,
                        "HTTP/1.1 200 OK\r\nX-Id: %u.%u\r\nContent-Length: %zu\r\n\r\n%.*s",
                        (unsigned)number, request, size, shown, body);
    int at =
        snprintf(out, room, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Id: %u.%u\r\n\r\n",
                 (unsigned)number, request);
    if (is_head)
        return at;
    if (size > 0)
        at += snprintf(out + at, room - (size_t)at, "%zX;x=y\r\n%.*s\r\n", size, shown, body);
    return at + snprintf(out + at, room - (size_t)at, "0\r\nX-T: t\r\n\r\n");
}

/* True: the connection stays. */
static bool respond(struct peer *p, struct stream *s, unsigned request)
{
    static char text[8192];
    struct dice dice = dice_of(bench.options.seed, s->number, 64 + request);
    bool again = s->killed == request + 1;
    if (!again && dice_one_in(&dice, KILLS)) {
        s->killed = request + 1;
        bench.figures.killed++;
        return false;
    }
    s->killed = 0;
    bool leaves = dice_one_in(&dice, LEAVES);
    size_t size = (size_t)write_answer(s, request, dice_one_in(&dice, 4), text, 4096);
    if (bench.options.bad_answers && !again && dice_one_in(&dice, SPOILS)) {
        s->killed = request + 1; /* weir may ask once more */
        for (size_t times = 1 + dice_roll(&dice, 3); times > 0; times--)
            mutate(&dice, text, &size, sizeof(text));
        s->tainted = true;
        p->spoiled_ms = bench.now_ms;
        bench.figures.bad_answers++;
    }
    if (send(p->fd, text, size, MSG_NOSIGNAL) != (ssize_t)size)
        return false;
    bench.figures.left += leaves;
    return !leaves;
}

/* ---- the self-test: a harness that sees this and says nothing is worth nothing */

static void insert(struct peer *p, size_t at, const char *bytes, size_t size)
{
    memmove(p->data + at + size, p->data + at, p->size - at);
    memcpy(p->data + at, bytes, size);
    p->size += size;
}

/* What came is changed as if weir had sent it so. */
static void misreport(struct peer *p, const struct message *m)
{
    static unsigned count;
    static char copy[STREAM_MAX];
    const char *how = bench.options.broken;
    if (how == NULL || ++count % BREAKS != 0 || p->size > STREAM_MAX / 2)
        return;
    struct dice dice = dice_of(bench.options.seed, count, 2);
    size_t line = m->method.size + m->target.size + sizeof("  HTTP/1.1\r\n") - 1;
    if (strcmp(how, "byte") == 0) {
        char byte = (char)dice_next(&dice);
        insert(p, dice_roll(&dice, p->size), &byte, 1);
    } else if (strcmp(how, "double") == 0) {
        size_t size = p->size;
        memcpy(copy, p->data, size);
        insert(p, size, copy, size);
    } else if (strcmp(how, "again") == 0) { /* the same once more, after its answer */
        const struct stream *s = owner_of(m);
        bench.streams[s->number % STREAMS_KEPT].next = next_passed(s, s->next) + 1;
    } else if (strcmp(how, "field") == 0) {
        insert(p, line, "X-Evil: 1\r\n", 11);
    } else if (strcmp(how, "body") == 0 && m->sized && m->payload.size > 0) {
        p->data[m->body_at] = (char)(p->data[m->body_at] ^ 1);
    } else if (strcmp(how, "hop") == 0) {
        insert(p, line, "Keep-Alive: timeout=5\r\n", 23);
    }
}

/* ---- reading */

/* True: the connection stays. */
static bool take_request(struct peer *p)
{
    struct span text = span_of(p->data, p->size);
    const char *why = "";
    unsigned row = LISTED_ROWS;
    message_read(text, RULES_TARGET, &sent);
    if (sent.head == WHOLE && sent.body == WHOLE && bench.options.broken != NULL) {
        misreport(p, &sent);
        text = span_of(p->data, p->size);
        message_read(text, RULES_TARGET, &sent);
    }
    if (sent.head == REFUSED || (sent.head == WHOLE && sent.body == REFUSED))
        fail_with(p, sent.reason);
    if (sent.head == CUT || sent.body == CUT)
        return true;
    if (sent.end != text.size)
        fail_with(p, "bytes behind a request that is not answered yet");
    if (second_opinion(text, &sent, &row, &why) == OPINION_OTHER ||
        (second_row(row) != NULL && row > SECOND_LAST_OF_TARGET))
        fail_with(p, why);
    struct stream *s = owner_of(&sent);
    unsigned request = find_request(p, s);
    bench.figures.passed++;
    bench.figures.reused += p->carried++ > 0;
    p->size = 0;
    p->spoiled_ms = 0;
    return respond(p, s, request);
}

/* The end within a request: of one whose client's stream has no end of it either. */
static void judge_part(const struct peer *p)
{
    const char *why = "";
    struct stream *s;
    message_read(span_of(p->data, p->size), RULES_TARGET, &sent);
    if (sent.head != WHOLE || sent.body != CUT)
        fail_with(p, "a part of a head");
    s = owner_of(&sent);
    unsigned i = next_passed(s, s->next);
    for (; i < s->plan.count && s->plan.requests[i].fate == FATE_PASSED; i = next_passed(s, i + 1))
        bench.figures.lost++; /* as in find_request() */
    if (i >= s->plan.count || !s->plan.requests[i].may_begin)
        fail(s, "the upstream got a part of a request that is not to be begun:\n%.*s", (int)p->size,
             p->data);
    if (!is_of(s, i, true, &why))
        fail(s, "the upstream got a part of another request than %u (%s):\n%.*s", i, why,
             (int)p->size, p->data);
    s->next = i;
    bench.figures.parts++;
}

void peer_readable(void *peer)
{
    struct peer *p = peer;
    for (;;) {
        ssize_t got = recv(p->fd, p->data + p->size, STREAM_MAX - p->size, 0);
        if (got < 0 && errno == EAGAIN)
            return;
        if (got <= 0) {
            if (p->size > 0)
                judge_part(p);
            break;
        }
        p->size += (size_t)got;
        if (!take_request(p))
            break;
    }
    end(p);
}
