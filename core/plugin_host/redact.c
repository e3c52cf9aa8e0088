/* Tokens, and where secrets stand in headers, queries and bodies. Next: redact_config.c. */
#include "plugin_host/redact.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/text.h"

enum {
    NAMES_MAX = 256,
    NAME_MAX_BYTES = 64,
    NOTED_MAX = 64,  /* values of one message */
    NOTED_BYTES = 8, /* shorter ones would be found everywhere */
    JSON_DEPTH = 64,
};

struct noted {
    struct span secret; /* malloc()ed */
    char token[REDACT_TOKEN_MAX];
    size_t size;
};

struct redaction {
    unsigned char key[REDACT_KEY];
    char names[NAMES_MAX][NAME_MAX_BYTES]; /* as normal() makes them */
    size_t name_count;
    struct noted noted[NOTED_MAX];
    size_t noted_count;
};

static const char *const usual[] = {
    "authorization",
    "proxy_authorization",
    "cookie",
    "set_cookie",
    "apikey",
    "api_key",
    "x_api_key",
    "x_apikey",
    "key",
    "token",
    "access_token",
    "refresh_token",
    "id_token",
    "auth",
    "auth_token",
    "x_auth_token",
    "x_access_token",
    "x_csrf_token",
    "x_xsrf_token",
    "csrf_token",
    "csrf",
    "jwt",
    "secret",
    "client_secret",
    "client_assertion",
    "password",
    "passwd",
    "pwd",
    "pass",
    "code",
    "session",
    "session_id",
    "sessionid",
    "sid",
    "signature",
    "sig",
    "x_signature",
    "x_amz_security_token",
    "x_amz_signature",
    "x_amz_credential",
    "x_goog_signature",
    "private_key",
    "credential",
    "credentials",
};

/* ---- names */

static bool normal(struct span name, char out[NAME_MAX_BYTES])
{
    if (name.size == 0 || name.size >= NAME_MAX_BYTES)
        return false;
    for (size_t i = 0; i < name.size; i++)
        out[i] = name.data[i] == '-' ? '_' : (char)tolower((unsigned char)name.data[i]);
    out[name.size] = '\0';
    return true;
}

struct redaction *redaction_create(const unsigned char key[REDACT_KEY])
{
    struct redaction *redaction = calloc(1, sizeof(*redaction));
    if (redaction == NULL)
        return NULL;
    memcpy(redaction->key, key, REDACT_KEY);
    for (size_t i = 0; i < COUNT_OF(usual); i++)
        if (redaction_add_name(redaction, span_text(usual[i])) != WEIR_OK)
            abort(); /* the table is ours, and shorter */
    return redaction;
}

void redaction_destroy(struct redaction *redaction)
{
    if (redaction == NULL)
        return;
    redaction_begin(redaction);
    explicit_bzero(redaction->key, sizeof(redaction->key));
    free(redaction);
}

enum weir_err redaction_add_name(struct redaction *redaction, struct span name)
{
    char text[NAME_MAX_BYTES];
    if (!normal(name, text) || redaction->name_count == NAMES_MAX)
        return WEIR_ERR_LIMIT;
    if (redaction_has_name(redaction, name))
        return WEIR_OK;
    memcpy(redaction->names[redaction->name_count++], text, sizeof(text));
    return WEIR_OK;
}

bool redaction_has_name(const struct redaction *redaction, struct span name)
{
    char text[NAME_MAX_BYTES];
    if (!normal(name, text))
        return false;
    for (size_t i = 0; i < redaction->name_count; i++)
        if (strcmp(redaction->names[i], text) == 0)
            return true;
    return false;
}

/* ---- tokens */

static size_t token_size(size_t size)
{
    return size == 0 ? 0 : size <= 8 ? 8 : size <= 16 ? 16 : size <= 32 ? 32 : REDACT_TOKEN_MAX;
}

/* Without memory it is of nothing but the key, and so the same for all: no secret gets out. */
static void digest(const struct redaction *redaction, unsigned char counter, struct span value,
                   unsigned char out[DIGEST_SHA256])
{
    AUTO_BUF text = BUF_INIT;
    buf_append(&text, redaction->key, REDACT_KEY);
    buf_byte(&text, (char)counter);
    buf_span(&text, value);
    digest_sha256(out, text.failed ? span_of((const char *)redaction->key, REDACT_KEY)
                                   : buf_view(&text));
    if (!text.failed)
        explicit_bzero(text.data, text.size);
}

static size_t make_token(const struct redaction *redaction, struct span value,
                         char out[REDACT_TOKEN_MAX])
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    unsigned char bytes[2 * DIGEST_SHA256];
    size_t size = token_size(value.size);
    digest(redaction, 0, value, bytes);
    digest(redaction, 1, value, bytes + DIGEST_SHA256);
    for (size_t i = 0; i < size; i++)
        out[i] = letters[bytes[i] % (sizeof(letters) - 1)];
    if (size > 0) /* to be told apart by who reads the file */
        memcpy(out, "r-", 2);
    return size;
}

void redaction_begin(struct redaction *redaction)
{
    for (size_t i = 0; i < redaction->noted_count; i++) {
        struct span secret = redaction->noted[i].secret;
        char *memory = (char *)(uintptr_t)secret.data;
        explicit_bzero(memory, secret.size);
        free(memory);
    }
    redaction->noted_count = 0;
}

void redaction_note(struct redaction *redaction, struct span secret)
{
    if (secret.size < NOTED_BYTES || redaction->noted_count == NOTED_MAX)
        return;
    for (size_t i = 0; i < redaction->noted_count; i++)
        if (span_equal(redaction->noted[i].secret, secret))
            return;
    char *copy = malloc(secret.size);
    if (copy == NULL)
        return;
    memcpy(copy, secret.data, secret.size);
    struct noted *noted = &redaction->noted[redaction->noted_count++];
    noted->secret = span_of(copy, secret.size);
    noted->size = make_token(redaction, secret, noted->token);
}

void redact_value(struct redaction *redaction, struct buf *out, struct span value)
{
    char token[REDACT_TOKEN_MAX];
    redaction_note(redaction, value);
    buf_append(out, token, make_token(redaction, value, token));
}

/* The longest that begins here. */
static const struct noted *noted_at(const struct redaction *redaction, struct span text)
{
    const struct noted *found = NULL;
    for (size_t i = 0; i < redaction->noted_count; i++) {
        const struct noted *noted = &redaction->noted[i];
        if ((found == NULL || noted->secret.size > found->secret.size) &&
            span_starts_with(text, noted->secret))
            found = noted;
    }
    return found;
}

void redact_text(const struct redaction *redaction, struct buf *out, struct span text)
{
    if (redaction->noted_count == 0) {
        buf_span(out, text);
        return;
    }
    for (size_t at = 0; at < text.size;) {
        const struct noted *noted = noted_at(redaction, span_from(text, at));
        if (noted == NULL) {
            buf_byte(out, text.data[at++]);
        } else {
            buf_append(out, noted->token, noted->size);
            at += noted->secret.size;
        }
    }
}

/* ---- queries and forms */

/* What the value says without its escapes is what a credential is. */
static void redact_argument(struct redaction *redaction, struct buf *out, struct span value)
{
    AUTO(arena_destroy) struct arena *arena = arena_create(NULL);
    struct span plain = arena == NULL ? SPAN_NONE : text_percent_decode(arena, value, true);
    redaction_note(redaction, value);
    redact_value(redaction, out, span_is_set(plain) ? plain : value);
}

void redact_query(struct redaction *redaction, struct buf *out, struct span query)
{
    struct span part;
    for (bool first = true; span_split(&query, '&', &part); first = false) {
        size_t equals = span_find(part, '=');
        struct span name = span_first(part, equals);
        if (!first)
            buf_byte(out, '&');
        if (equals == part.size || !redaction_has_name(redaction, name)) {
            redact_text(redaction, out, part);
            continue;
        }
        buf_span(out, span_first(part, equals + 1));
        redact_argument(redaction, out, span_from(part, equals + 1));
    }
}

/* ---- headers */

/* "Bearer TOKEN": the scheme says how to read the rest. */
static void redact_scheme(struct redaction *redaction, struct buf *out, struct span value)
{
    size_t blank = span_find(value, ' ');
    if (blank < value.size) {
        buf_span(out, span_first(value, blank + 1));
        value = span_from(value, blank + 1);
    }
    redact_value(redaction, out, value);
}

/* "a=b; c=d", of which only the first when the others are attributes. */
static void redact_cookies(struct redaction *redaction, struct buf *out, struct span value,
                           bool first_alone)
{
    struct span part;
    for (size_t i = 0; span_split(&value, ';', &part); i++) {
        size_t equals = span_find(part, '=');
        if (i > 0)
            buf_byte(out, ';');
        if (equals == part.size || (first_alone && i > 0)) {
            redact_text(redaction, out, part);
        } else {
            buf_span(out, span_first(part, equals + 1));
            redact_value(redaction, out, span_from(part, equals + 1));
        }
    }
}

/* "/path?a=b#c": what follows '?' is a query. */
static void redact_url(struct redaction *redaction, struct buf *out, struct span value)
{
    size_t mark = span_find(value, '?');
    redact_text(redaction, out, span_first(value, mark));
    if (mark == value.size)
        return;
    struct span rest = span_from(value, mark + 1);
    size_t hash = span_find(rest, '#');
    buf_byte(out, '?');
    redact_query(redaction, out, span_first(rest, hash));
    redact_text(redaction, out, span_from(rest, hash));
}

static void redact_addresses(struct redaction *redaction, struct buf *out, struct span value)
{
    struct span part;
    for (bool first = true; span_split(&value, ',', &part); first = false) {
        if (!first)
            buf_text(out, ", ");
        redact_address(redaction, out, span_trim(part));
    }
}

static bool is_one_of(struct span name, const char *const names[], size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (span_equal_nocase(name, span_text(names[i])))
            return true;
    return false;
}

void redact_header(struct redaction *redaction, struct buf *out, struct span name,
                   struct span value)
{
    static const char *const urls[] = {"referer", "location", "content-location"};
    static const char *const addresses[] = {"x-forwarded-for", "x-real-ip",        "forwarded",
                                            "true-client-ip",  "cf-connecting-ip", "x-client-ip"};
    if (span_equal_nocase(name, SPAN("cookie")))
        redact_cookies(redaction, out, value, false);
    else if (span_equal_nocase(name, SPAN("set-cookie")))
        redact_cookies(redaction, out, value, true);
    else if (redaction_has_name(redaction, name))
        redact_scheme(redaction, out, value);
    else if (is_one_of(name, urls, COUNT_OF(urls)))
        redact_url(redaction, out, value);
    else if (is_one_of(name, addresses, COUNT_OF(addresses)))
        redact_addresses(redaction, out, value);
    else
        redact_text(redaction, out, value);
}

/* ---- JSON */

struct json {
    struct redaction *redaction;
    struct buf *out;
    struct span text;
    size_t at;
    int depth;
    int secret_depth; /* everything deeper is secret; 0: nothing is */
    bool next_is_secret;
};

/* The string that begins at its quote, without quotes; how far it goes with them. */
static struct span take_string(struct json *json)
{
    size_t from = ++json->at;
    while (json->at < json->text.size && json->text.data[json->at] != '"')
        json->at += json->text.data[json->at] == '\\' ? 2 : 1;
    if (json->at > json->text.size)
        json->at = json->text.size;
    struct span inside = span_of(json->text.data + from, json->at - from);
    if (json->at < json->text.size)
        json->at++;
    return inside;
}

static bool is_name(const struct json *json)
{
    size_t at = json->at;
    while (at < json->text.size && isspace((unsigned char)json->text.data[at]))
        at++;
    return at < json->text.size && json->text.data[at] == ':';
}

static bool is_hidden(struct json *json)
{
    bool hidden = json->next_is_secret || json->secret_depth > 0;
    json->next_is_secret = false;
    return hidden;
}

static void put_string(struct json *json)
{
    struct span inside = take_string(json);
    buf_byte(json->out, '"');
    if (is_name(json)) {
        redact_text(json->redaction, json->out, inside);
        json->next_is_secret = redaction_has_name(json->redaction, inside);
    } else if (is_hidden(json)) {
        redact_value(json->redaction, json->out, inside);
    } else {
        redact_text(json->redaction, json->out, inside);
    }
    buf_byte(json->out, '"');
}

static bool is_number_byte(char c)
{
    return isdigit((unsigned char)c) || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E';
}

static void put_number(struct json *json)
{
    size_t from = json->at;
    while (json->at < json->text.size && is_number_byte(json->text.data[json->at]))
        json->at++;
    struct span number = span_of(json->text.data + from, json->at - from);
    if (!is_hidden(json)) {
        redact_text(json->redaction, json->out, number);
        return;
    }
    buf_byte(json->out, '"');
    redact_value(json->redaction, json->out, number);
    buf_byte(json->out, '"');
}

void redact_json(struct redaction *redaction, struct buf *out, struct span text)
{
    struct json json = {.redaction = redaction, .out = out, .text = text};
    while (json.at < text.size) {
        char c = text.data[json.at];
        if (c == '"') {
            put_string(&json);
            continue;
        }
        if (isdigit((unsigned char)c) || c == '-') {
            put_number(&json);
            continue;
        }
        if (c == '{' || c == '[') {
            json.depth++;
            if (json.next_is_secret && json.secret_depth == 0)
                json.secret_depth = json.depth;
            json.next_is_secret = false;
        } else if (c == '}' || c == ']') {
            if (json.secret_depth == json.depth)
                json.secret_depth = 0;
            json.depth--;
        } else if (isalpha((unsigned char)c) || c == ',') { /* true, false, null */
            json.next_is_secret = json.next_is_secret && c != ',';
        }
        buf_byte(out, c);
        json.at++;
    }
}

/* ---- addresses */

void redact_address(struct redaction *redaction, struct buf *out, struct span address)
{
    unsigned char bytes[DIGEST_SHA256];
    bool is_six = span_find(address, ':') < address.size;
    bool is_four = !is_six && address.size > 0 && isdigit((unsigned char)address.data[0]);
    redaction_note(redaction, address);
    digest(redaction, 2, address, bytes);
    if (is_four)
        buf_printf(out, "10.%u.%u.%u", bytes[0], bytes[1], bytes[2]);
    else if (is_six)
        buf_printf(out, "fd00::%x:%x", (unsigned)bytes[0] << 8 | bytes[1],
                   (unsigned)bytes[2] << 8 | bytes[3]);
    else
        redact_value(redaction, out, address);
}
