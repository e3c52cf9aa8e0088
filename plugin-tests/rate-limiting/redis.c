/* policy redis against a Redis that says what the test wants: words that are sent, what comes of
 * answers, and all the ways in which none comes. The scripts themselves run in a real Redis in the
 * end-to-end test. Time is the kit's: nothing here waits for it. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_redis.h"
#include "weir_testkit.h"

#define HEAD                   \
    "_format_version: '3.0'\n" \
    "services: [{name: s, host: up.test, routes: [{name: r, paths: [/a]}]}]\n"
#define ZERO "00000000-0000-0000-0000-000000000000"
#define KEY "ratelimit:" ZERO ":" ZERO ":10.0.0.1:"
#define ONE_OF_FIVE "*3\r\n:0\r\n:1\r\n:0\r\n" /* allowed, one used */

static struct fake_redis *fake;
static struct kit *kit;

static void set_up(void)
{
    fake = fake_redis_start(0);
    fake_redis_says(fake, "EVALSHA", ONE_OF_FIVE);
    fake_redis_says(fake, "EVAL", ONE_OF_FIVE);
}

static void tear_down(void)
{
    kit_close(kit);
    if (fake != NULL)
        fake_redis_stop(fake);
}

TestSuite(redis, .init = set_up, .fini = tear_down, .timeout = 60);

/* `fields` are written into the configuration beside Redis' address; `more` into its record. */
static void open_policy(const char *fields, const char *more)
{
    char yaml[1024];
    (void)snprintf(yaml, sizeof(yaml),
                   HEAD "plugins: [{name: rate-limiting, config: {%s, limit_by: ip, policy: redis, "
                        "redis: {host: 127.0.0.1, port: %d%s}}}]\n",
                   fields, fake_redis_port(fake), more);
    kit_close(kit);
    kit = kit_open(yaml);
    cr_assert_not_null(kit, "%s", kit_error());
}

static kit_request *request_new(void)
{
    kit_request *r = kit_request_new(kit, "GET", "/a");
    kit_request_client_ip(r, "10.0.0.1");
    return r;
}

/* Until there is an answer: Redis' is on its way. */
static int finish(kit_request *r)
{
    int status = kit_finish(r);
    for (int i = 0; status == 0 && i < 200; i++) {
        (void)kit_wait_ready(kit, 100);
        status = kit_finish(r);
    }
    return status;
}

static int get(void)
{
    kit_request *r = request_new();
    int status = kit_run(r);
    status = status == 0 ? finish(r) : status;
    kit_request_free(r);
    return status;
}

static void expect_header(kit_request *r, const char *name, const char *want)
{
    const char *have = kit_response_header(r, name);
    if (want == NULL)
        cr_expect_null(have, "%s: %s", name, have == NULL ? "" : have);
    else
        cr_expect(have != NULL && strcmp(have, want) == 0, "%s is %s, not %s", name,
                  have == NULL ? "absent" : have, want);
}

static size_t times_in(const char *text, const char *piece)
{
    size_t times = 0;
    for (const char *at = text; (at = strstr(at, piece)) != NULL; at += strlen(piece))
        times++;
    return times;
}

static void expect_seen(const char *why, const char *piece)
{
    cr_expect_not_null(strstr(fake_redis_seen(fake), piece), "%s: no '%s' in\n%s", why, piece,
                       fake_redis_seen(fake));
}

/* Until the (real) network has brought what makes `piece` appear in the log. */
static void expect_log(const char *piece, size_t times)
{
    for (int i = 0; i < 50 && times_in(kit_log_lines(kit), piece) < times; i++)
        (void)kit_wait_ready(kit, 20);
    cr_expect_eq(times_in(kit_log_lines(kit), piece), times, "'%s' not %zu times in\n%s", piece,
                 times, kit_log_lines(kit));
}

/* ---- what is said */

Test(redis, a_decision_is_one_script_over_kongs_keys)
{
    open_policy("minute: 5, hour: 10", "");
    fake_redis_says(fake, "EVALSHA", "*5\r\n:0\r\n:2\r\n:0\r\n:9\r\n:0\r\n");
    kit_advance_ms(kit, 61000);
    kit_request *r = request_new();
    cr_expect_eq(kit_run(r), 0, "it waits");
    cr_expect_eq(finish(r), 200);
    expect_seen("both windows at once", "EVALSHA <sha> 2 " KEY "1767225660000:minute " KEY
                                        "1767225600000:hour 5 60 10 3600\n");
    expect_header(r, "X-RateLimit-Limit-Minute", "5");
    expect_header(r, "X-RateLimit-Remaining-Minute", "3");
    expect_header(r, "X-RateLimit-Limit-Hour", "10");
    expect_header(r, "X-RateLimit-Remaining-Hour", "1");
    expect_header(r, "RateLimit-Limit", "10");
    expect_header(r, "RateLimit-Remaining", "1");
    expect_header(r, "RateLimit-Reset", "3539");
    expect_header(r, "Retry-After", NULL);
    expect_header(r, "RateLimit-Policy", NULL);
}

Test(redis, a_refusal_is_a_429)
{
    open_policy("minute: 5", "");
    fake_redis_says(fake, "EVALSHA", "*3\r\n:1\r\n:5\r\n:0\r\n");
    kit_request *r = request_new();
    (void)kit_run(r);
    cr_expect_eq(finish(r), 429);
    cr_expect_not(kit_was_proxied(r));
    cr_expect_not_null(strstr(kit_response_body(r), "\"message\":\"API rate limit exceeded\""));
    expect_header(r, "X-RateLimit-Remaining-Minute", "0");
    expect_header(r, "Retry-After", "60");
}

Test(redis, other_algorithms_have_keys_of_their_own)
{
    static const struct {
        const char *fields, *seen, *reply, *left, *reset, *says;
    } rows[] = {
        {"minute: 5, algorithm: sliding-window",
         "EVALSHA <sha> 1 " KEY "sliding:minute 5 1000 60\n", "*3\r\n:0\r\n:2\r\n:31500\r\n", "3",
         "32", "5;w=60"},
        {"minute: 6, algorithm: token-bucket, burst: 20",
         "EVALSHA <sha> 1 " KEY "bucket:minute 10000000 20\n", "*3\r\n:0\r\n:19\r\n:9001\r\n", "1",
         "10", "6;w=60;burst=20"},
        {"second: 3, minute: 7, algorithm: token-bucket",
         "EVALSHA <sha> 2 " KEY "bucket:second " KEY "bucket:minute 333334 3 8571429 7\n",
         "*5\r\n:0\r\n:1\r\n:300\r\n:1\r\n:8000\r\n", "2", "1", "3;w=1;burst=3, 7;w=60;burst=7"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        open_policy(rows[i].fields, "");
        fake_redis_says(fake, "EVALSHA", rows[i].reply);
        kit_request *r = request_new();
        (void)kit_run(r);
        cr_expect_eq(finish(r), 200);
        expect_seen(rows[i].fields, rows[i].seen);
        expect_header(r, "RateLimit-Remaining", rows[i].left);
        expect_header(r, "RateLimit-Reset", rows[i].reset);
        expect_header(r, "RateLimit-Policy", rows[i].says);
    }
}

Test(redis, who_it_is_and_which_database)
{
    static const struct {
        const char *why, *more, *begins;
    } rows[] = {
        {"nobody, the first", "", "PING\nSCRIPT LOAD <script>\n"},
        {"a password", ", password: se-cret", "AUTH se-cret\nPING\nSCRIPT"},
        {"a user and a password", ", username: ann, password: se-cret",
         "AUTH ann se-cret\nPING\nSCRIPT"},
        {"a database", ", database: 7", "SELECT 7\nSCRIPT"},
        {"all", ", username: ann, password: se-cret, database: 7",
         "AUTH ann se-cret\nSELECT 7\nSCRIPT"},
        {"a user without password says nothing", ", username: ann", "PING\nSCRIPT"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        fake_redis_forget(fake);
        open_policy("minute: 5", rows[i].more);
        cr_expect_eq(get(), 200);
        cr_expect_eq(strncmp(fake_redis_seen(fake), rows[i].begins, strlen(rows[i].begins)), 0,
                     "%s:\n%s", rows[i].why, fake_redis_seen(fake));
        cr_expect_eq(times_in(fake_redis_seen(fake), "EVALSHA"), 1U, "%s", rows[i].why);
        cr_expect_null(strstr(kit_log_lines(kit), "se-cret"));
    }
}

Test(redis, the_older_flat_spelling_is_the_same)
{
    char yaml[1024];
    (void)snprintf(yaml, sizeof(yaml),
                   HEAD "plugins: [{name: rate-limiting, config: {minute: 5, limit_by: ip, policy: "
                        "redis, redis_host: 127.0.0.1, redis_port: %d, redis_username: u, "
                        "redis_password: p, redis_database: 3, redis_timeout: 77}}]\n",
                   fake_redis_port(fake));
    kit = kit_open(yaml);
    cr_assert_not_null(kit, "%s", kit_error());
    cr_expect_eq(get(), 200);
    expect_seen("flat", "AUTH u p\nSELECT 3\n");
}

Test(redis, one_connection_serves_many_at_once_in_order)
{
    open_policy("minute: 5", "");
    kit_request *r[8];
    for (int i = 0; i < 8; i++) {
        r[i] = request_new();
        cr_expect_eq(kit_run(r[i]), 0);
    }
    for (int i = 0; i < 8; i++)
        cr_expect_eq(finish(r[i]), 200);
    cr_expect_eq(times_in(fake_redis_seen(fake), "EVALSHA"), 8U);
    cr_expect_eq(fake_redis_connections(fake), 1U);
}

Test(redis, a_script_that_was_forgotten_is_sent_again_with_the_call)
{
    open_policy("minute: 5", "");
    fake_redis_says(fake, "EVALSHA", "-NOSCRIPT No matching script. Please use EVAL.\r\n");
    cr_expect_eq(get(), 200);
    expect_seen("the same words", "EVAL <script> 1 " KEY "1767225600000:minute 5 60\n");
    fake_redis_says(fake, "EVALSHA", ONE_OF_FIVE);
    cr_expect_eq(get(), 200);
    cr_expect_eq(times_in(fake_redis_seen(fake), "EVAL <script>"), 1U, "by its digest again");
    cr_expect_str_eq(kit_log_lines(kit), "");
}

Test(redis, a_redis_that_keeps_no_scripts_gets_them_with_each_call)
{
    fake_redis_says(fake, "SCRIPT", "-NOPERM this user has no permissions\r\n");
    open_policy("minute: 5", "");
    cr_expect_eq(get(), 200);
    expect_seen("whole", "EVAL <script> 1 ");
}

/* ---- when it is not there */

static const struct {
    const char *why, *fields;
    int status;
    const char *left; /* RateLimit-Remaining */
} policies[] = {
    {"Kong: tolerated: nothing is counted, and no headers", "minute: 5", 200, NULL},
    {"Kong: not tolerated", "minute: 5, fault_tolerant: false", 500, NULL},
    {"counted here meanwhile", "minute: 5, fallback: local", 200, "4"},
    {"counted here meanwhile, whatever is tolerated",
     "minute: 5, fallback: local, fault_tolerant: false", 200, "4"},
    {"a bucket here", "minute: 5, fallback: local, algorithm: token-bucket", 200, "4"},
    {"a sliding window here", "minute: 5, fallback: local, algorithm: sliding-window", 200, "4"},
};

static void expect_policy(kit_request *r, size_t row)
{
    cr_expect_eq(kit_status(r), policies[row].status, "%s: %d", policies[row].why, kit_status(r));
    expect_header(r, "RateLimit-Remaining", policies[row].left);
    if (policies[row].status == 500)
        cr_expect_not_null(
            strstr(kit_response_body(r), "\"message\":\"An unexpected error occurred\""));
}

Test(redis, nobody_listens)
{
    for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++) {
        open_policy(policies[i].fields, "");
        int port = fake_redis_port(fake);
        fake_redis_stop(fake);
        kit_request *r = request_new();
        (void)kit_run(r);
        (void)finish(r);
        expect_policy(r, i);
        r = request_new();
        cr_expect_eq(kit_run(r) != 0, true, "%s: down is known, nobody waits", policies[i].why);
        expect_log("is down", 1);
        fake = fake_redis_start(port);
    }
}

Test(redis, it_hangs)
{
    for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++) {
        fake_redis_says(fake, "EVALSHA", ONE_OF_FIVE);
        open_policy(policies[i].fields, ", timeout: 100");
        cr_expect_eq(get(), 200);
        fake_redis_says(fake, "EVALSHA", "");
        kit_request *first = request_new(), *second = request_new(), *third = request_new();
        cr_expect_eq(kit_run(first), 0);
        kit_advance_ms(kit, 60);
        cr_expect_eq(kit_run(second), 0);
        kit_advance_ms(kit, 39);
        cr_expect_eq(kit_finish(first), 0, "99 ms: still within its deadline");
        kit_advance_ms(kit, 1);
        expect_policy(first, i);
        kit_advance_ms(kit, 1);
        cr_expect_neq(kit_finish(second), 0, "%s: 41 ms after it came; Redis is known to hang",
                      policies[i].why);
        cr_expect_neq(kit_run(third), 0, "who comes now does not wait");
        cr_expect_eq(times_in(kit_log_lines(kit), "no answer within 100 ms"), 1U, "%s",
                     kit_log_lines(kit));
    }
}

Test(redis, it_accepts_and_says_nothing)
{
    open_policy("minute: 5", ", timeout: 100");
    fake_redis_says(fake, "PING", "");
    kit_request *r = request_new();
    cr_expect_eq(kit_run(r), 0);
    (void)kit_wait_ready(kit, 1000);
    kit_advance_ms(kit, 99);
    cr_expect_eq(kit_finish(r), 0);
    kit_advance_ms(kit, 1);
    cr_expect_eq(kit_finish(r), 200);
    expect_header(r, "RateLimit-Remaining", NULL);
}

Test(redis, it_closes_the_connection)
{
    open_policy("minute: 5, fault_tolerant: false", "");
    cr_expect_eq(get(), 200);
    fake_redis_says(fake, "EVALSHA", NULL);
    cr_expect_eq(get(), 500);
    fake_redis_says(fake, "EVALSHA", ONE_OF_FIVE);
    kit_advance_ms(kit, 10);
    expect_log("answers again", 1);
    cr_expect_eq(get(), 200);
    cr_expect_eq(times_in(kit_log_lines(kit), "\n"), 2U, "one line down, one up:\n%s",
                 kit_log_lines(kit));
}

Test(redis, it_comes_back_within_a_tenth_of_a_second_of_being_asked_for)
{
    open_policy("minute: 5, fault_tolerant: false", "");
    int port = fake_redis_port(fake);
    cr_expect_eq(get(), 200);
    fake_redis_stop(fake);
    cr_expect_eq(get(), 500);
    for (int i = 0; i < 100; i++) { /* long enough for the longest pause */
        kit_advance_ms(kit, 100);
        (void)kit_wait_ready(kit, 0);
    }
    fake = fake_redis_start(port);
    fake_redis_says(fake, "EVALSHA", ONE_OF_FIVE);
    cr_expect_eq(get(), 500, "it is not known yet");
    kit_advance_ms(kit, 80);
    expect_log("answers again", 1);
    cr_expect_eq(get(), 200);
}

Test(redis, the_client_goes_away_meanwhile)
{
    open_policy("minute: 5", "");
    kit_request *gone = request_new(), *stays = request_new();
    cr_expect_eq(kit_run(gone), 0);
    cr_expect_eq(kit_run(stays), 0);
    kit_abort(gone);
    kit_request_free(gone);
    cr_expect_eq(finish(stays), 200);
}

Test(redis, a_reload_with_requests_that_wait)
{
    open_policy("minute: 5", "");
    kit_request *r = request_new();
    cr_expect_eq(kit_run(r), 0);
    cr_assert(kit_reload(kit, HEAD), "%s", kit_error());
    cr_expect_eq(finish(r), 200, "on the configuration it began with");
    expect_header(r, "RateLimit-Remaining", "4");
}

Test(redis, answers_that_are_none)
{
    static const struct {
        const char *why, *word, *bytes, *log;
    } rows[] = {
        {"an error", "EVALSHA", "-OOM command not allowed\r\n", "cannot count: OOM command"},
        {"another shape", "EVALSHA", "*2\r\n:1\r\n:2\r\n", "cannot count: an unexpected answer"},
        {"nil", "EVALSHA", "$-1\r\n", "cannot count: an unexpected answer"},
        {"no Redis", "EVALSHA", "HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak the protocol"},
        {"one answer too many", "EVALSHA", "-ERR x\r\n+OK\r\n", "that nothing asked for"},
        {"a wrong password", "AUTH", "-WRONGPASS se-cret\r\n", "(AUTH was refused)"},
        {"no such database", "SELECT", "-ERR DB index is out of range\r\n",
         "(ERR DB index is out of range)"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        fake_redis_stop(fake);
        set_up();
        fake_redis_says(fake, rows[i].word, rows[i].bytes);
        open_policy("minute: 5, fault_tolerant: false", ", password: se-cret, database: 99");
        cr_expect_eq(get(), 500, "%s", rows[i].why);
        cr_expect_eq(get(), 500, "%s: again", rows[i].why);
        expect_log(rows[i].log, 1);
        cr_expect_null(strstr(kit_log_lines(kit), "se-cret"), "%s", rows[i].why);
    }
}

/* ---- sync_rate */

#define SYNC "minute: 5, sync_rate: 0.5"

Test(sync, counts_here_and_tells_redis_now_and_then)
{
    set_up();
    open_policy(SYNC, "");
    fake_redis_says(fake, "EVALSHA", "*1\r\n:1\r\n"); /* somebody else had one */
    kit_request *r = request_new();
    cr_expect_eq(kit_run(r), 0, "the first one asks");
    cr_expect_eq(finish(r), 200);
    expect_seen("a look", "EVALSHA <sha> 1 " KEY "1767225600000:minute\n");
    expect_header(r, "RateLimit-Remaining", "3");
    fake_redis_forget(fake);
    r = request_new();
    cr_expect_eq(kit_run(r), 200, "later ones do not wait");
    expect_header(r, "RateLimit-Remaining", "2");
    cr_expect_str_eq(fake_redis_seen(fake), "");
    fake_redis_says(fake, "EVALSHA", "*1\r\n:4\r\n"); /* 2 of ours and 2 of others */
    kit_advance_ms(kit, 500);
    for (int i = 0; i < 50 && fake_redis_seen(fake)[0] == '\0'; i++)
        (void)kit_wait_ready(kit, 20);
    expect_seen("what was let pass, and when the window ends",
                "EVALSHA <sha> 1 " KEY "1767225600000:minute 2 1767225660\n");
    for (int i = 0; i < 10; i++)
        (void)kit_wait_ready(kit, 20);
    r = request_new();
    cr_expect_eq(kit_run(r), 200);
    expect_header(r, "RateLimit-Remaining", "0");
    r = request_new();
    cr_expect_eq(kit_run(r), 429);
    kit_advance_ms(kit, 60000);
    cr_expect_eq(get(), 200, "the next window");
    tear_down();
}

Test(sync, keeps_what_cannot_be_told)
{
    set_up();
    open_policy(SYNC, "");
    int port = fake_redis_port(fake);
    fake_redis_says(fake, "EVALSHA", "*1\r\n:0\r\n");
    cr_expect_eq(get(), 200);
    fake_redis_stop(fake);
    for (int i = 0; i < 50 && strstr(kit_log_lines(kit), "is down") == NULL; i++)
        (void)kit_wait_ready(kit, 20);
    cr_expect_eq(get(), 200, "known keys are counted on");
    kit_advance_ms(kit, 600);
    fake = fake_redis_start(port);
    fake_redis_says(fake, "EVALSHA", "*1\r\n:2\r\n");
    for (int i = 0; i < 30 && strstr(fake_redis_seen(fake), "minute 2 ") == NULL; i++) {
        kit_advance_ms(kit, 100);
        (void)kit_wait_ready(kit, 50);
    }
    expect_seen("both", KEY "1767225600000:minute 2 1767225660\n");
    tear_down();
}

Test(sync, without_redis_a_new_key_follows_the_policy)
{
    static const struct {
        const char *fields;
        int status;
        const char *left;
    } rows[] = {
        {SYNC, 200, NULL},
        {SYNC ", fault_tolerant: false", 500, NULL},
        {SYNC ", fallback: local", 200, "4"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        set_up();
        open_policy(rows[i].fields, "");
        fake_redis_stop(fake);
        fake = NULL;
        kit_request *r = request_new();
        (void)kit_run(r);
        cr_expect_eq(finish(r), rows[i].status, "%s: %d", rows[i].fields, kit_status(r));
        expect_header(r, "RateLimit-Remaining", rows[i].left);
    }
    tear_down();
}
