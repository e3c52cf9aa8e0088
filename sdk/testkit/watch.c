/* Where the author's tool looks over the shoulder of the host: see kit_watch.h. */
#include "kit_internal.h"
#include "kit_watch.h"

static kit_watcher *watcher;

void kit_watch_plugins(kit_watcher *loaded)
{
    watcher = loaded;
}

static void on_image(void *user, weir_plugin *plugin, weir_host *table)
{
    struct kit *kit = user;
    /* The plugin calls the watcher first, and the watcher calls the plugin: what the kit does
     * itself is not what they measure. */
    kit_table_wrap(kit, table);
    if (watcher != NULL)
        watcher(kit, plugin, table);
    kit_hooks_wrap(kit, plugin);
}

void kit_watch_begin(struct kit *kit)
{
    plugin_host_watch_images(kit->host, on_image, kit);
}

const weir_plugin *kit_plugin_of(const void *self)
{
    return policy_of_self(self)->plugin;
}

const weir_request *kit_watch_request(const kit_request *r)
{
    return &r->request;
}
