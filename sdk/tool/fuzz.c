#include "tool.h"

int tool_fuzz(int argc, char **argv)
{
    (void)argv;
    return tool_usage("fuzz", "not there yet, %d words", argc);
}
