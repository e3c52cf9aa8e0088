/* What policies_build() makes and the files of the build share: policies.c (the whole and
 * configure()), scopes.c (which policy of a plugin applies), order.c (who runs before whom),
 * chain_build.c (sets of members and their chains), overlays.c (consumers), credentials.c. Internal
 * to core/plugin_host. */
#ifndef WEIR_PLUGIN_HOST_POLICIES_H
#define WEIR_PLUGIN_HOST_POLICIES_H

#include "base/arena.h"
#include "base/list.h"
#include "base/map.h"
#include "plugin_host/blame.h"
#include "plugin_host/chains.h"
#include "plugin_host/table.h"

enum { OVERLAYS_MAX = 65536 /* sets made for consumers and kept */ };

struct built_policy {
    struct running_policy run; /* first: a pointer to it is one to the whole */
    uint32_t group;
    struct built_policy *next; /* of the same consumer, else route, else service, else global */
    bool cycle_told;           /* its ordering: was refused already */
    bool ordered;              /* it has an ordering: */
    const struct span *before; /* plugins that run after it */
    const struct span *after;  /* plugins that run before it */
    uint32_t before_count, after_count;
    struct list handles; /* its timers and watches, see calls_process.c */
    struct list peers;   /* its streams and fetches, see calls_peers.c */
    struct list files;   /* see calls_files.c */
    uint16_t stream_count, fetch_count, file_count;
};

/* All policies of one plugin. Sorted as they run: priority, then name, both descending. */
struct plugin_group {
    struct span name;
    const weir_plugin *plugin;
    struct map **credentials; /* by kind: key -> struct credential; NULL ones are empty */
    uint32_t kind_count;      /* of them: they are freed when the plugin may be gone */
};

struct consumer_scope {
    struct built_policy *first; /* NULL: it has no policies, its requests run the route's set */
    bool narrow;                /* some of them name a route or a service as well */
};

struct policies {
    struct metric_use *metrics; /* opened by its policies, see calls_shared.c */
    uint64_t number;            /* of the configuration */
    struct arena *arena;        /* of the generation */
    struct plugin_host *host;
    const struct config *config;
    struct catalog *catalog;
    struct built_policy *items;
    size_t count;
    size_t configured, checked; /* how far: of the configuration's policies and credentials */
    size_t begun, ended;        /* how many of the items */
    struct plugin_group *groups;
    uint32_t group_count;

    struct built_policy *globals, **services, **routes; /* by index of the entity */
    struct consumer_scope *consumers;

    /* Scratch of one choice: a policy for each group or NULL, and what came of it. */
    struct built_policy **best;
    struct running_policy **chosen;
    struct running_policy **merged;

    struct map *sets;     /* members -> struct chain_set */
    struct map *overlays; /* struct overlay_key -> struct overlay, see overlays.c */
    size_t overlays_max;
    const struct chain_set *global;
    const struct chain_set **route_sets; /* by index of the route */
};

static inline struct built_policy *built_of(const struct running_policy *policy)
{
    return (struct built_policy *)(uintptr_t)policy;
}
static inline struct policies *policies_of_self(const void *self)
{
    return policy_of_self(self)->policies;
}

/* Around every call into a plugin that is not about an exchange: who is to blame if it does not
 * come back. */
static inline void blame_policy(const struct built_policy *policy, enum blame_place place)
{
    struct plugin_host *host = policy->run.policies->host;
    host->running = &policy->run;
    host->blame->phase = place;
    host->blame->policy_plus_one = policy->run.index + 1;
}
static inline void blame_nobody(const struct built_policy *policy)
{
    policy->run.policies->host->blame->policy_plus_one = 0;
}

/* quarantine.c: what runs instead of a plugin whose build is in quarantine: nothing, or an answer
 * that refuses. Lies in the generation's arena; NULL without memory. */
WEIR_MUST_USE const weir_plugin *quarantine_plugin(struct policies *policies,
                                                   const weir_plugin *plugin,
                                                   const struct policy *policy);

/* scopes.c */
WEIR_MUST_USE enum weir_err scopes_index(struct policies *policies);
/* The policies that apply, in running order, at `out` (room for all); returns how many.
 * `route` and `consumer` may be NULL. `problems` NULL: orderings that contradict each other are not
 * told. Policies only for streams are left out, see REQUEST_PROTOCOLS. */
size_t scopes_choose(struct policies *policies, const struct route *route,
                     const struct consumer *consumer, struct problems *problems,
                     struct running_policy **out);
/* Those of requests. A policy's `protocols` say in which part of Kong it is loaded, they are not
 * compared with the scheme of a request: a key asked for over TLS is asked for without it too. */
#define REQUEST_PROTOCOLS                                                                       \
    (PROTOCOL_BIT(PROTOCOL_HTTP) | PROTOCOL_BIT(PROTOCOL_HTTPS) | PROTOCOL_BIT(PROTOCOL_GRPC) | \
     PROTOCOL_BIT(PROTOCOL_GRPCS))

/* order.c */
/* Read `ordering:`; what is wrong with it becomes a problem. */
WEIR_MUST_USE enum weir_err order_read(struct policies *policies, struct built_policy *policy,
                                       struct problems *problems);
/* Apply the orderings of `members`, which are sorted by priority; those that contradict each other
 * are told (once each) and left as they are. */
void order_members(struct running_policy **members, size_t count, struct problems *problems);

/* chain_build.c */
enum set_place { SET_SHARED, SET_GLOBAL, SET_ALONE };
/* The set with these members: SET_SHARED finds or makes it in the generation; SET_GLOBAL has the
 * rewrite phase too; SET_ALONE finds or makes it in `arena` and leaves it there. NULL without
 * memory. */
const struct chain_set *set_of_members(struct policies *policies, struct arena *arena,
                                       struct running_policy *const *members, size_t count,
                                       enum set_place place);
/* Sets of all routes. */
WEIR_MUST_USE enum weir_err chains_build(struct policies *policies, struct problems *problems);

/* credentials.c */
WEIR_MUST_USE enum weir_err credentials_index(struct policies *policies);
void credentials_free(struct policies *policies);

/* calls_process.c: timers and watches of the policy end. */
void policy_handles_end(struct built_policy *policy);
/* calls_peers.c: its streams are closed, its fetches cancelled; nobody is told. */
void policy_peers_end(struct built_policy *policy);
/* calls_files.c: its files are closed; what waits for them is written without it. */
void policy_files_end(struct built_policy *policy);

#endif
