/* What policies of one generation hand over to those of the next, in one worker. */
#include "base/log.h"
#include "plugin_host/blame.h"
#include "plugin_host/calls.h"
#include "plugin_host/policies.h"
#include "plugin_host/table.h"

enum { VALUES_MAX = 4096, BYTES_MAX = 4 << 20 };

struct weir_state {
    struct arena *arena;
    struct map *values; /* key -> struct span */
    size_t bytes;
};

weir_status call_state_set(weir_state *state, weir_str key, weir_str value)
{
    struct span name = span_of_str(key);
    if (span_is_empty(name))
        return WEIR_INVALID;
    bool known = map_find(state->values, name) != NULL;
    if (name.size + value.size > BYTES_MAX - state->bytes ||
        (!known && map_count(state->values) == VALUES_MAX))
        return WEIR_FULL;
    struct span *copy = arena_new(state->arena, struct span);
    struct span key_copy = arena_copy(state->arena, name);
    if (copy == NULL || key_copy.data == NULL)
        return WEIR_NO_MEMORY;
    *copy = value.size == 0 ? SPAN("") : arena_copy(state->arena, span_of_str(value));
    if (copy->data == NULL)
        return WEIR_NO_MEMORY;
    state->bytes += name.size + value.size;
    return status_of(map_set(state->values, known ? name : key_copy, copy));
}

weir_str call_state_get(const weir_state *state, weir_str key)
{
    const struct span *value = map_find(state->values, span_of_str(key));
    return value == NULL ? (weir_str){NULL, 0} : str_of(*value);
}

void call_state_each(const weir_state *state, weir_state_visit *visit, void *user)
{
    size_t cursor = 0;
    struct span key;
    void *value;
    while (visit != NULL && map_next(state->values, &cursor, &key, &value))
        if (!visit(user, str_of(key), str_of(*(const struct span *)value)))
            return;
}

/* ---- from one generation to the next */

static bool same_policy(const struct running_policy *a, const struct running_policy *b)
{
    return span_equal(a->policy->id, b->policy->id) && span_equal(a->policy->name, b->policy->name);
}

/* Both lists are in the order of the file, so the partner is near where the last one was. */
static const struct built_policy *find_partner(const struct policies *from, size_t hint,
                                               const struct running_policy *wanted)
{
    for (size_t i = 0; i < from->count; i++) {
        const struct built_policy *built = &from->items[(hint + i) % from->count];
        if (same_policy(&built->run, wanted))
            return built;
    }
    return NULL;
}

static enum weir_err hand_over(const struct built_policy *from, const struct built_policy *to)
{
    AUTO(arena_destroy) struct arena *arena = arena_create(NULL);
    AUTO(map_destroy) struct map *values = map_create(16);
    struct weir_state state = {arena, values, 0};
    if (arena == NULL || values == NULL)
        return WEIR_ERR_NO_MEMORY;
    blame_policy(from, BLAME_EXPORT);
    from->run.plugin->export_state(from->run.policy->self, &state);
    blame_nobody(from);
    blame_policy(to, BLAME_IMPORT);
    to->run.plugin->import_state(to->run.policy->self, &state);
    blame_nobody(to);
    return WEIR_OK;
}

void policies_hand_over(struct policies *from, struct policies *to)
{
    for (size_t i = 0; i < to->count; i++) {
        const struct built_policy *built = &to->items[i];
        if (built->run.plugin->import_state == NULL || from->count == 0)
            continue;
        const struct built_policy *partner = find_partner(from, i, &built->run);
        if (partner == NULL || partner->run.plugin->export_state == NULL)
            continue;
        if (hand_over(partner, built) != WEIR_OK)
            log_error("plugin '%.*s': no memory to hand its state over, it begins anew",
                      SPAN_ARG(built->run.policy->name));
    }
}
