#include "plugin_host/elf_details.h"

#include <stddef.h>
#include <string.h>

#include <weir/weir.h>

#include "base/auto.h"
#include "plugin_host/elf_read.h"

enum {
    SYMBOLS_MAX = 1024 * 1024, /* of one table */
    VERSIONS_MAX = 4096,
    /* What the compiler and WEIR_PLUGIN put into .data and .bss of every plugin: __dso_handle,
     * completed.0 and weir_host_table, each with its alignment. */
    USUAL_BYTES = 24,
};

struct reader {
    struct elf elf;
    struct arena *arena;
    struct elf_details *out;
    struct span section_names;
    uint64_t relro_from, relro_to;
};

static void *rows(const struct reader *reader, size_t count, size_t size)
{
    return arena_zalloc_array(reader->arena, count == 0 ? 1 : count, size);
}

static void add_name(struct elf_names *names, struct span name)
{
    if (!span_is_empty(name))
        names->items[names->count++] = name;
}

bool elf_has_name(const struct elf_names *names, struct span name)
{
    for (size_t i = 0; i < names->count; i++)
        if (span_equal(names->items[i], name))
            return true;
    return false;
}

/* ---- segments */

static void read_segments(struct reader *reader)
{
    struct elf_details *out = reader->out;
    Elf64_Phdr segment;
    out->executable_stack = true; /* without a word about it the linker makes it so */
    for (size_t i = 0; elf_segment(&reader->elf, i, &segment); i++) {
        if (segment.p_type == PT_GNU_STACK)
            out->executable_stack = (segment.p_flags & PF_X) != 0;
        if (segment.p_type == PT_TLS)
            out->thread_local_bytes = segment.p_memsz;
        if (segment.p_type == PT_GNU_RELRO) {
            reader->relro_from = segment.p_vaddr;
            reader->relro_to = segment.p_vaddr + segment.p_memsz;
        }
        if (segment.p_type != PT_LOAD)
            continue;
        out->writable_code |= (segment.p_flags & (PF_W | PF_X)) == (PF_W | PF_X);
        out->cut_short |= segment.p_filesz > reader->elf.file.size ||
                          segment.p_offset > reader->elf.file.size - segment.p_filesz;
    }
}

/* ---- the dynamic section */

static void read_entry(struct reader *reader, const Elf64_Dyn *entry, struct span strings)
{
    struct elf_details *out = reader->out;
    struct span text = elf_text(strings, entry->d_un.d_val);
    switch (entry->d_tag) { /* numbers of a format that grows */
    case DT_NEEDED:
        add_name(&out->needed, text);
        break;
    case DT_RUNPATH:
        out->search_path = text;
        break;
    case DT_RPATH:
        if (span_is_empty(out->search_path))
            out->search_path = text;
        break;
    case DT_TEXTREL:
        out->text_relocations = true;
        break;
    case DT_FLAGS:
        out->text_relocations |= (entry->d_un.d_val & DF_TEXTREL) != 0;
        break;
    default:
        break;
    }
}

static enum weir_err read_dynamic(struct reader *reader, const Elf64_Shdr *section)
{
    struct span entries, strings;
    if (reader->out->needed.items != NULL || !elf_section_bytes(&reader->elf, section, &entries) ||
        !elf_strings_of(&reader->elf, section, &strings))
        return WEIR_OK;
    size_t count = entries.size / sizeof(Elf64_Dyn);
    count = count > SYMBOLS_MAX ? SYMBOLS_MAX : count;
    if ((reader->out->needed.items = rows(reader, count, sizeof(struct span))) == NULL)
        return WEIR_ERR_NO_MEMORY;
    for (size_t i = 0; i < count; i++) {
        Elf64_Dyn entry;
        memcpy(&entry, entries.data + i * sizeof(entry), sizeof(entry));
        if (entry.d_tag == DT_NULL)
            break;
        read_entry(reader, &entry, strings);
    }
    return WEIR_OK;
}

/* ---- symbols */

struct symbols {
    struct span bytes, strings;
    size_t count;
};

static bool open_symbols(const struct reader *reader, const Elf64_Shdr *section,
                         struct symbols *out)
{
    if (!elf_section_bytes(&reader->elf, section, &out->bytes) ||
        !elf_strings_of(&reader->elf, section, &out->strings))
        return false;
    out->count = out->bytes.size / sizeof(Elf64_Sym);
    out->count = out->count > SYMBOLS_MAX ? SYMBOLS_MAX : out->count;
    return true;
}

static Elf64_Sym symbol_at(const struct symbols *symbols, size_t index, struct span *out_name)
{
    Elf64_Sym symbol;
    memcpy(&symbol, symbols->bytes.data + index * sizeof(symbol), sizeof(symbol));
    *out_name = elf_text(symbols->strings, symbol.st_name);
    return symbol;
}

static enum weir_err read_dynamic_symbols(struct reader *reader, const Elf64_Shdr *section)
{
    struct elf_details *out = reader->out;
    struct symbols symbols;
    struct span name;
    if (out->imports.items != NULL || !open_symbols(reader, section, &symbols))
        return WEIR_OK;
    out->imports.items = rows(reader, symbols.count, sizeof(struct span));
    out->exports.items = rows(reader, symbols.count, sizeof(struct span));
    if (out->imports.items == NULL || out->exports.items == NULL)
        return WEIR_ERR_NO_MEMORY;
    for (size_t i = 0; i < symbols.count; i++) {
        Elf64_Sym symbol = symbol_at(&symbols, i, &name);
        unsigned bind = ELF64_ST_BIND(symbol.st_info);
        if (symbol.st_shndx != SHN_UNDEF && bind != STB_LOCAL)
            add_name(&out->exports, name);
        else if (symbol.st_shndx == SHN_UNDEF && bind == STB_GLOBAL)
            add_name(&out->imports, name);
    }
    return WEIR_OK;
}

/* Writable when the plugin runs: not what the linker makes read-only after its relocations. */
static bool is_static_data(const struct reader *reader, const Elf64_Shdr *section)
{
    struct span name = elf_text(reader->section_names, section->sh_name);
    bool in_relro = section->sh_addr >= reader->relro_from && section->sh_addr < reader->relro_to;
    return (section->sh_flags & (SHF_ALLOC | SHF_WRITE | SHF_TLS)) == (SHF_ALLOC | SHF_WRITE) &&
           !in_relro && (section->sh_type == SHT_PROGBITS || section->sh_type == SHT_NOBITS) &&
           !span_starts_with(name, SPAN(".got")) && !span_starts_with(name, SPAN(".data.rel.ro")) &&
           !span_starts_with(name, SPAN(".tm_clone_table"));
}

static bool is_usual(struct span name)
{
    return span_equal(name, SPAN("weir_host_table")) || span_equal(name, SPAN("__dso_handle")) ||
           span_equal(name, SPAN("__TMC_END__")) || span_starts_with(name, SPAN("completed.")) ||
           span_starts_with(name, SPAN("DW.ref.")); /* of C++ exceptions, made by the compiler */
}

/* The descriptor is constant but for its pointers, so its numbers lie in the file as they are. */
static void read_descriptor(struct reader *reader, const Elf64_Sym *symbol)
{
    Elf64_Shdr section;
    uint64_t at = offsetof(weir_plugin, capabilities);
    if (!elf_section(&reader->elf, symbol->st_shndx, &section) || section.sh_type != SHT_PROGBITS ||
        symbol->st_value < section.sh_addr || symbol->st_size < at + sizeof(uint64_t))
        return;
    reader->out->has_capabilities =
        elf_copy(&reader->elf, section.sh_offset + (symbol->st_value - section.sh_addr) + at,
                 &reader->out->capabilities, sizeof(uint64_t));
}

static enum weir_err read_symbols(struct reader *reader, const Elf64_Shdr *section)
{
    struct elf_details *out = reader->out;
    struct symbols symbols;
    struct span name;
    if (out->has_symbols || !open_symbols(reader, section, &symbols))
        return WEIR_OK;
    if ((out->static_data.items = rows(reader, symbols.count, sizeof(struct span))) == NULL)
        return WEIR_ERR_NO_MEMORY;
    out->has_symbols = true;
    for (size_t i = 0; i < symbols.count; i++) {
        Elf64_Sym symbol = symbol_at(&symbols, i, &name);
        Elf64_Shdr home;
        if (ELF64_ST_TYPE(symbol.st_info) != STT_OBJECT || symbol.st_size == 0 ||
            !elf_section(&reader->elf, symbol.st_shndx, &home))
            continue;
        /* C++ puts it into a namespace without a name, and its linkage into the name. */
        if (span_search(name, SPAN("weir_descriptor_")) < name.size)
            read_descriptor(reader, &symbol);
        else if (is_static_data(reader, &home) && !is_usual(name))
            add_name(&out->static_data, name);
    }
    return WEIR_OK;
}

/* ---- versions of symbols */

static void add_version(struct reader *reader, struct span file, struct span version)
{
    struct elf_details *out = reader->out;
    if (!span_is_empty(version) && out->version_count < VERSIONS_MAX)
        out->versions[out->version_count++] = (struct elf_version){file, version};
}

/* Chains of offsets: a hostile one could lead in a circle, so steps are counted. */
static void read_needed_versions(struct reader *reader, struct span bytes, struct span strings)
{
    struct elf section = {.file = bytes};
    uint64_t at = 0;
    Elf64_Verneed need;
    for (size_t steps = 0; steps < VERSIONS_MAX; steps++) {
        if (!elf_copy(&section, at, &need, sizeof(need)))
            return;
        uint64_t inner = at + need.vn_aux;
        Elf64_Vernaux version;
        for (size_t i = 0; i < need.vn_cnt; i++) {
            if (!elf_copy(&section, inner, &version, sizeof(version)))
                break;
            if ((version.vna_flags & VER_FLG_WEAK) == 0)
                add_version(reader, elf_text(strings, need.vn_file),
                            elf_text(strings, version.vna_name));
            inner += version.vna_next;
            if (version.vna_next == 0)
                break;
        }
        if (need.vn_next == 0)
            return;
        at += need.vn_next;
    }
}

static void read_offered_versions(struct reader *reader, struct span bytes, struct span strings)
{
    struct elf section = {.file = bytes};
    uint64_t at = 0;
    Elf64_Verdef definition;
    Elf64_Verdaux name;
    for (size_t steps = 0; steps < VERSIONS_MAX; steps++) {
        if (!elf_copy(&section, at, &definition, sizeof(definition)) ||
            !elf_copy(&section, at + definition.vd_aux, &name, sizeof(name)))
            return;
        add_version(reader, SPAN_NONE, elf_text(strings, name.vda_name));
        if (definition.vd_next == 0)
            return;
        at += definition.vd_next;
    }
}

static enum weir_err read_versions(struct reader *reader, const Elf64_Shdr *section)
{
    struct span bytes, strings;
    if (!elf_section_bytes(&reader->elf, section, &bytes) ||
        !elf_strings_of(&reader->elf, section, &strings))
        return WEIR_OK;
    if (reader->out->versions == NULL &&
        (reader->out->versions = rows(reader, VERSIONS_MAX, sizeof(struct elf_version))) == NULL)
        return WEIR_ERR_NO_MEMORY;
    (section->sh_type == SHT_GNU_verneed ? read_needed_versions
                                         : read_offered_versions)(reader, bytes, strings);
    return WEIR_OK;
}

/* ---- sections */

static enum weir_err read_section(struct reader *reader, const Elf64_Shdr *section)
{
    struct elf_details *out = reader->out;
    struct span name = elf_text(reader->section_names, section->sh_name);
    out->has_debug |= span_equal(name, SPAN(".debug_info"));
    out->has_build_id |= span_equal(name, SPAN(".note.gnu.build-id"));
    if (is_static_data(reader, section))
        out->static_data_bytes += section->sh_size;
    switch (section->sh_type) { /* numbers of a format that grows */
    case SHT_DYNSYM:
        return read_dynamic_symbols(reader, section);
    case SHT_SYMTAB:
        return read_symbols(reader, section);
    case SHT_DYNAMIC:
        return read_dynamic(reader, section);
    case SHT_GNU_verneed:
    case SHT_GNU_verdef:
        return read_versions(reader, section);
    case SHT_INIT_ARRAY:
    case SHT_PREINIT_ARRAY:
        out->constructors += section->sh_size / sizeof(Elf64_Addr);
        return WEIR_OK;
    default:
        return WEIR_OK;
    }
}

enum weir_err elf_read_details(struct span file, struct arena *arena, struct elf_details *out)
{
    struct reader reader = {.elf.file = file, .arena = arena, .out = out};
    Elf64_Ehdr *header = &reader.elf.header;
    Elf64_Shdr section;
    *out = (struct elf_details){0};
    if (!elf_copy(&reader.elf, 0, header, sizeof(*header)) ||
        memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 || header->e_ident[EI_CLASS] != ELFCLASS64 ||
        header->e_shentsize != sizeof(section))
        return WEIR_ERR_INVALID;
    if (!elf_section(&reader.elf, header->e_shstrndx, &section) ||
        !elf_section_bytes(&reader.elf, &section, &reader.section_names))
        return WEIR_ERR_INVALID;
    read_segments(&reader);
    for (size_t i = 0; elf_section(&reader.elf, i, &section); i++)
        TRY(read_section(&reader, &section));
    if (out->constructors > 0)
        out->constructors--; /* frame_dummy, the compiler's own */
    out->static_data_bytes -=
        out->static_data_bytes < USUAL_BYTES ? out->static_data_bytes : USUAL_BYTES;
    return WEIR_OK;
}
