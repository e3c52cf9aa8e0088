/* Edits of application/x-www-form-urlencoded text: bodies and queries. Link weir::bodies. Arguments
 * keep their order; printing encodes anew (a space as '+'), an argument without '=' stays one. */
#ifndef WEIR_FORM_H
#define WEIR_FORM_H

#include <weir/json.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weir_form_field {
    weir_str name, value; /* decoded; value.data NULL: there was no '=' */
    weir_str raw;         /* `name=value` as it was sent, whatever edits did; data NULL: added */
    bool removed;
} weir_form_field;

/* Fields are the caller's to read and to mark removed. */
typedef struct weir_form {
    weir_alloc *alloc;
    void *user;
    weir_form_field *fields;
    size_t count, room;
} weir_form;

/* At most 1,000 fields: WEIR_FULL beyond. Copies nothing that needs no decoding: `text` must live
 * on. data NULL is an empty form. */
weir_status weir_form_parse(weir_form *form, weir_str text, weir_alloc *alloc, void *user);
/* The nth field of that name that is not removed; NULL: none. */
weir_form_field *weir_form_find(weir_form *form, weir_str name, size_t nth);
/* All of that name; WEIR_NOT_FOUND: none. */
weir_status weir_form_remove(weir_form *form, weir_str name);
/* Values move to the new name, in place of those that it had. */
weir_status weir_form_rename(weir_form *form, weir_str name, weir_str new_name);
/* One field in place of all of that name, or a new last one. Texts must live as long as the form.
 */
weir_status weir_form_set(weir_form *form, weir_str name, weir_str value);
/* One more, after the last of that name. */
weir_status weir_form_append(weir_form *form, weir_str name, weir_str value);
/* Encoded; `sorted`: by name, equal names in their order. */
weir_status weir_form_print(const weir_form *form, bool sorted, weir_str *out_text);

#ifdef __cplusplus
}
#endif

#endif
