#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "admin/node.h"
#include "base/auto.h"

/* Names with kong_ are Kong's, so that its dashboards and alerts go on working; what Kong has no
 * word for begins with weir_. */

/* Of a worker's slot, where the total of it goes. */
static const struct {
    size_t from, to;
} sums[] = {
#define SUM(member)                                                                \
    {                                                                              \
        offsetof(struct worker_slot, member), offsetof(struct node_totals, member) \
    }
    SUM(accepted),        SUM(requests),        SUM(active),  SUM(connections),
    SUM(reading),         SUM(writing),         SUM(waiting), SUM(limit_refusals),
    SUM(protocol_errors), SUM(target_failures), SUM(retries), SUM(pool_reused),
    SUM(pool_dialed),
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

uint64_t node_resident(int32_t pid)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/%" PRId32 "/statm", pid);
    AUTO_BUF file = BUF_INIT;
    if (buf_read_file(&file, path, 4096) != WEIR_OK)
        return 0;
    struct span rest = buf_view(&file), size, resident;
    uint64_t pages = 0;
    if (!span_split(&rest, ' ', &size) || !span_split(&rest, ' ', &resident) ||
        !text_to_u64(resident, &pages))
        return 0;
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

void node_id(char out[UUID_TEXT])
{
    static const struct span namespace_uuid = SPAN("0b7c8d52-5c0e-4f7e-9a4b-3f0c63a1e6d4");
    char name[256] = "localhost";
    if (gethostname(name, sizeof(name) - 1) != 0)
        (void)snprintf(name, sizeof(name), "localhost");
    uuid_v5(out, namespace_uuid, span_text(name));
}

static void family(struct buf *out, const char *name, const char *type, const char *help)
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void single(struct buf *out, const char *name, const char *type, const char *help,
                   uint64_t value)
{
    family(out, name, type, help);
    buf_printf(out, "%s %" PRIu64 "\n", name, value);
}

/* --- Kong's ------------------------------------------------------------------------------------
 */

static void render_memory(struct shared *shared, const char *node, struct buf *out)
{
    const struct shared_usage usage = shared_usage(shared);
    family(out, "kong_memory_lua_shared_dict_bytes", "gauge", "Used bytes of the shared memory");
    buf_printf(out,
               "kong_memory_lua_shared_dict_bytes{node_id=\"%s\",shared_dict=\"weir\","
               "kong_subsystem=\"http\"} %zu\n",
               node, usage.used);
    family(out, "kong_memory_lua_shared_dict_total_bytes", "gauge",
           "Total bytes of the shared memory");
    buf_printf(out,
               "kong_memory_lua_shared_dict_total_bytes{node_id=\"%s\",shared_dict=\"weir\","
               "kong_subsystem=\"http\"} %zu\n",
               node, usage.size);
    family(out, "kong_memory_workers_lua_vms_bytes", "gauge", "Resident memory of each worker");
    for (uint32_t i = 0; i < shared_workers(shared); i++) {
        int32_t pid = __atomic_load_n(&shared_worker(shared, i)->pid, __ATOMIC_RELAXED);
        if (pid != 0)
            buf_printf(out,
                       "kong_memory_workers_lua_vms_bytes{node_id=\"%s\",pid=\"%" PRId32
                       "\",kong_subsystem=\"http\"} %" PRIu64 "\n",
                       node, pid, node_resident(pid));
    }
}

static void render_kong(struct shared *shared, const struct node_totals *totals, struct buf *out)
{
    char node[UUID_TEXT + 1] = "";
    node_id(node);
    single(out, "kong_datastore_reachable", "gauge",
           "Datastore reachable from the gateway, 0 is unreachable", 1);
    render_memory(shared, node, out);

    const struct {
        const char *state;
        uint64_t value;
    } states[] = {
        {"accepted", totals->accepted}, {"active", totals->connections},
        {"handled", totals->accepted},  {"reading", totals->reading},
        {"total", totals->requests},    {"waiting", totals->waiting},
        {"writing", totals->writing},
    };
    family(out, "kong_nginx_connections_total", "gauge", "Number of connections by subsystem");
    for (size_t i = 0; i < COUNT_OF(states); i++)
        buf_printf(out,
                   "kong_nginx_connections_total{node_id=\"%s\",subsystem=\"http\","
                   "state=\"%s\"} %" PRIu64 "\n",
                   node, states[i].state, states[i].value);
    family(out, "kong_nginx_requests_total", "gauge", "Total number of requests");
    buf_printf(out, "kong_nginx_requests_total{node_id=\"%s\",subsystem=\"http\"} %" PRIu64 "\n",
               node, totals->requests);
    family(out, "kong_node_info", "gauge", "Node metadata information");
    buf_printf(out, "kong_node_info{node_id=\"%s\",version=\"%s\"} 1\n", node, WEIR_VERSION);
}

/* --- weir's ------------------------------------------------------------------------------------
 */

static void render_entities(const struct gateway_facts *facts, struct buf *out)
{
    const struct {
        const char *kind;
        uint32_t value;
    } rows[] = {
        {"consumers", facts->consumers}, {"policies", facts->policies},   {"routes", facts->routes},
        {"services", facts->services},   {"upstreams", facts->upstreams},
    };
    family(out, "weir_entities", "gauge", "Entities of the configuration that serves");
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        buf_printf(out, "weir_entities{kind=\"%s\"} %" PRIu32 "\n", rows[i].kind, rows[i].value);
}

static void render_workers(struct shared *shared, struct buf *out)
{
    family(out, "weir_worker_generation", "gauge", "Number of the configuration a worker serves");
    for (uint32_t i = 0; i < shared_workers(shared); i++) {
        const struct worker_slot *slot = shared_worker(shared, i);
        if (__atomic_load_n(&slot->pid, __ATOMIC_RELAXED) != 0)
            buf_printf(out, "weir_worker_generation{worker=\"%" PRIu32 "\"} %" PRIu64 "\n", i,
                       __atomic_load_n(&slot->generation, __ATOMIC_RELAXED));
    }
}

static void render_weir(struct shared *shared, const struct node_totals *totals, struct buf *out)
{
    const struct gateway_facts *facts = shared_facts(shared);
    const struct shared_usage usage = shared_usage(shared);
    const struct {
        const char *name, *type, *help;
        uint64_t value;
    } rows[] = {
        {"weir_config_generation", "gauge", "Number of the configuration that serves",
         facts->generation},
        {"weir_dictionaries", "gauge", "Dictionaries of policies in shared memory",
         usage.dictionaries},
        {"weir_dictionary_evictions_total", "counter",
         "Dictionary entries that made room before their end", usage.evictions},
        {"weir_draining", "gauge", "1 from the signal to stop on", facts->draining},
        {"weir_exchanges_active", "gauge", "Requests in flight", totals->active},
        {"weir_last_reload_timestamp_seconds", "gauge", "When the configuration was last replaced",
         facts->last_reload_wall_ms / 1000},
        {"weir_limit_refusals_total", "counter", "Requests refused because a limit was reached",
         totals->limit_refusals},
        {"weir_lock_recoveries_total", "counter",
         "Locks in shared memory taken over from a dead worker", usage.recoveries},
        {"weir_metric_overflows_total", "counter", "Metric updates that went to an overflow series",
         usage.overflows},
        {"weir_metric_series", "gauge", "Metric series in shared memory", usage.series},
        {"weir_pool_dialed_total", "counter", "Target connections that were dialed",
         totals->pool_dialed},
        {"weir_pool_reused_total", "counter", "Requests sent over a kept target connection",
         totals->pool_reused},
        {"weir_protocol_errors_total", "counter", "Requests that were no valid HTTP",
         totals->protocol_errors},
        {"weir_ready", "gauge", "1 once every worker serves", facts->ready},
        {"weir_reload_failures_total", "counter", "Reloads that were refused",
         facts->reload_failures},
        {"weir_reloads_total", "counter", "Reloads that were committed", facts->reloads},
        {"weir_retries_total", "counter", "Attempts after the first of a request", totals->retries},
        {"weir_shared_memory_bytes", "gauge", "Size of the shared memory", usage.size},
        {"weir_shared_memory_used_bytes", "gauge", "Used part of the shared memory", usage.used},
        {"weir_start_time_seconds", "gauge", "When the gateway was started",
         facts->started_wall_ms / 1000},
        {"weir_target_failures_total", "counter", "Attempts that a target failed",
         totals->target_failures},
        {"weir_worker_restarts_total", "counter", "Workers that died and were replaced",
         facts->worker_restarts},
        {"weir_workers", "gauge", "Workers running", totals->running},
    };
    render_entities(facts, out);
    render_workers(shared, out);
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        single(out, rows[i].name, rows[i].type, rows[i].help, rows[i].value);
}

void node_metrics_render(struct shared *shared, struct buf *out)
{
    const struct node_totals totals = node_totals(shared);
    render_kong(shared, &totals, out);
    render_weir(shared, &totals, out);
}
