#include "tool.h"

int tool_bench(int argc, char **argv)
{
    (void)argv;
    return tool_usage("bench", "not there yet, %d words", argc);
}
