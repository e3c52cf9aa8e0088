/* The plugins of a folder, loaded when the configuration first names them: what config asks to know
 * field tables and credential kinds. A plugin the configuration does not name is not loaded, unless an
 * unknown collection has to be traced to its owner. */
#ifndef WEIR_PLUGIN_HOST_CATALOG_H
#define WEIR_PLUGIN_HOST_CATALOG_H

#include "config/build.h"
#include "plugin_host/image.h"

struct catalog;

/* Plugins are FOLDER/NAME.so; their private copies go to `copies`. Borrows all three. A folder that
 * cannot be read is an empty one: asking for a plugin then says so. NULL without memory. */
WEIR_MUST_USE struct catalog *catalog_create(const char *folder, const char *copies,
                                             const weir_host *host);
void catalog_destroy(struct catalog *catalog); /* unloads every image */
AUTO_DEFINE(struct catalog, catalog_destroy)

/* The view config_build() asks; lives as long as the catalog. */
const struct plugin_catalog *catalog_view(const struct catalog *catalog);

/* Names in the folder, sorted; NULL past the end. */
const char *catalog_name(const struct catalog *catalog, size_t index);
/* Load (once) and hand out; NULL: refused, and the reason is in `out_refusal`. */
const struct image *catalog_image(struct catalog *catalog, struct span name,
                                  struct image_refusal *out_refusal);

#endif
