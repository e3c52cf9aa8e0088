/* Bounds of the document layer, and positions of dotted paths. */
#include <criterion/criterion.h>

#include "config/schema.h"

struct parsed {
    struct arena *arena;
    struct problems *problems;
    struct node *root;
    enum weir_err err;
};

static struct parsed parse(struct span text)
{
    struct parsed parsed = {.arena = arena_create(NULL)};
    parsed.problems = problems_create(parsed.arena);
    parsed.err = document_parse(parsed.arena, text, "f", parsed.problems, &parsed.root);
    return parsed;
}

static bool says(struct parsed *parsed, const char *text)
{
    for (size_t i = 0; i < problems_count(parsed->problems); i++) {
        struct span said = problems_at(parsed->problems, i)->text;
        if (span_search(said, span_text(text)) < said.size)
            return true;
    }
    return false;
}

Test(config_document, an_alias_bomb_is_refused)
{
    struct parsed parsed = parse(
        SPAN("a: &a [1,1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
             "c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n"
             "e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\n"));
    cr_expect_eq(parsed.err, WEIR_ERR_CONFIG);
    cr_expect(says(&parsed, "the aliases of the file stand for more than 1000000 values"));
    arena_destroy(parsed.arena);
}

Test(config_document, depth_is_bounded)
{
    char text[256];
    memset(text, '[', 65);
    memset(text + 65, ']', 65);
    struct parsed parsed = parse(span_of(text, 130));
    cr_expect(says(&parsed, "nested deeper than 64 levels"));
    arena_destroy(parsed.arena);
    parsed = parse(span_of(text + 1, 128));
    cr_expect_eq(parsed.err, WEIR_OK);
    arena_destroy(parsed.arena);
}

Test(config_document, many_keys_find_their_duplicates)
{
    AUTO_BUF text = BUF_INIT;
    for (int i = 0; i < 1000; i++)
        buf_printf(&text, "key%d: v\n", i);
    buf_text(&text, "key500: v\n");
    struct parsed parsed = parse(buf_view(&text));
    cr_expect(says(&parsed, "duplicate key 'key500' (first on line 501)"));
    arena_destroy(parsed.arena);
}

Test(config_document, every_cut_of_a_file_is_survived)
{
    struct span text =
        SPAN("a: &x {b: [1, \"two\", 'three'], <<: {c: |\n  text\n}}\nd: *x\n# end\n");
    for (size_t i = 0; i <= text.size; i++) {
        struct parsed parsed = parse(span_first(text, i));
        cr_expect(parsed.err == WEIR_OK || problems_errors(parsed.problems) > 0);
        arena_destroy(parsed.arena);
    }
}

static const struct {
    const char *path;
    uint32_t line, column;
} places[] = {
    {"redis.host", 2, 9},
    {"limits[1].window", 5, 14},
    {"redis.gone", 2, 3}, /* the nearest part that exists */
    {"gone", 1, 1},
};

Test(config_document, dotted_paths_have_places)
{
    struct parsed parsed =
        parse(SPAN("redis:\n  host: a\nlimits:\n  - window: 1\n  - {window: 2}\n"));
    for (size_t i = 0; i < COUNT_OF(places); i++) {
        struct position at = schema_find_position(parsed.root, places[i].path);
        cr_expect(at.line == places[i].line && at.column == places[i].column, "%s: %u:%u",
                  places[i].path, at.line, at.column);
    }
    arena_destroy(parsed.arena);
}

static const struct {
    const char *text;
    bool is_integer;
    int64_t value;
} numbers[] = {
    {"5", true, 5},
    {"-5", true, -5},
    {"5.0", true, 5},
    {"0x10", true, 16},
    {"010", true, 8},
    {"1_000", true, 1000},
    {"5.5", false, 0},
    {"abc", false, 0},
    {"'5'", false, 0},
    {"1e3", true, 1000},
    {"-", false, 0},
    {"9223372036854775807", true, INT64_MAX},
    {"9223372036854775808", false, 0},
    {"0x", false, 0},
    {"1.2.3", false, 0},
};

Test(config_document, integers_as_yaml_1_1_has_them)
{
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        struct parsed parsed = parse(span_text(numbers[i].text));
        int64_t value = 0;
        bool is_integer = node_to_integer(parsed.root, &value);
        cr_expect_eq(is_integer, numbers[i].is_integer, "%s", numbers[i].text);
        cr_expect_eq(value, numbers[i].value, "%s", numbers[i].text);
        arena_destroy(parsed.arena);
    }
}
