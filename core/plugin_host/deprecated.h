/* Calls that a later minor has something better for. They stay and work as long as the major does;
 * whoever still makes them is named in the log once and counted. To deprecate a slot:
 *
 *  1. calls.h: WEIR_DEPRECATED_SINCE_(minor, "what to call instead") before its wrapper, and a line
 *     in sdk/abi/history.md;
 *  2. a function of the slot's signature in the calls_*.c of the slot, which says
 *     deprecated_called() and goes on to the call;
 *  3. a row in table.c with that function.
 *
 * Internal to core/plugin_host. */
#ifndef WEIR_PLUGIN_HOST_DEPRECATED_H
#define WEIR_PLUGIN_HOST_DEPRECATED_H

#include "plugin_host/host_internal.h"

struct deprecated_call {
    size_t slot;      /* offsetof(weir_host, …) */
    const char *name; /* as authors write it; NULL ends a list */
    uint32_t since;   /* minor */
    const char *instead;
    void (*counted)(void); /* takes the slot's place */
};

/* Put them in their places. Before plugin_table_grant(): a refusing stub goes before. */
void deprecated_calls_put(weir_host *table, const struct deprecated_call *calls);

/* `plugin` has made that call: one more in weir_deprecated_calls_total, and the first time in this
 * process a line in the log. */
void deprecated_called(struct plugin_host *host, struct span plugin,
                       const struct deprecated_call *call);
void deprecated_calls_free(struct plugin_host *host);

#endif
