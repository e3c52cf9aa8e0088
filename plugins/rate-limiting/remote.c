/* Counting in Redis: one script decides over all windows of a request, so it counts in all of them
 * or, refused, in none, whoever else asks at that moment. Fixed windows have Kong's keys and the
 * gateway's time; the other algorithms have keys of their own and Redis' time, which is one for all
 * gateways. Every script answers {refused, used, wait_ms, used, wait_ms, ...}. */
#include <stdio.h>

#include "policy.h"

#define EFFECTS "if redis.replicate_commands then redis.replicate_commands() end\n"
#define TIME_MS                      \
    "local t = redis.call('TIME')\n" \
    "local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"

static const weir_redis_script scripts[] = {
    /* ARGV: limit and seconds to keep, of each window */
    [FIXED_WINDOW] = {"local over, out = 0, {}\n"
                      "for i, key in ipairs(KEYS) do\n"
                      "  out[i] = tonumber(redis.call('GET', key) or 0)\n"
                      "  if out[i] >= tonumber(ARGV[2 * i - 1]) then over = 1 end\n"
                      "end\n"
                      "local answer = {over}\n"
                      "for i, key in ipairs(KEYS) do\n"
                      "  if over == 0 then\n"
                      "    out[i] = redis.call('INCR', key)\n"
                      "    if out[i] == 1 then redis.call('EXPIRE', key, ARGV[2 * i]) end\n"
                      "  end\n"
                      "  answer[2 * i], answer[2 * i + 1] = out[i], 0\n"
                      "end\n"
                      "return answer\n"},
    /* ARGV: limit and milliseconds of a step, of each window; then the steps of a window */
    [SLIDING_WINDOW] =
        {EFFECTS TIME_MS
         "local steps = tonumber(ARGV[#ARGV])\n"
         "local answer = {0}\n"
         "for i, key in ipairs(KEYS) do\n"
         "  local step = tonumber(ARGV[2 * i])\n"
         "  local last, used, oldest = math.floor(now / step), 0, nil\n"
         "  local counts = redis.call('HGETALL', key)\n"
         "  for k = 1, #counts, 2 do\n"
         "    local at = tonumber(counts[k])\n"
         "    if at < last - steps then\n"
         "      redis.call('HDEL', key, counts[k])\n"
         "    else\n"
         "      used = used + tonumber(counts[k + 1])\n"
         "      if oldest == nil or at < oldest then oldest = at end\n"
         "    end\n"
         "  end\n"
         "  answer[2 * i] = used\n"
         "  answer[2 * i + 1] = ((oldest or last) + steps + 1) * step - now\n"
         "  if used >= tonumber(ARGV[2 * i - 1]) then answer[1] = 1 end\n"
         "end\n"
         "if answer[1] == 1 then return answer end\n"
         "for i, key in ipairs(KEYS) do\n"
         "  local step = tonumber(ARGV[2 * i])\n"
         "  redis.call('HINCRBY', key, string.format('%.0f', math.floor(now / step)), 1)\n"
         "  redis.call('PEXPIRE', key, (steps + 2) * step)\n"
         "  answer[2 * i] = answer[2 * i] + 1\n"
         "end\n"
         "return answer\n"},
    /* ARGV: microseconds for a token and tokens of each bucket. A key holds the moment at which its
     * bucket will be full. */
    [TOKEN_BUCKET] = {EFFECTS
                      "local t = redis.call('TIME')\n"
                      "local now = t[1] * 1000000 + t[2]\n"
                      "local answer, full_at = {0}, {}\n"
                      "for i, key in ipairs(KEYS) do\n"
                      "  local token, most = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])\n"
                      "  full_at[i] = math.max(tonumber(redis.call('GET', key) or 0), now)\n"
                      "  if full_at[i] + token - now > token * most then answer[1] = 1 end\n"
                      "end\n"
                      "for i, key in ipairs(KEYS) do\n"
                      "  local token, most = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])\n"
                      "  if answer[1] == 0 then\n"
                      "    full_at[i] = full_at[i] + token\n"
                      "    redis.call('SET', key, string.format('%.0f', full_at[i]), 'PX',\n"
                      "      string.format('%.0f', math.ceil((full_at[i] - now) / 1000) + 1))\n"
                      "  end\n"
                      "  local missing = full_at[i] - now\n"
                      "  local left = math.max(math.floor(most - missing / token), 0)\n"
                      "  answer[2 * i] = most - left\n"
                      "  answer[2 * i + 1] =\n"
                      "    math.ceil((missing - (most - left - 1) * token) / 1000)\n"
                      "end\n"
                      "return answer\n"},
    /* ARGV: how many more, and when the key ends */
    [SCRIPT_SYNC] = {"local value = redis.call('INCRBY', KEYS[1], ARGV[1])\n"
                     "if value == tonumber(ARGV[1]) then\n"
                     "  redis.call('EXPIREAT', KEYS[1], ARGV[2])\n"
                     "end\n"
                     "return {value}\n"},
    [SCRIPT_READ] = {"local answer = {}\n"
                     "for i, key in ipairs(KEYS) do\n"
                     "  answer[i] = tonumber(redis.call('GET', key) or 0)\n"
                     "end\n"
                     "return answer\n"},
};

/* ---- up, down */

static void on_changed(void *self, void *user, bool up, weir_str why)
{
    const rate_limiting *policy = self;
    const struct redis *redis = &policy->redis;
    (void)user;
    if (up) {
        weir_log(NULL, WEIR_LOG_NOTICE, "Redis at %.*s:%u answers again", (int)redis->host.size,
                 redis->host.data, (unsigned)redis->port);
        return;
    }
    const char *what = policy->fallback == FALLBACK_LOCAL ? "counted in this gateway alone"
                       : policy->fault_tolerant           ? "not counted"
                                                          : "refused";
    weir_log(NULL, WEIR_LOG_ERROR, "Redis at %.*s:%u is down (%.*s): requests are %s",
             (int)redis->host.size, redis->host.data, (unsigned)redis->port, (int)why.size,
             why.data, what);
}

bool remote_is_answer(rate_limiting *policy, const weir_redis_reply *reply, size_t values)
{
    if (weir_redis_count(reply) == values) {
        policy->errs = false;
        return true;
    }
    weir_str text = weir_redis_text(reply);
    if (reply != NULL && !policy->errs) {
        if (text.data == NULL)
            text = (weir_str)WEIR_LIT("an unexpected answer");
        weir_log(NULL, WEIR_LOG_ERROR, "Redis cannot count: %.*s",
                 (int)(text.size < 200 ? text.size : 200), text.data);
        policy->errs = true;
    }
    return false;
}

int remote_start(rate_limiting *policy)
{
    const struct redis *redis = &policy->redis;
    weir_redis_options options = {
        .size = (uint32_t)sizeof(options),
        .flags = redis->ssl ? WEIR_PEER_TLS | (redis->ssl_verify ? 0U : WEIR_PEER_NO_VERIFY) : 0U,
        .host = redis->host,
        .server_name = redis->server_name,
        .username = redis->username,
        .password = redis->password,
        .database = redis->database,
        .timeout_ms = (uint32_t)redis->timeout,
        .port = (uint16_t)redis->port,
        .changed = on_changed,
    };
    policy->client =
        weir_redis_open(policy, &options, scripts, sizeof(scripts) / sizeof(scripts[0]));
    return policy->client == NULL ? -1 : 0;
}

void remote_stop(rate_limiting *policy)
{
    weir_redis_close(policy->client);
    policy->client = NULL;
}

/* ---- one decision */

/* The context is there as long as the request waits, which is what waking it says. */
static void on_answer(void *self, void *user, weir_token token, const weir_redis_reply *reply,
                      weir_str why)
{
    rate_limiting *policy = self;
    per_request *mine = user;
    (void)why;
    bool whole = remote_is_answer(policy, reply, 1 + 2 * policy->window_count);
    if (weir_wake(token) != WEIR_SUCCESS)
        return;
    mine->failed = !whole;
    mine->refused = whole && weir_redis_integer(weir_redis_item(reply, 0)) != 0;
    for (size_t i = 0; whole && i < policy->window_count; i++) {
        mine->used[i] = weir_redis_integer(weir_redis_item(reply, 1 + 2 * i));
        mine->wait_ms[i] = weir_redis_integer(weir_redis_item(reply, 2 + 2 * i));
    }
}

static weir_str remote_key(const rate_limiting *policy, struct keys *keys, struct window *window,
                           int64_t now_s)
{
    char tail[TAIL_SIZE];
    if (policy->algorithm == FIXED_WINDOW) {
        window_enter(window, now_s);
        return keys_next(keys, window->tail, window->tail_size);
    }
    size_t size = put_text(tail, policy->algorithm == TOKEN_BUCKET ? ":bucket:" : ":sliding:");
    size += put_text(tail + size, periods[window->period].name);
    return keys_next(keys, tail, size);
}

weir_status remote_take(weir_request *request, rate_limiting *policy, per_request *mine,
                        weir_wake_hook *on_wake)
{
    struct keys keys;
    weir_str words[3 * PERIODS + 1];
    size_t count = 0;
    if (!keys_begin(&keys, request, policy, policy->window_count))
        return WEIR_NO_MEMORY;
    int64_t now_s = weir_now_ms() / 1000;
    for (size_t i = 0; i < policy->window_count; i++)
        words[count++] = remote_key(policy, &keys, &policy->windows[i], now_s);
    for (size_t i = 0; i < policy->window_count; i++) {
        words[count++] = policy->windows[i].remote_args[0];
        words[count++] = policy->windows[i].remote_args[1];
    }
    if (policy->algorithm == SLIDING_WINDOW)
        words[count++] = WEIR_LIT(WEIR_TEXT_OF(REMOTE_STEPS));
    mine->failed = true; /* until an answer says otherwise */
    weir_token token = weir_park(request, (uint32_t)policy->redis.timeout, on_wake);
    if (token == 0)
        return WEIR_NO_MEMORY;
    return weir_redis_call(policy->client, (size_t)policy->algorithm, words, count,
                           policy->window_count, on_answer, mine, token);
}
