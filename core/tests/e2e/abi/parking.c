/* Parks every request that has an X-Id and wakes them as a control request asks. Each must be
 * answered once, whatever wakes come besides. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <weir/weir.h>

enum { SEATS = 256 };

typedef struct {
    weir_header_id number, mode;
    weir_token tokens[SEATS];
    unsigned answered[SEATS];
    size_t heard, gone;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t work;
    bool stopping, go;
} parking;

/* Every token three times over, in random order. */
static void wake_all(parking *policy)
{
    unsigned order[3 * SEATS];
    for (unsigned i = 0; i < 3 * SEATS; i++)
        order[i] = i % SEATS;
    for (unsigned i = 3 * SEATS - 1; i > 0; i--) {
        unsigned j = (unsigned)random() % (i + 1), kept = order[i];
        order[i] = order[j];
        order[j] = kept;
    }
    size_t heard = 0, gone = 0;
    for (unsigned i = 0; i < 3 * SEATS; i++) {
        if (policy->tokens[order[i]] == 0)
            continue;
        if (weir_wake(policy->tokens[order[i]]) == WEIR_SUCCESS)
            heard++;
        else
            gone++;
    }
    (void)pthread_mutex_lock(&policy->lock);
    policy->heard += heard;
    policy->gone += gone;
    (void)pthread_mutex_unlock(&policy->lock);
}

static void *work(void *user)
{
    parking *policy = user;
    (void)pthread_mutex_lock(&policy->lock);
    for (;;) {
        while (!policy->go && !policy->stopping)
            (void)pthread_cond_wait(&policy->work, &policy->lock);
        if (policy->stopping)
            break;
        policy->go = false;
        (void)pthread_mutex_unlock(&policy->lock);
        wake_all(policy);
        (void)pthread_mutex_lock(&policy->lock);
    }
    (void)pthread_mutex_unlock(&policy->lock);
    return NULL;
}

static int configure(void *self, weir_error *error)
{
    parking *policy = self;
    (void)error;
    policy->number = weir_header_intern(WEIR_LIT("X-Id"));
    policy->mode = weir_header_intern(WEIR_LIT("X-Mode"));
    return 0;
}

static int start(void *self)
{
    parking *policy = self;
    (void)pthread_mutex_init(&policy->lock, NULL);
    (void)pthread_cond_init(&policy->work, NULL);
    return pthread_create(&policy->thread, NULL, work, policy);
}

static void stop(void *self)
{
    parking *policy = self;
    (void)pthread_mutex_lock(&policy->lock);
    policy->stopping = true;
    (void)pthread_cond_signal(&policy->work);
    (void)pthread_mutex_unlock(&policy->lock);
    (void)pthread_join(policy->thread, NULL);
}

static weir_verdict say(weir_request *request, const char *text, int size)
{
    return weir_respond(request, 200, WEIR_LIT("text/plain"), (weir_str){text, (size_t)size})
               ? WEIR_FAIL
               : WEIR_DONE;
}

static weir_verdict woken(weir_request *request, void *self, void *context, uint32_t why)
{
    parking *policy = self;
    const unsigned *seat = context;
    char text[64];
    policy->answered[*seat]++;
    int size = snprintf(text, sizeof(text), "%u woken %u why %u", *seat, policy->answered[*seat],
                        (unsigned)why);
    return say(request, text, size);
}

static bool is(weir_str text, const char *word)
{
    return text.size == strlen(word) && memcmp(text.data, word, text.size) == 0;
}

static weir_verdict report(weir_request *request, parking *policy)
{
    char text[128];
    unsigned parked = 0, answered = 0, most = 0;
    for (unsigned i = 0; i < SEATS; i++) {
        parked += policy->tokens[i] != 0;
        answered += policy->answered[i];
        most = policy->answered[i] > most ? policy->answered[i] : most;
    }
    (void)pthread_mutex_lock(&policy->lock);
    int size = snprintf(text, sizeof(text), "parked=%u answered=%u most=%u heard=%zu gone=%zu",
                        parked, answered, most, policy->heard, policy->gone);
    (void)pthread_mutex_unlock(&policy->lock);
    return say(request, text, size);
}

static weir_verdict on_access(weir_request *request, void *self, void *context)
{
    parking *policy = self;
    unsigned *seat = context;
    weir_str number = weir_header_get(request, WEIR_SIDE_REQUEST, policy->number, 0);
    weir_str mode = weir_header_get(request, WEIR_SIDE_REQUEST, policy->mode, 0);
    if (is(mode, "report"))
        return report(request, policy);
    if (is(mode, "wake")) {
        wake_all(policy);
        return report(request, policy);
    }
    if (is(mode, "thread")) {
        (void)pthread_mutex_lock(&policy->lock);
        policy->go = true;
        (void)pthread_cond_signal(&policy->work);
        (void)pthread_mutex_unlock(&policy->lock);
        return report(request, policy);
    }
    if (number.data == NULL)
        return WEIR_NEXT;
    *seat = (unsigned)strtoul(number.data, NULL, 10) % SEATS;
    policy->tokens[*seat] = weir_park(request, 30000, woken);
    if (policy->tokens[*seat] == 0)
        return WEIR_FAIL;
    if (is(mode, "early")) { /* twice before the host knows that it will wait */
        if (weir_wake(policy->tokens[*seat]) != WEIR_SUCCESS ||
            weir_wake(policy->tokens[*seat]) != WEIR_GONE)
            return WEIR_FAIL;
    }
    return WEIR_WAIT;
}

WEIR_PLUGIN(PLUGIN_NAME, "1.0.0", WEIR_CAP_THREADS, .priority = 500, WEIR_SELF(parking),
            WEIR_CONTEXT(unsigned), .configure = configure, .start = start, .stop = stop,
            .access = on_access);
