/* Rows marked Kong were recorded from a running Kong 3.9. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weir_testkit.h"

#define HEAD                                                                                  \
    "_format_version: '3.0'\n"                                                                \
    "services:\n"                                                                             \
    "- {name: s, host: up.test, routes: [{name: r, paths: [/a]}, {name: r2, paths: [/b]}]}\n" \
    "- {name: s2, host: up.test, routes: [{name: r3, paths: [/c]}]}\n"
#define YAML(config) HEAD "plugins: [{name: rate-limiting, config: " config "}]\n"

#define JAN_1_2026_MS INT64_C(1767225600000)

static struct kit *open_kit(const char *yaml)
{
    struct kit *kit = kit_open(yaml);
    cr_assert_not_null(kit, "%s", kit_error());
    return kit;
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

static int get(struct kit *kit, const char *route)
{
    kit_request *r = kit_request_new(kit, "GET", "/a");
    kit_request_route(r, route);
    int status = kit_run(r);
    kit_request_free(r);
    return status;
}

Test(rate_limiting, a_minute_is_used_up_and_comes_back)
{
    static const struct {
        int64_t at_s; /* of the minute, or later */
        int status;
        const char *remaining, *reset, *retry_after;
    } rows[] = {
        {7, 200, "1", "53", NULL}, {7, 200, "0", "53", NULL},  {7, 429, "0", "53", "53"},
        {59, 429, "0", "1", "1"},  {60, 200, "1", "60", NULL}, {61, 200, "0", "59", NULL},
        {119, 429, "0", "1", "1"},
    };
    struct kit *kit = open_kit(YAML("{minute: 2}"));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char why[32];
        (void)snprintf(why, sizeof(why), "row %zu", i);
        kit_advance_ms(kit, JAN_1_2026_MS + rows[i].at_s * 1000 - kit_time(kit));
        kit_request *r = kit_request_new(kit, "GET", "/a");
        cr_expect_eq(kit_run(r), rows[i].status, "%s", why);
        cr_expect_eq(kit_was_proxied(r), rows[i].status == 200, "%s", why);
        expect_header(r, why, "X-RateLimit-Limit-Minute", "2");
        expect_header(r, why, "X-RateLimit-Remaining-Minute", rows[i].remaining);
        expect_header(r, why, "RateLimit-Limit", "2");
        expect_header(r, why, "RateLimit-Remaining", rows[i].remaining);
        expect_header(r, why, "RateLimit-Reset", rows[i].reset);
        expect_header(r, why, "Retry-After", rows[i].retry_after);
        if (rows[i].status == 429)
            cr_expect_not_null(
                strstr(kit_response_body(r), "\"message\":\"API rate limit exceeded\""));
    }
    kit_close(kit);
}

Test(rate_limiting, a_refused_request_counts_in_no_window)
{
    /* Kong: two a second, four a minute; the general headers describe the one with the fewest left,
     * of equals the longer. */
    static const struct {
        int64_t at_s;
        int status;
        const char *second, *minute, *limit, *left, *reset;
    } rows[] = {
        {15, 200, "1", "3", "2", "1", "1"},  {15, 200, "0", "2", "2", "0", "1"},
        {15, 429, "0", "2", "2", "0", "1"},  {16, 200, "1", "1", "4", "1", "44"},
        {16, 200, "0", "0", "4", "0", "44"}, {17, 429, "2", "0", "4", "0", "43"},
    };
    struct kit *kit = open_kit(YAML("{second: 2, minute: 4, policy: local}"));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char why[32];
        (void)snprintf(why, sizeof(why), "row %zu", i);
        kit_advance_ms(kit, JAN_1_2026_MS + rows[i].at_s * 1000 - kit_time(kit));
        kit_request *r = kit_request_new(kit, "GET", "/a");
        cr_expect_eq(kit_run(r), rows[i].status, "%s", why);
        expect_header(r, why, "X-RateLimit-Remaining-Second", rows[i].second);
        expect_header(r, why, "X-RateLimit-Remaining-Minute", rows[i].minute);
        expect_header(r, why, "RateLimit-Limit", rows[i].limit);
        expect_header(r, why, "RateLimit-Remaining", rows[i].left);
        expect_header(r, why, "RateLimit-Reset", rows[i].reset);
    }
    kit_close(kit);
}

Test(rate_limiting, every_period_has_its_headers)
{
    static const char *const names[][2] = {
        {"X-RateLimit-Limit-Second", "10"},
        {"X-RateLimit-Remaining-Second", "9"},
        {"X-RateLimit-Limit-Minute", "100"},
        {"X-RateLimit-Remaining-Minute", "99"},
        {"X-RateLimit-Limit-Hour", "1000"},
        {"X-RateLimit-Remaining-Hour", "999"},
        {"X-RateLimit-Limit-Day", "10000"},
        {"X-RateLimit-Remaining-Day", "9999"},
        {"X-RateLimit-Limit-Month", "100000"},
        {"X-RateLimit-Remaining-Month", "99999"},
        {"X-RateLimit-Limit-Year", "1000000"},
        {"X-RateLimit-Remaining-Year", "999999"},
        {"RateLimit-Limit", "10"},
        {"RateLimit-Reset", "1"},
    };
    struct kit *kit = open_kit(YAML("{second: 10, minute: 100, hour: 1000, day: 10000, month: "
                                    "100000, year: 1000000}"));
    kit_request *r = kit_request_new(kit, "GET", "/a");
    cr_expect_eq(kit_run(r), 200);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        expect_header(r, "Kong", names[i][0], names[i][1]);
    kit_close(kit);
}

Test(rate_limiting, windows_begin_with_the_clock)
{
#define S(seconds) ((int64_t)(seconds)*1000)
    static const struct {
        const char *why, *config;
        int64_t first_ms, last_ms, next_ms; /* one counts, one is refused, one counts again */
        const char *reset;                  /* at the last */
    } rows[] = {
        {"an hour", "{hour: 1}", S(1767225600 + 1), S(1767225600 + 3599), S(1767225600 + 3600),
         "1"},
        {"a day", "{day: 1}", S(1767225600 + 1), S(1767225600 + 86399), S(1767225600 + 86400), "1"},
        {"January has 31 days, Reset counts down from 30", "{month: 1}", S(1767225600),
         S(1767225600 + 31 * 86400 - 1), S(1767225600 + 31 * 86400), "1"},
        {"February 2028 has 29", "{month: 1}", S(1832976000), S(1832976000 + 29 * 86400 - 1),
         S(1832976000 + 29 * 86400), "86401"},
        {"the leap year 2028 has 366", "{year: 1}", S(1830297600), S(1830297600 + 366 * 86400 - 1),
         S(1830297600 + 366 * 86400), "1"},
        {"2026 ends in December", "{year: 1}", S(1767225600 + 100 * 86400),
         S(1767225600 + 365 * 86400 - 1), S(1767225600 + 365 * 86400), "1"},
    };
#undef S
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char yaml[1024];
        (void)snprintf(yaml, sizeof(yaml), HEAD "plugins: [{name: rate-limiting, config: %s}]\n",
                       rows[i].config);
        struct kit *kit = open_kit(yaml);
        kit_set_time(kit, rows[i].first_ms);
        cr_expect_eq(get(kit, "r"), 200, "%s: first", rows[i].why);
        kit_advance_ms(kit, rows[i].last_ms - kit_time(kit));
        kit_request *r = kit_request_new(kit, "GET", "/a");
        cr_expect_eq(kit_run(r), 429, "%s: last moment", rows[i].why);
        expect_header(r, rows[i].why, "RateLimit-Reset", rows[i].reset);
        kit_advance_ms(kit, rows[i].next_ms - kit_time(kit));
        cr_expect_eq(get(kit, "r"), 200, "%s: next window", rows[i].why);
        kit_close(kit);
    }
}

Test(rate_limiting, who_is_counted_together)
{
    static const struct {
        const char *why, *config;
        struct {
            const char *route, *ip, *path, *header;
            int status;
        } steps[5];
    } rows[] = {
        {"an address each",
         "{minute: 1, limit_by: ip}",
         {{"r", "10.0.0.1", "/a", NULL, 200},
          {"r", "10.0.0.1", "/a", NULL, 429},
          {"r", "10.0.0.2", "/a", NULL, 200}}},
        {"consumer without authentication: the address",
         "{minute: 1}",
         {{"r", "10.0.0.1", "/a", NULL, 200},
          {"r", "10.0.0.2", "/a", NULL, 200},
          {"r", "10.0.0.1", "/a", NULL, 429}}},
        {"Kong: a global policy counts over routes and services",
         "{minute: 2, limit_by: ip}",
         {{"r", "10.0.0.1", "/a", NULL, 200},
          {"r2", "10.0.0.1", "/b", NULL, 200},
          {"r3", "10.0.0.1", "/c", NULL, 429},
          {"r", "10.0.0.1", "/a", NULL, 429}}},
        {"a service each, whoever asks",
         "{minute: 1, limit_by: service}",
         {{"r", "10.0.0.1", "/a", NULL, 200},
          {"r2", "10.0.0.2", "/b", NULL, 429},
          {"r3", "10.0.0.1", "/c", NULL, 200}}},
        {"a header's value each",
         "{minute: 1, limit_by: header, header_name: X-Tenant}",
         {{"r", "10.0.0.1", "/a", "one", 200},
          {"r", "10.0.0.2", "/a", "one", 429},
          {"r", "10.0.0.1", "/a", "two", 200}}},
        {"Kong: without the header the address",
         "{minute: 1, limit_by: header, header_name: X-Tenant}",
         {{"r", "10.0.0.1", "/a", NULL, 200},
          {"r", "10.0.0.1", "/a", NULL, 429},
          {"r", "10.0.0.2", "/a", NULL, 200}}},
        {"one path, whoever asks; others by address",
         "{minute: 1, limit_by: path, path: /a/x}",
         {{"r", "10.0.0.1", "/a/x", NULL, 200},
          {"r", "10.0.0.2", "/a/x", NULL, 429},
          {"r", "10.0.0.1", "/a/y", NULL, 200},
          {"r", "10.0.0.2", "/a/y", NULL, 200},
          {"r", "10.0.0.1", "/a/x/", NULL, 429}}},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char yaml[1024];
        (void)snprintf(yaml, sizeof(yaml), HEAD "plugins: [{name: rate-limiting, config: %s}]\n",
                       rows[i].config);
        struct kit *kit = open_kit(yaml);
        for (size_t k = 0; k < 5 && rows[i].steps[k].route != NULL; k++) {
            kit_request *r = kit_request_new(kit, "GET", rows[i].steps[k].path);
            kit_request_route(r, rows[i].steps[k].route);
            kit_request_client_ip(r, rows[i].steps[k].ip);
            if (rows[i].steps[k].header != NULL)
                kit_request_header(r, "X-Tenant", rows[i].steps[k].header);
            cr_expect_eq(kit_run(r), rows[i].steps[k].status, "%s: step %zu: %d", rows[i].why, k,
                         kit_status(r));
        }
        kit_close(kit);
    }
}

Test(rate_limiting, consumers_and_their_credentials)
{
    static const struct {
        const char *why, *limit_by;
        struct {
            const char *key;
            int status;
        } steps[6];
    } rows[] = {
        {"Kong: two keys of one consumer share, a 401 is not counted",
         "consumer",
         {{NULL, 401}, {"a-1", 200}, {"a-2", 429}, {"b-1", 200}, {NULL, 401}, {"b-1", 429}}},
        {"Kong: a key each",
         "credential",
         {{"a-1", 200}, {"a-1", 429}, {"a-2", 200}, {"b-1", 200}, {"b-1", 429}, {NULL, 401}}},
        {"an address is one, whoever is behind it",
         "ip",
         {{"a-1", 200}, {"a-2", 429}, {"b-1", 429}, {NULL, 401}, {NULL, 401}, {"a-1", 429}}},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char yaml[2048];
        (void)snprintf(yaml, sizeof(yaml),
                       HEAD "consumers:\n"
                            "- {username: a, keyauth_credentials: [{key: a-1}, {key: a-2}]}\n"
                            "- {username: b, keyauth_credentials: [{key: b-1}]}\n"
                            "plugins:\n"
                            "- {name: key-auth}\n"
                            "- {name: rate-limiting, config: {minute: 1, limit_by: %s}}\n",
                       rows[i].limit_by);
        struct kit *kit = open_kit(yaml);
        for (size_t k = 0; k < 6; k++) {
            kit_request *r = kit_request_new(kit, "GET", "/a");
            if (rows[i].steps[k].key != NULL)
                kit_request_header(r, "apikey", rows[i].steps[k].key);
            cr_expect_eq(kit_run(r), rows[i].steps[k].status, "%s: step %zu: %d", rows[i].why, k,
                         kit_status(r));
            if (rows[i].steps[k].status == 401)
                expect_header(r, rows[i].why, "RateLimit-Limit", NULL);
        }
        kit_close(kit);
    }
}

Test(rate_limiting, a_consumers_policy_replaces_the_global_one)
{
    struct kit *kit =
        open_kit(HEAD "consumers:\n"
                      "- username: a\n"
                      "  keyauth_credentials: [{key: a-1}]\n"
                      "  plugins: [{name: rate-limiting, config: {minute: 3}}]\n"
                      "- {username: b, keyauth_credentials: [{key: b-1}]}\n"
                      "plugins: [{name: key-auth}, {name: rate-limiting, config: {minute: 1}}]\n");
    static const struct {
        const char *key, *limit;
        int status;
    } steps[] = {{"a-1", "3", 200}, {"a-1", "3", 200}, {"a-1", "3", 200},
                 {"a-1", "3", 429}, {"b-1", "1", 200}, {"b-1", "1", 429}};
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        kit_request *r = kit_request_new(kit, "GET", "/a");
        kit_request_header(r, "apikey", steps[i].key);
        cr_expect_eq(kit_run(r), steps[i].status, "step %zu: %d", i, kit_status(r));
        expect_header(r, "Kong", "X-RateLimit-Limit-Minute", steps[i].limit);
    }
    kit_close(kit);
}

Test(rate_limiting, the_scopes_consumer_is_no_part_of_the_counter)
{
    /* Kong: only route and service of the scope are; so both policies count this address. */
    struct kit *kit = open_kit(
        HEAD "consumers:\n"
             "- username: a\n"
             "  keyauth_credentials: [{key: a-1}]\n"
             "  plugins: [{name: rate-limiting, config: {minute: 2, limit_by: ip}}]\n"
             "- {username: b, keyauth_credentials: [{key: b-1}]}\n"
             "plugins: [{name: key-auth}, {name: rate-limiting, config: {minute: 2, limit_by: "
             "ip}}]\n");
    static const struct {
        const char *key;
        int status;
    } steps[] = {{"a-1", 200}, {"b-1", 200}, {"a-1", 429}, {"b-1", 429}};
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        kit_request *r = kit_request_new(kit, "GET", "/a");
        kit_request_header(r, "apikey", steps[i].key);
        cr_expect_eq(kit_run(r), steps[i].status, "step %zu: %d", i, kit_status(r));
    }
    kit_close(kit);
}

Test(rate_limiting, workers_count_together)
{
    struct kit *kit = open_kit(YAML("{minute: 4, hour: 5, limit_by: ip}"));
    struct kit *second = kit_second_worker(kit);
    int passed = 0;
    for (int i = 0; i < 8; i++)
        passed += get(i % 2 == 0 ? kit : second, "r") == 200;
    cr_expect_eq(passed, 4, "exactly the limit over both: %d", passed);
    kit_close(second);
    kit_close(kit);
}

Test(rate_limiting, scopes_count_apart)
{
    struct kit *kit =
        open_kit(HEAD "plugins:\n"
                      "- {name: rate-limiting, config: {minute: 1, limit_by: ip}}\n"
                      "- {name: rate-limiting, route: r2, config: {minute: 2, limit_by: ip}}\n");
    cr_expect_eq(get(kit, "r"), 200);
    cr_expect_eq(get(kit, "r2"), 200, "the route's policy has a counter of its own");
    cr_expect_eq(get(kit, "r"), 429);
    cr_expect_eq(get(kit, "r2"), 200);
    cr_expect_eq(get(kit, "r2"), 429);
    cr_expect_eq(get(kit, "r3"), 429, "the global one counts r3 with r");
    kit_close(kit);
}

Test(rate_limiting, a_reload_keeps_counters)
{
    struct kit *kit = open_kit(YAML("{minute: 2, limit_by: ip}"));
    cr_expect_eq(get(kit, "r"), 200);
    cr_assert(kit_reload(kit, YAML("{minute: 2, hour: 100, limit_by: ip}")), "%s", kit_error());
    cr_expect_eq(get(kit, "r"), 200);
    cr_expect_eq(get(kit, "r"), 429, "Kong: a global policy goes on where it stopped");
    kit_close(kit);
}

Test(rate_limiting, what_the_client_is_told)
{
    struct kit *kit = open_kit(YAML("{minute: 1, error_code: 404, error_message: slow down}"));
    cr_expect_eq(get(kit, "r"), 200);
    kit_request *r = kit_request_new(kit, "GET", "/a");
    cr_expect_eq(kit_run(r), 404);
    cr_expect_not_null(strstr(kit_response_body(r), "\"message\":\"slow down\""));
    expect_header(r, "its own code", "Retry-After", "60");
    kit_close(kit);

    kit = open_kit(YAML("{minute: 1, hide_client_headers: true}"));
    for (int i = 0; i < 2; i++) {
        r = kit_request_new(kit, "GET", "/a");
        cr_expect_eq(kit_run(r), i == 0 ? 200 : 429);
        expect_header(r, "hidden", "X-RateLimit-Limit-Minute", NULL);
        expect_header(r, "hidden", "RateLimit-Limit", NULL);
        expect_header(r, "hidden", "Retry-After", NULL);
    }
    kit_close(kit);

    kit = open_kit(YAML("{minute: 1.5}"));
    r = kit_request_new(kit, "GET", "/a");
    cr_expect_eq(kit_run(r), 200);
    expect_header(r, "Kong: fractions", "X-RateLimit-Limit-Minute", "1.5");
    expect_header(r, "Kong: fractions", "RateLimit-Remaining", "0.5");
    cr_expect_eq(get(kit, "r"), 200, "Kong: half a request is one");
    cr_expect_eq(get(kit, "r"), 429);
    kit_close(kit);
}

Test(rate_limiting, errors_of_the_service_count_and_carry_headers)
{
    struct kit *kit = open_kit(YAML("{minute: 2}"));
    kit_request *r = kit_request_new(kit, "GET", "/a");
    kit_target_fails(r, 502);
    cr_expect_eq(kit_run(r), 502);
    expect_header(r, "Kong", "RateLimit-Remaining", "1");
    r = kit_request_new(kit, "GET", "/a");
    kit_target_header(r, "X-RateLimit-Limit-Minute", "77");
    kit_target_response(r, 500, "x");
    cr_expect_eq(kit_run(r), 500);
    cr_expect_eq(kit_response_header_count(r, "X-RateLimit-Limit-Minute"), 2U,
                 "Kong: the service's own stay");
    cr_expect_eq(get(kit, "r"), 429);
    r = kit_request_new(kit, "GET", "/none");
    kit_request_route(r, NULL);
    cr_expect_eq(kit_run(r), 404, "Kong: without a route nothing is counted");
    expect_header(r, "no route", "RateLimit-Limit", NULL);
    kit_close(kit);
}

Test(rate_limiting, what_is_refused)
{
    static const struct {
        const char *why, *yaml, *says;
    } rows[] = {
        {"no limit", YAML("{}"),
         "at least one of these fields must be non-empty: 'config.second', 'config.minute', "
         "'config.hour', 'config.day', 'config.month', 'config.year'"},
        {"a longer period with less", YAML("{minute: 20, hour: 10}"),
         "The limit for hour(10.0) cannot be lower than the limit for minute(20.0)"},
        {"not next to each other", YAML("{second: 20, year: 10}"),
         "The limit for year(10.0) cannot be lower than the limit for second(20.0)"},
        {"nothing per minute", YAML("{minute: 0}"), "value must be greater than 0"},
        {"cluster needs a database", YAML("{minute: 1, policy: cluster}"),
         "expected one of: local, redis"},
        {"no port", YAML("{minute: 1, policy: redis, redis: {host: h, port: 0}}"),
         "value should be between 1 and 65535"},
        {"both forms of redis, and they differ",
         YAML("{minute: 1, policy: redis, redis: {host: h}, redis_host: i}"), "redis"},
        {"an algorithm nobody knows", YAML("{minute: 1, algorithm: leaky}"), "expected one of: "},
        {"a burst of windows", YAML("{minute: 1, burst: 2}"),
         "burst can only be used with the token-bucket algorithm"},
        {"a burst of none", YAML("{minute: 1, algorithm: token-bucket, burst: 0.5}"),
         "value should be between 1 and 1000000000"},
        {"a bucket that fills for ever", YAML("{year: 1, algorithm: token-bucket, burst: 1000}"),
         "more than 31 years"},
        {"a sync rate of a bucket",
         YAML("{minute: 1, policy: redis, redis: {host: h}, algorithm: token-bucket, sync_rate: "
              "1}"),
         "sync_rate can only be used with fixed windows"},
        {"a fallback nobody knows", YAML("{minute: 1, fallback: moon}"), "expected one of: "},
        {"a policy header that is neither", YAML("{minute: 1, policy_header: maybe}"),
         "expected one of: "},
        {"redis without host", YAML("{minute: 1, policy: redis}"),
         "config.redis.host: required field missing"},
        {"by header, but which", YAML("{minute: 1, limit_by: header}"),
         "config.header_name: required field missing"},
        {"by path, but which", YAML("{minute: 1, limit_by: path}"),
         "config.path: required field missing"},
        {"by a name nobody knows", YAML("{minute: 1, limit_by: moon}"), "expected one of: "},
        {"a header name with a space", YAML("{minute: 1, limit_by: header, header_name: 'X Y'}"),
         "bad header name 'X Y'"},
        {"a sync rate without redis", YAML("{minute: 1, sync_rate: 1}"),
         "sync_rate can only be used with the redis policy"},
        {"a sync rate too small",
         YAML("{minute: 1, policy: redis, redis: {host: h}, sync_rate: 0.01}"),
         "sync_rate must be greater than 0.02, or -1 to disable"},
        {"no status", YAML("{minute: 1, error_code: 99}"), "value should be between 200 and 599"},
        {"a port too high", YAML("{minute: 1, redis: {port: 65536}}"),
         "value should be between 0 and 65535"},
        {"an unknown field", YAML("{minutes: 1}"), "unknown field"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cr_expect_null(kit_open(rows[i].yaml), "%s: accepted", rows[i].why);
        cr_expect_not_null(strstr(kit_error(), rows[i].says), "%s: %s", rows[i].why, kit_error());
    }
}

Test(rate_limiting, every_field_loads)
{
    kit_close(
        open_kit(YAML("{second: 1, minute: 1, hour: 2, day: 3, month: 4, year: 5, limit_by: "
                      "consumer, header_name: X-A, path: /x, policy: local, fault_tolerant: "
                      "false, hide_client_headers: false, error_code: 429, error_message: m, "
                      "sync_rate: -1, redis: {host: h, port: 1, timeout: 1, username: u, "
                      "password: p, database: 1, ssl: true, ssl_verify: true, server_name: "
                      "n}, algorithm: fixed-window, fallback: local, policy_header: never}")));
    kit_close(open_kit(YAML("{minute: 1, algorithm: token-bucket, burst: 5}")));
    kit_close(open_kit(YAML("{minute: 1, algorithm: sliding-window, policy_header: auto}")));
    kit_close(open_kit(YAML("{minute: 1, policy: redis, redis: {host: h}, sync_rate: 0.02}")));
    kit_close(open_kit(YAML("{minute: 1, redis_host: h, redis_port: 1, redis_timeout: 1, "
                            "redis_username: u, redis_password: p, redis_database: 1, redis_ssl: "
                            "true, redis_ssl_verify: true, redis_server_name: n}")));
}

Test(rate_limiting, the_example_of_the_readme_loads_without_a_warning)
{
    struct kit *kit = kit_open_markdown("plugins/rate-limiting/README.md");
    cr_assert_not_null(kit, "%s", kit_error());
    cr_expect_str_eq(kit_warnings(), "");
    kit_close(kit);
}
