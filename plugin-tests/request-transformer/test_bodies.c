/* Bodies: JSON, forms, multipart/form-data, and what is around them. Rows marked Kong were recorded
 * from a running Kong. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "check.h"

#define COUNT_OF(rows) (sizeof(rows) / sizeof((rows)[0]))
#define TYPE(type)               \
    {                            \
        {                        \
            "Content-Type", type \
        }                        \
    }

struct body_row {
    const char *reason, *config, *sent, *want; /* want NULL: 500 */
};

static void expect_bodies(const char *type, const struct body_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct row row = {rows[i].reason,
                          rows[i].config,
                          "POST",
                          .headers = {{"Content-Type", type}},
                          .body = rows[i].sent,
                          .want_body = rows[i].want};
        if (rows[i].want == NULL)
            row.status = 500;
        check_rows(&row, 1);
    }
}

Test(json, top_level)
{
    static const struct body_row rows[] = {
        {"remove", "{remove: {body: [gone]}}", "{\"a\":1,\"gone\":2}", "{\"a\":1}"},
        {"remove takes every member of the name", "{remove: {body: [g]}}",
         "{\"g\":1,\"a\":1,\"g\":2}", "{\"a\":1}"},
        {"rename in its place", "{rename: {body: ['old:new']}}", "{\"old\":{\"x\":1},\"b\":2}",
         "{\"new\":{\"x\":1},\"b\":2}"},
        {"rename over what is there", "{rename: {body: ['old:new']}}", "{\"new\":0,\"old\":1}",
         "{\"new\":1}"},
        {"rename of nothing", "{rename: {body: ['old:new']}}", "{\"new\":0}", "{\"new\":0}"},
        {"rename to itself", "{rename: {body: ['a:a']}}", "{\"a\":0}", "{\"a\":0}"},
        {"rename map", "{rename: {body: ['a:b'], body_map: {b: c}}}", "{\"a\":0}", "{\"c\":0}"},
        {"replace", "{replace: {body: ['a:new']}}", "{\"a\":1,\"b\":2}", "{\"a\":\"new\",\"b\":2}"},
        {"replace of nothing", "{replace: {body: ['a:new']}}", "{\"b\":2}", "{\"b\":2}"},
        {"replace of null", "{replace: {body: ['a:new']}}", "{\"a\":null}", "{\"a\":\"new\"}"},
        {"replace leaves false, as in Kong", "{replace: {body: ['a:new']}}", "{\"a\":false}",
         "{\"a\":false}"},
        {"add", "{add: {body: ['n:1']}}", "{\"a\":1}", "{\"a\":1,\"n\":\"1\"}"},
        {"add leaves what is there", "{add: {body: ['a:1']}}", "{\"a\":null}", "{\"a\":null}"},
        {"add to an empty object", "{add: {body: ['n:1']}}", "{}", "{\"n\":\"1\"}"},
        {"append to text", "{append: {body: ['a:y']}}", "{\"a\":\"x\"}", "{\"a\":[\"x\",\"y\"]}"},
        {"append to an array", "{append: {body: ['a:y']}}", "{\"a\":[1, 2]}",
         "{\"a\":[1, 2,\"y\"]}"},
        {"append of nothing", "{append: {body: ['a:y']}}", "{}", "{\"a\":[\"y\"]}"},
        {"append to a number keeps it", "{append: {body: ['a:y']}}", "{\"a\":5}",
         "{\"a\":[5,\"y\"]}"},
        {"the order of operations",
         "{remove: {body: [x]}, rename: {body: ['y:x']}, replace: {body: ['x:rep']},"
         " add: {body: ['x:add', 'z:add']}, append: {body: ['z:app']}}",
         "{\"x\":1,\"y\":2}", "{\"x\":\"rep\",\"z\":[\"add\",\"app\"]}"},
        {"a dotted name is one name", "{remove: {body: [a.b]}}", "{\"a\":{\"b\":1},\"a.b\":2}",
         "{\"a\":{\"b\":1}}"},
        {"a name that starts with $", "{remove: {body: [$ref]}, add: {body: ['$id:1']}}",
         "{\"$ref\":1}", "{\"$id\":\"1\"}"},
        {"names are compared decoded", "{remove: {body: [ab]}}", "{\"\\u0061b\":1,\"c\":2}",
         "{\"c\":2}"},
        {"values are text", "{add: {body: ['n:1', 't:true', 'q:a\"b\\c']}}", "{}",
         "{\"n\":\"1\",\"t\":\"true\",\"q\":\"a\\\"b\\\\c\"}"},
        {"an array at the top has no fields", "{add: {body: ['n:1']}, remove: {body: [a]}}",
         "[{\"a\":1}]", "[{\"a\":1}]"},
        {"nor has a number", "{add: {body: ['n:1']}}", "5", "5"},
        {"Kong: no body becomes an object", "{add: {body: ['n:1']}, append: {body: ['m:2']}}", "",
         "{\"n\":\"1\",\"m\":[\"2\"]}"},
        {"but not for the others",
         "{remove: {body: [a]}, rename: {body: ['a:b']}, replace: {body: ['a:b']}}", "", ""},
        {"broken JSON passes", "{add: {body: ['n:1']}}", "{bad", "{bad"},
        {"so does JSON with more behind it", "{add: {body: ['n:1']}}", "{} {}", "{} {}"},
        {"and blanks alone", "{add: {body: ['n:1']}}", "  ", "  "},
    };
    expect_bodies(JSON, rows, COUNT_OF(rows));
    expect_bodies("Application/JSON; charset=utf-8", rows, 2);
    expect_bodies("application/json-patch+json", rows, 1);
}

/* 64-bit ids, number spelling, order, duplicates, blanks, escapes. */
#define ODD                                                                               \
    "{ \"id\": 12345678901234567890, \"n\" : 1.50e+3,\n\t\"z\":1, \"a\":\"\\u00e9\\/\", " \
    "\"a\":\"x\", \"f\":[ 1 , -0 ]"

Test(json, what_no_rule_touches_keeps_its_bytes)
{
    static const struct body_row rows[] = {
        {"no rule fits",
         "{remove: {body: [nope]}, rename: {body: ['nope:a']}, replace: {body: ['nope:1']}}",
         ODD " }", ODD " }"},
        {"beside a new member", "{add: {body: ['m:1']}}", ODD "}", ODD ",\"m\":\"1\"}"},
        {"beside one that goes", "{remove: {body: [m]}}", ODD ",\"m\":1}", ODD "}"},
    };
    expect_bodies(JSON, rows, COUNT_OF(rows));
}

Test(json, paths_and_depth)
{
    static const struct body_row rows[] = {
        {"a path", "{remove: {body: [$.a.b]}}", "{\"a\":{\"b\":1,\"c\":2},\"b\":3}",
         "{\"a\":{\"c\":2},\"b\":3}"},
        {"each element", "{remove: {body: ['$.l[*].x']}}",
         "{\"l\":[{\"x\":1,\"y\":1},{\"x\":2},3]}", "{\"l\":[{\"y\":1},{},3]}"},
        {"one element", "{replace: {body: ['$.l[1].x:n']}}", "{\"l\":[{\"x\":1},{\"x\":2}]}",
         "{\"l\":[{\"x\":1},{\"x\":\"n\"}]}"},
        {"any depth", "{remove: {body: [$..x]}}",
         "{\"x\":1,\"l\":[{\"x\":1,\"y\":{\"x\":{\"x\":1}}}]}", "{\"l\":[{\"y\":{}}]}"},
        {"a name with dots and colons", "{replace: {body: ['$[''a.b:c''].d:v:w']}}",
         "{\"a.b:c\":{\"d\":1}}", "{\"a.b:c\":{\"d\":\"v:w\"}}"},
        {"rename where it is", "{rename: {body: ['$.a.b:c']}}", "{\"a\":{\"b\":1}}",
         "{\"a\":{\"c\":1}}"},
        {"in a rename map", "{rename: {body_map: {$.a.b: c}}}", "{\"a\":{\"b\":1}}",
         "{\"a\":{\"c\":1}}"},
        {"add makes what is missing on the way", "{add: {body: ['$.a.b.c:1']}}", "{\"x\":1}",
         "{\"x\":1,\"a\":{\"b\":{\"c\":\"1\"}}}"},
        {"also of no body", "{add: {body: ['$.a.b:1']}}", "", "{\"a\":{\"b\":\"1\"}}"},
        {"replace does not", "{replace: {body: ['$.a.b:1']}}", "{\"x\":1}", "{\"x\":1}"},
        {"append inside", "{append: {body: ['$.a.l:y']}}", "{\"a\":{\"l\":[\"x\"]}}",
         "{\"a\":{\"l\":[\"x\",\"y\"]}}"},
        {"a way through something else", "{remove: {body: [$.a.b.c]}}", "{\"a\":{\"b\":5}}",
         "{\"a\":{\"b\":5}}"},
        {"plain names at the top alone", "{remove: {body: [x]}}", "{\"a\":{\"x\":1}}",
         "{\"a\":{\"x\":1}}"},
        {"deep: remove", "{deep: true, remove: {body: [x]}}",
         "{\"x\":0,\"a\":[{\"x\":1,\"y\":[{\"x\":2}]}]}", "{\"a\":[{\"y\":[{}]}]}"},
        {"deep: in an array at the top", "{deep: true, remove: {body: [x]}}",
         "[{\"x\":1,\"y\":2},[{\"x\":3}]]", "[{\"y\":2},[{}]]"},
        {"deep: rename", "{deep: true, rename: {body: ['x:z']}}", "{\"x\":0,\"a\":{\"x\":1}}",
         "{\"z\":0,\"a\":{\"z\":1}}"},
        {"deep: replace", "{deep: true, replace: {body: ['x:r']}}", "{\"a\":[{\"x\":1},{\"y\":2}]}",
         "{\"a\":[{\"x\":\"r\"},{\"y\":2}]}"},
        {"deep: what is new is at the top",
         "{deep: true, add: {body: ['n:1']}, append: {body: ['m:1']}}", "{\"a\":{}}",
         "{\"a\":{},\"n\":\"1\",\"m\":[\"1\"]}"},
        {"deep: a path is a path", "{deep: true, remove: {body: [$.x]}}",
         "{\"x\":1,\"a\":{\"x\":1}}", "{\"a\":{\"x\":1}}"},
        {"deep beside odd bytes", "{deep: true, remove: {body: [m]}}",
         ODD ",\"d\":{ \"m\":1, \"k\" : 1.0 }}", ODD ",\"d\":{ \"k\" : 1.0 }}"},
    };
    expect_bodies(JSON, rows, COUNT_OF(rows));
}

Test(json, types_of_values)
{
    static const struct body_row rows[] = {
        {"a number", "{add: {body: ['n:1.50'], body_types: [number]}}", "{}", "{\"n\":1.50}"},
        {"a boolean", "{add: {body: ['n:true'], body_types: [boolean]}}", "{}", "{\"n\":true}"},
        {"JSON", "{add: {body: ['n:{\"a\": [1, null]}'], body_types: [json]}}", "{}",
         "{\"n\":{\"a\": [1, null]}}"},
        {"text", "{add: {body: ['n:1'], body_types: [string]}}", "{}", "{\"n\":\"1\"}"},
        {"by position, the rest is text",
         "{add: {body: ['a:1', 'b:2', 'c:3'], body_types: [string, number]}}", "{}",
         "{\"a\":\"1\",\"b\":2,\"c\":\"3\"}"},
        {"of replace and append",
         "{replace: {body: ['a:1'], body_types: [number]}, append: {body: ['b:false'], body_types: "
         "[boolean]}}",
         "{\"a\":0,\"b\":[]}", "{\"a\":1,\"b\":[false]}"},
        {"with a template", "{add: {body: ['n:$(2 + 3)'], body_types: [number]}}", "{}",
         "{\"n\":5}"},
        {"text that is no number", "{add: {body: ['n:one'], body_types: [number]}}", "{}", NULL},
        {"a number that is no boolean", "{add: {body: ['n:1'], body_types: [boolean]}}", "{}",
         NULL},
        {"what is no JSON", "{add: {body: ['n:{'], body_types: [json]}}", "{}", NULL},
        {"nothing", "{add: {body: ['n:$(headers.no)'], body_types: [json]}}", "{}", NULL},
        {"values cannot leave their place",
         "{add: {body: ['n:1,\"admin\":true'], body_types: [number]}}", "{}", NULL},
    };
    expect_bodies(JSON, rows, COUNT_OF(rows));
    /* In a form everything is text. */
    static const struct body_row form = {"a form", "{add: {body: ['n:one'], body_types: [number]}}",
                                         "a=1", "a=1&n=one"};
    expect_bodies(FORM, &form, 1);
}

Test(form, what_the_service_gets)
{
    static const struct body_row rows[] = {
        {"every operation; Kong's order is that of a hash table",
         "{add: {body: ['n:1', 'have:x']}, append: {body: ['have:y']}, replace: {body: ['rep:r', "
         "'none:r']},"
         " remove: {body: [gone]}, rename: {body: ['old:new']}}",
         "have=o&rep=1&gone=1&old=v", "have=o&have=y&rep=r&new=v&n=1"},
        {"Kong: no body",
         "{add: {body: ['n:1', 'have:x']}, append: {body: ['have:y']}, replace: {body: ['rep:r']}, "
         "remove: {body: [gone]}}",
         "", "n=1&have=x&have=y"},
        {"no rule fits: byte for byte", "{remove: {body: [nope]}, replace: {body: ['nope:1']}}",
         "a=%7e+&&b", "a=%7e+&&b"},
        {"encoded anew", "{add: {body: ['n:a&b=c d']}}", "a=%7e+", "a=~%20&n=a%26b%3Dc%20d"},
        {"names are compared decoded", "{remove: {body: ['a b']}}", "a+b=1&a%20b=2&c=3", "c=3"},
        {"the order of operations",
         "{remove: {body: [x]}, rename: {body: ['y:x']}, replace: {body: ['x:rep']},"
         " add: {body: ['x:add']}, append: {body: ['x:app']}}",
         "x=1&y=2", "x=rep&x=app"},
        {"paths mean nothing here", "{remove: {body: [$.a, $..b]}, add: {body: ['$.c:1']}}",
         "a=1&b=2", "a=1&b=2"},
        {"rename map", "{rename: {body_map: {a: b}}}", "a=1&c=2", "b=1&c=2"},
        {"a template", "{add: {body: ['m:$(method)']}}", "a=1", "a=1&m=POST"},
        {"everything goes", "{remove: {body: [a]}}", "a=1", ""},
    };
    expect_bodies(FORM, rows, COUNT_OF(rows));
    expect_bodies(FORM "; charset=utf-8", rows, 1);
}

Test(multipart, what_the_service_gets)
{
    static const struct body_row rows[] = {
        {"Kong: one goes, one comes", "{add: {body: ['n:1']}, remove: {body: [gone]}}",
         PART("gone", "1") PART("k", "v") END, PART("k", "v") PART("n", "1") END},
        {"add leaves what is there", "{add: {body: ['k:1']}}", PART("k", "v") END,
         PART("k", "v") END},
        {"replace", "{replace: {body: ['k:n', 'nope:1']}}", PART("k", "v") PART("l", "w") END,
         PART("k", "n") PART("l", "w") END},
        {"rename", "{rename: {body: ['k:n']}}", PART("k", "v") PART("l", "w") END,
         PART("n", "v") PART("l", "w") END},
        {"Kong's order: rename, then remove, replace, add",
         "{remove: {body: [n]}, rename: {body: ['k:n']}, add: {body: ['n:new']}}",
         PART("k", "v") END, PART("n", "new") END},
        {"no append", "{append: {body: ['k:2', 'n:1']}}", PART("k", "v") END, PART("k", "v") END},
        {"no rule fits: byte for byte", "{remove: {body: [nope]}}",
         "pre\r\n" PART("k", "v") END "post", "pre\r\n" PART("k", "v") END "post"},
        {"files pass", "{remove: {body: [k]}}",
         PART("k", "v") "--b\r\nContent-Disposition: form-data; name=\"f\"; "
                        "filename=\"a.bin\"\r\nContent-Type: x/y\r\n\r\n\x01--\r\n" END,
         "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.bin\"\r\nContent-Type: "
         "x/y\r\n\r\n\x01--\r\n" END},
        {"cut short, passes", "{remove: {body: [k]}}", PART("k", "v"), PART("k", "v")},
        {"paths mean nothing here", "{remove: {body: [$.k]}}", PART("k", "v") END,
         PART("k", "v") END},
    };
    expect_bodies(MULTIPART, rows, COUNT_OF(rows));
    static const struct body_row without = {"no boundary", "{remove: {body: [k]}}",
                                            PART("k", "v") END, PART("k", "v") END};
    expect_bodies("multipart/form-data", &without, 1);
    static const struct row values[] = {
        {"a value with line breaks is one", "{add: {body: ['n:$(query_params.v)']}}", "POST",
         "/a?v=x%0d%0ay", TYPE(MULTIPART), PART("k", "v") END,
         .want_body = PART("k", "v") PART("n", "x\r\ny") END},
        {"but it cannot end its part", "{add: {body: ['n:$(query_params.v)']}}", "POST",
         "/a?v=x%0d%0a--b%0d%0a", TYPE(MULTIPART), PART("k", "v") END, 500},
        {"nor can a name its line", "{rename: {body: ['k:$(query_params.v)']}}", "POST",
         "/a?v=x%0d%0aX:y", TYPE(MULTIPART), PART("k", "v") END, 500},
        {"nothing becomes a body of one part", "{add: {body: ['n:1']}, remove: {body: [k]}}",
         "POST", .headers = TYPE(MULTIPART), .body = "", .want_body = PART("n", "1") END},
        {"but not for the others", "{remove: {body: [k]}, append: {body: ['n:1']}}", "POST",
         .headers = TYPE(MULTIPART), .body = "", .want_body = ""},
    };
    check_rows(values, COUNT_OF(values));
}

Test(body, only_when_it_fits)
{
    static const struct row rows[] = {
        {"no Content-Type", "{add: {body: ['n:1']}}", "POST", .body = "{}", .want_body = "{}"},
        {"another one", "{add: {body: ['n:1']}}", "POST", .headers = TYPE("text/json"),
         .body = "{}", .want_body = "{}"},
        {"decided by what the client said",
         "{replace: {headers: ['Content-Type:text/plain']}, add: {body: ['n:1']}}", "POST",
         .headers = TYPE(JSON), .body = "{}", .want_body = "{\"n\":\"1\"}",
         .want_headers = TYPE("text/plain")},
        {"a GET with a body, too", "{add: {body: ['n:1']}}", .headers = TYPE(JSON), .body = "{}",
         .want_body = "{\"n\":\"1\"}"},
    };
    check_rows(rows, COUNT_OF(rows));
}

Test(body, is_read_only_for_rules_that_need_it)
{
    static const struct {
        const char *reason, *config, *type;
        bool waits;
    } rows[] = {
        {"no body rules", "{add: {headers: ['X-A:1']}}", JSON, false},
        {"another type", "{add: {body: ['a:1']}}", "text/plain", false},
        {"a body rule", "{add: {body: ['a:1']}}", JSON, true},
        {"a form that goes to the query", "{http_method: GET}", FORM, true},
        {"JSON does not", "{http_method: GET}", JSON, false},
        {"nor does a form elsewhere", "{http_method: PUT}", FORM, false},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct kit *kit = check_open(rows[i].config);
        kit_request *r = kit_request_new(kit, "POST", "/a");
        kit_request_header(r, "Content-Type", rows[i].type);
        kit_request_body(r, "{}");
        kit_hold_body(r);
        cr_expect_eq(kit_run(r), rows[i].waits ? 0 : 200, "%s", rows[i].reason);
        cr_expect_eq(kit_is_waiting(r), rows[i].waits, "%s", rows[i].reason);
        if (rows[i].waits) {
            cr_expect_null(kit_upstream_query(r), "%s: changed before the body was there",
                           rows[i].reason);
            kit_body_arrives(r);
            cr_expect_eq(kit_finish(r), 200, "%s", rows[i].reason);
        }
        kit_close(kit);
    }
}

Test(body, of_a_client_that_goes_away)
{
    struct kit *kit = check_open("{add: {body: ['a:1']}}");
    kit_request *r = kit_request_new(kit, "POST", "/a");
    kit_request_header(r, "Content-Type", JSON);
    kit_request_body(r, "{}");
    kit_hold_body(r);
    cr_expect_eq(kit_run(r), 0);
    kit_abort(r);
    cr_expect_not(kit_was_proxied(r));
    kit_close(kit);
}

Test(body, above_the_cap)
{
    struct kit *kit = check_open("{add: {body: ['a:1']}}");
    kit_request *r = kit_request_new(kit, "POST", "/a");
    kit_request_header(r, "Content-Type", JSON);
    kit_request_body(r, "{\"x\":\"0123456789\"}");
    kit_body_limit(r, 10);
    cr_expect_eq(kit_run(r), 413);
    cr_expect_not(kit_was_proxied(r));
    kit_close(kit);
}

/* Bounds of the editing itself are answered, not passed by: who sends more must not escape a rule.
 */
static int status_of_repeated(const char *config, const char *type, const char *start,
                              const char *piece, size_t count, const char *end, const char *target)
{
    size_t size = strlen(start) + strlen(piece) * count + strlen(end), at = strlen(start);
    char *body = malloc(size + 1);
    cr_assert_not_null(body);
    memcpy(body, start, at);
    for (size_t i = 0; i < count; i++, at += strlen(piece))
        memcpy(body + at, piece, strlen(piece));
    memcpy(body + at, end, strlen(end) + 1);
    struct kit *kit = check_open(config);
    kit_request *r = kit_request_new(kit, "POST", target == NULL ? "/a" : body);
    kit_request_header(r, "Content-Type", type);
    if (target == NULL)
        kit_request_body_bytes(r, body, size);
    int status = kit_run(r);
    cr_expect_eq(kit_was_proxied(r), status == 200);
    free(body);
    kit_close(kit);
    return status;
}

Test(body, bounds)
{
    static const struct {
        const char *reason, *type, *start, *piece;
        size_t count;
        const char *end;
        int status;
    } rows[] = {
        {"1,000 fields with the new one", FORM, "x=1", "&a=1", 998, "", 200},
        {"more of them", FORM, "x=1", "&a=1", 1001, "", 413},
        {"100 levels", JSON, "{\"a\":", "[", 0, "1}", 200},
        {"too many levels", JSON, "{\"a\":", "[", 1000, "", 413},
        {"too many parts", MULTIPART, "", PART("a", "1"), 1001, END, 413},
        {"8 MiB that a rule makes larger", JSON, "{\"a\":\"", "xxxxxxxxxxxxxxxx",
         (8 << 20) / 16 - 1, "\"}", 413},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        int status =
            status_of_repeated("{add: {body: ['new:0123456789']}}", rows[i].type, rows[i].start,
                               rows[i].piece, rows[i].count, rows[i].end, NULL);
        cr_expect_eq(status, rows[i].status, "%s: %d", rows[i].reason, status);
    }
    cr_expect_eq(
        status_of_repeated("{add: {querystring: ['n:1']}}", FORM, "/a?x", "&a", 1001, "", "query"),
        414);
    cr_expect_eq(
        status_of_repeated("{add: {querystring: ['n:1']}}", FORM, "/a?x", "&a", 900, "", "query"),
        200);
}
