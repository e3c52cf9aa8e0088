#include "streams.h"

#include <ctype.h>
#include <stdio.h>

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))
#define PICK(dice, list) ((list)[dice_roll((dice), COUNT(list))])

/* ---- dice */

struct dice dice_of(uint64_t seed, uint64_t number, uint64_t what)
{
    struct dice dice = {seed ^ number * UINT64_C(0x9e3779b97f4a7c15) ^ what << 56};
    (void)dice_next(&dice);
    return dice;
}

uint64_t dice_next(struct dice *dice)
{
    uint64_t mix = dice->state += UINT64_C(0x9e3779b97f4a7c15);
    mix = (mix ^ mix >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    mix = (mix ^ mix >> 27) * UINT64_C(0x94d049bb133111eb);
    return mix ^ mix >> 31;
}

size_t dice_roll(struct dice *dice, size_t below)
{
    return (size_t)(dice_next(dice) >> 16) % below;
}

bool dice_one_in(struct dice *dice, unsigned times)
{
    return dice_roll(dice, times) == 0;
}

/* ---- the grammar */

struct writer {
    struct dice dice;
    uint32_t number;
    unsigned request; /* of this stream */
    char *text;
    size_t size, room;
};

static void put(struct writer *w, const char *data, size_t size)
{
    if (size > w->room - w->size)
        size = w->room - w->size;
    memcpy(w->text + w->size, data, size);
    w->size += size;
}

static void put_text(struct writer *w, const char *text)
{
    put(w, text, strlen(text));
}

#define PUT(w, ...)                                              \
    do {                                                         \
        char text_[512];                                         \
        int size_ = snprintf(text_, sizeof(text_), __VA_ARGS__); \
        put((w), text_, (size_t)size_);                          \
    } while (0)

static const char *const evil[] = {
    "GET /evil HTTP/1.1\r\nHost: evil\r\nX-Evil: 1\r\n\r\n",
    "POST /evil HTTP/1.1\r\nHost: evil\r\nContent-Length: 50\r\n\r\n",
    "0\r\n\r\nGET /evil HTTP/1.1\r\nHost: evil\r\n\r\n",
    "\r\n0\r\n\r\nGET /evil HTTP/1.1\r\nHost: evil\r\nFoo: x",
    "GET /evil HTTP/1.1\r\nX-Evil: x",
    "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
};

static void put_target(struct writer *w, const char *method)
{
    static const char *const odd[] = {"/a/../",     "/./",      "//",
                                      "/%41/",      "/%2e%2e/", "/a%2Fb/",
                                      "/\xc3\xa9/", "/%00",     "/a%0d%0aX-Evil:%20x/",
                                      "/..%2f"};
    if (strcmp(method, "CONNECT") == 0) {
        put_text(w, "evil:443");
        return;
    }
    if (strcmp(method, "OPTIONS") == 0 && dice_one_in(&w->dice, 3)) {
        put_text(w, "*");
        return;
    }
    if (dice_one_in(&w->dice, 12))
        put_text(w, dice_one_in(&w->dice, 2) ? "http://h" : "HTTPS://Other:81");
    if (dice_one_in(&w->dice, 12))
        put_text(w, PICK(&w->dice, odd));
    PUT(w, "/s%u/r%u", (unsigned)w->number, w->request);
    if (dice_one_in(&w->dice, 4))
        put_text(w, dice_one_in(&w->dice, 2) ? "?q=%0d%0a/../evil" : "?\xc3\xa9=1");
}

static void put_fields(struct writer *w)
{
    static const char *const lines[] = {"Accept: */*",
                                        "X-A: 1",
                                        "x-b:2",
                                        "X-C:  \t c \t",
                                        "Cookie: a=b",
                                        "X-Empty:",
                                        "Authorization: Basic eDp5",
                                        "Content-Type: text/plain",
                                        "Keep-Alive: timeout=5",
                                        "TE: trailers",
                                        "TE: gzip",
                                        "Trailer: X-T",
                                        "Proxy: http://evil",
                                        "X-High: \xe9\xff",
                                        "Proxy-Connection: keep-alive",
                                        "X-Forwarded-For: 1.1.1.1",
                                        "X-Real-IP: 127.9.9.9",
                                        "X-Forwarded-Host: evil",
                                        "X-Forwarded-Path: /evil",
                                        "Via: 1.1 x",
                                        "Max-Forwards: 3",
                                        "Max-Forwards: 0",
                                        "X-Kong-Request-Id: evil",
                                        "Transfer_Encoding: chunked",
                                        "Content_Length: 3",
                                        "X-Quoted: \"a, b\\\"c\"",
                                        "HTTP2-Settings: AAMAAABk",
                                        "Date: x"};
    static const char *const connections[] = {"keep-alive",
                                              "Keep-Alive, x-a",
                                              "x-a, X-B,,",
                                              "Upgrade",
                                              "upgrade, x-c",
                                              "te",
                                              "Host, Content-Length, Authorization",
                                              "Transfer-Encoding, x-a",
                                              "\"x-a, close\"",
                                              "close"};
    static const char *const upgrades[] = {"websocket", "h2c", "foo/2, h2c, websocket", "TLS/1.0"};
    for (size_t i = dice_roll(&w->dice, 5); i > 0; i--)
        PUT(w, "%s\r\n", PICK(&w->dice, lines));
    if (dice_one_in(&w->dice, 4))
        PUT(w, "Connection: %s\r\n", PICK(&w->dice, connections));
    if (dice_one_in(&w->dice, 12))
        PUT(w, "Upgrade: %s\r\n", PICK(&w->dice, upgrades));
}

/* Bytes that tell whose they are, or look like a request. */
static size_t make_body(struct writer *w, char *out, size_t room)
{
    size_t size = 0, want = 1 + dice_roll(&w->dice, dice_one_in(&w->dice, 8) ? room - 64 : 60);
    if (dice_one_in(&w->dice, 3))
        size = (size_t)snprintf(out, room, "%s", PICK(&w->dice, evil));
    while (size < want)
        size +=
            (size_t)snprintf(out + size, room - size, "b%u.%u;", (unsigned)w->number, w->request);
    return size;
}

static void put_chunks(struct writer *w, const char *body, size_t size)
{
    static const char *const extensions[] = {";a", ";a=b", " ;a=\"b;c\"", "\t;x", ";0\"\\\"=1"};
    static const char *const trailers[] = {"X-T: t", "Content-Length: 7", "Host: evil",
                                           "Transfer-Encoding: chunked", "X-Evil: 1"};
    for (size_t at = 0; at < size;) {
        size_t piece = 1 + dice_roll(&w->dice, size - at);
        if (piece < size - at && dice_one_in(&w->dice, 2))
            piece = size - at;
        PUT(w,
            dice_one_in(&w->dice, 2)   ? "%zx"
            : dice_one_in(&w->dice, 4) ? "00%zX"
                                       : "%zX",
            piece);
        if (dice_one_in(&w->dice, 8))
            put_text(w, PICK(&w->dice, extensions));
        put_text(w, "\r\n");
        put(w, body + at, piece);
        put_text(w, "\r\n");
        at += piece;
    }
    put_text(w, dice_one_in(&w->dice, 6) ? "000;z\r\n" : "0\r\n");
    if (dice_one_in(&w->dice, 6))
        PUT(w, "%s\r\n", PICK(&w->dice, trailers));
    put_text(w, "\r\n");
}

static void put_request(struct writer *w)
{
    static const char *const methods[] = {"GET",     "GET",  "GET",  "GET",   "POST",
                                          "POST",    "POST", "PUT",  "PATCH", "DELETE",
                                          "OPTIONS", "HEAD", "HEAD", "FOO",   "get"};
    static const char *const hosts[] = {"h", "h", "H:80", "[::1]:80", "evil.", "a.b:"};
    static char body[3000];
    const char *method = PICK(&w->dice, methods);
    bool old = dice_one_in(&w->dice, 12), bodied = method[0] == 'P' || dice_one_in(&w->dice, 6);
    if (dice_one_in(&w->dice, 40))
        method = dice_one_in(&w->dice, 2) ? "TRACE" : "CONNECT";
    PUT(w, "%s ", method);
    put_target(w, method);
    PUT(w, " HTTP/1.%d\r\nHost: %s\r\n", !old, PICK(&w->dice, hosts));
    put_fields(w);
    if (old && dice_one_in(&w->dice, 2))
        put_text(w, "Connection: keep-alive\r\n");
    size_t size = bodied ? make_body(w, body, sizeof(body)) : 0;
    if (bodied && dice_one_in(&w->dice, 8))
        put_text(w, "Expect: 100-continue\r\n");
    if (!bodied) {
        put_text(w, dice_one_in(&w->dice, 12) ? "Content-Length: 0\r\n\r\n" : "\r\n");
    } else if (dice_one_in(&w->dice, 2)) {
        PUT(w, "Content-Length: %zu\r\n\r\n", size);
        put(w, body, size);
    } else {
        put_text(w, "Transfer-Encoding: chunked\r\n\r\n");
        put_chunks(w, body, size);
    }
    w->request++;
}

static void put_requests(struct writer *w)
{
    for (size_t i = 1 + dice_roll(&w->dice, 4); i > 0; i--) {
        if (dice_one_in(&w->dice, 20))
            put_text(w, "\r\n"); /* RFC 9112 2.2 */
        put_request(w);
    }
}

/* ---- mutations */

struct text {
    struct dice *dice;
    char *bytes;
    size_t size, room;
};

/* Put `size` bytes in the place of `gone` at `at`. */
static void replace(struct text *t, size_t at, size_t gone, const char *bytes, size_t size)
{
    if (t->size - gone + size > t->room)
        return;
    memmove(t->bytes + at + size, t->bytes + at + gone, t->size - at - gone);
    memcpy(t->bytes + at, bytes, size);
    t->size = t->size - gone + size;
}

static size_t anywhere(struct text *t)
{
    return dice_roll(t->dice, t->size);
}

/* A place at or behind a random one where `is` holds; the size when there is none. */
static size_t place_of(struct text *t, const char *set)
{
    size_t at = anywhere(t);
    while (at < t->size && (t->bytes[at] == '\0' || strchr(set, t->bytes[at]) == NULL))
        at++;
    return at;
}

static void change_byte(struct text *t)
{
    size_t at = anywhere(t);
    if (dice_one_in(t->dice, 2))
        t->bytes[at] = (char)(t->bytes[at] ^ 1 << dice_roll(t->dice, 8));
    else
        t->bytes[at] = (char)dice_next(t->dice);
}

static void remove_some(struct text *t)
{
    size_t at = anywhere(t), size = 1 + dice_roll(t->dice, dice_one_in(t->dice, 4) ? 40 : 4);
    replace(t, at, size < t->size - at ? size : t->size - at, "", 0);
}

static void repeat_some(struct text *t)
{
    char piece[64];
    size_t from = anywhere(t), size = 1 + dice_roll(t->dice, sizeof(piece));
    if (size > t->size - from)
        size = t->size - from;
    memcpy(piece, t->bytes + from, size);
    replace(t, anywhere(t), 0, piece, size);
}

static void insert_odd(struct text *t)
{
    static const struct span odd[] = {
        SPAN("\r"),    SPAN("\n"),     SPAN("\r\n"),     SPAN("\0"),   SPAN("\t"),
        SPAN(" "),     SPAN("\x0b"),   SPAN("\x0c"),     SPAN("\x85"), SPAN("\xa0"),
        SPAN("\r\n "), SPAN("\r\n\t"), SPAN("\r\n\r\n"), SPAN(":"),    SPAN(","),
        SPAN(";"),     SPAN("\""),     SPAN("%00"),      SPAN("\x7f"), SPAN("\xff"),
        SPAN("0"),     SPAN("x"),      SPAN("\r\r\n"),   SPAN("#"),    SPAN("\\")};
    struct span what = PICK(t->dice, odd);
    size_t at = dice_one_in(t->dice, 2) ? anywhere(t) : place_of(t, ":\r\n ");
    replace(t, at, 0, what.data, what.size);
}

static void break_line_end(struct text *t)
{
    static const struct span ends[] = {SPAN("\n"), SPAN("\r"),    SPAN("\n\r"),    SPAN("\r\r\n"),
                                       SPAN(""),   SPAN(" \r\n"), SPAN("\r\n\r\n")};
    size_t at = place_of(t, "\r");
    struct span end = PICK(t->dice, ends);
    if (at + 2 <= t->size)
        replace(t, at, 2, end.data, end.size);
}

static void space_before_colon(struct text *t)
{
    size_t at = place_of(t, ":");
    replace(t, at, 0, dice_one_in(t->dice, 3) ? "\t" : " ", 1);
}

static void change_number(struct text *t)
{
    static const char *const numbers[] = {"+%llu",   "-%llu",  "0x%llx", "00%llu",   "%llu,%llu",
                                          "%llu, 0", "%llu 0", "%llu.0", "\"%llu\"", "%llu\x0b",
                                          "%lluL",   "%llu_0", "%llu\t", "%llu;",    ""};
    static const char *const huge[] = {"18446744073709551616", "18446744073709551621",
                                       "9223372036854775807",  "9223372036854775808",
                                       "4294967296",           "10000000000000003",
                                       "ffffffffffffffff",     "8000000000000000",
                                       "4000000000000001",     "4000000000000000"};
    size_t at = place_of(t, "0123456789"), end = at;
    unsigned long long value = 0;
    char text[64];
    for (; end < t->size && isdigit((unsigned char)t->bytes[end]) && end - at < 9; end++)
        value = value * 10 + (unsigned)(t->bytes[end] - '0');
    if (end == at)
        return;
    size_t kind = dice_roll(t->dice, 4);
    int size = 0;
    if (kind == 0)
        size = snprintf(text, sizeof(text), "%s", PICK(t->dice, huge));
    else if (kind == 1)
        size = snprintf(text, sizeof(text), "%llu", value + 1 + dice_roll(t->dice, 8));
    else if (kind == 2)
        size = snprintf(text, sizeof(text), "%llu", value / (2 + dice_roll(t->dice, 8)));
    else
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* the formats are the table above */
        size = snprintf(text, sizeof(text), PICK(t->dice, numbers), value, value);
#pragma GCC diagnostic pop
    replace(t, at, end - at, text, (size_t)size);
}

/* A line of its own, behind another. */
static void insert_line(struct text *t)
{
    static const struct span lines[] = {SPAN("Content-Length: 0\r\n"),
                                        SPAN("Content-Length: 5\r\n"),
                                        SPAN("content-length:\t11\r\n"),
                                        SPAN("Content-Length : 5\r\n"),
                                        SPAN("Content-Length: 5, 5\r\n"),
                                        SPAN("Content-Length: 3\t\r\n"),
                                        SPAN("Content-Length\0: 5\r\n"),
                                        SPAN("Content-Length:\r\n 5\r\n"),
                                        SPAN("Transfer-Encoding: chunked\r\n"),
                                        SPAN("TRANSFER-ENCODING: CHUNKED\r\n"),
                                        SPAN("Transfer-Encoding : chunked\r\n"),
                                        SPAN("Transfer-Encoding: xchunked\r\n"),
                                        SPAN("Transfer-Encoding: chunked, identity\r\n"),
                                        SPAN("Transfer-Encoding: identity\r\n"),
                                        SPAN("Transfer-Encoding: identity, chunked\r\n"),
                                        SPAN("Transfer-Encoding: chunked;q=1\r\n"),
                                        SPAN("Transfer-Encoding: \x0b"
                                             "chunked\r\n"),
                                        SPAN("Transfer-Encoding: chunked\t\r\n"),
                                        SPAN("Transfer-Encoding:\r\n chunked\r\n"),
                                        SPAN("Transfer-Encoding:\tchunked\r\n"),
                                        SPAN("Transfer-Encoding: gzip, chunked\r\n"),
                                        SPAN("Transfer-Encoding:\r\n"),
                                        SPAN("X: a\nTransfer-Encoding: chunked\r\n"),
                                        SPAN("X: a\rContent-Length: 9\r\n"),
                                        SPAN(" Transfer-Encoding: chunked\r\n"),
                                        SPAN("Transfer-Encoding\xa0: chunked\r\n"),
                                        SPAN("Transfer-Encoding: chunked\x85\r\n"),
                                        SPAN("Host: evil\r\n"),
                                        SPAN(" folded\r\n"),
                                        SPAN("Connection: close\r\n"),
                                        SPAN("Connection: Content-Length\r\n"),
                                        SPAN("Connection: Transfer-Encoding\r\n"),
                                        SPAN("Expect: 100-continue\r\n"),
                                        SPAN("X-Evil: a\0b\r\n"),
                                        SPAN(": v\r\n"),
                                        SPAN("X-Evil\r\n"),
                                        SPAN("0\r\n"),
                                        SPAN("0\r\n\r\n"),
                                        SPAN("5\r\nabcde\r\n"),
                                        SPAN("GET /evil HTTP/1.1\r\n"),
                                        SPAN("fffffffffffffffe\r\n"),
                                        SPAN("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")};
    struct span line = PICK(t->dice, lines);
    size_t at = place_of(t, "\n");
    replace(t, at < t->size ? at + 1 : at, 0, line.data, line.size);
}

static void insert_evil(struct text *t)
{
    const char *what = PICK(t->dice, evil);
    replace(t, anywhere(t), 0, what, strlen(what));
}

static void change_case(struct text *t)
{
    for (size_t at = anywhere(t), i = 0; i < 12 && at + i < t->size; i++)
        if (isalpha((unsigned char)t->bytes[at + i]))
            t->bytes[at + i] = (char)(t->bytes[at + i] ^ 0x20);
}

/* What is over a limit: 100 fields, 8 KiB of target, 64 bytes of method, a 256-byte chunk line. */
static void overdo(struct text *t)
{
    static const char *const units[] = {"X: v\r\n", "u", "M", "x"};
    size_t kind = dice_roll(t->dice, COUNT(units)), unit = strlen(units[kind]);
    static const size_t times[] = {101, 8200, 70, 300};
    static const char *const where[] = {"\n", "/", "GPHD", ";"};
    static char all[9000];
    if (!dice_one_in(t->dice, 10))
        return;
    for (size_t i = 0; i < times[kind]; i++)
        memcpy(all + i * unit, units[kind], unit);
    size_t at = place_of(t, where[kind]);
    replace(t, at < t->size ? at + 1 : at, 0, all, times[kind] * unit);
}

static void cut_off(struct text *t)
{
    if (dice_one_in(t->dice, 3))
        t->size = 1 + anywhere(t);
}

void mutate(struct dice *dice, char *text, size_t *size, size_t room)
{
    static void (*const kinds[])(struct text *) = {
        change_byte,        change_byte,   remove_some,   repeat_some,
        insert_odd,         insert_odd,    insert_odd,    break_line_end,
        space_before_colon, change_number, change_number, change_number,
        insert_line,        insert_line,   insert_line,   insert_evil,
        change_case,        overdo,        cut_off};
    struct text t = {dice, text, *size, room};
    if (t.size > 0)
        PICK(dice, kinds)(&t);
    *size = t.size;
}

/* ---- a stream */

/* The beginning of one and the end of another. */
static void splice(struct writer *w)
{
    static char other[8192];
    struct writer second = *w;
    second.text = other;
    second.size = 0;
    second.room = sizeof(other);
    put_requests(&second);
    w->dice = second.dice;
    size_t keep = dice_roll(&w->dice, w->size + 1), from = dice_roll(&w->dice, second.size);
    w->size = keep;
    put(w, other + from, second.size - from);
}

size_t stream_make(uint64_t seed, uint32_t number, char *out, size_t room)
{
    struct writer w = {
        .dice = dice_of(seed, number, 0), .number = number, .text = out, .room = room};
    put_requests(&w);
    if (dice_one_in(&w.dice, 12))
        splice(&w);
    size_t degree = dice_roll(&w.dice, 10), times = degree < 3   ? 0
                                                    : degree < 6 ? 1
                                                    : degree < 9 ? 2 + dice_roll(&w.dice, 2)
                                                                 : 4 + dice_roll(&w.dice, 5);
    for (; times > 0; times--)
        mutate(&w.dice, out, &w.size, room);
    return w.size;
}
