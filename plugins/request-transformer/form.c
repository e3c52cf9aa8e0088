/* Rules at the fields of a form: the query, or a body. */
#include "transformer.h"

static weir_status apply(weir_form *form, enum operation operation, const rule *item,
                         weir_str value)
{
    switch (operation) {
    case REMOVE:
        return weir_form_remove(form, item->name);
    case RENAME:
        return text_equal(item->name, value) ? WEIR_NOT_FOUND
                                             : weir_form_rename(form, item->name, value);
    case REPLACE:
        return weir_form_find(form, item->name, 0) == NULL ? WEIR_NOT_FOUND
                                                           : weir_form_set(form, item->name, value);
    case ADD:
        return weir_form_find(form, item->name, 0) != NULL ? WEIR_NOT_FOUND
                                                           : weir_form_set(form, item->name, value);
    case APPEND:
        return weir_form_append(form, item->name, value);
    case OPERATIONS:
        break;
    }
    return WEIR_INVALID;
}

weir_status form_edit(weir_form *form, const rules *of_operations, const weir_str *values,
                      bool *changed)
{
    static const weir_str none = {"", 0};
    for (size_t operation = 0; operation < OPERATIONS; operation++) {
        const rules *of = &of_operations[operation];
        for (size_t i = 0; i < of->count; i++) {
            const rule *item = &of->items[i];
            if (item->is_path)
                continue;
            weir_status status = apply(form, (enum operation)operation, item,
                                       item->value == NULL ? none : values[item->slot]);
            if (status == WEIR_SUCCESS && changed != NULL)
                *changed = true;
            if (status != WEIR_SUCCESS && status != WEIR_NOT_FOUND)
                return status;
        }
    }
    return WEIR_SUCCESS;
}

/* Kong writes a space as %20. A '+' that is left in encoded text can be nothing but a space. */
weir_status form_print(const weir_form *form, bool sorted, weir_str *out_text)
{
    weir_str plain;
    weir_status status = weir_form_print(form, sorted, &plain);
    size_t spaces = 0, at = 0;
    for (size_t i = 0; status == WEIR_SUCCESS && i < plain.size; i++)
        spaces += plain.data[i] == '+';
    if (status != WEIR_SUCCESS || spaces == 0) {
        *out_text = plain;
        return status;
    }
    char *room = form->alloc(form->user, plain.size + 2 * spaces);
    if (room == NULL)
        return WEIR_NO_MEMORY;
    for (size_t i = 0; i < plain.size; i++) {
        if (plain.data[i] != '+') {
            room[at++] = plain.data[i];
            continue;
        }
        room[at++] = '%';
        room[at++] = '2';
        room[at++] = '0';
    }
    *out_text = (weir_str){room, at};
    return WEIR_SUCCESS;
}
