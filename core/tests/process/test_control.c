/* The control socket and process_ask() against each other, and what loops lend to policies. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <weir/weir.h>

#include "net/deadline.h"
#include "net/loop.h"
#include "process/control.h"
#include "process/process.h"
#include "process/services.h"

TestSuite(process_control, .timeout = 30);

static char folder[] = "/tmp/weir-test-XXXXXX";
static char path[64];
static struct loop *loop;
static struct control *control;
static int questions;

static void on_question(struct control_client *client, struct span question, void *user)
{
    (void)user;
    questions++;
    if (span_equal(question, SPAN("status")))
        control_answer(client, 0, SPAN("worker 0: ready\n"));
    else if (span_equal(question, SPAN("reload")))
        control_wait(client, 1);
    else if (span_equal(question, SPAN("later")))
        control_wait(client, 2);
    else
        control_answer(client, 3, SPAN("kong.yml:1:1: no\n"));
}

static void open_control(void)
{
    char why[256] = "";
    cr_assert_not_null(mkdtemp(folder));
    (void)snprintf(path, sizeof(path), "%s/weir.sock", folder);
    loop = loop_create();
    control = control_open(loop, path, on_question, NULL, why, sizeof(why));
    cr_assert_not_null(control, "%s", why);
}

static void close_control(void)
{
    control_close(control, false);
    loop_destroy(loop);
    cr_expect_neq(access(path, F_OK), 0, "the path goes");
    (void)rmdir(folder);
}

/* In a process of its own: asks, and ends with 0 when the answer is `want`. */
static pid_t ask(const char *question, const char *want)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    AUTO_BUF answer = BUF_INIT;
    enum weir_err err = process_ask(folder, question, 10000, &answer);
    _exit(err != WEIR_OK ? 1 : span_equal(buf_view(&answer), span_text(want)) ? 0 : 2);
}

static int ended(pid_t pid)
{
    int status = 0;
    pid_t got;
    while ((got = waitpid(pid, &status, WNOHANG)) == 0) {
        loop_poll(loop);
        (void)usleep(1000);
    }
    return got == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

Test(process_control, questions_are_answered, .init = open_control, .fini = close_control)
{
    static const struct {
        const char *why, *question, *answer;
    } rows[] = {
        {"the exit code comes first", "status", "ok\nworker 0: ready\n"},
        {"a failure has its code", "what", "failed 3\nkong.yml:1:1: no\n"},
        {"spaces around do not count", " status ", "ok\nworker 0: ready\n"},
    };
    struct stat status;
    cr_assert_eq(stat(path, &status), 0);
    cr_expect_eq(status.st_mode & 0777, 0600, "for this user alone");
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        cr_expect_eq(ended(ask(rows[i].question, rows[i].answer)), 0, "%s", rows[i].why);
}

Test(process_control, who_waits_is_answered_by_the_event, .init = open_control,
     .fini = close_control)
{
    pid_t one = ask("reload", "ok\ndone\n"), two = ask("reload", "ok\ndone\n"),
          three = ask("later", "failed 1\nno\n");
    while (questions < 3)
        loop_run_once(loop);
    control_answer_all(control, 1, 0, SPAN("done\n"));
    cr_expect_eq(ended(one), 0);
    cr_expect_eq(ended(two), 0);
    cr_expect_eq(waitpid(three, NULL, WNOHANG), 0, "its event is another");
    control_answer_all(control, 2, 1, SPAN("no\n"));
    cr_expect_eq(ended(three), 0);
}

Test(process_control, a_client_that_leaves_is_forgotten, .init = open_control,
     .fini = close_control)
{
    pid_t pid = fork();
    if (pid == 0) {
        AUTO_BUF answer = BUF_INIT;
        _exit(process_ask(folder, "reload", 50, &answer) == WEIR_ERR_TIMEOUT ? 0 : 1);
    }
    while (questions < 1)
        loop_run_once(loop);
    cr_expect_eq(ended(pid), 0, "the deadline of the asker");
    loop_poll(loop);
    control_answer_all(control, 1, 0, SPAN("done\n")); /* nobody is there: must not crash */
    cr_expect_eq(ended(ask("status", "ok\nworker 0: ready\n")), 0);
}

Test(process_control, nobody_listens)
{
    AUTO_BUF answer = BUF_INIT;
    cr_expect_eq(process_ask("/nonexistent", "status", 100, &answer), WEIR_ERR_REFUSED);
    cr_expect_eq(answer.size, 0);
}

/* ---- services */

struct lent {
    struct services services;
    void *timer, *io;
    int fired, ready;
};

static void on_fire(void *arg)
{
    struct lent *lent = arg;
    if (++lent->fired == 3)
        lent->services.table.timer_stop(lent->services.table.user, lent->timer);
}

static void on_fire_once(void *arg)
{
    ((struct lent *)arg)->fired += 100;
}

static void on_ready(void *arg, uint32_t events)
{
    struct lent *lent = arg;
    cr_expect_eq(events, WEIR_IO_READ);
    lent->ready++;
    lent->services.table.io_remove(lent->services.table.user, lent->io);
}

static void on_guard(struct deadline *deadline)
{
    (void)deadline;
    cr_assert_fail("never came true");
}

Test(process_control, timers_and_descriptors_of_policies)
{
    struct lent lent = {0};
    struct deadline guard;
    int ends[2];
    loop = loop_create();
    services_init(&lent.services, loop);
    const struct host_services *table = &lent.services.table;
    cr_assert_eq(pipe(ends), 0);
    lent.timer = table->timer_start(table->user, 5, 5, on_fire, &lent);
    cr_assert_not_null(table->timer_start(table->user, 1, 0, on_fire_once, &lent));
    lent.io = table->io_add(table->user, ends[0], WEIR_IO_READ, on_ready, &lent);
    cr_expect_eq(lent.fired + lent.ready, 0, "nothing happens inside the calls");
    cr_assert_eq(write(ends[1], "x", 1), 1);
    deadline_init(&guard, on_guard);
    deadline_set(loop, &guard, 10000);
    while (lent.fired < 103 || lent.ready < 1)
        loop_run_once(loop);
    for (int i = 0; i < 3; i++) /* both were stopped inside their own callback */
        loop_poll(loop);
    cr_expect_eq(lent.fired, 103);
    cr_expect_eq(lent.ready, 1);
    /* One that is never stopped is freed with the services: the sanitizer watches. */
    cr_assert_not_null(table->timer_start(table->user, 60000, 0, on_fire, &lent));
    cr_assert_not_null(table->io_add(table->user, ends[1], WEIR_IO_WRITE, on_ready, &lent));
    deadline_clear(&guard);
    services_fini(&lent.services);
    loop_destroy(loop);
    (void)close(ends[0]);
    (void)close(ends[1]);
}
