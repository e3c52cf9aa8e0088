#include "tool.h"

int tool_build(int argc, char **argv)
{
    (void)argv;
    return tool_usage("build", "not there yet, %d words", argc);
}
