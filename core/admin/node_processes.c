/* What /proc says of the gateway's processes. */
#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "admin/node.h"

enum { /* counted from the one behind the name in /proc/PID/stat */
       STAT_USER_TICKS = 11,
       STAT_KERNEL_TICKS = 12,
       STAT_VIRTUAL = 20,
       STAT_RESIDENT = 21,
};

static bool read_stat(int32_t pid, struct node_process *process)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/%" PRId32 "/stat", pid);
    AUTO_BUF file = BUF_INIT;
    if (buf_read_file(&file, path, 4096) != WEIR_OK)
        return false;
    /* The name may hold spaces and brackets: the last one ends it. */
    struct span rest = buf_view(&file), field;
    size_t end = rest.size;
    while (end > 0 && rest.data[end - 1] != ')')
        end--;
    rest = span_from(rest, end < rest.size ? end + 1 : rest.size);
    for (int i = 0; span_split(&rest, ' ', &field); i++) {
        uint64_t value = 0;
        if (!text_to_u64(field, &value))
            continue;
        if (i == STAT_USER_TICKS || i == STAT_KERNEL_TICKS)
            process->cpu_ticks += value;
        else if (i == STAT_VIRTUAL)
            process->virtual_bytes = value;
        else if (i == STAT_RESIDENT)
            process->resident = value * (uint64_t)sysconf(_SC_PAGESIZE);
    }
    return true;
}

bool node_process(int32_t pid, struct node_process *out_process)
{
    struct node_process process = {0};
    char path[64];
    struct stat facts;
    struct rlimit limit;
    if (pid <= 0 || !read_stat(pid, &process))
        return false;
    /* Since Linux 6.2 the size of the folder is the number of descriptors. To list them instead
     * would take a worker's time, more of it the more connections there are. */
    (void)snprintf(path, sizeof(path), "/proc/%" PRId32 "/fd", pid);
    if (stat(path, &facts) == 0 && facts.st_size > 0)
        process.files = (uint64_t)facts.st_size;
    if (prlimit(pid, RLIMIT_NOFILE, NULL, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        process.files_max = limit.rlim_cur;
    *out_process = process;
    return true;
}

static void add(struct node_process *sum, const struct node_process *one)
{
    sum->resident += one->resident;
    sum->virtual_bytes += one->virtual_bytes;
    sum->cpu_ticks += one->cpu_ticks;
    sum->files += one->files;
    sum->files_max += one->files_max;
}

bool node_gather(struct node_scrape *scrape)
{
    uint32_t workers = shared_workers(scrape->shared), i = scrape->gathered;
    int32_t master = shared_facts(scrape->shared)->master_pid;
    if (i > workers)
        return false;
    scrape->gathered++;
    if (i < workers) {
        int32_t pid = __atomic_load_n(&shared_worker(scrape->shared, i)->pid, __ATOMIC_RELAXED);
        if (node_process(pid, &scrape->workers[i]))
            add(&scrape->sum, &scrape->workers[i]);
        return true;
    }
    /* --single-process: the master is worker 0. */
    for (uint32_t k = 0; k < workers; k++)
        if (__atomic_load_n(&shared_worker(scrape->shared, k)->pid, __ATOMIC_RELAXED) == master)
            return true;
    struct node_process process;
    if (node_process(master, &process))
        add(&scrape->sum, &process);
    return true;
}
