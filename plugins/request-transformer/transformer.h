/* What the files of request-transformer share: its configuration, the rules made of it, and the
 * parts of a request that rules edit. rules.c makes rules and renders their values, headers.c,
 * query.c and body.c apply them, request-transformer.c says when. */
#ifndef TRANSFORMER_H
#define TRANSFORMER_H

#include <string.h>

#include <weir/form.h>
#include <weir/json.h>

/* In the order in which they are applied. */
enum operation { REMOVE, RENAME, REPLACE, ADD, APPEND, OPERATIONS };
enum part { HEADERS, QUERY, BODY, PARTS };

enum value_type { TYPE_STRING, TYPE_NUMBER, TYPE_BOOLEAN, TYPE_JSON, TYPES };
extern const char *const value_types[TYPES + 1]; /* their words in body_types, then NULL */

/* What one operation is to do; not every operation has all of it. */
typedef struct edits {
    weir_list headers, querystring, body;             /* weir_str */
    weir_list headers_map, querystring_map, body_map; /* weir_pair */
    weir_list body_types;                             /* weir_str */
    weir_str uri;
} edits;

typedef struct rule {
    weir_str name;              /* without what stands behind the colon */
    const weir_template *value; /* of a rename: the new name; NULL: none */
    size_t slot;                /* of the rendered value */
    weir_header_id header, new_header;
    const weir_json_path *path; /* of a body */
    bool is_path;               /* `name` is one: it means nothing in a form */
    enum value_type type;       /* of a value in a JSON body */
} rule;

typedef struct rules {
    rule *items;
    size_t count;
} rules;

typedef struct transformer {
    weir_str http_method;
    edits remove, rename, replace, add, append;
    bool deep;
    /* Ours, after the configuration. */
    rules rules[PARTS][OPERATIONS];
    size_t part_counts[PARTS];
    size_t slots; /* rendered values of a request */
    const weir_template *uri;
    bool method_takes_query; /* GET, HEAD, TRACE: the fields of a form go to the query */
    size_t with_equals;      /* querystring entries written name=value */
    size_t of_framing;       /* header entries that the gateway does not let in */
    weir_header_id content_type, content_encoding;
} transformer;

enum body_kind { BODY_NONE, BODY_JSON, BODY_FORM, BODY_MULTIPART };

typedef struct request_body {
    enum body_kind kind;
    weir_str content_type;
    weir_str text; /* decoded; data NULL: it cannot be, and is left alone */
} request_body;

/* ---- rules.c */

/* Fill what stands after the configuration. False: refused, `error` says why. [configure] */
bool rules_make(transformer *policy, weir_error *error);
/* The values of one part's rules, into `values` (slots of them), before anything is changed. False:
 * one has none, which is logged. */
bool rules_render(weir_request *request, const transformer *policy, enum part part,
                  weir_str *values);

/* ---- what they edit. `values` are those of all rules. Statuses other than SUCCESS: FULL when a
 * bound of the SDK's is reached, else the request cannot go on; they have been logged. */

weir_status headers_edit(weir_request *request, const transformer *policy, const weir_str *values);
/* `form` is text whose fields are added before the rules; data NULL: none. */
weir_status query_edit(weir_request *request, const transformer *policy, const weir_str *values,
                       weir_str form);
/* Arguments and forms. `changed`, unless NULL, is set when a rule did something. */
weir_status form_edit(weir_form *form, const rules *of_operations, const weir_str *values,
                      bool *changed);
weir_status form_print(const weir_form *form, bool sorted, weir_str *out_text);
enum body_kind body_kind_of(weir_str content_type);
/* *out_text is the text that is to be sent, the very `body->text` when no rule changed it. */
weir_status body_edit(weir_request *request, const transformer *policy, const weir_str *values,
                      const request_body *body, weir_str *out_text);

/* ---- text */

static inline bool text_equal(weir_str a, weir_str b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}
static inline char text_lower(char c)
{
    return (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
}
static inline bool text_equal_nocase(weir_str a, weir_str b)
{
    if (a.size != b.size)
        return false;
    for (size_t i = 0; i < a.size; i++)
        if (text_lower(a.data[i]) != text_lower(b.data[i]))
            return false;
    return true;
}
/* Without blanks at both ends. */
static inline weir_str text_trim(weir_str text)
{
    while (text.size > 0 && (text.data[0] == ' ' || text.data[0] == '\t')) {
        text.data++;
        text.size--;
    }
    while (text.size > 0 && (text.data[text.size - 1] == ' ' || text.data[text.size - 1] == '\t'))
        text.size--;
    return text;
}

#endif
