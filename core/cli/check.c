/* weir check FILE: everything that is wrong, at once, with file, line and column. */
#include <errno.h>
#include <stdio.h>

#include "base/buf.h"
#include "cli/verbs.h"
#include "plugin_host/chains.h"

const char cli_check_details[] =
    "Every problem is a line FILE:LINE:COLUMN: PATH: MESSAGE with the place shown below it. "
    "Nothing is\n"
    "started and nothing is asked over the network. Plugins check their own configuration, so "
    "those\n"
    "it names must be there: in WEIR_PLUGIN_PATH, else in ../lib/weir/plugins beside this "
    "program.\n"
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

static int check_with(const char *path, struct span text, const char *copies)
{
    struct idle_plugins plugins;
    struct arena *arena = arena_create(NULL);
    int answer = CLI_FAILED;
    if (idle_plugins_open(&plugins, cli_plugin_folder(), copies) && arena != NULL)
        answer = check_text(arena, path, text, &plugins);
    arena_destroy(arena);
    idle_plugins_close(&plugins);
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
    const char *copies = cli_copies_make();
    if (copies == NULL)
        return CLI_FAILED;
    int answer = check_with(argv[1], buf_view(&file), copies);
    cli_copies_remove();
    return answer;
}
