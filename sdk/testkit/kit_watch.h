/* For the author's tool alone (weir plugin bench, fuzz): see every call between plugins and the
 * host. Not part of what is installed. */
#ifndef WEIR_KIT_WATCH_H
#define WEIR_KIT_WATCH_H

#include <weir_testkit.h>

/* Of kits opened from now on: told of each image that was loaded, before any of its hooks ran. The
 * functions in the descriptor and in the table may be replaced; both live as long as the image.
 * NULL: nobody. */
typedef void kit_watcher(struct kit *kit, weir_plugin *plugin, weir_host *table);
void kit_watch_plugins(kit_watcher *loaded);
/* The descriptor that `self` of a policy belongs to. */
const weir_plugin *kit_plugin_of(const void *self);
/* What the request is for the plugin's hooks. */
const weir_request *kit_watch_request(const kit_request *r);

#endif
