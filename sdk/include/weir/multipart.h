/* Edits of multipart/form-data bodies (RFC 7578): parts that no edit touches keep their bytes. Link
 * weir::bodies. */
#ifndef WEIR_MULTIPART_H
#define WEIR_MULTIPART_H

#include <weir/json.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weir_multipart_part {
    weir_str name; /* of its Content-Disposition, decoded; data NULL: it has none */
    weir_str raw;  /* header fields, empty line and content, without the boundaries */
    weir_str content;
    bool is_file; /* it has a filename */
    bool removed;
} weir_multipart_part;

typedef struct weir_multipart {
    weir_alloc *alloc;
    void *user;
    weir_str body, boundary;
    weir_multipart_part *parts;
    size_t count, room;
    bool edited;
} weir_multipart;

/* `content_type` is the whole header value with its boundary. At most 1,000 parts: WEIR_FULL
 * beyond. WEIR_INVALID: no boundary, or not a whole multipart body. `body` must live on. */
weir_status weir_multipart_parse(weir_multipart *multipart, weir_str body, weir_str content_type,
                                 weir_alloc *alloc, void *user);
/* The nth part of that name that is not removed; NULL: none. */
weir_multipart_part *weir_multipart_find(weir_multipart *multipart, weir_str name, size_t nth);
weir_status weir_multipart_remove(weir_multipart *multipart, weir_str name);
/* The part keeps its other header fields; parts that have the new name already go. */
weir_status weir_multipart_rename(weir_multipart *multipart, weir_str name, weir_str new_name);
/* A plain part in place of all of that name, or a new last one. WEIR_INVALID: the value holds the
 * boundary, or the name a CR, LF or NUL. */
weir_status weir_multipart_set(weir_multipart *multipart, weir_str name, weir_str value);
weir_status weir_multipart_append(weir_multipart *multipart, weir_str name, weir_str value);
/* The very `body` when nothing was edited. */
weir_status weir_multipart_print(const weir_multipart *multipart, weir_str *out_text);

#ifdef __cplusplus
}
#endif

#endif
