/* A key inside a request body: found, and cut out again. What is not the key passes byte for byte.
 * Forms, JSON objects (top level alone) and multipart forms. */
#ifndef KEY_AUTH_BODY_H
#define KEY_AUTH_BODY_H

#include <weir/form.h>
#include <weir/json.h>
#include <weir/multipart.h>

typedef enum body_kind { BODY_OTHER, BODY_FORM, BODY_JSON, BODY_MULTIPART } body_kind;

typedef struct body {
    body_kind kind;
    weir_form form;
    weir_json *json;
    weir_multipart multipart;
} body;

typedef enum key_found { KEY_ABSENT, KEY_FOUND, KEY_REPEATED, KEY_NO_MEMORY } key_found;

/* What the Content-Type says; BODY_OTHER is a body no key is looked for in. */
body_kind body_kind_of(weir_str content_type);
/* Reads the whole text; both must live as long as the request. What is not as `kind` says, or has
 * more than 1,000 fields, becomes BODY_OTHER. False: no memory. */
bool body_take(weir_request *request, body *into, weir_str text, weir_str content_type);
/* The value called `name` as text; KEY_REPEATED also for a JSON array or object of that name. */
key_found body_find(body *in, weir_str name, weir_str *out_value);
/* The body without what is called `name`. WEIR_NOT_FOUND: there was none. */
weir_status body_without(weir_request *request, body *from, weir_str name, weir_str *out_text);

#endif
