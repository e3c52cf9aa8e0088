/* Starting, as a table: what both modes begin with, then the master's or the single worker's own
 * table. */
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "net/tls.h"
#include "plugin_host/shared.h"
#include "process/instance.h"

bool instance_refuse(struct instance *instance, int code, const char *format, ...)
{
    char text[8192];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    (void)fprintf(stderr, "weir: %s\n", text);
    if (span_is_set(instance->settings.error_log))
        log_error("%s", text);
    instance->code = code;
    return false;
}

/* ---- the configuration */

static bool read_file(void *user)
{
    struct instance *instance = user;
    const char *file = instance->options->file;
    enum weir_err err = revision_read(file, 1, &instance->first);
    if (err == WEIR_OK)
        return true;
    return instance_refuse(instance, EXIT_FAILED, "%s: %s", file,
                           err == WEIR_ERR_SYSTEM ? strerrordesc_np(errno) : weir_err_text(err));
}

static void drop_file(void *user)
{
    struct instance *instance = user;
    revision_destroy(instance->first);
    instance->first = NULL;
}

/* The settings alone; everything else is the trial's business, which also tells the warnings. */
static enum weir_err parse_settings(struct instance *instance, struct span text)
{
    const struct run_options *options = instance->options;
    AUTO(arena_destroy) struct arena *scratch = arena_create(NULL);
    struct problems *problems = scratch == NULL ? NULL : problems_create(scratch);
    struct node *root = NULL;
    if (problems == NULL)
        return WEIR_ERR_NO_MEMORY;
    enum weir_err err = document_parse(scratch, text, options->file, problems, &root);
    /* A document with faults of its own may still tell its settings. */
    if (err == WEIR_OK || root != NULL)
        err = settings_load(&instance->settings, instance->arena, node_find(root, SPAN("gateway")),
                            environ, options->flags, options->flag_count, problems);
    if (err == WEIR_ERR_CONFIG)
        problems_write(problems, stderr);
    return err;
}

static bool load_settings(void *user)
{
    struct instance *instance = user;
    struct mapped_text mapped = {.text = SPAN_NONE};
    instance->arena = arena_create(NULL);
    enum weir_err err = instance->arena == NULL ? WEIR_ERR_NO_MEMORY
                                                : mapped_text_open(instance->first->fd, &mapped);
    if (err == WEIR_OK)
        err = parse_settings(instance, mapped.text);
    mapped_text_close(&mapped);
    if (err == WEIR_OK)
        return true;
    arena_destroy(instance->arena);
    instance->arena = NULL;
    instance->code = EXIT_BAD_CONFIG;
    if (err != WEIR_ERR_CONFIG)
        return instance_refuse(instance, EXIT_FAILED, "cannot read the settings: %s",
                               weir_err_text(err));
    return false;
}

static void drop_settings(void *user)
{
    struct instance *instance = user;
    arena_destroy(instance->arena);
    instance->arena = NULL;
    instance->settings = (struct settings){0};
}

/* ---- the rest */

/* Every connection is one; the soft limit is a default for other kinds of programs. */
static bool raise_descriptors(void *user)
{
    struct rlimit limit;
    (void)user;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    return true; /* what there is must do */
}

static bool take_prefix(void *user)
{
    struct instance *instance = user;
    char why[PREFIX_PATH_MAX + 256];
    return prefix_take(&instance->prefix, instance->settings.prefix, why, sizeof(why)) ||
           instance_refuse(instance, EXIT_FAILED, "%s", why);
}

static void leave_prefix(void *user)
{
    struct instance *instance = user;
    prefix_leave(&instance->prefix);
}

static bool start_log(void *user)
{
    struct instance *instance = user;
    const struct settings *settings = &instance->settings;
    char path[PREFIX_PATH_MAX] = "";
    bool to_file = span_is_set(settings->error_log);
    (void)snprintf(path, sizeof(path), "%.*s", SPAN_ARG(settings->error_log));
    log_set_role(instance->options->single_process ? "weir" : "master");
    log_set_level(settings->level);
    if (log_open(to_file ? path : NULL) == WEIR_OK)
        return true;
    int saved = errno;
    instance->settings.error_log = SPAN_NONE;
    return instance_refuse(instance, EXIT_FAILED, "cannot open the log %s: %s", path,
                           strerrordesc_np(saved));
}

static void end_log(void *user)
{
    (void)user;
    /* To stderr, which cannot fail. */
    if (log_open(NULL) != WEIR_OK)
        return;
}

static uint32_t count_workers(const struct instance *instance)
{
    int64_t count = instance->settings.workers;
    cpu_set_t processors;
    if (instance->options->single_process)
        return 1;
    if (count == 0 && sched_getaffinity(0, sizeof(processors), &processors) == 0)
        count = CPU_COUNT(&processors);
    return count < 1 ? 1 : count > SHARED_WORKERS_MAX ? SHARED_WORKERS_MAX : (uint32_t)count;
}

static void drop_shared(void *user)
{
    struct instance *instance = user;
    shared_destroy(instance->shared);
    instance->shared = NULL;
    crash_records_destroy(TAKE(instance->crashes), instance->workers);
}

static bool make_shared(void *user)
{
    struct instance *instance = user;
    instance->workers = count_workers(instance);
    if (instance->settings.workers > SHARED_WORKERS_MAX)
        log_warn("%" PRId64 " workers are too many, %d it is", instance->settings.workers,
                 (int)SHARED_WORKERS_MAX);
    instance->shared =
        shared_create((size_t)instance->settings.shared_memory_size, instance->workers);
    instance->crashes = crash_records_create(instance->workers);
    if (instance->shared == NULL || instance->crashes == NULL) {
        drop_shared(instance);
        return instance_refuse(instance, EXIT_FAILED,
                               "cannot make %" PRId64 " bytes of shared memory",
                               instance->settings.shared_memory_size);
    }
    clock_update();
    struct gateway_facts *facts = shared_facts(instance->shared);
    facts->started_wall_ms = clock_wall_ms();
    facts->workers = instance->workers;
    return true;
}

/* Before the workers: none of them loads what another has loaded. The system's alone wait until a
 * policy or a target is verified. */
static bool trust_authorities(void *user)
{
    struct instance *instance = user;
    const struct span_list *list = &instance->settings.lua_ssl_trusted_certificate;
    char path[PREFIX_PATH_MAX], why[512];
    for (size_t i = 0; i < list->count; i++) {
        bool is_system = span_equal(list->items[i], SPAN("system"));
        if (is_system && list->count == 1)
            continue;
        (void)snprintf(path, sizeof(path), "%.*s", SPAN_ARG(list->items[i]));
        if (!tls_trust_add(is_system ? NULL : path, why, sizeof(why))) {
            tls_trust_reset();
            return instance_refuse(instance, EXIT_BAD_CONFIG,
                                   "gateway.lua_ssl_trusted_certificate: %s", why);
        }
    }
    return true;
}

static void distrust_authorities(void *user)
{
    (void)user;
    tls_trust_reset();
}

/* One for all processes: workers that each made a certificate would show different ones. */
static struct tls_server *make_tls(const struct settings *settings, char *why, size_t why_size)
{
    char cert[PREFIX_PATH_MAX], key[PREFIX_PATH_MAX];
    if (settings->ssl_cert.count == 0)
        return tls_server_create(NULL, NULL, why, why_size);
    (void)snprintf(cert, sizeof(cert), "%.*s", SPAN_ARG(settings->ssl_cert.items[0]));
    (void)snprintf(key, sizeof(key), "%.*s", SPAN_ARG(settings->ssl_cert_key.items[0]));
    return tls_server_create(cert, key, why, why_size);
}

static bool open_listeners(void *user)
{
    struct instance *instance = user;
    char why[512];
    if (!sockets_open(&instance->sockets, &instance->settings, instance->workers,
                      instance->options->side != NULL, why, sizeof(why)))
        return instance_refuse(instance, EXIT_FAILED, "%s", why);
    if (instance->sockets.any_tls &&
        (instance->tls = make_tls(&instance->settings, why, sizeof(why))) == NULL) {
        sockets_close(&instance->sockets);
        return instance_refuse(instance, EXIT_BAD_CONFIG, "gateway.ssl_cert: %s", why);
    }
    return true;
}

static void close_listeners(void *user)
{
    struct instance *instance = user;
    sockets_close(&instance->sockets);
    tls_server_destroy(instance->tls);
    instance->tls = NULL;
}

/* clang-format off */
const struct start_step common_steps[COMMON_STEPS] = {
    /* name            does            undone by */
    {"file",           read_file,      drop_file},
    {"settings",       load_settings,  drop_settings},
    {"prefix",         take_prefix,    leave_prefix},
    {"log",            start_log,      end_log},
    {"descriptors",    raise_descriptors, NULL},
    {"shared memory",  make_shared,    drop_shared},
    {"authorities",    trust_authorities, distrust_authorities},
    {"listeners",      open_listeners, close_listeners},
};
/* clang-format on */

void instance_forget(struct instance *instance)
{
    sockets_forget(&instance->sockets);
    tls_server_destroy(instance->tls);
    tls_trust_reset();
    shared_destroy(instance->shared);
    crash_records_destroy(instance->crashes, instance->workers);
    drop_settings(instance);
    drop_file(instance);
    end_log(instance);
}

void instance_announce(const struct instance *instance)
{
    AUTO_BUF text = BUF_INIT;
    static const struct {
        const char *name;
        enum socket_kind kind;
    } kinds[] = {{"proxy", SOCKET_PROXY}, {"status", SOCKET_STATUS}, {"admin", SOCKET_ADMIN}};
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        buf_printf(&text, "%s%s ", i > 0 ? "; " : "", kinds[i].name);
        sockets_describe(&instance->sockets, kinds[i].kind, &text);
    }
    log_notice("weir %s is ready, pid %d, %" PRIu32 " worker%s; %.*s", WEIR_VERSION, (int)getpid(),
               instance->workers, instance->workers == 1 ? "" : "s", SPAN_ARG(buf_view(&text)));
}

int process_run(const struct run_options *options)
{
    struct instance instance = {.options = options, .prefix = {.lock = -1}, .code = EXIT_FAILED};
    size_t done = steps_run(common_steps, COMMON_STEPS, &instance);
    if (done == COMMON_STEPS)
        instance.code = options->single_process ? single_run(&instance) : master_run(&instance);
    steps_undo(common_steps, done, &instance);
    return instance.code;
}
