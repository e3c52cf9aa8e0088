/* weir check FILE: everything that is wrong, at once, with file, line and column. */
#include <errno.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "cli/verbs.h"
#include "config/document.h"
#include "config/settings.h"
#include "plugin_host/chains.h"
#include "process/crash.h"

const char cli_check_details[] =
    "Every problem is a line FILE:LINE:COLUMN: PATH: MESSAGE with the place shown below it. "
    "Nothing is\n"
    "started and nothing is asked over the network. Plugins check their own configuration, so "
    "those\n"
    "it names must be there: in WEIR_PLUGIN_PATH, else in the file's plugin_path, else in\n"
    "../lib/weir/plugins beside this program.\n"
    "\n"
    "Exit codes: 0 when the file is good, 3 when it is not, 1 when it cannot be read.\n";

enum { FILE_LIMIT = 64 * 1024 * 1024 };

/* Also what plugins say of their configuration: configure() runs, nothing is started. */
static enum weir_err build(struct arena *arena, const char *path, struct span text,
                           const struct idle_plugins *plugins, struct problems *problems,
                           struct config **out_config)
{
    struct policies *policies = NULL;
    TRY(config_load(arena, text, path, catalog_view(plugins->catalog), problems, out_config));
    TRY(policies_build(arena, plugins->host, *out_config, plugins->catalog, problems, &policies));
    policies_stop(policies);
    return WEIR_OK;
}

static int check_text(struct arena *arena, const char *path, struct span text,
                      const struct idle_plugins *plugins)
{
    struct problems *problems = problems_create(arena);
    struct config *config = NULL;
    if (problems == NULL)
        return CLI_FAILED;
    enum weir_err err = build(arena, path, text, plugins, problems, &config);
    problems_write(problems, stderr);
    if (err != WEIR_OK) {
        if (err != WEIR_ERR_CONFIG)
            (void)fprintf(stderr, "weir: %s: %s\n", path, weir_err_text(err));
        return err == WEIR_ERR_CONFIG ? CLI_BAD_CONFIG : CLI_FAILED;
    }
    (void)printf("%s: ok: services %zu, routes %zu, consumers %zu, upstreams %zu, policies %zu\n",
                 path, config->service_count, config->route_count, config->consumer_count,
                 config->upstream_count, config->policy_count);
    return CLI_OK;
}

/* Where `weir run` would look. What is wrong with the file is told later. */
static const char *plugin_folder(struct arena *arena, const char *path, struct span text)
{
    struct problems *untold = problems_create(arena);
    struct settings settings = {0};
    struct node *root = NULL;
    enum weir_err err =
        untold == NULL ? WEIR_ERR_NO_MEMORY : document_parse(arena, text, path, untold, &root);
    if (root != NULL)
        err = settings_load(&settings, arena, node_find(root, SPAN("gateway")), environ, NULL, 0,
                            untold);
    bool is_told = (err == WEIR_OK || err == WEIR_ERR_CONFIG) && settings.plugin_path.size > 0;
    return is_told ? settings.plugin_path.data : cli_plugin_folder();
}

static int check_with(const char *path, struct span text, const char *copies)
{
    struct idle_plugins plugins = {0};
    struct arena *arena = arena_create(NULL);
    int answer = CLI_FAILED;
    if (arena != NULL && idle_plugins_open(&plugins, plugin_folder(arena, path, text), copies)) {
        crash_set_host(plugins.host);
        answer = check_text(arena, path, text, &plugins);
        crash_set_host(NULL);
    }
    arena_destroy(arena);
    idle_plugins_close(&plugins);
    return answer;
}

/* How the child ended: by itself, or a plugin took it along. */
static int judge(const char *path, const struct crash_record *record, pid_t child)
{
    struct death death = {0};
    AUTO_BUF text = BUF_INIT;
    while (waitpid(child, &death.status, 0) < 0)
        if (errno != EINTR)
            return CLI_FAILED;
    death.signal = WIFSIGNALED(death.status) ? WTERMSIG(death.status) : 0;
    if (!crash_tell(record, child, &death) && death.signal == 0)
        return WEXITSTATUS(death.status);
    death_describe(&death, &text);
    buf_byte(&text, '\n');
    crash_backtrace(record, child, &text);
    (void)fprintf(stderr, "weir: %s: the check crashed: %.*s", path, SPAN_ARG(buf_view(&text)));
    return CLI_FAILED;
}

/* In a process of its own, since code of plugins runs in it. The child comes back with the answer
 * too, and ends as programs do; the parent removes what both used. */
static int check_apart(const char *path, struct span text)
{
    const char *copies = cli_copies_make();
    if (copies == NULL)
        return CLI_FAILED;
    struct crash_record *record = crash_records_create(1);
    (void)fflush(NULL);
    pid_t child = record == NULL ? -1 : fork();
    if (child == 0) {
        crash_catch(record, -1);
        return check_with(path, text, copies);
    }
    int answer = child < 0 ? CLI_FAILED : judge(path, record, child);
    if (child < 0)
        (void)fprintf(stderr, "weir: %s: cannot start the check: %s\n", path, strerror(errno));
    crash_records_destroy(record, 1);
    cli_copies_remove();
    return answer;
}

int cli_check(int argc, char **argv)
{
    if (argc != 2) {
        (void)fprintf(stderr, "usage: weir check FILE\n");
        return CLI_USAGE;
    }
    AUTO_BUF file = BUF_INIT;
    enum weir_err err = buf_read_file(&file, argv[1], FILE_LIMIT);
    if (err != WEIR_OK) {
        (void)fprintf(stderr, "weir: %s: %s\n", argv[1],
                      err == WEIR_ERR_SYSTEM ? strerror(errno) : weir_err_text(err));
        return CLI_FAILED;
    }
    return check_apart(argv[1], buf_view(&file));
}
