/* park() and wake() as plugins see them. */
#include "plugin_host/calls.h"
#include "plugin_host/parks.h"
#include "plugin_host/phases.h"
#include "plugin_host/table.h"

weir_token call_park(weir_request *request, uint32_t deadline_ms, weir_wake_hook *on_wake)
{
    const struct walk *walk = request_running(request);
    if (walk == NULL || walk->park != NULL || on_wake == NULL || walk->phase == PHASE_LOG)
        return 0;
    /* A copy for reading never delays the original. */
    if (phase_is_body(walk->phase) && body_need(walk) == WEIR_BODY_TEE)
        return 0;
    struct park *park = parks_take(host_parks(request->host), request, phase_direction(walk->phase),
                                   deadline_ms, on_wake);
    return park == NULL ? 0 : park_token(park);
}

weir_status call_wake(const weir_host *host, weir_token token)
{
    return parks_wake(host_parks(host_of_table(host)), token);
}
