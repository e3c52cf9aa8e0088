#include "gateway/generation.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "gateway/forward.h"

/* A build half done: undone as a whole when a step fails. */
struct build {
    const struct generation_source *source;
    struct problems *problems;
    struct generation *generation;
    struct arena *document; /* of the parsed text: only the build needs positions */
    struct node *root;
    enum weir_err parsed;
    char why[256];
};

static enum weir_err complain(struct build *build, const char *path)
{
    problem_add(build->problems, PROBLEM_ERROR, (struct position){0, 0}, path, "%s", build->why);
    return WEIR_ERR_CONFIG;
}

static enum weir_err parse(struct build *build)
{
    build->document = arena_create(NULL);
    if (build->document == NULL)
        return WEIR_ERR_NO_MEMORY;
    /* A tree with faults is looked at all the same: the rest of them is worth saying too. */
    build->parsed = document_parse(build->document, build->source->text, build->source->file,
                                   build->problems, &build->root);
    return build->root == NULL ? build->parsed : WEIR_OK;
}

static enum weir_err settings(struct build *build)
{
    const struct generation_source *source = build->source;
    struct generation *made = build->generation;
    char **environment = source->environment != NULL ? source->environment : environ;
    enum weir_err err =
        settings_load(&made->settings, made->arena, node_find(build->root, SPAN("gateway")),
                      environment, source->flags, source->flag_count, build->problems);
    return err == WEIR_ERR_CONFIG ? WEIR_OK : err; /* counted; go on to find more */
}

static enum weir_err open_catalog(struct build *build)
{
    struct generation *made = build->generation;
    const char *folders =
        span_is_set(made->settings.plugin_path) && made->settings.plugin_path.size > 0
            ? made->settings.plugin_path.data
            : build->source->plugin_path;
    made->catalog = catalog_create(folders, build->source->images);
    return made->catalog == NULL ? WEIR_ERR_NO_MEMORY : WEIR_OK;
}

static enum weir_err load(struct build *build)
{
    struct generation *made = build->generation;
    TRY(config_build(made->arena, build->root, catalog_view(made->catalog), build->problems,
                     &made->config));
    TRY(build->parsed);
    return config_set_hash(made->arena, made->config, build->source->text);
}

static enum weir_err route(struct build *build)
{
    struct generation *made = build->generation;
    enum router_flavor flavor = ROUTER_TRADITIONAL_COMPATIBLE;
    (void)router_flavor_parse(made->settings.router_flavor, &flavor);
    return router_build(made->config, flavor, build->problems, &made->router);
}

static enum weir_err make_policies(struct build *build)
{
    struct generation *made = build->generation;
    return policies_build(made->arena, build->source->host, made->config, made->catalog,
                          build->problems, &made->policies);
}

static enum weir_err forward(struct build *build)
{
    struct generation *made = build->generation;
    enum weir_err err = forward_compile(made->arena, &made->settings, &made->forward, build->why,
                                        sizeof(build->why));
    return err == WEIR_ERR_CONFIG ? complain(build, "gateway.trusted_ips") : err;
}

static enum weir_err balance(struct build *build)
{
    struct generation *made = build->generation;
    if (build->source->upstreams == NULL)
        return WEIR_OK;
    enum weir_err err = balancers_build(made->arena, build->source->upstreams, made->config,
                                        &made->balancers, build->why, sizeof(build->why));
    return err == WEIR_ERR_CONFIG ? complain(build, "services") : err;
}

static enum weir_err make_empty(struct build *build)
{
    struct generation *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return WEIR_ERR_NO_MEMORY;
    build->generation = made;
    made->pins = 1;
    made->number = build->source->number;
    made->arena = arena_create(NULL);
    return made->arena == NULL ? WEIR_ERR_NO_MEMORY : WEIR_OK;
}

enum weir_err generation_build(const struct generation_source *source, struct problems *problems,
                               struct generation **out_generation)
{
    static enum weir_err (*const steps[])(struct build * build) = {
        make_empty, parse, settings, open_catalog, load, route, forward, make_policies, balance,
    };
    struct build build = {.source = source, .problems = problems};
    enum weir_err err = WEIR_OK;
    for (size_t i = 0; i < COUNT_OF(steps) && err == WEIR_OK; i++)
        err = steps[i](&build);
    if (err == WEIR_OK && problems_errors(problems) > 0)
        err = WEIR_ERR_CONFIG;
    arena_destroy(build.document);
    if (err != WEIR_OK) {
        generation_unpin(build.generation);
        return err;
    }
    *out_generation = build.generation;
    return WEIR_OK;
}

enum weir_err generation_start(struct generation *generation, char *why, size_t why_size)
{
    TRY(policies_start(generation->policies, why, why_size));
    generation->started = true;
    return WEIR_OK;
}

void generation_unpin(struct generation *generation)
{
    if (generation == NULL || --generation->pins > 0)
        return;
    policies_stop(generation->policies);
    balancers_destroy(generation->balancers);
    router_destroy(generation->router);
    catalog_destroy(generation->catalog);
    arena_destroy(generation->arena);
    free(generation);
}
