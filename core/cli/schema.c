#include "cli/schema.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"

static const char *type_name(uint32_t type)
{
    static const char *const names[] = {"?",      "boolean", "integer",  "number",
                                        "string", "enum",    "duration", "bytes",
                                        "list",   "map",     "record"};
    return type < COUNT_OF(names) ? names[type] : names[0];
}

static const char *key_of(const weir_field *field)
{
    return field->key == NULL ? field->name : field->key;
}

/* A legacy spelling of another row. */
static bool is_alias(const weir_field *field)
{
    return field->also != NULL;
}

/* ---- YAML */

static void yaml_fields(struct buf *out, const weir_field *fields, uint32_t count, int indent)
{
    for (uint32_t i = 0; i < count; i++) {
        const weir_field *field = &fields[i];
        if (is_alias(field))
            continue;
        buf_printf(out, "%*s%s: %s  # %s%s\n", indent, "", key_of(field),
                   field->def == NULL ? "" : field->def, type_name(field->type),
                   (field->flags & WEIR_REQUIRED) ? ", required" : "");
        if (field->help != NULL)
            buf_printf(out, "%*s# %s\n", indent + 2, "", field->help);
        if (field->type == WEIR_TYPE_RECORD)
            yaml_fields(out, field->fields, field->field_count, indent + 2);
    }
}

void schema_as_yaml(const weir_plugin *plugin, struct buf *out)
{
    buf_printf(out, "name: %s\nconfig:\n", plugin->name);
    yaml_fields(out, plugin->fields, plugin->field_count, 2);
}

/* ---- Markdown */

/* A cell of a table: '|' would end it. */
static void cell(struct buf *out, const char *text)
{
    for (; text != NULL && *text != '\0'; text++) {
        if (*text == '|')
            buf_byte(out, '\\');
        buf_byte(out, *text);
    }
}

static void choices(struct buf *out, const char *const *choice)
{
    for (size_t i = 0; choice != NULL && choice[i] != NULL; i++)
        buf_printf(out, "%s`%s`", i > 0 ? " " : "", choice[i]);
}

static void bounds(struct buf *out, const weir_field *field)
{
    if ((field->flags & WEIR_POSITIVE) != 0)
        buf_printf(out, " > 0");
    else if ((field->flags & WEIR_NOT_NEGATIVE) != 0)
        buf_printf(out, " >= 0");
    const char *unit = field->type == WEIR_TYPE_DURATION ? " ms" : "";
    if (field->max > 0 && field->min != 0)
        buf_printf(out, " %.15g to %.15g%s", field->min, field->max, unit);
    else if (field->max > 0)
        buf_printf(out, " up to %.15g%s", field->max, unit);
    else if (field->min != 0)
        buf_printf(out, " from %.15g%s", field->min, unit);
}

static void type_cell(struct buf *out, const weir_field *field)
{
    bool is_list = field->type == WEIR_TYPE_LIST;
    uint32_t type = is_list ? field->element : field->type;
    if (is_list)
        buf_printf(out, "list of ");
    if (type == WEIR_TYPE_ENUM)
        choices(out, field->choices);
    else if ((field->flags & WEIR_HEADER_NAME) != 0)
        buf_printf(out, "header name%s", is_list ? "s" : "");
    else if ((field->flags & WEIR_REGEX) != 0)
        buf_printf(out, "regular expression%s", is_list ? "s" : "");
    else if ((field->flags & WEIR_PATH) != 0)
        buf_printf(out, "path%s", is_list ? "s" : "");
    else if ((field->flags & WEIR_CONSUMER_NAME) != 0)
        buf_printf(out, "consumer");
    else
        buf_printf(out, "%s", type_name(type));
    bounds(out, field);
    if ((field->flags & WEIR_SECRET) != 0)
        buf_printf(out, ", secret");
    if ((field->flags & WEIR_DEPRECATED) != 0)
        buf_printf(out, ", deprecated");
}

static void default_cell(struct buf *out, const weir_field *field)
{
    if (field->def != NULL) {
        buf_byte(out, '`');
        cell(out, field->def[0] == '\0' ? "\"\"" : field->def);
        buf_byte(out, '`');
    } else if ((field->flags & WEIR_REQUIRED) != 0) {
        buf_printf(out, "required");
    }
}

static void markdown_rows(struct buf *out, const weir_field *fields, uint32_t count,
                          const char *prefix)
{
    for (uint32_t i = 0; i < count; i++) {
        const weir_field *field = &fields[i];
        char path[256];
        if (is_alias(field))
            continue;
        (void)snprintf(path, sizeof(path), "%s%s", prefix, key_of(field));
        buf_printf(out, "| `%s` | ", path);
        type_cell(out, field);
        buf_printf(out, " | ");
        default_cell(out, field);
        buf_printf(out, " | ");
        cell(out, field->help);
        if (field->alias != NULL)
            buf_printf(out, " (older: `%s`)", field->alias);
        buf_printf(out, " |\n");
        bool is_record = field->type == WEIR_TYPE_RECORD ||
                         (field->type == WEIR_TYPE_LIST && field->element == WEIR_TYPE_RECORD);
        if (!is_record)
            continue;
        size_t size = strlen(path);
        (void)snprintf(path + size, sizeof(path) - size, "%s.",
                       field->type == WEIR_TYPE_LIST ? "[]" : "");
        markdown_rows(out, field->fields, field->field_count, path);
    }
}

static void table(struct buf *out, const weir_field *fields, uint32_t count)
{
    buf_printf(out, "| field | type | default | meaning |\n|---|---|---|---|\n");
    markdown_rows(out, fields, count, "");
}

void schema_as_markdown(const weir_plugin *plugin, struct buf *out)
{
    table(out, plugin->fields, plugin->field_count);
    for (uint32_t i = 0; i < plugin->credential_count; i++) {
        const weir_credential_kind *kind = (const void *)((const char *)plugin->credentials +
                                                          (size_t)i * plugin->credential_stride);
        buf_printf(out, "\nEach of `%s`:\n\n", kind->collection);
        table(out, kind->fields, kind->field_count);
    }
}
