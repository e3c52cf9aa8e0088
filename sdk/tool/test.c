#include "tool.h"

int tool_test(int argc, char **argv)
{
    (void)argv;
    return tool_usage("test", "not there yet, %d words", argc);
}
