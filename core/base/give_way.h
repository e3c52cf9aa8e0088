/* Work that has time, beside a thread that answers requests. */
#ifndef WEIR_BASE_GIVE_WAY_H
#define WEIR_BASE_GIVE_WAY_H

/* This thread alone, from where the process stands, and for good: nobody may go back without a
 * privilege. It is nicer by 5, does not take the processor from one that wakes, and from Linux 6.12
 * on leaves it at once to one that does. Where the kernel refuses, nothing changes. */
void give_way(void);

#endif
