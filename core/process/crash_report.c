/* What a crash says, made readable by the master: whose code it was, and the names of functions,
 * looked up in the symbol tables of the files. Record and files are read as input from a stranger:
 * copied, bounded, never mapped (a file may shrink) and never loaded. */
#include <elf.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "process/crash.h"

#if __SIZEOF_POINTER__ == 8
typedef Elf64_Ehdr elf_head;
typedef Elf64_Shdr elf_section;
typedef Elf64_Sym elf_symbol;
#define SYMBOL_TYPE(symbol) ELF64_ST_TYPE((symbol)->st_info)
enum { ELF_CLASS = ELFCLASS64 };
#else
typedef Elf32_Ehdr elf_head;
typedef Elf32_Shdr elf_section;
typedef Elf32_Sym elf_symbol;
#define SYMBOL_TYPE(symbol) ELF32_ST_TYPE((symbol)->st_info)
enum { ELF_CLASS = ELFCLASS32 };
#endif

enum {
    SECTIONS_MAX = 4096,
    SYMBOLS_MAX = 1 << 20,
    SYMBOLS_READ = 1024, /* at once */
    NAME_MAX_SHOWN = 96,
    IMAGE_DIGITS = 64, /* of a private copy's name, and how many of them are shown */
    SHOWN_DIGITS = 12,
};

/* ---- symbols of one file */

/* What is asked for, and the best answer so far. */
struct wanted {
    uint64_t offset; /* within the call, not behind it */
    uint64_t start;
    uint32_t name; /* in the table of names; 0: not found */
};

struct symbols {
    int fd;
    struct elf_place {
        uint64_t at, size;
    } table, names;
};

static bool read_at(int fd, void *out, size_t size, uint64_t at)
{
    return at <= INT64_MAX && pread(fd, out, size, (off_t)at) == (ssize_t)size;
}

/* The full table when it was not stripped, else the exported names. */
static bool find_tables(struct symbols *symbols)
{
    elf_head head;
    elf_section section, names;
    bool found = false;
    if (!read_at(symbols->fd, &head, sizeof(head), 0) ||
        memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 || head.e_ident[EI_CLASS] != ELF_CLASS ||
        head.e_shentsize != sizeof(section) || head.e_shnum > SECTIONS_MAX)
        return false;
    for (uint32_t i = 0; i < head.e_shnum; i++) {
        if (!read_at(symbols->fd, &section, sizeof(section), head.e_shoff + i * sizeof(section)))
            return found;
        bool full = section.sh_type == SHT_SYMTAB;
        if (!full && (section.sh_type != SHT_DYNSYM || found))
            continue;
        if (section.sh_link >= head.e_shnum ||
            !read_at(symbols->fd, &names, sizeof(names),
                     head.e_shoff + section.sh_link * sizeof(names)))
            continue;
        symbols->table = (struct elf_place){section.sh_offset, section.sh_size};
        symbols->names = (struct elf_place){names.sh_offset, names.sh_size};
        found = true;
        if (full)
            return true;
    }
    return found;
}

static void offer(const elf_symbol *symbol, struct wanted *wanted, size_t count)
{
    unsigned type = SYMBOL_TYPE(symbol);
    if ((type != STT_FUNC && type != STT_GNU_IFUNC) || symbol->st_shndx == SHN_UNDEF ||
        symbol->st_name == 0)
        return;
    for (size_t i = 0; i < count; i++) {
        struct wanted *one = &wanted[i];
        if (one->offset < symbol->st_value || one->offset - symbol->st_value >= symbol->st_size ||
            (one->name != 0 && one->start >= symbol->st_value))
            continue;
        one->start = symbol->st_value;
        one->name = symbol->st_name;
    }
}

static void search(const struct symbols *symbols, struct wanted *wanted, size_t count)
{
    elf_symbol *chunk = malloc(SYMBOLS_READ * sizeof(*chunk));
    uint64_t left = symbols->table.size / sizeof(*chunk), at = symbols->table.at;
    left = left > SYMBOLS_MAX ? SYMBOLS_MAX : left;
    while (chunk != NULL && left > 0) {
        size_t now = left < SYMBOLS_READ ? (size_t)left : SYMBOLS_READ;
        if (!read_at(symbols->fd, chunk, now * sizeof(*chunk), at))
            break;
        for (size_t i = 0; i < now; i++)
            offer(&chunk[i], wanted, count);
        left -= now;
        at += now * sizeof(*chunk);
    }
    free(chunk);
}

static bool read_name(const struct symbols *symbols, uint32_t name, char *out, size_t size)
{
    if (name == 0 || name >= symbols->names.size || symbols->names.at > (uint64_t)INT64_MAX - name)
        return false;
    ssize_t got = pread(symbols->fd, out, size - 1, (off_t)(symbols->names.at + name));
    if (got <= 0)
        return false;
    out[got] = '\0';
    for (char *c = out; *c != '\0'; c++)
        if (*c < ' ' || *c > '~')
            *c = '?';
    return out[0] != '\0';
}

/* A path comes from the process that died: nothing but a plain file is opened for good. */
static bool open_symbols(const char *path, struct symbols *out_symbols)
{
    struct stat status;
    struct symbols symbols = {.fd = open(path[0] == '\0' ? "/proc/self/exe" : path,
                                         O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)};
    if (symbols.fd < 0)
        return false;
    if (fstat(symbols.fd, &status) == 0 && S_ISREG(status.st_mode) && find_tables(&symbols)) {
        *out_symbols = symbols;
        return true;
    }
    (void)close(symbols.fd);
    return false;
}

/* ---- the backtrace */

struct report {
    struct crash_record record; /* a copy, checked */
    struct wanted wanted[CRASH_FRAMES];
    char names[CRASH_FRAMES][NAME_MAX_SHOWN];
};

static void check_record(struct crash_record *record)
{
    struct blame_facts *blame = &record->blame;
    if (record->frame_count > CRASH_FRAMES)
        record->frame_count = CRASH_FRAMES;
    if (record->module_count > CRASH_MODULES)
        record->module_count = CRASH_MODULES;
    for (uint32_t i = 0; i < record->module_count; i++)
        record->modules[i][CRASH_PATH - 1] = '\0';
    blame->plugin[sizeof(blame->plugin) - 1] = '\0';
    blame->version[sizeof(blame->version) - 1] = '\0';
    blame->hash[sizeof(blame->hash) - 1] = '\0';
    blame->route[sizeof(blame->route) - 1] = '\0';
    blame->request[sizeof(blame->request) - 1] = '\0';
}

/* All frames of one module: one pass over its symbols. */
static void name_module(struct report *report, uint32_t module)
{
    struct wanted wanted[CRASH_FRAMES];
    uint32_t frames[CRASH_FRAMES], count = 0;
    struct symbols symbols;
    for (uint32_t i = 0; i < report->record.frame_count; i++) {
        const struct crash_frame *frame = &report->record.frames[i];
        if (frame->module != module)
            continue;
        /* All but the first are return addresses: the call is what is asked for. */
        wanted[count] = (struct wanted){.offset = frame->offset - (i > 0 ? 1 : 0)};
        frames[count++] = i;
    }
    if (count == 0 || !open_symbols(report->record.modules[module], &symbols))
        return;
    search(&symbols, wanted, count);
    for (uint32_t i = 0; i < count; i++) {
        report->wanted[frames[i]] = wanted[i];
        if (!read_name(&symbols, wanted[i].name, report->names[frames[i]], NAME_MAX_SHOWN))
            report->names[frames[i]][0] = '\0';
    }
    (void)close(symbols.fd);
}

static const char *file_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

/* Where the hash begins in "NAME.<hash>.so"; NULL: it is no private copy. */
static const char *hash_in(const char *name)
{
    size_t length = strlen(name), tail = IMAGE_DIGITS + strlen(".so");
    if (length <= tail + 1)
        return NULL;
    const char *hash = name + length - tail;
    return hash[-1] == '.' && strspn(hash, "0123456789abcdef") == IMAGE_DIGITS &&
                   strcmp(hash + IMAGE_DIGITS, ".so") == 0
               ? hash
               : NULL;
}

void crash_module_name(const char *path, char *out, size_t size)
{
    const char *name = file_name(path), *hash = hash_in(name);
    if (hash != NULL)
        (void)snprintf(out, size, "%.*s.so", (int)(hash - name + SHOWN_DIGITS), name);
    else
        (void)snprintf(out, size, "%s", name[0] == '\0' ? "weir" : name);
}

static void write_frame(const struct report *report, uint32_t index, struct buf *out)
{
    const struct crash_frame *frame = &report->record.frames[index];
    char module[128];
    if (frame->module >= report->record.module_count) {
        buf_printf(out, "  #%" PRIu32 " 0x%" PRIx64 "\n", index, frame->address);
        return;
    }
    crash_module_name(report->record.modules[frame->module], module, sizeof(module));
    buf_printf(out, "  #%" PRIu32 " %s+0x%" PRIx64, index, module, frame->offset);
    if (report->names[index][0] != '\0')
        buf_printf(out, " (%s+0x%" PRIx64 ")", report->names[index],
                   frame->offset - report->wanted[index].start);
    buf_byte(out, '\n');
}

static void write_address(const struct crash_record *record, struct buf *out)
{
    const char *name = sigabbrev_np(record->signal);
    if (record->signal == SIGABRT || name == NULL)
        return;
    buf_printf(out, "  SIG%s at address 0x%" PRIx64 "%s\n", name, record->address,
               record->signal != SIGSEGV     ? ""
               : record->code == SEGV_MAPERR ? " (nothing is there)"
               : record->code == SEGV_ACCERR ? " (no access)"
                                             : "");
}

void crash_backtrace(const struct crash_record *record, pid_t pid, struct buf *out)
{
    if (record == NULL || record->pid != pid)
        return;
    struct report *report = calloc(1, sizeof(*report));
    if (report == NULL)
        return;
    report->record = *record;
    check_record(&report->record);
    for (uint32_t i = 0; i < report->record.module_count; i++)
        name_module(report, i);
    write_address(&report->record, out);
    for (uint32_t i = 0; i < report->record.frame_count; i++)
        write_frame(report, i, out);
    free(report);
}

/* ---- the headline */

/* Another thread than the loop's: the innermost frame of a plugin says whose it is. */
static void blame_by_frames(const struct crash_record *record, struct death *death)
{
    for (uint32_t i = 0; i < record->frame_count; i++) {
        if (record->frames[i].module >= record->module_count)
            continue;
        const char *name = file_name(record->modules[record->frames[i].module]);
        const char *hash = hash_in(name);
        if (hash == NULL)
            continue;
        death->blamed = true;
        death->place = BLAME_THREAD;
        (void)snprintf(death->plugin, sizeof(death->plugin), "%.*s", (int)(hash - name - 1), name);
        memcpy(death->hash, hash, IMAGE_DIGITS);
        return;
    }
}

bool crash_tell(const struct crash_record *record, pid_t pid, struct death *death)
{
    if (record == NULL || record->pid != pid)
        return false;
    struct crash_record *copy = malloc(sizeof(*copy));
    if (copy == NULL)
        return false;
    *copy = *record;
    check_record(copy);
    const struct blame_facts *blame = &copy->blame;
    death->signal = copy->signal;
    death->has_record = true;
    death->blamed = blame->policy_plus_one != 0 || blame->plugin[0] != '\0';
    death->policy = blame->policy_plus_one - 1;
    death->place = blame->place;
    death->generation = blame->generation;
    memcpy(death->plugin, blame->plugin, sizeof(death->plugin));
    memcpy(death->version, blame->version, sizeof(death->version));
    memcpy(death->hash, blame->hash, sizeof(death->hash));
    memcpy(death->route, blame->route, sizeof(death->route));
    memcpy(death->request, blame->request, sizeof(death->request));
    if (copy->beside != 0)
        blame_by_frames(copy, death);
    free(copy);
    return true;
}

static void describe_end(const struct death *death, struct buf *out)
{
    const char *name = death->signal == 0 ? NULL : sigabbrev_np(death->signal);
    if (death->hung)
        buf_text(out, "hung");
    else if (name != NULL)
        buf_printf(out, "SIG%s", name);
    else if (death->signal != 0)
        buf_printf(out, "signal %d", death->signal);
    else
        buf_printf(out, "exit code %d", WEXITSTATUS(death->status));
}

void death_describe(const struct death *death, struct buf *out)
{
    describe_end(death, out);
    death_blame(death, out);
}

void death_blame(const struct death *death, struct buf *out)
{
    if (!death->blamed)
        return;
    buf_printf(out, " in %s", death->plugin[0] != '\0' ? death->plugin : "a plugin");
    if (death->version[0] != '\0')
        buf_printf(out, " %s", death->version);
    if (death->hash[0] != '\0')
        buf_printf(out, " (build %.*s)", (int)SHOWN_DIGITS, death->hash);
    const char *place = blame_place_name(death->place);
    if (place != NULL)
        buf_printf(out, ", %s", place);
    if (death->route[0] != '\0')
        buf_printf(out, ", route %s", death->route);
    if (death->request[0] != '\0')
        buf_printf(out, ", request %s", death->request);
}
