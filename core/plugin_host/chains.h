/* Which policies run for a request, compiled when a generation is built. Of every plugin at most
 * one policy runs: the one with the most specific scope (Kong's eight). For each phase there is one
 * contiguous array with only those that hook it. Routes with the same policies share a set. */
#ifndef WEIR_PLUGIN_HOST_CHAINS_H
#define WEIR_PLUGIN_HOST_CHAINS_H

#include <weir/weir.h>

#include "base/auto.h"
#include "base/slice.h"
#include "config/entities.h"
#include "plugin_host/catalog.h"

struct build_totals; /* builds.h */
struct plugin_host;
struct policies;
struct problems;

enum phase {
    PHASE_REWRITE,
    PHASE_ACCESS,
    PHASE_REQUEST_BODY,
    PHASE_UPSTREAM,
    PHASE_RESPONSE_HEADERS,
    PHASE_RESPONSE_BODY,
    PHASE_LOG,
    PHASE_COUNT,
};
const char *phase_name(enum phase phase); /* "access" */

/* One configured policy as the host runs it; found from its `self` by policy_of_self(). */
struct running_policy {
    const struct policy *policy;
    const weir_plugin *plugin; /* of the image; its functions may be NULL */
    struct image *image;
    struct policies *policies;
    bool fails_open;  /* on_error: open */
    bool quarantined; /* its build is: nothing of the plugin runs, see quarantine.c */
    bool started;
    uint32_t index;           /* within the generation */
    struct build_totals *row; /* what this worker counts for its build; never NULL */
};

struct chain_entry {
    union {
        weir_hook *hook;           /* REWRITE, ACCESS, UPSTREAM, RESPONSE_HEADERS */
        weir_body_hook *body_hook; /* REQUEST_BODY, RESPONSE_BODY */
        void (*log_hook)(weir_request *request, void *self, void *context);
    } run;
    void *self;
    struct running_policy *policy;
    uint16_t slot; /* of its context, and its rank among the members of the set */
};

struct chain {
    const struct chain_entry *entries;
    uint16_t count;
};

struct chain_set {
    struct chain phases[PHASE_COUNT]; /* PHASE_REWRITE only in the global set */
    uint8_t body_need[2];  /* by enum direction: the most any member needs, WEIR_BODY_… */
    uint16_t member_count; /* policies, highest priority first */
    struct running_policy *const *members;
    struct build_totals *const *rows; /* of the members' builds, each once */
    uint16_t row_count;
    uint32_t context_bytes; /* of all members, each rounded up to 16 */
};

/* Make the policies of a configuration: for each enabled one find the image, run configure(), then
 * compile the chains and index credentials. Errors become problems at the policy's place in the
 * file (WEIR_ERR_CONFIG); an `optional` policy whose plugin is missing is left out with a warning.
 * Everything lies in `arena`. `catalog` is the one the configuration was built with. */
WEIR_MUST_USE enum weir_err policies_build(struct arena *arena, struct plugin_host *host,
                                           const struct config *config, struct catalog *catalog,
                                           struct problems *problems,
                                           struct policies **out_policies);
/* start() of every policy; the first that refuses stops those already started. `why` says which. */
WEIR_MUST_USE enum weir_err policies_start(struct policies *policies, char *why, size_t why_size);
/* stop() of those that were started, their timers and watches end; what lies outside the arena is
 * freed, so every build needs it, started or not. Twice is fine, and so is NULL. Then the images
 * can go. No request may use the policies any more. */
void policies_stop(struct policies *policies);

/* The same in pieces, for one who cannot stop serving meanwhile, in this order: AGAIN says that the
 * slice is over. policies_index() alone runs no code of plugins, on any thread. Problems are told,
 * they end nothing. */
WEIR_MUST_USE enum weir_err policies_create(struct arena *arena, struct plugin_host *host,
                                            const struct config *config, struct catalog *catalog,
                                            struct policies **out_policies);
WEIR_MUST_USE enum weir_err policies_configure(struct policies *policies, const struct slice *slice,
                                               struct problems *problems);
WEIR_MUST_USE enum weir_err policies_index(struct policies *policies, struct problems *problems);
/* Each credential as its plugin sees it; what is wrong becomes a problem at its place. */
WEIR_MUST_USE enum weir_err policies_check(struct policies *policies, const struct slice *slice,
                                           struct problems *problems);
/* start(); after a refusal policies_end() stops those that were started. */
WEIR_MUST_USE enum weir_err policies_start_some(struct policies *policies,
                                                const struct slice *slice, char *why,
                                                size_t why_size);
/* The two parts of policies_stop(): stop() and what policies hold of the host; then memory, on any
 * thread and whether the images are still there or not. NULL is fine. */
WEIR_MUST_USE enum weir_err policies_end(struct policies *policies, const struct slice *slice);
void policies_free(struct policies *policies);

/* `to` is about to take the place of `from`: policies that are in both (by plugin and id) hand over
 * what they export. */
void policies_hand_over(struct policies *from, struct policies *to);

/* What runs when no route is known: global policies only. Never NULL. */
const struct chain_set *policies_global(const struct policies *policies);
/* Of a route. Whether a request came over TLS makes no difference: the `protocols` of a policy only
 * keep those of streams out. Never NULL. */
const struct chain_set *policies_route(const struct policies *policies, const struct route *route);
/* The set to go on with once `consumer` is known at member `rank` of `set`: members up to it stay,
 * later ones are chosen again with the consumer's scopes. `set` itself when nothing changes. Made
 * once and cached, the cache is bounded; `arena` takes those beyond. NULL without memory. */
const struct chain_set *policies_consumer(struct policies *policies, const struct chain_set *set,
                                          const struct route *route,
                                          const struct consumer *consumer, uint16_t rank,
                                          struct arena *arena);

/* `kind` counts within the plugin of the policy. One hash probe and a compare in constant time;
 * NULL: none, or its ttl has ended. */
const struct credential *policies_credential(const struct running_policy *policy, uint32_t kind,
                                             struct span key);
uint64_t policies_number(const struct policies *policies); /* of the configuration */
const struct config *policies_config(const struct policies *policies);
size_t policies_count(const struct policies *policies);
const struct running_policy *policies_at(const struct policies *policies, size_t index);

/* WEIR_BODY_…: the one that wants more of a body. */
uint8_t chain_stronger_need(uint8_t a, uint32_t b);

/* The host's record in front of a policy's struct (config/entities.h: POLICY_PREFIX). */
static inline struct running_policy *policy_of_self(const void *self)
{
    struct running_policy *policy;
    memcpy(&policy, (const char *)self - sizeof(policy), sizeof(policy));
    return policy;
}

#endif
