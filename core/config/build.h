/* The document -> struct config: nested and flat forms, references, ids, uniqueness, cross rules.
 * Knows no plugin: the catalog tells the field tables of those that are installed. */
#ifndef WEIR_CONFIG_BUILD_H
#define WEIR_CONFIG_BUILD_H

#include <weir/weir.h>

#include "config/entities.h"
#include "config/problems.h"

struct plugin_schema {
    struct span name;
    const weir_field *fields;
    size_t field_count;
    size_t self_size; /* of the struct that `fields` fill, private members included */
    bool no_consumer_scope;
};

struct credential_schema {
    struct span collection, plugin; /* "keyauth_credentials", "key-auth" */
    const weir_field *fields;
    size_t field_count;
    size_t data_size;
    struct span unique_key; /* name of the field; unset: none */
    bool random_key;        /* an absent key is a random one (the id is random as well) */
    int (*check)(const void *data, weir_error *error); /* the plugin's; plugin_host calls it */
};

/* What is installed. Answers are borrowed and must outlive the configuration. */
struct plugin_catalog {
    void *user;
    /* Its table. NULL: *why is where it was looked for, or, when it is there and was refused, a
     * whole sentence that begins with "plugin '". */
    const struct plugin_schema *(*find)(void *user, struct span name, char *why, size_t why_size);
    const struct credential_schema *(*find_credential)(void *user, struct span collection);
    /* For did-you-mean; NULL past the end. May be NULL. */
    const char *(*nth_name)(void *user, size_t index);
    /* Does a pattern compile (the room has no pattern library)? May be NULL. */
    bool (*regex_compiles)(void *user, struct span pattern, char *why, size_t why_size);
};

/* WEIR_ERR_CONFIG when `problems` has errors, *out_config is untouched then; everything that can be
 * checked is checked first. Results live in `arena`, texts and
 * indexes included; only the `node`, `config`, `ordering`, `settings` and `root` members point into
 * the document, which may die (parse it into an arena of its own) once nobody needs positions. The
 * hash is left zero: config_set_hash() knows the bytes. */
WEIR_MUST_USE enum weir_err config_build(struct arena *arena, const struct node *root,
                                         const struct plugin_catalog *catalog,
                                         struct problems *problems, struct config **out_config);
WEIR_MUST_USE enum weir_err config_set_hash(struct arena *arena, struct config *config,
                                            struct span text);

/* Parse, build and hash. WEIR_ERR_CONFIG: see `problems`. */
WEIR_MUST_USE enum weir_err config_load(struct arena *arena, struct span text, const char *file,
                                        const struct plugin_catalog *catalog,
                                        struct problems *problems, struct config **out_config);

#endif
