#include "plugin_host/elf_lint.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/auto.h"
#include "base/text.h"
#include "plugin_host/elf_read.h"

#if defined(__x86_64__)
#define MACHINE EM_X86_64
#elif defined(__aarch64__)
#define MACHINE EM_AARCH64
#else
#error "say here which ELF machine this is"
#endif

struct lint {
    struct elf elf;
    char *why;
    size_t why_size;
};

static enum weir_err refuse(struct lint *lint, const char *reason)
{
    (void)snprintf(lint->why, lint->why_size, "%s", reason);
    return WEIR_ERR_INVALID;
}

/* "WHAT: have 'HAVE', want WANT", with nothing that a terminal would take for a command. */
static enum weir_err refuse_text(struct lint *lint, const char *what, struct span have,
                                 const char *want)
{
    char shown[48];
    have = span_first(have, sizeof(shown));
    for (size_t i = 0; i < have.size; i++)
        shown[i] = have.data[i] >= ' ' && have.data[i] <= '~' ? have.data[i] : '?';
    (void)snprintf(lint->why, lint->why_size, "%s: have '%.*s', want %s", what, (int)have.size,
                   shown, want);
    return WEIR_ERR_INVALID;
}

/* `end`: where what is missing would end. */
static enum weir_err refuse_cut(struct lint *lint, const char *field, uint64_t end)
{
    (void)snprintf(lint->why, lint->why_size,
                   "the file is cut short: field '%s': have %zu bytes, want %" PRIu64, field,
                   lint->elf.file.size, end);
    return WEIR_ERR_INVALID;
}

static enum weir_err refuse_section(struct lint *lint, const char *field, const Elf64_Shdr *section)
{
    return refuse_cut(lint, field, section->sh_offset + section->sh_size);
}

static enum weir_err refuse_number(struct lint *lint, const char *field, unsigned have,
                                   unsigned want)
{
    (void)snprintf(lint->why, lint->why_size, "field '%s': have %u, want %u", field, have, want);
    return WEIR_ERR_INVALID;
}

static enum weir_err check_header(struct lint *lint)
{
    Elf64_Ehdr *header = &lint->elf.header;
    struct span magic = span_first(lint->elf.file, SELFMAG);
    if (!span_equal(magic, SPAN(ELFMAG)))
        return refuse_text(lint, "not an ELF shared object: field 'magic'", magic, "'?ELF'");
    if (!elf_copy(&lint->elf, 0, header, sizeof(*header)))
        return refuse_cut(lint, "ELF header", sizeof(*header));
    if (header->e_ident[EI_CLASS] != ELFCLASS64)
        return refuse_number(lint, "ELF class", header->e_ident[EI_CLASS], ELFCLASS64);
    if (header->e_machine != MACHINE)
        return refuse_number(lint, "ELF machine", header->e_machine, MACHINE);
    if (header->e_type != ET_DYN)
        return refuse_number(lint, "ELF type", header->e_type, ET_DYN);
    Elf64_Shdr last;
    if (header->e_shentsize != sizeof(Elf64_Shdr))
        return refuse_number(lint, "section size", header->e_shentsize, sizeof(Elf64_Shdr));
    if (header->e_shnum == 0)
        return refuse(lint, "field 'sections': have 0, want those of a plugin");
    if (!elf_section(&lint->elf, header->e_shnum - 1U, &last))
        return refuse_cut(lint, "section table",
                          header->e_shoff + header->e_shnum * sizeof(Elf64_Shdr));
    return WEIR_OK;
}

static enum weir_err read_version(struct lint *lint, struct span text, struct elf_facts *out)
{
    uint64_t major, minor;
    size_t dot = span_find(text, '.');
    if (!text_to_u64(span_first(text, dot), &major) ||
        !text_to_u64(span_from(text, dot + 1), &minor) || major > 1000 || minor > 100000)
        return refuse_text(lint, "field 'abi'", text, "MAJOR.MINOR");
    out->major = (uint32_t)major;
    out->minor = (uint32_t)minor;
    return WEIR_OK;
}

static enum weir_err read_manifest(struct lint *lint, struct span text, struct elf_facts *out)
{
    struct span rest = span_first(text, span_find(text, '\0')), line;
    if (!span_split(&rest, '\n', &line) || !span_equal(line, SPAN("weir-plugin/1")))
        return refuse_text(lint, "field 'manifest'", line, "weir-plugin/1 in its first line");
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
    if (out->name.size == 0)
        return refuse(lint, "field 'name': have none, want name=NAME in the manifest");
    if (out->version.size == 0)
        return refuse(lint, "field 'version': have none, want version=VERSION in the manifest");
    return read_version(lint, abi, out);
}

static enum weir_err read_symbols(struct lint *lint, const Elf64_Shdr *section,
                                  struct elf_facts *out)
{
    struct span symbols, strings;
    if (!elf_section_bytes(&lint->elf, section, &symbols) ||
        !elf_strings_of(&lint->elf, section, &strings))
        return refuse_section(lint, "symbol table", section);
    for (size_t at = 0; at + sizeof(Elf64_Sym) <= symbols.size; at += sizeof(Elf64_Sym)) {
        Elf64_Sym symbol;
        memcpy(&symbol, symbols.data + at, sizeof(symbol));
        if (symbol.st_shndx == SHN_UNDEF)
            continue;
        out->unique |= ELF64_ST_BIND(symbol.st_info) == STB_GNU_UNIQUE;
        out->has_entry |= ELF64_ST_TYPE(symbol.st_info) == STT_FUNC &&
                          span_equal(elf_text(strings, symbol.st_name), SPAN("weir_plugin_v1"));
    }
    return WEIR_OK;
}

static enum weir_err read_dynamic(struct lint *lint, const Elf64_Shdr *section,
                                  struct elf_facts *out)
{
    struct span entries;
    if (!elf_section_bytes(&lint->elf, section, &entries))
        return refuse_section(lint, "dynamic section", section);
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
    Elf64_Shdr names_section = {0}, section;
    struct span names, bytes;
    bool has_manifest = false;
    if (!elf_section(&lint->elf, lint->elf.header.e_shstrndx, &names_section) ||
        !elf_section_bytes(&lint->elf, &names_section, &names))
        return refuse_section(lint, "section names", &names_section);
    for (size_t i = 0; elf_section(&lint->elf, i, &section); i++) {
        if (section.sh_type == SHT_DYNSYM)
            TRY(read_symbols(lint, &section, out));
        else if (section.sh_type == SHT_DYNAMIC)
            TRY(read_dynamic(lint, &section, out));
        else if (!has_manifest &&
                 span_equal(elf_text(names, section.sh_name), SPAN(".weir.manifest"))) {
            if (!elf_section_bytes(&lint->elf, &section, &bytes))
                return refuse_section(lint, "manifest", &section);
            TRY(read_manifest(lint, bytes, out));
            has_manifest = true;
        }
    }
    return has_manifest ? WEIR_OK
                        : refuse(lint, "field 'manifest': have none, want what WEIR_PLUGIN writes");
}

enum weir_err elf_lint(struct span file, struct elf_facts *out, char *why, size_t why_size)
{
    struct lint lint = {.elf.file = file, .why = why, .why_size = why_size};
    *out = (struct elf_facts){0};
    TRY(check_header(&lint));
    TRY(read_sections(&lint, out));
    return out->has_entry
               ? WEIR_OK
               : refuse(&lint, "field 'entry': have none, want an exported weir_plugin_v1");
}
