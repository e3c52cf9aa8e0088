/* Jobs that alternate between the loop and the thread beside it. */
#include "gateway/background.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>

#include "net/deadline.h"
#include "net/loop.h"

/* A job that writes down what happens: a letter for each call of a step. */
struct diary {
    struct job job;
    struct background *background;
    pthread_t loop_thread;
    char text[64];
    unsigned wrong; /* steps in the wrong place */
    unsigned again; /* AGAIN so many times more */
    bool asked, done;
    enum weir_err err;
    bool cancels;     /* in its first step */
    struct job *next; /* added by done() */
};

static bool guard_expired;

static void on_guard(struct deadline *deadline)
{
    (void)deadline;
    guard_expired = true;
}

static void turn_until(struct loop *loop, const bool *condition)
{
    struct deadline guard;
    guard_expired = false;
    deadline_init(&guard, on_guard);
    deadline_set(loop, &guard, 10000);
    while (!*condition && !guard_expired)
        loop_run_once(loop);
    deadline_clear(&guard);
    cr_assert(*condition, "it never came true");
}

static struct diary *diary_of(struct job *job)
{
    return CONTAINER_OF(job, struct diary, job);
}

static void note(struct diary *diary, char letter, bool on_loop)
{
    size_t size = strlen(diary->text);
    bool here = pthread_equal(pthread_self(), diary->loop_thread) != 0;
    if (size + 1 < sizeof(diary->text))
        diary->text[size] = letter;
    diary->wrong += here != on_loop;
}

static enum weir_err step_beside(struct job *job, const struct slice *slice)
{
    (void)slice;
    note(diary_of(job), 'b', false);
    if (diary_of(job)->cancels)
        job->cancelled = true;
    return WEIR_OK;
}

static enum weir_err step_loop(struct job *job, const struct slice *slice)
{
    struct diary *diary = diary_of(job);
    note(diary, 'l', true);
    if (diary->again == 0)
        return WEIR_OK;
    diary->again--;
    while (!slice_is_over(slice)) /* comes true: a slice has an end */
        continue;
    return WEIR_ERR_AGAIN;
}

static enum weir_err step_fail(struct job *job, const struct slice *slice)
{
    (void)slice;
    note(diary_of(job), 'f', false);
    return WEIR_ERR_LIMIT;
}

static void ask(void *arg)
{
    note(arg, 'a', true);
}

static enum weir_err step_ask(struct job *job, const struct slice *slice)
{
    (void)slice;
    note(diary_of(job), 'b', false);
    if (diary_of(job)->cancels)
        job->cancelled = true;
    diary_of(job)->asked = job_on_loop(job, ask, diary_of(job));
    note(diary_of(job), 'b', false);
    return WEIR_OK;
}

static void done(struct job *job, enum weir_err err)
{
    struct diary *diary = diary_of(job);
    note(diary, '.', true);
    diary->done = true;
    diary->err = err;
    if (diary->next != NULL)
        background_add(diary->background, diary->next);
}

static void open_diary(struct diary *diary, struct background *background,
                       const struct job_step *steps, size_t count)
{
    *diary = (struct diary){.background = background, .loop_thread = pthread_self()};
    job_init(&diary->job, steps, count, done);
}

static const struct job_step mixed[] = {
    {step_beside, JOB_BESIDE}, {step_beside, JOB_BESIDE}, {step_loop, JOB_LOOP},
    {step_ask, JOB_BESIDE},    {step_loop, JOB_LOOP},
};
static const struct job_step failing[] = {
    {step_beside, JOB_BESIDE}, {step_fail, JOB_BESIDE}, {step_loop, JOB_LOOP}};
static const struct job_step looping[] = {{step_loop, JOB_LOOP}, {step_loop, JOB_LOOP}};

Test(background, steps_run_in_order_and_where_they_may)
{
    static const struct {
        const char *why;
        const struct job_step *steps;
        size_t count;
        unsigned again;
        const char *text;
        enum weir_err err;
    } rows[] = {
        {"thread and loop take turns", mixed, COUNT_OF(mixed), 0, "bblbabl.", WEIR_OK},
        {"a slice that is over goes on", mixed, COUNT_OF(mixed), 2, "bblllbabl.", WEIR_OK},
        {"an error ends it", failing, COUNT_OF(failing), 0, "bf.", WEIR_ERR_LIMIT},
        {"no thread is needed", looping, COUNT_OF(looping), 1, "lll.", WEIR_OK},
        {"no steps", looping, 0, 0, ".", WEIR_OK},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        AUTO(loop_destroy) struct loop *loop = loop_create();
        struct background *background = background_create(loop);
        struct diary diary;
        open_diary(&diary, background, rows[i].steps, rows[i].count);
        diary.again = rows[i].again;
        background_add(background, &diary.job);
        cr_expect(!diary.done && diary.text[0] == '\0', "%s: adding runs nothing", rows[i].why);
        turn_until(loop, &diary.done);
        cr_expect_str_eq(diary.text, rows[i].text, "%s: %s", rows[i].why, diary.text);
        cr_expect_eq(diary.wrong, 0, "%s: a step ran elsewhere", rows[i].why);
        cr_expect_eq(diary.err, rows[i].err, "%s", rows[i].why);
        background_destroy(background);
    }
}

Test(background, one_job_after_the_other)
{
    AUTO(loop_destroy) struct loop *loop = loop_create();
    struct background *background = background_create(loop);
    struct diary diaries[4];
    for (size_t i = 0; i < COUNT_OF(diaries); i++) {
        open_diary(&diaries[i], background, mixed, COUNT_OF(mixed));
        diaries[i].job.heavy = i == 1;
    }
    diaries[0].next = &diaries[3].job; /* added by done(): behind the others */
    for (size_t i = 0; i < 3; i++)
        background_add(background, &diaries[i].job);
    turn_until(loop, &diaries[2].done);
    cr_expect(diaries[0].done && diaries[1].done && diaries[0].asked);
    cr_expect_str_eq(diaries[3].text, "", "its turn comes when the one before is over");
    turn_until(loop, &diaries[3].done);
    cr_expect_str_eq(diaries[3].text, "bblbabl.");
    background_destroy(background);
}

Test(background, what_is_cancelled_ends_after_its_step)
{
    AUTO(loop_destroy) struct loop *loop = loop_create();
    struct background *background = background_create(loop);
    struct diary first, second, third;
    open_diary(&first, background, mixed, COUNT_OF(mixed));
    open_diary(&second, background, mixed, COUNT_OF(mixed));
    open_diary(&third, background, mixed, COUNT_OF(mixed));
    first.cancels = true; /* while its step runs on the thread */
    background_add(background, &first.job);
    background_add(background, &second.job);
    background_add(background, &third.job);
    job_cancel(&second.job); /* before its turn */
    turn_until(loop, &third.done);
    cr_expect_str_eq(first.text, "b.");
    cr_expect_str_eq(second.text, ".");
    cr_expect_str_eq(third.text, "bblbabl.", "others go on");
    cr_expect(first.err == WEIR_ERR_CLOSED && second.err == WEIR_ERR_CLOSED);
    job_cancel(&third.job); /* over: nothing happens */
    cr_expect_eq(third.err, WEIR_OK);
    background_destroy(background);
}

static const struct job_step cancelled_ask[] = {{step_ask, JOB_BESIDE}, {step_loop, JOB_LOOP}};

Test(background, the_end_waits_for_everything)
{
    AUTO(loop_destroy) struct loop *loop = loop_create();
    struct background *background = background_create(loop);
    struct diary asks, refused, whole;
    open_diary(&asks, background, mixed, COUNT_OF(mixed));
    open_diary(&refused, background, cancelled_ask, COUNT_OF(cancelled_ask));
    open_diary(&whole, background, looping, COUNT_OF(looping));
    background_add(background, &asks.job);
    background_add(background, &refused.job);
    background_add(background, &whole.job);
    loop_poll(loop); /* the thread has the first one now */
    job_cancel(&refused.job);
    background_destroy(background);
    cr_expect(asks.done && refused.done && whole.done, "every done() was called");
    cr_expect_eq(asks.err, WEIR_OK);
    cr_expect_eq(refused.err, WEIR_ERR_CLOSED);
    cr_expect_str_eq(whole.text, "ll.");
}

Test(background, a_wish_of_a_cancelled_job_is_refused)
{
    AUTO(loop_destroy) struct loop *loop = loop_create();
    struct background *background = background_create(loop);
    struct diary diary;
    open_diary(&diary, background, cancelled_ask, COUNT_OF(cancelled_ask));
    diary.asked = diary.cancels = true; /* cancelled before its wish is heard */
    background_add(background, &diary.job);
    turn_until(loop, &diary.done);
    cr_expect(!diary.asked, "its work was not run");
    cr_expect_str_eq(diary.text, "bb.");
    background_destroy(background);
}

Test(background, all_at_once_without_a_loop)
{
    struct diary diary;
    static const struct job_step steps[] = {
        {step_loop, JOB_LOOP}, {step_ask, JOB_BESIDE}, {step_loop, JOB_LOOP}};
    open_diary(&diary, NULL, steps, COUNT_OF(steps));
    cr_expect_eq(job_run(&diary.job), WEIR_OK);
    cr_expect_str_eq(diary.text, "lbabl", "done() is not called");
    cr_expect(diary.asked);
}
