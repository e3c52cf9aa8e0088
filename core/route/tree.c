#include "route/tree.h"

#include <stdlib.h>

static int compare_keys(const void *left, const void *right)
{
    const struct tree_key *a = left, *b = right;
    if (a->tree != b->tree)
        return a->tree < b->tree ? -1 : 1;
    int order = span_compare(a->text, b->text);
    if (order != 0)
        return order;
    return a->value < b->value ? -1 : a->value > b->value;
}

static size_t drop_duplicates(struct tree_key *keys, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (kept == 0 || compare_keys(&keys[kept - 1], &keys[i]) != 0)
            keys[kept++] = keys[i];
    }
    return kept;
}

/* While the forest grows a node still needs to know which keys are below it: keys[first, end) all
 * start with the `depth` bytes that lead here. */
struct range {
    uint32_t first, end, depth;
};

struct builder {
    const struct tree_key *keys;
    struct tree_node *nodes;
    struct range *ranges; /* one per node */
    uint32_t node_count;
};

static void add_node(struct builder *builder, struct range range, uint32_t parent_depth)
{
    uint32_t size = range.depth - parent_depth;
    const char *label = size == 0 ? "" : builder->keys[range.first].text.data + parent_depth;
    builder->ranges[builder->node_count] = range;
    builder->nodes[builder->node_count++] = (struct tree_node){
        .label = label, .label_size = size, .first = (unsigned char)(size == 0 ? 0 : *label)};
}

static uint32_t common_size(struct span a, struct span b)
{
    size_t size = 0;
    while (size < a.size && size < b.size && a.data[size] == b.data[size])
        size++;
    return (uint32_t)size;
}

/* The keys that end here are its values; the others are grouped by their next byte, one child each.
 */
static void split_node(struct builder *builder, uint32_t index)
{
    struct range range = builder->ranges[index];
    struct tree_node *node = &builder->nodes[index];
    const struct tree_key *keys = builder->keys;
    uint32_t at = range.first;
    while (at < range.end && keys[at].text.size == range.depth)
        at++;
    node->values = range.first;
    node->value_count = at - range.first;
    node->children = builder->node_count;
    while (at < range.end) {
        uint32_t first = at;
        char byte = keys[first].text.data[range.depth];
        while (at < range.end && keys[at].text.data[range.depth] == byte)
            at++;
        uint32_t depth = common_size(keys[first].text, keys[at - 1].text);
        add_node(builder, (struct range){first, at, depth}, range.depth);
        node->child_count++;
    }
}

static void grow(struct builder *builder, size_t key_count, uint32_t tree_count)
{
    uint32_t at = 0;
    for (uint32_t tree = 0; tree < tree_count; tree++) {
        uint32_t first = at;
        while (at < key_count && builder->keys[at].tree == tree)
            at++;
        add_node(builder, (struct range){first, at, 0}, 0);
    }
    for (uint32_t index = 0; index < builder->node_count; index++)
        split_node(builder, index);
}

static enum weir_err copy_out(struct arena *arena, const struct builder *builder, size_t key_count,
                              struct forest *out_forest)
{
    struct tree_node *nodes = arena_alloc(arena, builder->node_count * sizeof(*nodes) + 1);
    uint32_t *values = arena_alloc(arena, key_count * sizeof(*values) + 1);
    if (nodes == NULL || values == NULL)
        return WEIR_ERR_NO_MEMORY;
    memcpy(nodes, builder->nodes, builder->node_count * sizeof(*nodes));
    for (size_t i = 0; i < key_count; i++)
        values[i] = builder->keys[i].value;
    *out_forest = (struct forest){nodes, values, builder->node_count, (uint32_t)key_count};
    return WEIR_OK;
}

enum weir_err forest_build(struct arena *arena, struct tree_key *keys, size_t key_count,
                           uint32_t tree_count, struct forest *out_forest)
{
    if (key_count > 0)
        qsort(keys, key_count, sizeof(*keys), compare_keys);
    key_count = drop_duplicates(keys, key_count);
    /* Each key ends at one node and makes at most one fork above it. */
    size_t most = 2 * key_count + tree_count;
    if (most > UINT32_MAX / 2)
        return WEIR_ERR_LIMIT;
    struct builder builder = {.keys = keys};
    builder.nodes = calloc(most + 1, sizeof(*builder.nodes));
    builder.ranges = calloc(most + 1, sizeof(*builder.ranges));
    enum weir_err err = WEIR_ERR_NO_MEMORY;
    if (builder.nodes != NULL && builder.ranges != NULL) {
        grow(&builder, key_count, tree_count);
        err = copy_out(arena, &builder, key_count, out_forest);
    }
    free(builder.nodes);
    free(builder.ranges);
    return err;
}
