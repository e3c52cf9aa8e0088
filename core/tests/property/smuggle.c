/* Does an upstream behind weir ever see what weir did not decide on? Many clients send streams of
 * requests, most of them mutated, to one weir; the upstream behind it, whose connections weir
 * shares among all of them, records. Both ends are this process, so that what a client has sent is
 * known where the upstream reads.
 *
 * Each client has an address of its own in 127.0.0.0/8, which weir writes into X-Real-IP: that is
 * how a request is known to be of a stream, whatever the mutations made of it. Then
 * - every connection to the upstream is a sequence of requests, in the one spelling that weir
 * writes, on which two readers agree (reference.c, llhttp), and no byte stands between them;
 * - each of them is the next that the plan of its stream passes on, whole: method, target, every
 *   end-to-end field in order, every byte of its body; with weir's own fields, each once and as it
 *   must be. Twice only when the upstream had taken it and closed the connection without an answer;
 * - where the plan refuses, nothing of the stream comes any more; what it passes on, llhttp takes
 * as the same message too, or the reason is listed (second.c) with its section;
 * - each client is answered in order, by the answer to its own request or by weir, and no further.
 *
 *   smuggle LISTENER-FD PROXY-PORT [--seed N] [--streams N] [--first N] [--parallel N]
 *           [--broken byte|double|again|field|hop|body|answer] [--bad-answers]
 *           [--replay FILE] [--folder PATH] */
#include <arpa/inet.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"
#include "second.h"

enum { EVENTS = 256, FIRST_IP = 0x010000 };

struct bench bench;

/* ---- failing */

static void show(const struct stream *s)
{
    char path[512];
    (void)printf("stream %u of seed %" PRIu64 ", %zu bytes:\n", (unsigned)s->number,
                 bench.options.seed, s->size);
    for (size_t i = 0; i < s->size && i < 4000; i++) {
        unsigned char byte = (unsigned char)s->bytes[i];
        if (byte == '\n')
            (void)printf("\\n\n");
        else if (byte == '\r')
            (void)printf("\\r");
        else if (byte < 0x20 || byte >= 0x7f)
            (void)printf("\\x%02x", byte);
        else
            (void)putchar(byte);
    }
    (void)printf("\n");
    (void)snprintf(path, sizeof(path), "%s/smuggle-%" PRIu64 "-%u.stream", bench.options.folder,
                   bench.options.seed, (unsigned)s->number);
    FILE *file = fopen(path, "wb");
    if (file == NULL)
        return;
    (void)fwrite(s->bytes, 1, s->size, file);
    (void)fclose(file);
    (void)printf("written to %s (--replay)\n", path);
}

_Noreturn void fail(const struct stream *stream, const char *format, ...)
{
    va_list arguments;
    (void)printf("FAIL ");
    va_start(arguments, format);
    (void)vprintf(format, arguments);
    va_end(arguments);
    (void)printf("\nafter %" PRIu64 " streams, %" PRIu64 " requests passed\n",
                 bench.figures.streams, bench.figures.passed);
    if (stream != NULL)
        show(stream);
    exit(1);
}

/* ---- addresses */

void stream_ip(uint32_t number, char out[16])
{
    uint32_t ip = number + FIRST_IP;
    (void)snprintf(out, 16, "127.%u.%u.%u", ip >> 16 & 255, ip >> 8 & 255, ip & 255);
}

struct stream *stream_of_ip(struct span ip)
{
    char text[16];
    struct in_addr address;
    if (ip.size >= sizeof(text))
        return NULL;
    memcpy(text, ip.data, ip.size);
    text[ip.size] = '\0';
    if (inet_pton(AF_INET, text, &address) != 1)
        return NULL;
    uint32_t number = (ntohl(address.s_addr) & 0xffffff) - FIRST_IP;
    struct stream *s = &bench.streams[number % STREAMS_KEPT];
    return s->bytes != NULL && s->number == number ? s : NULL;
}

/* ---- the loop */

static void tick(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    bench.now_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void watch(int fd, enum kind *what)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = what};
    if (epoll_ctl(bench.epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        fail(NULL, "epoll_ctl");
}

/* One event of each connection at a time: what it ends is not told of again in the same turn. */
static void turn(int wait_ms)
{
    struct epoll_event events[EVENTS];
    int count = epoll_wait(bench.epoll, events, EVENTS, wait_ms);
    tick();
    for (int i = 0; i < count; i++) {
        switch (*(enum kind *)events[i].data.ptr) {
        case KIND_LISTENER:
            peer_accept(bench.options.listener);
            break;
        case KIND_CLIENT:
            client_readable(events[i].data.ptr);
            break;
        case KIND_PEER:
            peer_readable(events[i].data.ptr);
            break;
        }
    }
}

/* What a run before this one has left with the gateway, such as a request that it tries again. */
static void be_quiet(void)
{
    for (int quiet = 0; quiet < 2; quiet++) {
        struct pollfd listener = {bench.options.listener, POLLIN, 0};
        while (poll(&listener, 1, 20) > 0) {
            (void)close(accept(bench.options.listener, NULL, NULL));
            quiet = 0;
        }
    }
}

static void run_all(void)
{
    static enum kind listener = KIND_LISTENER;
    uint32_t next = bench.options.first, end = next + bench.options.streams;
    bench.epoll = epoll_create1(EPOLL_CLOEXEC);
    be_quiet();
    watch(bench.options.listener, &listener);
    tick();
    while (next < end || bench.clients > 0) {
        while (next < end && bench.clients < bench.options.parallel)
            client_start(next++);
        turn(clients_send() ? 0 : 20);
        peers_tick();
    }
    uint64_t last_ms = bench.now_ms + PATIENCE_MS;
    while (peers_unfinished() > 0 && bench.now_ms < last_ms)
        turn(20);
    turn(50); /* what nobody waits for must not come either */
    if (peers_unfinished() > 0)
        fail(NULL, "a part of a request stays with the upstream");
}

/* ---- figures */

static void report(uint64_t began_ms)
{
    const struct figures *f = &bench.figures;
    (void)printf("seed %" PRIu64 ": %" PRIu64 " streams (%" PRIu64 " bytes) in %" PRIu64 " ms\n",
                 bench.options.seed, f->streams, f->bytes, bench.now_ms - began_ms);
    (void)printf("requests passed on %" PRIu64 " (planned %" PRIu64 "), a part alone %" PRIu64
                 ", answered by weir %" PRIu64 "\n",
                 f->passed, f->planned, f->parts, f->local);
    (void)printf("refused %" PRIu64 " (and %" PRIu64 " cut short, %" PRIu64
                 " that only ended) with",
                 f->refused, f->cut_short, f->silent);
    for (unsigned status = 0; status < STATUS_MAX; status++)
        if (f->by_status[status] > 0)
            (void)printf(" %u: %" PRIu64, status, f->by_status[status]);
    (void)printf("\nupstream: connections %" PRIu64 ", requests on a used one %" PRIu64
                 ", unanswered %" PRIu64 ", resent %" PRIu64 ", left %" PRIu64
                 ", broken answers %" PRIu64 ", 502-504 %" PRIu64 "\n",
                 f->peers, f->reused, f->killed, f->resent, f->left, f->bad_answers, f->failed);
    (void)printf("llhttp: asked of %" PRIu64 " requests, takes %" PRIu64 " that are refused\n",
                 f->compared, f->stricter);
    for (unsigned row = 0; second_row(row) != NULL; row++)
        (void)printf("  refuses %" PRIu64 ": %s\n", f->listed[row], second_row(row));
}

static void check_sums(void)
{
    const struct figures *f = &bench.figures;
    if (bench.options.bad_answers)
        return;
    if (f->failed > f->killed + f->left || f->lost > f->killed + f->left)
        fail(NULL, "%" PRIu64 " requests failed, %" PRIu64 " connections were cut", f->failed,
             f->killed + f->left);
    if (f->passed > f->planned + f->resent)
        fail(NULL, "more requests passed than planned");
}

/* ---- options */

static uint64_t number_of(const char *text)
{
    return strtoull(text, NULL, 0);
}

static void read_options(int argc, char **argv)
{
    static const struct option names[] = {
        {"seed", 1, NULL, 's'},     {"streams", 1, NULL, 'n'},     {"first", 1, NULL, 'f'},
        {"parallel", 1, NULL, 'p'}, {"broken", 1, NULL, 'b'},      {"replay", 1, NULL, 'r'},
        {"folder", 1, NULL, 'o'},   {"bad-answers", 0, NULL, 'a'}, {NULL, 0, NULL, 0}};
    struct options *o = &bench.options;
    *o = (struct options){.seed = 1, .streams = 20000, .parallel = 48, .folder = "."};
    for (int c; (c = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        switch (c) {
        case 's':
            o->seed = number_of(optarg);
            break;
        case 'n':
            o->streams = (uint32_t)number_of(optarg);
            break;
        case 'f':
            o->first = (uint32_t)number_of(optarg);
            break;
        case 'p':
            o->parallel = (uint32_t)number_of(optarg);
            break;
        case 'b':
            o->broken = optarg;
            break;
        case 'r':
            o->replay = optarg;
            break;
        case 'o':
            o->folder = optarg;
            break;
        case 'a':
            o->bad_answers = true;
            break;
        default:
            exit(2);
        }
    }
    if (argc - optind != 2) {
        (void)fprintf(stderr, "smuggle LISTENER-FD PROXY-PORT [options]\n");
        exit(2);
    }
    o->listener = (int)number_of(argv[optind]);
    o->proxy_port = (uint16_t)number_of(argv[optind + 1]);
    if (o->replay != NULL)
        o->streams = 1;
}

int main(int argc, char **argv)
{
    struct sockaddr_in own;
    socklen_t size = sizeof(own);
    read_options(argc, argv);
    if (getsockname(bench.options.listener, (struct sockaddr *)&own, &size) != 0)
        fail(NULL, "the first argument is no socket");
    bench.options.target_port = ntohs(own.sin_port);
    tick();
    uint64_t began_ms = bench.now_ms;
    run_all();
    check_sums();
    report(began_ms);
    return 0;
}
