/* Policies and credentials: what the plugins of the catalog bring with them. */
#include "base/random.h"
#include "base/text.h"
#include "config/builder.h"

#define RANDOM_KEY_SIZE 32

/* The file is there, but it was refused: `why` is the whole sentence. */
static void tell_refused(struct builder *builder, const struct pending *pending, const char *why)
{
    const struct policy *policy = pending->entity;
    problem_add(builder->problems, policy->optional ? PROBLEM_WARNING : PROBLEM_ERROR,
                schema_find_position(pending->node, "name"),
                builder_text(builder, "%s.name", pending->path), "%s%s", why,
                policy->optional ? ", skipped" : "");
}

static void tell_missing(struct builder *builder, const struct pending *pending, const char *why)
{
    const struct policy *policy = pending->entity;
    const struct node *config = node_find(pending->node, SPAN("config"));
    if (config != NULL) /* its secrets are not known without its table */
        problems_hide(builder->problems, config->position, config->end);
    if (strncmp(why, "plugin '", 8) == 0) {
        tell_refused(builder, pending, why);
        return;
    }
    struct guess guess = guess_start(policy->name);
    for (size_t i = 0; builder->catalog->nth_name != NULL; i++) {
        const char *name = builder->catalog->nth_name(builder->catalog->user, i);
        if (name == NULL)
            break;
        guess_offer(&guess, span_text(name));
    }
    const char *hint = guess_found(&guess)
                           ? builder_text(builder, ", did you mean '%.*s'?", SPAN_ARG(guess.best))
                           : "";
    bool has_why = why[0] != '\0';
    problem_add(builder->problems, policy->optional ? PROBLEM_WARNING : PROBLEM_ERROR,
                schema_find_position(pending->node, "name"),
                builder_text(builder, "%s.name", pending->path),
                "plugin '%.*s' is not installed%s%s%s%s", SPAN_ARG(span_first(policy->name, 64)),
                has_why ? " in " : "", why, policy->optional ? ", skipped" : "", hint);
}

static void read_protocols(struct policy *policy)
{
    for (size_t i = 0; i < policy->protocols_text.count; i++) {
        enum protocol protocol = PROTOCOL_HTTP;
        if (protocol_parse(policy->protocols_text.items[i], &protocol))
            policy->protocols |= PROTOCOL_BIT(protocol);
    }
    if (policy->protocols_text.count == 0)
        policy->protocols = PROTOCOL_BIT(PROTOCOL_HTTP) | PROTOCOL_BIT(PROTOCOL_HTTPS) |
                            PROTOCOL_BIT(PROTOCOL_GRPC) | PROTOCOL_BIT(PROTOCOL_GRPCS);
}

void build_policy(struct builder *builder, struct pending *pending)
{
    struct policy *policy = pending->entity;
    char why[512] = "";
    policy->path = arena_copy(builder->arena, span_text(pending->path));
    policy->config = node_find(pending->node, SPAN("config"));
    policy->ordering = node_find(pending->node, SPAN("ordering"));
    read_protocols(policy);
    if (span_is_empty(policy->name))
        return; /* said so already */
    policy->schema = builder->catalog->find(builder->catalog->user, policy->name, why, sizeof(why));
    if (policy->schema == NULL) {
        tell_missing(builder, pending, why);
        return;
    }
    if (policy->schema->no_consumer_scope && policy->consumer != NULL)
        PROBLEM(builder, schema_find_position(pending->node, "consumer"),
                builder_text(builder, "%s.consumer", pending->path), "value must be null");
    char *room = arena_zalloc(builder->arena, POLICY_PREFIX + policy->schema->self_size);
    if (room == NULL) {
        builder->no_memory = true;
        return;
    }
    policy->self = room + POLICY_PREFIX;
    /* an absent config misses its required fields at the entry itself */
    static const struct node nothing = {.kind = NODE_MAP};
    struct node empty = nothing;
    empty.position = pending->node->position;
    const struct node *config = node_is_null(policy->config) ? &empty : policy->config;
    enum weir_err err =
        schema_fill(&builder->schema, policy->schema->fields, policy->schema->field_count, config,
                    policy->self, builder_text(builder, "%s.config", pending->path));
    builder->no_memory = builder->no_memory || err == WEIR_ERR_NO_MEMORY;
    policy->index = (uint32_t)builder->kinds[KIND_POLICY].count;
    pointers_add(builder, &builder->kinds[KIND_POLICY], policy);
}

/* ---- credentials ---------------------------------------------------------------------------- */

void collect_credentials(struct builder *builder, struct span collection, const struct node *list,
                         const struct node *key, struct consumer *consumer, const char *path)
{
    const struct credential_schema *schema =
        builder->catalog->find_credential(builder->catalog->user, collection);
    if (node_is_null(list))
        return;
    if (schema == NULL) {
        const char *plugin = plugin_of_collection(collection);
        problems_hide(builder->problems, list->position, list->end);
        PROBLEM(builder, key->position, path, "plugin '%s' is not installed (needed by '%.*s')",
                plugin == NULL ? "?" : plugin, SPAN_ARG(collection));
        return;
    }
    if (list->kind != NODE_LIST) {
        PROBLEM(builder, list->position, path, "expected an array");
        return;
    }
    for (size_t i = 0; i < list->count; i++) {
        struct pending *pending = arena_new(builder->scratch, struct pending);
        struct credential *credential = arena_new(builder->arena, struct credential);
        if (pending == NULL || credential == NULL) {
            builder->no_memory = true;
            return;
        }
        *pending = (struct pending){.kind = KIND_COUNT,
                                    .entity = credential,
                                    .node = list->items[i],
                                    .consumer = consumer,
                                    .credential = schema};
        pending->path = builder_text(builder, "%s[%zu]", path, i);
        pointers_add(builder, &builder->pendings, pending);
    }
}

static const weir_field *find_field(const struct credential_schema *schema, struct span key)
{
    for (size_t i = 0; i < schema->field_count; i++) {
        const weir_field *field = &schema->fields[i];
        if (span_equal(span_text(field->key != NULL ? field->key : field->name), key))
            return field;
    }
    return NULL;
}

static struct span random_key(struct builder *builder)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789ab";
    unsigned char bytes[RANDOM_KEY_SIZE];
    char *text = arena_bytes(builder->arena, RANDOM_KEY_SIZE + 1);
    if (text == NULL) {
        builder->no_memory = true;
        return SPAN_NONE;
    }
    random_secret(bytes, sizeof(bytes));
    for (size_t i = 0; i < sizeof(bytes); i++)
        text[i] = letters[bytes[i] % 64];
    text[RANDOM_KEY_SIZE] = '\0';
    return span_of(text, RANDOM_KEY_SIZE);
}

static void take_key(struct builder *builder, struct credential *credential,
                     const struct credential_schema *schema)
{
    const weir_field *field = find_field(schema, schema->unique_key);
    if (field == NULL || field->type != WEIR_TYPE_STRING)
        return;
    struct span *slot = (struct span *)(void *)((char *)credential->data + field->offset);
    if (!span_is_set(*slot) && schema->random_key)
        *slot = random_key(builder);
    credential->key = *slot;
}

static void check_unique_key(struct builder *builder, const struct pending *pending,
                             struct credential *credential)
{
    const struct credential_schema *schema = pending->credential;
    if (!span_is_set(credential->key))
        return;
    /* one table for all kinds: the collection is part of the key, which is not printable */
    struct span key = arena_printf(builder->arena, "%.*s\n%.*s", SPAN_ARG(schema->collection),
                                   SPAN_ARG(credential->key));
    enum weir_err err = key.data == NULL ? WEIR_ERR_NO_MEMORY
                                         : names_add(&builder->names->credential_keys,
                                                     builder->scratch, key, credential);
    builder->no_memory = builder->no_memory || err == WEIR_ERR_NO_MEMORY;
    const weir_field *field = find_field(schema, schema->unique_key);
    bool secret = field != NULL && (field->flags & WEIR_SECRET) != 0;
    if (err != WEIR_ERR_EXISTS)
        return;
    struct position at = schema_find_position(pending->node, schema->unique_key.data);
    if (secret)
        PROBLEM(builder, at, pending->path,
                "uniqueness violation: '%.*s' entity with the same %.*s already declared",
                SPAN_ARG(schema->collection), SPAN_ARG(schema->unique_key));
    else
        PROBLEM(builder, at, pending->path,
                "uniqueness violation: '%.*s' entity with %.*s set to '%.*s' already declared",
                SPAN_ARG(schema->collection), SPAN_ARG(schema->unique_key),
                SPAN_ARG(span_first(credential->key, 200)));
}

/* Ids of Kong: acls from consumer and group, basic and hmac from the user name, the rest (random
 * there) from its place. */
static struct span make_id(struct builder *builder, const struct pending *pending,
                           struct span consumer_word)
{
    const struct credential *credential = pending->entity;
    struct span collection = credential->collection, key = SPAN_NONE;
    const weir_field *group = find_field(credential->schema, SPAN("group"));
    if (credential->schema->random_key)
        return place_id(builder, pending);
    if (span_equal(collection, SPAN("acls")) && group != NULL) {
        const struct span *value = (const void *)((const char *)credential->data + group->offset);
        key = arena_printf(builder->arena, "acls:*:%.*s:%.*s", SPAN_ARG(consumer_word),
                           SPAN_ARG(*value));
    } else if (span_is_set(credential->key)) {
        key = arena_printf(builder->arena, "%.*s:*:%.*s", SPAN_ARG(collection),
                           SPAN_ARG(credential->key));
    }
    return span_is_set(key) ? natural_id(builder, collection, key) : place_id(builder, pending);
}

struct common { /* what every credential has beside its plugin's fields */
    struct span id;
    struct span_list tags;
    int64_t ttl;
    double created_at;
};

static void read_common(struct builder *builder, const struct pending *pending,
                        struct credential *credential)
{
    static const weir_field fields[] = {
        WEIR_STRING(struct common, id),
        WEIR_LIST(struct common, tags, WEIR_TYPE_STRING, .flags = WEIR_UNIQUE),
        WEIR_INTEGER(struct common, ttl),
        WEIR_NUMBER(struct common, created_at),
    };
    struct node picked = *pending->node; /* only these keys: the others belong to the plugin */
    struct member members[COUNT_OF(fields)];
    struct common common = {0};
    picked.members = members;
    picked.count = 0;
    for (size_t i = 0; i < COUNT_OF(fields); i++) {
        const struct member *member = node_find_member(pending->node, span_text(fields[i].name));
        if (member != NULL)
            members[picked.count++] = *member;
    }
    enum weir_err err =
        schema_fill(&builder->schema, fields, COUNT_OF(fields), &picked, &common, pending->path);
    builder->no_memory = builder->no_memory || err == WEIR_ERR_NO_MEMORY;
    credential->id = common.id;
    credential->tags = common.tags;
    credential->ttl = common.ttl == WEIR_UNSET ? 0 : common.ttl;
    credential->created_at =
        common.created_at != common.created_at ? builder->now : (int64_t)common.created_at;
    if (span_is_set(common.id) && !uuid_is_valid(common.id))
        PROBLEM(builder, schema_find_position(pending->node, "id"),
                builder_text(builder, "%s.id", pending->path), "expected a valid UUID");
}

static void link_consumer(struct builder *builder, const struct pending *pending,
                          struct credential *credential, struct span *out_word)
{
    size_t errors = problems_errors(builder->problems);
    credential->consumer = resolve_reference(builder, pending->node, "consumer", KIND_CONSUMER,
                                             pending->path, out_word);
    if (pending->consumer != NULL) {
        if (credential->consumer != NULL && credential->consumer != pending->consumer)
            PROBLEM(builder, schema_find_position(pending->node, "consumer"),
                    builder_text(builder, "%s.consumer", pending->path), "value must be null");
        if (credential->consumer == NULL)
            *out_word = pending->consumer->id;
        credential->consumer = pending->consumer;
    } else if (credential->consumer == NULL && problems_errors(builder->problems) == errors) {
        PROBLEM(builder, pending->node->position,
                builder_text(builder, "%s.consumer", pending->path), "required field missing");
    }
}

void build_credential(struct builder *builder, struct pending *pending)
{
    static const char *const extra[] = {"id",         "consumer", "tags",    "ttl", "created_at",
                                        "updated_at", "_comment", "_ignore", NULL};
    const struct credential_schema *schema = pending->credential;
    struct credential *credential = pending->entity;
    struct span word = SPAN_NONE;
    if (pending->node->kind != NODE_MAP) {
        problems_hide(builder->problems, pending->node->position, pending->node->end);
        PROBLEM(builder, pending->node->position, pending->path, "expected a record");
        return;
    }
    credential->collection = schema->collection;
    credential->schema = schema;
    credential->node = pending->node;
    credential->data = arena_zalloc(builder->arena, schema->data_size + 1);
    if (credential->data == NULL) {
        builder->no_memory = true;
        return;
    }
    builder->schema.extra_keys = extra;
    enum weir_err err = schema_fill(&builder->schema, schema->fields, schema->field_count,
                                    pending->node, credential->data, pending->path);
    builder->schema.extra_keys = NULL;
    builder->no_memory = builder->no_memory || err == WEIR_ERR_NO_MEMORY;
    read_common(builder, pending, credential);
    link_consumer(builder, pending, credential, &word);
    take_key(builder, credential, schema);
    check_unique_key(builder, pending, credential);
    if (!span_is_set(credential->id))
        credential->id = make_id(builder, pending, word);
    register_id(builder, KIND_COUNT, credential->id, credential, pending->node->position,
                pending->path);
    credential->index = (uint32_t)builder->credentials.count;
    pointers_add(builder, &builder->credentials, credential);
}
