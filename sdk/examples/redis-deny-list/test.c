/* Against a Redis that the test plays itself: a listener on loopback, no thread. A kit's stream is
 * a real connection, so kit_wait_ready() moves it on; deadlines go by the kit's clock. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <weir_testkit.h>

static struct kit *kit;
static int listener = -1, connection = -1, port, asked;
static const char *denied; /* the key on the list */
static char last[256];     /* what came last, CR and LF as blanks */

static void set_up(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof(address);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(listener, (struct sockaddr *)&address, size), 0);
    cr_assert_eq(listen(listener, 8), 0);
    cr_assert_eq(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    port = ntohs(address.sin_port);
    denied = "deny:192.0.2.66";
}

static void tear_down(void)
{
    kit_close(kit);
    if (connection >= 0)
        (void)close(connection);
    if (listener >= 0)
        (void)close(listener);
}

TestSuite(deny_list, .init = set_up, .fini = tear_down, .timeout = 60);

static void open_with(const char *fields)
{
    char yaml[1024];
    (void)snprintf(yaml, sizeof(yaml),
                   "_format_version: '3.0'\n"
                   "services: [{name: s, host: t, routes: [{name: r, paths: [/]}]}]\n"
                   "plugins: [{name: redis-deny-list, config: {redis: {port: %d}%s}}]\n",
                   port, fields);
    kit = kit_open(yaml);
    cr_assert_not_null(kit, "%s", kit_error());
}

static void say(const char *answer)
{
    ssize_t size = (ssize_t)strlen(answer);
    cr_assert_eq(send(connection, answer, (size_t)size, MSG_NOSIGNAL), size);
}

/* Answer what has come so far: the client's greeting, a PING, and one question at a time. */
static void play_redis(void)
{
    if (connection < 0)
        connection = accept(listener, NULL, NULL);
    if (connection < 0)
        return;
    ssize_t size = recv(connection, last, sizeof(last) - 1, MSG_DONTWAIT);
    if (size <= 0)
        return;
    last[size] = '\0';
    for (char *at = last; *at != '\0'; at++)
        if (*at == '\r' || *at == '\n')
            *at = ' ';
    if (strstr(last, "PING") != NULL)
        say("+PONG\r\n");
    if (strstr(last, "EXISTS") == NULL)
        return;
    asked++;
    say(strstr(last, denied) != NULL ? ":1\r\n" : ":0\r\n");
}

static kit_request *request_from(const char *ip)
{
    kit_request *r = kit_request_new(kit, "GET", "/");
    kit_request_client_ip(r, ip);
    return r;
}

static int finish(kit_request *r)
{
    int status = kit_run(r);
    for (int i = 0; i < 500 && status == 0; i++) {
        play_redis();
        (void)kit_wait_ready(kit, 20);
        status = kit_finish(r);
    }
    return status;
}

static int status_for(const char *ip)
{
    return finish(request_from(ip));
}

Test(deny_list, who_stands_on_it_is_kept_out)
{
    open_with("");
    cr_expect_eq(status_for("192.0.2.1"), 200);
    cr_expect(strstr(last, "EXISTS") != NULL && strstr(last, " deny:192.0.2.1 ") != NULL, "%s",
              last);
    kit_request *r = request_from("192.0.2.66");
    cr_expect_eq(finish(r), 403);
    cr_expect_not(kit_was_proxied(r));
    cr_expect(strstr(kit_response_body(r), "You are on the deny list") != NULL);
}

Test(deny_list, an_answer_is_remembered_for_a_while)
{
    open_with(", ttl: 10s");
    for (int i = 0; i < 3; i++)
        cr_expect_eq(status_for("192.0.2.66"), 403);
    cr_expect_eq(asked, 1, "%d", asked);
    denied = "nobody";
    kit_advance_ms(kit, 9999);
    cr_expect_eq(status_for("192.0.2.66"), 403);
    kit_advance_ms(kit, 1);
    cr_expect_eq(status_for("192.0.2.66"), 200);
    cr_expect_eq(asked, 2);
}

Test(deny_list, all_workers_remember_it)
{
    open_with("");
    struct kit *other = kit_second_worker(kit);
    cr_expect_eq(status_for("192.0.2.66"), 403);
    kit_request *r = kit_request_new(other, "GET", "/");
    kit_request_client_ip(r, "192.0.2.66");
    cr_expect_eq(kit_run(r), 403, "at once");
    kit_close(other);
}

Test(deny_list, by_header)
{
    open_with(", by: header, header_name: X-Device, prefix: 'device:', status: 404, message: gone");
    denied = "device:d-17";
    kit_request *r = request_from("192.0.2.1");
    cr_expect_eq(kit_run(r), 200, "without the header nobody is asked");
    r = request_from("192.0.2.1");
    kit_request_header(r, "X-Device", "d-17");
    cr_expect_eq(finish(r), 404);
    char value[300];
    memset(value, 'x', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    r = request_from("192.0.2.1");
    kit_request_header(r, "X-Device", value);
    cr_expect_eq(kit_run(r), 400);
}

Test(deny_list, a_redis_that_hangs_holds_requests_up_to_the_deadline)
{
    open_with(", ttl: 0");
    cr_expect_eq(status_for("192.0.2.1"), 200); /* it is connected now */
    kit_request *r = request_from("192.0.2.66");
    cr_expect_eq(kit_run(r), 0);
    kit_advance_ms(kit, 499);
    cr_expect(kit_is_waiting(r));
    kit_advance_ms(kit, 1);
    cr_expect_eq(kit_status(r), 200, "fault_tolerant");
}

Test(deny_list, or_they_are_refused)
{
    open_with(", fault_tolerant: false");
    (void)close(listener); /* nobody is there */
    listener = -1;
    cr_expect_eq(status_for("192.0.2.1"), 503);
    kit_request *r = request_from("192.0.2.1");
    cr_expect_eq(kit_run(r), 503, "known to be down: at once");
    cr_expect(strstr(kit_log_lines(kit), "Redis is down") != NULL, "%s", kit_log_lines(kit));
}

Test(deny_list, a_client_that_leaves_is_not_answered)
{
    open_with("");
    kit_request *r = request_from("192.0.2.66");
    cr_expect_eq(kit_run(r), 0);
    kit_abort(r);
    kit_request_free(r);
    for (int i = 0; i < 50 && asked == 0; i++) {
        play_redis();
        (void)kit_wait_ready(kit, 20);
    }
    (void)kit_wait_ready(kit,
                         1000); /* its answer comes: under AddressSanitizer nothing is touched */
    cr_expect_eq(asked, 1);
}

Test(deny_list, what_is_refused, .init = NULL, .fini = NULL)
{
#define REFUSED(config) \
    kit_open("_format_version: '3.0'\nplugins: [{name: redis-deny-list, config: " config "}]\n")
    cr_expect_null(REFUSED("{by: header}"));
    cr_expect(strstr(kit_error(), "config.header_name: required field missing") != NULL, "%s",
              kit_error());
    cr_expect_null(REFUSED("{redis: {port: 0}}"));
    cr_expect(strstr(kit_error(), "config.redis.port") != NULL, "%s", kit_error());
}
