#include "plugin_host/elf_read.h"

#include <string.h>

bool elf_copy(const struct elf *elf, uint64_t offset, void *out, size_t size)
{
    if (size > elf->file.size || offset > elf->file.size - size)
        return false;
    memcpy(out, elf->file.data + offset, size);
    return true;
}

bool elf_section(const struct elf *elf, size_t index, Elf64_Shdr *out)
{
    return index < elf->header.e_shnum &&
           elf_copy(elf, elf->header.e_shoff + index * sizeof(*out), out, sizeof(*out));
}

bool elf_section_bytes(const struct elf *elf, const Elf64_Shdr *section, struct span *out)
{
    if (section->sh_type == SHT_NOBITS || section->sh_size > elf->file.size ||
        section->sh_offset > elf->file.size - section->sh_size)
        return false;
    *out = span_of(elf->file.data + section->sh_offset, section->sh_size);
    return true;
}

bool elf_segment(const struct elf *elf, size_t index, Elf64_Phdr *out)
{
    return index < elf->header.e_phnum && elf->header.e_phentsize == sizeof(*out) &&
           elf_copy(elf, elf->header.e_phoff + index * sizeof(*out), out, sizeof(*out));
}

bool elf_strings_of(const struct elf *elf, const Elf64_Shdr *section, struct span *out)
{
    Elf64_Shdr strings;
    return elf_section(elf, section->sh_link, &strings) && elf_section_bytes(elf, &strings, out);
}

struct span elf_text(struct span strings, uint64_t offset)
{
    struct span rest = offset < strings.size ? span_from(strings, offset) : SPAN_NONE;
    size_t end = span_find(rest, '\0');
    return end < rest.size ? span_first(rest, end) : SPAN_NONE;
}
