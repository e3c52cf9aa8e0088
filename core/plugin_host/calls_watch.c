/* Timers and watched descriptors of policies. Each is linked to its policy, whose end is its own
 * end. One that is stopped by its own hook is freed when the hook has returned. */
#include <stdlib.h>

#include "plugin_host/calls.h"
#include "plugin_host/policies.h"

struct handle {
    struct list link; /* on the policy's list; off it: ended */
    const struct built_policy *policy;
    const struct host_services *services;
    void *service; /* what the process lent: its timer or watch */
    void *self;
    void *user;
    bool is_io;
    bool running; /* inside its hook */
    bool repeats;
};

struct weir_timer {
    struct handle handle; /* first */
    weir_timer_hook *hook;
};

struct weir_io {
    struct handle handle; /* first */
    weir_io_hook *hook;
    int fd;
};

/* No call comes from the loop any more. */
static void end(struct handle *handle)
{
    if (!list_is_linked(&handle->link))
        return;
    list_remove(&handle->link);
    if (handle->service != NULL && handle->is_io)
        handle->services->io_remove(handle->services->user, handle->service);
    else if (handle->service != NULL)
        handle->services->timer_stop(handle->services->user, handle->service);
    handle->service = NULL;
    if (!handle->running)
        free(handle);
}

void policy_handles_end(struct built_policy *policy)
{
    while (!list_is_empty(&policy->handles))
        end(CONTAINER_OF(policy->handles.next, struct handle, link));
}

static void begin(struct handle *handle, const void *self, void *user)
{
    struct built_policy *policy = built_of(policy_of_self(self));
    handle->policy = policy;
    handle->services = host_services(policy->run.policies->host);
    handle->self = policy->run.policy->self;
    handle->user = user;
    list_push_back(&policy->handles, &handle->link);
}

/* ---- timers */

static void fire(void *arg)
{
    weir_timer *timer = arg;
    struct handle *handle = &timer->handle;
    handle->running = true;
    if (!handle->repeats) { /* the loop has forgotten it */
        handle->service = NULL;
        list_remove(&handle->link);
    }
    blame_policy(handle->policy, BLAME_TIMER);
    timer->hook(handle->self, handle->user);
    blame_nobody(handle->policy);
    handle->running = false;
    if (!list_is_linked(&handle->link))
        free(timer);
}

weir_timer *call_timer_start(const void *self, uint32_t delay_ms, uint32_t repeat_ms,
                             weir_timer_hook *hook, void *user)
{
    const struct host_services *services = host_services(policies_of_self(self)->host);
    if (services->timer_start == NULL || services->timer_stop == NULL || hook == NULL)
        return NULL;
    weir_timer *timer = calloc(1, sizeof(*timer));
    if (timer == NULL)
        return NULL;
    timer->hook = hook;
    timer->handle.repeats = repeat_ms > 0;
    timer->handle.service = services->timer_start(services->user, delay_ms, repeat_ms, fire, timer);
    if (timer->handle.service == NULL) {
        free(timer);
        return NULL;
    }
    begin(&timer->handle, self, user);
    return timer;
}

void call_timer_stop(weir_timer *timer)
{
    if (timer != NULL)
        end(&timer->handle);
}

/* ---- descriptors */

static void ready(void *arg, uint32_t events)
{
    weir_io *io = arg;
    io->handle.running = true;
    blame_policy(io->handle.policy, BLAME_DESCRIPTOR);
    io->hook(io->handle.self, io->handle.user, io->fd, events);
    blame_nobody(io->handle.policy);
    io->handle.running = false;
    if (!list_is_linked(&io->handle.link))
        free(io);
}

weir_io *call_io_add(const void *self, int fd, uint32_t events, weir_io_hook *hook, void *user)
{
    const struct host_services *services = host_services(policies_of_self(self)->host);
    if (services->io_add == NULL || services->io_remove == NULL || hook == NULL || fd < 0)
        return NULL;
    weir_io *io = calloc(1, sizeof(*io));
    if (io == NULL)
        return NULL;
    io->hook = hook;
    io->fd = fd;
    io->handle.is_io = true;
    io->handle.service = services->io_add(services->user, fd, events, ready, io);
    if (io->handle.service == NULL) {
        free(io);
        return NULL;
    }
    begin(&io->handle, self, user);
    return io;
}

weir_status call_io_set(weir_io *io, uint32_t events)
{
    if (io == NULL || io->handle.service == NULL)
        return WEIR_GONE;
    if (io->handle.services->io_set == NULL)
        return WEIR_INVALID;
    io->handle.services->io_set(io->handle.services->user, io->handle.service, events);
    return WEIR_SUCCESS;
}

void call_io_remove(weir_io *io)
{
    if (io != NULL)
        end(&io->handle);
}
