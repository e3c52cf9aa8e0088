/* What the client is told. The values that do not change are made ready by configure.c. */
#include <math.h>
#include <stdio.h>

#include "policy.h"

static double remaining(const struct window *window, int64_t used)
{
    double left = window->capacity - (double)used;
    return left > 0 ? left : 0;
}

static int64_t find_reset_s(const per_request *mine, const rate_limiting *policy)
{
    const struct window *window = &policy->windows[mine->tightest];
    if (policy->algorithm == FIXED_WINDOW) {
        int64_t now_s = weir_now_ms() / 1000;
        return periods[window->period].length_s - (now_s - window_start_s(window->period, now_s));
    }
    int64_t wait_ms = mine->wait_ms[mine->tightest];
    /* All of the empty ones must have something again. */
    for (size_t i = 0; mine->refused && i < policy->window_count; i++)
        if (remaining(&policy->windows[i], mine->used[i]) < 1 && mine->wait_ms[i] > wait_ms)
            wait_ms = mine->wait_ms[i];
    return (wait_ms + 999) / 1000;
}

/* The window with the fewest left; of equals the longer, which is the later one. */
void choose_tightest(per_request *mine, const rate_limiting *policy)
{
    mine->tightest = 0;
    for (uint8_t i = 1; i < policy->window_count; i++) {
        if (remaining(&policy->windows[i], mine->used[i]) <=
            remaining(&policy->windows[mine->tightest], mine->used[mine->tightest]))
            mine->tightest = i;
    }
    int64_t reset_s = find_reset_s(mine, policy);
    mine->reset_s = reset_s > 1 ? reset_s : 1;
}

weir_str print_number(char out[NUMBER_SIZE], double value)
{
    size_t size;
    if (value == floor(value) && value < 1e15)
        size = put_number(out, (int64_t)value);
    else
        size = (size_t)snprintf(out, NUMBER_SIZE, "%.14g", value);
    return (weir_str){out, size};
}

static weir_str print_remaining(char out[NUMBER_SIZE], const struct window *window, int64_t used)
{
    if (!window->whole)
        return print_number(out, remaining(window, used));
    int64_t left = window->most - used;
    return (weir_str){out, put_number(out, left > 0 ? left : 0)};
}

/* Added, not set: a service may have limits and headers of its own. */
weir_verdict add_headers(weir_request *request, void *self, void *context)
{
    const rate_limiting *policy = self;
    const per_request *mine = context;
    char text[NUMBER_SIZE];
    weir_str left = {NULL, 0};
    weir_status failed = WEIR_SUCCESS;
    if (!mine->counted || policy->hide_client_headers)
        return WEIR_NEXT;
    for (size_t i = 0; i < policy->window_count; i++) {
        const struct window *window = &policy->windows[i];
        left = print_remaining(text, window, mine->used[i]);
        failed |=
            weir_header_add(request, WEIR_SIDE_RESPONSE, window->limit_id, window->limit_text);
        failed |= weir_header_add(request, WEIR_SIDE_RESPONSE, window->remaining_id, left);
    }
    const struct window *tightest = &policy->windows[mine->tightest];
    if (policy->window_count > 1)
        left = print_remaining(text, tightest, mine->used[mine->tightest]);
    failed |= weir_header_add(request, WEIR_SIDE_RESPONSE, policy->limit_id, tightest->limit_text);
    failed |= weir_header_add(request, WEIR_SIDE_RESPONSE, policy->remaining_id, left);
    weir_str reset = {text, put_number(text, mine->reset_s)};
    failed |= weir_header_add(request, WEIR_SIDE_RESPONSE, policy->reset_id, reset);
    if (policy->policy_text.size > 0)
        failed |=
            weir_header_add(request, WEIR_SIDE_RESPONSE, policy->policy_id, policy->policy_text);
    if (mine->refused)
        failed |= weir_header_add(request, WEIR_SIDE_RESPONSE, policy->retry_after_id, reset);
    return failed != WEIR_SUCCESS ? WEIR_FAIL : WEIR_NEXT;
}
