#include "tool.h"

int tool_new(int argc, char **argv)
{
    (void)argv;
    return tool_usage("new", "not there yet, %d words", argc);
}
