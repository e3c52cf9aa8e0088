/* What Kong has not: names at any depth, maps, the envelope and pagination. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "kits.h"

struct row {
    const char *reason, *config, *sent, *got; /* `got` NULL: as sent */
};

/* clang-format off */
static const struct row rows[] = {
    {"deep: remove in objects and lists, however nested",
     "{deep: true, remove: {json: [_id, __v]}}",
     "{\"_id\":1,\"user\":{\"_id\":2,\"name\":\"ann\",\"tags\":[{\"__v\":0,\"t\":\"x\"},[{\"_id\":3}]]},\"__v\":0}",
     "{\"user\":{\"name\":\"ann\",\"tags\":[{\"t\":\"x\"},[{}]]}}"},
    {"deep: a list at the top", "{deep: true, remove: {json: [_id]}}", "[{\"_id\":1,\"a\":1},{\"_id\":2}]", "[{\"a\":1},{}]"},
    {"deep: what was removed is not looked into", "{deep: true, remove: {json: [a]}}", "{\"a\":{\"a\":{\"a\":1}}}", "{}"},
    {"deep: rename everywhere", "{deep: true, rename: {json: ['createdAt:created_at']}}",
     "{\"createdAt\":1,\"l\":[{\"createdAt\":2}]}", "{\"created_at\":1,\"l\":[{\"created_at\":2}]}"},
    {"deep: by map", "{deep: true, rename: {json_map: {createdAt: created_at, updatedAt: updated_at}}}",
     "{\"createdAt\":{\"updatedAt\":1},\"updatedAt\":2}", "{\"created_at\":{\"updated_at\":1},\"updated_at\":2}"},
    {"deep: what is put in goes to the top alone", "{deep: true, add: {json: ['a:1']}, replace: {json: ['b:2']}, append: {json: ['c:3']}}",
     "{\"b\":1,\"o\":{\"b\":1}}", "{\"b\":\"2\",\"o\":{\"b\":1},\"a\":\"1\",\"c\":[\"3\"]}"},
    {"deep: a path is a path", "{deep: true, remove: {json: [$.a.x]}}", "{\"x\":1,\"a\":{\"x\":2}}", "{\"x\":1,\"a\":{}}"},
    {"maps without deep: the top alone", "{rename: {json_map: {a: b}}}", "{\"a\":{\"a\":1}}", "{\"b\":{\"a\":1}}"},
    {"list and map together: the list first", "{rename: {json: ['a:b'], json_map: {b: c}}}", "{\"a\":1}", "{\"c\":1}"},
};
/* clang-format on */

Test(response_transformer_extensions, rows)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *want = rows[i].got == NULL ? rows[i].sent : rows[i].got;
        const char *got = edited(rows[i].config, rows[i].sent);
        cr_expect_str_eq(got, want, "%s\n   got %s\n  want %s", rows[i].reason, got, want);
    }
}

/* ---- the envelope; the kit's clock stands at 2026-01-01 */

#define ID "0123456789abcdef0123456789abcdef"
#define META_OF(id, version, more)   \
    ",\"meta\":{\"requestId\":\"" id \
    "\",\"timestamp\":\"2026-01-01T00:00:00.007Z\",\"version\":\"" version "\"" more "}}"
#define META META_OF(ID, "v1", "")
#define PAGES(total, page, per_page) \
    META_OF(ID, "v1",                \
            ",\"pagination\":{\"total\":" total ",\"page\":" page ",\"perPage\":" per_page "}")

struct wrapped {
    const char *reason, *config, *query;
    int status;
    const char *sent, *got;
};

/* clang-format off */
static const struct wrapped wrapped[] = {
    {"an object", "{envelope: true}", "", 200, "{\"a\":1.0}", "{\"success\":true,\"data\":{\"a\":1.0}" META},
    {"a list", "{envelope: true}", "", 200, "[1,2]", "{\"success\":true,\"data\":[1,2]" META},
    {"a number", "{envelope: true}", "", 201, "7", "{\"success\":true,\"data\":7" META},
    {"success is below 400", "{envelope: true}", "", 399, "null", "{\"success\":true,\"data\":null" META},
    {"and not from there on", "{envelope: true}", "", 400, "null", "{\"success\":false,\"data\":null" META},
    {"version", "{envelope: true, api_version: 'v\"2'}", "", 200, "{}", "{\"success\":true,\"data\":{}" META_OF(ID, "v\\\"2", "")},
    {"edits come before", "{envelope: true, remove: {json: [_id]}, rename: {json: ['a:b']}, add: {json: ['c:1']}}", "", 200,
     "{\"_id\":1,\"a\":2}", "{\"success\":true,\"data\":{\"b\":2,\"c\":\"1\"}" META},
    {"deep edits too, and not in the envelope", "{envelope: true, deep: true, remove: {json: [_id, meta, data]}}", "", 200,
     "[{\"_id\":1,\"data\":2}]", "{\"success\":true,\"data\":[{}]" META},
    {"pages of an object: none", "{envelope: true, pagination: true}", "?page=3", 200, "{}", "{\"success\":true,\"data\":{}" META},
    {"pages by default", "{envelope: true, pagination: true}", "", 200, "[1,[2,3],{}]", "{\"success\":true,\"data\":[1,[2,3],{}]" PAGES("3", "1", "20")},
    {"an empty list", "{envelope: true, pagination: true}", "", 200, "[]", "{\"success\":true,\"data\":[]" PAGES("0", "1", "20")},
    {"pages asked for", "{envelope: true, pagination: true}", "?page=3&per_page=50", 200, "[]", "{\"success\":true,\"data\":[]" PAGES("0", "3", "50")},
    {"digits up to what is none", "{envelope: true, pagination: true}", "?page=%204x&per_page=1e3", 200, "[]", "{\"success\":true,\"data\":[]" PAGES("0", "4", "1")},
    {"no number", "{envelope: true, pagination: true}", "?page=x&per_page=", 200, "[]", "{\"success\":true,\"data\":[]" PAGES("0", "1", "20")},
    {"0 is as good as none", "{envelope: true, pagination: true}", "?page=0&per_page=00", 200, "[]", "{\"success\":true,\"data\":[]" PAGES("0", "1", "20")},
    {"signs", "{envelope: true, pagination: true}", "?page=-2&per_page=%2B5", 200, "[]", "{\"success\":true,\"data\":[]" PAGES("0", "-2", "5")},
    {"hexadecimal, as JavaScript reads it", "{envelope: true, pagination: true}", "?page=0x1F&per_page=0x", 200, "[]", "{\"success\":true,\"data\":[]" PAGES("0", "31", "20")},
    {"out of all bounds", "{envelope: true, pagination: true}", "?page=99999999999999999999999", 200, "[]", "{\"success\":true,\"data\":[]" PAGES("0", "1", "20")},
    {"the first of several", "{envelope: true, pagination: true}", "?page=2&page=3", 200, "[]", "{\"success\":true,\"data\":[]" PAGES("0", "2", "20")},
};
/* clang-format on */

Test(response_transformer_extensions, envelope)
{
    for (size_t i = 0; i < sizeof(wrapped) / sizeof(wrapped[0]); i++) {
        const struct wrapped *row = &wrapped[i];
        char target[128];
        (void)snprintf(target, sizeof(target), "/a%s", row->query);
        struct kit *kit = open_kit(row->config, "");
        kit_set_time(kit, 1767225600007);
        kit_request *r = ask(kit, target, row->status, "application/json", row->sent);
        kit_request_id(r, ID);
        kit_target_header(r, "ETag", "\"1\"");
        cr_expect_eq(kit_run(r), row->status, "%s", row->reason);
        cr_expect_str_eq(kit_response_body(r), row->got, "%s\n   got %s\n  want %s", row->reason,
                         kit_response_body(r), row->got);
        cr_expect_str_eq(kit_response_header(r, "ETag"), "W/\"1\"", "%s", row->reason);
        kit_close(kit);
    }
}

/* The name under which the caller knows the request. */
Test(response_transformer_extensions, envelope_with_correlation_id)
{
    struct kit *kit = open_kit("{envelope: true}",
                               ", {name: correlation-id, config: {header_name: X-Correlation-ID}}");
    kit_set_time(kit, 1767225600007);
    kit_request *r = ask(kit, "/a", 200, "application/json", "{}");
    kit_request_header(r, "X-Correlation-ID", "abc\"1");
    cr_assert_eq(kit_run(r), 200);
    cr_expect_str_eq(kit_response_body(r),
                     "{\"success\":true,\"data\":{}" META_OF("abc\\\"1", "v1", ""));
    kit_close(kit);
}

Test(response_transformer_extensions, envelope_of_our_own_errors)
{
    struct kit *kit = open_kit("{envelope: true}", ", {name: key-auth}");
    kit_set_time(kit, 1767225600007);
    kit_request *r = kit_request_new(kit, "GET", "/a");
    kit_request_id(r, ID);
    cr_assert_eq(kit_run(r), 401);
    cr_expect_str_eq(kit_response_body(r),
                     "{\"success\":false,\"data\":{\n  \"message\":\"No API key found in "
                     "request\",\n  \"request_id\":\"" ID "\"\n}" META);
    kit_close(kit);
}

/* The example of the seed document: internal fields go at any depth, names change, all in a list of
 * two pages, standard envelope. */
Test(response_transformer_extensions, a_standard_api)
{
    struct kit *kit =
        open_kit("{deep: true, envelope: true, api_version: v2, pagination: true,"
                 " remove: {json: [_id, __v, internalNotes, passwordHash]},"
                 " rename: {json_map: {createdAt: created_at, updatedAt: updated_at}}}",
                 "");
    kit_set_time(kit, 1767225600007);
    kit_request *r =
        ask(kit, "/a?page=2&per_page=2", 200, "application/json; charset=utf-8",
            "[{\"_id\":\"6f\",\"name\":\"ann\",\"passwordHash\":\"x\",\"createdAt\":1,\"__v\":0,"
            "\"orders\":[{\"_id\":9223372036854775807,\"internalNotes\":[{\"a\":1}],"
            "\"updatedAt\":null,\"price\":1.10}]},{\"_id\":2}]");
    kit_request_id(r, ID);
    cr_assert_eq(kit_run(r), 200);
    cr_expect_str_eq(kit_response_body(r),
                     "{\"success\":true,\"data\":[{\"name\":\"ann\",\"created_at\":1,"
                     "\"orders\":[{\"updated_at\":null,\"price\":1.10}]},{}]" META_OF(
                         ID, "v2", ",\"pagination\":{\"total\":2,\"page\":2,\"perPage\":2}"));
    kit_close(kit);
}
