/* The tree as text: what was not touched in one piece. Measured first, then written. */
#include "json_tree.h"

/* `at` NULL: measure. */
struct print {
    char *at;
    size_t size;
};

static void put(struct print *print, weir_str text)
{
    if (print->at != NULL && text.size > 0) {
        memcpy(print->at, text.data, text.size);
        print->at += text.size;
    }
    print->size += text.size;
}

static void print_value(struct print *print, const weir_json_value *value)
{
    bool is_object = value->kind == WEIR_JSON_OBJECT;
    if (!value->is_edited || (!is_object && value->kind != WEIR_JSON_ARRAY)) {
        put(print, value->raw);
        return;
    }
    put(print, is_object ? WEIR_LIT("{") : WEIR_LIT("["));
    for (const weir_json_value *child = value->first; child != NULL; child = child->next) {
        put(print, child->lead);
        if (child->is_member && !child->is_decoded)
            put(print, child->name);
        put(print, child->middle); /* begins with the name once that was decoded */
        print_value(print, child);
        if (child->next != NULL) {
            put(print, child->trail);
            put(print, WEIR_LIT(","));
        }
    }
    put(print, value->tail);
    put(print, is_object ? WEIR_LIT("}") : WEIR_LIT("]"));
}

weir_status weir_json_print(weir_json *json, weir_str *out_text)
{
    const weir_json_value *root = json->root;
    if (!root->is_edited) {
        *out_text = json->text;
        return WEIR_SUCCESS;
    }
    /* Around the top value there may be white space. A new top value has none. */
    weir_str before = {NULL, 0}, after = {NULL, 0};
    const char *end = json->text.data + json->text.size;
    if (!root->is_added) {
        before = json_span(json->text.data, root->raw.data);
        after = json_span(root->raw.data + root->raw.size, end);
    }
    struct print print = {NULL, 0};
    print_value(&print, root);
    size_t size = before.size + print.size + after.size;
    char *text = json_bytes(json, size);
    if (text == NULL)
        return WEIR_NO_MEMORY;
    print = (struct print){text, 0};
    put(&print, before);
    print_value(&print, root);
    put(&print, after);
    *out_text = (weir_str){text, size};
    return WEIR_SUCCESS;
}
