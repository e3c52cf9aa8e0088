#include "plugin_host/host.h"

#include <stdlib.h>

#include "plugin_host/builds.h"
#include "plugin_host/deprecated.h"
#include "plugin_host/host_internal.h"
#include "plugin_host/parks.h"

struct plugin_host *plugin_host_create(const struct host_services *services, struct shared *shared,
                                       uint32_t worker)
{
    AUTO(plugin_host_destroy) struct plugin_host *host = calloc(1, sizeof(*host));
    if (host == NULL)
        return NULL;
    if (services != NULL)
        host->services = *services;
    list_init(&host->files);
    host->shared = shared;
    host->worker = worker;
    host->blame = shared == NULL ? &host->nobody : shared_worker(shared, worker);
    host->names.by_spelling = map_create(64);
    host->names.items = calloc(HOST_NAMES_MAX, sizeof(host->names.items[0]));
    host->dicts = map_create(8);
    host->metrics = map_create(8);
    host->requests = BUILD_SAMPLE / 2; /* the first sample stands for those on either side of it */
    if (shared != NULL)
        builds_take_over(shared, worker);
    if (host->names.by_spelling == NULL || host->names.items == NULL || host->dicts == NULL ||
        host->metrics == NULL || (host->parks = parks_create(host)) == NULL)
        return NULL;
    return TAKE(host);
}

void plugin_host_destroy(struct plugin_host *host)
{
    if (host == NULL)
        return;
    host_files_end(host);
    parks_destroy(host->parks);
    deprecated_calls_free(host);
    host_handles_free(host);
    host_names_free(host);
    free(host);
}

void plugin_host_turn(struct plugin_host *host)
{
    parks_turn(host->parks);
}

struct shared *plugin_host_shared(const struct plugin_host *host)
{
    return host->shared;
}

uint32_t plugin_host_worker(const struct plugin_host *host)
{
    return host->worker;
}

void plugin_host_set_building(struct plugin_host *host, uint64_t number)
{
    host->building = number;
}

void plugin_host_watch_log(struct plugin_host *host,
                           void (*line)(void *user, uint32_t level, struct span text), void *user)
{
    host->log_line = line;
    host->log_user = user;
}

void plugin_host_watch_images(struct plugin_host *host, image_watcher *loaded, void *user)
{
    host->image_loaded = loaded;
    host->image_user = user;
}
