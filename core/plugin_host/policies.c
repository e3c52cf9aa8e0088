/* The policies of a generation: images found, configure() run, sorted into groups, indexed, started
 * and stopped. What applies to whom is in scopes.c, the chains are in chain_build.c. */
#include "plugin_host/policies.h"

#include <stdio.h>
#include <stdlib.h>

#include "config/schema.h"
#include "plugin_host/builds.h"
#include "plugin_host/image.h"

_Static_assert(sizeof(struct running_policy *) <= POLICY_PREFIX, "the host's record has room");

/* ---- one policy */

static void tell(struct problems *problems, enum problem_level level, const struct policy *policy,
                 const char *below, const char *text)
{
    char path[512];
    (void)snprintf(path, sizeof(path), "%.*s.%s", SPAN_ARG(policy->path), below);
    problem_add(problems, level, schema_find_position(policy->node, below), path, "%s", text);
}

static enum weir_err configure(struct built_policy *built, struct problems *problems)
{
    const struct running_policy *run = &built->run;
    struct weir_error error = {.problems = problems, .policy = run->policy};
    if (run->plugin->configure == NULL)
        return WEIR_OK;
    blame_policy(built, BLAME_CONFIGURE);
    int failed = run->plugin->configure(run->policy->self, &error);
    blame_nobody(built);
    if (failed == 0 || error.count > 0)
        return WEIR_OK; /* complaints are errors in `problems` already */
    char text[256];
    (void)snprintf(text, sizeof(text), "plugin '%.*s' refuses its configuration",
                   SPAN_ARG(span_first(run->policy->name, 64)));
    tell(problems, PROBLEM_ERROR, run->policy, "config", text);
    return WEIR_OK;
}

/* The plugin was there when config asked for its table. A struct of another size would be written
 * past its end. */
static struct image *find_image(struct policies *policies, const struct policy *policy,
                                struct problems *problems)
{
    struct image_refusal refusal;
    struct image *image = catalog_find_image(policies->catalog, policy->name, &refusal);
    if (image != NULL && image_plugin(image)->self_size != policy->schema->self_size) {
        (void)snprintf(refusal.text, sizeof(refusal.text),
                       "plugin '%.*s': another build was checked",
                       SPAN_ARG(span_first(policy->name, 64)));
        image = NULL;
    }
    if (image == NULL)
        tell(problems, policy->optional ? PROBLEM_WARNING : PROBLEM_ERROR, policy, "name",
             refusal.text);
    return image;
}

static enum weir_err add_policy(struct policies *policies, const struct policy *policy,
                                struct problems *problems)
{
    if (!policy->enabled || policy->self == NULL) /* no self: left out with a warning by config */
        return WEIR_OK;
    struct image *image = find_image(policies, policy, problems);
    if (image == NULL)
        return WEIR_OK;
    bool quarantined = catalog_is_quarantined(policies->catalog, policy->name);
    const weir_plugin *plugin = quarantined
                                    ? quarantine_plugin(policies, image_plugin(image), policy)
                                    : image_plugin(image);
    if (plugin == NULL)
        return WEIR_ERR_NO_MEMORY;
    struct built_policy *built = &policies->items[policies->count];
    built->run = (struct running_policy){
        .policy = policy,
        .plugin = plugin,
        .quarantined = quarantined,
        .image = image,
        .row = image_row(image),
        .policies = policies,
        .fails_open = span_equal(policy->on_error, SPAN("open")),
        .index = (uint32_t)policies->count,
    };
    list_init(&built->handles);
    list_init(&built->peers);
    list_init(&built->files);
    policies->count++;
    built->run.row->policies++;
    struct running_policy *run = &built->run;
    memcpy((char *)policy->self - sizeof(run), &run, sizeof(run));
    TRY(order_read(policies, built, problems));
    return configure(built, problems);
}

/* ---- groups */

static int compare_groups(const void *a, const void *b)
{
    const struct plugin_group *left = a, *right = b;
    if (left->plugin->priority != right->plugin->priority)
        return left->plugin->priority > right->plugin->priority ? -1 : 1;
    return -span_compare(left->name, right->name);
}

static struct plugin_group *find_or_add_group(struct policies *policies, struct map *by_name,
                                              const struct running_policy *run)
{
    struct plugin_group *group = map_find(by_name, run->policy->name);
    if (group != NULL)
        return group;
    group = &policies->groups[policies->group_count];
    *group = (struct plugin_group){.name = run->policy->name, .plugin = run->plugin};
    if (map_add(by_name, group->name, group) != WEIR_OK)
        return NULL;
    policies->group_count++;
    return group;
}

static enum weir_err index_groups(struct policies *policies)
{
    AUTO(map_destroy) struct map *by_name = map_create(64);
    if (by_name == NULL)
        return WEIR_ERR_NO_MEMORY;
    for (uint32_t i = 0; i < policies->group_count; i++)
        TRY(map_add(by_name, policies->groups[i].name, &policies->groups[i]));
    for (size_t i = 0; i < policies->count; i++) {
        const struct plugin_group *group = map_find(by_name, policies->items[i].run.policy->name);
        CHECK_THAT(group != NULL);
        policies->items[i].group = (uint32_t)(group - policies->groups);
    }
    return WEIR_OK;
}

static enum weir_err make_groups(struct policies *policies)
{
    AUTO(map_destroy) struct map *by_name = map_create(64);
    struct arena *arena = policies->arena;
    size_t most = policies->count + 1;
    policies->groups = arena_array(arena, struct plugin_group, most);
    if (by_name == NULL || policies->groups == NULL)
        return WEIR_ERR_NO_MEMORY;
    for (size_t i = 0; i < policies->count; i++)
        if (find_or_add_group(policies, by_name, &policies->items[i].run) == NULL)
            return WEIR_ERR_NO_MEMORY;
    qsort(policies->groups, policies->group_count, sizeof(policies->groups[0]), compare_groups);
    size_t count = (size_t)policies->group_count + 1;
    policies->best = arena_array(arena, struct built_policy *, count);
    /* Layers: all policies of one plugin may be chosen at once. */
    policies->chosen = arena_array(arena, struct running_policy *, most);
    /* Kept and later members of different orders are never the same plugin. */
    policies->merged = arena_array(arena, struct running_policy *, most);
    if (policies->best == NULL || policies->chosen == NULL || policies->merged == NULL)
        return WEIR_ERR_NO_MEMORY;
    return index_groups(policies);
}

/* ---- the whole */

enum weir_err policies_create(struct arena *arena, struct plugin_host *host,
                              const struct config *config, struct catalog *catalog,
                              struct policies **out_policies)
{
    struct policies *policies = arena_new(arena, struct policies);
    if (policies == NULL)
        return WEIR_ERR_NO_MEMORY;
    policies->number = host->building;
    policies->arena = arena;
    policies->host = host;
    policies->config = config;
    policies->catalog = catalog;
    policies->overlays_max = OVERLAYS_MAX;
    policies->items = arena_array(arena, struct built_policy, config->policy_count + 1);
    policies->sets = map_create(64);
    policies->overlays = map_create(0);
    if (policies->items != NULL && policies->sets != NULL && policies->overlays != NULL) {
        *out_policies = policies;
        return WEIR_OK;
    }
    policies_free(policies);
    return WEIR_ERR_NO_MEMORY;
}

enum weir_err policies_configure(struct policies *policies, const struct slice *slice,
                                 struct problems *problems)
{
    const struct config *config = policies->config;
    while (policies->configured < config->policy_count) {
        TRY(add_policy(policies, config->policies[policies->configured++], problems));
        if (slice_is_over(slice))
            return WEIR_ERR_AGAIN;
    }
    return WEIR_OK;
}

enum weir_err policies_index(struct policies *policies, struct problems *problems)
{
    TRY(make_groups(policies));
    if (policies->group_count >= UINT16_MAX)
        return WEIR_ERR_LIMIT;
    TRY(scopes_index(policies));
    TRY(chains_build(policies, problems));
    return credentials_index(policies);
}

static enum weir_err fill(struct policies *policies, struct problems *problems)
{
    const struct slice endless = slice_endless();
    size_t errors = problems_errors(problems);
    TRY(policies_configure(policies, &endless, problems));
    TRY(policies_index(policies, problems));
    TRY(policies_check(policies, &endless, problems));
    return problems_errors(problems) > errors ? WEIR_ERR_CONFIG : WEIR_OK;
}

enum weir_err policies_build(struct arena *arena, struct plugin_host *host,
                             const struct config *config, struct catalog *catalog,
                             struct problems *problems, struct policies **out_policies)
{
    struct policies *policies = NULL;
    TRY(policies_create(arena, host, config, catalog, &policies));
    enum weir_err err = fill(policies, problems);
    if (err == WEIR_OK)
        *out_policies = policies;
    else
        policies_stop(policies);
    return err;
}

static bool start_policy(const struct built_policy *built)
{
    const struct running_policy *run = &built->run;
    if (run->plugin->start == NULL)
        return true;
    blame_policy(built, BLAME_START);
    int failed = run->plugin->start(run->policy->self);
    blame_nobody(built);
    return failed == 0;
}

static void stop_policy(const struct built_policy *built)
{
    const struct running_policy *run = &built->run;
    if (!run->started || run->plugin->stop == NULL)
        return;
    blame_policy(built, BLAME_STOP);
    run->plugin->stop(run->policy->self);
    blame_nobody(built);
}

enum weir_err policies_start_some(struct policies *policies, const struct slice *slice, char *why,
                                  size_t why_size)
{
    while (policies->begun < policies->count) {
        struct running_policy *run = &policies->items[policies->begun].run;
        if (!start_policy(&policies->items[policies->begun])) {
            (void)snprintf(why, why_size, "plugin '%.*s' (%.*s): start() refused",
                           SPAN_ARG(span_first(run->policy->name, 64)),
                           SPAN_ARG(run->policy->path));
            return WEIR_ERR_REFUSED;
        }
        run->started = true;
        policies->begun++;
        if (slice_is_over(slice))
            return WEIR_ERR_AGAIN;
    }
    return WEIR_OK;
}

enum weir_err policies_start(struct policies *policies, char *why, size_t why_size)
{
    const struct slice endless = slice_endless();
    enum weir_err err = policies_start_some(policies, &endless, why, why_size);
    if (err != WEIR_OK)
        policies_stop(policies);
    return err;
}

enum weir_err policies_end(struct policies *policies, const struct slice *slice)
{
    /* The last started is the first to stop. */
    while (policies != NULL && policies->ended < policies->count) {
        struct built_policy *built = &policies->items[policies->count - ++policies->ended];
        stop_policy(built);
        built->run.started = false;
        built->run.row->policies--;
        policy_handles_end(built);
        policy_peers_end(built);
        policy_files_end(built);
        if (slice_is_over(slice))
            return WEIR_ERR_AGAIN;
    }
    return WEIR_OK;
}

void policies_free(struct policies *policies)
{
    if (policies == NULL)
        return;
    credentials_free(policies);
    map_destroy(TAKE(policies->sets));
    map_destroy(TAKE(policies->overlays));
}

void policies_stop(struct policies *policies)
{
    const struct slice endless = slice_endless();
    CHECK_THAT(policies_end(policies, &endless) == WEIR_OK);
    policies_free(policies);
}

uint64_t policies_number(const struct policies *policies)
{
    return policies->number;
}

const struct config *policies_config(const struct policies *policies)
{
    return policies->config;
}

size_t policies_count(const struct policies *policies)
{
    return policies->count;
}

const struct running_policy *policies_at(const struct policies *policies, size_t index)
{
    return &policies->items[index].run;
}
