/* The walk over the document: every entity, nested or flat, is filled from its table, checked alone
 * and entered by name. References wait until all are known. */
#include <stdarg.h>
#include <stdio.h>

#include "base/text.h"
#include "config/builder.h"
#include "config/schema_fill.h"

bool pointers_add(struct builder *builder, struct pointers *pointers, void *item)
{
    if (pointers->count == pointers->capacity) {
        size_t wider = pointers->capacity == 0 ? 16 : pointers->capacity * 2;
        void **items = arena_array(builder->arena, void *, wider);
        if (items == NULL) {
            builder->no_memory = true;
            return false;
        }
        if (pointers->count > 0)
            memcpy(items, pointers->items, pointers->count * sizeof(*items));
        pointers->items = items;
        pointers->capacity = wider;
    }
    pointers->items[pointers->count++] = item;
    return true;
}

const char *builder_text(struct builder *builder, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    size = size < 0 ? 0 : size >= (int)sizeof(text) ? (int)sizeof(text) - 1 : size;
    struct span copy = arena_copy(builder->scratch, span_of(text, (size_t)size));
    builder->no_memory = builder->no_memory || copy.data == NULL;
    return copy.data == NULL ? "" : copy.data;
}

#define MEMBER(entity, offset, type) ((type *)(void *)((char *)(entity) + (offset)))

static void check_tags(struct builder *builder, const struct node *node,
                       const struct span_list *tags, const char *path)
{
    for (size_t i = 0; i < tags->count; i++) {
        struct span tag = tags->items[i];
        bool valid = text_is_utf8(tag);
        for (size_t j = 0; j < tag.size && valid; j++) {
            unsigned char c = (unsigned char)tag.data[j];
            valid = c >= 0x20 && c != 0x7f && c != ',' && c != '/';
        }
        if (!valid)
            PROBLEM(builder, schema_find_position(node, builder_text(builder, "tags[%zu]", i)),
                    builder_text(builder, "%s.tags[%zu]", path, i),
                    "invalid tag '%.*s': expected printable ascii (except `,` and `/`) or valid "
                    "utf-8 sequences",
                    SPAN_ARG(span_first(tag, 64)));
    }
}

/* Only certificates have no name. The keys of the deterministic ids are names alone. */
static void enter(struct builder *builder, const struct kind_row *row, struct pending *pending)
{
    struct span *id = pending->entity;
    struct span *name = MEMBER(pending->entity, row->name, struct span);
    bool named = span_is_set(row->name_key) && !span_is_empty(*name);
    struct position at = schema_find_position(pending->node, "id");
    if (span_is_set(*id) && !uuid_is_valid(*id)) {
        PROBLEM(builder, at, builder_text(builder, "%s.id", pending->path),
                "expected a valid UUID");
        return;
    }
    if (named)
        register_name(builder, &builder->names->by_name[pending->kind], row->collection,
                      row->name_key, *name, pending->entity, pending->node, pending->path);
    bool waits = pending->kind == KIND_POLICY || pending->kind == KIND_TARGET;
    if (waits)
        return;
    if (!span_is_set(*id))
        *id = named ? natural_id(builder, row->collection, *name) : place_id(builder, pending);
    else
        named = false; /* an id of the file's own may collide, a derived one follows its name */
    if (!named)
        register_id(builder, pending->kind, *id, pending->entity, at, pending->path);
    else if (names_add(&builder->names->by_id[pending->kind], builder->scratch, *id,
                       pending->entity) == WEIR_ERR_NO_MEMORY)
        builder->no_memory = true;
}

static void set_times(struct builder *builder, const struct kind_row *row, void *entity)
{
    if (row->created_at == 0)
        return;
    int64_t *created = MEMBER(entity, row->created_at, int64_t);
    int64_t *updated = MEMBER(entity, row->updated_at, int64_t);
    *created = *created == WEIR_UNSET ? builder->now : *created;
    *updated = *updated == WEIR_UNSET ? builder->now : *updated;
}

/* ---- credentials under a consumer ----------------------------------------------------------- */

static bool is_own_key(const struct kind_row *row, struct span key)
{
    for (size_t i = 0; i < row->field_count; i++)
        if (span_equal(key, span_text(field_key(&row->fields[i]))))
            return true;
    for (const char *const *extra = row->extra_keys; *extra != NULL; extra++)
        if (span_equal(key, span_text(*extra)))
            return true;
    for (const struct legacy_key *legacy = row->legacy_keys; legacy->key != NULL; legacy++)
        if (span_equal(key, span_text(legacy->key)))
            return true;
    return false;
}

/* A collection that only the catalog knows: that of a plugin which is not one of Kong's. */
static bool is_foreign_collection(const struct builder *builder, struct span key)
{
    return !is_own_key(&kind_rows[KIND_CONSUMER], key) &&
           builder->catalog->find_credential(builder->catalog->user, key) != NULL;
}

/* The keys beside the table that this consumer may have; NULL without memory. */
static const char *const *consumer_keys(struct builder *builder, const struct node *node)
{
    const char *const *usual = kind_rows[KIND_CONSUMER].extra_keys;
    size_t count = 0, foreign = 0;
    while (usual[count] != NULL)
        count++;
    for (size_t i = 0; i < node->count; i++)
        foreign += is_foreign_collection(builder, node->members[i].key->text);
    if (foreign == 0)
        return usual;
    const char **keys = arena_array(builder->scratch, const char *, count + foreign + 1);
    if (keys == NULL) {
        builder->no_memory = true;
        return NULL;
    }
    memcpy(keys, usual, count * sizeof(*keys));
    for (size_t i = 0; i < node->count; i++)
        if (is_foreign_collection(builder, node->members[i].key->text))
            keys[count++] = node->members[i].key->text.data;
    return keys;
}

static void collect_consumer(struct builder *builder, const struct pending *parent)
{
    const struct node *node = parent->node;
    for (const char *const *name = credential_collections(); *name != NULL; name++) {
        const struct member *member = node_find_member(node, span_text(*name));
        if (member != NULL)
            collect_credentials(builder, span_text(*name), member->value, member->key,
                                parent->entity,
                                builder_text(builder, "%s.%s", parent->path, *name));
    }
    for (size_t i = 0; i < node->count; i++) {
        const struct member *member = &node->members[i];
        struct span key = member->key->text;
        if (is_foreign_collection(builder, key))
            collect_credentials(builder, key, member->value, member->key, parent->entity,
                                builder_text(builder, "%s.%s", parent->path, key.data));
    }
}

/* ---- the walk ------------------------------------------------------------------------------- */

static struct pending *collect_one(struct builder *builder, struct pending parents)
{
    const struct kind_row *row = &kind_rows[parents.kind];
    if (parents.node->kind != NODE_MAP) {
        PROBLEM(builder, parents.node->position, parents.path, "expected a record");
        return NULL;
    }
    struct pending *pending = arena_new(builder->scratch, struct pending);
    void *entity = arena_zalloc(builder->arena, row->size);
    if (pending == NULL || entity == NULL) {
        builder->no_memory = true;
        return NULL;
    }
    *pending = parents;
    pending->entity = entity;
    builder->schema.extra_keys =
        parents.kind == KIND_CONSUMER ? consumer_keys(builder, parents.node) : row->extra_keys;
    builder->schema.legacy_keys = row->legacy_keys;
    enum weir_err err = schema_fill(&builder->schema, row->fields, row->field_count, parents.node,
                                    entity, parents.path);
    builder->no_memory = builder->no_memory || err == WEIR_ERR_NO_MEMORY;
    builder->schema.extra_keys = NULL;
    builder->schema.legacy_keys = NULL;
    struct pointers *kind = &builder->kinds[parents.kind];
    *MEMBER(entity, row->node, const struct node *) = parents.node;
    *MEMBER(entity, row->index, uint32_t) = (uint32_t)kind->count;
    set_times(builder, row, entity);
    check_tags(builder, parents.node, MEMBER(entity, row->tags, struct span_list), parents.path);
    check_entity(builder, pending);
    enter(builder, row, pending);
    pointers_add(builder, &builder->pendings, pending);
    if (parents.kind != KIND_POLICY) /* policies of missing plugins may still fall away */
        pointers_add(builder, kind, entity);
    return pending;
}

static void collect_list(struct builder *builder, const struct node *list, struct pending parents);

static void collect_nested(struct builder *builder, const struct pending *parent, const char *key,
                           enum kind kind, struct pending parents)
{
    const struct node *list = node_find(parent->node, span_text(key));
    parents.kind = kind;
    parents.path = builder_text(builder, "%s.%s", parent->path, key);
    collect_list(builder, list, parents);
}

static void collect_children(struct builder *builder, const struct pending *parent)
{
    struct pending below = {0};
    switch ((int)parent->kind) {
    case KIND_SERVICE:
        below.service = parent->entity;
        collect_nested(builder, parent, "routes", KIND_ROUTE, below);
        collect_nested(builder, parent, "plugins", KIND_POLICY, below);
        break;
    case KIND_ROUTE:
        below.route = parent->entity;
        collect_nested(builder, parent, "plugins", KIND_POLICY, below);
        break;
    case KIND_CONSUMER:
        below.consumer = parent->entity;
        collect_nested(builder, parent, "plugins", KIND_POLICY, below);
        collect_consumer(builder, parent);
        break;
    case KIND_UPSTREAM:
        below.upstream = parent->entity;
        collect_nested(builder, parent, "targets", KIND_TARGET, below);
        break;
    case KIND_CERTIFICATE:
        below.certificate = parent->entity;
        collect_nested(builder, parent, "snis", KIND_SNI, below);
        collect_nested(builder, parent, "services", KIND_SERVICE, below);
        collect_nested(builder, parent, "upstreams", KIND_UPSTREAM, below);
        break;
    default:
        break;
    }
}

static void collect_list(struct builder *builder, const struct node *list, struct pending parents)
{
    if (node_is_null(list))
        return;
    if (list->kind != NODE_LIST) {
        PROBLEM(builder, list->position, parents.path, "expected an array");
        return;
    }
    const char *collection = parents.path;
    for (size_t i = 0; i < list->count && !builder->no_memory; i++) {
        parents.node = list->items[i];
        parents.path = builder_text(builder, "%s[%zu]", collection, i);
        struct pending *pending = collect_one(builder, parents);
        if (pending != NULL)
            collect_children(builder, pending);
    }
}

/* Ours. Of any other key every installed plugin may have to be asked, that is loaded. */
static bool is_own_top_key(struct span key)
{
    for (size_t i = 0; i < KIND_COUNT; i++) {
        if (span_equal(key, kind_rows[i].collection))
            return true;
    }
    for (const char *const *name = top_keys; *name != NULL; name++) {
        if (span_equal(key, span_text(*name)))
            return true;
    }
    return false;
}

static bool is_top_key(struct builder *builder, const struct member *member)
{
    struct span key = member->key->text;
    if (is_own_top_key(key))
        return true;
    for (const struct legacy_key *row = top_legacy_keys; row->key != NULL; row++) {
        if (!span_equal(key, span_text(row->key)))
            continue;
        if (row->level == PROBLEM_WARNING || !node_is_null(member->value))
            problem_add(builder->problems, row->level, member->key->position, row->key, "%s",
                        row->text);
        return true;
    }
    return plugin_of_collection(key) != NULL ||
           builder->catalog->find_credential(builder->catalog->user, key) != NULL;
}

static void refuse_top_key(struct builder *builder, const struct member *member)
{
    struct guess guess = guess_start(member->key->text);
    for (size_t i = 0; i < KIND_COUNT; i++)
        guess_offer(&guess, kind_rows[i].collection);
    for (const char *const *name = credential_collections(); *name != NULL; name++)
        guess_offer(&guess, span_text(*name));
    for (const char *const *name = top_keys; *name != NULL; name++)
        guess_offer(&guess, span_text(*name));
    problems_hide(builder->problems, member->value->position, member->value->end);
    if (guess_found(&guess))
        PROBLEM(builder, member->key->position, member->key->text.data,
                "unknown field (did you mean '%.*s'?)", SPAN_ARG(guess.best));
    else
        PROBLEM(builder, member->key->position, member->key->text.data, "unknown field");
}

static void add_vaults(struct builder *builder)
{
    struct pointers *vaults = &builder->kinds[KIND_VAULT];
    for (size_t i = 0; i < vaults->count; i++) {
        struct vault *vault = vaults->items[i];
        struct schema_vault *row = arena_new(builder->arena, struct schema_vault);
        if (row == NULL) {
            builder->no_memory = true;
            return;
        }
        *row = (struct schema_vault){vault->prefix, vault->config_prefix,
                                     (void *)(uintptr_t)builder->schema.vaults};
        builder->schema.vaults = row;
    }
}

void collect_all(struct builder *builder, const struct node *root)
{
    for (size_t i = 0; i < root->count; i++) {
        if (!is_top_key(builder, &root->members[i]))
            refuse_top_key(builder, &root->members[i]);
    }
    for (size_t kind = 0; kind < KIND_COUNT; kind++) {
        struct pending parents = {.kind = (enum kind)kind, .path = kind_rows[kind].collection.data};
        collect_list(builder, node_find(root, kind_rows[kind].collection), parents);
        if (kind == KIND_VAULT)
            add_vaults(builder);
    }
    for (size_t i = 0; i < root->count; i++) {
        const struct member *member = &root->members[i];
        struct span key = member->key->text;
        if (is_own_top_key(key))
            continue;
        if (plugin_of_collection(key) != NULL ||
            builder->catalog->find_credential(builder->catalog->user, key) != NULL)
            collect_credentials(builder, key, member->value, member->key, NULL, key.data);
    }
}
