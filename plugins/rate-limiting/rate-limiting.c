/* How many requests a client may make in each second, minute, … year: fixed windows aligned to the
 * clock, counted exactly over all workers. One step takes one of every window or none of any, so a
 * refused request counts nowhere. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <weir/weir.h>

enum { SECOND, MINUTE, HOUR, DAY, MONTH, YEAR, PERIODS };

static const struct period {
    const char *name, *title;
    int64_t length_s; /* what Reset counts down from */
    int64_t kept_s;   /* no window of the period is longer */
} periods[PERIODS] = {
    [SECOND] = {"second", "Second", 1, 1},
    [MINUTE] = {"minute", "Minute", 60, 60},
    [HOUR] = {"hour", "Hour", 3600, 3600},
    [DAY] = {"day", "Day", 86400, 86400},
    [MONTH] = {"month", "Month", 2592000, 31 * 86400},
    [YEAR] = {"year", "Year", 31536000, 366 * 86400},
};

enum {
    COUNTERS = 100000, /* of all policies together */
    COUNTERS_LAYOUT = 1,
    NUMBER_SIZE = 32,
    KEY_TAIL = 32, /* ":" 13 digits ":" period, with room */
};

struct redis {
    weir_str host, username, password, server_name;
    int64_t port, timeout, database;
    bool ssl, ssl_verify;
};

struct window { /* one configured period */
    uint8_t period;
    int64_t most; /* requests that fit */
    double limit;
    weir_str limit_text;
    weir_header_id limit_id, remaining_id;
};

typedef struct {
    double limits[PERIODS];
    weir_str limit_by, header_name, path, policy, error_message;
    bool fault_tolerant, hide_client_headers;
    int64_t error_code;
    double sync_rate;
    struct redis redis;

    weir_dict *counters;
    struct window windows[PERIODS];
    size_t window_count;
    weir_str key_prefix; /* "ratelimit:ROUTE:SERVICE:" */
    weir_str (*identifier)(weir_request *request, const void *self);
    weir_header_id header, limit_id, remaining_id, reset_id, retry_after_id;
} rate_limiting;

typedef struct {
    bool counted, refused;
    uint8_t tightest; /* index of the window that the general headers describe */
    int64_t reset_s;
    int64_t used[PERIODS]; /* by window */
} per_request;

static const char *const limit_by_names[] = {"consumer", "credential", "ip", "service",
                                             "header",   "path",       NULL};
static const char *const policy_names[] = {"local", "redis", NULL};

#define REDIS_PLACE ", for policy redis"
static const weir_field redis_fields[] = {
    WEIR_STRING(struct redis, host, .alias = "redis_host", .help = "name or address" REDIS_PLACE),
    WEIR_INTEGER(struct redis, port, .alias = "redis_port", .def = "6379", .max = 65535,
                 .flags = WEIR_NOT_NEGATIVE, .help = "port"),
    WEIR_INTEGER(struct redis, timeout, .alias = "redis_timeout", .def = "2000", .max = 2147483646,
                 .flags = WEIR_NOT_NEGATIVE, .help = "milliseconds for each step"),
    WEIR_STRING(struct redis, username, .alias = "redis_username", .flags = WEIR_SECRET,
                .help = "user of AUTH"),
    WEIR_STRING(struct redis, password, .alias = "redis_password", .flags = WEIR_SECRET,
                .help = "password of AUTH"),
    WEIR_INTEGER(struct redis, database, .alias = "redis_database", .def = "0",
                 .flags = WEIR_NOT_NEGATIVE, .help = "number of the database"),
    WEIR_BOOLEAN(struct redis, ssl, .alias = "redis_ssl", .def = "false", .help = "use TLS"),
    WEIR_BOOLEAN(struct redis, ssl_verify, .alias = "redis_ssl_verify", .def = "false",
                 .help = "check the certificate"),
    WEIR_STRING(struct redis, server_name, .alias = "redis_server_name",
                .help = "name for SNI and the certificate"),
};

#define LIMIT(index, word)                                                                \
    {                                                                                     \
        .name = word, .type = WEIR_TYPE_NUMBER, .flags = WEIR_POSITIVE,                   \
        .offset = (uint32_t)(offsetof(rate_limiting, limits) + (index) * sizeof(double)), \
        .help = "requests in each " word                                                  \
    }

static const weir_field fields[] = {
    LIMIT(SECOND, "second"),
    LIMIT(MINUTE, "minute"),
    LIMIT(HOUR, "hour"),
    LIMIT(DAY, "day"),
    LIMIT(MONTH, "month"),
    LIMIT(YEAR, "year"),
    WEIR_ENUM(rate_limiting, limit_by, .choices = limit_by_names, .def = "consumer",
              .help =
                  "whose requests are counted together; without one it is the client's address"),
    WEIR_STRING(rate_limiting, header_name, .flags = WEIR_HEADER_NAME,
                .help = "header that names the client, for limit_by header"),
    WEIR_STRING(rate_limiting, path, .flags = WEIR_PATH,
                .help = "path that is counted, for limit_by path"),
    WEIR_ENUM(rate_limiting, policy, .choices = policy_names, .def = "local",
              .help = "where the counters are: of this gateway or in Redis"),
    WEIR_BOOLEAN(rate_limiting, fault_tolerant, .def = "true", .flags = WEIR_REQUIRED,
                 .help = "let requests pass when they cannot be counted, else 500"),
    WEIR_RECORD(rate_limiting, redis, struct redis, redis_fields,
                .help = "where Redis is" REDIS_PLACE),
    WEIR_BOOLEAN(rate_limiting, hide_client_headers, .def = "false", .flags = WEIR_REQUIRED,
                 .help = "say nothing about limits in headers"),
    WEIR_INTEGER(rate_limiting, error_code, .def = "429", .flags = WEIR_POSITIVE,
                 .help = "status of a refusal"),
    WEIR_STRING(rate_limiting, error_message, .def = "API rate limit exceeded",
                .help = "message of a refusal"),
    WEIR_NUMBER(rate_limiting, sync_rate, .def = "-1", .flags = WEIR_REQUIRED,
                .help = "seconds between two exchanges with Redis, -1: at each request"),
};

static const weir_str none = {NULL, 0};

static bool equal(weir_str a, weir_str b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* ---- whose requests ---------------------------------------------------------------------------
 */

static weir_str by_credential(weir_request *request, const void *self)
{
    (void)self;
    return weir_request_text(request, WEIR_TEXT_CREDENTIAL_ID);
}

static weir_str by_consumer(weir_request *request, const void *self)
{
    const weir_consumer *consumer = weir_request_consumer(request);
    return consumer != NULL ? weir_consumer_text(consumer, WEIR_CONSUMER_ID)
                            : by_credential(request, self);
}

static weir_str by_ip(weir_request *request, const void *self)
{
    (void)request;
    (void)self;
    return none;
}

static weir_str by_service(weir_request *request, const void *self)
{
    (void)self;
    return weir_request_text(request, WEIR_TEXT_SERVICE_ID);
}

static weir_str by_header(weir_request *request, const void *self)
{
    const rate_limiting *policy = self;
    return weir_header_get(request, WEIR_SIDE_REQUEST, policy->header, 0);
}

static weir_str by_path(weir_request *request, const void *self)
{
    const rate_limiting *policy = self;
    return equal(weir_request_text(request, WEIR_TEXT_PATH), policy->path) ? policy->path : none;
}

static const struct {
    const char *name;
    weir_str (*identifier)(weir_request *request, const void *self);
} identifiers[] = {
    {"consumer", by_consumer}, {"credential", by_credential}, {"ip", by_ip},
    {"service", by_service},   {"header", by_header},         {"path", by_path},
};

/* The client's address stands in for whatever is not there. */
static weir_str identify(weir_request *request, const rate_limiting *policy)
{
    weir_str identifier = policy->identifier(request, policy);
    return identifier.data != NULL ? identifier : weir_request_text(request, WEIR_TEXT_CLIENT_IP);
}

/* ---- windows ----------------------------------------------------------------------------------
 */

/* Days since 1970 on which the month, or the year, of `day` begins. The calendar is counted in
 * years that begin with March, so that the leap day is the last of one. */
static int64_t first_day(int64_t day, bool of_year)
{
    int64_t shifted = day + 719468; /* since 0000-03-01 */
    int64_t era = shifted / 146097, of_era = shifted % 146097;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_march_year = of_era - (365 * year + year / 4 - year / 100);
    int64_t month = (5 * of_march_year + 2) / 153; /* 0 is March */
    if (!of_year)
        return day - (of_march_year - (153 * month + 2) / 5);
    if (month >= 10) /* January and February: 306 days after 1 March of the year before */
        return day - (of_march_year - 306);
    /* Before 1 March lie 59 days, or 60 in a leap year. */
    int64_t full = era * 400 + year;
    bool leap = (full % 4 == 0 && full % 100 != 0) || full % 400 == 0;
    return day - of_march_year - (leap ? 60 : 59);
}

static int64_t window_start_s(unsigned period, int64_t now_s)
{
    if (period == MONTH || period == YEAR)
        return first_day(now_s / 86400, period == YEAR) * 86400;
    return now_s - now_s % periods[period].length_s;
}

static size_t put_number(char *at, int64_t value)
{
    char digits[20];
    size_t size = 0;
    do {
        digits[size++] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    for (size_t i = 0; i < size; i++)
        at[i] = digits[size - 1 - i];
    return size;
}

/* ratelimit:ROUTE:SERVICE:IDENTIFIER:WINDOW_START_MS:PERIOD; the first four are the same for all
 * windows, so `at` has them already. Returns the whole size. */
static size_t put_key_tail(char *at, size_t head, int64_t start_s, const char *period)
{
    size_t size = head;
    at[size++] = ':';
    size += put_number(at + size, start_s * 1000);
    at[size++] = ':';
    size_t name = strlen(period);
    memcpy(at + size, period, name);
    return size + name;
}

static weir_status take(weir_request *request, const rate_limiting *policy, int64_t now_s,
                        weir_take *takes)
{
    weir_str identifier = identify(request, policy);
    size_t head = policy->key_prefix.size + identifier.size, room = head + KEY_TAIL;
    char *keys = weir_request_alloc(request, room * policy->window_count);
    if (keys == NULL)
        return WEIR_NO_MEMORY;
    for (size_t i = 0; i < policy->window_count; i++) {
        const struct window *window = &policy->windows[i];
        const struct period *period = &periods[window->period];
        char *key = keys + i * room;
        memcpy(key, policy->key_prefix.data, policy->key_prefix.size);
        if (identifier.size > 0)
            memcpy(key + policy->key_prefix.size, identifier.data, identifier.size);
        int64_t start_s = window_start_s(window->period, now_s);
        takes[i] = (weir_take){
            .key = {key, put_key_tail(key, head, start_s, period->name)},
            .limit = window->most,
            /* A second longer: the wall clock may be set back a little. */
            .ttl_ms = (period->kept_s - (now_s - start_s) + 1) * 1000,
        };
    }
    return weir_dict_take(policy->counters, takes, policy->window_count);
}

/* ---- headers ----------------------------------------------------------------------------------
 */

static double remaining(const struct window *window, int64_t used)
{
    double left = window->limit - (double)used;
    return left > 0 ? left : 0;
}

/* The window with the fewest left; of equals the longer, which is the later one. */
static uint8_t find_tightest(const rate_limiting *policy, const int64_t *used)
{
    uint8_t tightest = 0;
    for (uint8_t i = 1; i < policy->window_count; i++) {
        if (remaining(&policy->windows[i], used[i]) <=
            remaining(&policy->windows[tightest], used[tightest]))
            tightest = i;
    }
    return tightest;
}

static void remember(per_request *mine, const rate_limiting *policy, const weir_take *takes,
                     int64_t now_s)
{
    for (size_t i = 0; i < policy->window_count; i++)
        mine->used[i] = takes[i].value;
    mine->tightest = find_tightest(policy, mine->used);
    unsigned period = policy->windows[mine->tightest].period;
    int64_t reset_s = periods[period].length_s - (now_s - window_start_s(period, now_s));
    mine->reset_s = reset_s > 1 ? reset_s : 1;
    mine->counted = true;
}

static weir_str print_number(char out[NUMBER_SIZE], double value)
{
    size_t size;
    if (value == floor(value) && value < 1e15)
        size = put_number(out, (int64_t)value);
    else
        size = (size_t)snprintf(out, NUMBER_SIZE, "%.14g", value);
    return (weir_str){out, size};
}

/* Added, not set: a service may have limits and headers of its own. */
static weir_verdict on_response_headers(weir_request *request, void *self, void *context)
{
    const rate_limiting *policy = self;
    const per_request *mine = context;
    char text[NUMBER_SIZE];
    weir_status failed = WEIR_SUCCESS;
    if (!mine->counted || policy->hide_client_headers)
        return WEIR_NEXT;
    for (size_t i = 0; i < policy->window_count; i++) {
        const struct window *window = &policy->windows[i];
        failed |=
            weir_header_add(request, WEIR_SIDE_RESPONSE, window->limit_id, window->limit_text);
        failed |= weir_header_add(request, WEIR_SIDE_RESPONSE, window->remaining_id,
                                  print_number(text, remaining(window, mine->used[i])));
    }
    const struct window *tightest = &policy->windows[mine->tightest];
    failed |= weir_header_add(request, WEIR_SIDE_RESPONSE, policy->limit_id, tightest->limit_text);
    failed |= weir_header_add(request, WEIR_SIDE_RESPONSE, policy->remaining_id,
                              print_number(text, remaining(tightest, mine->used[mine->tightest])));
    weir_str reset = {text, put_number(text, mine->reset_s)};
    failed |= weir_header_add(request, WEIR_SIDE_RESPONSE, policy->reset_id, reset);
    if (mine->refused)
        failed |= weir_header_add(request, WEIR_SIDE_RESPONSE, policy->retry_after_id, reset);
    return failed != WEIR_SUCCESS ? WEIR_FAIL : WEIR_NEXT;
}

/* ---- the decision -----------------------------------------------------------------------------
 */

static weir_verdict refuse(weir_request *request, int64_t status, weir_str message)
{
    return weir_respond_error(request, (uint32_t)status, message) != WEIR_SUCCESS ? WEIR_FAIL
                                                                                  : WEIR_DONE;
}

static weir_verdict on_access(weir_request *request, void *self, void *context)
{
    const rate_limiting *policy = self;
    per_request *mine = context;
    weir_take takes[PERIODS];
    int64_t now_s = weir_now_ms() / 1000;
    weir_status status = take(request, policy, now_s, takes);
    if (status == WEIR_SUCCESS || status == WEIR_FULL) {
        remember(mine, policy, takes, now_s);
        mine->refused = status == WEIR_FULL;
        return mine->refused ? refuse(request, policy->error_code, policy->error_message)
                             : WEIR_NEXT;
    }
    weir_log(request, WEIR_LOG_ERROR, "the request could not be counted (status %u)", status);
    return policy->fault_tolerant ? WEIR_NEXT
                                  : refuse(request, 500, WEIR_LIT("An unexpected error occurred"));
}

/* ---- configuration ----------------------------------------------------------------------------
 */

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

static int check_redis(const rate_limiting *policy, weir_error *error)
{
    bool redis = equal(policy->policy, WEIR_LIT("redis"));
    int faults = check_needed(error, redis, policy->redis.host, "redis.host");
    /* Redis is never reached in this version. Who tolerates that fault gets counters of this
     * gateway alone, stricter than the no limit at all it means elsewhere; who does not is refused.
     */
    if (redis && !policy->fault_tolerant) {
        weir_error_at(error, "policy",
                      "redis is not there yet in this version of rate-limiting, and "
                      "fault_tolerant: false asks for it: use local, which counts over all workers "
                      "of this gateway");
        faults++;
    } else if (redis) {
        weir_log(NULL, WEIR_LOG_WARN,
                 "policy redis: this version counts in this gateway alone, not in Redis");
    }
    if (policy->sync_rate != -1 && !redis) {
        weir_error_at(error, "sync_rate", "sync_rate can only be used with the redis policy");
        faults++;
    } else if (policy->sync_rate != -1 && policy->sync_rate < 0.02) {
        weir_error_at(error, "sync_rate", "sync_rate must be greater than 0.02, or -1 to disable");
        faults++;
    }
    return faults;
}

static int check(const rate_limiting *policy, weir_error *error)
{
    int faults = check_limits(policy, error);
    faults += check_needed(error, equal(policy->limit_by, WEIR_LIT("header")), policy->header_name,
                           "header_name");
    faults += check_needed(error, equal(policy->limit_by, WEIR_LIT("path")), policy->path, "path");
    faults += check_redis(policy, error);
    if (policy->error_code < 200 || policy->error_code > 599) {
        weir_error_at(error, "error_code", "value should be between 200 and 599");
        faults++;
    }
    return faults;
}

static bool prepare_window(rate_limiting *policy, uint8_t period)
{
    struct window *window = &policy->windows[policy->window_count++];
    char name[64];
    char *text = weir_policy_alloc(policy, NUMBER_SIZE);
    if (text == NULL)
        return false;
    double limit = policy->limits[period];
    *window = (struct window){.period = period, .limit = limit};
    window->most = limit < 1e15 ? (int64_t)ceil(limit) : (int64_t)1e15;
    window->limit_text = print_number(text, limit);
    int size = snprintf(name, sizeof(name), "X-RateLimit-Limit-%s", periods[period].title);
    window->limit_id = weir_header_intern((weir_str){name, (size_t)size});
    size = snprintf(name, sizeof(name), "X-RateLimit-Remaining-%s", periods[period].title);
    window->remaining_id = weir_header_intern((weir_str){name, (size_t)size});
    return window->limit_id != 0 && window->remaining_id != 0;
}

/* The scope of the policy, not the route of the request: a global policy counts over all routes. */
static bool prepare_prefix(rate_limiting *policy)
{
    static const weir_str nobody = {"00000000-0000-0000-0000-000000000000", 36};
    weir_str route = weir_policy_text(policy, WEIR_POLICY_ROUTE_ID);
    weir_str service = weir_policy_text(policy, WEIR_POLICY_SERVICE_ID);
    route = route.data == NULL ? nobody : route;
    service = service.data == NULL ? nobody : service;
    size_t room = route.size + service.size + sizeof("ratelimit:::");
    char *text = weir_policy_alloc(policy, room);
    if (text == NULL)
        return false;
    int size = snprintf(text, room, "ratelimit:%.*s:%.*s:", (int)route.size, route.data,
                        (int)service.size, service.data);
    policy->key_prefix = (weir_str){text, (size_t)size};
    return true;
}

static int configure(void *self, weir_error *error)
{
    rate_limiting *policy = self;
    if (check(policy, error) > 0)
        return -1;
    for (size_t i = 0; i < sizeof(identifiers) / sizeof(identifiers[0]); i++) {
        weir_str name = {identifiers[i].name, strlen(identifiers[i].name)};
        if (equal(policy->limit_by, name))
            policy->identifier = identifiers[i].identifier;
    }
    if (policy->header_name.data != NULL)
        policy->header = weir_header_intern(policy->header_name);
    policy->limit_id = weir_header_intern(WEIR_LIT("RateLimit-Limit"));
    policy->remaining_id = weir_header_intern(WEIR_LIT("RateLimit-Remaining"));
    policy->reset_id = weir_header_intern(WEIR_LIT("RateLimit-Reset"));
    policy->retry_after_id = weir_header_intern(WEIR_LIT("Retry-After"));
    bool ok = prepare_prefix(policy);
    for (uint8_t i = 0; ok && i < PERIODS; i++) {
        if (!isnan(policy->limits[i]))
            ok = prepare_window(policy, i);
    }
    policy->counters = ok ? weir_dict_open(error, self, WEIR_LIT("counters"), COUNTERS_LAYOUT,
                                           COUNTERS, sizeof(int64_t))
                          : NULL;
    return policy->counters == NULL || policy->identifier == NULL ? -1 : 0;
}

WEIR_PLUGIN("rate-limiting", "1.0.0", WEIR_CAP_SHARED_MEMORY, .priority = 910,
            WEIR_SELF(rate_limiting), WEIR_CONTEXT(per_request), WEIR_FIELDS(fields),
            .configure = configure, .access = on_access, .response_headers = on_response_headers);
