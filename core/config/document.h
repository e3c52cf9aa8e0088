/* YAML or JSON text -> an immutable tree that remembers where everything stood. Types are decided
 * by the reader of a scalar (schema.h), as YAML 1.1 would: yes/no/on/off are booleans, 0x10 is
 * sixteen. Anchors and merge keys work; what they could blow up (depth, nodes, bytes) is bounded.
 */
#ifndef WEIR_CONFIG_DOCUMENT_H
#define WEIR_CONFIG_DOCUMENT_H

#include "base/arena.h"
#include "base/error.h"
#include "config/problems.h"

#define DOCUMENT_BYTES_MAX ((size_t)64 << 20)
#define DOCUMENT_DEPTH_MAX 64
#define DOCUMENT_NODES_MAX                                                                         \
    8000000                          /* values written: 50,000 routes with policies have a million \
                                      */
#define DOCUMENT_ALIASED_MAX 1000000 /* values that aliases stand for, each use counted */

enum node_kind { NODE_NULL, NODE_SCALAR, NODE_LIST, NODE_MAP };

struct node;
struct member {
    const struct node *key; /* a scalar */
    const struct node *value;
};

struct node {
    enum node_kind kind;
    bool quoted;               /* a quoted or block scalar is a string whatever it looks like */
    struct position position;  /* of the value; an alias has its anchor's */
    struct position end;       /* just past it */
    struct span text;          /* NODE_SCALAR: terminated; NODE_NULL: as written */
    const struct node **items; /* NODE_LIST */
    struct member *members;    /* NODE_MAP, in the order written */
    size_t count;
    uint32_t weight; /* nodes below and including this one, aliases expanded */
    uint32_t height; /* levels below this one */
};

/* Parse `text` (borrowed only during the call). WEIR_ERR_CONFIG: see `problems`, the tree may exist
 * all the same (duplicate keys) so that more can be checked; *out_root is NULL when it does not.
 * An empty document gives a NODE_NULL root. */
WEIR_MUST_USE enum weir_err document_parse(struct arena *arena, struct span text, const char *file,
                                           struct problems *problems, struct node **out_root);

/* The value of `key` in a map; NULL when it has none or `node` is NULL or no map. */
const struct node *node_find(const struct node *node, struct span key);
const struct member *node_find_member(const struct node *node, struct span key);
static inline bool node_is_null(const struct node *node)
{
    return node == NULL || node->kind == NODE_NULL;
}

/* What a plain scalar means in YAML 1.1. False when it means something else (or was quoted). */
bool node_to_boolean(const struct node *node, bool *out_value);
bool node_to_integer(const struct node *node, int64_t *out_value); /* 5 and 5.0, 0x10, 010, 1_000 */
bool node_to_number(const struct node *node, double *out_value);
/* True when the scalar is a string: quoted, or neither number nor boolean. */
bool node_is_string(const struct node *node);

#endif
