/* Response headers. */
#include "headers.h"

#include <stdio.h>
#include <strings.h>

#include "entry.h"

enum operation {
    OPERATION_REMOVE,
    OPERATION_RENAME,
    OPERATION_REPLACE,
    OPERATION_ADD,
    OPERATION_APPEND
};

struct rule {
    enum operation operation;
    weir_header_id id, new_id; /* `new_id`: RENAME */
    bool respells;             /* RENAME: only the case of letters is another */
    struct rule_value value;
};

struct header_rules {
    size_t count;
    struct rule rules[];
};

struct compile {
    const void *self;
    weir_error *error;
    struct header_rules *out;
};

/* ---- configuration */

static struct rule *next_rule(struct compile *compile, enum operation operation, weir_header_id id)
{
    struct rule *rule = &compile->out->rules[compile->out->count++];
    *rule = (struct rule){.operation = operation, .id = id};
    return rule;
}

static weir_header_id header_of(struct compile *compile, weir_str name, const char *path)
{
    weir_header_id id = weir_header_intern(name);
    if (id == 0)
        weir_error_at(compile->error, path, "'%.*s' is not a valid header", (int)name.size,
                      name.data);
    return id;
}

/* A name that cannot be one is no header's: nothing to remove. */
static void compile_removals(struct compile *compile, const weir_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        struct entry entry = entry_of_header(((const weir_str *)list->items)[i]);
        weir_header_id id = weir_header_intern(entry.name);
        if (id != 0)
            (void)next_rule(compile, OPERATION_REMOVE, id);
    }
}

static bool compile_rename(struct compile *compile, weir_str name, weir_str new_name,
                           const char *path)
{
    weir_header_id id = header_of(compile, name, path);
    if (id == 0)
        return false;
    struct rule *rule = next_rule(compile, OPERATION_RENAME, id);
    rule->respells =
        name.size == new_name.size && strncasecmp(name.data, new_name.data, name.size) == 0;
    rule->new_id = header_of(compile, new_name, path);
    return rule->new_id != 0;
}

static bool compile_renames(struct compile *compile, const struct renames *renames)
{
    char path[64];
    for (size_t i = 0; i < renames->headers.count; i++) {
        struct entry entry = entry_of_header(((const weir_str *)renames->headers.items)[i]);
        (void)snprintf(path, sizeof(path), "rename.headers[%zu]", i);
        if (!compile_rename(compile, entry.name, entry.value, path))
            return false;
    }
    const weir_pair *map = renames->headers_map.items;
    for (size_t i = 0; i < renames->headers_map.count; i++)
        if (!compile_rename(compile, map[i].key, map[i].value, "rename.headers_map"))
            return false;
    return true;
}

static bool compile_values(struct compile *compile, enum operation operation, const char *word,
                           const weir_list *list)
{
    char path[64];
    for (size_t i = 0; i < list->count; i++) {
        struct entry entry = entry_of_header(((const weir_str *)list->items)[i]);
        (void)snprintf(path, sizeof(path), "%s.headers[%zu]", word, i);
        if (!entry.has_colon) {
            weir_error_at(compile->error, path, "'%.*s' has no value: write name:value",
                          (int)entry.name.size, entry.name.data);
            return false;
        }
        weir_header_id id = header_of(compile, entry.name, path);
        if (id == 0)
            return false;
        if (entry.value.size == 0) /* as in Kong: a rule without a value does nothing */
            continue;
        struct rule *rule = next_rule(compile, operation, id);
        if (!rule_value_compile(&rule->value, compile->self, entry.value, path, compile->error))
            return false;
    }
    return true;
}

const struct header_rules *header_rules_compile(const void *self, const struct config *config,
                                                weir_error *error)
{
    size_t most = config->remove.headers.count + config->rename.headers.count +
                  config->rename.headers_map.count + config->replace.headers.count +
                  config->add.headers.count + config->append.headers.count;
    struct compile compile = {self, error, NULL};
    compile.out = weir_policy_alloc(self, sizeof(*compile.out) + most * sizeof(struct rule));
    if (compile.out == NULL) {
        weir_error_at(error, "", "no memory");
        return NULL;
    }
    compile.out->count = 0;
    compile_removals(&compile, &config->remove.headers);
    if (!compile_renames(&compile, &config->rename) ||
        !compile_values(&compile, OPERATION_REPLACE, "replace", &config->replace.headers) ||
        !compile_values(&compile, OPERATION_ADD, "add", &config->add.headers) ||
        !compile_values(&compile, OPERATION_APPEND, "append", &config->append.headers))
        return NULL;
    return compile.out;
}

/* ---- at work */

/* The values that the response came with. */
struct before {
    weir_str *values;
    size_t count;
};

static bool look(weir_request *request, const struct rule *rule, struct before *out_before)
{
    size_t count = 0;
    while (weir_header_get(request, WEIR_SIDE_RESPONSE, rule->id, count).data != NULL)
        count++;
    *out_before = (struct before){NULL, count};
    if (count == 0 || rule->operation != OPERATION_RENAME)
        return true;
    out_before->values = weir_request_alloc(request, count * sizeof(*out_before->values));
    for (size_t i = 0; out_before->values != NULL && i < count; i++)
        out_before->values[i] = weir_header_get(request, WEIR_SIDE_RESPONSE, rule->id, i);
    return out_before->values != NULL;
}

static bool move(weir_request *request, const struct rule *rule, const struct before *before)
{
    if (before->count == 0)
        return true;
    weir_status status =
        weir_header_set(request, WEIR_SIDE_RESPONSE, rule->new_id, before->values[0]);
    for (size_t i = 1; i < before->count && status == WEIR_SUCCESS; i++)
        status = weir_header_add(request, WEIR_SIDE_RESPONSE, rule->new_id, before->values[i]);
    /* What frames the message is the gateway's: it does not let itself be renamed. */
    if (status == WEIR_SUCCESS && !rule->respells)
        (void)weir_header_remove(request, WEIR_SIDE_RESPONSE, rule->id);
    return status != WEIR_NO_MEMORY && status != WEIR_FULL;
}

static bool put(weir_request *request, const struct rule *rule)
{
    weir_str text;
    if (!rule_value_render(&rule->value, request, &text))
        return true;
    weir_status status = rule->operation == OPERATION_APPEND
                             ? weir_header_add(request, WEIR_SIDE_RESPONSE, rule->id, text)
                             : weir_header_set(request, WEIR_SIDE_RESPONSE, rule->id, text);
    if (status == WEIR_INVALID && rule->value.compiled != NULL)
        weir_log(request, WEIR_LOG_WARN, "the value '%.*s' cannot stand in a header",
                 (int)rule->value.text.size, rule->value.text.data);
    return status != WEIR_NO_MEMORY && status != WEIR_FULL;
}

static bool apply(weir_request *request, const struct rule *rule, const struct before *before)
{
    switch (rule->operation) {
    case OPERATION_REMOVE:
        (void)weir_header_remove(request, WEIR_SIDE_RESPONSE, rule->id);
        return true;
    case OPERATION_RENAME:
        return move(request, rule, before);
    case OPERATION_REPLACE:
        return before->count == 0 || put(request, rule);
    case OPERATION_ADD:
        return before->count > 0 || put(request, rule);
    case OPERATION_APPEND:
        return put(request, rule);
    }
    return true;
}

bool header_rules_apply(const struct header_rules *rules, weir_request *request)
{
    if (rules->count == 0)
        return true;
    struct before *before = weir_request_alloc(request, rules->count * sizeof(*before));
    if (before == NULL)
        return false;
    for (size_t i = 0; i < rules->count; i++)
        if (!look(request, &rules->rules[i], &before[i]))
            return false;
    for (size_t i = 0; i < rules->count; i++)
        if (!apply(request, &rules->rules[i], &before[i]))
            return false;
    return true;
}
