/* Families and series, and the way an update takes to its cell.
 *
 * A series is found by its key: the label values, each with its length. The handle remembers a few
 * recent ones, whose keys are compared in place, and knows every series it has seen in a table by
 * keyed hash. So a warm update takes no lock and writes no line of another worker's. Only an
 * unknown key goes to the family's list in shared memory, which grows under the family's lock and
 * is read without. Next: metrics_open.c, metrics_render.c. */
#include "plugin_host/metrics.h"

#include <math.h>
#include <stdlib.h>

#include "plugin_host/metrics_internal.h"

/* ---- keys ------------------------------------------------------------------------------------ */

/* `size` bytes of text cut to the bound, not inside a character. */
static size_t cut(const char *data, size_t size)
{
    if (LIKELY(size <= METRIC_VALUE_MAX))
        return size;
    size = METRIC_VALUE_MAX;
    for (size_t back = 0; back < 3; back++)
        if (((unsigned char)data[size - back] & 0xc0) != 0x80)
            return size - back;
    return size;
}

static size_t build_key(const weir_metric *metric, const weir_str *values, char *out_key)
{
    size_t at = 0;
    for (uint32_t i = 0; i < metric->label_count; i++) {
        size_t size = values[i].data == NULL ? 0 : cut(values[i].data, values[i].size);
        uint16_t kept = (uint16_t)size;
        memcpy(out_key + at, &kept, sizeof(kept));
        if (size != 0)
            memcpy(out_key + at + 2, values[i].data, size);
        at += size + 2;
    }
    return at;
}

static bool has_key(const weir_metric *metric, const struct series *series, struct span key)
{
    return series->key_size == key.size &&
           memcmp(series_key(metric->shared, series), key.data, key.size) == 0;
}

/* ---- the table of this process --------------------------------------------------------------- */

/* Where the series with that key is, or the free place for it. */
static struct series **place_of(const weir_metric *metric, uint64_t hash, struct span key)
{
    size_t mask = metric->table_size - 1;
    for (size_t at = hash & mask;; at = (at + 1) & mask) {
        struct series *series = metric->table[at];
        if (series == NULL || (series->hash == hash && has_key(metric, series, key)))
            return &metric->table[at];
    }
}

static struct span key_of(const weir_metric *metric, const struct series *series)
{
    return (struct span){series_key(metric->shared, series), series->key_size};
}

static bool grow(weir_metric *metric)
{
    size_t size = metric->table_size == 0 ? 16 : metric->table_size * 2;
    struct series **old = metric->table;
    size_t old_size = metric->table_size;
    struct series **table = calloc(size, sizeof(struct series *));
    if (table == NULL)
        return false;
    metric->table = table;
    metric->table_size = size;
    for (size_t i = 0; i < old_size; i++)
        if (old[i] != NULL)
            *place_of(metric, old[i]->hash, key_of(metric, old[i])) = old[i];
    free(old);
    return true;
}

/* Learn the series that were added to the family since the last time. False without memory. */
static bool catch_up(weir_metric *metric)
{
    struct series *series =
        metric->seen == NULL
            ? series_at(metric->shared, __atomic_load_n(&metric->family->first, __ATOMIC_ACQUIRE))
            : series_next(metric->shared, metric->seen);
    for (; series != NULL; series = series_next(metric->shared, series)) {
        if (series->number * 2 > metric->table_size && !grow(metric))
            return false;
        *place_of(metric, series->hash, key_of(metric, series)) = series;
        metric->seen = series;
    }
    return true;
}

static struct series *find_known(const weir_metric *metric, uint64_t hash, struct span key)
{
    return metric->table_size == 0 ? NULL : *place_of(metric, hash, key);
}

/* ---- the family's list ----------------------------------------------------------------------- */

/* The end of the list, whatever a worker that died while appending left in `last`. */
static struct series *last_of(struct shared *shared, const struct family *family)
{
    struct series *last = series_at(shared, family->last != 0 ? family->last : family->first);
    for (struct series *next = last; next != NULL; next = series_next(shared, next))
        last = next;
    return last;
}

/* Under the family's lock. The last store but one makes it visible. NULL: the region is full. */
static struct series *append(struct shared *shared, struct family *family, uint64_t hash,
                             struct span key)
{
    uint64_t size = sizeof(struct series) + shared->workers * sizeof(uint64_t) + key.size;
    uint64_t at = shared_alloc(shared, size, sizeof(uint64_t));
    if (at == 0)
        return NULL;
    struct series *last = last_of(shared, family);
    struct series *series = shared_at(shared, at);
    series->hash = hash;
    series->number = last == NULL ? 1 : last->number + 1;
    series->key_size = (uint32_t)key.size;
    if (key.size != 0)
        memcpy((char *)(series->cells + shared->workers), key.data, key.size);
    __atomic_store_n(last == NULL ? &family->first : &last->next, at, __ATOMIC_RELEASE);
    __atomic_store_n(&family->last, at, __ATOMIC_RELEASE);
    return series;
}

static bool is_at_budget(const weir_metric *metric)
{
    return metric->seen != NULL && metric->seen->number >= metric->series_limit;
}

/* A key this process has not met. NULL: over the budget, or no memory. */
static struct series *find_or_append(weir_metric *metric, uint64_t hash, struct span key,
                                     bool over_budget)
{
    struct shared *shared = metric->shared;
    struct series *series = NULL;
    if (UNLIKELY(__atomic_load_n(&metric->family->first, __ATOMIC_ACQUIRE) == 0))
        metric_show(metric);
    shared_lock_simple(shared, &metric->family->lock);
    if (catch_up(metric)) {
        series = find_known(metric, hash, key);
        /* Room in the table first: what is appended must be found again. */
        bool room = metric->seen == NULL || metric->table_size >= metric->seen->number * 2 + 2 ||
                    grow(metric);
        if (series == NULL && room && (over_budget || !is_at_budget(metric)) &&
            append(shared, metric->family, hash, key) != NULL && catch_up(metric))
            series = find_known(metric, hash, key);
    }
    shared_unlock(&metric->family->lock);
    return series;
}

static struct series *overflow(weir_metric *metric)
{
    weir_str values[METRIC_LABELS_MAX];
    char bytes[METRIC_LABELS_MAX * 16];
    __atomic_store_n(&metric->area->overflows, metric->area->overflows + 1, __ATOMIC_RELAXED);
    for (uint32_t i = 0; i < metric->label_count; i++)
        values[i] = WEIR_LIT("overflow");
    struct span key = {bytes, build_key(metric, values, bytes)};
    uint64_t hash = hash_span(&metric->shared->label_key, key);
    struct series *series = find_known(metric, hash, key);
    return series != NULL ? series : find_or_append(metric, hash, key, true);
}

/* ---- cells ----------------------------------------------------------------------------------- */

/* From the worker's own page, so that nobody else writes to these lines; one store takes them, and
 * a worker that dies before it stores them in the series loses a few bytes. 0: full. */
static uint64_t take_cells(const weir_metric *metric)
{
    struct worker_area *area = metric->area;
    uint64_t size = metric->cell_count * sizeof(double), at = area->cells_at;
    uint64_t left = (METRIC_PAGE - at % METRIC_PAGE) % METRIC_PAGE;
    if (size > left) {
        at = shared_alloc(metric->shared, METRIC_PAGE, METRIC_PAGE);
        if (at == 0)
            return 0;
    }
    __atomic_store_n(&area->cells_at, at + size, __ATOMIC_RELEASE);
    return at;
}

static double *cells_of(const weir_metric *metric, struct series *series)
{
    uint64_t at = series->cells[metric->worker];
    if (UNLIKELY(at == 0)) {
        at = take_cells(metric);
        if (at == 0)
            return NULL;
        __atomic_store_n(&series->cells[metric->worker], at, __ATOMIC_RELEASE);
    }
    return shared_at(metric->shared, at);
}

static struct series *find_series(weir_metric *metric, struct span key)
{
    uint64_t hash = hash_span(&metric->shared->label_key, key);
    struct series *series = find_known(metric, hash, key);
    /* At the budget this handle adds nothing any more, so a miss is final without a lock. */
    if (series == NULL && !is_at_budget(metric))
        series = find_or_append(metric, hash, key, false);
    return series;
}

static inline uint64_t load64(const char *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof(word));
    return word;
}

static inline uint32_t load32(const char *at)
{
    uint32_t word;
    memcpy(&word, at, sizeof(word));
    return word;
}

/* A few bytes of a label value. Anybody may make two values alike here: it costs them the short
 * way, not more. */
static inline uint64_t sample(weir_str value)
{
    uint64_t word = 0;
    if (value.size >= 8)
        word = load64(value.data + value.size - 8);
    else if (value.size >= 4)
        word = (uint64_t)load32(value.data) << 32 | load32(value.data + value.size - 4);
    else if (value.size > 0)
        word = (uint64_t)(unsigned char)value.data[0] << 16 |
               (uint64_t)(unsigned char)value.data[value.size / 2] << 8 |
               (unsigned char)value.data[value.size - 1];
    return word ^ value.size << 56;
}

static inline struct recent *recent_place(weir_metric *metric, const weir_str *values)
{
    uint64_t mix = 0;
    for (uint32_t i = 0; i < metric->label_count; i++)
        if (values[i].data != NULL)
            mix = (mix ^ sample(values[i])) * 0x9e3779b97f4a7c15U;
    _Static_assert(METRIC_RECENT == 1 << (64 - 58), "the top bits are the index");
    return &metric->recent[mix >> 58];
}

/* Labels are short: most of them are two loads on each side, which overlap. */
static inline bool same_bytes(const char *one, const char *other, size_t size)
{
    if (size > 16)
        return memcmp(one, other, size) == 0;
    if (size >= 8)
        return load64(one) == load64(other) && load64(one + size - 8) == load64(other + size - 8);
    if (size >= 4)
        return load32(one) == load32(other) && load32(one + size - 4) == load32(other + size - 4);
    return size == 0 || (one[0] == other[0] && one[size / 2] == other[size / 2] &&
                         one[size - 1] == other[size - 1]);
}

/* The series at this place is that of the values: all of their bytes. */
static inline bool is_recent(const weir_metric *metric, const struct recent *recent,
                             const weir_str *values)
{
    const char *key = recent->key;
    if (key == NULL)
        return false;
    for (size_t i = 0; i < metric->label_count; i++) {
        uint16_t kept;
        memcpy(&kept, key, sizeof(kept));
        weir_str value = values[i];
        if (value.data == NULL ? kept != 0
                               : value.size != kept || !same_bytes(key + 2, value.data, value.size))
            return false;
        key += (size_t)kept + 2;
    }
    return true;
}

static double *find_cells_slow(weir_metric *metric, const weir_str *values, struct recent *recent)
{
    char bytes[METRIC_KEY_MAX];
    struct span key = {bytes, build_key(metric, values, bytes)};
    struct series *series = find_series(metric, key);
    bool overflows = series == NULL;
    if (overflows)
        series = overflow(metric);
    double *cells = series == NULL ? NULL : cells_of(metric, series);
    /* The series for the rest is found anew each time, so that each update is counted. */
    if (cells != NULL && !overflows)
        *recent = (struct recent){series_key(metric->shared, series), cells};
    return cells;
}

/* This worker's cells for the label values; NULL when there is no memory for any. */
static inline double *find_cells(weir_metric *metric, const weir_str *values)
{
    if (is_recent(metric, metric->latest, values))
        return metric->latest->cells;
    struct recent *recent = recent_place(metric, values);
    metric->latest = recent;
    if (LIKELY(is_recent(metric, recent, values)))
        return recent->cells;
    return find_cells_slow(metric, values, recent);
}

static inline void store_cell(double *cell, double value)
{
    __atomic_store(cell, &value, __ATOMIC_RELAXED);
}

void metric_add(weir_metric *metric, const weir_str *label_values, double amount)
{
    CHECK(metric, METRIC);
    /* A counter that falls reads as a restart, and one NaN would stay for ever. */
    if (UNLIKELY(!isfinite(amount) || (amount < 0 && metric->kind == WEIR_METRIC_COUNTER)))
        return;
    double *cells = find_cells(metric, label_values);
    if (UNLIKELY(cells == NULL))
        return;
    if (metric->kind == WEIR_METRIC_HISTOGRAM) {
        uint32_t i = 0, buckets = metric->cell_count - 2;
        while (i < buckets && amount > metric->buckets[i])
            i++;
        store_cell(&cells[i], cells[i] + 1);
        cells += metric->cell_count - 1;
    }
    store_cell(cells, *cells + amount);
}

void metric_set(weir_metric *metric, const weir_str *label_values, double value)
{
    CHECK(metric, METRIC);
    if (metric->kind != WEIR_METRIC_GAUGE || !isfinite(value))
        return;
    double *cells = find_cells(metric, label_values);
    if (cells != NULL)
        store_cell(cells, value);
}

/* What has no labels has one series from the start, so that it reads 0 and is not missing. */
void metric_touch(weir_metric *metric)
{
    (void)find_cells(metric, NULL);
}
