#include "body.h"

#include <string.h>
#include <strings.h>

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

body_kind body_kind_of(weir_str content_type)
{
    static const struct {
        weir_str type;
        body_kind kind;
    } types[] = {{{"application/x-www-form-urlencoded", 33}, BODY_FORM},
                 {{"application/json", 16}, BODY_JSON},
                 {{"multipart/form-data", 19}, BODY_MULTIPART}};
    if (content_type.data == NULL)
        return BODY_OTHER;
    const char *at = content_type.data, *end = at + content_type.size;
    const char *more = memchr(at, ';', content_type.size);
    if (more != NULL)
        end = more;
    while (at < end && is_blank(*at))
        at++;
    while (end > at && is_blank(end[-1]))
        end--;
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        if ((size_t)(end - at) == types[i].type.size &&
            strncasecmp(at, types[i].type.data, types[i].type.size) == 0)
            return types[i].kind;
    return BODY_OTHER;
}

/* Only members of an object count, so nothing else is worth the memory of a document. */
static weir_status take_json(weir_request *request, body *into, weir_str text)
{
    size_t at = 0;
    while (at < text.size && is_blank(text.data[at]))
        at++;
    return at == text.size || text.data[at] != '{'
               ? WEIR_INVALID
               : weir_json_parse_top(text, weir_alloc_of_request, request, &into->json, NULL);
}

bool body_take(weir_request *request, body *into, weir_str text, weir_str content_type)
{
    weir_status status = WEIR_INVALID;
    switch (into->kind) {
    case BODY_FORM:
        status = weir_form_parse(&into->form, text, weir_alloc_of_request, request);
        break;
    case BODY_JSON:
        status = take_json(request, into, text);
        break;
    case BODY_MULTIPART:
        status = weir_multipart_parse(&into->multipart, text, content_type, weir_alloc_of_request,
                                      request);
        break;
    case BODY_OTHER:
        break;
    }
    if (status != WEIR_SUCCESS)
        into->kind = BODY_OTHER;
    return status != WEIR_NO_MEMORY;
}

/* ---- find */

static key_found find_in_form(body *in, weir_str name, weir_str *out_value)
{
    const weir_form_field *field = weir_form_find(&in->form, name, 0);
    if (field == NULL)
        return KEY_ABSENT;
    if (weir_form_find(&in->form, name, 1) != NULL)
        return KEY_REPEATED;
    *out_value = field->value;
    return field->value.data == NULL ? KEY_ABSENT : KEY_FOUND; /* a name alone is no text */
}

static key_found find_in_json(const body *in, weir_str name, weir_str *out_value)
{
    const weir_json_value *value = weir_json_member(in->json, weir_json_root(in->json), name);
    if (value == NULL)
        return KEY_ABSENT;
    uint32_t kind = weir_json_kind(value);
    if (kind == WEIR_JSON_ARRAY || kind == WEIR_JSON_OBJECT)
        return KEY_REPEATED;
    if (kind != WEIR_JSON_STRING)
        return KEY_ABSENT;
    return weir_json_text(in->json, value, out_value) == WEIR_SUCCESS ? KEY_FOUND : KEY_NO_MEMORY;
}

static key_found find_in_multipart(body *in, weir_str name, weir_str *out_value)
{
    const weir_multipart_part *part = weir_multipart_find(&in->multipart, name, 0);
    if (part == NULL)
        return KEY_ABSENT;
    *out_value = part->content;
    return weir_multipart_find(&in->multipart, name, 1) == NULL ? KEY_FOUND : KEY_REPEATED;
}

key_found body_find(body *in, weir_str name, weir_str *out_value)
{
    switch (in->kind) {
    case BODY_FORM:
        return find_in_form(in, name, out_value);
    case BODY_JSON:
        return find_in_json(in, name, out_value);
    case BODY_MULTIPART:
        return find_in_multipart(in, name, out_value);
    case BODY_OTHER:
        break;
    }
    return KEY_ABSENT;
}

/* ---- cut out */

/* The fields that stay as they were sent: weir_form_print() would encode them anew. */
static weir_status print_raw(weir_request *request, const weir_form *form, weir_str *out_text)
{
    size_t room = 1, size = 0;
    for (size_t i = 0; i < form->count; i++)
        room += form->fields[i].raw.size + 1;
    char *text = weir_request_alloc(request, room);
    if (text == NULL)
        return WEIR_NO_MEMORY;
    for (size_t i = 0; i < form->count; i++) {
        weir_str raw = form->fields[i].raw;
        if (form->fields[i].removed)
            continue;
        if (size > 0)
            text[size++] = '&';
        memcpy(text + size, raw.data, raw.size);
        size += raw.size;
    }
    *out_text = (weir_str){text, size};
    return WEIR_SUCCESS;
}

weir_status body_without(weir_request *request, body *from, weir_str name, weir_str *out_text)
{
    weir_status status = WEIR_NOT_FOUND;
    switch (from->kind) {
    case BODY_FORM:
        status = weir_form_remove(&from->form, name);
        return status != WEIR_SUCCESS ? status : print_raw(request, &from->form, out_text);
    case BODY_JSON:
        status = weir_json_remove(from->json, weir_json_root(from->json), name);
        return status != WEIR_SUCCESS ? status : weir_json_print(from->json, out_text);
    case BODY_MULTIPART:
        status = weir_multipart_remove(&from->multipart, name);
        return status != WEIR_SUCCESS ? status : weir_multipart_print(&from->multipart, out_text);
    case BODY_OTHER:
        break;
    }
    return status;
}
