/* Peers of policies in the kit: scripted fetches, streams to a server of the test. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "built.h"

#define URL "https://idp.test/judge"

static struct kit *open_peers(const char *config)
{
    char plugins[512];
    (void)snprintf(plugins, sizeof(plugins), "[{name: peers, config: %s}]", config);
    return open_built(yaml_with(plugins));
}

static kit_request *request_that(struct kit *kit, const char *act)
{
    kit_request *r = kit_request_new(kit, "GET", "/box");
    kit_request_header(r, "X-Act", act);
    return r;
}

/* ---- fetches */

Test(testkit_fetch, answers_are_given_in_order_and_the_last_one_stays)
{
    struct kit *kit = open_peers("{url: '" URL "'}");
    kit_fetch_answer(kit, URL, 200, "text/plain", "welcome");
    kit_fetch_answer(kit, URL, 401, NULL, "not again");
    kit_request *r = request_that(kit, "fetch");
    kit_request_header(r, "X-Key", "sesame");
    cr_expect_eq(kit_run(r), 200);
    cr_expect_str_eq(kit_upstream_header(r, "X-Decision"), "welcome");
    cr_expect_eq(kit_fetch_count(kit, URL), 1);
    cr_expect_str_eq(kit_fetch_method(kit, URL), "POST");
    cr_expect_str_eq(kit_fetch_header(kit, URL, "x-key"), "sesame");
    cr_expect_null(kit_fetch_header(kit, URL, "x-other"));
    cr_expect_str_eq(kit_fetch_body(kit, URL), "/box");
    for (int i = 0; i < 2; i++) {
        r = request_that(kit, "fetch");
        cr_expect_eq(kit_run(r), 403);
        cr_expect_str_eq(kit_response_body(r), "not again");
    }
    cr_expect_eq(kit_fetch_count(kit, URL), 3);
    cr_expect_eq(kit_fetch_count(kit, NULL), 3);
    cr_expect_eq(kit_fetch_count(kit, "https://idp.test/"), 0, "another URL");
    kit_close(kit);
}

Test(testkit_fetch, what_goes_wrong_is_told)
{
    static const struct {
        const char *reason;
        bool scripted;
        int status;
        const char *body, *why;
    } rows[] = {
        {"nobody said anything", false, 0, NULL, "the test said nothing of this URL"},
        {"no answer", true, 0, NULL, "no answer came"},
        {"no answer, with its reason", true, 0, "connection refused", "connection refused"},
        {"a body over the policy's limit of 100", true, 200,
         "0123456789012345678901234567890123456789012345678901234567890123456789"
         "0123456789012345678901234567890",
         "the body of the answer is longer than 100 bytes"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct kit *kit = open_peers("{url: '" URL "'}");
        if (rows[i].scripted)
            kit_fetch_answer(kit, URL, rows[i].status, NULL, rows[i].body);
        kit_request *r = request_that(kit, "fetch");
        cr_expect_eq(kit_run(r), 403, "%s", rows[i].reason);
        cr_expect_str_eq(kit_response_body(r), rows[i].why, "%s", rows[i].reason);
        kit_close(kit);
    }
}

Test(testkit_fetch, held_ones_wait_until_they_are_released)
{
    struct kit *kit = open_peers("{url: '" URL "'}");
    kit_fetch_answer(kit, URL, 200, NULL, "ok");
    kit_fetch_hold(kit);
    kit_request *first = request_that(kit, "fetch"), *second = request_that(kit, "fetch");
    cr_expect_eq(kit_run(first), 0);
    cr_expect_eq(kit_run(second), 0);
    kit_advance_ms(kit, 4999);
    cr_expect(kit_is_waiting(first));
    cr_expect_eq(kit_fetch_waiting(kit), 2);
    kit_fetch_release(kit);
    cr_expect_eq(kit_status(first), 200);
    cr_expect_eq(kit_status(second), 200);
    cr_expect_eq(kit_fetch_waiting(kit), 0);
    kit_close(kit);
}

Test(testkit_fetch, held_ones_end_at_their_deadline)
{
    struct kit *kit = open_peers("{url: '" URL "', deadline: 2s}");
    kit_fetch_hold(kit);
    kit_request *r = request_that(kit, "fetch");
    cr_expect_eq(kit_run(r), 0);
    kit_advance_ms(kit, 1999);
    cr_expect_eq(kit_status(r), 0);
    kit_advance_ms(kit, 1);
    cr_expect_eq(kit_status(r), 403);
    cr_expect_str_eq(kit_response_body(r), "no whole answer within 2000 ms");
    kit_close(kit);
}

Test(testkit_fetch, one_that_a_policy_starts_with_can_be_scripted_after_the_load)
{
    struct kit *kit = open_peers("{background: '" URL "'}");
    kit_fetch_hold(kit);
    kit_fetch_answer(kit, URL, 200, NULL, "ok");
    kit_turn(kit);
    cr_expect_not(was_logged(kit, "background"));
    cr_expect_eq(kit_fetch_count(kit, URL), 1);
    /* The next one begins inside the end of this: it must not be answered for ever in one turn, so
     * the policy's own end comes first here: a reload without it. */
    cr_expect(kit_reload(kit, yaml_with("[]")), "%s", kit_error());
    kit_fetch_release(kit);
    cr_expect(was_logged(kit, "stopped"));
    cr_expect_not(was_logged(kit, "background"), "cancelled with its policy");
    kit_close(kit);
}

Test(testkit_fetch, the_client_goes_away_meanwhile)
{
    struct kit *kit = open_peers("{url: '" URL "'}");
    kit_fetch_answer(kit, URL, 200, NULL, "ok");
    kit_fetch_hold(kit);
    kit_request *r = request_that(kit, "fetch");
    cr_expect_eq(kit_run(r), 0);
    kit_abort(r);
    cr_expect_eq(kit_fetch_waiting(kit), 0, "its log hook cancels it");
    kit_fetch_release(kit);
    kit_close(kit);
}

Test(testkit_fetch, bounds_are_those_of_the_gateway)
{
    struct kit *kit = open_peers("{url: '" URL "', host: localhost}");
    kit_request *r = request_that(kit, "room");
    cr_expect_eq(kit_run(r), 200);
    cr_expect_str_eq(kit_response_body(r), "64 streams 64 fetches");
    r = request_that(kit, "sizes");
    cr_expect_eq(kit_run(r), 200);
    cr_expect_str_eq(kit_response_body(r), "1 0 0");
    kit_close(kit);
}

/* ---- streams */

static int listen_here(int *out_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert(fd >= 0);
    cr_assert_eq(bind(fd, (const struct sockaddr *)&address, size), 0);
    cr_assert_eq(listen(fd, 8), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    *out_port = ntohs(address.sin_port);
    return fd;
}

static struct kit *open_line(int port, const char *host)
{
    char config[128];
    (void)snprintf(config, sizeof(config), "{host: %s, port: %d}", host, port);
    return open_peers(config);
}

static void expect_read(int fd, const char *text)
{
    char bytes[64] = "";
    size_t size = strlen(text);
    for (size_t got = 0; got < size;) {
        ssize_t part = recv(fd, bytes + got, size - got, 0);
        cr_assert(part > 0);
        got += (size_t)part;
    }
    cr_expect_str_eq(bytes, text);
}

static void say(struct kit *kit, int fd, const char *text)
{
    cr_assert_eq(send(fd, text, strlen(text), 0), (ssize_t)strlen(text));
    cr_expect(kit_wait_ready(kit, 5000));
}

Test(testkit_stream, a_conversation_with_a_server_of_the_test)
{
    int port, server = listen_here(&port);
    struct kit *kit = open_line(port, "localhost");
    kit_request *first = request_that(kit, "line"), *second = request_that(kit, "line");
    cr_expect_eq(kit_run(first), 0);
    cr_expect_eq(kit_run(second), 0);
    cr_expect(kit_wait_ready(kit, 5000), "it connects");
    int peer = accept(server, NULL, NULL);
    cr_assert(peer >= 0);
    expect_read(peer, "may I?\r\nmay I?\r\n");
    say(kit, peer, "y");
    cr_expect_eq(kit_status(first), 0, "half an answer");
    say(kit, peer, "es\nno\n");
    cr_expect_eq(kit_status(first), 200);
    cr_expect_eq(kit_status(second), 403);

    kit_request *third = request_that(kit, "line");
    cr_expect_eq(kit_run(third), 0);
    expect_read(peer, "may I?\r\n"); /* sent at once: the stream is open */
    say(kit, peer, "go away\n");
    cr_expect_str_eq(kit_response_body(third), "sent away");
    char byte;
    cr_expect_eq(recv(peer, &byte, 1, 0), 0, "closed inside its own callback");
    (void)close(peer);

    kit_request *fourth = request_that(kit, "line");
    cr_expect_eq(kit_run(fourth), 0);
    cr_expect(kit_wait_ready(kit, 5000));
    peer = accept(server, NULL, NULL);
    expect_read(peer, "may I?\r\n");
    (void)close(peer);
    cr_expect(kit_wait_ready(kit, 5000));
    cr_expect_eq(kit_status(fourth), 403);
    cr_expect_str_eq(kit_response_body(fourth), "the peer closed the connection");
    kit_close(kit);
    (void)close(server);
}

Test(testkit_stream, what_does_not_open_is_told)
{
    int port, server = listen_here(&port);
    (void)close(server);
    struct kit *kit = open_line(port, "127.0.0.1");
    kit_request *r = request_that(kit, "line");
    cr_expect_eq(kit_run(r), 0);
    cr_expect(kit_wait_ready(kit, 5000));
    cr_expect_eq(kit_status(r), 403);
    cr_expect_str_eq(kit_response_body(r), "Connection refused");
    kit_close(kit);

    kit = open_line(port, "redis.test");
    r = request_that(kit, "line");
    cr_expect_eq(kit_run(r), 0);
    cr_expect_eq(kit_finish(r), 403);
    cr_expect_str_eq(kit_response_body(r), "the test kit knows no names but localhost");
    kit_close(kit);
}

Test(testkit_stream, one_that_is_open_ends_with_its_policy)
{
    int port, server = listen_here(&port);
    struct kit *kit = open_line(port, "127.0.0.1");
    kit_request *r = request_that(kit, "line");
    cr_expect_eq(kit_run(r), 0);
    cr_expect(kit_wait_ready(kit, 5000));
    int peer = accept(server, NULL, NULL);
    expect_read(peer, "may I?\r\n");
    say(kit, peer, "yes\n");
    cr_expect_eq(kit_status(r), 200);
    kit_request_free(r);
    cr_expect(kit_reload(kit, yaml_with("[]")), "%s", kit_error());
    char byte;
    cr_expect_eq(recv(peer, &byte, 1, 0), 0);
    (void)close(peer);
    kit_close(kit);
    (void)close(server);
}

Test(testkit_stream, the_deadline_is_of_the_kits_clock)
{
    /* A listener whose queue is full takes no more: connections to it hang. */
    int port, server = listen_here(&port), hung[32];
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr = {htonl(INADDR_LOOPBACK)},
                                  .sin_port = htons((uint16_t)port)};
    for (size_t i = 0; i < 32; i++) {
        hung[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)connect(hung[i], (const struct sockaddr *)&address, sizeof(address));
    }
    struct kit *kit = open_line(port, "127.0.0.1");
    kit_request *r = request_that(kit, "line");
    cr_expect_eq(kit_run(r), 0);
    kit_advance_ms(kit, 4999);
    cr_expect_eq(kit_status(r), 0);
    kit_advance_ms(kit, 1);
    cr_expect_eq(kit_status(r), 403);
    cr_expect_str_eq(kit_response_body(r), "no connection within the deadline");
    kit_close(kit);
    for (size_t i = 0; i < 32; i++)
        (void)close(hung[i]);
    (void)close(server);
}
