#include "plugin_host/deprecated.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "plugin_host/metrics.h"

enum { TOLD_MAX = 1024 /* pairs of plugin and call */ };

void deprecated_calls_put(weir_host *table, const struct deprecated_call *calls)
{
    for (const struct deprecated_call *call = calls; call->name != NULL; call++)
        memcpy((char *)table + call->slot, &call->counted, sizeof(call->counted));
}

/* False: it was told before, or there is no memory to remember it by. */
static bool is_first(struct plugin_host *host, struct span plugin,
                     const struct deprecated_call *call)
{
    AUTO_BUF key = BUF_INIT;
    buf_span(&key, plugin);
    buf_append(&key, " ", 1);
    buf_span(&key, span_text(call->name));
    if (host->deprecated == NULL)
        host->deprecated = map_create(16);
    if (key.failed || host->deprecated == NULL || map_count(host->deprecated) >= TOLD_MAX ||
        map_find(host->deprecated, buf_view(&key)) != NULL)
        return false;
    char *text = malloc(key.size);
    if (text == NULL)
        return false;
    memcpy(text, key.data, key.size); /* the map borrows its key */
    if (map_set(host->deprecated, span_of(text, key.size), text) == WEIR_OK)
        return true;
    free(text);
    return false;
}

static void open_metric(struct plugin_host *host)
{
    static const char *const labels[] = {"plugin", "call", NULL};
    char why[256];
    if (host->deprecated_calls == NULL && host->shared != NULL)
        host->deprecated_calls = metric_open(
            host->shared, host->worker, WEIR_METRIC_COUNTER, SPAN("weir_deprecated_calls_total"),
            SPAN("Calls of plugins that a later minor of the ABI has something better for"), labels,
            NULL, 0, why, sizeof(why));
}

void deprecated_called(struct plugin_host *host, struct span plugin,
                       const struct deprecated_call *call)
{
    const weir_str labels[] = {{plugin.data, plugin.size}, {call->name, strlen(call->name)}};
    if (is_first(host, plugin, call)) {
        char name[64], text[384];
        (void)snprintf(name, sizeof(name), "%.*s", SPAN_ARG(plugin));
        (void)snprintf(text, sizeof(text), "it calls %s, deprecated since ABI 1.%u: %s", call->name,
                       call->since, call->instead);
        host_log(host, name, WEIR_LOG_WARN, NULL, text);
        open_metric(host);
    }
    if (host->deprecated_calls != NULL)
        metric_add(host->deprecated_calls, labels, 1);
}

void deprecated_calls_free(struct plugin_host *host)
{
    size_t cursor = 0;
    struct span key;
    void *value;
    while (host->deprecated != NULL && map_next(host->deprecated, &cursor, &key, &value))
        free(value);
    map_destroy(host->deprecated);
    if (host->deprecated_calls != NULL)
        metric_close(host->deprecated_calls);
    host->deprecated = NULL;
    host->deprecated_calls = NULL;
}
