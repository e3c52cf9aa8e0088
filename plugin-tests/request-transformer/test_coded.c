/* Compressed bodies: what is undone, what passes, what is refused. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

#define COUNT_OF(rows) (sizeof(rows) / sizeof((rows)[0]))
#define BYTES(array) (array), sizeof(array) - 1

#define SENT "{\"a\":1,\"x\":2}"

/* SENT, compressed. */
static const char gzip_json[] =
    "\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xab\x56\x4a\x54\xb2\x32\xd4\x51\xaa\x50\xb2\x32"
    "\xaa\x05\x00\xa0\x41\x11\xe5\x0d\x00\x00\x00";
static const char zlib_json[] =
    "\x78\x9c\xab\x56\x4a\x54\xb2\x32\xd4\x51\xaa\x50\xb2\x32\xaa\x05\x00\x17\x64\x03\x5d";
static const char raw_json[] = "\xab\x56\x4a\x54\xb2\x32\xd4\x51\xaa\x50\xb2\x32\xaa\x05\x00";
/* "a=1&x=2" */
static const char gzip_form[] =
    "\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\x4b\xb4\x35\x54\xab\xb0\x35\x02\x00\x5e\xcd\x8c"
    "\xe9\x07\x00\x00\x00";
/* 65,536 blanks; several such members are one body. */
static const char gzip_blanks[] =
    "\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xed\xc1\x81\x00\x00\x00\x00\x80\x20\x95\xfd\x29"
    "\x17\xa9\x0a\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
    "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
    "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
    "\x6a\x94\x19\x2c\xb4\x00\x00\x01\x00";

#define REMOVE_X "{remove: {body: [x]}}"

Test(coded, bodies)
{
    static const struct {
        const char *reason, *config, *type, *coding, *second_coding, *body;
        size_t size;
        const char *want; /* NULL: as sent */
        const char *want_coding, *log;
    } rows[] = {
        {"gzip", REMOVE_X, JSON, "gzip", NULL, BYTES(gzip_json), "{\"a\":1}", "-", ""},
        {"its other name, in capitals", REMOVE_X, JSON, "X-GZIP", NULL, BYTES(gzip_json),
         "{\"a\":1}", "-", ""},
        {"deflate", REMOVE_X, JSON, "deflate", NULL, BYTES(zlib_json), "{\"a\":1}", "-", ""},
        {"deflate without zlib's head", REMOVE_X, JSON, "deflate", NULL, BYTES(raw_json),
         "{\"a\":1}", "-", ""},
        {"a form", REMOVE_X, FORM, "gzip", NULL, BYTES(gzip_form), "a=1", "-", ""},
        {"a form for the query", "{http_method: GET}", FORM, "gzip", NULL, BYTES(gzip_form), NULL,
         "gzip", ""},
        {"identity", REMOVE_X, JSON, "identity", NULL, BYTES(SENT), "{\"a\":1}", "-", ""},
        {"what no rule changes passes as it is", "{remove: {body: [nope]}}", JSON, "gzip", NULL,
         BYTES(gzip_json), NULL, "gzip", ""},
        {"no body rule: not looked at", "{add: {headers: ['X-A:1']}}", JSON, "gzip", NULL, "junk",
         4, NULL, "gzip", ""},
        {"an unknown coding", REMOVE_X, JSON, "br", NULL, BYTES(SENT), NULL, "br",
         "its Content-Encoding is not known"},
        {"two codings", REMOVE_X, JSON, "gzip, gzip", NULL, BYTES(gzip_json), NULL, "gzip, gzip",
         "its Content-Encoding is not known"},
        {"two fields", REMOVE_X, JSON, "gzip", "gzip", BYTES(gzip_json), NULL, "gzip|gzip",
         "its Content-Encoding is not known"},
        {"not what it says", REMOVE_X, JSON, "gzip", NULL, BYTES(SENT), NULL, "gzip",
         "it is not encoded as its Content-Encoding says"},
        {"cut short", REMOVE_X, JSON, "gzip", NULL, gzip_json, sizeof(gzip_json) - 5, NULL, "gzip",
         "it is not encoded as its Content-Encoding says"},
        {"broken JSON inside", REMOVE_X, JSON, "gzip", NULL, BYTES(gzip_form), NULL, "gzip", ""},
        {"no body", "{add: {body: ['n:1']}}", JSON, "gzip", NULL, "", 0, "{\"n\":\"1\"}", "-", ""},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct kit *kit = check_open(rows[i].config);
        kit_request *r = kit_request_new(kit, "POST", "/a");
        kit_request_header(r, "Content-Type", rows[i].type);
        kit_request_header(r, "Content-Encoding", rows[i].coding);
        if (rows[i].second_coding != NULL)
            kit_request_header(r, "Content-Encoding", rows[i].second_coding);
        kit_request_body_bytes(r, rows[i].body, rows[i].size);
        cr_expect_eq(kit_run(r), 200, "%s: %s", rows[i].reason, kit_log_lines(kit));
        size_t size = kit_upstream_body_size(r);
        const char *have = kit_upstream_body(r);
        if (rows[i].want != NULL)
            cr_expect_str_eq(have, rows[i].want, "%s", rows[i].reason);
        else
            cr_expect(size == rows[i].size && memcmp(have, rows[i].body, size) == 0, "%s",
                      rows[i].reason);
        cr_expect_str_eq(check_values(r, "Content-Encoding"), rows[i].want_coding, "%s",
                         rows[i].reason);
        const char *log = kit_log_lines(kit);
        cr_expect(rows[i].log[0] == '\0' ? log[0] == '\0' : strstr(log, rows[i].log) != NULL,
                  "%s: %s", rows[i].reason, log);
        const char *first = strstr(log, "warn: ");
        cr_expect(first == NULL || strstr(first + 1, "warn: ") == NULL, "%s: one warning is enough",
                  rows[i].reason);
        kit_close(kit);
    }
}

Test(coded, form_reaches_the_query)
{
    struct kit *kit = check_open("{http_method: GET}");
    kit_request *r = kit_request_new(kit, "POST", "/a");
    kit_request_header(r, "Content-Type", FORM);
    kit_request_header(r, "Content-Encoding", "gzip");
    kit_request_body_bytes(r, BYTES(gzip_form));
    cr_assert_eq(kit_run(r), 200);
    cr_expect_str_eq(kit_upstream_query(r), "a=1&x=2");
    kit_close(kit);
}

/* A small body that becomes a large one: who could pass it by would escape the rules. */
Test(coded, above_the_cap)
{
    enum { MEMBERS = (8 << 20) / 65536 };
    size_t member = sizeof(gzip_blanks) - 1;
    char *body = malloc((MEMBERS + 1) * member);
    cr_assert_not_null(body);
    for (size_t i = 0; i <= MEMBERS; i++)
        memcpy(body + i * member, gzip_blanks, member);
    for (size_t count = MEMBERS; count <= MEMBERS + 1; count++) {
        struct kit *kit = check_open(REMOVE_X);
        kit_request *r = kit_request_new(kit, "POST", "/a");
        kit_request_header(r, "Content-Type", JSON);
        kit_request_header(r, "Content-Encoding", "gzip");
        kit_request_body_bytes(r, body, count * member);
        cr_expect_eq(kit_run(r), count == MEMBERS ? 200 : 413, "%zu", count);
        cr_expect_eq(kit_was_proxied(r), count == MEMBERS);
        kit_close(kit);
    }
    free(body);
}
