/* A document as a tree whose nodes remember their own text and the white space around it. Internal
 * to sdk/bodies: json_parse.c makes it, json_edit.c changes it, json_print.c writes it, json_path.c
 * walks it. */
#ifndef WEIR_BODIES_JSON_TREE_H
#define WEIR_BODIES_JSON_TREE_H

#include <string.h>

#include <weir/json.h>

#include "equal.h"

/* Values: some 144 bytes each. */
enum { JSON_DEPTH_MAX = 128, JSON_VALUES_MAX = 500000, JSON_NODES_AT_ONCE = 32 };

struct weir_json_value {
    weir_json_value *parent, *first, *last, *next, *prev;
    weir_str raw;    /* the value as it was sent */
    weir_str lead;   /* white space in front of it (of its name, for a member) */
    weir_str middle; /* of a member, name to value: `"a" : ` */
    weir_str name;   /* of a member: with quotes as sent, decoded by json_name() */
    weir_str trail;  /* white space behind it, up to the comma; of the last one: see `tail` */
    weir_str tail;   /* of a container: white space in front of its end */
    uint8_t kind;
    bool is_member, is_decoded; /* `name` is decoded already */
    bool is_edited;             /* it or something in it: `raw` does not hold */
    bool is_added;              /* not in the document that was parsed */
    bool is_closed;             /* a container whose inside has no nodes: weir_json_parse_top() */
};

struct weir_json {
    weir_alloc *alloc;
    void *user;
    weir_str text;
    weir_json_value *root;
    weir_json_value *spare; /* nodes of the last block */
    size_t spare_count, value_count;
};

weir_json_value *json_node(weir_json *json);
/* Its text must live as long as the document. Values `floor` and more levels above the deepest that
 * is allowed have nodes: 0 is all. */
weir_status json_parse_text(weir_json *json, weir_str text, unsigned floor,
                            weir_json_value **out_value, size_t *out_at);
/* Memory of the document; NULL: none. */
char *json_bytes(weir_json *json, size_t size);
weir_str json_copy(weir_json *json, weir_str text);
/* Decoded, WEIR_NO_MEMORY without memory. `quoted` is a valid JSON string. */
weir_status json_unquote(weir_json *json, weir_str quoted, weir_str *out_text);

static inline weir_str json_span(const char *from, const char *to)
{
    return (weir_str){from, (size_t)(to - from)};
}

#endif
