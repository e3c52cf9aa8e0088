/* A thread that stop() does not end. */
#include <pthread.h>
#include <unistd.h>

#include <weir/weir.h>

static void *run(void *arg)
{
    for (;;)
        (void)pause();
    return arg;
}

static int start(void *self)
{
    pthread_t thread;
    return pthread_create(&thread, NULL, run, self) || pthread_detach(thread) ? -1 : 0;
}

static weir_verdict on_access(weir_request *request, void *self, void *context)
{
    (void)request, (void)self, (void)context;
    return WEIR_NEXT;
}

WEIR_PLUGIN("thread_left", "1.0.0", WEIR_CAP_THREADS, .priority = 100, .start = start,
            .access = on_access);
