/* Wants to say what the status is before there is a response. */
#include <weir/weir.h>

static weir_verdict on_access(weir_request *request, void *self, void *context)
{
    (void)self, (void)context;
    (void)weir_status_set(request, 203);
    return WEIR_NEXT;
}

WEIR_PLUGIN("wrong_phase", "1.0.0", 0, .priority = 100, .access = on_access);
