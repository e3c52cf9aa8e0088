/* Templates at work, and the values policies publish for them. Values have Lua's kinds and rules,
 * because Kong files rely on them: absent is nil, nil is false, a name that came several times is a
 * table that cannot be used as text. What would be an error in Lua is INVALID here. */
#include "plugin_host/template.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/text.h"
#include "plugin_host/calls.h"
#include "plugin_host/template_internal.h"

enum { SHARED_VALUES_MAX = 128, SHARED_NAME_MAX = 256, SHARED_VALUE_MAX = 65536 };

struct render {
    struct weir_request *request;
    size_t written; /* bytes, at most TEMPLATE_RESULT_MAX */
};

static enum weir_err evaluate(struct render *render, const struct expression *node,
                              struct value *out_value);

static struct value nil_value(void)
{
    return (struct value){.kind = VALUE_NIL};
}

/* Absent text is nil. */
static struct value value_of(struct span text)
{
    return span_is_set(text) ? (struct value){.kind = VALUE_TEXT, .text = text} : nil_value();
}

static struct value value_of_number(double number)
{
    return (struct value){.kind = VALUE_NUMBER, .number = number};
}

static struct value value_of_boolean(bool boolean)
{
    return (struct value){.kind = VALUE_BOOLEAN, .boolean = boolean};
}

static struct span span_of_str(weir_str text)
{
    return span_of(text.data, text.size);
}

static weir_str str_of(struct span text)
{
    return (weir_str){text.data, text.size};
}

static bool is_true(const struct value *value)
{
    return value->kind != VALUE_NIL && (value->kind != VALUE_BOOLEAN || value->boolean);
}

/* Room for rendered bytes; NULL past the bound (LIMIT) or without memory. */
static enum weir_err take_room(struct render *render, size_t size, char **out_room)
{
    if (size > TEMPLATE_RESULT_MAX - render->written)
        return WEIR_ERR_LIMIT;
    *out_room = arena_bytes(render->request->arena, size + 1);
    if (*out_room == NULL)
        return WEIR_ERR_NO_MEMORY;
    render->written += size;
    return WEIR_OK;
}

/* Text that a value is in a concatenation: INVALID for what has none. */
static enum weir_err text_of(struct render *render, const struct value *value,
                             struct span *out_text)
{
    if (value->kind == VALUE_TEXT) {
        *out_text = value->text;
        return WEIR_OK;
    }
    if (value->kind != VALUE_NUMBER)
        return WEIR_ERR_INVALID;
    char digits[40]; /* as Lua prints numbers */
    int size = snprintf(digits, sizeof(digits), "%.14g", value->number);
    char *room;
    TRY(take_room(render, (size_t)size, &room));
    memcpy(room, digits, (size_t)size);
    *out_text = span_of(room, (size_t)size);
    return WEIR_OK;
}

/* NOLINTBEGIN(misc-no-recursion): TEMPLATE_NODES_MAX bounds it */

/* ---- look-ups */

static struct span header_at(const struct render *render, struct span name, size_t nth)
{
    const struct http_header *field = http_headers_find(&render->request->head.headers, name, nth);
    if (field == NULL)
        return SPAN_NONE;
    return span_is_set(field->value) ? field->value : SPAN("");
}

static struct span query_at(const struct render *render, struct span name, size_t nth)
{
    return span_of_str(call_query_get(render->request, str_of(name), nth));
}

static struct span repeated_at(const struct render *render, const struct value *repeated,
                               size_t nth)
{
    return repeated->table == TABLE_HEADERS ? header_at(render, repeated->text, nth)
                                            : query_at(render, repeated->text, nth);
}

/* Nil, the one value, or the table of several. */
static struct value several(const struct render *render, enum table table, struct span name)
{
    struct value repeated = {.kind = VALUE_REPEATED, .text = name, .table = table};
    if (span_is_set(repeated_at(render, &repeated, 1)))
        return repeated;
    return value_of(repeated_at(render, &repeated, 0));
}

/* headers.x_foo also finds X-Foo, since "-" cannot stand in a name. */
static enum weir_err look_up_header(struct render *render, struct span name,
                                    struct value *out_value)
{
    *out_value = several(render, TABLE_HEADERS, name);
    if (out_value->kind != VALUE_NIL || span_find(name, '_') == name.size)
        return WEIR_OK;
    char *folded;
    TRY(take_room(render, name.size, &folded));
    for (size_t i = 0; i < name.size; i++)
        folded[i] = (char)(name.data[i] == '_' ? '-' : name.data[i]);
    *out_value = several(render, TABLE_HEADERS, span_of(folded, name.size));
    return WEIR_OK;
}

static struct span consumer_text(const struct render *render, struct span name)
{
    const struct consumer *consumer = render->request->consumer;
    if (consumer == NULL)
        return SPAN_NONE;
    if (span_equal(name, SPAN("username")))
        return consumer->username;
    if (span_equal(name, SPAN("custom_id")))
        return consumer->custom_id;
    return span_equal(name, SPAN("id")) ? consumer->id : SPAN_NONE;
}

/* A position, counted from `first`: false when the number is none. */
static bool position_of(const struct value *key, unsigned first, unsigned *out_position)
{
    if (key->kind != VALUE_NUMBER || key->number < first || key->number > 65535 ||
        key->number != floor(key->number))
        return false;
    *out_position = (unsigned)key->number;
    return true;
}

static struct value capture_at(const struct render *render, const struct value *key)
{
    char digits[16];
    unsigned position;
    struct span name = key->kind == VALUE_TEXT ? key->text : SPAN_NONE;
    if (position_of(key, 0, &position)) {
        int size = snprintf(digits, sizeof(digits), "%u", position);
        name = span_of(digits, (size_t)size);
    }
    if (!span_is_set(name))
        return nil_value();
    return value_of(span_of_str(call_capture(render->request, str_of(name))));
}

static enum weir_err look_up_in_table(struct render *render, enum table table,
                                      const struct value *key, struct value *out_value)
{
    *out_value = nil_value();
    if (table == TABLE_URI_CAPTURES) {
        *out_value = capture_at(render, key);
        return WEIR_OK;
    }
    if (key->kind != VALUE_TEXT)
        return WEIR_OK;
    switch (table) {
    case TABLE_HEADERS:
        return look_up_header(render, key->text, out_value);
    case TABLE_QUERY_PARAMS:
        *out_value = several(render, TABLE_QUERY_PARAMS, key->text);
        break;
    case TABLE_SHARED:
        *out_value = value_of(shared_value_get(render->request, key->text));
        break;
    case TABLE_CONSUMER:
        *out_value = value_of(consumer_text(render, key->text));
        break;
    case TABLE_URI_CAPTURES:
    case TABLE_COUNT:
        break;
    }
    return WEIR_OK;
}

static enum weir_err look_up(struct render *render, const struct expression *node,
                             struct value *out_value)
{
    struct value object, key;
    TRY(evaluate(render, node->left, &object));
    TRY(evaluate(render, node->right, &key));
    unsigned position;
    switch (object.kind) {
    case VALUE_TABLE:
        return look_up_in_table(render, object.table, &key, out_value);
    case VALUE_REPEATED:
        *out_value = position_of(&key, 1, &position)
                         ? value_of(repeated_at(render, &object, position - 1))
                         : nil_value();
        return WEIR_OK;
    case VALUE_TEXT: /* text has members in Lua, but none that files use */
        *out_value = nil_value();
        return WEIR_OK;
    case VALUE_NIL:
    case VALUE_BOOLEAN:
    case VALUE_NUMBER:
        break;
    }
    return WEIR_ERR_INVALID;
}

static enum weir_err fact_value(struct render *render, enum fact fact, struct value *out_value)
{
    struct weir_request *request = render->request;
    *out_value = nil_value();
    switch (fact) {
    case FACT_REQUEST_ID:
        *out_value = value_of(span_of(request->id, sizeof(request->id)));
        break;
    case FACT_NOW: {
        uint64_t now_ms = clock_wall_ms();
        struct span text =
            arena_printf(request->arena, "%llu.%03u", (unsigned long long)(now_ms / 1000),
                         (unsigned)(now_ms % 1000));
        if (!span_is_set(text))
            return WEIR_ERR_NO_MEMORY;
        *out_value = value_of(text);
        break;
    }
    case FACT_LATENCY:
        *out_value = value_of_number((double)request_total_ms(request));
        break;
    case FACT_HOST:
        *out_value = value_of(span_of_str(call_request_text(request, WEIR_TEXT_HOST)));
        break;
    case FACT_PATH:
        *out_value = value_of(span_of_str(call_request_text(request, WEIR_TEXT_PATH)));
        break;
    case FACT_METHOD:
        *out_value = value_of(span_of_str(call_request_text(request, WEIR_TEXT_METHOD)));
        break;
    case FACT_CLIENT_IP:
        *out_value = value_of(span_of_str(call_request_text(request, WEIR_TEXT_CLIENT_IP)));
        break;
    case FACT_CORRELATION_ID:
        *out_value = value_of(span_of_str(call_request_text(request, WEIR_TEXT_CORRELATION_ID)));
        break;
    case FACT_UNKNOWN:
    case FACT_COUNT:
        break;
    }
    return WEIR_OK;
}

/* ---- functions and operators */

static const struct span kind_names[] = {
    [VALUE_NIL] = SPAN("nil"),       [VALUE_BOOLEAN] = SPAN("boolean"),
    [VALUE_NUMBER] = SPAN("number"), [VALUE_TEXT] = SPAN("string"),
    [VALUE_TABLE] = SPAN("table"),   [VALUE_REPEATED] = SPAN("table"),
};

static enum weir_err convert_case(struct render *render, struct span text, int (*convert)(int),
                                  struct value *out_value)
{
    char *room;
    TRY(take_room(render, text.size, &room));
    for (size_t i = 0; i < text.size; i++)
        room[i] = (char)(unsigned char)convert((unsigned char)text.data[i]);
    *out_value = value_of(span_of(room, text.size));
    return WEIR_OK;
}

static enum weir_err tostring(struct render *render, const struct value *argument,
                              struct value *out_value)
{
    struct span text;
    if (argument->kind == VALUE_NIL)
        text = SPAN("nil");
    else if (argument->kind == VALUE_BOOLEAN)
        text = argument->boolean ? SPAN("true") : SPAN("false");
    else
        TRY(text_of(render, argument, &text));
    *out_value = value_of(text);
    return WEIR_OK;
}

static enum weir_err call(struct render *render, const struct expression *node,
                          struct value *out_value)
{
    struct value argument;
    TRY(evaluate(render, node->left, &argument));
    bool is_text = argument.kind == VALUE_TEXT;
    switch (node->function) {
    case FUNCTION_TYPE:
        *out_value = value_of(kind_names[argument.kind]);
        return WEIR_OK;
    case FUNCTION_TOSTRING:
        return tostring(render, &argument, out_value);
    case FUNCTION_TONUMBER:
        *out_value = argument.kind == VALUE_NUMBER ? argument : nil_value();
        if (is_text && text_to_double(span_trim(argument.text), &argument.number))
            *out_value = value_of_number(argument.number);
        return WEIR_OK;
    case FUNCTION_UPPER:
        return is_text ? convert_case(render, argument.text, toupper, out_value) : WEIR_ERR_INVALID;
    case FUNCTION_LOWER:
        return is_text ? convert_case(render, argument.text, tolower, out_value) : WEIR_ERR_INVALID;
    case FUNCTION_LEN:
        *out_value = value_of_number((double)argument.text.size);
        return is_text ? WEIR_OK : WEIR_ERR_INVALID;
    case FUNCTION_COUNT:
        break;
    }
    return WEIR_ERR_INVALID;
}

static bool are_equal(const struct value *a, const struct value *b)
{
    if (a->kind != b->kind)
        return false;
    switch (a->kind) {
    case VALUE_NIL:
        return true;
    case VALUE_BOOLEAN:
        return a->boolean == b->boolean;
    case VALUE_NUMBER:
        return !islessgreater(a->number, b->number) && !isunordered(a->number, b->number);
    case VALUE_TEXT:
        return span_equal(a->text, b->text);
    case VALUE_TABLE:
        return a->table == b->table;
    case VALUE_REPEATED:
        return a->table == b->table && span_equal_nocase(a->text, b->text);
    }
    return false;
}

static enum weir_err compare(enum operation operation, const struct value *a, const struct value *b,
                             struct value *out_value)
{
    int order;
    if (operation == OPERATION_EQUAL || operation == OPERATION_UNEQUAL) {
        *out_value = value_of_boolean(are_equal(a, b) == (operation == OPERATION_EQUAL));
        return WEIR_OK;
    }
    if (a->kind == VALUE_NUMBER && b->kind == VALUE_NUMBER)
        order = isless(a->number, b->number) ? -1 : isgreater(a->number, b->number);
    else if (a->kind == VALUE_TEXT && b->kind == VALUE_TEXT)
        order = span_compare(a->text, b->text);
    else
        return WEIR_ERR_INVALID;
    bool less = operation == OPERATION_LESS || operation == OPERATION_LESS_EQUAL;
    bool or_equal = operation == OPERATION_LESS_EQUAL || operation == OPERATION_GREATER_EQUAL;
    *out_value = value_of_boolean((order == 0 && or_equal) || (less ? order < 0 : order > 0));
    return WEIR_OK;
}

static enum weir_err concatenate(struct render *render, const struct value *a,
                                 const struct value *b, struct value *out_value)
{
    struct span left, right;
    TRY(text_of(render, a, &left));
    TRY(text_of(render, b, &right));
    char *room;
    TRY(take_room(render, left.size + right.size, &room));
    if (left.size > 0)
        memcpy(room, left.data, left.size);
    if (right.size > 0)
        memcpy(room + left.size, right.data, right.size);
    *out_value = value_of(span_of(room, left.size + right.size));
    return WEIR_OK;
}

/* Text that is a number counts as one, as in Lua. */
static bool number_of(const struct value *value, double *out_number)
{
    if (value->kind == VALUE_TEXT)
        return text_to_double(span_trim(value->text), out_number);
    *out_number = value->number;
    return value->kind == VALUE_NUMBER;
}

static enum weir_err calculate(enum operation operation, const struct value *left,
                               const struct value *right, struct value *out_value)
{
    double a, b, result = 0;
    if (!number_of(left, &a) || !number_of(right, &b))
        return WEIR_ERR_INVALID;
    if (operation == OPERATION_ADD)
        result = a + b;
    else if (operation == OPERATION_SUBTRACT)
        result = a - b;
    else if (operation == OPERATION_MULTIPLY)
        result = a * b;
    else if (operation == OPERATION_NEGATE)
        result = -a;
    else if (b == 0) /* Lua's inf and nan are of no use to a target */
        return WEIR_ERR_INVALID;
    else
        result = operation == OPERATION_DIVIDE ? a / b : a - floor(a / b) * b;
    *out_value = value_of_number(result);
    return WEIR_OK;
}

/* Operators whose sides are both evaluated; those of one side have it twice. */
static enum weir_err operate(struct render *render, const struct expression *node,
                             struct value *out_value)
{
    struct value left, right;
    TRY(evaluate(render, node->left, &left));
    if (node->right == node->left)
        right = left;
    else
        TRY(evaluate(render, node->right, &right));
    switch (node->operation) {
    case OPERATION_NOT:
        *out_value = value_of_boolean(!is_true(&left));
        return WEIR_OK;
    case OPERATION_EQUAL:
    case OPERATION_UNEQUAL:
    case OPERATION_LESS:
    case OPERATION_LESS_EQUAL:
    case OPERATION_GREATER:
    case OPERATION_GREATER_EQUAL:
        return compare(node->operation, &left, &right, out_value);
    case OPERATION_CONCAT:
        return concatenate(render, &left, &right, out_value);
    case OPERATION_NEGATE:
    case OPERATION_ADD:
    case OPERATION_SUBTRACT:
    case OPERATION_MULTIPLY:
    case OPERATION_DIVIDE:
    case OPERATION_MODULO:
        return calculate(node->operation, &left, &right, out_value);
    case OPERATION_CONSTANT:
    case OPERATION_FACT:
    case OPERATION_TABLE:
    case OPERATION_INDEX:
    case OPERATION_CALL:
    case OPERATION_OR:
    case OPERATION_AND:
    case OPERATION_COUNT:
        break;
    }
    return WEIR_ERR_INVALID;
}

/* As deep as the expression, which TEMPLATE_NODES_MAX bounds. */
static enum weir_err evaluate(struct render *render, const struct expression *node,
                              struct value *out_value)
{
    if (node->operation == OPERATION_CONSTANT) {
        *out_value = node->constant;
        return WEIR_OK;
    }
    if (node->operation == OPERATION_TABLE) {
        *out_value = (struct value){.kind = VALUE_TABLE, .table = node->table};
        return WEIR_OK;
    }
    if (node->operation == OPERATION_FACT)
        return fact_value(render, node->fact, out_value);
    if (node->operation == OPERATION_INDEX)
        return look_up(render, node, out_value);
    if (node->operation == OPERATION_CALL)
        return call(render, node, out_value);
    if (node->operation != OPERATION_OR && node->operation != OPERATION_AND)
        return operate(render, node, out_value);
    TRY(evaluate(render, node->left, out_value));
    if (is_true(out_value) == (node->operation == OPERATION_OR))
        return WEIR_OK;
    return evaluate(render, node->right, out_value);
}

/* NOLINTEND(misc-no-recursion) */

static enum weir_err part_text(struct render *render, const struct template_part *part,
                               struct span *out_text)
{
    *out_text = part->text;
    if (part->expression == NULL)
        return WEIR_OK;
    struct value value;
    TRY(evaluate(render, part->expression, &value));
    *out_text = SPAN("");
    if (value.kind == VALUE_BOOLEAN && value.boolean)
        *out_text = SPAN("true");
    else if (is_true(&value))
        return text_of(render, &value, out_text);
    return WEIR_OK;
}

enum weir_err template_render(struct weir_request *request, const weir_template *compiled,
                              struct span *out_text)
{
    struct render render = {.request = request};
    struct span texts[TEMPLATE_PARTS_MAX], whole;
    size_t size = 0;
    for (size_t i = 0; i < compiled->part_count; i++) {
        TRY(part_text(&render, &compiled->parts[i], &texts[i]));
        size += texts[i].size;
    }
    if (compiled->part_count == 1) { /* nothing to join: a plain text costs nothing */
        if (size > TEMPLATE_RESULT_MAX)
            return WEIR_ERR_LIMIT;
        *out_text = texts[0];
        return WEIR_OK;
    }
    char *room;
    TRY(take_room(&render, size, &room));
    whole = span_of(room, size);
    for (size_t i = 0; i < compiled->part_count; i++) {
        if (texts[i].size > 0)
            memcpy(room, texts[i].data, texts[i].size);
        room += texts[i].size;
    }
    *out_text = whole;
    return WEIR_OK;
}

/* ---- values that policies publish */

enum weir_err shared_value_set(struct weir_request *request, struct span name, struct span value)
{
    if (name.size == 0 || name.size > SHARED_NAME_MAX || value.size > SHARED_VALUE_MAX)
        return WEIR_ERR_LIMIT;
    struct shared_value *item = request->shared;
    size_t count = 0;
    while (item != NULL && !span_equal(item->name, name)) {
        item = item->next;
        count++;
    }
    struct span copy = span_is_set(value) ? arena_copy(request->arena, value) : SPAN_NONE;
    if (span_is_set(value) && !span_is_set(copy))
        return WEIR_ERR_NO_MEMORY;
    if (item != NULL) {
        item->value = copy; /* absent: as if never published */
        return WEIR_OK;
    }
    if (count >= SHARED_VALUES_MAX)
        return WEIR_ERR_LIMIT;
    item = arena_new(request->arena, struct shared_value);
    struct span name_copy = arena_copy(request->arena, name);
    if (item == NULL || !span_is_set(name_copy))
        return WEIR_ERR_NO_MEMORY;
    *item = (struct shared_value){request->shared, name_copy, copy};
    request->shared = item;
    return WEIR_OK;
}

struct span shared_value_get(const struct weir_request *request, struct span name)
{
    for (const struct shared_value *item = request->shared; item != NULL; item = item->next)
        if (span_equal(item->name, name))
            return item->value;
    return SPAN_NONE;
}
