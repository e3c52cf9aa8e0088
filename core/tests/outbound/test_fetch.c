/* Fetches: what is sent, what comes of every kind of answer, and what is refused before a byte is
 * sent. */
#include <stdio.h>
#include <unistd.h>

#include "support.h"

TestSuite(outbound_fetch, .timeout = 60);

/* The answer as a policy saw it. */
struct seen {
    struct fetch *fetch;
    unsigned done;
    uint32_t status;
    char why[512], body[4096], headers[1024];
    size_t body_size;
};

static void on_done(void *user, const weir_fetch_answer *answer)
{
    struct seen *seen = user;
    seen->done++;
    seen->fetch = NULL;
    seen->status = answer->status;
    cr_expect_eq(answer->size, sizeof(*answer));
    cr_assert(answer->why.size < sizeof(seen->why) && answer->body.size < sizeof(seen->body));
    if (answer->why.size > 0)
        memcpy(seen->why, answer->why.data, answer->why.size);
    if (answer->body.size > 0)
        memcpy(seen->body, answer->body.data, answer->body.size);
    seen->body_size = answer->body.size;
    for (size_t i = 0; i < answer->header_count; i++) {
        size_t at = strlen(seen->headers);
        const weir_pair *pair = &answer->headers[i];
        (void)snprintf(seen->headers + at, sizeof(seen->headers) - at, "%.*s=%.*s;",
                       (int)pair->key.size, pair->key.data, (int)pair->value.size,
                       pair->value.data);
    }
}

static weir_str str(const char *text)
{
    return (weir_str){text, strlen(text)};
}

/* "http://127.0.0.1:PORT/x?y" */
static const char *url_of(const struct world *world, const char *scheme, const char *host,
                          const char *rest)
{
    static char url[256];
    (void)snprintf(url, sizeof(url), "%s://%s:%u%s", scheme, host,
                   (unsigned)world->server.address.port, rest);
    return url;
}

static weir_fetch_request request_of(const char *method, const char *url)
{
    return (weir_fetch_request){.size = sizeof(weir_fetch_request),
                                .method = str(method),
                                .url = str(url),
                                .deadline_ms = 5000,
                                .body_limit = 1000};
}

static void fetch_it(struct world *world, struct seen *seen, const weir_fetch_request *request)
{
    clock_update(); /* deadlines count from the turn, and the last one may be long ago */
    seen->fetch = fetch_start(world->outbound, request, on_done, seen);
    cr_assert_not_null(seen->fetch);
    cr_expect_eq(seen->done, 0, "never from inside the call");
    TURN_UNTIL(world->loop, seen->done > 0);
}

Test(outbound_fetch, answers)
{
    static const struct {
        const char *reason, *method, *answer;
        uint32_t status;
        const char *body, *why;
    } rows[] = {
        {"a body with a length", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200,
         "hello", ""},
        {"bytes behind it are none of it", "GET",
         "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 500 No\r\n\r\n", 200, "hello",
         ""},
        {"chunks", "GET",
         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n"
         "T: v\r\n\r\n",
         200, "hello", ""},
        {"until the end", "GET", "HTTP/1.1 200 OK\r\n\r\nhello", 200, "hello", ""},
        {"until the end, nothing", "GET", "HTTP/1.1 404 Not Found\r\n\r\n", 404, "", ""},
        {"a server of old", "GET", "HTTP/1.0 200 OK\r\n\r\nhello", 200, "hello", ""},
        {"length 0", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, "", ""},
        {"no content", "GET", "HTTP/1.1 204 No Content\r\n\r\n", 204, "", ""},
        {"HEAD has no body, whatever the length says", "HEAD",
         "HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n", 200, "", ""},
        {"1xx answers go before", "GET",
         "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
         "HTTP/1.1 201 Made\r\nContent-Length: 2\r\n\r\nok",
         201, "ok", ""},
        {"a redirect is an answer", "GET",
         "HTTP/1.1 302 Found\r\nLocation: http://other/\r\nContent-Length: 0\r\n\r\n", 302, "", ""},
        {"a body of just the limit", "GET", NULL /* below */, 200, NULL, ""},

        {"the end came too early", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", 0,
         "", "before the answer was whole"},
        {"the end came within the head", "GET", "HTTP/1.1 200 OK\r\nConte", 0, "",
         "before the answer was whole"},
        {"the end came before the last chunk", "GET",
         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", 0, "",
         "before the answer was whole"},
        {"longer than the limit says its length", "GET",
         "HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n", 0, "", "longer than 1000 bytes"},
        {"a chunk that says it is 4 GB breaks the limit when its bytes come", "GET",
         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\nab", 0, "",
         "before the answer was whole"},
        {"no HTTP at all", "GET", "-ERR wrong number of arguments\r\n", 0, "", "no HTTP"},
        {"two lengths", "GET",
         "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", 0, "",
         "no HTTP"},
        {"a bad chunk", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 0, "",
         "no HTTP"},
        {"a line end inside a header", "GET", "HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n", 0, "",
         "no HTTP"},
        {"another protocol, unasked", "GET",
         "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", 0, "", "only 1xx"},
    };
    static char just[1200];
    (void)snprintf(just, sizeof(just), "HTTP/1.1 200 OK\r\n\r\n%01000d", 7);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        /* All at once, and a byte at a time: framing must not depend on packets. */
        for (size_t piece = 0; piece < 2; piece++) {
            struct world world;
            struct seen seen = {0};
            world_open(&world);
            world.server.answer = rows[i].answer != NULL ? rows[i].answer : just;
            world.server.piece = piece;
            server_start(&world);
            weir_fetch_request request =
                request_of(rows[i].method, url_of(&world, "http", "127.0.0.1", "/"));
            fetch_it(&world, &seen, &request);
            cr_expect_eq(seen.status, rows[i].status, "%s: %u %s", rows[i].reason, seen.status,
                         seen.why);
            cr_expect_str_eq(seen.body, rows[i].body != NULL ? rows[i].body : strstr(just, "000"),
                             "%s", rows[i].reason);
            cr_expect_not_null(strstr(seen.why, rows[i].why), "%s: %s", rows[i].reason, seen.why);
            cr_expect_eq(seen.why[0] == '\0', seen.status != 0, "%s", rows[i].reason);
            world_close(&world);
        }
    }
}

Test(outbound_fetch, bodies_over_the_limit_end_at_once)
{
    static const char *const heads[] = {
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n"};
    static char answer[400000];
    memset(answer, 'x', sizeof(answer));
    for (size_t i = 0; i < COUNT_OF(heads); i++) {
        struct world world;
        struct seen seen = {0};
        world_open(&world);
        memcpy(answer, heads[i], strlen(heads[i]));
        world.server.answer = answer;
        world.server.answer_size = sizeof(answer);
        world.server.stays_open = true; /* it is not the end that ends it */
        server_start(&world);
        weir_fetch_request request = request_of("GET", url_of(&world, "http", "127.0.0.1", "/"));
        fetch_it(&world, &seen, &request);
        cr_expect_eq(seen.status, 0);
        cr_expect_not_null(strstr(seen.why, "longer than 1000 bytes"), "%s", seen.why);
        world_close(&world);
    }
}

Test(outbound_fetch, a_body_that_breaks_off_is_not_taken_for_a_whole_one)
{
    struct world world;
    struct seen seen = {0};
    world_open(&world);
    world.server.answer = "HTTP/1.1 200 OK\r\n\r\nhalf of";
    world.server.stays_open = true;
    server_start(&world);
    weir_fetch_request request = request_of("GET", url_of(&world, "http", "127.0.0.1", "/"));
    seen.fetch = fetch_start(world.outbound, &request, on_done, &seen);
    TURN_UNTIL(world.loop, world.server.got.size > 0);
    for (int turn = 0; turn < 50; turn++) /* what was sent is read */
        loop_poll(world.loop);
    server_reset(&world.server);
    TURN_UNTIL(world.loop, seen.done > 0);
    cr_expect_eq(seen.status, 0);
    cr_expect_not_null(strstr(seen.why, "the connection broke"), "%s", seen.why);
    world_close(&world);
}

Test(outbound_fetch, a_head_without_end_is_refused)
{
    static char answer[100000];
    struct world world;
    struct seen seen = {0};
    memset(answer, 'x', sizeof(answer));
    memcpy(answer, "HTTP/1.1 200 OK\r\nA: ", 20);
    world_open(&world);
    world.server.answer = answer;
    world.server.answer_size = sizeof(answer);
    world.server.stays_open = true;
    server_start(&world);
    weir_fetch_request request = request_of("GET", url_of(&world, "http", "127.0.0.1", "/"));
    fetch_it(&world, &seen, &request);
    cr_expect_not_null(strstr(seen.why, "no HTTP"), "%s", seen.why);
    world_close(&world);
}

Test(outbound_fetch, what_is_sent)
{
    static const weir_pair custom[] = {{WEIR_LIT("X-One"), WEIR_LIT("1")},
                                       {WEIR_LIT("host"), WEIR_LIT("idp.example")},
                                       {WEIR_LIT("User-Agent"), WEIR_LIT("tests")}};
    static const struct {
        const char *reason, *method, *rest, *body;
        const weir_pair *headers;
        size_t header_count;
        const char *sent; /* with PORT for the port */
    } rows[] = {
        {"the least", "GET", "", NULL, NULL, 0,
         "GET / HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nUser-Agent: weir/" WEIR_VERSION
         "\r\nConnection: close\r\n\r\n"},
        {"a query without a path, a fragment is left out", "GET", "?a=b#frag", NULL, NULL, 0,
         "GET /?a=b HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nUser-Agent: weir/" WEIR_VERSION
         "\r\nConnection: close\r\n\r\n"},
        {"a body has a length, and the policy's own Host and User-Agent stand", "POST",
         "/a/b?c=%20d", "text", custom, COUNT_OF(custom),
         "POST /a/b?c=%20d HTTP/1.1\r\nX-One: 1\r\nhost: idp.example\r\nUser-Agent: tests\r\n"
         "Content-Length: 4\r\nConnection: close\r\n\r\ntext"},
        {"a POST without a body says so", "POST", "/", NULL, custom, COUNT_OF(custom),
         "POST / HTTP/1.1\r\nX-One: 1\r\nhost: idp.example\r\nUser-Agent: tests\r\n"
         "Content-Length: 0\r\nConnection: close\r\n\r\n"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct world world;
        struct seen seen = {0};
        char expected[512];
        world_open(&world);
        world.server.answer = "HTTP/1.1 204 No Content\r\n\r\n";
        world.server.until = rows[i].body;
        server_start(&world);
        weir_fetch_request request =
            request_of(rows[i].method, url_of(&world, "http", "127.0.0.1", rows[i].rest));
        request.headers = rows[i].headers;
        request.header_count = rows[i].header_count;
        if (rows[i].body != NULL)
            request.body = str(rows[i].body);
        fetch_it(&world, &seen, &request);
        cr_expect_eq(seen.status, 204, "%s: %s", rows[i].reason, seen.why);
        const char *port = strstr(rows[i].sent, "PORT");
        if (port == NULL)
            (void)snprintf(expected, sizeof(expected), "%s", rows[i].sent);
        else
            (void)snprintf(expected, sizeof(expected), "%.*s%u%s", (int)(port - rows[i].sent),
                           rows[i].sent, (unsigned)world.server.address.port, port + 4);
        cr_expect(span_equal(buf_view(&world.server.got), span_text(expected)), "%s: %.*s",
                  rows[i].reason, SPAN_ARG(buf_view(&world.server.got)));
        world_close(&world);
    }
}

Test(outbound_fetch, headers_of_the_answer_are_given_as_they_came)
{
    struct world world;
    struct seen seen = {0};
    world_open(&world);
    world.server.answer = "HTTP/1.1 200 OK\r\nX-B:  two \r\nx-a: one\r\nX-B: 3\r\n"
                          "Content-Length: 0\r\n\r\n";
    server_start(&world);
    weir_fetch_request request = request_of("GET", url_of(&world, "http", "localhost", "/"));
    fetch_it(&world, &seen, &request);
    cr_expect_str_eq(seen.headers, "X-B=two;x-a=one;X-B=3;Content-Length=0;");
    world_close(&world);
}

Test(outbound_fetch, requests_that_cannot_be_sent)
{
    static const weir_pair line_end = {WEIR_LIT("X"), WEIR_LIT("a\r\nB: c")},
                           bad_name = {WEIR_LIT("X Y"), WEIR_LIT("a")},
                           length = {WEIR_LIT("content-length"), WEIR_LIT("3")},
                           coding = {WEIR_LIT("Transfer-Encoding"), WEIR_LIT("chunked")},
                           expect = {WEIR_LIT("Expect"), WEIR_LIT("100-continue")},
                           hosts[] = {{WEIR_LIT("Host"), WEIR_LIT("a")},
                                      {WEIR_LIT("Host"), WEIR_LIT("b")}};
    static const struct {
        const char *reason, *method, *url;
        const weir_pair *headers;
        size_t header_count;
        uint32_t deadline_ms, flags;
    } rows[] = {
        {"no scheme", "GET", "127.0.0.1/", NULL, 0, 1, 0},
        {"another scheme", "GET", "ftp://127.0.0.1/", NULL, 0, 1, 0},
        {"a user part is a secret in a bad place", "GET", "http://u:p@127.0.0.1/", NULL, 0, 1, 0},
        {"no host", "GET", "http:///x", NULL, 0, 1, 0},
        {"no such port", "GET", "http://127.0.0.1:65536/", NULL, 0, 1, 0},
        {"port 0", "GET", "http://127.0.0.1:0/", NULL, 0, 1, 0},
        {"a port that is none", "GET", "http://127.0.0.1:8x/", NULL, 0, 1, 0},
        {"a line end in the URL", "GET", "http://127.0.0.1/\r\nX: y", NULL, 0, 1, 0},
        {"a space in the URL", "GET", "http://127.0.0.1/a b", NULL, 0, 1, 0},
        {"no URL", "GET", "", NULL, 0, 1, 0},
        {"no method", "", "http://127.0.0.1/", NULL, 0, 1, 0},
        {"a method with a space", "GET /", "http://127.0.0.1/", NULL, 0, 1, 0},
        {"a tunnel", "CONNECT", "http://127.0.0.1/", NULL, 0, 1, 0},
        {"no deadline", "GET", "http://127.0.0.1/", NULL, 0, 0, 0},
        {"TLS comes with the URL", "GET", "http://127.0.0.1/", NULL, 0, 1, WEIR_PEER_TLS},
        {"a line end in a header", "GET", "http://127.0.0.1/", &line_end, 1, 1, 0},
        {"a bad name", "GET", "http://127.0.0.1/", &bad_name, 1, 1, 0},
        {"a length of its own", "GET", "http://127.0.0.1/", &length, 1, 1, 0},
        {"a coding of its own", "GET", "http://127.0.0.1/", &coding, 1, 1, 0},
        {"an expectation", "GET", "http://127.0.0.1/", &expect, 1, 1, 0},
        {"two hosts", "GET", "http://127.0.0.1/", hosts, 2, 1, 0},
        {"headers that are not there", "GET", "http://127.0.0.1/", NULL, 1, 1, 0},
        {"too many headers", "GET", "http://127.0.0.1/", NULL, 65, 1, 0},
    };
    struct world world;
    struct seen seen = {0};
    world_open(&world);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        weir_fetch_request request = request_of(rows[i].method, rows[i].url);
        request.headers = rows[i].headers;
        request.header_count = rows[i].header_count;
        request.deadline_ms = rows[i].deadline_ms;
        request.flags = rows[i].flags;
        cr_expect_null(fetch_start(world.outbound, &request, on_done, &seen), "%s", rows[i].reason);
    }
    static char big[STREAM_QUEUE_MAX + 1];
    weir_fetch_request request = request_of("POST", "http://127.0.0.1/");
    request.body = (weir_str){big, sizeof(big)};
    cr_expect_null(fetch_start(world.outbound, &request, on_done, &seen), "a body past the bound");
    loop_poll(world.loop);
    cr_expect_eq(seen.done, 0);
    world_close(&world);
}

Test(outbound_fetch, over_tls)
{
    static const struct {
        const char *reason, *host;
        uint32_t flags, status;
    } rows[] = {
        {"the certificate has the name", "localhost", 0, 200},
        {"the certificate has the address", "127.0.0.1", 0, 200},
        {"it has not that name", "other.localhost", 0, 0},
        {"any certificate will do", "other.localhost", WEIR_PEER_NO_VERIFY, 200},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct world world;
        struct seen seen = {0};
        world_open(&world);
        world.server.tls = true;
        world.server.answer = "HTTP/1.1 200 OK\r\n\r\nhello";
        server_start(&world);
        weir_fetch_request request =
            request_of("GET", url_of(&world, "https", rows[i].host, "/keys"));
        request.flags = rows[i].flags;
        fetch_it(&world, &seen, &request);
        cr_expect_eq(seen.status, rows[i].status, "%s: %s", rows[i].reason, seen.why);
        cr_expect_str_eq(seen.body, rows[i].status == 200 ? "hello" : "", "%s", rows[i].reason);
        world_close(&world);
    }
}

Test(outbound_fetch, the_deadline_is_for_all_of_it)
{
    static const struct {
        const char *reason, *answer;
        size_t piece;
    } rows[] = {
        {"a server that hangs", NULL, 0},
        {"one that hangs within the head", "HTTP/1.1 200 OK\r\n", 0},
        {"one that hangs within the body", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", 0},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct world world;
        struct seen seen = {0};
        world_open(&world);
        world.server.answer = rows[i].answer;
        world.server.stays_open = true;
        server_start(&world);
        weir_fetch_request request =
            request_of("GET", url_of(&world, "http", "127.0.0.1", "/?token=sesame"));
        request.deadline_ms = 80;
        uint64_t began = clock_precise_us();
        fetch_it(&world, &seen, &request);
        uint64_t took_ms = (clock_precise_us() - began) / 1000;
        cr_expect_eq(seen.status, 0);
        cr_expect_not_null(strstr(seen.why, "80 ms"), "%s: %s", rows[i].reason, seen.why);
        cr_expect_null(strstr(seen.why, "sesame"), "the query may hold a secret");
        cr_expect(took_ms >= 70 && took_ms < 3000, "%s: %u ms", rows[i].reason, (unsigned)took_ms);
        world_close(&world);
    }
}

Test(outbound_fetch, refused_connections_and_names_nobody_has)
{
    struct world world;
    struct seen refused = {0}, unnamed = {0};
    world_open(&world);
    server_start(&world);
    const char *url = url_of(&world, "http", "127.0.0.1", "/?token=sesame");
    listener_stop(TAKE(world.server.listener));
    (void)close(world.server.fd);
    world.server.fd = -1;
    weir_fetch_request request = request_of("GET", url);
    fetch_it(&world, &refused, &request);
    cr_expect_eq(refused.status, 0);
    cr_expect_not_null(strstr(refused.why, "connection refused"), "%s", refused.why);
    cr_expect_null(strstr(refused.why, "sesame"), "the query may hold a secret");
    request = request_of("GET", "http://nowhere.example/");
    request.deadline_ms = 300;
    fetch_it(&world, &unnamed, &request);
    cr_expect_eq(unnamed.status, 0);
    world_close(&world);
}

Test(outbound_fetch, cancelled_or_ended_with_the_worker_nobody_is_called)
{
    struct world world;
    struct seen cancelled = {0}, left = {0}, early = {0};
    world_open(&world);
    server_start(&world); /* it never answers */
    weir_fetch_request request = request_of("GET", url_of(&world, "http", "127.0.0.1", "/"));
    early.fetch = fetch_start(world.outbound, &request, on_done, &early);
    fetch_cancel(early.fetch);
    fetch_cancel(NULL);
    cancelled.fetch = fetch_start(world.outbound, &request, on_done, &cancelled);
    left.fetch = fetch_start(world.outbound, &request, on_done, &left);
    TURN_UNTIL(world.loop,
               span_search(buf_view(&world.server.got), SPAN("\r\n\r\n")) < world.server.got.size);
    fetch_cancel(cancelled.fetch);
    TURN_UNTIL(world.loop, world.server.open == 1);
    world_close(&world); /* with one under way */
    cr_expect_eq(cancelled.done + left.done + early.done, 0);
}

/* The next begins where the first ended: in its own callback. */
struct chain {
    struct world *world;
    const weir_fetch_request *request;
    unsigned left, good;
};

static void on_link(void *user, const weir_fetch_answer *answer)
{
    struct chain *chain = user;
    chain->good += answer->status == 204;
    if (--chain->left > 0)
        cr_assert_not_null(fetch_start(chain->world->outbound, chain->request, on_link, chain));
}

Test(outbound_fetch, one_may_begin_inside_the_end_of_another)
{
    struct world world;
    world_open(&world);
    world.server.answer = "HTTP/1.1 204 No Content\r\n\r\n";
    server_start(&world);
    weir_fetch_request request = request_of("GET", url_of(&world, "http", "127.0.0.1", "/"));
    struct chain chain = {&world, &request, 3, 0};
    cr_assert_not_null(fetch_start(world.outbound, &request, on_link, &chain));
    TURN_UNTIL(world.loop, chain.left == 0);
    cr_expect_eq(chain.good, 3);
    world_close(&world);
}
