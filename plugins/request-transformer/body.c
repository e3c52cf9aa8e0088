/* Rules at bodies: JSON, forms and multipart/form-data. A body that is none of what its type says
 * is left as it is. */
#include <weir/multipart.h>

#include "transformer.h"

static bool contains_nocase(weir_str text, const char *part)
{
    size_t size = strlen(part);
    for (size_t i = 0; i + size <= text.size; i++)
        if (text_equal_nocase((weir_str){text.data + i, size}, (weir_str){part, size}))
            return true;
    return false;
}

enum body_kind body_kind_of(weir_str content_type)
{
    if (contains_nocase(content_type, "multipart/form-data"))
        return BODY_MULTIPART;
    if (contains_nocase(content_type, "application/json"))
        return BODY_JSON;
    return contains_nocase(content_type, "application/x-www-form-urlencoded") ? BODY_FORM
                                                                              : BODY_NONE;
}

/* ---- JSON */

struct json_edit {
    enum operation operation;
    weir_str value; /* JSON text; of a rename: the new name */
};

/* Kong takes false for absent where something is to be replaced. */
static weir_status replace_member(weir_json *json, weir_json_value *object, weir_str name,
                                  weir_str value)
{
    const weir_json_value *member = weir_json_member(json, object, name);
    if (member == NULL || weir_json_kind(member) == WEIR_JSON_FALSE)
        return WEIR_SUCCESS;
    return weir_json_set(json, object, name, value);
}

static weir_status edit_object(void *user, weir_json *json, weir_json_value *object, weir_str name)
{
    const struct json_edit *edit = user;
    weir_status status = WEIR_INVALID;
    switch (edit->operation) {
    case REMOVE:
        status = weir_json_remove(json, object, name);
        break;
    case RENAME:
        status = text_equal(name, edit->value) ? WEIR_SUCCESS
                                               : weir_json_rename(json, object, name, edit->value);
        break;
    case REPLACE:
        status = replace_member(json, object, name, edit->value);
        break;
    case ADD:
        status = weir_json_member(json, object, name) != NULL
                     ? WEIR_SUCCESS
                     : weir_json_set(json, object, name, edit->value);
        break;
    case APPEND:
        status = weir_json_append(json, object, name, edit->value);
        break;
    case OPERATIONS:
        break;
    }
    return status == WEIR_NOT_FOUND ? WEIR_SUCCESS : status;
}

static bool is_of_type(enum value_type type, uint32_t kind)
{
    if (type == TYPE_NUMBER)
        return kind == WEIR_JSON_NUMBER;
    if (type == TYPE_BOOLEAN)
        return kind == WEIR_JSON_TRUE || kind == WEIR_JSON_FALSE;
    return type == TYPE_JSON;
}

/* JSON text of a rendered value. INVALID: it is not of its type. */
static weir_status json_value(weir_request *request, const rule *item, weir_str value,
                              weir_str *out_text)
{
    if (item->type == TYPE_STRING)
        return weir_json_quote(value, weir_alloc_of_request, request, out_text);
    weir_json *json;
    *out_text = text_trim(value);
    weir_status status = weir_json_parse(*out_text, weir_alloc_of_request, request, &json, NULL);
    if (status == WEIR_SUCCESS && !is_of_type(item->type, weir_json_kind(weir_json_root(json))))
        status = WEIR_INVALID;
    if (status == WEIR_INVALID || status == WEIR_FULL) {
        weir_log(request, WEIR_LOG_ERROR, "the value of '%.*s' is no %s", (int)item->name.size,
                 item->name.data, value_types[item->type]);
        return WEIR_INVALID;
    }
    return status;
}

static weir_status edit_json(weir_request *request, const transformer *policy,
                             const weir_str *values, weir_json *json, bool is_empty)
{
    for (size_t operation = is_empty ? ADD : REMOVE; operation < OPERATIONS; operation++) {
        const rules *of = &policy->rules[BODY][operation];
        for (size_t i = 0; i < of->count; i++) {
            const rule *item = &of->items[i];
            struct json_edit edit = {.operation = (enum operation)operation};
            weir_status status = WEIR_SUCCESS;
            if (item->value != NULL)
                edit.value = values[item->slot];
            if (operation != REMOVE && operation != RENAME)
                status = json_value(request, item, values[item->slot], &edit.value);
            if (status == WEIR_SUCCESS)
                status = weir_json_path_each(json, item->path, false,
                                             operation == ADD || operation == APPEND, edit_object,
                                             &edit);
            if (status != WEIR_SUCCESS && status != WEIR_NOT_FOUND)
                return status;
        }
    }
    return WEIR_SUCCESS;
}

static weir_status edit_json_body(weir_request *request, const transformer *policy,
                                  const weir_str *values, weir_str text, weir_str *out_text)
{
    static const weir_str empty = {"{}", 2};
    weir_json *json;
    bool is_empty = text.size == 0;
    *out_text = text;
    weir_status status =
        weir_json_parse(is_empty ? empty : text, weir_alloc_of_request, request, &json, NULL);
    if (status == WEIR_INVALID)
        return WEIR_SUCCESS;
    if (status == WEIR_SUCCESS)
        status = edit_json(request, policy, values, json, is_empty);
    weir_str printed;
    if (status == WEIR_SUCCESS)
        status = weir_json_print(json, &printed);
    if (status == WEIR_SUCCESS && printed.data != empty.data)
        *out_text = printed;
    return status;
}

/* ---- forms */

static weir_status edit_form_body(weir_request *request, const transformer *policy,
                                  const weir_str *values, weir_str text, weir_str *out_text)
{
    weir_form form;
    bool changed = false;
    *out_text = text;
    weir_status status = weir_form_parse(&form, text, weir_alloc_of_request, request);
    if (status == WEIR_SUCCESS)
        status = form_edit(&form, policy->rules[BODY], values, &changed);
    return status == WEIR_SUCCESS && changed ? form_print(&form, false, out_text) : status;
}

static weir_status apply_to_parts(weir_multipart *multipart, enum operation operation,
                                  const rule *item, weir_str value)
{
    bool is_there = weir_multipart_find(multipart, item->name, 0) != NULL;
    switch (operation) {
    case REMOVE:
        return weir_multipart_remove(multipart, item->name);
    case RENAME:
        return text_equal(item->name, value) ? WEIR_SUCCESS
                                             : weir_multipart_rename(multipart, item->name, value);
    case REPLACE:
        return is_there ? weir_multipart_set(multipart, item->name, value) : WEIR_SUCCESS;
    case ADD:
        return is_there ? WEIR_SUCCESS : weir_multipart_set(multipart, item->name, value);
    case APPEND:
    case OPERATIONS:
        break;
    }
    return WEIR_SUCCESS;
}

static weir_status edit_parts(weir_multipart *multipart, const transformer *policy,
                              const weir_str *values)
{
    static const enum operation order[] = {RENAME, REMOVE, REPLACE, ADD}; /* as Kong does these */
    for (size_t step = 0; step < sizeof(order) / sizeof(order[0]); step++) {
        const rules *of = &policy->rules[BODY][order[step]];
        for (size_t i = 0; i < of->count; i++) {
            const rule *item = &of->items[i];
            if (item->is_path)
                continue;
            weir_status status =
                apply_to_parts(multipart, order[step], item,
                               item->value == NULL ? (weir_str){"", 0} : values[item->slot]);
            if (status != WEIR_SUCCESS && status != WEIR_NOT_FOUND)
                return status;
        }
    }
    return WEIR_SUCCESS;
}

/* A whole body without parts, for what is added to none; data NULL: no memory. */
static weir_str without_parts(weir_request *request, weir_str boundary)
{
    const weir_str pieces[] = {{"--", 2}, boundary, {"--\r\n", 4}};
    char *text = weir_request_alloc(request, boundary.size + 6);
    size_t at = 0;
    for (size_t i = 0; text != NULL && i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        memcpy(text + at, pieces[i].data, pieces[i].size);
        at += pieces[i].size;
    }
    return (weir_str){text, at};
}

static weir_status edit_multipart_body(weir_request *request, const transformer *policy,
                                       const weir_str *values, const request_body *body,
                                       weir_str *out_text)
{
    weir_multipart multipart;
    weir_str text = body->text, printed;
    *out_text = text;
    weir_status status =
        weir_multipart_parse(&multipart, text, body->content_type, weir_alloc_of_request, request);
    if (status == WEIR_INVALID && text.size == 0 && multipart.boundary.size > 0) {
        text = without_parts(request, multipart.boundary);
        if (text.data == NULL)
            return WEIR_NO_MEMORY;
        status = weir_multipart_parse(&multipart, text, body->content_type, weir_alloc_of_request,
                                      request);
    }
    if (status == WEIR_INVALID)
        return WEIR_SUCCESS;
    if (status == WEIR_SUCCESS)
        status = edit_parts(&multipart, policy, values);
    if (status == WEIR_SUCCESS)
        status = weir_multipart_print(&multipart, &printed);
    if (status == WEIR_SUCCESS && printed.data != text.data)
        *out_text = printed;
    return status;
}

weir_status body_edit(weir_request *request, const transformer *policy, const weir_str *values,
                      const request_body *body, weir_str *out_text)
{
    weir_status status = WEIR_SUCCESS;
    *out_text = body->text;
    if (body->kind == BODY_JSON)
        status = edit_json_body(request, policy, values, body->text, out_text);
    else if (body->kind == BODY_FORM)
        status = edit_form_body(request, policy, values, body->text, out_text);
    else if (body->kind == BODY_MULTIPART)
        status = edit_multipart_body(request, policy, values, body, out_text);
    if (status != WEIR_SUCCESS)
        weir_log(request, WEIR_LOG_ERROR, "the body cannot be changed: %s",
                 status == WEIR_FULL        ? "too many fields, or nested too deep"
                 : status == WEIR_NO_MEMORY ? "no memory"
                                            : "a value cannot stand in it");
    return status;
}
