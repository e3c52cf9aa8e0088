/* What a known consumer changes: members of the set that have had their turn stay, later ones are
 * chosen again with the consumer's scopes. Made once for each (set, consumer, rank) and kept. */
#include "plugin_host/policies.h"

/* Routes share sets, so the route is part of the key, but only for consumers whose policies look at
 * it. */
struct overlay_key {
    const struct chain_set *set, *base;
    const struct consumer *consumer;
    const struct route *route;
    uint64_t rank;
};

struct overlay {
    struct overlay_key key;
    const struct chain_set *set;
};

static bool is_member(const struct chain_set *set, size_t from, size_t to, uint32_t group)
{
    for (size_t i = from; i < to; i++)
        if (built_of(set->members[i])->group == group)
            return true;
    return false;
}

/* The members of `set` up to `rank`, then those of `chosen` whose turn is still to come; returns
 * how many there are in policies->merged. */
static size_t merge(struct policies *policies, const struct chain_set *set, uint16_t rank,
                    struct running_policy *const *chosen, size_t chosen_count)
{
    size_t count = 0, turn = 0;
    uint32_t group = built_of(set->members[rank])->group;
    for (; count <= rank; count++)
        policies->merged[count] = set->members[count];
    while (turn < chosen_count && built_of(chosen[turn])->group != group)
        turn++;
    for (size_t i = 0; i < chosen_count; i++) {
        uint32_t next = built_of(chosen[i])->group;
        if (is_member(set, 0, (size_t)rank + 1, next))
            continue;
        /* An ordering may have moved a plugin before the turn that has not run yet: it still does.
         */
        if (i > turn || is_member(set, (size_t)rank + 1, set->member_count, next))
            policies->merged[count++] = chosen[i];
    }
    return count;
}

static const struct chain_set *make_overlay(struct policies *policies, const struct chain_set *set,
                                            const struct route *route,
                                            const struct consumer *consumer, uint16_t rank,
                                            struct arena *arena, enum set_place place)
{
    size_t count = scopes_choose(policies, route, consumer, NULL, policies->chosen);
    count = merge(policies, set, rank, policies->chosen, count);
    bool same = count == set->member_count;
    for (size_t i = 0; same && i < count; i++)
        same = policies->merged[i] == set->members[i];
    return same ? set : set_of_members(policies, arena, policies->merged, count, place);
}

/* Was `set` made for another consumer? */
static bool is_overlay(const struct chain_set *set)
{
    for (uint16_t i = 0; i < set->member_count; i++)
        if (set->members[i]->policy->consumer != NULL)
            return true;
    return false;
}

static const struct chain_set *
keep_overlay(struct policies *policies, const struct overlay_key *key, const struct route *route)
{
    struct overlay *overlay = arena_new(policies->arena, struct overlay);
    if (overlay == NULL)
        return NULL;
    overlay->key = *key;
    overlay->set = make_overlay(policies, key->set, route, key->consumer, (uint16_t)key->rank,
                                policies->arena, SET_SHARED);
    if (overlay->set == NULL)
        return NULL;
    struct span name = span_of((const char *)&overlay->key, sizeof(overlay->key));
    return map_add(policies->overlays, name, overlay) == WEIR_OK ? overlay->set : NULL;
}

const struct chain_set *policies_consumer(struct policies *policies, const struct chain_set *set,
                                          const struct route *route,
                                          const struct consumer *consumer, uint16_t rank,
                                          struct arena *arena)
{
    const struct consumer_scope *scope = &policies->consumers[consumer->index];
    const struct chain_set *base =
        route == NULL ? policies->global : policies_route(policies, route);
    if (LIKELY(scope->first == NULL && set == base))
        return set;
    if (rank >= set->member_count || (scope->first == NULL && !is_overlay(set)))
        return set;
    /* Without padding: the bytes are the key. */
    struct overlay_key key = {.set = set,
                              .base = base,
                              .consumer = consumer,
                              .route = scope->narrow ? route : NULL,
                              .rank = rank};
    _Static_assert(sizeof(key) == 5 * sizeof(uint64_t), "no padding in an overlay's key");
    const struct overlay *known =
        map_find(policies->overlays, span_of((const char *)&key, sizeof(key)));
    if (known != NULL)
        return known->set;
    if (map_count(policies->overlays) < policies->overlays_max)
        return keep_overlay(policies, &key, route);
    return make_overlay(policies, set, route, consumer, rank, arena, SET_ALONE);
}
