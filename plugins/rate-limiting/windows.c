/* The calendar, and the keys of counters. */
#include "policy.h"

const struct period periods[PERIODS] = {
    [SECOND] = {"second", "Second", 1, 1},
    [MINUTE] = {"minute", "Minute", 60, 60},
    [HOUR] = {"hour", "Hour", 3600, 3600},
    [DAY] = {"day", "Day", 86400, 86400},
    [MONTH] = {"month", "Month", 2592000, 31 * 86400},
    [YEAR] = {"year", "Year", 31536000, 366 * 86400},
};

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

int64_t window_start_s(unsigned period, int64_t now_s)
{
    if (period == MONTH || period == YEAR)
        return first_day(now_s / 86400, period == YEAR) * 86400;
    return now_s - now_s % periods[period].length_s;
}

size_t put_number(char *at, int64_t value)
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

size_t put_text(char *at, const char *text)
{
    size_t size = strlen(text);
    memcpy(at, text, size);
    return size;
}

/* The end of a calendar month or year is not needed exactly: after a day it is looked at again. */
void window_enter(struct window *window, int64_t now_s)
{
    if (now_s >= window->start_s && now_s < window->end_s)
        return;
    bool calendar = window->period == MONTH || window->period == YEAR;
    window->start_s = window_start_s(window->period, now_s);
    window->end_s = calendar ? now_s - now_s % 86400 + 86400
                             : window->start_s + periods[window->period].length_s;
    size_t size = 0;
    window->tail[size++] = ':';
    size += put_number(window->tail + size, window->start_s * 1000);
    window->tail[size++] = ':';
    window->tail_size = size + put_text(window->tail + size, periods[window->period].name);
}

bool keys_begin(struct keys *keys, weir_request *request, const rate_limiting *policy, size_t count)
{
    weir_str identifier = identify(request, policy);
    keys->head = policy->key_prefix.size + identifier.size;
    keys->room = keys->head + TAIL_SIZE;
    keys->count = 0;
    keys->text = keys->room * count <= sizeof(keys->space)
                     ? keys->space
                     : weir_request_alloc(request, keys->room * count);
    if (keys->text == NULL)
        return false;
    memcpy(keys->text, policy->key_prefix.data, policy->key_prefix.size);
    if (identifier.size > 0)
        memcpy(keys->text + policy->key_prefix.size, identifier.data, identifier.size);
    return true;
}

weir_str keys_next(struct keys *keys, const char *tail, size_t size)
{
    char *key = keys->text + keys->count * keys->room;
    if (keys->count++ > 0)
        memcpy(key, keys->text, keys->head);
    memcpy(key + keys->head, tail, size);
    return (weir_str){key, keys->head + size};
}
