/* The words of a rule: "name:value" as the configuration spells it, and values with $(…) in them.
 */
#ifndef RESPONSE_TRANSFORMER_ENTRY_H
#define RESPONSE_TRANSFORMER_ENTRY_H

#include <weir/weir.h>

struct entry {
    weir_str name, value; /* views of the text; `value` is empty when there is none */
    bool has_colon;
};

/* The name ends at the first run of colons. In a path ("$.a['x:y']:v") those in quotes do not
 * count. */
struct entry entry_of_header(weir_str text);
struct entry entry_of_json(weir_str text);

/* What a rule puts in: text, or a template when `compiled` is set. */
struct rule_value {
    weir_str text;
    const weir_template *compiled;
};

/* false: refused, and `error` says why at `path`. `text` must live as long as the policy. */
bool rule_value_compile(struct rule_value *value, const void *self, weir_str text, const char *path,
                        weir_error *error);
/* false: it cannot be rendered for this request, which is logged. */
bool rule_value_render(const struct rule_value *value, weir_request *request, weir_str *out_text);

#endif
