/* A key inside a request body: found, and cut out again. What is not the key passes byte for byte;
 * nothing is printed anew. Forms, JSON objects (top level alone) and multipart forms. */
#ifndef KEY_AUTH_BODY_H
#define KEY_AUTH_BODY_H

#include <weir/weir.h>

typedef enum body_kind { BODY_OTHER, BODY_FORM, BODY_JSON, BODY_MULTIPART } body_kind;

typedef struct body {
    body_kind kind;
    weir_str text;
    weir_str delimiter; /* BODY_MULTIPART: "--" and the boundary */
} body;

typedef enum key_found { KEY_ABSENT, KEY_FOUND, KEY_REPEATED, KEY_NO_MEMORY } key_found;

/* What the Content-Type says; BODY_OTHER is a body no key is looked for in. Texts that are made
 * live as long as the request. */
body body_of_type(weir_request *request, weir_str content_type);
/* The value called `name` as text; KEY_REPEATED also for a JSON array or object of that name. */
key_found body_find(weir_request *request, const body *from, weir_str name, weir_str *out_value);
/* The body without what is called `name`; the same text when there was none. False: no memory. */
bool body_without(weir_request *request, const body *from, weir_str name, weir_str *out_text);

#endif
