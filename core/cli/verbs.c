#include "cli/verbs.h"

#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/span.h"
#include "cli/man.h"
#include "config/problems.h"
#include "config/settings.h"

static int print_help(int argc, char **argv);

/* clang-format off */
static const struct verb {
    const char *name, *arguments, *help;
    int (*run)(int argc, char **argv);
    const char *details; /* lines that --help and the man page say beside `help`; NULL: none */
    bool takes_settings; /* and then lists them */
} verbs[] = {
    {"run",     "[-c FILE] [FILE] [--single-process] [--NAME VALUE]...", "serve a configuration until a signal ends it", cli_run, cli_run_details, true},
    {"reload",  "[--prefix DIRECTORY]", "have a running gateway read its file again; says what is wrong with it", cli_reload, cli_reload_details, false},
    {"stop",    "[--prefix DIRECTORY]", "drain a running gateway and wait for its end", cli_stop, cli_stop_details, false},
    {"health",  "[--prefix DIRECTORY]", "a line for each worker of a running gateway, 0 when all serve", cli_health, cli_health_details, false},
    {"top",     "[--prefix DIRECTORY] [--once] [--interval SECONDS]", "what a running gateway and each build of a plugin do, refreshed each second", cli_top, cli_top_details, false},
    {"record",  "-o FILE [--count N] [--seconds N] [--plugin NAME] [--route NAME] ...", "write the next requests of a running gateway to a file, secrets taken out", cli_record, cli_record_details, false},
    {"check",   "FILE", "say everything that is wrong with a configuration", cli_check, cli_check_details, false},
    {"plugin",  "list | schema NAME | inspect FILE | swap NAME [FILE] | rollback NAME", "what the plugins are and take; replace one under traffic", cli_plugin, cli_plugin_details, false},
    {"echo",    "[--listen ADDRESS] [--delay MS]", "an upstream that answers with what it received", cli_echo, cli_echo_details, false},
    {"version", "[-v]", "the version of weir; with -v of its plugin ABI and its libraries", cli_version, NULL, false},
    {"help",    "[VERB | --man]", "this text, what a verb takes, or the manual page", print_help, NULL, false},
};
/* clang-format on */

static const struct verb *find_verb(struct span name, struct guess *guess)
{
    for (size_t i = 0; i < COUNT_OF(verbs); i++) {
        if (span_equal(name, span_text(verbs[i].name)))
            return &verbs[i];
        guess_offer(guess, span_text(verbs[i].name));
    }
    return NULL;
}

static bool asks_help(const char *word)
{
    return span_equal(span_text(word), SPAN("--help")) || span_equal(span_text(word), SPAN("-h"));
}

static void usage(FILE *out)
{
    (void)fprintf(out, "usage: weir VERB ...\n\n");
    for (size_t i = 0; i < COUNT_OF(verbs); i++)
        (void)fprintf(out, "  weir %s %s\n      %s\n", verbs[i].name, verbs[i].arguments,
                      verbs[i].help);
    (void)fprintf(out,
                  "\nexit codes: 0 ok, 1 runtime failure, 2 wrong usage, 3 bad configuration\n");
}

static int explain(const struct verb *verb)
{
    (void)printf("usage: weir %s %s\n  %s\n", verb->name, verb->arguments, verb->help);
    if (verb->details != NULL)
        (void)printf("\n%s", verb->details);
    if (verb->takes_settings) {
        AUTO_BUF settings = BUF_INIT;
        settings_help(&settings);
        (void)printf("\nsettings, also in the file's gateway: block and as WEIR_<NAME> in the "
                     "environment:\n%.*s",
                     SPAN_ARG(buf_view(&settings)));
    }
    return CLI_OK;
}

static int print_manual(void)
{
    AUTO_BUF page = BUF_INIT;
    man_start(&page);
    for (size_t i = 0; i < COUNT_OF(verbs); i++)
        man_verb(&page, verbs[i].name, verbs[i].arguments, verbs[i].help, verbs[i].details);
    man_end(&page);
    if (page.failed || fwrite(page.data, 1, page.size, stdout) != page.size)
        return CLI_FAILED;
    return CLI_OK;
}

static int no_verb(const char *name, const struct guess *guess)
{
    if (guess_found(guess))
        (void)fprintf(stderr, "weir: no verb '%s', did you mean '%.*s'?\n\n", name,
                      SPAN_ARG(guess->best));
    else
        (void)fprintf(stderr, "weir: no verb '%s'\n\n", name);
    usage(stderr);
    return CLI_USAGE;
}

static int print_help(int argc, char **argv)
{
    if (argc < 2) {
        usage(stdout);
        return CLI_OK;
    }
    if (span_equal(span_text(argv[1]), SPAN("--man")))
        return print_manual();
    struct guess guess = guess_start(span_text(argv[1]));
    const struct verb *verb = find_verb(span_text(argv[1]), &guess);
    return verb == NULL ? no_verb(argv[1], &guess) : explain(verb);
}

int cli_usage(const char *name, const char *format, ...)
{
    struct guess guess = guess_start(span_text(name));
    const struct verb *verb = find_verb(span_text(name), &guess);
    va_list args;
    (void)fprintf(stderr, "weir %s: ", name);
    va_start(args, format);
    (void)vfprintf(stderr, format, args);
    va_end(args);
    (void)fprintf(stderr, "\nusage: weir %s %s\n", name, verb == NULL ? "" : verb->arguments);
    return CLI_USAGE;
}

int cli_main(int argc, char **argv)
{
    if (argc < 2) {
        usage(stderr);
        return CLI_USAGE;
    }
    if (asks_help(argv[1]))
        return print_help(1, argv);
    bool version = span_equal(span_text(argv[1]), SPAN("--version"));
    struct span name = version ? SPAN("version") : span_text(argv[1]);
    struct guess guess = guess_start(name);
    const struct verb *verb = find_verb(name, &guess);
    if (verb == NULL)
        return no_verb(argv[1], &guess);
    if (argc > 2 && asks_help(argv[2]))
        return explain(verb);
    return verb->run(argc - 1, argv + 1);
}

bool cli_beside(const char *rest, char *out, size_t size)
{
    ssize_t length = readlink("/proc/self/exe", out, size);
    struct span self = span_of(out, length < 0 ? 0 : (size_t)length);
    for (int up = 0; up < 2; up++)
        while (self.size > 0 && self.data[--self.size] != '/')
            continue;
    int tail = snprintf(out + self.size, size - self.size, "%s", rest);
    return tail >= 0 && (size_t)tail < size - self.size;
}

const char *cli_plugin_folder(void)
{
    static char path[4096];
    const char *given = getenv("WEIR_PLUGIN_PATH");
    if (given != NULL && given[0] != '\0')
        return given;
    return cli_beside("/lib/weir/plugins", path, sizeof(path)) ? path : "";
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
