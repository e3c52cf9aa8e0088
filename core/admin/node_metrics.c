#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "admin/node.h"
#include "base/auto.h"
#include "plugin_host/builds.h"
#include "plugin_host/metrics.h"

/* Names with kong_ are Kong's, so that its dashboards and alerts go on working; those with process_
 * are what every Prometheus client says; what neither has a word for begins with weir_. */

/* Of a worker's slot, where the total of it goes. */
static const struct {
    size_t from, to;
} sums[] = {
#define SUM(member)                                                                \
    {                                                                              \
        offsetof(struct worker_slot, member), offsetof(struct node_totals, member) \
    }
    SUM(accepted),        SUM(requests),        SUM(active),    SUM(connections),
    SUM(reading),         SUM(writing),         SUM(waiting),   SUM(limit_refusals),
    SUM(protocol_errors), SUM(target_failures), SUM(retries),   SUM(retries_refused),
    SUM(pool_reused),     SUM(pool_dialed),     SUM(tunnels),   SUM(header_refusals),
    SUM(memory_refusals), SUM(slow_clients),    SUM(displaced), SUM(accept_pauses),
#undef SUM
};

static uint64_t read_u64(const void *at, size_t offset)
{
    const uint64_t *value = (const void *)((const char *)at + offset);
    return __atomic_load_n(value, __ATOMIC_RELAXED);
}

struct node_totals node_totals(struct shared *shared)
{
    struct node_totals totals = {0};
    for (uint32_t i = 0; i < shared_workers(shared); i++) {
        const struct worker_slot *slot = shared_worker(shared, i);
        for (size_t k = 0; k < COUNT_OF(sums); k++) {
            uint64_t *to = (void *)((char *)&totals + sums[k].to);
            *to += read_u64(slot, sums[k].from);
        }
        totals.running += __atomic_load_n(&slot->pid, __ATOMIC_RELAXED) != 0;
    }
    return totals;
}

void node_id(char out[UUID_TEXT])
{
    static const struct span namespace_uuid = SPAN("0b7c8d52-5c0e-4f7e-9a4b-3f0c63a1e6d4");
    char name[256] = "localhost";
    if (gethostname(name, sizeof(name) - 1) != 0)
        (void)snprintf(name, sizeof(name), "localhost");
    uuid_v5(out, namespace_uuid, span_text(name));
}

/* --- families of one number --------------------------------------------------------------------
 */

static bool put_value(struct buf *out, const struct node_family *family, uint64_t value)
{
    buf_printf(out, "%s %" PRIu64 "\n", family->name, value);
    return false;
}

static bool of_totals(struct node_scrape *scrape, const struct node_family *family, struct buf *out)
{
    return put_value(out, family, read_u64(&scrape->totals, family->offset));
}

static bool of_usage(struct node_scrape *scrape, const struct node_family *family, struct buf *out)
{
    return put_value(out, family, read_u64(&scrape->usage, family->offset));
}

static bool of_facts(struct node_scrape *scrape, const struct node_family *family, struct buf *out)
{
    return put_value(out, family, read_u64(shared_facts(scrape->shared), family->offset));
}

static bool of_processes(struct node_scrape *scrape, const struct node_family *family,
                         struct buf *out)
{
    return put_value(out, family, read_u64(&scrape->sum, family->offset));
}

static bool wall_time(struct node_scrape *scrape, const struct node_family *family, struct buf *out)
{
    uint64_t ms = read_u64(shared_facts(scrape->shared), family->offset);
    buf_printf(out, "%s %" PRIu64 ".%03" PRIu64 "\n", family->name, ms / 1000, ms % 1000);
    return false;
}

/* --- Kong's ------------------------------------------------------------------------------------
 */

static bool datastore(struct node_scrape *scrape, const struct node_family *family, struct buf *out)
{
    (void)scrape;
    return put_value(out, family, 1);
}

static bool put_memory(struct node_scrape *scrape, const struct node_family *family,
                       struct buf *out, uint64_t bytes)
{
    buf_printf(out, "%s{node_id=\"%s\",shared_dict=\"weir\",kong_subsystem=\"http\"} %" PRIu64 "\n",
               family->name, scrape->id, bytes);
    return false;
}

static bool memory_used(struct node_scrape *scrape, const struct node_family *family,
                        struct buf *out)
{
    return put_memory(scrape, family, out, scrape->usage.used);
}

static bool memory_size(struct node_scrape *scrape, const struct node_family *family,
                        struct buf *out)
{
    return put_memory(scrape, family, out, scrape->usage.size);
}

static bool memory_workers(struct node_scrape *scrape, const struct node_family *family,
                           struct buf *out)
{
    for (uint32_t i = 0; i < shared_workers(scrape->shared); i++) {
        int32_t pid = __atomic_load_n(&shared_worker(scrape->shared, i)->pid, __ATOMIC_RELAXED);
        if (pid != 0)
            buf_printf(
                out, "%s{node_id=\"%s\",pid=\"%" PRId32 "\",kong_subsystem=\"http\"} %" PRIu64 "\n",
                family->name, scrape->id, pid, scrape->workers[i].resident);
    }
    return false;
}

static bool connections(struct node_scrape *scrape, const struct node_family *family,
                        struct buf *out)
{
    const struct node_totals *totals = &scrape->totals;
    const struct {
        const char *state;
        uint64_t value;
    } states[] = {
        {"accepted", totals->accepted}, {"active", totals->connections},
        {"handled", totals->accepted},  {"reading", totals->reading},
        {"total", totals->requests},    {"waiting", totals->waiting},
        {"writing", totals->writing},
    };
    for (size_t i = 0; i < COUNT_OF(states); i++)
        buf_printf(out, "%s{node_id=\"%s\",subsystem=\"http\",state=\"%s\"} %" PRIu64 "\n",
                   family->name, scrape->id, states[i].state, states[i].value);
    return false;
}

static bool requests(struct node_scrape *scrape, const struct node_family *family, struct buf *out)
{
    buf_printf(out, "%s{node_id=\"%s\",subsystem=\"http\"} %" PRIu64 "\n", family->name, scrape->id,
               scrape->totals.requests);
    return false;
}

static bool has_exporter(const struct node_scrape *scrape)
{
    return node_has_policy(scrape, SPAN("prometheus"), NULL);
}

static bool node_info(struct node_scrape *scrape, const struct node_family *family, struct buf *out)
{
    buf_printf(out, "%s{node_id=\"%s\",version=\"%s\"} 1\n", family->name, scrape->id,
               WEIR_VERSION);
    return false;
}

/* --- others ------------------------------------------------------------------------------------
 */

static bool cpu_seconds(struct node_scrape *scrape, const struct node_family *family,
                        struct buf *out)
{
    uint64_t ticks = scrape->sum.cpu_ticks, second = (uint64_t)sysconf(_SC_CLK_TCK);
    buf_printf(out, "%s %" PRIu64 ".%03" PRIu64 "\n", family->name, ticks / second,
               ticks % second * 1000 / second);
    return false;
}

static bool entities(struct node_scrape *scrape, const struct node_family *family, struct buf *out)
{
    const struct gateway_facts *facts = shared_facts(scrape->shared);
    const struct {
        const char *kind;
        uint32_t value;
    } rows[] = {
        {"consumers", facts->consumers}, {"policies", facts->policies},   {"routes", facts->routes},
        {"services", facts->services},   {"upstreams", facts->upstreams},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        buf_printf(out, "%s{kind=\"%s\"} %" PRIu32 "\n", family->name, rows[i].kind, rows[i].value);
    return false;
}

static bool draining(struct node_scrape *scrape, const struct node_family *family, struct buf *out)
{
    return put_value(out, family, shared_facts(scrape->shared)->draining);
}

static bool ready(struct node_scrape *scrape, const struct node_family *family, struct buf *out)
{
    return put_value(out, family, shared_facts(scrape->shared)->ready);
}

static bool workers(struct node_scrape *scrape, const struct node_family *family, struct buf *out)
{
    return put_value(out, family, scrape->totals.running);
}

static bool series_budget(struct node_scrape *scrape, const struct node_family *family,
                          struct buf *out)
{
    (void)scrape;
    return put_value(out, family, METRIC_SERIES_BUDGET);
}

/* A number out of the slot of each worker that runs. */
static bool of_workers(struct node_scrape *scrape, const struct node_family *family,
                       struct buf *out)
{
    for (uint32_t i = 0; i < shared_workers(scrape->shared); i++) {
        const struct worker_slot *slot = shared_worker(scrape->shared, i);
        if (__atomic_load_n(&slot->pid, __ATOMIC_RELAXED) != 0)
            buf_printf(out, "%s{worker=\"%" PRIu32 "\"} %" PRIu64 "\n", family->name, i,
                       read_u64(slot, family->offset));
    }
    return false;
}

/* --- all of them -------------------------------------------------------------------------------
 */

#define TOTAL(member) of_totals, offsetof(struct node_totals, member)
#define USAGE(member) of_usage, offsetof(struct shared_usage, member)
#define FACT(member) of_facts, offsetof(struct gateway_facts, member)
#define PROCESS(member) of_processes, offsetof(struct node_process, member)
#define BUILD(member) node_builds_number, offsetof(struct build_totals, member)
#define WORKER(member) of_workers, offsetof(struct worker_slot, member)
_Static_assert(sizeof(size_t) == sizeof(uint64_t), "numbers of struct shared_usage are read alike");

static const struct node_family families[] = {
    {"kong_datastore_reachable", "gauge", "Datastore reachable from the gateway, 0 is unreachable",
     NULL, datastore},
    {"kong_memory_lua_shared_dict_bytes", "gauge", "Used bytes of the shared memory", NULL,
     memory_used},
    {"kong_memory_lua_shared_dict_total_bytes", "gauge", "Total bytes of the shared memory", NULL,
     memory_size},
    {"kong_memory_workers_lua_vms_bytes", "gauge", "Resident memory of each worker", NULL,
     memory_workers},
    {"kong_nginx_connections_total", "gauge", "Number of connections by subsystem", NULL,
     connections},
    {"kong_nginx_metric_errors_total", "counter", "Metric updates that went to an overflow series",
     has_exporter, USAGE(overflows)},
    {"kong_nginx_requests_total", "gauge", "Total number of requests", NULL, requests},
    {"kong_node_info", "gauge", "Node metadata information", NULL, node_info},
    {"kong_upstream_target_health", "gauge", "1 for the state that a target of an upstream is in",
     node_targets_wanted, node_targets_render},
    {"process_cpu_seconds_total", "counter",
     "CPU time of master and workers in user and system mode", NULL, cpu_seconds},
    {"process_max_fds", "gauge", "File descriptors that master and workers may open", NULL,
     PROCESS(files_max)},
    {"process_open_fds", "gauge", "File descriptors that master and workers have open", NULL,
     PROCESS(files)},
    {"process_resident_memory_bytes", "gauge", "Resident memory of master and workers", NULL,
     PROCESS(resident)},
    {"process_start_time_seconds", "gauge", "When the gateway was started, since the epoch", NULL,
     wall_time, offsetof(struct gateway_facts, started_wall_ms)},
    {"process_virtual_memory_bytes", "gauge", "Virtual memory of master and workers", NULL,
     PROCESS(virtual_bytes)},
    {"weir_accept_pauses_total", "counter",
     "Times that accepting stood still for want of descriptors or memory", NULL,
     TOTAL(accept_pauses)},
    {"weir_config_generation", "gauge", "Number of the configuration that serves", NULL,
     FACT(generation)},
    {"weir_dictionaries", "gauge", "Dictionaries of policies in shared memory", NULL,
     USAGE(dictionaries)},
    {"weir_dictionary_evictions_total", "counter",
     "Dictionary entries that made room before their end", NULL, USAGE(evictions)},
    {"weir_displaced_connections_total", "counter",
     "Client connections that only waited and were closed for others to have room", NULL,
     TOTAL(displaced)},
    {"weir_draining", "gauge", "1 from the signal to stop on", NULL, draining},
    {"weir_entities", "gauge", "Entities of the configuration that serves", NULL, entities},
    {"weir_exchanges_active", "gauge", "Requests in flight", NULL, TOTAL(active)},
    {"weir_last_reload_timestamp_seconds", "gauge", "When the configuration was last replaced",
     NULL, wall_time, offsetof(struct gateway_facts, last_reload_wall_ms)},
    {"weir_limit_refusals_total", "counter",
     "Connections and requests refused because a limit was reached", NULL, TOTAL(limit_refusals)},
    {"weir_lock_recoveries_total", "counter",
     "Locks in shared memory taken over from a dead worker", NULL, USAGE(recoveries)},
    {"weir_memory_refusals_total", "counter",
     "Of weir_limit_refusals_total those because of max_memory", NULL, TOTAL(memory_refusals)},
    {"weir_metric_overflows_total", "counter", "Metric updates that went to an overflow series",
     NULL, USAGE(overflows)},
    {"weir_metric_series", "gauge", "Metric series in shared memory", NULL, USAGE(series)},
    {"weir_metric_series_limit", "gauge",
     "Series that a family may have before its overflow series, unless its policy says otherwise",
     NULL, series_budget},
    {"weir_plugin_arena_bytes_total", "counter",
     "Memory that policies of a build took for single requests", node_builds_wanted,
     BUILD(arena_bytes)},
    {"weir_plugin_build_info", "gauge", "1 for each build of a plugin that is or was loaded",
     node_builds_wanted, node_builds_info},
    {"weir_plugin_calls_total", "counter", "Calls of hooks that have returned, by their verdict",
     node_builds_wanted, node_builds_calls},
    {"weir_plugin_exchange_seconds_total", "counter",
     "Time from first to last byte of the requests in weir_plugin_exchanges_total",
     node_builds_wanted, node_builds_latency},
    {"weir_plugin_exchanges_active", "gauge", "Requests in flight that a build has a policy for",
     node_builds_wanted, BUILD(in_flight)},
    {"weir_plugin_exchanges_total", "counter", "Requests that a build had a policy for",
     node_builds_wanted, BUILD(exchanges)},
    {"weir_plugin_images", "gauge", "Workers that have a build loaded", node_builds_wanted,
     BUILD(loaded)},
    {"weir_plugin_images_pinned", "gauge", "Workers that have a build loaded and cannot unload it",
     node_builds_wanted, BUILD(pinned)},
    {"weir_plugin_policies", "gauge", "Policies of a build in the configurations of all workers",
     node_builds_wanted, BUILD(policies)},
    {"weir_plugin_quarantined", "gauge",
     "1 for each build that was taken out of service because it ended workers",
     node_quarantine_wanted, node_quarantine_render},
    {"weir_plugin_rollbacks_total", "counter", "Plugins that went back to their previous build",
     NULL, FACT(rollbacks)},
    {"weir_plugin_seconds_total", "counter",
     "Time in hooks, estimated from the calls of every 64th request", node_builds_wanted,
     node_builds_seconds},
    {"weir_plugin_server_errors_total", "counter",
     "Requests in weir_plugin_exchanges_total that were answered with 500 or above",
     node_builds_wanted, BUILD(server_errors)},
    {"weir_plugin_suspended", "gauge", "Hooks that wait to be woken", node_builds_wanted,
     BUILD(suspended)},
    {"weir_plugin_swap_failures_total", "counter", "Swaps and rollbacks that were refused", NULL,
     FACT(swap_failures)},
    {"weir_plugin_swaps_total", "counter", "Plugins whose build was swapped", NULL, FACT(swaps)},
    {"weir_pool_dialed_total", "counter", "Target connections that were dialed", NULL,
     TOTAL(pool_dialed)},
    {"weir_pool_reused_total", "counter", "Requests sent over a kept target connection", NULL,
     TOTAL(pool_reused)},
    {"weir_protocol_errors_total", "counter", "Requests that were no valid HTTP", NULL,
     TOTAL(protocol_errors)},
    {"weir_proxy_header_refusals_total", "counter",
     "Connections refused for want of the PROXY header that their listener expects", NULL,
     TOTAL(header_refusals)},
    {"weir_ready", "gauge", "1 once every worker serves", NULL, ready},
    {"weir_reload_failures_total", "counter", "Reloads that were refused", NULL,
     FACT(reload_failures)},
    {"weir_reloads_total", "counter", "Reloads that were committed", NULL, FACT(reloads)},
    {"weir_retries_refused_total", "counter",
     "Retries that were not made because the budget of their service was spent", NULL,
     TOTAL(retries_refused)},
    {"weir_retries_total", "counter", "Attempts after the first of a request", NULL,
     TOTAL(retries)},
    {"weir_shared_memory_bytes", "gauge", "Size of the shared memory", NULL, USAGE(size)},
    {"weir_shared_memory_used_bytes", "gauge", "Used part of the shared memory", NULL, USAGE(used)},
    {"weir_slow_clients_total", "counter",
     "Requests ended because their client was late or too slow", NULL, TOTAL(slow_clients)},
    {"weir_start_time_seconds", "gauge", "When the gateway was started", NULL, wall_time,
     offsetof(struct gateway_facts, started_wall_ms)},
    {"weir_target_failures_total", "counter", "Attempts that a target failed", NULL,
     TOTAL(target_failures)},
    {"weir_tunnels_active", "gauge",
     "Of the requests in flight, those that have switched protocols", NULL, TOTAL(tunnels)},
    {"weir_worker_connections", "gauge", "Client connections of a worker", NULL,
     WORKER(connections)},
    {"weir_worker_connections_max", "gauge", "Client connections that a worker may have", NULL,
     WORKER(connections_max)},
    {"weir_worker_exchanges_active", "gauge", "Requests in flight in a worker", NULL,
     WORKER(active)},
    {"weir_worker_generation", "gauge", "Number of the configuration a worker serves", NULL,
     WORKER(generation)},
    {"weir_worker_memory_bytes", "gauge", "Memory of a worker for requests, as max_memory counts",
     NULL, WORKER(memory)},
    {"weir_worker_requests_total", "counter", "Requests that a worker has taken", NULL,
     WORKER(requests)},
    {"weir_worker_restarts_total", "counter", "Workers that died and were replaced", NULL,
     FACT(worker_restarts)},
    {"weir_workers", "gauge", "Workers running", NULL, workers},
};

const struct node_family *node_families(size_t *out_count)
{
    *out_count = COUNT_OF(families);
    return families;
}
