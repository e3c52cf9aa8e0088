/* Counting in shared memory, over all workers of this gateway.
 *
 * Fixed windows: one counter for each, all taken in one step.
 *
 * Sliding windows of length L are cut into steps of L/n. A request counts in all n+1 windows of
 * length L + L/n that contain it and begin at a step, in one step over all workers: none of them
 * may pass the limit. Whatever interval of length L is looked at lies within one of them, so it
 * holds no more than the limit. The price is that a request leaves up to one step late.
 *
 * Token bucket: one number, the moment at which the bucket will be full again, moved on by
 * compare-and-swap. Entries cannot be made to live longer, so each lives for one epoch and hands
 * its number on to the next; a negative number says that this has happened. */
#include "policy.h"

enum { SWAPS_MAX = 1000 };

/* ---- fixed windows */

weir_status local_take_fixed(weir_request *request, rate_limiting *policy, per_request *mine,
                             struct keys *keys, const int64_t *taken)
{
    weir_take takes[PERIODS];
    int64_t now_s = weir_now_ms() / 1000;
    if (!keys_begin(keys, request, policy, policy->window_count))
        return WEIR_NO_MEMORY;
    for (size_t i = 0; i < policy->window_count; i++) {
        struct window *window = &policy->windows[i];
        window_enter(window, now_s);
        takes[i] = (weir_take){
            .key = keys_next(keys, window->tail, window->tail_size),
            .limit = window->most - (taken == NULL ? 0 : taken[i]),
            /* A second longer: the wall clock may be set back a little. */
            .ttl_ms = (periods[window->period].kept_s - (now_s - window->start_s) + 1) * 1000,
        };
    }
    weir_status status = weir_dict_take(policy->counters, takes, policy->window_count);
    for (size_t i = 0; i < policy->window_count; i++)
        mine->used[i] = takes[i].value + (taken == NULL ? 0 : taken[i]);
    return status;
}

/* ---- sliding windows */

static void add_steps(struct keys *keys, const struct window *window, int64_t now_ms,
                      weir_take *takes)
{
    char tail[TAIL_SIZE];
    int64_t last = now_ms / window->step_ms;
    for (int64_t i = 0; i <= window->steps; i++) {
        int64_t first = last - window->steps + i;
        size_t size = put_text(tail, ":sliding:");
        size += put_text(tail + size, periods[window->period].name);
        tail[size++] = ':';
        size += put_number(tail + size, first * window->step_ms);
        int64_t end_ms = (first + window->steps + 1) * window->step_ms;
        takes[i] = (weir_take){.key = keys_next(keys, tail, size),
                               .limit = window->most,
                               .ttl_ms = end_ms - now_ms + 1000};
    }
}

/* The oldest window has the most. Something comes back when the last of those that have as many
 * ends. */
static int64_t find_wait(const struct window *window, int64_t now_ms, const weir_take *takes)
{
    int64_t same = 0;
    while (same < window->steps && takes[same + 1].value == takes[0].value)
        same++;
    return (now_ms / window->step_ms + same + 1) * window->step_ms - now_ms;
}

static weir_status take_sliding(weir_request *request, rate_limiting *policy, per_request *mine)
{
    struct keys keys;
    weir_take takes[TAKES_MAX];
    int64_t now_ms = weir_now_ms();
    size_t count = 0;
    if (!keys_begin(&keys, request, policy, TAKES_MAX))
        return WEIR_NO_MEMORY;
    for (size_t i = 0; i < policy->window_count; i++) {
        add_steps(&keys, &policy->windows[i], now_ms, &takes[count]);
        count += (size_t)policy->windows[i].steps + 1;
    }
    weir_status status = weir_dict_take(policy->counters, takes, count);
    count = 0;
    for (size_t i = 0; i < policy->window_count; i++) {
        mine->used[i] = takes[count].value;
        mine->wait_ms[i] = find_wait(&policy->windows[i], now_ms, &takes[count]);
        count += (size_t)policy->windows[i].steps + 1;
    }
    return status;
}

/* ---- token bucket */

struct bucket {
    weir_dict *dict;
    const struct window *window;
    weir_str before, key; /* of the epoch before and of this one */
    int64_t now_ns, ttl_ms;
    bool took;
};

/* What the epoch before left; it changes no more after this. */
static weir_status hand_on(const struct bucket *bucket, int64_t *out_full_at)
{
    for (int tries = 0; tries < SWAPS_MAX; tries++) {
        int64_t value = 0;
        weir_status status = weir_dict_get(bucket->dict, bucket->before, &value, sizeof(value));
        if (status == WEIR_NOT_FOUND) {
            /* If another one makes it now, it is a nanosecond less and looked at again. */
            status = weir_dict_add(bucket->dict, bucket->before, -1, bucket->ttl_ms, &value);
        }
        if (status != WEIR_SUCCESS)
            return status;
        if (value < 0) {
            *out_full_at = -value;
            return WEIR_SUCCESS;
        }
        status = weir_dict_swap(bucket->dict, bucket->before, value, value == 0 ? -1 : -value);
        if (status == WEIR_SUCCESS) {
            *out_full_at = value;
            return WEIR_SUCCESS;
        }
    }
    return WEIR_FULL;
}

/* One token, or WEIR_FULL without; WEIR_GONE: this epoch is over. *out_full_at is when the bucket
 * is full again, afterwards. */
static weir_status take_token(const struct bucket *bucket, int64_t *out_full_at)
{
    const struct window *window = bucket->window;
    for (int tries = 0; tries < SWAPS_MAX; tries++) {
        int64_t value = 0, full_at;
        weir_status status = weir_dict_get(bucket->dict, bucket->key, &value, sizeof(value));
        if (status == WEIR_NOT_FOUND)
            status = weir_dict_add(bucket->dict, bucket->key, 0, bucket->ttl_ms, &value);
        full_at = value;
        if (status == WEIR_SUCCESS && value == 0)
            status = hand_on(bucket, &full_at);
        if (status != WEIR_SUCCESS)
            return status == WEIR_FULL ? WEIR_NO_MEMORY : status;
        if (value < 0)
            return WEIR_GONE;
        *out_full_at = full_at;
        int64_t next = (full_at > bucket->now_ns ? full_at : bucket->now_ns) + window->token_ns;
        if (next - bucket->now_ns > window->full_ns)
            return WEIR_FULL;
        if (weir_dict_swap(bucket->dict, bucket->key, value, next) == WEIR_SUCCESS) {
            *out_full_at = next;
            return WEIR_SUCCESS;
        }
    }
    return WEIR_NO_MEMORY; /* so many others: it could not be counted */
}

static weir_str bucket_key(struct keys *keys, const struct window *window, int64_t epoch)
{
    char tail[TAIL_SIZE];
    size_t size = put_text(tail, ":bucket:");
    size += put_text(tail + size, periods[window->period].name);
    tail[size++] = ':';
    size += put_number(tail + size, epoch);
    return keys_next(keys, tail, size);
}

static void tell_tokens(const struct window *window, int64_t now_ns, int64_t full_at,
                        int64_t *out_used, int64_t *out_wait_ms)
{
    int64_t missing_ns = full_at > now_ns ? full_at - now_ns : 0;
    int64_t left = (window->full_ns - missing_ns) / window->token_ns;
    left = left < 0 ? 0 : left; /* a bucket that has become smaller */
    *out_used = window->most - left;
    *out_wait_ms =
        (missing_ns - window->full_ns + (left + 1) * window->token_ns + 999999) / 1000000;
}

static weir_status take_of_bucket(struct bucket *bucket, struct keys *keys, int64_t *out_full_at)
{
    const struct window *window = bucket->window;
    int64_t epoch = bucket->now_ns / 1000000 / window->epoch_ms;
    bucket->ttl_ms = 2 * window->epoch_ms + 1000;
    bucket->before = bucket_key(keys, window, epoch - 1);
    bucket->key = bucket_key(keys, window, epoch);
    weir_status status = take_token(bucket, out_full_at);
    if (status != WEIR_GONE)
        return status;
    /* Another worker's clock is in the next one already. */
    bucket->before = bucket->key;
    bucket->key = bucket_key(keys, window, epoch + 1);
    return take_token(bucket, out_full_at);
}

/* One is empty: the others get their token back. */
static void give_back(const struct bucket *buckets, size_t count, per_request *mine)
{
    for (size_t i = 0; i < count; i++) {
        if (!buckets[i].took)
            continue;
        (void)weir_dict_add(buckets[i].dict, buckets[i].key, -buckets[i].window->token_ns,
                            buckets[i].ttl_ms, NULL);
        mine->used[i]--;
    }
}

static weir_status take_tokens(weir_request *request, rate_limiting *policy, per_request *mine)
{
    struct keys keys;
    struct bucket buckets[PERIODS];
    weir_status status = WEIR_SUCCESS;
    if (!keys_begin(&keys, request, policy, 3 * policy->window_count))
        return WEIR_NO_MEMORY;
    int64_t now_ns = weir_now_ms() * 1000000;
    for (size_t i = 0; i < policy->window_count; i++) {
        int64_t full_at = 0;
        buckets[i] = (struct bucket){
            .dict = policy->counters, .window = &policy->windows[i], .now_ns = now_ns};
        weir_status one = take_of_bucket(&buckets[i], &keys, &full_at);
        buckets[i].took = one == WEIR_SUCCESS;
        tell_tokens(&policy->windows[i], now_ns, full_at, &mine->used[i], &mine->wait_ms[i]);
        if (one != WEIR_SUCCESS && (status == WEIR_SUCCESS || status == WEIR_FULL))
            status = one;
    }
    if (status != WEIR_SUCCESS)
        give_back(buckets, policy->window_count, mine);
    return status;
}

weir_status local_take(weir_request *request, rate_limiting *policy, per_request *mine)
{
    struct keys keys;
    switch (policy->algorithm) {
    case FIXED_WINDOW:
        return local_take_fixed(request, policy, mine, &keys, NULL);
    case SLIDING_WINDOW:
        return take_sliding(request, policy, mine);
    case TOKEN_BUCKET:
        return take_tokens(request, policy, mine);
    }
    return WEIR_INVALID;
}
