/* The JSON editor over documents nobody wrote down: whatever edits are made, the text is JSON, says
 * what a plain model of the document says, and every member that no edit named has its bytes. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <weir/json.h>
#include <weir/multipart.h>

#include "pool.h"

enum { MEMBERS_MAX = 24, TEXT_MAX = 8192, DOCUMENTS = 1500, EDITS = 6 };

/* Always the same numbers: a failure can be seen again. */
static unsigned draw(uint64_t *state, unsigned below)
{
    *state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
    return (unsigned)(*state >> 33) % below;
}

/* ---- the model: a list of names and values as texts */

struct model {
    struct {
        const char *name;
        char value[64];
        bool is_list;
    } members[MEMBERS_MAX * 2];
    size_t count;
};

static const char *const names[] = {"a", "b", "c", "a b", "\xc3\xa9", ""};
static const char *const spellings[][2] = {
    {"\"a\"", "\"\\u0061\""},     {"\"b\"", "\"\\u0062\""},        {"\"c\"", "\"c\""},
    {"\"a b\"", "\"a\\u0020b\""}, {"\"\xc3\xa9\"", "\"\\u00e9\""}, {"\"\"", "\"\""}};
static const char *const values[] = {
    "9007199254740993",     "1.0e+5", "-0",    "\"\\u0041\\/\"", "null", "true", "[1 , {}]",
    "{ \"a\" : [ 0.10 ] }", "[]",     "\"}\"", "{\"b\":{}}"};
static const char *const blanks[] = {"", " ", "\n  ", "\t", "\r\n"};
#define COUNT_OF(list) (sizeof(list) / sizeof((list)[0]))

static void model_drop(struct model *model, size_t at)
{
    model->count--;
    memmove(&model->members[at], &model->members[at + 1],
            (model->count - at) * sizeof(model->members[0]));
}

static void model_remove(struct model *model, const char *name, size_t keep)
{
    for (size_t i = model->count; i-- > 0;)
        if (i != keep && strcmp(model->members[i].name, name) == 0)
            model_drop(model, i);
}

/* SIZE_MAX: none */
static size_t model_last(const struct model *model, const char *name)
{
    for (size_t i = model->count; i-- > 0;)
        if (strcmp(model->members[i].name, name) == 0)
            return i;
    return SIZE_MAX;
}

static void model_set(struct model *model, const char *name, const char *value)
{
    size_t at = model_last(model, name);
    if (at == SIZE_MAX)
        at = model->count++;
    model->members[at].name = name;
    model->members[at].is_list = value[0] == '[';
    (void)snprintf(model->members[at].value, sizeof(model->members[at].value), "%s", value);
    model_remove(model, name, at);
}

static void model_rename(struct model *model, const char *name, const char *new_name)
{
    if (strcmp(name, new_name) == 0 || model_last(model, name) == SIZE_MAX)
        return;
    model_remove(model, new_name, SIZE_MAX);
    for (size_t i = 0; i < model->count; i++)
        if (strcmp(model->members[i].name, name) == 0)
            model->members[i].name = new_name;
}

static void make(struct model *model, char *text, uint64_t *seed)
{
    size_t count = draw(seed, MEMBERS_MAX);
    char *at = text + sprintf(text, "%s{", blanks[draw(seed, COUNT_OF(blanks))]);
    model->count = 0;
    for (size_t i = 0; i < count; i++) {
        unsigned name = draw(seed, COUNT_OF(names));
        const char *value = values[draw(seed, COUNT_OF(values))];
        model->members[i].name = names[name];
        model->members[i].is_list = value[0] == '[';
        (void)snprintf(model->members[i].value, sizeof(model->members[i].value), "%s", value);
        model->count++;
        at += sprintf(at, "%s%s%s%s:%s%s%s", i == 0 ? "" : ",",
                      blanks[draw(seed, COUNT_OF(blanks))], spellings[name][draw(seed, 2)],
                      blanks[draw(seed, COUNT_OF(blanks))], blanks[draw(seed, COUNT_OF(blanks))],
                      value, blanks[draw(seed, COUNT_OF(blanks))]);
    }
    (void)sprintf(at, "}%s", blanks[draw(seed, COUNT_OF(blanks))]);
}

static void edit(struct model *model, weir_json *json, uint64_t *seed)
{
    weir_json_value *root = weir_json_root(json);
    const char *name = names[draw(seed, COUNT_OF(names))];
    const char *other = names[draw(seed, COUNT_OF(names))];
    const char *value = values[draw(seed, COUNT_OF(values))];
    bool there = model_last(model, name) != SIZE_MAX;
    weir_status want = there ? WEIR_SUCCESS : WEIR_NOT_FOUND;
    switch (draw(seed, 3)) {
    case 0:
        cr_assert_eq(weir_json_remove(json, root, str(name)), want);
        model_remove(model, name, SIZE_MAX);
        break;
    case 1:
        cr_assert_eq(weir_json_rename(json, root, str(name), str(other)), want);
        model_rename(model, name, other);
        break;
    default:
        cr_assert_eq(weir_json_set(json, root, str(name), str(value)), WEIR_SUCCESS);
        model_set(model, name, value);
    }
}

static void expect_model(const struct model *model, weir_json *json, unsigned document)
{
    size_t i = 0;
    weir_json_value *member = weir_json_first(weir_json_root(json));
    for (; member != NULL && i < model->count; member = weir_json_next(member), i++) {
        weir_str name = weir_json_name(json, member), raw = weir_json_raw(member);
        cr_assert(is(name, model->members[i].name), "document %u, member %zu: %.*s is not %s",
                  document, i, (int)name.size, name.data, model->members[i].name);
        cr_assert(is(raw, model->members[i].value), "document %u, member %zu: %.*s is not %s",
                  document, i, (int)raw.size, raw.data, model->members[i].value);
    }
    cr_assert(member == NULL && i == model->count, "document %u: not %zu members", document,
              model->count);
}

static void run(unsigned document, bool top)
{
    static struct model model;
    char text[TEXT_MAX];
    struct pool pool = {.left = 1000};
    uint64_t seed = document;
    weir_json *json, *again;
    weir_str out;
    make(&model, text, &seed);
    weir_status status = top ? weir_json_parse_top(str(text), take, &pool, &json, NULL)
                             : weir_json_parse(str(text), take, &pool, &json, NULL);
    cr_assert_eq(status, WEIR_SUCCESS, "%s", text);
    expect_model(&model, json, document);
    for (int i = 0; i < EDITS; i++) {
        edit(&model, json, &seed);
        cr_assert_eq(weir_json_print(json, &out), WEIR_SUCCESS);
        cr_assert_eq(weir_json_parse(out, take, &pool, &again, NULL), WEIR_SUCCESS, "%u: %.*s",
                     document, (int)out.size, out.data);
        expect_model(&model, again, document);
    }
    drop(&pool);
}

Test(properties, any_document_any_edits, .timeout = 100)
{
    for (unsigned document = 0; document < DOCUMENTS; document++)
        run(document, document % 2 != 0);
}

/* ---- what of a document can be seen */

Test(properties, top_alone_checks_all_and_shows_one_level, .timeout = 60)
{
    struct pool pool = {.left = 100};
    weir_json *json;
    weir_str out;
    cr_assert_eq(
        weir_json_parse_top(str("{\"o\":{\"x\": 1},\"l\":[1, [2]]}"), take, &pool, &json, NULL),
        WEIR_SUCCESS);
    weir_json_value *root = weir_json_root(json), *o = weir_json_member(json, root, str("o"));
    cr_assert_not_null(o);
    cr_expect_null(weir_json_first(o));
    cr_expect_eq(weir_json_set(json, o, str("y"), str("1")), WEIR_NOT_FOUND, "x would be lost");
    cr_expect_eq(weir_json_remove(json, o, str("x")), WEIR_NOT_FOUND);
    cr_expect_eq(weir_json_append(json, root, str("l"), str("3")), WEIR_SUCCESS);
    cr_expect_eq(weir_json_append(json, root, str("o"), str("3")), WEIR_SUCCESS);
    cr_assert_eq(weir_json_print(json, &out), WEIR_SUCCESS);
    cr_expect(is(out, "{\"o\":[{\"x\": 1},3],\"l\":[1, [2],3]}"), "%.*s", (int)out.size, out.data);
    size_t at = 0;
    cr_expect_eq(weir_json_parse_top(str("{\"o\":{\"x\":[01]}}"), take, &pool, &json, &at),
                 WEIR_INVALID);
    cr_expect_eq(at, (size_t)12, "%zu", at);
    drop(&pool);
}

/* One object of the size of a large body is a handful of allocations then. */
Test(properties, top_alone_takes_no_memory_for_what_is_inside, .timeout = 60)
{
    enum { SIZE = 1 << 20 };
    char *text = malloc(SIZE + 1);
    struct pool pool = {.left = 3};
    weir_json *json;
    memcpy(text, "{\"l\":[", 6);
    for (size_t i = 6; i < SIZE; i += 2)
        memcpy(text + i, "0,", 2);
    memcpy(text + SIZE - 4, "0 ]}", 4);
    cr_expect_eq(weir_json_parse_top((weir_str){text, SIZE}, take, &pool, &json, NULL),
                 WEIR_SUCCESS);
    drop(&pool);
    free(text);
}

Test(properties, kinds_and_replacements, .timeout = 60)
{
    static const struct {
        const char *text;
        uint32_t kind;
    } all[] = {{"null", WEIR_JSON_NULL}, {"false", WEIR_JSON_FALSE}, {"true", WEIR_JSON_TRUE},
               {"-1", WEIR_JSON_NUMBER}, {"\"\"", WEIR_JSON_STRING}, {"[]", WEIR_JSON_ARRAY},
               {"{}", WEIR_JSON_OBJECT}};
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        struct pool pool = {.left = 100};
        weir_json *json;
        weir_str out, text;
        char want[64];
        cr_assert_eq(weir_json_parse(str(" [1, 2 ,3] "), take, &pool, &json, NULL), WEIR_SUCCESS);
        weir_json_value *second = weir_json_next(weir_json_first(weir_json_root(json)));
        cr_assert_eq(weir_json_replace(json, second, str(all[i].text)), WEIR_SUCCESS);
        second = weir_json_next(weir_json_first(weir_json_root(json)));
        cr_expect_eq(weir_json_kind(second), all[i].kind, "%s", all[i].text);
        cr_expect_null(weir_json_name(json, second).data, "an element has no name");
        cr_expect_eq(weir_json_text(json, second, &text),
                     all[i].kind == WEIR_JSON_STRING ? WEIR_SUCCESS : WEIR_INVALID);
        (void)snprintf(want, sizeof(want), " [1, %s ,3] ", all[i].text);
        cr_assert_eq(weir_json_print(json, &out), WEIR_SUCCESS);
        cr_expect(is(out, want), "%.*s", (int)out.size, out.data);
        cr_assert_eq(weir_json_replace(json, weir_json_root(json), str(all[i].text)), WEIR_SUCCESS);
        cr_assert_eq(weir_json_print(json, &out), WEIR_SUCCESS);
        cr_expect(is(out, all[i].text), "the root: %.*s", (int)out.size, out.data);
        cr_expect_eq(weir_json_replace(json, weir_json_root(json), str("{")), WEIR_INVALID);
        drop(&pool);
    }
}

static weir_status wrap(void *user, weir_json *json, weir_json_value *object, weir_str name)
{
    (void)user;
    return weir_json_member(json, object, name) == NULL
               ? WEIR_SUCCESS
               : weir_json_append(json, object, name, WEIR_LIT("{\"x\":9}"));
}

/* The old value is inside the list now, but it is still the document's; the new one is not. */
Test(properties, a_deep_walk_goes_on_into_what_an_append_wraps, .timeout = 60)
{
    struct pool pool = {.left = 100};
    const char *why;
    weir_json *json;
    weir_str out;
    const weir_json_path *path = weir_json_path_compile(str("$..x"), false, take, &pool, &why);
    cr_assert_eq(weir_json_parse(str("{\"x\":{\"x\":1}}"), take, &pool, &json, NULL), WEIR_SUCCESS);
    cr_assert_eq(weir_json_path_each(json, path, false, false, wrap, NULL), WEIR_SUCCESS);
    cr_assert_eq(weir_json_print(json, &out), WEIR_SUCCESS);
    cr_expect(is(out, "{\"x\":[{\"x\":[1,{\"x\":9}]},{\"x\":9}]}"), "%.*s", (int)out.size,
              out.data);
    drop(&pool);
}

/* A name that ends with a backslash must not swallow the quote behind it. */
Test(properties, names_of_parts_come_back_as_they_were, .timeout = 60)
{
    static const char *const all[] = {"a\\", "\\\"", "a\"; filename=\"x", "\\\\b"};
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        struct pool pool = {.left = 100};
        weir_multipart made, again;
        weir_str out, type = WEIR_LIT("multipart/form-data; boundary=b");
        cr_assert_eq(weir_multipart_parse(&made, WEIR_LIT("--b--"), type, take, &pool), 0U);
        cr_assert_eq(weir_multipart_set(&made, str(all[i]), str("v")), WEIR_SUCCESS);
        cr_assert_eq(weir_multipart_print(&made, &out), WEIR_SUCCESS);
        cr_assert_eq(weir_multipart_parse(&again, out, type, take, &pool), WEIR_SUCCESS);
        cr_assert_eq(again.count, (size_t)1);
        cr_expect(is(again.parts[0].name, all[i]) && !again.parts[0].is_file, "%s", all[i]);
        drop(&pool);
    }
}
