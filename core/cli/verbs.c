#include "cli/verbs.h"

#include "base/auto.h"
#include "base/span.h"

#include <dirent.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int print_version(int argc, char **argv);
static int print_help(int argc, char **argv);

static const struct verb {
    const char *name, *arguments, *help;
    int (*run)(int argc, char **argv);
} verbs[] = {
    {"check", "FILE", "say everything that is wrong with a configuration", cli_check},
    {"plugin", "list | schema NAME | inspect FILE", "what the plugins are and take", cli_plugin},
    {"version", "", "the version of weir and of its plugin ABI", print_version},
    {"help", "", "this text", print_help},
};

static int print_version(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    (void)printf("weir %s\n", WEIR_VERSION);
    return CLI_OK;
}

static void usage(FILE *out)
{
    (void)fprintf(out, "usage: weir VERB …\n\n");
    for (size_t i = 0; i < COUNT_OF(verbs); i++)
        (void)fprintf(out, "  weir %s %s\n      %s\n", verbs[i].name, verbs[i].arguments,
                      verbs[i].help);
    (void)fprintf(out, "\nexit codes: 0 ok, 1 runtime failure, 2 wrong usage, 3 bad configuration\n");
}

static int print_help(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    usage(stdout);
    return CLI_OK;
}

int cli_main(int argc, char **argv)
{
    if (argc < 2) {
        usage(stderr);
        return CLI_USAGE;
    }
    struct span name = span_text(argv[1]);
    if (span_equal(name, SPAN("--help")) || span_equal(name, SPAN("-h")))
        return print_help(argc, argv);
    for (size_t i = 0; i < COUNT_OF(verbs); i++) {
        if (!span_equal(name, span_text(verbs[i].name)))
            continue;
        if (argc > 2 && span_equal(span_text(argv[2]), SPAN("--help"))) {
            (void)printf("usage: weir %s %s\n  %s\n", verbs[i].name, verbs[i].arguments, verbs[i].help);
            return CLI_OK;
        }
        return verbs[i].run(argc - 1, argv + 1);
    }
    (void)fprintf(stderr, "weir: no verb '%s'\n\n", argv[1]);
    usage(stderr);
    return CLI_USAGE;
}

const char *cli_plugin_folder(void)
{
    static char path[4096];
    const char *given = getenv("WEIR_PLUGIN_PATH");
    if (given != NULL && given[0] != '\0')
        return given;
    ssize_t size = readlink("/proc/self/exe", path, sizeof(path) - 1);
    struct span self = span_of(path, size < 0 ? 0 : (size_t)size);
    /* …/bin/weir -> …/lib/weir/plugins, in a build tree and in an install prefix alike. */
    for (int up = 0; up < 2; up++)
        while (self.size > 0 && self.data[--self.size] != '/')
            continue;
    (void)snprintf(path + self.size, sizeof(path) - self.size, "/lib/weir/plugins");
    return path;
}

static char copies[4096];

const char *cli_copies_make(void)
{
    const char *temporary = getenv("TMPDIR");
    (void)snprintf(copies, sizeof(copies), "%s/weir-check-XXXXXX",
                   temporary == NULL || temporary[0] == '\0' ? "/tmp" : temporary);
    if (mkdtemp(copies) != NULL)
        return copies;
    (void)fprintf(stderr, "weir: cannot make a folder for plugin images: %s\n", strerror(errno));
    return NULL;
}

void cli_copies_remove(void)
{
    DIR *folder = opendir(copies);
    const struct dirent *file;
    while (folder != NULL && (file = readdir(folder)) != NULL)
        if (file->d_name[0] != '.')
            (void)unlinkat(dirfd(folder), file->d_name, 0);
    if (folder != NULL)
        (void)closedir(folder);
    (void)rmdir(copies);
}
