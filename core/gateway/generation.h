/* One immutable, counted, compiled configuration: everything a request needs. An exchange pins the
 * one it started with; when the last pin goes, the whole of it is freed. The same function builds
 * it in a worker, in the probe child and in `weir check`. */
#ifndef WEIR_GATEWAY_GENERATION_H
#define WEIR_GATEWAY_GENERATION_H

#include "config/build.h"
#include "config/settings.h"
#include "plugin_host/chains.h"
#include "plugin_host/images.h"
#include "route/router.h"
#include "upstream/pick.h"

struct plugin_source { /* of the manifest: exactly this build */
    const char *name, *path;
};

struct generation_source {
    struct span text;   /* of the YAML; borrowed for the build */
    const char *file;   /* its name, for messages; borrowed for the build */
    char **environment; /* NULL: the process's */
    const struct settings_flag *flags;
    size_t flag_count;
    const char *plugin_path; /* used when the settings name none */
    struct plugin_host *host;
    struct images *images;
    struct upstreams *upstreams; /* NULL: no balancers are made (check, probe) */
    uint64_t number;
};

struct generation {
    uint32_t pins;
    uint64_t number;
    struct arena *arena;
    struct settings settings;
    struct config *config;
    struct router *router;
    struct catalog *catalog;
    struct policies *policies;
    struct balancers *balancers; /* NULL without upstreams */
    bool started;
    struct forward_settings *forward; /* gateway/forward.h */
};

/* Parse, check, configure every policy, compile. WEIR_ERR_CONFIG: see `problems` (which may live in
 * another arena). The result has one pin. */
WEIR_MUST_USE enum weir_err generation_build(const struct generation_source *source,
                                             struct problems *problems,
                                             struct generation **out_generation);
/* start() of every policy. */
WEIR_MUST_USE enum weir_err generation_start(struct generation *generation, char *why,
                                             size_t why_size);
static inline void generation_pin(struct generation *generation)
{
    generation->pins++;
}
/* The last one stops the policies and frees it; from the loop, never from plugin stack. NULL is
 * fine. */
void generation_unpin(struct generation *generation);
AUTO_DEFINE(struct generation, generation_unpin)

#endif
