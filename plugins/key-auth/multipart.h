/* Just enough of multipart/form-data to find one field and to cut it out. */
#ifndef KEY_AUTH_MULTIPART_H
#define KEY_AUTH_MULTIPART_H

#include <weir/weir.h>

typedef struct multipart_part {
    size_t begin, end; /* of the whole part: from its delimiter up to the next one */
    weir_str name;     /* unset: it has none */
    weir_str content;
} multipart_part;

/* "--" and the boundary of the Content-Type. False: it names none, or no memory. */
bool multipart_delimiter(weir_request *request, weir_str content_type, weir_str *out_delimiter);
/* How many parts have that name; *out_part is the first. */
size_t multipart_find(weir_str text, weir_str delimiter, weir_str name, multipart_part *out_part);
/* The body without parts of that name. False: no memory. */
bool multipart_without(weir_request *request, weir_str text, weir_str delimiter, weir_str name,
                       weir_str *out_text);

#endif
