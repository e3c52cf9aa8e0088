/* Policies that ask others. X-Act says how: "fetch" asks an HTTP server whether the request may
 * pass, "line" a server of lines over one stream that all requests share; the rest tries bounds and
 * ends. With `background` the policy fetches for ever, from its start on. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <weir/weir.h>

#ifndef PLUGIN_NAME
#define PLUGIN_NAME "peers"
#endif

enum { SEATS = 128, TEXT = 512 };

typedef struct {
    weir_token token;
    weir_fetch *fetch;
    bool answered, good;
    char text[TEXT];
} question;

typedef struct {
    weir_str url, host, background;
    int64_t port, deadline_ms;
    weir_header_id act, key, decision;
    weir_stream *line;
    bool line_is_open, stopped;
    question *asked[SEATS]; /* in the order of the answers; NULL: gone meanwhile */
    size_t asked_count, asked_sent;
    char partial[TEXT];
    size_t partial_size;
} peers;

static const weir_field fields[] = {
    WEIR_STRING(peers, url),
    WEIR_STRING(peers, background),
    WEIR_STRING(peers, host),
    WEIR_INTEGER(peers, port),
    WEIR_DURATION(peers, deadline_ms, .key = "deadline", .def = "5s"),
};

static bool is(weir_str text, const char *word)
{
    return text.size == strlen(word) && memcmp(text.data, word, text.size) == 0;
}

static int configure(void *self, weir_error *error)
{
    peers *mine = self;
    (void)error;
    mine->act = weir_header_intern(WEIR_LIT("X-Act"));
    mine->key = weir_header_intern(WEIR_LIT("X-Key"));
    mine->decision = weir_header_intern(WEIR_LIT("X-Decision"));
    return 0;
}

/* ---- in the background */

static void on_background(void *self, void *user, const weir_fetch_answer *answer);

static bool fetch_in_background(peers *mine)
{
    weir_fetch_request request = {.size = sizeof(request),
                                  .method = WEIR_LIT("GET"),
                                  .url = mine->background,
                                  .deadline_ms = (uint32_t)mine->deadline_ms,
                                  .body_limit = 1000};
    return weir_fetch_start(mine, &request, on_background, mine) != NULL;
}

static void on_background(void *self, void *user, const weir_fetch_answer *answer)
{
    peers *mine = self;
    weir_log(NULL, mine->stopped || user != self ? WEIR_LOG_ERROR : WEIR_LOG_NOTICE,
             "background %u%s", (unsigned)answer->status, mine->stopped ? " AFTER STOP" : "");
    if (!fetch_in_background(mine))
        weir_log(NULL, WEIR_LOG_ERROR, "BROKEN: no room for another");
}

static int start(void *self)
{
    peers *mine = self;
    return mine->background.size == 0 || fetch_in_background(mine) ? 0 : -1;
}

static void stop(void *self)
{
    peers *mine = self;
    mine->stopped = true; /* what is open is left to the host */
    weir_log(NULL, WEIR_LOG_NOTICE, "stopped");
}

/* ---- what comes back */

static void settle(question *asked, bool good, weir_str text)
{
    asked->answered = true;
    asked->good = good;
    (void)snprintf(asked->text, sizeof(asked->text), "%.*s", (int)text.size, text.data);
    (void)weir_wake(asked->token);
}

static void on_answer(void *self, void *user, const weir_fetch_answer *answer)
{
    question *asked = user;
    (void)self;
    asked->fetch = NULL;
    settle(asked, answer->status == 200, answer->status == 0 ? answer->why : answer->body);
}

static weir_verdict on_wake(weir_request *request, void *self, void *context, uint32_t why)
{
    const peers *mine = self;
    const question *asked = context;
    (void)why;
    if (!asked->answered)
        return WEIR_FAIL;
    weir_str text = {asked->text, strlen(asked->text)};
    if (asked->good)
        return weir_header_set(request, WEIR_SIDE_REQUEST, mine->decision, text) == WEIR_SUCCESS
                   ? WEIR_NEXT
                   : WEIR_FAIL;
    (void)weir_respond(request, 403, WEIR_LIT("text/plain"), text);
    return WEIR_DONE;
}

static weir_verdict wait_for(weir_request *request, question *asked)
{
    asked->token = weir_park(request, 10000, on_wake);
    return asked->token == 0 ? WEIR_FAIL : WEIR_WAIT;
}

static weir_verdict fetch(weir_request *request, peers *mine, question *asked,
                          weir_fetch_hook *done)
{
    const weir_pair headers[] = {
        {WEIR_LIT("X-Key"), weir_header_get(request, WEIR_SIDE_REQUEST, mine->key, 0)}};
    weir_fetch_request what = {.size = sizeof(what),
                               .method = WEIR_LIT("POST"),
                               .url = mine->url,
                               .headers = headers,
                               .header_count = headers[0].value.data == NULL ? 0 : 1,
                               .body = weir_request_text(request, WEIR_TEXT_PATH),
                               .deadline_ms = (uint32_t)mine->deadline_ms,
                               .body_limit = 100};
    asked->fetch = weir_fetch_start(mine, &what, done, asked);
    return asked->fetch == NULL ? WEIR_FAIL : wait_for(request, asked);
}

static void on_answer_crash(void *self, void *user, const weir_fetch_answer *answer)
{
    (void)self, (void)user, (void)answer;
    (void)signal(SIGSEGV, SIG_DFL);
    (void)raise(SIGSEGV);
}

/* ---- a stream that many share */

static void send_questions(peers *mine)
{
    for (; mine->line_is_open && mine->asked_sent < mine->asked_count; mine->asked_sent++)
        if (weir_stream_write(mine->line, WEIR_LIT("may I?\r\n")) != WEIR_SUCCESS)
            return;
}

static void on_opened(void *self, void *user)
{
    peers *mine = user;
    (void)self;
    mine->line_is_open = true;
    send_questions(mine);
}

static void on_line(peers *mine, weir_str line)
{
    if (mine->asked_count == 0)
        return;
    question *asked = mine->asked[0];
    mine->asked_count--;
    mine->asked_sent--;
    memmove(mine->asked, mine->asked + 1, mine->asked_count * sizeof(mine->asked[0]));
    if (asked != NULL)
        settle(asked, is(line, "yes"), line);
}

static void on_data(void *self, void *user, weir_str bytes)
{
    peers *mine = user;
    (void)self;
    for (size_t i = 0; i < bytes.size; i++) {
        if (bytes.data[i] != '\n') {
            if (mine->partial_size < sizeof(mine->partial))
                mine->partial[mine->partial_size++] = bytes.data[i];
            continue;
        }
        weir_str line = {mine->partial, mine->partial_size};
        mine->partial_size = 0;
        if (is(line, "go away")) {
            weir_stream_close(mine->line); /* inside its own callback */
            mine->line = NULL;
            mine->line_is_open = false;
            while (mine->asked_count > 0)
                on_line(mine, WEIR_LIT("sent away"));
            return;
        }
        on_line(mine, line);
    }
}

static void on_closed(void *self, void *user, weir_str why)
{
    peers *mine = user;
    (void)self;
    mine->line = NULL;
    mine->line_is_open = false;
    mine->asked_sent = mine->asked_count;
    while (mine->asked_count > 0)
        on_line(mine, why);
}

static weir_stream *open_line(peers *mine)
{
    static const weir_stream_events events = {sizeof(events), on_opened, on_data, on_closed};
    weir_peer peer = {.size = sizeof(peer),
                      .host = mine->host,
                      .port = (uint16_t)mine->port,
                      .deadline_ms = (uint32_t)mine->deadline_ms};
    return weir_stream_open(mine, &peer, &events, mine);
}

static weir_verdict ask_line(weir_request *request, peers *mine, question *asked)
{
    if (mine->asked_count == SEATS)
        return WEIR_FAIL;
    if (mine->line == NULL && (mine->line = open_line(mine)) == NULL)
        return WEIR_FAIL;
    mine->asked[mine->asked_count++] = asked;
    send_questions(mine);
    return wait_for(request, asked);
}

/* ---- bounds */

static void on_ignored(void *self, void *user, const weir_fetch_answer *answer)
{
    (void)self, (void)user, (void)answer;
}

/* How many of each may be open: the rest of the host's answer is NULL. */
static weir_verdict count_room(weir_request *request, peers *mine)
{
    static const weir_stream_events silent = {.size = sizeof(silent)};
    enum { TRIED = 200 };
    weir_stream *streams[TRIED];
    weir_fetch *fetches[TRIED];
    unsigned stream_count = 0, fetch_count = 0;
    weir_peer peer = {.size = sizeof(peer), .host = mine->host, .port = 1, .deadline_ms = 1000};
    weir_fetch_request what = {
        .size = sizeof(what), .method = WEIR_LIT("GET"), .url = mine->url, .deadline_ms = 1000};
    for (unsigned i = 0; i < TRIED; i++) {
        streams[i] = weir_stream_open(mine, &peer, &silent, NULL);
        fetches[i] = weir_fetch_start(mine, &what, on_ignored, NULL);
        stream_count += streams[i] != NULL;
        fetch_count += fetches[i] != NULL;
    }
    for (unsigned i = 0; i < TRIED; i++) {
        weir_stream_close(streams[i]);
        weir_fetch_cancel(fetches[i]);
    }
    char text[64];
    (void)snprintf(text, sizeof(text), "%u streams %u fetches", stream_count, fetch_count);
    (void)weir_respond(request, 200, WEIR_LIT("text/plain"), (weir_str){text, strlen(text)});
    return WEIR_DONE;
}

/* Structs of another length than the host's. */
static weir_verdict try_sizes(weir_request *request, peers *mine)
{
    struct longer {
        weir_fetch_request request;
        uint64_t more;
    } what = {.request = {.size = sizeof(what),
                          .method = WEIR_LIT("GET"),
                          .url = mine->url,
                          .deadline_ms = 1000}};
    weir_fetch *same = weir_fetch_start(mine, &what.request, on_ignored, NULL);
    what.more = 1;
    weir_fetch *unknown = weir_fetch_start(mine, &what.request, on_ignored, NULL);
    what.request.size = 8;
    weir_fetch *shorter = weir_fetch_start(mine, &what.request, on_ignored, NULL);
    weir_fetch_cancel(same);
    char text[64];
    (void)snprintf(text, sizeof(text), "%d %d %d", same != NULL, unknown != NULL, shorter != NULL);
    (void)weir_respond(request, 200, WEIR_LIT("text/plain"), (weir_str){text, strlen(text)});
    return WEIR_DONE;
}

/* ---- hooks */

static weir_verdict access_phase(weir_request *request, void *self, void *context)
{
    peers *mine = self;
    weir_str act = weir_header_get(request, WEIR_SIDE_REQUEST, mine->act, 0);
    if (is(act, "fetch"))
        return fetch(request, mine, context, on_answer);
    if (is(act, "crash"))
        return fetch(request, mine, context, on_answer_crash);
    if (is(act, "line"))
        return ask_line(request, mine, context);
    if (is(act, "room"))
        return count_room(request, mine);
    return is(act, "sizes") ? try_sizes(request, mine) : WEIR_NEXT;
}

/* The client may be gone with its question: nobody must answer into its memory. */
static void log_phase(weir_request *request, void *self, void *context)
{
    peers *mine = self;
    question *asked = context;
    (void)request;
    weir_fetch_cancel(asked->fetch);
    for (size_t i = 0; i < mine->asked_count; i++)
        if (mine->asked[i] == asked)
            mine->asked[i] = NULL;
}

#ifndef CAPABILITIES
#define CAPABILITIES WEIR_CAP_NETWORK
#endif
WEIR_PLUGIN(PLUGIN_NAME, "1.0.0", CAPABILITIES, .priority = 1500, WEIR_SELF(peers),
            WEIR_CONTEXT(question), WEIR_FIELDS(fields), .configure = configure, .start = start,
            .stop = stop, .access = access_phase, .log = log_phase);
