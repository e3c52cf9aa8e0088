/* The handler. Everything it calls is async-signal-safe: the unwinder finds its tables without a
 * lock (glibc 2.35, _dl_find_object), and the same call names the file of an address. */
#include "process/crash.h"

#include <dlfcn.h>
#include <link.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <ucontext.h>
#include <unistd.h>
#include <unwind.h>

/* Enough for a sanitizer's report behind us. */
enum { STACK_SIZE = 512 * 1024, SKIPPED_MAX = 32 };

static const int fatal[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};

static struct {
    struct crash_record *record;
    const struct plugin_host *host;
    pid_t thread; /* of the loop: whose code runs is said of it alone */
    int print;
    int entered;
    struct sigaction earlier[COUNT_OF(fatal)];
} crash;

/* ---- where a fault happened */

struct place {
    uintptr_t at, stack;
};

static struct place place_of(void *context)
{
    const ucontext_t *user = context;
#if defined(__x86_64__)
    return (struct place){(uintptr_t)user->uc_mcontext.gregs[REG_RIP],
                          (uintptr_t)user->uc_mcontext.gregs[REG_RSP]};
#elif defined(__aarch64__)
    return (struct place){user->uc_mcontext.pc, user->uc_mcontext.sp};
#else
    (void)user;
    return (struct place){0, 0};
#endif
}

/* Who called what is no code, such as a NULL function: the unwinder knows nothing of it. */
static uintptr_t caller_of(void *context)
{
    uintptr_t caller = 0;
#if defined(__x86_64__)
    /* Through the kernel, which answers EFAULT where a load would be the next fault. */
    struct iovec into = {&caller, sizeof(caller)};
    struct iovec from = {(void *)place_of(context).stack, sizeof(caller)};
    if (process_vm_readv(getpid(), &into, 1, &from, 1, 0) != sizeof(caller))
        return 0;
#elif defined(__aarch64__)
    const ucontext_t *user = context;
    caller = user->uc_mcontext.regs[30];
#else
    (void)context;
#endif
    return caller;
}

/* ---- frames */

static uint32_t module_of(struct crash_record *record, const char *path)
{
    uint32_t i = 0;
    while (i < record->module_count && strncmp(record->modules[i], path, CRASH_PATH - 1) != 0)
        i++;
    if (i == CRASH_MODULES)
        return CRASH_NOWHERE;
    if (i == record->module_count) {
        memcpy(record->modules[i], path, strnlen(path, CRASH_PATH - 1));
        record->module_count++;
    }
    return i;
}

/* False: it lies in no file. A return address may be the first of the next function. */
static bool add_frame(struct crash_record *record, uintptr_t address, bool is_return)
{
    struct dl_find_object found;
    if (record->frame_count == CRASH_FRAMES)
        return false;
    struct crash_frame *frame = &record->frames[record->frame_count];
    frame->address = address;
    frame->module = CRASH_NOWHERE;
    uintptr_t looked = address - (is_return ? 1 : 0);
    bool known = _dl_find_object((void *)looked, &found) == 0;
    if (known) {
        frame->offset = address - found.dlfo_link_map->l_addr;
        frame->module = module_of(record, found.dlfo_link_map->l_name);
    }
    record->frame_count++;
    return known;
}

struct unwinding {
    struct crash_record *record;
    uintptr_t from; /* frames inside of it are the handler's */
    bool begun;
    int skipped;
};

static _Unwind_Reason_Code on_frame(struct _Unwind_Context *context, void *user)
{
    struct unwinding *unwinding = user;
    int exact = 0;
    uintptr_t at = _Unwind_GetIPInfo(context, &exact);
    if (at == 0)
        return _URC_END_OF_STACK;
    if (unwinding->begun)
        (void)add_frame(unwinding->record, at, exact == 0);
    else if (at == unwinding->from)
        unwinding->begun = true;
    else if (++unwinding->skipped == SKIPPED_MAX)
        return _URC_END_OF_STACK;
    /* A runaway recursion has no end. */
    return unwinding->record->frame_count == CRASH_FRAMES ? _URC_END_OF_STACK : _URC_NO_REASON;
}

static void write_frames(struct crash_record *record, void *context)
{
    struct unwinding unwinding = {.record = record, .from = place_of(context).at};
    if (!add_frame(record, unwinding.from, false)) {
        uintptr_t caller = caller_of(context);
        if (caller != 0)
            (void)add_frame(record, caller, true);
    }
    (void)_Unwind_Backtrace(on_frame, &unwinding);
}

/* ---- text, for who has no master */

struct text {
    char bytes[512];
    size_t size;
};

static void add_text(struct text *text, const char *more)
{
    size_t size = strnlen(more, sizeof(text->bytes) - text->size);
    memcpy(text->bytes + text->size, more, size);
    text->size += size;
}

static void add_hex(struct text *text, uint64_t value)
{
    char digits[19] = "0x";
    int shift = 60;
    while (shift > 0 && value >> shift == 0)
        shift -= 4;
    for (size_t at = 2; shift >= 0; shift -= 4)
        digits[at++] = "0123456789abcdef"[value >> shift & 15];
    add_text(text, digits);
}

static void print(struct text *text)
{
    add_text(text, "\n");
    (void)!write(crash.print, text->bytes, text->size);
    text->size = 0;
}

static void print_record(const struct crash_record *record)
{
    struct text text = {.size = 0};
    const char *signal_name = sigabbrev_np(record->signal);
    const char *place = blame_place_name(record->blame.place);
    const struct {
        const char *before, *value;
    } parts[] = {
        {"weir crashed: SIG", signal_name == NULL ? "?" : signal_name},
        {" in ", record->blame.plugin},
        {" ", record->blame.version},
        {", ", record->blame.plugin[0] == '\0' ? NULL : place},
        {", route ", record->blame.route},
        {", request ", record->blame.request},
    };
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        if (parts[i].value == NULL || parts[i].value[0] == '\0')
            continue;
        add_text(&text, parts[i].before);
        add_text(&text, parts[i].value);
    }
    print(&text);
    for (uint32_t i = 0; i < record->frame_count; i++) {
        const struct crash_frame *frame = &record->frames[i];
        bool known = frame->module < record->module_count;
        const char *path = known ? record->modules[frame->module] : "?";
        add_text(&text, "  at ");
        add_text(&text, path[0] == '\0' ? "weir" : path);
        add_text(&text, "+");
        add_hex(&text, known ? frame->offset : frame->address);
        print(&text);
    }
}

/* ---- the handler */

static void pass_on(int signum, siginfo_t *info, void *context)
{
    struct sigaction again = {.sa_handler = SIG_DFL};
    for (size_t i = 0; i < COUNT_OF(fatal); i++) {
        const struct sigaction *earlier = &crash.earlier[i];
        if (fatal[i] != signum)
            continue;
        if ((earlier->sa_flags & SA_SIGINFO) != 0)
            earlier->sa_sigaction(signum, info, context);
    }
    /* It waits until the handler has returned, so a core shows the place of the fault. */
    (void)sigaction(signum, &again, NULL);
    (void)raise(signum);
}

static void on_fatal(int signum, siginfo_t *info, void *context)
{
    /* A second time: writing the record was the crash, or another thread had the same idea. */
    if (__atomic_exchange_n(&crash.entered, 1, __ATOMIC_SEQ_CST) == 0) {
        struct crash_record *record = crash.record;
        record->signal = signum;
        record->code = info->si_code;
        record->address = signum == SIGABRT ? 0 : (uint64_t)(uintptr_t)info->si_addr;
        record->pid = getpid();
        record->beside = gettid() != crash.thread;
        if (!record->beside)
            plugin_host_blame(crash.host, &record->blame);
        write_frames(record, context);
        if (crash.print >= 0)
            print_record(record);
    }
    pass_on(signum, info, context);
}

static _Unwind_Reason_Code warm(struct _Unwind_Context *context, void *user)
{
    (void)context, (void)user;
    return _URC_END_OF_STACK;
}

/* Guarded below, so that its own overflow is a fault and not somebody's data. */
static void make_stack(void)
{
    size_t guard = (size_t)sysconf(_SC_PAGESIZE);
    char *memory = mmap(NULL, guard + STACK_SIZE, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return;
    (void)mprotect(memory, guard, PROT_NONE);
    const stack_t stack = {.ss_sp = memory + guard, .ss_size = STACK_SIZE};
    if (sigaltstack(&stack, NULL) != 0)
        (void)munmap(memory, guard + STACK_SIZE);
}

void crash_catch(struct crash_record *record, int print_to)
{
    struct sigaction action = {.sa_sigaction = on_fatal, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    /* All of them wait: a fault in the handler is the end, and no second handler. */
    (void)sigfillset(&action.sa_mask);
    *record = (struct crash_record){0}; /* of who had it before */
    crash.record = record;
    crash.thread = gettid();
    crash.print = print_to;
    crash.host = NULL;
    make_stack();
    (void)_Unwind_Backtrace(warm, NULL); /* binds what it calls */
    for (size_t i = 0; i < COUNT_OF(fatal); i++)
        (void)sigaction(fatal[i], &action, &crash.earlier[i]);
}

void crash_set_host(const struct plugin_host *host)
{
    crash.host = host;
}

struct crash_record *crash_records_create(uint32_t count)
{
    void *records = mmap(NULL, count * sizeof(struct crash_record), PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return records == MAP_FAILED ? NULL : records;
}

void crash_records_destroy(struct crash_record *records, uint32_t count)
{
    if (records != NULL)
        (void)munmap(records, count * sizeof(struct crash_record));
}
