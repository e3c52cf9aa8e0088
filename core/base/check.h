/* Checks for our own mistakes. They stay on in release builds: a gateway that goes on after a
 * broken promise corrupts somebody's request, one that stops is replaced by the master at once. The
 * world's faults are errors (base/error.h), never checks. */
#ifndef WEIR_BASE_CHECK_H
#define WEIR_BASE_CHECK_H

#include <stdbool.h>

#define WEIR_MUST_USE __attribute__((warn_unused_result))
#define WEIR_PRINTF(text, first) __attribute__((format(printf, text, first)))
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

/* Print where and what, then abort. */
_Noreturn void check_failed(const char *file, int line, const char *what);

#define CHECK_THAT(condition)                             \
    do {                                                  \
        if (UNLIKELY(!(condition)))                       \
            check_failed(__FILE__, __LINE__, #condition); \
    } while (0)

/* `object` is alive and of the kind it claims: its `magic` member holds KIND_MAGIC. */
#define CHECK(object, KIND) CHECK_THAT((object) != NULL && (object)->magic == KIND##_MAGIC)

#endif
