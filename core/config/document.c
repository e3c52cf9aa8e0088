/* libyaml's events -> nodes in an arena. Recursion follows the nesting of the text, which is
 * bounded. */
#include "config/document.h"

#include <stdlib.h>
#include <yaml.h>

#include "base/map.h"

#define FEW_MEMBERS 16 /* below this a plain comparison finds duplicate keys faster than a map */

struct parse {
    struct arena *arena;
    struct problems *problems;
    struct span text;
    yaml_parser_t parser;
    struct map *anchors; /* name -> node */
    struct node **stack; /* children of the collections that are still open */
    size_t depth_used, stack_capacity;
    size_t written, aliased; /* nodes so far */
};

static struct position position_of(yaml_mark_t mark)
{
    return (struct position){(uint32_t)mark.line + 1, (uint32_t)mark.column + 1};
}

static struct span line_at(struct span text, uint32_t line)
{
    struct span item = SPAN_NONE;
    for (uint32_t i = 0; i < line; i++) {
        if (!span_split(&text, '\n', &item))
            return SPAN_NONE;
    }
    return item;
}

/* No schema has seen the text yet, so what looks like a secret is taken for one. */
static bool looks_secret(struct span line)
{
    static const char *const words[] = {"key",        "secret", "passw",   "token",
                                        "credential", "auth",   "private", "cert"};
    for (size_t i = 0; i < line.size; i++) {
        for (size_t w = 0; w < COUNT_OF(words); w++) {
            if (span_starts_with_nocase(span_from(line, i), span_text(words[w])))
                return true;
        }
    }
    return false;
}

#define REPORT(parse, level, at, ...)                                          \
    (looks_secret(line_at((parse)->text, (at).line))                           \
         ? problem_add_secret((parse)->problems, level, at, NULL, __VA_ARGS__) \
         : problem_add((parse)->problems, level, at, NULL, __VA_ARGS__))

static struct position position_of_offset(struct span text, size_t offset)
{
    struct position at = {1, 1};
    for (size_t i = 0; i < offset && i < text.size; i++) {
        if (text.data[i] == '\n') {
            at.line++;
            at.column = 1;
        } else if (((unsigned char)text.data[i] & 0xc0) != 0x80) {
            at.column++;
        }
    }
    return at;
}

/* True when the line is indented with a tab up to its first visible character. */
static bool is_tab_indented(struct span line)
{
    for (size_t i = 0; i < line.size && (line.data[i] == ' ' || line.data[i] == '\t'); i++) {
        if (line.data[i] == '\t')
            return true;
    }
    return false;
}

static enum weir_err report_syntax(struct parse *parse)
{
    const yaml_parser_t *parser = &parse->parser;
    if (parser->error == YAML_MEMORY_ERROR)
        return WEIR_ERR_NO_MEMORY;
    const char *what = parser->problem == NULL ? "not YAML" : parser->problem;
    if (parser->error == YAML_READER_ERROR) {
        struct position at = position_of_offset(parse->text, parser->problem_offset);
        REPORT(parse, PROBLEM_ERROR, at, "the file is not UTF-8 text: %s", what);
        return WEIR_ERR_CONFIG;
    }
    struct position at = position_of(parser->problem_mark);
    if (is_tab_indented(line_at(parse->text, at.line)))
        REPORT(parse, PROBLEM_ERROR, at, "a tab cannot indent YAML, use spaces");
    else if (parser->context != NULL && parser->context_mark.line != parser->problem_mark.line)
        REPORT(parse, PROBLEM_ERROR, at, "%s (%s that starts on line %zu)", what, parser->context,
               parser->context_mark.line + 1);
    else
        REPORT(parse, PROBLEM_ERROR, at, "%s", what);
    return WEIR_ERR_CONFIG;
}

static enum weir_err next_event(struct parse *parse, yaml_event_t *event)
{
    return yaml_parser_parse(&parse->parser, event) == 1 ? WEIR_OK : report_syntax(parse);
}

static enum weir_err push(struct parse *parse, struct node *node)
{
    if (parse->depth_used == parse->stack_capacity) {
        size_t wider = parse->stack_capacity == 0 ? 256 : parse->stack_capacity * 2;
        struct node **stack = realloc(parse->stack, wider * sizeof(*stack));
        if (stack == NULL)
            return WEIR_ERR_NO_MEMORY;
        parse->stack = stack;
        parse->stack_capacity = wider;
    }
    parse->stack[parse->depth_used++] = node;
    return WEIR_OK;
}

static enum weir_err charge(struct parse *parse, size_t *total, size_t nodes, size_t most,
                            struct position at)
{
    *total += nodes;
    if (*total <= most)
        return WEIR_OK;
    REPORT(parse, PROBLEM_ERROR, at,
           most == DOCUMENT_NODES_MAX ? "more than %zu values"
                                      : "the aliases of the file stand for more than %zu values",
           most);
    return WEIR_ERR_CONFIG;
}

static bool is_null_word(struct span text)
{
    return span_is_empty(text) || span_equal(text, SPAN("~")) || span_equal(text, SPAN("null")) ||
           span_equal(text, SPAN("Null")) || span_equal(text, SPAN("NULL"));
}

static enum weir_err check_tag(struct parse *parse, const unsigned char *tag, struct position at)
{
    static const char prefix[] = "tag:yaml.org,2002:";
    static const char *const known[] = {"str", "int", "float", "bool", "null", "map", "seq"};
    if (tag == NULL || (tag[0] == '!' && tag[1] == '\0'))
        return WEIR_OK;
    const char *text = (const char *)tag;
    if (strncmp(text, prefix, sizeof(prefix) - 1) == 0) {
        for (size_t i = 0; i < COUNT_OF(known); i++) {
            if (strcmp(text + sizeof(prefix) - 1, known[i]) == 0)
                return WEIR_OK;
        }
    }
    REPORT(parse, PROBLEM_ERROR, at, "the tag '%.64s' is not supported", text);
    return WEIR_ERR_CONFIG;
}

static enum weir_err read_scalar(struct parse *parse, const yaml_event_t *event,
                                 struct node **out_node)
{
    struct position at = position_of(event->start_mark);
    TRY(check_tag(parse, event->data.scalar.tag, at));
    struct node *node = arena_new(parse->arena, struct node);
    if (node == NULL)
        return WEIR_ERR_NO_MEMORY;
    struct span text = span_of((const char *)event->data.scalar.value, event->data.scalar.length);
    if (memchr(text.data, '\0', text.size) != NULL) {
        REPORT(parse, PROBLEM_ERROR, at, "a NUL character is not allowed");
        return WEIR_ERR_CONFIG;
    }
    const char *tag = (const char *)event->data.scalar.tag;
    bool is_string_tag = tag != NULL && (strcmp(tag, YAML_STR_TAG) == 0 || strcmp(tag, "!") == 0);
    node->text = arena_copy(parse->arena, text);
    if (node->text.data == NULL)
        return WEIR_ERR_NO_MEMORY;
    node->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE || is_string_tag;
    node->kind = !node->quoted && is_null_word(text) ? NODE_NULL : NODE_SCALAR;
    node->position = at;
    node->end = position_of(event->end_mark);
    node->weight = 1;
    *out_node = node;
    return charge(parse, &parse->written, 1, DOCUMENT_NODES_MAX, at);
}

static enum weir_err read_alias(struct parse *parse, const yaml_event_t *event, unsigned depth,
                                struct node **out_node)
{
    const char *name = (const char *)event->data.alias.anchor;
    struct position at = position_of(event->start_mark);
    struct node *node = parse->anchors == NULL ? NULL : map_find(parse->anchors, span_text(name));
    if (node == NULL) {
        REPORT(parse, PROBLEM_ERROR, at, "the alias '*%.64s' has no finished anchor before it",
               name);
        return WEIR_ERR_CONFIG;
    }
    if (depth + node->height > DOCUMENT_DEPTH_MAX) {
        REPORT(parse, PROBLEM_ERROR, at, "nested deeper than %d levels", DOCUMENT_DEPTH_MAX);
        return WEIR_ERR_CONFIG;
    }
    *out_node = node;
    return charge(parse, &parse->aliased, node->weight, DOCUMENT_ALIASED_MAX, at);
}

static enum weir_err keep_anchor(struct parse *parse, const unsigned char *anchor,
                                 struct node *node)
{
    if (anchor == NULL)
        return WEIR_OK;
    if (parse->anchors == NULL && (parse->anchors = map_create(16)) == NULL)
        return WEIR_ERR_NO_MEMORY;
    struct span name = arena_copy(parse->arena, span_text((const char *)anchor));
    if (name.data == NULL)
        return WEIR_ERR_NO_MEMORY;
    return map_set(parse->anchors, name, node);
}

static enum weir_err read_node(struct parse *parse, const yaml_event_t *event, unsigned depth,
                               struct node **out_node);

/* The children up to the end event, pushed on the stack; out_end is where the collection ends. */
static enum weir_err read_children(struct parse *parse, yaml_event_type_t last, unsigned depth,
                                   struct node *node)
{
    for (;;) {
        yaml_event_t event;
        TRY(next_event(parse, &event));
        if (event.type == last) {
            node->end = position_of(event.end_mark);
            yaml_event_delete(&event);
            return WEIR_OK;
        }
        struct node *child = NULL;
        enum weir_err err = read_node(parse, &event, depth + 1, &child);
        yaml_event_delete(&event);
        TRY(err);
        TRY(push(parse, child));
        node->weight += child->weight;
        if (child->height + 1 > node->height)
            node->height = child->height + 1;
    }
}

static enum weir_err finish_list(struct parse *parse, struct node *node, size_t base)
{
    node->count = parse->depth_used - base;
    node->items = arena_array(parse->arena, const struct node *, node->count);
    if (node->items == NULL && node->count > 0)
        return WEIR_ERR_NO_MEMORY;
    for (size_t i = 0; i < node->count; i++)
        node->items[i] = parse->stack[base + i];
    return WEIR_OK;
}

/* A second `plugins:` at the top is a common mistake that hides the first one from most parsers.
 * Its author meant both, so both are used. */
static struct node *join_lists(struct parse *parse, const struct member *first,
                               const struct member *second)
{
    const struct node *a = first->value, *b = second->value;
    if ((a->kind != NODE_LIST && a->kind != NODE_NULL) ||
        (b->kind != NODE_LIST && b->kind != NODE_NULL))
        return NULL;
    struct node *joined = arena_new(parse->arena, struct node);
    const struct node **items = arena_array(parse->arena, const struct node *, a->count + b->count);
    if (joined == NULL || (items == NULL && a->count + b->count > 0))
        return NULL;
    for (size_t i = 0; i < a->count; i++)
        items[i] = a->items[i];
    for (size_t i = 0; i < b->count; i++)
        items[a->count + i] = b->items[i];
    *joined = *(a->kind == NODE_LIST ? a : b);
    joined->items = items;
    joined->count = a->count + b->count;
    joined->weight = a->weight + b->weight;
    joined->height = a->height > b->height ? a->height : b->height;
    return joined;
}

static void report_duplicate(struct parse *parse, struct member *first, const struct member *second,
                             unsigned depth)
{
    struct node *joined = depth == 1 ? join_lists(parse, first, second) : NULL;
    struct position at = second->key->position;
    if (joined != NULL) {
        first->value = joined;
        REPORT(parse, PROBLEM_WARNING, at,
               "'%.*s' is written again (first on line %u): both lists are used as one",
               SPAN_ARG(second->key->text), first->key->position.line);
        return;
    }
    REPORT(parse, PROBLEM_ERROR, at, "duplicate key '%.*s' (first on line %u)",
           SPAN_ARG(span_first(second->key->text, 64)), first->key->position.line);
}

static bool is_merge_key(const struct node *key)
{
    return !key->quoted && span_equal(key->text, SPAN("<<"));
}

/* Members seen so far in one map. */
struct seen {
    struct map *by_key; /* only when there are many */
    struct node *node;
};

static struct member *find_seen(const struct seen *seen, struct span key)
{
    if (seen->by_key != NULL)
        return map_find(seen->by_key, key);
    for (size_t i = 0; i < seen->node->count; i++) {
        if (span_equal(seen->node->members[i].key->text, key))
            return &seen->node->members[i];
    }
    return NULL;
}

static enum weir_err add_member(struct seen *seen, struct member member)
{
    struct member *slot = &seen->node->members[seen->node->count++];
    *slot = member;
    return seen->by_key == NULL ? WEIR_OK : map_add(seen->by_key, member.key->text, slot);
}

/* `<<: *defaults` or `<<: [*a, *b]`: what the map does not say itself. */
static enum weir_err merge_map(struct parse *parse, struct seen *seen, const struct node *source,
                               struct position at)
{
    if (source->kind != NODE_MAP) {
        REPORT(parse, PROBLEM_ERROR, at, "'<<' needs a map or a list of maps");
        return WEIR_OK;
    }
    for (size_t i = 0; i < source->count; i++) {
        if (find_seen(seen, source->members[i].key->text) == NULL)
            TRY(add_member(seen, source->members[i]));
    }
    return WEIR_OK;
}

static enum weir_err merge_value(struct parse *parse, struct seen *seen, const struct member *merge)
{
    const struct node *value = merge->value;
    if (value->kind != NODE_LIST)
        return merge_map(parse, seen, value, merge->key->position);
    for (size_t i = 0; i < value->count; i++)
        TRY(merge_map(parse, seen, value->items[i], merge->key->position));
    return WEIR_OK;
}

static size_t most_members(const struct parse *parse, size_t base)
{
    size_t most = 0;
    for (size_t i = base; i + 1 < parse->depth_used; i += 2) {
        const struct node *value = parse->stack[i + 1];
        most++;
        if (!is_merge_key(parse->stack[i]))
            continue;
        most += value->kind == NODE_MAP ? value->count : 0;
        for (size_t j = 0; value->kind == NODE_LIST && j < value->count; j++)
            most += value->items[j]->kind == NODE_MAP ? value->items[j]->count : 0;
    }
    return most;
}

static enum weir_err collect_members(struct parse *parse, struct seen *seen, size_t base,
                                     unsigned depth)
{
    for (size_t i = base; i + 1 < parse->depth_used; i += 2) {
        struct member member = {parse->stack[i], parse->stack[i + 1]};
        if (member.key->kind != NODE_SCALAR && member.key->kind != NODE_NULL) {
            REPORT(parse, PROBLEM_ERROR, member.key->position, "a key must be plain text");
            continue;
        }
        if (is_merge_key(member.key))
            continue;
        struct member *first = find_seen(seen, member.key->text);
        if (first != NULL)
            report_duplicate(parse, first, &member, depth);
        else
            TRY(add_member(seen, member));
    }
    for (size_t i = base; i + 1 < parse->depth_used; i += 2) {
        struct member member = {parse->stack[i], parse->stack[i + 1]};
        if (member.key->kind == NODE_SCALAR && is_merge_key(member.key))
            TRY(merge_value(parse, seen, &member));
    }
    return WEIR_OK;
}

static enum weir_err finish_map(struct parse *parse, struct node *node, size_t base, unsigned depth)
{
    size_t most = most_members(parse, base);
    node->members = arena_array(parse->arena, struct member, most);
    if (node->members == NULL && most > 0)
        return WEIR_ERR_NO_MEMORY;
    struct seen seen = {.node = node};
    if (most > FEW_MEMBERS && (seen.by_key = map_create(most)) == NULL)
        return WEIR_ERR_NO_MEMORY;
    enum weir_err err = collect_members(parse, &seen, base, depth);
    map_destroy(seen.by_key);
    return err;
}

static enum weir_err read_collection(struct parse *parse, const yaml_event_t *event, unsigned depth,
                                     struct node **out_node)
{
    struct position at = position_of(event->start_mark);
    bool is_map = event->type == YAML_MAPPING_START_EVENT;
    TRY(check_tag(parse, is_map ? event->data.mapping_start.tag : event->data.sequence_start.tag,
                  at));
    if (depth > DOCUMENT_DEPTH_MAX) {
        REPORT(parse, PROBLEM_ERROR, at, "nested deeper than %d levels", DOCUMENT_DEPTH_MAX);
        return WEIR_ERR_CONFIG;
    }
    struct node *node = arena_new(parse->arena, struct node);
    if (node == NULL)
        return WEIR_ERR_NO_MEMORY;
    node->kind = is_map ? NODE_MAP : NODE_LIST;
    node->position = at;
    node->weight = 1;
    TRY(charge(parse, &parse->written, 1, DOCUMENT_NODES_MAX, at));
    size_t base = parse->depth_used;
    TRY(read_children(parse, is_map ? YAML_MAPPING_END_EVENT : YAML_SEQUENCE_END_EVENT, depth,
                      node));
    TRY(is_map ? finish_map(parse, node, base, depth) : finish_list(parse, node, base));
    parse->depth_used = base;
    *out_node = node;
    return WEIR_OK;
}

static enum weir_err read_node(struct parse *parse, const yaml_event_t *event, unsigned depth,
                               struct node **out_node)
{
    const unsigned char *anchor = NULL;
    struct node *node = NULL;
    if (event->type == YAML_ALIAS_EVENT)
        return read_alias(parse, event, depth, out_node);
    if (event->type == YAML_SCALAR_EVENT) {
        anchor = event->data.scalar.anchor;
        TRY(read_scalar(parse, event, &node));
    } else {
        anchor = event->type == YAML_MAPPING_START_EVENT ? event->data.mapping_start.anchor
                                                         : event->data.sequence_start.anchor;
        TRY(read_collection(parse, event, depth, &node));
    }
    *out_node = node;
    return keep_anchor(parse, anchor, node);
}

/* Events around the one document: stream start, document start, node, document end, stream end. */
static enum weir_err read_stream(struct parse *parse, struct node **out_root)
{
    unsigned documents = 0;
    for (;;) {
        yaml_event_t event;
        TRY(next_event(parse, &event));
        enum weir_err err = WEIR_OK;
        yaml_event_type_t type = event.type;
        if (type == YAML_DOCUMENT_START_EVENT && ++documents > 1) {
            REPORT(parse, PROBLEM_ERROR, position_of(event.start_mark),
                   "a second document starts here, only one is allowed in a file");
            err = WEIR_ERR_CONFIG;
        } else if (type == YAML_SCALAR_EVENT || type == YAML_MAPPING_START_EVENT ||
                   type == YAML_SEQUENCE_START_EVENT || type == YAML_ALIAS_EVENT) {
            err = read_node(parse, &event, 1, out_root);
        }
        yaml_event_delete(&event);
        TRY(err);
        if (type == YAML_STREAM_END_EVENT)
            return WEIR_OK;
    }
}

static enum weir_err check_encoding(struct parse *parse)
{
    struct position start = {1, 1};
    if (parse->text.size > DOCUMENT_BYTES_MAX) {
        problem_add_secret(parse->problems, PROBLEM_ERROR, start, NULL,
                           "the file is larger than %zu MiB", DOCUMENT_BYTES_MAX >> 20);
        return WEIR_ERR_CONFIG;
    }
    if (span_starts_with(parse->text, SPAN("\xff\xfe")) ||
        span_starts_with(parse->text, SPAN("\xfe\xff"))) {
        problem_add_secret(parse->problems, PROBLEM_ERROR, start, NULL,
                           "the file is UTF-16, save it as UTF-8");
        return WEIR_ERR_CONFIG;
    }
    if (span_starts_with(parse->text, SPAN("\xef\xbb\xbf"))) /* a byte order mark is harmless */
        parse->text = span_from(parse->text, 3);
    return WEIR_OK;
}

enum weir_err document_parse(struct arena *arena, struct span text, const char *file,
                             struct problems *problems, struct node **out_root)
{
    struct parse parse = {.arena = arena, .problems = problems, .text = text};
    size_t errors = problems_errors(problems);
    *out_root = NULL;
    enum weir_err err = check_encoding(&parse);
    problems_set_source(problems, file, parse.text);
    TRY(err);
    if (yaml_parser_initialize(&parse.parser) != 1)
        return WEIR_ERR_NO_MEMORY;
    yaml_parser_set_encoding(&parse.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parse.parser, (const unsigned char *)parse.text.data,
                                 parse.text.size);
    struct node *root = NULL;
    err = read_stream(&parse, &root);
    yaml_parser_delete(&parse.parser);
    map_destroy(parse.anchors);
    free(parse.stack);
    TRY(err);
    if (root == NULL && (root = arena_new(arena, struct node)) == NULL)
        return WEIR_ERR_NO_MEMORY;
    if (root->position.line == 0)
        root->position = root->end = (struct position){1, 1};
    *out_root = root;
    return problems_errors(problems) > errors ? WEIR_ERR_CONFIG : WEIR_OK;
}
