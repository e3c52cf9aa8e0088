/* One immutable, counted, compiled configuration: everything a request needs. An exchange pins the
 * one it started with; when the last pin goes, the whole of it is freed. The same steps build it in
 * the probe child, where nobody waits, and in a worker that serves meanwhile. */
#ifndef WEIR_GATEWAY_GENERATION_H
#define WEIR_GATEWAY_GENERATION_H

#include "config/build.h"
#include "config/settings.h"
#include "gateway/background.h"
#include "plugin_host/chains.h"
#include "plugin_host/images.h"
#include "route/router.h"
#include "upstream/pick.h"

struct generation_source {
    struct span text;   /* of the YAML; borrowed for the build */
    const char *file;   /* its name, for messages; borrowed for the build */
    char **environment; /* NULL: the process's */
    const struct settings_flag *flags;
    size_t flag_count;
    const char *plugin_path;       /* used when the settings name none */
    struct plugin_sources plugins; /* builds that come from elsewhere, or do not run; borrowed */
    struct plugin_host *host;
    struct images *images;
    struct upstreams *upstreams;   /* NULL: no balancers are made (check, probe) */
    struct background *background; /* who frees it; NULL: whoever lets go of it last */
    uint64_t number;
};

struct generation {
    struct job end; /* first: how it is freed */
    struct background *background;
    uint32_t pins;
    uint64_t number;
    struct arena *arena;
    struct arena *document; /* of the parsed text, NULL once it is built: nobody needs positions */
    struct settings settings;
    struct config *config;
    struct router *router;
    struct catalog *catalog;
    struct policies *policies;
    struct balancers *balancers;        /* NULL without upstreams */
    struct retry_budget *retry_budgets; /* by service->index: gateway/retry.h */
    bool started;
    struct forward_settings *forward; /* gateway/forward.h */
};

/* Parse, check, configure every policy, compile: here and now. WEIR_ERR_CONFIG: see `problems`
 * (which may live in another arena). The result has one pin. */
WEIR_MUST_USE enum weir_err generation_build(const struct generation_source *source,
                                             struct problems *problems,
                                             struct generation **out_generation);
/* start() of every policy. */
WEIR_MUST_USE enum weir_err generation_start(struct generation *generation, char *why,
                                             size_t why_size);

/* The same, start() included, while the loop goes on to serve: `source->background` does what is
 * the core's beside it and gives plugins their turns between requests. `done` is called once,
 * later: with a started generation, or with what was wrong (in `problems`, and `why` unless it is
 * empty), CLOSED when it was cancelled. Until then `problems` and all that `source` points to stay;
 * `source` itself is copied. NULL without memory: `done` is not called. */
struct generation_build;
typedef void generation_done(void *user, enum weir_err err, const char *why,
                             struct generation *generation);
WEIR_MUST_USE struct generation_build *
generation_build_begin(const struct generation_source *source, struct problems *problems,
                       generation_done *done, void *user);
/* Does not wait; `done` comes. */
void generation_build_cancel(struct generation_build *build);

static inline void generation_pin(struct generation *generation)
{
    generation->pins++;
}
/* The last one stops the policies and frees it (soon, when it has a background); from the loop,
 * never from plugin stack. NULL is fine. */
void generation_unpin(struct generation *generation);
AUTO_DEFINE(struct generation, generation_unpin)

#endif
