/* Reading an ELF file's sections out of bytes that nobody has checked: every offset and size of the
 * file is compared with what there is before it is followed. Internal to core/plugin_host. */
#ifndef WEIR_PLUGIN_HOST_ELF_READ_H
#define WEIR_PLUGIN_HOST_ELF_READ_H

#include <elf.h>

#include "base/span.h"

struct elf {
    struct span file;
    Elf64_Ehdr header;
};

/* `size` bytes at `offset`; false when the file is shorter. */
bool elf_copy(const struct elf *elf, uint64_t offset, void *out, size_t size);
/* false: there is no section of that number. */
bool elf_section(const struct elf *elf, size_t index, Elf64_Shdr *out);
/* What it holds, borrowed from the file. false: nothing (.bss), or not in the file. */
bool elf_section_bytes(const struct elf *elf, const Elf64_Shdr *section, struct span *out);
bool elf_segment(const struct elf *elf, size_t index, Elf64_Phdr *out);
/* The string table that `section` names. */
bool elf_strings_of(const struct elf *elf, const Elf64_Shdr *section, struct span *out);
/* The terminated text at `offset` of a string table; SPAN_NONE: there is none. */
struct span elf_text(struct span strings, uint64_t offset);

#endif
