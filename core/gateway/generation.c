#include "gateway/generation.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "gateway/forward.h"
#include "gateway/retry.h"

enum { SMALL_TEXT = 128 * 1024 }; /* compiled in a few ms */

/* A build half done: undone as a whole when a step fails. */
struct generation_build {
    struct job job; /* first */
    struct generation_source source;
    struct problems *problems;
    struct generation *generation;
    struct node *root;
    enum weir_err parsed;
    char why[512];
    generation_done *done;
    void *user;
};

static struct generation_build *build_of(struct job *job)
{
    return CONTAINER_OF(job, struct generation_build, job);
}

static enum weir_err complain(struct generation_build *build, const char *path)
{
    problem_add(build->problems, PROBLEM_ERROR, (struct position){0, 0}, path, "%s", build->why);
    build->why[0] = '\0'; /* said */
    return WEIR_ERR_CONFIG;
}

static enum weir_err make_empty(struct job *job, const struct slice *slice)
{
    struct generation_build *build = build_of(job);
    struct generation *made = calloc(1, sizeof(*made));
    (void)slice;
    if (made == NULL)
        return WEIR_ERR_NO_MEMORY;
    build->generation = made;
    made->background = build->source.background;
    made->pins = 1;
    made->number = build->source.number;
    made->arena = arena_create(NULL);
    return made->arena == NULL ? WEIR_ERR_NO_MEMORY : WEIR_OK;
}

static enum weir_err parse(struct job *job, const struct slice *slice)
{
    struct generation_build *build = build_of(job);
    (void)slice;
    struct arena *document = arena_create(NULL);
    build->generation->document = document;
    if (document == NULL)
        return WEIR_ERR_NO_MEMORY;
    /* A tree with faults is looked at all the same: the rest of them is worth saying too. */
    build->parsed = document_parse(document, build->source.text, build->source.file,
                                   build->problems, &build->root);
    return build->root == NULL ? build->parsed : WEIR_OK;
}

static enum weir_err settings(struct job *job, const struct slice *slice)
{
    struct generation_build *build = build_of(job);
    (void)slice;
    const struct generation_source *source = &build->source;
    struct generation *made = build->generation;
    char **environment = source->environment != NULL ? source->environment : environ;
    enum weir_err err =
        settings_load(&made->settings, made->arena, node_find(build->root, SPAN("gateway")),
                      environment, source->flags, source->flag_count, build->problems);
    return err == WEIR_ERR_CONFIG ? WEIR_OK : err; /* counted; go on to find more */
}

static enum weir_err open_catalog(struct job *job, const struct slice *slice)
{
    struct generation_build *build = build_of(job);
    struct generation *made = build->generation;
    (void)slice;
    const char *folders =
        span_is_set(made->settings.plugin_path) && made->settings.plugin_path.size > 0
            ? made->settings.plugin_path.data
            : build->source.plugin_path;
    made->catalog = catalog_create_from(folders, &build->source.plugins, build->source.images);
    return made->catalog == NULL ? WEIR_ERR_NO_MEMORY : WEIR_OK;
}

static bool call_loop(void *user, void (*work)(void *arg), void *arg)
{
    return job_on_loop(user, work, arg);
}

static enum weir_err load(struct job *job, const struct slice *slice)
{
    struct generation_build *build = build_of(job);
    struct generation *made = build->generation;
    (void)slice;
    catalog_load_through(made->catalog, call_loop, job);
    enum weir_err err = config_build(made->arena, build->root, catalog_view(made->catalog),
                                     build->problems, &made->config);
    catalog_load_through(made->catalog, NULL, NULL);
    TRY(err);
    TRY(build->parsed);
    return config_set_hash(made->arena, made->config, build->source.text);
}

static enum weir_err route(struct job *job, const struct slice *slice)
{
    struct generation_build *build = build_of(job);
    struct generation *made = build->generation;
    (void)slice;
    enum router_flavor flavor = ROUTER_TRADITIONAL_COMPATIBLE;
    (void)router_flavor_parse(made->settings.router_flavor, &flavor);
    return router_build(made->config, flavor, build->problems, &made->router);
}

static enum weir_err forward(struct job *job, const struct slice *slice)
{
    struct generation_build *build = build_of(job);
    struct generation *made = build->generation;
    (void)slice;
    enum weir_err err = forward_compile(made->arena, &made->settings, &made->forward, build->why,
                                        sizeof(build->why));
    return err == WEIR_ERR_CONFIG ? complain(build, "gateway.trusted_ips") : err;
}

static enum weir_err configure(struct job *job, const struct slice *slice)
{
    struct generation_build *build = build_of(job);
    struct generation *made = build->generation;
    if (made->policies == NULL) {
        plugin_host_set_building(build->source.host, made->number);
        TRY(policies_create(made->arena, build->source.host, made->config, made->catalog,
                            &made->policies));
    }
    return policies_configure(made->policies, slice, build->problems);
}

static enum weir_err chain(struct job *job, const struct slice *slice)
{
    struct generation_build *build = build_of(job);
    (void)slice;
    return policies_index(build->generation->policies, build->problems);
}

static enum weir_err check(struct job *job, const struct slice *slice)
{
    struct generation_build *build = build_of(job);
    TRY(policies_check(build->generation->policies, slice, build->problems));
    return problems_errors(build->problems) > 0 ? WEIR_ERR_CONFIG : WEIR_OK;
}

static enum weir_err begin_budgets(struct generation *made)
{
    size_t count = made->config->service_count;
    uint64_t now_ms = clock_mono_ms();
    made->retry_budgets = arena_array(made->arena, struct retry_budget, count + 1);
    if (made->retry_budgets == NULL)
        return WEIR_ERR_NO_MEMORY;
    for (size_t i = 0; i < count; i++)
        made->retry_budgets[i] = (struct retry_budget){.begun_ms = now_ms};
    return WEIR_OK;
}

static enum weir_err balance(struct job *job, const struct slice *slice)
{
    struct generation_build *build = build_of(job);
    struct generation *made = build->generation;
    if (build->source.upstreams == NULL)
        return WEIR_OK;
    if (made->retry_budgets == NULL)
        TRY(begin_budgets(made));
    if (made->balancers == NULL)
        TRY(balancers_begin(made->arena, build->source.upstreams, made->config, &made->balancers));
    enum weir_err err =
        balancers_more(made->balancers, made->config, slice, build->why, sizeof(build->why));
    return err == WEIR_ERR_CONFIG ? complain(build, "services") : err;
}

static enum weir_err forget_document(struct job *job, const struct slice *slice)
{
    (void)slice;
    arena_destroy(TAKE(build_of(job)->generation->document));
    return WEIR_OK;
}

static enum weir_err start(struct job *job, const struct slice *slice)
{
    struct generation_build *build = build_of(job);
    struct generation *made = build->generation;
    TRY(policies_start_some(made->policies, slice, build->why, sizeof(build->why)));
    made->started = true;
    return WEIR_OK;
}

/* clang-format off */
static const struct job_step build_steps[] = {
    {make_empty,      JOB_BESIDE},
    {parse,           JOB_BESIDE},
    {settings,        JOB_BESIDE},
    {open_catalog,    JOB_BESIDE},
    {load,            JOB_BESIDE}, /* and to the loop for each plugin */
    {route,           JOB_BESIDE},
    {forward,         JOB_BESIDE},
    {configure,       JOB_LOOP},
    {chain,           JOB_BESIDE},
    {check,           JOB_LOOP},
    {balance,         JOB_LOOP},
    {forget_document, JOB_BESIDE},
    {start,           JOB_LOOP},   /* last: a trial does without */
};
/* clang-format on */

static void build_init(struct generation_build *build, const struct generation_source *source,
                       struct problems *problems, size_t step_count,
                       void (*done)(struct job *job, enum weir_err err))
{
    *build = (struct generation_build){.source = *source, .problems = problems};
    job_init(&build->job, build_steps, step_count, done);
}

enum weir_err generation_build(const struct generation_source *source, struct problems *problems,
                               struct generation **out_generation)
{
    struct generation_build build;
    build_init(&build, source, problems, COUNT_OF(build_steps) - 1, NULL);
    enum weir_err err = job_run(&build.job);
    if (err == WEIR_OK)
        *out_generation = build.generation;
    else
        generation_unpin(build.generation);
    return err;
}

static void built(struct job *job, enum weir_err err)
{
    struct generation_build *build = build_of(job);
    struct generation *made = err == WEIR_OK ? build->generation : NULL;
    if (err != WEIR_OK)
        generation_unpin(build->generation);
    build->done(build->user, err, build->why, made);
    free(build);
}

struct generation_build *generation_build_begin(const struct generation_source *source,
                                                struct problems *problems, generation_done *done,
                                                void *user)
{
    struct generation_build *build = malloc(sizeof(*build));
    if (build == NULL)
        return NULL;
    build_init(build, source, problems, COUNT_OF(build_steps), built);
    build->job.heavy = source->text.size > SMALL_TEXT;
    build->done = done;
    build->user = user;
    background_add(source->background, &build->job);
    return build;
}

void generation_build_cancel(struct generation_build *build)
{
    job_cancel(&build->job);
}

enum weir_err generation_start(struct generation *generation, char *why, size_t why_size)
{
    TRY(policies_start(generation->policies, why, why_size));
    generation->started = true;
    return WEIR_OK;
}

/* ---- the end */

static struct generation *generation_of(struct job *job)
{
    return CONTAINER_OF(job, struct generation, end);
}

static enum weir_err end_policies(struct job *job, const struct slice *slice)
{
    return policies_end(generation_of(job)->policies, slice);
}

static enum weir_err let_go(struct job *job, const struct slice *slice)
{
    struct generation *generation = generation_of(job);
    TRY(balancers_end(generation->balancers, slice));
    catalog_destroy(generation->catalog);
    return WEIR_OK;
}

static enum weir_err free_parts(struct job *job, const struct slice *slice)
{
    struct generation *generation = generation_of(job);
    (void)slice;
    policies_free(generation->policies);
    router_destroy(generation->router);
    arena_destroy(generation->document);
    arena_destroy(generation->arena);
    return WEIR_OK;
}

static void freed(struct job *job, enum weir_err err)
{
    (void)err;
    free(generation_of(job));
}

void generation_unpin(struct generation *generation)
{
    static const struct job_step steps[] = {
        {end_policies, JOB_LOOP},
        {let_go, JOB_LOOP},
        {free_parts, JOB_BESIDE},
    };
    if (generation == NULL || --generation->pins > 0)
        return;
    job_init(&generation->end, steps, COUNT_OF(steps), freed);
    if (generation->background != NULL)
        background_add(generation->background, &generation->end);
    else
        freed(&generation->end, job_run(&generation->end));
}
