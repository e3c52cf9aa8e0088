/* The watch on what an image imports from libc: after it is loaded, its own table of imports (GOT)
 * gets our functions. Only this image calls them; memory keeps its real allocator, so blocks may
 * still be handed to other libraries. */
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fuzz_report.h"
#include "fuzz_watch.h"

#define SITE ((uintptr_t)__builtin_extract_return_addr(__builtin_return_address(0)))

static bool own_master;

bool watch_imports_clock(void)
{
    return own_master;
}

/* Offset in the file of the code that called us, when that is the image. */
static uint64_t offset_of(uintptr_t site)
{
    const struct watched *image = watch_current();
    return image == NULL || site < image->base ? 0 : site - image->base;
}

/* ---- memory */

static bool fails(void)
{
    if (!watch_on_loop || !watch_fails_now())
        return false;
    errno = ENOMEM;
    return true;
}

static void *our_malloc(size_t size)
{
    void *block = fails() ? NULL : malloc(size);
    block_added(block, size, offset_of(SITE));
    return block;
}

static void *our_calloc(size_t count, size_t size)
{
    void *block = fails() ? NULL : calloc(count, size);
    block_added(block, count * size, offset_of(SITE));
    return block;
}

static void our_free(void *block)
{
    int error = errno;
    if (block_removed(block, offset_of(SITE)))
        free(block);
    errno = error;
}

/* The table forgets the old block first: its address may be another one's a moment later. */
static void *our_realloc(void *block, size_t size)
{
    if (fails())
        return NULL;
    size_t before = block_forget(block);
    void *bigger = realloc(block, size);
    if (bigger == NULL && size > 0)
        block_added(block, before, offset_of(SITE)); /* NOLINT: it is still there */
    block_added(bigger, size, offset_of(SITE));
    return bigger;
}

static void *our_reallocarray(void *block, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return our_realloc(block, bytes);
}

static void *our_aligned_alloc(size_t alignment, size_t size)
{
    void *block = fails() ? NULL : aligned_alloc(alignment, size);
    block_added(block, size, offset_of(SITE));
    return block;
}

static int our_posix_memalign(void **out, size_t alignment, size_t size)
{
    if (fails())
        return ENOMEM;
    int error = posix_memalign(out, alignment, size);
    if (error == 0)
        block_added(*out, size, offset_of(SITE));
    return error;
}

static char *our_strdup(const char *text)
{
    char *copy = fails() ? NULL : strdup(text);
    block_added(copy, strlen(text) + 1, offset_of(SITE));
    return copy;
}

static char *our_strndup(const char *text, size_t size)
{
    char *copy = fails() ? NULL : strndup(text, size);
    block_added(copy, copy == NULL ? 0 : strlen(copy) + 1, offset_of(SITE));
    return copy;
}

static int our_vasprintf(char **out, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));
static int our_vasprintf(char **out, const char *format, va_list args)
{
    int size = fails() ? -1 : vasprintf(out, format, args);
    if (size >= 0)
        block_added(*out, (size_t)size + 1, offset_of(SITE));
    return size;
}

static int our_asprintf(char **out, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int our_asprintf(char **out, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int size = fails() ? -1 : vasprintf(out, format, args);
    va_end(args);
    if (size >= 0)
        block_added(*out, (size_t)size + 1, offset_of(SITE));
    return size;
}

/* C++: what the import was before, as libstdc++ makes some of the blocks itself. */
static void *(*cpp_new)(size_t size), *(*cpp_new_array)(size_t size);
static void (*cpp_delete)(void *), (*cpp_delete_sized)(void *, size_t);
static void (*cpp_delete_array)(void *), (*cpp_delete_array_sized)(void *, size_t);

static void *our_new(size_t size)
{
    void *block = cpp_new(size);
    block_added(block, size, offset_of(SITE));
    return block;
}

static void *our_new_array(size_t size)
{
    void *block = cpp_new_array(size);
    block_added(block, size, offset_of(SITE));
    return block;
}

static void our_delete(void *block)
{
    (void)block_forget(block);
    cpp_delete(block);
}

static void our_delete_sized(void *block, size_t size)
{
    (void)block_forget(block);
    cpp_delete_sized(block, size);
}

static void our_delete_array(void *block)
{
    (void)block_forget(block);
    cpp_delete_array(block);
}

static void our_delete_array_sized(void *block, size_t size)
{
    (void)block_forget(block);
    cpp_delete_array_sized(block, size);
}

/* ---- what does not come back at once */

/* Start and stop may take a moment, requests may not; threads of the plugin do as they like. */
static bool must_not_block(void)
{
    enum watch_phase phase = watch_running_phase();
    return watch_on_loop && watch_judges() && phase != WATCH_PHASES && phase != WATCH_START &&
           phase != WATCH_STOP;
}

static void blocks(const char *call, uintptr_t site)
{
    if (must_not_block())
        report_find_at(offset_of(site), "blocking call", NULL,
                       "%s() waits; every request of the worker waits with it", call);
}

static bool fd_blocks(int fd)
{
    struct stat info;
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || (flags & O_NONBLOCK) != 0 || fstat(fd, &info) != 0)
        return false;
    return S_ISSOCK(info.st_mode) || S_ISFIFO(info.st_mode);
}

static unsigned our_sleep(unsigned seconds)
{
    blocks("sleep", SITE);
    return watch_on_loop ? 0 : sleep(seconds);
}

static int our_usleep(useconds_t us)
{
    blocks("usleep", SITE);
    return watch_on_loop ? 0 : usleep(us);
}

static int our_nanosleep(const struct timespec *time, struct timespec *rest)
{
    blocks("nanosleep", SITE);
    return watch_on_loop ? 0 : nanosleep(time, rest);
}

static int our_clock_nanosleep(clockid_t clock, int flags, const struct timespec *time,
                               struct timespec *rest)
{
    blocks("clock_nanosleep", SITE);
    return watch_on_loop ? 0 : clock_nanosleep(clock, flags, time, rest);
}

static int our_poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
    if (timeout_ms != 0)
        blocks("poll", SITE);
    return poll(fds, count, timeout_ms);
}

static int our_select(int count, fd_set *in, fd_set *out, fd_set *error, struct timeval *timeout)
{
    if (timeout == NULL || timeout->tv_sec != 0 || timeout->tv_usec != 0)
        blocks("select", SITE);
    return select(count, in, out, error, timeout);
}

static int our_epoll_wait(int fd, struct epoll_event *events, int count, int timeout_ms)
{
    if (timeout_ms != 0)
        blocks("epoll_wait", SITE);
    return epoll_wait(fd, events, count, timeout_ms);
}

static int our_connect(int fd, const struct sockaddr *address, socklen_t size)
{
    if (fd_blocks(fd))
        blocks("connect", SITE);
    return connect(fd, address, size);
}

static int our_accept(int fd, struct sockaddr *address, socklen_t *size)
{
    if (fd_blocks(fd))
        blocks("accept", SITE);
    return accept(fd, address, size);
}

static ssize_t our_recv(int fd, void *to, size_t size, int flags)
{
    if ((flags & MSG_DONTWAIT) == 0 && fd_blocks(fd))
        blocks("recv", SITE);
    return recv(fd, to, size, flags);
}

static ssize_t our_recvfrom(int fd, void *to, size_t size, int flags, struct sockaddr *address,
                            socklen_t *address_size)
{
    if ((flags & MSG_DONTWAIT) == 0 && fd_blocks(fd))
        blocks("recvfrom", SITE);
    return recvfrom(fd, to, size, flags, address, address_size);
}

static ssize_t our_send(int fd, const void *from, size_t size, int flags)
{
    if ((flags & MSG_DONTWAIT) == 0 && fd_blocks(fd))
        blocks("send", SITE);
    return send(fd, from, size, flags);
}

static ssize_t our_read(int fd, void *to, size_t size)
{
    if (fd_blocks(fd))
        blocks("read", SITE);
    return read(fd, to, size);
}

static ssize_t our_write(int fd, const void *from, size_t size)
{
    if (fd_blocks(fd))
        blocks("write", SITE);
    return write(fd, from, size);
}

static int our_getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                           struct addrinfo **out)
{
    if (hints == NULL || (hints->ai_flags & AI_NUMERICHOST) == 0)
        blocks("getaddrinfo", SITE);
    return getaddrinfo(name, service, hints, out);
}

static struct hostent *our_gethostbyname(const char *name)
{
    blocks("gethostbyname", SITE);
    return gethostbyname(name);
}

static int our_system(const char *command)
{
    blocks("system", SITE);
    return must_not_block() ? -1 : system(command); /* NOLINT: what the plugin asked for */
}

static FILE *our_popen(const char *command, const char *mode)
{
    blocks("popen", SITE);
    return popen(command, mode); /* NOLINT: what the plugin asked for */
}

static pid_t our_waitpid(pid_t child, int *status, int options)
{
    if ((options & WNOHANG) == 0)
        blocks("waitpid", SITE);
    return waitpid(child, status, options);
}

static int our_pthread_join(pthread_t thread, void **result)
{
    blocks("pthread_join", SITE);
    return pthread_join(thread, result);
}

static int our_pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex)
{
    blocks("pthread_cond_wait", SITE);
    return pthread_cond_wait(condition, mutex);
}

static int our_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                              void *(*run)(void *), void *arg)
{
    const struct watched *image = watch_current();
    if (watch_judges() && image != NULL && (image->original.capabilities & WEIR_CAP_THREADS) == 0)
        report_find_at(offset_of(SITE), "undeclared thread", NULL,
                       "pthread_create() without WEIR_CAP_THREADS: its code may be unloaded");
    return pthread_create(thread, attributes, run, arg);
}

/* ---- the table of imports */

/* ISO C has no cast from function to object pointer, so both sides go through a union. */
union pointer {
    void (*function)(void);
    uintptr_t address;
};

#define OURS(name_)                                  \
    {                                                \
#name_, {(void (*)(void))our_##name_ }, NULL \
    }
#define CPP(symbol_, ours_, was_)                   \
    {                                               \
        symbol_, {(void (*)(void))(ours_)}, &(was_) \
    }

static const struct import {
    const char *name;
    union pointer ours;
    void *was; /* a function pointer that keeps what was there */
} imports[] = {
    OURS(malloc),
    OURS(calloc),
    OURS(free),
    OURS(realloc),
    OURS(reallocarray),
    OURS(aligned_alloc),
    OURS(posix_memalign),
    OURS(strdup),
    OURS(strndup),
    OURS(vasprintf),
    OURS(asprintf),
    CPP("_Znwm", our_new, cpp_new),
    CPP("_Znam", our_new_array, cpp_new_array),
    CPP("_ZdlPv", our_delete, cpp_delete),
    CPP("_ZdlPvm", our_delete_sized, cpp_delete_sized),
    CPP("_ZdaPv", our_delete_array, cpp_delete_array),
    CPP("_ZdaPvm", our_delete_array_sized, cpp_delete_array_sized),
    OURS(sleep),
    OURS(usleep),
    OURS(nanosleep),
    OURS(clock_nanosleep),
    OURS(poll),
    OURS(select),
    OURS(epoll_wait),
    OURS(connect),
    OURS(accept),
    OURS(recv),
    OURS(recvfrom),
    OURS(send),
    OURS(read),
    OURS(write),
    OURS(getaddrinfo),
    OURS(gethostbyname),
    OURS(system),
    OURS(popen),
    OURS(waitpid),
    OURS(pthread_join),
    OURS(pthread_cond_wait),
    OURS(pthread_create),
};
enum { IMPORTS = sizeof(imports) / sizeof(imports[0]) };

/* With these a plugin may answer otherwise each time. */
static const char *const moody[] = {"time",       "gettimeofday", "clock_gettime", "rand",
                                    "random",     "getrandom",    "arc4random",    "RAND_bytes",
                                    "getentropy", "rand_r",       "drand48"};

static void note_moods(const char *name)
{
    for (size_t i = 0; i < sizeof(moody) / sizeof(moody[0]); i++)
        own_master = own_master || strcmp(name, moody[i]) == 0;
}

static void write_slot(uintptr_t *slot, const struct import *import)
{
    uintptr_t page = (uintptr_t)slot & ~(uintptr_t)4095;
    if (import->was != NULL)
        memcpy(import->was, slot, sizeof(*slot));
    /* It was made read-only after the relocation; the image lives for the child alone. */
    if (mprotect((void *)page, 4096, PROT_READ | PROT_WRITE) == 0) /* NOLINT */
        *slot = import->ours.address;
}

#if defined(__aarch64__)
enum {
    SLOT_CALL = R_AARCH64_JUMP_SLOT,
    SLOT_DATA = R_AARCH64_GLOB_DAT,
    SLOT_WORD = R_AARCH64_ABS64
};
#else
enum { SLOT_CALL = R_X86_64_JUMP_SLOT, SLOT_DATA = R_X86_64_GLOB_DAT, SLOT_WORD = R_X86_64_64 };
#endif

struct tables {
    const ElfW(Sym) * symbols;
    const char *names;
};

static void patch(uintptr_t base, const struct tables *tables, const ElfW(Rela) * rows, size_t size)
{
    for (size_t i = 0; rows != NULL && i < size / sizeof(*rows); i++) {
        uint64_t type = ELF64_R_TYPE(rows[i].r_info);
        const ElfW(Sym) *symbol = &tables->symbols[ELF64_R_SYM(rows[i].r_info)];
        if ((type != SLOT_CALL && type != SLOT_DATA && type != SLOT_WORD) ||
            symbol->st_shndx != SHN_UNDEF)
            continue;
        const char *name = tables->names + symbol->st_name;
        note_moods(name);
        for (size_t k = 0; k < IMPORTS; k++)
            if (strcmp(imports[k].name, name) == 0)
                write_slot((uintptr_t *)(base + rows[i].r_offset), &imports[k]); /* NOLINT */
    }
}

static const void *address(const ElfW(Dyn) * row)
{
    return (const void *)row->d_un.d_ptr; /* NOLINT: the linker wrote an address there */
}

void watch_imports(struct watched *image)
{
    struct tables tables = {0};
    const ElfW(Rela) *data = NULL, *calls = NULL;
    size_t data_size = 0, calls_size = 0;
    struct link_map *map = NULL;
    Dl_info info;
    void *extra = NULL;
    if (dladdr1(image->original.name, &info, &extra, RTLD_DL_LINKMAP) == 0 || extra == NULL)
        return;
    map = extra;
    image->base = map->l_addr;
    (void)snprintf(image->path, sizeof(image->path), "%s", map->l_name);
    for (const ElfW(Dyn) *row = map->l_ld; row->d_tag != DT_NULL; row++) {
        if (row->d_tag == DT_SYMTAB)
            tables.symbols = address(row);
        else if (row->d_tag == DT_STRTAB)
            tables.names = address(row);
        else if (row->d_tag == DT_RELA)
            data = address(row);
        else if (row->d_tag == DT_RELASZ)
            data_size = row->d_un.d_val;
        else if (row->d_tag == DT_JMPREL)
            calls = address(row);
        else if (row->d_tag == DT_PLTRELSZ)
            calls_size = row->d_un.d_val;
    }
    if (tables.symbols == NULL || tables.names == NULL)
        return;
    patch(map->l_addr, &tables, data, data_size);
    patch(map->l_addr, &tables, calls, calls_size);
}
