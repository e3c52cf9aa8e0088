/* How builds lie in the shared region, and the stores that hooks cost. Never included outside the
 * room. */
#ifndef WEIR_PLUGIN_HOST_BUILDS_INTERNAL_H
#define WEIR_PLUGIN_HOST_BUILDS_INTERNAL_H

#include <pthread.h>

#include "plugin_host/builds.h"

struct build_slot {
    uint32_t sequence; /* odd: it becomes another build's */
    uint32_t known;    /* 0: no build's, `name` means nothing */
    uint64_t released; /* when no worker had it any more, on `struct builds`' clock */
    uint64_t rows_at;  /* offset of a row for each worker; 0: not made yet. They stay the slot's */
    uint64_t holders[SHARED_WORKERS_MAX / 64]; /* a bit for each worker that has the image */
    struct build_name name;
};

struct builds {
    pthread_mutex_t lock; /* over everything but the rows */
    uint32_t count;       /* slots that were ever used */
    uint64_t clock;       /* counts releases */
    struct build_slot slots[BUILD_SLOTS];
};

void builds_init(struct builds *builds);

/* A row begins on a line of its own. */
enum { BUILD_ROW = (sizeof(struct build_totals) + 63) / 64 * 64 };

/* A build of weir without accounting exists to measure what it costs: core/bench. */
#ifdef WEIR_NO_ACCOUNTING
enum { ACCOUNTING = 0 };
#else
enum { ACCOUNTING = 1 };
#endif

static inline void build_count(struct build_totals *row, unsigned phase, enum build_verdict verdict)
{
    if (ACCOUNTING)
        row->phases[phase].verdicts[verdict]++;
}

/* A timed call; `weight`: how many calls it stands for. */
static inline void build_time(struct build_totals *row, unsigned phase, uint64_t ns,
                              uint32_t weight)
{
    struct build_phase *cells = &row->phases[phase];
    cells->time_ns += ns * weight;
    cells->sampled_ns += ns;
    cells->samples++;
}

#endif
