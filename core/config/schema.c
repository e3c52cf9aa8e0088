/* Filling structs from tables. A `struct place` chain names where we are; it is only turned into
 * text when there is something to complain about. */
#include "config/schema.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/map.h"
#include "base/text.h"
#include "config/schema_fill.h"
#include "config/substitute.h"

_Static_assert(sizeof(weir_str) == sizeof(struct span), "one layout for both words");

size_t put_place(const struct place *place, char *out, size_t size)
{
    size_t used = place->parent == NULL ? 0 : put_place(place->parent, out, size);
    int more = 0;
    if (place->key == NULL)
        more = snprintf(out + used, size - used, "[%zu]", place->index);
    else if (place->key[0] != '\0')
        more = snprintf(out + used, size - used, "%s%s", used > 0 ? "." : "", place->key);
    used += more > 0 ? (size_t)more : 0;
    return used < size ? used : size - 1;
}

/* ---- scalars -------------------------------------------------------------------------------- */

/* A scalar after substitution: `node` is a copy when something was substituted, so that what came
 * from outside is typed by what it looks like. False: said so already. */
static bool resolve(struct fill *fill, const struct node *node, bool secret,
                    const struct place *place, struct node *out_node)
{
    char why[512] = "";
    bool changed = false;
    struct span text = SPAN_NONE;
    *out_node = *node;
    if (secret)
        problems_hide(fill->context->problems, node->position, node->end);
    if (node->kind != NODE_SCALAR)
        return true;
    enum weir_err err = substitute(fill->context, node->text, &text, &changed, why, sizeof(why));
    if (err == WEIR_ERR_NO_MEMORY)
        fill->no_memory = true;
    else if (err != WEIR_OK)
        REFUSE(fill, node->position, place, "%s", why);
    if (err != WEIR_OK)
        return false;
    if (changed)
        problems_hide_text(fill->context->problems, text);
    out_node->text = text;
    return true;
}

/* For types other than text: "${PORT}" in quotes is a number when what it names is one. */
static struct node as_plain(const struct node *raw, struct node node)
{
    if (raw->text.data != node.text.data)
        node.quoted = false;
    return node;
}

bool schema_is_header_name(struct span text)
{
    for (size_t i = 0; i < text.size; i++) {
        if (!isalnum((unsigned char)text.data[i]) && text.data[i] != '_' && text.data[i] != '-')
            return false;
    }
    return text.size > 0;
}

/* A room without a pattern library can still see what never compiles. */
static bool brackets_match(struct span pattern)
{
    int open = 0;
    bool in_class = false;
    for (size_t i = 0; i < pattern.size; i++) {
        char c = pattern.data[i];
        if (c == '\\')
            i++;
        else if (in_class)
            in_class = c != ']';
        else if (c == '[') {
            in_class = true;
            i += i + 1 < pattern.size && pattern.data[i + 1] == ']';
        } else if (c == '(')
            open++;
        else if (c == ')' && --open < 0)
            return false;
    }
    return open == 0 && !in_class;
}

static bool is_regex(const struct schema_context *context, struct span text)
{
    char why[128] = "";
    if (context->regex_compiles != NULL)
        return context->regex_compiles(context->user, text, why, sizeof(why));
    return brackets_match(text);
}

static void check_text(struct fill *fill, const weir_field *field, const struct node *raw,
                       struct span text, const struct place *place)
{
    struct position at = raw->position;
    bool secret = (field->flags & WEIR_SECRET) != 0;
    struct span shown = secret ? SPAN("(secret)") : span_first(raw->text, 200);
    bool is_single = field->type == WEIR_TYPE_STRING;
    if (span_is_empty(text) && (field->flags & WEIR_EMPTY_ALLOWED) == 0)
        REFUSE(fill, at, place, "length must be at least 1");
    else if (is_single && field->min > 0 && (double)text.size < field->min)
        REFUSE(fill, at, place, "length must be at least %.0f", field->min);
    else if (is_single && field->max > 0 && (double)text.size > field->max)
        REFUSE(fill, at, place, "length must be at most %.0f", field->max);
    else if ((field->flags & WEIR_HEADER_NAME) != 0 && !schema_is_header_name(text))
        REFUSE(fill, at, place,
               "bad header name '%.*s', allowed characters are A-Z, a-z, 0-9, '_', and '-'",
               SPAN_ARG(shown));
    else if ((field->flags & WEIR_PATH) != 0 && !span_starts_with(text, SPAN("/")))
        REFUSE(fill, at, place, "should start with: /");
    else if ((field->flags & WEIR_REGEX) != 0 && !is_regex(fill->context, text))
        REFUSE(fill, at, place, "not a valid regex: %.*s", SPAN_ARG(shown));
    else if ((field->flags & WEIR_CONSUMER_NAME) != 0 && fill->context->consumer_exists != NULL &&
             !span_is_empty(text) && !fill->context->consumer_exists(fill->context->user, text))
        REFUSE(fill, at, place, "invalid reference 'consumer: %.*s' (no such entry in 'consumers')",
               SPAN_ARG(shown));
}

/* Texts are copied: the document may die before what was filled from it. */
static struct span keep_text(struct fill *fill, const struct node *raw, struct span text)
{
    if (text.data == raw->text.data)
        text = arena_copy(fill->context->arena, text);
    fill->no_memory = fill->no_memory || text.data == NULL;
    return text;
}

static void fill_string(struct fill *fill, const weir_field *field, const struct node *raw,
                        struct span *out, const struct place *place)
{
    struct node node;
    if (!resolve(fill, raw, (field->flags & WEIR_SECRET) != 0, place, &node))
        return;
    if (node.text.data == raw->text.data && !node_is_string(&node)) {
        REFUSE(fill, raw->position, place, "expected a string");
        return;
    }
    check_text(fill, field, raw, node.text, place);
    *out = keep_text(fill, raw, node.text);
}

static void fill_enum(struct fill *fill, const weir_field *field, const struct node *raw,
                      struct span *out, const struct place *place)
{
    struct node node;
    char list[1024];
    size_t used = 0;
    if (!resolve(fill, raw, (field->flags & WEIR_SECRET) != 0, place, &node))
        return;
    if (node.kind != NODE_SCALAR) {
        REFUSE(fill, raw->position, place, "expected a string");
        return;
    }
    struct guess guess = guess_start(node.text);
    for (size_t i = 0; field->choices != NULL && field->choices[i] != NULL; i++) {
        struct span choice = span_text(field->choices[i]);
        if (span_equal(choice, node.text)) {
            *out = choice;
            return;
        }
        guess_offer(&guess, choice);
        int more = snprintf(list + used, sizeof(list) - used, "%s%s", i > 0 ? ", " : "",
                            field->choices[i]);
        if (more > 0 && used + (size_t)more < sizeof(list))
            used += (size_t)more;
    }
    list[used] = '\0';
    if (guess_found(&guess))
        REFUSE(fill, raw->position, place, "expected one of: %s (did you mean '%.*s'?)", list,
               SPAN_ARG(guess.best));
    else
        REFUSE(fill, raw->position, place, "expected one of: %s", list);
}

static void fill_boolean(struct fill *fill, const weir_field *field, const struct node *raw,
                         bool *out, const struct place *place)
{
    struct node node;
    if (!resolve(fill, raw, (field->flags & WEIR_SECRET) != 0, place, &node))
        return;
    node = as_plain(raw, node);
    if (!node_to_boolean(&node, out))
        REFUSE(fill, raw->position, place, "expected a boolean");
}

static void check_bounds(struct fill *fill, const weir_field *field, const struct node *raw,
                         double value, const struct place *place)
{
    struct position at = raw->position;
    bool is_bounded = field->min != 0 || field->max != 0;
    bool has_top = field->max != 0;
    if ((field->flags & WEIR_POSITIVE) != 0 && value <= 0)
        REFUSE(fill, at, place, "value must be greater than 0");
    else if (is_bounded && has_top && (value < field->min || value > field->max))
        REFUSE(fill, at, place, "value should be between %.16g and %.16g", field->min, field->max);
    else if (is_bounded && !has_top && value < field->min)
        REFUSE(fill, at, place, "value should be at least %.16g", field->min);
    else if ((field->flags & WEIR_NOT_NEGATIVE) != 0 && value < 0)
        REFUSE(fill, at, place, "value should be at least 0");
}

static void fill_integer(struct fill *fill, const weir_field *field, uint32_t type,
                         const struct node *raw, int64_t *out, const struct place *place)
{
    struct node node;
    int64_t value = 0;
    if (!resolve(fill, raw, (field->flags & WEIR_SECRET) != 0, place, &node))
        return;
    node = as_plain(raw, node);
    if (type == WEIR_TYPE_INTEGER
            ? !node_to_integer(&node, &value)
            : node.kind != NODE_SCALAR ||
                  !(type == WEIR_TYPE_DURATION ? schema_parse_duration(node.text, &value)
                                               : schema_parse_bytes(node.text, &value))) {
        const char *expected = type == WEIR_TYPE_DURATION ? "a duration such as 500ms, 60s, 5m, 1h"
                               : type == WEIR_TYPE_BYTES  ? "a size such as 64k, 10m, 1g"
                                                          : "an integer";
        REFUSE(fill, raw->position, place, "expected %s", expected);
        return;
    }
    check_bounds(fill, field, raw, (double)value, place);
    *out = value;
}

static void fill_number(struct fill *fill, const weir_field *field, const struct node *raw,
                        double *out, const struct place *place)
{
    struct node node;
    if (!resolve(fill, raw, (field->flags & WEIR_SECRET) != 0, place, &node))
        return;
    node = as_plain(raw, node);
    double value = 0;
    if (!node_to_number(&node, &value)) {
        REFUSE(fill, raw->position, place, "expected a number");
        return;
    }
    check_bounds(fill, field, raw, value, place);
    *out = value;
}

/* ---- collections ---------------------------------------------------------------------------- */

static void fill_value(struct fill *fill, const weir_field *field, uint32_t type,
                       const struct node *node, void *out, const struct place *place);
static void fill_map_into(struct fill *fill, const weir_field *fields, size_t count,
                          const struct node *node, const struct override *overrides, bool present,
                          void *out, const struct place *place, bool is_outermost);

static size_t element_size(const weir_field *field)
{
    switch (field->element) {
    case WEIR_TYPE_BOOLEAN:
        return sizeof(bool);
    case WEIR_TYPE_INTEGER:
    case WEIR_TYPE_DURATION:
    case WEIR_TYPE_BYTES:
        return sizeof(int64_t);
    case WEIR_TYPE_NUMBER:
        return sizeof(double);
    case WEIR_TYPE_RECORD:
        return field->size;
    default:
        return sizeof(struct span);
    }
}

/* A set keeps the first of equal texts, as Kong does. */
static void drop_repeated(struct fill *fill, const weir_field *field, const struct node *node,
                          weir_list *list, const struct place *place)
{
    struct span *items = list->items;
    size_t kept = 0;
    struct map *seen = list->count > 8 ? map_create(list->count) : NULL;
    for (size_t i = 0; i < list->count; i++) {
        bool repeated = seen != NULL && map_find(seen, items[i]) != NULL;
        for (size_t j = 0; seen == NULL && j < kept && !repeated; j++)
            repeated = span_equal(items[j], items[i]);
        if (!repeated) {
            if (seen != NULL && map_add(seen, items[i], items) == WEIR_ERR_NO_MEMORY)
                fill->no_memory = true;
            items[kept++] = items[i];
            continue;
        }
        struct place at = {place, NULL, i};
        if ((field->flags & WEIR_SECRET) != 0)
            COMPLAIN(fill, PROBLEM_WARNING, node->items[i]->position, &at, "listed twice");
        else
            COMPLAIN(fill, PROBLEM_WARNING, node->items[i]->position, &at, "'%.*s' is listed twice",
                     SPAN_ARG(span_first(node->items[i]->text, 64)));
    }
    map_destroy(seen);
    list->count = kept;
}

static void fill_list(struct fill *fill, const weir_field *field, const struct node *node,
                      weir_list *out, const struct place *place)
{
    bool is_number = field->element == WEIR_TYPE_INTEGER || field->element == WEIR_TYPE_NUMBER ||
                     field->element == WEIR_TYPE_DURATION || field->element == WEIR_TYPE_BYTES;
    if (node->kind != NODE_LIST) {
        REFUSE(fill, node->position, place,
               (field->flags & WEIR_UNIQUE) != 0 ? "expected a set" : "expected an array");
        return;
    }
    if (!is_number && field->min > 0 && (double)node->count < field->min)
        REFUSE(fill, node->position, place, "length must be at least %.0f", field->min);
    if (!is_number && field->max > 0 && (double)node->count > field->max)
        REFUSE(fill, node->position, place, "length must be at most %.0f", field->max);
    size_t size = element_size(field);
    char *items = arena_zalloc_array(fill->context->arena, node->count + 1, size);
    if (items == NULL) {
        fill->no_memory = true;
        return;
    }
    for (size_t i = 0; i < node->count; i++) {
        struct place at = {place, NULL, i};
        fill_value(fill, field, field->element, node->items[i], items + i * size, &at);
    }
    *out = (weir_list){items, node->count};
    if ((field->flags & WEIR_UNIQUE) != 0 && size == sizeof(struct span) && !fill->failed)
        drop_repeated(fill, field, node, out, place);
}

static void fill_pairs(struct fill *fill, const weir_field *field, const struct node *node,
                       weir_list *out, const struct place *place)
{
    if (node->kind != NODE_MAP) {
        REFUSE(fill, node->position, place, "expected a map");
        return;
    }
    weir_pair *pairs = arena_zalloc_array(fill->context->arena, node->count + 1, sizeof(*pairs));
    if (pairs == NULL) {
        fill->no_memory = true;
        return;
    }
    for (size_t i = 0; i < node->count; i++) {
        const struct node *key = node->members[i].key, *value = node->members[i].value;
        struct place at = {place, key->text.data, 0};
        struct node text;
        if ((field->flags & WEIR_HEADER_NAME) != 0 && !schema_is_header_name(key->text))
            REFUSE(fill, key->position, &at,
                   "bad header name '%.*s', allowed characters are A-Z, a-z, 0-9, '_', and '-'",
                   SPAN_ARG(span_first(key->text, 200)));
        struct span name = keep_text(fill, key, key->text);
        pairs[i].key = (weir_str){name.data, name.size};
        if (value->kind != NODE_SCALAR && value->kind != NODE_NULL) {
            REFUSE(fill, value->position, &at, "expected a string");
        } else if (resolve(fill, value, (field->flags & WEIR_SECRET) != 0, &at, &text)) {
            struct span kept =
                value->kind == NODE_NULL ? SPAN("") : keep_text(fill, value, text.text);
            pairs[i].value = (weir_str){kept.data, kept.size};
        }
    }
    *out = (weir_list){pairs, node->count};
}

static void fill_record(struct fill *fill, const weir_field *field, const struct node *node,
                        const struct override *overrides, void *out, const struct place *place)
{
    if (node != NULL && node->kind != NODE_MAP && node->kind != NODE_NULL) {
        REFUSE(fill, node->position, place, "expected a record");
        return;
    }
    bool present = (node != NULL && node->kind == NODE_MAP) || overrides != NULL ||
                   (field->flags & WEIR_REQUIRED) != 0;
    fill_map_into(fill, field->fields, field->field_count, node, overrides, present, out, place,
                  false);
}

static void fill_value(struct fill *fill, const weir_field *field, uint32_t type,
                       const struct node *node, void *out, const struct place *place)
{
    switch (type) {
    case WEIR_TYPE_BOOLEAN:
        fill_boolean(fill, field, node, out, place);
        break;
    case WEIR_TYPE_INTEGER:
    case WEIR_TYPE_DURATION:
    case WEIR_TYPE_BYTES:
        fill_integer(fill, field, type, node, out, place);
        break;
    case WEIR_TYPE_NUMBER:
        fill_number(fill, field, node, out, place);
        break;
    case WEIR_TYPE_STRING:
        fill_string(fill, field, node, out, place);
        break;
    case WEIR_TYPE_ENUM:
        fill_enum(fill, field, node, out, place);
        break;
    case WEIR_TYPE_LIST:
        fill_list(fill, field, node, out, place);
        break;
    case WEIR_TYPE_MAP:
        fill_pairs(fill, field, node, out, place);
        break;
    case WEIR_TYPE_RECORD:
        if (node->kind != NODE_MAP)
            REFUSE(fill, node->position, place, "expected a record");
        else
            fill_map_into(fill, field->fields, field->field_count, node, NULL, true, out, place,
                          false);
        break;
    default:
        REFUSE(fill, node->position, place, "the field has no known type");
    }
}

/* ---- fields of a map ------------------------------------------------------------------------ */

static void set_unset(const weir_field *field, void *out)
{
    switch (field->type) {
    case WEIR_TYPE_INTEGER:
    case WEIR_TYPE_DURATION:
    case WEIR_TYPE_BYTES:
        *(int64_t *)out = WEIR_UNSET;
        break;
    case WEIR_TYPE_NUMBER:
        *(double *)out = NAN;
        break;
    default:
        break; /* zeroed by the caller: false, no text, no items */
    }
}

/* Most defaults are one plain word, and every entity has a dozen: no parser for those. */
static const struct node *read_default(struct fill *fill, const weir_field *field,
                                       struct node *storage)
{
    struct span text = span_text(field->def);
    bool is_word = text.size > 0;
    for (size_t i = 0; i < text.size && is_word; i++) {
        char c = text.data[i];
        is_word = isalnum((unsigned char)c) || (i > 0 && strchr("._-/", c) != NULL) || c == '/';
    }
    if (is_word && !span_equal(text, SPAN("null"))) {
        *storage = (struct node){.kind = NODE_SCALAR, .text = text};
        storage->quoted = field->type == WEIR_TYPE_STRING || field->type == WEIR_TYPE_ENUM;
        return storage;
    }
    struct problems *silent = problems_create(fill->context->arena);
    struct node *root = NULL;
    if (silent == NULL) {
        fill->no_memory = true;
        return NULL;
    }
    enum weir_err err = document_parse(fill->context->arena, text, "", silent, &root);
    if (err == WEIR_ERR_NO_MEMORY)
        fill->no_memory = true;
    if (err != WEIR_OK || root == NULL || root->kind == NODE_NULL)
        return NULL;
    if (root->kind == NODE_SCALAR && field->type == WEIR_TYPE_STRING)
        root->quoted = true;
    return root;
}

static void fill_default(struct fill *fill, const weir_field *field, void *out,
                         const struct place *place)
{
    struct node storage;
    set_unset(field, out);
    const struct node *node = field->def == NULL ? NULL : read_default(fill, field, &storage);
    if (node != NULL)
        fill_value(fill, field, field->type, node, out, place);
}

static void fill_field(struct fill *fill, const weir_field *field, const struct node *node,
                       const struct override *overrides, bool present, void *out,
                       const struct place *parent)
{
    struct place place = {parent, field_key(field), 0};
    const struct member *member = node_find_member(node, span_text(field_key(field)));
    const struct node *own = member == NULL ? NULL : member->value;
    struct position at = node == NULL ? (struct position){0, 0} : node->position;
    const struct node *value = choose_value(fill, field, own, overrides, &place);
    if (member != NULL && (field->flags & WEIR_DEPRECATED) != 0)
        COMPLAIN(fill, PROBLEM_WARNING, member->key->position, &place, "the field is deprecated");
    if (field->type == WEIR_TYPE_RECORD) {
        fill_record(fill, field, value, below_record(fill, overrides, field_key(field)), out,
                    &place);
        return;
    }
    if (value != NULL && value->kind != NODE_NULL) {
        set_unset(field, out);
        fill_value(fill, field, field->type, value, out, &place);
    } else if (value == NULL) {
        fill_default(fill, field, out, &place);
        if (present && field->def == NULL && (field->flags & WEIR_REQUIRED) != 0)
            REFUSE(fill, at, &place, "required field missing");
    } else { /* null is not the default, it is "nothing" */
        set_unset(field, out);
        if ((field->flags & WEIR_REQUIRED) != 0)
            REFUSE(fill, value->position, &place, "required field missing");
    }
}

static bool is_known_key(const weir_field *fields, size_t count, struct span key)
{
    for (size_t i = 0; i < count; i++) {
        if (span_equal(span_text(field_key(&fields[i])), key) || has_alias(&fields[i], key))
            return true;
        for (size_t j = 0; fields[i].type == WEIR_TYPE_RECORD && j < fields[i].field_count; j++) {
            if (has_alias(&fields[i].fields[j], key))
                return true;
        }
    }
    return false;
}

static bool is_extra_key(const struct schema_context *context, struct span key, struct guess *guess)
{
    for (size_t i = 0; context->extra_keys != NULL && context->extra_keys[i] != NULL; i++) {
        struct span extra = span_text(context->extra_keys[i]);
        if (span_equal(extra, key))
            return true;
        guess_offer(guess, extra);
    }
    return false;
}

static bool tell_legacy(struct fill *fill, const struct node *key, const struct place *place)
{
    const struct legacy_key *row = fill->context->legacy_keys;
    for (; row != NULL && row->key != NULL; row++) {
        if (span_equal(span_text(row->key), key->text)) {
            COMPLAIN(fill, row->level, key->position, place, "%s", row->text);
            return true;
        }
    }
    return false;
}

static void refuse_unknown(struct fill *fill, const weir_field *fields, size_t count,
                           const struct node *node, const struct place *parent, bool is_outermost)
{
    for (size_t i = 0; i < node->count; i++) {
        const struct node *key = node->members[i].key;
        if (is_known_key(fields, count, key->text))
            continue;
        struct place place = {parent, key->text.data, 0};
        struct guess guess = guess_start(key->text);
        if (is_outermost && is_extra_key(fill->context, key->text, &guess))
            continue;
        if (is_outermost && tell_legacy(fill, key, &place))
            continue;
        for (size_t j = 0; j < count; j++)
            guess_offer(&guess, span_text(field_key(&fields[j])));
        /* a misspelt secret is still a secret */
        problems_hide(fill->context->problems, node->members[i].value->position,
                      node->members[i].value->end);
        if (guess_found(&guess))
            REFUSE(fill, key->position, &place, "unknown field (did you mean '%.*s'?)",
                   SPAN_ARG(guess.best));
        else
            REFUSE(fill, key->position, &place, "unknown field");
    }
}

static void fill_map_into(struct fill *fill, const weir_field *fields, size_t count,
                          const struct node *node, const struct override *overrides, bool present,
                          void *out, const struct place *place, bool is_outermost)
{
    if (node != NULL && node->kind == NODE_MAP) {
        refuse_unknown(fill, fields, count, node, place, is_outermost);
        const struct override *own = collect_overrides(fill, fields, count, node);
        for (; own != NULL; own = own->next)
            overrides = add_override(fill, overrides, own->path, own->member);
    }
    for (size_t i = 0; i < count && !fill->no_memory; i++) {
        if (fields[i].also == NULL)
            fill_field(fill, &fields[i], node, overrides, present, (char *)out + fields[i].offset,
                       place);
    }
}

/* ---- the door ------------------------------------------------------------------------------- */

enum weir_err schema_fill(struct schema_context *context, const weir_field *fields, size_t count,
                          const struct node *node, void *out, const char *path)
{
    struct fill fill = {.context = context};
    struct place place = {NULL, path == NULL ? "" : path, 0};
    if (node != NULL && node->kind != NODE_MAP && node->kind != NODE_NULL)
        REFUSE(&fill, node->position, &place, "expected a record");
    else
        fill_map_into(&fill, fields, count, node, NULL, true, out, &place, true);
    if (fill.no_memory)
        return WEIR_ERR_NO_MEMORY;
    return fill.failed ? WEIR_ERR_CONFIG : WEIR_OK;
}

bool schema_text(struct schema_context *context, const struct node *node, bool secret,
                 const char *path, struct span *out_text)
{
    struct fill fill = {.context = context};
    struct place place = {NULL, path == NULL ? "" : path, 0};
    struct node resolved;
    if (!resolve(&fill, node, secret, &place, &resolved)) {
        context->no_memory = context->no_memory || fill.no_memory;
        return false;
    }
    *out_text = keep_text(&fill, node, resolved.text);
    context->no_memory = context->no_memory || fill.no_memory;
    return !fill.no_memory;
}

struct position schema_find_position(const struct node *node, const char *dotted)
{
    struct position at = node == NULL ? (struct position){0, 0} : node->position;
    while (node != NULL && dotted != NULL && *dotted != '\0') {
        size_t size = strcspn(dotted, ".[");
        if (*dotted == '[') {
            size_t index = strtoul(dotted + 1, NULL, 10);
            node = node->kind == NODE_LIST && index < node->count ? node->items[index] : NULL;
            size = strcspn(dotted, "]");
            size += dotted[size] == ']';
        } else if (size > 0) {
            node = node_find(node, span_of(dotted, size));
        }
        dotted += size + (dotted[size] == '.');
        at = node == NULL ? at : node->position;
    }
    return at;
}
