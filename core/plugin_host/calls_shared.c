/* Dictionaries and metrics: what is opened once in a process is the same handle for all policies
 * and generations, so opening costs nothing at the next reload. */
#include <stdlib.h>

#include "base/buf.h"
#include "plugin_host/calls.h"
#include "plugin_host/dict.h"
#include "plugin_host/metrics.h"
#include "plugin_host/policies.h"

enum { HANDLES_MAX = 4096, WHY_SIZE = 256 };

struct opened {
    void *handle;         /* weir_dict or weir_metric */
    struct opened *older; /* opened with another shape before: its policies may still run */
    uint32_t shape[3];    /* of a dictionary: layout, entries, value size */
    uint32_t depth;       /* older ones */
    size_t key_size;
    char key[];
};

/* False: not kept, the caller closes it again. */
static bool keep_opened(struct map *map, const struct buf *key, void *handle,
                        const uint32_t shape[3])
{
    struct opened *older = map_find(map, buf_view(key));
    uint32_t depth = older == NULL ? 0 : older->depth + 1;
    if (map_count(map) >= HANDLES_MAX || depth >= HANDLES_MAX)
        return false;
    struct opened *opened = malloc(sizeof(*opened) + key->size);
    if (opened == NULL)
        return false;
    *opened = (struct opened){.handle = handle, .depth = depth, .key_size = key->size};
    if (shape != NULL)
        memcpy(opened->shape, shape, sizeof(opened->shape));
    memcpy(opened->key, key->data, key->size);
    /* A replaced record stays on as `older`: the map goes on borrowing its key. */
    if (map_set(map, span_of(opened->key, opened->key_size), opened) == WEIR_OK) {
        opened->older = older;
        return true;
    }
    free(opened);
    return false;
}

static void free_opened(struct map *map, bool is_dict)
{
    size_t cursor = 0;
    struct span key;
    void *value;
    while (map != NULL && map_next(map, &cursor, &key, &value)) {
        for (struct opened *opened = value, *older; opened != NULL; opened = older) {
            older = opened->older;
            if (is_dict)
                dict_close(opened->handle);
            else
                metric_close(opened->handle);
            free(opened);
        }
    }
    map_destroy(map);
}

void host_handles_free(struct plugin_host *host)
{
    free_opened(host->dicts, true);
    free_opened(host->metrics, false);
}

/* Lengths go before the texts, so that no two lists of them look alike. */
static void add_text(struct buf *key, struct span text)
{
    buf_append(key, &text.size, sizeof(text.size));
    buf_span(key, text);
}

/* ---- dictionaries */

/* The newest handle alone is used again: opening another shape emptied the older ones. */
static weir_dict *find_dict(const struct map *map, const struct buf *key, const uint32_t shape[3])
{
    const struct opened *opened = key->failed ? NULL : map_find(map, buf_view(key));
    return opened == NULL || memcmp(opened->shape, shape, sizeof(opened->shape)) != 0
               ? NULL
               : opened->handle;
}

weir_dict *call_dict_open(weir_error *error, const void *self, weir_str name, uint32_t layout,
                          uint32_t entries, uint32_t value_size)
{
    const struct running_policy *policy = policy_of_self(self);
    struct plugin_host *host = policy->policies->host;
    char why[WHY_SIZE] = "no memory";
    uint32_t shape[3] = {layout, entries, value_size};
    AUTO_BUF key = BUF_INIT;
    add_text(&key, policy->policy->name);
    add_text(&key, span_of_str(name));
    weir_dict *dict = find_dict(host->dicts, &key, shape);
    if (dict != NULL)
        return dict;
    if (host->shared == NULL) {
        call_error_at(error, NULL, "there is no shared memory");
        return NULL;
    }
    if (!key.failed)
        dict = dict_open(host->shared, policy->policy->name, span_of_str(name), layout, entries,
                         value_size, why, sizeof(why));
    if (dict != NULL && keep_opened(host->dicts, &key, dict, shape))
        return dict;
    if (dict != NULL)
        dict_close(dict);
    call_error_at(error, NULL, "dictionary '%.*s': %s", SPAN_ARG(span_first(span_of_str(name), 64)),
                  dict == NULL ? why : "too many are open");
    return NULL;
}

weir_status call_dict_get(weir_dict *dict, weir_str key, void *out_value, size_t size)
{
    return dict == NULL ? WEIR_GONE : dict_get(dict, key, out_value, size);
}

weir_status call_dict_set(weir_dict *dict, weir_str key, const void *value, size_t size,
                          int64_t ttl_ms)
{
    return dict == NULL ? WEIR_GONE : dict_set(dict, key, value, size, ttl_ms);
}

weir_status call_dict_remove(weir_dict *dict, weir_str key)
{
    return dict == NULL ? WEIR_GONE : dict_remove(dict, key);
}

weir_status call_dict_add(weir_dict *dict, weir_str key, int64_t delta, int64_t ttl_ms,
                          int64_t *out_value)
{
    return dict == NULL ? WEIR_GONE : dict_add(dict, key, delta, ttl_ms, out_value);
}

weir_status call_dict_swap(weir_dict *dict, weir_str key, int64_t expected, int64_t value)
{
    return dict == NULL ? WEIR_GONE : dict_swap(dict, key, expected, value);
}

/* Rows of an older plugin are shorter than ours, those of a newer one longer. */
static weir_status take_rows(weir_dict *dict, char *rows, size_t count, size_t stride)
{
    enum { TAKE_MAX = 16, STRIDE_MAX = 4096 };
    weir_take ours[TAKE_MAX] = {0};
    const size_t shared = stride < sizeof(ours[0]) ? stride : sizeof(ours[0]);
    if (count > TAKE_MAX || stride > STRIDE_MAX ||
        stride < offsetof(weir_take, value) + sizeof(ours[0].value))
        return WEIR_INVALID;
    for (size_t i = 0; i < count; i++) {
        for (size_t at = shared; at < stride; at++)
            if (rows[i * stride + at] != 0)
                return WEIR_INVALID;
        memcpy(&ours[i], rows + i * stride, shared);
    }
    weir_status status = dict_take(dict, ours, count);
    for (size_t i = 0; i < count; i++)
        memcpy(rows + i * stride + offsetof(weir_take, value), &ours[i].value,
               sizeof(ours[i].value));
    return status;
}

weir_status call_dict_take(weir_dict *dict, weir_take *counters, size_t count, size_t stride)
{
    if (dict == NULL)
        return WEIR_GONE;
    if (LIKELY(stride == sizeof(*counters)))
        return dict_take(dict, counters, count);
    return take_rows(dict, (char *)counters, count, stride);
}

/* ---- metrics */

/* Of a configuration: each metric that its policies opened, once. In its arena. */
struct metric_use {
    struct metric_use *next;
    const weir_metric *metric;
};

/* Two policies of one configuration cannot count in different buckets: one of them would be seen.
 */
static bool note_use(struct policies *policies, const weir_metric *metric, const char **out_why)
{
    for (const struct metric_use *use = policies->metrics; use != NULL; use = use->next) {
        if (use->metric == metric)
            return true;
        if (metric_clashes(use->metric, metric)) {
            *out_why = "another policy has it with other buckets";
            return false;
        }
    }
    struct metric_use *use = arena_new(policies->arena, struct metric_use);
    if (use == NULL)
        return false;
    *use = (struct metric_use){policies->metrics, metric};
    policies->metrics = use;
    return true;
}

/* The handle under that key, unless a reload has put other buckets in its place. */
static weir_metric *find_metric(struct plugin_host *host, const struct buf *key)
{
    const struct opened *opened = key->failed ? NULL : map_find(host->metrics, buf_view(key));
    return opened != NULL && metric_reopen(opened->handle) ? opened->handle : NULL;
}

/* NULL, and closed: too many are open. */
static weir_metric *keep_metric(struct plugin_host *host, const struct buf *key,
                                weir_metric *metric, const char **out_why)
{
    if (metric == NULL || keep_opened(host->metrics, key, metric, NULL))
        return metric;
    metric_close(metric);
    *out_why = "too many are open";
    return NULL;
}

static void add_shape(struct buf *key, const char *const *labels, const double *buckets,
                      size_t bucket_count)
{
    for (size_t i = 0; labels != NULL && labels[i] != NULL && i <= METRIC_LABELS_MAX; i++)
        add_text(key, span_text(labels[i]));
    if (buckets != NULL && bucket_count <= METRIC_BUCKETS_MAX)
        add_text(key, span_of((const char *)buckets, bucket_count * sizeof(buckets[0])));
}

weir_metric *call_metric_open(weir_error *error, const void *self, uint32_t kind, weir_str name,
                              weir_str help, const char *const *labels, const double *buckets,
                              size_t bucket_count)
{
    struct policies *policies = policies_of_self(self);
    struct plugin_host *host = policies->host;
    char refusal[WHY_SIZE] = "no memory";
    const char *why = refusal;
    AUTO_BUF key = BUF_INIT;
    if (host->shared == NULL) {
        call_error_at(error, NULL, "there is no shared memory");
        return NULL;
    }
    add_text(&key, span_of_str(name));
    buf_append(&key, &kind, sizeof(kind));
    add_shape(&key, labels, buckets, bucket_count);
    weir_metric *metric = bucket_count > METRIC_BUCKETS_MAX ? NULL : find_metric(host, &key);
    if (metric == NULL && !key.failed) {
        metric = metric_open(host->shared, host->worker, kind, span_of_str(name), span_of_str(help),
                             labels, buckets, bucket_count, refusal, sizeof(refusal));
        metric = keep_metric(host, &key, metric, &why);
    }
    if (metric != NULL && note_use(policies, metric, &why))
        return metric;
    call_error_at(error, NULL, "metric '%.*s': %s", SPAN_ARG(span_first(span_of_str(name), 64)),
                  why);
    return NULL;
}

weir_metric *call_metric_limit(weir_error *error, const void *self, weir_metric *metric,
                               uint32_t series)
{
    struct plugin_host *host = policies_of_self(self)->host;
    const char *why = "no memory";
    AUTO_BUF key = BUF_INIT;
    if (metric == NULL || series == 0) {
        call_error_at(error, NULL, "a metric cannot be limited to no series");
        return NULL;
    }
    add_text(&key, SPAN(""));                  /* no metric is called so */
    buf_append(&key, &metric, sizeof(metric)); /* which lives as long as its host */
    buf_append(&key, &series, sizeof(series));
    weir_metric *limited = find_metric(host, &key);
    if (limited == NULL && !key.failed)
        limited = keep_metric(host, &key, metric_limited(metric, series), &why);
    if (limited == NULL)
        call_error_at(error, NULL, "a metric with a limit: %s", why);
    return limited;
}

void call_metric_add(weir_metric *metric, const weir_str *label_values, double amount)
{
    if (metric != NULL)
        metric_add(metric, label_values, amount);
}

void call_metric_set(weir_metric *metric, const weir_str *label_values, double value)
{
    if (metric != NULL)
        metric_set(metric, label_values, value);
}
