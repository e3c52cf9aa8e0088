/* Rules as the configuration spells them. */
#include "entry.h"

#include <string.h>

static struct entry split(weir_str text, bool quotes)
{
    size_t at = 0;
    bool quoted = false;
    for (; at < text.size && (quoted || text.data[at] != ':'); at++)
        if (quotes && text.data[at] == '\'')
            quoted = !quoted;
    struct entry entry = {{text.data, at}, {text.data + at, 0}, at < text.size};
    while (at < text.size && text.data[at] == ':')
        at++;
    entry.value = (weir_str){text.data + at, text.size - at};
    return entry;
}

struct entry entry_of_header(weir_str text)
{
    struct entry entry = split(text, false);
    while (entry.value.size > 0 && (*entry.value.data == ' ' || *entry.value.data == '\t')) {
        entry.value.data++;
        entry.value.size--;
    }
    return entry;
}

struct entry entry_of_json(weir_str text)
{
    bool is_path = text.size > 1 && text.data[0] == '$' && strchr(".[", text.data[1]) != NULL;
    return split(text, is_path);
}

bool rule_value_compile(struct rule_value *value, const void *self, weir_str text, const char *path,
                        weir_error *error)
{
    *value = (struct rule_value){text, NULL};
    if (text.size < 2 || memmem(text.data, text.size, "$(", 2) == NULL)
        return true;
    value->compiled = weir_template_compile(error, self, path, text);
    return value->compiled != NULL;
}

bool rule_value_render(const struct rule_value *value, weir_request *request, weir_str *out_text)
{
    if (value->compiled == NULL) {
        *out_text = value->text;
        return true;
    }
    if (weir_template_render(request, value->compiled, out_text) == WEIR_SUCCESS)
        return true;
    weir_log(request, WEIR_LOG_WARN, "the value '%.*s' cannot be rendered: its rule is left out",
             (int)value->text.size, value->text.data);
    return false;
}
