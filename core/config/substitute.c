/* ${VAR}, ${VAR:-default}, ${file:/path} inside a text; {vault://NAME/RESOURCE[/KEY]} as a whole
 * one. */
#include "config/substitute.h"

#include <ctype.h>
#include <stdio.h>
#include <unistd.h>

#include "base/buf.h"

#define FILE_BYTES_MAX ((size_t)1 << 20)

static bool find_variable(const struct schema_context *context, struct span name,
                          struct span *out_value)
{
    char **environment = context->environment == NULL ? environ : context->environment;
    for (size_t i = 0; environment != NULL && environment[i] != NULL; i++) {
        struct span row = span_text(environment[i]);
        if (row.size > name.size && row.data[name.size] == '=' && span_starts_with(row, name)) {
            *out_value = span_from(row, name.size + 1);
            return true;
        }
    }
    return false;
}

static bool is_variable_name(struct span name)
{
    if (span_is_empty(name) || isdigit((unsigned char)name.data[0]))
        return false;
    for (size_t i = 0; i < name.size; i++) {
        if (!isalnum((unsigned char)name.data[i]) && name.data[i] != '_')
            return false;
    }
    return true;
}

static enum weir_err put_file(struct span path, struct buf *out, char *why, size_t why_size)
{
    char name[4096];
    if (path.size >= sizeof(name) || span_is_empty(path)) {
        snprintf(why, why_size, "'${file:}' needs a path");
        return WEIR_ERR_CONFIG;
    }
    memcpy(name, path.data, path.size);
    name[path.size] = '\0';
    AUTO_BUF file = BUF_INIT;
    enum weir_err err = buf_read_file(&file, name, FILE_BYTES_MAX);
    if (err == WEIR_ERR_NO_MEMORY)
        return err;
    if (err != WEIR_OK) {
        snprintf(why, why_size, "the file '%s' cannot be read: %s", name, weir_err_text(err));
        return WEIR_ERR_CONFIG;
    }
    struct span text = buf_view(&file);
    if (span_ends_with(text, SPAN("\n")))
        text.size--;
    if (span_ends_with(text, SPAN("\r")))
        text.size--;
    buf_span(out, text);
    return WEIR_OK;
}

/* What stands between ${ and }. *out_known is false when it is no form of ours: left as written. */
static enum weir_err put_expression(const struct schema_context *context, struct span inside,
                                    struct buf *out, bool *out_known, char *why, size_t why_size)
{
    *out_known = true;
    if (span_starts_with(inside, SPAN("file:")))
        return put_file(span_from(inside, 5), out, why, why_size);
    if (span_starts_with(inside, SPAN("{"))) {
        snprintf(why, why_size, "decK templates '${{ env ... }}' are not supported, write ${NAME}");
        return WEIR_ERR_CONFIG;
    }
    size_t dash = span_search(inside, SPAN(":-"));
    struct span name = span_first(inside, dash), value = SPAN_NONE;
    if (!is_variable_name(name)) {
        *out_known = false;
        return WEIR_OK;
    }
    if (find_variable(context, name, &value) && (value.size > 0 || dash == inside.size)) {
        buf_span(out, value);
    } else if (dash < inside.size) {
        buf_span(out, span_from(inside, dash + 2));
    } else {
        snprintf(why, why_size, "the environment variable '%.*s' is not set and has no default",
                 SPAN_ARG(name));
        return WEIR_ERR_CONFIG;
    }
    return WEIR_OK;
}

static enum weir_err expand(const struct schema_context *context, struct span raw, struct buf *out,
                            bool *out_changed, char *why, size_t why_size)
{
    for (size_t i = 0; i < raw.size; i++) {
        struct span rest = span_from(raw, i);
        if (span_starts_with(rest, SPAN("$${"))) { /* the way to write a literal ${ */
            buf_text(out, "${");
            *out_changed = true;
            i += 2;
            continue;
        }
        size_t end = span_starts_with(rest, SPAN("${")) ? span_find(rest, '}') : rest.size;
        if (end == rest.size) {
            buf_byte(out, raw.data[i]);
            continue;
        }
        bool known = false;
        struct span inside = span_from(span_first(rest, end), 2);
        TRY(put_expression(context, inside, out, &known, why, why_size));
        if (known) {
            i += end;
            *out_changed = true;
        } else {
            buf_byte(out, raw.data[i]);
        }
    }
    return out->failed ? WEIR_ERR_NO_MEMORY : WEIR_OK;
}

/* {vault://my-env/db-password/user?prefix=APP_} -> vault, variable APP_DB_PASSWORD, member "user".
 */
static enum weir_err name_variable(const struct schema_context *context, struct span reference,
                                   struct span *out_variable, struct span *out_member, char *why,
                                   size_t why_size)
{
    struct span rest = span_first(reference, span_find(reference, '#'));
    size_t question = span_find(rest, '?');
    struct span options = span_from(rest, question + 1), prefix = SPAN_NONE;
    rest = span_first(rest, question);
    struct span vault = span_first(rest, span_find(rest, '/'));
    rest = span_from(rest, vault.size + 1);
    struct span resource = span_first(rest, span_find(rest, '/'));
    *out_member = span_from(rest, resource.size + 1);
    bool known = span_equal(vault, SPAN("env"));
    for (const struct schema_vault *row = context->vaults; row != NULL && !known; row = row->next) {
        known = span_equal(row->prefix, vault);
        prefix = known ? row->config_prefix : prefix;
    }
    if (!known) {
        snprintf(why, why_size, "vault '%.*s' is not installed", SPAN_ARG(span_first(vault, 64)));
        return WEIR_ERR_CONFIG;
    }
    if (span_starts_with(options, SPAN("prefix=")))
        prefix = span_from(span_first(options, span_find(options, '&')), 7);
    if (span_is_empty(resource)) {
        snprintf(why, why_size, "a vault reference needs a name: {vault://env/NAME}");
        return WEIR_ERR_CONFIG;
    }
    bool is_previous = span_ends_with(reference, SPAN("#2"));
    struct span name = arena_printf(context->arena, "%.*s%.*s%s", SPAN_ARG(prefix),
                                    SPAN_ARG(resource), is_previous ? "_PREVIOUS" : "");
    if (name.data == NULL)
        return WEIR_ERR_NO_MEMORY;
    char *letters = arena_bytes(context->arena, name.size);
    if (letters == NULL)
        return WEIR_ERR_NO_MEMORY;
    for (size_t i = 0; i < name.size; i++)
        letters[i] = name.data[i] == '-' ? '_' : (char)toupper((unsigned char)name.data[i]);
    *out_variable = span_of(letters, name.size);
    return WEIR_OK;
}

/* JSON is YAML, so the document parser reads the object; its own complaints would show the secret.
 */
static enum weir_err take_member(struct schema_context *context, struct span variable,
                                 struct span json, struct span member, struct span *out_text,
                                 char *why, size_t why_size)
{
    struct problems *silent = problems_create(context->arena);
    struct node *root = NULL;
    if (silent == NULL)
        return WEIR_ERR_NO_MEMORY;
    enum weir_err err = document_parse(context->arena, json, "", silent, &root);
    if (err == WEIR_ERR_NO_MEMORY)
        return err;
    const struct node *value = node_find(root, member);
    if (err == WEIR_OK && value != NULL && node_is_string(value)) {
        *out_text = value->text;
        return WEIR_OK;
    }
    snprintf(why, why_size, "the variable '%.*s' is no JSON object with a string member '%.*s'",
             SPAN_ARG(variable), SPAN_ARG(span_first(member, 64)));
    return WEIR_ERR_CONFIG;
}

static enum weir_err resolve_vault(struct schema_context *context, struct span reference,
                                   struct span *out_text, char *why, size_t why_size)
{
    struct span variable = SPAN_NONE, member = SPAN_NONE, value = SPAN_NONE;
    TRY(name_variable(context, reference, &variable, &member, why, why_size));
    if (!find_variable(context, variable, &value)) {
        snprintf(why, why_size, "the environment variable '%.*s' is not set", SPAN_ARG(variable));
        return WEIR_ERR_CONFIG;
    }
    if (!span_is_empty(member))
        return take_member(context, variable, value, member, out_text, why, why_size);
    *out_text = arena_copy(context->arena, value);
    return out_text->data == NULL ? WEIR_ERR_NO_MEMORY : WEIR_OK;
}

enum weir_err substitute(struct schema_context *context, struct span raw, struct span *out_text,
                         bool *out_changed, char *why, size_t why_size)
{
    *out_changed = false;
    if (span_starts_with(raw, SPAN("{vault://")) && span_ends_with(raw, SPAN("}"))) {
        *out_changed = true;
        struct span reference = span_from(span_first(raw, raw.size - 1), 9);
        return resolve_vault(context, reference, out_text, why, why_size);
    }
    if (span_search(raw, SPAN("${")) == raw.size) {
        *out_text = raw;
        return WEIR_OK;
    }
    AUTO_BUF out = BUF_INIT;
    TRY(expand(context, raw, &out, out_changed, why, why_size));
    *out_text = arena_copy(context->arena, out.size == 0 ? SPAN("") : buf_view(&out));
    return out_text->data == NULL ? WEIR_ERR_NO_MEMORY : WEIR_OK;
}
