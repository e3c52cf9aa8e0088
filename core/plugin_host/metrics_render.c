/* A scrape: the Prometheus text format 0.0.4. Takes no lock: lists only grow and cells are read as
 * they are, so a sum may miss what a worker adds meanwhile and nothing else. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <weir/weir.h>

#include "base/text.h"
#include "plugin_host/metrics.h"
#include "plugin_host/metrics_internal.h"

enum { WHOLE = SIZE_MAX };

struct metrics_cursor {
    struct shared *shared;
    uint32_t count, at;
    bool begun;                  /* of the family at `at`: its head is written */
    const struct series *series; /* of it, the next one; once begun */
    const struct family *families[SHARED_FAMILIES_MAX];
};

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
        size_t sign = value < 0;
        text[0] = '-';
        buf_append(out, text, sign + text_from_u64(text + sign, (uint64_t)fabs(value)));
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

/* Nearly every label: nothing to escape and nothing above ASCII. */
static bool is_plain(struct span s)
{
    for (size_t i = 0; i < s.size; i++) {
        unsigned char c = (unsigned char)s.data[i];
        if (c >= 0x80 || c == '\\' || c == '"' || c == '\n')
            return false;
    }
    return true;
}

static void put_escaped(struct buf *out, struct span s, bool quotes)
{
    if (is_plain(s)) {
        buf_span(out, s);
        return;
    }
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

/* a="1",b="2" of a series; nothing without labels. */
static void put_labels(struct buf *out, struct shared *shared, const struct family *family,
                       const struct series *series)
{
    struct span key = {series_key(shared, series), series->key_size};
    for (uint32_t i = 0; i < family->label_count; i++) {
        uint16_t size;
        memcpy(&size, key.data, sizeof(size));
        if (i > 0)
            buf_byte(out, ',');
        buf_text(out, family->labels[i]);
        buf_append(out, "=\"", 2);
        put_escaped(out, span_first(span_from(key, 2), size), true);
        buf_byte(out, '"');
        key = span_from(key, size + (size_t)2);
    }
}

static void put_sample(struct buf *out, const struct family *family, const char *suffix,
                       struct span labels, const double *le, double value)
{
    buf_text(out, family->name);
    buf_text(out, suffix);
    if (labels.size != 0 || le != NULL) {
        buf_byte(out, '{');
        buf_span(out, labels);
        if (le != NULL) {
            buf_text(out, labels.size != 0 ? ",le=\"" : "le=\"");
            put_number(out, *le);
            buf_byte(out, '"');
        }
        buf_byte(out, '}');
    }
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

static void render_histogram(struct buf *out, const struct family *family, struct span labels,
                             const double *sums)
{
    double count = 0;
    const double infinite = INFINITY;
    for (uint32_t i = 0; i <= family->bucket_count; i++) {
        count += sums[i];
        put_sample(out, family, "_bucket", labels,
                   i < family->bucket_count ? &family->buckets[i] : &infinite, count);
    }
    put_sample(out, family, "_sum", labels, NULL, sums[family->bucket_count + 1]);
    put_sample(out, family, "_count", labels, NULL, count);
}

static void render_series(struct buf *out, struct shared *shared, const struct family *family,
                          const struct series *series, struct buf *labels)
{
    double sums[METRIC_BUCKETS_MAX + 2];
    bool is_histogram = family->kind == WEIR_METRIC_HISTOGRAM;
    labels->size = 0;
    put_labels(labels, shared, family, series);
    if (labels->failed) {
        out->failed = true;
        return;
    }
    sum_cells(shared, series, is_histogram ? family->bucket_count + 2 : 1, sums);
    if (is_histogram)
        render_histogram(out, family, buf_view(labels), sums);
    else
        put_sample(out, family, "", buf_view(labels), NULL, sums[0]);
}

static void render_head(struct buf *out, const struct family *family)
{
    static const char *const kinds[] = {
        [WEIR_METRIC_COUNTER] = "counter",
        [WEIR_METRIC_GAUGE] = "gauge",
        [WEIR_METRIC_HISTOGRAM] = "histogram",
    };
    buf_printf(out, "# HELP %s ", family->name);
    put_escaped(out, span_text(family->help), false);
    buf_printf(out, "\n# TYPE %s %s\n", family->name, kinds[family->kind]);
}

static int by_name(const void *left, const void *right)
{
    const struct family *const *a = left, *const *b = right;
    return strcmp((*a)->name, (*b)->name);
}

static void cursor_init(struct metrics_cursor *cursor, struct shared *shared)
{
    CHECK(shared, SHARED);
    cursor->shared = shared;
    cursor->at = 0;
    cursor->begun = false;
    cursor->count = __atomic_load_n(&shared->family_count, __ATOMIC_ACQUIRE);
    for (uint32_t i = 0; i < cursor->count; i++)
        cursor->families[i] = family_shown(shared, i);
    qsort(cursor->families, cursor->count, sizeof(cursor->families[0]), by_name);
}

struct metrics_cursor *metrics_cursor_create(struct shared *shared)
{
    struct metrics_cursor *cursor = malloc(sizeof(*cursor));
    if (cursor != NULL)
        cursor_init(cursor, shared);
    return cursor;
}

void metrics_cursor_destroy(struct metrics_cursor *cursor)
{
    free(cursor);
}

struct span metrics_cursor_family(const struct metrics_cursor *cursor)
{
    return cursor->at < cursor->count ? span_text(cursor->families[cursor->at]->name) : SPAN_NONE;
}

void metrics_cursor_skip(struct metrics_cursor *cursor)
{
    cursor->at++;
    cursor->begun = false;
}

bool metrics_cursor_render(struct metrics_cursor *cursor, size_t series, struct buf *out)
{
    CHECK_THAT(cursor->at < cursor->count);
    struct shared *shared = cursor->shared;
    const struct family *family = cursor->families[cursor->at];
    AUTO_BUF labels = BUF_INIT;
    if (!cursor->begun) {
        cursor->begun = true;
        cursor->series = series_at(shared, __atomic_load_n(&family->first, __ATOMIC_ACQUIRE));
        render_head(out, family);
    }
    for (; cursor->series != NULL && series > 0; series--) {
        render_series(out, shared, family, cursor->series, &labels);
        cursor->series = series_next(shared, cursor->series);
    }
    if (cursor->series != NULL)
        return false;
    metrics_cursor_skip(cursor);
    return true;
}

void metrics_render(struct shared *shared, struct buf *out)
{
    struct metrics_cursor cursor;
    cursor_init(&cursor, shared);
    while (cursor.at < cursor.count)
        (void)metrics_cursor_render(&cursor, WHOLE, out);
}

void metrics_usage(const struct shared *shared, struct shared_usage *usage)
{
    const char *base = (const char *)shared;
    uint32_t count = __atomic_load_n(&shared->family_count, __ATOMIC_ACQUIRE);
    for (uint32_t i = 0; i < count; i++) {
        const struct family *first = (const void *)(base + shared->families[i]);
        uint64_t shown = __atomic_load_n(&first->shown, __ATOMIC_ACQUIRE);
        const struct family *family = (const void *)(base + shown);
        uint64_t last = __atomic_load_n(&family->last, __ATOMIC_ACQUIRE);
        if (last != 0)
            usage->series += ((const struct series *)(const void *)(base + last))->number;
    }
}
