/* A project folder: which policy it is, and how CMake builds it. The build tree is made again when
 * it belongs to another installation of weir or the folder was moved. */
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tool.h"

enum { LIST_LIMIT = 256 * 1024, CACHE_LIMIT = 4 * 1024 * 1024, LOG_LIMIT = 16 * 1024 * 1024 };

bool project_name_is_valid(const char *name, size_t size)
{
    if (size == 0 || size > sizeof(((struct project *)NULL)->name) - 1 ||
        !isalpha((unsigned char)name[0]))
        return false;
    for (size_t i = 0; i < size; i++)
        if (!isalnum((unsigned char)name[i]) && memchr("-_.", name[i], 3) == NULL)
            return false;
    return true;
}

/* The NAME of the first project(NAME …); NULL: there is none. */
static const char *find_name(const char *text, size_t *out_size)
{
    for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        line += strspn(line, " \t");
        if (strncasecmp(line, "project", 7) != 0)
            continue;
        const char *at = line + 7 + strspn(line + 7, " \t");
        if (*at != '(')
            continue;
        at += 1 + strspn(at + 1, " \t\r\n\"");
        *out_size = strcspn(at, " \t\r\n\")");
        return at;
    }
    return NULL;
}

static bool is_not(const char *folder, const char *why)
{
    (void)fprintf(stderr, "weir plugin: %s: %s (weir plugin new NAME makes a project)\n", folder,
                  why);
    return false;
}

static void set_build(struct project *project, const char *tree)
{
    (void)snprintf(project->build, sizeof(project->build), "%.*s/build%s",
                   (int)sizeof(project->folder) - 1, project->folder, tree);
    (void)snprintf(project->image, sizeof(project->image), "%.*s/%s.so",
                   (int)sizeof(project->build) - 1, project->build, project->name);
}

void project_use_valgrind(struct project *project)
{
    project->valgrind = true;
    set_build(project, "/valgrind");
}

bool project_open(const char *folder, bool sanitized, struct project *out)
{
    char absolute[PATH_MAX], path[PATH_MAX + 32];
    folder = folder == NULL ? "." : folder;
    if (realpath(folder, absolute) == NULL)
        return is_not(folder, strerror(errno));
    if (strlen(absolute) >= sizeof(out->folder))
        return is_not(folder, "its path is too long");
    (void)snprintf(path, sizeof(path), "%s/CMakeLists.txt", absolute);
    char *text = tool_read_file(path, LIST_LIMIT, NULL);
    if (text == NULL)
        return is_not(path, strerror(errno));
    size_t size = 0;
    const char *name = find_name(text, &size);
    bool good = name != NULL && project_name_is_valid(name, size);
    if (good) {
        *out = (struct project){.sanitized = sanitized};
        memcpy(out->name, name, size);
        memcpy(out->folder, absolute, strlen(absolute) + 1);
        set_build(out, sanitized ? "/sanitized" : "");
        (void)snprintf(out->config, sizeof(out->config), "%.*s/weir.yaml",
                       (int)sizeof(out->folder) - 1, out->folder);
    }
    free(text);
    return good || is_not(path, name == NULL ? "it has no line project(NAME …)"
                                             : "the name in its project(NAME …) is no plugin's");
}

/* A line NAME:TYPE=VALUE of CMakeCache.txt says VALUE. */
static bool cache_says(const char *cache, const char *name, const char *value)
{
    size_t size = strlen(name);
    for (const char *line = cache; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, size) != 0 || line[size] != ':')
            continue;
        const char *end = strchrnul(line, '\n'), *equals = strchr(line, '=');
        return equals != NULL && equals < end && (size_t)(end - equals - 1) == strlen(value) &&
               strncmp(equals + 1, value, strlen(value)) == 0;
    }
    return false;
}

static bool is_file(const char *folder, const char *name)
{
    char path[PATH_MAX];
    int size = snprintf(path, sizeof(path), "%s/%s", folder, name);
    return size > 0 && (size_t)size < sizeof(path) && access(path, F_OK) == 0;
}

enum tree { TREE_READY, TREE_NONE, TREE_OTHER };

static enum tree look_at_tree(const struct project *project, const char *sdk)
{
    char path[3700];
    (void)snprintf(path, sizeof(path), "%s/CMakeCache.txt", project->build);
    char *cache = tool_read_file(path, CACHE_LIMIT, NULL);
    if (cache == NULL)
        return errno == ENOENT ? TREE_NONE : TREE_OTHER;
    bool ours = cache_says(cache, "WeirPlugin_DIR", sdk) &&
                cache_says(cache, "CMAKE_HOME_DIRECTORY", project->folder);
    free(cache);
    if (!ours)
        return TREE_OTHER;
    return is_file(project->build, "build.ninja") || is_file(project->build, "Makefile")
               ? TREE_READY
               : TREE_NONE;
}

static bool make_folders(const struct project *project)
{
    char path[3700];
    (void)snprintf(path, sizeof(path), "%s/build", project->folder);
    if ((mkdir(path, 0777) == 0 || errno == EEXIST) &&
        (mkdir(project->build, 0777) == 0 || errno == EEXIST))
        return true;
    (void)fprintf(stderr, "weir plugin: cannot make %s: %s\n", project->build, strerror(errno));
    return false;
}

/* What the program said goes to stderr: all of it when it failed, else only when it warned, without
 * the lines that count steps. */
static void show_log(const char *log, bool failed)
{
    char *text = tool_read_file(log, LOG_LIMIT, NULL);
    if (text == NULL)
        return;
    if (failed || strstr(text, "warning:") != NULL || strstr(text, "CMake Warning") != NULL)
        for (const char *line = text; *line != '\0';) {
            const char *end = strchrnul(line, '\n');
            if (failed || *line != '[')
                (void)fprintf(stderr, "%.*s\n", (int)(end - line), line);
            line = *end == '\0' ? end : end + 1;
        }
    free(text);
}

static bool run_cmake(const struct project *project, const char *what, const char *const argv[])
{
    char log[3700];
    (void)snprintf(log, sizeof(log), "%s/%s.log", project->build, what);
    int code = tool_run(argv, NULL, log);
    if (code < 0)
        (void)fprintf(stderr, "weir plugin: cannot start %s: %s\n", argv[0], strerror(errno));
    else
        show_log(log, code != 0);
    return code == 0;
}

static bool configure(const struct project *project, const char *sdk, enum tree tree)
{
    char prefix[4096], prefix_option[4160], sdk_option[4160], valgrind[4096];
    if (!tool_beside("", prefix, sizeof(prefix)))
        return false;
    (void)snprintf(prefix_option, sizeof(prefix_option), "-DCMAKE_PREFIX_PATH=%s", prefix);
    (void)snprintf(sdk_option, sizeof(sdk_option), "-DWeirPlugin_DIR:PATH=%s", sdk);
    (void)snprintf(valgrind, sizeof(valgrind),
                   "-DCMAKE_CROSSCOMPILING_EMULATOR=valgrind;-q;--trace-children=yes;"
                   "--leak-check=full;--errors-for-leak-kinds=definite;"
                   "--show-leak-kinds=definite;--log-file=%s/" VALGRIND_LOGS "%%p",
                   project->build);
    const char *argv[16] = {"cmake", "-S", project->folder, "-B", project->build};
    size_t count = 5;
    if (tree == TREE_OTHER)
        argv[count++] = "--fresh";
    if (tool_exists("ninja") && getenv("CMAKE_GENERATOR") == NULL)
        argv[count++] = "-GNinja";
    argv[count++] = prefix_option;
    argv[count++] = sdk_option;
    argv[count++] =
        project->sanitized ? "-DCMAKE_BUILD_TYPE=Debug" : "-DCMAKE_BUILD_TYPE=RelWithDebInfo";
    argv[count++] =
        project->sanitized ? "-DWEIR_PLUGIN_SANITIZE=address,undefined" : "-DWEIR_PLUGIN_SANITIZE=";
    if (project->valgrind) /* CMake puts it before the command of every test */
        argv[count++] = valgrind;
    return run_cmake(project, "configure", argv);
}

bool project_build(const struct project *project)
{
    char sdk[4096];
    if (!tool_beside("/lib/cmake/WeirPlugin", sdk, sizeof(sdk)) || !make_folders(project))
        return false;
    enum tree tree = look_at_tree(project, sdk);
    if (tree != TREE_READY && !configure(project, sdk, tree))
        return false;
    const char *const argv[] = {"cmake", "--build", project->build, NULL};
    if (!run_cmake(project, "build", argv))
        return false;
    if (access(project->image, R_OK) == 0)
        return true;
    (void)fprintf(stderr,
                  "weir plugin: it was built, but there is no %s (does CMakeLists.txt say "
                  "weir_add_plugin(%s …)?)\n",
                  project->image, project->name);
    return false;
}
