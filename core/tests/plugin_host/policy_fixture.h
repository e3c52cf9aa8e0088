/* Policies over plugins that are compiled at run time, as a stranger would build them: a private
 * folder, one source for all of them, a configuration, its chains. */
#ifndef WEIR_TESTS_PLUGIN_HOST_POLICY_FIXTURE_H
#define WEIR_TESTS_PLUGIN_HOST_POLICY_FIXTURE_H

#include "plugin_host/chains.h"

struct fixture {
    char folder[64];
    struct idle_plugins plugins;
    struct arena *arena;
    struct problems *problems;
    struct config *config;
    struct policies *policies; /* NULL after an error */
    enum weir_err err;
};

/* A folder, and plugins.host over `services` (which may be NULL). */
void fixture_open(struct fixture *f, const struct host_services *services);
void fixture_close(struct fixture *f);

/* NAME.so of the one source with macros set: "-DPRIORITY=10 -DHOOK_ACCESS". Its fields: tag, and a
 * record redis with host. */
void fixture_plugin(struct fixture *f, const char *name, const char *flags);
/* Any source, to FOLDER/FILE.so. */
void fixture_compile(const struct fixture *f, const char *file, const char *source,
                     const char *flags);
/* Load and build; what was there is taken down first. */
void fixture_load(struct fixture *f, const char *yaml);
/* "kong.yml:7:9: path: text" lines, without source lines. Borrowed until the next call. */
const char *fixture_problems(struct fixture *f);

const struct route *fixture_route(const struct fixture *f, const char *name);
const struct consumer *fixture_consumer(const struct fixture *f, const char *name);
/* instance_names (or plugin names) of the members in order, "a b c". Borrowed until the next call.
 */
const char *members_text(const struct chain_set *set);
/* The same of the entries of one phase. */
const char *phase_text(const struct chain_set *set, enum phase phase);

#endif
