/* A scrape: the Prometheus text format 0.0.4. Takes no lock: lists only grow and cells are read as
 * they are, so a sum may miss what a worker adds meanwhile and nothing else. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <weir/weir.h>

#include "base/text.h"
#include "plugin_host/metrics.h"
#include "plugin_host/metrics_internal.h"

/* Integers as such, others with the fewest digits that read back as the same number. */
static void put_number(struct buf *out, double value)
{
    char text[40];
    double back = 0;
    if (isinf(value) || isnan(value)) {
        buf_text(out, isnan(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf");
        return;
    }
    if (fabs(value) < 9007199254740992.0 && !(trunc(value) < value) && !(trunc(value) > value)) {
        buf_printf(out, "%" PRId64, (int64_t)value);
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        (void)snprintf(text, sizeof(text), "%.*g", digits, value);
        if (text_to_double(span_text(text), &back) && !(back < value) && !(back > value))
            break;
    }
    buf_text(out, text);
}

/* Bytes of the character at the start of `s`, 0 when it is none: one bad byte of a client's would
 * make Prometheus refuse the whole scrape. */
static size_t character_size(struct span s)
{
    for (size_t size = 1; size <= 4 && size <= s.size; size++)
        if (text_is_utf8(span_first(s, size)))
            return size;
    return 0;
}

static void put_escaped(struct buf *out, struct span s, bool quotes)
{
    bool is_utf8 = text_is_utf8(s);
    while (s.size != 0) {
        size_t size = is_utf8 ? 1 : character_size(s);
        if (size == 0) /* U+FFFD and the byte: two bad values must not become one */
            buf_printf(out, "\xef\xbf\xbd%02x", (unsigned)(unsigned char)s.data[0]);
        else if (s.data[0] == '\\')
            buf_text(out, "\\\\");
        else if (s.data[0] == '\n')
            buf_text(out, "\\n");
        else if (s.data[0] == '"' && quotes)
            buf_text(out, "\\\"");
        else
            buf_append(out, s.data, size);
        s = span_from(s, size == 0 ? 1 : size);
    }
}

/* {a="1",b="2"}; `le` is one more label when it is not NULL. Nothing without labels. */
static void put_labels(struct buf *out, struct shared *shared, const struct family *family,
                       const struct series *series, const double *le)
{
    struct span key = {series_key(shared, series), series->key_size};
    const char *before = "{";
    for (uint32_t i = 0; i < family->label_count; i++) {
        uint16_t size;
        memcpy(&size, key.data, sizeof(size));
        buf_printf(out, "%s%s=\"", before, family->labels[i]);
        put_escaped(out, span_first(span_from(key, 2), size), true);
        buf_byte(out, '"');
        key = span_from(key, size + (size_t)2);
        before = ",";
    }
    if (le != NULL) {
        buf_printf(out, "%sle=\"", before);
        put_number(out, *le);
        buf_text(out, "\"");
    }
    if (le != NULL || family->label_count != 0)
        buf_byte(out, '}');
}

static void put_sample(struct buf *out, const struct family *family, const char *suffix,
                       struct shared *shared, const struct series *series, const double *le,
                       double value)
{
    buf_printf(out, "%s%s", family->name, suffix);
    put_labels(out, shared, family, series, le);
    buf_byte(out, ' ');
    put_number(out, value);
    buf_byte(out, '\n');
}

static void sum_cells(struct shared *shared, const struct series *series, size_t count,
                      double *out_sums)
{
    memset(out_sums, 0, count * sizeof(double));
    for (uint32_t worker = 0; worker < shared->workers; worker++) {
        uint64_t at = __atomic_load_n(&series->cells[worker], __ATOMIC_ACQUIRE);
        const double *cells = at == 0 ? NULL : shared_at(shared, at);
        for (size_t i = 0; cells != NULL && i < count; i++) {
            double value;
            __atomic_load(&cells[i], &value, __ATOMIC_RELAXED);
            out_sums[i] += value;
        }
    }
}

static void render_histogram(struct buf *out, struct shared *shared, const struct family *family,
                             const struct series *series)
{
    double sums[METRIC_BUCKETS_MAX + 2], count = 0;
    const double infinite = INFINITY;
    sum_cells(shared, series, family->bucket_count + 2, sums);
    for (uint32_t i = 0; i <= family->bucket_count; i++) {
        count += sums[i];
        put_sample(out, family, "_bucket", shared, series,
                   i < family->bucket_count ? &family->buckets[i] : &infinite, count);
    }
    put_sample(out, family, "_sum", shared, series, NULL, sums[family->bucket_count + 1]);
    put_sample(out, family, "_count", shared, series, NULL, count);
}

static void render_family(struct buf *out, struct shared *shared, const struct family *family)
{
    static const char *const kinds[] = {
        [WEIR_METRIC_COUNTER] = "counter",
        [WEIR_METRIC_GAUGE] = "gauge",
        [WEIR_METRIC_HISTOGRAM] = "histogram",
    };
    buf_printf(out, "# HELP %s ", family->name);
    put_escaped(out, span_text(family->help), false);
    buf_printf(out, "\n# TYPE %s %s\n", family->name, kinds[family->kind]);
    const struct series *series =
        series_at(shared, __atomic_load_n(&family->first, __ATOMIC_ACQUIRE));
    for (; series != NULL; series = series_next(shared, series)) {
        double sum;
        if (family->kind == WEIR_METRIC_HISTOGRAM) {
            render_histogram(out, shared, family, series);
            continue;
        }
        sum_cells(shared, series, 1, &sum);
        put_sample(out, family, "", shared, series, NULL, sum);
    }
}

static int by_name(const void *left, const void *right)
{
    const struct family *const *a = left, *const *b = right;
    return strcmp((*a)->name, (*b)->name);
}

void metrics_render(struct shared *shared, struct buf *out)
{
    CHECK(shared, SHARED);
    const struct family *families[SHARED_FAMILIES_MAX];
    uint32_t count = __atomic_load_n(&shared->family_count, __ATOMIC_ACQUIRE);
    for (uint32_t i = 0; i < count; i++)
        families[i] = shared_at(shared, shared->families[i]);
    qsort(families, count, sizeof(families[0]), by_name);
    for (uint32_t i = 0; i < count; i++)
        render_family(out, shared, families[i]);
}

void metrics_usage(const struct shared *shared, struct shared_usage *usage)
{
    const char *base = (const char *)shared;
    uint32_t count = __atomic_load_n(&shared->family_count, __ATOMIC_ACQUIRE);
    for (uint32_t i = 0; i < count; i++) {
        const struct family *family = (const void *)(base + shared->families[i]);
        uint64_t last = __atomic_load_n(&family->last, __ATOMIC_ACQUIRE);
        if (last != 0)
            usage->series += ((const struct series *)(const void *)(base + last))->number;
    }
}
