/* JSON bodies. What counts as there is what Lua holds true: everything but absent and false. */
#include "json-rules.h"

#include <stdio.h>
#include <string.h>

#include "entry.h"
#include "json-value.h"

enum operation {
    OPERATION_REMOVE,
    OPERATION_RENAME,
    OPERATION_REPLACE,
    OPERATION_ADD,
    OPERATION_APPEND
};

struct rule {
    enum operation operation;
    enum value_type type;
    const weir_json_path *path;
    weir_str new_name; /* RENAME */
    struct rule_value value;
    weir_str text; /* JSON text of the value, unless it is a template */
};

struct json_rules {
    size_t count;
    struct rule rules[];
};

struct compile {
    void *self;
    weir_error *error;
    bool deep;
    struct json_rules *out;
};

/* ---- configuration */

static struct rule *next_rule(struct compile *compile, enum operation operation, weir_str name,
                              const char *path)
{
    const char *why = NULL;
    /* `deep` is for names that are taken away: one that is put in everywhere is never wanted. */
    bool deep = compile->deep && (operation == OPERATION_REMOVE || operation == OPERATION_RENAME);
    const weir_json_path *where =
        weir_json_path_compile(name, deep, weir_alloc_of_policy, compile->self, &why);
    if (where == NULL) {
        weir_error_at(compile->error, path, "'%.*s': %s", (int)name.size, name.data,
                      why == NULL ? "no memory" : why);
        return NULL;
    }
    struct rule *rule = &compile->out->rules[compile->out->count++];
    *rule = (struct rule){.operation = operation, .path = where};
    return rule;
}

static bool compile_removals(struct compile *compile, const weir_list *list)
{
    char path[64];
    for (size_t i = 0; i < list->count; i++) {
        struct entry entry = entry_of_json(((const weir_str *)list->items)[i]);
        (void)snprintf(path, sizeof(path), "remove.json[%zu]", i);
        if (next_rule(compile, OPERATION_REMOVE, entry.name, path) == NULL)
            return false;
    }
    return true;
}

static bool has_colon(struct compile *compile, const struct entry *entry, const char *path)
{
    if (!entry->has_colon)
        weir_error_at(compile->error, path, "'%.*s' has no value: write name:value",
                      (int)entry->name.size, entry->name.data);
    return entry->has_colon;
}

/* Without a new name there is nothing to do, as in Kong. */
static bool compile_rename(struct compile *compile, weir_str name, weir_str new_name,
                           const char *path)
{
    if (new_name.size == 0)
        return true;
    struct rule *rule = next_rule(compile, OPERATION_RENAME, name, path);
    if (rule != NULL)
        rule->new_name = new_name;
    return rule != NULL;
}

static bool compile_renames(struct compile *compile, const struct renames *renames)
{
    char path[64];
    for (size_t i = 0; i < renames->json.count; i++) {
        struct entry entry = entry_of_json(((const weir_str *)renames->json.items)[i]);
        (void)snprintf(path, sizeof(path), "rename.json[%zu]", i);
        if (!has_colon(compile, &entry, path) ||
            !compile_rename(compile, entry.name, entry.value, path))
            return false;
    }
    const weir_pair *map = renames->json_map.items;
    for (size_t i = 0; i < renames->json_map.count; i++)
        if (!compile_rename(compile, map[i].key, map[i].value, "rename.json_map"))
            return false;
    return true;
}

/* What is no number in a list of numbers is a rule that does nothing, as in Kong. */
static bool compile_value(struct compile *compile, struct rule *rule, weir_str text,
                          const char *path)
{
    weir_status status = value_unescape(text, weir_alloc_of_policy, compile->self, &text);
    if (status == WEIR_SUCCESS &&
        !rule_value_compile(&rule->value, compile->self, text, path, compile->error))
        return false;
    if (status == WEIR_SUCCESS && rule->value.compiled == NULL)
        status = value_as_json(text, rule->type, weir_alloc_of_policy, compile->self, &rule->text);
    if (status == WEIR_NO_MEMORY)
        weir_error_at(compile->error, path, "no memory");
    else if (status == WEIR_NOT_FOUND)
        compile->out->count--;
    return status == WEIR_SUCCESS || status == WEIR_NOT_FOUND;
}

static bool compile_values(struct compile *compile, enum operation operation, const char *word,
                           const struct values *values)
{
    char path[64];
    for (size_t i = 0; i < values->json.count; i++) {
        struct entry entry = entry_of_json(((const weir_str *)values->json.items)[i]);
        (void)snprintf(path, sizeof(path), "%s.json[%zu]", word, i);
        if (!has_colon(compile, &entry, path))
            return false;
        struct rule *rule = next_rule(compile, operation, entry.name, path);
        if (rule == NULL)
            return false;
        if (i < values->json_types.count)
            rule->type = value_type_of(((const weir_str *)values->json_types.items)[i]);
        if (!compile_value(compile, rule, entry.value, path))
            return false;
    }
    return true;
}

const struct json_rules *json_rules_compile(void *self, const struct config *config,
                                            weir_error *error)
{
    size_t most = config->remove.json.count + config->rename.json.count +
                  config->rename.json_map.count + config->replace.json.count +
                  config->add.json.count + config->append.json.count;
    struct compile compile = {self, error, config->deep, NULL};
    compile.out = weir_policy_alloc(self, sizeof(*compile.out) + most * sizeof(struct rule));
    if (compile.out == NULL) {
        weir_error_at(error, "", "no memory");
        return NULL;
    }
    compile.out->count = 0;
    if (!compile_removals(&compile, &config->remove.json) ||
        !compile_renames(&compile, &config->rename) ||
        !compile_values(&compile, OPERATION_REPLACE, "replace", &config->replace) ||
        !compile_values(&compile, OPERATION_ADD, "add", &config->add) ||
        !compile_values(&compile, OPERATION_APPEND, "append", &config->append))
        return NULL;
    return compile.out;
}

bool json_rules_exist(const struct json_rules *rules)
{
    return rules->count > 0;
}

/* ---- at work */

struct edit {
    const struct rule *rule;
    weir_str text; /* JSON */
};

static bool is_true(const weir_json_value *value)
{
    return value != NULL && weir_json_kind(value) != WEIR_JSON_FALSE;
}

/* The members "1", "2" … that Lua's table.insert gives to what is no array. */
static weir_status append_to_object(weir_json *json, weir_json_value *object, weir_str text)
{
    char digits[24];
    for (size_t n = 1;; n++) {
        int size = snprintf(digits, sizeof(digits), "%zu", n);
        weir_str name = {digits, (size_t)size};
        if (weir_json_member(json, object, name) == NULL)
            return weir_json_set(json, object, name, text);
    }
}

/* Text becomes [it, new], an array one longer; anything else gives way to [new]. */
static weir_status append(weir_json *json, weir_json_value *object, weir_str name, weir_str text)
{
    weir_json_value *old = weir_json_member(json, object, name);
    uint32_t kind = old == NULL ? WEIR_JSON_NULL : weir_json_kind(old);
    bool is_kept = kind == WEIR_JSON_STRING || kind == WEIR_JSON_ARRAY;
    if (kind == WEIR_JSON_OBJECT && weir_json_first(old) != NULL)
        return append_to_object(json, old, text);
    if (old != NULL && !is_kept) {
        weir_status status = weir_json_replace(json, old, WEIR_LIT("[]"));
        if (status != WEIR_SUCCESS)
            return status;
    }
    return weir_json_append(json, object, name, text);
}

static weir_status visit(void *user, weir_json *json, weir_json_value *object, weir_str name)
{
    const struct edit *edit = user;
    weir_status status = WEIR_SUCCESS;
    switch (edit->rule->operation) {
    case OPERATION_REMOVE:
        status = weir_json_remove(json, object, name);
        break;
    case OPERATION_RENAME:
        if (weir_json_member(json, object, name) != NULL)
            status = weir_json_rename(json, object, name, edit->rule->new_name);
        break;
    case OPERATION_REPLACE:
        if (is_true(weir_json_member(json, object, name)))
            status = weir_json_set(json, object, name, edit->text);
        break;
    case OPERATION_ADD:
        if (!is_true(weir_json_member(json, object, name)))
            status = weir_json_set(json, object, name, edit->text);
        break;
    case OPERATION_APPEND:
        status = append(json, object, name, edit->text);
        break;
    }
    return status == WEIR_NOT_FOUND ? WEIR_SUCCESS : status;
}

static weir_status apply(const struct rule *rule, weir_request *request, weir_json *json)
{
    struct edit edit = {rule, rule->text};
    if (rule->value.compiled != NULL) {
        weir_str text;
        if (!rule_value_render(&rule->value, request, &text))
            return WEIR_SUCCESS;
        weir_status status =
            value_as_json(text, rule->type, weir_alloc_of_request, request, &edit.text);
        if (status != WEIR_SUCCESS)
            return status == WEIR_NOT_FOUND ? WEIR_SUCCESS : status;
    }
    bool make = rule->operation == OPERATION_ADD || rule->operation == OPERATION_APPEND;
    /* A plain name is a member of the top object and of nothing else: Kong's arrays stay as well.
     */
    return weir_json_path_each(json, rule->path, false, make, visit, &edit);
}

weir_status json_rules_apply(const struct json_rules *rules, weir_request *request, weir_json *json)
{
    weir_status status = WEIR_SUCCESS;
    for (size_t i = 0; i < rules->count && status == WEIR_SUCCESS; i++)
        status = apply(&rules->rules[i], request, json);
    return status;
}
