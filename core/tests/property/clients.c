/* The clients of smuggle.c: each sends one stream in pieces and holds what it is answered against
 * the plan of that stream. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "answer.h"
#include "bench.h"
#include "second.h"

enum { ROOM = 24576, CLIENTS_MAX = 1024, TAIL_MS = 3 };

struct client {
    enum kind kind;
    int fd;
    struct stream *stream;
    struct dice dice;
    size_t sent, step; /* bytes; at most so many at once */
    unsigned answered; /* requests, in order */
    bool closing;      /* the last answer is here: only the end may follow */
    bool may_end;      /* the connection may end before all answers */
    bool shut;         /* nothing more is sent */
    uint64_t begun_ms, sent_ms;
    size_t size;
    char data[16384];
};

static struct client *clients[CLIENTS_MAX];
static struct answer answer;

static bool is_sent(const struct client *c)
{
    return c->sent == c->stream->size;
}

/* ---- what the two readers say of a stream before it is sent */

/* Where weir will take a request, llhttp must take the same one, or the reason is listed. */
static void compare_opinions(const struct stream *s)
{
    static struct message m;
    for (unsigned i = 0; i < s->plan.count; i++) {
        const struct planned *p = &s->plan.requests[i];
        struct span text = span_from(span_of(s->bytes, s->size), p->at);
        const char *why = "";
        unsigned row = LISTED_ROWS;
        message_read(text, RULES_CLIENT, &m);
        if (p->fate == FATE_REFUSED && second_accepts(text))
            bench.figures.stricter++;
        if (p->fate != FATE_PASSED)
            continue;
        bench.figures.compared++;
        if (second_opinion(span_first(text, m.end), &m, &row, &why) == OPINION_OTHER)
            fail(s, "request %u would be passed on, and llhttp says: %s", i, why);
        if (second_row(row) != NULL)
            bench.figures.listed[row]++;
    }
}

static bool read_replay(struct stream *s)
{
    FILE *file = fopen(bench.options.replay, "rb");
    s->size = file == NULL ? 0 : fread(s->bytes, 1, ROOM, file);
    if (file != NULL)
        (void)fclose(file);
    return s->size > 0;
}

static struct stream *prepare(uint32_t number)
{
    static struct message m;
    struct stream *s = &bench.streams[number % STREAMS_KEPT];
    if (s->bytes == NULL)
        s->bytes = malloc(ROOM);
    CHECK_THAT(s->bytes != NULL);
    s->number = number;
    s->next = s->killed = 0;
    s->tainted = false;
    if (bench.options.replay == NULL)
        s->size = stream_make(bench.options.seed, number, s->bytes, ROOM);
    else if (!read_replay(s))
        fail(NULL, "no stream in %s", bench.options.replay);
    if (s->size == 0 || !plan_make(span_of(s->bytes, s->size), &m, &s->plan))
        return NULL;
    compare_opinions(s);
    bench.figures.streams++;
    bench.figures.bytes += s->size;
    for (unsigned i = 0; i < s->plan.count; i++)
        bench.figures.planned += s->plan.requests[i].fate == FATE_PASSED;
    return s;
}

/* ---- its connection */

static int dial(uint32_t number)
{
    char ip[16];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    struct sockaddr_in own = {.sin_family = AF_INET};
    struct sockaddr_in proxy = {.sin_family = AF_INET,
                                .sin_port = htons(bench.options.proxy_port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    stream_ip(number, ip);
    if (fd < 0 || inet_pton(AF_INET, ip, &own.sin_addr) != 1 ||
        bind(fd, (struct sockaddr *)&own, sizeof(own)) != 0 ||
        connect(fd, (struct sockaddr *)&proxy, sizeof(proxy)) != 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) != 0 ||
        fcntl(fd, F_SETFL, O_NONBLOCK) != 0)
        fail(NULL, "cannot connect from %s: %s", ip, strerror(errno));
    return fd;
}

void client_start(uint32_t number)
{
    struct stream *s = prepare(number);
    if (s == NULL)
        return;
    unsigned slot = 0;
    while (clients[slot] != NULL)
        slot++;
    struct client *c = calloc(1, sizeof(*c));
    CHECK_THAT(c != NULL && slot < CLIENTS_MAX);
    clients[slot] = c;
    bench.clients++;
    c->kind = KIND_CLIENT;
    c->stream = s;
    c->dice = dice_of(bench.options.seed, number, 1);
    size_t way = dice_roll(&c->dice, 10);
    c->step = way < 4 ? s->size : 1 + s->size / (way < 7 ? 2 : way < 9 ? 6 : 40);
    c->begun_ms = bench.now_ms;
    c->fd = dial(number);
    watch(c->fd, &c->kind);
}

static void end(struct client *c)
{
    (void)close(c->fd);
    for (unsigned i = 0; i < CLIENTS_MAX; i++)
        if (clients[i] == c)
            clients[i] = NULL;
    bench.clients--;
    free(c);
}

/* ---- sending */

static void send_piece(struct client *c)
{
    struct stream *s = c->stream;
    size_t size = 1 + dice_roll(&c->dice, c->step);
    if (size > s->size - c->sent || c->step == s->size)
        size = s->size - c->sent;
    ssize_t sent = send(c->fd, s->bytes + c->sent, size, MSG_NOSIGNAL);
    if (sent > 0)
        c->sent += (size_t)sent;
    else if (errno != EAGAIN) /* refused: what the answer says is read still */
        c->sent = s->size;
    c->sent_ms = bench.now_ms;
}

/* All that must be answered is, and the connection stays: say that nothing more comes. What has a
 * part of a request still gets a moment, so that this part reaches the upstream. */
static void shut_when_done(struct client *c)
{
    const struct plan *plan = &c->stream->plan;
    bool has_tail = plan->count > 0 && plan->requests[plan->count - 1].may_begin;
    if (c->shut || c->closing || !is_sent(c) || c->answered < plan->answers ||
        (has_tail && bench.now_ms < c->sent_ms + TAIL_MS))
        return;
    c->shut = true;
    (void)shutdown(c->fd, SHUT_WR);
}

bool clients_send(void)
{
    bool more = false;
    for (unsigned i = 0; i < CLIENTS_MAX; i++) {
        struct client *c = clients[i];
        if (c == NULL)
            continue;
        if (!is_sent(c))
            send_piece(c);
        shut_when_done(c);
        more = more || !is_sent(c) || (c->answered == c->stream->plan.answers && !c->shut);
        if (bench.now_ms > c->begun_ms + PATIENCE_MS)
            fail(c->stream, "request %u is not answered", c->answered);
    }
    return more;
}

/* ---- what it is answered */

static bool is_refusal(unsigned status)
{
    static const unsigned refusals[] = {400, 414, 501, 505};
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++)
        if (refusals[i] == status)
            return true;
    return false;
}

static bool is_target_failure(unsigned status)
{
    return status >= 502 && status <= 504;
}

static void judge_passed(struct client *c, const struct planned *p)
{
    struct stream *s = c->stream;
    char id[32], body[512];
    size_t size = p->is_head ? 0 : answer_body(s->number, c->answered, body);
    if (!span_is_set(answer.id)) {
        if (!is_target_failure(answer.status))
            fail(s, "request %u is answered by weir: %u", c->answered, answer.status);
        bench.figures.failed++;
        c->may_end = true;
        return;
    }
    (void)snprintf(id, sizeof(id), "%u.%u", (unsigned)s->number, c->answered);
    if (!span_equal(answer.id, span_text(id)))
        fail(s, "request %u gets the answer to %.*s", c->answered, SPAN_ARG(answer.id));
    if (answer.status != 200 || !span_equal(answer.body, span_of(body, size)))
        fail(s, "request %u gets another answer than its own: %u, %.*s", c->answered, answer.status,
             SPAN_ARG(answer.body));
}

static void judge_own(struct client *c, const struct planned *p)
{
    bool failed = p->may_begin && is_target_failure(answer.status);
    bool right = failed                  ? true
                 : p->fate == FATE_LOCAL ? answer.status == p->status
                                         : is_refusal(answer.status);
    if (span_is_set(answer.id) || !right)
        fail(c->stream, "request %u is not to be passed on, and gets %u, id %.*s", c->answered,
             answer.status, SPAN_ARG(answer.id));
    bench.figures.failed += failed;
    bench.figures.local += p->fate == FATE_LOCAL;
    bench.figures.refused += p->fate == FATE_REFUSED;
    bench.figures.cut_short += p->fate == FATE_OPEN;
    if (p->fate != FATE_LOCAL)
        bench.figures.by_status[answer.status]++;
}

static void judge(struct client *c)
{
    const struct plan *plan = &c->stream->plan;
    if (c->closing)
        fail(c->stream, "an answer %u behind the last", answer.status);
    if (c->answered == plan->count)
        fail(c->stream, "an answer %u too many", answer.status);
    const struct planned *p = &plan->requests[c->answered];
    if (answer.status < 200) {
        if (!p->may_continue && !c->stream->tainted)
            fail(c->stream, "request %u gets an interim answer", c->answered);
        return;
    }
    if (p->fate != FATE_PASSED)
        judge_own(c, p);
    else if (!c->stream->tainted) /* else it was told nonsense, about itself */
        judge_passed(c, p);
    if (answer.until_close && !p->is_old)
        fail(c->stream, "the answer to request %u has no length", c->answered);
    c->answered++;
    c->closing = p->closes || answer.until_close;
    c->may_end = c->may_end || p->may_close || c->stream->tainted;
}

/* ---- receiving */

static void judge_all(struct client *c, bool ended)
{
    const struct plan *plan = &c->stream->plan;
    while (c->size > 0) {
        bool to_head = c->answered < plan->count && plan->requests[c->answered].is_head;
        answer_read(span_of(c->data, c->size), to_head, ended, &answer);
        if (answer.verdict == REFUSED)
            fail(c->stream, "request %u gets %s", c->answered, answer.reason);
        if (answer.verdict == CUT)
            return;
        judge(c);
        c->size -= answer.size;
        memmove(c->data, c->data + answer.size, c->size);
    }
}

static void judge_end(struct client *c)
{
    const struct plan *plan = &c->stream->plan;
    if (c->size > 0 && !c->stream->tainted)
        fail(c->stream, "the answer to request %u breaks off", c->answered);
    if (c->answered < plan->answers && !c->may_end && !c->closing && !c->stream->tainted)
        fail(c->stream, "the connection ends before request %u is answered", c->answered);
    bool has_tail = c->answered < plan->count && c->answered == plan->answers;
    if (has_tail && plan->requests[c->answered].fate == FATE_REFUSED)
        bench.figures.silent++;
    if (!has_tail && !c->closing && !c->shut && !c->may_end && !c->stream->tainted)
        fail(c->stream, "the connection ends and should stay");
}

void client_readable(void *client)
{
    struct client *c = client;
    bool ended = false;
    while (!ended) {
        if (c->size == sizeof(c->data))
            fail(c->stream, "more answers than fit");
        ssize_t got = recv(c->fd, c->data + c->size, sizeof(c->data) - c->size, 0);
        if (got < 0 && errno == EAGAIN)
            break;
        ended = got <= 0;
        c->size += got > 0 ? (size_t)got : 0;
        judge_all(c, ended);
    }
    if (ended) {
        judge_end(c);
        end(c);
    } else {
        shut_when_done(c);
    }
}
