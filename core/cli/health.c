/* weir health: one line for each worker; ends with 0 when all of them serve. */
#include "cli/verbs.h"

enum { HEALTH_MS = 5000 };

int cli_health(int argc, char **argv)
{
    const char *prefix = cli_prefix(argc, argv);
    return prefix == NULL ? CLI_USAGE : cli_ask(prefix, "status", HEALTH_MS);
}
