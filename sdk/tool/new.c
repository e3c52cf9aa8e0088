/* weir plugin new: a project folder out of share/weir/template, whose files are complete but for
 * the policy's name. What is in `common` goes into every project, beside that of the language. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tool.h"

enum { TEMPLATE_LIMIT = 1024 * 1024 };

/* @WORD@ in a template's contents and in its file's name. */
enum { WORDS = 3 };
struct words {
    struct word {
        const char *mark, *text;
    } items[WORDS];
    char identifier[64], plugin_path[4096 + 8];
};

struct order {
    const char *name, *language;
    bool force;
};

static bool is_one_of(const char *const *list, const char *name)
{
    for (; *list != NULL; list++)
        if (strcmp(*list, name) == 0)
            return true;
    return false;
}

static int check_name(const struct order *order)
{
    static const char *const ours[] = {"jwt",        "key-auth",       "rate-limiting",
                                       "cors",       "file-log",       "request-transformer",
                                       "prometheus", "correlation-id", "response-transformer",
                                       NULL};
    /* Targets that CMake or its generators have already. */
    static const char *const taken[] = {"all",     "test",    "clean",         "help",
                                        "install", "package", "rebuild_cache", "edit_cache",
                                        "depend",  NULL};
    if (!project_name_is_valid(order->name, strlen(order->name)))
        return tool_usage("new",
                          "field 'NAME': have '%.80s', want a letter, then letters, digits, '-', "
                          "'_' or '.', 63 at most",
                          order->name);
    if (is_one_of(taken, order->name))
        return tool_usage("new", "field 'NAME': '%s' is a target of CMake, want another",
                          order->name);
    if (!order->force && is_one_of(ours, order->name))
        return tool_usage("new",
                          "field 'NAME': '%s' is a policy of weir's own, want another (or --force)",
                          order->name);
    return TOOL_OK;
}

static int read_order(int argc, char **argv, struct order *out)
{
    *out = (struct order){.language = "c"};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--lang") == 0 && i + 1 < argc)
            out->language = argv[++i];
        else if (strncmp(argv[i], "--lang=", 7) == 0)
            out->language = argv[i] + 7;
        else if (strcmp(argv[i], "--force") == 0)
            out->force = true;
        else if (argv[i][0] == '-' || out->name != NULL)
            return tool_usage("new", "what is '%.80s'?", argv[i]);
        else
            out->name = argv[i];
    }
    if (out->name == NULL)
        return tool_usage("new", "which name?");
    if (strcmp(out->language, "c") != 0 && strcmp(out->language, "c++") != 0)
        return tool_usage("new", "field '--lang': have '%.80s', want c or c++", out->language);
    return check_name(out);
}

/* A path that needs no escape between the YAML's quotes and in a list joined by ':'. */
static bool is_plain(const char *path)
{
    return strpbrk(path, "\"\\${}:\n\t") == NULL;
}

static bool make_words(const char *name, struct words *out)
{
    char plugins[4096];
    if (!tool_beside("/lib/weir/plugins", plugins, sizeof(plugins)))
        return false;
    (void)snprintf(out->plugin_path, sizeof(out->plugin_path), "build%s%s",
                   is_plain(plugins) ? ":" : "", is_plain(plugins) ? plugins : "");
    for (size_t i = 0; i <= strlen(name); i++)
        out->identifier[i] = isalnum((unsigned char)name[i]) || name[i] == '\0' ? name[i] : '_';
    out->items[0] = (struct word){"@NAME@", name};
    out->items[1] = (struct word){"@IDENTIFIER@", out->identifier};
    out->items[2] = (struct word){"@PLUGIN_PATH@", out->plugin_path};
    return true;
}

static const struct word *word_at(const struct words *words, const char *at)
{
    for (size_t i = 0; i < WORDS; i++)
        if (strncmp(at, words->items[i].mark, strlen(words->items[i].mark)) == 0)
            return &words->items[i];
    return NULL;
}

/* `text` with its words replaced. */
static void fill(FILE *out, const char *text, const struct words *words)
{
    while (*text != '\0') {
        const struct word *word = *text == '@' ? word_at(words, text) : NULL;
        if (word != NULL) {
            (void)fputs(word->text, out);
            text += strlen(word->mark);
        } else {
            (void)fputc(*text++, out);
        }
    }
}

/* Where the template `file` goes. The one for git has no dot there, or it would work on ours. */
static bool target_path(const char *folder, const char *file, const struct words *words, char *out,
                        size_t size)
{
    FILE *path = fmemopen(out, size, "w");
    if (path == NULL)
        return false;
    (void)fprintf(path, "%s/%s", folder, strcmp(file, "gitignore") == 0 ? "." : "");
    fill(path, file, words);
    (void)fputc('\0', path);
    bool good = ferror(path) == 0;
    good = fclose(path) == 0 && good;
    out[size - 1] = '\0';
    return good && strlen(out) < size - 1;
}

/* Never over a file that is there. */
static bool make_file(const char *from, const char *to, const struct words *words)
{
    char *text = tool_read_file(from, TEMPLATE_LIMIT, NULL);
    if (text == NULL) {
        (void)tool_fail("new", "cannot read %s: %s", from, strerror(errno));
        return false;
    }
    FILE *file = fopen(to, "wxe");
    bool good = file != NULL;
    if (good) {
        fill(file, text, words);
        good = ferror(file) == 0;
        good = fclose(file) == 0 && good;
    }
    if (!good)
        (void)tool_fail("new", "cannot write %s: %s", to, strerror(errno));
    free(text);
    return good;
}

static bool make_files(const char *template, const char *folder, const struct words *words)
{
    char from[PATH_MAX], to[PATH_MAX];
    DIR *files = opendir(template);
    if (files == NULL) {
        (void)tool_fail("new", "cannot read %s: %s (is the package weir-dev installed?)", template,
                        strerror(errno));
        return false;
    }
    const struct dirent *file;
    bool good = true;
    while (good && (file = readdir(files)) != NULL) {
        if (file->d_name[0] == '.')
            continue;
        int size = snprintf(from, sizeof(from), "%s/%s", template, file->d_name);
        good = size > 0 && (size_t)size < sizeof(from) &&
               target_path(folder, file->d_name, words, to, sizeof(to)) &&
               make_file(from, to, words);
    }
    (void)closedir(files);
    return good;
}

int tool_new(int argc, char **argv)
{
    struct order order;
    struct words words;
    char common[4096], template[4096], rest[64];
    int answer = read_order(argc, argv, &order);
    if (answer != TOOL_OK)
        return answer;
    (void)snprintf(rest, sizeof(rest), "/share/weir/template/%.8s", order.language);
    if (!tool_beside("/share/weir/template/common", common, sizeof(common)) ||
        !tool_beside(rest, template, sizeof(template)) || !make_words(order.name, &words))
        return TOOL_FAILED;
    if (access(template, R_OK) != 0)
        return tool_fail("new", "cannot read %s: %s (is the package weir-dev installed?)", template,
                         strerror(errno));
    if (mkdir(order.name, 0777) != 0)
        return errno == EEXIST
                   ? tool_fail("new", "%s is there already, and nothing is written over it",
                               order.name)
                   : tool_fail("new", "cannot make the folder %s: %s", order.name, strerror(errno));
    if (!make_files(common, order.name, &words) || !make_files(template, order.name, &words))
        return TOOL_FAILED;
    (void)printf("%s: a policy in %s, its test and an example configuration. Go on with\n\n"
                 "  cd %s && weir plugin build\n"
                 "  weir plugin test\n"
                 "  weir run weir.yaml\n",
                 order.name, strcmp(order.language, "c") == 0 ? "C" : "C++", order.name);
    return TOOL_OK;
}
