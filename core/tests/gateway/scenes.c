#include "scenes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "allocations.h"
#include "plugin_host/calls.h"

enum { BIG = 4 << 20 };

static const char yaml[] =
    "_format_version: '3.0'\n"
    "gateway:\n"
    "  client_header_timeout: 10s\n"
    "  client_body_timeout: 6s\n"
    "  keepalive_timeout: 20s\n"
    "services:\n"
    "- {name: main, url: 'http://@1', retries: 0, connect_timeout: 3000, read_timeout: 5000,\n"
    "   write_timeout: 4000, routes: [{name: main, paths: [/main]}]}\n"
    "- {name: again, url: 'http://@1', retries: 1, retry_delay: 2000, connect_timeout: 3000,\n"
    "   routes: [{name: again, paths: [/again]}]}\n"
    "- {name: named, url: 'http://slow.test:9', retries: 0, connect_timeout: 3000,\n"
    "   routes: [{name: named, paths: [/named]}]}\n"
    "- {name: plain, url: 'http://@2', routes: [{name: plain, paths: [/plain]}]}\n";

/* ---- bodies */

static char pattern(size_t at)
{
    return (char)('a' + at % 23);
}

/* Once. */
static void fill_pattern(char *out, size_t size)
{
    if (out[0] != '\0')
        return;
    for (size_t i = 0; i < size; i++)
        out[i] = pattern(i);
}

/* ---- policies */

static struct performance *walk_of(void *self)
{
    struct performance *walk;
    memcpy(&walk, self, sizeof(walk));
    return walk;
}

static weir_verdict on_wake(weir_request *request, void *self, void *context, uint32_t why)
{
    (void)request, (void)context, (void)why;
    walk_of(self)->parked = false;
    return WEIR_NEXT;
}

static weir_verdict play_hook(weir_request *request, void *self, enum phase phase)
{
    struct performance *walk = walk_of(self);
    if (walk->scene->park != (int)phase || walk->has_parked)
        return WEIR_NEXT;
    walk->token = call_park(request, 7000, on_wake);
    if (walk->token == 0)
        return WEIR_FAIL;
    walk->parked = walk->has_parked = true;
    return WEIR_WAIT;
}

#define HOOK(name, phase)                                                      \
    static weir_verdict name(weir_request *request, void *self, void *context) \
    {                                                                          \
        (void)context;                                                         \
        return play_hook(request, self, phase);                                \
    }
HOOK(on_rewrite, PHASE_REWRITE)
HOOK(on_access, PHASE_ACCESS)
HOOK(on_upstream, PHASE_UPSTREAM)
HOOK(on_response_headers, PHASE_RESPONSE_HEADERS)

static weir_verdict on_access_whole(weir_request *request, void *self, void *context)
{
    (void)self, (void)context;
    return call_body_read(request, 0, on_wake) == WEIR_SUCCESS ? WEIR_WAIT : WEIR_FAIL;
}

static weir_verdict answer_with(weir_request *request, size_t size)
{
    static char body[BIG];
    fill_pattern(body, sizeof(body));
    weir_str text = {body, size};
    return call_respond(request, 418, WEIR_LIT("text/plain"), text) == WEIR_SUCCESS ? WEIR_DONE
                                                                                    : WEIR_FAIL;
}
static weir_verdict on_access_answer(weir_request *request, void *self, void *context)
{
    (void)self, (void)context;
    return answer_with(request, 10);
}
static weir_verdict on_access_much(weir_request *request, void *self, void *context)
{
    (void)self, (void)context;
    return answer_with(request, BIG);
}

static weir_verdict on_body(weir_request *request, void *self, weir_str chunk, uint32_t side,
                            enum phase phase)
{
    if (call_body_emit(request, side, chunk) != WEIR_SUCCESS)
        return WEIR_FAIL;
    return play_hook(request, self, phase);
}
static weir_verdict on_request_body(weir_request *request, void *self, void *context,
                                    weir_str chunk, bool last)
{
    (void)context, (void)last;
    return on_body(request, self, chunk, WEIR_SIDE_REQUEST, PHASE_REQUEST_BODY);
}
static weir_verdict on_response_body(weir_request *request, void *self, void *context,
                                     weir_str chunk, bool last)
{
    (void)context, (void)last;
    return on_body(request, self, chunk, WEIR_SIDE_RESPONSE, PHASE_RESPONSE_BODY);
}
static weir_verdict on_whole_response(weir_request *request, void *self, void *context,
                                      weir_str chunk, bool last)
{
    (void)context, (void)chunk, (void)last;
    return play_hook(request, self, PHASE_RESPONSE_BODY);
}

static void on_log(weir_request *request, void *self, void *context)
{
    (void)request, (void)context;
    walk_of(self)->logs++;
}

#define PLUGIN                                                                        \
    .size = sizeof(weir_plugin), .major = WEIR_MAJOR, .name = "walk", .version = "1", \
    .context_size = 16, .rewrite = on_rewrite, .upstream = on_upstream,               \
    .response_headers = on_response_headers, .log = on_log
static const weir_plugin plain = {PLUGIN, .access = on_access};
static const weir_plugin wanting = {PLUGIN, .access = on_access_whole};
static const weir_plugin answering = {PLUGIN, .access = on_access_answer};
static const weir_plugin much = {PLUGIN, .access = on_access_much};
static const weir_plugin ups = {PLUGIN, .request_body_need = WEIR_BODY_STREAM,
                                .request_body = on_request_body};
static const weir_plugin downs = {PLUGIN, .response_body_need = WEIR_BODY_STREAM,
                                  .response_body = on_response_body};
static const weir_plugin buffering = {PLUGIN, .response_body_need = WEIR_BODY_BUFFER,
                                      .response_body = on_whole_response};
static const weir_plugin replying = {PLUGIN, .access = on_access_answer,
                                     .response_body_need = WEIR_BODY_STREAM,
                                     .response_body = on_response_body};

/* ---- what else must hold */

static bool is_blocked_up(const struct exchange *x)
{
    return x->up_active && x->up.blocked;
}
static bool is_blocked_in_tunnel(const struct exchange *x)
{
    return x->up.blocked;
}
static bool is_sending_body(const struct exchange *x)
{
    return x->up_active && !x->up.blocked && x->up.sent > 0;
}
static bool is_parked_up(const struct exchange *x)
{
    return x->up_active && x->up.parked;
}
static bool is_all_sent(const struct exchange *x)
{
    return !x->up_active && x->up.finished && x->out_size == 0;
}
static bool has_half_head(const struct exchange *x)
{
    return x->out_size > 0;
}
static bool is_awaiting_word(const struct exchange *x)
{
    return x->continue_awaited;
}
static bool is_collecting(const struct exchange *x)
{
    return x->collecting;
}
static bool is_blocked_down(const struct exchange *x)
{
    return x->down.blocked;
}
static bool is_waiting_down(const struct exchange *x)
{
    return !x->down.blocked && !x->down.parked && x->answer_started;
}
static bool is_buffering_down(const struct exchange *x)
{
    return !x->down.blocked && !x->down.parked && !x->answer_started;
}
static bool is_parked_down(const struct exchange *x)
{
    return x->down.parked;
}
static bool has_ahead(const struct exchange *x)
{
    return x->in_size > x->up.at;
}

/* ---- the scenes */

#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"
#define POST(path, size) "POST " path " HTTP/1.1\r\nHost: a\r\nContent-Length: " size "\r\n\r\n"
#define SWITCH "GET /main HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n"
#define NO_PARK .park = -1

/* clang-format off */
const struct scene scenes[] = {
    {"a client that has asked nothing yet", STATE_COUNT, NULL, "", NO_PARK, .plugin = &plain,
     .usual = CUT, .pass_ms = 10100, .late = CUT, .gone = CUT, .reset = CUT},
    {"a client between two requests", STATE_COUNT, NULL, GET("/main"), NO_PARK, .plugin = &plain,
     .usual = 200, .pass_ms = 20100},
    {"half a head", STATE_READ_HEAD, NULL, GET("/main"), .sent = 12, NO_PARK, .plugin = &plain,
     .usual = 200, .pass_ms = 10100, .late = 408},
    {"rewrite parked", STATE_REWRITE, NULL, GET("/main"), .park = PHASE_REWRITE, .plugin = &plain,
     .usual = 200, .pass_ms = 7100},
    {"access parked", STATE_ACCESS, NULL, GET("/main"), .park = PHASE_ACCESS, .plugin = &plain,
     .usual = 200, .pass_ms = 7100},
    {"access parked, the body comes ahead", STATE_ACCESS, NULL, POST("/main", "200000"),
     .body = 200000, .park = PHASE_ACCESS, .plugin = &plain, .usual = 200, .pass_ms = 7100,
     .unseen = true},
    {"access wants the body whole", STATE_ACCESS, is_collecting, POST("/main", "2000"),
     .body = 2000, .sent = 500, NO_PARK, .plugin = &wanting, .usual = 200, .pass_ms = 6100,
     .late = 408},
    {"upstream parked", STATE_UPSTREAM, NULL, GET("/main"), .park = PHASE_UPSTREAM,
     .plugin = &plain, .usual = 200, .pass_ms = 7100},
    {"the name is looked up", STATE_PICK, NULL, GET("/named"), .hold = HOLD_NAME, NO_PARK,
     .plugin = &plain, .usual = 503, .pass_ms = 3100},
    {"the target does not accept", STATE_CONNECT, NULL, GET("/main"), .hold = HOLD_CONNECT,
     NO_PARK, .plugin = &plain, .usual = 504, .pass_ms = 3100, .late = 504},
    {"before another attempt", STATE_RETRY, NULL, GET("/again"), .hold = HOLD_SERVICE, NO_PARK,
     .plugin = &plain, .usual = 502, .pass_ms = 2100, .late = 502},
    {"the target does not read", STATE_READ_RESPONSE, is_blocked_up, POST("/main", "4194304"),
     .body = BIG, .hold = HOLD_READ, NO_PARK, .plugin = &plain, .usual = 200, .pass_ms = 4100,
     .late = 504, .gone = 502, .reset = 502, .unseen = true},
    {"the client stops in its body", STATE_READ_RESPONSE, is_sending_body, POST("/main", "2000"),
     .body = 2000, .sent = 500, NO_PARK, .plugin = &plain, .usual = 200, .pass_ms = 6100,
     .late = 408, .gone = 502, .reset = 502},
    {"a hook on the request body parked", STATE_READ_RESPONSE, is_parked_up, POST("/main", "2000"),
     .body = 2000, .park = PHASE_REQUEST_BODY, .plugin = &ups, .usual = 200, .pass_ms = 7100,
     .gone = 502, .reset = 502},
    {"100 Continue is awaited", STATE_READ_RESPONSE, is_awaiting_word,
     "POST /main HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2000\r\n\r\n",
     .body = 2000, .sent = 76, .hold = HOLD_ANSWER, NO_PARK, .plugin = &plain, .usual = 200,
     .pass_ms = 1100, .gone = 502, .reset = 502},
    {"the target says nothing", STATE_READ_RESPONSE, is_all_sent, GET("/main"),
     .hold = HOLD_ANSWER, NO_PARK, .plugin = &plain, .usual = 200, .pass_ms = 5100, .late = 504,
     .gone = 502, .reset = 502},
    {"the target says 103 and nothing more", STATE_READ_RESPONSE, is_all_sent, GET("/main"),
     .hold = HOLD_FINAL, NO_PARK, .plugin = &plain, .usual = 200, .pass_ms = 5100, .late = 504,
     .gone = 502, .reset = 502},
    {"half a head of the target", STATE_READ_RESPONSE, has_half_head, GET("/main"),
     .hold = HOLD_HALF_HEAD, NO_PARK, .plugin = &plain, .usual = 200, .pass_ms = 5100, .late = 504,
     .gone = 502, .reset = 502},
    {"a request behind the one that waits", STATE_READ_RESPONSE, has_ahead, GET("/main"),
     .ahead = GET("/main"), .hold = HOLD_ANSWER, NO_PARK, .plugin = &plain, .usual = 200,
     .pass_ms = 5100, .gone = AS_EVER, .reset = AS_EVER},
    {"response headers parked", STATE_RESPONSE_HEADERS, NULL, GET("/main"), .answer = 10,
     .park = PHASE_RESPONSE_HEADERS, .plugin = &plain, .usual = 200, .pass_ms = 7100},
    {"the target stops in its body", STATE_RELAY, is_waiting_down, GET("/main"), .answer = 2000,
     .hold = HOLD_BODY, NO_PARK, .plugin = &plain, .usual = 200, .pass_ms = 5100, .late = CUT,
     .gone = CUT, .reset = CUT},
    {"the target stops in a body that a policy wants whole", STATE_RELAY, is_buffering_down,
     GET("/main"), .answer = 2000, .hold = HOLD_BODY, NO_PARK, .plugin = &buffering, .usual = 200,
     .pass_ms = 5100, .late = 504, .gone = 502, .reset = 502},
    {"the client does not read", STATE_RELAY, is_blocked_down, GET("/main"), .answer = BIG,
     .deaf = true, NO_PARK, .plugin = &plain, .usual = 200, .pass_ms = 6100, .late = CUT,
     .gone = CUT, .reset = CUT},
    {"a hook on the response body parked", STATE_RELAY, is_parked_down, GET("/main"),
     .answer = 2000, .park = PHASE_RESPONSE_BODY, .plugin = &downs, .usual = 200, .pass_ms = 7100},
    {"a hook on the whole response body parked", STATE_RELAY, is_parked_down, GET("/main"),
     .answer = 2000, .park = PHASE_RESPONSE_BODY, .plugin = &buffering, .usual = 200,
     .pass_ms = 7100},
    {"a tunnel in which nobody speaks", STATE_TUNNEL, NULL, SWITCH, NO_PARK, .plugin = &plain,
     .usual = 101, .pass_ms = 5100},
    {"a tunnel whose client does not read", STATE_TUNNEL, is_blocked_down, SWITCH, .answer = BIG,
     .deaf = true, NO_PARK, .plugin = &plain, .usual = 101, .pass_ms = 6100, .unseen = true},
    {"a tunnel whose target does not read", STATE_TUNNEL, is_blocked_in_tunnel, SWITCH, .body = BIG,
     NO_PARK, .plugin = &plain, .usual = 101, .pass_ms = 6100, .unseen = true},
    {"reply headers parked", STATE_REPLY_HEADERS, NULL, GET("/main"),
     .park = PHASE_RESPONSE_HEADERS, .plugin = &answering, .usual = 418, .pass_ms = 7100},
    {"reply headers parked, to half a head that was late", STATE_REPLY_HEADERS, NULL, GET("/main"),
     .sent = 12, .park = PHASE_RESPONSE_HEADERS, .plugin = &plain, .wait_ms = 10100, .usual = 408,
     .pass_ms = 7100},
    {"the client does not read our answer", STATE_SEND_REPLY, is_blocked_down, GET("/main"),
     .deaf = true, NO_PARK, .plugin = &much, .usual = 418, .pass_ms = 6100, .late = CUT},
    {"a hook on our own answer parked", STATE_SEND_REPLY, is_parked_down, GET("/main"),
     .park = PHASE_RESPONSE_BODY, .plugin = &replying, .usual = 418, .pass_ms = 7100},
    {"the last answer is given, the client lingers", STATE_COUNT, NULL,
     "GET /main HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", NO_PARK, .plugin = &plain, .usual = 400,
     .pass_ms = 2100},
};
/* clang-format on */
const size_t scene_count = COUNT_OF(scenes);

/* ---- the loop's part */

void walk_settle(struct performance *walk)
{
    allocations_arm(true);
    world_settle(&walk->world);
    allocations_arm(false);
}

void walk_pass(struct performance *walk, uint32_t ms)
{
    allocations_arm(true);
    world_pass(&walk->world, ms);
    allocations_arm(false);
}

/* ---- the actors; each returns whether it did anything */

/* `size` bytes of head, body and what comes behind, as far as they go; how many were sent. */
static size_t send_from(int fd, size_t at, size_t end, struct span head, size_t body,
                        struct span behind)
{
    static char fill[65536 + 23];
    size_t start = at;
    fill_pattern(fill, sizeof(fill));
    while (at < end) {
        struct span piece;
        if (at < head.size)
            piece = span_from(head, at);
        else if (at < head.size + body)
            piece = span_of(fill + (at - head.size) % 23, 65536);
        else
            piece = span_from(behind, at - head.size - body);
        size_t left = at < head.size + body && at >= head.size ? head.size + body - at : end - at;
        piece = span_first(piece, left < piece.size ? left : piece.size);
        piece = span_first(piece, end - at < piece.size ? end - at : piece.size);
        ssize_t sent = world_send(fd, piece);
        if (sent <= 0)
            break;
        at += (size_t)sent;
        if ((size_t)sent < piece.size)
            break;
    }
    return at - start;
}

static bool play_client(struct performance *walk)
{
    const struct scene *scene = walk->scene;
    struct span head = span_text(scene->head);
    struct span ahead = scene->ahead == NULL ? SPAN("") : span_text(scene->ahead);
    size_t all = head.size + scene->body + ahead.size;
    size_t end = !walk->free && scene->sent > 0 ? scene->sent : all;
    bool tunnel = scene->state == STATE_TUNNEL && walk->answered == 0;
    if (tunnel) /* it speaks when it has been answered */
        end = head.size;
    size_t sent =
        walk->client < 0 ? 0 : send_from(walk->client, walk->sent, end, head, scene->body, ahead);
    walk->sent += sent;
    if (walk->client < 0 || (scene->deaf && !walk->free) || walk->client_over)
        return sent > 0;
    ssize_t got = 0;
    size_t before = walk->got_size;
    while (walk->got_size < CLIENT_ROOM && (got = recv(walk->client, walk->got + walk->got_size,
                                                       CLIENT_ROOM - walk->got_size, 0)) > 0)
        walk->got_size += (size_t)got;
    walk->client_over = got == 0 || (got < 0 && errno != EAGAIN);
    return sent > 0 || walk->got_size > before || walk->client_over;
}

/* Head and body of the request, or all there is of it. */
static bool has_whole_request(const struct performance *walk)
{
    const struct scene *scene = walk->scene;
    if (!walk->head_over)
        return false;
    if (scene->body == 0 || scene->state == STATE_TUNNEL)
        return true;
    if (scene->plugin->request_body_need != WEIR_BODY_NONE)
        return memcmp(walk->tail + 1, "\r\n0\r\n\r\n", 7) == 0;
    return walk->request >= scene->body + 60; /* the head has more */
}

static bool read_request(struct performance *walk)
{
    static char piece[65536];
    size_t before = walk->request;
    bool held = walk->scene->hold == HOLD_READ ||
                (walk->scene->state == STATE_TUNNEL && walk->scene->body > 0 && walk->head_over);
    if (held && !walk->free)
        return false;
    for (ssize_t got; (got = recv(walk->target, piece, sizeof(piece), 0)) > 0;) {
        for (ssize_t i = 0; i < got && !walk->head_over; i++) {
            memmove(walk->tail, walk->tail + 1, 7);
            walk->tail[7] = piece[i];
            walk->head_over = memcmp(walk->tail + 4, "\r\n\r\n", 4) == 0;
        }
        if (got >= 8)
            memcpy(walk->tail, piece + got - 8, 8);
        walk->request += (size_t)got;
    }
    return walk->request > before;
}

static struct span head_of_answer(const struct performance *walk)
{
    static char head[128];
    if (walk->scene->state == STATE_TUNNEL && walk->connections == 1)
        return SPAN("HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n");
    int size = snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n",
                        walk->scene->answer);
    return span_of(head, (size_t)size);
}

static bool answer(struct performance *walk)
{
    static const struct span early = SPAN("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n");
    const struct scene *scene = walk->scene;
    struct span head = head_of_answer(walk);
    size_t end = head.size + scene->answer;
    if (!has_whole_request(walk) || (scene->hold == HOLD_ANSWER && !walk->free))
        return false;
    if (scene->hold == HOLD_FINAL && !walk->free) {
        if (walk->has_parked) /* said already */
            return false;
        walk->has_parked = true;
        return world_send(walk->target, early) > 0;
    }
    if (!walk->free && scene->hold == HOLD_HALF_HEAD)
        end = 9;
    else if (!walk->free && scene->hold == HOLD_BODY)
        end = head.size + scene->answer / 2;
    size_t sent = send_from(walk->target, walk->answered, end, head, scene->answer, SPAN(""));
    walk->answered += sent;
    if (walk->answered >= head.size + scene->answer && scene->state != STATE_TUNNEL) {
        walk->request = walk->answered = 0; /* the next request on it */
        walk->head_over = false;
        memset(walk->tail, 0, sizeof(walk->tail));
    }
    return sent > 0;
}

/* What a target does not read shall not fit into the gateway's socket. */
static void narrow_target(const struct performance *walk)
{
    int size = 65536;
    const struct exchange *x = walk->world.gateway == NULL ? NULL : world_exchange(&walk->world);
    if (walk->scene->body >= BIG && x != NULL && x->target != NULL)
        (void)setsockopt(conn_fd(x->target), SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

static bool play_target(struct performance *walk)
{
    bool held = walk->scene->hold == HOLD_CONNECT; /* what is in its queue is not the gateway's */
    int fd = held || walk->world.listeners[0] < 0 ? -1 : world_accept_now(&walk->world, 0);
    if (fd >= 0) {
        walk->target = fd;
        walk->connections++;
        walk->request = walk->answered = 0;
        walk->head_over = false;
        narrow_target(walk);
    }
    bool named = walk->free && world_is_asked(&walk->world);
    if (named)
        world_answer(&walk->world, NULL);
    if (walk->target < 0)
        return named;
    bool moved = read_request(walk);
    return answer(walk) || moved || fd >= 0 || named;
}

static bool play_policy(struct performance *walk)
{
    if (!walk->free || !walk->parked)
        return false;
    walk->parked = false;
    return call_wake(walk->world.table, walk->token) == WEIR_SUCCESS;
}

/* Bytes, or the end behind them, that the kernel moves in its own time. */
static bool is_on_its_way(const struct performance *walk)
{
    const struct gateway *gateway = walk->world.gateway;
    if (!walk->free || walk->client < 0 || walk->client_over)
        return false;
    if (gateway == NULL || gateway->client_count == 0)
        return true;
    const struct client *client = LIST_ENTRY(gateway->clients.next, struct client, link);
    const struct exchange *x = client->exchange;
    return x == NULL ? client->lingering : x->down.blocked || x->up.blocked;
}

/* Rounds without a move until it is over: the kernel may take its time. */
static int patience(const struct performance *walk)
{
    const struct exchange *x = walk->world.gateway == NULL ? NULL : world_exchange(&walk->world);
    bool is_near = walk->beginning && x != NULL && walk->scene->waits != NULL &&
                   x->state == walk->scene->state && !walk->scene->waits(x);
    return is_near || is_on_its_way(walk) ? 1000 : 3;
}

void walk_play(struct performance *walk, bool free)
{
    walk->free = free;
    for (int rounds = 0, quiet = 0; rounds < 4000 && quiet < patience(walk); rounds++) {
        bool moved = play_client(walk);
        moved = play_target(walk) || moved;
        moved = play_policy(walk) || moved;
        walk_settle(walk);
        quiet = moved ? 0 : quiet + 1;
        if (quiet > 3)
            (void)usleep(1000);
    }
}

void walk_begin_scene(struct performance *walk)
{
    walk->beginning = true;
    walk_play(walk, false);
    if (walk->scene->wait_ms > 0) {
        walk_pass(walk, walk->scene->wait_ms);
        walk_play(walk, false);
    }
    walk->beginning = false;
}

bool walk_is_there(const struct performance *walk)
{
    const struct exchange *x = world_exchange(&walk->world);
    if (walk->scene->state == STATE_COUNT)
        return x == NULL && walk->world.gateway->client_count == 1;
    return x != NULL && x->state == walk->scene->state &&
           (walk->scene->waits == NULL || walk->scene->waits(x));
}

/* ---- opening and closing */

/* The connections to clients and the target's inherit it, so that they do not grow by what they
 * have to hold. */
static void narrow(struct performance *walk)
{
    int size = 65536;
    (void)setsockopt(walk->world.door, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    (void)setsockopt(walk->world.listeners[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

void walk_open(struct performance *walk, const struct scene *scene)
{
    char *got = walk->got;
    *walk = (struct performance){.scene = scene, .client = -1, .target = -1, .got = got};
    if (got == NULL)
        walk->got = malloc(CLIENT_ROOM);
    CHECK_THAT(walk->got != NULL);
    const weir_plugin *plugins[] = {scene->plugin};
    world_open(
        &walk->world,
        &(struct world_options){
            .yaml = yaml, .targets = 2, .plugins = plugins, .plugin_count = 1, .user = walk});
    if (scene->deaf)
        narrow(walk);
    if (scene->hold == HOLD_CONNECT)
        world_stall(&walk->world, 0);
    if (scene->hold == HOLD_SERVICE)
        world_refuse(&walk->world, 0);
    allocations_arm(true);
    walk->client = world_client(&walk->world);
    allocations_arm(false);
}

void walk_close(struct performance *walk)
{
    world_close(&walk->world);
}

/* ---- what the client has read */

static bool is_pattern(struct span body)
{
    for (size_t i = 0; i < body.size; i++)
        if (body.data[i] != pattern(i))
            return false;
    return true;
}

static size_t find_end(struct span text)
{
    for (size_t i = 0; i + 4 <= text.size; i++)
        if (memcmp(text.data + i, "\r\n\r\n", 4) == 0)
            return i + 4;
    return 0;
}

static bool find_field(struct span head, const char *name, size_t *out_number)
{
    size_t size = strlen(name);
    for (size_t i = 0; i + size < head.size; i++)
        if (strncasecmp(head.data + i, name, size) == 0) {
            *out_number = strtoull(head.data + i + size, NULL, 10);
            return true;
        }
    return false;
}

/* Chunks to plain bytes in place. 1: whole, 0: more is to come, -1: broken. */
static int unchunk(struct span *rest, struct span *out_body)
{
    char *to = (char *)(uintptr_t)rest->data;
    *out_body = span_of(to, 0);
    for (;;) {
        char *end = memchr(rest->data, '\n', rest->size);
        if (end == NULL)
            return rest->size < 18 ? 0 : -1;
        size_t size = strtoull(rest->data, NULL, 16), line = (size_t)(end + 1 - rest->data);
        if (rest->size < line + size + 2)
            return 0;
        if (memcmp(end + 1 + size, "\r\n", 2) != 0)
            return -1;
        memmove(to, end + 1, size);
        to += size;
        out_body->size += size;
        *rest = span_from(*rest, line + size + 2);
        if (size == 0)
            return 1;
    }
}

/* One answer; false: it is not whole or corrupt, which the verdict says. */
static bool judge_one(struct span *rest, struct verdict *verdict)
{
    size_t size = 0, zero = 0;
    struct span head = span_first(*rest, find_end(*rest)), body = SPAN("");
    size_t line = rest->size < 9 ? rest->size : 9;
    verdict->corrupt = memcmp(rest->data, "HTTP/1.1 ", line) != 0;
    verdict->partial = true;
    if (verdict->corrupt || head.size == 0)
        return false;
    int status = atoi(head.data + 9), whole = 1;
    *rest = span_from(*rest, head.size);
    if (status == 101) {
        *rest = span_from(*rest, rest->size);
    } else if (find_field(head, "\ntransfer-encoding: chunked", &zero)) {
        whole = unchunk(rest, &body);
    } else if (status >= 200) {
        verdict->corrupt = !find_field(head, "\ncontent-length:", &size);
        whole = size <= rest->size;
        body = span_first(*rest, whole == 1 ? size : rest->size);
        *rest = span_from(*rest, body.size);
    }
    if (whole < 0 || ((status == 200 || status == 418) && !is_pattern(body)))
        verdict->corrupt = true;
    verdict->partial = whole == 0;
    if (whole != 1 || verdict->corrupt)
        return false;
    if (status < 200 && status != 101)
        return true;
    verdict->whole++;
    verdict->status = status;
    return true;
}

struct verdict walk_judge(const struct performance *walk, unsigned count)
{
    struct verdict verdict = {.status = CUT};
    struct span rest = span_of(walk->got, walk->got_size);
    while (rest.size > 0 && !verdict.corrupt && judge_one(&rest, &verdict))
        ;
    verdict.corrupt = verdict.corrupt || verdict.whole > count;
    return verdict;
}
