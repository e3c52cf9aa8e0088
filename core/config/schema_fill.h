/* What the two halves of the schema engine share: where we are, and legacy spellings. Private. */
#ifndef WEIR_CONFIG_SCHEMA_FILL_H
#define WEIR_CONFIG_SCHEMA_FILL_H

#include "config/schema.h"

#define PLACE_TEXT 512

struct place {
    const struct place *parent;
    const char *key; /* NULL: an element of a list */
    size_t index;
};

/* A legacy spelling found in a map: the value belongs to `path`, relative to that map. */
struct override {
    const struct override *next;
    const char *path; /* "redis.host" */
    const struct member *member;
};

struct fill {
    struct schema_context *context;
    bool failed, no_memory;
};

/* "plugins[0].config.redis.host"; returns its length. */
size_t put_place(const struct place *place, char *out, size_t size);

#define COMPLAIN(fill, level, at, place, ...)                                      \
    do {                                                                           \
        char path_[PLACE_TEXT] = "";                                               \
        put_place((place), path_, sizeof(path_));                                  \
        problem_add((fill)->context->problems, (level), (at), path_, __VA_ARGS__); \
        (fill)->failed = (fill)->failed || (level) == PROBLEM_ERROR;               \
    } while (0)
#define REFUSE(fill, at, place, ...) COMPLAIN(fill, PROBLEM_ERROR, at, place, __VA_ARGS__)

static inline const char *field_key(const weir_field *field)
{
    return field->key != NULL ? field->key : field->name;
}

/* schema_alias.c */
bool has_alias(const weir_field *field, struct span key);
const struct override *add_override(struct fill *fill, const struct override *next,
                                    const char *path, const struct member *member);
/* Legacy spellings in `node`: of its own fields, of fields of its records, and rows that are
 * aliases. */
const struct override *collect_overrides(struct fill *fill, const weir_field *fields, size_t count,
                                         const struct node *node);
/* Those for fields inside the record `key`, their paths relative to it. */
const struct override *below_record(struct fill *fill, const struct override *overrides,
                                    const char *key);
/* The value of a field: its own, or that of a legacy spelling. */
const struct node *choose_value(struct fill *fill, const weir_field *field, const struct node *own,
                                const struct override *overrides, const struct place *place);

#endif
