/* All of some bytes to a descriptor that blocks. */
#ifndef WEIR_BASE_WRITE_H
#define WEIR_BASE_WRITE_H

#include "base/error.h"
#include "base/span.h"

/* SYSTEM: errno tells, and a part may have been written. */
WEIR_MUST_USE enum weir_err write_all(int fd, struct span bytes);

#endif
