#include "plugin_host/elf_lint.h"

#include <elf.h>
#include <stdio.h>

#include "base/auto.h"
#include "base/text.h"

#if defined(__x86_64__)
#define MACHINE EM_X86_64
#elif defined(__aarch64__)
#define MACHINE EM_AARCH64
#else
#error "say here which ELF machine this is"
#endif

struct lint {
    struct span file;
    Elf64_Ehdr header;
    char *why;
    size_t why_size;
};

static enum weir_err refuse(struct lint *lint, const char *reason)
{
    (void)snprintf(lint->why, lint->why_size, "%s", reason);
    return WEIR_ERR_INVALID;
}

static enum weir_err refuse_number(struct lint *lint, const char *field, unsigned have,
                                   unsigned want)
{
    (void)snprintf(lint->why, lint->why_size, "field '%s': have %u, want %u", field, have, want);
    return WEIR_ERR_INVALID;
}

/* `size` bytes at `offset`; false when the file is shorter. */
static bool read_at(const struct lint *lint, uint64_t offset, void *out, size_t size)
{
    if (size > lint->file.size || offset > lint->file.size - size)
        return false;
    memcpy(out, lint->file.data + offset, size);
    return true;
}

static bool section_at(const struct lint *lint, size_t index, Elf64_Shdr *out)
{
    return index < lint->header.e_shnum &&
           read_at(lint, lint->header.e_shoff + index * sizeof(*out), out, sizeof(*out));
}

static bool section_bytes(const struct lint *lint, const Elf64_Shdr *section, struct span *out)
{
    if (section->sh_type == SHT_NOBITS || section->sh_size > lint->file.size ||
        section->sh_offset > lint->file.size - section->sh_size)
        return false;
    *out = span_of(lint->file.data + section->sh_offset, section->sh_size);
    return true;
}

/* The terminated text at `offset` of a string table. */
static struct span text_at(struct span table, uint64_t offset)
{
    struct span rest = offset < table.size ? span_from(table, offset) : SPAN_NONE;
    size_t end = span_find(rest, '\0');
    return end < rest.size ? span_first(rest, end) : SPAN_NONE;
}

static enum weir_err check_header(struct lint *lint)
{
    Elf64_Ehdr *header = &lint->header;
    if (!read_at(lint, 0, header, sizeof(*header)) || memcmp(header->e_ident, ELFMAG, SELFMAG) != 0)
        return refuse(lint, "not an ELF shared object");
    if (header->e_ident[EI_CLASS] != ELFCLASS64)
        return refuse_number(lint, "ELF class", header->e_ident[EI_CLASS], ELFCLASS64);
    if (header->e_machine != MACHINE)
        return refuse_number(lint, "ELF machine", header->e_machine, MACHINE);
    if (header->e_type != ET_DYN)
        return refuse_number(lint, "ELF type", header->e_type, ET_DYN);
    Elf64_Shdr last;
    if (header->e_shentsize != sizeof(Elf64_Shdr) || header->e_shnum == 0 ||
        !section_at(lint, header->e_shnum - 1U, &last))
        return refuse(lint, "the file is cut short: its section table is missing");
    return WEIR_OK;
}

static enum weir_err read_version(struct lint *lint, struct span text, struct elf_facts *out)
{
    uint64_t major, minor;
    size_t dot = span_find(text, '.');
    if (!text_to_u64(span_first(text, dot), &major) ||
        !text_to_u64(span_from(text, dot + 1), &minor) || major > 1000 || minor > 100000)
        return refuse(lint, "the manifest's abi is no number.number");
    out->major = (uint32_t)major;
    out->minor = (uint32_t)minor;
    return WEIR_OK;
}

static enum weir_err read_manifest(struct lint *lint, struct span text, struct elf_facts *out)
{
    struct span rest = span_first(text, span_find(text, '\0')), line;
    if (!span_split(&rest, '\n', &line) || !span_equal(line, SPAN("weir-plugin/1")))
        return refuse(lint, "the manifest does not start with weir-plugin/1");
    struct span abi = SPAN_NONE;
    while (span_split(&rest, '\n', &line)) {
        size_t equals = span_find(line, '=');
        struct span key = span_first(line, equals), value = span_from(line, equals + 1);
        if (span_equal(key, SPAN("name")))
            out->name = value;
        else if (span_equal(key, SPAN("version")))
            out->version = value;
        else if (span_equal(key, SPAN("abi")))
            abi = value;
        /* Keys of later minors are not for us. */
    }
    if (out->name.size == 0 || out->version.size == 0)
        return refuse(lint, "the manifest lacks name or version");
    return read_version(lint, abi, out);
}

static enum weir_err read_symbols(struct lint *lint, const Elf64_Shdr *section,
                                  struct elf_facts *out)
{
    Elf64_Shdr strings_section;
    struct span symbols, strings;
    if (!section_bytes(lint, section, &symbols) ||
        !section_at(lint, section->sh_link, &strings_section) ||
        !section_bytes(lint, &strings_section, &strings))
        return refuse(lint, "the file is cut short: its symbol table is missing");
    for (size_t at = 0; at + sizeof(Elf64_Sym) <= symbols.size; at += sizeof(Elf64_Sym)) {
        Elf64_Sym symbol;
        memcpy(&symbol, symbols.data + at, sizeof(symbol));
        if (symbol.st_shndx == SHN_UNDEF)
            continue;
        out->unique |= ELF64_ST_BIND(symbol.st_info) == STB_GNU_UNIQUE;
        out->has_entry |= ELF64_ST_TYPE(symbol.st_info) == STT_FUNC &&
                          span_equal(text_at(strings, symbol.st_name), SPAN("weir_plugin_v1"));
    }
    return WEIR_OK;
}

static enum weir_err read_dynamic(struct lint *lint, const Elf64_Shdr *section,
                                  struct elf_facts *out)
{
    struct span entries;
    if (!section_bytes(lint, section, &entries))
        return refuse(lint, "the file is cut short: its dynamic section is missing");
    for (size_t at = 0; at + sizeof(Elf64_Dyn) <= entries.size; at += sizeof(Elf64_Dyn)) {
        Elf64_Dyn entry;
        memcpy(&entry, entries.data + at, sizeof(entry));
        if (entry.d_tag == DT_NULL)
            break;
        if (entry.d_tag == DT_FLAGS)
            out->static_tls |= (entry.d_un.d_val & DF_STATIC_TLS) != 0;
        if (entry.d_tag == DT_FLAGS_1)
            out->no_delete |= (entry.d_un.d_val & DF_1_NODELETE) != 0;
    }
    return WEIR_OK;
}

static enum weir_err read_sections(struct lint *lint, struct elf_facts *out)
{
    Elf64_Shdr names_section, section;
    struct span names, bytes;
    bool has_manifest = false;
    if (!section_at(lint, lint->header.e_shstrndx, &names_section) ||
        !section_bytes(lint, &names_section, &names))
        return refuse(lint, "the file is cut short: its section names are missing");
    for (size_t i = 0; section_at(lint, i, &section); i++) {
        if (section.sh_type == SHT_DYNSYM)
            TRY(read_symbols(lint, &section, out));
        else if (section.sh_type == SHT_DYNAMIC)
            TRY(read_dynamic(lint, &section, out));
        else if (!has_manifest &&
                 span_equal(text_at(names, section.sh_name), SPAN(".weir.manifest"))) {
            if (!section_bytes(lint, &section, &bytes))
                return refuse(lint, "the file is cut short: its manifest is missing");
            TRY(read_manifest(lint, bytes, out));
            has_manifest = true;
        }
    }
    return has_manifest ? WEIR_OK
                        : refuse(lint, "no weir plugin: it has no .weir.manifest section");
}

enum weir_err elf_lint(struct span file, struct elf_facts *out, char *why, size_t why_size)
{
    struct lint lint = {.file = file, .why = why, .why_size = why_size};
    *out = (struct elf_facts){0};
    TRY(check_header(&lint));
    TRY(read_sections(&lint, out));
    return out->has_entry ? WEIR_OK : refuse(&lint, "it does not export weir_plugin_v1");
}
