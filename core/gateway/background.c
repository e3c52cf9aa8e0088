#include "gateway/background.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>

#include "base/give_way.h"
#include "net/loop.h"

/* A request passes the loop several times, so a slice is a fraction of what it may be late by. */
enum { SLICE_US = 200, STACK_SIZE = 8 << 20 };

/* The semaphores are all that loop and thread share at one time: between `go` and `told` everything
 * here belongs to the thread, else to the loop. A lock could be held by the thread while it is
 * not running, and the loop would wait for it. */
struct background {
    struct loop *loop;
    struct list jobs; /* the first one is running */
    struct loop_async async;
    struct loop_task task; /* the next slice, or the next step */
    pthread_t thread;
    sem_t go, told;
    bool started, away; /* the thread is there; it has the job */
    bool ending;
    /* From the thread: what it wants to be run on the loop, else how its step ended. */
    void (*work)(void *arg);
    void *work_arg;
    bool worked;
    enum weir_err result;
};

static struct job *current(struct background *background)
{
    return list_is_empty(&background->jobs) ? NULL
                                            : LIST_ENTRY(background->jobs.next, struct job, link);
}

static void wait_for(sem_t *semaphore)
{
    while (sem_wait(semaphore) != 0)
        CHECK_THAT(errno == EINTR);
}

/* ---- the thread */

static void tell(struct background *background)
{
    (void)sem_post(&background->told);
    loop_async_send(&background->async);
}

/* As many steps as there are for the thread; `at` stays at the last one. */
static enum weir_err run_beside(struct job *job)
{
    const struct slice endless = slice_endless();
    for (;;) {
        enum weir_err err = job->steps[job->at].run(job, &endless);
        bool goes_on = err == WEIR_OK && job->at + 1 < job->step_count &&
                       job->steps[job->at + 1].place == JOB_BESIDE && !job->cancelled;
        if (!goes_on)
            return err;
        job->at++;
    }
}

static void *thread_main(void *arg)
{
    struct background *background = arg;
    bool yields = false;
    for (;;) {
        wait_for(&background->go);
        if (background->ending)
            return NULL;
        struct job *job = current(background);
        CHECK_THAT(job != NULL); /* who says go has put one there */
        if (job->heavy && !yields)
            give_way(); /* for good: nobody may go back without a privilege */
        yields = yields || job->heavy;
        background->result = run_beside(job);
        background->work = NULL;
        tell(background);
    }
}

/* Faults of the thread still find their handlers; everything else is the loop's. */
static void block_signals(sigset_t *before)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS};
    sigset_t set;
    (void)sigfillset(&set);
    for (size_t i = 0; i < COUNT_OF(faults); i++)
        (void)sigdelset(&set, faults[i]);
    (void)pthread_sigmask(SIG_SETMASK, &set, before);
}

static bool start_thread(struct background *background)
{
    sigset_t before;
    pthread_attr_t attributes;
    if (background->started)
        return true;
    if (pthread_attr_init(&attributes) != 0)
        return false;
    (void)pthread_attr_setstacksize(&attributes, STACK_SIZE);
    block_signals(&before);
    background->started =
        pthread_create(&background->thread, &attributes, thread_main, background) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_attr_destroy(&attributes);
    if (background->started)
        (void)pthread_setname_np(background->thread, "weir-beside");
    return background->started;
}

/* ---- the loop */

static void go_on(struct background *background)
{
    if (!background->away && current(background) != NULL)
        loop_after_turn(background->loop, &background->task);
}

static void finish(struct job *job, enum weir_err err)
{
    struct background *background = job->background;
    list_remove(&job->link);
    job->background = NULL;
    job->done(job, err);
    go_on(background);
}

static void step_ended(struct job *job, enum weir_err err)
{
    struct background *background = job->background;
    if (job->cancelled) {
        finish(job, WEIR_ERR_CLOSED);
        return;
    }
    if (err == WEIR_OK)
        job->at++;
    if (err != WEIR_OK && err != WEIR_ERR_AGAIN)
        finish(job, err);
    else if (job->at == job->step_count)
        finish(job, WEIR_OK);
    else
        go_on(background);
}

static void run_on_loop(struct job *job, struct slice slice)
{
    step_ended(job, job->steps[job->at].run(job, &slice));
}

static void on_turn(struct loop_task *task)
{
    struct background *background = CONTAINER_OF(task, struct background, task);
    struct job *job = current(background);
    if (background->away || job == NULL)
        return;
    if (job->cancelled) {
        finish(job, WEIR_ERR_CLOSED);
    } else if (job->at == job->step_count) {
        finish(job, WEIR_OK);
    } else if (job->steps[job->at].place == JOB_BESIDE && start_thread(background)) {
        background->away = true;
        (void)sem_post(&background->go);
    } else {
        run_on_loop(job, slice_of_us(SLICE_US));
    }
}

/* The thread has told something: a wish or the end of its step. */
static void hear(struct background *background)
{
    struct job *job = current(background);
    if (background->work != NULL) {
        background->worked = !job->cancelled;
        if (background->worked)
            background->work(background->work_arg);
        (void)sem_post(&background->go);
        return;
    }
    background->away = false;
    step_ended(job, background->result);
}

static void on_told(struct loop_async *async)
{
    struct background *background = CONTAINER_OF(async, struct background, async);
    if (sem_trywait(&background->told) == 0)
        hear(background);
}

struct background *background_create(struct loop *loop)
{
    struct background *background = calloc(1, sizeof(*background));
    if (background == NULL)
        return NULL;
    background->loop = loop;
    background->task.run = on_turn;
    list_init(&background->jobs);
    loop_async_init(loop, &background->async, on_told);
    CHECK_THAT(sem_init(&background->go, 0, 0) == 0 && sem_init(&background->told, 0, 0) == 0);
    return background;
}

/* Nobody waits for the loop any more, so it waits for the thread. */
static void run_to_the_end(struct background *background)
{
    struct job *job;
    while ((job = current(background)) != NULL) {
        if (background->away) {
            wait_for(&background->told);
            hear(background);
        } else if (job->cancelled) {
            finish(job, WEIR_ERR_CLOSED);
        } else if (job->at == job->step_count) {
            finish(job, WEIR_OK);
        } else {
            run_on_loop(job, slice_endless());
        }
    }
}

void background_destroy(struct background *background)
{
    if (background == NULL)
        return;
    run_to_the_end(background);
    loop_task_cancel(&background->task);
    loop_async_stop(&background->async);
    if (background->started) {
        background->ending = true;
        (void)sem_post(&background->go);
        (void)pthread_join(background->thread, NULL);
    }
    (void)sem_destroy(&background->go);
    (void)sem_destroy(&background->told);
    free(background);
}

/* ---- jobs */

void job_init(struct job *job, const struct job_step *steps, size_t count,
              void (*done)(struct job *job, enum weir_err err))
{
    *job = (struct job){.steps = steps, .step_count = count, .done = done};
}

void background_add(struct background *background, struct job *job)
{
    job->background = background;
    list_push_back(&background->jobs, &job->link);
    go_on(background);
}

void job_cancel(struct job *job)
{
    if (job->background == NULL)
        return;
    job->cancelled = true;
    go_on(job->background);
}

enum weir_err job_run(struct job *job)
{
    const struct slice endless = slice_endless();
    while (job->at < job->step_count) {
        enum weir_err err = job->steps[job->at].run(job, &endless);
        if (err != WEIR_OK && err != WEIR_ERR_AGAIN)
            return err;
        if (err == WEIR_OK)
            job->at++;
    }
    return WEIR_OK;
}

bool job_on_loop(struct job *job, void (*work)(void *arg), void *arg)
{
    struct background *background = job->background;
    if (background == NULL || !background->away) {
        work(arg);
        return true;
    }
    background->work = work;
    background->work_arg = arg;
    tell(background);
    wait_for(&background->go);
    return background->worked;
}
