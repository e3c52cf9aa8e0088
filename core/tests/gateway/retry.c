/* The budget of retries: how many of a window it grants. */
#include "gateway/retry.h"

#include <criterion/criterion.h>

static uint32_t take_all(struct retry_budget *budget, const struct service *service,
                         uint64_t now_ms)
{
    uint32_t count = 0;
    while (count < 1000 && retry_budget_take(budget, service, now_ms))
        count++;
    return count;
}

static const struct {
    const char *why;
    int64_t percent, min;
    uint32_t before, requests, want; /* in the window that is over, and in this one */
} rows[] = {
    {"a floor, whatever the requests", 20, 1, 0, 0, 10},
    {"and a share of them", 20, 1, 0, 100, 30},
    {"a share alone", 50, 0, 0, 9, 4},
    {"those of the last window, when there are few yet", 50, 0, 20, 1, 10},
    {"not both together", 50, 0, 20, 20, 10},
    {"as many as there are requests", 100, 0, 0, 7, 7},
    {"more than that", 300, 0, 0, 7, 21},
    {"none", 0, 0, 1000, 1000, 0},
};

Test(retry, a_window_has_a_budget)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct service service = {.retry_budget_percent = rows[i].percent,
                                  .retry_budget_min = rows[i].min};
        struct retry_budget budget = {.begun_ms = 1000, .requests = rows[i].before};
        (void)!retry_budget_take(&budget, &(struct service){0}, 1000 + RETRY_WINDOW_MS);
        budget.requests = rows[i].requests;
        uint32_t got = take_all(&budget, &service, 1001 + RETRY_WINDOW_MS);
        cr_expect_eq(got, rows[i].want, "%s: %u", rows[i].why, got);
        cr_expect_eq(take_all(&budget, &service, 999 + 2 * RETRY_WINDOW_MS), 0, "%s", rows[i].why);
    }
}

Test(retry, a_long_silence_is_not_a_window)
{
    struct service service = {.retry_budget_percent = 100};
    struct retry_budget budget = {.requests = 1000};
    cr_expect_eq(take_all(&budget, &service, 100 * RETRY_WINDOW_MS), 10, "1000 of 100 windows");
}
