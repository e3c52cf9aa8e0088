/* Text with $(…) to parts. The language inside is what Kong files use of Lua: names, "." and "[ ]",
 * quoted text, numbers, or, and, not, comparisons, "..", arithmetic, parentheses, and a few
 * functions of text. Everything else is refused here, so that a file that loads also renders.
 * Precedence is Lua's. Next: template.c. */
#include <stdarg.h>
#include <stdio.h>

#include "base/text.h"
#include "plugin_host/template_internal.h"

struct parse {
    struct arena *arena;
    struct span text;
    size_t at;
    unsigned nodes, depth;
    char *why;
    size_t why_size;
    bool failed; /* `why` holds the first reason */
};

static const struct {
    struct span name;
    enum fact fact;
} facts[] = {
    {SPAN("request_id"), FACT_REQUEST_ID},
    {SPAN("now"), FACT_NOW},
    {SPAN("latency"), FACT_LATENCY},
    {SPAN("host"), FACT_HOST},
    {SPAN("path"), FACT_PATH},
    {SPAN("method"), FACT_METHOD},
    {SPAN("client_ip"), FACT_CLIENT_IP},
    {SPAN("correlation_id"), FACT_CORRELATION_ID},
};

static const struct span tables[TABLE_COUNT] = {
    [TABLE_HEADERS] = SPAN("headers"),           [TABLE_QUERY_PARAMS] = SPAN("query_params"),
    [TABLE_URI_CAPTURES] = SPAN("uri_captures"), [TABLE_SHARED] = SPAN("shared"),
    [TABLE_CONSUMER] = SPAN("consumer"),
};

static const struct {
    struct span name;
    bool is_method; /* written text:name(), else name(value) */
} functions[FUNCTION_COUNT] = {
    [FUNCTION_TYPE] = {SPAN("type"), false},
    [FUNCTION_TOSTRING] = {SPAN("tostring"), false},
    [FUNCTION_TONUMBER] = {SPAN("tonumber"), false},
    [FUNCTION_UPPER] = {SPAN("upper"), true},
    [FUNCTION_LOWER] = {SPAN("lower"), true},
    [FUNCTION_LEN] = {SPAN("len"), true},
};

/* Binary operators by binding strength, weakest first. A word needs no letter behind it, and a sign
 * that begins another one ("<", "<=") stands behind it. */
static const struct binary {
    struct span sign;
    enum operation operation;
    uint8_t level;
    bool is_word;
} binaries[] = {
    {SPAN("or"), OPERATION_OR, 1, true},          {SPAN("and"), OPERATION_AND, 2, true},
    {SPAN("=="), OPERATION_EQUAL, 3, false},      {SPAN("~="), OPERATION_UNEQUAL, 3, false},
    {SPAN("<="), OPERATION_LESS_EQUAL, 3, false}, {SPAN(">="), OPERATION_GREATER_EQUAL, 3, false},
    {SPAN("<"), OPERATION_LESS, 3, false},        {SPAN(">"), OPERATION_GREATER, 3, false},
    {SPAN(".."), OPERATION_CONCAT, 4, false},     {SPAN("+"), OPERATION_ADD, 5, false},
    {SPAN("-"), OPERATION_SUBTRACT, 5, false},    {SPAN("*"), OPERATION_MULTIPLY, 6, false},
    {SPAN("/"), OPERATION_DIVIDE, 6, false},      {SPAN("%"), OPERATION_MODULO, 6, false},
};
enum { LEVEL_UNARY = 7 };

static const struct expression *parse_level(struct parse *parse, unsigned level);

static void WEIR_PRINTF(2, 3) refuse(struct parse *parse, const char *format, ...)
{
    if (parse->failed)
        return;
    parse->failed = true;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(parse->why, parse->why_size, format, args);
    va_end(args);
}

static bool is_name_start(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_name_byte(char c)
{
    return is_name_start(c) || is_digit(c);
}

static struct span rest_of(const struct parse *parse)
{
    return span_from(parse->text, parse->at);
}

static void skip_space(struct parse *parse)
{
    while (parse->at < parse->text.size && strchr(" \t\r\n", parse->text.data[parse->at]) != NULL &&
           parse->text.data[parse->at] != '\0')
        parse->at++;
}

/* The sign is next: step over it. */
static bool accept(struct parse *parse, struct span sign)
{
    skip_space(parse);
    if (!span_starts_with(rest_of(parse), sign))
        return false;
    parse->at += sign.size;
    return true;
}

static bool accept_word(struct parse *parse, struct span word)
{
    skip_space(parse);
    struct span rest = rest_of(parse);
    if (!span_starts_with(rest, word) ||
        (rest.size > word.size && is_name_byte(rest.data[word.size])))
        return false;
    parse->at += word.size;
    return true;
}

/* What stands where something else was expected, for the message. */
static struct span seen(struct parse *parse)
{
    skip_space(parse);
    struct span rest = rest_of(parse);
    return rest.size == 0 ? SPAN("the end") : span_first(rest, 16);
}

static bool expect(struct parse *parse, struct span sign)
{
    if (accept(parse, sign))
        return true;
    refuse(parse, "expected '%.*s' before '%.*s'", SPAN_ARG(sign), SPAN_ARG(seen(parse)));
    return false;
}

static struct span accept_name(struct parse *parse)
{
    skip_space(parse);
    struct span rest = rest_of(parse);
    size_t size = 0;
    if (rest.size == 0 || !is_name_start(rest.data[0]))
        return SPAN_NONE;
    while (size < rest.size && is_name_byte(rest.data[size]))
        size++;
    parse->at += size;
    return span_first(rest, size);
}

static struct expression *add_node(struct parse *parse, enum operation operation)
{
    if (++parse->nodes > TEMPLATE_NODES_MAX) {
        refuse(parse, "too many operations, at most %d", TEMPLATE_NODES_MAX);
        return NULL;
    }
    struct expression *node = arena_new(parse->arena, struct expression);
    if (node == NULL)
        refuse(parse, "out of memory");
    else
        node->operation = operation;
    return node;
}

static const struct expression *add_constant(struct parse *parse, struct value value)
{
    struct expression *node = add_node(parse, OPERATION_CONSTANT);
    if (node != NULL)
        node->constant = value;
    return node;
}

static const struct expression *add_pair(struct parse *parse, enum operation operation,
                                         const struct expression *left,
                                         const struct expression *right)
{
    struct expression *node = add_node(parse, operation);
    if (node == NULL || left == NULL || right == NULL)
        return NULL;
    node->left = left;
    node->right = right;
    return node;
}

static const struct expression *add_single(struct parse *parse, enum operation operation,
                                           const struct expression *operand)
{
    return add_pair(parse, operation, operand, operand);
}

static struct value text_value(struct span text)
{
    return (struct value){.kind = VALUE_TEXT, .text = text};
}

/* Behind the opening quote. */
static const struct expression *parse_quoted(struct parse *parse, char quote)
{
    struct span rest = rest_of(parse);
    char *out = arena_bytes(parse->arena, rest.size + 1);
    size_t size = 0, at = 0;
    if (out == NULL) {
        refuse(parse, "out of memory");
        return NULL;
    }
    for (; at < rest.size && rest.data[at] != quote; at++) {
        char c = rest.data[at];
        if (c == '\\') {
            static const char from[] = "\\\"'nrt", to[] = "\\\"'\n\r\t";
            const char *known = at + 1 < rest.size && rest.data[at + 1] != '\0'
                                    ? strchr(from, rest.data[at + 1])
                                    : NULL;
            if (known == NULL) {
                refuse(parse, "the escape '%.*s' is not supported",
                       SPAN_ARG(span_first(span_from(rest, at), 2)));
                return NULL;
            }
            c = to[known - from];
            at++;
        }
        out[size++] = c;
    }
    if (at == rest.size) {
        refuse(parse, "quoted text never ends");
        return NULL;
    }
    parse->at += at + 1;
    return add_constant(parse, text_value(span_of(out, size)));
}

static const struct expression *parse_number(struct parse *parse)
{
    struct span rest = rest_of(parse);
    size_t size = 0;
    /* "1..2" is a concatenation only with spaces; Lua refuses it too. */
    while (size < rest.size && (is_name_byte(rest.data[size]) || rest.data[size] == '.'))
        size++;
    struct span digits = span_first(rest, size);
    double number;
    if (!text_to_double(digits, &number)) {
        refuse(parse, "'%.*s' is not a number", SPAN_ARG(digits));
        return NULL;
    }
    parse->at += size;
    return add_constant(parse, (struct value){.kind = VALUE_NUMBER, .number = number});
}

/* NOLINTBEGIN(misc-no-recursion): TEMPLATE_DEPTH_MAX bounds it */

static const struct expression *parse_call(struct parse *parse, struct span name)
{
    for (size_t i = 0; i < COUNT_OF(functions); i++) {
        if (functions[i].is_method || !span_equal(name, functions[i].name))
            continue;
        const struct expression *argument = parse_level(parse, 1);
        struct expression *node = add_node(parse, OPERATION_CALL);
        if (argument == NULL || node == NULL || !expect(parse, SPAN(")")))
            return NULL;
        node->function = (enum function)i;
        node->left = argument;
        return node;
    }
    refuse(parse, "'%.*s()' is not supported (type, tostring and tonumber are)",
           SPAN_ARG(span_first(name, 32)));
    return NULL;
}

static const struct expression *parse_name(struct parse *parse, struct span name)
{
    static const struct span reserved[] = {
        SPAN("if"),     SPAN("then"),   SPAN("else"),  SPAN("for"),   SPAN("while"),
        SPAN("return"), SPAN("local"),  SPAN("end"),   SPAN("do"),    SPAN("function"),
        SPAN("and"),    SPAN("or"),     SPAN("break"), SPAN("until"), SPAN("repeat"),
        SPAN("in"),     SPAN("elseif"),
    };
    for (size_t i = 0; i < COUNT_OF(reserved); i++) {
        if (span_equal(name, reserved[i])) {
            refuse(parse, "'%.*s' cannot stand here", SPAN_ARG(name));
            return NULL;
        }
    }
    if (span_equal(name, SPAN("nil")))
        return add_constant(parse, (struct value){.kind = VALUE_NIL});
    if (span_equal(name, SPAN("true")) || span_equal(name, SPAN("false")))
        return add_constant(parse,
                            (struct value){.kind = VALUE_BOOLEAN, .boolean = name.size == 4});
    if (accept(parse, SPAN("(")))
        return parse_call(parse, name);

    for (size_t i = 0; i < TABLE_COUNT; i++) {
        if (!span_equal(name, tables[i]))
            continue;
        struct expression *node = add_node(parse, OPERATION_TABLE);
        if (node != NULL)
            node->table = (enum table)i;
        return node;
    }
    struct expression *node = add_node(parse, OPERATION_FACT);
    if (node == NULL)
        return NULL;
    node->fact = FACT_UNKNOWN;
    for (size_t i = 0; i < COUNT_OF(facts); i++)
        if (span_equal(name, facts[i].name))
            node->fact = facts[i].fact;
    return node;
}

static const struct expression *parse_primary(struct parse *parse)
{
    skip_space(parse);
    struct span rest = rest_of(parse);
    char first = '\0';
    if (rest.size > 0)
        first = rest.data[0];
    if (first == '"' || first == '\'') {
        parse->at++;
        return parse_quoted(parse, first);
    }
    if (is_digit(first))
        return parse_number(parse);
    if (first == '(') {
        parse->at++;
        const struct expression *inner = parse_level(parse, 1);
        return inner != NULL && expect(parse, SPAN(")")) ? inner : NULL;
    }
    struct span name = accept_name(parse);
    if (span_is_set(name))
        return parse_name(parse, name);
    refuse(parse, "expected a name, text or number before '%.*s'", SPAN_ARG(seen(parse)));
    return NULL;
}

/* `consumer` is no name of Kong's, so what it lacks is a mistake in the file. */
static bool member_exists(struct parse *parse, const struct expression *left, struct span name)
{
    static const struct span members[] = {SPAN("username"), SPAN("id"), SPAN("custom_id")};
    if (left->operation != OPERATION_TABLE || left->table != TABLE_CONSUMER)
        return true;
    for (size_t i = 0; i < COUNT_OF(members); i++)
        if (span_equal(name, members[i]))
            return true;
    refuse(parse, "consumer has no '%.*s' (username, id, custom_id)",
           SPAN_ARG(span_first(name, 32)));
    return false;
}

static const struct expression *parse_method(struct parse *parse, const struct expression *object)
{
    struct span name = accept_name(parse);
    for (size_t i = 0; i < COUNT_OF(functions); i++) {
        if (!functions[i].is_method || !span_equal(name, functions[i].name))
            continue;
        if (!expect(parse, SPAN("(")) || !expect(parse, SPAN(")")))
            return NULL;
        struct expression *node = add_node(parse, OPERATION_CALL);
        if (node == NULL)
            return NULL;
        node->function = (enum function)i;
        node->left = object;
        return node;
    }
    refuse(parse, "':%.*s' is not supported (upper, lower and len are)",
           SPAN_ARG(span_first(name, 32)));
    return NULL;
}

/* A primary and what is looked up in it. */
static const struct expression *parse_lookup(struct parse *parse)
{
    const struct expression *node = parse_primary(parse);
    while (node != NULL) {
        const struct expression *key;
        skip_space(parse);
        if (span_starts_with(rest_of(parse), SPAN("..")))
            return node;
        if (accept(parse, SPAN("."))) {
            struct span name = accept_name(parse);
            if (!span_is_set(name)) {
                refuse(parse, "expected a name before '%.*s'", SPAN_ARG(seen(parse)));
                return NULL;
            }
            key = add_constant(parse, text_value(name));
        } else if (accept(parse, SPAN("["))) {
            key = parse_level(parse, 1);
            if (key == NULL || !expect(parse, SPAN("]")))
                return NULL;
        } else if (accept(parse, SPAN(":"))) {
            node = parse_method(parse, node);
            continue;
        } else if (accept(parse, SPAN("("))) {
            refuse(parse, "functions of a table are not supported");
            return NULL;
        } else {
            return node;
        }
        if (key == NULL ||
            (key->operation == OPERATION_CONSTANT && key->constant.kind == VALUE_TEXT &&
             !member_exists(parse, node, key->constant.text)))
            return NULL;
        node = add_pair(parse, OPERATION_INDEX, node, key);
    }
    return NULL;
}

static const struct expression *parse_unary(struct parse *parse)
{
    if (accept_word(parse, SPAN("not")))
        return add_single(parse, OPERATION_NOT, parse_level(parse, LEVEL_UNARY));
    if (accept(parse, SPAN("-")))
        return add_single(parse, OPERATION_NEGATE, parse_level(parse, LEVEL_UNARY));
    return parse_lookup(parse);
}

static const struct binary *accept_binary(struct parse *parse, unsigned level)
{
    for (size_t i = 0; i < COUNT_OF(binaries); i++) {
        const struct binary *row = &binaries[i];
        if (row->level == level &&
            (row->is_word ? accept_word(parse, row->sign) : accept(parse, row->sign)))
            return row;
    }
    return NULL;
}

/* Operators of `level` and of all that bind stronger. */
static const struct expression *parse_level(struct parse *parse, unsigned level)
{
    if (parse->failed)
        return NULL;
    /* A level calls the next one, so only the first and the unary one of each nesting count. */
    bool nests = level == 1 || level == LEVEL_UNARY;
    if (nests && ++parse->depth > 2 * TEMPLATE_DEPTH_MAX) {
        refuse(parse, "nested too deep, at most %d levels", TEMPLATE_DEPTH_MAX);
        return NULL;
    }
    const struct expression *left;
    if (level == LEVEL_UNARY) {
        left = parse_unary(parse);
    } else {
        left = parse_level(parse, level + 1);
        const struct binary *row;
        /* ".." is text on both sides, so its order of evaluation cannot be told. */
        while (left != NULL && (row = accept_binary(parse, level)) != NULL)
            left = add_pair(parse, row->operation, left, parse_level(parse, level + 1));
    }
    if (nests)
        parse->depth--;
    return left;
}

/* NOLINTEND(misc-no-recursion) */

static bool add_part(struct parse *parse, struct template_part *parts, size_t *count,
                     struct template_part part)
{
    if (*count == TEMPLATE_PARTS_MAX) {
        refuse(parse, "too many parts, at most %d", TEMPLATE_PARTS_MAX);
        return false;
    }
    parts[(*count)++] = part;
    return true;
}

/* Fills `parts` (TEMPLATE_PARTS_MAX of them). */
static void compile_parts(struct parse *parse, struct template_part *parts, size_t *count)
{
    while (parse->at < parse->text.size) {
        struct span rest = rest_of(parse);
        size_t plain = span_search(rest, SPAN("$("));
        if (plain > 0 &&
            !add_part(parse, parts, count, (struct template_part){.text = span_first(rest, plain)}))
            return;
        parse->at += plain;
        if (parse->at == parse->text.size)
            return;
        parse->at += 2;
        const struct expression *node = parse_level(parse, 1);
        if (node == NULL || !expect(parse, SPAN(")")))
            return;
        if (!add_part(parse, parts, count, (struct template_part){.expression = node}))
            return;
    }
}

/* NOLINTNEXTLINE(readability-non-const-parameter): written through the parse */
const weir_template *template_compile(struct arena *arena, struct span text, char *why,
                                      size_t why_size)
{
    struct template_part parts[TEMPLATE_PARTS_MAX];
    size_t count = 0;
    struct parse parse = {.arena = arena, .why = why, .why_size = why_size};
    if (text.size > TEMPLATE_BYTES_MAX) {
        refuse(&parse, "too long, at most %d bytes", TEMPLATE_BYTES_MAX);
        return NULL;
    }
    parse.text = arena_copy(arena, span_is_set(text) ? text : SPAN(""));
    struct weir_template *compiled = arena_new(arena, struct weir_template);
    if (!span_is_set(parse.text) || compiled == NULL) {
        refuse(&parse, "out of memory");
        return NULL;
    }
    compile_parts(&parse, parts, &count);
    if (parse.failed)
        return NULL;
    compiled->part_count = count;
    if (count == 0)
        return compiled;
    struct template_part *kept = arena_array(arena, struct template_part, count);
    if (kept == NULL) {
        refuse(&parse, "out of memory");
        return NULL;
    }
    memcpy(kept, parts, count * sizeof(*kept));
    compiled->parts = kept;
    return compiled;
}
