/* weir plugin test: build the project of this folder, then let ctest run its tests. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tool.h"

static int run_tests(const struct project *project)
{
    /* Criterion ends its processes early, which valgrind would take for leaks. */
    if (project->valgrind)
        (void)setenv("CRITERION_NO_EARLY_EXIT", "1", 1);
    const char *const argv[] = {
        "ctest", "--test-dir", project->build, "--output-on-failure", "--no-tests=error", NULL};
    int code = tool_run(argv, NULL, NULL);
    if (code < 0)
        return tool_fail("test", "cannot start ctest: %s", strerror(errno));
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
