/* Looking into the tree and changing it. A node that was touched, and all above it, is written
 * anew; everything else keeps its text. */
#include "json_tree.h"

weir_json_value *weir_json_root(const weir_json *json)
{
    return json->root;
}

uint32_t weir_json_kind(const weir_json_value *value)
{
    return value->kind;
}

weir_json_value *weir_json_first(const weir_json_value *parent)
{
    return parent->first;
}

weir_json_value *weir_json_next(const weir_json_value *value)
{
    return value->next;
}

weir_str weir_json_name(weir_json *json, weir_json_value *member)
{
    if (!member->is_member)
        return (weir_str){NULL, 0};
    weir_str decoded;
    if (!member->is_decoded) {
        /* Printed with the middle part, so the quoted form is kept there. */
        if (json_unquote(json, member->name, &decoded) != WEIR_SUCCESS)
            return (weir_str){NULL, 0};
        member->middle.size += member->name.size;
        member->middle.data = member->name.data;
        member->name = decoded;
        member->is_decoded = true;
    }
    return member->name;
}

weir_str weir_json_raw(const weir_json_value *value)
{
    return value->raw;
}

weir_status weir_json_text(weir_json *json, const weir_json_value *value, weir_str *out_text)
{
    return value->kind != WEIR_JSON_STRING ? WEIR_INVALID
                                           : json_unquote(json, value->raw, out_text);
}

/* Before `from` (NULL: from the end). WEIR_NO_MEMORY in *status. */
static weir_json_value *find_back(weir_json *json, const weir_json_value *object,
                                  weir_json_value *from, weir_str name, weir_status *status)
{
    weir_json_value *member = from != NULL ? from->prev : object->last;
    for (; member != NULL; member = member->prev) {
        weir_str is = weir_json_name(json, member);
        if (is.data == NULL) {
            *status = WEIR_NO_MEMORY;
            return NULL;
        }
        if (text_equal(is, name))
            return member;
    }
    return NULL;
}

/* One whose members are there. */
static bool is_object(const weir_json_value *value)
{
    return value != NULL && value->kind == WEIR_JSON_OBJECT && !value->is_closed;
}

static weir_json_value *find_last(weir_json *json, const weir_json_value *object, weir_str name,
                                  weir_status *status)
{
    *status = WEIR_SUCCESS;
    return !is_object(object) ? NULL : find_back(json, object, NULL, name, status);
}

weir_json_value *weir_json_member(weir_json *json, const weir_json_value *object, weir_str name)
{
    weir_status ignored;
    return find_last(json, object, name, &ignored);
}

/* ---- edits */

static void touch(weir_json_value *value)
{
    for (; value != NULL && !value->is_edited; value = value->parent)
        value->is_edited = true;
}

static void unlink_child(weir_json_value *child)
{
    weir_json_value *parent = child->parent;
    if (child->prev != NULL)
        child->prev->next = child->next;
    else
        parent->first = child->next;
    if (child->next != NULL)
        child->next->prev = child->prev;
    else
        parent->last = child->prev;
    touch(parent);
    child->parent = child->prev = child->next = NULL;
}

static void link_child(weir_json_value *parent, weir_json_value *child)
{
    child->parent = parent;
    child->prev = parent->last;
    child->next = NULL;
    if (parent->last != NULL)
        parent->last->next = child;
    else
        parent->first = child;
    parent->last = child;
    touch(parent);
}

/* `value` stands where `old` stood, under its name. */
static void take_place(weir_json *json, weir_json_value *old, weir_json_value *value)
{
    weir_json_value *parent = old->parent;
    value->is_member = old->is_member;
    value->is_decoded = old->is_decoded;
    value->name = old->name;
    value->middle = old->middle;
    value->lead = old->lead;
    value->trail = old->trail;
    value->parent = parent;
    value->prev = old->prev;
    value->next = old->next;
    if (parent == NULL) {
        json->root = value;
        value->is_edited = true;
        return;
    }
    *(old->prev != NULL ? &old->prev->next : &parent->first) = value;
    *(old->next != NULL ? &old->next->prev : &parent->last) = value;
    touch(parent);
}

static weir_status parse_added(weir_json *json, weir_str text, weir_json_value **out_value)
{
    weir_str copy = json_copy(json, text);
    if (copy.data == NULL)
        return WEIR_NO_MEMORY;
    weir_status status = json_parse_text(json, copy, 0, out_value, NULL);
    if (status == WEIR_SUCCESS)
        (*out_value)->is_added = true;
    return status == WEIR_FULL ? WEIR_INVALID : status;
}

/* The parts of a member that is written without white space. */
static weir_status name_anew(weir_json *json, weir_json_value *member, weir_str name)
{
    weir_str quoted, copy = json_copy(json, name);
    if (copy.data == NULL ||
        weir_json_quote(name, json->alloc, json->user, &quoted) != WEIR_SUCCESS)
        return WEIR_NO_MEMORY;
    /* What stood between the old name and the value stays. */
    weir_str between = {":", 1};
    if (member->is_member && member->is_decoded) {
        const char *end = member->middle.data + member->middle.size;
        const char *from = end;
        while (from > member->middle.data && from[-1] != '"')
            from--;
        between = json_span(from, end);
    } else if (member->is_member) {
        between = member->middle;
    }
    char *middle = json_bytes(json, quoted.size + between.size);
    if (middle == NULL)
        return WEIR_NO_MEMORY;
    memcpy(middle, quoted.data, quoted.size);
    memcpy(middle + quoted.size, between.data, between.size);
    member->middle = (weir_str){middle, quoted.size + between.size};
    member->name = copy;
    member->is_member = member->is_decoded = true;
    return WEIR_SUCCESS;
}

weir_status weir_json_remove(weir_json *json, weir_json_value *object, weir_str name)
{
    weir_status status;
    weir_json_value *member = find_last(json, object, name, &status);
    if (member == NULL)
        return status != WEIR_SUCCESS ? status : WEIR_NOT_FOUND;
    while (member != NULL) {
        weir_json_value *before = find_back(json, object, member, name, &status);
        unlink_child(member);
        member = before;
    }
    return status;
}

weir_status weir_json_rename(weir_json *json, weir_json_value *object, weir_str name,
                             weir_str new_name)
{
    weir_status status;
    weir_json_value *member = find_last(json, object, name, &status);
    if (member == NULL)
        return status != WEIR_SUCCESS ? status : WEIR_NOT_FOUND;
    if (text_equal(name, new_name))
        return WEIR_SUCCESS;
    status = weir_json_remove(json, object, new_name);
    if (status != WEIR_SUCCESS && status != WEIR_NOT_FOUND)
        return status;
    for (status = WEIR_SUCCESS; member != NULL && status == WEIR_SUCCESS;) {
        weir_json_value *before = find_back(json, object, member, name, &status);
        if (status == WEIR_SUCCESS)
            status = name_anew(json, member, new_name);
        member = before;
    }
    touch(object);
    return status;
}

weir_status weir_json_set(weir_json *json, weir_json_value *object, weir_str name, weir_str text)
{
    weir_json_value *value;
    weir_status status = parse_added(json, text, &value);
    if (status != WEIR_SUCCESS)
        return status;
    if (!is_object(object))
        return WEIR_NOT_FOUND;
    weir_json_value *old = find_last(json, object, name, &status);
    if (status != WEIR_SUCCESS)
        return status;
    if (old == NULL) {
        status = name_anew(json, value, name);
        if (status == WEIR_SUCCESS)
            link_child(object, value);
        return status;
    }
    take_place(json, old, value);
    for (weir_json_value *more; (more = find_back(json, object, value, name, &status)) != NULL;)
        unlink_child(more);
    return status;
}

/* A list that is to be changed needs its elements. */
static weir_status open_list(weir_json *json, weir_json_value **list)
{
    weir_json_value *opened, *closed = *list;
    if (closed == NULL || !closed->is_closed || closed->kind != WEIR_JSON_ARRAY)
        return WEIR_SUCCESS;
    weir_status status = json_parse_text(json, closed->raw, 0, &opened, NULL);
    if (status != WEIR_SUCCESS)
        return status;
    take_place(json, closed, opened);
    *list = opened;
    return WEIR_SUCCESS;
}

weir_status weir_json_append(weir_json *json, weir_json_value *object, weir_str name, weir_str text)
{
    weir_status status;
    weir_json_value *old = find_last(json, object, name, &status), *value, *list;
    if (status != WEIR_SUCCESS)
        return status;
    if (!is_object(object))
        return WEIR_NOT_FOUND;
    status = open_list(json, &old);
    list = old;
    if (status != WEIR_SUCCESS)
        return status;
    status = parse_added(json, text, &value);
    if (status != WEIR_SUCCESS)
        return status;
    if (old == NULL || old->kind != WEIR_JSON_ARRAY) {
        list = json_node(json);
        if (list == NULL)
            return WEIR_NO_MEMORY;
        list->kind = WEIR_JSON_ARRAY;
        list->is_edited = true; /* not is_added: a deep walk goes on into what it wraps */
    }
    if (old == NULL) {
        status = name_anew(json, list, name);
        if (status != WEIR_SUCCESS)
            return status;
        link_child(object, list);
    } else if (list != old) {
        take_place(json, old, list);
        old->is_member = old->is_decoded = false;
        old->lead = old->trail = old->middle = old->name = (weir_str){NULL, 0};
        link_child(list, old);
    }
    link_child(list, value);
    return WEIR_SUCCESS;
}

weir_status weir_json_replace(weir_json *json, weir_json_value *value, weir_str text)
{
    weir_json_value *added;
    weir_status status = parse_added(json, text, &added);
    if (status == WEIR_SUCCESS)
        take_place(json, value, added);
    return status;
}
