/* What the files of rate-limiting share: rate-limiting.c (fields, hooks), configure.c (checks and
 * what is made ready), identify.c, windows.c (time and keys), local.c (counting in shared memory),
 * remote.c (counting in Redis), sync.c (in shared memory, exchanged with Redis now and then),
 * headers.c. */
#ifndef RATE_LIMITING_POLICY_H
#define RATE_LIMITING_POLICY_H

#include <string.h>

#include <weir/redis.h>
#include <weir/weir.h>

enum { SECOND, MINUTE, HOUR, DAY, MONTH, YEAR, PERIODS };

struct period {
    const char *name, *title;
    int64_t length_s; /* what Reset counts down from */
    int64_t kept_s;   /* no window of the period is longer */
};
extern const struct period periods[PERIODS];

enum {
    COUNTERS = 100000, /* of all policies together, by algorithm */
    STEP_COUNTERS = 400000,
    COUNTERS_LAYOUT = 1,
    TAKES_MAX = 16, /* counters that one step over all workers may take of */
    NUMBER_SIZE = 32,
    TAIL_SIZE = 48, /* what a key has behind the identifier */
};

#define REMOTE_STEPS 60 /* of a sliding window in Redis */

enum algorithm { FIXED_WINDOW, SLIDING_WINDOW, TOKEN_BUCKET };
enum fallback { FALLBACK_NONE, FALLBACK_LOCAL };

struct redis {
    weir_str host, username, password, server_name;
    int64_t port, timeout, database;
    bool ssl, ssl_verify;
};

struct window { /* one configured period */
    uint8_t period;
    bool whole;   /* the limit has no fraction */
    int64_t most; /* requests that fit; of a token bucket what it holds */
    double limit, capacity;
    weir_str limit_text;
    weir_header_id limit_id, remaining_id;
    weir_str remote_args[2]; /* of its script */

    /* Fixed: the window of now, as this worker last saw it. */
    int64_t start_s, end_s;
    char tail[TAIL_SIZE];
    size_t tail_size;
    /* Sliding. */
    int64_t step_ms, steps;
    /* Token bucket: nanoseconds for one token, for all, and of one life of an entry. */
    int64_t token_ns, full_ns, epoch_ms;
};

typedef weir_str find_identifier(weir_request *request, const void *self);

struct sync; /* sync.c */

typedef struct {
    double limits[PERIODS];
    weir_str limit_by, header_name, path, policy, error_message;
    weir_str algorithm_name, fallback_name, policy_header;
    bool fault_tolerant, hide_client_headers;
    int64_t error_code;
    double sync_rate, burst;
    struct redis redis;

    enum algorithm algorithm;
    enum fallback fallback;
    bool is_remote, is_synced;
    weir_dict *counters;
    struct window windows[PERIODS];
    size_t window_count;
    weir_str key_prefix; /* "ratelimit:ROUTE:SERVICE:" */
    weir_str policy_text;
    find_identifier *identifier;
    weir_header_id header, limit_id, remaining_id, reset_id, retry_after_id, policy_id;

    weir_redis *client; /* this worker's */
    bool errs;          /* the last answer of Redis was an error, and that was told */
    weir_dict *known;   /* what is known of the counts of other gateways */
    struct sync *sync;
} rate_limiting;

typedef struct {
    bool counted, refused;
    bool asked, failed; /* of Redis; no (whole) answer came */
    uint8_t tightest;   /* index of the window that the general headers describe */
    int64_t reset_s;
    /* By window; `wait_ms` says when something comes back, of fixed windows it is not used. */
    int64_t used[PERIODS], wait_ms[PERIODS];
} per_request;

static inline bool equal(weir_str a, weir_str b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* windows.c */
/* Keys of one request: the prefix and the identifier, each time with another tail. */
struct keys {
    char *text;
    size_t head, room, count;
    char space[4096];
};
bool keys_begin(struct keys *keys, weir_request *request, const rate_limiting *policy,
                size_t count);
/* The next key; `tail` has at most TAIL_SIZE bytes. */
weir_str keys_next(struct keys *keys, const char *tail, size_t size);
size_t put_number(char *at, int64_t value);
size_t put_text(char *at, const char *text);
int64_t window_start_s(unsigned period, int64_t now_s);
/* The fixed window of now: start, end and the tail of its key. */
void window_enter(struct window *window, int64_t now_s);

/* local.c: WEIR_SUCCESS, WEIR_FULL (refused), or why it could not be counted; `mine` is filled in
 * the first two cases. */
weir_status local_take(weir_request *request, rate_limiting *policy, per_request *mine);
/* The same for fixed windows, of which `taken` each are used elsewhere. NULL: none are. */
weir_status local_take_fixed(weir_request *request, rate_limiting *policy, per_request *mine,
                             struct keys *keys, const int64_t *taken);

/* remote.c */
int remote_start(rate_limiting *policy);
void remote_stop(rate_limiting *policy);
/* WEIR_SUCCESS: parked, `on_wake` goes on; whatever else: Redis cannot be asked. */
weir_status remote_take(weir_request *request, rate_limiting *policy, per_request *mine,
                        weir_wake_hook *on_wake);
/* An answer that is no error; errors are told, once. */
bool remote_is_answer(rate_limiting *policy, const weir_redis_reply *reply, size_t values);
enum { SCRIPT_SYNC = 3, SCRIPT_READ = 4 };

/* sync.c */
int sync_start(rate_limiting *policy);
void sync_stop(rate_limiting *policy);
/* WEIR_SUCCESS and WEIR_FULL: counted. WEIR_PHASE: parked, `on_wake` calls again. Else it cannot be
 * counted. */
weir_status sync_take(weir_request *request, rate_limiting *policy, per_request *mine,
                      weir_wake_hook *on_wake);

/* headers.c */
weir_verdict add_headers(weir_request *request, void *self, void *context);
weir_str print_number(char out[NUMBER_SIZE], double value);
/* Which window the general headers describe, and Reset. */
void choose_tightest(per_request *mine, const rate_limiting *policy);

/* configure.c */
int configure(void *self, weir_error *error);

/* identify.c */
weir_str identify(weir_request *request, const rate_limiting *policy);
find_identifier *identifier_named(weir_str name);
extern const char *const limit_by_names[];

#endif
