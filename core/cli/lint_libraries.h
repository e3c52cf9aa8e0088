/* The libraries that a plugin would be loaded with, read from their files and never loaded: which
 * symbols and which versions of them are there. Looked for as the dynamic linker does: the plugin's
 * own search path, LD_LIBRARY_PATH, /etc/ld.so.cache, the usual folders. */
#ifndef WEIR_CLI_LINT_LIBRARIES_H
#define WEIR_CLI_LINT_LIBRARIES_H

#include "plugin_host/elf_details.h"

struct libraries;

/* All that `plugin`, whose file is `path`, needs, and what these need. NULL: no memory. */
WEIR_MUST_USE struct libraries *libraries_open(const struct elf_details *plugin, const char *path);
void libraries_close(struct libraries *libraries);
AUTO_DEFINE(struct libraries, libraries_close)

/* The nth name for which no file was found; SPAN_NONE: there are no more. */
struct span libraries_missing(const struct libraries *libraries, size_t nth);
/* One of them defines it: the library's name, else SPAN_NONE. */
struct span libraries_find(const struct libraries *libraries, struct span symbol);
/* That library has that version of its symbols; also when it was not found (which is said). */
bool libraries_offer(const struct libraries *libraries, const struct elf_version *version);

#endif
