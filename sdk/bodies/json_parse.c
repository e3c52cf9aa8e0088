/* Text to tree, by RFC 8259 and nothing beside it. */
#include "json_tree.h"

struct parse {
    weir_json *json;
    const char *at, *end;
    weir_status status;
    unsigned floor;         /* no nodes below this depth (depth counts down) */
    weir_json_value nobody; /* stands for those */
};

static weir_json_value *parse_value(struct parse *parse, unsigned depth);

char *json_bytes(weir_json *json, size_t size)
{
    return json->alloc(json->user, size == 0 ? 1 : size);
}

weir_str json_copy(weir_json *json, weir_str text)
{
    char *copy = json_bytes(json, text.size);
    if (copy != NULL && text.size > 0)
        memcpy(copy, text.data, text.size);
    return (weir_str){copy, copy == NULL ? 0 : text.size};
}

weir_json_value *json_node(weir_json *json)
{
    if (json->spare_count == 0) {
        json->spare = json->alloc(json->user, JSON_NODES_AT_ONCE * sizeof(*json->spare));
        if (json->spare == NULL)
            return NULL;
        json->spare_count = JSON_NODES_AT_ONCE;
    }
    weir_json_value *node = json->spare++;
    json->spare_count--;
    memset(node, 0, sizeof(*node));
    return node;
}

/* ---- the grammar */

static weir_json_value *fail(struct parse *parse, weir_status status)
{
    if (parse->status == WEIR_SUCCESS)
        parse->status = status;
    return NULL;
}

static weir_str skip_space(struct parse *parse)
{
    const char *from = parse->at;
    while (parse->at < parse->end &&
           (*parse->at == ' ' || *parse->at == '\t' || *parse->at == '\n' || *parse->at == '\r'))
        parse->at++;
    return json_span(from, parse->at);
}

static bool accept(struct parse *parse, char sign)
{
    if (parse->at == parse->end || *parse->at != sign)
        return false;
    parse->at++;
    return true;
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* Behind a backslash. */
static bool skip_escape(struct parse *parse)
{
    if (parse->at == parse->end)
        return false;
    char c = *parse->at;
    if (c != 'u') {
        if (c == '\0' || strchr("\"\\/bfnrt", c) == NULL)
            return false;
        parse->at++;
        return true;
    }
    parse->at++;
    for (int i = 0; i < 4; i++, parse->at++)
        if (parse->at == parse->end || !is_hex(*parse->at))
            return false;
    return true;
}

/* With its quotes. */
static bool parse_string(struct parse *parse, weir_str *out)
{
    const char *from = parse->at;
    if (!accept(parse, '"'))
        return false;
    while (parse->at < parse->end) {
        unsigned char c = (unsigned char)*parse->at;
        if (c < 0x20)
            return false;
        parse->at++;
        if (c == '"') {
            *out = json_span(from, parse->at);
            return true;
        }
        if (c == '\\' && !skip_escape(parse))
            return false;
    }
    return false;
}

static bool skip_digits(struct parse *parse)
{
    const char *from = parse->at;
    while (parse->at < parse->end && *parse->at >= '0' && *parse->at <= '9')
        parse->at++;
    return parse->at > from;
}

static bool skip_number(struct parse *parse)
{
    (void)accept(parse, '-');
    if (!accept(parse, '0') && !skip_digits(parse))
        return false;
    if (accept(parse, '.') && !skip_digits(parse))
        return false;
    if (!accept(parse, 'e') && !accept(parse, 'E'))
        return true;
    if (!accept(parse, '+'))
        (void)accept(parse, '-');
    return skip_digits(parse);
}

static bool skip_word(struct parse *parse, const char *word)
{
    for (; *word != '\0'; word++)
        if (!accept(parse, *word))
            return false;
    return true;
}

static void link_last(weir_json_value *parent, weir_json_value *child)
{
    child->parent = parent;
    child->prev = parent->last;
    if (parent->last != NULL)
        parent->last->next = child;
    else
        parent->first = child;
    parent->last = child;
}

static weir_json_value *parse_member(struct parse *parse, unsigned depth)
{
    weir_str name;
    const char *colon;
    if (!parse_string(parse, &name))
        return fail(parse, WEIR_INVALID);
    colon = parse->at;
    (void)skip_space(parse);
    if (!accept(parse, ':'))
        return fail(parse, WEIR_INVALID);
    (void)skip_space(parse);
    weir_str middle = json_span(colon, parse->at);
    weir_json_value *value = parse_value(parse, depth);
    if (value == NULL)
        return NULL;
    value->is_member = true;
    value->name = name;
    value->middle = middle;
    return value;
}

/* After its opening sign. */
static weir_json_value *parse_container(struct parse *parse, weir_json_value *container,
                                        unsigned depth)
{
    bool is_object = container->kind == WEIR_JSON_OBJECT;
    char end = is_object ? '}' : ']';
    weir_str lead = skip_space(parse);
    if (depth == 0)
        return fail(parse, WEIR_FULL);
    if (accept(parse, end)) {
        container->tail = lead;
        return container;
    }
    for (;;) {
        weir_json_value *child =
            is_object ? parse_member(parse, depth - 1) : parse_value(parse, depth - 1);
        if (child == NULL)
            return NULL;
        child->lead = lead;
        if (child != &parse->nobody)
            link_last(container, child);
        weir_str behind = skip_space(parse);
        if (accept(parse, end)) {
            container->tail = behind;
            return container;
        }
        child->trail = behind;
        if (!accept(parse, ','))
            return fail(parse, WEIR_INVALID);
        lead = skip_space(parse);
    }
}

static weir_json_value *parse_value(struct parse *parse, unsigned depth)
{
    bool is_kept = depth >= parse->floor;
    if (is_kept && parse->json->value_count++ == JSON_VALUES_MAX)
        return fail(parse, WEIR_FULL);
    weir_json_value *value = is_kept ? json_node(parse->json) : &parse->nobody;
    const char *from = parse->at;
    bool is_good = true;
    weir_str ignored;
    if (value == NULL)
        return fail(parse, WEIR_NO_MEMORY);
    if (parse->at == parse->end)
        return fail(parse, WEIR_INVALID);
    switch (*parse->at) {
    case '{':
    case '[':
        value->kind = *parse->at == '{' ? WEIR_JSON_OBJECT : WEIR_JSON_ARRAY;
        value->is_closed = depth == parse->floor;
        parse->at++;
        if (parse_container(parse, value, depth) == NULL)
            return NULL;
        break;
    case '"':
        value->kind = WEIR_JSON_STRING;
        is_good = parse_string(parse, &ignored);
        break;
    case 't':
        value->kind = WEIR_JSON_TRUE;
        is_good = skip_word(parse, "true");
        break;
    case 'f':
        value->kind = WEIR_JSON_FALSE;
        is_good = skip_word(parse, "false");
        break;
    case 'n':
        value->kind = WEIR_JSON_NULL;
        is_good = skip_word(parse, "null");
        break;
    default:
        value->kind = WEIR_JSON_NUMBER;
        is_good = skip_number(parse);
    }
    if (!is_good)
        return fail(parse, WEIR_INVALID);
    value->raw = json_span(from, parse->at);
    return value;
}

weir_status json_parse_text(weir_json *json, weir_str text, unsigned floor,
                            weir_json_value **out_value, size_t *out_at)
{
    struct parse parse = {json, text.data, text.data + text.size, WEIR_SUCCESS, floor, {0}};
    *out_value = NULL;
    if (text.data == NULL)
        return WEIR_INVALID;
    (void)skip_space(&parse);
    weir_json_value *value = parse_value(&parse, JSON_DEPTH_MAX);
    if (value != NULL) {
        (void)skip_space(&parse);
        if (parse.at != parse.end)
            value = fail(&parse, WEIR_INVALID);
    }
    if (value == NULL && out_at != NULL)
        *out_at = (size_t)(parse.at - text.data);
    *out_value = value;
    return value == NULL ? parse.status : WEIR_SUCCESS;
}

static weir_status parse_document(weir_str text, unsigned floor, weir_alloc *alloc, void *user,
                                  weir_json **out_json, size_t *out_at)
{
    weir_json *json = alloc(user, sizeof(*json));
    if (out_at != NULL)
        *out_at = 0;
    if (json == NULL)
        return WEIR_NO_MEMORY;
    memset(json, 0, sizeof(*json));
    json->alloc = alloc;
    json->user = user;
    json->text = text;
    weir_status status = json_parse_text(json, text, floor, &json->root, out_at);
    if (status == WEIR_SUCCESS)
        *out_json = json;
    return status;
}

weir_status weir_json_parse(weir_str text, weir_alloc *alloc, void *user, weir_json **out_json,
                            size_t *out_at)
{
    return parse_document(text, 0, alloc, user, out_json, out_at);
}

weir_status weir_json_parse_top(weir_str text, weir_alloc *alloc, void *user, weir_json **out_json,
                                size_t *out_at)
{
    return parse_document(text, JSON_DEPTH_MAX - 1, alloc, user, out_json, out_at);
}
