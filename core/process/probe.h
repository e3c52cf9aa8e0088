/* The probe child: a short-lived process that loads the plugins and compiles a configuration before
 * any worker hears of it. Whatever it does (crash, hang, refuse) is a result, never an accident.
 * What it loaded is left in the prefix's builds/N (prefix.h), for the workers to load exactly that.
 * [master] */
#ifndef WEIR_PROCESS_PROBE_H
#define WEIR_PROCESS_PROBE_H

#include <sys/types.h>

#include "gateway/generation.h"
#include "process/instance.h"
#include "process/ledger.h"

struct loop;
struct probe;

/* The builds of a configuration, and which one a policy is: blame in shared memory is an index of
 * policies. */
struct manifest_build {
    char name[64], version[32];
    struct build_hash hash;
    char text[128]; /* "tenant-quota 1.0.1 (build 9f3c01ab22d0)" */
    uint32_t policies;
    bool pinned;      /* cannot be unloaded */
    bool quarantined; /* its policies do not run */
};
struct manifest {
    uint64_t number; /* of the configuration */
    struct manifest_build *builds;
    uint16_t *policies; /* policy -> builds */
    uint32_t build_count, policy_count;
};
void manifest_free(struct manifest *manifest);
/* The build of a plugin, NULL: no policy uses it. */
const struct manifest_build *manifest_find(const struct manifest *manifest, const char *plugin);

struct probe_facts { /* of a good configuration */
    uint32_t services, routes, consumers, upstreams, policies;
    uint32_t log_level;
    char hash[32]; /* hex, not terminated */
};

struct probe_result {
    int code;         /* EXIT_… */
    struct span text; /* problems and warnings, or what happened to it; lives for the call */
    struct probe_facts facts;
    struct manifest manifest; /* taken by the receiver: zero it there, else it is freed */
};

/* `plugins` says where builds are found, beside plugin_path; borrowed until this returns.
 * `forget` runs in the child and gives up what is the master's (its loop, sockets, channels).
 * `done` is called once, from the loop, and the probe is gone then. NULL with a sentence in `why`.
 */
WEIR_MUST_USE struct probe *probe_start(struct instance *instance, struct loop *loop,
                                        const struct revision *revision,
                                        const struct plugin_sources *plugins,
                                        void (*forget)(void *user),
                                        void (*done)(struct probe_result *result, void *user),
                                        void *user, char *why, size_t why_size);
/* A child ended: true when it was this one (`done` may have been called). NULL is fine. */
bool probe_reaped(struct probe *probe, pid_t pid, int status);
/* Kill it; `done` will not be called. NULL is fine. */
void probe_cancel(struct probe *probe);
/* In a child: the master's probe is none of its business. */
void probe_forget(struct probe *probe);

/* What runs in the child, without the fork: the exit code, the report in `out`. */
int probe_compile(struct instance *instance, const struct revision *revision,
                  const struct plugin_sources *plugins, struct shared *shared,
                  struct buf *out_report);
/* False: no whole report. */
WEIR_MUST_USE bool probe_parse(struct span report, struct probe_result *out_result);

#endif
