/* Which policy of each plugin applies to a route, a service and a consumer: at most one, the one
 * with the most specific scope; of a layered plugin all of that scope that have instance names of
 * their own. Policies hang in one list each (of their consumer, else route, else
 * service, else the global one), so a choice looks at those that can apply and at no others. */
#include "plugin_host/policies.h"

enum { LAYERS_MAX = 64 };

static void link_policy(struct policies *policies, struct built_policy *policy)
{
    const struct policy *what = policy->run.policy;
    struct built_policy **list = &policies->globals;
    if (what->consumer != NULL) {
        struct consumer_scope *scope = &policies->consumers[what->consumer->index];
        scope->narrow = scope->narrow || what->route != NULL || what->service != NULL;
        list = &scope->first;
    } else if (what->route != NULL) {
        list = &policies->routes[what->route->index];
    } else if (what->service != NULL) {
        list = &policies->services[what->service->index];
    }
    policy->next = *list;
    *list = policy;
}

enum weir_err scopes_index(struct policies *policies)
{
    const struct config *config = policies->config;
    struct arena *arena = policies->arena;
    policies->services = arena_array(arena, struct built_policy *, config->service_count + 1);
    policies->routes = arena_array(arena, struct built_policy *, config->route_count + 1);
    policies->consumers = arena_array(arena, struct consumer_scope, config->consumer_count + 1);
    if (policies->services == NULL || policies->routes == NULL || policies->consumers == NULL)
        return WEIR_ERR_NO_MEMORY;
    /* Backwards: lists are in the order of the file then, and the first of equals stays. */
    for (size_t i = policies->count; i-- > 0;)
        link_policy(policies, &policies->items[i]);
    return WEIR_OK;
}

/* Higher is more specific: Kong's eight scopes. */
static unsigned scope_rank(const struct policy *policy)
{
    static const unsigned char ranks[2][2][2] = {
        /* [consumer][route][service] */
        {{0, 1}, {2, 4}},
        {{3, 5}, {6, 7}},
    };
    return ranks[policy->consumer != NULL][policy->route != NULL][policy->service != NULL];
}

static void offer(struct policies *policies, struct built_policy *list, const struct route *route)
{
    const struct service *service = route == NULL ? NULL : route->service;
    for (struct built_policy *policy = list; policy != NULL; policy = policy->next) {
        const struct policy *what = policy->run.policy;
        if ((what->protocols & REQUEST_PROTOCOLS) == 0 ||
            (what->route != NULL && what->route != route) ||
            (what->service != NULL && what->service != service))
            continue;
        struct built_policy **best = &policies->best[policy->group];
        if (*best == NULL || scope_rank((*best)->run.policy) < scope_rank(what))
            *best = policy;
    }
}

static bool has_same_scope(const struct policy *a, const struct policy *b)
{
    return a->consumer == b->consumer && a->route == b->route && a->service == b->service;
}

static bool has_instance_name(const struct running_policy *const *members, size_t count,
                              struct span name)
{
    for (size_t i = 0; i < count; i++)
        if (span_equal(members[i]->policy->instance_name, name))
            return true;
    return false;
}

/* The best one and, of a layered plugin, its companions: they hang in the same list behind it,
 * which is in the order of the file. */
static size_t choose_layers(struct built_policy *best, struct running_policy **out)
{
    size_t count = 0;
    out[count++] = &best->run;
    if ((best->run.plugin->flags & WEIR_PLUGIN_LAYERED) == 0)
        return count;
    for (struct built_policy *policy = best->next; policy != NULL && count < LAYERS_MAX;
         policy = policy->next) {
        const struct policy *what = policy->run.policy;
        if (policy->group == best->group && (what->protocols & REQUEST_PROTOCOLS) != 0 &&
            has_same_scope(what, best->run.policy) &&
            !has_instance_name((const struct running_policy *const *)out, count,
                               what->instance_name))
            out[count++] = &policy->run;
    }
    return count;
}

size_t scopes_choose(struct policies *policies, const struct route *route,
                     const struct consumer *consumer, struct problems *problems,
                     struct running_policy **out)
{
    for (uint32_t i = 0; i < policies->group_count; i++)
        policies->best[i] = NULL;
    offer(policies, policies->globals, route);
    if (route != NULL && route->service != NULL)
        offer(policies, policies->services[route->service->index], route);
    if (route != NULL)
        offer(policies, policies->routes[route->index], route);
    if (consumer != NULL)
        offer(policies, policies->consumers[consumer->index].first, route);
    size_t count = 0;
    for (uint32_t i = 0; i < policies->group_count; i++)
        if (policies->best[i] != NULL)
            count += choose_layers(policies->best[i], out + count);
    order_members(out, count, problems);
    return count;
}
