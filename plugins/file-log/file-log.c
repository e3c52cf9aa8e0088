/* One line of JSON for each request, appended to a file. The host writes it, in a thread of its
 * own, with a bounded queue: a log never delays a request. What is left here is what goes into the
 * line.
 */
#include <string.h>

#include <weir/weir.h>

#include "constant.h"

typedef struct {
    weir_str path;
    bool reopen;
    weir_list custom_fields_by_lua;

    int64_t queue_bytes;
    weir_str overflow;

    weir_str *values; /* JSON, one for each custom field */
    weir_file *file;
    bool field_refused; /* one was logged */
} file_log;

static const char *const overflows[] = {"drop-newest", "drop-oldest", NULL};
static const weir_field fields[] = {
    WEIR_STRING(file_log, path, .flags = WEIR_REQUIRED,
                .help = "file the lines are appended to, made when it does not exist"),
    WEIR_BOOLEAN(file_log, reopen, .def = "false",
                 .help = "open the file by its name for each write instead of keeping it open"),
    WEIR_MAP(file_log, custom_fields_by_lua,
             .help = "members to set in the line (dotted keys); only Lua that returns a constant"),
    WEIR_BYTES(file_log, queue_bytes, .def = "1m", .flags = WEIR_NOT_NEGATIVE, .max = 1 << 30,
               .help = "lines of a worker that may wait for a file that takes none now"),
    WEIR_ENUM(file_log, overflow, .def = "drop-newest", .choices = overflows,
              .help = "which line is lost when no more may wait"),
};

/* ---- configuration */

enum { PATH_BYTES_MAX = 4095 };

static bool path_is_valid(weir_str path)
{
    if (path.size == 0 || path.size > PATH_BYTES_MAX || path.data[0] == ' ' ||
        path.data[path.size - 1] == ' ')
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
    if (!path_is_valid(policy->path)) {
        weir_error_at(error, "path", "not a valid filename");
        return -1;
    }
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

static int start(void *self)
{
    file_log *policy = self;
    bool drops_oldest = policy->overflow.size == sizeof("drop-oldest") - 1 &&
                        memcmp(policy->overflow.data, "drop-oldest", policy->overflow.size) == 0;
    const weir_file_options options = {
        .size = (uint32_t)sizeof(options),
        .flags =
            (policy->reopen ? WEIR_FILE_REOPEN : 0) | (drops_oldest ? WEIR_FILE_DROP_OLDEST : 0),
        .queue_bytes = (uint32_t)policy->queue_bytes,
    };
    policy->file = weir_file_open(self, policy->path, &options);
    return policy->file == NULL ? -1 : 0;
}

static void on_log(weir_request *request, void *self, void *context)
{
    file_log *policy = self;
    (void)context;
    set_custom_fields(policy, request);
    /* A line that is lost is counted and logged by the host. */
    (void)weir_file_append(policy->file, weir_log_document(request));
}

WEIR_PLUGIN("file-log", "1.2.0", WEIR_CAP_FILES, .priority = 9, WEIR_SELF(file_log),
            WEIR_FIELDS(fields), .configure = configure, .start = start, .log = on_log);
