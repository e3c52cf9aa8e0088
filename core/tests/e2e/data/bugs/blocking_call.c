/* Sleeps a little, and with it all requests of the worker. */
#include <time.h>

#include <weir/weir.h>

static weir_verdict on_access(weir_request *request, void *self, void *context)
{
    const struct timespec moment = {.tv_nsec = 50000000};
    (void)request, (void)self, (void)context;
    (void)nanosleep(&moment, NULL);
    return WEIR_NEXT;
}

WEIR_PLUGIN("blocking_call", "1.0.0", 0, .priority = 100, .access = on_access);
