/* weir plugin list | schema NAME [--markdown] | inspect FILE | lint … (lint.c) | swap … | rollback
 * … (swap.c) | new | build | test | bench | fuzz | replay (weir-plugin, see author()) */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/buf.h"
#include "cli/lint.h"
#include "cli/schema.h"
#include "cli/verbs.h"
#include "plugin_host/catalog.h"
#include "plugin_host/elf_lint.h"

const char cli_plugin_details[] =
    "  list          name, version, priority and build of every plugin that is found, and the\n"
    "                builds that a running gateway uses: policies, requests in flight, what a "
    "swap\n"
    "                chose, what is in quarantine\n"
    "  schema NAME   its configuration: fields, defaults, types and what they mean;\n"
    "                with --markdown as the tables of its page\n"
    "  inspect FILE  what a built plugin says of itself and whether weir would load it; none of "
    "its\n"
    "                code runs\n"
    "  lint [--strict] [FILE...]\n"
    "                everything that a gateway would refuse about a built plugin, or be sorry for\n"
    "                later, a line each; none of its code runs. Without FILE those of ./build.\n"
    "                Exit code 1: there are errors, with --strict also for warnings\n"
    "  swap NAME [FILE] [--canary N|N%] [--watch SECONDS] [--wait]\n"
    "                replace the build of a plugin in the running gateway, on every worker or on "
    "none;\n"
    "                without FILE by the one in plugin_path. With --canary on N workers first. It "
    "is\n"
    "                watched for that long (gateway setting swap_watch, 10 s) and the old build "
    "comes\n"
    "                back by itself when the new one crashes, fails or slows down; --wait tells "
    "how\n"
    "                it ended (exit code 1: it went back). A swap holds until the next one, over\n"
    "                reloads too.\n"
    "  rollback NAME the build before the last swap\n"
    "\n"
    "For authors, in a project's folder (the package weir-dev):\n"
    "\n"
    "  new NAME [--lang c|c++]\n"
    "                a folder with a policy that works, its test and an example configuration\n"
    "  build [--sanitize]\n"
    "                build/NAME.so, or build/sanitized/NAME.so with address,undefined\n"
    "  test [--sanitize | --valgrind]\n"
    "                build it and run its test\n"
    "  bench [FILE.so] [--config YAML]\n"
    "                nanoseconds and bytes of each hook\n"
    "  fuzz [FILE.so] [--config YAML] [--seconds N] [--seed N]\n"
    "                odd requests, bodies split anywhere, no memory, clients that go away\n"
    "  replay OLD.so NEW.so FILE\n"
    "                what the new build does differently with recorded traffic\n"
    "\n" PREFIX_DETAILS "\n"
    "Plugins are looked for in WEIR_PLUGIN_PATH, else in ../lib/weir/plugins beside this "
    "program.\n";

static int usage(void)
{
    (void)fprintf(stderr,
                  "usage: weir plugin list [--prefix DIRECTORY] | schema NAME [--markdown] | "
                  "inspect FILE |\n"
                  "                   lint [FILE...] | swap NAME [FILE] ... | rollback NAME |\n"
                  "                   new NAME | build | test | bench | fuzz | replay ...\n");
    return CLI_USAGE;
}

static int list(struct catalog *catalog)
{
    int answer = CLI_OK;
    const char *name;
    for (size_t i = 0; (name = catalog_name(catalog, i)) != NULL; i++) {
        struct image_refusal refusal;
        const struct image *image = catalog_image(catalog, span_text(name), &refusal);
        if (image == NULL) {
            (void)fprintf(stderr, "weir: %s\n", refusal.text);
            answer = CLI_FAILED;
            continue;
        }
        const weir_plugin *plugin = image_plugin(image);
        (void)printf("%-24s %-10s priority %-8d build %.12s%s\n", name, plugin->version,
                     plugin->priority, image_hash(image).data,
                     image_is_pinned(image) ? " pinned" : "");
    }
    return answer;
}

static int schema(struct catalog *catalog, const char *name, bool markdown)
{
    struct image_refusal refusal;
    const struct image *image = catalog_image(catalog, span_text(name), &refusal);
    if (image == NULL) {
        (void)fprintf(stderr, "weir: %s\n", refusal.text);
        return CLI_FAILED;
    }
    AUTO_BUF text = BUF_INIT;
    (markdown ? schema_as_markdown : schema_as_yaml)(image_plugin(image), &text);
    if (text.failed) {
        (void)fprintf(stderr, "weir: out of memory\n");
        return CLI_FAILED;
    }
    (void)fwrite(text.data, 1, text.size, stdout);
    return CLI_OK;
}

/* Reads the file only: none of its code runs. */
static int inspect(const char *path)
{
    AUTO_BUF file = BUF_INIT;
    struct elf_facts facts;
    char why[256];
    enum weir_err err = buf_read_file(&file, path, (size_t)64 << 20);
    if (err != WEIR_OK) {
        (void)fprintf(stderr, "weir: %s: %s\n", path,
                      err == WEIR_ERR_SYSTEM ? strerror(errno) : weir_err_text(err));
        return CLI_FAILED;
    }
    if (elf_lint(buf_view(&file), &facts, why, sizeof(why)) != WEIR_OK) {
        (void)fprintf(stderr, "weir: %s: %s\n", path, why);
        return CLI_FAILED;
    }
    (void)printf("name: %.*s\nversion: %.*s\nabi: %u.%u\nunloadable: %s\n", SPAN_ARG(facts.name),
                 SPAN_ARG(facts.version), facts.major, facts.minor,
                 elf_is_pinned(&facts) ? "no, it would be pinned" : "yes");
    return CLI_OK;
}

/* What an author does is not the gateway's: a program of its own, of the package weir-dev. */
static int author(char **argv)
{
    char path[4096];
    if (!cli_beside("/lib/weir/weir-plugin", path, sizeof(path)))
        return CLI_FAILED;
    argv[0] = path;
    (void)execv(path, argv);
    (void)fprintf(stderr, "weir: cannot start %s: %s%s\n", path, strerror(errno),
                  errno == ENOENT ? " (is the package weir-dev installed?)" : "");
    return CLI_FAILED;
}

static bool is_author_verb(struct span verb)
{
    static const char *const verbs[] = {"new", "build", "test", "bench", "fuzz", "replay"};
    for (size_t i = 0; i < COUNT_OF(verbs); i++)
        if (span_equal(verb, span_text(verbs[i])))
            return true;
    return false;
}

int cli_plugin(int argc, char **argv)
{
    struct span verb = argc < 2 ? SPAN_NONE : span_text(argv[1]);
    if (argc == 3 && span_equal(verb, SPAN("inspect")))
        return inspect(argv[2]);
    if (span_equal(verb, SPAN("swap")))
        return cli_plugin_swap(argc - 2, argv + 2);
    if (span_equal(verb, SPAN("rollback")))
        return cli_plugin_rollback(argc - 2, argv + 2);
    if (span_equal(verb, SPAN("lint")))
        return cli_plugin_lint(argc - 2, argv + 2);
    if (is_author_verb(verb))
        return author(argv);
    bool is_list = span_equal(verb, SPAN("list"));
    const char *prefix = is_list ? cli_prefix(argc - 1, argv + 1) : NULL;
    if (is_list && prefix == NULL)
        return CLI_USAGE;
    bool markdown = argc == 4 && span_equal(span_text(argv[3]), SPAN("--markdown"));
    if (!is_list && !(span_equal(verb, SPAN("schema")) && (argc == 3 || markdown)))
        return usage();
    const char *copies = cli_copies_make();
    if (copies == NULL)
        return CLI_FAILED;
    struct idle_plugins plugins;
    int answer = CLI_FAILED;
    if (idle_plugins_open(&plugins, cli_plugin_folder(), copies))
        answer = is_list ? list(plugins.catalog) : schema(plugins.catalog, argv[2], markdown);
    idle_plugins_close(&plugins);
    cli_copies_remove();
    if (is_list && !cli_plugin_running(prefix, argc > 2))
        answer = CLI_FAILED;
    return answer;
}
