/* Legacy spellings: "redis_host" beside a record stands for "redis.host" inside it. */
#include <stdio.h>

#include "config/schema_fill.h"

static bool next_alias(struct span *rest, struct span *out_alias)
{
    while (span_split(rest, ',', out_alias)) {
        *out_alias = span_trim(*out_alias);
        if (!span_is_empty(*out_alias))
            return true;
    }
    return false;
}

bool has_alias(const weir_field *field, struct span key)
{
    struct span rest = span_text(field->alias), alias = SPAN_NONE;
    while (field->alias != NULL && next_alias(&rest, &alias)) {
        if (span_equal(alias, key))
            return true;
    }
    return false;
}

const struct override *add_override(struct fill *fill, const struct override *next,
                                    const char *path, const struct member *member)
{
    struct override *override = arena_new(fill->context->arena, struct override);
    if (override == NULL) {
        fill->no_memory = true;
        return next;
    }
    *override = (struct override){next, path, member};
    return override;
}

static const struct override *find_aliases(struct fill *fill, const struct node *node,
                                           const weir_field *field, const char *record,
                                           const struct override *overrides)
{
    struct span rest = span_text(field->alias), alias = SPAN_NONE;
    while (field->alias != NULL && next_alias(&rest, &alias)) {
        const struct member *member = node_find_member(node, alias);
        if (member == NULL)
            continue;
        struct span path =
            record == NULL ? span_text(field_key(field))
                           : arena_printf(fill->context->arena, "%s.%s", record, field_key(field));
        overrides = add_override(fill, overrides, path.data, member);
    }
    return overrides;
}

const struct override *collect_overrides(struct fill *fill, const weir_field *fields, size_t count,
                                         const struct node *node)
{
    const struct override *found = NULL;
    if (node == NULL || node->kind != NODE_MAP)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        const weir_field *field = &fields[i];
        found = find_aliases(fill, node, field, NULL, found);
        for (size_t j = 0; field->type == WEIR_TYPE_RECORD && j < field->field_count; j++)
            found = find_aliases(fill, node, &field->fields[j], field_key(field), found);
        const struct member *member =
            field->also == NULL ? NULL : node_find_member(node, span_text(field_key(field)));
        if (member != NULL)
            found = add_override(fill, found, field->also, member);
    }
    return found;
}

const struct override *below_record(struct fill *fill, const struct override *overrides,
                                    const char *key)
{
    const struct override *found = NULL;
    size_t size = strlen(key);
    for (; overrides != NULL; overrides = overrides->next) {
        if (strncmp(overrides->path, key, size) == 0 && overrides->path[size] == '.')
            found = add_override(fill, found, overrides->path + size + 1, overrides->member);
    }
    return found;
}

static bool nodes_equal(const struct node *a, const struct node *b)
{
    if (a->kind != b->kind || a->count != b->count || !span_equal(a->text, b->text))
        return false;
    for (size_t i = 0; a->kind == NODE_LIST && i < a->count; i++) {
        if (!nodes_equal(a->items[i], b->items[i]))
            return false;
    }
    return a->kind != NODE_MAP;
}

const struct node *choose_value(struct fill *fill, const weir_field *field, const struct node *own,
                                const struct override *overrides, const struct place *place)
{
    for (; overrides != NULL; overrides = overrides->next) {
        if (strcmp(overrides->path, field_key(field)) != 0)
            continue;
        const struct node *key = overrides->member->key, *old = overrides->member->value;
        char path[PLACE_TEXT] = "";
        put_place(place, path, sizeof(path));
        const char *config = strstr(path, "config.");
        const char *shown = config == NULL ? path : config + strlen("config.");
        if ((field->flags & WEIR_SECRET) != 0)
            problems_hide(fill->context->problems, old->position, old->end);
        if (node_is_null(own) || nodes_equal(own, old)) {
            COMPLAIN(fill, PROBLEM_WARNING, key->position, place,
                     "'%.*s' is the old spelling of '%s'", SPAN_ARG(key->text), shown);
            own = node_is_null(old) ? own : old;
        } else if (node_is_null(old)) {
            continue;
        } else if ((field->flags & WEIR_SECRET) != 0 || own->kind != NODE_SCALAR) {
            REFUSE(fill, key->position, place,
                   "both deprecated and new field are used but their values mismatch: %.*s vs %s",
                   SPAN_ARG(key->text), shown);
        } else {
            REFUSE(fill, key->position, place,
                   "both deprecated and new field are used but their values mismatch: %.*s = %.*s "
                   "vs %s = %.*s",
                   SPAN_ARG(key->text), SPAN_ARG(span_first(old->text, 100)), shown,
                   SPAN_ARG(span_first(own->text, 100)));
        }
    }
    return own;
}
