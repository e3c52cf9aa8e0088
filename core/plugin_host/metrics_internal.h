/* How metrics lie in the shared region: families, each with a list of series that only grows, each
 * with one run of cells for every worker that touched it. Never included outside the room. */
#ifndef WEIR_PLUGIN_HOST_METRICS_INTERNAL_H
#define WEIR_PLUGIN_HOST_METRICS_INTERNAL_H

#include "plugin_host/metrics.h"
#include "plugin_host/shared_internal.h"

#define METRIC_MAGIC 0x574d4554U

enum {
    METRIC_NAME_SIZE = 128,
    METRIC_HELP_SIZE = 512,
    METRIC_LABEL_NAME_SIZE = 64, /* all with their final NUL */
    METRIC_VALUE_MAX = 256,      /* bytes of a label value that are kept */
    METRIC_KEY_MAX = METRIC_LABELS_MAX * (METRIC_VALUE_MAX + 2),
    METRIC_RECENT = 64,
    METRIC_PAGE = 4096 /* cells are handed to a worker in such pages */
};

/* A counter's or gauge's cell is its value; a histogram's are one for each bucket, one for +Inf,
 * then the sum. */
struct series {
    uint64_t next; /* offset; 0: the last so far. Stored once the series is whole */
    uint64_t hash;
    uint32_t number; /* 1 for the first of its family */
    uint32_t key_size;
    uint64_t cells[]; /* offset for each worker, 0: none yet; then the key: for each label value 2
                         bytes of length and its bytes */
};

struct family {
    char name[METRIC_NAME_SIZE], help[METRIC_HELP_SIZE];
    char labels[METRIC_LABELS_MAX][METRIC_LABEL_NAME_SIZE];
    uint32_t kind, label_count, bucket_count;
    double buckets[METRIC_BUCKETS_MAX];
    pthread_mutex_t lock; /* for appending to the list alone */
    uint64_t first, last; /* `last` may lag behind by one when a worker died */
    /* A histogram with other buckets is another layout: a family that the directory does not hold,
     * found through the first of its name. Guarded by the directory's lock. */
    uint64_t origin;               /* offset of that first one, which may be this */
    uint64_t older;                /* the layout made before; 0: none */
    uint64_t opened;               /* order of the last opening among the layouts */
    uint64_t opens, newest, shown; /* of the first one: openings so far; the layout made last, and
                                      the one of a scrape, which is read without the lock */
};

/* A series that was updated lately, with our cells in it. */
struct recent {
    const char *key; /* in the region; NULL: none */
    double *cells;
};

struct weir_metric {
    unsigned magic;
    uint32_t worker, kind, label_count, cell_count, series_limit;
    struct shared *shared;
    struct worker_area *area;
    struct family *family;
    const double *buckets; /* in the family */
    struct recent recent[METRIC_RECENT];
    const struct recent *latest; /* one of them; asked first */
    struct series **table;       /* ours: every series seen, by hash; a power of two, half empty */
    size_t table_size;
    const struct series *seen; /* the last in the list that is in the table */
};

/* metrics.c: make the one series of a family without labels. */
void metric_touch(weir_metric *metric);
/* metrics_open.c: something is counted in this layout for the first time, so it takes the place of
 * the one that was shown, if it was opened later. No lock may be held. */
void metric_show(const weir_metric *metric);

static inline struct series *series_at(struct shared *shared, uint64_t offset)
{
    return offset == 0 ? NULL : (struct series *)shared_at(shared, offset);
}
static inline struct series *series_next(struct shared *shared, const struct series *series)
{
    return series_at(shared, __atomic_load_n(&series->next, __ATOMIC_ACQUIRE));
}
static inline const char *series_key(const struct shared *shared, const struct series *series)
{
    return (const char *)(series->cells + shared->workers);
}

/* What a scrape shows of the name at `index` of the directory. */
static inline struct family *family_shown(struct shared *shared, uint32_t index)
{
    const struct family *first = shared_at(shared, shared->families[index]);
    return shared_at(shared, __atomic_load_n(&first->shown, __ATOMIC_ACQUIRE));
}

void metrics_usage(const struct shared *shared, struct shared_usage *usage);

#endif
