/* Edits of JSON text: what no edit touches keeps its bytes (number spelling, key order, duplicate
 * keys, white space). Link weir::bodies; needs no host. Everything is allocated by the caller's
 * function and freed with whatever that allocates from. Not thread-safe, no global state. */
#ifndef WEIR_JSON_H
#define WEIR_JSON_H

#include <weir/weir.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Memory that needs no free; NULL: none left. `user` is the request or the policy: see
 * weir_alloc_of_request(). */
typedef void *weir_alloc(void *user, size_t size);
static inline void *weir_alloc_of_request(void *request, size_t size)
{
    return weir_request_alloc((weir_request *)request, size);
}
static inline void *weir_alloc_of_policy(void *self, size_t size)
{
    return weir_policy_alloc(self, size);
}

typedef struct weir_json weir_json;             /* a document */
typedef struct weir_json_value weir_json_value; /* a value in it */

#define WEIR_JSON_NULL 0U
#define WEIR_JSON_FALSE 1U
#define WEIR_JSON_TRUE 2U
#define WEIR_JSON_NUMBER 3U
#define WEIR_JSON_STRING 4U
#define WEIR_JSON_ARRAY 5U
#define WEIR_JSON_OBJECT 6U

/* Strict RFC 8259, any value at the top. `text` must live as long as the document. WEIR_INVALID:
 * *out_at (may be NULL) is the offset of what is wrong; WEIR_FULL: nested deeper than 128,
 * or more than 500,000 values; WEIR_NO_MEMORY. */
weir_status weir_json_parse(weir_str text, weir_alloc *alloc, void *user, weir_json **out_json,
                            size_t *out_at);
/* The same for who needs members or elements of the top value alone: these can be seen and edited,
 * what is in them is checked, but has no values (weir_json_first() of them is NULL, edits of their
 * members are WEIR_NOT_FOUND) and takes no memory. */
weir_status weir_json_parse_top(weir_str text, weir_alloc *alloc, void *user, weir_json **out_json,
                                size_t *out_at);
weir_json_value *weir_json_root(const weir_json *json);
uint32_t weir_json_kind(const weir_json_value *value);
/* Members or elements in order, as edits left them; NULL: none, or no more. */
weir_json_value *weir_json_first(const weir_json_value *parent);
weir_json_value *weir_json_next(const weir_json_value *value);
/* Of a member, decoded; data NULL for elements and the root, and without memory. */
weir_str weir_json_name(weir_json *json, weir_json_value *member);
/* The value's own text as it was sent. */
weir_str weir_json_raw(const weir_json_value *value);
/* Of a string, decoded to UTF-8 (a lone surrogate becomes U+FFFD). WEIR_INVALID: no string. */
weir_status weir_json_text(weir_json *json, const weir_json_value *value, weir_str *out_text);
/* The last member of that (decoded) name, as most decoders take it; NULL: none, or no object. */
weir_json_value *weir_json_member(weir_json *json, const weir_json_value *object, weir_str name);

/* ---- edits. `text` arguments are JSON text, copied; WEIR_INVALID when they are none.
 * WEIR_NOT_FOUND: no such member, or `object` is none. */

/* All members of that name. */
weir_status weir_json_remove(weir_json *json, weir_json_value *object, weir_str name);
/* In its place in the order; members that have the new name already go. */
weir_status weir_json_rename(weir_json *json, weir_json_value *object, weir_str name,
                             weir_str new_name);
/* The value of the last member of that name (others of it go), or a new last member. */
weir_status weir_json_set(weir_json *json, weir_json_value *object, weir_str name, weir_str text);
/* To the array that is there; what is no array becomes [it, new]; absent: [new]. */
weir_status weir_json_append(weir_json *json, weir_json_value *object, weir_str name,
                             weir_str text);
/* `value` (a member, an element or the root) becomes this. */
weir_status weir_json_replace(weir_json *json, weir_json_value *value, weir_str text);
/* The document now; the very `text` it was parsed from when nothing was edited. */
weir_status weir_json_print(weir_json *json, weir_str *out_text);
/* Text as a JSON string with its quotes; bytes that are not UTF-8 become U+FFFD. */
weir_status weir_json_quote(weir_str text, weir_alloc *alloc, void *user, weir_str *out_text);

/* ---- paths: where in a document a name is looked for
 *
 *  name            a member of the top object (dots are part of the name, as in Kong)
 *  $.a.b           the member b of the member a; "$['a.b'].c" for names with dots
 *  $.list[*].x     x of each element; $.list[0].x of the first
 *  $..x            x of every object at any depth, inside arrays too
 */
typedef struct weir_json_path weir_json_path;
/* `deep`: a plain name means $..name. NULL: WEIR_INVALID text (*out_why says what is wrong, static)
 * or no memory (*out_why NULL). Copies. [configure] */
const weir_json_path *weir_json_path_compile(weir_str text, bool deep, weir_alloc *alloc,
                                             void *user, const char **out_why);
/* Of the last step. */
weir_str weir_json_path_name(const weir_json_path *path);
/* Every object that the path's last name would be looked for in, whether it has it or not,
 * outermost first. A top array counts as its elements for a plain name when `elements`. `make`:
 * objects that are missing on the way of a plain $.a.b path are made. Edits inside the visit are
 * fine; values of what it removes are not visited. Not WEIR_SUCCESS ends the walk and is returned.
 */
weir_status weir_json_path_each(weir_json *json, const weir_json_path *path, bool elements,
                                bool make,
                                weir_status (*visit)(void *user, weir_json *json,
                                                     weir_json_value *object, weir_str name),
                                void *user);

#ifdef __cplusplus
}
#endif

#endif
