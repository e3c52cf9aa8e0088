/* Which allocation of the rooms fails: the test binary is linked with --wrap for these functions,
 * so what libraries allocate for themselves is left alone. */
#ifndef WEIR_TESTS_GATEWAY_ALLOCATIONS_H
#define WEIR_TESTS_GATEWAY_ALLOCATIONS_H

#include <stdbool.h>

/* From now on the `at`th (from 1) fails, and with `all_after` every later one; 0: none. Not armed.
 */
void allocations_fail(unsigned at, bool all_after);
/* Only what is allocated while armed counts and fails. */
void allocations_arm(bool armed);
bool allocations_failed(void); /* one has */

#endif
