/* Any bytes as a configuration, as `weir check` reads it, without plugins (the catalog is empty but
 * for one policy with a field of each kind). It loads or says why, twice the same; every problem
 * stands inside the text; every node of the tree, too, and its weight and height are those of what
 * is below it; a configuration that loads loads again from its own bytes with the same hash; and
 * little text never becomes much memory. */
#include <stdlib.h>
#include <string.h>

#include "config/build.h"
#include "config/document.h"
#include "config/schema.h"
#include "fuzz.h"

enum { TEXT_MAX = 8192, MEMORY_MAX = 64 << 20 };

struct everything {
    bool boolean;
    int64_t integer, duration, bytes;
    double number;
    weir_str string, secret, choice;
    weir_list strings;
};
static const char *const choices[] = {"local", "redis", NULL};
static const weir_field fields[] = {
    WEIR_BOOLEAN(struct everything, boolean),
    WEIR_INTEGER(struct everything, integer, .def = "5", .max = 65535),
    WEIR_DURATION(struct everything, duration, .def = "60s"),
    WEIR_BYTES(struct everything, bytes, .def = "1m"),
    WEIR_NUMBER(struct everything, number),
    WEIR_STRING(struct everything, string),
    WEIR_STRING(struct everything, secret, .flags = WEIR_SECRET),
    WEIR_ENUM(struct everything, choice, .def = "local", .choices = choices),
    WEIR_LIST(struct everything, strings, WEIR_TYPE_STRING, .flags = WEIR_UNIQUE),
};
static const struct plugin_schema policy = {SPAN("policy"), fields, COUNT_OF(fields),
                                            sizeof(struct everything), false};

static const struct plugin_schema *find(void *user, struct span name, char *why, size_t why_size)
{
    (void)user;
    if (span_equal(name, policy.name))
        return &policy;
    CHECK_THAT(why_size > 0);
    why[0] = '\0';
    return NULL;
}

static const struct credential_schema *find_credential(void *user, struct span collection)
{
    (void)user, (void)collection;
    return NULL;
}

static const struct plugin_catalog catalog = {.find = find, .find_credential = find_credential};

/* ---- positions */

struct lines {
    uint32_t count;
    uint32_t width[TEXT_MAX + 2]; /* bytes: at least as many as characters */
};

/* Lines as YAML counts them: LF, CR, CRLF, NEL, LS, PS. Too many are no harm here. */
static void count_lines(struct span text, struct lines *lines)
{
    uint32_t width = 0;
    lines->count = 0;
    for (size_t i = 0; i < text.size; i++) {
        unsigned char byte = (unsigned char)text.data[i];
        width++;
        lines->width[lines->count] = width;
        if (byte == '\n' || byte == '\r' || byte == 0x85 || byte == 0xa8 || byte == 0xa9) {
            lines->count++;
            width = 0;
        }
    }
    lines->width[lines->count] = width;
    lines->count++;
}

static void check_position(struct position position, const struct lines *lines, size_t size)
{
    CHECK_THAT(position.line <= lines->count + 1);
    CHECK_THAT(position.line == 0 || (position.column >= 1 && position.column <= size + 2));
}

/* ---- the tree */

static void check_node(const struct node *node, const struct lines *lines, size_t size,
                       unsigned depth, uint32_t *budget)
{
    CHECK_THAT(depth <= DOCUMENT_DEPTH_MAX);
    CHECK_THAT(node->weight >= 1 || depth == 0); /* an empty document weighs nothing */
    if (*budget == 0)                            /* aliases: the same again and again */
        return;
    --*budget;
    check_position(node->position, lines, size);
    check_position(node->end, lines, size);
    CHECK_THAT(node->kind != NODE_SCALAR || node->text.data[node->text.size] == '\0');
    uint64_t weight = node->weight == 0 ? 0 : 1;
    uint32_t height = 0;
    for (size_t i = 0; i < node->count; i++) {
        const struct node *below = node->kind == NODE_MAP ? node->members[i].value : node->items[i];
        if (node->kind == NODE_MAP)
            CHECK_THAT(node->members[i].key->kind == NODE_SCALAR ||
                       node->members[i].key->kind == NODE_NULL);
        check_node(below, lines, size, depth + 1, budget);
        height = below->height + 1 > height ? below->height + 1 : height;
        weight += below->weight;
    }
    CHECK_THAT(node->height >= height && node->height <= DOCUMENT_DEPTH_MAX);
    CHECK_THAT(node->weight >= weight || weight > UINT32_MAX);
    int64_t integer, parsed;
    bool boolean;
    double number;
    bool is_integer = node_to_integer(node, &integer), is_boolean = node_to_boolean(node, &boolean);
    CHECK_THAT(!(is_integer && is_boolean) && !(is_integer && !node_to_number(node, &number)));
    CHECK_THAT(!(node_is_string(node) && (is_integer || is_boolean)));
    if (node->kind == NODE_SCALAR) {
        (void)schema_parse_duration(node->text, &parsed);
        (void)schema_parse_bytes(node->text, &parsed);
    }
}

static void check_document(struct span text, const struct lines *lines)
{
    struct arena *arena = arena_create(NULL);
    struct problems *problems = arena == NULL ? NULL : problems_create(arena);
    if (problems != NULL) {
        struct node *root = NULL;
        uint32_t budget = 20000;
        arena_limit(arena, MEMORY_MAX);
        enum weir_err error = document_parse(arena, text, "f.yml", problems, &root);
        CHECK_THAT(error == WEIR_OK || error == WEIR_ERR_CONFIG);
        CHECK_THAT(error == WEIR_OK ? root != NULL : problems_errors(problems) > 0);
        if (root != NULL)
            check_node(root, lines, text.size, 0, &budget);
    }
    arena_destroy(arena);
}

/* ---- the configuration */

static enum weir_err load(struct span text, struct arena *arena, struct buf *out,
                          const struct lines *lines, struct config **out_config)
{
    struct problems *problems = problems_create(arena);
    CHECK_THAT(problems != NULL);
    enum weir_err error = config_load(arena, text, "f.yml", &catalog, problems, out_config);
    CHECK_THAT(error == WEIR_OK || error == WEIR_ERR_CONFIG);
    CHECK_THAT((error == WEIR_OK) == (problems_errors(problems) == 0));
    CHECK_THAT((error == WEIR_OK) == (*out_config != NULL));
    for (size_t i = 0; i < problems_count(problems); i++) {
        const struct problem *problem = problems_at(problems, i);
        check_position(problem->position, lines, text.size);
        CHECK_THAT(problem->text.size > 0);
    }
    problems_print(problems, out, false);
    return error;
}

static void check_config(struct span text, const struct lines *lines)
{
    struct arena *first = arena_create(NULL), *second = arena_create(NULL);
    AUTO_BUF said = BUF_INIT;
    AUTO_BUF again = BUF_INIT;
    if (first != NULL && second != NULL) {
        struct config *a = NULL, *b = NULL;
        arena_limit(first, MEMORY_MAX);
        arena_limit(second, MEMORY_MAX);
        enum weir_err error = load(text, first, &said, lines, &a);
        CHECK_THAT(load(text, second, &again, lines, &b) == error);
        CHECK_THAT(span_equal(buf_view(&said), buf_view(&again)));
        if (error == WEIR_OK)
            CHECK_THAT(a->hash.size == 32 && span_equal(a->hash, b->hash));
    }
    arena_destroy(first);
    arena_destroy(second);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static struct lines lines;
    if (size > TEXT_MAX)
        return 0;
    struct span text = span_of((const char *)bytes, size);
    /* Texts of the environment and of files are not the input's. */
    if (memmem(bytes, size, "${", 2) != NULL || memmem(bytes, size, "{vault:", 7) != NULL)
        return 0;
    count_lines(text, &lines);
    check_document(text, &lines);
    check_config(text, &lines);
    return 0;
}
