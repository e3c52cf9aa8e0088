/* JSON rules: a row for each operation, type and answer that a real Kong was recorded to give. What
 * a row does not name is compared byte for byte, as everything of the body is. */
#include <criterion/criterion.h>
#include <string.h>

#include "kits.h"

struct row {
    const char *reason, *config, *sent, *got; /* `got` NULL: as sent */
};

/* clang-format off */
static const struct row rows[] = {
    {"json-all: everything at once; numbers, order and spelling stay",
     "{add: {json: ['n:1', 'keep:x'], json_types: [number, string]}, append: {json: ['arr:y', 'keep:z', 'newl:1']},"
     " replace: {json: ['rep:true', 'none:1'], json_types: [boolean]}, remove: {json: [internal_id]}, rename: {json: ['old:new']}}",
     "{\"internal_id\":7,\"debug_info\":{\"a\":1},\"keep\":\"k\",\"old\":[1,2],\"rep\":\"o\",\"arr\":[\"x\"],\"deep\":{\"x\":1,\"y\":2},"
     "\"nul\":null,\"num\":1.0,\"big\":12345678901234567890,\"empty\":[],\"eo\":{}}",
     "{\"debug_info\":{\"a\":1},\"keep\":[\"k\",\"z\"],\"new\":[1,2],\"rep\":true,\"arr\":[\"x\",\"y\"],\"deep\":{\"x\":1,\"y\":2},"
     "\"nul\":null,\"num\":1.0,\"big\":12345678901234567890,\"empty\":[],\"eo\":{},\"n\":1,\"newl\":[\"1\"]}"},
    {"json-nested: a plain name with dots is one name",
     "{remove: {json: [deep.x, 'list[*].secret']}, replace: {json: ['deep.y:9']}, add: {json: ['deep.z:1']}}",
     "{\"deep\":{\"x\":1,\"y\":2},\"list\":[{\"secret\":1,\"k\":1},{\"secret\":2}]}",
     "{\"deep\":{\"x\":1,\"y\":2},\"list\":[{\"secret\":1,\"k\":1},{\"secret\":2}],\"deep.z\":\"1\"}"},
    {"json-array-body: a list has no members", "{remove: {json: [a]}}", "[{\"a\":1,\"b\":2},{\"a\":3}]", NULL},
    {"a list gains none", "{add: {json: ['x:1']}, append: {json: ['y:1']}}", "[{\"a\":1}]", NULL},

    {"remove", "{remove: {json: [a, c]}}", "{\"a\":1, \"b\":2, \"c\":3}", "{ \"b\":2}"},
    {"remove: the value behind a colon is not looked at", "{remove: {json: ['a:1']}}", "{\"a\":2,\"b\":1}", "{\"b\":1}"},
    {"remove: null and false as well", "{remove: {json: [a, b]}}", "{\"a\":null,\"b\":false}", "{}"},
    {"remove: every member of that name", "{remove: {json: [a]}}", "{\"a\":1,\"b\":2,\"a\":3}", "{\"b\":2}"},
    {"remove: a name that is written with escapes", "{remove: {json: [a]}}", "{\"\\u0061\":1,\"b\":2}", "{\"b\":2}"},
    {"remove: the top object alone", "{remove: {json: [a]}}", "{\"x\":{\"a\":1},\"l\":[{\"a\":1}]}", NULL},
    {"remove: names have case", "{remove: {json: [A]}}", "{\"a\":1}", NULL},

    {"rename: in its place", "{rename: {json: ['a:b']}}", "{\"x\":0,\"a\":1,\"y\":2}", "{\"x\":0,\"b\":1,\"y\":2}"},
    {"rename: one of that name gives way", "{rename: {json: ['a:b']}}", "{\"b\":0,\"a\":1}", "{\"b\":1}"},
    {"rename: absent, so the other stays", "{rename: {json: ['a:b']}}", "{\"b\":0}", NULL},
    {"rename: null is a value", "{rename: {json: ['a:b']}}", "{\"a\":null}", "{\"b\":null}"},
    {"rename: false is one too", "{rename: {json: ['a:b']}}", "{\"a\":false}", "{\"b\":false}"},
    {"rename: no new name", "{rename: {json: ['a:']}}", "{\"a\":1}", NULL},
    {"rename: one after the other", "{rename: {json: ['a:b', 'b:c']}}", "{\"a\":1}", "{\"c\":1}"},

    {"replace: text", "{replace: {json: ['a:x']}}", "{\"a\":1,\"b\":2}", "{\"a\":\"x\",\"b\":2}"},
    {"replace: absent", "{replace: {json: ['a:x']}}", "{\"b\":2}", NULL},
    {"replace: false is as good as absent", "{replace: {json: ['a:x']}}", "{\"a\":false}", NULL},
    {"replace: null is there", "{replace: {json: ['a:x']}}", "{\"a\":null}", "{\"a\":\"x\"}"},
    {"replace: so is 0", "{replace: {json: ['a:x']}}", "{\"a\":0}", "{\"a\":\"x\"}"},
    {"replace: so is empty text", "{replace: {json: ['a:x']}}", "{\"a\":\"\"}", "{\"a\":\"x\"}"},
    {"replace: objects", "{replace: {json: ['a:x']}}", "{\"a\":{\"b\":[1]}}", "{\"a\":\"x\"}"},
    {"replace: the last of two counts, one stays", "{replace: {json: ['a:x']}}", "{\"a\":1,\"a\":2,\"b\":3}", "{\"a\":\"x\",\"b\":3}"},

    {"add: absent", "{add: {json: ['a:x']}}", "{\"b\":2}", "{\"b\":2,\"a\":\"x\"}"},
    {"add: to nothing", "{add: {json: ['a:x']}}", "{}", "{\"a\":\"x\"}"},
    {"add: there", "{add: {json: ['a:x']}}", "{\"a\":1}", NULL},
    {"add: false gives way", "{add: {json: ['a:x']}}", "{\"a\":false,\"b\":1}", "{\"a\":\"x\",\"b\":1}"},
    {"add: null is there", "{add: {json: ['a:x']}}", "{\"a\":null}", NULL},
    {"add: a removed member is absent", "{remove: {json: [a]}, add: {json: ['a:x']}}", "{\"a\":1}", "{\"a\":\"x\"}"},
    {"add: so is one that was renamed", "{rename: {json: ['a:b']}, add: {json: ['a:x', 'b:y']}}", "{\"a\":1}", "{\"b\":1,\"a\":\"x\"}"},
    {"add: no value is empty text", "{add: {json: ['a:']}}", "{}", "{\"a\":\"\"}"},
    {"add: a value may hold colons", "{add: {json: ['a:b:c']}}", "{}", "{\"a\":\"b:c\"}"},

    {"append: text becomes a list", "{append: {json: ['a:y']}}", "{\"a\":\"x\"}", "{\"a\":[\"x\",\"y\"]}"},
    {"append: a list grows", "{append: {json: ['a:y']}}", "{\"a\":[1]}", "{\"a\":[1,\"y\"]}"},
    {"append: an empty list too", "{append: {json: ['a:y']}}", "{\"a\":[]}", "{\"a\":[\"y\"]}"},
    {"append: absent", "{append: {json: ['a:y', 'a:z']}}", "{}", "{\"a\":[\"y\",\"z\"]}"},
    {"append: a number gives way", "{append: {json: ['a:y']}}", "{\"a\":1}", "{\"a\":[\"y\"]}"},
    {"append: so does null", "{append: {json: ['a:y']}}", "{\"a\":null}", "{\"a\":[\"y\"]}"},
    {"append: so does false", "{append: {json: ['a:y']}}", "{\"a\":false}", "{\"a\":[\"y\"]}"},
    {"append: so does an empty object", "{append: {json: ['a:y']}}", "{\"a\":{}}", "{\"a\":[\"y\"]}"},
    {"append: an object gains a member", "{append: {json: ['a:y', 'a:z']}}", "{\"a\":{\"k\":0}}", "{\"a\":{\"k\":0,\"1\":\"y\",\"2\":\"z\"}}"},
    {"append: types", "{append: {json: ['a:1', 'a:true'], json_types: [number, boolean]}}", "{\"a\":[]}", "{\"a\":[1,true]}"},

    {"types: text by default", "{add: {json: ['a:1', 'b:true']}}", "{}", "{\"a\":\"1\",\"b\":\"true\"}"},
    {"types: in the order of json, text behind their end", "{add: {json: ['a:1', 'b:2'], json_types: [number]}}", "{}", "{\"a\":1,\"b\":\"2\"}"},
    {"types: a number keeps its spelling", "{add: {json: ['a:1.50', 'b:12345678901234567890', 'c:-1e3'], json_types: [number, number, number]}}",
     "{}", "{\"a\":1.50,\"b\":12345678901234567890,\"c\":-1e3}"},
    {"types: what Lua reads as a number", "{add: {json: ['a: 7 ', 'b:0x10', 'c:.5', 'd:007'], json_types: [number, number, number, number]}}",
     "{}", "{\"a\":7,\"b\":16,\"c\":0.5,\"d\":7}"},
    {"types: no number, no rule", "{add: {json: ['a:x', 'b:', 'c:1x', 'd:inf', 'e:nan', 'f:1'], json_types: [number, number, number, number, number, number]}}",
     "{}", "{\"f\":1}"},
    {"types: only true is true", "{add: {json: ['a:true', 'b:TRUE', 'c:1', 'd:'], json_types: [boolean, boolean, boolean, boolean]}}",
     "{}", "{\"a\":true,\"b\":false,\"c\":false,\"d\":false}"},
    {"types: of replace", "{replace: {json: ['a:2', 'b:x'], json_types: [number, number]}}", "{\"a\":\"1\",\"b\":\"1\"}", "{\"a\":2,\"b\":\"1\"}"},

    {"values: what JSON has to escape", "{add: {json: ['a:\"\\']}}", "{}", "{\"a\":\"\\\"\\\\\"}"},
    {"values: escapes for JSON are undone", "{add: {json: ['a:x\\/y\\\"z']}}", "{}", "{\"a\":\"x/y\\\"z\"}"},
    {"values: beyond ASCII", "{add: {json: ['a:\xc3\xbc']}}", "{}", "{\"a\":\"\xc3\xbc\"}"},

    {"bytes: white space, escapes, duplicates and spelling of what no rule names",
     "{remove: {json: [x]}}", " {\n \"a\" : 1.10e2 ,\t\"x\":0, \"d\":1, \"d\":2, \"s\":\"\\u00e4\\/\" }\r\n",
     " {\n \"a\" : 1.10e2 , \"d\":1, \"d\":2, \"s\":\"\\u00e4\\/\" }\r\n"},
    {"bytes: nothing to do", "{remove: {json: [x]}}", " { \"a\" :\t1.0, \"a\":12345678901234567890 } ", NULL},
    {"a body that is a number", "{remove: {json: [x]}, add: {json: ['y:1']}}", "17", NULL},
    {"a body that is text", "{add: {json: ['y:1']}}", "\"x\"", NULL},
    {"a body that is null", "{add: {json: ['y:1']}}", "null", NULL},

    {"paths: a member of a member", "{remove: {json: [$.a.b]}}", "{\"a\":{\"b\":1,\"c\":2},\"b\":3}", "{\"a\":{\"c\":2},\"b\":3}"},
    {"paths: of each element", "{remove: {json: ['$.l[*].x']}}", "{\"l\":[{\"x\":1,\"k\":1},{\"x\":2},3]}", "{\"l\":[{\"k\":1},{},3]}"},
    {"paths: of each element of a body that is a list", "{remove: {json: ['$[*].x']}}", "[{\"x\":1},{\"x\":2,\"y\":3}]", "[{},{\"y\":3}]"},
    {"paths: of the first alone", "{remove: {json: ['$.l[0].x']}}", "{\"l\":[{\"x\":1},{\"x\":2}]}", "{\"l\":[{},{\"x\":2}]}"},
    {"paths: anywhere", "{remove: {json: ['$..x']}}", "{\"x\":1,\"a\":{\"x\":2,\"l\":[[{\"x\":3,\"y\":4}]]}}", "{\"a\":{\"l\":[[{\"y\":4}]]}}"},
    {"paths: names with dots and colons", "{add: {json: [\"$['a.b'].c:1\", \"$['u:v'].w:x:y\"]}}", "{\"a.b\":{},\"u:v\":{}}",
     "{\"a.b\":{\"c\":\"1\"},\"u:v\":{\"w\":\"x:y\"}}"},
    {"paths: add makes what is missing", "{add: {json: ['$.a.b.c:1']}}", "{\"a\":{}}", "{\"a\":{\"b\":{\"c\":\"1\"}}}"},
    {"paths: replace makes nothing", "{replace: {json: ['$.a.b:1']}}", "{}", NULL},
    {"paths: rename within the object", "{rename: {json: ['$.a.b:c']}}", "{\"a\":{\"b\":1},\"b\":2}", "{\"a\":{\"c\":1},\"b\":2}"},
    {"paths: append", "{append: {json: ['$.a.b:2']}}", "{\"a\":{\"b\":[\"1\"]}}", "{\"a\":{\"b\":[\"1\",\"2\"]}}"},
    {"names that only begin with $ are names", "{remove: {json: [$schema]}, rename: {json: ['$ref:ref']}}", "{\"$schema\":1,\"$ref\":2}", "{\"ref\":2}"},
};
/* clang-format on */

Test(response_transformer_json, rows)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *want = rows[i].got == NULL ? rows[i].sent : rows[i].got;
        const char *got = edited(rows[i].config, rows[i].sent);
        cr_expect_str_eq(got, want, "%s\n   got %s\n  want %s", rows[i].reason, got, want);
    }
}

Test(response_transformer_json, templates_in_values)
{
    struct kit *kit = open_kit("{add: {json: ['ms:$(latency)', 'q:<$(query_params.q)>', "
                               "'twice:$(headers.twice)', 'nan:$(query_params.q)'], "
                               "json_types: [number, string, string, number]}}",
                               "");
    kit_request *r = ask(kit, "/a?q=%22", 200, "application/json", "{}");
    kit_request_header(r, "Twice", "1");
    kit_request_header(r, "Twice", "2");
    kit_target_takes(r, 40);
    cr_assert_eq(kit_run(r), 200);
    cr_expect_str_eq(kit_response_body(r), "{\"ms\":40,\"q\":\"<\\\">\"}");
    cr_expect_not_null(strstr(kit_log_lines(kit), "cannot be rendered"));
    kit_close(kit);
}

/* However the body comes, what goes out is the same, and its length is right. */
Test(response_transformer_json, split_at_every_size)
{
    static const char sent[] = "{\"a\":[1,2.0,\"\xc3\xbc\"],\"x\":\"gone\",\"b\":{\"x\":1}}";
    struct kit *kit = open_kit("{remove: {json: [x]}, add: {json: ['y:1']}}", "");
    for (size_t size = 1; size < sizeof(sent) + 1; size++) {
        kit_request *r = ask(kit, "/a", 200, "application/json", sent);
        kit_split(r, size);
        cr_assert_eq(kit_run(r), 200);
        cr_expect_str_eq(kit_response_body(r),
                         "{\"a\":[1,2.0,\"\xc3\xbc\"],\"b\":{\"x\":1},\"y\":\"1\"}",
                         "pieces of %zu", size);
        kit_request_free(r);
    }
    kit_close(kit);
}
