/* What a linter wants to know of a shared object beyond elf_lint.h: what it imports and exports,
 * which libraries it names, what of it is writable. Pure: bytes in, facts out, of a plugin or of a
 * library that it needs; every offset is checked, since the file may be half-written or hostile. */
#ifndef WEIR_PLUGIN_HOST_ELF_DETAILS_H
#define WEIR_PLUGIN_HOST_ELF_DETAILS_H

#include "base/arena.h"
#include "base/error.h"
#include "base/span.h"

struct elf_names {
    struct span *items;
    size_t count;
};

/* A version of a library's symbols that must be there ("libc.so.6", "GLIBC_2.34"), or, with `file`
 * absent, one that this library offers. */
struct elf_version {
    struct span file, version;
};

/* All texts are borrowed from the file's bytes. */
struct elf_details {
    struct elf_names imports; /* that must be found: weak ones may be absent */
    struct elf_names exports;
    struct elf_names needed;      /* libraries, as the linker wrote them */
    struct elf_names static_data; /* writable variables by name; see has_symbols */
    struct elf_version *versions; /* both kinds */
    size_t version_count;
    struct span search_path;    /* DT_RUNPATH, else DT_RPATH */
    uint64_t static_data_bytes; /* .data and .bss without what every plugin has */
    uint64_t thread_local_bytes;
    uint64_t capabilities; /* of the descriptor, when has_capabilities */
    size_t constructors;   /* that run when it is loaded, without the compiler's own */
    bool has_symbols;      /* .symtab was not stripped */
    bool has_capabilities, has_build_id, has_debug;
    bool text_relocations, executable_stack, writable_code;
    bool cut_short; /* a segment ends behind the end of the file */
};

/* INVALID: no 64-bit ELF file with sections. NO_MEMORY. The lists lie in `arena`. */
WEIR_MUST_USE enum weir_err elf_read_details(struct span file, struct arena *arena,
                                             struct elf_details *out);
bool elf_has_name(const struct elf_names *names, struct span name);

#endif
