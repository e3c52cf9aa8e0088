/* weir plugin test: build the project of this folder, then let ctest run its tests. */
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tool.h"

enum { LOG_LIMIT = 16 * 1024 * 1024 };

/* What valgrind found in all processes of the tests goes to stderr, and the files go. Criterion
 * runs each test in a process of its own and takes no notice of its exit code. */
static bool take_findings(const struct project *project)
{
    char pattern[3700];
    glob_t files;
    bool found = false;
    (void)snprintf(pattern, sizeof(pattern), "%.*s/" VALGRIND_LOGS "*",
                   (int)sizeof(project->build) - 1, project->build);
    if (glob(pattern, 0, NULL, &files) != 0)
        return false;
    for (size_t i = 0; i < files.gl_pathc; i++) {
        char *text = tool_read_file(files.gl_pathv[i], LOG_LIMIT, NULL);
        found = found || text == NULL || text[0] != '\0';
        (void)fputs(text == NULL ? "valgrind's file cannot be read\n" : text, stderr);
        free(text);
        (void)unlink(files.gl_pathv[i]);
    }
    globfree(&files);
    return found;
}

static int run_tests(const struct project *project)
{
    /* Criterion ends its processes early, which valgrind would take for leaks. */
    if (project->valgrind) {
        (void)setenv("CRITERION_NO_EARLY_EXIT", "1", 1);
        (void)take_findings(project); /* of a run that was ended */
    }
    const char *const argv[] = {
        "ctest", "--test-dir", project->build, "--output-on-failure", "--no-tests=error", NULL};
    int code = tool_run(argv, NULL, NULL);
    if (code < 0)
        return tool_fail("test", "cannot start ctest: %s", strerror(errno));
    if (project->valgrind && take_findings(project))
        return tool_fail("test", "valgrind found what is above");
    return code == 0 ? TOOL_OK : TOOL_FAILED;
}

int tool_test(int argc, char **argv)
{
    static struct project project;
    bool sanitized = false, valgrind = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--sanitize") == 0)
            sanitized = true;
        else if (strcmp(argv[i], "--valgrind") == 0)
            valgrind = true;
        else
            return tool_usage("test", "what is '%.80s'?", argv[i]);
    }
    if (sanitized && valgrind)
        return tool_usage("test", "--sanitize and --valgrind exclude each other");
    if (valgrind && !tool_exists("valgrind"))
        return tool_fail("test", "there is no valgrind here");
    if (!project_open(NULL, sanitized, &project))
        return TOOL_FAILED;
    if (valgrind)
        project_use_valgrind(&project);
    return project_build(&project) ? run_tests(&project) : TOOL_FAILED;
}
