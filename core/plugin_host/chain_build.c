/* Sets of policies and their chains. Equal member lists share one set: 50,000 routes that only have
 * the global policies cost one. */
#include "plugin_host/policies.h"

static uint32_t round_context(uint32_t size)
{
    return (size + 15U) & ~15U;
}

/* ---- one set */

/* The hook of `plugin` for `phase`, not set when it has none. */
static bool find_hook(const weir_plugin *plugin, enum phase phase, struct chain_entry *out)
{
    weir_hook *hook = NULL;
    weir_body_hook *body_hook = NULL;
    switch (phase) {
    case PHASE_REWRITE:
        hook = plugin->rewrite;
        break;
    case PHASE_ACCESS:
        hook = plugin->access;
        break;
    case PHASE_UPSTREAM:
        hook = plugin->upstream;
        break;
    case PHASE_RESPONSE_HEADERS:
        hook = plugin->response_headers;
        break;
    case PHASE_REQUEST_BODY: /* without a need it is not shown chunks that others asked for */
        body_hook = plugin->request_body_need == WEIR_BODY_NONE ? NULL : plugin->request_body;
        break;
    case PHASE_RESPONSE_BODY:
        body_hook = plugin->response_body_need == WEIR_BODY_NONE ? NULL : plugin->response_body;
        break;
    case PHASE_LOG:
        out->run.log_hook = plugin->log;
        return plugin->log != NULL;
    case PHASE_COUNT:
        break;
    }
    if (body_hook != NULL)
        out->run.body_hook = body_hook;
    else
        out->run.hook = hook;
    return hook != NULL || body_hook != NULL;
}

static size_t fill_phase(const struct chain_set *set, enum phase phase, struct chain_entry *out)
{
    size_t count = 0;
    for (uint16_t rank = 0; rank < set->member_count; rank++) {
        struct running_policy *policy = set->members[rank];
        struct chain_entry entry = {.self = policy->policy->self, .policy = policy, .slot = rank};
        if (!find_hook(policy->plugin, phase, &entry))
            continue;
        if (out != NULL)
            out[count] = entry;
        count++;
    }
    return count;
}

static bool fill_phases(struct chain_set *set, struct arena *arena, bool with_rewrite)
{
    size_t total = 0;
    for (unsigned phase = 0; phase < PHASE_COUNT; phase++)
        if (phase != PHASE_REWRITE || with_rewrite)
            set->phases[phase].count = (uint16_t)fill_phase(set, (enum phase)phase, NULL);
    for (unsigned phase = 0; phase < PHASE_COUNT; phase++)
        total += set->phases[phase].count;
    struct chain_entry *entries = total == 0 ? NULL : arena_array(arena, struct chain_entry, total);
    if (entries == NULL)
        return total == 0;
    for (unsigned phase = 0; phase < PHASE_COUNT; phase++) {
        if (set->phases[phase].count == 0)
            continue;
        set->phases[phase].entries = entries;
        entries += fill_phase(set, (enum phase)phase, entries);
    }
    return true;
}

/* The stronger of two needs; one from the future is taken for the strongest. */
uint8_t chain_stronger_need(uint8_t a, uint32_t b)
{
    static const uint8_t strength[] = {
        [WEIR_BODY_NONE] = 0,
        [WEIR_BODY_TEE] = 1,
        [WEIR_BODY_STREAM] = 2,
        [WEIR_BODY_BUFFER] = 3,
    };
    if (b >= COUNT_OF(strength))
        return WEIR_BODY_BUFFER;
    return strength[b] > strength[a] ? (uint8_t)b : a;
}

/* Two policies of one build count an exchange once. */
static bool fill_rows(struct chain_set *set, struct arena *arena)
{
    struct build_totals **rows =
        arena_array(arena, struct build_totals *, (size_t)set->member_count + 1);
    if (rows == NULL)
        return false;
    for (uint16_t rank = 0; rank < set->member_count; rank++) {
        uint16_t at = 0;
        while (at < set->row_count && rows[at] != set->members[rank]->row)
            at++;
        rows[at] = set->members[rank]->row;
        if (at == set->row_count)
            set->row_count++;
    }
    set->rows = rows;
    return true;
}

static struct chain_set *make_set(struct arena *arena, struct span members, bool with_rewrite)
{
    struct chain_set *set = arena_new(arena, struct chain_set);
    if (set == NULL)
        return NULL;
    set->member_count = (uint16_t)(members.size / sizeof(set->members[0]));
    set->members = (struct running_policy *const *)(const void *)members.data;
    for (uint16_t rank = 0; rank < set->member_count; rank++) {
        const weir_plugin *plugin = set->members[rank]->plugin;
        set->context_bytes += round_context(plugin->context_size);
        set->body_need[0] = chain_stronger_need(set->body_need[0], plugin->request_body_need);
        set->body_need[1] = chain_stronger_need(set->body_need[1], plugin->response_body_need);
    }
    return fill_rows(set, arena) && fill_phases(set, arena, with_rewrite) ? set : NULL;
}

const struct chain_set *set_of_members(struct policies *policies, struct arena *arena,
                                       struct running_policy *const *members, size_t count,
                                       enum set_place place)
{
    /* An empty list is a key as well: it needs an address. */
    struct span key = span_of((const char *)members, count * sizeof(members[0]));
    const struct chain_set *known = map_find(policies->sets, key);
    if (known != NULL)
        return known;
    struct running_policy **copy = arena_array(arena, struct running_policy *, count + 1);
    if (copy == NULL)
        return NULL;
    for (size_t i = 0; i < count; i++)
        copy[i] = members[i];
    key.data = (const char *)copy;
    struct chain_set *set = make_set(arena, key, place == SET_GLOBAL);
    if (set == NULL || (place != SET_ALONE && map_add(policies->sets, key, set) != WEIR_OK))
        return NULL;
    return set;
}

/* ---- all routes */

static const struct chain_set *build_route(struct policies *policies, const struct route *route,
                                           struct problems *problems)
{
    size_t count = scopes_choose(policies, route, NULL, problems, policies->chosen);
    return set_of_members(policies, policies->arena, policies->chosen, count, SET_SHARED);
}

enum weir_err chains_build(struct policies *policies, struct problems *problems)
{
    const struct config *config = policies->config;
    size_t count = scopes_choose(policies, NULL, NULL, problems, policies->chosen);
    policies->global =
        set_of_members(policies, policies->arena, policies->chosen, count, SET_GLOBAL);
    policies->route_sets =
        arena_array(policies->arena, const struct chain_set *, config->route_count + 1);
    if (policies->global == NULL || policies->route_sets == NULL)
        return WEIR_ERR_NO_MEMORY;
    for (size_t i = 0; i < config->route_count; i++) {
        policies->route_sets[i] = build_route(policies, config->routes[i], problems);
        if (policies->route_sets[i] == NULL)
            return WEIR_ERR_NO_MEMORY;
    }
    return WEIR_OK;
}

const struct chain_set *policies_global(const struct policies *policies)
{
    return policies->global;
}

const struct chain_set *policies_route(const struct policies *policies, const struct route *route)
{
    return policies->route_sets[route->index];
}
