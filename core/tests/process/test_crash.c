/* Last words: what a process that crashes leaves behind, and what the master makes of it, whatever
 * it is. */
#include <criterion/criterion.h>
#include <elf.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "process/crash.h"

TestSuite(process_crash, .timeout = 60);

#define HASH "9f3c01ab22d0aaaabbbbccccddddeeeeffff00001111222233334444555566aa"

static struct crash_record *record;

static void make_record(void)
{
    record = crash_records_create(1);
    cr_assert_not_null(record);
}

static void free_record(void)
{
    crash_records_destroy(record, 1);
}

static void expect_has(const struct buf *text, const char *wanted, const char *why)
{
    cr_expect(memmem(text->data, text->size, wanted, strlen(wanted)) != NULL,
              "%s: no '%s' in\n%.*s", why, wanted, (int)text->size, text->data);
}

/* ---- in words */

Test(process_crash, a_death_in_a_line)
{
    const struct {
        const char *why, *want;
        struct death death;
    } rows[] = {
        {"everything is known",
         "SIGSEGV in tenant-quota 1.0.1 (build 9f3c01ab22d0), access, route r7, request 0b1f",
         {.signal = SIGSEGV,
          .blamed = true,
          .place = PHASE_ACCESS,
          .plugin = "tenant-quota",
          .version = "1.0.1",
          .hash = HASH,
          .route = "r7",
          .request = "0b1f"}},
        {"outside of requests",
         "SIGABRT in p 1 (build 9f3c01ab22d0), a timer",
         {.signal = SIGABRT,
          .blamed = true,
          .place = BLAME_TIMER,
          .plugin = "p",
          .version = "1",
          .hash = HASH}},
        {"it was killed, and only its slot tells that a plugin ran",
         "SIGKILL in a plugin, log",
         {.signal = SIGKILL, .blamed = true, .place = PHASE_LOG}},
        {"no plugin ran: nothing else is said",
         "SIGBUS",
         {.signal = SIGBUS, .plugin = "innocent", .route = "r7"}},
        {"a hang is not called by the signal that ended it",
         "hung in p, start",
         {.signal = SIGABRT, .hung = true, .blamed = true, .place = BLAME_START, .plugin = "p"}},
        {"it exited",
         "exit code 3 in p, stop",
         {.status = 3 << 8, .blamed = true, .place = BLAME_STOP, .plugin = "p"}},
        {"a place nobody knows is left out",
         "SIGILL in p",
         {.signal = SIGILL, .blamed = true, .place = BLAME_PLACES, .plugin = "p"}},
        {"a signal without a name", "signal 63", {.signal = 63}},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        AUTO_BUF text = BUF_INIT;
        death_describe(&rows[i].death, &text);
        cr_expect(span_equal(buf_view(&text), span_text(rows[i].want)), "%s: have '%.*s'",
                  rows[i].why, SPAN_ARG(buf_view(&text)));
    }
}

Test(process_crash, a_module_is_named_by_its_file)
{
    const struct {
        const char *why, *path, *want;
    } rows[] = {
        {"a private copy shows its build as everywhere else",
         "/run/weir/images/key-auth." HASH ".so", "key-auth.9f3c01ab22d0.so"},
        {"another library has its own name", "/lib/x86_64-linux-gnu/libc.so.6", "libc.so.6"},
        {"the program itself has no path", "", "weir"},
        {"a hash with one digit too few is none", "/i/a.9f3c.so", "a.9f3c.so"},
        {"nothing before the hash", "/i/" HASH ".so", HASH ".so"},
        {"no digits of a hash",
         "/i/a.zf3c01ab22d0aaaabbbbccccddddeeeeffff00001111222233334444555566aa.so",
         "a.zf3c01ab22d0aaaabbbbccccddddeeeeffff00001111222233334444555566aa.so"},
    };
    char name[128];
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        crash_module_name(rows[i].path, name, sizeof(name));
        cr_expect_str_eq(name, rows[i].want, "%s", rows[i].why);
    }
    char small[8];
    crash_module_name("/lib/libcrypto.so.3", small, sizeof(small));
    cr_expect_str_eq(small, "libcryp", "cut, and terminated");
}

/* ---- real crashes */

static void *volatile nothing;
static volatile uintptr_t unmapped = 64; /* of the first page; not NULL, which a sanitizer knows */

__attribute__((noinline)) static void crash_by_store(void)
{
    *(volatile int *)unmapped = 1;
}

__attribute__((noinline)) static void crash_by_abort(void)
{
    abort();
}

/* A small stack is full sooner. */
__attribute__((noinline)) static int crash_by_depth(volatile char *above, int depth)
{
    volatile char room[4096];
    room[depth % 4096] = (char)(above[0] + 1);
    int below = nothing == NULL ? crash_by_depth(room, depth + 1) : depth;
    return below + room[depth % 4096];
}

__attribute__((noinline)) static void crash_by_overflow(void)
{
    volatile char first[1] = {0};
    (void)crash_by_depth(first, 0);
}

__attribute__((noinline)) static void crash_by_null_call(void)
{
    void (*volatile function)(void) = NULL;
    function();
    nothing = NULL; /* or the call above would be a jump */
}

__attribute__((noinline)) static void crash_by_signal(void)
{
    (void)kill(getpid(), SIGABRT);
    nothing = NULL;
}

static pid_t crash_child(void (*how)(void), int *out_status)
{
    static const int fatal[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};
    const struct rlimit none = {0, 0};
    pid_t pid = fork();
    if (pid == 0) {
        /* Of a sanitizer, or of the test's own frame. */
        for (size_t i = 0; i < COUNT_OF(fatal); i++)
            (void)signal(fatal[i], SIG_DFL);
        (void)setrlimit(RLIMIT_CORE, &none);
        crash_catch(record, -1);
        how();
        _exit(0);
    }
    cr_assert_eq(waitpid(pid, out_status, 0), pid);
    return pid;
}

Test(process_crash, a_crash_leaves_its_record, .init = make_record, .fini = free_record)
{
    const struct {
        const char *why;
        void (*how)(void);
        int want;
        const char *function;
    } rows[] = {
        {"a store through a wild pointer", crash_by_store, SIGSEGV, "(crash_by_store+0x"},
        {"an abort: its caller is among the frames", crash_by_abort, SIGABRT, "(crash_by_abort+0x"},
        {"no stack is left: the handler has its own", crash_by_overflow, SIGSEGV,
         "(crash_by_depth+0x"},
        {"what is no code still has a caller", crash_by_null_call, SIGSEGV,
         "(crash_by_null_call+0x"},
        {"a signal from outside, and the process does not live on", crash_by_signal, SIGABRT,
         "(crash_by_signal+0x"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        int status = 0;
        AUTO_BUF text = BUF_INIT;
        struct death death = {.policy = 7};
        pid_t pid = crash_child(rows[i].how, &status);
        cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == rows[i].want, "%s: status 0x%x",
                  rows[i].why, (unsigned)status);
        cr_assert(crash_tell(record, pid, &death), "%s", rows[i].why);
        cr_expect_eq(death.signal, rows[i].want, "%s", rows[i].why);
        cr_expect_not(death.blamed, "%s", rows[i].why);
        cr_expect_geq(record->frame_count, 2, "%s", rows[i].why);
        crash_backtrace(record, pid, &text);
        expect_has(&text, rows[i].function, rows[i].why);
        cr_expect_not(crash_tell(record, pid + 1, &death), "the words of another are not its own");
    }
}

static void do_nothing(void)
{
}

Test(process_crash, who_does_not_crash_leaves_nothing, .init = make_record, .fini = free_record)
{
    int status = 0;
    struct death death = {0};
    AUTO_BUF text = BUF_INIT;
    record->pid = 1;
    record->frame_count = 3;
    pid_t pid = crash_child(do_nothing, &status);
    cr_expect_eq(status, 0);
    cr_expect_not(crash_tell(record, pid, &death));
    cr_expect_not(crash_tell(NULL, pid, &death));
    crash_backtrace(record, pid, &text);
    cr_expect_eq(text.size, 0);
    cr_expect_eq(record->frame_count, 0, "the words of who was there before are gone");
}

/* ---- records gone wild */

Test(process_crash, a_record_of_rubbish_is_read_within_its_bounds, .init = make_record,
     .fini = free_record)
{
    struct death death = {0};
    AUTO_BUF text = BUF_INIT, line = BUF_INIT;
    memset(record, 0xee, sizeof(*record));
    crash_backtrace(record, record->pid, &text);
    expect_has(&text, "#31 0x", "no more frames than there is room for");
    cr_expect(memmem(text.data, text.size, "#32", 3) == NULL);
    cr_assert(crash_tell(record, record->pid, &death));
    death_describe(&death, &line);
    cr_expect_leq(line.size, 512, "every text ends");
}

Test(process_crash, another_thread_is_blamed_by_its_frames, .init = make_record,
     .fini = free_record)
{
    const struct {
        const char *why;
        uint32_t beside;
        const char *modules[3], *want;
    } rows[] = {
        {"the innermost plugin, not the library it called",
         1,
         {"/lib/libc.so.6", "/i/a." HASH ".so", "/i/b." HASH ".so"},
         "a"},
        {"no plugin at all", 1, {"/lib/libc.so.6", "", "/lib/libev.so.4"}, ""},
        {"on the loop's thread it is the host who knows", 0, {"/i/a." HASH ".so", "", ""}, ""},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct death death = {0};
        memset(record, 0, sizeof(*record));
        record->pid = 5;
        record->signal = SIGSEGV;
        record->beside = rows[i].beside;
        record->frame_count = record->module_count = 3;
        for (uint32_t j = 0; j < 3; j++) {
            record->frames[j].module = j;
            (void)snprintf(record->modules[j], CRASH_PATH, "%s", rows[i].modules[j]);
        }
        cr_assert(crash_tell(record, 5, &death));
        cr_expect_eq(death.blamed, rows[i].want[0] != '\0', "%s", rows[i].why);
        cr_expect_str_eq(death.plugin, rows[i].want, "%s", rows[i].why);
        cr_expect_str_eq(death.hash, death.blamed ? HASH : "", "%s", rows[i].why);
        cr_expect(!death.blamed || death.place == BLAME_THREAD, "%s", rows[i].why);
    }
}

/* ---- symbol tables */

struct tiny { /* an object with one function, "victim", at 0x100 */
    Elf64_Ehdr head;
    Elf64_Shdr sections[3];
    Elf64_Sym symbols[2];
    char names[16];
};

static struct tiny make_tiny(void)
{
    struct tiny tiny;
    memset(&tiny, 0, sizeof(tiny));
    memcpy(tiny.head.e_ident, ELFMAG, SELFMAG);
    tiny.head.e_ident[EI_CLASS] = ELFCLASS64;
    tiny.head.e_shoff = offsetof(struct tiny, sections);
    tiny.head.e_shentsize = sizeof(Elf64_Shdr);
    tiny.head.e_shnum = 3;
    tiny.sections[1] = (Elf64_Shdr){.sh_type = SHT_SYMTAB,
                                    .sh_offset = offsetof(struct tiny, symbols),
                                    .sh_size = sizeof(tiny.symbols),
                                    .sh_link = 2};
    tiny.sections[2] = (Elf64_Shdr){.sh_type = SHT_STRTAB,
                                    .sh_offset = offsetof(struct tiny, names),
                                    .sh_size = sizeof(tiny.names)};
    tiny.symbols[1] = (Elf64_Sym){.st_name = 1,
                                  .st_info = ELF64_ST_INFO(STB_LOCAL, STT_FUNC),
                                  .st_shndx = 1,
                                  .st_value = 0x100,
                                  .st_size = 0x40};
    memcpy(tiny.names, "\0victim", 8);
    return tiny;
}

static void expect_frame(const char *why, const char *path, uint64_t offset, const char *want)
{
    AUTO_BUF text = BUF_INIT;
    memset(record, 0, sizeof(*record));
    record->pid = 5;
    record->signal = SIGABRT;
    record->frame_count = record->module_count = 1;
    record->frames[0].offset = offset;
    (void)snprintf(record->modules[0], sizeof(record->modules[0]), "%s", path);
    crash_backtrace(record, 5, &text);
    cr_expect(span_equal(buf_view(&text), span_text(want)), "%s: have '%.*s'", why,
              SPAN_ARG(buf_view(&text)));
}

static void write_file(const char *path, const void *bytes, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, bytes, size), (ssize_t)size);
    (void)close(fd);
}

enum spoiled {
    NOT,
    MAGIC,
    CLASS,
    OFFSET,
    COUNT,
    ENTRY,
    LINK,
    TABLE,
    HUGE_TABLE,
    NAME,
    NAMES,
    KIND
};

static void spoil(struct tiny *tiny, enum spoiled what)
{
    switch (what) {
    case NOT:
        break;
    case MAGIC:
        tiny->head.e_ident[0] = 'e';
        break;
    case CLASS:
        tiny->head.e_ident[EI_CLASS] = ELFCLASS32;
        break;
    case OFFSET:
        tiny->head.e_shoff = UINT64_MAX - 8;
        break;
    case COUNT:
        tiny->head.e_shnum = UINT16_MAX;
        break;
    case ENTRY:
        tiny->head.e_shentsize = 1;
        break;
    case LINK:
        tiny->sections[1].sh_link = 77;
        break;
    case TABLE:
        tiny->sections[1].sh_offset = UINT64_MAX - 4;
        break;
    case HUGE_TABLE:
        tiny->sections[1].sh_size = UINT64_MAX;
        break;
    case NAME:
        tiny->symbols[1].st_name = 4096;
        break;
    case NAMES:
        tiny->sections[2].sh_offset = UINT64_MAX - 1;
        break;
    case KIND:
        tiny->symbols[1].st_info = ELF64_ST_INFO(STB_LOCAL, STT_OBJECT);
        break;
    }
}

Test(process_crash, symbols_are_found_and_broken_files_do_no_harm, .init = make_record,
     .fini = free_record)
{
    const struct {
        const char *why;
        uint64_t offset;
        enum spoiled spoiled;
        bool found;
    } rows[] = {
        {"its first byte", 0x100, NOT, true},
        {"its last byte", 0x13f, NOT, true},
        {"behind it", 0x140, NOT, false},
        {"before it", 0xff, NOT, false},
        {"no object at all", 0x100, MAGIC, false},
        {"of another machine word", 0x100, CLASS, false},
        {"sections beyond the end of everything", 0x100, OFFSET, false},
        {"more sections than we look at", 0x100, COUNT, false},
        {"sections of another size", 0x100, ENTRY, false},
        {"names in no section", 0x100, LINK, false},
        {"symbols beyond the end of everything", 0x100, TABLE, false},
        {"more symbols than there are: none is believed", 0x100, HUGE_TABLE, false},
        {"a name outside of the names", 0x100, NAME, false},
        {"names beyond the end of everything", 0x100, NAMES, false},
        {"data is no function", 0x100, KIND, false},
    };
    char path[] = "/tmp/weir-test-XXXXXX", want[128];
    (void)close(mkstemp(path));
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct tiny tiny = make_tiny();
        spoil(&tiny, rows[i].spoiled);
        write_file(path, &tiny, sizeof(tiny));
        int size = snprintf(want, sizeof(want), "  #0 %s+0x%llx", strrchr(path, '/') + 1,
                            (unsigned long long)rows[i].offset);
        if (rows[i].found)
            (void)snprintf(want + size, sizeof(want) - (size_t)size, " (victim+0x%llx)\n",
                           (unsigned long long)rows[i].offset - 0x100);
        else
            (void)snprintf(want + size, sizeof(want) - (size_t)size, "\n");
        expect_frame(rows[i].why, path, rows[i].offset, want);
    }
    (void)unlink(path);
}

Test(process_crash, paths_that_are_no_files_are_left_alone, .init = make_record,
     .fini = free_record)
{
    char folder[] = "/tmp/weir-test-XXXXXX", path[128], want[128];
    cr_assert_not_null(mkdtemp(folder));
    (void)snprintf(path, sizeof(path), "%s/pipe", folder);
    cr_assert_eq(mkfifo(path, 0600), 0);
    expect_frame("nobody waits at a pipe", path, 0x10, "  #0 pipe+0x10\n");
    (void)unlink(path);
    expect_frame("it is gone", path, 0x10, "  #0 pipe+0x10\n");
    (void)snprintf(want, sizeof(want), "  #0 %s+0x10\n", strrchr(folder, '/') + 1);
    expect_frame("a folder", folder, 0x10, want);
    expect_frame("a device", "/dev/zero", 0x10, "  #0 zero+0x10\n");
    (void)rmdir(folder);
}
