/* memset() to zero for structs on the hot path. Of a size it knows GCC makes `rep stos`, which
 * needs some 30 cycles before the first store; the C library's memset() needs a handful in all. */
#ifndef WEIR_BASE_ZERO_H
#define WEIR_BASE_ZERO_H

#include <stddef.h>
#include <string.h>

static inline void zero_bytes(void *at, size_t size)
{
#if defined(__GNUC__)
    __asm__("" : "+r"(size)); /* the compiler no longer knows it */
#endif
    memset(at, 0, size);
}

#endif
