/* `ordering: {before: {access: [names]}, after: {access: [names]}}` of a policy: it runs before or
 * after the named plugins whatever their priorities say. One order holds for all phases. */
#include <stdio.h>

#include "plugin_host/policies.h"

/* ---- reading */

static void tell(const struct built_policy *policy, struct problems *problems,
                 struct position position, const char *below, const char *text)
{
    char path[512];
    (void)snprintf(path, sizeof(path), "%.*s.ordering%s%s", SPAN_ARG(policy->run.policy->path),
                   below[0] == '\0' ? "" : ".", below);
    problem_add(problems, PROBLEM_ERROR, position, path, "%s", text);
}

static enum weir_err read_names(struct policies *policies, const struct built_policy *policy,
                                struct problems *problems, const struct member *side,
                                const struct span **out_names, uint32_t *out_count)
{
    const struct node *phases = side->value;
    if (node_is_null(phases))
        return WEIR_OK;
    char below[64];
    if (phases->kind != NODE_MAP) {
        tell(policy, problems, phases->position, side->key->text.data, "expected a record");
        return WEIR_OK;
    }
    for (size_t i = 0; i < phases->count; i++) {
        const struct member *phase = &phases->members[i];
        (void)snprintf(below, sizeof(below), "%s.%.32s", side->key->text.data,
                       phase->key->text.data);
        if (!span_equal(phase->key->text, SPAN("access"))) {
            tell(policy, problems, phase->key->position, below, "unknown field");
            continue;
        }
        const struct node *list = phase->value;
        if (node_is_null(list))
            continue;
        if (list->kind != NODE_LIST) {
            tell(policy, problems, list->position, below, "expected an array");
            continue;
        }
        struct span *names = arena_array(policies->arena, struct span, list->count + 1);
        if (names == NULL)
            return WEIR_ERR_NO_MEMORY;
        uint32_t count = 0;
        for (size_t at = 0; at < list->count; at++) {
            if (list->items[at]->kind != NODE_SCALAR)
                tell(policy, problems, list->items[at]->position, below, "expected a string");
            else if ((names[count] = arena_copy(policies->arena, list->items[at]->text)).data ==
                     NULL)
                return WEIR_ERR_NO_MEMORY;
            else
                count++;
        }
        *out_names = names;
        *out_count = count;
    }
    return WEIR_OK;
}

enum weir_err order_read(struct policies *policies, struct built_policy *policy,
                         struct problems *problems)
{
    const struct node *ordering = policy->run.policy->ordering;
    if (node_is_null(ordering))
        return WEIR_OK;
    if (ordering->kind != NODE_MAP) {
        tell(policy, problems, ordering->position, "", "expected a record");
        return WEIR_OK;
    }
    for (size_t i = 0; i < ordering->count; i++) {
        const struct member *side = &ordering->members[i];
        if (span_equal(side->key->text, SPAN("before")))
            TRY(read_names(policies, policy, problems, side, &policy->before,
                           &policy->before_count));
        else if (span_equal(side->key->text, SPAN("after")))
            TRY(read_names(policies, policy, problems, side, &policy->after, &policy->after_count));
        else
            tell(policy, problems, side->key->position, "", "unknown field");
    }
    policy->ordered = policy->before_count > 0 || policy->after_count > 0;
    return WEIR_OK;
}

/* ---- applying */

static bool names_plugin(const struct span *names, uint32_t count,
                         const struct running_policy *policy)
{
    for (uint32_t i = 0; i < count; i++)
        if (span_equal(names[i], policy->policy->name))
            return true;
    return false;
}

/* Must `first` run before `second`? */
static bool goes_before(const struct running_policy *first, const struct running_policy *second)
{
    const struct built_policy *a = built_of(first), *b = built_of(second);
    return names_plugin(a->before, a->before_count, second) ||
           names_plugin(b->after, b->after_count, first);
}

/* Index from `from` on of a member that must run before `one`; `count` when there is none. */
static size_t find_earlier(struct running_policy *const *members, size_t from, size_t count,
                           size_t one)
{
    for (size_t i = from; i < count; i++)
        if (i != one && goes_before(members[i], members[one]))
            return i;
    return count;
}

/* Does its own `after` keep it back? */
static bool is_held(struct running_policy *const *members, size_t from, size_t count, size_t one)
{
    const struct built_policy *policy = built_of(members[one]);
    for (size_t i = from; i < count && policy->after_count > 0; i++)
        if (i != one && names_plugin(policy->after, policy->after_count, members[i]))
            return true;
    return false;
}

/* Who of those from `from` on runs next. Those with an `after` let lower ones pass; those with a
 * `before` are pulled up, and whatever they need with them. `count`: they go round in a circle, and
 * *out_stuck is one of it. */
static size_t find_next(struct running_policy *const *members, size_t from, size_t count,
                        size_t *out_stuck)
{
    size_t one = from;
    while (one < count && is_held(members, from, count, one))
        one++;
    if (one == count)
        one = from;
    for (size_t steps = from; steps <= count; steps++) {
        size_t earlier = find_earlier(members, from, count, one);
        if (earlier == count)
            return one;
        one = earlier;
    }
    *out_stuck = one;
    return count;
}

/* At the first ordering of the circle that is met from `one` on. */
static void tell_circle(struct running_policy *const *members, size_t from, size_t count,
                        size_t one, struct problems *problems)
{
    while (!built_of(members[one])->ordered)
        one = find_earlier(members, from, count, one);
    struct built_policy *policy = built_of(members[one]);
    if (problems == NULL || policy->cycle_told)
        return;
    tell(policy, problems, policy->run.policy->ordering->position, "",
         "runs in a circle with the orderings of other plugins");
    policy->cycle_told = true;
}

void order_members(struct running_policy **members, size_t count, struct problems *problems)
{
    bool ordered = false;
    for (size_t i = 0; i < count; i++)
        ordered = ordered || built_of(members[i])->ordered;
    for (size_t at = 0; ordered && at < count; at++) {
        size_t stuck = at, next = find_next(members, at, count, &stuck);
        if (next == count) {
            tell_circle(members, at, count, stuck, problems);
            return;
        }
        struct running_policy *moved = members[next];
        memmove(&members[at + 1], &members[at], (next - at) * sizeof(struct running_policy *));
        members[at] = moved;
    }
}
