#include "policies.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WAIT_MS = 50, PATIENCE_MS = 5000, TOKENS = 1024 };

const weir_host *weir_host_table;
struct records records;

static weir_token tokens[TOKENS];
static unsigned next_token;

void records_begin(const struct world *world)
{
    weir_host_table = world->table;
    memset(&records, 0, sizeof(records));
    records.first = world->slot->accepted + 1;
}

struct span mark_of(char out[MARK_MAX], unsigned client, unsigned number)
{
    return span_of(out, (size_t)snprintf(out, MARK_MAX, "%u-%u", client, number));
}

static bool asks_for(const weir_request *request, const char *word)
{
    struct span path = request->path;
    return path.size > 0 && memmem(path.data, path.size, word, strlen(word)) != NULL;
}

static weir_header_id name_of(const char *name)
{
    return weir_header_intern((weir_str){name, strlen(name)});
}

static struct span own_mark(const weir_request *request, char out[MARK_MAX])
{
    return mark_of(out, (unsigned)(request->connection_number - records.first),
                   request->connection_requests - 1);
}

/* ---- waiting */

static void wake(void *self, void *user)
{
    (void)self;
    (void)weir_wake(*(weir_token *)user); /* it may be gone */
}

static weir_verdict wait_with(weir_request *request, void *self, weir_wake_hook *hook)
{
    weir_token *token = &tokens[next_token++ % TOKENS];
    *token = weir_park(request, PATIENCE_MS, hook);
    if (*token == 0 || weir_timer_start(self, WAIT_MS, 0, wake, token) == NULL)
        return WEIR_FAIL;
    return WEIR_WAIT;
}

static weir_verdict go_on(weir_request *request, void *self, void *context, uint32_t why)
{
    (void)request, (void)self, (void)context, (void)why;
    return WEIR_NEXT;
}

/* ---- access */

static weir_verdict body_is_here(weir_request *request, void *self, void *context, uint32_t why)
{
    (void)self, (void)context;
    if (why != WEIR_WOKEN)
        return WEIR_NEXT;
    weir_str body = weir_body_get(request, WEIR_SIDE_REQUEST);
    (void)weir_header_set_number(request, WEIR_SIDE_REQUEST, name_of("x-size"), (int64_t)body.size);
    if (asks_for(request, "swap"))
        (void)weir_body_replace(request, WEIR_SIDE_REQUEST, WEIR_LIT("another body"));
    return WEIR_NEXT;
}

static void edit(weir_request *request)
{
    (void)weir_header_remove(request, WEIR_SIDE_REQUEST, name_of("x-secret"));
    (void)weir_header_set(request, WEIR_SIDE_REQUEST, name_of("x-set"), WEIR_LIT("by us"));
    (void)weir_header_add(request, WEIR_SIDE_REQUEST, name_of("cookie"), WEIR_LIT("a=b"));
    (void)weir_query_set(request, WEIR_LIT("q"), WEIR_LIT("a b&c#\r\n"));
    /* What a client sent goes on in another place. */
    weir_str sent = weir_header_get(request, WEIR_SIDE_REQUEST, name_of("x-copy"), 0);
    if (sent.data != NULL) {
        (void)weir_header_add(request, WEIR_SIDE_REQUEST, name_of("x-copied"), sent);
        (void)weir_path_set(request, sent);
        (void)weir_host_set(request, sent);
        (void)weir_method_set(request, sent);
    }
}

static weir_verdict access_hook(weir_request *request, void *self, void *context)
{
    (void)context;
    char mark[MARK_MAX];
    struct span own = own_mark(request, mark);
    (void)weir_header_set(request, WEIR_SIDE_REQUEST, name_of(MARK_REQUEST),
                          (weir_str){own.data, own.size});
    if (asks_for(request, "fail"))
        return WEIR_FAIL;
    if (asks_for(request, "deny")) {
        (void)weir_respond_error(request, 401, WEIR_LIT("who are you"));
        return WEIR_DONE;
    }
    if (asks_for(request, "reply")) {
        (void)weir_respond(request, 200, WEIR_LIT("text/plain"), WEIR_LIT("a policy's own"));
        return WEIR_DONE;
    }
    if (asks_for(request, "edit"))
        edit(request);
    if (asks_for(request, "size") || asks_for(request, "swap"))
        return weir_body_read(request, PATIENCE_MS, body_is_here) == WEIR_SUCCESS ? WEIR_WAIT
                                                                                  : WEIR_FAIL;
    return asks_for(request, "wait") ? wait_with(request, self, go_on) : WEIR_NEXT;
}

/* ---- answers */

/* The request's own bytes are still at the front of the buffer: they tell what it was, whatever the
 * parser made of them. */
static void note(const weir_request *request, bool from_target)
{
    const struct exchange *x = (const struct exchange *)(const void *)request;
    uint64_t client = request->connection_number - records.first;
    uint32_t number = request->connection_requests - 1;
    if (client >= RECORD_CLIENTS || number >= RECORD_REQUESTS)
        return;
    struct span head = span_of(x->in, x->head_size > 0 ? x->head_size : x->in_size);
    if (span_starts_with(head, SPAN("\r\n")))
        head = span_from(head, 2);
    struct span line = span_first(head, span_find(head, '\r'));
    records.of[client][number] = (struct record){
        .answered = true,
        .to_head = span_starts_with(head, SPAN("HEAD ")),
        .old = span_ends_with(line, SPAN(" HTTP/1.0")),
        .from_target = from_target,
        .status = request->response.status,
    };
    if (records.count[client] <= number)
        records.count[client] = number + 1;
}

static weir_verdict response_hook(weir_request *request, void *self, void *context)
{
    (void)context;
    char mark[MARK_MAX];
    struct span own = own_mark(request, mark);
    note(request, request->from_target && !asks_for(request, "instead"));
    (void)weir_header_set(request, WEIR_SIDE_RESPONSE, name_of(MARK_ANSWER),
                          (weir_str){own.data, own.size});
    if (asks_for(request, "change"))
        (void)weir_status_set(request, 299);
    if (asks_for(request, "instead")) {
        (void)weir_respond(request, 503, WEIR_LIT("text/plain"), WEIR_LIT("instead"));
        return WEIR_DONE;
    }
    return asks_for(request, "late") ? wait_with(request, self, go_on) : WEIR_NEXT;
}

static const weir_plugin watch = {.size = sizeof(watch),
                                  .name = "watch",
                                  .version = "1",
                                  .capabilities = WEIR_CAP_BODY,
                                  .access = access_hook,
                                  .response_headers = response_hook};

/* ---- bodies */

static weir_verdict pass_on(weir_request *request, uint32_t side, weir_str chunk)
{
    size_t half = chunk.size / 2;
    if (half > 0 && weir_body_emit(request, side, (weir_str){chunk.data, half}) != WEIR_SUCCESS)
        return WEIR_FAIL;
    weir_str rest = {chunk.data + half, chunk.size - half};
    return rest.size == 0 || weir_body_emit(request, side, rest) == WEIR_SUCCESS ? WEIR_NEXT
                                                                                 : WEIR_FAIL;
}

static weir_verdict pass_chunk(weir_request *request, void *self, uint32_t side, weir_str chunk)
{
    weir_verdict verdict = pass_on(request, side, chunk);
    return verdict == WEIR_NEXT && asks_for(request, "park") ? wait_with(request, self, go_on)
                                                             : verdict;
}

static weir_verdict stream_up(weir_request *request, void *self, void *context, weir_str chunk,
                              bool last)
{
    (void)context, (void)last;
    return pass_chunk(request, self, WEIR_SIDE_REQUEST, chunk);
}

static weir_verdict stream_down(weir_request *request, void *self, void *context, weir_str chunk,
                                bool last)
{
    (void)context, (void)last;
    return pass_chunk(request, self, WEIR_SIDE_RESPONSE, chunk);
}

static weir_verdict choose_stream(weir_request *request, void *self, void *context)
{
    (void)self, (void)context;
    if (!asks_for(request, "up"))
        (void)weir_body_skip(request, WEIR_SIDE_REQUEST);
    return WEIR_NEXT;
}

static weir_verdict choose_stream_down(weir_request *request, void *self, void *context)
{
    (void)self, (void)context;
    if (!asks_for(request, "down"))
        (void)weir_body_skip(request, WEIR_SIDE_RESPONSE);
    return WEIR_NEXT;
}

static const weir_plugin stream = {.size = sizeof(stream),
                                   .name = "stream",
                                   .version = "1",
                                   .capabilities = WEIR_CAP_BODY,
                                   .request_body_need = WEIR_BODY_STREAM,
                                   .response_body_need = WEIR_BODY_STREAM,
                                   .access = choose_stream,
                                   .request_body = stream_up,
                                   .response_headers = choose_stream_down,
                                   .response_body = stream_down};

static weir_verdict look(weir_request *request, void *self, void *context, weir_str chunk,
                         bool last)
{
    (void)request, (void)self, (void)context, (void)chunk, (void)last;
    return WEIR_NEXT;
}

static weir_verdict choose_tee(weir_request *request, void *self, void *context)
{
    (void)self, (void)context;
    if (!asks_for(request, "tee"))
        (void)weir_body_skip(request, WEIR_SIDE_REQUEST);
    return WEIR_NEXT;
}

static weir_verdict choose_whole(weir_request *request, void *self, void *context)
{
    (void)self, (void)context;
    if (!asks_for(request, "whole"))
        (void)weir_body_skip(request, WEIR_SIDE_RESPONSE);
    return WEIR_NEXT;
}

static const weir_plugin whole = {.size = sizeof(whole),
                                  .name = "whole",
                                  .version = "1",
                                  .capabilities = WEIR_CAP_BODY,
                                  .request_body_need = WEIR_BODY_TEE,
                                  .response_body_need = WEIR_BODY_BUFFER,
                                  .access = choose_tee,
                                  .request_body = look,
                                  .response_headers = choose_whole,
                                  .response_body = look};

const weir_plugin *const policies[POLICIES] = {&watch, &stream, &whole};
