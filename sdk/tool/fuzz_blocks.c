/* Memory of the plugin: what it took from malloc() and has not given back, by whom; what it gave
 * back (kept for a while and overwritten, so that a later use shows, unless AddressSanitizer does
 * that better); and request memory in pages that vanish with the request. */
#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz_report.h"
#include "fuzz_watch.h"

enum {
    BLOCKS = 1 << 17, /* that live at once; with more of them nothing is said of leaks */
    BLOCKS_FULL = BLOCKS / 4 * 3,
    KEPT = 1024, /* freed ones that are not given back yet */
    KEPT_SIZE_MAX = 1 << 16,
    GUARDS = 2048,
    PAGE = 4096,
    LEAK_BLOCKS = 3, /* of one place: a single one may be made once for good */
    PLACES = 64,     /* that are told apart */
    SCRIBBLE = 0xdd,
    SIGNAL_STACK = 1 << 16,
};

struct block {
    void *at; /* NULL: no block */
    size_t size;
    uintptr_t site;
    uint32_t image;
    enum watch_phase phase;
};

struct kept {
    unsigned char *at;
    size_t size;
    enum watch_phase freed_in;
};

struct guard {
    char *base, *data;
    size_t pages, size; /* the last page is never there */
    const weir_request *request;
    bool gone;
};

static struct block *blocks; /* open addressing */
static size_t block_count;
static bool overflowed;
static uint64_t held, policy_held, request_held, peak;
static struct kept kept[KEPT];
static size_t kept_next;
static struct guard guards[GUARDS];
static size_t guard_next;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* AddressSanitizer's, when it is there. */
static void *(*asan_region_is_poisoned)(void *begin, size_t size);
static size_t (*asan_get_free_stack)(void *address, void **trace, size_t size, int *thread);

bool watch_has_sanitizer(void)
{
    static bool asked;
    if (!asked) {
        void *poisoned = dlsym(RTLD_DEFAULT, "__asan_region_is_poisoned");
        void *stack = dlsym(RTLD_DEFAULT, "__asan_get_free_stack");
        memcpy(&asan_region_is_poisoned, &poisoned, sizeof(poisoned));
        memcpy(&asan_get_free_stack, &stack, sizeof(stack));
        asked = true;
    }
    return asan_region_is_poisoned != NULL && asan_get_free_stack != NULL;
}

/* ---- the table of live blocks */

static size_t slot_of(const void *at)
{
    return (size_t)((uintptr_t)at >> 4) * (size_t)0x9e3779b97f4a7c15 >> 47 & (BLOCKS - 1);
}

static size_t find(const void *at)
{
    size_t i = slot_of(at);
    while (blocks[i].at != NULL && blocks[i].at != at)
        i = (i + 1) & (BLOCKS - 1);
    return i;
}

/* Those behind it move up, so that none is lost behind a gap. */
static void take_out(size_t gap)
{
    held -= blocks[gap].size;
    block_count--;
    for (size_t i = (gap + 1) & (BLOCKS - 1); blocks[i].at != NULL; i = (i + 1) & (BLOCKS - 1)) {
        size_t home = slot_of(blocks[i].at);
        if (((i - home) & (BLOCKS - 1)) < ((i - gap) & (BLOCKS - 1)))
            continue;
        blocks[gap] = blocks[i];
        gap = i;
    }
    blocks[gap].at = NULL;
}

static void remember_peak(void)
{
    if (held + policy_held + request_held > peak)
        peak = held + policy_held + request_held;
}

void block_added(void *block, size_t size, uintptr_t site)
{
    struct watched *image = watch_current();
    if (block == NULL || image == NULL)
        return;
    (void)pthread_mutex_lock(&lock);
    if (blocks == NULL)
        blocks = calloc(BLOCKS, sizeof(*blocks));
    if (blocks == NULL || block_count >= BLOCKS_FULL) {
        overflowed = true;
    } else {
        size_t place = find(block);
        if (blocks[place].at != NULL) { /* a library freed it behind our back */
            take_out(place);
            place = find(block);
        }
        blocks[place] = (struct block){block, size, site, image->number, watch_running_phase()};
        block_count++;
        held += size;
        remember_peak();
    }
    if (watch_on_loop) {
        image->totals.malloc_bytes += size;
        image->totals.malloc_calls++;
    }
    (void)pthread_mutex_unlock(&lock);
}

size_t block_forget(void *block)
{
    size_t size = 0;
    if (block == NULL || blocks == NULL)
        return 0;
    (void)pthread_mutex_lock(&lock);
    size_t place = find(block);
    if (blocks[place].at != NULL) {
        size = blocks[place].size;
        take_out(place);
    }
    (void)pthread_mutex_unlock(&lock);
    return size;
}

/* ---- freed ones */

static bool is_scribbled(const struct kept *block)
{
    for (size_t i = 0; i < block->size; i++)
        if (block->at[i] != SCRIBBLE)
            return false;
    return true;
}

static void let_go(struct kept *block)
{
    if (block->at == NULL)
        return;
    if (!is_scribbled(block))
        report_find("use after free", watch_phase_name(block->freed_in),
                    "%zu bytes were written to after they had been freed in this phase",
                    block->size);
    free(block->at);
    block->at = NULL;
}

static const struct kept *find_kept(const void *data, size_t size)
{
    const unsigned char *from = data;
    for (size_t i = 0; i < KEPT; i++)
        if (kept[i].at != NULL && from < kept[i].at + kept[i].size && from + size > kept[i].at)
            return &kept[i];
    return NULL;
}

static bool keep(void *block, size_t size)
{
    if (watch_has_sanitizer() || !watch_judges() || size == 0 || size > KEPT_SIZE_MAX)
        return false;
    struct kept *slot = &kept[kept_next++ % KEPT];
    let_go(slot);
    memset(block, SCRIBBLE, size);
    *slot = (struct kept){block, size, watch_running_phase()};
    return true;
}

bool block_removed(void *block, uintptr_t site)
{
    if (block == NULL || blocks == NULL)
        return true;
    (void)pthread_mutex_lock(&lock);
    size_t place = find(block);
    bool known = blocks[place].at != NULL;
    bool twice = !known && find_kept(block, 1) != NULL;
    size_t size = blocks[place].size;
    if (known)
        take_out(place);
    bool is_kept = known && keep(block, size);
    (void)pthread_mutex_unlock(&lock);
    if (twice)
        report_find_at(site, "use after free", NULL, "a block is freed twice");
    return !twice && !is_kept;
}

/* ---- the host's memory */

void block_policy_bytes(size_t size)
{
    policy_held += size;
    remember_peak();
}

void block_request_bytes(size_t size)
{
    request_held += size;
    remember_peak();
}

void blocks_policies_gone(void)
{
    policy_held = request_held = 0;
}

uint64_t watch_bytes_held(void)
{
    return held + policy_held;
}

uint64_t watch_bytes_peak(void)
{
    uint64_t most = peak;
    request_held = 0;
    peak = held + policy_held;
    return most;
}

/* The end of the block is the end of the page, behind which there is none. */
void *block_request_alloc(const weir_request *request, size_t size)
{
    size_t room = (size + 15) / 16 * 16, pages = room / PAGE + 2;
    struct guard *guard = &guards[guard_next++ % GUARDS];
    if (guard->base != NULL)
        (void)munmap(guard->base, guard->pages * PAGE);
    *guard = (struct guard){0};
    char *base =
        mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED)
        return NULL;
    (void)mprotect(base + (pages - 1) * PAGE, PAGE, PROT_NONE);
    *guard = (struct guard){.base = base, .pages = pages, .size = size, .request = request};
    guard->data = base + (pages - 1) * PAGE - room;
    return guard->data;
}

void block_request_over(const weir_request *request)
{
    for (size_t i = 0; i < GUARDS; i++) {
        if (guards[i].base == NULL || guards[i].gone || guards[i].request != request)
            continue;
        guards[i].gone = true;
        (void)mprotect(guards[i].base, guards[i].pages * PAGE, PROT_NONE);
    }
}

static const struct guard *find_guard(const void *data)
{
    const char *at = data;
    for (size_t i = 0; i < GUARDS; i++)
        if (guards[i].base != NULL && at >= guards[i].base &&
            at < guards[i].base + guards[i].pages * PAGE)
            return &guards[i];
    return NULL;
}

enum memory_state block_state(const void *data, size_t size, const char **out_freed_in)
{
    const struct guard *guard = find_guard(data);
    if (guard != NULL)
        return guard->gone ? MEMORY_REQUEST_OVER : MEMORY_UNKNOWN;
    (void)pthread_mutex_lock(&lock);
    const struct kept *freed = find_kept(data, size);
    if (freed != NULL && freed->freed_in != WATCH_PHASES)
        *out_freed_in = watch_phase_name(freed->freed_in);
    (void)pthread_mutex_unlock(&lock);
    if (freed != NULL)
        return MEMORY_FREED;
    if (!watch_has_sanitizer())
        return MEMORY_UNKNOWN;
    void *trace[4], *poisoned = asan_region_is_poisoned((void *)(uintptr_t)data, size);
    int thread;
    return poisoned != NULL && asan_get_free_stack(poisoned, trace, 4, &thread) > 0
               ? MEMORY_FREED
               : MEMORY_UNKNOWN;
}

/* ---- at the end */

/* What is left of one place in the code. */
struct place {
    uintptr_t site;
    uint32_t image;
    enum watch_phase phase;
    size_t count;
    uint64_t bytes;
};

static struct place *place_for(struct place *places, const struct block *block)
{
    for (size_t i = 0; i < PLACES; i++) {
        if (places[i].count == 0)
            places[i] = (struct place){block->site, block->image, block->phase, 0, 0};
        if (places[i].site == block->site && places[i].image == block->image &&
            places[i].phase == block->phase)
            return &places[i];
    }
    return NULL;
}

/* Of several the one that holds most, whatever their order in the table: the same in every run. */
static const struct place *worst_of(const struct place *places)
{
    const struct place *worst = NULL;
    for (size_t i = 0; i < PLACES; i++)
        if (places[i].count >= LEAK_BLOCKS &&
            (worst == NULL || places[i].bytes > worst->bytes ||
             (places[i].bytes == worst->bytes && places[i].site < worst->site)))
            worst = &places[i];
    return worst;
}

static void judge_blocks(void)
{
    struct place places[PLACES] = {0};
    for (size_t i = 0; i < BLOCKS; i++) {
        struct place *place = blocks[i].at == NULL ? NULL : place_for(places, &blocks[i]);
        if (place == NULL)
            continue;
        place->count++;
        place->bytes += blocks[i].size;
    }
    const struct place *worst = worst_of(places);
    if (worst != NULL)
        report_find_at(worst->site, "leak", watch_phase_name(worst->phase),
                       "%llu bytes in %zu blocks, of %u requests, are still there after stop()",
                       (unsigned long long)worst->bytes, worst->count,
                       (unsigned)report_of()->requests);
}

void blocks_settle(void)
{
    for (size_t i = 0; i < KEPT; i++)
        let_go(&kept[i]);
    if (block_count == 0) /* the usual case, and the table is large */
        return;
    if (!overflowed && watch_judges())
        judge_blocks();
    memset(blocks, 0, BLOCKS * sizeof(*blocks));
    block_count = 0;
    held = 0;
    overflowed = false;
}

/* ---- signals */

static const int caught[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
enum { CAUGHT = sizeof(caught) / sizeof(caught[0]) };
static struct sigaction before[CAUGHT];

static void hand_on(int number, siginfo_t *info, void *context)
{
    for (size_t i = 0; i < CAUGHT; i++)
        if (caught[i] == number && (before[i].sa_flags & SA_SIGINFO) != 0 &&
            before[i].sa_sigaction != NULL)
            before[i].sa_sigaction(number, info, context);
}

/* The process ends here, so what is not safe in a handler is no worse than the crash. */
static void on_signal(int number, siginfo_t *info, void *context)
{
    bool has_address = number == SIGSEGV || number == SIGBUS;
    const struct guard *guard = has_address ? find_guard(info->si_addr) : NULL;
    if (guard != NULL && guard->gone)
        report_find("use after free", NULL,
                    "it uses %zu bytes from weir_request_alloc() of a request that is over",
                    guard->size);
    else if (guard != NULL)
        report_find("overflow", NULL, "it reaches past %zu bytes from weir_request_alloc()",
                    guard->size);
    else {
        hand_on(number, info, context); /* AddressSanitizer says more, and ends the process */
        report_find("crash", NULL, "%s", strsignal(number));
    }
    _exit(REPORT_EXIT);
}

void blocks_catch_signals(void)
{
    static char stack[SIGNAL_STACK];
    stack_t other = {.ss_sp = stack, .ss_size = sizeof(stack)};
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    (void)sigaltstack(&other, NULL);
    for (size_t i = 0; i < CAUGHT; i++)
        (void)sigaction(caught[i], &action, &before[i]);
}
