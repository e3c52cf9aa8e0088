/* The three words that keep error paths short. TRY leaves at once with the error, AUTO destroys at
 * scope end, TAKE hands ownership on. AUTO is for code that finishes before it returns; what
 * outlives the call belongs to its exchange. */
#ifndef WEIR_BASE_AUTO_H
#define WEIR_BASE_AUTO_H

#include "base/error.h"

#define TRY(call)                      \
    do {                               \
        enum weir_err err_ = (call);   \
        if (UNLIKELY(err_ != WEIR_OK)) \
            return err_;               \
    } while (0)

/* AUTO(thing_destroy) needs a function thing_destroy_at(struct thing **slot); AUTO_DEFINE makes it.
 */
#define AUTO(fn) __attribute__((cleanup(fn##_at)))
#define AUTO_DEFINE(type, fn)               \
    static inline void fn##_at(type **slot) \
    {                                       \
        fn(*slot);                          \
    }
#define TAKE(p)                     \
    __extension__({                 \
        __typeof__(p) taken_ = (p); \
        (p) = NULL;                 \
        taken_;                     \
    })

#define CONTAINER_OF(pointer, type, member) \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))
#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

#endif
