/* Files of policies that lines are appended to: what the process lends, bounded for each policy and
 * closed with it. A file lives on without its policy until its last lines are written or lost, so
 * nothing here points into an image. What becomes of the lines is told here, for every plugin: in
 * the log when a fault begins, changes and ends, and in two metrics. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "plugin_host/calls.h"
#include "plugin_host/metrics.h"
#include "plugin_host/policies.h"

enum { FILES_MAX = 16 /* of one policy at a time */, PATH_BYTES_MAX = 4095 };

struct weir_file {
    struct list link;      /* on the host's list */
    struct list of_policy; /* on the policy's list; off it: closed */
    struct built_policy *policy;
    struct plugin_host *host;
    void *service; /* what the process lent */
    char plugin[64];
    uint32_t queue_bytes;
    int64_t waiting, lost; /* as the metrics have them */
    /* The fault that was logged last and is not over; failure 0 and not stalled: none. */
    int failure;
    bool stalled;
    int64_t lost_before; /* it began */
    bool loss_told;
    size_t path_size;
    char path[]; /* terminated */
};

/* ---- metrics */

static weir_metric *open_metric(const struct plugin_host *host, uint32_t kind, struct span name,
                                struct span help)
{
    static const char *const labels[] = {"plugin", "path", NULL};
    char why[256];
    return host->shared == NULL ? NULL
                                : metric_open(host->shared, host->worker, kind, name, help, labels,
                                              NULL, 0, why, sizeof(why));
}

static void open_metrics(struct plugin_host *host)
{
    if (host->files_lost == NULL)
        host->files_lost =
            open_metric(host, WEIR_METRIC_COUNTER, SPAN("weir_file_lost_lines_total"),
                        SPAN("Lines of policies that could not be written to their file"));
    if (host->files_waiting == NULL)
        host->files_waiting =
            open_metric(host, WEIR_METRIC_GAUGE, SPAN("weir_file_waiting_bytes"),
                        SPAN("Bytes of lines of policies that wait for their file"));
}

static bool share_a_series(const weir_file *a, const weir_file *b)
{
    return a->path_size == b->path_size && memcmp(a->path, b->path, a->path_size) == 0 &&
           strcmp(a->plugin, b->plugin) == 0;
}

/* The gauge is of all files with that name: those of other policies, and of an older generation
 * that has still something to write. Set, not moved: a predecessor that died left what it had. */
static void count_file(weir_file *file, int64_t waiting, int64_t lost)
{
    const struct plugin_host *host = file->host;
    const weir_str labels[] = {{file->plugin, strlen(file->plugin)}, {file->path, file->path_size}};
    int64_t all = 0;
    file->waiting = waiting;
    LIST_FOREACH (node, &host->files) {
        const weir_file *other = LIST_ENTRY(node, weir_file, link);
        if (share_a_series(file, other))
            all += other->waiting;
    }
    if (host->files_waiting != NULL)
        metric_set(host->files_waiting, labels, (double)all);
    if (host->files_lost != NULL)
        metric_add(host->files_lost, labels, (double)(lost - file->lost));
    file->lost = lost;
}

/* ---- log */

static int64_t number_of(const weir_file *file, uint32_t what)
{
    const struct host_services *services = host_services(file->host);
    return services->file_number(services->user, file->service, what);
}

static void tell(const weir_file *file, uint32_t level, const char *text)
{
    char line[PATH_BYTES_MAX + 256];
    (void)snprintf(line, sizeof(line), "%s: %s", file->path, text);
    host_log(file->host, file->plugin, level, NULL, line);
}

static void tell_fault(const weir_file *file)
{
    char text[200], reason[128];
    const char *error = strerrordesc_np(file->failure);
    if (file->stalled)
        (void)snprintf(reason, sizeof(reason), "a write does not come back");
    else
        (void)snprintf(reason, sizeof(reason), "cannot write: %s",
                       error == NULL ? "an error without a name" : error);
    (void)snprintf(text, sizeof(text), "%s; lines are kept up to %" PRIu32 " bytes", reason,
                   file->queue_bytes);
    tell(file, WEIR_LOG_ERROR, text);
}

static void tell_changes(weir_file *file, bool ended)
{
    char text[128];
    int64_t error = number_of(file, WEIR_FILE_ERROR);
    bool stalled = number_of(file, WEIR_FILE_STALLED_MS) > 0;
    int64_t lost = file->lost - file->lost_before;
    if ((error != 0 && error != file->failure) || (stalled && !file->stalled)) {
        file->failure = (int)error;
        file->stalled = stalled;
        tell_fault(file);
    }
    if (lost > 0 && !file->loss_told && !ended) {
        (void)snprintf(text, sizeof(text), "lines are lost, %" PRId64 " bytes wait already",
                       file->waiting);
        tell(file, WEIR_LOG_ERROR, text);
        file->loss_told = true;
    }
    bool all_is_well = error == 0 && !stalled && file->waiting == 0;
    if (!ended && (!all_is_well || (file->failure == 0 && !file->stalled && lost == 0)))
        return;
    if (ended && lost == 0)
        return;
    (void)snprintf(text, sizeof(text), "%s, %" PRId64 " lines were lost",
                   ended ? "closed" : "written again", lost);
    tell(file, ended ? WEIR_LOG_WARN : WEIR_LOG_NOTICE, text);
    file->failure = 0;
    file->stalled = false;
    file->lost_before = file->lost;
    file->loss_told = false;
}

/* ---- one file */

static void on_report(void *arg, bool ended)
{
    weir_file *file = arg;
    count_file(file, number_of(file, WEIR_FILE_WAITING_BYTES), number_of(file, WEIR_FILE_LOST));
    tell_changes(file, ended);
    if (!ended)
        return;
    CHECK_THAT(!list_is_linked(&file->of_policy));
    list_remove(&file->link);
    free(file);
}

static bool options_are_valid(weir_str path, const weir_file_options *options)
{
    return path.data != NULL && path.size > 0 && path.size <= PATH_BYTES_MAX &&
           memchr(path.data, '\0', path.size) == NULL &&
           (options->flags & ~(WEIR_FILE_REOPEN | WEIR_FILE_DROP_OLDEST)) == 0 &&
           (options->mode & ~07777U) == 0;
}

static weir_file *make_file(struct built_policy *policy, weir_str path,
                            const weir_file_options *options)
{
    weir_file *file = calloc(1, sizeof(*file) + path.size + 1);
    if (file == NULL)
        return NULL;
    struct span name = span_first(policy->run.policy->name, sizeof(file->plugin) - 1);
    file->policy = policy;
    file->host = policy->run.policies->host;
    file->queue_bytes = options->queue_bytes;
    file->path_size = path.size;
    memcpy(file->path, path.data, path.size);
    memcpy(file->plugin, name.data, name.size);
    return file;
}

weir_file *call_file_open(const void *self, weir_str path, const weir_file_options *options)
{
    struct built_policy *policy = built_of(policy_of_self(self));
    struct plugin_host *host = policy->run.policies->host;
    const struct host_services *services = host_services(host);
    weir_file_options how;
    if (services->file_open == NULL || services->file_append == NULL ||
        services->file_number == NULL || services->file_close == NULL ||
        services->files_end == NULL)
        return NULL;
    if (!copy_sized(&how, sizeof(how), SIZE_UP_TO(weir_file_options, queue_bytes), options) ||
        !options_are_valid(path, &how) || policy->file_count >= FILES_MAX)
        return NULL;
    weir_file *file = make_file(policy, path, &how);
    if (file == NULL)
        return NULL;
    file->service = services->file_open(services->user, path, &how, on_report, file);
    if (file->service == NULL) {
        free(file);
        return NULL;
    }
    list_push_back(&host->files, &file->link);
    list_push_back(&policy->files, &file->of_policy);
    policy->file_count++;
    open_metrics(host);
    count_file(file, 0, 0);
    return file;
}

weir_status call_file_append(weir_file *file, weir_str line)
{
    if (file == NULL || !list_is_linked(&file->of_policy))
        return WEIR_GONE;
    const struct host_services *services = host_services(file->host);
    return services->file_append(services->user, file->service, line);
}

int64_t call_file_number(weir_file *file, uint32_t what)
{
    return file == NULL ? WEIR_UNSET : number_of(file, what);
}

void call_file_close(weir_file *file)
{
    if (file == NULL || !list_is_linked(&file->of_policy))
        return;
    const struct host_services *services = host_services(file->host);
    list_remove(&file->of_policy);
    file->policy->file_count--;
    file->policy = NULL;
    services->file_close(services->user, file->service); /* its last report comes later */
}

/* ---- the end */

void policy_files_end(struct built_policy *policy)
{
    while (!list_is_empty(&policy->files))
        call_file_close(LIST_ENTRY(policy->files.next, weir_file, of_policy));
}

void host_files_end(struct plugin_host *host)
{
    const struct host_services *services = host_services(host);
    if (services->files_end != NULL)
        services->files_end(services->user);
    CHECK_THAT(list_is_empty(&host->files));
    if (host->files_lost != NULL)
        metric_close(host->files_lost);
    if (host->files_waiting != NULL)
        metric_close(host->files_waiting);
    host->files_lost = host->files_waiting = NULL;
}
