/* `weir echo`: an upstream to try a configuration against. It answers every request with what it
 * received, as JSON, so that one curl shows what the gateway changed. Not for production: it shows
 * every header to whoever asks. */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "admin/server.h"
#include "base/clock.h"
#include "base/text.h"
#include "cli/verbs.h"
#include "net/address.h"
#include "net/listen.h"
#include "net/loop.h"

#define ECHO_LISTEN "127.0.0.1:9001"

enum {
    ECHO_BACKLOG = 1024,
    ECHO_CONNECTIONS = 4096,
    ECHO_BODY_SHOWN = 1024 * 1024,
    ECHO_IDLE_MS = 75000,
    ECHO_STALL_MS = 60000,
};
static const uint64_t body_most = 1ULL << 32;   /* one a request brings */
static const uint64_t filler_most = 1ULL << 32; /* one /bytes/N asks for */
static const uint64_t slow_most = 600000;       /* ms */

struct echo {
    struct address address;
    uint32_t delay_ms;
};

const char cli_echo_details[] =
    "It shows method, target, headers and body as JSON, whoever asks: not for production.\n"
    "\n"
    "  --listen ADDRESS  IP:PORT or unix:/PATH, port 0 is any free one (default " ECHO_LISTEN ")\n"
    "  --delay MS        wait so long before each answer (default 0)\n"
    "  GET /status/NNN   answers with that status, 200 to 599\n"
    "  GET /bytes/N      answers with N bytes\n"
    "  GET /slow/MS      answers after so many milliseconds\n";

/* --- the answer ----------------------------------------------------------------------------------
 */

/* The number after `prefix`, whatever follows it behind a slash; false when the path is another. */
static bool path_number(struct span path, struct span prefix, uint64_t *out_number)
{
    if (!span_starts_with(path, prefix))
        return false;
    struct span rest = span_from(path, prefix.size);
    return text_to_u64(span_first(rest, span_find(rest, '/')), out_number);
}

static void write_document(const struct server_request *request, struct buf *out)
{
    const struct http_request_head *head = request->head;
    buf_text(out, "{\"method\":");
    buf_json(out, head->method);
    buf_text(out, ",\"target\":");
    buf_json(out, head->target);
    buf_text(out, ",\"headers\":[");
    for (uint16_t i = 0; i < head->headers.count; i++) {
        buf_text(out, i == 0 ? "[" : ",[");
        buf_json(out, head->headers.items[i].name);
        buf_byte(out, ',');
        buf_json(out, head->headers.items[i].value);
        buf_byte(out, ']');
    }
    buf_text(out, "],\"body\":");
    buf_json(out, span_is_set(request->body) ? request->body : SPAN(""));
    buf_text(out, "}");
}

static void refuse(struct server_reply *reply, const char *message)
{
    reply->status = 400;
    buf_printf(&reply->body, "{\"message\":\"%s\"}", message);
}

static void answer(const struct server_request *request, struct server_reply *reply, void *user)
{
    const struct echo *echo = user;
    struct span path = request->head->path;
    uint64_t number = 0;
    reply->content_type = SPAN("application/json");
    reply->delay_ms = echo->delay_ms;
    if (path_number(path, SPAN("/status/"), &number)) {
        if (number < 200 || number > 599) {
            refuse(reply, "a status is 200 to 599");
            return;
        }
        reply->status = (unsigned)number;
    } else if (path_number(path, SPAN("/bytes/"), &number)) {
        if (number > filler_most) {
            refuse(reply, "too many bytes");
            return;
        }
        reply->content_type = SPAN("application/octet-stream");
        reply->filler = number;
        return;
    } else if (path_number(path, SPAN("/slow/"), &number)) {
        if (number > slow_most) {
            refuse(reply, "too long a wait");
            return;
        }
        reply->delay_ms = (uint32_t)number;
    }
    write_document(request, &reply->body);
}

/* --- the command ---------------------------------------------------------------------------------
 */

static int read_arguments(int argc, char **argv, struct echo *echo)
{
    struct span listen = SPAN(ECHO_LISTEN);
    for (int i = 1; i < argc; i++) {
        struct span word = span_text(argv[i]);
        uint64_t delay = 0;
        bool is_listen = span_equal(word, SPAN("--listen"));
        if (!is_listen && !span_equal(word, SPAN("--delay")))
            return cli_usage("echo", "unknown argument '%s'", argv[i]);
        if (i + 1 == argc)
            return cli_usage("echo", "no value after '%s'", argv[i]);
        struct span value = span_text(argv[++i]);
        if (is_listen) {
            listen = value;
        } else if (!text_to_u64(value, &delay) || delay > slow_most) {
            return cli_usage("echo", "--delay takes 0 to 600000 milliseconds, not '%s'", argv[i]);
        } else {
            echo->delay_ms = (uint32_t)delay;
        }
    }
    if (address_parse(listen, &echo->address) != WEIR_OK)
        return cli_usage("echo", "--listen takes IP:PORT or unix:/PATH, not '%.*s'",
                         SPAN_ARG(listen));
    return CLI_OK;
}

static void on_signal(struct loop *loop, int signum, void *user)
{
    (void)signum;
    (void)user;
    loop_stop(loop);
}

/* The port that 0 became. */
static void learn_port(int fd, struct address *address)
{
    struct sockaddr_storage bound;
    socklen_t size = sizeof(bound);
    if (address->family == ADDRESS_UNIX || getsockname(fd, (struct sockaddr *)&bound, &size) != 0)
        return;
    address_from_sockaddr(address, (const struct sockaddr *)&bound, size);
}

static int serve(struct echo *echo, int fd)
{
    AUTO(loop_destroy) struct loop *loop = loop_create();
    if (loop == NULL)
        return CLI_FAILED;
    const struct server_options options = {
        .loop = loop,
        .answer = answer,
        .user = echo,
        .name = SPAN("weir-echo"),
        .connections = ECHO_CONNECTIONS,
        .body_kept = ECHO_BODY_SHOWN,
        .body_bytes = body_most,
        .idle_ms = ECHO_IDLE_MS,
        .stall_ms = ECHO_STALL_MS,
    };
    struct server *server = server_create(&options);
    int code = CLI_FAILED;
    if (server != NULL && server_listen(server, fd, NULL) == WEIR_OK &&
        loop_signal(loop, SIGTERM, on_signal, NULL) == WEIR_OK &&
        loop_signal(loop, SIGINT, on_signal, NULL) == WEIR_OK) {
        char text[ADDRESS_TEXT];
        (void)printf("echo: listening on %.*s\n", SPAN_ARG(address_text(&echo->address, text)));
        (void)fflush(stdout);
        loop_run(loop);
        code = CLI_OK;
    }
    server_destroy(server);
    return code;
}

int cli_echo(int argc, char **argv)
{
    struct echo echo = {0};
    int refused = read_arguments(argc, argv, &echo);
    if (refused != CLI_OK)
        return refused;
    (void)signal(SIGPIPE, SIG_IGN);
    clock_update();
    char err[256];
    int fd = listen_open(&echo.address, false, ECHO_BACKLOG, err, sizeof(err));
    if (fd < 0) {
        (void)fprintf(stderr, "weir echo: %s\n", err);
        return CLI_FAILED;
    }
    learn_port(fd, &echo.address);
    int code = serve(&echo, fd);
    if (code != CLI_OK)
        (void)fprintf(stderr, "weir echo: cannot serve: out of memory or descriptors\n");
    (void)close(fd);
    if (echo.address.family == ADDRESS_UNIX)
        (void)unlink(echo.address.text);
    return code;
}
