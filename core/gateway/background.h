/* Long work that must not stall the loop: jobs made of steps, one job at a time and in order. Steps
 * of the core alone run on a thread beside the loop; steps that call plugins or touch what belongs
 * to the loop run there, in short slices between the requests. The two never run at the same time:
 * a job belongs to the one that runs its step. Started by the first job; one thread for the life of
 * a worker, parked while there is no job. */
#ifndef WEIR_GATEWAY_BACKGROUND_H
#define WEIR_GATEWAY_BACKGROUND_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/auto.h"
#include "base/list.h"
#include "base/slice.h"

struct loop;
struct background;
struct job;

enum job_place {
    JOB_BESIDE, /* on the thread: nothing of the loop's, no plugin code */
    JOB_LOOP,   /* AGAIN from it: the slice is over, it is called again */
};

struct job_step {
    enum weir_err (*run)(struct job *job, const struct slice *slice);
    enum job_place place;
};

struct job { /* embedded in its owner; zero it before job_init() */
    struct list link;
    const struct job_step *steps;
    size_t step_count, at;
    struct background *background; /* NULL: not given to one, or over */
    atomic_bool cancelled;
    bool
        heavy; /* more than a few ms: from its first step on the thread yields to everything else */
    /* Once, from the loop: all steps are done, one has failed (its error), or CLOSED: cancelled.
     * May free the job and add others. */
    void (*done)(struct job *job, enum weir_err err);
};

/* `loop` is borrowed. NULL without memory. */
WEIR_MUST_USE struct background *background_create(struct loop *loop);
/* Cancels what can be cancelled, waits for the rest, and runs what is left to its end: every done()
 * has been called. NULL is fine. */
void background_destroy(struct background *background);

void job_init(struct job *job, const struct job_step *steps, size_t count,
              void (*done)(struct job *job, enum weir_err err));
/* Without memory for a thread its steps run on the loop: late requests are better than none. */
void background_add(struct background *background, struct job *job);
/* Ends it after the step that runs now, without waiting; done() is called later. Fine when it is
 * over. */
void job_cancel(struct job *job);
/* All steps here and now; done() is not called. */
WEIR_MUST_USE enum weir_err job_run(struct job *job);
/* For a step of either place: run `work` on the loop and wait for it. False: the job was cancelled
 * and `work` was not called. */
bool job_on_loop(struct job *job, void (*work)(void *arg), void *arg);

#endif
