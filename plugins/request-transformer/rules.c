/* Entries of the configuration ("name:value") to rules, and their values for a request. */
#include <stdio.h>

#include "transformer.h"

const char *const value_types[TYPES + 1] = {"string", "number", "boolean", "json", NULL};

static const char *const operation_names[OPERATIONS] = {"remove", "rename", "replace", "add",
                                                        "append"};
static const struct {
    const char *name;
    size_t list, map; /* in struct edits */
} parts[PARTS] = {
    [HEADERS] = {"headers", offsetof(edits, headers), offsetof(edits, headers_map)},
    [QUERY] = {"querystring", offsetof(edits, querystring), offsetof(edits, querystring_map)},
    [BODY] = {"body", offsetof(edits, body), offsetof(edits, body_map)},
};

/* An entry on its way to a rule. */
struct entry {
    transformer *policy;
    weir_error *error;
    enum operation operation;
    enum part part;
    char path[48]; /* of the entry, for complaints */
    weir_str name, value;
};

static const weir_list *list_at(const edits *of, size_t offset)
{
    return (const weir_list *)(const void *)((const char *)of + offset);
}

#define REFUSE(entry, ...) (weir_error_at((entry)->error, (entry)->path, __VA_ARGS__), false)
#define TEXT(text) (int)((text).size > 128 ? 128 : (text).size), (text).data

/* ---- name:value */

/* As in "$.a" and "$['a:b']"; "$ref" is a plain name. */
static bool is_path(weir_str text)
{
    return text.size > 1 && text.data[0] == '$' && (text.data[1] == '.' || text.data[1] == '[');
}

/* The first colon behind a path: those in its brackets are part of it. */
static size_t path_end(weir_str text)
{
    bool inside = false;
    char quote = '\0';
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        if (quote != '\0') {
            if (c == quote)
                quote = '\0';
        } else if (inside && (c == '\'' || c == '"')) {
            quote = c;
        } else if (c == '[' || c == ']') {
            inside = c == '[';
        } else if (c == ':' && !inside) {
            return i;
        }
    }
    return text.size;
}

static size_t find(weir_str text, char wanted)
{
    const char *at = text.size == 0 ? NULL : memchr(text.data, wanted, text.size);
    return at == NULL ? text.size : (size_t)(at - text.data);
}

/* At the first colon, and those that follow it at once. People also write name=value for arguments.
 */
static void split(struct entry *entry, weir_str text)
{
    char sign = ':';
    bool has_path = entry->part == BODY && is_path(text);
    size_t at = has_path ? path_end(text) : find(text, ':');
    if (at == text.size && entry->part == QUERY && entry->operation != REMOVE) {
        sign = '=';
        at = find(text, '=');
        entry->policy->with_equals += at < text.size;
    }
    entry->name = (weir_str){text.data, at};
    size_t skip = at;
    while (skip < text.size && text.data[skip] == sign && (sign == ':' || skip == at))
        skip++;
    entry->value = (weir_str){text.data + skip, text.size - skip};
}

/* ---- rules */

static bool name_header(struct entry *entry, weir_str name, weir_header_id *out_id)
{
    *out_id = weir_header_intern(name);
    return *out_id != 0 || REFUSE(entry, "'%.*s' is not a valid header", TEXT(name));
}

/* Renamed headers come out in lower case, unless the case is what the rename is about. */
static bool name_new_header(struct entry *entry, rule *out)
{
    if (text_equal_nocase(entry->name, entry->value))
        return name_header(entry, entry->value, &out->new_header);
    char *lower = weir_policy_alloc(entry->policy, entry->value.size + 1);
    if (lower == NULL)
        return REFUSE(entry, "no memory");
    for (size_t i = 0; i < entry->value.size; i++)
        lower[i] = text_lower(entry->value.data[i]);
    return name_header(entry, (weir_str){lower, entry->value.size}, &out->new_header);
}

/* The gateway frames messages itself, and routes by Host: only `replace` reaches that one. */
static bool is_out_of_reach(enum operation operation, weir_str name, bool *out_is_framing)
{
    static const weir_str framing[] = {
        {"Connection", 10},        {"Content-Length", 14}, {"HTTP2-Settings", 14},
        {"Keep-Alive", 10},        {"Upgrade", 7},         {"Proxy-Connection", 16},
        {"Transfer-Encoding", 17}, {"Trailer", 7},         {"TE", 2},
    };
    *out_is_framing = false;
    for (size_t i = 0; i < sizeof(framing) / sizeof(framing[0]); i++)
        if (text_equal_nocase(name, framing[i]))
            *out_is_framing = true;
    return *out_is_framing ||
           (operation != REPLACE && text_equal_nocase(name, (weir_str){"Host", 4}));
}

/* *out_idle: the entry is good and does nothing. */
static bool make_header_rule(struct entry *entry, rule *out, bool *out_idle)
{
    if (!name_header(entry, entry->name, &out->header))
        return false;
    bool is_framing = false;
    *out_idle = is_out_of_reach(entry->operation, entry->name, &is_framing);
    if (entry->operation == RENAME) {
        bool new_is_framing = false;
        if (!name_new_header(entry, out))
            return false;
        if (is_out_of_reach(RENAME, entry->value, &new_is_framing))
            *out_idle = true;
        is_framing = is_framing || new_is_framing;
    } else if (entry->operation != REMOVE && entry->value.size == 0) {
        *out_idle = true;
    }
    entry->policy->of_framing += is_framing;
    return true;
}

/* A plain name that starts like a path is one member, too. */
static bool make_path(struct entry *entry, rule *out)
{
    const char *why = NULL;
    bool deep = entry->policy->deep && (entry->operation == REMOVE || entry->operation == RENAME ||
                                        entry->operation == REPLACE);
    out->is_path = is_path(entry->name);
    out->path = weir_json_path_compile(entry->name, deep && !out->is_path, weir_alloc_of_policy,
                                       entry->policy, &why);
    return out->path != NULL ||
           REFUSE(entry, "'%.*s': %s", TEXT(entry->name), why == NULL ? "no memory" : why);
}

static bool make_field_rule(struct entry *entry, rule *out)
{
    if (entry->name.size == 0)
        return REFUSE(entry, "an entry starts with a name");
    if (entry->operation != REMOVE && entry->value.size == 0)
        return REFUSE(entry, "key '%.*s' has no value", TEXT(entry->name));
    return entry->part == QUERY || make_path(entry, out);
}

static bool make_rule(struct entry *entry, rules *into)
{
    rule *out = &into->items[into->count];
    bool idle = false;
    out->name = entry->name;
    bool good =
        entry->part == HEADERS ? make_header_rule(entry, out, &idle) : make_field_rule(entry, out);
    if (!good || idle)
        return good;
    if (entry->operation != REMOVE && (entry->operation != RENAME || entry->part != HEADERS)) {
        out->value = weir_template_compile(entry->error, entry->policy, entry->path, entry->value);
        if (out->value == NULL)
            return false;
        out->slot = entry->policy->slots++;
    }
    into->count++;
    entry->policy->part_counts[entry->part]++;
    return true;
}

static enum value_type type_at(const weir_list *types, size_t index)
{
    for (size_t i = 0; index < types->count && i < TYPES; i++)
        if (text_equal(((const weir_str *)types->items)[index],
                       (weir_str){value_types[i], strlen(value_types[i])}))
            return (enum value_type)i;
    return TYPE_STRING;
}

static bool check_types(struct entry *entry, const edits *of)
{
    (void)snprintf(entry->path, sizeof(entry->path), "%s.body_types",
                   operation_names[entry->operation]);
    return of->body_types.count <= of->body.count ||
           REFUSE(entry, "%zu types for %zu entries of body", of->body_types.count, of->body.count);
}

static bool make_rules(struct entry *entry, const edits *of)
{
    const weir_list *list = list_at(of, parts[entry->part].list);
    const weir_list *map = list_at(of, parts[entry->part].map);
    rules *into = &entry->policy->rules[entry->part][entry->operation];
    into->items = weir_policy_alloc(entry->policy, (list->count + map->count + 1) * sizeof(rule));
    if (into->items == NULL)
        return REFUSE(entry, "no memory");
    bool good = true;
    for (size_t i = 0; i < list->count; i++) {
        size_t before = into->count;
        (void)snprintf(entry->path, sizeof(entry->path), "%s.%s[%zu]",
                       operation_names[entry->operation], parts[entry->part].name, i);
        split(entry, ((const weir_str *)list->items)[i]);
        good = make_rule(entry, into) && good;
        if (into->count > before)
            into->items[before].type = type_at(&of->body_types, i);
    }
    for (size_t i = 0; i < map->count; i++) {
        const weir_pair *pair = &((const weir_pair *)map->items)[i];
        (void)snprintf(entry->path, sizeof(entry->path), "%s.%s_map",
                       operation_names[entry->operation], parts[entry->part].name);
        entry->name = pair->key;
        entry->value = pair->value;
        good = make_rule(entry, into) && good;
    }
    return good;
}

bool rules_make(transformer *policy, weir_error *error)
{
    const edits *const all[OPERATIONS] = {
        [REMOVE] = &policy->remove, [RENAME] = &policy->rename, [REPLACE] = &policy->replace,
        [ADD] = &policy->add,       [APPEND] = &policy->append,
    };
    struct entry entry = {.policy = policy, .error = error};
    bool good = true;
    for (size_t part = 0; part < PARTS; part++) {
        for (size_t operation = 0; operation < OPERATIONS; operation++) {
            entry.part = (enum part)part;
            entry.operation = (enum operation)operation;
            good = make_rules(&entry, all[operation]) && good;
            if (part == BODY)
                good = check_types(&entry, all[operation]) && good;
        }
    }
    return good;
}

bool rules_render(weir_request *request, const transformer *policy, enum part part,
                  weir_str *values)
{
    for (size_t operation = 0; operation < OPERATIONS; operation++) {
        const rules *of = &policy->rules[part][operation];
        for (size_t i = 0; i < of->count; i++) {
            const rule *item = &of->items[i];
            if (item->value == NULL ||
                weir_template_render(request, item->value, &values[item->slot]) == WEIR_SUCCESS)
                continue;
            weir_log(request, WEIR_LOG_ERROR, "%s.%s: the value of '%.*s' cannot be rendered",
                     operation_names[operation], parts[part].name, TEXT(item->name));
            return false;
        }
    }
    return true;
}
