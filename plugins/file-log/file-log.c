/* One line of JSON for each request, appended to a file. A line is one system call on a descriptor
 * that only appends, so the lines of several workers do not mix. What cannot be written waits, and
 * in the end is lost and counted: a log never delays a request. Next: sink.h. */
#include <errno.h>
#include <string.h>

#include <weir/weir.h>

#include "constant.h"
#include "sink.h"

typedef struct {
    weir_str path;
    bool reopen;
    weir_list custom_fields_by_lua;

    int64_t queue_bytes;
    weir_str overflow;

    char *file;       /* path, terminated */
    weir_str *values; /* JSON, one for each custom field */
    weir_metric *lost_lines, *waiting_bytes;
    sink sink;
    size_t waiting;     /* bytes, as the metric has them */
    uint64_t counted;   /* lost lines, as the metric has them */
    int failure;        /* errno that was logged last; 0: all is well */
    uint64_t lost;      /* lines since all was well */
    bool loss_told;     /* of these */
    bool field_refused; /* one was logged */
} file_log;

static const char *const overflows[] = {"drop-newest", "drop-oldest", NULL};
static const weir_field fields[] = {
    WEIR_STRING(file_log, path, .flags = WEIR_REQUIRED,
                .help = "file the lines are appended to, made when it does not exist"),
    WEIR_BOOLEAN(file_log, reopen, .def = "false",
                 .help = "open the file for each line instead of keeping it open"),
    WEIR_MAP(file_log, custom_fields_by_lua,
             .help = "members to set in the line (dotted keys); only Lua that returns a constant"),
    WEIR_BYTES(file_log, queue_bytes, .def = "1m", .flags = WEIR_NOT_NEGATIVE, .max = 1 << 30,
               .help = "lines of a worker that may wait for a file that takes none now"),
    WEIR_ENUM(file_log, overflow, .def = "drop-newest", .choices = overflows,
              .help = "which line is lost when no more may wait"),
};

static const char *const labels[] = {"path", NULL};

/* ---- what became of the lines */

/* A line in weir's own log when a fault begins, changes and ends, not for each request. */
static void report(void *self, weir_request *request)
{
    file_log *policy = self;
    const sink *of = &policy->sink;
    char text[128];
    uint64_t lost = of->lost - policy->counted;
    if (sink_waiting(of) != policy->waiting) {
        policy->waiting = sink_waiting(of);
        weir_metric_set(policy->waiting_bytes, &policy->path, (double)policy->waiting);
    }
    if (lost > 0) {
        weir_metric_add(policy->lost_lines, &policy->path, (double)lost);
        policy->counted = of->lost;
        policy->lost += lost;
    }
    int failure = of->failure == EAGAIN ? 0 : of->failure;
    if (failure != 0 && failure != policy->failure)
        weir_log(request, WEIR_LOG_ERROR, "%s: cannot write: %s; lines are kept up to %lld bytes",
                 policy->file, strerror_r(failure, text, sizeof(text)),
                 (long long)policy->queue_bytes);
    policy->failure = failure != 0 ? failure : policy->failure;
    if (policy->lost > 0 && !policy->loss_told)
        weir_log(request, WEIR_LOG_ERROR, "%s: lines are lost, %zu bytes wait already",
                 policy->file, sink_waiting(of));
    policy->loss_told = policy->lost > 0;
    if (of->failure != 0 || sink_waiting(of) > 0 || (policy->failure == 0 && policy->lost == 0))
        return;
    weir_log(request, WEIR_LOG_NOTICE, "%s: written again, %llu lines were lost", policy->file,
             (unsigned long long)policy->lost);
    policy->failure = 0;
    policy->lost = 0;
    policy->loss_told = false;
}

/* ---- configuration */

static bool path_is_valid(weir_str path)
{
    if (path.size == 0 || path.data[0] == ' ' || path.data[path.size - 1] == ' ')
        return false;
    for (size_t i = 0; i < path.size; i++)
        if ((unsigned char)path.data[i] < 0x20 || strchr("*&%`", path.data[i]) != NULL)
            return false;
    return true;
}

static int read_custom_fields(file_log *policy, weir_error *error)
{
    const weir_pair *pairs = policy->custom_fields_by_lua.items;
    size_t count = policy->custom_fields_by_lua.count;
    if (count == 0)
        return 0;
    policy->values = weir_policy_alloc(policy, count * sizeof(*policy->values));
    if (policy->values == NULL) {
        weir_error_at(error, "custom_fields_by_lua", "out of memory");
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        weir_status status = constant_to_json(policy, pairs[i].value, &policy->values[i]);
        if (status == WEIR_SUCCESS)
            continue;
        weir_error_at(error, "custom_fields_by_lua",
                      status == WEIR_NO_MEMORY
                          ? "%.*s: out of memory"
                          : "%.*s: there is no Lua here, only a constant can be returned: "
                            "return \"text\", a number, true, false or nil",
                      (int)pairs[i].key.size, pairs[i].key.data);
        return -1;
    }
    return 0;
}

static int configure(void *self, weir_error *error)
{
    file_log *policy = self;
    policy->sink.fd = -1;
    if (!path_is_valid(policy->path)) {
        weir_error_at(error, "path", "not a valid filename");
        return -1;
    }
    policy->file = weir_policy_alloc(self, policy->path.size + 1);
    if (policy->file == NULL) {
        weir_error_at(error, "path", "out of memory");
        return -1;
    }
    memcpy(policy->file, policy->path.data, policy->path.size);
    policy->file[policy->path.size] = '\0';
    policy->lost_lines = weir_metric_open(
        error, self, WEIR_METRIC_COUNTER, WEIR_LIT("weir_file_log_lost_lines_total"),
        WEIR_LIT("Lines of file-log that could not be written whole"), labels, NULL, 0);
    policy->waiting_bytes =
        weir_metric_open(error, self, WEIR_METRIC_GAUGE, WEIR_LIT("weir_file_log_waiting_bytes"),
                         WEIR_LIT("Lines of file-log that wait for their file"), labels, NULL, 0);
    if (policy->lost_lines == NULL || policy->waiting_bytes == NULL)
        return -1;
    policy->sink.policy = policy;
    policy->sink.file = policy->file;
    policy->sink.reopen = policy->reopen;
    policy->sink.limit = (size_t)policy->queue_bytes;
    policy->sink.drop_oldest = policy->overflow.size == sizeof("drop-oldest") - 1 &&
                               memcmp(policy->overflow.data, "drop-oldest", 11) == 0;
    policy->sink.report = report;
    return read_custom_fields(policy, error);
}

/* ---- hooks */

static void set_custom_fields(file_log *policy, weir_request *request)
{
    const weir_pair *pairs = policy->custom_fields_by_lua.items;
    for (size_t i = 0; i < policy->custom_fields_by_lua.count; i++) {
        if (weir_log_set(request, pairs[i].key, policy->values[i]) == WEIR_SUCCESS ||
            policy->field_refused)
            continue;
        policy->field_refused = true;
        weir_log(request, WEIR_LOG_WARN, "custom field '%.*s' cannot be set",
                 (int)pairs[i].key.size, pairs[i].key.data);
    }
}

static void on_log(weir_request *request, void *self, void *context)
{
    file_log *policy = self;
    (void)context;
    set_custom_fields(policy, request);
    sink_line(&policy->sink, request, weir_log_document(request));
}

static void stop(void *self)
{
    file_log *policy = self;
    sink_close(&policy->sink);
}

WEIR_PLUGIN("file-log", "1.1.0", 0, .priority = 9, WEIR_SELF(file_log), WEIR_FIELDS(fields),
            .configure = configure, .stop = stop, .log = on_log);
