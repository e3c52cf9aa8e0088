/* What can be known of a plugin's file before any of its code runs: is it a shared object for this
 * machine, what does its manifest say, what does it export, can it be unloaded. Pure: bytes in,
 * facts out; every offset of the file is checked, since the file may be half-written or hostile. */
#ifndef WEIR_PLUGIN_HOST_ELF_LINT_H
#define WEIR_PLUGIN_HOST_ELF_LINT_H

#include "base/error.h"
#include "base/span.h"

struct elf_facts {
    struct span name, version; /* of the manifest, borrowed from the file's bytes */
    uint32_t major, minor;
    bool has_entry;  /* defines weir_plugin_v1 */
    bool no_delete;  /* DF_1_NODELETE: can never be unloaded */
    bool static_tls; /* DF_STATIC_TLS: initial-exec TLS, runs out after a few images */
    bool unique;     /* has STB_GNU_UNIQUE symbols: stays after dlclose */
};

/* WEIR_ERR_INVALID: `why` says what is wrong in one line without the file's name. */
WEIR_MUST_USE enum weir_err elf_lint(struct span file, struct elf_facts *out, char *why,
                                     size_t why_size);
/* The image stays mapped after dlclose(): it may be swapped, but it is kept, counted and capped. */
static inline bool elf_is_pinned(const struct elf_facts *facts)
{
    return facts->no_delete || facts->unique;
}

#endif
