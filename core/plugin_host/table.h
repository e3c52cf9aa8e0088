/* One table of functions for each image: the first argument of calls that are not about a policy or
 * a request. Internal to core/plugin_host. */
#ifndef WEIR_PLUGIN_HOST_TABLE_H
#define WEIR_PLUGIN_HOST_TABLE_H

#include "base/error.h"
#include "config/entities.h"
#include "config/problems.h"
#include "plugin_host/host_internal.h"

struct plugin_table {
    weir_host table; /* first: the plugin sees nothing else */
    struct plugin_host *host;
    char name[64]; /* of the plugin */
};

static inline const struct plugin_table *table_of(const weir_host *table)
{
    return (const struct plugin_table *)(const void *)table;
}
static inline struct plugin_host *host_of_table(const weir_host *table)
{
    return table_of(table)->host;
}

/* Behind configure()'s `error`: where complaints about one policy go. */
struct weir_error {
    struct problems *problems;
    const struct policy *policy;
    const struct credential *credential; /* set: it is about this one, not about a policy */
    size_t count; /* complaints so far */
};

static inline weir_str str_of(struct span span)
{
    return (weir_str){span.data, span.size};
}
static inline weir_status status_of(enum weir_err err)
{
    if (LIKELY(err == WEIR_OK))
        return WEIR_SUCCESS;
    if (err == WEIR_ERR_NO_MEMORY)
        return WEIR_NO_MEMORY;
    return err == WEIR_ERR_LIMIT ? WEIR_FULL : WEIR_INVALID;
}
static inline struct span span_of_str(weir_str str)
{
    return (struct span){str.data, str.size};
}

#endif
