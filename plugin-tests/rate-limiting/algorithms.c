/* sliding-window and token-bucket in shared memory: what they admit, over any interval, whatever
 * the arrivals. The most that may be admitted is worked out here from the times alone. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weir_testkit.h"

#define HEAD                                                                                  \
    "_format_version: '3.0'\n"                                                                \
    "services:\n"                                                                             \
    "- {name: s, host: up.test, routes: [{name: r, paths: [/a]}, {name: r2, paths: [/b]}]}\n" \
    "consumers: [{username: ann, keyauth_credentials: [{key: k}]}]\n"

enum { ADMITTED_MAX = 20000 };

static struct kit *open_kit(const char *plugins)
{
    char yaml[2048];
    (void)snprintf(yaml, sizeof(yaml), HEAD "plugins:\n%s", plugins);
    struct kit *kit = kit_open(yaml);
    cr_assert_not_null(kit, "%s\n%s", kit_error(), yaml);
    return kit;
}

static struct kit *open_policy(const char *config)
{
    char plugins[1024];
    (void)snprintf(plugins, sizeof(plugins), "- {name: rate-limiting, config: %s}\n", config);
    return open_kit(plugins);
}

static int get_from(struct kit *kit, const char *ip)
{
    kit_request *r = kit_request_new(kit, "GET", "/a");
    kit_request_client_ip(r, ip);
    int status = kit_run(r);
    kit_request_free(r);
    return status;
}

static int get(struct kit *kit)
{
    return get_from(kit, "10.0.0.1");
}

static int burst_of(struct kit *kit, int count)
{
    int passed = 0;
    for (int i = 0; i < count; i++)
        passed += get(kit) == 200;
    return passed;
}

static void expect_header(kit_request *r, const char *why, const char *name, const char *want)
{
    const char *have = kit_response_header(r, name);
    if (want == NULL)
        cr_expect_null(have, "%s: %s: %s", why, name, have == NULL ? "" : have);
    else
        cr_expect(have != NULL && strcmp(have, want) == 0, "%s: %s is %s, not %s", why, name,
                  have == NULL ? "absent" : have, want);
}

/* Arrivals with pauses of random length: mostly bunches, sometimes long quiet. Two workers take
 * turns at random. Returns how many were admitted; their times are in `out`. */
static size_t drive(struct kit *kit, struct kit *second, unsigned seed, int64_t for_ms,
                    int64_t long_ms, int64_t *out)
{
    size_t count = 0;
    int64_t end = kit_time(kit) + for_ms;
    while (kit_time(kit) < end && count < ADMITTED_MAX) {
        int bunch = 1 + rand_r(&seed) % 6;
        for (int i = 0; i < bunch; i++)
            if (get(rand_r(&seed) % 2 == 0 ? kit : second) == 200)
                out[count++] = kit_time(kit);
        int64_t pause = rand_r(&seed) % 20 == 0 ? rand_r(&seed) % long_ms : rand_r(&seed) % 40;
        kit_advance_ms(kit, pause);
    }
    return count;
}

/* The most in any interval [t, t + length). */
static size_t most_in(const int64_t *times, size_t count, int64_t length)
{
    size_t most = 0, first = 0;
    for (size_t i = 0; i < count; i++) {
        while (times[i] - times[first] >= length)
            first++;
        most = i - first + 1 > most ? i - first + 1 : most;
    }
    return most;
}

Test(algorithms, a_sliding_window_admits_its_limit_in_any_interval_and_no_more)
{
    static const struct {
        const char *why, *config;
        size_t second, minute; /* limits, 0: none */
        int64_t for_ms;
    } rows[] = {
        {"one window", "{second: 10, limit_by: ip, algorithm: sliding-window}", 10, 0, 20000},
        {"one a second", "{second: 1, limit_by: ip, algorithm: sliding-window}", 1, 0, 20000},
        {"two windows", "{second: 5, minute: 100, limit_by: ip, algorithm: sliding-window}", 5, 100,
         150000},
        {"six windows",
         "{second: 5, minute: 90, hour: 10000, day: 10000, month: 10000, year: 10000, limit_by: "
         "ip, algorithm: sliding-window}",
         5, 90, 150000},
    };
    static int64_t times[ADMITTED_MAX];
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct kit *kit = open_policy(rows[i].config);
        struct kit *second = kit_second_worker(kit);
        size_t count = drive(kit, second, 7 + (unsigned)i, rows[i].for_ms, 3000, times);
        size_t most = most_in(times, count, 1000);
        cr_expect_eq(most, rows[i].second, "%s: %zu in some second, limit %zu", rows[i].why, most,
                     rows[i].second);
        most = most_in(times, count, 60000);
        if (rows[i].minute > 0)
            cr_expect_eq(most, rows[i].minute, "%s: %zu in some minute, limit %zu", rows[i].why,
                         most, rows[i].minute);
        kit_close(second);
        kit_close(kit);
    }
}

Test(algorithms, a_fixed_window_admits_twice_its_limit_around_its_edge)
{
    /* What the other algorithms are for. */
    struct kit *kit = open_policy("{second: 10, limit_by: ip}");
    kit_advance_ms(kit, 999);
    int passed = burst_of(kit, 20);
    kit_advance_ms(kit, 1);
    passed += burst_of(kit, 20);
    cr_expect_eq(passed, 20);
    kit_close(kit);
}

Test(algorithms, a_sliding_window_gives_back_at_most_one_step_late)
{
    static const struct {
        const char *config;
        int64_t step_ms;
    } rows[] = {
        {"{minute: 2, limit_by: ip, algorithm: sliding-window}", 60000 / 15},
        {"{minute: 2, hour: 9, limit_by: ip, algorithm: sliding-window}", 60000 / 7 + 1},
        {"{minute: 2, hour: 9, day: 9, limit_by: ip, algorithm: sliding-window}", 60000 / 4},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct kit *kit = open_policy(rows[i].config);
        kit_advance_ms(kit, 12345);
        cr_expect_eq(burst_of(kit, 3), 2);
        kit_advance_ms(kit, 59999);
        cr_expect_eq(get(kit), 429, "%zu: not yet a minute", i);
        kit_advance_ms(kit, 1 + rows[i].step_ms);
        cr_expect_eq(burst_of(kit, 3), 2, "%zu: a minute and a step", i);
        kit_close(kit);
    }
}

Test(algorithms, what_a_sliding_window_tells_comes_true)
{
    struct kit *kit = open_policy("{minute: 3, limit_by: ip, algorithm: sliding-window}");
    kit_advance_ms(kit, 1500); /* steps of 4 s: the first ends at 4 s */
    cr_expect_eq(get(kit), 200);
    kit_advance_ms(kit, 10000);
    cr_expect_eq(burst_of(kit, 2), 2);
    kit_request *r = kit_request_new(kit, "GET", "/a");
    kit_request_client_ip(r, "10.0.0.1");
    cr_expect_eq(kit_run(r), 429);
    expect_header(r, "refused", "X-RateLimit-Limit-Minute", "3");
    expect_header(r, "refused", "X-RateLimit-Remaining-Minute", "0");
    expect_header(r, "refused", "RateLimit-Policy", "3;w=60");
    expect_header(r, "the first one leaves 64 s after the epoch", "Retry-After", "53");
    expect_header(r, "the same", "RateLimit-Reset", "53");
    kit_advance_ms(kit, 52000);
    cr_expect_eq(get(kit), 429, "a second too early");
    kit_advance_ms(kit, 1000);
    cr_expect_eq(get(kit), 200);
    cr_expect_eq(get(kit), 429, "only one came back");
    kit_close(kit);
}

Test(algorithms, a_refused_request_counts_in_no_sliding_window)
{
    struct kit *kit =
        open_policy("{second: 1, minute: 3, limit_by: ip, algorithm: sliding-window}");
    cr_expect_eq(burst_of(kit, 50), 1);
    kit_advance_ms(kit, 2000);
    cr_expect_eq(burst_of(kit, 50), 1);
    kit_advance_ms(kit, 2000);
    cr_expect_eq(burst_of(kit, 50), 1, "the minute has not been used up by the refused");
    kit_advance_ms(kit, 2000);
    cr_expect_eq(burst_of(kit, 50), 0);
    kit_close(kit);
}

/* No interval may hold more than the bucket and what has been filled in meanwhile. */
static void expect_bucket(const char *why, const int64_t *times, size_t count, int64_t burst,
                          double token_ms)
{
    for (size_t i = 0; i < count; i++) {
        for (size_t k = i; k < count && k < i + 400; k++) {
            int64_t most = burst + (int64_t)((double)(times[k] - times[i]) / token_ms + 1e-9);
            cr_assert_leq((int64_t)(k - i + 1), most, "%s: %zu within %ld ms, at most %ld", why,
                          k - i + 1, (long)(times[k] - times[i]), (long)most);
        }
    }
}

Test(algorithms, a_bucket_admits_its_tokens_and_what_is_filled_in)
{
    static const struct {
        const char *why, *config;
        int64_t burst, minute_burst;
        double token_ms, minute_token_ms;
    } rows[] = {
        {"holds its limit", "{second: 10, limit_by: ip, algorithm: token-bucket}", 10, 0, 100, 0},
        {"holds less", "{second: 10, limit_by: ip, algorithm: token-bucket, burst: 3}", 3, 0, 100,
         0},
        {"holds more", "{second: 7, limit_by: ip, algorithm: token-bucket, burst: 30}", 30, 0,
         1000.0 / 7, 0},
        {"two", "{second: 10, minute: 60, limit_by: ip, algorithm: token-bucket}", 10, 60, 100,
         1000},
    };
    static int64_t times[ADMITTED_MAX];
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct kit *kit = open_policy(rows[i].config);
        struct kit *second = kit_second_worker(kit);
        /* Long enough for several epochs of the entries. */
        size_t count = drive(kit, second, 99 + (unsigned)i, 200000, 9000, times);
        expect_bucket(rows[i].why, times, count, rows[i].burst, rows[i].token_ms);
        if (rows[i].minute_burst > 0)
            expect_bucket(rows[i].why, times, count, rows[i].minute_burst, rows[i].minute_token_ms);
        kit_close(second);
        kit_close(kit);
    }
}

Test(algorithms, a_bucket_that_is_always_asked_gives_all_it_gets)
{
    struct kit *kit = open_policy("{second: 10, limit_by: ip, algorithm: token-bucket, burst: 5}");
    int passed = 0;
    for (int ms = 0; ms < 130000; ms += 50) {
        passed += burst_of(kit, 2);
        kit_advance_ms(kit, 50);
    }
    /* Over two ends of an epoch, too: 5 at once, then one each 100 ms. */
    cr_expect_eq(passed, 5 + 1299, "%d", passed);
    kit_close(kit);
}

Test(algorithms, what_a_bucket_tells_comes_true)
{
    struct kit *kit = open_policy("{minute: 6, limit_by: ip, algorithm: token-bucket, burst: 2}");
    static const struct {
        int64_t after_ms;
        int status;
        const char *left, *reset, *retry_after;
    } rows[] = {
        {0, 200, "1", "10", NULL},     {0, 200, "0", "10", NULL},  {0, 429, "0", "10", "10"},
        {4000, 429, "0", "6", "6"},    {5999, 429, "0", "1", "1"}, {1, 200, "0", "10", NULL},
        {20000, 200, "1", "10", NULL},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char why[32];
        (void)snprintf(why, sizeof(why), "row %zu", i);
        kit_advance_ms(kit, rows[i].after_ms);
        kit_request *r = kit_request_new(kit, "GET", "/a");
        kit_request_client_ip(r, "10.0.0.1");
        cr_expect_eq(kit_run(r), rows[i].status, "%s: %d", why, kit_status(r));
        expect_header(r, why, "X-RateLimit-Limit-Minute", "6");
        expect_header(r, why, "X-RateLimit-Remaining-Minute", rows[i].left);
        expect_header(r, why, "RateLimit-Remaining", rows[i].left);
        expect_header(r, why, "RateLimit-Reset", rows[i].reset);
        expect_header(r, why, "Retry-After", rows[i].retry_after);
        expect_header(r, why, "RateLimit-Policy", "6;w=60;burst=2");
    }
    kit_close(kit);
}

Test(algorithms, a_refused_request_takes_of_no_bucket)
{
    struct kit *kit = open_policy("{second: 1, minute: 3, limit_by: ip, algorithm: token-bucket}");
    for (int i = 0; i < 3; i++) {
        cr_expect_eq(burst_of(kit, 50), 1, "second %d", i);
        kit_advance_ms(kit, 1000);
    }
    cr_expect_eq(burst_of(kit, 50), 0, "the minute's is empty now");
    kit_advance_ms(kit, 17000);
    cr_expect_eq(burst_of(kit, 50), 1);
    kit_close(kit);
}

Test(algorithms, clients_have_buckets_and_windows_of_their_own)
{
    static const char *const configs[] = {"{minute: 1, limit_by: ip, algorithm: sliding-window}",
                                          "{minute: 1, limit_by: ip, algorithm: token-bucket}"};
    for (size_t i = 0; i < 2; i++) {
        struct kit *kit = open_policy(configs[i]);
        cr_expect_eq(get_from(kit, "10.0.0.1"), 200);
        cr_expect_eq(get_from(kit, "10.0.0.1"), 429);
        cr_expect_eq(get_from(kit, "10.0.0.2"), 200);
        kit_close(kit);
    }
}

Test(algorithms, less_than_one_request_in_a_window)
{
    struct kit *kit = open_policy("{minute: 0.5, limit_by: ip, algorithm: token-bucket}");
    cr_expect_eq(burst_of(kit, 2), 1);
    kit_advance_ms(kit, 119999);
    cr_expect_eq(get(kit), 429);
    kit_advance_ms(kit, 1);
    cr_expect_eq(get(kit), 200, "one in two minutes");
    kit_close(kit);
}

Test(algorithms, the_policy_header_is_shown_when_asked_for)
{
    static const struct {
        const char *config, *want;
    } rows[] = {
        {"{minute: 5, hour: 10}", NULL},
        {"{minute: 5, hour: 10, policy_header: always}", "5;w=60, 10;w=3600"},
        {"{minute: 5, algorithm: sliding-window, policy_header: never}", NULL},
        {"{minute: 5, algorithm: sliding-window}", "5;w=60"},
        {"{second: 5, hour: 100, algorithm: token-bucket, burst: 9}",
         "5;w=1;burst=9, 100;w=3600;burst=100"},
        {"{minute: 1.5, algorithm: sliding-window}", "1.5;w=60"},
        {"{minute: 5, algorithm: sliding-window, hide_client_headers: true}", NULL},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct kit *kit = open_policy(rows[i].config);
        kit_request *r = kit_request_new(kit, "GET", "/a");
        cr_expect_eq(kit_run(r), 200);
        expect_header(r, rows[i].config, "RateLimit-Policy", rows[i].want);
        kit_close(kit);
    }
}

/* ---- layers */

Test(layers, instances_of_one_scope_all_count)
{
    struct kit *kit = open_kit(
        "- {name: key-auth, config: {anonymous: ann}}\n"
        "- {name: rate-limiting, instance_name: all, config: {minute: 3, limit_by: service}}\n"
        "- {name: rate-limiting, instance_name: each, config: {minute: 2, limit_by: ip}}\n");
    static const struct {
        const char *ip;
        int status;
    } steps[] = {
        {"10.0.0.1", 200},
        {"10.0.0.1", 200},
        {"10.0.0.1", 429}, /* each: two for an address */
        {"10.0.0.2", 429}, /* all: the refused one has been taken of it before */
    };
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        int status = get_from(kit, steps[i].ip);
        cr_expect_eq(status, steps[i].status, "step %zu: %d", i, status);
    }
    kit_close(kit);
}

Test(layers, their_counters_are_apart)
{
    struct kit *kit =
        open_kit("- {name: rate-limiting, instance_name: a, config: {minute: 4, limit_by: ip}}\n"
                 "- {name: rate-limiting, instance_name: b, config: {minute: 4, limit_by: ip}}\n");
    cr_expect_eq(burst_of(kit, 10), 4, "not two, as with a common counter");
    kit_request *r = kit_request_new(kit, "GET", "/a");
    cr_expect_eq(kit_run(r), 200);
    cr_expect_eq(kit_response_header_count(r, "X-RateLimit-Limit-Minute"), 2U, "of both");
    kit_close(kit);
}

Test(layers, a_narrower_scope_replaces_all_of_them)
{
    struct kit *kit = open_kit(
        "- {name: rate-limiting, instance_name: a, config: {minute: 1, limit_by: ip}}\n"
        "- {name: rate-limiting, instance_name: b, config: {minute: 2, limit_by: ip}}\n"
        "- {name: rate-limiting, instance_name: c, route: r, config: {minute: 5, limit_by: ip}}\n"
        "- {name: rate-limiting, instance_name: d, route: r, config: {hour: 3, limit_by: ip}}\n");
    cr_expect_eq(burst_of(kit, 10), 3, "Kong's precedence of scopes, then the least of its layers");
    kit_close(kit);
}

Test(layers, of_a_consumer_too)
{
    struct kit *kit =
        open_kit("- {name: key-auth}\n"
                 "- {name: rate-limiting, instance_name: a, config: {minute: 1}}\n"
                 "- {name: rate-limiting, instance_name: b, consumer: ann, config: {minute: 3}}\n"
                 "- {name: rate-limiting, instance_name: c, consumer: ann, config: {hour: 2}}\n");
    int passed = 0;
    for (int i = 0; i < 5; i++) {
        kit_request *r = kit_request_new(kit, "GET", "/a");
        kit_request_header(r, "apikey", "k");
        passed += kit_run(r) == 200;
    }
    cr_expect_eq(passed, 2, "%d", passed);
    kit_close(kit);
}
