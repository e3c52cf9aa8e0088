/* weir plugin build: the project of this folder, by CMake. */
#include <stdio.h>
#include <string.h>

#include "tool.h"

int tool_build(int argc, char **argv)
{
    static struct project project;
    bool sanitized = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--sanitize") != 0)
            return tool_usage("build", "what is '%.80s'?", argv[i]);
        sanitized = true;
    }
    if (!project_open(NULL, sanitized, &project) || !project_build(&project))
        return TOOL_FAILED;
    (void)printf("%s\n", project.image + strlen(project.folder) + 1);
    return TOOL_OK;
}
