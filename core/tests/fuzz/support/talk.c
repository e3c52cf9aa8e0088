#include "talk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SEND_TURNS = 16, OUTLAST_MS = 70000, OUTLAST_ROUNDS = 200 };

static int lowest_fd;

void talk_fail(const char *that, const char *why, struct span bytes)
{
    (void)fprintf(stderr, "does not hold: %s (%s)\n", that, why == NULL ? "" : why);
    for (size_t i = 0; i < bytes.size && i < 4096; i++) {
        unsigned char byte = (unsigned char)bytes.data[i];
        if (byte == '\n' || (byte >= ' ' && byte < 0x7f))
            (void)fputc(byte, stderr);
        else
            (void)fprintf(stderr, "\\x%02x", byte);
    }
    (void)fputc('\n', stderr);
    abort();
}

bool script_next(struct script *script, struct span *out_bytes, char *out_action,
                 unsigned *out_argument)
{
    struct span *rest = &script->rest;
    *out_action = 0;
    if (rest->size == 0)
        return false;
    size_t at = span_find(*rest, (char)ACTION);
    if (at > 0 || rest->size < 2) {
        *out_bytes = span_first(*rest, at > 0 ? at : 1);
        *rest = span_from(*rest, out_bytes->size);
        return true;
    }
    char action = rest->data[1];
    bool has_argument = action == ACTION_PASS;
    if (action == '\0' || strchr(script->actions, action) == NULL ||
        rest->size < (has_argument ? 3U : 2U)) {
        *out_bytes = span_first(*rest, 1);
        *rest = span_from(*rest, action == (char)ACTION ? 2 : 1);
        return true;
    }
    *out_action = action;
    *out_argument = has_argument ? (unsigned char)rest->data[2] : 0;
    *rest = span_from(*rest, has_argument ? 3 : 2);
    return true;
}

/* ---- the client's end */

void caller_open(struct world *world, struct caller *caller, bool tcp)
{
    caller->got.size = 0;
    caller->deaf = caller->ended = false;
    caller->fd = tcp ? world_client(world) : world_pair(world);
    CHECK_THAT(caller->fd >= 0);
}

void caller_send(struct world *world, struct caller *caller, struct span bytes)
{
    for (unsigned turn = 0; caller->fd >= 0 && bytes.size > 0 && turn < SEND_TURNS; turn++) {
        ssize_t sent = world_send(caller->fd, bytes);
        if (sent < 0)
            return;
        bytes = span_from(bytes, (size_t)sent);
        if (bytes.size > 0)
            world_turn(world);
    }
}

void caller_read(struct caller *caller)
{
    if (caller->fd < 0 || caller->deaf || caller->ended)
        return;
    caller->ended = world_read(caller->fd, &caller->got) != WORLD_OPEN;
    CHECK_THAT(!caller->got.failed);
}

void caller_leave(struct world *world, struct caller *caller, bool reset)
{
    if (caller->fd < 0)
        return;
    caller_read(caller);
    world_leave(world, caller->fd, reset);
    caller->fd = -1;
}

void caller_free(struct caller *caller)
{
    buf_free(&caller->got);
    *caller = (struct caller){.fd = -1};
}

/* ---- its answers */

static void check_shape(const struct answer *answer)
{
    const struct message *m = answer->message;
    struct span connection = message_get(m, "connection");
    TALK_CHECK(message_count(m, "connection") == 1 || m->status == 426, "one Connection",
               answer->text);
    TALK_CHECK(span_equal(connection, SPAN("keep-alive")) ||
                   span_equal(connection, SPAN("close")) ||
                   span_equal(connection, SPAN("Upgrade")) || m->status == 426,
               "its value", answer->text);
    TALK_CHECK(m->status == 101 || m->status == 426 || message_count(m, "upgrade") == 0,
               "no Upgrade", answer->text);
    TALK_CHECK(!answer->record->old || m->framing != BODY_CHUNKED, "chunks for HTTP/1.0",
               answer->text);
    TALK_CHECK(m->framing != BODY_UNTIL_CLOSE || span_equal(connection, SPAN("close")),
               "it ends with the connection, and says so", answer->text);
    static const char *const hops[] = {"keep-alive", "te", "proxy-connection", "http2-settings"};
    for (size_t i = 0; i < COUNT_OF(hops); i++)
        TALK_CHECK(message_count(m, hops[i]) == 0, hops[i], answer->text);
}

static bool is_replaced(const struct answer *answer)
{
    unsigned status = answer->message->status;
    return answer->record->from_target &&
           (status == 408 || status == 500 || status == 502 || status == 504) &&
           message_count(answer->message, MARK_ANSWER) == 0;
}

static void check_mark(struct answer *answer)
{
    char mark[MARK_MAX];
    TALK_CHECK(answer->number < records.count[answer->client] && answer->record->answered,
               "an answer that nobody made", answer->text);
    answer->replaced = is_replaced(answer);
    if (answer->replaced)
        return;
    TALK_CHECK(message_count(answer->message, MARK_ANSWER) == 1 &&
                   span_equal(message_get(answer->message, MARK_ANSWER),
                              mark_of(mark, answer->client, answer->number)),
               "the mark of its request", answer->text);
}

/* How much of the text this answer is; 0: it is the last. */
static size_t check_answer(struct answer *answer, struct span text, bool ended, bool *out_final,
                           answer_judge *judge)
{
    static struct message message;
    const struct record *record = &records.of[answer->client][answer->number];
    struct message_how how = {
        .response = true, .to_head = record->to_head, .ended = ended, .ours = true};
    answer->reading = message_read(text, how, &message);
    answer->message = &message;
    answer->record = record;
    answer->text = text;
    TALK_CHECK(answer->reading != READ_BAD, message.why, text);
    TALK_CHECK(answer->reading == READ_WHOLE || ended, "not whole, and yet not cut", text);
    *out_final = message.head > 0 && (message.status >= 200 || message.status == 101);
    if (message.head == 0)
        return 0;
    if (!*out_final) {
        TALK_CHECK(!record->old, "an interim answer for HTTP/1.0", text);
        return message.size;
    }
    answer->rest = span_from(text, message.size);
    check_mark(answer);
    check_shape(answer);
    judge(answer);
    if (message.status == 101)
        return 0;
    bool closes = span_equal(message_get(&message, "connection"), SPAN("close"));
    TALK_CHECK(!closes || answer->rest.size == 0, "bytes behind the last answer", text);
    return answer->reading == READ_WHOLE ? message.size : 0;
}

void caller_check(const struct caller *caller, unsigned client, answer_judge *judge)
{
    struct span text = buf_view(&caller->got);
    struct answer answer = {.client = client};
    bool ended = caller->ended || caller->fd < 0;
    while (text.size > 0 && answer.number < RECORD_REQUESTS) {
        bool final = false;
        size_t size = check_answer(&answer, text, ended, &final, judge);
        answer.number += final;
        if (size == 0)
            break;
        text = span_from(text, size);
    }
    /* One for each that was asked and read; the last may have been cut before its first byte. */
    if (caller->fd >= 0)
        TALK_CHECK(answer.number + 1 >= records.count[client] || answer.number == RECORD_REQUESTS,
                   "an answer is missing", buf_view(&caller->got));
}

/* ---- what holds at the end */

static int next_fd(void)
{
    int fd = dup(0);
    CHECK_THAT(fd >= 0);
    (void)close(fd);
    return fd;
}

void talk_begin(struct world *world)
{
    records_begin(world);
    lowest_fd = next_fd();
}

void talk_outlast(struct world *world, void (*serve)(void))
{
    const struct gateway *gateway = world->gateway;
    serve();
    /* What was sent ahead is answered after what came before, each with deadlines of its own. */
    for (unsigned round = 0; gateway->client_count > 0 && round < OUTLAST_ROUNDS; round++) {
        world_pass(world, OUTLAST_MS);
        serve();
    }
    CHECK_THAT(gateway->active == 0 && gateway->client_count == 0);
}

void talk_end(struct world *world)
{
    world_clear(world);
    const char *fault = world_fault(world);
    TALK_CHECK(fault == NULL, fault, SPAN(""));
    CHECK_THAT(next_fd() == lowest_fd);
}
