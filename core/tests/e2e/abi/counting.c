/* Compiled twice, with another STEP: what each plugin sees must be its own. */
#include "counting.h"

int counting_value; /* exported on purpose, as a library that knows nothing of plugins does */

int counting_next(void)
{
    return counting_value += STEP;
}
