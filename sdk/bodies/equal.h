/* Internal to sdk/bodies. */
#ifndef WEIR_BODIES_EQUAL_H
#define WEIR_BODIES_EQUAL_H

#include <string.h>

#include <weir/weir.h>

static inline bool text_equal(weir_str a, weir_str b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

#endif
