/* Metric families: what is refused, whose cells are whose, the budget, and the text of a scrape. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "plugin_host/metrics.h"
#include "plugin_host/metrics_internal.h"

static struct shared *region;
static char why[256];
static const char *const route_code[] = {"route", "code", NULL};
static const char *const one_label[] = {"a", NULL};

static void set_up(void)
{
    region = shared_create(64 << 20, 4);
    cr_assert_not_null(region);
}

static void tear_down(void)
{
    shared_destroy(region);
}

TestSuite(shared_metrics, .init = set_up, .fini = tear_down, .timeout = 60);

static weir_metric *open_as(uint32_t worker, uint32_t kind, const char *name,
                            const char *const *labels)
{
    static const double buckets[] = {0.5, 1, 25};
    bool is_histogram = kind == WEIR_METRIC_HISTOGRAM;
    weir_metric *metric =
        metric_open(region, worker, kind, span_text(name), SPAN("Help."), labels,
                    is_histogram ? buckets : NULL, is_histogram ? 3 : 0, why, sizeof(why));
    cr_assert_not_null(metric, "%s", why);
    return metric;
}

static void expect_render(const char *expected, const char *reason)
{
    AUTO_BUF out = BUF_INIT;
    metrics_render(region, &out);
    buf_byte(&out, '\0');
    cr_assert(!out.failed);
    cr_expect_str_eq(out.data, expected, "%s\n%s", reason, out.data);
}

/* More series than are remembered, alike in all but one byte somewhere, each time in another order.
 */
Test(shared_metrics, values_that_look_alike_are_kept_apart)
{
    weir_metric *metric = open_as(0, WEIR_METRIC_COUNTER, "c_total", route_code);
    char text[20];
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 18 * 26; i++) {
            int k = (i * 5 + round) % (18 * 26);
            size_t size = (size_t)(k / 26) + 1;
            memset(text, '.', sizeof(text));
            text[(size_t)k % size] = (char)('a' + k % 26);
            weir_str values[] = {{text, size}, {text, (size_t)(k & 1)}};
            metric_add(metric, values, 1);
        }
    }
    cr_expect_eq(shared_usage(region).series, 18 * 26);
    AUTO_BUF out = BUF_INIT;
    metrics_render(region, &out);
    buf_byte(&out, '\0');
    size_t lines = 0;
    for (const char *at = out.data; (at = strstr(at, "\"} 5\n")) != NULL; at++)
        lines++;
    cr_expect_eq(lines, 18 * 26);
    metric_close(metric);
}

static const char *const nine[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i", NULL};
static const char *const twice[] = {"a", "a", NULL};
static const char *const dashed[] = {"a-b", NULL};
static const char *const colon[] = {"a:b", NULL};
static const char *const digit[] = {"1a", NULL};
static const char *const reserved[] = {"__a", NULL};
static const char *const le[] = {"le", NULL};
static const double falling[] = {1, 2, 2};
static const double infinite[] = {1, INFINITY};

static const struct {
    const char *reason;
    uint32_t kind;
    const char *name;
    const char *const *labels;
    const double *buckets;
    size_t bucket_count;
    const char *why; /* NULL: accepted */
} openings[] = {
    {"colons are for rules, yet legal", 1, "a:b_total", NULL, NULL, 0, NULL},
    {"eight labels are the bound", 1, "c8_total", nine + 1, NULL, 0, NULL},
    {"a histogram with +Inf alone", 3, "h0", NULL, NULL, 0, NULL},
    {"empty name", 1, "", NULL, NULL, 0, "its name must match"},
    {"digit first", 1, "1a", NULL, NULL, 0, "its name must match"},
    {"a dash is no part of a name", 1, "a-b", NULL, NULL, 0, "its name must match"},
    {"no such kind", 4, "a", NULL, NULL, 0, "neither counter, gauge nor histogram"},
    {"nine labels", 1, "a", nine, NULL, 0, "more than 8 labels"},
    {"the same label twice", 1, "a", twice, NULL, 0, "two labels have the same name"},
    {"a dash in a label", 1, "a", dashed, NULL, 0, "a label's name must match"},
    {"a colon in a label", 1, "a", colon, NULL, 0, "a label's name must match"},
    {"a digit first in a label", 1, "a", digit, NULL, 0, "a label's name must match"},
    {"reserved by Prometheus", 1, "a", reserved, NULL, 0, "are reserved"},
    {"le on a counter is legal", 1, "le_total", le, NULL, 0, NULL},
    {"le on a histogram is taken", 3, "a", le, NULL, 0, "a label \"le\" of its own"},
    {"buckets rise", 3, "a", NULL, falling, 3, "its buckets must rise"},
    {"+Inf comes by itself", 3, "a", NULL, infinite, 2, "+Inf is added by itself"},
    {"a gauge has no buckets", 2, "a", NULL, falling, 2, "only a histogram has buckets"},
    {"33 buckets", 3, "a", NULL, falling, 33, "more than 32 buckets"},
    {"a histogram", 3, "h", one_label, falling, 2, NULL},
    {"the same again is the same", 3, "h", one_label, falling, 2, NULL},
    {"another kind", 1, "h", one_label, NULL, 0, "exists already with another kind"},
    {"other labels", 3, "h", nine + 7, falling, 2, "exists already with other labels"},
    {"fewer labels", 3, "h", NULL, falling, 2, "exists already with other labels"},
    {"other buckets are for another configuration", 3, "h", one_label, falling, 1, NULL},
    {"a sample of h", 1, "h_count", NULL, NULL, 0, "also that of a sample of a histogram"},
    {"not a sample of h", 1, "h_counts", NULL, NULL, 0, NULL},
    {"g_sum first", 1, "g_sum", NULL, NULL, 0, NULL},
    {"then g", 3, "g", NULL, NULL, 0, "also that of a sample of a histogram"},
};

Test(shared_metrics, openings)
{
    for (size_t i = 0; i < COUNT_OF(openings); i++) {
        weir_metric *metric = metric_open(region, 0, openings[i].kind, span_text(openings[i].name),
                                          SPAN("h"), openings[i].labels, openings[i].buckets,
                                          openings[i].bucket_count, why, sizeof(why));
        if (openings[i].why == NULL) {
            cr_expect_not_null(metric, "%s: %s", openings[i].reason, why);
        } else {
            cr_expect_null(metric, "%s", openings[i].reason);
            cr_expect_not_null(strstr(why, openings[i].why), "%s: %s", openings[i].reason, why);
        }
        metric_close(metric);
    }
}

Test(shared_metrics, families_are_bounded)
{
    char name[32];
    for (int i = 0; i <= SHARED_FAMILIES_MAX; i++) {
        (void)snprintf(name, sizeof(name), "m%d_total", i);
        weir_metric *metric = metric_open(region, 0, WEIR_METRIC_COUNTER, span_text(name),
                                          SPAN("h"), one_label, NULL, 0, why, sizeof(why));
        cr_expect_eq(metric != NULL, i < SHARED_FAMILIES_MAX);
        metric_close(metric);
    }
    cr_expect_str_eq(why, "metric \"m512_total\": there are 512 already");
}

Test(shared_metrics, workers_add_to_cells_of_their_own)
{
    weir_metric *zero = open_as(0, WEIR_METRIC_COUNTER, "c_total", route_code);
    weir_metric *three = open_as(3, WEIR_METRIC_COUNTER, "c_total", route_code);
    weir_metric *gauge = open_as(0, WEIR_METRIC_GAUGE, "g", NULL);
    weir_metric *gauge3 = open_as(3, WEIR_METRIC_GAUGE, "g", NULL);
    weir_str a[] = {WEIR_LIT("r1"), WEIR_LIT("200")}, b[] = {WEIR_LIT("r1"), WEIR_LIT("404")};
    metric_add(zero, a, 1);
    metric_add(three, b, 5);
    metric_add(three, a, 2.5);
    metric_add(zero, a, 1);
    metric_set(gauge, NULL, 10);
    metric_set(gauge3, NULL, 4);
    metric_add(gauge3, NULL, -1);
    metric_set(zero, a, 1000); /* a counter is not set */
    metric_add(zero, a, -1);   /* and does not fall */
    metric_add(zero, a, NAN);
    expect_render("# HELP c_total Help.\n# TYPE c_total counter\n"
                  "c_total{route=\"r1\",code=\"200\"} 4.5\n"
                  "c_total{route=\"r1\",code=\"404\"} 5\n"
                  "# HELP g Help.\n# TYPE g gauge\ng 13\n",
                  "sums over the workers");
    const struct series *series = series_at(region, zero->family->first);
    cr_assert(series != NULL);
    uint64_t of_zero = series->cells[0], of_three = series->cells[3];
    cr_expect_eq(series->cells[1], 0, "who never added has no cells");
    cr_expect_neq(of_zero / METRIC_PAGE, of_three / METRIC_PAGE, "not even the same page");
    weir_metric *handles[] = {zero, three, gauge, gauge3};
    for (size_t i = 0; i < COUNT_OF(handles); i++)
        metric_close(handles[i]);
}

Test(shared_metrics, a_replacement_goes_on_with_the_slot)
{
    weir_str values[] = {WEIR_LIT("r"), WEIR_LIT("200")};
    size_t used = 0;
    for (int life = 0; life < 3; life++) {
        pid_t child = fork();
        if (child == 0) {
            weir_metric *metric = open_as(1, WEIR_METRIC_COUNTER, "c_total", route_code);
            metric_add(metric, values, 2);
            _exit(0); /* without a word of goodbye */
        }
        cr_assert_eq(waitpid(child, NULL, 0), child);
        if (life == 0)
            used = shared_usage(region).used;
    }
    cr_expect_eq(shared_usage(region).used, used, "lives cost nothing");
    expect_render("# HELP c_total Help.\n# TYPE c_total counter\n"
                  "c_total{route=\"r\",code=\"200\"} 6\n",
                  "three lives of one worker");
}

Test(shared_metrics, a_worker_that_died_while_appending_loses_no_series)
{
    weir_metric *metric = open_as(0, WEIR_METRIC_COUNTER, "c_total", one_label);
    weir_str values[] = {WEIR_LIT("x"), WEIR_LIT("y"), WEIR_LIT("z")};
    metric_add(metric, &values[0], 1);
    metric_add(metric, &values[1], 1);
    metric->family->last = metric->family->first; /* as if it died one store too early */
    metric_add(metric, &values[2], 1);
    expect_render("# HELP c_total Help.\n# TYPE c_total counter\nc_total{a=\"x\"} 1\n"
                  "c_total{a=\"y\"} 1\nc_total{a=\"z\"} 1\n",
                  "z came after y, not in its place");
    cr_expect_eq(shared_usage(region).series, 3);
    metric_close(metric);
}

Test(shared_metrics, processes_meet_in_the_same_series)
{
    pid_t children[4];
    char text[16];
    for (uint32_t worker = 0; worker < 4; worker++) {
        children[worker] = fork();
        if (children[worker] != 0)
            continue;
        weir_metric *metric = open_as(worker, WEIR_METRIC_COUNTER, "c_total", one_label);
        for (int i = 0; i < 2000; i++) {
            weir_str value = {text, (size_t)snprintf(text, sizeof(text), "%d", i % 200)};
            metric_add(metric, &value, 1);
        }
        _exit(0);
    }
    for (int i = 0; i < 4; i++)
        cr_assert_eq(waitpid(children[i], NULL, 0), children[i]);
    cr_expect_eq(shared_usage(region).series, 200);
    AUTO_BUF out = BUF_INIT;
    metrics_render(region, &out);
    buf_byte(&out, '\0');
    size_t lines = 0;
    for (const char *at = out.data; (at = strstr(at, "\"} 40\n")) != NULL; at++)
        lines++;
    cr_expect_eq(lines, 200, "each has what all four added");
}

Test(shared_metrics, series_beyond_the_budget_go_to_overflow)
{
    weir_metric *metric = open_as(0, WEIR_METRIC_COUNTER, "c_total", route_code);
    weir_metric *other = open_as(1, WEIR_METRIC_COUNTER, "c_total", route_code);
    char text[16];
    weir_str values[2] = {{text, 0}, WEIR_LIT("200")};
    for (int i = 0; i < METRIC_SERIES_BUDGET + 3; i++) {
        values[0].size = (size_t)snprintf(text, sizeof(text), "r%d", i);
        metric_add(metric, values, 1);
    }
    metric_add(other, values, 4);
    metric_add(other, values, 4);
    values[0].size = (size_t)snprintf(text, sizeof(text), "r%d", 5);
    metric_add(other, values, 1);
    struct shared_usage usage = shared_usage(region);
    cr_expect_eq(usage.series, METRIC_SERIES_BUDGET + 1);
    cr_expect_eq(usage.overflows, 5);
    AUTO_BUF out = BUF_INIT;
    metrics_render(region, &out);
    buf_byte(&out, '\0');
    cr_expect_not_null(strstr(out.data, "{route=\"overflow\",code=\"overflow\"} 11\n"));
    cr_expect_not_null(strstr(out.data, "{route=\"r5\",code=\"200\"} 2\n"), "known ones go on");
    cr_expect_not_null(strstr(out.data, "{route=\"r9999\",code=\"200\"} 1\n"));
    cr_expect_null(strstr(out.data, "{route=\"r10000\""));
    metric_close(metric);
    metric_close(other);
}

Test(shared_metrics, a_full_region_drops_and_counts)
{
    weir_metric *metric = open_as(0, WEIR_METRIC_COUNTER, "c_total", one_label);
    weir_str known = WEIR_LIT("known"), unknown = WEIR_LIT("unknown");
    metric_add(metric, &known, 1);
    cr_assert_neq(shared_alloc(region, shared_left(region), 1), 0);
    metric_add(metric, &unknown, 1);
    metric_add(metric, &unknown, 1);
    metric_add(metric, &known, 1);
    cr_expect_eq(shared_usage(region).overflows, 2);
    expect_render("# HELP c_total Help.\n# TYPE c_total counter\nc_total{a=\"known\"} 2\n",
                  "what is there goes on");
    cr_expect_null(metric_open(region, 0, WEIR_METRIC_GAUGE, SPAN("g"), SPAN("h"), NULL, NULL, 0,
                               why, sizeof(why)));
    cr_expect_str_eq(why, "metric \"g\": the shared memory is full");
    metric_close(metric);
}

#define A16 "aaaaaaaaaaaaaaaa"
#define A255 A16 A16 A16 A16 A16 A16 A16 A16 A16 A16 A16 A16 A16 A16 A16 "aaaaaaaaaaaaaaa"

static const struct {
    const char *reason;
    weir_str value;
    const char *text;
} label_values[] = {
    {"plain", WEIR_LIT("x"), "x"},
    {"absent is empty", {NULL, 0}, ""},
    {"quote, backslash and newline are escaped", WEIR_LIT("a\"b\\c\nd"), "a\\\"b\\\\c\\nd"},
    {"UTF-8 stays", WEIR_LIT("\xc3\xa9"), "\xc3\xa9"},
    {"one bad byte would spoil the scrape", WEIR_LIT("a\xff\xc3\xa9"),
     "a\xef\xbf\xbd"
     "ff\xc3\xa9"},
    {"another bad byte is another series", WEIR_LIT("a\xfe\xc3\xa9"),
     "a\xef\xbf\xbd"
     "fe\xc3\xa9"},
    {"256 bytes are kept", WEIR_LIT(A255 "b"), A255 "b"},
    {"the rest is cut", WEIR_LIT(A255 "cd"), A255 "c"},
    {"not inside a character", WEIR_LIT(A255 "\xc3\xa9"), A255},
};

Test(shared_metrics, label_values)
{
    weir_metric *metric = open_as(0, WEIR_METRIC_GAUGE, "g", one_label);
    AUTO_BUF expected = BUF_INIT;
    buf_text(&expected, "# HELP g Help.\n# TYPE g gauge\n");
    for (size_t i = 0; i < COUNT_OF(label_values); i++) {
        metric_set(metric, &label_values[i].value, (double)i);
        buf_printf(&expected, "g{a=\"%s\"} %zu\n", label_values[i].text, i);
    }
    buf_byte(&expected, '\0');
    expect_render(expected.data, "each as its row says");
    metric_close(metric);
}

static const struct {
    double value;
    const char *text;
} numbers[] = {
    {0, "0"},
    {1, "1"},
    {-3, "-3"},
    {1e15, "1000000000000000"},
    {9007199254740991, "9007199254740991"},
    {1e20, "1e+20"},
    {0.1, "0.1"},
    {0.30000000000000004, "0.30000000000000004"},
    {2.5e-7, "2.5e-07"},
    {1234567.875, "1234567.875"},
};

Test(shared_metrics, numbers_are_short_and_exact)
{
    weir_metric *metric = open_as(0, WEIR_METRIC_GAUGE, "g", NULL);
    char expected[128];
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        metric_set(metric, NULL, numbers[i].value);
        (void)snprintf(expected, sizeof(expected), "# HELP g Help.\n# TYPE g gauge\ng %s\n",
                       numbers[i].text);
        expect_render(expected, "number");
    }
    metric_close(metric);
}

/* Families out of order, every kind, hostile help. */
static void fill(void)
{
    weir_metric *histogram = open_as(0, WEIR_METRIC_HISTOGRAM, "weir_size_bytes", one_label);
    weir_metric *elsewhere = open_as(2, WEIR_METRIC_HISTOGRAM, "weir_size_bytes", one_label);
    weir_metric *plain = open_as(0, WEIR_METRIC_COUNTER, "weir_hits_total", NULL);
    weir_metric *helped = metric_open(region, 0, WEIR_METRIC_GAUGE, SPAN("weir_depth"),
                                      SPAN("a\\b \"c\"\nd"), NULL, NULL, 0, why, sizeof(why));
    cr_assert_not_null(helped);
    weir_str x = WEIR_LIT("x");
    metric_add(histogram, &x, 0.5);
    metric_add(histogram, &x, 0.75);
    metric_add(elsewhere, &x, 25.5);
    metric_add(elsewhere, &x, 1e6);
    weir_metric *handles[] = {histogram, elsewhere, plain, helped};
    for (size_t i = 0; i < COUNT_OF(handles); i++)
        metric_close(handles[i]);
}

Test(shared_metrics, the_whole_page)
{
    fill();
    expect_render("# HELP weir_depth a\\\\b \"c\"\\nd\n# TYPE weir_depth gauge\nweir_depth 0\n"
                  "# HELP weir_hits_total Help.\n# TYPE weir_hits_total counter\n"
                  "weir_hits_total 0\n"
                  "# HELP weir_size_bytes Help.\n# TYPE weir_size_bytes histogram\n"
                  "weir_size_bytes_bucket{a=\"x\",le=\"0.5\"} 1\n"
                  "weir_size_bytes_bucket{a=\"x\",le=\"1\"} 2\n"
                  "weir_size_bytes_bucket{a=\"x\",le=\"25\"} 2\n"
                  "weir_size_bytes_bucket{a=\"x\",le=\"+Inf\"} 4\n"
                  "weir_size_bytes_sum{a=\"x\"} 1000026.75\n"
                  "weir_size_bytes_count{a=\"x\"} 4\n",
                  "sorted by name, buckets cumulated");
}

/* A reader that is not ours. */
Test(shared_metrics, promtool_reads_it)
{
    if (system("command -v promtool >/dev/null 2>&1") != 0) {
        (void)printf("skipped: no promtool here (Debian package prometheus)\n");
        return;
    }
    fill();
    weir_metric *metric = open_as(0, WEIR_METRIC_COUNTER, "weir_requests_total", one_label);
    for (size_t i = 0; i < COUNT_OF(label_values); i++)
        metric_add(metric, &label_values[i].value, 0.1);
    AUTO_BUF out = BUF_INIT;
    metrics_render(region, &out);
    FILE *promtool = popen("promtool check metrics", "w");
    cr_assert_not_null(promtool);
    cr_expect_eq(fwrite(out.data, 1, out.size, promtool), out.size);
    cr_expect_eq(pclose(promtool), 0, "it complains above");
    metric_close(metric);
}

Test(shared_metrics, a_gauge_of_a_process_that_died_stands_for_nothing)
{
    const weir_str value = WEIR_LIT("v");
    weir_metric *before = open_as(0, WEIR_METRIC_GAUGE, "g", one_label);
    weir_metric *other = open_as(1, WEIR_METRIC_GAUGE, "g", one_label);
    weir_metric *counter = open_as(0, WEIR_METRIC_COUNTER, "n_total", one_label);
    metric_add(before, &value, 3);
    metric_add(other, &value, 4);
    metric_add(counter, &value, 5);
    metric_close(open_as(0, WEIR_METRIC_GAUGE, "g", one_label)); /* as its replacement does */
    metric_close(open_as(0, WEIR_METRIC_COUNTER, "n_total", one_label));
    expect_render("# HELP g Help.\n# TYPE g gauge\ng{a=\"v\"} 4\n"
                  "# HELP n_total Help.\n# TYPE n_total counter\nn_total{a=\"v\"} 5\n",
                  "the other worker's share and all counts stay");
    metric_close(before);
    metric_close(other);
    metric_close(counter);
}

/* However it is cut, the text is the same. */
Test(shared_metrics, pieces_make_the_whole)
{
    weir_metric *metrics[3] = {open_as(0, WEIR_METRIC_HISTOGRAM, "b_seconds", one_label),
                               open_as(0, WEIR_METRIC_COUNTER, "a_total", one_label),
                               open_as(0, WEIR_METRIC_GAUGE, "c", NULL)};
    for (int i = 0; i < 25; i++) {
        char text[8];
        const weir_str value = {text, (size_t)snprintf(text, sizeof(text), "v%d", i)};
        for (int k = 0; k < 3; k++)
            metric_add(metrics[k], &value, i);
    }
    AUTO_BUF whole = BUF_INIT;
    metrics_render(region, &whole);
    for (size_t series = 1; series < 30; series += 4) {
        AUTO_BUF pieces = BUF_INIT;
        unsigned families = 0;
        struct metrics_cursor *cursor = metrics_cursor_create(region);
        cr_assert_not_null(cursor);
        while (span_is_set(metrics_cursor_family(cursor)))
            families += metrics_cursor_render(cursor, series, &pieces);
        metrics_cursor_destroy(cursor);
        cr_expect_eq(families, 3);
        cr_expect(span_equal(buf_view(&pieces), buf_view(&whole)), "%zu at once", series);
    }
    struct metrics_cursor *cursor = metrics_cursor_create(region);
    cr_assert_not_null(cursor);
    AUTO_BUF rest = BUF_INIT;
    (void)metrics_cursor_render(cursor, 1, &rest);
    metrics_cursor_skip(cursor);
    cr_expect(span_equal(metrics_cursor_family(cursor), SPAN("b_seconds")));
    metrics_cursor_destroy(cursor);
    for (int k = 0; k < 3; k++)
        metric_close(metrics[k]);
}
