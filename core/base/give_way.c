#include "base/give_way.h"

#include <sched.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { NICER = 5, NICEST = 19, LONG_SLICE_NS = 20000000 };

/* sched_setattr(2), which glibc has no wrapper for; the first version of its argument. */
struct attributes {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period; /* ns */
};

/* SCHED_BATCH does not take the processor from one that wakes. A thread that names its slice leaves
 * it at once to one that wakes with a shorter slice; else that one may have to wait for the end. */
void give_way(void)
{
    int nice = getpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid)) + NICER;
    const struct attributes attributes = {
        .size = sizeof(attributes),
        .policy = SCHED_BATCH,
        .nice = nice > NICEST ? NICEST : nice,
        .runtime = LONG_SLICE_NS,
    };
    (void)syscall(SYS_sched_setattr, 0, &attributes, 0);
}
