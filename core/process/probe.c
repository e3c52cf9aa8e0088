/* The master's side of the probe child; what it does is in probe_compile.c. */
#include "process/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/give_way.h"
#include "base/log.h"
#include "base/random.h"
#include "base/write.h"
#include "net/deadline.h"
#include "net/loop.h"

enum { REPORT_MAX = 32 << 20, LAST_WORDS_MS = 2000 };

struct probe {
    struct instance *instance;
    struct loop *loop;
    uint64_t number;
    pid_t pid;
    int pipe; /* -1: ended */
    struct watch watch;
    struct deadline patience;
    uint32_t step_ms; /* how long it may take */
    struct shared *shared;
    struct crash_record *crash; /* its last words */
    struct buf report;
    bool reaped, late;
    int status;
    void (*done)(struct probe_result *result, void *user);
    void *user;
};

static void probe_free(struct probe *probe)
{
    deadline_clear(&probe->patience);
    watch_stop(&probe->watch);
    if (probe->pipe >= 0)
        (void)close(probe->pipe);
    shared_destroy(probe->shared);
    crash_records_destroy(probe->crash, 1);
    buf_free(&probe->report);
    free(probe);
}

static void describe_end(const struct probe *probe, struct buf *out)
{
    struct death death = {.status = probe->status};
    char plugin[128];
    bool crashed = WIFSIGNALED(probe->status);
    death.signal = crashed ? WTERMSIG(probe->status) : 0;
    crashed = crash_tell(probe->crash, probe->pid, &death) || crashed;
    buf_text(out, "the trial of the new configuration ");
    if (probe->late) {
        buf_printf(out, "did not end within %" PRIu32 " s", probe->step_ms / 1000);
        death_blame(&death, out);
    } else {
        buf_text(out, crashed ? "crashed: " : "ended early: ");
        death_describe(&death, out);
    }
    if (death.plugin[0] == '\0' &&
        prefix_build_latest(&probe->instance->prefix, probe->number, plugin, sizeof(plugin)))
        buf_printf(out, "; the last plugin it loaded is %s", plugin);
    buf_text(out, "\n");
    crash_backtrace(probe->crash, probe->pid, out);
}

static void finish(struct probe *probe)
{
    AUTO_BUF text = BUF_INIT;
    struct probe_result result = {.code = EXIT_FAILED};
    bool whole = !probe->late && WIFEXITED(probe->status) && !probe->report.failed &&
                 probe_parse(buf_view(&probe->report), &result);
    if (!whole) {
        describe_end(probe, &text);
        result.text = buf_view(&text);
    }
    probe->done(&result, probe->user);
    manifest_free(&result.manifest);
    probe_free(probe);
}

static void on_pipe(struct watch *watch, int events)
{
    struct probe *probe = LIST_ENTRY(watch, struct probe, watch);
    (void)events;
    char *room = buf_reserve(&probe->report, 65536);
    char waste[4096];
    ssize_t size =
        read(probe->pipe, room == NULL ? waste : room, room == NULL ? sizeof(waste) : 65536);
    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (size > 0) {
        probe->report.size += room == NULL ? 0 : (size_t)size;
        return;
    }
    watch_stop(&probe->watch);
    (void)close(probe->pipe);
    probe->pipe = -1;
    if (probe->reaped)
        finish(probe);
}

static void on_patience(struct deadline *deadline)
{
    struct probe *probe = LIST_ENTRY(deadline, struct probe, patience);
    if (!probe->reaped) { /* its end comes as SIGCHLD; first it may say where it hangs */
        (void)kill(probe->pid, probe->late ? SIGKILL : SIGABRT);
        if (!probe->late)
            deadline_set(probe->loop, &probe->patience, LAST_WORDS_MS);
        probe->late = true;
        return;
    }
    probe->late = true;
    /* It is gone, but something it started holds the pipe. */
    finish(probe);
}

bool probe_reaped(struct probe *probe, pid_t pid, int status)
{
    if (probe == NULL || probe->reaped || probe->pid != pid)
        return false;
    probe->reaped = true;
    probe->status = status;
    if (probe->pipe < 0 || probe->late)
        finish(probe);
    return true;
}

_Noreturn static void run_child(struct instance *instance, const struct revision *revision,
                                const struct plugin_sources *plugins, struct shared *shared,
                                int pipe)
{
    static const int plain[] = {SIGINT, SIGTERM, SIGQUIT, SIGUSR1, SIGCHLD};
    AUTO_BUF report = BUF_INIT;
    sigset_t none;
    for (size_t i = 0; i < COUNT_OF(plain); i++)
        (void)signal(plain[i], SIG_DFL);
    (void)signal(SIGHUP, SIG_IGN); /* a second reload asked for through the process group */
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    give_way(); /* requests come first */
    random_reseed();
    log_set_role("probe");
    int code = probe_compile(instance, revision, plugins, shared, &report);
    if (report.failed || write_all(pipe, buf_view(&report)) != WEIR_OK)
        code = EXIT_FAILED;
    /* Not exit(): what plugins registered there is of no use any more. */
    _exit(code);
}

static bool fork_child(struct probe *probe, const struct revision *revision,
                       const struct plugin_sources *plugins, void (*forget)(void *user))
{
    int ends[2];
    sigset_t all, before;
    struct instance *instance = probe->instance;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return false;
    (void)fflush(NULL);
    (void)sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, &before);
    probe->pid = fork();
    if (probe->pid == 0) {
        struct shared *shared = probe->shared;
        (void)close(ends[0]);
        crash_catch(probe->crash, -1);
        forget(probe->user);
        sockets_keep(&instance->sockets, SOCKET_OF_ALL);
        run_child(instance, revision, plugins, shared, ends[1]);
    }
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    (void)close(ends[1]);
    if (probe->pid < 0 || fcntl(ends[0], F_SETFL, O_NONBLOCK) != 0) {
        (void)close(ends[0]);
        return false;
    }
    probe->pipe = ends[0];
    return true;
}

struct probe *probe_start(struct instance *instance, struct loop *loop,
                          const struct revision *revision, const struct plugin_sources *plugins,
                          void (*forget)(void *user),
                          void (*done)(struct probe_result *result, void *user), void *user,
                          char *why, size_t why_size)
{
    struct probe *probe = calloc(1, sizeof(*probe));
    if (probe == NULL) {
        (void)snprintf(why, why_size, "no memory");
        return NULL;
    }
    *probe = (struct probe){.instance = instance,
                            .loop = loop,
                            .number = revision->number,
                            .step_ms = revision->step_ms,
                            .pipe = -1,
                            .report = {.limit = REPORT_MAX},
                            .done = done,
                            .user = user};
    deadline_init(&probe->patience, on_patience);
    /* As large as the real one: what does not fit there shall not fit here either. */
    probe->shared = shared_create((size_t)instance->settings.shared_memory_size, 1);
    probe->crash = crash_records_create(1);
    if (probe->shared == NULL || probe->crash == NULL ||
        !fork_child(probe, revision, plugins, forget)) {
        (void)snprintf(why, why_size, "the trial of the configuration cannot start: %s",
                       strerrordesc_np(errno));
        probe_free(probe);
        return NULL;
    }
    watch_start(loop, &probe->watch, probe->pipe, WATCH_READ, on_pipe);
    deadline_set(loop, &probe->patience, revision->step_ms);
    return probe;
}

void probe_cancel(struct probe *probe)
{
    if (probe == NULL)
        return;
    if (!probe->reaped) {
        (void)kill(probe->pid, SIGKILL);
        while (waitpid(probe->pid, NULL, 0) < 0 && errno == EINTR)
            continue;
    }
    probe_free(probe);
}

void probe_forget(struct probe *probe)
{
    if (probe != NULL)
        probe_free(probe);
}
