/* What the files of the build share: the walk over the document (collect.c), references and ids
 * (link.c), the rules of each kind (rules.c), policies and credentials (plugins.c). Private. */
#ifndef WEIR_CONFIG_BUILDER_H
#define WEIR_CONFIG_BUILDER_H

#include "config/build.h"
#include "config/tables.h"

/* An entity as collected: its parents by nesting, before references are looked at. */
struct pending {
    enum kind kind; /* KIND_COUNT: a credential */
    void *entity;
    const struct node *node;
    const char *path;
    struct service *service;
    struct route *route;
    struct consumer *consumer;
    struct upstream *upstream;
    struct certificate *certificate;
    const struct credential_schema *credential;
};

struct pointers {
    void **items;
    size_t count, capacity;
};

struct builder {
    struct arena *arena;
    struct arena *scratch; /* dies with the build: paths for messages, pending entities */
    struct problems *problems;
    const struct plugin_catalog *catalog;
    struct schema_context schema;
    struct config_names *names;
    struct pointers kinds[KIND_COUNT], credentials;
    struct pointers pendings;
    bool old_paths; /* a 1.1 or 2.1 file */
    bool no_memory;
    int64_t now;
};

#define PROBLEM(builder, at, path, ...) \
    problem_add((builder)->problems, PROBLEM_ERROR, (at), (path), __VA_ARGS__)
#define WARN(builder, at, path, ...) \
    problem_add((builder)->problems, PROBLEM_WARNING, (at), (path), __VA_ARGS__)

bool pointers_add(struct builder *builder, struct pointers *pointers, void *item);
/* Text in the scratch arena; "" when there is no memory (and no_memory is set). */
const char *builder_text(struct builder *builder, const char *format, ...) WEIR_PRINTF(2, 3);

/* collect.c */
void collect_all(struct builder *builder, const struct node *root);

/* link.c: references and the ids that depend on them. */
void link_pending(struct builder *builder, struct pending *pending);
/* Natural ids: v5 of the collection and the key. Unset without memory. */
struct span natural_id(struct builder *builder, struct span collection, struct span key);
/* For what has no name of its own: from its place in the file, so that every worker that reads the
 * file gives it the same id. */
struct span place_id(struct builder *builder, const struct pending *pending);
/* Names and ids exist once; says so at `at` otherwise. */
void register_id(struct builder *builder, enum kind kind, struct span id, void *entity,
                 struct position at, const char *path);
void register_name(struct builder *builder, struct names *names, struct span collection,
                   struct span key, struct span value, void *entity, const struct node *node,
                   const char *path);
/* The entity a foreign key names, NULL when absent or wrong (then a problem was added). `out_word`
 * is the reference as written, which ids are derived from. */
void *resolve_reference(struct builder *builder, const struct node *node, const char *key,
                        enum kind kind, const char *path, struct span *out_word);

/* rules.c: everything about one entity that its table cannot say. Called before ids are made. */
void check_entity(struct builder *builder, struct pending *pending);
/* Rules that need the references: tls settings of services. */
void check_linked(struct builder *builder, struct pending *pending);
void fill_health_checks(struct builder *builder, struct upstream *upstream, const struct node *node,
                        const char *path);
void check_upstream(struct builder *builder, struct upstream *upstream, const struct node *node,
                    const char *path);
void check_target(struct builder *builder, struct target *target, const struct node *node,
                  const char *path);
const struct named_list *read_headers(struct builder *builder, const struct node *node,
                                      const char *path, size_t *out_count);

/* plugins.c */
void build_policy(struct builder *builder, struct pending *pending);
void collect_credentials(struct builder *builder, struct span collection, const struct node *list,
                         const struct node *key, struct consumer *consumer, const char *path);
void build_credential(struct builder *builder, struct pending *pending);

#endif
