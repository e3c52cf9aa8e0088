#include "outbound/fetch_request.h"

#include "http/headers.h"
#include "http/message.h"
#include "http/write.h"
#include "outbound/fetch.h"
#include "outbound/stream.h"

enum { HEAD_SIZE_MAX = 32 * 1024, HEAD_SPARE = 512 /* what we add ourselves */ };

static struct span span_of_str(weir_str str)
{
    return (struct span){str.data, str.size};
}

/* How the message is framed and the connection kept is decided here, in one place. */
static bool is_ours(enum http_header_id id)
{
    static const enum http_header_id ours[] = {
        HTTP_HEADER_CONNECTION, HTTP_HEADER_CONTENT_LENGTH, HTTP_HEADER_TRANSFER_ENCODING,
        HTTP_HEADER_TE,         HTTP_HEADER_TRAILER,        HTTP_HEADER_UPGRADE,
        HTTP_HEADER_EXPECT};
    for (size_t i = 0; i < COUNT_OF(ours); i++)
        if (id == ours[i])
            return true;
    return false;
}

/* Each one alone; *out_size is what all of them take. */
static bool check_headers(const weir_fetch_request *request, size_t *out_size)
{
    size_t hosts = 0;
    if (request->header_count > FETCH_HEADERS_MAX ||
        (request->header_count > 0 && request->headers == NULL))
        return false;
    for (size_t i = 0; i < request->header_count; i++) {
        struct span name = span_of_str(request->headers[i].key);
        struct span value = span_of_str(request->headers[i].value);
        if (name.size > HEAD_SIZE_MAX || value.size > HEAD_SIZE_MAX || !http_name_is_valid(name) ||
            !http_value_is_valid(value))
            return false;
        enum http_header_id id = http_header_id_of(name);
        if (is_ours(id) || (id == HTTP_HEADER_HOST && ++hosts > 1))
            return false;
        *out_size += name.size + value.size + 4;
    }
    return true;
}

static bool has_header(const weir_fetch_request *request, struct span name)
{
    for (size_t i = 0; i < request->header_count; i++)
        if (span_equal_nocase(span_of_str(request->headers[i].key), name))
            return true;
    return false;
}

static void write_target(struct http_writer *w, const weir_fetch_request *request,
                         const struct url *url)
{
    http_write_span(w, span_of_str(request->method));
    http_write_byte(w, ' ');
    http_write_span(w, url->path.size > 0 ? url->path : SPAN("/"));
    http_write_span(w, url->query);
    http_write_span(w, SPAN(" HTTP/1.1\r\n"));
}

static void write_head(struct http_writer *w, const weir_fetch_request *request,
                       const struct url *url)
{
    static const struct span with_bodies[] = {{"POST", 4}, {"PUT", 3}, {"PATCH", 5}};
    bool has_length = request->body.size > 0;
    for (size_t i = 0; i < COUNT_OF(with_bodies); i++)
        has_length = has_length || span_equal(span_of_str(request->method), with_bodies[i]);
    write_target(w, request, url);
    if (!has_header(request, SPAN("Host")))
        http_write_header(w, SPAN("Host"), url->authority);
    if (!has_header(request, SPAN("User-Agent")))
        http_write_header(w, SPAN("User-Agent"), SPAN("weir/" WEIR_VERSION));
    for (size_t i = 0; i < request->header_count; i++)
        http_write_header(w, span_of_str(request->headers[i].key),
                          span_of_str(request->headers[i].value));
    if (has_length)
        http_write_header_u64(w, SPAN("Content-Length"), request->body.size);
    http_write_header(w, SPAN("Connection"), SPAN("close"));
    http_write_end(w);
}

bool fetch_request_write(const weir_fetch_request *request, const struct url *url, struct buf *out)
{
    struct span method = span_of_str(request->method);
    size_t size = HEAD_SPARE + method.size + url->path.size + url->query.size + url->authority.size;
    if (method.size > 32 || !http_name_is_valid(method) ||
        http_method_of(method) == HTTP_METHOD_CONNECT || request->body.size > STREAM_QUEUE_MAX ||
        (request->body.size > 0 && request->body.data == NULL) || !check_headers(request, &size) ||
        size > HEAD_SIZE_MAX || size + request->body.size > STREAM_QUEUE_MAX)
        return false;
    char *room = buf_reserve(out, size);
    if (room == NULL)
        return false;
    struct http_writer w = http_writer_of(room, size);
    write_head(&w, request, url);
    CHECK_THAT(!w.overflow);
    out->size += http_written(&w, room).size;
    buf_append(out, request->body.data, request->body.size);
    return !out->failed;
}
