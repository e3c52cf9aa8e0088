/* The JSON editor: what no edit touches keeps its bytes. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <weir/json.h>

#include "pool.h"

enum edit { REMOVE, RENAME, SET, APPEND };

struct row {
    const char *why, *text, *path;
    enum edit edit;
    const char *argument, *want;
    bool deep, elements, make;
};

static const struct row rows[] = {
    {"nothing to do leaves every byte", " {\"a\" :1.0e+5, \"a\":2 }\n", "x", REMOVE, "",
     " {\"a\" :1.0e+5, \"a\":2 }\n"},
    {"64-bit ids, number spelling, order and duplicates stay",
     "{\"id\":9007199254740993,\"n\":1.50E+05,\"d\":1,\"d\":2,\"x\":0}", "x", REMOVE, "",
     "{\"id\":9007199254740993,\"n\":1.50E+05,\"d\":1,\"d\":2}"},
    {"white space stays around what is left", "{\n  \"a\": 1,\n  \"b\": 2,\n  \"c\": 3\n}", "b",
     REMOVE, "", "{\n  \"a\": 1,\n  \"c\": 3\n}"},
    {"the last one takes its comma along", "{ \"a\": 1, \"b\": 2 }", "b", REMOVE, "",
     "{ \"a\": 1 }"},
    {"the first one, too", "{ \"a\": 1, \"b\": 2 }", "a", REMOVE, "", "{ \"b\": 2 }"},
    {"the only one", "{\"a\":[1,2]}", "a", REMOVE, "", "{}"},
    {"all of that name", "{\"a\":1,\"b\":2,\"a\":3}", "a", REMOVE, "", "{\"b\":2}"},
    {"names are compared decoded", "{\"\\u0061\":1,\"b\":2}", "a", REMOVE, "", "{\"b\":2}"},
    {"an escaped name elsewhere keeps its spelling", "{\"\\u0061\":1,\"b\":2}", "b", REMOVE, "",
     "{\"\\u0061\":1}"},
    {"a dotted plain name is a name", "{\"a.b\":1,\"a\":{\"b\":2}}", "a.b", REMOVE, "",
     "{\"a\":{\"b\":2}}"},
    {"rename in place, white space kept", "{\"a\" : 1, \"b\":2}", "a", RENAME, "z",
     "{\"z\" : 1, \"b\":2}"},
    {"rename onto another one", "{\"a\":1,\"z\":0}", "a", RENAME, "z", "{\"z\":1}"},
    {"rename to itself", "{ \"a\" : 1}", "a", RENAME, "a", "{ \"a\" : 1}"},
    {"a name that needs escapes", "{\"a\":1}", "a", RENAME, "q\"\n", "{\"q\\\"\\n\":1}"},
    {"set what is there", "{\"a\": 1 , \"b\":2}", "a", SET, "\"new\"",
     "{\"a\": \"new\" , \"b\":2}"},
    {"set what is not", "{\"a\":1}", "b", SET, "[true]", "{\"a\":1,\"b\":[true]}"},
    {"into nothing", "{}", "b", SET, "1", "{\"b\":1}"},
    {"of several one is left", "{\"a\":1,\"b\":2,\"a\":3}", "a", SET, "4", "{\"b\":2,\"a\":4}"},
    {"append to a list", "{\"a\":[1, 2 ]}", "a", APPEND, "3", "{\"a\":[1, 2,3 ]}"},
    {"to a text", "{\"a\":\"x\"}", "a", APPEND, "3", "{\"a\":[\"x\",3]}"},
    {"to nothing", "{}", "a", APPEND, "3", "{\"a\":[3]}"},
    {"a path", "{\"a\":{\"b\":1,\"c\":2}}", "$.a.b", REMOVE, "", "{\"a\":{\"c\":2}}"},
    {"a path to names with dots", "{\"a.b\":{\"c\":1}}", "$['a.b'].c", REMOVE, "", "{\"a.b\":{}}"},
    {"each element", "{\"l\":[{\"x\":1},{\"y\":2},3,{\"x\":4}]}", "$.l[*].x", REMOVE, "",
     "{\"l\":[{},{\"y\":2},3,{}]}"},
    {"one element", "{\"l\":[{\"x\":1},{\"x\":2}]}", "$.l[1].x", REMOVE, "",
     "{\"l\":[{\"x\":1},{}]}"},
    {"at any depth, in lists as well", "{\"x\":1,\"l\":[{\"x\":2,\"k\":{\"x\":3}}]}", "$..x",
     REMOVE, "", "{\"l\":[{\"k\":{}}]}"},
    {"deep makes a plain name so", "[{\"x\":1},[{\"x\":2}]]", "x", REMOVE, "", "[{},[{}]]", true},
    {"deep rename", "{\"x\":{\"x\":1}}", "x", RENAME, "y", "{\"y\":{\"y\":1}}", true},
    {"what was set is not looked into", "{\"k\":{}}", "$..x", SET, "{\"m\":1}",
     "{\"k\":{\"x\":{\"m\":1}},\"x\":{\"m\":1}}"},
    {"elements of a top list", "[{\"a\":1},{\"b\":2}]", "a", SET, "0",
     "[{\"a\":0},{\"b\":2,\"a\":0}]", false, true},
    {"a top list without", "[{\"a\":1}]", "a", SET, "0", "[{\"a\":1}]"},
    {"make the way", "{}", "$.a.b.c", SET, "1", "{\"a\":{\"b\":{\"c\":1}}}", false, false, true},
    {"not through what is no object", "{\"a\":1}", "$.a.b", SET, "1", "{\"a\":1}", false, false,
     true},
    {"a number at the top", "12", "a", SET, "1", "12"},
};

struct visit {
    const struct row *row;
};

static weir_status edit(void *user, weir_json *json, weir_json_value *object, weir_str name)
{
    const struct row *row = ((struct visit *)user)->row;
    weir_status status = WEIR_SUCCESS;
    switch (row->edit) {
    case REMOVE:
        status = weir_json_remove(json, object, name);
        break;
    case RENAME:
        status = weir_json_rename(json, object, name, str(row->argument));
        break;
    case SET:
        status = weir_json_set(json, object, name, str(row->argument));
        break;
    case APPEND:
        status = weir_json_append(json, object, name, str(row->argument));
        break;
    }
    return status == WEIR_NOT_FOUND ? WEIR_SUCCESS : status;
}

static weir_status run(const struct row *row, struct pool *pool, weir_str *out)
{
    const char *why;
    weir_json *json;
    const weir_json_path *path =
        weir_json_path_compile(str(row->path), row->deep, take, pool, &why);
    if (path == NULL)
        return why == NULL ? WEIR_NO_MEMORY : WEIR_INVALID;
    weir_status status = weir_json_parse(str(row->text), take, pool, &json, NULL);
    struct visit visit = {row};
    if (status == WEIR_SUCCESS)
        status = weir_json_path_each(json, path, row->elements, row->make, edit, &visit);
    return status != WEIR_SUCCESS ? status : weir_json_print(json, out);
}

Test(json, edits_keep_everything_else, .timeout = 60)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct pool pool = {.left = 1000};
        weir_str out = {NULL, 0};
        weir_status status = run(&rows[i], &pool, &out);
        cr_expect_eq(status, WEIR_SUCCESS, "%s: %u", rows[i].why, status);
        cr_expect(out.size == strlen(rows[i].want) && memcmp(out.data, rows[i].want, out.size) == 0,
                  "%s: %.*s", rows[i].why, (int)out.size, out.data);
        drop(&pool);
    }
}

Test(json, memory_may_run_out_anywhere, .timeout = 60)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        for (size_t left = 0;; left++) {
            struct pool pool = {.left = left};
            weir_str out = {NULL, 0};
            weir_status status = run(&rows[i], &pool, &out);
            drop(&pool);
            cr_assert(status == WEIR_SUCCESS || status == WEIR_NO_MEMORY, "%s", rows[i].why);
            cr_assert_lt(left, (size_t)1000);
            if (status == WEIR_SUCCESS)
                break;
        }
}

static const struct {
    const char *text;
    long at; /* of the fault; -1: none */
} texts[] = {
    {"null", -1},      {" \"\\ud83d\\ude00\" ", -1},
    {"-0.5e-3", -1},   {"[1,{\"a\":[]}]", -1},
    {"", 0},           {"01", 1},
    {"1.", 2},         {"-", 1},
    {"+1", 0},         {".5", 0},
    {"1e", 2},         {"NaN", 0},
    {"nul", 3},        {"truE", 3},
    {"[1,]", 3},       {"[1 2]", 3},
    {"{\"a\":1,}", 7}, {"{\"a\" 1}", 5},
    {"{a:1}", 1},      {"{'a':1}", 1},
    {"{\"a\":1", 6},   {"\"\t\"", 1},
    {"\"\\x\"", 2},    {"\"\\u12g4\"", 5},
    {"\"open", 5},     {"{} {}", 3},
    {"[1] x", 4},      {"\xef\xbb\xbf{}", 0}, /* a byte order mark is none of it (RFC 8259 8.1) */
};

Test(json, only_json_is_json, .timeout = 60)
{
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct pool pool = {.left = 100};
        weir_json *json;
        size_t at = 999;
        weir_status status = weir_json_parse(str(texts[i].text), take, &pool, &json, &at);
        cr_expect_eq(status, texts[i].at < 0 ? WEIR_SUCCESS : WEIR_INVALID, "%s: %u", texts[i].text,
                     status);
        if (texts[i].at >= 0)
            cr_expect_eq((long)at, texts[i].at, "%s: at %zu", texts[i].text, at);
        drop(&pool);
    }
}

Test(json, nesting_ends_at_128, .timeout = 60)
{
    for (int depth = 128; depth <= 129; depth++) {
        char text[300];
        struct pool pool = {.left = 1000};
        weir_json *json;
        memset(text, '[', (size_t)depth);
        memset(text + depth, ']', (size_t)depth);
        weir_status status =
            weir_json_parse((weir_str){text, 2 * (size_t)depth}, take, &pool, &json, NULL);
        cr_expect_eq(status, depth == 128 ? WEIR_SUCCESS : WEIR_FULL, "%d: %u", depth, status);
        drop(&pool);
    }
}

Test(json, paths_that_are_none, .timeout = 60)
{
    static const char *const bad[] = {"",
                                      "$.",
                                      "$.a.",
                                      "$.a[",
                                      "$.a[x]",
                                      "$.a[*]",
                                      "$['a",
                                      "$['']b",
                                      "$..a..b",
                                      "$.a[1",
                                      "$.a[99999999999].b",
                                      "$.a[1]b",
                                      "$..",
                                      "$[*]"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct pool pool = {.left = 100};
        const char *why = NULL;
        cr_expect_null(weir_json_path_compile(str(bad[i]), false, take, &pool, &why), "%s", bad[i]);
        cr_expect_not_null(why, "%s", bad[i]);
        drop(&pool);
    }
}

Test(json, text_is_decoded_and_quoted, .timeout = 60)
{
    static const struct {
        const char *json, *text, *again;
    } all[] = {
        {"\"plain\"", "plain", "\"plain\""},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t", "\"\\\"\\\\/\\b\\f\\n\\r\\t\""},
        {"\"\\u00e9\\u20ac\"", "\xc3\xa9\xe2\x82\xac", "\"\xc3\xa9\xe2\x82\xac\""},
        {"\"\\ud83d\\ude00\"", "\xf0\x9f\x98\x80", "\"\xf0\x9f\x98\x80\""},
        {"\"\\ud83d.\"", "\xef\xbf\xbd.", "\"\xef\xbf\xbd.\""},
        {"\"\\u0001\"", "\x01", "\"\\u0001\""},
    };
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        struct pool pool = {.left = 100};
        weir_json *json;
        weir_str text, again;
        cr_assert_eq(weir_json_parse(str(all[i].json), take, &pool, &json, NULL), WEIR_SUCCESS);
        cr_assert_eq(weir_json_text(json, weir_json_root(json), &text), WEIR_SUCCESS);
        cr_expect(text.size == strlen(all[i].text) &&
                      memcmp(text.data, all[i].text, text.size) == 0,
                  "%s", all[i].json);
        cr_assert_eq(weir_json_quote(text, take, &pool, &again), WEIR_SUCCESS);
        cr_expect(again.size == strlen(all[i].again) &&
                      memcmp(again.data, all[i].again, again.size) == 0,
                  "%s: %.*s", all[i].json, (int)again.size, again.data);
        drop(&pool);
    }
    struct pool pool = {.left = 100};
    weir_str quoted;
    cr_assert_eq(weir_json_quote((weir_str){"a\xff\xc3", 3}, take, &pool, &quoted), WEIR_SUCCESS);
    cr_expect_eq(memcmp(quoted.data, "\"a\xef\xbf\xbd\xef\xbf\xbd\"", quoted.size), 0);
    drop(&pool);
}

/* 100,000 members and a deep path: linear, or this does not end in time. */
Test(json, a_large_document_is_walked_once, .timeout = 60)
{
    enum { MEMBERS = 100000 };
    static struct pool pool;
    pool.left = 4000;
    char *text = malloc(MEMBERS * 24 + 2), *at = text;
    *at++ = '[';
    for (int i = 0; i < MEMBERS; i++)
        at += sprintf(at, "%s{\"x\":1,\"k\":%d}", i > 0 ? "," : "", i);
    *at++ = ']';
    struct row row = {"", "", "$..x", REMOVE, "", ""};
    struct visit visit = {&row};
    const char *why;
    weir_json *json;
    weir_str out;
    const weir_json_path *path = weir_json_path_compile(str("$..x"), false, take, &pool, &why);
    /* Nodes come 32 at a time, so memory is asked for a few thousand times: the pool is too small
     * for all of them, which must be an answer, too. */
    weir_status status =
        weir_json_parse((weir_str){text, (size_t)(at - text)}, take, &pool, &json, NULL);
    cr_expect_eq(status, WEIR_NO_MEMORY);
    drop(&pool);
    pool.left = 4000;
    path = weir_json_path_compile(str("$..x"), false, take, &pool, &why);
    at = text + (at - text) / 10;
    while (*at != '}')
        at++;
    at[1] = ']';
    cr_assert_eq(
        weir_json_parse((weir_str){text, (size_t)(at + 2 - text)}, take, &pool, &json, NULL),
        WEIR_SUCCESS);
    cr_assert_eq(weir_json_path_each(json, path, false, false, edit, &visit), WEIR_SUCCESS);
    cr_assert_eq(weir_json_print(json, &out), WEIR_SUCCESS);
    cr_expect_null(memmem(out.data, out.size, "\"x\"", 3));
    cr_expect_not_null(memmem(out.data, out.size, "\"k\":9000}", 9));
    drop(&pool);
    free(text);
}
