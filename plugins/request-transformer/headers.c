/* Rules at header fields. A field may be there several times. */
#include "transformer.h"

static bool is_there(weir_request *request, weir_header_id id)
{
    return weir_header_get(request, WEIR_SIDE_REQUEST, id, 0).data != NULL;
}

/* With all its values, in place of those that the new name has. */
static weir_status rename_header(weir_request *request, const rule *item)
{
    size_t count = 0;
    while (weir_header_get(request, WEIR_SIDE_REQUEST, item->header, count).data != NULL)
        count++;
    if (count == 0)
        return WEIR_SUCCESS;
    weir_str *values = weir_request_alloc(request, count * sizeof(*values));
    if (values == NULL)
        return WEIR_NO_MEMORY;
    for (size_t i = 0; i < count; i++)
        values[i] = weir_header_get(request, WEIR_SIDE_REQUEST, item->header, i);
    weir_status status = weir_header_remove(request, WEIR_SIDE_REQUEST, item->header);
    if (status == WEIR_SUCCESS)
        status = weir_header_remove(request, WEIR_SIDE_REQUEST, item->new_header);
    if (status == WEIR_NOT_FOUND)
        status = WEIR_SUCCESS;
    for (size_t i = 0; i < count && status == WEIR_SUCCESS; i++)
        status = weir_header_add(request, WEIR_SIDE_REQUEST, item->new_header, values[i]);
    return status;
}

static weir_status apply(weir_request *request, enum operation operation, const rule *item,
                         weir_str value, bool is_host)
{
    weir_status status = WEIR_SUCCESS;
    switch (operation) {
    case REMOVE:
        status = weir_header_remove(request, WEIR_SIDE_REQUEST, item->header);
        return status == WEIR_NOT_FOUND ? WEIR_SUCCESS : status;
    case RENAME:
        return rename_header(request, item);
    case REPLACE:
        if (is_host || is_there(request, item->header))
            status = weir_header_set(request, WEIR_SIDE_REQUEST, item->header, value);
        return status;
    case ADD:
        if (!is_there(request, item->header))
            status = weir_header_set(request, WEIR_SIDE_REQUEST, item->header, value);
        return status;
    case APPEND:
        return weir_header_add(request, WEIR_SIDE_REQUEST, item->header, value);
    case OPERATIONS:
        break;
    }
    return WEIR_INVALID;
}

weir_status headers_edit(weir_request *request, const transformer *policy, const weir_str *values)
{
    static const weir_str none = {"", 0}, host = {"Host", 4};
    for (size_t operation = 0; operation < OPERATIONS; operation++) {
        const rules *of = &policy->rules[HEADERS][operation];
        for (size_t i = 0; i < of->count; i++) {
            const rule *item = &of->items[i];
            weir_str value = item->value == NULL ? none : text_trim(values[item->slot]);
            weir_status status = apply(request, (enum operation)operation, item, value,
                                       text_equal_nocase(item->name, host));
            if (status == WEIR_SUCCESS)
                continue;
            weir_log(request, WEIR_LOG_ERROR, "the header %.*s cannot be changed",
                     (int)item->name.size, item->name.data);
            return status;
        }
    }
    return WEIR_SUCCESS;
}
