/* A configuration as it may be written down: walked along the tables of plugins and of their
 * credentials, which say what is a secret. Where no table says it, names do. */
#include <weir/weir.h>

#include "base/arena.h"
#include "config/build.h"
#include "config/schema.h"
#include "plugin_host/redact.h"

enum { SCHEMAS_MAX = 256 };

struct writer {
    struct redaction *redaction;
    struct buf *out;
    struct schema_context context; /* resolves what stands outside of the file */
    const struct plugin_schema *plugins[SCHEMAS_MAX];
    const struct credential_schema *credentials[SCHEMAS_MAX];
    size_t plugin_count, credential_count;
    bool failed;
};

/* How the values below a key are to be read. */
struct reading {
    const weir_field *fields; /* of a record */
    size_t count;
    bool secret;
    bool by_name; /* no table knows it */
    bool own;     /* an entity of the gateway: what it says is no secret */
};

static const char *const left_out[] = {
    "gateway",  "certificates", "ca_certificates",    "snis",       "vaults",           "keys",
    "key_sets", "licenses",     "client_certificate", "tls_verify", "tls_verify_depth",
};

static void put(struct writer *writer, const struct node *node, const struct reading *reading);

/* ---- tables */

static const char *key_of(const weir_field *field)
{
    return field->key != NULL ? field->key : field->name;
}

static bool has_spelling(const weir_field *field, struct span key)
{
    struct span rest = span_text(field->alias), alias;
    while (field->alias != NULL && span_split(&rest, ',', &alias))
        if (span_equal(span_trim(alias), key))
            return true;
    return false;
}

static const weir_field *find_field(const weir_field *fields, size_t count, struct span key)
{
    for (size_t i = 0; i < count; i++)
        if (span_equal(span_text(key_of(&fields[i])), key) || has_spelling(&fields[i], key))
            return &fields[i];
    for (size_t i = 0; i < count; i++) /* spelled flat, as it was before there were records */
        for (size_t j = 0; j < fields[i].field_count; j++)
            if (has_spelling(&fields[i].fields[j], key))
                return &fields[i].fields[j];
    return NULL;
}

static void learn_tables(struct writer *writer, const struct config *config)
{
    for (size_t i = 0; i < config->policy_count; i++) {
        const struct plugin_schema *schema = config->policies[i]->schema;
        size_t at = 0;
        while (at < writer->plugin_count && writer->plugins[at] != schema)
            at++;
        if (schema != NULL && at == writer->plugin_count && at < SCHEMAS_MAX)
            writer->plugins[writer->plugin_count++] = schema;
    }
    for (size_t i = 0; i < config->credential_count; i++) {
        const struct credential_schema *schema = config->credentials[i]->schema;
        size_t at = 0;
        while (at < writer->credential_count && writer->credentials[at] != schema)
            at++;
        if (schema != NULL && at == writer->credential_count && at < SCHEMAS_MAX)
            writer->credentials[writer->credential_count++] = schema;
    }
}

static const struct plugin_schema *plugin_of(const struct writer *writer, struct span name)
{
    for (size_t i = 0; i < writer->plugin_count; i++)
        if (span_equal(writer->plugins[i]->name, name))
            return writer->plugins[i];
    return NULL;
}

static const struct credential_schema *credential_of(const struct writer *writer, struct span key)
{
    for (size_t i = 0; i < writer->credential_count; i++)
        if (span_equal(writer->credentials[i]->collection, key))
            return writer->credentials[i];
    return NULL;
}

/* ---- scalars */

/* As it was written: numbers and booleans must stay what they are. */
static bool is_plain(const struct node *node)
{
    bool boolean;
    double number;
    int64_t integer;
    return node_to_boolean(node, &boolean) || node_to_integer(node, &integer) ||
           node_to_number(node, &number);
}

static void put_token(struct writer *writer, struct span text)
{
    buf_byte(writer->out, '"');
    redact_value(writer->redaction, writer->out, text);
    buf_byte(writer->out, '"');
}

/* "Authorization:Bearer x" among the headers that a policy adds. */
static bool put_named(struct writer *writer, struct span text)
{
    size_t colon = span_find(text, ':');
    struct span name = span_first(text, colon), value = span_from(text, colon + 1);
    if (colon == text.size || !redaction_has_name(writer->redaction, name) ||
        span_starts_with(span_trim(value), SPAN("$(")))
        return false;
    AUTO_BUF whole = BUF_INIT;
    buf_span(&whole, span_first(text, colon + 1));
    redact_header(writer->redaction, &whole, name, span_trim(value));
    buf_json(writer->out, buf_view(&whole));
    writer->failed = writer->failed || whole.failed;
    return true;
}

static bool is_from_outside(struct span raw)
{
    return span_search(raw, SPAN("${file:")) < raw.size ||
           span_search(raw, SPAN("{vault://")) < raw.size;
}

static void put_scalar(struct writer *writer, const struct node *node,
                       const struct reading *reading)
{
    struct span text = SPAN_NONE;
    if (!schema_text(&writer->context, node, true, "", &text)) {
        writer->failed = true;
        return;
    }
    struct node resolved = *node;
    resolved.text = text;
    bool outside = is_from_outside(node->text);
    bool variable = !outside && !span_equal(text, node->text);
    if (reading->secret || outside)
        put_token(writer, text);
    else if (is_plain(&resolved))
        buf_span(writer->out, text);
    else if (variable && !reading->own && reading->by_name)
        put_token(writer, text);
    else if (!put_named(writer, text))
        buf_json(writer->out, text);
}

/* ---- lists and maps */

static struct reading read_member(const struct writer *writer, const struct reading *reading,
                                  struct span key)
{
    struct reading below = *reading;
    if (reading->own)
        return below;
    const weir_field *field = find_field(reading->fields, reading->count, key);
    below.by_name = field == NULL || field->type == WEIR_TYPE_MAP ||
                    (field->type == WEIR_TYPE_STRING && field->choices == NULL) ||
                    (field->type == WEIR_TYPE_LIST && field->element == WEIR_TYPE_STRING);
    below.fields = field == NULL ? NULL : field->fields;
    below.count = field == NULL ? 0 : field->field_count;
    if (field != NULL)
        below.secret = reading->secret || (field->flags & WEIR_SECRET) != 0;
    else
        below.secret = reading->secret || redaction_has_name(writer->redaction, key);
    return below;
}

static void put_list(struct writer *writer, const struct node *node, const struct reading *reading)
{
    buf_byte(writer->out, '[');
    for (size_t i = 0; i < node->count; i++) {
        buf_text(writer->out, i == 0 ? "" : ",");
        put(writer, node->items[i], reading);
    }
    buf_byte(writer->out, ']');
}

static void put_policy(struct writer *writer, const struct node *node)
{
    static const struct reading own = {.own = true};
    const struct node *name = node_find(node, SPAN("name"));
    const struct plugin_schema *schema = name == NULL ? NULL : plugin_of(writer, name->text);
    const struct reading config = {.fields = schema == NULL ? NULL : schema->fields,
                                   .count = schema == NULL ? 0 : schema->field_count,
                                   .by_name = true};
    buf_byte(writer->out, '{');
    for (size_t i = 0; i < node->count; i++) {
        bool is_config = span_equal(node->members[i].key->text, SPAN("config"));
        buf_text(writer->out, i == 0 ? "" : ",");
        buf_json(writer->out, node->members[i].key->text);
        buf_text(writer->out, ": ");
        put(writer, node->members[i].value, is_config ? &config : &own);
    }
    buf_byte(writer->out, '}');
}

static void put_policies(struct writer *writer, const struct node *list)
{
    buf_byte(writer->out, '[');
    for (size_t i = 0; i < list->count; i++) {
        buf_text(writer->out, i == 0 ? "" : ",");
        put_policy(writer, list->items[i]);
    }
    buf_byte(writer->out, ']');
}

static bool is_left_out(struct span key)
{
    for (size_t i = 0; i < COUNT_OF(left_out); i++)
        if (span_equal(key, span_text(left_out[i])))
            return true;
    return false;
}

static void put_member(struct writer *writer, const struct member *member,
                       const struct reading *reading)
{
    struct span key = member->key->text;
    const struct credential_schema *credential = reading->own ? credential_of(writer, key) : NULL;
    struct reading below = read_member(writer, reading, key);
    buf_json(writer->out, key);
    buf_text(writer->out, ": ");
    if (credential != NULL)
        below = (struct reading){.fields = credential->fields, .count = credential->field_count};
    if (reading->own && span_equal(key, SPAN("plugins")) && member->value->kind == NODE_LIST)
        put_policies(writer, member->value);
    else
        put(writer, member->value, &below);
}

static void put_map(struct writer *writer, const struct node *node, const struct reading *reading)
{
    bool first = true;
    buf_byte(writer->out, '{');
    for (size_t i = 0; i < node->count; i++) {
        if (reading->own && is_left_out(node->members[i].key->text))
            continue;
        buf_text(writer->out, first ? "" : ",");
        first = false;
        put_member(writer, &node->members[i], reading);
    }
    buf_byte(writer->out, '}');
}

/* As deep as the document is, which is bounded. */
static void put(struct writer *writer, const struct node *node, const struct reading *reading)
{
    switch (node->kind) {
    case NODE_NULL:
        buf_text(writer->out, "null");
        break;
    case NODE_SCALAR:
        put_scalar(writer, node, reading);
        break;
    case NODE_LIST:
        put_list(writer, node, reading);
        break;
    case NODE_MAP:
        put_map(writer, node, reading);
        break;
    }
}

static bool add_vaults(struct writer *writer, const struct config *config)
{
    for (size_t i = 0; i < config->vault_count; i++) {
        struct schema_vault *vault = arena_new(writer->context.arena, struct schema_vault);
        if (vault == NULL)
            return false;
        *vault = (struct schema_vault){config->vaults[i]->prefix, config->vaults[i]->config_prefix,
                                       (struct schema_vault *)(uintptr_t)writer->context.vaults};
        writer->context.vaults = vault;
    }
    return true;
}

enum weir_err redact_config(struct redaction *redaction, const struct node *root,
                            const struct config *config, struct buf *out)
{
    static const struct reading own = {.own = true};
    AUTO(arena_destroy) struct arena *arena = arena_create(NULL);
    struct problems *problems = arena == NULL ? NULL : problems_create(arena);
    if (problems == NULL)
        return WEIR_ERR_NO_MEMORY;
    struct writer writer = {
        .redaction = redaction, .out = out, .context = {.arena = arena, .problems = problems}};
    learn_tables(&writer, config);
    if (!add_vaults(&writer, config))
        return WEIR_ERR_NO_MEMORY;
    put(&writer, root, &own);
    if (out->failed || writer.context.no_memory)
        return WEIR_ERR_NO_MEMORY;
    return writer.failed ? WEIR_ERR_CONFIG : WEIR_OK;
}

/* ---- names */

static enum weir_err learn_list(struct redaction *redaction, const struct node *list)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i]->kind == NODE_SCALAR)
            TRY(redaction_add_name(redaction, list->items[i]->text));
    return WEIR_OK;
}

/* key_names, header_names, cookie_names, uri_param_names: where a policy looks. */
static enum weir_err learn_below(struct redaction *redaction, const struct node *node)
{
    for (size_t i = 0; node->kind == NODE_LIST && i < node->count; i++)
        TRY(learn_below(redaction, node->items[i]));
    for (size_t i = 0; node->kind == NODE_MAP && i < node->count; i++) {
        const struct member *member = &node->members[i];
        if (member->value->kind == NODE_LIST && span_ends_with(member->key->text, SPAN("_names")))
            TRY(learn_list(redaction, member->value));
        TRY(learn_below(redaction, member->value));
    }
    return WEIR_OK;
}

enum weir_err redaction_learn(struct redaction *redaction, const struct node *root)
{
    return learn_below(redaction, root);
}
