/* weir run: serve a configuration file until a signal ends it. Every setting is a flag. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "admin/admin.h"
#include "cli/verbs.h"
#include "process/process.h"

enum { FLAGS_MAX = 256 };

/* ---- status and admin, which core/process does not know */

static void *side_create(const struct side_options *from)
{
    struct admin_options options = {.loop = from->loop,
                                    .gateway = from->gateway,
                                    .shared = from->shared,
                                    .worker = from->worker,
                                    .control = from->control,
                                    .plugin_path = from->plugin_path,
                                    .single_process = from->single_process};
    return admin_create(&options);
}

static enum weir_err side_listen(void *side, int fd, enum side_kind kind, struct tls_server *tls)
{
    return admin_listen(side, fd, kind == SIDE_STATUS ? ADMIN_STATUS : ADMIN_ADMIN, tls);
}

static void side_destroy(void *side)
{
    admin_destroy(side);
}

static const struct side_service side = {side_create, side_listen, side_destroy};

/* ---- arguments */

struct run_arguments {
    const char *file;
    bool single_process;
    size_t count;
    struct settings_flag flags[FLAGS_MAX];
};

/* The names are the first words of the help's lines. */
static int unknown_flag(struct span name)
{
    AUTO_BUF help = BUF_INIT;
    char wanted[64];
    struct span word = span_first(name, sizeof(wanted));
    for (size_t i = 0; i < word.size; i++)
        wanted[i] = word.data[i] == '-' ? '_' : word.data[i];
    struct guess guess = guess_start(span_of(wanted, word.size));
    settings_help(&help);
    struct span rest = buf_view(&help), line;
    while (span_split(&rest, '\n', &line)) {
        line = span_trim(line);
        guess_offer(&guess, span_first(line, span_find(line, ' ')));
    }
    guess_offer(&guess, SPAN("single_process"));
    if (!guess_found(&guess))
        return cli_usage("run", "unknown flag '--%.*s'", SPAN_ARG(word));
    char best[64];
    struct span found = span_first(guess.best, sizeof(best));
    for (size_t i = 0; i < found.size; i++)
        best[i] = found.data[i] == '_' ? '-' : found.data[i];
    return cli_usage("run", "unknown flag '--%.*s', did you mean '--%.*s'?", SPAN_ARG(word),
                     (int)found.size, best);
}

/* A flag at argv[*at], which moves on to its value. */
static int read_flag(struct run_arguments *out, int argc, char **argv, int *at)
{
    struct span word = span_from(span_text(argv[*at]), 2);
    size_t equals = span_find(word, '=');
    struct span name = span_first(word, equals);
    if (span_equal(name, SPAN("single-process")) && equals == word.size) {
        out->single_process = true;
        return CLI_OK;
    }
    if (!settings_known(name))
        return unknown_flag(name);
    if (out->count == FLAGS_MAX)
        return cli_usage("run", "too many flags");
    struct span value = span_from(word, equals + 1);
    if (equals == word.size) {
        if (*at + 1 == argc)
            return cli_usage("run", "no value after '%s'", argv[*at]);
        value = span_text(argv[++*at]);
    }
    out->flags[out->count++] = (struct settings_flag){name, value};
    return CLI_OK;
}

static int read_arguments(struct run_arguments *out, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        struct span word = span_text(argv[i]);
        const char *file = NULL;
        if (span_equal(word, SPAN("-c"))) {
            if (i + 1 == argc)
                return cli_usage("run", "no file after '-c'");
            file = argv[++i];
        } else if (span_starts_with(word, SPAN("--")) && word.size > 2) {
            int answer = read_flag(out, argc, argv, &i);
            if (answer != CLI_OK)
                return answer;
            continue;
        } else if (word.size > 0 && word.data[0] == '-') {
            return cli_usage("run", "unknown flag '%s'", argv[i]);
        } else {
            file = argv[i];
        }
        if (out->file != NULL)
            return cli_usage("run", "two files: '%s' and '%s'", out->file, file);
        out->file = file;
    }
    return CLI_OK;
}

/* WEIR_CONFIG, else a file of a usual name here. */
static const char *default_file(void)
{
    static const char *const names[] = {"kong.yml", "weir.yaml"};
    static char path[4096];
    const char *named = getenv("WEIR_CONFIG");
    if (named != NULL && named[0] != '\0') {
        (void)snprintf(path, sizeof(path), "%s", named);
        return path;
    }
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (access(names[i], R_OK) == 0)
            return names[i];
    return NULL;
}

int cli_run(int argc, char **argv)
{
    static struct run_arguments arguments;
    int answer = read_arguments(&arguments, argc, argv);
    if (answer != CLI_OK)
        return answer;
    if (arguments.file == NULL)
        arguments.file = default_file();
    /* The other WEIR_ variables are settings, and this one would be an unknown setting. */
    (void)unsetenv("WEIR_CONFIG");
    if (arguments.file == NULL)
        return cli_usage("run", "no file given, and there is neither kong.yml nor weir.yaml here");
    struct run_options options = {.file = arguments.file,
                                  .flags = arguments.flags,
                                  .flag_count = arguments.count,
                                  .plugin_path = cli_plugin_folder(),
                                  .single_process = arguments.single_process,
                                  .side = &side};
    return process_run(&options);
}

const char cli_run_details[] =
    "  -c FILE            the configuration; else WEIR_CONFIG, ./kong.yml, ./weir.yaml\n"
    "  --single-process   no master and no workers, for debuggers and profilers\n"
    "  --NAME VALUE       any setting (--workers 2, --proxy-listen=0.0.0.0:80); a flag is "
    "stronger\n"
    "                     than the environment, that is stronger than the file\n"
    "\n"
    "Signals: HUP reload, TERM and QUIT drain, INT stop at once, USR1 reopen the log.\n";
