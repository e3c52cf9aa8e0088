/* Which routes tie, and which can no request reach? Only entries of the same host entry and the
 * same path are compared, each with a few that come before it: cheap, and it finds what people get
 * wrong (a route copied and not changed). */
#include <stdlib.h>

#include "config/problems.h"
#include "route/index.h"

#define NEIGHBOURS 8

struct pair {
    const struct route *first, *second;
};

struct review {
    const struct router *router;
    struct problems *problems;
    uint32_t *places;  /* by rank: nodes that list the entry */
    uint32_t *covered; /* by rank: nodes where an earlier entry takes all it could match */
    uint32_t *cover;   /* by rank: an entry that does */
    struct pair *ties; /* `most` of them */
    unsigned tie_count, most;
};

static struct span name_of(const struct route *route)
{
    return span_is_set(route->name) ? route->name : route->id;
}

static struct position position_of(const struct route *route)
{
    return route->node == NULL ? (struct position){0, 0} : route->node->position;
}

static bool shares_regex(const struct entry *a, const struct regex *regex)
{
    for (uint32_t i = 0; i < a->regex_count; i++) {
        if (a->regexes[i] == regex)
            return true;
    }
    return false;
}

/* Below one node plain paths are equal; of regexes only the same text is known to be. */
static bool paths_cover(const struct entry *a, const struct entry *b)
{
    if (a->regexes == NULL || b->regexes == NULL)
        return a->regexes == b->regexes;
    for (uint32_t i = 0; i < b->regex_count; i++) {
        if (!shares_regex(a, b->regexes[i]))
            return false;
    }
    return true;
}

static void note_tie(struct review *review, const struct entry *a, const struct entry *b)
{
    for (unsigned i = 0; i < review->tie_count; i++) {
        if (review->ties[i].first == a->route && review->ties[i].second == b->route)
            return;
    }
    if (review->tie_count < review->most)
        review->ties[review->tie_count++] = (struct pair){a->route, b->route};
}

static void compare(struct review *review, uint32_t rank_a, uint32_t rank_b, bool *covered)
{
    const struct entry *a = &review->router->entries[rank_a];
    const struct entry *b = &review->router->entries[rank_b];
    if (a->route == b->route || !paths_cover(a, b))
        return;
    if (!*covered && conditions_cover(a->conditions, b->conditions)) {
        *covered = true;
        review->covered[rank_b]++;
        review->cover[rank_b] = rank_a;
    } else if (a->priority == b->priority && conditions_overlap(a->conditions, b->conditions)) {
        note_tie(review, a, b);
    }
}

static void review_node(struct review *review, const struct tree_node *node)
{
    const uint32_t *ranks = review->router->paths.values + node->values;
    for (uint32_t i = 0; i < node->value_count; i++) {
        bool covered = false;
        review->places[ranks[i]]++;
        for (uint32_t j = i > NEIGHBOURS ? i - NEIGHBOURS : 0; j < i; j++)
            compare(review, ranks[j], ranks[i], &covered);
    }
}

static bool is_unreachable(const struct review *review, size_t rank)
{
    return review->covered[rank] != 0 && review->covered[rank] == review->places[rank];
}

static unsigned report_unreachable(const struct review *review)
{
    const struct entry *entries = review->router->entries;
    unsigned told = 0;
    for (size_t rank = 0; rank < review->router->entry_count && told < review->most; rank++) {
        if (!is_unreachable(review, rank))
            continue;
        const struct entry *entry = &entries[rank], *other = &entries[review->cover[rank]];
        const char *part = entry->regexes != NULL          ? " by its regex paths"
                           : entry->route->paths.count > 1 ? " by some of its paths"
                                                           : "";
        problem_add(review->problems, PROBLEM_WARNING, position_of(entry->route), "",
                    "route '%.*s' can never be reached%s: route '%.*s' matches the same requests "
                    "and is tried first%s",
                    SPAN_ARG(name_of(entry->route)), part, SPAN_ARG(name_of(other->route)),
                    entry->priority == other->priority ? " (they tie, ids decide)" : "");
        told++;
    }
    return told;
}

static void report_ties(const struct review *review, unsigned told)
{
    for (unsigned i = 0; i < review->tie_count && told < review->most; i++, told++) {
        const struct route *first = review->ties[i].first, *second = review->ties[i].second;
        problem_add(review->problems, PROBLEM_WARNING, position_of(second), "",
                    "routes '%.*s' and '%.*s' tie for some requests: '%.*s' takes them because of "
                    "its id",
                    SPAN_ARG(name_of(first)), SPAN_ARG(name_of(second)), SPAN_ARG(name_of(first)));
    }
}

enum weir_err index_warn(const struct router *router, struct problems *problems, unsigned most)
{
    size_t count = router->entry_count + 1;
    struct review review = {.router = router, .problems = problems, .most = most};
    review.places = calloc(count, sizeof(uint32_t));
    review.covered = calloc(count, sizeof(uint32_t));
    review.cover = calloc(count, sizeof(uint32_t));
    review.ties = calloc(most, sizeof(struct pair));
    enum weir_err err = WEIR_ERR_NO_MEMORY;
    if (review.places && review.covered && review.cover && review.ties) {
        for (uint32_t i = 0; i < router->paths.node_count; i++)
            review_node(&review, &router->paths.nodes[i]);
        report_ties(&review, report_unreachable(&review));
        err = WEIR_OK;
    }
    free(review.places);
    free(review.covered);
    free(review.cover);
    free(review.ties);
    return err;
}
