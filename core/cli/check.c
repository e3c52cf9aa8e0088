/* weir check FILE: everything that is wrong, at once, with file, line and column. */
#include "cli/verbs.h"

#include "base/buf.h"
#include "plugin_host/catalog.h"

#include <errno.h>
#include <stdio.h>

enum { FILE_LIMIT = 64 * 1024 * 1024 };

static const weir_host host = {.size = sizeof(weir_host), .major = WEIR_MAJOR, .minor = WEIR_MINOR};

static int check_text(struct arena *arena, const char *path, struct span text,
                      const struct catalog *catalog)
{
    struct problems *problems = problems_create(arena);
    struct config *config = NULL;
    if (problems == NULL)
        return CLI_FAILED;
    enum weir_err err = config_load(arena, text, path, catalog_view(catalog), problems, &config);
    problems_write(problems, stderr);
    if (err != WEIR_OK) {
        if (err != WEIR_ERR_CONFIG)
            (void)fprintf(stderr, "weir: %s: %s\n", path, weir_err_text(err));
        return err == WEIR_ERR_CONFIG ? CLI_BAD_CONFIG : CLI_FAILED;
    }
    (void)printf("%s: ok: services %zu, routes %zu, consumers %zu, upstreams %zu, policies %zu\n", path,
                 config->service_count, config->route_count, config->consumer_count,
                 config->upstream_count, config->policy_count);
    return CLI_OK;
}

static int check_with(const char *path, struct span text, const char *copies)
{
    struct catalog *catalog = catalog_create(cli_plugin_folder(), copies, &host);
    struct arena *arena = arena_create(NULL);
    int answer = CLI_FAILED;
    if (catalog != NULL && arena != NULL)
        answer = check_text(arena, path, text, catalog);
    arena_destroy(arena);
    catalog_destroy(catalog);
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
