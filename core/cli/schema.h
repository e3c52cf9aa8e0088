/* A plugin's configuration as text, from its field table. */
#ifndef WEIR_CLI_SCHEMA_H
#define WEIR_CLI_SCHEMA_H

#include <weir/weir.h>

#include "base/buf.h"

/* In the shape of the YAML, with what each field means as comments. */
void schema_as_yaml(const weir_plugin *plugin, struct buf *out);
/* Markdown tables, as the plugin's README has them: the configuration, then each kind of
 * credential. */
void schema_as_markdown(const weir_plugin *plugin, struct buf *out);

#endif
