#include "tool.h"

int tool_replay(int argc, char **argv)
{
    (void)argv;
    return tool_usage("replay", "not there yet, %d words", argc);
}
