#include "fuzz_scenario.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "fuzz_watch.h"

enum { WORDS = 256, WORD = 64 };

static char words[WORDS][WORD];
static size_t word_count;

/* ---- dice: splitmix64 */

uint64_t dice_next(struct dice *dice)
{
    uint64_t z = dice->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

uint32_t dice_below(struct dice *dice, uint32_t limit)
{
    return (uint32_t)((dice_next(dice) >> 32) * limit >> 32);
}

bool dice_chance(struct dice *dice, uint32_t percent)
{
    return dice_below(dice, 100) < percent;
}

struct dice dice_of(uint64_t seed, uint64_t number)
{
    struct dice dice = {seed * UINT64_C(0xd1342543de82ef95) + number};
    (void)dice_next(&dice);
    return dice;
}

/* ---- words */

static bool is_word_byte(char c)
{
    return isalnum((unsigned char)c) || (c != '\0' && strchr("_-.:/@+=~*", c) != NULL);
}

static void add_word(const char *text, size_t size)
{
    while (size > 0 && text[size - 1] == ':') /* a key of the YAML */
        size--;
    if (size == 0 || size >= WORD || word_count == WORDS)
        return;
    for (size_t i = 0; i < word_count; i++)
        if (strlen(words[i]) == size && memcmp(words[i], text, size) == 0)
            return;
    memcpy(words[word_count], text, size);
    words[word_count++][size] = '\0';
}

void ask_learn(const char *yaml)
{
    while (*yaml != '\0') {
        size_t size = 0;
        while (is_word_byte(yaml[size]))
            size++;
        add_word(yaml, size);
        yaml += size == 0 ? 1 : size;
    }
}

/* One that the configuration or the plugin speaks of. */
static const char *some_word(struct dice *dice)
{
    size_t own = watch_words(), headers = watch_header_words();
    uint32_t count = (uint32_t)(word_count + own + headers);
    if (count == 0)
        return "word";
    size_t n = dice_below(dice, count);
    if (n < word_count)
        return words[n];
    return n - word_count < own ? watch_word(n - word_count)
                                : watch_header_word(n - word_count - own);
}

static const char *argument_name(struct dice *dice)
{
    size_t own = watch_words();
    return own > 0 && dice_chance(dice, 60) ? watch_word(dice_below(dice, (uint32_t)own))
                                            : some_word(dice);
}

static void base64(char *out, size_t room, const char *text)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t size = strlen(text), at = 0;
    for (size_t i = 0; i < size && at + 5 < room; i += 3) {
        unsigned bits = (unsigned)(unsigned char)text[i] << 16;
        bits |= i + 1 < size ? (unsigned)(unsigned char)text[i + 1] << 8 : 0;
        bits |= i + 2 < size ? (unsigned)(unsigned char)text[i + 2] : 0;
        out[at++] = digits[bits >> 18];
        out[at++] = digits[bits >> 12 & 63];
        out[at++] = i + 1 < size ? digits[bits >> 6 & 63] : '=';
        out[at++] = i + 2 < size ? digits[bits & 63] : '=';
    }
    out[at] = '\0';
}

static void credentials(char *out, struct dice *dice)
{
    char pair[2 * WORD + 2], coded[ASK_TEXT - 8];
    (void)snprintf(pair, sizeof(pair), "%s:%s", some_word(dice), some_word(dice));
    base64(coded, sizeof(coded), pair);
    (void)snprintf(out, ASK_TEXT, "Basic %s", coded);
}

static void odd_value(char *out, struct dice *dice)
{
    static const char *const odd[] = {
        "",
        "0",
        "-1",
        "9223372036854775808",
        "1e309",
        "\xc3\xa4\xe2\x82\xac",
        "\xff\xfe\x80",
        "a, b;q=0.5, \"c,d\"",
        "%00%0d%0a",
        "../../etc/passwd",
        "{\"a\":[1,{\"b\":null}]}",
        "'\"<x>",
        "true",
        "*",
        "a=b; c=\"d\"",
        "0x7fffffff",
        "undefined",
        "\\u0000",
        "$(headers.host)",
    };
    size_t n = dice_below(dice, sizeof(odd) / sizeof(odd[0]) + 1);
    if (n < sizeof(odd) / sizeof(odd[0])) {
        (void)snprintf(out, ASK_TEXT, "%s", odd[n]);
        return;
    }
    memset(out, 'a', ASK_TEXT - 1);
    out[ASK_TEXT - 1] = '\0';
}

void ask_value(char *out, struct dice *dice, bool tidy)
{
    uint32_t kind = dice_below(dice, tidy ? 8 : 12);
    if (kind < 7)
        (void)snprintf(out, ASK_TEXT, "%s", some_word(dice));
    else if (kind == 7)
        credentials(out, dice);
    else if (kind == 8)
        (void)snprintf(out, ASK_TEXT, "Bearer %s", some_word(dice));
    else if (kind == 9)
        (void)snprintf(out, ASK_TEXT, "%s%s", some_word(dice), some_word(dice));
    else
        odd_value(out, dice);
}

/* ---- heads */

/* As it may stand in front of a colon; what frames the message is the kit's own. */
static void header_name(char *out, const char *from)
{
    static const char *const not_ours[] = {"content-length", "transfer-encoding", "host",   "",
                                           "connection",     "upgrade",           "expect", "te",
                                           "content-type"};
    size_t at = 0;
    for (; *from != '\0' && at + 1 < WORD; from++)
        out[at++] = isalnum((unsigned char)*from) || *from == '_' ? *from : '-';
    out[at] = '\0';
    for (size_t i = 0; i < sizeof(not_ours) / sizeof(not_ours[0]); i++)
        if (strcasecmp(out, not_ours[i]) == 0)
            (void)snprintf(out, WORD, "X-Other");
}

static const char *some_header(struct dice *dice)
{
    static const char *const usual[] = {"Accept",           "Authorization",  "Cookie",
                                        "Content-Encoding", "If-None-Match",  "Origin",
                                        "User-Agent",       "X-Forwarded-For"};
    size_t own = watch_header_words();
    if (own > 0 && dice_chance(dice, 60))
        return watch_header_word(dice_below(dice, (uint32_t)own));
    return dice_chance(dice, 50) ? usual[dice_below(dice, 8)] : some_word(dice);
}

static void add_headers(struct ask_header *headers, size_t *count, struct dice *dice, bool tidy)
{
    uint32_t wanted = dice_below(dice, tidy ? 4 : ASK_HEADERS);
    for (uint32_t i = 0; i < wanted && *count < ASK_HEADERS; i++) {
        struct ask_header *header = &headers[(*count)++];
        header_name(header->name, some_header(dice));
        ask_value(header->value, dice, tidy);
        if (dice_chance(dice, 15) && !tidy && *count < ASK_HEADERS) /* the same name once more */
            headers[(*count)++] = *header;
    }
}

/* Every header that the plugin asks for has a word of the configuration. */
static void add_known_headers(struct ask *ask, struct dice *dice)
{
    for (size_t i = 0; i < watch_header_words() && ask->header_count < ASK_HEADERS - 4; i++) {
        struct ask_header *header = &ask->headers[ask->header_count];
        if (dice_chance(dice, 20))
            continue;
        header_name(header->name, watch_header_word(i));
        ask_value(header->value, dice, true);
        ask->header_count++;
    }
}

/* As it may stand in a path or a query. */
static size_t add_escaped(char *out, size_t at, size_t room, const char *text)
{
    static const char digits[] = "0123456789ABCDEF";
    for (; *text != '\0' && at + 4 < room; text++) {
        unsigned char c = (unsigned char)*text;
        if (isalnum(c) || (strchr("-_~", c) != NULL)) {
            out[at++] = (char)c;
            continue;
        }
        out[at++] = '%';
        out[at++] = digits[c >> 4];
        out[at++] = digits[c & 15];
    }
    out[at] = '\0';
    return at;
}

static void make_target(struct ask *ask, struct dice *dice, bool tidy)
{
    size_t room = sizeof(ask->target) - 8, at = 1;
    char value[ASK_TEXT];
    memcpy(ask->target, "/", 2);
    for (uint32_t i = dice_below(dice, 4); i > 0; i--) {
        at = add_escaped(ask->target, at, room, some_word(dice));
        ask->target[at++] = '/';
        ask->target[at] = '\0';
    }
    uint32_t arguments = dice_below(dice, tidy ? 3 : 6);
    for (uint32_t i = 0; i < arguments && at + 8 < room; i++) {
        ask->target[at++] = i == 0 ? '?' : '&';
        at = add_escaped(ask->target, at, room, argument_name(dice));
        if (!dice_chance(dice, 85))
            continue;
        ask_value(value, dice, tidy);
        ask->target[at++] = '=';
        at = add_escaped(ask->target, at, room, value);
    }
    ask->target[at] = '\0';
}

/* ---- bodies */

static void append(struct ask_body *body, const char *text)
{
    size_t size = strlen(text), room = sizeof(body->bytes) - body->size;
    if (size > room)
        size = room;
    memcpy(body->bytes + body->size, text, size);
    body->size += size;
}

/* What needs no escape in JSON or a form. */
static void append_plain(struct ask_body *body, const char *text)
{
    char plain[ASK_TEXT];
    size_t at = 0;
    for (; *text != '\0' && at + 1 < sizeof(plain); text++)
        plain[at++] = isalnum((unsigned char)*text) || strchr("-_.:", *text) != NULL ? *text : '_';
    plain[at] = '\0';
    append(body, plain);
}

static void json_body(struct ask_body *body, struct dice *dice)
{
    (void)snprintf(body->type, sizeof(body->type), "application/json");
    append(body, "{");
    for (uint32_t i = dice_below(dice, 6), first = 1; i > 0; i--, first = 0) {
        append(body, first ? "\"" : ",\"");
        append_plain(body, some_word(dice));
        append(body, dice_chance(dice, 20) ? "\":{\"a\":[1,null,true],\"b\":\"" : "\":\"");
        append_plain(body, some_word(dice));
        append(body, memchr(body->bytes, '[', body->size) != NULL && dice_chance(dice, 50) ? "\"}"
                                                                                           : "\"");
    }
    append(body, "}");
}

static void form_body(struct ask_body *body, struct dice *dice)
{
    (void)snprintf(body->type, sizeof(body->type), "application/x-www-form-urlencoded");
    for (uint32_t i = dice_below(dice, 6); i > 0; i--) {
        append_plain(body, argument_name(dice));
        append(body, "=");
        append_plain(body, some_word(dice));
        append(body, i > 1 ? "&" : "");
    }
}

static void multipart_body(struct ask_body *body, struct dice *dice)
{
    (void)snprintf(body->type, sizeof(body->type), "multipart/form-data; boundary=cut");
    for (uint32_t i = dice_below(dice, 4); i > 0; i--) {
        append(body, "--cut\r\nContent-Disposition: form-data; name=\"");
        append_plain(body, argument_name(dice));
        append(body, "\"\r\n\r\n");
        append_plain(body, some_word(dice));
        append(body, "\r\n");
    }
    append(body, "--cut--\r\n");
}

static void plain_body(struct ask_body *body, struct dice *dice)
{
    (void)snprintf(body->type, sizeof(body->type), "text/plain; charset=utf-8");
    for (uint32_t i = dice_below(dice, 12); i > 0; i--) {
        append(body, some_word(dice));
        append(body, dice_chance(dice, 30) ? "\n" : " ");
    }
}

static void binary_body(struct ask_body *body, struct dice *dice)
{
    (void)snprintf(body->type, sizeof(body->type), "application/octet-stream");
    body->size = dice_below(dice, dice_chance(dice, 20) ? ASK_BODY : 300);
    for (size_t i = 0; i < body->size; i++)
        body->bytes[i] = (char)dice_next(dice);
}

static void make_body(struct ask_body *body, struct dice *dice, bool tidy)
{
    static void (*const kinds[])(struct ask_body *, struct dice *) = {
        json_body, form_body, multipart_body, plain_body, binary_body};
    body->there = true;
    kinds[dice_below(dice, sizeof(kinds) / sizeof(kinds[0]))](body, dice);
    if (tidy)
        return;
    if (dice_chance(dice, 25) && body->size > 0) { /* a byte that should not be there, or an end */
        size_t at = dice_below(dice, (uint32_t)body->size);
        if (dice_chance(dice, 50))
            body->bytes[at] = (char)dice_next(dice);
        else
            body->size = at;
    }
    if (dice_chance(dice, 10))
        (void)snprintf(body->type, sizeof(body->type), "%s",
                       dice_chance(dice, 50) ? "" : "application/json; charset=\xff");
}

/* ---- the whole */

static void make_answer(struct ask *ask, struct dice *dice, bool tidy)
{
    static const int statuses[] = {200, 200, 200, 201, 204, 206, 301, 304, 400, 401, 404, 429, 500};
    ask->status = tidy ? 200 : statuses[dice_below(dice, sizeof(statuses) / sizeof(statuses[0]))];
    make_body(&ask->answer, dice, tidy);
    add_headers(ask->answer_headers, &ask->answer_header_count, dice, tidy);
    if (!tidy && dice_chance(dice, 10))
        ask->failure = 502 + (int)dice_below(dice, 3);
    if (!tidy && dice_chance(dice, 15))
        ask->takes_ms = (int)dice_below(dice, 5000);
}

void ask_make(struct ask *ask, struct dice *dice, bool tidy)
{
    static const char *const methods[] = {"GET",    "POST", "PUT",     "PATCH",
                                          "DELETE", "HEAD", "OPTIONS", "PURGE"};
    static const char *const clients[] = {"127.0.0.1", "203.0.113.9", "10.0.0.1", "2001:db8::7"};
    memset(ask, 0, sizeof(*ask));
    ask->number = dice_next(dice);
    const char *method = methods[dice_below(dice, tidy ? 2 : 8)];
    (void)snprintf(ask->method, sizeof(ask->method), "%s", method);
    (void)snprintf(ask->client_ip, sizeof(ask->client_ip), "%s", clients[dice_below(dice, 4)]);
    ask->tls = dice_chance(dice, 20);
    ask->without_route = !tidy && dice_chance(dice, 5);
    ask->held = !tidy && dice_chance(dice, 20);
    make_target(ask, dice, tidy);
    add_known_headers(ask, dice);
    add_headers(ask->headers, &ask->header_count, dice, tidy);
    if (method[0] == 'P' || dice_chance(dice, 10))
        make_body(&ask->body, dice, tidy);
    if (dice_chance(dice, 50))
        ask->split = 1 + dice_below(dice, dice_chance(dice, 50) ? 8 : 2000);
    make_answer(ask, dice, tidy);
}

/* In a line of text: what does not print becomes a dot. */
static size_t add_shown(char *out, size_t at, size_t size, const char *text)
{
    for (; *text != '\0' && at + 1 < size; text++)
        out[at++] = isprint((unsigned char)*text) ? *text : '.';
    out[at] = '\0';
    return at;
}

void ask_tell(const struct ask *ask, char *out, size_t size)
{
    char part[160];
    size_t at = add_shown(out, 0, size, ask->method);
    at = add_shown(out, at, size, " ");
    at = add_shown(out, at, size, ask->target);
    for (size_t i = 0; i < ask->header_count; i++) {
        at = add_shown(out, at, size, i == 0 ? " with " : ", ");
        at = add_shown(out, at, size, ask->headers[i].name);
        at = add_shown(out, at, size, ": ");
        at = add_shown(out, at, size, ask->headers[i].value);
    }
    if (ask->body.there) {
        (void)snprintf(part, sizeof(part), "; a body of %zu bytes (%s)%s", ask->body.size,
                       ask->body.type, ask->held ? ", late" : "");
        at = add_shown(out, at, size, part);
    }
    if (ask->failure != 0)
        (void)snprintf(part, sizeof(part), "; the target fails (%d)", ask->failure);
    else
        (void)snprintf(part, sizeof(part), "; the target answers %d, %zu bytes", ask->status,
                       ask->answer.size);
    at = add_shown(out, at, size, part);
    (void)snprintf(part, sizeof(part), "; bodies in pieces of %zu", ask->split);
    if (ask->split != 0)
        (void)add_shown(out, at, size, part);
}

kit_request *ask_request(struct kit *kit, const struct ask *ask)
{
    char id[33];
    kit_request *r = kit_request_new(kit, ask->method, ask->target);
    for (size_t i = 0; i < ask->header_count; i++)
        kit_request_header(r, ask->headers[i].name, ask->headers[i].value);
    if (ask->body.there) {
        if (ask->body.type[0] != '\0')
            kit_request_header(r, "Content-Type", ask->body.type);
        kit_request_body_bytes(r, ask->body.bytes, ask->body.size);
    }
    if (ask->without_route)
        kit_request_route(r, NULL);
    if (ask->tls)
        kit_request_tls(r);
    if (ask->held)
        kit_hold_body(r);
    kit_request_client_ip(r, ask->client_ip);
    kit_request_peer_ip(r, ask->client_ip);
    (void)snprintf(id, sizeof(id), "%016llx%016llx", (unsigned long long)ask->number, 7ULL);
    kit_request_id(r, id);
    kit_split(r, ask->split);
    if (ask->failure != 0)
        kit_target_fails(r, ask->failure);
    else
        kit_target_response_bytes(r, ask->status, ask->answer.bytes, ask->answer.size);
    kit_target_header(r, "Content-Type", ask->answer.type);
    for (size_t i = 0; i < ask->answer_header_count; i++)
        kit_target_header(r, ask->answer_headers[i].name, ask->answer_headers[i].value);
    if (ask->takes_ms > 0)
        kit_target_takes(r, ask->takes_ms);
    return r;
}
