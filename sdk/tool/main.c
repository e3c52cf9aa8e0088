#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "tool.h"

/* clang-format off */
static const struct verb {
    const char *name, *arguments;
    int (*run)(int argc, char **argv);
} verbs[] = {
    {"new",    "NAME [--lang c|c++]", tool_new},
    {"build",  "[--sanitize]", tool_build},
    {"test",   "[--sanitize] [--valgrind]", tool_test},
    {"bench",  "[FILE.so] [--config YAML] [--requests N] [--seed N] [--json]", tool_bench},
    {"fuzz",   "[FILE.so] [--config YAML] [--runs N] [--run N] [--seconds N] [--seed N]", tool_fuzz},
    {"replay", "OLD.so NEW.so FILE [--all] [--json]", tool_replay},
};
/* clang-format on */
enum { VERBS = sizeof(verbs) / sizeof(verbs[0]) };

static const struct verb *find(const char *name)
{
    for (size_t i = 0; i < VERBS; i++)
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
    return NULL;
}

int tool_usage(const char *name, const char *format, ...)
{
    const struct verb *verb = find(name);
    va_list args;
    (void)fprintf(stderr, "weir plugin %s: ", name);
    va_start(args, format);
    (void)vfprintf(stderr, format, args);
    va_end(args);
    (void)fprintf(stderr, "\nusage: weir plugin %s %s\n", name,
                  verb == NULL ? "" : verb->arguments);
    return TOOL_USAGE;
}

int tool_fail(const char *verb, const char *format, ...)
{
    va_list args;
    (void)fprintf(stderr, "weir plugin %s: ", verb);
    va_start(args, format);
    (void)vfprintf(stderr, format, args);
    va_end(args);
    (void)fputc('\n', stderr);
    return TOOL_FAILED;
}

int main(int argc, char **argv)
{
    const struct verb *verb = argc < 2 ? NULL : find(argv[1]);
    if (verb != NULL)
        return verb->run(argc - 1, argv + 1);
    for (size_t i = 0; i < VERBS; i++)
        (void)fprintf(stderr, "%s weir plugin %s %s\n", i == 0 ? "usage:" : "      ", verbs[i].name,
                      verbs[i].arguments);
    return TOOL_USAGE;
}
