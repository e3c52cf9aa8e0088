/* `retry_on`: causes have the names that Envoy and HAProxy have for them, as the YAML spells; a
 * status is its number, as with nginx and HAProxy. */
#include "config/retries.h"

/* In the order of enum retry_on, then statuses: what is retried is a server's fault, or said to be
 * over soon. 501 and 505 are never over; other 4xx are the client's. */
const char *const retry_on_names[] = {
    "connect_failure",
    "reset",
    "timeout",
    "bad_response",
    "5xx",
    "gateway_error",
    "408",
    "425",
    "429",
    "500",
    "502",
    "503",
    "504",
    NULL,
};

static const struct {
    uint16_t low, high; /* 0: no status */
} statuses[COUNT_OF(retry_on_names) - 1] = {
    {0, 0},     {0, 0},     {0, 0},     {0, 0},     {500, 599}, {502, 504}, {408, 408},
    {425, 425}, {429, 429}, {500, 500}, {502, 502}, {503, 503}, {504, 504},
};

uint32_t retry_on_of(const struct span_list *names)
{
    uint32_t set = 0;
    if (names->items == NULL)
        return RETRY_ON_DEFAULT;
    for (size_t i = 0; i < names->count; i++)
        for (size_t k = 0; k < COUNT_OF(statuses); k++)
            if (span_equal(names->items[i], span_text(retry_on_names[k])))
                set |= 1u << k;
    return set;
}

bool service_retries_status(const struct service *service, unsigned status)
{
    for (size_t k = 0; k < COUNT_OF(statuses); k++)
        if ((service->retry_on & 1u << k) != 0 && status >= statuses[k].low &&
            status <= statuses[k].high)
            return true;
    return false;
}
