/* A fetch over one stream: the request is written whole when the stream opens, the answer is read
 * into two buffers: its head, which the fields point into, and its body. finish() is the one place
 * that tells the policy. */
#include "outbound/fetch.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/list.h"
#include "http/chunked.h"
#include "http/framing.h"
#include "net/deadline.h"
#include "outbound/fetch_request.h"
#include "outbound/internal.h"
#include "outbound/stream.h"

enum { INFORMATIONAL_MAX = 8 /* 1xx answers before the real one */ };

struct fetch {
    struct list link;
    struct outbound *outbound;
    struct stream *stream; /* ours until it ends or we do */
    struct deadline deadline;
    void (*done)(void *user, const weir_fetch_answer *answer);
    void *user;
    struct buf request; /* until it is written */
    uint32_t deadline_ms, body_limit;
    bool is_head_request;
    bool opened;

    struct buf head, body;
    size_t head_seen;
    unsigned informational;
    bool has_head;
    struct http_response_head answer; /* points into `head` */
    struct http_header items[FETCH_FIELDS_MAX];
    struct http_framing framing;
    struct http_chunked chunked;
    uint64_t left; /* of a body with a length */
};

/* ---- the end */

static void destroy(struct fetch *fetch)
{
    list_remove(&fetch->link);
    deadline_clear(&fetch->deadline);
    stream_close(TAKE(fetch->stream));
    buf_free(&fetch->request);
    buf_free(&fetch->head);
    buf_free(&fetch->body);
    free(fetch);
}

static void finish(struct fetch *fetch, const weir_fetch_answer *answer)
{
    deadline_clear(&fetch->deadline);
    stream_close(TAKE(fetch->stream));
    fetch->done(fetch->user, answer);
    destroy(fetch);
}

static void fail(struct fetch *fetch, const char *format, ...) WEIR_PRINTF(2, 3);
static void fail(struct fetch *fetch, const char *format, ...)
{
    char why[512];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(why, sizeof(why), format, args);
    va_end(args);
    finish(fetch,
           &(weir_fetch_answer){.size = sizeof(weir_fetch_answer), .why = {why, strlen(why)}});
}

static void succeed(struct fetch *fetch)
{
    weir_pair headers[FETCH_FIELDS_MAX];
    const struct http_headers *fields = &fetch->answer.headers;
    for (size_t i = 0; i < fields->count; i++) {
        headers[i].key = (weir_str){fields->items[i].name.data, fields->items[i].name.size};
        headers[i].value = (weir_str){fields->items[i].value.data, fields->items[i].value.size};
    }
    finish(fetch, &(weir_fetch_answer){
                      .size = sizeof(weir_fetch_answer),
                      .status = fetch->answer.status,
                      .headers = headers,
                      .header_count = fields->count,
                      .body = {fetch->body.size > 0 ? fetch->body.data : "", fetch->body.size}});
}

static void on_late(struct deadline *deadline)
{
    struct fetch *fetch = LIST_ENTRY(deadline, struct fetch, deadline);
    fail(fetch, "no whole answer within %u ms", (unsigned)fetch->deadline_ms);
}

/* ---- the body: these return whether the fetch goes on */

static bool keep(struct fetch *fetch, struct span bytes)
{
    if (bytes.size > fetch->body_limit - fetch->body.size) {
        fail(fetch, "the body of the answer is longer than %u bytes", (unsigned)fetch->body_limit);
        return false;
    }
    buf_span(&fetch->body, bytes);
    if (fetch->body.failed) {
        fail(fetch, "no memory for the body of the answer");
        return false;
    }
    return true;
}

static bool take_length(struct fetch *fetch, struct span bytes)
{
    bytes = span_first(bytes, fetch->left < bytes.size ? (size_t)fetch->left : bytes.size);
    if (!keep(fetch, bytes))
        return false;
    fetch->left -= bytes.size;
    if (fetch->left > 0)
        return true;
    succeed(fetch);
    return false;
}

static bool take_chunks(struct fetch *fetch, struct span bytes)
{
    enum http_result result;
    struct span piece;
    while ((result = http_chunked_next(&fetch->chunked, &bytes, &piece)) == HTTP_INCOMPLETE) {
        if (!keep(fetch, piece))
            return false;
        if (bytes.size == 0)
            return true;
    }
    if (result == HTTP_REFUSED)
        fail(fetch, "the answer is no HTTP: %s", fetch->chunked.reason);
    else if (keep(fetch, piece))
        succeed(fetch);
    return false;
}

static bool take_body(struct fetch *fetch, struct span bytes)
{
    switch (fetch->framing.kind) {
    case HTTP_BODY_LENGTH:
        return take_length(fetch, bytes);
    case HTTP_BODY_CHUNKED:
        return take_chunks(fetch, bytes);
    case HTTP_BODY_UNTIL_CLOSE:
        return keep(fetch, bytes);
    case HTTP_BODY_NONE:
        break;
    }
    succeed(fetch);
    return false;
}

/* ---- the head */

static bool begin_body(struct fetch *fetch, size_t head_size)
{
    const char *reason = "";
    fetch->has_head = true;
    if (http_frame_response(&fetch->answer, fetch->is_head_request, false, &fetch->framing,
                            &reason) != WEIR_OK) {
        fail(fetch, "the answer is no HTTP: %s", reason);
        return false;
    }
    if (fetch->framing.kind == HTTP_BODY_LENGTH && fetch->framing.length > fetch->body_limit) {
        fail(fetch, "the body of the answer is longer than %u bytes", (unsigned)fetch->body_limit);
        return false;
    }
    fetch->left = fetch->framing.length;
    http_chunked_init(&fetch->chunked);
    return take_body(fetch, span_from(buf_view(&fetch->head), head_size));
}

/* A 1xx answer announces the real one. We asked for no other protocol, so 101 is none of ours. */
static bool skip_informational(struct fetch *fetch, size_t head_size)
{
    if (fetch->answer.status == 101 || ++fetch->informational > INFORMATIONAL_MAX) {
        fail(fetch, "the answer never came, only 1xx ones");
        return false;
    }
    fetch->head.size -= head_size;
    memmove(fetch->head.data, fetch->head.data + head_size, fetch->head.size);
    fetch->head_seen = 0;
    return true;
}

static void take_head(struct fetch *fetch)
{
    static const struct http_limits limits = {32 * 1024, 8192, FETCH_FIELDS_MAX};
    for (;;) {
        size_t head_size = 0;
        enum weir_err error = WEIR_OK;
        const char *reason = "";
        enum http_result result =
            http_parse_response(fetch->head.data, fetch->head.size, fetch->head_seen, &limits,
                                &fetch->answer, &head_size, &error, &reason);
        if (result == HTTP_REFUSED) {
            fail(fetch, "the answer is no HTTP: %s", reason);
            return;
        }
        if (result == HTTP_INCOMPLETE) {
            fetch->head_seen = fetch->head.size;
            return;
        }
        if (fetch->answer.status >= 200) {
            (void)begin_body(fetch, head_size);
            return;
        }
        if (!skip_informational(fetch, head_size) || fetch->head.size == 0)
            return;
    }
}

/* ---- the stream */

static void on_opened(void *user)
{
    struct fetch *fetch = user;
    fetch->opened = true;
    weir_status status =
        stream_write(fetch->stream, (weir_str){fetch->request.data, fetch->request.size});
    buf_free(&fetch->request);
    if (status != WEIR_SUCCESS)
        fail(fetch, "no memory for the request");
}

static void on_data(void *user, weir_str bytes)
{
    struct fetch *fetch = user;
    if (fetch->has_head) {
        (void)take_body(fetch, (struct span){bytes.data, bytes.size});
        return;
    }
    buf_append(&fetch->head, bytes.data, bytes.size);
    if (fetch->head.failed)
        fail(fetch, "no memory for the answer");
    else
        take_head(fetch);
}

static void on_closed(void *user, weir_str why)
{
    struct fetch *fetch = user;
    bool in_order = stream_ended(TAKE(fetch->stream));
    if (in_order && fetch->has_head && fetch->framing.kind == HTTP_BODY_UNTIL_CLOSE)
        succeed(fetch);
    else
        fail(fetch, "%.*s%s", (int)why.size, why.data,
             fetch->opened && in_order ? " before the answer was whole" : "");
}

/* ---- start */

static struct stream *connect_to(struct fetch *fetch, const struct url *url,
                                 const weir_fetch_request *request)
{
    static const struct stream_events events = {on_opened, on_data, on_closed};
    weir_peer peer = {.size = sizeof(peer),
                      .flags = request->flags | (url->tls ? WEIR_PEER_TLS : 0),
                      .host = {url->host.data, url->host.size},
                      .port = url->port,
                      .deadline_ms = request->deadline_ms};
    return stream_open(fetch->outbound, &peer, &events, fetch);
}

struct fetch *fetch_start(struct outbound *outbound, const weir_fetch_request *request,
                          void (*done)(void *user, const weir_fetch_answer *answer), void *user)
{
    struct url url;
    if ((request->flags & ~WEIR_PEER_NO_VERIFY) != 0 || request->deadline_ms == 0 ||
        !url_parse((struct span){request->url.data, request->url.size}, &url))
        return NULL;
    struct fetch *fetch = calloc(1, sizeof(*fetch));
    if (fetch == NULL)
        return NULL;
    fetch->outbound = outbound;
    fetch->done = done;
    fetch->user = user;
    fetch->deadline_ms = request->deadline_ms;
    fetch->body_limit = request->body_limit;
    fetch->is_head_request =
        http_method_of((struct span){request->method.data, request->method.size}) ==
        HTTP_METHOD_HEAD;
    http_headers_init(&fetch->answer.headers, fetch->items, FETCH_FIELDS_MAX);
    deadline_init(&fetch->deadline, on_late);
    list_push_back(&outbound->fetches, &fetch->link);
    if (fetch_request_write(request, &url, &fetch->request))
        fetch->stream = connect_to(fetch, &url, request);
    if (fetch->stream == NULL) {
        destroy(fetch);
        return NULL;
    }
    deadline_set(outbound->loop, &fetch->deadline, request->deadline_ms);
    return fetch;
}

void fetch_cancel(struct fetch *fetch)
{
    if (fetch != NULL)
        destroy(fetch);
}

void fetches_cancel(struct outbound *outbound)
{
    while (!list_is_empty(&outbound->fetches))
        fetch_cancel(LIST_ENTRY(outbound->fetches.next, struct fetch, link));
}
