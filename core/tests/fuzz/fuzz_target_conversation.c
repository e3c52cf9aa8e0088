/* What targets can do to a gateway: the input is all that a target says, cut, paused, ended, broken
 * off, while time passes, to good requests of one client. Whatever it does: the client gets one
 * good answer for each request, made of the bytes said to that request alone or weir's own; what
 * was cut is seen to be cut; and a connection with anything left on it carries no other request.
 *
 * The first byte chooses what the client asks, the second which policies see it; then
 *   ff s  the loop settles                  ff pN  time passes, N * N * 2 ms
 *   ff e  the target ends its writing       ff r   resets its connection
 *   ff n  on to the next request            ff c   the client says its next piece
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "fuzz.h"
#include "support/talk.h"

enum { PEERS = 64, INPUT_MAX = 8192, ROUNDS = 400, SAID = 16, PIECES = 8, NOBODY = SAID };

static const char yaml[] = "_format_version: '3.0'\n"
                           "services:\n"
                           "- name: plain\n"
                           "  url: http://@1\n"
                           "  retries: 1\n"
                           "  routes:\n"
                           "  - name: all\n"
                           "    paths: [/]\n";

#define HOST " HTTP/1.1\r\nHost: h\r\n"
#define GET "GET /%" HOST "\r\n"

/* Pieces of what the client says, '%' for the words of its policies; whether it waits with each. */
static const struct ask {
    const char *pieces[PIECES];
    bool pipelined;
} asks[] = {
    {{GET, GET, GET}, false},
    {{GET, "HEAD /%" HOST "\r\n", GET, "OPTIONS /%" HOST "\r\n", GET}, true},
    {{"HEAD /%" HOST "\r\n", GET, "HEAD /%" HOST "\r\n"}, false},
    {{"POST /%" HOST "Content-Length: 5\r\n\r\nhello", GET, GET}, false},
    {{"POST /%" HOST "Content-Length: 9\r\n\r\nhel", "lo", " you", GET}, false},
    {{"PUT /%" HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "2\r\nde\r\n", "0\r\n\r\n",
      GET},
     false},
    {{"GET /%" HOST "Connection: Upgrade\r\nUpgrade: websocket, x/1\r\n\r\n", "ping", "pong"},
     false},
    {{"GET /% HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "GET /% HTTP/1.0\r\n\r\n"}, false},
    {{"GET /%" HOST "TE: trailers\r\nConnection: TE\r\n\r\n", GET, GET, GET}, true},
    {{"POST /%" HOST "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n", "hello", GET}, false},
};
static const char *const words[] = {"",           "down", "whole", "late", "park-down-up",
                                    "whole-down", "tee"};

/* Everything that was said to one request, by its last attempt. */
struct said {
    struct buf bytes;
    bool ended;
};

/* A connection to the target. */
struct peer {
    int fd;           /* -1: none */
    unsigned request; /* the last it carried; NOBODY: none */
    bool whole;       /* that has come to its end */
    struct buf got;
};

static struct world world;
static struct caller caller = {.fd = -1};
static struct peer peers[PEERS];
static struct said said[SAID + 1];
static const struct ask *ask;
static const char *word;
static unsigned piece;
static struct peer *speaker; /* where the script is played; NULL: nobody has asked */

static struct message_how how_of(unsigned number, bool ended)
{
    return (struct message_how){
        .response = true, .to_head = records.of[0][number].to_head, .ended = ended};
}

/* ---- the client */

static bool say_piece(void)
{
    if (piece == PIECES || ask->pieces[piece] == NULL)
        return false;
    const char *text = ask->pieces[piece++], *mark = strchr(text, '%');
    size_t head = mark == NULL ? strlen(text) : (size_t)(mark - text);
    AUTO_BUF all = BUF_INIT;
    buf_append(&all, text, head);
    if (mark != NULL) {
        buf_text(&all, word);
        buf_text(&all, mark + 1);
    }
    CHECK_THAT(!all.failed);
    caller_send(&world, &caller, buf_view(&all));
    return true;
}

/* ---- the target's ears */

/* A connection carries on only after a whole answer with nothing behind it. */
static void check_reuse(const struct peer *peer)
{
    static struct message message;
    if (peer->request == NOBODY)
        return;
    const struct said *before = &said[peer->request];
    struct message_how how = how_of(peer->request, before->ended);
    struct span rest = buf_view(&before->bytes);
    TALK_CHECK(peer->whole && !before->ended, "its connection is over", rest);
    do {
        TALK_CHECK(message_read(rest, how, &message) == READ_WHOLE, message.why, rest);
        rest = span_from(rest, message.size);
    } while (message.status < 200);
    TALK_CHECK(rest.size == 0, "bytes were left on it", buf_view(&before->bytes));
    TALK_CHECK(!message.old || message_count(&message, "connection") > 0, "HTTP/1.0 closes",
               buf_view(&before->bytes));
}

static unsigned number_of(const struct message *m, struct span text)
{
    struct span mark = message_get(m, MARK_REQUEST);
    TALK_CHECK(mark.size > 2 && mark.size < 5 && mark.data[0] == '0' && mark.data[1] == '-',
               "its mark", text);
    unsigned number = 0;
    for (size_t i = 2; i < mark.size; i++)
        number = number * 10 + (unsigned)(mark.data[i] - '0');
    CHECK_THAT(number < SAID);
    return number;
}

/* True: a request has begun on it. */
static bool hear(struct peer *peer)
{
    static struct message message;
    struct span text = buf_view(&peer->got);
    if (text.size == 0 || (peer->request != NOBODY && records.of[0][peer->request].status == 101))
        return false;
    enum reading reading = message_read(text, (struct message_how){.ours = true}, &message);
    TALK_CHECK(reading != READ_BAD, message.why, text);
    if (message.head == 0)
        return false;
    unsigned number = number_of(&message, text);
    bool begun = peer->request != number || peer->whole;
    if (begun) {
        check_reuse(peer);
        peer->request = number;
        said[number].bytes.size = 0; /* a new attempt */
        said[number].ended = false;
        speaker = peer;
    }
    peer->whole = reading == READ_WHOLE;
    if (!peer->whole)
        return begun;
    bool switches = message_count(&message, "upgrade") > 0;
    TALK_CHECK(switches || message.size == text.size, "bytes behind a request", text);
    peer->got.size = 0;
    return begun;
}

static struct peer *free_peer(void)
{
    for (size_t i = 0; i < PEERS; i++)
        if (peers[i].fd < 0)
            return &peers[i];
    abort(); /* more than a script can need */
}

static bool take_in(void)
{
    bool any = false;
    for (int fd; (fd = world_accept_now(&world, 0)) >= 0; any = true) {
        /* Else the kernel keeps bytes back that nobody can then notice before the next request. */
        CHECK_THAT(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)) == 0);
        struct peer *peer = free_peer();
        buf_free(&peer->got);
        *peer = (struct peer){.fd = fd, .request = NOBODY};
    }
    return any;
}

static bool serve_peer(struct peer *peer)
{
    size_t before = peer->got.size;
    if (peer->fd < 0)
        return false;
    enum world_end end = world_read(peer->fd, &peer->got);
    CHECK_THAT(!peer->got.failed);
    bool moved = peer->got.size != before;
    (void)hear(peer);
    if (end == WORLD_OPEN)
        return moved;
    world_leave(&world, peer->fd, false);
    peer->fd = -1;
    speaker = speaker == peer ? NULL : speaker;
    return true;
}

static void serve(void)
{
    bool moved = true;
    for (unsigned round = 0; moved; round++) {
        CHECK_THAT(round < ROUNDS);
        world_settle(&world);
        moved = take_in();
        for (size_t i = 0; i < PEERS; i++)
            moved = serve_peer(&peers[i]) || moved;
        caller_read(&caller);
    }
}

/* ---- and its mouth */

static void say(struct span bytes)
{
    if (speaker == NULL)
        return;
    struct said *to = &said[speaker->request];
    ssize_t sent = to->ended ? 0 : world_send(speaker->fd, bytes);
    if (sent > 0)
        buf_append(&to->bytes, bytes.data, (size_t)sent);
    CHECK_THAT(!to->bytes.failed);
}

static void end_speech(bool reset)
{
    if (speaker == NULL)
        return;
    if (!reset) {
        said[speaker->request].ended = true;
        world_finish(speaker->fd);
        return;
    }
    world_leave(&world, speaker->fd, true);
    speaker->fd = -1;
    speaker = NULL;
}

static void go_to_next(void)
{
    serve();
    speaker = NULL;
    while (speaker == NULL && say_piece())
        serve();
}

static void act(char action, unsigned argument)
{
    switch (action) {
    case 's':
        serve();
        break;
    case ACTION_PASS:
        world_pass(&world, argument * argument * 2);
        serve();
        break;
    case 'e':
    case 'r':
        end_speech(action == 'r');
        serve();
        break;
    case 'n':
        go_to_next();
        break;
    default: /* c */
        (void)say_piece();
        serve();
    }
}

/* What is still asked when the script is over gets good answers. */
static void answer_rest(void)
{
    for (unsigned round = 0; round < PIECES; round++) {
        go_to_next();
        if (speaker == NULL)
            return;
        say(SPAN("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nrest"));
        serve();
    }
}

/* ---- what the client must have got */

static void check_cut(const struct answer *answer, const struct message *model,
                      enum reading model_is)
{
    const struct message *m = answer->message;
    struct span got = buf_view(&m->body), meant = buf_view(&model->body);
    TALK_CHECK(span_starts_with(meant, got), "bytes that were not said to it", answer->text);
    if (answer->reading == READ_WHOLE && !answer->record->old && m->framing != BODY_NONE) {
        TALK_CHECK(model_is == READ_WHOLE, "whole, though what was said was not", answer->text);
        TALK_CHECK(got.size == meant.size, "whole, and yet less", answer->text);
    }
}

/* Each field was said, or is one of weir's. */
static void check_fields(const struct answer *answer, const struct message *model)
{
    static const char *const own[] = {"connection", "server",         "via",
                                      "date",       "content-length", "transfer-encoding",
                                      MARK_ANSWER,  "upgrade"};
    for (size_t i = 0; i < answer->message->count; i++) {
        const struct message_field *field = &answer->message->fields[i];
        bool known = span_starts_with_nocase(field->name, SPAN("x-kong-"));
        for (size_t k = 0; !known && k < COUNT_OF(own); k++)
            known = span_equal_nocase(field->name, span_text(own[k]));
        for (size_t k = 0; !known && k < model->count; k++)
            known = span_equal(field->name, model->fields[k].name) &&
                    span_starts_with(field->value, model->fields[k].value);
        TALK_CHECK(known, "a field that nobody said", answer->text);
    }
}

static void check_own(const struct answer *answer)
{
    unsigned status = answer->message->status;
    TALK_CHECK(status == 400 || status == 408 || (status >= 500 && status <= 504),
               "no answer of weir's", answer->text);
}

static void judge(const struct answer *answer)
{
    static struct message model;
    struct said *s = &said[answer->number < SAID ? answer->number : SAID];
    if (!answer->record->from_target || answer->replaced) {
        check_own(answer);
        return;
    }
    struct span text = buf_view(&s->bytes);
    struct message_how how = how_of(answer->number, s->ended);
    enum reading reading = message_read(text, how, &model);
    while (reading == READ_WHOLE && model.status < 200 && model.status != 101) {
        text = span_from(text, model.size);
        reading = message_read(text, how, &model);
    }
    TALK_CHECK(model.head > 0 && model.status == answer->message->status,
               "an answer that was not said to it", answer->text);
    check_fields(answer, &model);
    if (model.status == 101)
        TALK_CHECK(span_starts_with(span_from(text, model.size), answer->rest),
                   "bytes of a tunnel that were not said", answer->rest);
    else
        check_cut(answer, &model, reading);
}

/* ---- */

static void open_world(void)
{
    if (world.loop != NULL)
        return;
    world_open(&world,
               &(struct world_options){
                   .yaml = yaml, .targets = 1, .plugins = policies, .plugin_count = POLICIES});
    for (size_t i = 0; i < PEERS; i++)
        peers[i].fd = -1;
}

static void end(void)
{
    talk_outlast(&world, serve);
    caller_check(&caller, 0, judge);
    speaker = NULL;
    for (size_t i = 0; i < PEERS; i++)
        peers[i].fd = -1;
    talk_end(&world);
    caller.fd = -1;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (size < 2 || size > INPUT_MAX)
        return 0;
    open_world();
    talk_begin(&world);
    ask = &asks[bytes[0] % COUNT_OF(asks)];
    word = words[bytes[1] % COUNT_OF(words)];
    piece = 0;
    for (size_t i = 0; i <= SAID; i++) {
        said[i].bytes.size = 0;
        said[i].ended = false;
    }
    caller_open(&world, &caller, false);
    while (say_piece() && ask->pipelined)
        ;
    serve();
    struct script script = {span_of((const char *)bytes + 2, size - 2), "spernc"};
    struct span words_said;
    char action;
    unsigned argument = 0;
    while (script_next(&script, &words_said, &action, &argument))
        if (action != 0)
            act(action, argument);
        else
            say(words_said), serve();
    answer_rest();
    end();
    return 0;
}
