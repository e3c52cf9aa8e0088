/* What each kind of entity looks like in the file. Private to this room. */
#ifndef WEIR_CONFIG_TABLES_H
#define WEIR_CONFIG_TABLES_H

#include "config/names.h"
#include "config/schema.h"

struct kind_row {
    struct span collection; /* "services" */
    struct span reference;  /* "service": the word of a foreign key */
    const weir_field *fields;
    size_t field_count;
    size_t size;
    const char *const *extra_keys;
    const struct legacy_key *legacy_keys;
    struct span name_key; /* the unique key beside the id; unset: none */
    /* Where the members that all kinds have lie. `id` is always the first. */
    size_t name, tags, created_at, updated_at, node, index;
};
extern const struct kind_row kind_rows[KIND_COUNT];

extern const char *const top_keys[];              /* beside the collections */
extern const struct legacy_key top_legacy_keys[]; /* refused or ignored at the top */

/* Collections that a Kong plugin defines -> that plugin. NULL when it is none. */
const char *plugin_of_collection(struct span collection);
const char *const *credential_collections(void); /* NULL-terminated */

extern const weir_field health_fields[], active_fields[], passive_fields[];
extern const size_t health_field_count, active_field_count, passive_field_count;

bool protocol_parse(struct span name, enum protocol *out_protocol);

#endif
