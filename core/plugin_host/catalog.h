/* The plugins of some folders, loaded when the configuration first names them: what config asks to
 * know field tables and credential kinds. A plugin the configuration does not name is not loaded,
 * unless an unknown collection has to be traced to its owner. One for each generation: it holds the
 * images the generation runs. */
#ifndef WEIR_PLUGIN_HOST_CATALOG_H
#define WEIR_PLUGIN_HOST_CATALOG_H

#include "config/build.h"
#include "plugin_host/images.h"

struct catalog;

/* What is to be done about single plugins whatever the folders hold. */
struct plugin_source {
    const char *name;
    const char *path;        /* exactly this file; NULL: as the folders say */
    const char *quarantined; /* hash of a build that must not run; NULL: none */
};
struct plugin_sources {
    const struct plugin_source *items;
    size_t count;
};

/* Plugins are FOLDER/NAME.so for the folders of `path_list` ("/a:/b", copied); where two have the
 * same name the first wins. `images` is borrowed. A folder that cannot be read is an empty one:
 * asking for a plugin then says so. NULL without memory. */
WEIR_MUST_USE struct catalog *catalog_create(const char *path_list, struct images *images);
/* The same, `sources` (borrowed until it returns) win over the folders. */
WEIR_MUST_USE struct catalog *catalog_create_from(const char *path_list,
                                                  const struct plugin_sources *sources,
                                                  struct images *images);
void catalog_destroy(struct catalog *catalog); /* releases every image */
AUTO_DEFINE(struct catalog, catalog_destroy)

/* Loading runs code of plugins, which is for the worker's loop alone. Who asks the catalog from
 * another thread says how to get there: `call` runs `work` on the loop and returns when that is
 * done; false: it did not run. NULL: on the spot. */
typedef bool catalog_call(void *user, void (*work)(void *arg), void *arg);
void catalog_load_through(struct catalog *catalog, catalog_call *call, void *user);

/* The view config_build() asks; lives as long as the catalog. */
const struct plugin_catalog *catalog_view(const struct catalog *catalog);

/* Names in the folders, sorted; NULL past the end. */
const char *catalog_name(const struct catalog *catalog, size_t index);
/* Load (once) and hand out; NULL: refused, and the reason is in `out_refusal`. The image is the
 * catalog's. */
struct image *catalog_find_image(struct catalog *catalog, struct span name,
                                 struct image_refusal *out_refusal);
/* The same, to look at. */
const struct image *catalog_image(struct catalog *catalog, struct span name,
                                  struct image_refusal *out_refusal);

/* The build that catalog_find_image() gives is in quarantine: it is loaded, so that its part of the
 * configuration can be read, and must not run. */
bool catalog_is_quarantined(const struct catalog *catalog, struct span name);

/* All it takes to look at plugins and to check configurations, with memory of its own, no loop and
 * no traffic: `weir check`, `weir plugin`, tests. */
struct idle_plugins {
    struct shared *shared;
    struct plugin_host *host;
    struct images *images;
    struct catalog *catalog;
};
/* False without memory; close it in either case. */
WEIR_MUST_USE bool idle_plugins_open(struct idle_plugins *out, const char *path_list,
                                     const char *copies);
void idle_plugins_close(struct idle_plugins *plugins);

/* Rows of a plugin that was built with other headers have another size. */
static inline const weir_credential_kind *catalog_credential_kind(const weir_plugin *plugin,
                                                                  uint32_t index)
{
    return (const void *)((const char *)plugin->credentials +
                          (size_t)index * plugin->credential_stride);
}

#endif
