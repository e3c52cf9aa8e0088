/* Radix trees, many in one array: all values whose key is a prefix of a text are found in one
 * descent. Built once from the sorted keys, never changed; nodes lie in breadth-first order, so the
 * children of a node are neighbours sorted by first byte. Tree number t has its root at nodes[t].
 */
#ifndef WEIR_ROUTE_TREE_H
#define WEIR_ROUTE_TREE_H

#include "base/arena.h"
#include "base/span.h"

struct tree_key {
    struct span text; /* must outlive the forest: labels point into it */
    uint32_t tree, value;
};

struct tree_node {
    const char *label; /* bytes between the parent and this node */
    uint32_t label_size;
    uint32_t children, values; /* first of each */
    uint32_t value_count;
    uint16_t child_count;
    unsigned char first; /* label[0] */
};

struct forest {
    const struct tree_node *nodes;
    const uint32_t *values; /* ascending within a node, no duplicates */
    uint32_t node_count, value_count;
};

/* Sorts `keys` (and may reorder them as it likes); `key_count` may be 0. */
WEIR_MUST_USE enum weir_err forest_build(struct arena *arena, struct tree_key *keys,
                                         size_t key_count, uint32_t tree_count,
                                         struct forest *out_forest);

/* A descent: start with tree_walk(), then tree_step() until NULL. Every node it gives is at a
 * prefix of the text, the root (the empty prefix) first. */
struct tree_walk {
    const struct forest *forest;
    const struct tree_node *node;
    const char *at, *end;
};

static inline struct tree_walk tree_walk(const struct forest *forest, uint32_t tree,
                                         struct span text)
{
    return (struct tree_walk){forest, &forest->nodes[tree], text.data, text.data + text.size};
}

static inline const struct tree_node *tree_child(const struct tree_walk *walk)
{
    const struct tree_node *children = &walk->forest->nodes[walk->node->children];
    unsigned char byte = (unsigned char)*walk->at;
    uint32_t low = 0, high = walk->node->child_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (children[middle].first < byte)
            low = middle + 1;
        else
            high = middle;
    }
    return low < walk->node->child_count && children[low].first == byte ? &children[low] : NULL;
}

static inline const struct tree_node *tree_step(struct tree_walk *walk)
{
    const struct tree_node *here = walk->node;
    if (here == NULL)
        return NULL;
    const struct tree_node *child = NULL;
    if (walk->at != walk->end && here->child_count != 0)
        child = tree_child(walk);
    if (child != NULL && (size_t)(walk->end - walk->at) >= child->label_size &&
        memcmp(walk->at, child->label, child->label_size) == 0) {
        walk->at += child->label_size;
        walk->node = child;
    } else {
        walk->node = NULL;
    }
    return here;
}

#endif
