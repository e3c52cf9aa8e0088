/* Foreign keys, deterministic ids, uniqueness. */
#include "base/text.h"
#include "config/builder.h"

static const struct span id_namespace = {"fd02801f-0957-4a15-a55a-c8d9606f30b5", UUID_TEXT};

struct span natural_id(struct builder *builder, struct span collection, struct span key)
{
    char space[UUID_TEXT], id[UUID_TEXT];
    uuid_v5(space, id_namespace, collection);
    uuid_v5(id, span_of(space, UUID_TEXT), key);
    struct span copy = arena_copy(builder->arena, span_of(id, UUID_TEXT));
    builder->no_memory = builder->no_memory || copy.data == NULL;
    return copy;
}

/* Kong's are random here. Each worker builds its own entities, though, and what they count together
 * (limits of an unnamed route, of a credential) goes by ids. The path tells aliases of one node
 * apart, the line keeps most ids from moving to a neighbour when the file is edited. */
struct span place_id(struct builder *builder, const struct pending *pending)
{
    const char *place = builder_text(builder, "%s %u:%u", pending->path,
                                     pending->node->position.line, pending->node->position.column);
    return natural_id(builder, SPAN("place"), span_text(place));
}

void register_id(struct builder *builder, enum kind kind, struct span id, void *entity,
                 struct position at, const char *path)
{
    bool is_credential = kind == KIND_COUNT;
    struct names *ids =
        is_credential ? &builder->names->credential_ids : &builder->names->by_id[kind];
    if (!span_is_set(id))
        return;
    enum weir_err err = names_add(ids, builder->scratch, id, entity);
    builder->no_memory = builder->no_memory || err == WEIR_ERR_NO_MEMORY;
    struct span collection =
        is_credential ? ((struct credential *)entity)->collection : kind_rows[kind].collection;
    if (err == WEIR_ERR_EXISTS)
        PROBLEM(
            builder, at, path,
            "uniqueness violation: '%.*s' entity with primary key set to '%.*s' already declared",
            SPAN_ARG(collection), SPAN_ARG(id));
}

void register_name(struct builder *builder, struct names *names, struct span collection,
                   struct span key, struct span value, void *entity, const struct node *node,
                   const char *path)
{
    enum weir_err err = names_add(names, builder->scratch, value, entity);
    builder->no_memory = builder->no_memory || err == WEIR_ERR_NO_MEMORY;
    if (err == WEIR_ERR_EXISTS)
        PROBLEM(builder, schema_find_position(node, key.data), path,
                "uniqueness violation: '%.*s' entity with %.*s set to '%.*s' already declared",
                SPAN_ARG(collection), SPAN_ARG(key), SPAN_ARG(span_first(value, 200)));
}

/* `service: name`, `service: {id: …}`, decK's `{name: …}` and `{username: …}`. */
static const struct node *reference_word(struct builder *builder, const struct node *value,
                                         const char *path)
{
    if (value->kind == NODE_SCALAR)
        return value;
    const struct node *word = node_find(value, SPAN("id"));
    word = word != NULL ? word : node_find(value, SPAN("name"));
    word = word != NULL ? word : node_find(value, SPAN("username"));
    if (value->kind != NODE_MAP)
        PROBLEM(builder, value->position, path, "expected a string");
    else if (node_is_null(word) || word->kind != NODE_SCALAR)
        PROBLEM(builder, value->position, path, "missing primary key: give an id or a name");
    else
        return word;
    return NULL;
}

void *resolve_reference(struct builder *builder, const struct node *node, const char *key,
                        enum kind kind, const char *path, struct span *out_word)
{
    const struct node *value = node_find(node, span_text(key));
    *out_word = SPAN_NONE;
    if (node_is_null(value))
        return NULL;
    const char *full_path = builder_text(builder, "%s.%s", path, key);
    const struct node *word = reference_word(builder, value, full_path);
    if (word == NULL || !schema_text(&builder->schema, word, false, full_path, out_word))
        return NULL;
    void *found = names_reference(builder->names, kind, *out_word);
    if (found != NULL)
        return found;
    struct guess guess = guess_start(*out_word);
    names_guess(&builder->names->by_name[kind], &guess);
    struct span collection = kind_rows[kind].collection;
    struct span shown = span_first(word->text, 200);
    if (guess_found(&guess))
        PROBLEM(builder, word->position, full_path,
                "invalid reference '%s: %.*s' (no such entry in '%.*s'), did you mean '%.*s'?", key,
                SPAN_ARG(shown), SPAN_ARG(collection), SPAN_ARG(guess.best));
    else
        PROBLEM(builder, word->position, full_path,
                "invalid reference '%s: %.*s' (no such entry in '%.*s')", key, SPAN_ARG(shown),
                SPAN_ARG(collection));
    return NULL;
}

/* A nested child may repeat its parent, not name another one. */
static void *link_parent(struct builder *builder, const struct pending *pending, const char *key,
                         enum kind kind, void *parent, struct span *out_word)
{
    void *named = resolve_reference(builder, pending->node, key, kind, pending->path, out_word);
    if (parent == NULL)
        return named;
    if (named != NULL && named != parent)
        PROBLEM(builder, schema_find_position(pending->node, key),
                builder_text(builder, "%s.%s", pending->path, key), "value must be null");
    if (named == NULL)
        *out_word = *(struct span *)parent; /* every entity starts with its id */
    return parent;
}

static void link_target(struct builder *builder, struct pending *pending)
{
    struct target *target = pending->entity;
    struct span word = SPAN_NONE;
    size_t errors = problems_errors(builder->problems);
    target->upstream =
        link_parent(builder, pending, "upstream", KIND_UPSTREAM, pending->upstream, &word);
    if (target->upstream == NULL) {
        if (problems_errors(builder->problems) == errors)
            PROBLEM(builder, pending->node->position,
                    builder_text(builder, "%s.upstream", pending->path), "required field missing");
        return;
    }
    if (!span_is_set(target->id)) {
        struct span key = arena_printf(builder->arena, "targets:*:%.*s:%.*s", SPAN_ARG(word),
                                       SPAN_ARG(target->target));
        target->id = natural_id(builder, SPAN("targets"), key);
    }
    register_id(builder, KIND_TARGET, target->id, target, pending->node->position, pending->path);
}

static void link_policy(struct builder *builder, struct pending *pending)
{
    struct policy *policy = pending->entity;
    struct span service = SPAN_NONE, route = SPAN_NONE, consumer = SPAN_NONE;
    policy->service =
        link_parent(builder, pending, "service", KIND_SERVICE, pending->service, &service);
    policy->route = link_parent(builder, pending, "route", KIND_ROUTE, pending->route, &route);
    policy->consumer =
        link_parent(builder, pending, "consumer", KIND_CONSUMER, pending->consumer, &consumer);
    if (!span_is_set(policy->id)) {
        struct span key =
            arena_printf(builder->arena, "plugins:*:%.*s:%.*s:%.*s:%.*s", SPAN_ARG(policy->name),
                         SPAN_ARG(route), SPAN_ARG(service), SPAN_ARG(consumer));
        bool named = span_is_set(policy->instance_name);
        policy->id = natural_id(builder, SPAN("plugins"), key);
        /* one more use of the plugin in the same scope is told apart by its instance name */
        if (named && names_find(&builder->names->by_id[KIND_POLICY], policy->id) != NULL)
            policy->id = natural_id(builder, SPAN("plugins"), policy->instance_name);
    }
    register_id(builder, KIND_POLICY, policy->id, policy, pending->node->position, pending->path);
    build_policy(builder, pending);
}

static void link_service(struct builder *builder, struct pending *pending)
{
    struct service *service = pending->entity;
    struct span word = SPAN_NONE;
    service->client_certificate = link_parent(builder, pending, "client_certificate",
                                              KIND_CERTIFICATE, pending->certificate, &word);
    size_t count = service->ca_certificate_ids.count;
    service->ca_certificates =
        arena_array(builder->arena, const struct ca_certificate *, count + 1);
    if (service->ca_certificates == NULL) {
        builder->no_memory = true;
        return;
    }
    for (size_t i = 0; i < count; i++) {
        struct span id = service->ca_certificate_ids.items[i];
        struct ca_certificate *found = names_find(&builder->names->by_id[KIND_CA_CERTIFICATE], id);
        if (found != NULL)
            service->ca_certificates[service->ca_certificate_count++] = found;
        else
            PROBLEM(
                builder,
                schema_find_position(pending->node,
                                     builder_text(builder, "ca_certificates[%zu]", i)),
                builder_text(builder, "%s.ca_certificates[%zu]", pending->path, i),
                "invalid reference 'ca_certificates: %.*s' (no such entry in 'ca_certificates')",
                SPAN_ARG(span_first(id, 64)));
    }
    check_linked(builder, pending);
}

void link_pending(struct builder *builder, struct pending *pending)
{
    struct span word = SPAN_NONE;
    switch ((int)pending->kind) {
    case KIND_SERVICE:
        link_service(builder, pending);
        break;
    case KIND_ROUTE:
        ((struct route *)pending->entity)->service =
            link_parent(builder, pending, "service", KIND_SERVICE, pending->service, &word);
        break;
    case KIND_UPSTREAM:
        ((struct upstream *)pending->entity)->client_certificate = link_parent(
            builder, pending, "client_certificate", KIND_CERTIFICATE, pending->certificate, &word);
        break;
    case KIND_TARGET:
        link_target(builder, pending);
        break;
    case KIND_SNI:
        ((struct sni *)pending->entity)->certificate = link_parent(
            builder, pending, "certificate", KIND_CERTIFICATE, pending->certificate, &word);
        if (((struct sni *)pending->entity)->certificate == NULL &&
            node_is_null(node_find(pending->node, SPAN("certificate"))))
            PROBLEM(builder, pending->node->position,
                    builder_text(builder, "%s.certificate", pending->path),
                    "required field missing");
        break;
    case KIND_POLICY:
        link_policy(builder, pending);
        break;
    case KIND_COUNT:
        build_credential(builder, pending);
        break;
    default:
        break;
    }
}
