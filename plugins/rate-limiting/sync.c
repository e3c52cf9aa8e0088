/* policy redis with a sync_rate: requests are counted in shared memory, exactly over the workers of
 * this gateway, and what others have counted is learnt at each exchange. Of every key this gateway
 * keeps two numbers beside its counter: what it has told Redis, and what Redis holds from others
 * (the total minus that). A worker collects what it has let pass and tells it every sync_rate
 * seconds. The first request for a key asks Redis first, as Kong does. */
#include <stdlib.h>

#include "policy.h"

enum { SLOTS = 1024, CHANGES_MAX = 65536 };

/* What one key has gained since it was told last. */
struct change {
    struct change *next;
    struct change **place; /* in flight: what points to it */
    int64_t delta, end_s;
    size_t size;
    char key[];
};

struct sync {
    struct change *slots[SLOTS]; /* to be told */
    struct change *told;         /* in flight, linked so that stop() finds them */
    size_t count;
    weir_timer *timer;
};

/* ---- numbers beside the counters */

/* Of a key that is too long the beginning stands for all. */
static weir_str named(char *space, size_t room, weir_str key, char what)
{
    if (key.size + 2 > room)
        key.size = room - 2;
    memcpy(space, key.data, key.size);
    space[key.size] = '/';
    space[key.size + 1] = what;
    return (weir_str){space, key.size + 2};
}

static bool get_others(const rate_limiting *policy, weir_str key, int64_t *out_value)
{
    char space[1024];
    return weir_dict_get(policy->known, named(space, sizeof(space), key, 'o'), out_value,
                         sizeof(*out_value)) == WEIR_SUCCESS;
}

/* Redis says `total`, of which this gateway told `delta` just now. */
static void learn(const rate_limiting *policy, weir_str key, int64_t total, int64_t delta,
                  int64_t end_s)
{
    char space[1024];
    int64_t ttl_ms = end_s * 1000 - weir_now_ms() + 1000, told = 0;
    if (ttl_ms <= 0)
        return;
    if (weir_dict_add(policy->known, named(space, sizeof(space), key, 't'), delta, ttl_ms, &told) !=
        WEIR_SUCCESS)
        return;
    int64_t others = total > told ? total - told : 0;
    (void)weir_dict_set(policy->known, named(space, sizeof(space), key, 'o'), &others,
                        sizeof(others), ttl_ms);
}

/* ---- telling */

static size_t slot_of(weir_str key)
{
    uint32_t hash = 2166136261U;
    for (size_t i = 0; i < key.size; i++)
        hash = (hash ^ (unsigned char)key.data[i]) * 16777619U;
    return hash % SLOTS;
}

static void collect(rate_limiting *policy, weir_str key, int64_t end_s)
{
    struct sync *sync = policy->sync;
    struct change **slot = &sync->slots[slot_of(key)];
    for (struct change *change = *slot; change != NULL; change = change->next) {
        if (change->size == key.size && memcmp(change->key, key.data, key.size) == 0) {
            change->delta++;
            return;
        }
    }
    struct change *change = sync->count >= CHANGES_MAX ? NULL : malloc(sizeof(*change) + key.size);
    if (change == NULL) /* others do not learn of this one; here it is counted */
        return;
    *change = (struct change){.next = *slot, .delta = 1, .end_s = end_s, .size = key.size};
    memcpy(change->key, key.data, key.size);
    *slot = change;
    sync->count++;
}

static void on_told(void *self, void *user, weir_token token, const weir_redis_reply *reply,
                    weir_str why)
{
    rate_limiting *policy = self;
    struct change *change = user;
    (void)token;
    (void)why;
    *change->place = change->next;
    if (change->next != NULL)
        change->next->place = change->place;
    /* Without an answer nobody knows whether it was counted; once too few is better than twice. */
    if (remote_is_answer(policy, reply, 1))
        learn(policy, (weir_str){change->key, change->size},
              weir_redis_integer(weir_redis_item(reply, 0)), change->delta, change->end_s);
    free(change);
}

static weir_status tell(rate_limiting *policy, struct change *change)
{
    char delta[24], end[24];
    weir_str words[] = {{change->key, change->size},
                        {delta, put_number(delta, change->delta)},
                        {end, put_number(end, change->end_s)}};
    return weir_redis_call(policy->client, SCRIPT_SYNC, words, 3, 1, on_told, change, 0);
}

/* What cannot be sent now stays for the next time, until its window has ended. */
static void tell_slot(rate_limiting *policy, struct change **at)
{
    struct sync *sync = policy->sync;
    while (*at != NULL) {
        struct change *change = *at;
        bool over = change->end_s * 1000 <= weir_now_ms();
        if (!over && tell(policy, change) != WEIR_SUCCESS) {
            at = &change->next;
            continue;
        }
        *at = change->next;
        sync->count--;
        if (over) {
            free(change);
        } else {
            change->next = sync->told;
            change->place = &sync->told;
            if (sync->told != NULL)
                sync->told->place = &change->next;
            sync->told = change;
        }
    }
}

static void on_timer(void *self, void *user)
{
    rate_limiting *policy = self;
    (void)user;
    for (size_t i = 0; i < SLOTS && policy->sync->count > 0; i++)
        tell_slot(policy, &policy->sync->slots[i]);
}

/* ---- asking */

static void on_read(void *self, void *user, weir_token token, const weir_redis_reply *reply,
                    weir_str why)
{
    rate_limiting *policy = self;
    per_request *mine = user;
    (void)why;
    bool whole = remote_is_answer(policy, reply, policy->window_count);
    if (weir_wake(token) != WEIR_SUCCESS)
        return;
    mine->failed = !whole;
    for (size_t i = 0; whole && i < policy->window_count; i++)
        mine->used[i] = weir_redis_integer(weir_redis_item(reply, i));
}

static weir_status ask(weir_request *request, rate_limiting *policy, per_request *mine,
                       const weir_str *keys, weir_wake_hook *on_wake)
{
    mine->asked = mine->failed = true; /* until an answer says otherwise */
    weir_token token = weir_park(request, (uint32_t)policy->redis.timeout, on_wake);
    if (token == 0)
        return WEIR_NO_MEMORY;
    weir_status status = weir_redis_call(policy->client, SCRIPT_READ, keys, policy->window_count,
                                         policy->window_count, on_read, mine, token);
    return status == WEIR_SUCCESS ? WEIR_PHASE : WEIR_GONE;
}

weir_status sync_take(weir_request *request, rate_limiting *policy, per_request *mine,
                      weir_wake_hook *on_wake)
{
    struct keys keys;
    weir_str names[PERIODS];
    int64_t others[PERIODS] = {0}, now_s = weir_now_ms() / 1000;
    bool known = true;
    if (mine->asked && mine->failed)
        return WEIR_GONE;
    if (!keys_begin(&keys, request, policy, policy->window_count))
        return WEIR_NO_MEMORY;
    for (size_t i = 0; i < policy->window_count; i++) {
        struct window *window = &policy->windows[i];
        window_enter(window, now_s);
        names[i] = keys_next(&keys, window->tail, window->tail_size);
        if (mine->asked)
            learn(policy, names[i], mine->used[i], 0,
                  window->start_s + periods[window->period].kept_s);
        known = get_others(policy, names[i], &others[i]) && known;
    }
    if (!known && !mine->asked)
        return ask(request, policy, mine, names, on_wake);
    weir_status status = local_take_fixed(request, policy, mine, &keys, others);
    for (size_t i = 0; status == WEIR_SUCCESS && i < policy->window_count; i++)
        collect(policy, names[i],
                policy->windows[i].start_s + periods[policy->windows[i].period].kept_s);
    return status;
}

/* ---- start, stop */

int sync_start(rate_limiting *policy)
{
    policy->sync = calloc(1, sizeof(*policy->sync));
    if (policy->sync == NULL)
        return -1;
    uint32_t ms = policy->sync_rate < 1000000 ? (uint32_t)(policy->sync_rate * 1000) : 1000000000U;
    policy->sync->timer = weir_timer_start(policy, ms, ms, on_timer, NULL);
    return policy->sync->timer == NULL ? -1 : 0;
}

static void free_all(struct change *change)
{
    while (change != NULL) {
        struct change *next = change->next;
        free(change);
        change = next;
    }
}

void sync_stop(rate_limiting *policy)
{
    struct sync *sync = policy->sync;
    if (sync == NULL)
        return;
    weir_timer_stop(sync->timer);
    for (size_t i = 0; i < SLOTS; i++)
        free_all(sync->slots[i]);
    free_all(sync->told);
    free(sync);
    policy->sync = NULL;
}
