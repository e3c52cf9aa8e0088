/* What configurations are refused, and all that can be made ready before the first request. */
#include <math.h>
#include <stdio.h>

#include "policy.h"

/* ---- checks */

static int check_limits(const rate_limiting *policy, weir_error *error)
{
    int faults = 0, longest = -1;
    for (int i = 0; i < PERIODS; i++) {
        if (isnan(policy->limits[i]))
            continue;
        for (int k = 0; k < i; k++) {
            if (isnan(policy->limits[k]) || policy->limits[k] <= policy->limits[i])
                continue;
            weir_error_at(error, periods[i].name,
                          "The limit for %s(%.1f) cannot be lower than the limit for %s(%.1f)",
                          periods[i].name, policy->limits[i], periods[k].name, policy->limits[k]);
            faults++;
        }
        longest = i;
    }
    if (longest < 0) {
        weir_error_at(error, "",
                      "at least one of these fields must be non-empty: 'config.second', "
                      "'config.minute', 'config.hour', 'config.day', 'config.month', "
                      "'config.year'");
        faults++;
    }
    return faults;
}

static int check_needed(weir_error *error, bool needed, weir_str value, const char *path)
{
    if (!needed || value.data != NULL)
        return 0;
    weir_error_at(error, path, "required field missing");
    return 1;
}

static int check_redis(rate_limiting *policy, weir_error *error)
{
    int faults = check_needed(error, policy->is_remote, policy->redis.host, "redis.host");
    if (policy->redis.timeout < 1)
        policy->redis.timeout = 1;
    if (policy->is_remote && policy->redis.port < 1) {
        weir_error_at(error, "redis.port", "value should be between 1 and 65535");
        faults++;
    }
    if (policy->sync_rate != -1 && !policy->is_remote) {
        weir_error_at(error, "sync_rate", "sync_rate can only be used with the redis policy");
        faults++;
    } else if (policy->sync_rate != -1 && policy->sync_rate < 0.02) {
        weir_error_at(error, "sync_rate", "sync_rate must be greater than 0.02, or -1 to disable");
        faults++;
    } else if (policy->sync_rate != -1 && policy->algorithm != FIXED_WINDOW) {
        weir_error_at(error, "sync_rate", "sync_rate can only be used with fixed windows");
        faults++;
    }
    return faults;
}

static int check_burst(const rate_limiting *policy, weir_error *error)
{
    if (isnan(policy->burst))
        return 0;
    if (policy->algorithm != TOKEN_BUCKET) {
        weir_error_at(error, "burst", "burst can only be used with the token-bucket algorithm");
        return 1;
    }
    if (policy->burst < 1 || policy->burst > 1e9) {
        weir_error_at(error, "burst", "value should be between 1 and 1000000000");
        return 1;
    }
    return 0;
}

static int check(rate_limiting *policy, weir_error *error)
{
    int faults = check_limits(policy, error);
    faults += check_needed(error, equal(policy->limit_by, WEIR_LIT("header")), policy->header_name,
                           "header_name");
    faults += check_needed(error, equal(policy->limit_by, WEIR_LIT("path")), policy->path, "path");
    faults += check_redis(policy, error);
    faults += check_burst(policy, error);
    if (policy->error_code < 200 || policy->error_code > 599) {
        weir_error_at(error, "error_code", "value should be between 200 and 599");
        faults++;
    }
    return faults;
}

/* ---- windows */

/* Counters that one step takes of are few, so more windows are cut into fewer steps. */
static void prepare_steps(rate_limiting *policy)
{
    static const int64_t steps[PERIODS + 1] = {0, 15, 7, 4, 3, 2, 1};
    for (size_t i = 0; i < policy->window_count; i++) {
        struct window *window = &policy->windows[i];
        window->steps = steps[policy->window_count];
        window->step_ms =
            (periods[window->period].length_s * 1000 + window->steps - 1) / window->steps;
    }
}

/* A year's bucket must fit into 64 bits of nanoseconds with the date. */
static bool prepare_buckets(rate_limiting *policy, weir_error *error)
{
    for (size_t i = 0; i < policy->window_count; i++) {
        struct window *window = &policy->windows[i];
        double unit = policy->is_remote ? 1000 : 1; /* Redis counts whole microseconds */
        double token =
            ceil((double)periods[window->period].length_s * 1e9 / window->limit / unit) * unit;
        if (i == 0 && !isnan(policy->burst)) {
            window->most = (int64_t)policy->burst;
            window->capacity = (double)window->most;
        }
        if (token * (double)window->most > 1e18) {
            weir_error_at(error, i == 0 ? "burst" : periods[window->period].name,
                          "the bucket would take more than 31 years to fill");
            return false;
        }
        window->token_ns = token < 1 ? 1 : (int64_t)token;
        window->full_ns = window->token_ns * window->most;
        window->epoch_ms = window->full_ns / 1000000 + 1;
        window->epoch_ms = window->epoch_ms < 60000 ? 60000 : window->epoch_ms;
    }
    return true;
}

static bool prepare_remote(rate_limiting *policy)
{
    for (size_t i = 0; i < policy->window_count; i++) {
        struct window *window = &policy->windows[i];
        int64_t values[2] = {window->most, periods[window->period].kept_s};
        char *text = weir_policy_alloc(policy, 2 * (size_t)NUMBER_SIZE);
        if (text == NULL)
            return false;
        if (policy->algorithm == SLIDING_WINDOW) {
            values[1] = (periods[window->period].length_s * 1000 + REMOTE_STEPS - 1) / REMOTE_STEPS;
        } else if (policy->algorithm == TOKEN_BUCKET) {
            values[0] = window->token_ns / 1000;
            values[1] = window->most;
        }
        for (size_t k = 0; k < 2; k++) {
            char *at = text + k * NUMBER_SIZE;
            window->remote_args[k] = (weir_str){at, put_number(at, values[k])};
        }
    }
    return true;
}

static bool prepare_window(rate_limiting *policy, uint8_t period)
{
    struct window *window = &policy->windows[policy->window_count++];
    char name[64];
    char *text = weir_policy_alloc(policy, NUMBER_SIZE);
    if (text == NULL)
        return false;
    double limit = policy->limits[period];
    *window = (struct window){.period = period, .limit = limit, .capacity = limit};
    window->most = limit < 1e15 ? (int64_t)ceil(limit) : (int64_t)1e15;
    window->limit_text = print_number(text, limit);
    if (policy->algorithm == TOKEN_BUCKET)
        window->capacity = (double)window->most;
    window->whole = window->capacity == (double)window->most;
    int size = snprintf(name, sizeof(name), "X-RateLimit-Limit-%s", periods[period].title);
    window->limit_id = weir_header_intern((weir_str){name, (size_t)size});
    size = snprintf(name, sizeof(name), "X-RateLimit-Remaining-%s", periods[period].title);
    window->remaining_id = weir_header_intern((weir_str){name, (size_t)size});
    return window->limit_id != 0 && window->remaining_id != 0;
}

static bool prepare_windows(rate_limiting *policy, weir_error *error)
{
    for (uint8_t i = 0; i < PERIODS; i++)
        if (!isnan(policy->limits[i]) && !prepare_window(policy, i))
            return false;
    if (policy->algorithm == SLIDING_WINDOW)
        prepare_steps(policy);
    if (policy->algorithm == TOKEN_BUCKET && !prepare_buckets(policy, error))
        return false;
    return !policy->is_remote || prepare_remote(policy);
}

/* ---- the rest */

/* The scope of the policy, not the route of the request: a global policy counts over all routes.
 * Layers of one scope are told apart by their instance names. */
static bool prepare_prefix(rate_limiting *policy)
{
    static const weir_str nobody = {"00000000-0000-0000-0000-000000000000", 36};
    weir_str route = weir_policy_text(policy, WEIR_POLICY_ROUTE_ID);
    weir_str service = weir_policy_text(policy, WEIR_POLICY_SERVICE_ID);
    route = route.data == NULL ? nobody : route;
    service = service.data == NULL ? nobody : service;
    weir_str name = weir_policy_text(policy, WEIR_POLICY_INSTANCE_NAME);
    bool named = name.data != NULL && name.size > 0;
    size_t room = route.size + service.size + name.size + sizeof("ratelimit:::@:");
    char *text = weir_policy_alloc(policy, room);
    if (text == NULL)
        return false;
    int size = snprintf(text, room, "ratelimit:%.*s:%.*s:%s%.*s%s", (int)route.size, route.data,
                        (int)service.size, service.data, named ? "@" : "", (int)name.size,
                        named ? name.data : "", named ? ":" : "");
    policy->key_prefix = (weir_str){text, (size_t)size};
    return true;
}

/* "100;w=60, 1000;w=3600", of a token bucket with what it holds: "100;w=60;burst=20". */
static bool prepare_policy_text(rate_limiting *policy)
{
    bool wanted =
        equal(policy->policy_header, WEIR_LIT("always")) ||
        (equal(policy->policy_header, WEIR_LIT("auto")) && policy->algorithm != FIXED_WINDOW);
    if (!wanted)
        return true;
    size_t room = policy->window_count * 96, size = 0;
    char *text = weir_policy_alloc(policy, room);
    if (text == NULL)
        return false;
    for (size_t i = 0; i < policy->window_count; i++) {
        const struct window *window = &policy->windows[i];
        int put = snprintf(text + size, room - size, "%s%.*s;w=%lld", i == 0 ? "" : ", ",
                           (int)window->limit_text.size, window->limit_text.data,
                           (long long)periods[window->period].length_s);
        size += (size_t)put;
        if (policy->algorithm == TOKEN_BUCKET) {
            put = snprintf(text + size, room - size, ";burst=%lld", (long long)window->most);
            size += (size_t)put;
        }
    }
    policy->policy_text = (weir_str){text, size};
    return true;
}

static weir_dict *open_counters(rate_limiting *policy, weir_error *error)
{
    static const struct {
        weir_str name;
        uint32_t entries;
    } dicts[] = {
        [FIXED_WINDOW] = {{"counters", 8}, COUNTERS},
        [SLIDING_WINDOW] = {{"steps", 5}, STEP_COUNTERS},
        [TOKEN_BUCKET] = {{"buckets", 7}, COUNTERS},
    };
    return weir_dict_open(error, policy, dicts[policy->algorithm].name, COUNTERS_LAYOUT,
                          dicts[policy->algorithm].entries, sizeof(int64_t));
}

static void read_words(rate_limiting *policy)
{
    policy->algorithm = equal(policy->algorithm_name, WEIR_LIT("sliding-window")) ? SLIDING_WINDOW
                        : equal(policy->algorithm_name, WEIR_LIT("token-bucket")) ? TOKEN_BUCKET
                                                                                  : FIXED_WINDOW;
    policy->fallback =
        equal(policy->fallback_name, WEIR_LIT("local")) ? FALLBACK_LOCAL : FALLBACK_NONE;
    policy->is_remote = equal(policy->policy, WEIR_LIT("redis"));
    policy->is_synced = policy->is_remote && policy->sync_rate != -1;
    policy->identifier = identifier_named(policy->limit_by);
}

int configure(void *self, weir_error *error)
{
    rate_limiting *policy = self;
    read_words(policy);
    if (check(policy, error) > 0 || policy->identifier == NULL)
        return -1;
    if (policy->header_name.data != NULL)
        policy->header = weir_header_intern(policy->header_name);
    policy->limit_id = weir_header_intern(WEIR_LIT("RateLimit-Limit"));
    policy->remaining_id = weir_header_intern(WEIR_LIT("RateLimit-Remaining"));
    policy->reset_id = weir_header_intern(WEIR_LIT("RateLimit-Reset"));
    policy->policy_id = weir_header_intern(WEIR_LIT("RateLimit-Policy"));
    policy->retry_after_id = weir_header_intern(WEIR_LIT("Retry-After"));
    if (!prepare_prefix(policy) || !prepare_windows(policy, error) || !prepare_policy_text(policy))
        return -1;
    /* Of no use to policy redis but as its fallback, or as its copy. */
    if (!policy->is_remote || policy->is_synced || policy->fallback == FALLBACK_LOCAL) {
        policy->counters = open_counters(policy, error);
        if (policy->counters == NULL)
            return -1;
    }
    if (policy->is_synced)
        policy->known = weir_dict_open(error, self, WEIR_LIT("known"), COUNTERS_LAYOUT,
                                       2 * COUNTERS, sizeof(int64_t));
    return policy->is_synced && policy->known == NULL ? -1 : 0;
}
