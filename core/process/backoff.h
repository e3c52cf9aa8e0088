/* When to replace a worker that died: at once, unless the same place dies again and again; then
 * after a pause that doubles, so that a crash at start does not burn the machine. */
#ifndef WEIR_PROCESS_BACKOFF_H
#define WEIR_PROCESS_BACKOFF_H

#include <stdbool.h>
#include <stdint.h>

enum {
    BACKOFF_DEATHS = 5, /* free within the window */
    BACKOFF_WINDOW_MS = 10000,
    BACKOFF_FIRST_MS = 100,
    BACKOFF_LAST_MS = 5000,
};

struct backoff {                        /* zero it before first use */
    uint64_t deaths_ms[BACKOFF_DEATHS]; /* the last ones, a ring; 0: none */
    uint32_t next;
    uint32_t pause_ms; /* of the last answer */
};

/* It died now (monotonic, not 0): how long to wait. */
uint32_t backoff_after_death(struct backoff *backoff, uint64_t now_ms);

#endif
