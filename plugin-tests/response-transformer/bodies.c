/* Which bodies are edited, which pass as they came, and what is said of them afterwards. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "compressed.h"
#include "kits.h"

#define REMOVE_SECRET "{remove: {json: [secret]}}"
#define SECRET_BODY "{\"secret\":1,\"b\":2}"
#define EDITED_BODY "{\"b\":2}"

struct kind {
    const char *reason, *content_type;
    bool edited;
};

static const struct kind kinds[] = {
    {"JSON", "application/json", true},
    {"parameters", "application/json; charset=utf-8", true},
    {"no case", "Application/JSON", true},
    {"vnd.api+json", "application/vnd.api+json", true},
    {"problem+json, with parameters", "application/problem+json;charset=utf-8", true},
    {"a list that has it", "text/html, application/json", true},
    {"text/plain", "text/plain", false},
    {"no type", "", false},
    {"text/json is none of Kong's", "text/json", false},
    {"a longer word", "application/jsonp", false},
    {"a sequence of documents", "application/json-seq", false},
    {"lines of JSON", "application/x-ndjson", false},
    {"events", "text/event-stream", false},
    {"only in a parameter", "text/plain; x=application/json", false},
};

Test(response_transformer_bodies, content_types)
{
    struct kit *kit = open_kit(REMOVE_SECRET, "");
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        kit_request *r = ask(kit, "/a", 200, kinds[i].content_type, SECRET_BODY);
        cr_expect_eq(kit_run(r), 200, "%s", kinds[i].reason);
        cr_expect_str_eq(kit_response_body(r), kinds[i].edited ? EDITED_BODY : SECRET_BODY, "%s",
                         kinds[i].reason);
        kit_request_free(r);
    }
    cr_expect_str_empty(kit_log_lines(kit), "%s", kit_log_lines(kit));
    kit_close(kit);
}

/* The type counts as this policy leaves it. */
Test(response_transformer_bodies, a_removed_type_is_none)
{
    struct kit *kit = open_kit("{remove: {headers: [Content-Type], json: [secret]}}", "");
    kit_request *r = ask(kit, "/a", 200, "application/json", SECRET_BODY);
    cr_assert_eq(kit_run(r), 200);
    cr_expect_str_eq(kit_response_body(r), SECRET_BODY);
    kit_close(kit);
}

struct broken {
    const char *reason, *body;
};

static const struct broken broken[] = {
    {"no JSON", "broken"},
    {"cut short", "{\"secret\":1"},
    {"more behind it", "{\"secret\":1} x"},
    {"two documents", "{\"secret\":1}{\"secret\":2}"},
    {"a comma too many", "{\"secret\":1,}"},
    {"white space alone", "  "},
};

Test(response_transformer_bodies, no_json_passes_with_a_warning)
{
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        struct kit *kit = open_kit("{remove: {json: [secret]}, envelope: true}", "");
        kit_request *r = ask(kit, "/a", 200, "application/json", broken[i].body);
        kit_target_header(r, "ETag", "\"1\"");
        cr_expect_eq(kit_run(r), 200, "%s", broken[i].reason);
        cr_expect_str_eq(kit_response_body(r), broken[i].body, "%s", broken[i].reason);
        cr_expect_str_eq(kit_response_header(r, "ETag"), "\"1\"", "%s", broken[i].reason);
        cr_expect_not_null(strstr(kit_log_lines(kit), "warn: "), "%s", broken[i].reason);
        cr_expect_null(strstr(kit_log_lines(kit), "secret"), "%s: a body is no log's",
                       broken[i].reason);
        kit_close(kit);
    }
}

Test(response_transformer_bodies, too_deep_passes_with_a_warning)
{
    char deep[600];
    memset(deep, '[', 200);
    memset(deep + 200, ']', 200);
    deep[400] = '\0';
    struct kit *kit = open_kit(REMOVE_SECRET, "");
    kit_request *r = ask(kit, "/a", 200, "application/json", deep);
    cr_assert_eq(kit_run(r), 200);
    cr_expect_str_eq(kit_response_body(r), deep);
    cr_expect_not_null(strstr(kit_log_lines(kit), "nested too deeply"));
    kit_close(kit);
}

struct bodiless {
    const char *reason, *method, *body;
    int status;
};

static const struct bodiless bodiless[] = {
    {"an empty body", "GET", "", 200},
    {"an answer to HEAD", "HEAD", "", 200},
    {"204", "GET", "", 204},
    {"304", "GET", "", 304},
    {"a part of a document", "GET", SECRET_BODY, 206},
};

Test(response_transformer_bodies, nothing_to_edit)
{
    struct kit *kit =
        open_kit("{remove: {json: [secret]}, envelope: true, add: {headers: ['X-A:1']}}", "");
    for (size_t i = 0; i < sizeof(bodiless) / sizeof(bodiless[0]); i++) {
        kit_request *r = kit_request_new(kit, bodiless[i].method, "/a");
        kit_target_response(r, bodiless[i].status, bodiless[i].body);
        kit_target_header(r, "Content-Type", "application/json");
        kit_target_header(r, "ETag", "\"1\"");
        cr_expect_eq(kit_run(r), bodiless[i].status, "%s", bodiless[i].reason);
        cr_expect_str_eq(kit_response_body(r), bodiless[i].body, "%s", bodiless[i].reason);
        cr_expect_str_eq(kit_response_header(r, "ETag"), "\"1\"", "%s", bodiless[i].reason);
        cr_expect_str_eq(kit_response_header(r, "X-A"), "1", "%s", bodiless[i].reason);
        kit_request_free(r);
    }
    cr_expect_str_empty(kit_log_lines(kit), "%s", kit_log_lines(kit));
    kit_close(kit);
}

/* ---- codings */

struct coded {
    const char *reason, *coding, *body;
    size_t size;
    const char *got;      /* NULL: as sent */
    const char *labelled; /* Content-Encoding of the answer; NULL: none */
    bool warned;
};

#define PLAIN_JSON "{\"id\":12345678901234567890,\"list\":[1.0,2]}"
#define BYTES(array) array, sizeof(array) - 1

static const struct coded codings[] = {
    {"gzip", "gzip", BYTES(gzip_body), PLAIN_JSON, NULL, false},
    {"x-gzip, no case", "X-GZIP", BYTES(gzip_body), PLAIN_JSON, NULL, false},
    {"deflate with its head", "deflate", BYTES(zlib_body), PLAIN_JSON, NULL, false},
    {"deflate without", "deflate", BYTES(deflate_body), PLAIN_JSON, NULL, false},
    {"identity", "identity", BYTES(SECRET_BODY), EDITED_BODY, "identity", false},
    {"json-not-json: labelled gzip, but plain", "gzip", BYTES(SECRET_BODY), EDITED_BODY, "gzip",
     false},
    {"another coding passes", "br", BYTES("\x8b\x03\x80"), NULL, "br", true},
    {"two codings pass", "gzip, gzip", BYTES(gzip_body), NULL, "gzip, gzip", true},
    {"cut short: neither coded nor JSON", "gzip", gzip_body, 20, NULL, "gzip", true},
    {"no JSON inside", "gzip", BYTES(gzip_text), NULL, "gzip", true},
};

Test(response_transformer_bodies, codings)
{
    for (size_t i = 0; i < sizeof(codings) / sizeof(codings[0]); i++) {
        const struct coded *row = &codings[i];
        struct kit *kit = open_kit(REMOVE_SECRET, "");
        kit_request *r = kit_request_new(kit, "GET", "/a");
        kit_target_response_bytes(r, 200, row->body, row->size);
        kit_target_header(r, "Content-Type", "application/json");
        kit_target_header(r, "Content-Encoding", row->coding);
        cr_expect_eq(kit_run(r), 200, "%s", row->reason);
        size_t size = row->got == NULL ? row->size : strlen(row->got);
        cr_expect(kit_response_body_size(r) == size &&
                      memcmp(kit_response_body(r), row->got == NULL ? row->body : row->got, size) ==
                          0,
                  "%s: %s", row->reason, kit_response_body(r));
        const char *label = kit_response_header(r, "Content-Encoding");
        cr_expect(label == NULL || row->labelled == NULL ? label == row->labelled
                                                         : strcmp(label, row->labelled) == 0,
                  "%s: Content-Encoding %s", row->reason, label == NULL ? "absent" : label);
        cr_expect_eq(strstr(kit_log_lines(kit), "warn: ") != NULL, row->warned, "%s: %s",
                     row->reason, kit_log_lines(kit));
        kit_close(kit);
    }
}

/* Nothing was there to edit: the bytes that came are the better answer. */
Test(response_transformer_bodies, untouched_stays_compressed)
{
    struct kit *kit = open_kit("{remove: {json: [absent]}}", "");
    kit_request *r = kit_request_new(kit, "GET", "/a");
    kit_target_response_bytes(r, 200, BYTES(gzip_body));
    kit_target_header(r, "Content-Type", "application/json");
    kit_target_header(r, "Content-Encoding", "gzip");
    kit_target_header(r, "ETag", "\"1\"");
    kit_target_header(r, "Content-MD5", "x");
    cr_assert_eq(kit_run(r), 200);
    cr_expect_eq(kit_response_body_size(r), sizeof(gzip_body) - 1);
    cr_expect_str_eq(kit_response_header(r, "Content-Encoding"), "gzip");
    cr_expect_str_eq(kit_response_header(r, "ETag"), "\"1\"");
    cr_expect_str_eq(kit_response_header(r, "Content-MD5"), "x");
    kit_close(kit);
}

struct described {
    const char *reason, *name, *sent, *got;
};

static const struct described described[] = {
    {"a strong tag is weak now", "ETag", "\"1\"", "W/\"1\""},
    {"a weak one is already", "ETag", "W/\"1\"", "W/\"1\""},
    {"the digest of other bytes", "Content-MD5", "x", NULL},
    {"the digest of other bytes", "Digest", "sha-256=x", NULL},
    {"the digest of other bytes", "Content-Digest", "sha-256=:x:", NULL},
    {"the digest of other bytes", "Repr-Digest", "sha-256=:x:", NULL},
    {"the date holds", "Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT",
     "Thu, 01 Jan 2026 00:00:00 GMT"},
};

Test(response_transformer_bodies, fields_that_describe_an_edited_body)
{
    struct kit *kit = open_kit(REMOVE_SECRET, "");
    for (size_t i = 0; i < sizeof(described) / sizeof(described[0]); i++) {
        kit_request *r = ask(kit, "/a", 200, "application/json", SECRET_BODY);
        kit_target_header(r, described[i].name, described[i].sent);
        cr_expect_eq(kit_run(r), 200);
        const char *value = kit_response_header(r, described[i].name);
        cr_expect(value == NULL || described[i].got == NULL ? value == described[i].got
                                                            : strcmp(value, described[i].got) == 0,
                  "%s: %s %s", described[i].reason, described[i].name,
                  value == NULL ? "absent" : value);
        kit_request_free(r);
    }
    kit_close(kit);
}

/* ---- bounds */

Test(response_transformer_bodies, longer_than_the_host_collects)
{
    enum { SIZE = (8 << 20) + 1 };
    char *big = malloc(SIZE);
    cr_assert_not_null(big);
    memset(big, ' ', SIZE);
    memcpy(big, SECRET_BODY, sizeof(SECRET_BODY) - 1);
    struct kit *kit = open_kit(REMOVE_SECRET, "");
    kit_request *r = kit_request_new(kit, "GET", "/a");
    kit_target_response_bytes(r, 200, big, SIZE);
    kit_target_header(r, "Content-Type", "application/json");
    cr_expect_eq(kit_run(r), 502);
    kit_request_free(r);

    r = kit_request_new(kit, "GET", "/a");
    kit_target_response_bytes(r, 200, big, SIZE - 1);
    kit_target_header(r, "Content-Type", "application/json");
    cr_expect_eq(kit_run(r), 200, "8 MiB are none too many");
    cr_expect_eq(memcmp(kit_response_body(r), EDITED_BODY, sizeof(EDITED_BODY) - 1), 0);
    kit_request_free(r);

    r = kit_request_new(kit, "GET", "/a");
    kit_target_response_bytes(r, 200, big, SIZE);
    cr_expect_eq(kit_run(r), 200, "what is not edited has no bound");
    cr_expect_eq(kit_response_body_size(r), SIZE);
    kit_close(kit);
    free(big);
}

/* ---- whose answers */

struct maker {
    const char *reason, *others;
    const char *route; /* NULL: none matches */
    int target_fails;
    int status;
};

static const struct maker makers[] = {
    {"on-gateway-errors: 401 of another policy", ", {name: key-auth}", "r", 0, 401},
    {"on-gateway-errors: no route", "", NULL, 0, 404},
    {"on-502: no answer of the service", "", "r", 502, 502},
    {"504", "", "r", 504, 504},
};

Test(response_transformer_bodies, answers_that_no_service_makes)
{
    for (size_t i = 0; i < sizeof(makers) / sizeof(makers[0]); i++) {
        struct kit *kit = open_kit("{add: {headers: ['X-T:$(latency)'], json: ['extra:1']},"
                                   " remove: {headers: [WWW-Authenticate], json: [request_id]}}",
                                   makers[i].others);
        kit_request *r = kit_request_new(kit, "GET", "/a");
        kit_request_route(r, makers[i].route);
        if (makers[i].target_fails != 0)
            kit_target_fails(r, makers[i].target_fails);
        cr_expect_eq(kit_run(r), makers[i].status, "%s: %d", makers[i].reason, kit_status(r));
        cr_expect_str_eq(kit_response_header(r, "X-T"), "0", "%s", makers[i].reason);
        cr_expect_null(kit_response_header(r, "WWW-Authenticate"), "%s", makers[i].reason);
        const char *body = kit_response_body(r);
        cr_expect(strstr(body, "\"message\":") != NULL && strstr(body, "\"extra\":\"1\"") != NULL &&
                      strstr(body, "request_id") == NULL,
                  "%s: %s", makers[i].reason, body);
        kit_close(kit);
    }
}

Test(response_transformer_bodies, an_answer_of_rate_limiting)
{
    struct kit *kit = open_kit("{add: {headers: ['X-T:1'], json: ['extra:1']}}",
                               ", {name: rate-limiting, config: {minute: 1, policy: local}}");
    for (int i = 0; i < 2; i++) {
        kit_request *r = ask(kit, "/a", 200, "application/json", "{}");
        cr_expect_eq(kit_run(r), i == 0 ? 200 : 429);
        cr_expect_str_eq(kit_response_header(r, "X-T"), "1");
        cr_expect_not_null(strstr(kit_response_body(r), "\"extra\":\"1\""));
        kit_request_free(r);
    }
    kit_close(kit);
}
