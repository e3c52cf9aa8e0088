#include "admin/views.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "admin/node.h"

/* A tree under construction. cJSON's calls take a NULL parent and answer NULL, so a failed
 * allocation shows in `complete` alone and is asked for once, at the end. */
struct document {
    bool complete;
};

static cJSON *checked(struct document *doc, cJSON *item)
{
    doc->complete &= item != NULL;
    return item;
}

static cJSON *add_object(struct document *doc, cJSON *parent, const char *name)
{
    return checked(doc, cJSON_AddObjectToObject(parent, name));
}

static cJSON *add_array(struct document *doc, cJSON *parent, const char *name)
{
    return checked(doc, cJSON_AddArrayToObject(parent, name));
}

static void add_number(struct document *doc, cJSON *parent, const char *name, double value)
{
    (void)checked(doc, cJSON_AddNumberToObject(parent, name, value));
}

static void add_bool(struct document *doc, cJSON *parent, const char *name, bool value)
{
    (void)checked(doc, cJSON_AddBoolToObject(parent, name, value));
}

static void add_text(struct document *doc, cJSON *parent, const char *name, const char *text)
{
    (void)checked(doc, cJSON_AddStringToObject(parent, name, text));
}

/* Terminated copies, because cJSON wants them so; what is longer is cut. */
static void add_span(struct document *doc, cJSON *parent, const char *name, struct span text)
{
    char copy[1024];
    if (!span_is_set(text))
        return;
    (void)snprintf(copy, sizeof(copy), "%.*s", SPAN_ARG(text));
    add_text(doc, parent, name, copy);
}

static void append(struct document *doc, cJSON *array, cJSON *item)
{
    if (checked(doc, item) != NULL && !cJSON_AddItemToArray(array, item)) {
        cJSON_Delete(item);
        doc->complete = false;
    }
}

static void append_span(struct document *doc, cJSON *array, struct span text)
{
    char copy[1024];
    (void)snprintf(copy, sizeof(copy), "%.*s", SPAN_ARG(text));
    append(doc, array, cJSON_CreateString(copy));
}

static void print(const struct document *doc, cJSON *root, struct buf *out)
{
    char *text = doc->complete ? cJSON_PrintUnformatted(root) : NULL;
    if (text == NULL)
        out->failed = true;
    else
        buf_text(out, text);
    cJSON_free(text);
    cJSON_Delete(root);
}

/* "12.34 MiB", as Kong writes sizes. */
static void add_mebibytes(struct document *doc, cJSON *parent, const char *name, uint64_t bytes)
{
    char text[32];
    (void)snprintf(text, sizeof(text), "%.2f MiB", (double)bytes / (1024.0 * 1024.0));
    add_text(doc, parent, name, text);
}

static const struct generation *current(const struct admin_options *node)
{
    return node->gateway == NULL ? NULL : gateway_current(node->gateway);
}

/* --- /status -----------------------------------------------------------------------------------
 */

static const char *state_name(uint32_t state)
{
    static const char *const names[] = {
        [WORKER_NONE] = "none",         [WORKER_STARTING] = "starting", [WORKER_READY] = "ready",
        [WORKER_DRAINING] = "draining", [WORKER_DEAD] = "dead",
    };
    return state < COUNT_OF(names) ? names[state] : "unknown";
}

static void add_workers(struct document *doc, cJSON *memory, struct shared *shared)
{
    cJSON *workers = add_array(doc, memory, "workers");
    for (uint32_t i = 0; i < shared_workers(shared); i++) {
        const struct worker_slot *slot = shared_worker(shared, i);
        int32_t pid = __atomic_load_n(&slot->pid, __ATOMIC_RELAXED);
        if (pid == 0)
            continue;
        struct node_process process = {0};
        (void)node_process(pid, &process);
        cJSON *item = checked(doc, cJSON_CreateObject());
        add_number(doc, item, "worker", i);
        add_number(doc, item, "pid", pid);
        add_text(doc, item, "state", state_name(slot->state));
        add_number(doc, item, "generation", (double)slot->generation);
        add_number(doc, item, "total_requests", (double)slot->requests);
        add_number(doc, item, "connections_active", (double)slot->connections);
        add_mebibytes(doc, item, "resident", process.resident);
        if (item != NULL)
            append(doc, workers, item);
    }
}

/* Builds that were taken out of service: what they did, and what their policies do now, is in the
 * log and in GET /weir/plugins. */
static void add_quarantine(struct document *doc, cJSON *root, struct shared *shared)
{
    struct node_quarantine quarantine = node_quarantine(shared);
    cJSON *part = add_object(doc, root, "quarantine");
    add_number(doc, part, "count", quarantine.count);
    cJSON *builds = add_array(doc, part, "builds");
    for (uint32_t i = 0; i < quarantine.known; i++) {
        cJSON *item = checked(doc, cJSON_CreateObject());
        add_text(doc, item, "plugin", quarantine.builds[i].plugin);
        add_text(doc, item, "version", quarantine.builds[i].version);
        add_text(doc, item, "build", quarantine.builds[i].hash);
        add_text(doc, item, "why", quarantine.builds[i].why);
        if (item != NULL)
            append(doc, builds, item);
    }
}

static void add_server(struct document *doc, cJSON *root, struct shared *shared)
{
    const struct node_totals totals = node_totals(shared);
    cJSON *server = add_object(doc, root, "server");
    add_number(doc, server, "connections_accepted", (double)totals.accepted);
    add_number(doc, server, "connections_handled", (double)totals.accepted);
    add_number(doc, server, "connections_active", (double)totals.connections);
    add_number(doc, server, "connections_reading", (double)totals.reading);
    add_number(doc, server, "connections_writing", (double)totals.writing);
    add_number(doc, server, "connections_waiting", (double)totals.waiting);
    add_number(doc, server, "total_requests", (double)totals.requests);
}

void view_status(const struct admin_options *node, struct buf *out)
{
    struct document doc = {true};
    cJSON *root = checked(&doc, cJSON_CreateObject());
    const struct gateway_facts *facts = shared_facts(node->shared);
    const struct shared_usage usage = shared_usage(node->shared);

    /* Nothing to reach, and monitors made for Kong look for it. */
    add_bool(&doc, add_object(&doc, root, "database"), "reachable", true);
    add_span(&doc, root, "configuration_hash",
             span_of(facts->config_hash, strnlen(facts->config_hash, sizeof(facts->config_hash))));
    add_number(&doc, root, "generation", (double)facts->generation);
    cJSON *memory = add_object(&doc, root, "memory");
    add_workers(&doc, memory, node->shared);
    cJSON *shared = add_object(&doc, memory, "shared");
    add_mebibytes(&doc, shared, "capacity", usage.size);
    add_mebibytes(&doc, shared, "used", usage.used);
    add_number(&doc, shared, "dictionaries", (double)usage.dictionaries);
    add_number(&doc, shared, "series", (double)usage.series);
    add_server(&doc, root, node->shared);
    add_quarantine(&doc, root, node->shared);
    print(&doc, root, out);
}

/* A build in quarantine does not make the node unready: it serves all that does not need that
 * plugin, and every node that runs the same build would leave the balancer together. */
static void view_serving(struct shared *shared, struct buf *out)
{
    struct node_quarantine quarantine = node_quarantine(shared);
    buf_text(out, "{\"message\":\"ready\"");
    for (uint32_t i = 0; i < quarantine.known; i++) {
        char name[160];
        (void)snprintf(name, sizeof(name), "%s %s (build %s)", quarantine.builds[i].plugin,
                       quarantine.builds[i].version, quarantine.builds[i].hash);
        buf_text(out, i == 0 ? ",\"quarantined\":[" : ",");
        buf_json(out, span_text(name));
    }
    buf_text(out, quarantine.known > 0 ? "]}" : "}");
}

bool view_ready(const struct admin_options *node, struct buf *out)
{
    const struct gateway_facts *facts = shared_facts(node->shared);
    bool ready = false;
    if (facts->draining != 0) {
        view_message("draining", out);
    } else if (facts->ready == 0) {
        view_message("not every worker serves yet", out);
    } else {
        view_serving(node->shared, out);
        ready = true;
    }
    return ready;
}

void view_live(const struct admin_options *node, struct buf *out)
{
    (void)node; /* being answered is the answer */
    view_message("live", out);
}

void view_message(const char *message, struct buf *out)
{
    buf_text(out, "{\"message\":");
    buf_json(out, span_text(message));
    buf_byte(out, '}');
}

/* --- / -----------------------------------------------------------------------------------------
 */

static void add_listens(struct document *doc, cJSON *parent, const char *name,
                        const struct listen_list *listens)
{
    cJSON *array = add_array(doc, parent, name);
    for (size_t i = 0; i < listens->count; i++)
        append_span(doc, array, listens->items[i].address);
}

static void add_settings(struct document *doc, cJSON *root, const struct settings *settings)
{
    cJSON *to = add_object(doc, root, "configuration");
    const struct {
        const char *name;
        int64_t value;
    } numbers[] = {
        {"workers", settings->workers},
        {"client_max_body_size", settings->client_max_body_size},
        {"max_connections", settings->max_connections},
        {"max_memory", settings->max_memory},
        {"client_min_rate", settings->client_min_rate},
        {"client_min_read_rate", settings->client_min_read_rate},
        {"max_head_bytes", settings->max_head_bytes},
        {"max_uri_bytes", settings->max_uri_bytes},
        {"max_header_count", settings->max_header_count},
        {"keepalive_requests", settings->keepalive_requests},
        {"upstream_keepalive_pool_size", settings->upstream_keepalive_pool_size},
        {"shared_memory_size", settings->shared_memory_size},
    };
    add_text(doc, to, "database", "off");
    add_span(doc, to, "router_flavor", settings->router_flavor);
    add_span(doc, to, "log_level", settings->log_level);
    add_span(doc, to, "prefix", settings->prefix);
    add_listens(doc, to, "proxy_listen", &settings->proxy_listen);
    add_listens(doc, to, "admin_listen", &settings->admin_listen);
    add_listens(doc, to, "status_listen", &settings->status_listen);
    for (size_t i = 0; i < COUNT_OF(numbers); i++)
        add_number(doc, to, numbers[i].name, (double)numbers[i].value);
}

static bool array_has(const cJSON *array, const char *text)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, array)
    {
        if (strcmp(item->valuestring, text) == 0)
            return true;
    }
    return false;
}

/* Only what the configuration uses is loaded, so only of that the version is known. */
static void add_plugins(struct document *doc, cJSON *root, const struct generation *generation)
{
    cJSON *plugins = add_object(doc, root, "plugins");
    cJSON *available = add_object(doc, plugins, "available_on_server");
    cJSON *enabled = add_array(doc, plugins, "enabled_in_cluster");
    if (generation == NULL || available == NULL)
        return;
    for (size_t i = 0; i < policies_count(generation->policies); i++) {
        const weir_plugin *plugin = policies_at(generation->policies, i)->plugin;
        if (array_has(enabled, plugin->name))
            continue;
        append(doc, enabled, cJSON_CreateString(plugin->name));
        cJSON *item = add_object(doc, available, plugin->name);
        add_text(doc, item, "version", plugin->version);
        add_number(doc, item, "priority", plugin->priority);
    }
    const char *name;
    for (size_t i = 0; (name = catalog_name(generation->catalog, i)) != NULL; i++) {
        if (cJSON_GetObjectItemCaseSensitive(available, name) == NULL)
            (void)add_object(doc, available, name);
    }
}

void view_root(const struct admin_options *node, struct buf *out)
{
    struct document doc = {true};
    cJSON *root = checked(&doc, cJSON_CreateObject());
    const struct generation *generation = current(node);
    char id[UUID_TEXT], host[256] = "";
    node_id(id);
    (void)gethostname(host, sizeof(host) - 1);

    add_text(&doc, root, "tagline", "Welcome to weir");
    add_text(&doc, root, "version", WEIR_VERSION);
    add_text(&doc, root, "edition", "weir");
    add_text(&doc, root, "hostname", host);
    add_span(&doc, root, "node_id", span_of(id, sizeof(id)));
    cJSON *pids = add_array(&doc, add_object(&doc, root, "pids"), "workers");
    for (uint32_t i = 0; i < shared_workers(node->shared); i++) {
        int32_t pid = __atomic_load_n(&shared_worker(node->shared, i)->pid, __ATOMIC_RELAXED);
        if (pid != 0)
            append(&doc, pids, cJSON_CreateNumber(pid));
    }
    add_plugins(&doc, root, generation);
    if (generation != NULL)
        add_settings(&doc, root, &generation->settings);
    print(&doc, root, out);
}
