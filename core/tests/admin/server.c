#include "admin/server.h"

#include <criterion/criterion.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/text.h"
#include "net/loop.h"
#include "talk.h"

/* A body in pieces: so many more. */
static struct stream {
    unsigned left, made, over;
    bool breaks;
} stream;

static bool next_piece(void *user, struct buf *out)
{
    struct stream *of = user;
    of->made++;
    if (of->left == 0)
        return false;
    of->left--;
    if (of->left % 3 != 0) /* an empty piece must not end the chunks */
        buf_printf(out, "piece %u\n", of->left);
    out->failed = of->breaks && of->left == 2;
    return of->left > 0;
}

static void stream_over(void *user)
{
    struct stream *of = user;
    of->over++;
}

/* Answers "METHOD PATH BODYSIZE:BODY"; /filler/N adds N bytes, /broken has a body that failed,
 * /pieces/N comes in pieces. */
static void answer(const struct server_request *request, struct server_reply *reply, void *user)
{
    unsigned *calls = user;
    uint64_t filler = 0;
    (*calls)++;
    struct span path = request->head->path;
    if (span_starts_with(path, SPAN("/filler/")) && text_to_u64(span_from(path, 8), &filler))
        reply->filler = filler;
    reply->delay_ms = span_equal(path, SPAN("/slow")) ? 30 : 0;
    reply->status = span_equal(path, SPAN("/empty")) ? 204 : 200;
    buf_printf(&reply->body, "%.*s %.*s %zu:%.*s", SPAN_ARG(request->head->method), SPAN_ARG(path),
               (size_t)request->body_size, SPAN_ARG(request->body));
    reply->body.failed = span_equal(path, SPAN("/broken"));
    uint64_t pieces = 0;
    if (!span_starts_with(path, SPAN("/pieces/")) || !text_to_u64(span_from(path, 8), &pieces))
        return;
    stream = (struct stream){.left = (unsigned)pieces, .breaks = request->head->query.size > 0};
    buf_free(&reply->body);
    reply->next = next_piece;
    reply->over = stream_over;
    reply->stream = &stream;
}

struct fixture {
    struct loop *loop;
    struct server *server;
    int fd;
    unsigned calls;
};

static void set_up(struct fixture *f, uint32_t idle_ms)
{
    *f = (struct fixture){.loop = loop_create(), .fd = talk_listen()};
    cr_assert_not_null(f->loop);
    const struct server_options options = {.loop = f->loop,
                                           .answer = answer,
                                           .user = &f->calls,
                                           .name = SPAN("test"),
                                           .connections = 4,
                                           .body_kept = 8,
                                           .body_bytes = 100,
                                           .idle_ms = idle_ms,
                                           .stall_ms = 5000};
    f->server = server_create(&options);
    cr_assert_not_null(f->server);
    cr_assert_eq(server_listen(f->server, f->fd, NULL), WEIR_OK);
}

static void tear_down(struct fixture *f)
{
    server_destroy(f->server);
    loop_destroy(f->loop);
    (void)close(f->fd);
}

#define CLOSE "Host: a\r\nConnection: close\r\n"

static const struct row {
    const char *why, *bytes, *status, *ends;
    unsigned calls;
} rows[] = {
    {"a plain request", "GET /a?x=1 HTTP/1.1\r\n" CLOSE "\r\n", "HTTP/1.1 200 OK",
     "\r\nGET /a 0:", 1},
    {"HEAD has the length and no body", "HEAD /a HTTP/1.1\r\n" CLOSE "\r\n", "HTTP/1.1 200 OK",
     "\r\nConnection: close\r\n\r\n", 1},
    {"204 has no body", "GET /empty HTTP/1.1\r\n" CLOSE "\r\n", "HTTP/1.1 204 No Content",
     "\r\nConnection: close\r\n\r\n", 1},
    {"HTTP/1.0 closes unless asked", "GET /a HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK", "GET /a 0:", 1},
    {"a body of known length", "POST /a HTTP/1.1\r\n" CLOSE "Content-Length: 5\r\n\r\nhello",
     "HTTP/1.1 200 OK", "POST /a 5:hello", 1},
    {"a longer body than is kept: cut, counted whole",
     "POST /a HTTP/1.1\r\n" CLOSE "Content-Length: 10\r\n\r\n0123456789", "HTTP/1.1 200 OK",
     "POST /a 10:01234567", 1},
    {"a chunked body",
     "POST /a HTTP/1.1\r\n" CLOSE "Transfer-Encoding: chunked\r\n\r\n"
     "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: v\r\n\r\n",
     "HTTP/1.1 200 OK", "POST /a 5:abcde", 1},
    {"two requests on one connection, the second behind a body",
     "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhiGET /b HTTP/1.1\r\n" CLOSE "\r\n",
     "HTTP/1.1 200 OK", "GET /b 0:", 2},
    {"a request behind the last one is not read",
     "GET /a HTTP/1.1\r\n" CLOSE "\r\nGET /b HTTP/1.1\r\n" CLOSE "\r\n", "HTTP/1.1 200 OK",
     "GET /a 0:", 1},
    {"an answer that waits", "GET /slow HTTP/1.1\r\n" CLOSE "\r\n", "HTTP/1.1 200 OK",
     "GET /slow 0:", 1},
    {"100 Continue comes first",
     "POST /a HTTP/1.1\r\n" CLOSE "Expect: 100-continue\r\nContent-Length: 2\r\n\r\nhi",
     "HTTP/1.1 ", "POST /a 2:hi", 1},
    {"an answer without memory is a 500", "GET /broken HTTP/1.1\r\n" CLOSE "\r\n",
     "HTTP/1.1 500 Internal Server Error", "{\"message\":\"An unexpected error occurred\"}", 1},
    {"a declared body above the bound: refused before it is sent",
     "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 101\r\n\r\n", "HTTP/1.1 413 ",
     "{\"message\":\"Payload too large\"}", 0},
    {"a chunked body above the bound",
     "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
     "\r\n65\r\n01234567890123456789012345678901234567890123456789012345678901234567890123456789"
     "012345678901234567890\r\n0\r\n\r\n",
     "HTTP/1.1 413 ", "{\"message\":\"Payload too large\"}", 0},
    {"both lengths: refused, this is how smuggling starts",
     "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
     "HTTP/1.1 400 Bad Request", "{\"message\":\"Bad request\"}", 0},
    {"a chunk size that is none",
     "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
     "HTTP/1.1 400 Bad Request", "{\"message\":\"Bad request\"}", 0},
    {"no HTTP at all", "\x16\x03\x01 hello there\r\n\r\n", "HTTP/1.1 400 Bad Request",
     "{\"message\":\"Bad request\"}", 0},
};

Test(server, answers_whatever_the_pieces)
{
    static const size_t pieces[] = {1, 7, 65536};
    for (size_t k = 0; k < COUNT_OF(pieces); k++) {
        for (size_t i = 0; i < COUNT_OF(rows); i++) {
            struct fixture f;
            set_up(&f, 5000);
            char *got = talk(f.loop, f.fd, span_text(rows[i].bytes), pieces[k]);
            cr_assert_not_null(got, "%s: the connection stays open", rows[i].why);
            cr_expect(span_starts_with(span_text(got), span_text(rows[i].status)), "%s: %s",
                      rows[i].why, got);
            cr_expect(span_ends_with(span_text(got), span_text(rows[i].ends)), "%s: %s",
                      rows[i].why, got);
            cr_expect_eq(f.calls, rows[i].calls, "%s: %u calls", rows[i].why, f.calls);
            free(got);
            tear_down(&f);
        }
    }
}

Test(server, continue_is_sent_only_to_those_who_wait)
{
    struct fixture f;
    set_up(&f, 5000);
    /* A byte a turn: the head is complete before the body comes. */
    struct span bytes =
        SPAN("POST /a HTTP/1.1\r\n" CLOSE "Expect: 100-continue\r\nContent-Length: 2\r\n\r\nhi");
    char *slow = talk(f.loop, f.fd, bytes, 1);
    char *fast = talk(f.loop, f.fd, bytes, bytes.size);
    cr_assert(slow != NULL && fast != NULL);
    cr_expect(span_starts_with(span_text(slow), SPAN("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200")),
              "%s", slow);
    cr_expect(span_starts_with(span_text(fast), SPAN("HTTP/1.1 200")), "%s", fast);
    free(slow);
    free(fast);
    tear_down(&f);
}

Test(server, a_long_answer_comes_whole_to_a_slow_reader)
{
    struct fixture f;
    set_up(&f, 5000);
    char *got = talk(f.loop, f.fd, SPAN("GET /filler/20000000 HTTP/1.1\r\n" CLOSE "\r\n"), 100);
    cr_assert_not_null(got);
    struct span body = span_from(span_text(got), span_search(span_text(got), SPAN("\r\n\r\n")) + 4);
    cr_expect_eq(body.size, 20000000U + sizeof("GET /filler/20000000 0:") - 1);
    free(got);
    tear_down(&f);
}

Test(server, many_pipelined_requests_are_answered_in_order)
{
    struct fixture f;
    set_up(&f, 5000);
    AUTO_BUF bytes = BUF_INIT;
    for (int i = 0; i < 2000; i++)
        buf_printf(&bytes, "GET /%04d HTTP/1.1\r\nHost: a\r\n\r\n", i);
    buf_text(&bytes, "GET /last HTTP/1.1\r\n" CLOSE "\r\n");
    char *got = talk(f.loop, f.fd, buf_view(&bytes), 60000);
    cr_assert_not_null(got);
    struct span rest = span_text(got);
    for (int i = 0; i < 2000; i++) {
        char want[32];
        (void)snprintf(want, sizeof(want), "GET /%04d 0:HTTP", i);
        size_t at = span_search(rest, span_text(want));
        cr_assert_lt(at, 300U, "request %d has no answer where it belongs", i);
        rest = span_from(rest, at + strlen(want));
    }
    cr_expect_eq(f.calls, 2001U);
    free(got);
    tear_down(&f);
}

Test(server, deadlines_end_what_stands_still)
{
    struct fixture f;
    set_up(&f, 30);
    char *silent = talk(f.loop, f.fd, SPAN_NONE, 1);
    cr_expect_str_eq(silent, "", "who says nothing is told nothing");
    char *half = talk(f.loop, f.fd, SPAN("GET / HT"), 100);
    cr_assert_not_null(half);
    cr_expect(span_starts_with(span_text(half), SPAN("HTTP/1.1 408 ")), "%s", half);
    cr_expect_eq(f.calls, 0U);
    free(silent);
    free(half);
    tear_down(&f);
}

Test(server, a_head_above_the_bound_is_refused)
{
    struct fixture f;
    set_up(&f, 5000);
    AUTO_BUF bytes = BUF_INIT;
    buf_text(&bytes, "GET / HTTP/1.1\r\nHost: a\r\nX-Long: ");
    for (int i = 0; i < SERVER_HEAD_BYTES; i++)
        buf_byte(&bytes, 'x');
    char *got = talk(f.loop, f.fd, buf_view(&bytes), 4096);
    cr_assert_not_null(got);
    cr_expect(span_starts_with(span_text(got), SPAN("HTTP/1.1 400 ")), "%s", got);
    cr_expect_eq(f.calls, 0U);
    free(got);
    tear_down(&f);
}

static const struct stream_row {
    const char *why, *bytes, *head, *ends;
    unsigned made;
} stream_rows[] = {
    {"chunks, one for each piece that is not empty", "GET /pieces/4 HTTP/1.1\r\n" CLOSE "\r\n",
     "Transfer-Encoding: chunked\r\n",
     "\r\n\r\n00000008\r\npiece 2\n\r\n00000008\r\npiece 1\n\r\n0\r\n\r\n", 4},
    {"many", "GET /pieces/100 HTTP/1.1\r\n" CLOSE "\r\n", "Transfer-Encoding: chunked\r\n",
     "00000008\r\npiece 1\n\r\n0\r\n\r\n", 100},
    {"none at all", "GET /pieces/0 HTTP/1.1\r\n" CLOSE "\r\n", "Transfer-Encoding: chunked\r\n",
     "\r\n\r\n0\r\n\r\n", 1},
    {"HTTP/1.0 knows no chunks: the connection ends the body",
     "GET /pieces/3 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "Connection: close\r\n",
     "\r\n\r\npiece 2\npiece 1\n", 3},
    {"HEAD asks for none of it", "HEAD /pieces/3 HTTP/1.1\r\n" CLOSE "\r\n",
     "Transfer-Encoding: chunked\r\n", "Connection: close\r\n\r\n", 0},
    {"the next request of the connection follows",
     "GET /pieces/2 HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\n" CLOSE "\r\n",
     "Transfer-Encoding: chunked\r\n", "\r\nGET /b 0:", 2},
    {"what cannot be made whole has no end", "GET /pieces/6?break HTTP/1.1\r\n" CLOSE "\r\n",
     "Transfer-Encoding: chunked\r\n", "00000008\r\npiece 4\n\r\n", 4},
};

Test(server, a_body_in_pieces_comes_turn_by_turn)
{
    static const size_t sizes[] = {1, 65536};
    for (size_t i = 0; i < 2 * COUNT_OF(stream_rows); i++) {
        const struct stream_row *row = &stream_rows[i / 2];
        struct fixture f;
        set_up(&f, 5000);
        stream = (struct stream){0};
        char *got = talk(f.loop, f.fd, span_text(row->bytes), sizes[i % 2]);
        cr_assert_not_null(got, "%s: the connection stays open", row->why);
        cr_expect_not_null(strstr(got, row->head), "%s: %s", row->why, got);
        cr_expect(span_ends_with(span_text(got), span_text(row->ends)), "%s: %s", row->why, got);
        cr_expect_eq(stream.made, row->made, "%s: asked %u times", row->why, stream.made);
        cr_expect_eq(stream.over, 1, "%s: over %u times", row->why, stream.over);
        free(got);
        tear_down(&f);
    }
}

Test(server, a_client_that_leaves_ends_its_pieces)
{
    struct fixture f;
    set_up(&f, 5000);
    struct span bytes = SPAN("GET /pieces/100000 HTTP/1.1\r\n" CLOSE "\r\n");
    struct sockaddr_in address;
    socklen_t size = sizeof(address);
    int client = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(getsockname(f.fd, (struct sockaddr *)&address, &size), 0);
    cr_assert_eq(connect(client, (struct sockaddr *)&address, size), 0);
    cr_assert_eq(write(client, bytes.data, bytes.size), (ssize_t)bytes.size);
    for (int i = 0; i < 1000 && stream.made < 3; i++)
        loop_poll(f.loop);
    cr_assert_geq(stream.made, 3);
    (void)close(client);
    for (int i = 0; i < 1000000 && stream.over == 0; i++)
        loop_poll(f.loop);
    cr_expect_eq(stream.over, 1);
    cr_expect_gt(stream.left, 0, "it left in the middle");
    tear_down(&f);
}

Test(server, stopping_ends_what_is_under_way)
{
    struct fixture f;
    set_up(&f, 5000);
    struct span bytes = SPAN("GET /pieces/100000 HTTP/1.1\r\n" CLOSE "\r\n");
    struct sockaddr_in address;
    socklen_t size = sizeof(address);
    int client = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(getsockname(f.fd, (struct sockaddr *)&address, &size), 0);
    cr_assert_eq(connect(client, (struct sockaddr *)&address, size), 0);
    cr_assert_eq(write(client, bytes.data, bytes.size), (ssize_t)bytes.size);
    for (int i = 0; i < 1000 && stream.made < 3; i++)
        loop_poll(f.loop);
    tear_down(&f);
    cr_expect_eq(stream.over, 1);
    (void)close(client);
}
