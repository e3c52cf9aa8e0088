/* A histogram that comes with other buckets, and handles that add only so many series. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "plugin_host/metrics.h"
#include "plugin_host/metrics_internal.h"

static struct shared *region;
static const char *const label[] = {"a", NULL};
static const weir_str x = WEIR_LIT("x"), y = WEIR_LIT("y");

static void set_up(void)
{
    region = shared_create(8 << 20, 2);
    cr_assert_not_null(region);
}

static void tear_down(void)
{
    shared_destroy(region);
}

TestSuite(shared_metrics_layouts, .init = set_up, .fini = tear_down, .timeout = 60);

/* A histogram with one bucket. */
static weir_metric *open_bucket(uint32_t worker, double bucket, const char *const *labels)
{
    char why[128] = "";
    weir_metric *metric = metric_open(region, worker, WEIR_METRIC_HISTOGRAM, SPAN("h"), SPAN("H."),
                                      labels, &bucket, 1, why, sizeof(why));
    cr_assert_not_null(metric, "%s", why);
    return metric;
}

static weir_metric *open_counter(uint32_t worker)
{
    char why[128] = "";
    weir_metric *metric = metric_open(region, worker, WEIR_METRIC_COUNTER, SPAN("n"), SPAN("N."),
                                      label, NULL, 0, why, sizeof(why));
    cr_assert_not_null(metric, "%s", why);
    return metric;
}

static void expect(const char *expected, const char *reason)
{
    AUTO_BUF out = BUF_INIT;
    metrics_render(region, &out);
    buf_byte(&out, '\0');
    cr_assert(!out.failed);
    cr_expect_str_eq(out.data, expected, "%s\n%s", reason, out.data);
}

#define HEAD "# HELP h H.\n# TYPE h histogram\n"
#define SERIES(le, below, sum, count)                                                 \
    "h_bucket{a=\"x\",le=\"" le "\"} " below "\nh_bucket{a=\"x\",le=\"+Inf\"} " count \
    "\nh_sum{a=\"x\"} " sum "\nh_count{a=\"x\"} " count "\n"

Test(shared_metrics_layouts, other_buckets_begin_anew_with_the_first_count)
{
    weir_metric *before[2] = {open_bucket(0, 5, label), open_bucket(1, 5, label)};
    metric_add(before[0], &x, 1);
    metric_add(before[1], &x, 9);
    weir_metric *after[2] = {open_bucket(0, 7, label), open_bucket(1, 7, label)};
    cr_expect_eq(after[0]->family, after[1]->family, "both workers made it one layout");
    cr_expect(metric_clashes(before[0], after[0]));
    cr_expect_not(metric_clashes(after[0], after[1]));
    metric_add(before[0], &x, 2);
    expect(HEAD SERIES("5", "2", "12", "3"), "the configuration may still be given up");
    cr_expect_eq(shared_usage(region).series, 1);
    metric_add(after[1], &x, 6);
    expect(HEAD SERIES("7", "1", "6", "1"), "from now on it is in use");
    metric_add(before[0], &x, 1);
    metric_add(before[0], &y, 1);
    expect(HEAD SERIES("7", "1", "6", "1"), "who ends on the former configuration is not seen");
    metric_add(after[0], &x, 8);
    expect(HEAD SERIES("7", "1", "14", "2"), "the other worker adds to the same");
    cr_expect(metric_reopen(after[0]));
    cr_expect_not(metric_reopen(before[0]), "its counts have ended");
    for (int i = 0; i < 2; i++) {
        metric_close(before[i]);
        metric_close(after[i]);
    }
}

Test(shared_metrics_layouts, the_first_buckets_again_are_new_ones)
{
    weir_metric *one = open_bucket(0, 5, label), *two = open_bucket(0, 7, label), *three;
    metric_add(one, &x, 1);
    metric_add(two, &x, 1);
    three = open_bucket(0, 5, label);
    cr_expect_neq(one->family, three->family);
    metric_add(three, &x, 2);
    expect(HEAD SERIES("5", "1", "2", "1"), "not 1 more than what was shown long ago");
    metric_add(two, &y, 1);
    expect(HEAD SERIES("5", "1", "2", "1"), "the second does not come back");
    metric_close(one);
    metric_close(two);
    metric_close(three);
}

Test(shared_metrics_layouts, what_was_given_up_is_found_again)
{
    weir_metric *used = open_bucket(0, 5, label);
    metric_add(used, &x, 1);
    metric_close(open_bucket(0, 7, label));
    size_t taken = shared_usage(region).used;
    for (int i = 0; i < 100; i++)
        metric_close(open_bucket(i % 2 == 0 ? 0 : 1, 7, label));
    cr_expect_eq(shared_usage(region).used, taken, "tries of one reload cost nothing more");
    cr_expect(metric_reopen(used), "the old one goes on");
    expect(HEAD SERIES("5", "1", "1", "1"), "none of them was used");
    metric_close(used);
}

/* Reloads to other buckets and back before anything was counted in those. */
Test(shared_metrics_layouts, a_straggler_does_not_bring_back_what_was_left)
{
    weir_metric *one = open_bucket(0, 5, label);
    metric_add(one, &x, 1);
    weir_metric *two = open_bucket(0, 7, label);
    cr_expect(metric_reopen(one));
    metric_add(two, &x, 1);
    metric_add(one, &x, 1);
    expect(HEAD SERIES("5", "2", "2", "2"), "opened last is in use");
    weir_metric *three = open_bucket(0, 7, label);
    cr_expect_neq(three->family, two->family, "the straggler's count is nobody's beginning");
    metric_add(three, &x, 6);
    expect(HEAD SERIES("7", "1", "6", "1"), "and it does replace the first");
    metric_close(one);
    metric_close(two);
    metric_close(three);
}

Test(shared_metrics_layouts, without_labels_it_reads_0_from_the_start_and_not_before)
{
    weir_metric *one = open_bucket(0, 5, NULL);
    metric_add(one, NULL, 3);
    weir_metric *two = open_bucket(0, 7, NULL);
    expect(HEAD "h_bucket{le=\"5\"} 1\nh_bucket{le=\"+Inf\"} 1\nh_sum 3\nh_count 1\n",
           "opening is not counting");
    metric_add(two, NULL, 6);
    expect(HEAD "h_bucket{le=\"7\"} 1\nh_bucket{le=\"+Inf\"} 1\nh_sum 6\nh_count 1\n",
           "counting is");
    metric_close(one);
    metric_close(two);
}

Test(shared_metrics_layouts, a_new_worker_goes_on_in_the_layout_in_use)
{
    metric_close(open_bucket(0, 5, label));
    for (int life = 0; life < 3; life++) {
        pid_t child = fork();
        if (child == 0) {
            metric_add(open_bucket(1, 7, label), &x, 2);
            _exit(0);
        }
        cr_assert_eq(waitpid(child, NULL, 0), child);
    }
    expect(HEAD SERIES("7", "3", "6", "3"), "three lives of one worker");
}

Test(shared_metrics_layouts, other_families_are_where_they_were)
{
    weir_metric *counter = open_counter(0), *one = open_bucket(0, 5, label);
    metric_add(counter, &x, 1);
    metric_add(one, &x, 1);
    weir_metric *two = open_bucket(0, 7, label);
    metric_add(two, &x, 1);
    metric_add(counter, &x, 1);
    expect(HEAD SERIES("7", "1", "1", "1") "# HELP n N.\n# TYPE n counter\nn{a=\"x\"} 2\n",
           "a name stands once");
    metric_close(counter);
    metric_close(one);
    metric_close(two);
}

/* ---- limits */

static void add(weir_metric *metric, const char *value)
{
    const weir_str text = {value, strlen(value)};
    metric_add(metric, &text, 1);
}

Test(shared_metrics_layouts, a_limit_is_of_the_handle)
{
    weir_metric *all = open_counter(0), *few = metric_limited(all, 2),
                *more = metric_limited(all, 3);
    cr_assert(few != NULL && more != NULL);
    add(few, "1");
    add(few, "2");
    add(few, "3");
    add(few, "3");
    add(few, "1");
    expect("# HELP n N.\n# TYPE n counter\nn{a=\"1\"} 2\nn{a=\"2\"} 1\nn{a=\"overflow\"} 2\n",
           "two and the rest");
    cr_expect_eq(shared_usage(region).overflows, 2);
    add(more, "4");
    expect("# HELP n N.\n# TYPE n counter\nn{a=\"1\"} 2\nn{a=\"2\"} 1\nn{a=\"overflow\"} 3\n",
           "the one for the rest is one of three");
    add(all, "5");
    add(more, "1");
    add(few, "5");
    expect("# HELP n N.\n# TYPE n counter\nn{a=\"1\"} 3\nn{a=\"2\"} 1\nn{a=\"overflow\"} 4\n"
           "n{a=\"5\"} 1\n",
           "all count in the same series; who may not add one does not look for new ones");
    metric_close(few);
    metric_close(more);
    metric_close(all);
}

Test(shared_metrics_layouts, a_limit_below_what_is_there_takes_nothing_away)
{
    weir_metric *all = open_counter(0);
    for (int i = 0; i < 20; i++) {
        char text[12];
        (void)snprintf(text, sizeof(text), "%d", i);
        add(all, text);
    }
    weir_metric *few = metric_limited(all, 5), *other = metric_limited(all, 30);
    cr_assert(few != NULL && other != NULL);
    add(few, "19");
    add(few, "20");
    add(other, "21");
    cr_expect_eq(shared_usage(region).series, 22, "20, the rest's and one");
    cr_expect_eq(shared_usage(region).overflows, 1);
    metric_close(few);
    metric_close(other);
    metric_close(all);
}
