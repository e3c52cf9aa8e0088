/* One engine for every table of fields: the gateway's own entities and the configuration of
 * plugins. A map of the document goes in, a C struct comes out, and everything wrong with it is a
 * problem with a position. Substitution of ${VAR}, ${VAR:-default}, ${file:/path} and
 * {vault://env/NAME[/KEY]} happens here, scalar by scalar; resolved and secret values never reach a
 * message. */
#ifndef WEIR_CONFIG_SCHEMA_H
#define WEIR_CONFIG_SCHEMA_H

#include <weir/weir.h>

#include "config/document.h"
#include "config/problems.h"

/* A key that used to mean something: what to say instead of "unknown field". */
struct legacy_key {
    const char *key;
    enum problem_level level; /* a warning ignores the key */
    const char *text;
};

struct schema_vault { /* {vault://PREFIX/...} of a vaults: entry */
    struct span prefix, config_prefix;
    struct schema_vault *next;
};

struct schema_context {
    struct arena *arena; /* filled structs point into it */
    struct problems *problems;
    char **environment; /* NULL: the process's */
    const struct schema_vault *vaults;
    /* May be NULL: then names of consumers are not checked and patterns only for their brackets. */
    void *user;
    bool (*consumer_exists)(void *user, struct span name_or_id);
    bool (*regex_compiles)(void *user, struct span pattern, char *why, size_t why_size);
    /* Keys beside the table, for the outermost map of the next schema_fill(): NULL-terminated. */
    const char *const *extra_keys;
    const struct legacy_key *legacy_keys; /* ends with key NULL */
    bool no_memory;                       /* set when schema_text() failed for that */
};

/* Texts are copied to the arena: the document may die before what was filled from it.
 * Fill `out` (zeroed by the caller) from `node`, which may be NULL or null: then only defaults, and
 * required fields are missed all the same. `path` names the place ("plugins[0].config").
 * WEIR_ERR_CONFIG: problems were added. */
WEIR_MUST_USE enum weir_err schema_fill(struct schema_context *context, const weir_field *fields,
                                        size_t count, const struct node *node, void *out,
                                        const char *path);

/* The scalar with substitutions made (arena). False: a problem was added. `secret` hides it. */
bool schema_text(struct schema_context *context, const struct node *node, bool secret,
                 const char *path, struct span *out_text);

/* Where "redis.host" or "limits[2].window" stands below `node`; the nearest part that exists. */
struct position schema_find_position(const struct node *node, const char *dotted);

/* Is it a header name in Kong's eyes: A-Z a-z 0-9 _ - */
bool schema_is_header_name(struct span text);

/* "60s" "500ms" "2m" "1h" "1d" or plain seconds -> milliseconds; "64k" "10m" "1g" -> bytes. */
bool schema_parse_duration(struct span text, int64_t *out_ms);
bool schema_parse_bytes(struct span text, int64_t *out_bytes);

#endif
