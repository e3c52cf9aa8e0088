/* Finding or making a metric family, and every reason to refuse one: what Prometheus would not read
 * must not get into a scrape, where it would spoil all the others. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "plugin_host/metrics.h"
#include "plugin_host/metrics_internal.h"

struct wanted {
    uint32_t kind;
    struct span name, help;
    const char *const *labels;
    uint32_t label_count;
    const double *buckets;
    size_t bucket_count;
};

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_name(struct span name, bool colons)
{
    for (size_t i = 0; i < name.size; i++) {
        char c = name.data[i];
        if (!is_letter(c) && !(i > 0 && c >= '0' && c <= '9') && !(colons && c == ':'))
            return false;
    }
    return name.size != 0;
}

/* Counts them on the way. */
static const char *refuse_labels(struct wanted *wanted)
{
    const char *const *labels = wanted->labels;
    for (uint32_t i = 0; labels != NULL && labels[i] != NULL; i++) {
        struct span label = span_text(labels[i]);
        if (i == METRIC_LABELS_MAX)
            return "it has more than 8 labels";
        if (!is_name(label, false) || label.size >= METRIC_LABEL_NAME_SIZE)
            return "a label's name must match [a-zA-Z_][a-zA-Z0-9_]* and have at most 63 bytes";
        if (span_starts_with(label, SPAN("__")))
            return "label names that start with \"__\" are reserved";
        if (wanted->kind == WEIR_METRIC_HISTOGRAM && span_equal(label, SPAN("le")))
            return "a histogram has a label \"le\" of its own";
        for (uint32_t k = 0; k < i; k++)
            if (span_equal(label, span_text(labels[k])))
                return "two labels have the same name";
        wanted->label_count = i + 1;
    }
    return NULL;
}

static const char *refuse_buckets(const struct wanted *wanted)
{
    if (wanted->kind != WEIR_METRIC_HISTOGRAM)
        return wanted->bucket_count == 0 ? NULL : "only a histogram has buckets";
    if (wanted->bucket_count > METRIC_BUCKETS_MAX)
        return "it has more than 32 buckets";
    for (size_t i = 0; i < wanted->bucket_count; i++) {
        if (!isfinite(wanted->buckets[i]))
            return "a bucket is not a finite number; +Inf is added by itself";
        if (i > 0 && wanted->buckets[i] <= wanted->buckets[i - 1])
            return "its buckets must rise";
    }
    return NULL;
}

static const char *refuse(struct wanted *wanted)
{
    if (wanted->kind < WEIR_METRIC_COUNTER || wanted->kind > WEIR_METRIC_HISTOGRAM)
        return "it is neither counter, gauge nor histogram";
    if (!is_name(wanted->name, true) || wanted->name.size >= METRIC_NAME_SIZE)
        return "its name must match [a-zA-Z_:][a-zA-Z0-9_:]* and have at most 127 bytes";
    const char *wrong = refuse_labels(wanted);
    return wrong != NULL ? wrong : refuse_buckets(wanted);
}

static bool has_buckets(const struct family *family, const struct wanted *wanted)
{
    if (family->bucket_count != wanted->bucket_count)
        return false;
    /* Rising and finite, so equal means neither below nor above. */
    for (size_t i = 0; i < wanted->bucket_count; i++)
        if (family->buckets[i] < wanted->buckets[i] || family->buckets[i] > wanted->buckets[i])
            return false;
    return true;
}

static const char *refuse_other(const struct family *family, const struct wanted *wanted)
{
    static const char labels[] = "it exists already with other labels";
    if (family->kind != wanted->kind)
        return "it exists already with another kind";
    if (family->label_count != wanted->label_count)
        return labels;
    for (uint32_t i = 0; i < wanted->label_count; i++)
        if (!span_equal(span_text(family->labels[i]), span_text(wanted->labels[i])))
            return labels;
    return NULL;
}

/* A histogram's samples are called NAME_bucket, NAME_sum and NAME_count. */
static bool is_sample_of(struct span name, uint32_t histogram_kind, struct span histogram)
{
    static const struct span suffixes[] = {{"_bucket", 7}, {"_sum", 4}, {"_count", 6}};
    if (histogram_kind != WEIR_METRIC_HISTOGRAM || !span_starts_with(name, histogram))
        return false;
    for (size_t i = 0; i < COUNT_OF(suffixes); i++)
        if (span_equal(span_from(name, histogram.size), suffixes[i]))
            return true;
    return false;
}

/* The first family of that name. NULL and no reason: there is none yet. */
static struct family *find(struct shared *shared, const struct wanted *wanted,
                           const char **out_wrong)
{
    for (uint32_t i = 0; i < shared->family_count; i++) {
        struct family *family = shared_at(shared, shared->families[i]);
        struct span name = span_text(family->name);
        if (span_equal(name, wanted->name)) {
            *out_wrong = refuse_other(family, wanted);
            return *out_wrong == NULL ? family : NULL;
        }
        if (is_sample_of(wanted->name, family->kind, name) ||
            is_sample_of(name, wanted->kind, wanted->name)) {
            *out_wrong = "its name is also that of a sample of a histogram";
            return NULL;
        }
    }
    return NULL;
}

/* ---- layouts */

/* It is what a scrape shows; or it will be, and nothing was counted in it yet. */
static bool is_current(struct shared *shared, const struct family *family)
{
    const struct family *first = shared_at(shared, family->origin);
    const struct family *shown = shared_at(shared, first->shown);
    return family == shown || (family->opened > shown->opened &&
                               __atomic_load_n(&family->first, __ATOMIC_ACQUIRE) == 0);
}

static struct family *find_layout(struct shared *shared, const struct family *first,
                                  const struct wanted *wanted)
{
    struct family *family = NULL;
    for (uint64_t at = first->newest; at != 0; at = family->older) {
        family = shared_at(shared, at);
        if (has_buckets(family, wanted) && is_current(shared, family))
            return family;
    }
    return NULL;
}

static struct family *allocate(struct shared *shared, const struct wanted *wanted,
                               const char **out_wrong)
{
    uint64_t at = shared_alloc(shared, sizeof(struct family), SHARED_LINE);
    if (at == 0) {
        *out_wrong = "the shared memory is full";
        return NULL;
    }
    struct family *family = shared_at(shared, at);
    memcpy(family->name, wanted->name.data, wanted->name.size);
    struct span help = span_first(wanted->help, METRIC_HELP_SIZE - 1);
    if (help.size != 0)
        memcpy(family->help, help.data, help.size);
    for (uint32_t i = 0; i < wanted->label_count; i++)
        memcpy(family->labels[i], wanted->labels[i], strlen(wanted->labels[i]));
    if (wanted->bucket_count != 0)
        memcpy(family->buckets, wanted->buckets, wanted->bucket_count * sizeof(double));
    family->kind = wanted->kind;
    family->label_count = wanted->label_count;
    family->bucket_count = (uint32_t)wanted->bucket_count;
    shared_lock_init(&family->lock);
    return family;
}

static struct family *make_first(struct shared *shared, const struct wanted *wanted,
                                 const char **out_wrong)
{
    if (shared->family_count == SHARED_FAMILIES_MAX) {
        *out_wrong = "there are 512 already";
        return NULL;
    }
    struct family *family = allocate(shared, wanted, out_wrong);
    if (family == NULL)
        return NULL;
    uint64_t at = shared_offset(shared, family);
    family->origin = family->newest = family->shown = at;
    shared->families[shared->family_count] = at;
    __atomic_store_n(&shared->family_count, shared->family_count + 1, __ATOMIC_RELEASE);
    return family;
}

static struct family *make_layout(struct shared *shared, struct family *first,
                                  const struct wanted *wanted, const char **out_wrong)
{
    struct family *family = allocate(shared, wanted, out_wrong);
    if (family == NULL)
        return NULL;
    family->origin = shared_offset(shared, first);
    family->older = first->newest;
    first->newest = shared_offset(shared, family);
    return family;
}

/* Whatever was opened last is what the gateway goes on with. */
static void count_opening(struct shared *shared, struct family *family)
{
    struct family *first = shared_at(shared, family->origin);
    family->opened = ++first->opens;
}

static struct family *find_or_make(struct shared *shared, struct wanted *wanted,
                                   const char **out_wrong)
{
    *out_wrong = refuse(wanted);
    if (*out_wrong != NULL)
        return NULL;
    shared_lock_simple(shared, &shared->directory_lock);
    struct family *family = NULL, *first = find(shared, wanted, out_wrong);
    if (first != NULL) {
        family = find_layout(shared, first, wanted);
        if (family == NULL)
            family = make_layout(shared, first, wanted, out_wrong);
    } else if (*out_wrong == NULL) {
        family = make_first(shared, wanted, out_wrong);
    }
    if (family != NULL)
        count_opening(shared, family);
    shared_unlock(&shared->directory_lock);
    return family;
}

bool metric_reopen(weir_metric *metric)
{
    CHECK(metric, METRIC);
    struct shared *shared = metric->shared;
    shared_lock_simple(shared, &shared->directory_lock);
    bool good = is_current(shared, metric->family);
    if (good)
        count_opening(shared, metric->family);
    shared_unlock(&shared->directory_lock);
    return good;
}

void metric_show(const weir_metric *metric)
{
    struct shared *shared = metric->shared;
    struct family *family = metric->family, *first = shared_at(shared, family->origin);
    shared_lock_simple(shared, &shared->directory_lock);
    const struct family *shown = shared_at(shared, first->shown);
    bool replaces = family->opened > shown->opened;
    if (replaces)
        __atomic_store_n(&first->shown, shared_offset(shared, family), __ATOMIC_RELEASE);
    shared_unlock(&shared->directory_lock);
    if (replaces && __atomic_load_n(&shown->first, __ATOMIC_ACQUIRE) != 0)
        log_notice("metric \"%s\" has other buckets now: it begins anew, what was counted with the "
                   "former ones is not shown any more",
                   family->name);
}

static bool is_shown(const weir_metric *metric)
{
    const struct family *first = shared_at(metric->shared, metric->family->origin);
    return __atomic_load_n(&first->shown, __ATOMIC_ACQUIRE) ==
           shared_offset(metric->shared, metric->family);
}

bool metric_clashes(const weir_metric *metric, const weir_metric *other)
{
    return metric->family != other->family && metric->family->origin == other->family->origin;
}

/* ---- handles */

/* A gauge says how things stand. What stood in the process that had this number before, stands no
 * more. */
static void forget_share(const weir_metric *metric)
{
    const double zero = 0;
    struct shared *shared = metric->shared;
    struct series *series =
        series_at(shared, __atomic_load_n(&metric->family->first, __ATOMIC_ACQUIRE));
    for (; series != NULL; series = series_next(shared, series)) {
        uint64_t at = __atomic_load_n(&series->cells[metric->worker], __ATOMIC_ACQUIRE);
        if (at != 0)
            __atomic_store((double *)shared_at(shared, at), &zero, __ATOMIC_RELAXED);
    }
}

weir_metric *metric_open(struct shared *shared, uint32_t worker, uint32_t kind, struct span name,
                         struct span help, const char *const *labels, const double *buckets,
                         size_t bucket_count, char *why, size_t why_size)
{
    CHECK(shared, SHARED);
    CHECK_THAT(worker < shared->workers);
    struct wanted wanted = {kind, name, help, labels, 0, buckets, bucket_count};
    const char *wrong = NULL;
    struct family *family = find_or_make(shared, &wanted, &wrong);
    weir_metric *metric = family == NULL ? NULL : malloc(sizeof(*metric));
    if (metric == NULL) {
        (void)snprintf(why, why_size, "metric \"%.*s\": %s", SPAN_ARG(span_first(name, 127)),
                       wrong == NULL ? "no memory" : wrong);
        return NULL;
    }
    *metric = (weir_metric){
        .magic = METRIC_MAGIC,
        .worker = worker,
        .kind = kind,
        .label_count = family->label_count,
        .cell_count = kind == WEIR_METRIC_HISTOGRAM ? family->bucket_count + 2 : 1,
        .shared = shared,
        .area = &shared->areas[worker],
        .family = family,
        .series_limit = METRIC_SERIES_BUDGET,
        .buckets = family->buckets,
    };
    metric->latest = &metric->recent[0];
    if (kind == WEIR_METRIC_GAUGE)
        forget_share(metric);
    if (family->label_count == 0 && is_shown(metric))
        metric_touch(metric);
    return metric;
}

weir_metric *metric_limited(const weir_metric *metric, uint32_t series)
{
    CHECK(metric, METRIC);
    weir_metric *limited = malloc(sizeof(*limited));
    if (limited == NULL)
        return NULL;
    *limited = *metric;
    limited->series_limit = series;
    memset(limited->recent, 0, sizeof(limited->recent));
    limited->latest = &limited->recent[0];
    limited->table = NULL;
    limited->table_size = 0;
    limited->seen = NULL;
    return limited;
}

void metric_close(weir_metric *metric)
{
    if (metric == NULL)
        return;
    CHECK(metric, METRIC);
    metric->magic = 0;
    free(metric->table);
    free(metric);
}
