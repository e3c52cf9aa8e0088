#include "tool.h"

#include <stddef.h>

bool project_open(const char *folder, bool sanitized, struct project *out)
{
    return folder != NULL && sanitized && out != NULL;
}

bool project_build(const struct project *project)
{
    return project == NULL;
}
