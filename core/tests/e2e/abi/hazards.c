/* Everything that `weir plugin lint` warns of, in one policy. Nothing of it is ever run. */
#include <dlfcn.h>
#include <locale.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <weir/weir.h>

#define SEEN __attribute__((visibility("default")))

int gone(void);
static int counter;
static __thread int of_thread;

SEEN int helper(void)
{
    return ++counter + ++of_thread + gone();
}

SEEN int puts(const char *text)
{
    return text == NULL;
}

__attribute__((constructor)) static void before(void)
{
    (void)helper();
}

static void *run(void *user)
{
    return user;
}

static void at_end(void)
{
}

static int configure(void *self, weir_error *error)
{
    pthread_t thread;
    pthread_key_t key;
    struct pollfd nothing;
    (void)error;
    (void)pthread_create(&thread, NULL, run, self);
    (void)pthread_key_create(&key, NULL);
    (void)sleep(1);
    (void)poll(&nothing, 0, 1);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)setlocale(LC_ALL, "");
    (void)dlopen("libm.so.6", RTLD_NOW);
    (void)atexit(at_end);
    return fork() == 0 ? -1 : 0;
}

__asm__(".text\n.quad there\n.data\nthere: .quad 1\n.text\n");

WEIR_PLUGIN("hazards", "one", 0, .configure = configure);
